//! Which retained messages the store may not have yet.
//!
//! A retained message is in the table before it is stored, and all shards read the table. What one
//! shard stores because of what it has read of another's could be stored before that, and be all that
//! is left after a crash. Whoever stores something because of it asks here first, and if it has to
//! wait is told when there is news.

use crate::commons::ShardId;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// For each shard the first retained message that it has set and that may not be stored.
///
/// Both sides are in one order for all shards (`SeqCst`): of a shard whose message is stored and one
/// that begins to wait for it, at least one sees the other.
#[derive(Debug)]
pub struct Unstored {
    first: Box<[AtomicU64]>,
    is_awaited: AtomicBool,
}

impl Unstored {
    /// Nothing is on its way to the store, in so many shards.
    pub fn new(shards: u16) -> Self {
        let none = || AtomicU64::new(NONE);
        Self {
            first: std::iter::repeat_with(none).take(usize::from(shards)).collect(),
            is_awaited: AtomicBool::new(false),
        }
    }

    /// A shard has set a message, and everything it had set before is stored. To be said with the
    /// part in hand in which the message is.
    pub(crate) fn begin(&self, shard: ShardId, sequence: u64) {
        self.put(shard, sequence);
    }

    /// The first message of a shard that may not be stored is now this; none if all are. Returns
    /// whether somebody waits to hear of it, once.
    pub(crate) fn advance(&self, shard: ShardId, first: Option<u64>) -> bool {
        self.put(shard, first.unwrap_or(NONE));
        self.is_awaited.swap(false, Ordering::SeqCst)
    }

    fn put(&self, shard: ShardId, first: u64) {
        if let Some(place) = self.first.get(usize::from(shard.0)) {
            place.store(first, Ordering::SeqCst);
        }
    }

    /// All messages of other shards before this one are stored. To be asked with a part in hand, for
    /// what is in it.
    pub(crate) fn stored_before(&self, asking: ShardId) -> u64 {
        self.lowest(|shard| shard != usize::from(asking.0))
    }

    /// All messages of all shards before this one are stored, of those topics that the store knows a later
    /// word about: whoever said that had the part in hand in which the older one was. A single shard
    /// notes nothing, as what it sets comes to the store in its order.
    pub fn all_stored_before(&self) -> u64 {
        self.lowest(|_| true)
    }

    fn lowest(&self, counts: impl Fn(usize) -> bool) -> u64 {
        let all = self.first.iter().enumerate().filter(|(shard, _)| counts(*shard));
        all.map(|(_, first)| first.load(Ordering::SeqCst)).min().unwrap_or(NONE)
    }

    /// Somebody waits for news. What he waits for may have happened before this was said.
    pub(crate) fn wait(&self) {
        self.is_awaited.store(true, Ordering::SeqCst);
    }
}

const NONE: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_messages_do_not_count_and_news_is_told_once_to_who_waits() {
        let unstored = Unstored::new(3);
        unstored.begin(ShardId(1), 7);
        unstored.begin(ShardId(2), 9);
        assert_eq!(unstored.stored_before(ShardId(0)), 7);
        assert_eq!(unstored.stored_before(ShardId(1)), 9);
        assert_eq!(unstored.all_stored_before(), 7);
        assert!(!unstored.advance(ShardId(1), Some(12)));
        assert_eq!(unstored.stored_before(ShardId(0)), 9);
        unstored.wait();
        assert!(unstored.advance(ShardId(2), None));
        assert!(!unstored.advance(ShardId(1), None));
        assert_eq!(unstored.stored_before(ShardId(0)), u64::MAX);
    }
}
