//! From files to a log that goes on.
//!
//! It always goes on in a new segment. So what the end of the last one looks like after a crash,
//! and what lies behind it, never has to be reasoned about again.

use super::encode::Encoder;
use super::scan::{Extent, Run, read_whole};
use super::{Engine, Replayed};
use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
use crate::faults::Fault;
use crate::format::batch::Batch;
use crate::format::segment::{
    DATA_START, Header, file_name, number_of, number_of_spare, read_header, spare_name,
};
use crate::index::Index;
use crate::options::Options;
use crate::supply::{Segment, Supply, SupplyLine};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// The files of a store, by what their names say.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Numbers of segments, in order.
    pub(crate) segments: Vec<u32>,
    pub(crate) spares: Vec<u32>,
}

/// Locks a directory and looks what is in it.
pub(crate) fn find<D: Disk>(disk: &D) -> Result<Found, StoreError> {
    match disk.lock() {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            return Err(StoreError::Locked { directory: disk.name() });
        }
        Err(error) => return Err(StoreError::io("lock", disk.name())(error)),
    }
    let names = disk.list().map_err(StoreError::io("list", disk.name()))?;
    let mut found = Found {
        segments: names.iter().filter_map(|name| number_of(name)).collect(),
        spares: names.iter().filter_map(|name| number_of_spare(name)).collect(),
    };
    found.segments.sort_unstable();
    found.spares.sort_unstable();
    Ok(found)
}

/// A log that is about to go on: all but its supply of segments, which may live elsewhere.
#[derive(Debug)]
pub(crate) struct Opened<F> {
    sealed: VecDeque<Segment<F>>,
    index: Index,
    options: Options,
    chain: u32,
    number: u64,
    wall_ms: u64,
}

/// Locks a directory, reads the log in it, and puts the directory in order.
pub(crate) fn open<D: Disk>(
    disk: Arc<D>,
    options: Options,
) -> Result<(Opened<D::File>, Supply<D>), StoreError> {
    let options = options.sound();
    let found = find(&*disk)?;
    let Replayed { index, extent } = Replayed::read(&*disk, &found.segments, options.faults)?;
    if !options.faults.planted(Fault::EndNotFlushedAtOpen) {
        flush_again(&extent)?;
    }
    let spares = sound_spares(&*disk, &found, options.segment_bytes)?;
    let headers = extent.kept.iter().chain(&extent.dropped).map(|run| run.header);
    let named = found.segments.iter().chain(&found.spares).copied();
    let highest = named.chain(headers).max().unwrap_or(0);
    let mut supply =
        Supply::new(disk, &options, highest.max(spares.header_max) + 1, spares.numbers);
    for run in extent.dropped {
        let (used, records) = (run.end, run.records);
        let (id, file, capacity) = (run.id, run.file, run.capacity);
        supply.retire(Segment { id, file, output: None, capacity, used, records })?;
    }
    // Before anything new is written: what was dropped must not come back between old and new.
    supply.sync_directory()?;
    let sealed = extent.kept.into_iter().map(|run| Segment {
        id: run.id,
        file: run.file,
        output: None,
        capacity: run.capacity,
        used: run.end,
        records: run.records,
    });
    let opened = Opened {
        sealed: sealed.collect(),
        index,
        options,
        chain: extent.last.map_or(0, |last| last.crc),
        number: extent.last.map_or(1, |last| last.number + 1),
        wall_ms: extent.last.map_or(0, |last| last.wall_ms),
    };
    Ok((opened, supply))
}

impl<F: DiskFile + Debug> Opened<F> {
    /// Goes on, with segments from this line.
    pub(crate) fn start(self, mut supply: Box<dyn SupplyLine<F>>) -> Result<Engine<F>, StoreError> {
        let active = supply.take(0)?;
        let mut index = self.index;
        // Those who could have said something older are gone.
        index.forget_cleared(u64::MAX);
        Ok(Engine {
            options: self.options,
            index,
            supply,
            sealed: self.sealed,
            active,
            freed: VecDeque::new(),
            encoder: Encoder::default(),
            moving: None,
            empty_before: 0,
            chain: self.chain,
            number: self.number,
            flushed: self.number - 1,
            wall_ms: self.wall_ms,
            unflushed: Vec::new(),
            written: 0,
            moved: 0,
            segments_begun: 0,
            stopped: false,
        })
    }
}

/// What comes next builds on all that was read. But that may have come from the memory of the
/// operating system: never flushed, or lost in a flush that failed and forgotten to be so. So what
/// nothing says was flushed is written again, and flushed.
fn flush_again<F: DiskFile>(extent: &Extent<F>) -> Result<(), StoreError> {
    let Some(last) = extent.last else {
        return Ok(());
    };
    let mut bytes = Vec::new();
    let doubtful = |run: &&Run<F>| run.last.is_some_and(|end| end.number > last.flushed);
    for run in extent.kept.iter().filter(doubtful) {
        let name = file_name(run.id);
        read_whole(&*run.file, run.end.min(run.capacity), &name, &mut bytes)?;
        let mut at = DATA_START as usize;
        while let Some((batch, _)) = bytes.get(at..).and_then(|rest| Batch::read(rest, true))
            && batch.number <= last.flushed
        {
            at += batch.span() as usize;
        }
        let rest = bytes.get(at..).unwrap_or_default();
        run.file.write_at(rest, at as u64).map_err(StoreError::io("write to", &*name))?;
        run.file.sync_data().map_err(StoreError::io("flush", name))?;
    }
    Ok(())
}

struct Spares {
    numbers: Vec<u32>,
    /// The highest number in a header, which may have been given to a spare before its name.
    header_max: u32,
}

/// Removes spares that were not finished, or are of another size, or too many.
fn sound_spares<D: Disk>(disk: &D, found: &Found, bytes: u32) -> Result<Spares, StoreError> {
    let mut sound = Spares { numbers: Vec::new(), header_max: 0 };
    for number in &found.spares {
        let name = spare_name(*number);
        let file = disk.open(&name).map_err(StoreError::io("open", &*name))?;
        let mut block = [0; 64];
        if file.read_at(&mut block, 0).is_ok()
            && let Header::Segment(number) = read_header(&block)
        {
            sound.header_max = sound.header_max.max(number);
        }
        let whole = file.len().map_err(StoreError::io("read from", &*name))? == u64::from(bytes);
        if whole && sound.numbers.is_empty() {
            sound.numbers.push(*number);
        } else {
            disk.remove(&name).map_err(StoreError::io("remove", name))?;
        }
    }
    Ok(sound)
}
