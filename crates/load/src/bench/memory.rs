//! The broker's memory while a run goes on, looked at whenever somebody watches anyway.

use crate::LoadError;
use crate::process::{self, Resident};
use crate::watcher::{Moment, Watcher};

/// Another's watcher, and the memory of a process.
pub(super) struct Weighing<'a> {
    pid: Option<u32>,
    begin: u64,
    peak: u64,
    inner: &'a mut dyn Watcher,
    has_ended: bool,
}

impl<'a> Weighing<'a> {
    pub(super) fn new(pid: Option<u32>, inner: &'a mut dyn Watcher) -> Result<Self, LoadError> {
        let begin = pid.map_or(Ok(0), process::resident)?;
        Ok(Self { pid, begin, peak: begin, inner, has_ended: false })
    }

    /// What was seen, and what is now.
    pub(super) fn resident(&self) -> Result<Option<Resident>, LoadError> {
        let end = self.pid.map(process::resident).transpose()?;
        Ok(end.map(|end| Resident { begin: self.begin, peak: self.peak.max(end), end }))
    }

    /// Whether somebody wanted to go on no more.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }
}

impl Watcher for Weighing<'_> {
    fn go_on(&mut self, moment: &Moment<'_>) -> bool {
        if let Some(Ok(now)) = self.pid.map(process::resident) {
            self.peak = self.peak.max(now);
        }
        let goes_on = self.inner.go_on(moment);
        self.has_ended |= !goes_on;
        goes_on
    }
}
