//! The store as the server has it: handed records and questions by every shard, it answers by a
//! call from one of its threads.
//!
//! There is one writer. While it waits for a flush, records queue up; then it takes all that are
//! there and flushes them together. So what a flush costs is shared by those who came meanwhile, and
//! whoever comes alone waits for nobody.

use crate::disk::{Directory, Disk};
use crate::engine::{Figures, open};
use crate::error::StoreError;
use crate::options::Options;
use crate::recovery::Recovered;
use crate::supply_thread::SupplyThread;
use crate::writer::{Rules, Writer};
use noctule_broker::{
    Event, Record, Sequence, SessionHandle, SessionKey, ShardId, Stage, Ticket, Together,
};
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// What the store has to say.
#[derive(Debug)]
pub enum Answer {
    /// Something for a shard: [`Event::Written`], [`Event::Persisted`] or [`Event::Loaded`].
    Event {
        /// Which shard.
        shard: ShardId,
        /// What.
        event: Event,
    },
    /// Free space has become scarce, or is enough again. While it is scarce new durable messages
    /// should be refused ("quota exceeded"); all else goes on.
    Space {
        /// Whether it is enough.
        enough: bool,
        /// How much there is.
        free_bytes: u64,
    },
    /// So much was under way that publishers should wait, and is not any more. Whoever has seen that
    /// a shard's store [is backed up](ShardStore::is_backed_up) hears this afterwards.
    CaughtUp,
    /// The store has failed, and answers nothing any more. Nothing that waits for a ticket may be
    /// said; the broker has to end, and say why.
    Failed(StoreError),
}

/// A store that is open.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<Result<(), StoreError>>>,
}

/// The way of one shard to the store.
#[derive(Debug, Clone)]
pub struct ShardStore {
    shard: ShardId,
    shared: Arc<Shared>,
}

/// What the threads of a store share with those who use it.
pub(crate) struct Shared {
    inbox: Mutex<Inbox>,
    bell: Condvar,
    in_flight_bytes: AtomicUsize,
    in_flight_bytes_max: usize,
    pub(crate) free_bytes_min: u64,
    pub(crate) enough_space: AtomicBool,
    pub(crate) answers: Box<dyn Fn(Answer) + Send + Sync>,
    usual: Stage,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("in_flight_bytes", &self.in_flight_bytes).finish()
    }
}

/// What was asked for and not begun.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) persists: Vec<Persist>,
    pub(crate) loads: Vec<Load>,
    pub(crate) figures: Vec<Sender<Figures>>,
    pub(crate) closing: bool,
    /// Something has failed elsewhere: nothing more may be promised.
    pub(crate) failed: bool,
    /// The writer has ended: nobody will take anything.
    closed: bool,
    writer_waits: bool,
}

#[derive(Debug)]
pub(crate) struct Persist {
    pub(crate) shard: ShardId,
    pub(crate) ticket: Ticket,
    pub(crate) records: Vec<Record>,
    pub(crate) stage: Stage,
    pub(crate) bytes: usize,
    /// What it has in common with batches of other shards, and how many there are if it knows.
    pub(crate) together: Vec<(Together, Option<u32>)>,
}

#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) shard: ShardId,
    pub(crate) session: SessionHandle,
    pub(crate) key: SessionKey,
    pub(crate) after: Sequence,
    pub(crate) bytes_max: usize,
}

impl Inbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.persists.is_empty()
            && self.loads.is_empty()
            && self.figures.is_empty()
            && !self.closing
            && !self.failed
    }
}

impl Store {
    /// Opens the store in a directory, which is made if it does not exist, and reads all that it
    /// keeps. `answers` is called from the store's threads and must not wait for them.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process has it, [`StoreError::Damaged`] or
    /// [`StoreError::UnknownFormat`] if it cannot be read; it is left as it was then.
    pub fn open(
        path: &Path,
        options: Options,
        answers: impl Fn(Answer) + Send + Sync + 'static,
    ) -> Result<(Self, Recovered), StoreError> {
        let opened = Directory::open(path);
        let disk = opened.map_err(StoreError::io("open", path.display().to_string()))?;
        Self::open_on(disk, options, answers)
    }

    /// As [`open`](Self::open), on any disk.
    ///
    /// # Errors
    /// As there.
    pub fn open_on<D: Disk>(
        disk: D,
        options: Options,
        answers: impl Fn(Answer) + Send + Sync + 'static,
    ) -> Result<(Self, Recovered), StoreError>
    where
        D::File: fmt::Debug,
    {
        let disk = Arc::new(disk);
        let shared = Arc::new(Shared {
            inbox: Mutex::default(),
            bell: Condvar::new(),
            in_flight_bytes: AtomicUsize::new(0),
            in_flight_bytes_max: options.in_flight_bytes_max,
            free_bytes_min: options.free_bytes_min,
            enough_space: AtomicBool::new(true),
            answers: Box::new(answers),
            usual: options.usual(),
        });
        let rules = Rules::of(&options);
        let (opened, supply) = open(disk.clone(), options)?;
        let line = SupplyThread::start(supply, disk, shared.clone())?;
        let engine = opened.start(Box::new(line))?;
        let recovered = engine.recovered()?;
        let writer = Writer::new(engine, rules, shared.clone())?;
        let writer = thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())
            .map_err(StoreError::io("start a thread for", "the writer of the log"))?;
        Ok((Self { shared, writer: Some(writer) }, recovered))
    }

    /// The way of a shard to this store.
    pub fn for_shard(&self, shard: ShardId) -> ShardStore {
        ShardStore { shard, shared: self.shared.clone() }
    }

    /// Whether there is enough free space to take new durable messages.
    pub fn has_space(&self) -> bool {
        self.shared.enough_space.load(Ordering::Relaxed)
    }

    /// How much there is.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] if the store has failed.
    pub fn figures(&self) -> Result<Figures, StoreError> {
        let (sender, receiver) = channel();
        self.shared.ask(|inbox| inbox.figures.push(sender));
        receiver.recv().map_err(|_| StoreError::Stopped)
    }

    /// Puts on stable storage what was handed in before, and ends. The answers to it come before
    /// this returns. If the disk is full, what it has no room for is given up, without an answer.
    ///
    /// # Errors
    /// What has stopped the store, if something did.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), StoreError> {
        self.shared.ask(|inbox| inbox.closing = true);
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(StoreError::Stopped),
            None => Ok(()),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Whoever wants to know calls `close`.
        let _ = self.end();
    }
}

impl ShardStore {
    /// Keeps records as safely as the store's own rule says; [`Event::Persisted`] with the ticket, or a
    /// later one, follows.
    ///
    /// All of them are stored or none, and so are batches of several shards that name the same
    /// [`Record::Together`].
    pub fn persist(&self, ticket: Ticket, records: Vec<Record>) {
        self.persist_until(self.shared.usual, ticket, records);
    }

    /// As [`persist`](Self::persist), but until they are as safe as this.
    pub fn persist_until(&self, stage: Stage, ticket: Ticket, mut records: Vec<Record>) {
        let bytes = records.iter().map(size).sum();
        self.shared.in_flight_bytes.fetch_add(bytes, Ordering::Relaxed);
        let together = take_together(&mut records);
        let persist = Persist { shard: self.shard, ticket, records, stage, bytes, together };
        self.shared.ask(|inbox| inbox.persists.push(persist));
    }

    /// Reads messages that a session is owed: those behind `after`, at least one and about
    /// `bytes_max` bytes of them. [`Event::Loaded`] follows. It finds what was persisted before.
    pub fn load(&self, session: SessionHandle, key: SessionKey, after: Sequence, bytes_max: usize) {
        let load = Load { shard: self.shard, session, key, after, bytes_max };
        self.shared.ask(|inbox| inbox.loads.push(load));
    }

    /// Whether so much is under way to the disk that publishers of durable messages should not be
    /// read. When it changes back, [`Answer::CaughtUp`] follows.
    pub fn is_backed_up(&self) -> bool {
        self.shared.in_flight_bytes.load(Ordering::Relaxed) >= self.shared.in_flight_bytes_max
    }

    /// Whether there is enough free space to take new durable messages.
    pub fn has_space(&self) -> bool {
        self.shared.enough_space.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Puts something into the inbox, unless nobody will take it.
    fn ask(&self, put: impl FnOnce(&mut Inbox)) {
        let mut inbox = self.inbox();
        if inbox.closed {
            return;
        }
        put(&mut inbox);
        let wakes = std::mem::replace(&mut inbox.writer_waits, false);
        // Whoever wakes while it is locked goes to sleep again at once.
        drop(inbox);
        if wakes {
            self.bell.notify_one();
        }
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all that was asked for; waits for it, for at most so long.
    pub(crate) fn take(&self, patience: Option<std::time::Duration>) -> Inbox {
        let mut inbox = self.inbox();
        while inbox.is_empty() {
            inbox.writer_waits = true;
            match patience {
                None => inbox = self.bell.wait(inbox).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let waited = self.bell.wait_timeout(inbox, patience);
                    inbox = waited.unwrap_or_else(PoisonError::into_inner).0;
                    break;
                }
            }
        }
        inbox.writer_waits = false;
        let closing = inbox.closing;
        std::mem::replace(&mut *inbox, Inbox { closing, ..Inbox::default() })
    }

    /// Whether what was handed in is the last.
    pub(crate) fn is_closing(&self) -> bool {
        self.inbox().closing
    }

    /// Something has failed: the writer is to end.
    pub(crate) fn fail(&self) {
        self.ask(|inbox| inbox.failed = true);
    }

    /// Nothing will be taken any more.
    pub(crate) fn close(&self) {
        let closed = Inbox { closed: true, ..Inbox::default() };
        // Whoever waits for figures learns it by this, too.
        *self.inbox() = closed;
    }

    /// So many bytes of records are on stable storage.
    pub(crate) fn landed(&self, bytes: usize) {
        let before = self.in_flight_bytes.fetch_sub(bytes, Ordering::Relaxed);
        let max = self.in_flight_bytes_max;
        if before >= max && before - bytes < max {
            (self.answers)(Answer::CaughtUp);
        }
    }
}

/// Takes the demands out of a batch, which are nothing to be kept.
pub(crate) fn take_together(records: &mut Vec<Record>) -> Vec<(Together, Option<u32>)> {
    let demand = |record: &Record| match record {
        Record::Together { together, batches } => Some((*together, *batches)),
        _ => None,
    };
    let demands: Vec<_> = records.iter().filter_map(demand).collect();
    if !demands.is_empty() {
        records.retain(|record| demand(record).is_none());
    }
    demands
}

/// About how many bytes a record takes in memory and on disk.
fn size(record: &Record) -> usize {
    size_of::<Record>()
        + match record {
            Record::Owed { owed, .. } => owed.message.bytes(),
            Record::Received { message, .. } | Record::Retained { message, .. } => message.bytes(),
            Record::Session { will: Some(will), .. } => will.message.bytes(),
            Record::Subscribed { filter, replay, .. } => {
                let reached = replay.as_ref().and_then(|replay| replay.reached.as_ref());
                filter.len() + reached.map_or(0, |topic| topic.len())
            }
            _ => 0,
        }
}
