//! A receiver that does not keep up, and the publishers that are slowed for it.
//!
//! ```text
//! keeps up ──more than the mark waits──► crowded ──for too long──► slow
//!     ▲                                     │                        │
//!     └───────── half of the mark is left ──┴────────────────────────┘
//! ```
//!
//! While a receiver is *crowded*, those who publish to it are not read, so that what they send waits
//! on their side and nothing is lost. When that has taken [`PATIENCE_MS`] it counts as *slow*, and
//! they go on: QoS 0 beyond its limit is dropped, QoS 1 and 2 wait in its session's queue. So a
//! receiver that reads is never flooded, and one that does not stops nobody.
//!
//! In the queue of a session less may wait than in its output. What the queue spares is one turn in
//! which the publishers have not been read yet; what lies there longer has left the caches when its time
//! comes, and goes a longer way than what is put into flight as it comes. So if it has become too long,
//! nobody goes on before it is empty. A few messages that always wait there, as with a client that takes one
//! at a time, hold up nobody.
//!
//! The half second is a receiver's for longer than once: what it used of it comes back ten times
//! slower than time passes. So one that reads just fast enough to be never slow cannot have its
//! publishers wait again and again; one that has caught up within [`BRIEF_MS`] has used nothing.
//!
//! Two rules keep publishers from waiting for each other in a ring: whoever is crowded himself is
//! read, whatever he publishes; and a message with many receivers waits for them only if they are a
//! good part of all.
//!
//! A receiver may have publishers on other shards. Those get a letter, and another one when it is
//! over; a publisher counts for how many receivers it waits.

use crate::commons::ShardId;
use crate::connection::{Connection, ConnectionHandle};
use crate::delivery::Delivery;
use crate::holds::Hold;
use crate::limits::Limits;
use crate::mail::Mail;
use crate::memory::Pressure;
use crate::queue::Queue;
use crate::session::Session;
use hashbrown::HashSet;

/// How long publishers wait for a receiver, in milliseconds.
pub(crate) const PATIENCE_MS: u64 = 500;
/// Having been waited for so long counts for nothing.
const BRIEF_MS: u64 = 100;
/// Patience comes back so many times slower than time passes.
const RECOVERY: u64 = 10;
/// A message waits for its receivers if at least one of so many is crowded.
const SHARE: usize = 4;
/// What is under way already when publishers are told to wait may exceed a connection's limit so
/// many times.
const GRACE: usize = 4;

/// Whoever has sent less than this while he was not read goes on before those who have sent more.
const LITTLE_HELD: usize = 1_024;

/// A receiver with more waiting than this does not keep up while memory is short.
const PRESSED_BYTES: usize = 16 * 1024;

/// At how many waiting bytes what happens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks {
    /// More, and a receiver is crowded.
    pub(crate) crowded: usize,
    /// More in its session's queue, and it is crowded, however little its output is.
    queued: usize,
    /// No more than this, and it keeps up again.
    eased: usize,
    /// More, and QoS 0 for it is dropped.
    unsent: usize,
}

impl Marks {
    pub(crate) fn new(limits: &Limits) -> Self {
        let unsent = limits.unsent_bytes_max;
        Self { crowded: unsent / 4, queued: unsent / 16, eased: unsent / 8, unsent }
    }

    /// Memory is this short: receivers are expected to keep up better.
    pub(crate) fn press(&mut self, pressure: Pressure, limits: &Limits) {
        *self = Self::new(limits);
        if pressure >= Pressure::AtMostOnce {
            self.crowded = self.crowded.min(PRESSED_BYTES);
            self.queued = self.queued.min(PRESSED_BYTES);
            self.eased = self.eased.min(PRESSED_BYTES / 2);
            self.unsent = self.unsent.min(PRESSED_BYTES);
        }
    }

    /// Whether a receiver with so many bytes in its output and its queue is crowded.
    pub(crate) fn are_exceeded(&self, unsent: usize, queued: usize) -> bool {
        unsent + queued > self.crowded || queued > self.queued
    }

    /// Whether a receiver with so many bytes in its output and its queue keeps up again.
    fn are_left(&self, unsent: usize, queued: usize) -> bool {
        unsent + queued <= self.eased && queued <= self.queued / 2
    }
}

/// Of a receiver that does not keep up.
#[derive(Debug)]
pub(crate) struct Crowd {
    /// Nobody waits for it any more.
    slow: bool,
    /// Too much has waited in its session's queue.
    of_queue: bool,
    since_ms: u64,
    /// When it will have been waited for long enough, in monotonic milliseconds.
    until_ms: u64,
    /// Who waits.
    waiting: HashSet<Publisher, foldhash::quality::FixedState>,
}

/// How much of its publishers' patience a receiver has used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Patience {
    /// When all of it will be back, in monotonic milliseconds.
    whole_ms: u64,
}

impl Patience {
    /// What is used of it now.
    fn used(self, now_ms: u64) -> u64 {
        self.whole_ms.saturating_sub(now_ms).div_ceil(RECOVERY)
    }

    /// Whether nothing of it counts as used.
    pub(crate) fn is_whole(self) -> bool {
        self.whole_ms == 0
    }

    /// Time has passed, and it may have come back.
    pub(crate) fn recover(&mut self, now_ms: u64) {
        if self.used(now_ms) == 0 {
            *self = Self::default();
        }
    }

    fn left(self, now_ms: u64) -> u64 {
        PATIENCE_MS.saturating_sub(self.used(now_ms))
    }

    /// A crowd has come to its end now.
    fn after(self, crowd: &Crowd, now_ms: u64) -> Self {
        let waited = crowd.until_ms.min(now_ms) - crowd.since_ms;
        let counts = if waited > BRIEF_MS { waited } else { 0 };
        let used = if crowd.slow { PATIENCE_MS } else { self.used(now_ms) + counts };
        let whole_ms = if used > 0 { now_ms + used.min(PATIENCE_MS) * RECOVERY } else { 0 };
        Self { whole_ms }
    }
}

/// Somebody who publishes, here or on another shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Publisher {
    /// `None` is this shard.
    pub(crate) shard: Option<ShardId>,
    pub(crate) connection: ConnectionHandle,
}

impl Connection {
    /// Whether QoS 0 for this client is dropped.
    pub(crate) fn is_over(&self, marks: &Marks) -> bool {
        self.outbox.len() > marks.unsent.saturating_mul(self.grace(marks))
    }

    /// How many times as much as usual may be under way to this client: more while publishers wait for
    /// it.
    fn grace(&self, marks: &Marks) -> usize {
        let is_waited_for = self.crowd.as_ref().is_some_and(|crowd| !crowd.slow);
        if is_waited_for && marks.unsent > PRESSED_BYTES { GRACE } else { 1 }
    }
}

impl Delivery {
    /// The message that was just routed to `receivers` met some that are crowded: they are noted,
    /// and its publisher waits for them if there are enough of them.
    #[cold]
    pub(crate) fn meet_crowd(&mut self, publisher: Option<Publisher>, receivers: usize) {
        let mut met = std::mem::take(&mut self.met);
        let publisher = publisher.filter(|_| met.len() * SHARE >= receivers);
        for receiver in met.drain(..) {
            self.join_crowd(receiver, publisher);
        }
        self.met = met;
    }

    /// How many bytes of a persistent session's queue are kept at hand.
    pub(crate) fn resident_bytes_max(&self, session: &Session) -> usize {
        let connection = session.connection.and_then(|handle| self.connections.get(handle));
        let grace = connection.map_or(1, |found| found.grace(&self.marks));
        self.limits.queue_resident_bytes_max.saturating_mul(grace)
    }

    fn join_crowd(&mut self, receiver: ConnectionHandle, publisher: Option<Publisher>) {
        let Some(connection) = self.connections.get_mut(receiver) else {
            return;
        };
        if connection.crowd.is_none() {
            let since_ms = self.now.mono_ms;
            let left_ms = connection.patience().left(since_ms);
            connection.crowd = Some(Box::new(Crowd {
                slow: left_ms == 0,
                of_queue: false,
                since_ms,
                until_ms: since_ms + left_ms,
                waiting: HashSet::default(),
            }));
            if left_ms == 0 {
                self.counters.slow_consumers += 1;
            } else if !std::mem::replace(&mut connection.crowd_timed, true) {
                self.crowded.push(receiver);
            }
            // It must be heard, or those who wait for it could be whom it waits for.
            self.lift(receiver, Hold::Crowd);
        }
        let Some(connection) = self.connections.get_mut(receiver) else {
            return;
        };
        let session = connection.session.and_then(|session| self.sessions.get(session));
        let is_of_queue = session.is_some_and(|session| session.queue.bytes() > self.marks.queued);
        let Some(crowd) = &mut connection.crowd else {
            return;
        };
        crowd.of_queue |= is_of_queue;
        if let Some(publisher) = publisher
            && !crowd.slow
            && crowd.waiting.insert(publisher)
        {
            match publisher.shard {
                None => self.slow_down(publisher.connection),
                Some(shard) => {
                    self.post(shard, Mail::SlowDown { publisher: publisher.connection });
                }
            }
        }
    }

    /// A publisher waits for one receiver more.
    pub(crate) fn slow_down(&mut self, publisher: ConnectionHandle) {
        if let Some(connection) = self.connections.get_mut(publisher) {
            connection.crowds_ahead += 1;
            if connection.crowd.is_none() && connection.holds.add(Hold::Crowd) {
                self.counters.publishers_slowed += 1;
            }
        }
    }

    /// A publisher waits for one receiver less.
    pub(crate) fn speed_up(&mut self, publisher: ConnectionHandle) {
        if let Some(connection) = self.connections.get_mut(publisher) {
            connection.crowds_ahead = connection.crowds_ahead.saturating_sub(1);
            if connection.crowds_ahead == 0 {
                self.lift(publisher, Hold::Crowd);
            }
        }
    }

    /// Less waits for a receiver than before; it may keep up again.
    pub(crate) fn ease(&mut self, receiver: ConnectionHandle) {
        let Some(connection) = self.connections.get(receiver) else {
            return;
        };
        let Some(crowd) = &connection.crowd else {
            return;
        };
        let session = connection.session.and_then(|session| self.sessions.get(session));
        let queue = session.map(|session| &session.queue);
        let queued = queue.map_or(0, Queue::bytes);
        let is_waited_for =
            crowd.of_queue && !crowd.slow && queue.is_some_and(|all| !all.is_empty());
        if !is_waited_for && self.marks.are_left(connection.outbox.len(), queued) {
            self.end_crowd(receiver);
        }
    }

    /// A receiver keeps up again, or is gone.
    pub(crate) fn end_crowd(&mut self, receiver: ConnectionHandle) {
        let Some(connection) = self.connections.get_mut(receiver) else {
            return;
        };
        let Some(crowd) = connection.crowd.take() else {
            return;
        };
        connection.set_patience(connection.patience().after(&crowd, self.now.mono_ms));
        // Others may be waited for, from whom it was exempt.
        if connection.crowds_ahead > 0 {
            connection.holds.add(Hold::Crowd);
        }
        self.let_go_on(crowd.waiting);
    }

    /// When the time of a receiver is over, to be looked at then. `None` if nobody waits for it any
    /// more, so that there is nothing to look at.
    pub(crate) fn patience_ends(&mut self, receiver: ConnectionHandle) -> Option<u64> {
        let connection = self.connections.get_mut(receiver)?;
        let crowd = connection.crowd.as_ref().filter(|crowd| !crowd.slow);
        connection.crowd_timed = crowd.is_some();
        crowd.map(|crowd| crowd.until_ms)
    }

    /// It was to be looked at whether the time of a receiver is over. Returns when to look again if
    /// it is not; it may be another crowd than the one whose time was asked for.
    pub(crate) fn lose_patience(&mut self, receiver: ConnectionHandle) -> Option<u64> {
        if let Some(until_ms) = self.patience_ends(receiver)
            && until_ms > self.now.mono_ms
        {
            return Some(until_ms);
        }
        let connection = self.connections.get_mut(receiver)?;
        connection.crowd_timed = false;
        let crowd = connection.crowd.as_mut().filter(|crowd| !crowd.slow)?;
        crowd.slow = true;
        let waiting = std::mem::take(&mut crowd.waiting);
        self.counters.slow_consumers += 1;
        self.let_go_on(waiting);
        None
    }

    fn let_go_on(&mut self, waiting: HashSet<Publisher, foldhash::quality::FixedState>) {
        for publisher in waiting {
            match publisher.shard {
                None => self.speed_up(publisher.connection),
                Some(shard) => {
                    self.post(shard, Mail::SpeedUp { publisher: publisher.connection });
                }
            }
        }
    }

    /// Takes away a reason not to read a connection. If it was the last, what it sent meanwhile is
    /// dealt with soon.
    pub(crate) fn lift(&mut self, handle: ConnectionHandle, hold: Hold) {
        let Some(connection) = self.connections.get_mut(handle) else {
            return;
        };
        let was_ours = connection.holds.is_ours();
        if connection.holds.lift(hold) {
            let little = connection.held() < LITTLE_HELD;
            let line = if little { &mut self.released_first } else { &mut self.released };
            line.push_back(handle);
        }
        if was_ours && !connection.holds.is_ours() {
            // Whatever it has sent since is unread: its silence begins now.
            connection.last_heard_ms = self.now.mono_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Event, Limits, Settings, Shard, Verdict};
    use noctule_session::Now;

    const CONNECT: &[u8] = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00";
    const SUBSCRIBE: &[u8] = b"\x82\x06\x00\x01\x00\x01x\x00";

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    fn take_in(shard: &mut Shard, connection: ConnectionHandle, bytes: &[u8], now: Now) {
        shard.on_bytes(connection, bytes, now);
        while let Some(action) = shard.next_action() {
            if let Action::Authenticate { connection, .. } = action {
                shard.handle(Event::Authenticated { connection, verdict: Verdict::Accepted }, now);
            }
        }
        shard.work(now);
        shard.end_turn();
    }

    fn connected(shard: &mut Shard, now: Now) -> ConnectionHandle {
        let connection = shard.open(now);
        take_in(shard, connection, CONNECT, now);
        connection
    }

    #[test]
    fn patience_comes_back_however_long_the_broker_has_been_running() {
        let slow = |since_ms| Crowd {
            slow: true,
            of_queue: false,
            since_ms,
            until_ms: since_ms + PATIENCE_MS,
            waiting: HashSet::default(),
        };
        let of_32_bits = 1 << 32;
        for now_ms in [0, 7, of_32_bits - 1_000, of_32_bits, 5 * of_32_bits - 1] {
            let used = Patience::default().after(&slow(now_ms), now_ms);
            let left = |later| used.left(now_ms + later);
            assert_eq!([left(0), left(9), left(10), left(2_000)], [0, 0, 1, 200], "{now_ms}");
            let whole = PATIENCE_MS * RECOVERY;
            assert_eq!([left(whole - 1), left(whole)], [PATIENCE_MS - 1, PATIENCE_MS]);
            // It does not go again because some number has come round.
            for rounds in 1..3 {
                assert_eq!(left(rounds * of_32_bits), PATIENCE_MS, "{now_ms}");
                assert_eq!(left(rounds * of_32_bits + 20), PATIENCE_MS, "{now_ms}");
            }
        }
        assert_eq!(size_of::<Patience>(), 8);
    }

    #[test]
    fn a_receiver_that_is_crowded_again_and_again_is_looked_at_by_one_timer() {
        let limits = Limits { unsent_bytes_max: 1_000, ..Limits::default() };
        let mut shard = Shard::new(Settings { limits, ..Settings::default() }, at(0));
        let receiver = connected(&mut shard, at(0));
        let publisher = connected(&mut shard, at(0));
        take_in(&mut shard, receiver, SUBSCRIBE, at(0));
        let burst = [b"\x30\x67\x00\x01x".as_slice(), &[b'.'; 100]].concat().repeat(4);
        let timers = shard.timers.len();
        for time_ms in 1..=50 {
            let now = at(time_ms);
            take_in(&mut shard, publisher, &burst, now);
            assert!(!shard.wants_input(publisher), "it waits for the receiver");
            let written = shard.output(receiver).map_or(0, crate::outbox::Outbox::len);
            shard.on_written(receiver, written);
            shard.work(now);
            assert!(shard.wants_input(publisher));
            assert_eq!(shard.timers.len(), timers + 1, "after {time_ms} crowds");
        }
        // The timer still does its work.
        take_in(&mut shard, publisher, &burst, at(51));
        shard.on_tick(at(51 + 2 * PATIENCE_MS));
        shard.on_tick(at(51 + 4 * PATIENCE_MS));
        shard.work(at(51 + 4 * PATIENCE_MS));
        assert!(shard.wants_input(publisher), "the receiver is slow");
        assert_eq!(shard.delivery.counters.slow_consumers, 1);
        assert_eq!(shard.delivery.crowded, []);
    }
}
