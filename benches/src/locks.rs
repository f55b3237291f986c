//! What the shards of a benchmark share, with the locks that the broker's building puts around it:
//! the interest map of the one design, the index or the directory of the others.

use noctule_broker::bench::{CommonIndex, DirectoryPart, Parts};
use noctule_broker::{
    CommonMemory, Commons, Epochs, INTEREST_PARTS, Interest, Retained, RetainedTraces,
};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Everything in common; each design uses its half.
pub(crate) struct Locks {
    shards: u16,
    epochs: Arc<Epochs>,
    connections: AtomicUsize,
    memory: Arc<CommonMemory>,
    sequence: AtomicU64,
    retained_traces: RetainedTraces,
    interest: Vec<RwLock<Interest>>,
    index: Vec<RwLock<CommonIndex>>,
    directory: Vec<RwLock<DirectoryPart>>,
    retained: Mutex<Retained>,
}

/// Strings hash alike in every run.
pub(crate) const SEED: u64 = 0x6E6F_6374_756C_6521;

impl Locks {
    pub(crate) fn new(shards: u16) -> Arc<Self> {
        let interest = || RwLock::new(Interest::new(SEED));
        let index = || RwLock::new(CommonIndex::new(SEED));
        let directory = || RwLock::new(DirectoryPart::new(SEED));
        Arc::new(Self {
            shards,
            epochs: Arc::default(),
            connections: AtomicUsize::new(0),
            memory: Arc::default(),
            sequence: AtomicU64::new(0),
            retained_traces: RetainedTraces::default(),
            interest: std::iter::repeat_with(interest).take(INTEREST_PARTS).collect(),
            index: std::iter::repeat_with(index).take(INTEREST_PARTS).collect(),
            directory: std::iter::repeat_with(directory).take(INTEREST_PARTS).collect(),
            retained: Mutex::default(),
        })
    }
}

/// A shard's access to it.
#[derive(Clone)]
pub(crate) struct Access(pub(crate) Arc<Locks>);

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("shards", &self.0.shards).finish_non_exhaustive()
    }
}

impl Commons for Access {
    fn shards(&self) -> u16 {
        self.0.shards
    }

    fn seed(&self) -> u64 {
        SEED
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
        &self.0.sequence
    }

    fn retained_traces(&self) -> &RetainedTraces {
        &self.0.retained_traces
    }

    fn retained_parts(&self) -> usize {
        1
    }

    fn read_retained(&self, _: usize, read: &mut dyn FnMut(&Retained)) {
        read(&self.0.retained.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn change_retained(&self, _: usize, change: &mut dyn FnMut(&mut Retained)) {
        change(&mut self.0.retained.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Parts<CommonIndex> for Access {
    fn read_part(&self, part: usize, read: &mut dyn FnMut(&CommonIndex)) {
        read(&self.0.index[part].read().unwrap_or_else(PoisonError::into_inner));
    }

    fn change_part(&self, part: usize, change: &mut dyn FnMut(&mut CommonIndex)) {
        change(&mut self.0.index[part].write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Parts<DirectoryPart> for Access {
    fn read_part(&self, part: usize, read: &mut dyn FnMut(&DirectoryPart)) {
        read(&self.0.directory[part].read().unwrap_or_else(PoisonError::into_inner));
    }

    fn change_part(&self, part: usize, change: &mut dyn FnMut(&mut DirectoryPart)) {
        change(&mut self.0.directory[part].write().unwrap_or_else(PoisonError::into_inner));
    }
}
