//! How much of each segment still counts.

use super::Location;
use std::collections::BTreeMap;

/// Records that still count, by segment.
#[derive(Debug, Default)]
pub(crate) struct Live(BTreeMap<u32, u64>);

impl Live {
    pub(crate) fn gain(&mut self, at: Location) {
        *self.0.entry(at.segment).or_default() += 1;
    }

    pub(crate) fn lose(&mut self, at: Location) {
        if let Some(count) = self.0.get_mut(&at.segment) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&at.segment);
            }
        }
    }

    /// For planted faults: as if nothing in a segment counted.
    pub(crate) fn forget(&mut self, segment: u32) {
        self.0.remove(&segment);
    }

    pub(crate) fn in_segment(&self, segment: u32) -> u64 {
        self.0.get(&segment).copied().unwrap_or(0)
    }
}
