//! What the disk allows, whatever a broker does: appending to a file of zeros and flushing it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::place::Place;
use crate::LoadError;
use crate::latency::Latency;

/// Times of writes of one size, each followed by fdatasync.
#[derive(Debug, Clone)]
pub struct Floor {
    /// Messages that such a write would hold.
    pub batch: f64,
    /// Size of a write.
    pub bytes: usize,
    /// How long they took.
    pub times: Latency,
}

impl Floor {
    /// Messages a second, if nothing but this had to be done, one write after another.
    pub fn rate(&self) -> Option<f64> {
        self.times.mean_ms().map(|mean| self.batch * 1e3 / mean)
    }
}

/// Writes for so long what a commit of `batch` messages has to write, at least a page.
pub(super) fn measure(
    place: &Place,
    batch: f64,
    payload_bytes: usize,
    duration: Duration,
) -> Result<Floor, LoadError> {
    let bytes = (batch * (payload_bytes + BESIDE_PAYLOAD) as f64) as usize;
    let bytes = bytes.clamp(PAGE, SIZE);
    let path = place.file("floor");
    let times = flushed(&path, bytes, duration)
        .map_err(|error| LoadError::io(format!("cannot write {}", path.display()), error))?;
    Ok(Floor { batch, bytes, times })
}

fn flushed(path: &Path, bytes: usize, duration: Duration) -> std::io::Result<Latency> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    let zeros = vec![0; 1 << 20];
    for at in (0..SIZE).step_by(zeros.len()) {
        file.write_all_at(&zeros, at as u64)?;
    }
    file.sync_all()?;
    // In a thread of its own, as the store writes: on a busy machine the scheduler lets one that has
    // worked much wait after each flush.
    let times = thread::scope(|scope| {
        let thread = scope.spawn(|| flush_repeatedly(&file, bytes, duration));
        thread.join().unwrap_or_else(|_| Err(std::io::Error::other("a thread panicked")))
    })?;
    fs::remove_file(path)?;
    Ok(times)
}

fn flush_repeatedly(file: &File, bytes: usize, duration: Duration) -> std::io::Result<Latency> {
    let data = vec![1; bytes];
    let mut times = Latency::new().map_err(std::io::Error::other)?;
    let (begin, mut at) = (Instant::now(), 0);
    while times.count() == 0 || begin.elapsed() < duration {
        if at + bytes > SIZE {
            at = 0;
        }
        let commit = Instant::now();
        file.write_all_at(&data, at as u64)?;
        file.sync_data()?;
        times.record(commit.elapsed(), 1);
        at += bytes;
    }
    Ok(times)
}

/// As large as one of the store's files.
const SIZE: usize = 32 << 20;
const PAGE: usize = 4_096;
/// What the store writes for a message beside its payload, about: topic, owner, frame.
const BESIDE_PAYLOAD: usize = 112;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_is_at_least_a_page_and_divides_by_the_batch() {
        let place = Place::make(&std::env::temp_dir().canonicalize().unwrap()).unwrap();
        let one = measure(&place, 1.0, 256, Duration::ZERO).unwrap();
        assert_eq!((one.bytes, one.times.count()), (PAGE, 1));
        let many = measure(&place, 100.0, 256, Duration::ZERO).unwrap();
        assert_eq!(many.bytes, 36_800);
        let expected = 100.0 * 1e3 / many.times.mean_ms().unwrap();
        assert_eq!(many.rate(), Some(expected));
        assert!(!place.file("floor").exists());
    }
}
