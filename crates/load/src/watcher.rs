//! Those who watch a run: what they are told, and that they may end it.

use std::time::Duration;

use crate::latency::Latency;

/// How a run stands.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// Since its beginning.
    pub elapsed: Duration,
    /// Messages sent, or connections begun.
    pub sent: u64,
    /// Messages delivered, or connections made.
    pub delivered: u64,
    /// How long they took so far.
    pub latency: &'a Latency,
}

/// Who watches.
pub trait Watcher {
    /// Is asked about ten times a second whether the run is to go on. What is under way when the
    /// answer is no is waited for.
    fn go_on(&mut self, moment: &Moment<'_>) -> bool;
}

/// Nobody: the run goes on to its end.
#[derive(Debug, Clone, Copy)]
pub struct Nobody;

impl Watcher for Nobody {
    fn go_on(&mut self, _: &Moment<'_>) -> bool {
        true
    }
}
