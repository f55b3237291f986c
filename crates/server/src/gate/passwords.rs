//! The password file in use, with the logins that were found right by it: what was right by one file
//! is never taken for right by another.

use super::chance::random;
use super::watched::{Readable, Watched};
use crate::run::StartError;
use crate::stamp::exposure;
use noctule_auth::scram::ScramSecret;
use noctule_auth::{PasswordFile, Verified};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracing::{info, warn};

/// Logins that are remembered as right: some 5 MiB.
const LOGINS_MAX: usize = 100_000;

/// A password file that is watched, as long as somebody has this.
#[derive(Debug)]
pub(crate) struct Passwords(Watched<InUse>);

/// What a password was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The user's.
    Right,
    /// Not the user's.
    Wrong,
    /// There is no such user.
    Nobody,
}

/// A file, and what was found right by it.
#[derive(Debug)]
struct InUse {
    file: PasswordFile,
    verified: Mutex<Verified>,
}

impl Passwords {
    /// Reads the file and begins to watch it.
    ///
    /// # Errors
    /// [`StartError`] if it cannot be used, or no thread can be started.
    pub(super) fn watch(path: &Path) -> Result<Self, StartError> {
        let watched = Watched::<InUse>::watch(path)?;
        if watched.current().file.is_empty() {
            warn!(path = %path.display(), "the password file has no users: `noctule passwd add` adds some");
        }
        if let Some(warning) = exposure(path) {
            warn!("{warning}");
        }
        Ok(Self(watched))
    }

    /// Whether this is the file of that name.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        self.0.is_at(path)
    }

    /// Whether this login was found right before, by the file as it is now. Takes microseconds.
    pub(super) fn knows(&self, user: &str, password: &[u8]) -> bool {
        self.0.current().verified().knows(user, password)
    }

    /// Whether this is the user's password. Takes its time, whatever is found.
    pub(super) fn check(&self, user: &str, password: &[u8]) -> Found {
        let current = self.0.current();
        if current.file.verify(user, password) {
            current.verified().note(user, password);
            return Found::Right;
        }
        if current.file.has(user) { Found::Wrong } else { Found::Nobody }
    }

    /// What is kept of a user's password for SCRAM, or what looks like it.
    pub(super) fn scram_secret(&self, user: &str) -> ScramSecret {
        self.0.current().file.scram_secret(user)
    }
}

impl InUse {
    fn verified(&self) -> MutexGuard<'_, Verified> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readable for InUse {
    fn read(path: &Path) -> Result<Self, StartError> {
        let file = PasswordFile::read(path).map_err(StartError::Passwords)?;
        let key =
            random().map_err(|error| StartError::System { what: "get random bytes", error })?;
        Ok(Self { file, verified: Mutex::new(Verified::new(key, LOGINS_MAX)) })
    }

    fn say_read_again(&self) {
        info!(users = self.file.len(), "password file read again");
    }
}
