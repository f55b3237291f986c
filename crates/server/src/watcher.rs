//! Watching files: when they change, or on demand, what is in them is used.
//!
//! A thread of its own looks at them every two seconds, without reading them; a changed file must
//! have stayed the same for one look, since a certificate and its key do not change at once. What to
//! do with a file must not be known here.

use crate::stamp::Stamp;
use std::fmt::Debug;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How often something is done that has to be done from time to time.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Files that belong together, and what is made of them.
pub(crate) trait Watched: Debug + Send {
    /// What can be told about each file without reading it.
    fn stamps(&self) -> Vec<Stamp>;

    /// Reads them and uses what is in them, or says why not and goes on with what was in use.
    fn read(&mut self);

    /// A day has passed.
    fn day(&mut self) {}
}

/// An order to read all files again at once.
#[derive(Debug)]
pub(crate) struct ReadAgain;

/// Starts watching; it ends when the sender that is returned is dropped.
///
/// # Errors
/// What the operating system says about starting a thread.
pub(crate) fn watch(files: Vec<Box<dyn Watched>>) -> io::Result<Sender<ReadAgain>> {
    let (orders, received) = channel();
    let mut watches: Vec<Watch> = files.into_iter().map(Watch::new).collect();
    let run = move || run(&mut watches, &received);
    thread::Builder::new().name("files".to_owned()).spawn(run)?;
    Ok(orders)
}

fn run(watches: &mut [Watch], orders: &Receiver<ReadAgain>) {
    let mut day = Instant::now();
    loop {
        match orders.recv_timeout(LOOK) {
            Ok(ReadAgain) => watches.iter_mut().for_each(Watch::read),
            Err(RecvTimeoutError::Timeout) => watches.iter_mut().for_each(Watch::look),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if day.elapsed() >= DAY {
            day = Instant::now();
            watches.iter_mut().for_each(|watch| watch.files.day());
        }
    }
}

#[derive(Debug)]
struct Watch {
    files: Box<dyn Watched>,
    /// The files as they were when they were read.
    in_use: Vec<Stamp>,
    /// The files at the last look.
    seen: Vec<Stamp>,
}

impl Watch {
    fn new(files: Box<dyn Watched>) -> Self {
        let stamps = files.stamps();
        Self { files, in_use: stamps.clone(), seen: stamps }
    }

    fn look(&mut self) {
        let stamps = self.files.stamps();
        let is_settled = stamps == self.seen;
        self.seen = stamps;
        if is_settled && self.seen != self.in_use {
            self.read();
        }
    }

    fn read(&mut self) {
        // The same files are not tried again until one changes.
        self.in_use = self.files.stamps();
        self.files.read();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use std::time::SystemTime;

    #[derive(Debug, Default)]
    struct Story {
        version: u64,
        reads: Vec<u64>,
    }

    #[derive(Debug)]
    struct File(Arc<Mutex<Story>>);

    impl Watched for File {
        fn stamps(&self) -> Vec<Stamp> {
            vec![Some((self.0.lock().unwrap().version, 0, SystemTime::UNIX_EPOCH))]
        }

        fn read(&mut self) {
            let mut story = self.0.lock().unwrap();
            let version = story.version;
            story.reads.push(version);
        }
    }

    #[test]
    fn a_changed_file_is_read_once_it_has_stayed_the_same_for_a_look() {
        let story = Arc::new(Mutex::new(Story::default()));
        let mut watch = Watch::new(Box::new(File(Arc::clone(&story))));
        let mut look = |version| {
            story.lock().unwrap().version = version;
            watch.look();
            std::mem::take(&mut story.lock().unwrap().reads)
        };
        assert!(look(0).is_empty(), "nothing has changed");
        assert!(look(1).is_empty(), "it may be half written");
        assert!(look(2).is_empty(), "it was");
        assert_eq!(look(2), [2]);
        assert!(look(2).is_empty(), "it is in use");
    }

    #[test]
    fn an_order_reads_all_at_once() {
        let story = Arc::new(Mutex::new(Story::default()));
        let (orders, received) = channel();
        let mut watches = [(); 2].map(|()| Watch::new(Box::new(File(Arc::clone(&story)))));
        orders.send(ReadAgain).unwrap();
        drop(orders);
        run(&mut watches, &received);
        assert_eq!(story.lock().unwrap().reads, [0, 0]);
    }
}
