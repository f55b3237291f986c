//! Shards whose store is the test's, and that end without a word and begin anew with what it has
//! kept.

use super::Shards;
use noctule_broker::{Action, Commons, Event, Limits, Message, StoredSession};
use noctule_session::Now;

/// What a store gives back to shards that begin.
#[derive(Debug, Default)]
pub struct Given {
    /// Sessions, each for the shard of its client identifier.
    pub sessions: Vec<StoredSession>,
    /// Retained messages with their places in the order of all.
    pub retained: Vec<(u64, Message)>,
    /// The place of the next one.
    pub next_retained: u64,
    /// The first key that no session had.
    pub next_key: u64,
}

impl Shards {
    /// So many shards that begin with what a store has kept. Their stores are held: what is asked of
    /// them is for the test to [take](Self::take_asked) and to [answer](Self::answer).
    pub fn beginning_with(shards: usize, limits: &Limits, given: Given, now: Now) -> Self {
        let mut w = Self::keyed(shards, limits, given.next_key.max(1), now);
        for shard in 0..shards {
            w.hold_store(shard);
        }
        w.nodes[0].shard.borrow_mut().restore_retained(given.retained, given.next_retained, now);
        for session in given.sessions {
            let home = noctule_broker::home(&*w.shared, &session.client_id);
            let home = usize::from(home.0).min(shards - 1);
            w.nodes[home].shard.borrow_mut().restore(session, now);
        }
        for node in &w.nodes {
            node.shard.borrow_mut().go_on_restored(now);
        }
        w.settle();
        w
    }

    /// All retained messages before this place in the order of all have been stored, as the shards know.
    pub fn all_stored_before(&self) -> u64 {
        self.shared.unstored().all_stored_before()
    }

    /// Takes what a shard asked its held store first.
    pub fn take_asked(&mut self, shard: usize) -> Option<Action> {
        self.nodes[shard].asked.pop_front()
    }

    /// Whether a shard has asked its held store for something.
    pub fn has_asked(&self) -> bool {
        self.nodes.iter().any(|node| !node.asked.is_empty())
    }

    /// Whether this shard has.
    pub fn has_asked_of(&self, shard: usize) -> bool {
        !self.nodes[shard].asked.is_empty()
    }

    /// Hands the answer of the store to a shard, and has all shards do what follows.
    pub fn answer(&mut self, shard: usize, event: Event) {
        self.nodes[shard].shard.borrow_mut().handle(event, self.now);
        self.settle();
    }

    /// The broker ends without a word, and what its clients have not heard is lost. Returns what has
    /// happened in its life, as far as it was kept.
    pub fn abandon(mut self) -> String {
        // Nobody looks at the rest.
        self.watch.is_on = true;
        self.transcript.to_string()
    }

    /// The time.
    pub fn now(&self) -> Now {
        self.now
    }
}
