//! Passwords as Argon2id keeps them: `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`.
//!
//! New hashes cost what OWASP recommends: 19 MiB, two passes. Hashes with other costs are checked at
//! theirs, up to a bound: a file must not be able to take all memory.

use argon2::Argon2;
use argon2::Params;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};

/// 256 MiB, in KiB.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 16;

/// A password that Argon2id has hashed.
#[derive(Clone)]
pub(crate) struct Argon2idHash(Box<PasswordHash>);

impl Argon2idHash {
    /// Hashes a password with a new salt.
    pub(crate) fn of(password: &[u8]) -> Result<Self, String> {
        let hash = Argon2::default().hash_password(password).map_err(|error| error.to_string())?;
        Ok(Self(Box::new(hash)))
    }

    /// Reads a hash; none if it is not Argon2id or would cost too much.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let hash = PasswordHash::new(text).ok()?;
        let params = Params::try_from(&hash).ok()?;
        let is_bounded = params.m_cost() <= MEMORY_KIB_MAX
            && params.t_cost() <= PASSES_MAX
            && params.p_cost() <= LANES_MAX;
        let is_whole = hash.salt.is_some() && hash.hash.is_some();
        let good = hash.algorithm.as_str() == "argon2id" && is_bounded && is_whole;
        good.then(|| Self(Box::new(hash)))
    }

    /// Whether it is the hash of this password. Takes its time, whatever the answer.
    pub(crate) fn is_of(&self, password: &[u8]) -> bool {
        Argon2::default().verify_password(password, &*self.0).is_ok()
    }

    /// A hash of the usual cost that no password has, as nobody knows one for it.
    pub(crate) fn nobodys() -> Option<Self> {
        Self::parse(NOBODYS)
    }
}

/// Salt and hash are the first digits of π in base64, not the result of hashing anything.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$MTQxNTkyNjUzNTg5$MTQxNTkyNjUzNTg5NzkzMjM4NDYyNjQzMzgzMjc5NTA";

impl std::fmt::Display for Argon2idHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A hash is a secret, too.
impl std::fmt::Debug for Argon2idHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Argon2idHash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_written_and_read_back_and_known_by_its_password_only() {
        let hash = Argon2idHash::of(b"secret").unwrap();
        let text = hash.to_string();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        let read = Argon2idHash::parse(&text).unwrap();
        assert_eq!(read.to_string(), text);
        assert!(read.is_of(b"secret") && !read.is_of(b"Secret") && !read.is_of(b""));
        assert_ne!(Argon2idHash::of(b"secret").unwrap().to_string(), text, "the salt is new");
    }

    #[test]
    fn other_algorithms_and_excessive_costs_are_refused() {
        for text in [
            "",
            "secret",
            "$7$101$c2FsdA==$aGFzaA==",
            "$argon2i$v=19$m=19456,t=2,p=1$MTQxNTkyNjUzNTg5$MTQxNTkyNjUzNTg5NzkzMjM4",
            "$argon2id$v=19$m=4194304,t=2,p=1$MTQxNTkyNjUzNTg5$MTQxNTkyNjUzNTg5NzkzMjM4",
            "$argon2id$v=19$m=19456,t=1000,p=1$MTQxNTkyNjUzNTg5$MTQxNTkyNjUzNTg5NzkzMjM4",
            "$argon2id$v=19$m=19456,t=2,p=1$MTQxNTkyNjUzNTg5",
            "$argon2id$v=19$m=19456,t=2,p=1",
        ] {
            assert!(Argon2idHash::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn nobodys_hash_fits_nothing() {
        let nobodys = Argon2idHash::nobodys().unwrap();
        assert!(!nobodys.is_of(b"") && !nobodys.is_of(b"secret"));
    }

    #[test]
    fn a_hash_made_by_the_reference_implementation_is_known() {
        // echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1
        let text = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
                    $CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(Argon2idHash::parse(text).unwrap().is_of(b"password"));
    }
}
