//! Where new segments come from: files that are filled with zeros beforehand, or were segments once.
//!
//! A file that grows costs a commit of the file system's journal with every flush, so a segment has
//! its full size before the first batch is written into it, and all of it was written once.
//!
//! Whether a segment may be given up is not decided here.

use crate::disk::{Disk, DiskFile, PAGE_BYTES};
use crate::error::StoreError;
use crate::faults::{Fault, Faults};
use crate::format::segment::{file_name, header, spare_name};
use crate::options::Options;
use std::sync::Arc;

/// Files kept for reuse beside the segment that is prepared.
const SPARES_MAX: usize = 1;
/// A file of the log.
#[derive(Debug)]
pub(crate) struct Segment<F> {
    pub(crate) id: u32,
    pub(crate) file: Arc<F>,
    /// The same, [to write batches to it](Disk::open_for_commits) as long as it is the active one; none if
    /// they go through `file`.
    pub(crate) output: Option<Arc<F>>,
    /// Bytes it can hold.
    pub(crate) capacity: u32,
    /// Bytes up to the end of its last batch.
    pub(crate) used: u32,
    /// Records in it, messages aside.
    pub(crate) records: u64,
}

/// Makes segments, and makes new ones of old ones.
#[derive(Debug)]
pub(crate) struct Supply<D: Disk> {
    disk: Arc<D>,
    segment_bytes: u32,
    /// Whether [most batches are flushed at once](Options::flushes_each).
    flushes_each: bool,
    /// Numbers in headers and batches are never used twice, as long as bytes of them may lie about.
    next_id: u32,
    spares: Vec<u32>,
    faults: Faults,
}

impl<D: Disk> Supply<D> {
    /// A supply whose first segment is `next_id`, with these files to use again.
    pub(crate) fn new(disk: Arc<D>, options: &Options, next_id: u32, spares: Vec<u32>) -> Self {
        let (segment_bytes, faults) = (options.segment_bytes, options.faults);
        Self { disk, segment_bytes, flushes_each: options.flushes_each(), next_id, spares, faults }
    }

    /// Makes a segment that can hold `bytes`, if that is more than usual. When this returns it is
    /// there to stay, under its name.
    pub(crate) fn prepare(&mut self, bytes: u32) -> Result<Segment<D::File>, StoreError> {
        let capacity = bytes.max(self.segment_bytes).next_multiple_of(PAGE_BYTES as u32);
        let usual = capacity == self.segment_bytes;
        let spare = match self.spares.pop() {
            Some(spare) if usual => spare,
            Some(spare) => {
                self.spares.push(spare);
                self.create(capacity)?
            }
            None => self.create(capacity)?,
        };
        let id = self.next_id;
        let (from, name) = (spare_name(spare), file_name(id));
        self.disk.rename(&from, &name).map_err(StoreError::io("rename", from))?;
        self.next_id += 1;
        let file = self.disk.open(&name).map_err(StoreError::io("open", &*name))?;
        file.begin_anew();
        file.write_at(&header(id), 0).map_err(StoreError::io("write to", &*name))?;
        file.sync_data().map_err(StoreError::io("flush", &*name))?;
        self.sync_directory()?;
        let output = self.flushes_each.then(|| self.disk.open_for_commits(&name)).transpose();
        let output = output.map_err(StoreError::io("open", &*name))?.map(Arc::new);
        let used = crate::format::segment::DATA_START;
        Ok(Segment { id, file: Arc::new(file), output, capacity, used, records: 0 })
    }

    /// Makes a file full of zeros.
    fn create(&mut self, capacity: u32) -> Result<u32, StoreError> {
        let id = self.next_id;
        let name = spare_name(id);
        let filled = self.disk.create(&name).and_then(|file| {
            let sparse = self.faults.planted(Fault::ZeroingSkipped);
            let first = if sparse { u64::from(capacity) - PAGE_BYTES as u64 } else { 0 };
            file.fill(first, u64::from(capacity))?;
            file.sync_data()
        });
        if let Err(error) = filled {
            // It may be what has filled the disk.
            let _ = self.disk.remove(&name);
            return Err(StoreError::io("make room for", name)(error));
        }
        Ok(id)
    }

    /// Takes a segment that nobody needs any more, to be used again if it is of the usual size and
    /// there are few spare ones.
    pub(crate) fn retire(&mut self, segment: Segment<D::File>) -> Result<(), StoreError> {
        let Segment { id, file, capacity, .. } = segment;
        // Somebody may still be reading in it.
        let idle = Arc::strong_count(&file) == 1;
        let name = file_name(id);
        if idle && capacity == self.segment_bytes && self.spares.len() < SPARES_MAX {
            let spare = spare_name(id);
            self.disk.rename(&name, &spare).map_err(StoreError::io("rename", name))?;
            self.spares.push(id);
            return Ok(());
        }
        self.disk.remove(&name).map_err(StoreError::io("remove", name))
    }

    /// Waits until all names are on stable storage.
    pub(crate) fn sync_directory(&self) -> Result<(), StoreError> {
        if self.faults.planted(Fault::DirectoryNotSynced) {
            return Ok(());
        }
        self.disk.sync_directory().map_err(StoreError::io("flush", self.disk.name()))
    }
}

/// The supply as the log sees it: at hand, or in a thread of its own that works ahead.
pub(crate) trait SupplyLine<F>: std::fmt::Debug + Send {
    /// The next segment, which can hold `bytes`; waits for it if need be.
    fn take(&mut self, bytes: u32) -> Result<Segment<F>, StoreError>;

    /// Prepares the next segment now, if none is ready. A line that works by itself needs no telling.
    #[cfg(test)]
    fn work_ahead(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Gives a segment up.
    fn retire(&mut self, segment: Segment<F>) -> Result<(), StoreError>;
}

/// A supply at hand.
#[derive(Debug)]
pub(crate) struct AtHand<D: Disk> {
    supply: Supply<D>,
    ready: Option<Segment<D::File>>,
}

impl<D: Disk> AtHand<D> {
    pub(crate) fn new(supply: Supply<D>) -> Self {
        Self { supply, ready: None }
    }
}

impl<D: Disk> SupplyLine<D::File> for AtHand<D>
where
    D::File: std::fmt::Debug,
    D: std::fmt::Debug,
{
    fn take(&mut self, bytes: u32) -> Result<Segment<D::File>, StoreError> {
        if let Some(ready) = self.ready.take() {
            if ready.capacity >= bytes {
                return Ok(ready);
            }
            // Numbers rise along the log, so it cannot follow a larger one.
            self.supply.retire(ready)?;
        }
        self.supply.prepare(bytes)
    }

    #[cfg(test)]
    fn work_ahead(&mut self) -> Result<(), StoreError> {
        if self.ready.is_none() {
            self.ready = Some(self.supply.prepare(0)?);
        }
        Ok(())
    }

    fn retire(&mut self, segment: Segment<D::File>) -> Result<(), StoreError> {
        self.supply.retire(segment)
    }
}
