//! The broker's resident memory while something happens to it, read in small steps. Peaks shorter
//! than a step can be missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::process::{self, Resident};

/// Reads the memory until told to stop.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<(Instant, u64)>>>,
}

/// What was read, and when.
pub(crate) struct Samples(Vec<(Instant, u64)>);

impl Watch {
    pub(crate) fn start(pid: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut samples = Vec::new();
            // A process that is gone has no memory: whoever asks finds nothing later than this.
            while let Ok(bytes) = process::resident(pid) {
                samples.push((Instant::now(), bytes));
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                thread::sleep(STEP);
            }
            samples
        });
        Self { stop, thread: Some(thread) }
    }

    pub(crate) fn finish(mut self) -> Samples {
        self.stop.store(true, Ordering::Relaxed);
        let samples = self.thread.take().map(JoinHandle::join);
        Samples(samples.and_then(Result::ok).unwrap_or_default())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Samples {
    /// The most that was read; `None` if the process was gone by then.
    pub(crate) fn most(&self) -> Option<u64> {
        self.0.iter().map(|(_, bytes)| *bytes).max()
    }

    /// The memory between two moments, beginning with the last reading before.
    pub(super) fn span(&self, begin: Instant, end: Instant) -> Option<Resident> {
        let first = self.0.partition_point(|(at, _)| *at <= begin).saturating_sub(1);
        let last = self.0.partition_point(|(at, _)| *at <= end);
        let bytes: Vec<u64> = self.0.get(first..last)?.iter().map(|(_, bytes)| *bytes).collect();
        Some(Resident {
            begin: *bytes.first()?,
            peak: bytes.iter().copied().max()?,
            end: *bytes.last()?,
        })
    }
}

const STEP: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_its_ends_and_its_peak() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let samples = Samples(vec![(at(0), 5), (at(10), 9), (at(20), 7), (at(30), 8)]);
        let span = |from, to| samples.span(at(from), at(to)).map(|r| (r.begin, r.peak, r.end));
        assert_eq!(span(0, 35), Some((5, 9, 8)));
        assert_eq!(span(15, 25), Some((9, 9, 7)));
        assert_eq!(span(40, 50), Some((8, 8, 8)));
        assert_eq!(Samples(Vec::new()).span(at(0), at(9)), None);
        assert_eq!((samples.most(), Samples(Vec::new()).most()), (Some(9), None));
    }

    #[test]
    fn our_own_memory_is_watched() {
        let watch = Watch::start(std::process::id());
        let begin = Instant::now();
        let samples = watch.finish();
        assert!(samples.span(begin, Instant::now()).is_none_or(|span| span.peak > 100_000));
        assert!(!samples.0.is_empty());
    }
}
