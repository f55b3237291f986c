//! The way of log lines to standard error.
//!
//! A thread of its own writes them, because whoever reads them may be slow, or gone. The loop only
//! puts lines into a queue with an end; a line that finds it full is counted, and the count is
//! written as soon as there is room. The invariant: logging never waits and never fails.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait to be written.
const LINES_MAX: usize = 1_024;

/// Takes log lines without waiting.
#[derive(Debug, Clone)]
pub(crate) struct LogQueue {
    entries: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// Says that everything before it is written.
    Written(Sender<()>),
}

impl LogQueue {
    /// A queue that a thread empties into `out`. The thread ends with the queue.
    ///
    /// # Errors
    /// What the operating system says about starting a thread.
    pub(crate) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (entries, waiting) = sync_channel(LINES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(&waiting, &counter, out))?;
        Ok(Self { entries, lost })
    }

    /// Waits until the lines so far are written, but no longer than `patience`.
    pub(crate) fn drain(&self, patience: Duration) {
        let (written, wait) = channel();
        if self.entries.try_send(Entry::Written(written)).is_ok() {
            let _ = wait.recv_timeout(patience);
        }
    }
}

/// One event's line on its way into the queue.
pub(crate) struct Line<'a> {
    queue: &'a LogQueue,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: self, bytes: Vec::new() }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let line = std::mem::take(&mut self.bytes);
        if !line.is_empty() && self.queue.entries.try_send(Entry::Line(line)).is_err() {
            self.queue.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes lines until the queue is gone. That nobody reads them is no reason to stop taking them.
fn write_all(waiting: &Receiver<Entry>, lost: &AtomicU64, mut out: impl Write) {
    for entry in waiting {
        let line = match entry {
            Entry::Line(line) => line,
            Entry::Written(tell) => {
                let _ = tell.send(());
                continue;
            }
        };
        let missing = lost.swap(0, Ordering::Relaxed);
        if missing > 0 {
            let _ = writeln!(out, "{missing} log lines were lost: the output was too slow");
        }
        let _ = out.write_all(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An output that takes nothing until it is told to, and passes on what it took.
    struct Slow {
        gate: Receiver<()>,
        taken: Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.gate.recv();
            let _ = self.taken.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_output_that_stands_still_costs_lines_and_no_time_and_says_how_many() {
        let (open, gate) = channel();
        let (taken, seen) = channel();
        let queue = LogQueue::start(Slow { gate, taken }).unwrap();
        let offered = LINES_MAX * 2;
        for number in 0..offered {
            writeln!(queue.make_writer(), "line {number}").unwrap();
        }
        // One that comes when there is room again brings the count along.
        drop(open);
        let (told, wait) = channel();
        queue.entries.send(Entry::Written(told)).unwrap();
        assert_eq!(wait.recv(), Ok(()));
        writeln!(queue.make_writer(), "line {offered}").unwrap();
        drop(queue);
        let seen: String = seen.iter().collect();
        let (mut written, mut lost) = (0, 0);
        for line in seen.lines() {
            match line.split_once(" log lines were lost") {
                Some((count, _)) => lost += count.parse::<usize>().unwrap(),
                None => written += 1,
            }
        }
        assert!(lost >= LINES_MAX - 1, "{lost}");
        assert_eq!(written + lost, offered + 1, "{seen}");
        assert!(seen.ends_with(&format!("line {offered}\n")), "{seen}");
    }

    #[test]
    fn an_output_that_fails_is_no_failure() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let queue = LogQueue::start(Gone).unwrap();
        for _ in 0..10 {
            writeln!(queue.make_writer(), "line").unwrap();
        }
        let (written, wait) = channel();
        queue.entries.send(Entry::Written(written)).unwrap();
        assert_eq!(wait.recv(), Ok(()), "the thread goes on taking lines");
    }
}
