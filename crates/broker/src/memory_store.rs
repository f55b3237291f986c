//! A store that keeps nothing longer than the process: every batch is "persisted" at once.
//!
//! Sessions live in the shard anyway; all this store has to hold are the messages that sessions
//! have let go of, until they are loaded again.

use crate::persist::{Owed, Record, Sequence, SessionKey};
use std::collections::{BTreeMap, HashMap};

/// Holds spilled messages in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    spilled: HashMap<SessionKey, Spilled>,
    /// What sessions had left here that have ended.
    ended: Vec<Spilled>,
}

/// What a session has left here.
#[derive(Debug, Default)]
pub struct Spilled {
    messages: BTreeMap<Sequence, Owed>,
    weight: usize,
}

impl MemoryStore {
    /// Takes a batch of records. When this returns they count as persisted.
    pub fn persist(&mut self, records: Vec<Record>) {
        for record in records {
            match record {
                Record::Owed { key, owed, spilled: true } => {
                    let spilled = self.spilled.entry(key).or_default();
                    spilled.weight += owed.weight();
                    spilled.messages.insert(owed.sequence, owed);
                }
                Record::SessionEnded(key) => {
                    self.ended.extend(self.spilled.remove(&key));
                }
                _ => {}
            }
        }
    }

    /// What a session has left here that has ended meanwhile. It is for the shard to
    /// [free](crate::Shard::discard), which is to be asked for after every batch.
    pub fn take_ended(&mut self) -> Option<Spilled> {
        self.ended.pop()
    }

    /// Gives back the first spilled messages of a session, in order: at least one, then as many as
    /// fit into `bytes_max`. They are the session's to hold from now on.
    pub fn load(&mut self, key: SessionKey, bytes_max: usize) -> Vec<Owed> {
        let Some(queue) = self.spilled.get_mut(&key) else {
            return Vec::new();
        };
        let (mut loaded, mut bytes) = (Vec::new(), 0);
        while let Some(first) = queue.messages.first_entry() {
            bytes += first.get().bytes();
            if bytes > bytes_max && !loaded.is_empty() {
                break;
            }
            queue.weight -= first.get().weight();
            loaded.push(first.remove());
        }
        if queue.messages.is_empty() {
            self.spilled.remove(&key);
        }
        loaded
    }

    /// How many messages are spilled, of all sessions that have not ended.
    pub fn spilled(&self) -> usize {
        self.spilled.values().map(|queue| queue.messages.len()).sum()
    }
}

impl Spilled {
    /// Its messages, and what they weigh.
    pub(crate) fn into_messages(self) -> (impl Iterator<Item = Owed> + Send, usize) {
        (self.messages.into_values(), self.weight)
    }
}
