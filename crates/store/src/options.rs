//! What a store is opened with.

use crate::faults::Faults;
use noctule_broker::{Stage, Unstored};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When records count as persisted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When they are on stable storage. Nothing that was acknowledged is lost.
    #[default]
    Always,
    /// When they are handed to the operating system, which puts them on stable storage at this
    /// interval. If the process is killed nothing is lost; if the machine fails, what came since.
    Interval(Duration),
    /// When they are handed to the operating system, which does with them as it likes. If the
    /// process is killed nothing is lost; if the machine fails, about the last half minute.
    Never,
}

/// How a store works.
#[derive(Debug, Clone)]
pub struct Options {
    /// When records count as persisted, unless whoever hands them in says otherwise.
    pub durability: Durability,
    /// How long what nobody waits for may be written and not flushed; as long as the operating system
    /// likes if `None`. [`Durability::Interval`] says it, too.
    pub flush_within: Option<Duration>,
    /// Whether to say [`Event::Written`](noctule_broker::Event::Written) before a flush.
    pub says_written: bool,
    /// Bytes of a segment, in whole 4 KiB and at least two of them. A batch that is larger gets a
    /// segment of its own.
    pub segment_bytes: u32,
    /// With less free space than this, in bytes, new durable messages should be refused.
    pub free_bytes_min: u64,
    /// Bytes of records that may be under way to the disk before publishers should wait.
    pub in_flight_bytes_max: usize,
    /// What says how far retained messages have come to the store; without it topics that were cleared are
    /// remembered until the store is opened again.
    pub unstored: Option<Arc<Unstored>>,
    /// The wall clock, in milliseconds since 1970.
    pub clock: fn() -> u64,
    /// A fault to be found by tests.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Always,
            flush_within: None,
            says_written: false,
            segment_bytes: 32 << 20,
            free_bytes_min: 256 << 20,
            in_flight_bytes_max: 64 << 20,
            unstored: None,
            clock: system_clock,
            faults: Faults::default(),
        }
    }
}

impl Options {
    /// How safe records have to become if nobody says.
    pub(crate) fn usual(&self) -> Stage {
        match self.durability {
            Durability::Always => Stage::Flushed,
            Durability::Interval(_) | Durability::Never => Stage::Written,
        }
    }

    /// Whether most of what is written is flushed at once, so that it need not lie in the memory of the
    /// operating system before.
    pub(crate) fn flushes_each(&self) -> bool {
        self.usual() == Stage::Flushed && !self.says_written
    }

    /// How long something may be written and not flushed.
    pub(crate) fn flush_interval(&self) -> Option<Duration> {
        match self.durability {
            Durability::Interval(interval) => {
                Some(self.flush_within.map_or(interval, |within| within.min(interval)))
            }
            Durability::Always | Durability::Never => self.flush_within,
        }
    }

    /// With a segment size that is one.
    pub(crate) fn sound(mut self) -> Self {
        const STEP: u32 = 4_096;
        let whole = self.segment_bytes.checked_next_multiple_of(STEP).unwrap_or(1 << 31);
        self.segment_bytes = whole.clamp(2 * STEP, 1 << 31);
        self
    }
}

fn system_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_segment_size_becomes_one_that_works() {
        for (asked, got) in [(0, 8_192), (8_193, 12_288), (16 << 10, 16 << 10), (u32::MAX, 1 << 31)]
        {
            let options = Options { segment_bytes: asked, ..Options::default() };
            assert_eq!(options.sound().segment_bytes, got);
        }
    }
}
