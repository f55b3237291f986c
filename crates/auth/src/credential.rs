//! What is kept of a password, of whatever kind: read, written, made and checked.
//!
//! A new kind is a variant here and a module that knows its text. Which user it belongs to must not be
//! known here.

use std::fmt;
use std::num::NonZeroU32;

use noctule_scram::ScramSecret;

use crate::argon::Argon2idHash;
use crate::mosquitto::MosquittoHash;

/// What MQTT can carry in a password.
pub const PASSWORD_BYTES_MAX: usize = 65_535;

/// How a new password is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hashing {
    /// Hashed by Argon2id, the dearest for whoever steals the file: the client has to say its
    /// password.
    Argon2id,
    /// As SCRAM-SHA-256 needs it, hashed so many times: the client can prove that it knows its
    /// password, or say it.
    Scram(NonZeroU32),
}

/// What is kept of a password.
#[derive(Clone)]
pub(crate) enum Credential {
    Argon2id(Argon2idHash),
    Scram(ScramSecret),
    Mosquitto(MosquittoHash),
}

impl Credential {
    /// Hashes a password with a new salt.
    pub(crate) fn of(password: &[u8], hashing: Hashing) -> Result<Self, String> {
        match hashing {
            Hashing::Argon2id => Argon2idHash::of(password, &new_salt()?).map(Self::Argon2id),
            Hashing::Scram(iterations) => {
                let secret = ScramSecret::derive(password, &new_salt()?, iterations);
                Ok(Self::Scram(secret))
            }
        }
    }

    /// Reads what stands behind a user's name; none if it is of no kind that is known, or checking
    /// it would cost too much.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let scram = || ScramSecret::parse(text).map(Self::Scram);
        let mosquitto = || MosquittoHash::parse(text).map(Self::Mosquitto);
        Argon2idHash::parse(text).map(Self::Argon2id).or_else(scram).or_else(mosquitto)
    }

    /// One of the usual cost that no password fits.
    pub(crate) fn nobodys() -> Self {
        Self::Argon2id(Argon2idHash::nobodys())
    }

    /// Whether it is this password's. Takes its time, whatever the answer.
    pub(crate) fn is_of(&self, password: &[u8]) -> bool {
        #[cfg(test)]
        hashed::note(self);
        match self {
            Self::Argon2id(hash) => hash.is_of(password),
            Self::Scram(secret) => secret.is_of(password),
            Self::Mosquitto(hash) => hash.is_of(password),
        }
    }

    /// What SCRAM needs, if it is of that kind.
    pub(crate) fn scram(&self) -> Option<&ScramSecret> {
        match self {
            Self::Scram(secret) => Some(secret),
            Self::Argon2id(_) | Self::Mosquitto(_) => None,
        }
    }
}

fn new_salt() -> Result<[u8; 16], String> {
    let mut salt = [0; 16];
    let got = rustix::rand::getrandom(&mut salt, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| error.to_string())?;
    // So few bytes come at once or not at all.
    if got == salt.len() { Ok(salt) } else { Err("too few random bytes".to_owned()) }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argon2id(hash) => hash.fmt(f),
            Self::Scram(secret) => secret.fmt(f),
            Self::Mosquitto(hash) => hash.fmt(f),
        }
    }
}

/// A hash is a secret, too.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential")
    }
}

/// Which hashes a test's thread has computed: what something costs, without a clock.
#[cfg(test)]
pub(crate) mod hashed {
    use super::Credential;
    use std::cell::RefCell;

    thread_local! {
        static COSTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn note(credential: &Credential) {
        COSTS.with_borrow_mut(|costs| costs.push(cost(&credential.to_string())));
    }

    /// What was computed since this was called last: kind and parameters of each, in order.
    pub(crate) fn take() -> Vec<String> {
        COSTS.take()
    }

    /// A line without its salt and its hash.
    fn cost(text: &str) -> String {
        let is_parameter = |part: &&str| part.len() < 20;
        let parts = text.split(['$', ':']).filter(is_parameter);
        parts.collect::<Vec<_>>().join("$")
    }
}
