//! The turns of the shards' threads and the carrying of letters, in the order of the server's loop:
//! read, end the turn, carry out, post, and only then write to sockets.

use super::{Letter, Shards};
use crate::client::{Client, State};
use crate::dice::Dice;
use crate::packets::Said;
use crate::store::Store;
use crate::transcript::Entry;
use crate::world::Pieces;
use noctule_broker::faults::{Fault, fault};
use noctule_broker::{
    Action, Cause, ConnectionHandle, Departure, Event, Mail, Outbox, Report, ShardId, Verdict,
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
            if !busy && !self.nodes.iter().any(|node| node.shard.borrow().has_work()) {
                self.check_memory();
                return;
            }
        }
        self.fail("the shards do not come to rest");
    }

    pub(super) fn turn(&mut self, at: usize) -> bool {
        let mut busy = self.read_sockets(at);
        self.nodes[at].shard.borrow_mut().work(self.now);
        self.end_turn(at);
        busy |= self.carry_out(at);
        busy |= self.post(at);
        busy |= self.write_sockets(at);
        busy
    }

    pub(super) fn end_turn(&mut self, at: usize) {
        let mut shard = self.nodes[at].shard.borrow_mut();
        if self.turns_defer { shard.end_turn_deferring() } else { shard.end_turn() }
    }

    /// One of the pairs with letters on their way that the reader has been told of.
    pub(super) fn choose_box(&self, dice: &mut Dice) -> Option<(usize, usize)> {
        let mut full = Vec::new();
        for (from, row) in self.boxes.iter().enumerate() {
            let waiting = row
                .iter()
                .enumerate()
                .filter(|(to, letters)| self.bells[*to] && !letters.is_empty());
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
                    Mail::RetainedStored => "word that retained messages are stored",
                    Mail::Settled { .. } => "word that a message is settled",
                    Mail::RoomWanted(_) => "a question whether there is room for a message",
                    Mail::Room { .. } => "word whether there is room for a message",
                    Mail::RoomReturned { .. } => "word that the room kept for a message is free",
                };
                self.note(format!("shard {to} gets {what} from shard {from}"));
                let lurker = self.before_ambush(to);
                self.nodes[to].shard.borrow_mut().on_mail(mail, self.now);
                self.after_ambush(lurker);
                if self.watch.is_on {
                    self.carry_out(to);
                }
            }
            Some(Letter::Arrival { who, departure }) => self.welcome(who, to, departure),
            None => return false,
        }
        if self.boxes.iter().all(|row| row[to].is_empty()) {
            self.bells[to] = false;
        }
        true
    }

    fn welcome(&mut self, who: String, to: usize, departure: Departure) {
        self.note(format!("{who} arrives at shard {to}"));
        self.carry_out(to);
        let handle = self.nodes[to].shard.borrow_mut().arrive(departure, self.now);
        self.note_session(&who, (to, handle));
        let there = |client: &Client| matches!(client.state, State::Open | State::Breaking);
        match self.clients.get_mut(&who).filter(|seat| there(&seat.client)) {
            Some(seat) => {
                seat.at = Some(to);
                seat.client.handle = handle;
                seat.client.paused = false;
                seat.client.line.came_ms = self.now.mono_ms;
                self.names.insert((to, handle), who);
            }
            // It broke on the way, which the first read tells.
            None => {
                let cause = Cause::PeerClosed;
                self.nodes[to].shard.borrow_mut().on_closed(handle, cause.clone(), self.now);
                self.note_end(&who, cause);
            }
        }
        if self.watch.is_on {
            self.carry_out(to);
            self.note_waiting((to, handle));
        }
    }

    fn send_home(&mut self, at: usize, handle: ConnectionHandle, to: ShardId, what: Departure) {
        let name = self.names.remove(&(at, handle));
        let Some((who, seat)) =
            name.and_then(|name| self.clients.get_mut(&name).map(|seat| (name, seat)))
        else {
            return self.nodes[at].shard.borrow_mut().give_up(what);
        };
        seat.at = None;
        seat.client.has_output = false;
        let to = usize::from(to.0);
        self.boxes[at][to].push_back(Letter::Arrival { who, departure: what });
        self.bells[to] = true;
    }

    fn post(&mut self, at: usize) -> bool {
        let mut posted = false;
        let mut mail = Vec::new();
        for to in 0..self.nodes.len() {
            self.nodes[at].shard.borrow_mut().take_mail(ShardId(to as u16), &mut mail);
            if to == at && !mail.is_empty() {
                self.fail(&format!("shard {at} writes to itself"));
            }
            posted |= !mail.is_empty();
            if !mail.is_empty() {
                self.crossings.posts += 1;
                self.crossings.letters += mail.len() as u64;
                self.crossings.wakes += u64::from(!self.bells[to]);
            }
            for letter in mail.drain(..) {
                self.post_letter(at, to, Letter::Mail(letter));
            }
        }
        posted
    }

    /// Puts a letter into its box and rings, unless a fault is planted in the mail.
    fn post_letter(&mut self, from: usize, to: usize, letter: Letter) {
        let full = &mut self.boxes[from][to];
        if fault(Fault::MailDropped) && self.dice.chance(3) {
            return;
        }
        full.push_back(letter);
        let last = full.len() - 1;
        if fault(Fault::MailReordered) && last > 0 && self.dice.chance(10) {
            full.swap(last, last - 1);
        }
        if !(fault(Fault::WakeLost) && self.dice.chance(5)) {
            self.bells[to] = true;
        }
    }

    fn read_sockets(&mut self, at: usize) -> bool {
        let here = self.clients.iter().filter(|(_, seat)| {
            let client = &seat.client;
            let readable = !client.unread.is_empty() || client.line.half_closed;
            let broken = client.state == State::Breaking;
            seat.at == Some(at) && (broken || (readable && client.state == State::Open))
        });
        let names: Vec<_> = here.map(|(name, _)| name.clone()).collect();
        let mut busy = false;
        for name in names {
            busy |= self.read_socket(at, &name);
        }
        busy
    }

    /// Reads a piece from a client's socket. True if there was anything.
    fn read_socket(&mut self, at: usize, name: &str) -> bool {
        let Some(client) = self.clients.get_mut(name).map(|seat| &mut seat.client) else {
            return false;
        };
        if client.state == State::Breaking {
            self.end(at, name, Cause::Failed("connection reset by peer".into()));
            return true;
        }
        if client.paused {
            return false;
        }
        let handle = client.handle;
        if !self.nodes[at].shard.borrow().wants_input(handle) {
            client.paused = true;
            return false;
        }
        let most = client.unread.len();
        if most == 0 {
            self.end(at, name, Cause::PeerClosed);
            return true;
        }
        let taken = match self.pieces {
            Pieces::Whole => most,
            Pieces::Bytes => 1,
            Pieces::Random(_) => 1 + self.dice.below(most),
        };
        let bytes: Vec<u8> = client.unread.drain(..taken).collect();
        client.line.read_ms = self.now.mono_ms;
        let lurker = self.before_ambush(at);
        self.nodes[at].shard.borrow_mut().on_bytes(handle, &bytes, self.now);
        self.after_ambush(lurker);
        if let Some(seat) = self.clients.get_mut(name) {
            seat.client.paused = !self.nodes[at].shard.borrow().wants_input(handle);
        }
        true
    }

    /// Tells a shard that one of its connections is gone.
    fn end(&mut self, at: usize, name: &str, cause: Cause) {
        let Some(seat) = self.clients.get_mut(name) else {
            return;
        };
        seat.client.state = State::Closed;
        seat.client.inbox.clear();
        seat.client.line.stamps.clear();
        let handle = seat.client.handle;
        self.carry_out(at);
        // The shard may have closed it in the meantime.
        if self.names.remove(&(at, handle)).is_some() {
            self.nodes[at].shard.borrow_mut().on_closed(handle, cause.clone(), self.now);
            self.note_end(name, cause);
        }
    }

    pub(super) fn carry_out(&mut self, at: usize) -> bool {
        let mut busy = false;
        loop {
            let Some(action) = self.nodes[at].shard.borrow_mut().next_action() else {
                return busy;
            };
            busy = true;
            match action {
                Action::Authenticate { connection, .. } if self.verdicts_are_held => {
                    self.undecided.push_back((at, connection));
                }
                Action::Authenticate { connection, .. } => {
                    let verdict = Verdict::Accepted;
                    let event = Event::Authenticated { connection, verdict };
                    self.nodes[at].shard.borrow_mut().handle(event, self.now);
                }
                Action::Persist { .. } | Action::Load { .. } => {
                    let node = &self.nodes[at];
                    if node.store_is_held || !node.asked.is_empty() {
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
                        seat.client.line.awaited_ms = self.now.mono_ms;
                    }
                }
                Action::Report(report) => self.on_report(at, report),
            }
        }
    }

    /// Has a shard's store do what it was asked to.
    pub(super) fn work(&mut self, at: usize, asked: Action) {
        let node = &mut self.nodes[at];
        let event = match asked {
            Action::Persist { ticket, records, .. } => {
                self.watch.on_persist(at, &records);
                node.store.persist(records);
                while let Some(spilled) = node.store.take_ended() {
                    node.shard.borrow_mut().discard(spilled);
                }
                Event::Persisted(ticket)
            }
            Action::Load { session, key, bytes_max, .. } => {
                Event::Loaded { session, messages: node.store.load(key, bytes_max) }
            }
            other => self.fail(&format!("{other:?} is nothing for a store")),
        };
        node.shard.borrow_mut().handle(event, self.now);
    }

    /// The shard asks for a connection's end: what can be written is written first.
    fn close(&mut self, at: usize, handle: ConnectionHandle) {
        if let Some(name) = self.names.remove(&(at, handle)) {
            while self.write_socket(&name) {}
            let left = self.nodes[at].shard.borrow_mut().output(handle).map_or(0, Outbox::len);
            if let Some(seat) = self.clients.get_mut(&name) {
                seat.client.line.cut_short = left > 0;
                seat.client.state = match seat.client.state {
                    State::Open => State::ClosedByServer,
                    _ => State::Closed,
                };
                seat.client.has_output = false;
                seat.client.unread.clear();
            }
            let cause = Cause::PeerClosed;
            self.nodes[at].shard.borrow_mut().on_closed(handle, cause, self.now);
        }
    }

    fn on_report(&mut self, at: usize, report: Report) {
        if let Report::Disconnected { connection, client_id, cause, .. } = report
            && let Some(who) = self.names.get(&(at, connection))
        {
            let (who, why) = (who.clone(), cause.to_string());
            self.transcript.add(Entry::ClosedByServer { who: who.clone(), why });
            if client_id.is_some() {
                self.note_session_left(&who);
            }
            self.note_end(&who, cause);
        }
    }

    fn write_sockets(&mut self, at: usize) -> bool {
        let mut dirty = Vec::new();
        self.nodes[at].shard.borrow_mut().take_dirty(&mut dirty);
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
        let mut shard = self.nodes[at].shard.borrow_mut();
        let Some(outbox) = shard.output(client.handle).filter(|outbox| !outbox.is_empty()) else {
            client.has_output = false;
            return false;
        };
        let most = match self.pieces {
            Pieces::Whole => outbox.len(),
            Pieces::Bytes => 1,
            Pieces::Random(_) => 1 + self.dice.below(outbox.len()),
        };
        let piece = most.min(client.room);
        if piece == 0 || client.state == State::Breaking {
            return false;
        }
        let mut slices = [IoSlice::new(&[]); 4];
        let filled = outbox.slices(&mut slices);
        let mut bytes: Vec<u8> = Vec::with_capacity(piece);
        for slice in &slices[..filled] {
            let wanted = (piece - bytes.len()).min(slice.len());
            bytes.extend_from_slice(&slice[..wanted]);
        }
        if client.room != usize::MAX {
            client.room -= bytes.len();
        }
        let heard = client.hear(&bytes);
        shard.on_written(client.handle, bytes.len());
        drop(shard);
        match heard {
            Ok(heard) => heard.into_iter().for_each(|said| self.take_heard(name, said)),
            Err(wrong) => self.fail(&format!("{name} hears what may not be: {wrong}")),
        }
        true
    }

    fn take_heard(&mut self, name: &str, said: Said) {
        self.transcript.add(Entry::FromServer { who: name.into(), said: said.clone() });
        if let Err(wrong) = self.note_written(name, &said) {
            self.fail(&wrong);
        }
        match self.clients.get_mut(name).map(|seat| &mut seat.client) {
            Some(client) if client.unheeded => client.line.stamps.clear(),
            Some(client) => client.inbox.push_back(said),
            None => {}
        }
    }
}
