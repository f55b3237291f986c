//! What the shards of a test share. No rule lives here, as in the server; a `RefCell` for each part
//! has a callback that asks for a part it is in fail instead of waiting for ever.

use noctule_broker::{CommonMemory, Commons, Epochs, INTEREST_PARTS, Interest, Retained};
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

/// Parts of the retained messages: several, and few enough that each has some.
const RETAINED_PARTS: usize = 3;
/// Places client identifiers; fixed, so that a name always lives on the same shard.
const SEED: u64 = 11;

/// The commons of shards in one thread.
pub(crate) struct Shared {
    shards: u16,
    epochs: Arc<Epochs>,
    connections: AtomicUsize,
    memory: Arc<CommonMemory>,
    interest: Vec<RefCell<Interest>>,
    retained_sequence: AtomicU64,
    retained: Vec<RefCell<Retained>>,
}

impl Shared {
    pub(crate) fn new(shards: u16) -> Self {
        let interest = || RefCell::new(Interest::new(SEED));
        Self {
            shards,
            epochs: Arc::default(),
            connections: AtomicUsize::new(0),
            memory: Arc::default(),
            interest: std::iter::repeat_with(interest).take(INTEREST_PARTS).collect(),
            retained_sequence: AtomicU64::new(0),
            retained: std::iter::repeat_with(RefCell::default).take(RETAINED_PARTS).collect(),
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("shards", &self.shards).finish_non_exhaustive()
    }
}

impl Commons for Shared {
    fn shards(&self) -> u16 {
        self.shards
    }

    fn seed(&self) -> u64 {
        SEED
    }

    fn epochs(&self) -> Arc<Epochs> {
        Arc::clone(&self.epochs)
    }

    fn connections(&self) -> &AtomicUsize {
        &self.connections
    }

    fn memory(&self) -> &Arc<CommonMemory> {
        &self.memory
    }

    fn read_interest(&self, part: usize, read: &mut dyn FnMut(&Interest)) {
        read(&self.interest[part].borrow());
    }

    fn change_interest(&self, part: usize, change: &mut dyn FnMut(&mut Interest)) {
        change(&mut self.interest[part].borrow_mut());
    }

    fn retained_sequence(&self) -> &AtomicU64 {
        &self.retained_sequence
    }

    fn retained_parts(&self) -> usize {
        RETAINED_PARTS
    }

    fn read_retained(&self, part: usize, read: &mut dyn FnMut(&Retained)) {
        read(&self.retained[part].borrow());
    }

    fn change_retained(&self, part: usize, change: &mut dyn FnMut(&mut Retained)) {
        change(&mut self.retained[part].borrow_mut());
    }
}
