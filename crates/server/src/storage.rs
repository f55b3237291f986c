//! Where a loop's records go: to the log on disk that all loops share, or into memory.

use noctule_broker::{
    Event, MemoryStore, Record, Sequence, SessionHandle, SessionKey, Spilled, Stage, StoreState,
    Ticket,
};
use noctule_store::ShardStore;

/// The store of a loop.
#[derive(Debug)]
pub(crate) enum Storage {
    /// Nothing survives the process.
    Memory(MemoryStore),
    /// What is promised is on disk. Its events come as letters.
    Log(ShardStore),
}

impl Storage {
    /// Keeps records until they are that safe. The event that says so, if it is there already.
    pub(crate) fn persist(
        &mut self,
        stage: Stage,
        ticket: Ticket,
        records: Vec<Record>,
    ) -> Option<Event> {
        match self {
            Self::Memory(store) => {
                store.persist(records);
                Some(Event::Persisted(ticket))
            }
            Self::Log(store) => {
                store.persist_until(stage, ticket, records);
                None
            }
        }
    }

    /// What a session had left in memory that has ended, for the shard to free; to be asked after
    /// [`persist`](Self::persist).
    pub(crate) fn take_ended(&mut self) -> Option<Spilled> {
        match self {
            Self::Memory(store) => store.take_ended(),
            Self::Log(_) => None,
        }
    }

    /// Gives back what a session has left to it. The event with it, if it is there already.
    pub(crate) fn load(
        &mut self,
        session: SessionHandle,
        key: SessionKey,
        after: Sequence,
        bytes_max: usize,
    ) -> Option<Event> {
        match self {
            Self::Memory(store) => {
                Some(Event::Loaded { session, messages: store.load(key, bytes_max) })
            }
            Self::Log(store) => {
                store.load(session, key, after, bytes_max);
                None
            }
        }
    }

    /// What it can take now.
    pub(crate) fn state(&self) -> StoreState {
        match self {
            Self::Memory(_) => StoreState::default(),
            Self::Log(store) => {
                StoreState { is_backed_up: store.is_backed_up(), lacks_space: !store.has_space() }
            }
        }
    }
}
