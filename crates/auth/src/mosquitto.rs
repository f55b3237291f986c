//! Passwords as mosquitto_passwd keeps them: `$7$iterations$salt$hash`, PBKDF2 with SHA-512 (2.0), and
//! `$6$salt$hash`, a salted SHA-512 (1.x). What it keeps as `$argon2id$` (2.1) is like everybody's.
//!
//! They are read and checked, so that files can be used as they are, and not made: both are cheap for
//! whoever steals the file.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use pbkdf2::pbkdf2_hmac;
use sha2::{Digest, Sha512};

use crate::compare::is_same;

const HASH_BYTES: usize = 64;
const SALT_BYTES_MAX: usize = 64;

/// Some two seconds of a processor.
const ITERATIONS_MAX: u32 = 2_000_000;

/// A password that mosquitto_passwd has hashed.
#[derive(Clone)]
pub(crate) struct MosquittoHash {
    /// None is a single SHA-512.
    iterations: Option<u32>,
    salt: Box<[u8]>,
    hash: [u8; HASH_BYTES],
}

impl MosquittoHash {
    /// Reads a hash; none if it is something else or would cost too much.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (iterations, rest) = match text.strip_prefix("$7$") {
            Some(rest) => {
                let (iterations, rest) = rest.split_once('$')?;
                let is_number = iterations.bytes().all(|byte| byte.is_ascii_digit());
                let iterations = iterations.parse().ok().filter(|_| is_number)?;
                ((1..=ITERATIONS_MAX).contains(&iterations).then_some(Some(iterations))?, rest)
            }
            None => (None, text.strip_prefix("$6$")?),
        };
        let (salt, hash) = rest.split_once('$')?;
        let salt = BASE64.decode(salt).ok()?;
        let hash = BASE64.decode(hash).ok()?.try_into().ok()?;
        let is_salted = (1..=SALT_BYTES_MAX).contains(&salt.len());
        is_salted.then(|| Self { iterations, salt: salt.into(), hash })
    }

    /// Whether it is the hash of this password.
    pub(crate) fn is_of(&self, password: &[u8]) -> bool {
        let mut found = [0; HASH_BYTES];
        match self.iterations {
            Some(iterations) => {
                pbkdf2_hmac::<Sha512>(password, &self.salt, iterations, &mut found);
            }
            None => {
                let hash = Sha512::new().chain_update(password).chain_update(&self.salt);
                found = hash.finalize().into();
            }
        }
        is_same(&found, &self.hash)
    }
}

impl fmt::Display for MosquittoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.iterations {
            Some(iterations) => write!(f, "$7${iterations}")?,
            None => f.write_str("$6")?,
        }
        write!(f, "${}${}", BASE64.encode(&self.salt), BASE64.encode(self.hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by Debian's mosquitto_passwd 2.0 of "secret" and, with `-H sha512`, "third".
    const PBKDF2: &str = "$7$101$m999DcWONBC1t0gK$zkqDJ05qsOutYpq1XG4tsinqhUzI/JkN44Kk8npnObsIUbUi0Xv7\
                          OOlPoZduRkLYEiVry4dIPXTXsNK+WY8Uzg==";
    const SHA512: &str = "$6$d3I3iLA6zy+uUz+g$YKHliEGavGG8xyDpxF6I0uIBMhKp+Hn7B3KXBHitdHrnO7KYAqBXgNKq\
                          xgjK1yXvVDmugmxRSONaoJJN6KvY2g==";

    #[test]
    fn what_mosquitto_passwd_has_made_is_known_by_its_password_only() {
        for (text, password) in [(PBKDF2, b"secret".as_slice()), (SHA512, b"third")] {
            let hash = MosquittoHash::parse(text).unwrap();
            assert_eq!(hash.to_string(), text);
            assert!(hash.is_of(password) && !hash.is_of(b"other") && !hash.is_of(b""));
        }
    }

    #[test]
    fn salts_of_64_bytes_as_in_2_1_are_read() {
        // The standard library of Python has made these of "secret" and the bytes from 0 to 63.
        let salt = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0\
                    +Pw==";
        let pbkdf2 = "j5aX3DstWRgO5cjjfvKvsf7Z/KK812T4wGDMih+DCHQg8P7++fmj4sZcMp1smkEafZL0QZ29tE5ezahL\
                      /nyffw==";
        let sha512 = "wEYf8F4/yHDmlCt3YmMXwFi//Ux0IOce8NucN+r/9QAuqoVaYz7SU9131YSsyqLHn9NUpM/F4yTaDANh\
                      OFpYTQ==";
        for text in [format!("$7$1000${salt}${pbkdf2}"), format!("$6${salt}${sha512}")] {
            assert!(MosquittoHash::parse(&text).unwrap().is_of(b"secret"), "{text}");
        }
    }

    #[test]
    fn other_texts_and_excessive_costs_are_refused() {
        for wrong in [
            String::new(),
            "$5$c2FsdA==$aGFzaA==".to_owned(),
            "$7$101$c2FsdA==$aGFzaA==".to_owned(),
            PBKDF2.replace("$101$", "$0$"),
            PBKDF2.replace("$101$", "$+101$"),
            PBKDF2.replace("$101$", "$-1$"),
            PBKDF2.replace("$101$", "$2000001$"),
            PBKDF2.replace("m999DcWONBC1t0gK", ""),
            SHA512.replace("$6$", "$6$7$"),
            SHA512[..SHA512.len() - 4].to_owned(),
        ] {
            assert!(MosquittoHash::parse(&wrong).is_none(), "{wrong}");
        }
    }
}
