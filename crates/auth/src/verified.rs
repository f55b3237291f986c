//! Logins that were found right a while ago, so that a thousand devices that come back at once need
//! not wait for a thousand expensive checks.
//!
//! Neither names nor passwords are kept, but a tag of both under a key that never leaves the process
//! and is worth nothing without it. Invariant: what is in here was right for the file it belongs to;
//! whoever reads a file again begins anew.

use std::collections::HashSet;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

type Tag = [u8; 32];

/// Logins that were right, up to a number; those that were not used for longest are forgotten first.
pub struct Verified {
    key: [u8; 32],
    half: usize,
    /// Used since the two were last exchanged.
    young: HashSet<Tag>,
    old: HashSet<Tag>,
}

impl Verified {
    /// Remembers no login yet, and never more than `logins_max` (some 50 bytes each). `key` are random
    /// bytes.
    #[must_use]
    pub fn new(key: [u8; 32], logins_max: usize) -> Self {
        let half = (logins_max / 2).max(1);
        Self { key, half, young: HashSet::new(), old: HashSet::new() }
    }

    /// Whether this login was found right before.
    pub fn knows(&mut self, user: &str, password: &[u8]) -> bool {
        let tag = self.tag(user, password);
        if self.young.contains(&tag) {
            return true;
        }
        let was_there = self.old.remove(&tag);
        if was_there {
            self.remember(tag);
        }
        was_there
    }

    /// This login was found right.
    pub fn note(&mut self, user: &str, password: &[u8]) {
        let tag = self.tag(user, password);
        self.remember(tag);
    }

    fn remember(&mut self, tag: Tag) {
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(tag);
    }

    /// The length keeps a name's end from being taken for the password's beginning.
    fn tag(&self, user: &str, password: &[u8]) -> Tag {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.key)
            .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        mac.update(&user.len().to_be_bytes());
        mac.update(user.as_bytes());
        mac.update(password);
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let logins = self.young.len() + self.old.len();
        f.debug_struct("Verified").field("logins", &logins).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_right_is_known_and_nothing_else() {
        let mut verified = Verified::new([7; 32], 10);
        assert!(!verified.knows("a", b"bc"));
        verified.note("a", b"bc");
        assert!(verified.knows("a", b"bc") && verified.knows("a", b"bc"));
        for (user, password) in [("ab", b"c".as_slice()), ("a", b"b"), ("a", b""), ("", b"abc")] {
            assert!(!verified.knows(user, password), "{user}");
        }
    }

    #[test]
    fn it_does_not_grow_and_what_is_used_stays() {
        let mut verified = Verified::new([7; 32], 100);
        verified.note("used", b"x");
        for number in 0..1_000 {
            verified.note(&number.to_string(), b"x");
            assert!(verified.knows("used", b"x"), "{number}");
            assert!(verified.young.len() + verified.old.len() <= 101);
        }
        assert!(!verified.knows("0", b"x") && verified.knows("999", b"x"));
    }

    #[test]
    fn nothing_is_shown() {
        let mut verified = Verified::new([7; 32], 10);
        verified.note("anna", b"secret");
        assert_eq!(format!("{verified:?}"), "Verified { logins: 1, .. }");
    }
}
