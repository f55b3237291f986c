//! The directory in which a broker keeps its data while it is measured, and the broker's start there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::Plan;
use crate::LoadError;
use crate::target::{Broker, Target};

/// A directory of our own that goes with its owner.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
}

impl Place {
    /// Makes one below `parent`.
    pub(super) fn make(parent: &Path) -> Result<Self, LoadError> {
        let cannot = |error| {
            let parent = parent.display();
            LoadError::io(format!("cannot keep data in {parent}; choose another directory"), error)
        };
        let parent = parent.canonicalize().map_err(cannot)?;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("noctule-durable-{}-{number}", std::process::id()));
        fs::create_dir(&path).map_err(cannot)?;
        Ok(Self { path })
    }

    /// Where a file with this name is.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Starts a broker with its data here; with it, its process.
    pub(super) fn start(&self, plan: &Plan, words: &[&str]) -> Result<(Broker, u32), LoadError> {
        let data = self.data();
        let place = ["--data-dir".into(), data.to_string_lossy().into_owned()];
        // An absent subscriber is to be owed everything.
        let limits = UNLIMITED.iter().flat_map(|limit| [(*limit).into(), "unlimited".into()]);
        let words = words.iter().map(|word| (*word).into());
        let options = place.into_iter().chain(limits).chain(words);
        let options: Vec<String> = options.chain(plan.options.iter().cloned()).collect();
        let broker = Target::noctule(&plan.program).with_options(&options).start()?;
        let pid = broker.pid.ok_or_else(|| LoadError::new("the broker has no process"))?;
        Ok((broker, pid))
    }

    /// How many bytes the broker's files have.
    pub(super) fn bytes(&self) -> Result<u64, LoadError> {
        bytes_below(&self.data())
            .map_err(|error| LoadError::io("cannot measure the broker's directory", error))
    }

    /// Removes what a broker left.
    pub(super) fn clear(&self) -> Result<(), LoadError> {
        match fs::remove_dir_all(self.data()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(LoadError::io("cannot remove the broker's data", error))
            }
            _ => Ok(()),
        }
    }

    fn data(&self) -> PathBuf {
        self.path.join("data")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What cannot be removed stays, under a name that says whose it is.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Files that go while we look have no bytes.
fn bytes_below(path: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let Ok(data) = entry.metadata() else {
            continue;
        };
        bytes += if data.is_dir() { bytes_below(&entry.path())? } else { data.len() };
    }
    Ok(bytes)
}

const UNLIMITED: [&str; 4] =
    ["--queue-messages-max", "--queue-memory-bytes-max", "--queue-disk-bytes-max", "--memory-max"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_below_its_parent_and_goes_with_its_owner() {
        let parent = std::env::temp_dir();
        let place = Place::make(&parent).unwrap();
        fs::create_dir_all(place.data().join("store")).unwrap();
        fs::write(place.data().join("store/a"), [0; 1_000]).unwrap();
        fs::write(place.data().join("b"), [0; 24]).unwrap();
        assert_eq!(place.bytes().unwrap(), 1_024);
        place.clear().unwrap();
        place.clear().unwrap();
        assert!(place.bytes().is_err());
        let path = place.path.clone();
        assert!(path.starts_with(parent.canonicalize().unwrap()) && path.is_dir());
        drop(place);
        assert!(!path.exists());
        let error = Place::make(Path::new("/no/such/parent")).unwrap_err().to_string();
        assert!(error.contains("choose another directory"), "{error}");
    }
}
