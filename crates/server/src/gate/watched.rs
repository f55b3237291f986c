//! A file in use, read again when it has changed.
//!
//! A thread of its own looks at it twice a second, without reading it: so whoever asks never waits
//! for a disk. A changed file must have stayed the same for one look, since not every program that
//! writes it replaces it whole. One that cannot be used is said once, and the one from before stays
//! in use. What is in the file must not be known here.

use crate::run::StartError;
use crate::stamp::{Stamp, stamp};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tracing::warn;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What can be read from a file again and again.
pub(super) trait Readable: Sized + Send + Sync + 'static {
    /// Reads a file.
    ///
    /// # Errors
    /// Why it cannot be used.
    fn read(path: &Path) -> Result<Self, StartError>;

    /// Says that this was read from a file that has changed.
    fn say_read_again(&self);
}

/// A file that is watched, as long as somebody has this.
#[derive(Debug)]
pub(super) struct Watched<T> {
    path: PathBuf,
    in_use: Arc<Mutex<Arc<T>>>,
    /// Dropped, it ends the thread.
    _watched: Sender<()>,
}

impl<T: Readable> Watched<T> {
    /// Reads the file and begins to watch it.
    ///
    /// # Errors
    /// [`StartError`] if it cannot be used, or no thread can be started.
    pub(super) fn watch(path: &Path) -> Result<Self, StartError> {
        let stamp = stamp(path);
        let in_use = Arc::new(Mutex::new(Arc::new(T::read(path)?)));
        let (watched, end) = channel();
        let path = path.to_owned();
        let watch =
            Watch { path: path.clone(), in_use: Arc::clone(&in_use), read: stamp, seen: stamp };
        thread::Builder::new()
            .name("gate-file".to_owned())
            .spawn(move || watch.run(&end))
            .map_err(|error| StartError::System { what: "start a thread", error })?;
        Ok(Self { path, in_use, _watched: watched })
    }

    /// Whether this is the file of that name.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        self.path == path
    }

    /// What is in the file now.
    pub(super) fn current(&self) -> Arc<T> {
        Arc::clone(&self.in_use.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Watch<T> {
    path: PathBuf,
    in_use: Arc<Mutex<Arc<T>>>,
    /// The file as it was when it was read.
    read: Stamp,
    /// The file at the last look.
    seen: Stamp,
}

impl<T: Readable> Watch<T> {
    fn run(mut self, end: &Receiver<()>) {
        while end.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            let found = stamp(&self.path);
            let is_settled = found == self.seen;
            self.seen = found;
            if is_settled && self.seen != self.read {
                self.read = found;
                self.replace();
            }
        }
    }

    fn replace(&self) {
        match T::read(&self.path) {
            Ok(new) => {
                new.say_read_again();
                *self.in_use.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
            }
            Err(error) => {
                warn!("a changed file cannot be used, the one from before stays in use: {error}");
            }
        }
    }
}
