//! What a server keeps of a password, and how that is written:
//! `SCRAM-SHA-256$15000:salt$stored key:server key`, the numbers in base64. It is the form in which
//! PostgreSQL and what is around it keep theirs.

use crate::keys::{Key, client_key, hash, hmac, is_same, salted_password, server_key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::fmt;
use std::num::NonZeroU32;

/// RFC 7677 wants so many at least.
pub const ITERATIONS_MIN: NonZeroU32 = NonZeroU32::new(4_096).unwrap();

/// As often is hashed unless somebody says otherwise: some milliseconds of a client's time at each
/// login, and of an attacker's for each guess at a stolen file.
pub const ITERATIONS_DEFAULT: NonZeroU32 = NonZeroU32::new(15_000).unwrap();

/// More are not accepted, as they cost whoever has to do them a second and more.
pub const ITERATIONS_MAX: NonZeroU32 = NonZeroU32::new(1_000_000).unwrap();

/// A salt has so many bytes at most.
const SALT_BYTES_MAX: usize = 64;

/// A salt of somebody who does not exist has as many as those that are made here.
const SALT_BYTES: usize = 16;

const NAME: &str = "SCRAM-SHA-256";

/// What a server keeps of a password: enough to check a proof, not enough to make one.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramSecret {
    pub(crate) salt: Box<[u8]>,
    pub(crate) iterations: NonZeroU32,
    pub(crate) stored_key: Key,
    pub(crate) server_key: Key,
}

impl ScramSecret {
    /// What is kept of a password. This takes `iterations` hashes.
    #[must_use]
    pub fn derive(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Self {
        let salted = salted_password(password, salt, iterations);
        let stored_key = hash(&client_key(&salted));
        Self { salt: salt.into(), iterations, stored_key, server_key: server_key(&salted) }
    }

    /// A secret that nobody has a password for, always the same for a name and a key: so nobody can
    /// tell by it who exists. It looks like `like`, if there is one to look like. `key` is secret.
    #[must_use]
    pub fn decoy(user: &str, key: &[u8], like: Option<&Self>) -> Self {
        let salt = hmac(key, &[b"salt", user.as_bytes()]);
        let more = hmac(key, &[b"more salt", user.as_bytes()]);
        let len = like.map_or(SALT_BYTES, |like| like.salt.len());
        Self {
            salt: salt.into_iter().chain(more).take(len).collect(),
            iterations: like.map_or(ITERATIONS_DEFAULT, |like| like.iterations),
            stored_key: hmac(key, &[b"stored", user.as_bytes()]),
            server_key: hmac(key, &[b"server", user.as_bytes()]),
        }
    }

    /// Whether it is the secret of this password. Takes as long as deriving one.
    #[must_use]
    pub fn is_of(&self, password: &[u8]) -> bool {
        let derived = Self::derive(password, &self.salt, self.iterations);
        is_same(&derived.stored_key, &self.stored_key)
    }

    /// As often was hashed.
    #[must_use]
    pub fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    /// Reads what [`Display`](fmt::Display) has written; none if it is something else, or has fewer
    /// or more iterations than are accepted.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (iterations_and_salt, keys) =
            text.strip_prefix(NAME)?.strip_prefix('$')?.split_once('$')?;
        let (iterations, salt) = iterations_and_salt.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let is_number = iterations.bytes().all(|byte| byte.is_ascii_digit());
        let iterations = iterations.parse().ok().filter(|_| is_number)?;
        let salt = BASE64.decode(salt).ok()?;
        let key = |text: &str| -> Option<Key> { BASE64.decode(text).ok()?.try_into().ok() };
        let is_bounded = (ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations)
            && (1..=SALT_BYTES_MAX).contains(&salt.len());
        let (stored_key, server_key) = (key(stored_key)?, key(server_key)?);
        is_bounded.then(|| Self { salt: salt.into(), iterations, stored_key, server_key })
    }
}

impl fmt::Display for ScramSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (salt, iterations) = (BASE64.encode(&self.salt), self.iterations);
        let (stored, server) = (BASE64.encode(self.stored_key), BASE64.encode(self.server_key));
        write!(f, "{NAME}${iterations}:{salt}${stored}:{server}")
    }
}

impl fmt::Debug for ScramSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramSecret").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_written_and_read_back_and_known_by_its_password_only() {
        let secret = ScramSecret::derive(b"pencil", &[7; 16], ITERATIONS_MIN);
        let text = secret.to_string();
        assert!(text.starts_with("SCRAM-SHA-256$4096:BwcHBwcHBwcHBwcHBwcHBw==$"), "{text}");
        let read = ScramSecret::parse(&text).unwrap();
        assert_eq!(read, secret);
        assert!(read.is_of(b"pencil") && !read.is_of(b"pencils") && !read.is_of(b""));
    }

    #[test]
    fn other_texts_and_excessive_costs_are_refused() {
        let text = ScramSecret::derive(b"x", &[7; 16], ITERATIONS_MIN).to_string();
        for wrong in [
            String::new(),
            text.replace("SCRAM-SHA-256", "SCRAM-SHA-1"),
            text.replace("4096", "4095"),
            text.replace("4096", "+4096"),
            text.replace("4096", "1000001"),
            text.replace("4096:", "4096:*"),
            text.replace("4096:BwcHBwcHBwcHBwcHBwcHBw==", "4096:"),
            text[..text.len() - 4].to_owned(),
            format!("{text}AAAA"),
        ] {
            assert!(ScramSecret::parse(&wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn who_does_not_exist_looks_like_somebody_who_does_and_stays_so() {
        let real = ScramSecret::derive(b"x", &[7; 40], ITERATIONS_MIN);
        let decoy = |user, key: &[u8]| ScramSecret::decoy(user, key, Some(&real));
        assert_eq!(decoy("a", b"key"), decoy("a", b"key"));
        assert_ne!(decoy("a", b"key").salt, decoy("b", b"key").salt);
        assert_ne!(decoy("a", b"key").salt, decoy("a", b"other").salt);
        assert_eq!(decoy("a", b"key").salt.len(), 40);
        assert_eq!(decoy("a", b"key").iterations, ITERATIONS_MIN);
        let alone = ScramSecret::decoy("a", b"key", None);
        assert_eq!((alone.salt.len(), alone.iterations), (16, ITERATIONS_DEFAULT));
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = ScramSecret::derive(b"pencil", &[7; 16], ITERATIONS_MIN);
        assert_eq!(format!("{secret:?}"), "ScramSecret { iterations: 4096, .. }");
    }
}
