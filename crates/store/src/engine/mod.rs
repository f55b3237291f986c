//! The log at work: records in, batches out, and what is kept in order between the two.
//!
//! One owner, no threads, no clock: whoever drives it decides when to flush, and a simulated disk
//! sees every step. What must hold:
//!
//! - A record refers to a message in its own segment and before it. So a segment can be moved
//!   forward alone.
//! - Segments are given up from the oldest on only. So of two records about one thing the older one
//!   never outlives the newer.
//! - A segment is given up in three steps: nothing in it counts, and all that made it so is flushed;
//!   a later batch says that it is not needed, and is flushed; then its file goes.
//! - After a failed flush nothing is promised any more.

mod encode;
mod load;
mod moving;
mod open;
mod replay;
mod scan;

pub(crate) use load::{Loading, Window, read_message, read_will};
pub(crate) use open::{find, open};
pub(crate) use replay::Replayed;

use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::faults::Fault;
use crate::format::segment::file_name;
use crate::index::Index;
use crate::options::Options;
use crate::recovery::{Recovered, recover};
use crate::supply::{Segment, SupplyLine};
use encode::Encoder;
use moving::Moving;
use noctule_broker::Record;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;

/// The log.
#[derive(Debug)]
pub(crate) struct Engine<F> {
    options: Options,
    pub(crate) index: Index,
    supply: Box<dyn SupplyLine<F>>,
    /// Segments before the active one, oldest first.
    sealed: VecDeque<Segment<F>>,
    active: Segment<F>,
    /// Segments that nothing needs, each with the number of the batch that has to be flushed before
    /// it goes.
    freed: VecDeque<(Segment<F>, u64)>,
    encoder: Encoder,
    moving: Option<Moving>,
    /// Whatever the rule is, segments before this one are to be emptied.
    empty_before: u32,
    /// The CRC of the last batch.
    chain: u32,
    /// The number of the next batch.
    number: u64,
    /// The last batch that is on stable storage.
    flushed: u64,
    /// The latest time that was written.
    wall_ms: u64,
    /// Files that were written to since the last flush.
    unflushed: Vec<(u32, Arc<F>)>,
    /// Bytes written since the start.
    written: u64,
    /// Records moved forward since the start.
    moved: u64,
    segments_begun: u64,
    stopped: bool,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Segments with records in them.
    pub segments: usize,
    /// Bytes of records and batches that were written since the start.
    pub bytes_written: u64,
    /// Records that were moved out of old segments since the start.
    pub moved: u64,
    /// Segments that were begun since the start.
    pub segments_begun: u64,
    /// Persistent sessions.
    pub sessions: usize,
    /// Messages that sessions are owed.
    pub queued: usize,
    /// Topics with a retained message.
    pub retained: usize,
}

impl<F: DiskFile + Debug> Engine<F> {
    /// Writes records and waits until they are on stable storage.
    #[cfg(test)]
    pub(crate) fn commit(&mut self, group: &[Vec<Record>]) -> Result<(), StoreError> {
        if self.options.faults.planted(Fault::AcknowledgedBeforeFlush) {
            self.flush()?;
            return self.write(group);
        }
        self.write(group)?;
        self.flush()
    }

    /// Hands records to the operating system. They can be loaded from then on.
    pub(crate) fn write(&mut self, group: &[Vec<Record>]) -> Result<(), StoreError> {
        self.guarded(|engine| {
            engine.wall_ms = engine.wall_ms.max((engine.options.clock)());
            let written = engine.written;
            engine.encode_group(group)?;
            // At least as fast as records come, what is to be moved is.
            let least = u64::from(engine.options.segment_bytes) / MOVED_PER_COMMIT;
            engine.move_forward(2 * (engine.written - written) + least)?;
            engine.finish_batch()
        })
    }

    /// Every retained message before this place in the order of all was written: which topics were
    /// cleared before that need not be remembered.
    pub(crate) fn forget_cleared(&mut self, before: u64) {
        let early = self.options.faults.planted(Fault::ClearedForgottenEarly);
        self.index.forget_cleared(if early { u64::MAX } else { before });
    }

    /// Waits until everything written is on stable storage.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        self.guarded(|engine| {
            engine.flush_files()?;
            engine.release()
        })
    }

    /// Flushes what was written, for there was no room for more. Nothing is promised by it.
    pub(crate) fn flush_last(&mut self) {
        // Whatever it says, there is a failure that has been said.
        let _ = self.flush_files();
    }

    /// Puts everything on stable storage, and then the word that it is there: with that, whatever is
    /// found damaged later was not just unfinished.
    pub(crate) fn close(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        self.guarded(|engine| {
            engine.begin_batch(0)?;
            engine.finish_batch()?;
            engine.flush_files()
        })
    }

    /// Does what is not urgent: moves records out of old segments, and gives up what is not needed.
    /// Returns whether there is more to do.
    pub(crate) fn tidy(&mut self) -> Result<bool, StoreError> {
        self.tidy_some(u64::from(self.options.segment_bytes) / MOVED_WHEN_IDLE)
    }

    /// The same, through so many bytes of old segments.
    fn tidy_some(&mut self, bytes: u64) -> Result<bool, StoreError> {
        self.guarded(|engine| {
            engine.wall_ms = engine.wall_ms.max((engine.options.clock)());
            engine.move_forward(bytes)?;
            if engine.encoder.is_empty() && !engine.freed.is_empty() {
                // Nothing but the word that they are not needed.
                engine.begin_batch(0)?;
            }
            engine.finish_batch()?;
            engine.flush_files()?;
            engine.release()?;
            Ok(engine.wants_tidying())
        })
    }

    /// Moves everything out of all segments that there are.
    pub(crate) fn compact(&mut self) -> Result<(), StoreError> {
        self.empty_before = self.active.id;
        while self.tidy_some(u64::from(self.options.segment_bytes))? {}
        Ok(())
    }

    /// Whether [`tidy`](Self::tidy) has something to do.
    pub(crate) fn wants_tidying(&self) -> bool {
        !self.stopped && (!self.freed.is_empty() || self.moving.is_some() || self.wants_moving())
    }

    /// Has the next segment prepared now. A supply in a thread of its own does so by itself.
    #[cfg(test)]
    pub(crate) fn work_ahead(&mut self) -> Result<(), StoreError> {
        self.guarded(|engine| engine.supply.work_ahead())
    }

    /// What the shards have to be given.
    pub(crate) fn recovered(&self) -> Result<Recovered, StoreError> {
        recover(&self.index, self.wall_ms, &|at| self.window(at))
    }

    pub(crate) fn segments_begun(&self) -> u64 {
        self.segments_begun
    }

    pub(crate) fn figures(&self) -> Figures {
        Figures {
            segments: self.sealed.len() + 1 + self.freed.len(),
            bytes_written: self.written,
            moved: self.moved,
            segments_begun: self.segments_begun,
            sessions: self.index.sessions.len(),
            queued: self.index.queued(),
            retained: self.index.retained.messages().count(),
        }
    }

    /// After a failure nobody can say what is on the disk: nothing more is promised.
    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.stopped {
            return Err(StoreError::Stopped);
        }
        let result = work(self);
        self.stopped = result.is_err();
        result
    }

    fn flush_files(&mut self) -> Result<(), StoreError> {
        for (id, file) in self.unflushed.drain(..) {
            if self.options.faults.planted(Fault::FlushSkipped) {
                continue;
            }
            let flushed = file.sync_data();
            if !self.options.faults.planted(Fault::FailedFlushIgnored) {
                flushed.map_err(|error| StoreError::io("flush", file_name(id))(error))?;
            }
        }
        self.flushed = self.number - 1;
        Ok(())
    }

    /// Everything written is flushed. Gives up the segments that nobody needs.
    fn release(&mut self) -> Result<(), StoreError> {
        while let Some((segment, _)) =
            self.freed.pop_front_if(|(_, number)| *number <= self.flushed)
        {
            self.supply.retire(segment)?;
        }
        while let Some(oldest) = self.sealed.front() {
            let counts = self.index.live.in_segment(oldest.id);
            let free_all_the_same =
                self.options.faults.planted(Fault::FreedWhileLive) && self.sealed.len() > 2;
            if counts > 0 && !free_all_the_same {
                break;
            }
            self.moving.take_if(|moving| moving.segment == oldest.id);
            if let Some(segment) = self.sealed.pop_front() {
                let early = self.options.faults.planted(Fault::FreedBeforeFlush);
                let number = if early { 0 } else { self.number };
                self.freed.push_back((segment, number));
            }
        }
        Ok(())
    }

    /// The first segment that is needed.
    fn oldest(&self) -> u32 {
        self.sealed.front().map_or(self.active.id, |segment| segment.id)
    }

    fn segment(&self, id: u32) -> Option<&Segment<F>> {
        if id == self.active.id {
            return Some(&self.active);
        }
        let index = self.sealed.binary_search_by_key(&id, |segment| segment.id).ok()?;
        self.sealed.get(index)
    }
}

/// The part of a segment that is looked through for what is to be moved with each commit, at least.
const MOVED_PER_COMMIT: u64 = 128;
/// The same when there is nothing else to do.
const MOVED_WHEN_IDLE: u64 = 32;
