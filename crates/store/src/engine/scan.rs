//! Which batches in the files belong to the log, and where it ends.
//!
//! Nothing is interpreted here but headers, and nothing is changed. The question is always the same:
//! does something that is missing or not whole have to be there? It does if anything written later
//! says that it had been flushed by then. If not, nobody was ever promised it, and the log ends
//! before it.

use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
use crate::faults::{Fault, Faults};
use crate::format::batch::{ALIGNMENT, Batch};
use crate::format::segment::{self, DATA_START, Header, file_name};
use std::sync::Arc;

/// A segment's file and the batches at its front that follow one another.
#[derive(Debug)]
pub(crate) struct Run<F> {
    pub(crate) id: u32,
    pub(crate) file: Arc<F>,
    pub(crate) capacity: u32,
    pub(crate) first: Option<Batch>,
    pub(crate) last: Option<Batch>,
    /// Where the last one ends.
    pub(crate) end: u32,
    pub(crate) records: u64,
    /// The number in its header, if there is one.
    pub(crate) header: u32,
    /// The highest batch number that a batch in the file, whether it belongs to the log or not, says
    /// was flushed, among those that do not follow the last one.
    beyond: u64,
}

impl<F: DiskFile> Run<F> {
    /// Looks through a segment. `buffer` is room to read it into.
    pub(super) fn scan<D: Disk<File = F>>(
        disk: &D,
        id: u32,
        faults: Faults,
        buffer: &mut Vec<u8>,
    ) -> Result<Self, StoreError> {
        let name = file_name(id);
        let file = disk.open(&name).map_err(StoreError::io("open", &*name))?;
        let length = file.len().map_err(StoreError::io("read from", &*name))?;
        let capacity = u32::try_from(length)
            .map_err(|_| StoreError::damaged(&*name, 0, "it is larger than any segment"))?;
        read_whole(&file, capacity, &name, buffer)?;
        let header = segment::read_header(buffer);
        if let Header::Unknown(version) = header {
            return Err(StoreError::UnknownFormat { file: name, version });
        }
        let mut run = Self {
            id,
            file: Arc::new(file),
            capacity,
            first: None,
            last: None,
            end: DATA_START,
            records: 0,
            header: if let Header::Segment(number) = header { number } else { 0 },
            beyond: 0,
        };
        if run.header > id {
            // It was given up and became another segment, but for the new name.
            return Ok(run);
        }
        run.follow(buffer, faults);
        run.look_beyond(buffer);
        if run.header != id && (run.first.is_some() || run.beyond > 0) {
            return Err(StoreError::damaged(name, 0, "its header is not that of this segment"));
        }
        Ok(run)
    }

    fn follow(&mut self, bytes: &[u8], faults: Faults) {
        let checked = !faults.planted(Fault::TornBatchAccepted);
        while let Some((batch, _)) =
            bytes.get(self.end as usize..).and_then(|rest| Batch::read(rest, checked))
        {
            let ours = batch.segment == self.id || faults.planted(Fault::StaleBytesRead);
            let next = self.last.is_none_or(|last| follows(&last, &batch, faults));
            if !(ours && next) {
                return;
            }
            self.first.get_or_insert(batch);
            self.last = Some(batch);
            self.records += u64::from(batch.records);
            self.end = (self.end + batch.span()).min(self.capacity);
        }
    }

    /// Looks for whole batches behind the last one that belongs to the run.
    fn look_beyond(&mut self, bytes: &[u8]) {
        let mut at = self.end as usize;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match Batch::read(rest, true).filter(|(batch, _)| batch.segment == self.id) {
                Some((batch, _)) => {
                    self.beyond = self.beyond.max(batch.flushed);
                    at += batch.span() as usize;
                }
                None => at += ALIGNMENT as usize,
            }
        }
    }

    /// The highest number that anything in the file says was flushed.
    fn flushed_max(&self) -> u64 {
        self.beyond.max(self.last.map_or(0, |last| last.flushed))
    }
}

/// Whether a batch is the one behind another.
pub(super) fn follows(last: &Batch, next: &Batch, faults: Faults) -> bool {
    let linked = next.previous == last.crc && next.number == last.number + 1;
    linked || faults.planted(Fault::ChainNotChecked) || faults.planted(Fault::StaleBytesRead)
}

/// Reads a file into a buffer.
pub(super) fn read_whole<F: DiskFile>(
    file: &F,
    length: u32,
    name: &str,
    buffer: &mut Vec<u8>,
) -> Result<(), StoreError> {
    buffer.resize(length as usize, 0);
    file.read_at(buffer, 0).map_err(StoreError::io("read from", name))
}

/// The log among the files.
#[derive(Debug)]
pub(crate) struct Extent<F> {
    /// The segments of the log, oldest first.
    pub(crate) kept: Vec<Run<F>>,
    /// Segments that are not needed: given up before, or never promised to anybody.
    pub(crate) dropped: Vec<Run<F>>,
    /// The last batch.
    pub(crate) last: Option<Batch>,
}

/// Finds the log among the segments, which are in the order of their numbers.
pub(crate) fn extent<F: DiskFile>(
    mut runs: Vec<Run<F>>,
    faults: Faults,
) -> Result<Extent<F>, StoreError> {
    let mut later = Vec::new();
    // Drop candidates for the end until one is found that nothing later contradicts.
    loop {
        while let Some(empty) = runs.pop_if(|run| run.last.is_none()) {
            later.push(empty);
        }
        let Some((end, last)) = runs.last().and_then(|run| Some((run, run.last?))) else {
            return nothing(later);
        };
        let begin = first_linked(&runs, faults);
        let contradicted = later.iter().map(Run::flushed_max).chain([end.beyond]).max();
        if contradicted.is_some_and(|flushed| flushed > last.number) {
            return Err(missing(Some(end), &later));
        }
        let first = &runs[begin];
        if last.oldest >= first.id || faults.planted(Fault::WatermarkIgnored) {
            return Ok(kept(runs, later, begin, last, faults));
        }
        // Something before this group is needed: so it must follow on it, or never have been
        // promised.
        if begin == 0 {
            let found = "the log needs a segment that is gone: either that is missing, or a batch here \
                         that says otherwise is missing or damaged";
            return Err(StoreError::damaged(file_name(end.id), u64::from(end.end), found));
        }
        later.extend(runs.drain(begin..).rev());
    }
}

/// No segment holds anything that the log could begin with.
fn nothing<F: DiskFile>(later: Vec<Run<F>>) -> Result<Extent<F>, StoreError> {
    if later.iter().any(|run| run.flushed_max() > 0) {
        return Err(missing(None, &later));
    }
    Ok(Extent { kept: Vec::new(), dropped: later, last: None })
}

/// Something later builds on what should follow `end`: it is missing there, or at the beginning of
/// the next segment if nothing whole is in that.
fn missing<F: DiskFile>(end: Option<&Run<F>>, later: &[Run<F>]) -> StoreError {
    let found = "a batch is missing or damaged here that later ones build on";
    let next = later.iter().min_by_key(|run| run.id);
    let hollow = next.filter(|next| next.last.is_none());
    match end.filter(|end| end.beyond > 0 || hollow.is_none()) {
        Some(end) => StoreError::damaged(file_name(end.id), u64::from(end.end), found),
        None => {
            let name = next.map_or_else(String::new, |next| file_name(next.id));
            StoreError::damaged(name, u64::from(DATA_START), found)
        }
    }
}

/// Where the last group of segments begins of which each follows on the one before.
fn first_linked<F>(runs: &[Run<F>], faults: Faults) -> usize {
    let mut begin = runs.len() - 1;
    while begin > 0
        && let (Some(last), Some(first)) = (runs[begin - 1].last, runs[begin].first)
        && follows(&last, &first, faults)
    {
        begin -= 1;
    }
    begin
}

fn kept<F>(
    mut runs: Vec<Run<F>>,
    mut dropped: Vec<Run<F>>,
    begin: usize,
    last: Batch,
    faults: Faults,
) -> Extent<F> {
    let mut kept = runs.split_off(if faults.planted(Fault::WatermarkIgnored) { 0 } else { begin });
    dropped.extend(runs);
    if !faults.planted(Fault::WatermarkIgnored) {
        let needed = kept.partition_point(|run| run.id < last.oldest);
        dropped.extend(kept.drain(..needed));
    }
    Extent { kept, dropped, last: Some(last) }
}
