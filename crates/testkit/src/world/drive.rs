//! Driving the shard: the turns of a server's loop, with buffers for sockets.
//!
//! A server reads a connection again only when [`Action::Resume`] says so, and writes to one that
//! was named dirty until its output is empty; so does this. A shard that forgets to ask is found
//! out by a conversation that stops.

use super::{Asked, Pieces, World};
use crate::authenticator::Authenticator;
use crate::client::State;
use crate::transcript::Entry;
use noctule_broker::{Action, Cause, ConnectionHandle, Event, Report, Verdict};
use std::io::IoSlice;

/// Bytes that one read brings at most.
const READ_BYTES_MAX: usize = 64 * 1024;
/// Turns after which a shard that is still busy is taken to be so for ever.
const TURNS_MAX: usize = 3_000_000;

impl World {
    /// Has the shard do everything that can be done now.
    #[track_caller]
    pub fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let mut busy = self.read_sockets();
            self.shard.work(self.now);
            self.shard.end_turn();
            busy |= self.carry_out();
            busy |= self.write_sockets();
            if !busy && !self.shard.has_work() {
                self.check_memory();
                return;
            }
        }
        self.fail("the shard does not come to rest");
    }

    fn read_sockets(&mut self) -> bool {
        let mut busy = false;
        for client in self.clients.values_mut() {
            if client.state != State::Open || client.unread.is_empty() || client.paused {
                continue;
            }
            if !self.shard.wants_input(client.handle) {
                client.paused = true;
                continue;
            }
            let most = client.unread.len().min(READ_BYTES_MAX);
            let taken = match self.pieces {
                Pieces::Whole => most,
                Pieces::Bytes => 1,
                Pieces::Random(_) => 1 + self.dice.below(most),
            };
            let bytes: Vec<u8> = client.unread.drain(..taken).collect();
            self.shard.on_bytes(client.handle, &bytes, self.now);
            client.paused = !self.shard.wants_input(client.handle);
            busy = true;
        }
        busy
    }

    fn carry_out(&mut self) -> bool {
        let mut busy = false;
        while let Some(action) = self.shard.next_action() {
            busy = true;
            match action {
                Action::Authenticate { connection, credentials } => match self.authenticator {
                    Authenticator::Yes => self.decide(connection, Verdict::Accepted),
                    Authenticator::No(reason) => {
                        self.decide(connection, Verdict::Refused(reason));
                    }
                    Authenticator::Waiting => self.undecided.push((connection, credentials)),
                },
                Action::Persist { ticket, records, stage } => {
                    self.ask(Asked::Persist { ticket, records, stage });
                }
                Action::Load { session, key, bytes_max, .. } => {
                    self.ask(Asked::Load { session, key, bytes_max });
                }
                Action::Close(handle) => self.close(handle),
                Action::Resume(handle) => {
                    if let Some(client) =
                        self.names.get(&handle).and_then(|name| self.clients.get_mut(name))
                    {
                        client.paused = false;
                    }
                }
                Action::HandOver { .. } => {
                    panic!("a shard without others handed a connection over")
                }
                Action::Report(report) => self.on_report(report),
            }
        }
        busy
    }

    fn decide(&mut self, connection: ConnectionHandle, verdict: Verdict) {
        self.shard.handle(Event::Authenticated { connection, verdict }, self.now);
    }

    fn ask(&mut self, asked: Asked) {
        if self.store_is_held || !self.asked.is_empty() {
            self.asked.push_back(asked);
        } else {
            self.work(asked);
        }
    }

    /// Has the store do what it was asked to, and tells the shard.
    pub(super) fn work(&mut self, asked: Asked) {
        let event = match asked {
            Asked::Persist { ticket, records, .. } => {
                self.records.extend(records.iter().cloned());
                self.store.persist(records);
                while let Some(spilled) = self.store.take_ended() {
                    self.shard.discard(spilled);
                }
                Event::Persisted(ticket)
            }
            Asked::Load { session, key, bytes_max } => {
                Event::Loaded { session, messages: self.store.load(key, bytes_max) }
            }
        };
        self.shard.handle(event, self.now);
    }

    /// The shard asks for a connection's end: what can be written is written first.
    fn close(&mut self, handle: ConnectionHandle) {
        let Some(name) = self.names.remove(&handle) else {
            return;
        };
        if let Some(client) = self.clients.get_mut(&name) {
            client.has_output = true;
        }
        while self.write_socket(&name) {}
        if let Some(client) = self.clients.get_mut(&name) {
            client.state = State::ClosedByServer;
            client.has_output = false;
            client.unread.clear();
        }
        self.shard.on_closed(handle, Cause::PeerClosed, self.now);
    }

    fn on_report(&mut self, report: Report) {
        if let Report::Disconnected { connection, cause, .. } = &report
            && let Some(client) = self.clients.values_mut().find(|one| one.handle == *connection)
        {
            client.cause = Some(cause.clone());
            let name = self.names.get(connection).cloned();
            if let (Some(who), State::Open) = (name, client.state) {
                self.transcript.add(Entry::ClosedByServer { who, why: cause.to_string() });
            }
        }
        self.reports.push(report);
    }

    fn write_sockets(&mut self) -> bool {
        let mut dirty = Vec::new();
        self.shard.take_dirty(&mut dirty);
        for handle in dirty {
            if let Some(client) =
                self.names.get(&handle).and_then(|name| self.clients.get_mut(name))
            {
                client.has_output = true;
            }
        }
        let names: Vec<_> = self
            .clients
            .iter()
            .filter(|(_, client)| client.has_output && client.state == State::Open)
            .map(|(name, _)| name.clone())
            .collect();
        let mut busy = false;
        for name in names {
            busy |= self.write_socket(&name);
        }
        busy
    }

    /// Writes a piece of a client's output. True if there may be more to write.
    fn write_socket(&mut self, name: &str) -> bool {
        let Some(client) = self.clients.get_mut(name) else {
            return false;
        };
        let Some(outbox) = self.shard.output(client.handle) else {
            return false;
        };
        if outbox.is_empty() {
            client.has_output = false;
            return false;
        }
        let piece = match self.pieces {
            Pieces::Whole => outbox.len(),
            Pieces::Bytes => 1,
            Pieces::Random(_) => 1 + self.dice.below(outbox.len()),
        };
        let taken = piece.min(client.room);
        if taken == 0 {
            return false;
        }
        let mut slices = [IoSlice::new(&[]); 4];
        let filled = outbox.slices(&mut slices);
        let mut bytes: Vec<u8> = Vec::with_capacity(taken);
        for slice in &slices[..filled] {
            let wanted = (taken - bytes.len()).min(slice.len());
            bytes.extend_from_slice(&slice[..wanted]);
        }
        if client.room != usize::MAX {
            client.room -= bytes.len();
        }
        let heard = client.hear(&bytes);
        self.shard.on_written(client.handle, bytes.len());
        match heard {
            Ok(heard) => {
                for said in heard {
                    self.transcript.add(Entry::FromServer { who: name.into(), said: said.clone() });
                    client.inbox.push_back(said);
                }
            }
            Err(wrong) => self.fail(&format!("{name} hears what may not be: {wrong}")),
        }
        true
    }
}
