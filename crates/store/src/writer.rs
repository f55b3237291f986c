//! The thread that owns the log, and the one that reads for it.

use crate::assembly::{Assembly, Landing, Ready};
use crate::disk::DiskFile;
use crate::engine::{Engine, Loading};
use crate::error::StoreError;
use crate::options::Options;
use crate::store::{Answer, Inbox, Load, Shared};
use noctule_broker::{Event, SessionHandle, ShardId, Stage, Ticket, Unstored};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// When nothing has come for so long, old segments are tidied up.
const IDLE: Duration = Duration::from_millis(20);

/// When something is flushed that nobody waits for, and what is said.
#[derive(Debug)]
pub(crate) struct Rules {
    flush_interval: Option<Duration>,
    says_written: bool,
    unstored: Option<Arc<Unstored>>,
}

impl Rules {
    pub(crate) fn of(options: &Options) -> Self {
        Self {
            flush_interval: options.flush_interval(),
            says_written: options.says_written,
            unstored: options.unstored.clone(),
        }
    }
}

/// The owner of the log.
pub(crate) struct Writer<F> {
    engine: Engine<F>,
    assembly: Assembly,
    rules: Rules,
    shared: Arc<Shared>,
    reader: Option<Reader<F>>,
    /// Since when something is written and not flushed.
    unflushed_since: Option<Instant>,
    segments_begun: u64,
}

impl<F: DiskFile + Debug> Writer<F> {
    pub(crate) fn new(
        engine: Engine<F>,
        rules: Rules,
        shared: Arc<Shared>,
    ) -> Result<Self, StoreError> {
        let reader = Some(Reader::start(shared.clone())?);
        let segments_begun = engine.segments_begun();
        let assembly = Assembly::default();
        let unflushed_since = None;
        Ok(Self { engine, assembly, rules, shared, reader, unflushed_since, segments_begun })
    }

    /// Works until it is closed or something fails.
    pub(crate) fn run(mut self) -> Result<(), StoreError> {
        let result = self.work();
        if result.as_ref().is_err_and(StoreError::is_out_of_space) {
            // What had its place was written as a whole, and may have been promised to outlive the process.
            self.engine.flush_last();
        }
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
        let flush = match (self.rules.flush_interval, self.unflushed_since) {
            (Some(interval), Some(since)) => Some(interval.saturating_sub(since.elapsed())),
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
        let Ready { units, landing, loads } = self.assembly.assemble(asked.persists, asked.loads);
        if !units.is_empty() {
            self.engine.write(&units)?;
            if let Some(unstored) = &self.rules.unstored {
                self.engine.forget_cleared(unstored.all_stored_before());
            }
            self.unflushed_since.get_or_insert_with(Instant::now);
        }
        drop(units);
        for load in loads {
            self.load(&load);
        }
        if landing.stage == Stage::Flushed && landing.bytes > 0 {
            if self.rules.says_written {
                self.tell(&landing, Event::Written);
            }
            self.engine.flush()?;
            self.unflushed_since = None;
            self.segments_begun = self.engine.segments_begun();
        }
        self.shared.landed(landing.bytes);
        self.tell(&landing, Event::Persisted);
        for sender in asked.figures {
            // Who asked may be gone.
            let _ = sender.send(self.engine.figures());
        }
        self.flush_if_due()
    }

    fn tell(&self, landing: &Landing, event: impl Fn(Ticket) -> Event) {
        for (shard, ticket) in &landing.tickets {
            (self.shared.answers)(Answer::Event { shard: *shard, event: event(*ticket) });
        }
    }

    /// What nobody waits for is flushed at its interval; without one, when a segment is full, so
    /// that old ones can be given up.
    fn flush_if_due(&mut self) -> Result<(), StoreError> {
        let due = match (self.rules.flush_interval, self.unflushed_since) {
            (_, None) => false,
            (Some(interval), Some(since)) => since.elapsed() >= interval,
            (None, _) => self.engine.segments_begun() > self.segments_begun,
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
