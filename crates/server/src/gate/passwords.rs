//! The password file in use, read again when it has changed.
//!
//! A thread of its own looks at it twice a second, without reading it: so whoever asks never waits
//! for a disk. A changed file must have stayed the same for one look, since not every program that
//! writes it replaces it whole. One that cannot be used is said once, and the one from before stays
//! in use.

use crate::run::StartError;
use crate::stamp::{Stamp, exposure, stamp};
use noctule_auth::{PasswordFile, PasswordFileError};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tracing::{info, warn};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// A password file that is watched, as long as somebody has this.
#[derive(Debug)]
pub(crate) struct Passwords {
    path: PathBuf,
    in_use: Arc<Mutex<Arc<PasswordFile>>>,
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
        let in_use = Arc::new(Mutex::new(Arc::new(file)));
        let (watched, end) = channel();
        let watch =
            Watch { path: path.to_owned(), in_use: Arc::clone(&in_use), read: stamp, seen: stamp };
        thread::Builder::new()
            .name("password-file".to_owned())
            .spawn(move || watch.run(&end))
            .map_err(|error| StartError::System { what: "start a thread", error })?;
        Ok(Self { path: path.to_owned(), in_use, _watched: watched })
    }

    /// Whether this is the file of that name.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        self.path == path
    }

    /// The file as it is now.
    pub(crate) fn current(&self) -> Arc<PasswordFile> {
        Arc::clone(&self.in_use.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Watch {
    path: PathBuf,
    in_use: Arc<Mutex<Arc<PasswordFile>>>,
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
                info!(users = file.len(), "password file read again");
                *self.in_use.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(file);
            }
            Err(error) => {
                warn!(
                    "the password file cannot be used, the one from before stays in use: {error}"
                );
            }
        }
    }
}
