//! The last word about each retained topic.
//!
//! A topic is known by a number of 128 bits that it hashes to, and not by its text, which is in the
//! log and in the broker's memory already. The hash is keyed with numbers that nobody outside knows,
//! so that clients cannot choose topics with the same one; that two of a billion topics have it by
//! chance is as likely as one in 10^20.

use super::Location;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// Room for eight times so many is never too much.
const ROOM_KEPT: usize = 64;

/// The last word about a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retained {
    pub(crate) sequence: u64,
    pub(crate) at: Location,
    /// There is no message. That is remembered for a while, as an older one may still come.
    pub(crate) cleared: bool,
}

/// Retained topics.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    words: HashMap<[u64; 2], Word, foldhash::fast::FixedState>,
    keys: [RandomState; 2],
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
        self.words.insert(self.key(topic), word).map(Word::retained)
    }

    pub(crate) fn remove(&mut self, topic: &[u8]) -> Option<Retained> {
        let removed = self.words.remove(&self.key(topic)).map(Word::retained);
        // What a burst has left is given back when most of it is gone.
        let len = self.words.len();
        if self.words.capacity() > 8 * len.max(ROOM_KEPT) {
            self.words.shrink_to(2 * len);
        }
        removed
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
        assert_eq!(topics.remove(b"b"), Some(word(2, 2, true)));
        assert_eq!(topics.get(b"b"), None);
        assert_eq!(size_of::<([u64; 2], Word)>(), 32);
    }
}
