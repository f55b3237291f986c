//! The last word about each retained topic.
//!
//! A topic is known by a number of 128 bits that it hashes to, and not by its text, which is in the
//! log and in the broker's memory already. The hash is keyed with numbers that nobody outside knows,
//! so that clients cannot choose topics with the same one; that two of a billion topics have it by
//! chance is as likely as one in 10^20.

use super::Location;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

/// Room for eight times so many is never too much.
const ROOM_KEPT: usize = 64;

/// The last word about a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retained {
    pub(crate) sequence: u64,
    pub(crate) at: Location,
    /// There is no message. That is remembered as long as an older one may still come.
    pub(crate) cleared: bool,
}

/// Retained topics.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    words: HashMap<[u64; 2], Word, foldhash::fast::FixedState>,
    keys: [RandomState; 2],
    /// Those that were cleared and are remembered, with the sequence of that; those of two shards may
    /// stand in the wrong order.
    cleared: VecDeque<([u64; 2], u64)>,
}

/// What is kept of a [`Retained`]: the sequence, twice, and one more if it is cleared.
#[derive(Debug, Clone, Copy)]
struct Word {
    sequence: u64,
    at: Location,
}

impl Topics {
    pub(crate) fn get(&self, topic: &[u8]) -> Option<Retained> {
        self.words.get(&self.key(topic)).map(|word| word.retained())
    }

    /// Returns what was said of the topic before.
    pub(crate) fn set(&mut self, topic: &[u8], retained: Retained) -> Option<Retained> {
        let Retained { sequence, at, cleared } = retained;
        let word = Word { sequence: sequence << 1 | u64::from(cleared), at };
        let key = self.key(topic);
        if cleared {
            self.cleared.push_back((key, sequence));
        }
        self.words.insert(key, word).map(Word::retained)
    }

    /// Forgets a topic that was cleared before this sequence, if there is one. Returns where that was
    /// said, or nothing if more has been said since.
    pub(crate) fn forget_cleared(&mut self, before: u64) -> Option<Option<Location>> {
        let (key, sequence) = self.cleared.pop_front_if(|(_, sequence)| *sequence < before)?;
        let found = self.words.get(&key).map(|word| word.retained());
        let forgotten = found.filter(|found| found.cleared && found.sequence == sequence);
        if forgotten.is_some() {
            self.words.remove(&key);
        }
        // What a burst has left is given back when most of it is gone.
        let (words, cleared) = (self.words.len(), self.cleared.len());
        if self.words.capacity() > 8 * words.max(ROOM_KEPT) {
            self.words.shrink_to(2 * words);
        }
        if self.cleared.capacity() > 8 * cleared.max(ROOM_KEPT) {
            self.cleared.shrink_to(2 * cleared);
        }
        Some(forgotten.map(|forgotten| forgotten.at))
    }

    /// Of those topics that have a message, in no order.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Retained> {
        self.words.values().map(|word| word.retained()).filter(|found| !found.cleared)
    }

    fn key(&self, topic: &[u8]) -> [u64; 2] {
        [self.keys[0].hash_one(topic), self.keys[1].hash_one(topic)]
    }
}

impl Word {
    fn retained(self) -> Retained {
        Retained { sequence: self.sequence >> 1, at: self.at, cleared: self.sequence & 1 == 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_is_what_was_said_last() {
        let mut topics = Topics::default();
        let at = |offset| Location { segment: 7, offset };
        let word = |sequence, offset, cleared| Retained { sequence, at: at(offset), cleared };
        assert_eq!(topics.set(b"a", word(1, 1, false)), None);
        assert_eq!(topics.set(b"b", word(2, 2, true)), None);
        assert_eq!(topics.set(b"a", word(3, 3, false)), Some(word(1, 1, false)));
        assert_eq!(topics.get(b"a"), Some(word(3, 3, false)));
        assert_eq!(topics.get(b"c"), None);
        assert_eq!(topics.messages().collect::<Vec<_>>(), [word(3, 3, false)]);
        assert_eq!(size_of::<([u64; 2], Word)>(), 32);
    }

    #[test]
    fn what_was_cleared_is_forgotten_as_far_as_is_said_unless_more_was_said_since() {
        let mut topics = Topics::default();
        let at = |offset| Location { segment: 7, offset };
        let mut say = |topic: &[u8], sequence, cleared| {
            topics.set(topic, Retained { sequence, at: at(sequence as u32), cleared });
        };
        say(b"again", 1, true);
        say(b"again", 2, false);
        say(b"cleared", 3, true);
        say(b"later", 4, true);
        assert_eq!(topics.forget_cleared(4), Some(None));
        assert_eq!(topics.forget_cleared(4), Some(Some(at(3))));
        assert_eq!(topics.forget_cleared(4), None);
        assert!(topics.get(b"again").is_some() && topics.get(b"cleared").is_none());
        assert!(topics.get(b"later").is_some());
    }

    #[test]
    fn a_million_topics_that_were_cleared_leave_no_room_behind() {
        let mut topics = Topics::default();
        for number in 0..1_000_000u64 {
            let at = Location { segment: 7, offset: 0 };
            topics.set(&number.to_be_bytes(), Retained { sequence: number, at, cleared: true });
        }
        while topics.forget_cleared(u64::MAX).is_some() {}
        assert!(topics.words.capacity() <= 16 * ROOM_KEPT && topics.words.is_empty());
        assert!(topics.cleared.capacity() <= 16 * ROOM_KEPT);
    }
}
