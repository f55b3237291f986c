//! What a loop tells those who watch: its numbers, samples of the messages, packets in hex.
//!
//! Once a second at most, and only after something has happened. Nobody who watches is ever waited
//! for.

use super::EventLoop;
use crate::complaints::Complaints;
use crate::log::LogQueue;
use crate::message_log::SAMPLE_PER_SECOND;
use crate::options::LogMessages;
use crate::raw_log::{RawPacket, Tap};
use crate::spare_memory::Spare;
use crate::statistics::Ledger;
use noctule_broker::{ConnectionHandle, Now, Outbox, Published};
use noctule_mqtt::Receiver;
use std::io::IoSlice;
use std::sync::Arc;
use tracing::warn;

/// How often at most, in milliseconds.
const BEAT_MS: u64 = 1_000;

/// Those who watch a loop.
#[derive(Debug)]
pub(crate) struct Observers {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) log: LogQueue,
    pub(crate) messages: LogMessages,
    /// Whether packets are logged in hex.
    pub(crate) raw: bool,
    /// Connections by WebSocket that were accepted here, and that ended here.
    pub(super) web_opened: u64,
    pub(super) web_closed: u64,
    beat_at_ms: u64,
    /// Something has happened that they were not told.
    pub(super) news: bool,
    pub(super) complaints: Complaints,
    /// What memory is not needed any more.
    pub(super) spare: Spare,
}

impl Observers {
    pub(crate) fn new(
        ledger: Arc<Ledger>,
        log: LogQueue,
        messages: LogMessages,
        raw: bool,
        spare: Spare,
    ) -> Self {
        let complaints = Complaints::default();
        Self {
            ledger,
            log,
            messages,
            raw,
            web_opened: 0,
            web_closed: 0,
            beat_at_ms: 0,
            news: true,
            complaints,
            spare,
        }
    }

    /// When they are to be told something, if there is something to tell.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let beat = self.news.then_some(self.beat_at_ms);
        beat.into_iter().chain(self.complaints.next_ms()).min()
    }

    pub(super) fn published(&self, published: Box<Published>) {
        self.log.published(published);
    }
}

/// The two directions of a connection whose packets are logged, and whose they are.
#[derive(Debug)]
pub(crate) struct Taps {
    pub(super) client: Box<str>,
    received: Tap,
    sent: Tap,
}

impl Taps {
    pub(super) fn new(client: Box<str>) -> Self {
        Self { client, received: Tap::default(), sent: Tap::default() }
    }

    /// Bytes were read.
    pub(super) fn received(&mut self, bytes: &[u8], wall_ms: u64, log: &LogQueue) {
        let client = &self.client;
        self.received.pass(bytes, Receiver::Server, |name, size, hex| {
            let client = client.clone();
            log.raw(RawPacket { wall_ms, received: true, client, name, size, hex });
        });
    }

    /// The first `written` bytes of an output were written.
    pub(super) fn sent(&mut self, output: &Outbox, written: usize, wall_ms: u64, log: &LogQueue) {
        let mut slices = [IoSlice::new(&[]); super::SLICES];
        let filled = output.slices(&mut slices);
        let mut left = written;
        let client = &self.client;
        for slice in &slices[..filled] {
            let bytes = &slice[..slice.len().min(left)];
            left -= bytes.len();
            self.sent.pass(bytes, Receiver::Client, |name, size, hex| {
                let client = client.clone();
                log.raw(RawPacket { wall_ms, received: false, client, name, size, hex });
            });
        }
    }
}

impl EventLoop {
    /// Tells them what there is, if it is time.
    pub(super) fn beat(&mut self, now: Now) {
        if self.observers.due_ms().is_none_or(|due| now.mono_ms < due) {
            return;
        }
        self.observers.beat_at_ms = now.mono_ms + BEAT_MS;
        let messages = match self.observers.messages {
            LogMessages::None => 0,
            LogMessages::Sample => SAMPLE_PER_SECOND,
            LogMessages::All => u32::MAX,
        };
        let unseen = self.shard.watch(messages);
        if unseen > 0 && messages > 0 {
            self.observers.log.not_shown(unseen);
        }
        let pressure = self.shard.pressure();
        let counts = self.observers.ledger.wants_count(self.number, now.mono_ms);
        if counts {
            self.shard.survey_all();
        }
        let mut snapshot = self.shard.snapshot();
        snapshot.websocket_opened = self.observers.web_opened;
        snapshot.websocket_closed = self.observers.web_closed;
        self.observers.ledger.put(self.number, snapshot, counts.then_some(now.mono_ms));
        self.observers.ledger.note_pressure(pressure, now.mono_ms);
        // Sessions may be left to be counted.
        self.observers.news = self.shard.is_surveying();
        self.observers.news |= self.observers.ledger.is_counting();
        self.observers.news |= self.shard.give_back();
        self.observers.news |= self.observers.spare.is_due();
        for (address, times) in self.observers.complaints.take_due(now.mono_ms) {
            warn!(%address, times, "more malformed packets came from this address meanwhile");
        }
    }

    /// The loop ends: tells them the last numbers.
    pub(super) fn last_beat(&mut self, now: Now) {
        self.observers.news = true;
        self.observers.beat_at_ms = now.mono_ms;
        self.beat(now);
    }

    /// Bytes were read from a socket whose packets are logged.
    pub(super) fn tap_received(&mut self, connection: ConnectionHandle, read: usize, now: Now) {
        if let Some(socket) = self.sockets.of(connection)
            && let Some(taps) = socket.taps()
        {
            taps.received(&self.scratch[..read], now.wall_ms, &self.observers.log);
        }
    }
}
