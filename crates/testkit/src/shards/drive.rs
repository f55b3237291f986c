//! The turns of the shards' threads and the carrying of letters, in the order of the server's loop:
//! read, end the turn, carry out, post, and only then write to sockets.

use super::{Letter, Shards};
use crate::client::State;
use crate::dice::Dice;
use crate::store::Store;
use crate::transcript::Entry;
use crate::world::Pieces;
use noctule_broker::{
    Action, Cause, ConnectionHandle, Departure, Event, Mail, Report, ShardId, Verdict,
};
use std::io::IoSlice;

/// Turns after which shards that are still busy are taken to be so for ever.
const TURNS_MAX: usize = 1_000_000;

impl Shards {
    /// Has the shards do everything that can be done now; letters that are held stay where they are.
    #[track_caller]
    pub fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let mut busy = false;
            for at in 0..self.nodes.len() {
                busy |= self.turn(at);
            }
            if !self.mail_is_held {
                let mut dice = self.dice.clone();
                if let Some((from, to)) = self.choose_box(&mut dice) {
                    busy |= self.hand_in(from, to);
                }
                self.dice = dice;
            }
            if !busy && !self.nodes.iter().any(|node| node.shard.has_work()) {
                self.check_memory();
                return;
            }
        }
        self.fail("the shards do not come to rest");
    }

    fn turn(&mut self, at: usize) -> bool {
        let mut busy = self.read_sockets(at);
        self.nodes[at].shard.work(self.now);
        self.nodes[at].shard.end_turn();
        busy |= self.carry_out(at);
        busy |= self.post(at);
        busy |= self.write_sockets(at);
        busy
    }

    /// One of the pairs with letters on their way.
    pub(super) fn choose_box(&self, dice: &mut Dice) -> Option<(usize, usize)> {
        let mut full = Vec::new();
        for (from, row) in self.boxes.iter().enumerate() {
            let waiting = row.iter().enumerate().filter(|(_, letters)| !letters.is_empty());
            full.extend(waiting.map(|(to, _)| (from, to)));
        }
        (!full.is_empty()).then(|| dice.pick(&full))
    }

    /// Hands in the oldest letter of a box. False if there is none.
    pub(super) fn hand_in(&mut self, from: usize, to: usize) -> bool {
        match self.boxes[from][to].pop_front() {
            Some(Letter::Mail(mail)) => {
                let what = match &mail {
                    Mail::Packets { .. } => "messages",
                    Mail::Publish { .. } => "a message",
                    Mail::Shared { .. } => "a message for one of a group",
                    Mail::Receipt { .. } => "word how far its mail was read",
                    Mail::SlowDown { .. } => "word that a receiver does not keep up",
                    Mail::SpeedUp { .. } => "word that a receiver is waited for no longer",
                    Mail::Settled { .. } => "word that a message is settled",
                };
                self.note(format!("shard {to} gets {what} from shard {from}"));
                self.nodes[to].shard.on_mail(mail, self.now);
            }
            Some(Letter::Arrival { who, departure }) => self.welcome(who, to, departure),
            None => return false,
        }
        true
    }

    fn welcome(&mut self, who: String, to: usize, departure: Departure) {
        self.note(format!("{who} arrives at shard {to}"));
        let handle = self.nodes[to].shard.arrive(departure, self.now);
        match self.clients.get_mut(&who).filter(|seat| seat.client.state == State::Open) {
            Some(seat) => {
                seat.at = Some(to);
                seat.client.handle = handle;
                seat.client.paused = false;
                self.names.insert((to, handle), who);
            }
            // It broke on the way, which the first read tells.
            None => self.nodes[to].shard.on_closed(handle, Cause::PeerClosed, self.now),
        }
    }

    fn send_home(&mut self, at: usize, handle: ConnectionHandle, to: ShardId, what: Departure) {
        let name = self.names.remove(&(at, handle));
        let Some((who, seat)) =
            name.and_then(|name| self.clients.get_mut(&name).map(|seat| (name, seat)))
        else {
            return self.nodes[at].shard.give_up(what);
        };
        seat.at = None;
        seat.client.has_output = false;
        let to = usize::from(to.0);
        self.boxes[at][to].push_back(Letter::Arrival { who, departure: what });
    }

    fn post(&mut self, at: usize) -> bool {
        let mut posted = false;
        let mut mail = Vec::new();
        for to in 0..self.nodes.len() {
            self.nodes[at].shard.take_mail(ShardId(to as u16), &mut mail);
            if to == at && !mail.is_empty() {
                self.fail(&format!("shard {at} writes to itself"));
            }
            posted |= !mail.is_empty();
            self.boxes[at][to].extend(mail.drain(..).map(Letter::Mail));
        }
        posted
    }

    fn read_sockets(&mut self, at: usize) -> bool {
        let mut busy = false;
        let shard = &mut self.nodes[at].shard;
        for seat in self.clients.values_mut().filter(|seat| seat.at == Some(at)) {
            let client = &mut seat.client;
            if client.state != State::Open || client.unread.is_empty() || client.paused {
                continue;
            }
            if !shard.wants_input(client.handle) {
                client.paused = true;
                continue;
            }
            let most = client.unread.len();
            let taken = match self.pieces {
                Pieces::Whole => most,
                Pieces::Bytes => 1,
                Pieces::Random(_) => 1 + self.dice.below(most),
            };
            let bytes: Vec<u8> = client.unread.drain(..taken).collect();
            shard.on_bytes(client.handle, &bytes, self.now);
            client.paused = !shard.wants_input(client.handle);
            busy = true;
        }
        busy
    }

    fn carry_out(&mut self, at: usize) -> bool {
        let mut busy = false;
        while let Some(action) = self.nodes[at].shard.next_action() {
            busy = true;
            match action {
                Action::Authenticate { connection, .. } => {
                    let verdict = Verdict::Accepted;
                    let event = Event::Authenticated { connection, verdict };
                    self.nodes[at].shard.handle(event, self.now);
                }
                Action::Persist { .. } | Action::Load { .. } => {
                    if self.nodes[at].store_is_held {
                        self.nodes[at].asked.push_back(action);
                    } else {
                        self.work(at, action);
                    }
                }
                Action::HandOver { connection, to, departure } => {
                    self.send_home(at, connection, to, departure);
                }
                Action::Close(handle) => self.close(at, handle),
                Action::Resume(handle) => {
                    let name = self.names.get(&(at, handle));
                    if let Some(seat) = name.and_then(|name| self.clients.get_mut(name)) {
                        seat.client.paused = false;
                    }
                }
                Action::Report(report) => self.on_report(at, report),
            }
        }
        busy
    }

    /// Has a shard's store do what it was asked to.
    pub(super) fn work(&mut self, at: usize, asked: Action) {
        let node = &mut self.nodes[at];
        let event = match asked {
            Action::Persist { ticket, records } => {
                node.store.persist(records);
                Event::Persisted(ticket)
            }
            Action::Load { session, key, bytes_max, .. } => {
                Event::Loaded { session, messages: node.store.load(key, bytes_max) }
            }
            other => self.fail(&format!("{other:?} is nothing for a store")),
        };
        node.shard.handle(event, self.now);
    }

    /// The shard asks for a connection's end: what can be written is written first.
    fn close(&mut self, at: usize, handle: ConnectionHandle) {
        if let Some(name) = self.names.remove(&(at, handle)) {
            while self.write_socket(&name) {}
            if let Some(seat) = self.clients.get_mut(&name) {
                seat.client.state = State::ClosedByServer;
                seat.client.has_output = false;
                seat.client.unread.clear();
            }
            self.nodes[at].shard.on_closed(handle, Cause::PeerClosed, self.now);
        }
    }

    fn on_report(&mut self, at: usize, report: Report) {
        if let Report::Disconnected { connection, cause, .. } = report
            && let Some(who) = self.names.get(&(at, connection))
        {
            let (who, why) = (who.clone(), cause.to_string());
            self.transcript.add(Entry::ClosedByServer { who, why });
        }
    }

    fn write_sockets(&mut self, at: usize) -> bool {
        let mut dirty = Vec::new();
        self.nodes[at].shard.take_dirty(&mut dirty);
        for handle in dirty {
            let name = self.names.get(&(at, handle));
            if let Some(seat) = name.and_then(|name| self.clients.get_mut(name)) {
                seat.client.has_output = true;
            }
        }
        let waiting = self.clients.iter().filter(|(_, seat)| {
            seat.at == Some(at) && seat.client.has_output && seat.client.state == State::Open
        });
        let names: Vec<_> = waiting.map(|(name, _)| name.clone()).collect();
        let mut busy = false;
        for name in names {
            busy |= self.write_socket(&name);
        }
        busy
    }

    /// Writes a piece of a client's output. True if there may be more to write.
    fn write_socket(&mut self, name: &str) -> bool {
        let Some(seat) = self.clients.get_mut(name) else {
            return false;
        };
        let (Some(at), client) = (seat.at, &mut seat.client) else {
            return false;
        };
        let shard = &mut self.nodes[at].shard;
        let Some(outbox) = shard.output(client.handle).filter(|outbox| !outbox.is_empty()) else {
            client.has_output = false;
            return false;
        };
        let piece = match self.pieces {
            Pieces::Whole => outbox.len(),
            Pieces::Bytes => 1,
            Pieces::Random(_) => 1 + self.dice.below(outbox.len()),
        };
        let mut slices = [IoSlice::new(&[]); 4];
        let filled = outbox.slices(&mut slices);
        let mut bytes: Vec<u8> = Vec::with_capacity(piece);
        for slice in &slices[..filled] {
            let wanted = (piece - bytes.len()).min(slice.len());
            bytes.extend_from_slice(&slice[..wanted]);
        }
        let heard = client.hear(&bytes);
        shard.on_written(client.handle, bytes.len());
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
