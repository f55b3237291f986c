//! Stores behind the seam of records and tickets.
//!
//! A [`Store`] does its work when it is asked to. *When* the shard's requests reach it is not its
//! business: [`World`](crate::World) holds them back, in their order, if the test says so.

use noctule_broker::{MemoryStore, Owed, Record, SessionKey, Spilled};

/// Something that can keep records and give back what sessions have let go of.
pub trait Store {
    /// Keeps these records. They count as persisted when this returns.
    fn persist(&mut self, records: Vec<Record>);

    /// Gives back the first messages that a session left to the store, about `bytes_max` bytes of
    /// them but at least one.
    fn load(&mut self, key: SessionKey, bytes_max: usize) -> Vec<Owed>;

    /// What a session had left to it that has ended, if the shard is to free that.
    fn take_ended(&mut self) -> Option<Spilled> {
        None
    }

    /// How many messages are left to the store, of all sessions.
    fn spilled(&self) -> usize;
}

/// The broker's own memory store.
#[derive(Debug, Default)]
pub struct PromptStore(MemoryStore);

impl Store for PromptStore {
    fn persist(&mut self, records: Vec<Record>) {
        self.0.persist(records);
    }

    fn load(&mut self, key: SessionKey, bytes_max: usize) -> Vec<Owed> {
        self.0.load(key, bytes_max)
    }

    fn take_ended(&mut self) -> Option<Spilled> {
        self.0.take_ended()
    }

    fn spilled(&self) -> usize {
        self.0.spilled()
    }
}
