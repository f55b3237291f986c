//! Clients that were allowed a while ago, so that who comes back need not be asked about again.
//!
//! Neither names nor passwords are kept, but a tag of the whole question under a key that never leaves
//! the process. Only what was allowed is kept: what was denied may be right in a moment.

use super::Asked;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::HashMap;
use std::time::{Duration, Instant};

type Tag = [u8; 32];

/// Clients that were allowed, up to a number and for a time.
pub struct Remembered {
    key: [u8; 32],
    half: usize,
    time: Duration,
    /// Until when they count, in two halves: of which the older one is forgotten when the other is full.
    young: HashMap<Tag, Instant>,
    old: HashMap<Tag, Instant>,
}

impl Remembered {
    /// Remembers nobody yet, and never more than `clients_max` (some 60 bytes each), each for `time`;
    /// nobody if that is zero. `key` are random bytes.
    #[must_use]
    pub fn new(key: [u8; 32], clients_max: usize, time: Duration) -> Self {
        let half = (clients_max / 2).max(1);
        Self { key, half, time, young: HashMap::new(), old: HashMap::new() }
    }

    /// Whether this very question was answered with yes, not too long ago.
    #[must_use]
    pub fn knows(&self, asked: &Asked<'_>, now: Instant) -> bool {
        if self.young.is_empty() && self.old.is_empty() {
            return false;
        }
        let tag = self.tag(asked);
        let until = self.young.get(&tag).or_else(|| self.old.get(&tag));
        until.is_some_and(|until| now < *until)
    }

    /// This question was answered with yes. It counts from now, and is not longer remembered for
    /// being asked again.
    pub fn note(&mut self, asked: &Asked<'_>, now: Instant) {
        if self.time.is_zero() {
            return;
        }
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(self.tag(asked), now + self.time);
    }

    /// The lengths keep one value's end from being taken for the next one's beginning, and tell no
    /// value from an empty one.
    fn tag(&self, asked: &Asked<'_>) -> Tag {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.key)
            .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        let parts = [
            Some(asked.client_id.as_bytes()),
            asked.user_name.map(str::as_bytes),
            asked.password,
            asked.host.map(str::as_bytes),
        ];
        for part in parts {
            let len = part.map_or(u64::MAX, |part| part.len() as u64);
            mac.update(&len.to_be_bytes());
            mac.update(part.unwrap_or_default());
        }
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for Remembered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let clients = self.young.len() + self.old.len();
        f.debug_struct("Remembered").field("clients", &clients).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(60);

    fn asked<'a>(user: &'a str, password: &'a [u8]) -> Asked<'a> {
        Asked { client_id: "c", user_name: Some(user), password: Some(password), host: Some("::1") }
    }

    #[test]
    fn the_very_same_question_is_known_for_its_time() {
        let now = Instant::now();
        let mut remembered = Remembered::new([7; 32], 10, TIME);
        let it = asked("a", b"bc");
        assert!(!remembered.knows(&it, now));
        remembered.note(&it, now);
        assert!(remembered.knows(&it, now + TIME - Duration::from_millis(1)));
        assert!(!remembered.knows(&it, now + TIME));
        let others = [
            asked("ab", b"c"),
            asked("a", b"b"),
            Asked { password: None, ..it },
            Asked { user_name: None, ..it },
            Asked { client_id: "d", ..it },
            Asked { host: Some("::2"), ..it },
            Asked { host: None, ..it },
        ];
        for (number, other) in others.iter().enumerate() {
            assert!(!remembered.knows(other, now), "{number}");
        }
    }

    #[test]
    fn no_name_and_an_empty_name_are_two_things() {
        let now = Instant::now();
        let mut remembered = Remembered::new([7; 32], 10, TIME);
        remembered.note(&Asked { user_name: Some(""), ..asked("", b"") }, now);
        assert!(!remembered.knows(&Asked { user_name: None, ..asked("", b"") }, now));
    }

    #[test]
    fn it_does_not_grow_and_without_a_time_nobody_is_known() {
        let now = Instant::now();
        let mut remembered = Remembered::new([7; 32], 100, TIME);
        for number in 0..1_000 {
            remembered.note(&asked(&number.to_string(), b"x"), now);
            assert!(remembered.young.len() + remembered.old.len() <= 100);
        }
        assert!(remembered.knows(&asked("999", b"x"), now));
        assert!(!remembered.knows(&asked("0", b"x"), now));
        let mut off = Remembered::new([7; 32], 100, Duration::ZERO);
        off.note(&asked("a", b"x"), now);
        assert!(!off.knows(&asked("a", b"x"), now));
        assert_eq!(format!("{remembered:?}").matches("secret").count(), 0);
    }
}
