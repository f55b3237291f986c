//! The locks around what shards share. No rule lives here: the parts and their rules are the
//! broker's.

#[cfg(test)]
mod races;

use noctule_broker::{
    CommonMemory, Commons, Epochs, INTEREST_PARTS, Interest, RETAINED_PARTS, Retained,
    RetainedTraces, Unstored,
};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// What the shards of this process share.
pub(crate) struct Shared {
    shards: u16,
    seed: u64,
    epochs: Arc<Epochs>,
    connections: AtomicUsize,
    memory: Arc<CommonMemory>,
    interest: Vec<RwLock<Interest>>,
    retained_sequence: AtomicU64,
    retained_traces: RetainedTraces,
    retained: Vec<Mutex<Retained>>,
    pub(crate) unstored: Arc<Unstored>,
}

/// One shard's access to it.
pub(crate) struct Access(pub(crate) Arc<Shared>);

impl Shared {
    pub(crate) fn new(shards: u16, seed: u64) -> Self {
        let interest = || RwLock::new(Interest::new(seed));
        Self {
            shards,
            seed,
            epochs: Arc::default(),
            connections: AtomicUsize::new(0),
            memory: Arc::default(),
            interest: std::iter::repeat_with(interest).take(INTEREST_PARTS).collect(),
            retained_sequence: AtomicU64::new(0),
            retained_traces: RetainedTraces::default(),
            retained: std::iter::repeat_with(Mutex::default).take(RETAINED_PARTS).collect(),
            unstored: Arc::new(Unstored::new(shards)),
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("shards", &self.0.shards).finish_non_exhaustive()
    }
}

// A thread that panics ends the process (the release aborts, and in a debug build the loop's end
// stops the others), so what a poisoned lock guards is used once more at the most.
impl Commons for Access {
    fn shards(&self) -> u16 {
        self.0.shards
    }

    fn seed(&self) -> u64 {
        self.0.seed
    }

    fn epochs(&self) -> Arc<Epochs> {
        Arc::clone(&self.0.epochs)
    }

    fn connections(&self) -> &AtomicUsize {
        &self.0.connections
    }

    fn memory(&self) -> &Arc<CommonMemory> {
        &self.0.memory
    }

    fn read_interest(&self, part: usize, read: &mut dyn FnMut(&Interest)) {
        read(&self.0.interest[part].read().unwrap_or_else(PoisonError::into_inner));
    }

    fn change_interest(&self, part: usize, change: &mut dyn FnMut(&mut Interest)) {
        change(&mut self.0.interest[part].write().unwrap_or_else(PoisonError::into_inner));
    }

    fn retained_sequence(&self) -> &AtomicU64 {
        &self.0.retained_sequence
    }

    fn retained_traces(&self) -> &RetainedTraces {
        &self.0.retained_traces
    }

    fn retained_parts(&self) -> usize {
        RETAINED_PARTS
    }

    fn unstored(&self) -> &Unstored {
        &self.0.unstored
    }

    fn read_retained(&self, part: usize, read: &mut dyn FnMut(&Retained)) {
        read(&self.0.retained[part].lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn change_retained(&self, part: usize, change: &mut dyn FnMut(&mut Retained)) {
        change(&mut self.0.retained[part].lock().unwrap_or_else(PoisonError::into_inner));
    }
}
