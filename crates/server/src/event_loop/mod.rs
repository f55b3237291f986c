//! The loop of a shard: one thread, its sockets, and nobody else's business.
//!
//! A turn: wait → read each ready socket into the one scratch buffer and hand the bytes in → time →
//! carry out what the shard asks for → write every connection with output once → let go of those
//! whose peer has finished. Nothing is written while those who say little are still read, nor while
//! those are who say much, so that everything that came together leaves together; only what the
//! former cause, and what other loops bring, does not wait for the latter ([`line`]), and output that
//! is so much that nothing is gained by more is written at once.
//!
//! What a byte costs is the sender's choice: one message may be for ten thousand subscribers. So
//! a turn is bounded in time too: when reading has taken [`READING`] the other sockets wait for
//! the next turn, and who sends bytes that cost much is read in smaller pieces.
//!
//! Readiness is edge-triggered: a socket stays in the list of those to read until it has said that
//! nothing is there.

mod accept;
mod announce;
mod line;
mod observe;
mod post;
mod report;
mod strange;

use crate::clock::Clock;
use crate::door::Door;
use crate::gate::Gate;
use crate::mailboxes::{Letter, Mailboxes};
use crate::run::processors;
use crate::sockets::{Announced, Ending, Socket, Sockets};
use crate::storage::Storage;
use crate::strangers::Strangers;
use accept::Listening;
pub(crate) use line::Length;
use line::{LITTLE, Line};
use mio::{Events, Poll, Token, Waker};
use noctule_broker::{Action, Cause, ConnectionHandle, Mail, Now, Parcel, Shard, StoreState};
use noctule_net::{Peer, Pipe};
pub(crate) use observe::{Observers, Taps};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes read from a socket at once.
const SCRATCH_BYTES: usize = 64 * 1024;
/// Bytes read from one socket in one turn, before the others have theirs: less than what makes a
/// receiver count as crowded that gets it all.
const READ_PER_TURN: usize = 64 * 1024;
/// Bytes read at once from a socket whose bytes cost much, at least.
const APPETITE_MIN: usize = 1_024;
/// What the bytes of one socket may cost before the others have their turn. If those of one read
/// cost that much, the next read is a smaller one. It is more than [`READING`], behind which a turn ends
/// all the same: a fan-out that is read in pieces so small costs half as much again, and those who say
/// little are read before it.
const COSTLY: Duration = Duration::from_millis(8);
/// The time for reading after which a turn comes to its end. What was read is then written, which takes
/// about as long, and whoever has become ready meanwhile waits for both; a message that crosses loops
/// waits for a turn of each. Some ten reads of those who send much fit into it, so what a turn costs
/// by itself is nothing beside them.
const READING: Duration = Duration::from_millis(1);
/// The same for a turn that has brought little for each of many: a write costs nearly the same whatever is
/// in it, and fewer of them spare more time than others wait for it.
const READING_ON: Duration = Duration::from_millis(2);
/// Steps of TLS handshakes in one turn, some 0.3 ms each: nobody else waits for many of them.
const HANDSHAKES_PER_TURN: usize = 2;
/// Events taken from the operating system at once.
const EVENTS: usize = 1_024;
/// Pieces written at once.
const SLICES: usize = 64;
/// How long a socket that is done may go on taking its last output and the peer's last input.
const LINGER_MS: u64 = 2_000;
const WAKER: Token = Token(usize::MAX);
/// Listener `n` has this token plus `n`; slots are below.
const FIRST_LISTENER: usize = usize::MAX / 2;

/// A shard with its sockets.
pub(crate) struct EventLoop {
    poll: Poll,
    clock: Clock,
    shard: Shard,
    storage: Storage,
    store_state: StoreState,
    listeners: Vec<Listening>,
    connections_max: usize,
    /// Connections that are only kept to be told that they may not come in.
    turned_away: usize,
    observers: Observers,
    gate: Arc<Gate>,
    /// Steps of handshakes that this turn has left.
    handshakes: usize,
    strangers: Strangers,
    sockets: Sockets,
    scratch: Box<[u8]>,
    /// Which of the loops this is.
    number: usize,
    /// Whether there are more loops than processors.
    shares_processor: bool,
    mailboxes: Arc<Mailboxes>,
    /// Letters written in this turn, by receiver.
    written: Vec<Vec<Letter>>,
    /// Letters being read.
    read: Vec<Letter>,
    mail: Vec<Mail>,
    /// Parcels to be given back, by the loop whose they are.
    emptied: Vec<Vec<Parcel>>,
    parcels: Vec<Parcel>,
    /// Sockets that may have something to read.
    to_read: Line,
    dirty: Vec<ConnectionHandle>,
    full: Vec<ConnectionHandle>,
    /// The peers of sockets dropped in this turn, which reports may still be about.
    gone: Vec<(ConnectionHandle, Peer)>,
    /// Connections whose peer has finished or that have failed. They go after the turn's writing, so
    /// that a peer that has closed only its half gets its answers.
    ended: VecDeque<(ConnectionHandle, Cause)>,
    /// Sockets that are done, with the time at which patience ends; in that order.
    lingering: VecDeque<(u64, ConnectionHandle)>,
    /// Since the order to stop came: when to end at the latest.
    stop_by_ms: Option<u64>,
    /// Whether the others have been told that this loop has nothing to do any more but to read its
    /// mail.
    is_done: bool,
}

impl EventLoop {
    /// Loop `number` of those that have `mailboxes`: serves `listeners` with `shard`.
    ///
    /// # Errors
    /// What the operating system says about polling.
    pub(crate) fn new(
        shard: Shard,
        clock: Clock,
        poll: Poll,
        listeners: Vec<Door>,
        connections_max: usize,
        (storage, gate, observers): (Storage, Arc<Gate>, Observers),
        (number, mailboxes): (usize, Arc<Mailboxes>),
    ) -> io::Result<Self> {
        let mut written = Vec::new();
        written.resize_with(mailboxes.loops(), Vec::new);
        let mut emptied = Vec::new();
        emptied.resize_with(mailboxes.loops(), Vec::new);
        let mut event_loop = Self {
            poll,
            clock,
            shard,
            storage,
            store_state: StoreState::default(),
            listeners: Vec::new(),
            connections_max,
            turned_away: 0,
            observers,
            gate,
            handshakes: 0,
            strangers: Strangers::default(),
            sockets: Sockets::default(),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            number,
            shares_processor: mailboxes.loops() > processors(),
            mailboxes,
            written,
            read: Vec::new(),
            mail: Vec::new(),
            emptied,
            parcels: Vec::new(),
            to_read: Line::default(),
            dirty: Vec::new(),
            full: Vec::new(),
            gone: Vec::new(),
            ended: VecDeque::new(),
            lingering: VecDeque::new(),
            stop_by_ms: None,
            is_done: false,
        };
        for mut listener in listeners {
            let token = Token(FIRST_LISTENER + event_loop.listeners.len());
            listener.register(event_loop.poll.registry(), token)?;
            event_loop.listeners.push(Listening {
                listener,
                ready_at_ms: None,
                complain_at_ms: 0,
                rest_said_at_ms: 0,
            });
        }
        Ok(event_loop)
    }

    /// A waker for the poll a loop will be made with.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) fn waker(poll: &Poll) -> io::Result<Waker> {
        Waker::new(poll.registry(), WAKER)
    }

    /// Serves until told to stop.
    ///
    /// # Errors
    /// If the operating system refuses to wait for events, which it does not.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut now = self.clock.now();
        self.shard.go_on_restored(now);
        self.shard.work(now);
        self.settle(now);
        loop {
            if self.may_end(now) {
                self.last_beat(now);
                return Ok(());
            }
            self.wait(now, &mut events)?;
            now = self.clock.now();
            self.turn(&events, now);
        }
    }

    /// Waits until there is something to do. Of more loops than processors one that has nothing looks once more
    /// before it sleeps, when the others have had its processor: they are who has something for it. That spares
    /// most of the sleeping and waking, which costs more than a turn. A loop with a processor of its own would
    /// only come behind what is no loop.
    fn wait(&mut self, now: Now, events: &mut Events) -> io::Result<()> {
        let timeout = self.timeout(now);
        if !self.shares_processor || timeout == Some(Duration::ZERO) {
            return self.look(timeout, events);
        }
        thread::yield_now();
        self.look(Some(Duration::ZERO), events)?;
        if !events.is_empty() {
            return Ok(());
        }
        // The others may have taken some of the time.
        let now = self.clock.now();
        self.look(self.timeout(now), events)
    }

    /// Takes what events there are; if there are none it waits for them, for so long at most.
    fn look(&mut self, timeout: Option<Duration>, events: &mut Events) -> io::Result<()> {
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    fn turn(&mut self, events: &Events, now: Now) {
        self.beat(now);
        let expired = self.shard.next_deadline_ms().is_some_and(|at| at <= now.mono_ms);
        self.observers.news |= expired || !events.is_empty() || !self.to_read.is_empty();
        self.handshakes = HANDSHAKES_PER_TURN;
        let mut has_mail = false;
        for event in events {
            match event.token() {
                WAKER => has_mail |= self.read_letters(now),
                Token(token) if token >= FIRST_LISTENER => {
                    if let Some(listening) = self.listeners.get_mut(token - FIRST_LISTENER) {
                        listening.ready_at_ms = Some(now.mono_ms);
                    }
                }
                Token(slot) => self.note_readiness(slot, event),
            }
        }
        for index in 0..self.listeners.len() {
            self.accept(index, now);
        }
        self.read_all(has_mail, now);
        if self.shard.next_deadline_ms().is_some_and(|deadline| deadline <= now.mono_ms) {
            self.shard.on_tick(now);
        }
        self.shard.work(now);
        self.settle(now);
        if !self.ended.is_empty() {
            self.let_go(now);
            self.settle(now);
        }
        self.end_lingering(now);
        self.gone.clear();
        self.observers.spare.note(self.shard.memory_kept(), now.mono_ms);
    }

    /// Reads the sockets that are listed now, or as many of them as there is time for. There may be
    /// `mail` that was read before them.
    fn read_all(&mut self, mail: bool, now: Now) {
        let mut spent = Duration::ZERO;
        let (short, long) = (self.to_read.len(Length::Short), self.to_read.len(Length::Long));
        for _ in 0..short {
            if spent >= READING {
                break;
            }
            spent += self.read_next(Length::Short, now);
        }
        if long == 0 {
            return;
        }
        if short > 0 || mail {
            // What they caused does not wait for those who have sent much, here or at another loop: for
            // whoever says little there it would be the third turn that it waits for.
            self.settle(now);
        }
        for _ in 0..long {
            spent += self.read_next(Length::Long, now);
            if spent >= READING {
                break;
            }
        }
        self.read_on(spent, now);
    }

    /// Goes on reading while what was read so far in the turn, in `spent`, is little for each of many. Nobody
    /// waits for that who says little and is in line, and who floods one receiver has no more of a turn than
    /// before.
    fn read_on(&mut self, spent: Duration, now: Now) {
        // By the clock: what a read took to be decrypted is in no cost.
        let begin = Instant::now();
        while spent + begin.elapsed() < READING_ON
            && self.to_read.len(Length::Short) == 0
            && self.to_read.len(Length::Long) > 0
            && self.shard.is_spread_thin()
        {
            // Who brings nothing may wait for the next turn, and be in line again until then: for a step of a
            // handshake, of which this turn has none left.
            if self.read_next(Length::Long, now).is_zero() {
                return;
            }
        }
    }

    fn read_next(&mut self, length: Length, now: Now) -> Duration {
        let next = self.to_read.pop(length);
        next.map_or(Duration::ZERO, |connection| self.read(connection, now))
    }

    /// Ends the connections that have ended, or as many of them as there is time for: each may have
    /// a will for thousands.
    fn let_go(&mut self, now: Now) {
        let begin = Instant::now();
        while let Some((connection, cause)) = self.ended.pop_front() {
            self.drop_socket(connection, cause, now);
            if begin.elapsed() >= READING {
                return;
            }
        }
    }

    /// How long to wait for events: not at all if there is work, else until the next deadline.
    fn timeout(&self, now: Now) -> Option<Duration> {
        if !self.to_read.is_empty() || !self.ended.is_empty() || self.shard.has_work() {
            return Some(Duration::ZERO);
        }
        let deadlines = [
            self.shard.next_deadline_ms(),
            self.lingering.front().map(|(until, _)| *until),
            self.listeners.iter().filter_map(|listening| listening.ready_at_ms).min(),
            self.stop_by_ms,
            self.observers.due_ms(),
        ];
        let next = deadlines.into_iter().flatten().min()?;
        Some(Duration::from_millis(next.saturating_sub(now.mono_ms)))
    }

    fn note_readiness(&mut self, slot: usize, event: &mio::event::Event) {
        let Some(socket) = self.sockets.at(slot) else {
            return;
        };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            socket.readable = true;
            socket.read_closed |= event.is_read_closed() || event.is_error();
            if !std::mem::replace(&mut socket.listed, true) {
                let length = socket.length();
                self.to_read.push(socket.connection, length);
            }
        }
        // TLS may have something to write that this loop did not.
        if event.is_writable()
            && (!std::mem::replace(&mut socket.writable, true) || socket.pipe.wants_write())
        {
            self.dirty.push(socket.connection);
        }
    }

    /// Puts a socket in line to be read, once.
    fn list(&mut self, connection: ConnectionHandle, length: Length) {
        if let Some(socket) = self.sockets.of(connection)
            && !std::mem::replace(&mut socket.listed, true)
        {
            self.to_read.push(connection, length);
        }
    }

    /// Reads a socket until nothing is there, its share of the turn is used up, or its input is
    /// not wanted. Returns the time that its bytes have cost, as far as it was measured.
    fn read(&mut self, connection: ConnectionHandle, now: Now) -> Duration {
        let spent = self.read_in(connection, now);
        self.count_held(connection);
        spent
    }

    fn read_in(&mut self, connection: ConnectionHandle, now: Now) -> Duration {
        let (mut spent, mut left) = (Duration::ZERO, READ_PER_TURN);
        loop {
            let Some(socket) = self.sockets.of(connection) else {
                return spent;
            };
            socket.listed = false;
            let discard = socket.ending != Ending::No;
            if !discard && !self.shard.wants_input(connection) {
                // `Resume` will list it again.
                return spent;
            }
            if matches!(socket.announced, Announced::Awaited) && !discard {
                if self.read_announcement(connection, now) {
                    continue;
                }
                return spent;
            }
            if socket.pipe.is_handshaking() {
                if self.handshakes == 0 {
                    self.list(connection, Length::Long);
                    return spent;
                }
                self.handshakes -= 1;
            }
            let most = (socket.appetite as usize).min(self.scratch.len());
            match socket.pipe.read(&mut self.scratch[..most]) {
                Ok(0) => {
                    self.ended.push_back((connection, Cause::PeerClosed));
                    return spent;
                }
                Ok(read) => {
                    let drained = read < most && !socket.read_closed && !socket.pipe.holds_input();
                    socket.readable = !drained;
                    socket.says_much = left < READ_PER_TURN || read >= LITTLE;
                    if !std::mem::replace(&mut socket.heard, true)
                        && !self.first_heard(connection, read, now)
                    {
                        return spent;
                    }
                    if !discard {
                        spent += self.hand_in(connection, read, now);
                    }
                    if drained {
                        return spent;
                    }
                    left = left.saturating_sub(read);
                    if left == 0 || spent >= COSTLY {
                        self.list(connection, Length::Long);
                        return spent;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if socket.pipe.holds_input() {
                        // There was much that is nothing to the shard.
                        self.list(connection, Length::Long);
                    } else {
                        socket.readable = false;
                    }
                    return spent;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.fail(connection, &error, now);
                    return spent;
                }
            }
        }
    }

    /// Hands in the first `read` bytes of the scratch buffer and returns what they cost: if that is
    /// much, fewer are read next time. A few bytes are not worth looking at the clock. What had to be
    /// written at once counts, too.
    fn hand_in(&mut self, connection: ConnectionHandle, read: usize, now: Now) -> Duration {
        if self.observers.raw {
            self.tap_received(connection, read, now);
        }
        let begin = (read >= APPETITE_MIN).then(Instant::now);
        self.shard.on_bytes(connection, &self.scratch[..read], now);
        self.write_full(now);
        let cost = begin.map_or(Duration::ZERO, |begin| begin.elapsed());
        if begin.is_some()
            && let Some(socket) = self.sockets.of(connection)
        {
            socket.appetite = if cost >= COSTLY {
                (socket.appetite / 4).max(APPETITE_MIN as u32)
            } else {
                (socket.appetite * 2).min(SCRATCH_BYTES as u32)
            };
        }
        cost
    }

    /// Writes what has become so much that it is better not to wait for the end of the turn.
    fn write_full(&mut self, now: Now) {
        self.shard.take_full(&mut self.full);
        if self.full.is_empty() {
            return;
        }
        let mut full = std::mem::take(&mut self.full);
        for connection in full.drain(..) {
            self.write(connection, now);
        }
        self.full = full;
    }

    /// Carries out what the shard asks for and writes what is to be written, until neither leads to
    /// more.
    fn settle(&mut self, now: Now) {
        loop {
            // One that is to stop waits for nobody, and memory has everything at once.
            if self.stop_by_ms.is_some() || matches!(self.storage, Storage::Memory(_)) {
                self.shard.end_turn();
            } else {
                self.shard.end_turn_deferring();
            }
            if self.carry_out_all(now) {
                continue;
            }
            self.post();
            self.shard.take_dirty(&mut self.dirty);
            if self.dirty.is_empty() {
                return;
            }
            let mut dirty = std::mem::take(&mut self.dirty);
            for connection in dirty.drain(..) {
                self.write(connection, now);
            }
            self.dirty = dirty;
        }
    }

    /// Carries out what the shard asks for now. Returns whether there was anything.
    fn carry_out_all(&mut self, now: Now) -> bool {
        let mut acted = false;
        while let Some(action) = self.shard.next_action() {
            self.carry_out(action, now);
            acted = true;
        }
        acted
    }

    fn carry_out(&mut self, action: Action, now: Now) {
        match action {
            Action::Authenticate { connection, credentials } => {
                self.authenticate(connection, credentials, now);
            }
            Action::Persist { ticket, records, stage } => {
                if let Some(event) = self.storage.persist(stage, ticket, records) {
                    self.shard.handle(event, now);
                }
                while let Some(spilled) = self.storage.take_ended() {
                    self.shard.discard(spilled);
                }
                self.look_at_store();
            }
            Action::Load { session, key, after, bytes_max } => {
                if let Some(event) = self.storage.load(session, key, after, bytes_max) {
                    self.shard.handle(event, now);
                }
            }
            Action::Close(connection) => {
                if let Some(socket) = self.sockets.of(connection)
                    && socket.ending == Ending::No
                {
                    socket.ending = Ending::Flushing;
                    self.lingering.push_back((now.mono_ms + LINGER_MS, connection));
                    self.dirty.push(connection);
                }
            }
            Action::Resume(connection) => {
                if let Some(socket) = self.sockets.of(connection).filter(|it| it.readable) {
                    let length = socket.length();
                    self.list(connection, length);
                }
            }
            Action::HandOver { connection, to, departure } => {
                self.send_home(connection, to, departure);
            }
            Action::Report(report) => self.report(report, now),
        }
    }

    /// Tells the shard what the store can take, if that has changed.
    fn look_at_store(&mut self) {
        let state = self.storage.state();
        if state != self.store_state {
            self.store_state = state;
            self.shard.on_store_state(state);
        }
    }

    /// Writes as much of a connection's output as the socket takes.
    fn write(&mut self, connection: ConnectionHandle, now: Now) {
        self.write_out(connection, now);
        self.count_held(connection);
    }

    /// Tells the shard how many bytes the pipe of a connection holds.
    fn count_held(&mut self, connection: ConnectionHandle) {
        if let Some(Socket { pipe: pipe @ (Pipe::Tls(_) | Pipe::WebSocket(_)), .. }) =
            self.sockets.of(connection)
        {
            self.shard.on_sealed(connection, pipe.held());
        }
    }

    fn write_out(&mut self, connection: ConnectionHandle, now: Now) {
        loop {
            let Some(socket) = self.sockets.of(connection) else {
                return;
            };
            if socket.pipe.wants_write() {
                if self.flush(connection) {
                    continue;
                }
                return;
            }
            let Some(output) = self.shard.output(connection) else {
                return;
            };
            if output.is_empty() {
                break;
            }
            if !socket.writable {
                return;
            }
            let whole = output.len();
            let (wanted, written) = match output.contiguous() {
                Some(bytes) => (bytes.len(), socket.pipe.write(bytes)),
                None => {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let filled = output.slices(&mut slices);
                    let slices = &slices[..filled];
                    let wanted = slices.iter().map(|slice| slice.len()).sum();
                    (wanted, socket.pipe.write_vectored(slices))
                }
            };
            match written {
                Ok(written) => {
                    // What did not fit will be asked for when there is room.
                    socket.writable = written == wanted && !socket.pipe.wants_write();
                    let ending = socket.ending;
                    if let Some(taps) = socket.taps() {
                        taps.sent(output, written, now.wall_ms, &self.observers.log);
                    }
                    self.shard.on_written(connection, written);
                    if written == whole && ending == Ending::No {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    socket.writable = false;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    socket.writable = false;
                    let cause = Cause::Failed(error.to_string().into());
                    self.ended.push_back((connection, cause));
                    return;
                }
            }
        }
        self.finish_if_flushed(connection);
    }

    /// Lets leave what the pipe has taken before. Says whether it is all gone.
    fn flush(&mut self, connection: ConnectionHandle) -> bool {
        let Some(socket) = self.sockets.of(connection) else {
            return false;
        };
        let flushed = if socket.writable {
            socket.pipe.flush()
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        };
        match flushed {
            Ok(()) => return true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                let cause = Cause::Failed(error.to_string().into());
                self.ended.push_back((connection, cause));
            }
        }
        socket.writable = false;
        false
    }

    /// The output of a connection is empty: if the broker is done with it, its peer is told.
    fn finish_if_flushed(&mut self, connection: ConnectionHandle) {
        if let Some(socket) = self.sockets.of(connection)
            && socket.ending == Ending::Flushing
        {
            socket.ending = Ending::Lingering;
            // After DISCONNECT nothing more comes, so there is nothing to wait for: that spares a few
            // system calls for each of many who come and go. With TLS both ends say goodbye.
            let is_drained = socket.read_closed || !socket.readable;
            if socket.left && is_drained && socket.pipe.is_plain() {
                self.ended.push_back((connection, Cause::PeerClosed));
                return;
            }
            socket.pipe.finish_writing();
            // What came in meanwhile is thrown away; the end of it may be there already.
            self.list(connection, Length::Long);
        }
    }

    fn end_lingering(&mut self, now: Now) {
        while let Some((until, connection)) = self.lingering.front().copied()
            && (until <= now.mono_ms || self.sockets.of(connection).is_none())
        {
            self.lingering.pop_front();
            self.drop_socket(connection, Cause::PeerClosed, now);
        }
    }

    /// The socket of a connection is at its end.
    fn drop_socket(&mut self, connection: ConnectionHandle, cause: Cause, now: Now) {
        if let Some(socket) = self.sockets.remove(connection) {
            // Closing it takes it off the poll, too.
            self.observers.web_closed += u64::from(socket.pipe.is_websocket());
            self.gone.push((connection, socket.peer()));
            self.turned_away -= usize::from(socket.turned_away);
            self.shard.on_closed(connection, cause, now);
        }
    }

    /// Stopping is done when every client of every loop has been told and all mail is read, or time
    /// is up. Mail that nobody reads would leave messages unrecorded which it is about.
    fn may_end(&mut self, now: Now) -> bool {
        let Some(stop_by) = self.stop_by_ms else {
            return false;
        };
        if stop_by <= now.mono_ms {
            return true;
        }
        if !self.sockets.all(|socket| socket.ending == Ending::Lingering) {
            return false;
        }
        if !std::mem::replace(&mut self.is_done, true) {
            self.mailboxes.one_is_done();
        }
        self.mailboxes.may_end(self.number)
    }
}
