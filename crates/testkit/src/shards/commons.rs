//! What the shards of a test share. No rule lives here, as in the server; a `RefCell` for each part
//! has a callback that asks for a part it is in fail instead of waiting for ever.

use noctule_broker::{
    CommonMemory, Commons, Epochs, INTEREST_PARTS, Interest, Retained, RetainedTraces,
};
use std::cell::{Cell, RefCell};
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
    retained_traces: RetainedTraces,
    retained: Vec<RefCell<Retained>>,
    /// What another shard does in the middle of somebody's work, and at which question from now.
    ambush: RefCell<Option<Ambush>>,
    fuse: Cell<usize>,
    /// Somebody has a part in hand.
    inside: Cell<bool>,
}

/// See [`Shared::lay_ambush`].
type Ambush = Box<dyn FnOnce()>;

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
            retained_traces: RetainedTraces::default(),
            retained: std::iter::repeat_with(RefCell::default).take(RETAINED_PARTS).collect(),
            ambush: RefCell::default(),
            fuse: Cell::new(0),
            inside: Cell::new(false),
        }
    }

    /// Has something happen when the shard that is at work next asks for what is shared, `fuse`
    /// questions from now: between threads, others go on at any moment, and those are the moments
    /// that matter.
    pub(super) fn lay_ambush(&self, fuse: usize, ambush: Ambush) {
        self.fuse.set(fuse);
        *self.ambush.borrow_mut() = Some(ambush);
    }

    /// What was laid and has not happened.
    pub(super) fn lift_ambush(&self) -> Option<Ambush> {
        self.ambush.borrow_mut().take()
    }

    /// How many filters shards want, in all parts.
    pub(super) fn interests(&self) -> usize {
        self.interest.iter().map(|part| part.borrow().len()).sum()
    }

    /// Nobody has a part in hand: the moment for an ambush.
    fn pause(&self) {
        if self.inside.get() || self.ambush.borrow().is_none() {
            return;
        }
        match self.fuse.get() {
            0 => {
                if let Some(ambush) = self.lift_ambush() {
                    ambush();
                }
            }
            fuse => self.fuse.set(fuse - 1),
        }
    }

    /// Does something with a part in hand.
    fn with_part(&self, work: impl FnOnce()) {
        self.pause();
        self.inside.set(true);
        work();
        self.inside.set(false);
        self.pause();
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
        self.with_part(|| read(&self.interest[part].borrow()));
    }

    fn change_interest(&self, part: usize, change: &mut dyn FnMut(&mut Interest)) {
        self.with_part(|| change(&mut self.interest[part].borrow_mut()));
    }

    fn retained_sequence(&self) -> &AtomicU64 {
        self.pause();
        &self.retained_sequence
    }

    fn retained_traces(&self) -> &RetainedTraces {
        &self.retained_traces
    }

    fn retained_parts(&self) -> usize {
        RETAINED_PARTS
    }

    fn read_retained(&self, part: usize, read: &mut dyn FnMut(&Retained)) {
        self.with_part(|| read(&self.retained[part].borrow()));
    }

    fn change_retained(&self, part: usize, change: &mut dyn FnMut(&mut Retained)) {
        self.with_part(|| change(&mut self.retained[part].borrow_mut()));
    }
}
