//! The password file in use, read again when it has changed.
//!
//! It is looked at before a check, at most once a second. A file that cannot be used is said once, and
//! the one from before stays in use.

use crate::stamp::{Stamp, exposure, stamp};
use noctule_auth::{PasswordFile, PasswordFileError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A password file and when it was read.
#[derive(Debug)]
pub(crate) struct Passwords {
    path: PathBuf,
    in_use: Mutex<InUse>,
}

#[derive(Debug)]
struct InUse {
    file: Arc<PasswordFile>,
    stamp: Stamp,
    looked: Instant,
}

impl Passwords {
    /// Reads the file.
    ///
    /// # Errors
    /// [`PasswordFileError`] if it cannot be used.
    pub(crate) fn read(path: &Path) -> Result<Self, PasswordFileError> {
        let stamp = stamp(path);
        let file = Arc::new(PasswordFile::read(path)?);
        if file.is_empty() {
            warn!(path = %path.display(), "the password file has no users: `noctule passwd add` adds some");
        }
        if let Some(warning) = exposure(path) {
            warn!("{warning}");
        }
        let in_use = Mutex::new(InUse { file, stamp, looked: Instant::now() });
        Ok(Self { path: path.to_owned(), in_use })
    }

    /// Whether this is the file of that name.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        self.path == path
    }

    /// Whether this is the user's password. Takes its time.
    pub(crate) fn verify(&self, user: &str, password: &[u8]) -> bool {
        self.current().verify(user, password)
    }

    fn current(&self) -> Arc<PasswordFile> {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        if in_use.looked.elapsed() >= LOOK {
            in_use.looked = Instant::now();
            let found = stamp(&self.path);
            if found != in_use.stamp {
                in_use.stamp = found;
                self.read_again(&mut in_use);
            }
        }
        Arc::clone(&in_use.file)
    }

    fn read_again(&self, in_use: &mut InUse) {
        match PasswordFile::read(&self.path) {
            Ok(file) => {
                info!(users = file.len(), "password file read again");
                in_use.file = Arc::new(file);
            }
            Err(error) => {
                warn!(
                    "the password file cannot be used, the one from before stays in use: {error}"
                );
            }
        }
    }
}
