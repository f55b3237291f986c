//! Who sends what cannot be read, said once and then summed up.
//!
//! One address that sends rubbish again and again must not fill the log: the first packet is said at
//! once, those of the next minute together.

use noctule_net::Source;
use std::collections::HashMap;

/// How long nothing more is said about an address, in milliseconds.
const SILENCE_MS: u64 = 60_000;
/// So many addresses are remembered; of further ones only the number is.
const ADDRESSES_MAX: usize = 1_000;

/// Addresses that were complained about.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    addresses: HashMap<Source, Rest>,
    /// When the next of them may be said again, or forgotten.
    next_ms: Option<u64>,
}

/// What is not said of an address for a while.
#[derive(Debug)]
struct Rest {
    until_ms: u64,
    unsaid: u64,
}

impl Complaints {
    /// There is reason to complain about an address. Returns whether that is to be said now.
    pub(crate) fn note(&mut self, address: Source, now_ms: u64) -> bool {
        if let Some(rest) = self.addresses.get_mut(&address) {
            rest.unsaid += 1;
            return false;
        }
        if self.addresses.len() >= ADDRESSES_MAX {
            return false;
        }
        let until_ms = now_ms + SILENCE_MS;
        self.addresses.insert(address, Rest { until_ms, unsaid: 0 });
        self.next_ms.get_or_insert(until_ms);
        true
    }

    /// When there may be something to say.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.next_ms
    }

    /// The addresses whose silence is over, each with how often it would have been complained about.
    pub(crate) fn take_due(&mut self, now_ms: u64) -> Vec<(Source, u64)> {
        if self.next_ms.is_none_or(|next| now_ms < next) {
            return Vec::new();
        }
        let mut due = Vec::new();
        self.addresses.retain(|address, rest| {
            if rest.until_ms > now_ms {
                return true;
            }
            if rest.unsaid == 0 {
                return false;
            }
            due.push((*address, std::mem::take(&mut rest.unsaid)));
            rest.until_ms = now_ms + SILENCE_MS;
            true
        });
        self.next_ms = self.addresses.values().map(|rest| rest.until_ms).min();
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_the_others_are_summed_up_each_minute() {
        let (mut complaints, one, other) =
            (Complaints::default(), Source::User(1), Source::User(2));
        assert!(complaints.note(one, 0));
        assert!(complaints.note(other, 10));
        (0..99).for_each(|_| assert!(!complaints.note(one, 20)));
        assert_eq!(complaints.take_due(59_999), []);
        assert_eq!(complaints.take_due(60_010), [(one, 99)]);
        assert_eq!(complaints.next_ms(), Some(120_010), "the other is forgotten");
        assert!(complaints.note(other, 60_020));
        assert!(!complaints.note(one, 60_020));
        assert_eq!(complaints.take_due(200_000), [(one, 1)]);
        assert_eq!(complaints.take_due(300_000), []);
        assert_eq!(complaints.next_ms(), None);
    }

    #[test]
    fn so_many_addresses_are_remembered_and_no_more() {
        let mut complaints = Complaints::default();
        let said = (0..5_000_u32).filter(|number| complaints.note(Source::User(*number), 0));
        assert_eq!(said.count(), ADDRESSES_MAX);
    }
}
