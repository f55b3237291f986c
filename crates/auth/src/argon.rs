//! Passwords as Argon2id keeps them: `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`.
//!
//! New hashes cost what OWASP recommends: 19 MiB, two passes. Hashes with other costs are checked at
//! theirs, up to a bound: a file must not be able to take all memory. The text is read here and not by
//! the crate that hashes, which knows no salts of more than 48 bytes, and mosquitto 2.1 has 64.

use std::cell::RefCell;
use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

use crate::compare::is_same;

/// 256 MiB, in KiB.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 16;

/// What is made here; others are read from and up to these bounds.
const HASH_BYTES: usize = 32;
const HASH_BYTES_RANGE: std::ops::RangeInclusive<usize> = 16..=64;
const SALT_BYTES_RANGE: std::ops::RangeInclusive<usize> = 8..=64;

/// A password that Argon2id has hashed.
#[derive(Clone)]
pub(crate) struct Argon2idHash {
    params: Params,
    salt: Box<[u8]>,
    hash: Box<[u8]>,
}

impl Argon2idHash {
    /// Hashes a password with this salt.
    pub(crate) fn of(password: &[u8], salt: &[u8]) -> Result<Self, String> {
        let params = Params::DEFAULT;
        let hash = hash(password, salt, &params, HASH_BYTES).map_err(|error| error.to_string())?;
        Ok(Self { params, salt: salt.into(), hash })
    }

    /// Reads a hash; none if it is not Argon2id or would cost too much.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("$argon2id$v=19$")?.split('$');
        let params = parse_params(parts.next()?)?;
        let salt = BASE64.decode(parts.next()?).ok()?;
        let hash = BASE64.decode(parts.next()?).ok()?;
        let is_bounded =
            SALT_BYTES_RANGE.contains(&salt.len()) && HASH_BYTES_RANGE.contains(&hash.len());
        let is_whole = is_bounded && parts.next().is_none();
        is_whole.then(|| Self { params, salt: salt.into(), hash: hash.into() })
    }

    /// Whether it is the hash of this password. Takes its time, whatever the answer.
    pub(crate) fn is_of(&self, password: &[u8]) -> bool {
        let found = hash(password, &self.salt, &self.params, self.hash.len());
        found.is_ok_and(|found| is_same(&found, &self.hash))
    }

    /// A hash of the usual cost that no password has, as nobody knows one for it: salt and hash are
    /// the first digits of π.
    pub(crate) fn nobodys() -> Self {
        let (salt, hash) = (b"1415926535897932", b"38462643383279502884197169399375");
        Self { params: Params::DEFAULT, salt: salt[..].into(), hash: hash[..].into() }
    }
}

/// `m=19456,t=2,p=1`, within bounds.
fn parse_params(text: &str) -> Option<Params> {
    let mut fields = text.split(',');
    let mut number = |name: &str, max: u32| -> Option<u32> {
        let digits = fields.next()?.strip_prefix(name)?.strip_prefix('=')?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|number| is_number && *number <= max)
    };
    let memory = number("m", MEMORY_KIB_MAX)?;
    let passes = number("t", PASSES_MAX)?;
    let lanes = number("p", LANES_MAX)?;
    let params = Params::new(memory, passes, lanes, None).ok()?;
    fields.next().is_none().then_some(params)
}

fn hash(
    password: &[u8],
    salt: &[u8],
    params: &Params,
    len: usize,
) -> Result<Box<[u8]>, argon2::Error> {
    let params = Params::new(params.m_cost(), params.t_cost(), params.p_cost(), Some(len))?;
    let mut hash = vec![0; len].into_boxed_slice();
    let blocks = params.block_count();
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    WORKSPACE.with_borrow_mut(|kept| {
        if blocks > Params::DEFAULT.block_count() {
            // Rare, and too much to be kept.
            return argon.hash_password_into(password, salt, &mut hash);
        }
        if kept.len() < blocks {
            *kept = vec![Block::default(); blocks];
        }
        argon.hash_password_into_with_memory(password, salt, &mut hash, &mut kept[..blocks])
    })?;
    Ok(hash)
}

thread_local! {
    /// The 19 MiB in which a thread hashes, kept from one hash to the next. With an allocation each, aligned
    /// as these have to be, glibc takes 209 MiB until it begins to use what was given back.
    static WORKSPACE: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

impl fmt::Display for Argon2idHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (memory, passes) = (self.params.m_cost(), self.params.t_cost());
        let lanes = self.params.p_cost();
        let (salt, hash) = (BASE64.encode(&self.salt), BASE64.encode(&self.hash));
        write!(f, "$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_written_and_read_back_and_known_by_its_password_only() {
        let hash = Argon2idHash::of(b"secret", b"sixteen bytes---").unwrap();
        let text = hash.to_string();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        let read = Argon2idHash::parse(&text).unwrap();
        assert_eq!(read.to_string(), text);
        assert!(read.is_of(b"secret") && !read.is_of(b"Secret") && !read.is_of(b""));
    }

    #[test]
    fn what_was_hashed_before_in_the_same_place_does_not_count() {
        let of =
            |password: &[u8]| Argon2idHash::of(password, b"sixteen bytes---").unwrap().to_string();
        let first = of(b"secret");
        assert_ne!(of(b"other"), first);
        assert_eq!(of(b"secret"), first);
        let elsewhere = std::thread::spawn(move || of(b"secret")).join().unwrap();
        assert_eq!(elsewhere, first, "in another place");
    }

    #[test]
    fn other_algorithms_and_excessive_costs_are_refused() {
        for text in [
            "",
            "secret",
            "$argon2i$v=19$m=19456,t=2,p=1$MTQxNTkyNjUzNTg5$MTQxNTkyNjUzNTg5NzkzMjM4",
            "$argon2id$v=16$m=19456,t=2,p=1$MTQxNTkyNjUzNTg5$MTQxNTkyNjUzNTg5NzkzMjM4",
            "$argon2id$v=19$m=4194304,t=2,p=1$MTQxNTkyNjUzNTg5$MTQxNTkyNjUzNTg5NzkzMjM4",
            "$argon2id$v=19$m=19456,t=1000,p=1$MTQxNTkyNjUzNTg5$MTQxNTkyNjUzNTg5NzkzMjM4",
            "$argon2id$v=19$m=19456,t=2,p=17$MTQxNTkyNjUzNTg5$MTQxNTkyNjUzNTg5NzkzMjM4",
            "$argon2id$v=19$m=1,t=2,p=1$MTQxNTkyNjUzNTg5$MTQxNTkyNjUzNTg5NzkzMjM4",
            "$argon2id$v=19$m=19456,t=0,p=1$MTQxNTkyNjUzNTg5$MTQxNTkyNjUzNTg5NzkzMjM4",
            "$argon2id$v=19$m=19456,t=+2,p=1$MTQxNTkyNjUzNTg5$MTQxNTkyNjUzNTg5NzkzMjM4",
            "$argon2id$v=19$m=19456,t=2,p=1,k=1$MTQxNTkyNjUzNTg5$MTQxNTkyNjUzNTg5NzkzMjM4",
            "$argon2id$v=19$m=19456,t=2,p=1$MTQxNTkyNjUzNTg5$MTQx",
            "$argon2id$v=19$m=19456,t=2,p=1$MTQx$MTQxNTkyNjUzNTg5NzkzMjM4",
            "$argon2id$v=19$m=19456,t=2,p=1$MTQxNTkyNjUzNTg5$MTQxNTkyNjUzNTg5NzkzMjM4$x",
            "$argon2id$v=19$m=19456,t=2,p=1$MTQxNTkyNjUzNTg5",
            "$argon2id$v=19$m=19456,t=2,p=1",
        ] {
            assert!(Argon2idHash::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn nobodys_hash_fits_nothing() {
        let nobodys = Argon2idHash::nobodys();
        assert!(!nobodys.is_of(b"") && !nobodys.is_of(b"secret"));
        assert!(Argon2idHash::parse(&nobodys.to_string()).is_some(), "it is a usual one");
    }

    #[test]
    fn hashes_made_by_the_reference_implementation_are_known() {
        // echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1
        let text = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
                    $CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(Argon2idHash::parse(text).unwrap().is_of(b"password"));
        // As mosquitto 2.1 asks for it: salt and hash of 64 bytes.
        let text = "$argon2id$v=19$m=47104,t=1,p=1$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIj\
                    JCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw$jN8KVtBuy9rOg+xx4HEO7K//Ei2hf4aegEDgCD4okj\
                    4rugUys2dVUsAyHcBFDFrGlWl198NIEs4dtHiTXPgqvA";
        let hash = Argon2idHash::parse(text).unwrap();
        assert_eq!(hash.to_string(), text);
        assert!(hash.is_of(b"secret") && !hash.is_of(b"Secret"));
    }
}
