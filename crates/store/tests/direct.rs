//! Writing past the memory of the operating system while others read through it, on the file system of this
//! machine.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use noctule_store::{Directory, Disk, DiskFile, RealFile};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

const PAGE: usize = 4_096;
const PAGES: usize = 256;

/// Memory as direct output needs it.
#[repr(align(4096))]
struct Aligned([u8; 4 * PAGE]);

/// A file of zeros in a directory that does not outlive its test.
struct Scratch {
    path: PathBuf,
    directory: Directory,
}

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("direct-{name}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        let directory = Directory::open(&path).unwrap();
        let file = directory.create("file").unwrap();
        file.fill(0, (PAGES * PAGE) as u64).unwrap();
        file.sync_data().unwrap();
        Self { path, directory }
    }

    fn files(&self) -> (RealFile, RealFile) {
        let (name, directory) = ("file", &self.directory);
        (directory.open(name).unwrap(), directory.open_for_commits(name).unwrap())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn contents(file: &RealFile) -> Vec<u8> {
    let mut bytes = vec![0; PAGES * PAGE];
    file.read_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn what_was_written_directly_is_read_at_once_whoever_has_read_the_place_before() {
    let scratch = Scratch::new("read");
    let (file, commits) = scratch.files();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Brings everything into memory, over and over.
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                contents(&file);
            }
        });
        let mut pages = Aligned([0; 4 * PAGE]);
        for number in 1..=400_usize {
            // As a log is written: where the last one ended, and on.
            let (at, length) = (number * 3 % (PAGES - 4), (1 + number % 4) * PAGE);
            pages.0.fill(number as u8);
            commits.write_at(&pages.0[..length], (at * PAGE) as u64).unwrap();
            if number % 8 == 0 {
                commits.sync_data().unwrap();
            }
            let found = &contents(&file)[at * PAGE..][..length];
            assert!(found.iter().all(|byte| *byte == number as u8), "write {number}");
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

/// A file system may refuse what it was asked for at any time: larger units, or memory that lies in
/// another way. Here it is memory that does.
#[test]
fn what_cannot_be_written_directly_is_written_all_the_same() {
    let scratch = Scratch::new("refused");
    let (file, commits) = scratch.files();
    let pages = Aligned([7; 4 * PAGE]);
    commits.write_at(&pages.0[..PAGE], 0).unwrap();
    commits.write_at(&pages.0[1..=PAGE], PAGE as u64).unwrap();
    commits.write_at(&pages.0[..PAGE], 2 * PAGE as u64).unwrap();
    commits.write_at(&pages.0[..10], 3 * PAGE as u64).unwrap();
    commits.sync_data().unwrap();
    let found = contents(&file);
    assert!(found[..3 * PAGE + 10].iter().all(|byte| *byte == 7));
    assert!(found[3 * PAGE + 10..].iter().all(|byte| *byte == 0));
}

#[test]
fn what_was_removed_cannot_be_flushed() {
    let scratch = Scratch::new("removed");
    let (_file, commits) = scratch.files();
    commits.sync_data().unwrap();
    scratch.directory.remove("file").unwrap();
    assert!(commits.sync_data().unwrap_err().to_string().contains("removed"));
}
