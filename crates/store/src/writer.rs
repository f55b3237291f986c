//! The thread that owns the log, and the one that reads for it.

use crate::assembly::{Assembly, Ready};
use crate::disk::DiskFile;
use crate::engine::{Engine, Loading};
use crate::error::StoreError;
use crate::options::Durability;
use crate::store::{Answer, Inbox, Load, Shared};
use noctule_broker::{Event, SessionHandle, ShardId};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// When nothing has come for so long, old segments are tidied up.
const IDLE: Duration = Duration::from_millis(20);

/// The owner of the log.
pub(crate) struct Writer<F> {
    engine: Engine<F>,
    assembly: Assembly,
    durability: Durability,
    shared: Arc<Shared>,
    reader: Option<Reader<F>>,
    /// Since when something is written and not flushed.
    unflushed_since: Option<Instant>,
    segments_begun: u64,
}

impl<F: DiskFile + Debug> Writer<F> {
    pub(crate) fn new(
        engine: Engine<F>,
        durability: Durability,
        shared: Arc<Shared>,
    ) -> Result<Self, StoreError> {
        let reader = Some(Reader::start(shared.clone())?);
        let segments_begun = engine.segments_begun();
        let assembly = Assembly::default();
        let unflushed_since = None;
        Ok(Self { engine, assembly, durability, shared, reader, unflushed_since, segments_begun })
    }

    /// Works until it is closed or something fails.
    pub(crate) fn run(mut self) -> Result<(), StoreError> {
        let result = self.work();
        self.shared.close();
        drop(self.engine);
        // It answers what it was asked.
        if let Some(reader) = self.reader.take() {
            reader.end();
        }
        match result {
            Ok(()) => Ok(()),
            // Whoever has failed has said so.
            Err(StoreError::Stopped) => Err(StoreError::Stopped),
            Err(error) => {
                (self.shared.answers)(Answer::Failed(error));
                Err(StoreError::Stopped)
            }
        }
    }

    fn work(&mut self) -> Result<(), StoreError> {
        loop {
            let asked = self.shared.take(self.patience());
            let closing = asked.closing;
            if asked.failed {
                return Err(StoreError::Stopped);
            }
            if asked.is_empty() {
                self.idle()?;
            } else {
                self.carry_out(asked)?;
            }
            if closing {
                return self.engine.close();
            }
        }
    }

    /// How long to wait for work before doing what can wait.
    fn patience(&self) -> Option<Duration> {
        let flush = match (self.durability, self.unflushed_since) {
            (Durability::Interval(interval), Some(since)) => {
                Some(interval.saturating_sub(since.elapsed()))
            }
            _ => None,
        };
        let tidy = self.engine.wants_tidying().then_some(IDLE);
        flush.into_iter().chain(tidy).min()
    }

    fn idle(&mut self) -> Result<(), StoreError> {
        if self.engine.wants_tidying() {
            self.engine.tidy()?;
            self.unflushed_since = None;
        }
        self.flush_if_due()
    }

    fn carry_out(&mut self, asked: Inbox) -> Result<(), StoreError> {
        let Ready { units, tickets, bytes, loads } =
            self.assembly.assemble(asked.persists, asked.loads);
        if !units.is_empty() {
            self.engine.write(&units)?;
            self.unflushed_since.get_or_insert_with(Instant::now);
        }
        drop(units);
        for load in loads {
            self.load(&load);
        }
        if self.durability == Durability::Always && bytes > 0 {
            self.engine.flush()?;
            self.unflushed_since = None;
        }
        self.shared.landed(bytes);
        for (shard, ticket) in tickets {
            let event = Event::Persisted(ticket);
            (self.shared.answers)(Answer::Event { shard, event });
        }
        for sender in asked.figures {
            // Who asked may be gone.
            let _ = sender.send(self.engine.figures());
        }
        self.flush_if_due()
    }

    /// What nobody waits for is flushed at its interval; without one, when a segment is full, so
    /// that old ones can be given up.
    fn flush_if_due(&mut self) -> Result<(), StoreError> {
        let due = match (self.durability, self.unflushed_since) {
            (_, None) | (Durability::Always, _) => false,
            (Durability::Interval(interval), Some(since)) => since.elapsed() >= interval,
            (Durability::Never, _) => self.engine.segments_begun() > self.segments_begun,
        };
        if due {
            self.engine.flush()?;
            self.unflushed_since = None;
            self.segments_begun = self.engine.segments_begun();
        }
        Ok(())
    }

    fn load(&self, load: &Load) {
        let loading = self.engine.loading(load.key, load.after, load.bytes_max);
        if let Some(reader) = &self.reader {
            reader.ask(Asked { shard: load.shard, session: load.session, loading });
        }
    }
}

/// Messages to be read for a shard.
#[derive(Debug)]
struct Asked<F> {
    shard: ShardId,
    session: SessionHandle,
    loading: Loading<F>,
}

/// A thread that reads, so that commits do not wait for a disk that is slow to find old messages.
#[derive(Debug)]
struct Reader<F> {
    asked: Sender<Asked<F>>,
    thread: JoinHandle<()>,
}

impl<F: DiskFile + Debug> Reader<F> {
    fn start(shared: Arc<Shared>) -> Result<Self, StoreError> {
        let (asked, receiver) = channel();
        let thread = thread::Builder::new()
            .name("store-reader".into())
            .spawn(move || read_all(&receiver, &shared))
            .map_err(StoreError::io("start a thread for", "reading the log"))?;
        Ok(Self { asked, thread })
    }

    fn ask(&self, asked: Asked<F>) {
        // It ends after a failure, which it has reported.
        let _ = self.asked.send(asked);
    }

    fn end(self) {
        drop(self.asked);
        let _ = self.thread.join();
    }
}

fn read_all<F: DiskFile>(asked: &Receiver<Asked<F>>, shared: &Shared) {
    while let Ok(Asked { shard, session, loading }) = asked.recv() {
        match loading.read() {
            Ok(messages) => {
                let event = Event::Loaded { session, messages };
                (shared.answers)(Answer::Event { shard, event });
            }
            Err(error) => {
                shared.fail();
                return (shared.answers)(Answer::Failed(error));
            }
        }
    }
}
