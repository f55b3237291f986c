//! Whether every message came once and in order.
//!
//! A [`Sequence`] watches one publisher's messages at one subscriber. It knows nothing of sockets;
//! tests feed it by hand. The invariant: what it calls lost never arrived, whatever the order in
//! which the rest came.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

/// What went wrong, in messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Sent and never delivered.
    pub lost: u64,
    /// Delivered again.
    pub doubled: u64,
    /// Delivered behind a later one of the same publisher.
    pub reordered: u64,
    /// Delivered though nobody sent it, or with another size or QoS, or unreadable.
    pub foreign: u64,
    /// Sent with QoS 1 or 2 and not acknowledged, refused, or acknowledged out of order
    /// `[MQTT3-4.6.0-2]`.
    pub unacknowledged: u64,
}

impl Faults {
    /// Whether nothing went wrong.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.foreign += other.foreign;
        self.unacknowledged += other.unacknowledged;
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = [
            (self.lost, "lost"),
            (self.doubled, "doubled"),
            (self.reordered, "reordered"),
            (self.foreign, "foreign"),
            (self.unacknowledged, "unacknowledged"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
        if words.is_empty() { f.write_str("none") } else { f.write_str(&words.join(", ")) }
    }
}

/// The messages of one publisher as one subscriber gets them.
#[derive(Debug, Default)]
pub struct Sequence {
    /// One more than the highest number seen.
    next: u64,
    delivered: u64,
    /// Numbers below `next` that have not arrived: first to one past the last.
    missing: BTreeMap<u64, u64>,
    faults: Faults,
}

impl Sequence {
    /// Notes that message number `number` arrived when `sent` had been sent; whether it is one of
    /// ours that came for the first time.
    #[inline]
    pub fn arrived(&mut self, number: u64, sent: u64) -> bool {
        if number == self.next && number < sent {
            self.next += 1;
            self.delivered += 1;
            true
        } else {
            self.arrived_oddly(number, sent)
        }
    }

    #[cold]
    fn arrived_oddly(&mut self, number: u64, sent: u64) -> bool {
        let before = self.delivered;
        if number >= sent {
            self.faults.foreign += 1;
        } else if number > self.next {
            self.missing.insert(self.next, number);
            self.next = number + 1;
            self.delivered += 1;
        } else if self.found(number) {
            self.faults.reordered += 1;
            self.delivered += 1;
        } else {
            self.faults.doubled += 1;
        }
        self.delivered > before
    }

    /// Takes `number` from the missing ones, if it is one of them.
    fn found(&mut self, number: u64) -> bool {
        let Some((&from, &to)) = self.missing.range(..=number).next_back() else {
            return false;
        };
        if number >= to {
            return false;
        }
        self.missing.remove(&from);
        if from < number {
            self.missing.insert(from, number);
        }
        if number + 1 < to {
            self.missing.insert(number + 1, to);
        }
        true
    }

    /// One more than the highest number seen: all below arrived, or will hardly come any more.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Whether none is missing below [`next`](Self::next).
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty()
    }

    /// How many different messages arrived.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// What went wrong, if nothing more arrives of the `sent` messages.
    pub fn faults(&self, sent: u64) -> Faults {
        Faults { lost: sent.saturating_sub(self.delivered), ..self.faults }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(numbers: &[u64], sent: u64) -> Faults {
        let mut sequence = Sequence::default();
        for &number in numbers {
            sequence.arrived(number, sent);
        }
        sequence.faults(sent)
    }

    #[test]
    fn what_comes_once_and_in_order_is_clean() {
        assert!(fed(&[0, 1, 2, 3], 4).is_clean());
        assert!(fed(&[], 0).is_clean());
    }

    #[test]
    fn a_broker_that_loses_is_reported() {
        let lost = |lost| Faults { lost, ..Faults::default() };
        assert_eq!(fed(&[0, 2, 3], 4), lost(1));
        assert_eq!(fed(&[0, 1], 4), lost(2));
        assert_eq!(fed(&[5], 6), lost(5));
        assert_eq!(fed(&[], 3), lost(3));
    }

    #[test]
    fn a_broker_that_doubles_is_reported() {
        let doubled = |doubled| Faults { doubled, ..Faults::default() };
        assert_eq!(fed(&[0, 1, 1, 2], 3), doubled(1));
        assert_eq!(fed(&[0, 1, 2, 0, 1], 3), doubled(2));
    }

    #[test]
    fn a_broker_that_reorders_is_reported_and_nothing_is_called_lost() {
        let reordered = |reordered| Faults { reordered, ..Faults::default() };
        assert_eq!(fed(&[1, 0, 2], 3), reordered(1));
        assert_eq!(fed(&[4, 2, 0, 1, 3], 5), reordered(4));
    }

    #[test]
    fn a_gap_is_open_until_the_last_of_it_arrived() {
        let mut sequence = Sequence::default();
        for (number, is_whole) in [(0, true), (3, false), (1, false), (2, true)] {
            sequence.arrived(number, 4);
            assert_eq!(sequence.is_whole(), is_whole, "after {number}");
        }
    }

    #[test]
    fn a_late_message_that_comes_again_is_doubled() {
        let expected = Faults { reordered: 1, doubled: 2, lost: 1, ..Faults::default() };
        assert_eq!(fed(&[0, 3, 1, 1, 3], 4), expected);
    }

    #[test]
    fn what_was_never_sent_is_foreign_and_hides_no_loss() {
        let expected = Faults { foreign: 2, lost: 1, ..Faults::default() };
        assert_eq!(fed(&[0, 2, 1 << 40], 2), expected);
    }

    #[test]
    fn all_at_once_is_told_apart() {
        let faults = fed(&[0, 1, 1, 4, 3, 9], 6);
        let expected = Faults { lost: 2, doubled: 1, reordered: 1, foreign: 1, unacknowledged: 0 };
        assert_eq!(faults, expected);
        assert_eq!(faults.to_string(), "2 lost, 1 doubled, 1 reordered, 1 foreign");
        assert_eq!(Faults::default().to_string(), "none");
    }
}
