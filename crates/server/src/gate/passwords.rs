//! The password file in use, read again when it has changed.
//!
//! A thread of its own looks at it twice a second, without reading it: so whoever asks never waits
//! for a disk, and what was found right by one file is never taken for right by another. A changed file must have stayed the same for one look, since not every program that
//! writes it replaces it whole. One that cannot be used is said once, and the one from before stays
//! in use.

use super::chance::random;
use crate::run::StartError;
use crate::stamp::{Stamp, exposure, stamp};
use noctule_auth::scram::ScramSecret;
use noctule_auth::{PasswordFile, PasswordFileError, Verified};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use tracing::{info, warn};

/// Logins that are remembered as right: some 5 MiB.
const LOGINS_MAX: usize = 100_000;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// A password file that is watched, as long as somebody has this.
#[derive(Debug)]
pub(crate) struct Passwords {
    path: PathBuf,
    in_use: Arc<Mutex<Arc<InUse>>>,
    /// Dropped, it ends the thread.
    _watched: Sender<()>,
}

impl Passwords {
    /// Reads the file and begins to watch it.
    ///
    /// # Errors
    /// [`StartError`] if it cannot be used, or no thread can be started.
    pub(crate) fn watch(path: &Path) -> Result<Self, StartError> {
        let stamp = stamp(path);
        let file = PasswordFile::read(path).map_err(StartError::Passwords)?;
        if file.is_empty() {
            warn!(path = %path.display(), "the password file has no users: `noctule passwd add` adds some");
        }
        if let Some(warning) = exposure(path) {
            warn!("{warning}");
        }
        let failed = |what| move |error| StartError::System { what, error };
        let in_use = InUse::new(file).map_err(failed("get random bytes"))?;
        let in_use = Arc::new(Mutex::new(in_use));
        let (watched, end) = channel();
        let watch =
            Watch { path: path.to_owned(), in_use: Arc::clone(&in_use), read: stamp, seen: stamp };
        thread::Builder::new()
            .name("password-file".to_owned())
            .spawn(move || watch.run(&end))
            .map_err(failed("start a thread"))?;
        Ok(Self { path: path.to_owned(), in_use, _watched: watched })
    }

    /// Whether this is the file of that name.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        self.path == path
    }

    /// Whether this login was found right before, by the file as it is now. Takes microseconds.
    pub(super) fn knows(&self, user: &str, password: &[u8]) -> bool {
        self.current().verified().knows(user, password)
    }

    /// Whether this is the user's password. Takes its time.
    pub(super) fn verify(&self, user: &str, password: &[u8]) -> bool {
        let current = self.current();
        let is_right = current.file.verify(user, password);
        if is_right {
            current.verified().note(user, password);
        }
        is_right
    }

    /// What is kept of a user's password for SCRAM, or what looks like it.
    pub(super) fn scram_secret(&self, user: &str) -> ScramSecret {
        self.current().file.scram_secret(user)
    }

    fn current(&self) -> Arc<InUse> {
        Arc::clone(&self.in_use.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A file, and what was found right by it.
#[derive(Debug)]
struct InUse {
    file: PasswordFile,
    verified: Mutex<Verified>,
}

impl InUse {
    fn new(file: PasswordFile) -> io::Result<Arc<Self>> {
        let verified = Mutex::new(Verified::new(random()?, LOGINS_MAX));
        Ok(Arc::new(Self { file, verified }))
    }

    fn verified(&self) -> MutexGuard<'_, Verified> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Watch {
    path: PathBuf,
    in_use: Arc<Mutex<Arc<InUse>>>,
    /// The file as it was when it was read.
    read: Stamp,
    /// The file at the last look.
    seen: Stamp,
}

impl Watch {
    fn run(mut self, end: &Receiver<()>) {
        while end.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            let found = stamp(&self.path);
            let is_settled = found == self.seen;
            self.seen = found;
            if is_settled && self.seen != self.read {
                self.read = found;
                self.replace(PasswordFile::read(&self.path));
            }
        }
    }

    fn replace(&self, read: Result<PasswordFile, PasswordFileError>) {
        match read {
            Ok(file) => {
                let users = file.len();
                match InUse::new(file) {
                    Ok(new) => {
                        info!(users, "password file read again");
                        *self.in_use.lock().unwrap_or_else(PoisonError::into_inner) = new;
                    }
                    Err(error) => warn!("the password file cannot be used: {error}"),
                }
            }
            Err(error) => {
                warn!(
                    "the password file cannot be used, the one from before stays in use: {error}"
                );
            }
        }
    }
}
