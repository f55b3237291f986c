//! What is not a packet: answers to actions, the end of a turn, the passing of time.

use super::{Action, Event, Report, Shard, Timer};
use crate::connection::{Cause, Connection, ConnectionHandle, Phase};
use crate::delivery::{Continuation, Delivery};
use crate::faults::{Fault, fault};
use crate::holds::Hold;
use crate::losses::SILENCE_MS;
use crate::memory_store::Spilled;
use crate::persist::{Batch, Owed, Stage, StoreState, Ticket};
use crate::restore::away;
use crate::session::{Answer, SessionHandle};
use noctule_mqtt::{PacketType, ReasonCode, Violation};
use noctule_session::{AckNumber, Now};
use std::collections::VecDeque;

/// So many bytes that clients sent while they were not read are dealt with at once.
const RELEASED_BYTES: usize = 256 * 1024;
/// As much as this a connection counts for at the least.
const RELEASED_BYTES_LEAST: usize = 4 * 1024;

impl Shard {
    /// An action was carried out.
    pub fn handle(&mut self, event: Event, now: Now) {
        self.delivery.now = now;
        match event {
            Event::Authenticated { connection, verdict } => {
                self.on_verdict(connection, verdict, now);
            }
            Event::Challenged { connection, data } => self.on_challenged(connection, &data, now),
            Event::Proven { connection, principal, data } => {
                self.on_proven(connection, principal, data, now);
            }
            Event::Written(ticket) => self.on_persisted(ticket, Stage::Written, now),
            Event::Persisted(ticket) => {
                self.delivery.journal.persisted(ticket);
                self.on_persisted(ticket, Stage::Written, now);
                self.on_persisted(ticket, Stage::Flushed, now);
            }
            Event::Loaded { session, messages } => self.on_loaded(session, messages),
        }
    }

    /// Goes on with long work: a slice of it, so that nobody else waits. To be called once in every
    /// turn, and again as long as there [is some](Self::has_work).
    pub fn work(&mut self, now: Now) {
        self.delivery.now = now;
        if self.has_work() {
            self.release();
            self.replay_retained();
            self.take_out_subscriptions();
            self.judge_sessions();
            self.greet_some();
        }
        if self.delivery.is_to_free() {
            self.delivery.free_slice();
        }
        if !self.delivery.crowded.is_empty() {
            self.watch_crowds();
        }
        if self.delivery.losses.has_fresh() {
            for session in self.delivery.losses.take_fresh() {
                self.say_losses(session, now);
            }
        }
        if self.delivery.authority.in_force {
            self.say_refusals(now);
        }
        self.delivery.balance(self.commons.memory());
    }

    /// Deals with the input of connections that may go on: first of those who have sent little, and of
    /// one of the others in any case.
    fn release(&mut self) {
        let mut left = RELEASED_BYTES;
        while left > 0
            && let Some(handle) = self.delivery.released_first.pop_front()
        {
            left = left.saturating_sub(self.release_one(handle));
        }
        while let Some(handle) = self.delivery.released.pop_front() {
            left = left.saturating_sub(self.release_one(handle));
            if left == 0 {
                return;
            }
        }
    }

    /// Returns for how many bytes it counts.
    fn release_one(&mut self, handle: ConnectionHandle) -> usize {
        let held = self.delivery.connections.get(handle).map_or(0, Connection::held);
        self.release_input(handle, self.delivery.now);
        held.max(RELEASED_BYTES_LEAST)
    }

    /// Sees to it that receivers which do not keep up are not waited for without end.
    fn watch_crowds(&mut self) {
        for receiver in std::mem::take(&mut self.delivery.crowded) {
            if let Some(deadline) = self.delivery.patience_ends(receiver) {
                self.timers.insert(deadline, Timer::Crowd(receiver));
            }
        }
    }

    /// Says how many messages for a session were lost, if any were, and looks again later.
    fn say_losses(&mut self, session: SessionHandle, now: Now) {
        let Some(lost) = self.delivery.losses.say(session) else {
            return;
        };
        if let Some(found) = self.delivery.sessions.get(session) {
            let client_id = found.client_id.as_str().into();
            self.actions.push_back(Action::Report(Report::Losing { client_id, lost }));
        }
        self.timers.insert(now.mono_ms + SILENCE_MS, Timer::Losses(session));
    }

    /// Whether what is to be written now is little for each of many connections. A write costs nearly the same
    /// whatever is in it: as long as more may be read at once that adds to it, it had better wait.
    pub fn is_spread_thin(&self) -> bool {
        let dirty = self.delivery.outputs.dirty.iter().take(LOOKED_AT);
        let connections = dirty.filter_map(|handle| self.delivery.connections.get(*handle));
        let waiting = connections.map(|found| found.outbox.len()).filter(|bytes| *bytes > 0);
        let (count, bytes) = waiting.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes));
        count >= MANY && bytes < count * THIN_BYTES
    }

    /// Everything that was read in this turn has been handed in: asks for what has to be stored or
    /// loaded.
    pub fn end_turn(&mut self) {
        self.finish_turn(false);
    }

    /// As [`end_turn`](Self::end_turn), for a driver that goes on at once: what receivers will have
    /// acknowledged in a moment is not stored, unless they take too long. It has to be called again by
    /// the [next deadline](Self::next_deadline_ms).
    pub fn end_turn_deferring(&mut self) {
        self.finish_turn(true);
    }

    fn finish_turn(&mut self, defers: bool) {
        #[cfg(feature = "planted-faults")]
        self.router.come_late();
        let now = self.delivery.now;
        if let Some(ticket) = self.delivery.journal.take_settled() {
            self.on_persisted(ticket, Stage::Written, now);
            self.on_persisted(ticket, Stage::Flushed, now);
        }
        let Delivery { journal, sessions, .. } = &mut self.delivery;
        // One that has ended is owed nothing.
        let gets_on = |session, may_wait, now| {
            sessions.get_mut(session).is_none_or(|found| found.gets_on(may_wait, now))
        };
        if let Some(batch) = journal.end_turn(defers, now.mono_ms, gets_on) {
            let Batch { ticket, stage, deferred, records } = batch;
            let records = self.delivery.with_deferred(&deferred, records);
            self.actions.push_back(Action::Persist { ticket, records, stage });
        }
        if !self.delivery.loads.is_empty() {
            self.ask_for_loads();
        }
    }

    /// Asks for what is to be loaded: behind the records, so that what was just left to the store can be
    /// found there.
    fn ask_for_loads(&mut self) {
        for session in std::mem::take(&mut self.delivery.loads) {
            if let Some(found) = self.delivery.sessions.get(session) {
                let bytes_max = self.delivery.limits.queue_resident_bytes_max;
                let (key, after) = (found.key, found.queue.spilled_after());
                self.actions.push_back(Action::Load { session, key, after, bytes_max });
            } else {
                self.load_departing(session);
            }
        }
    }

    /// Lists give back what a burst has left.
    pub(super) fn shed_lists(&mut self) {
        shed(&mut self.due);
        shed(&mut self.to_be_judged);
        shed(&mut self.delivery.outputs.dirty);
        self.delivery.journal.shed();
        shed_queue(&mut self.actions);
        shed_queue(&mut self.leaving);
        shed_queue(&mut self.to_be_greeted);
    }

    /// A store in memory has given back what a session had left to it that has ended: frees it in slices.
    pub fn discard(&mut self, spilled: Spilled) {
        let (messages, weight) = spilled.into_messages();
        self.delivery.discard(messages, weight);
    }

    /// What the store can take has changed.
    pub fn on_store_state(&mut self, state: StoreState) {
        self.delivery.store = state;
        if !state.is_backed_up {
            for publisher in std::mem::take(&mut self.delivery.waiting_for_store) {
                self.delivery.lift(publisher, Hold::Store);
            }
        }
    }

    /// Time has passed: closes what has been silent for too long, ends sessions, publishes delayed
    /// wills, frees what ended sessions were owed.
    pub fn on_tick(&mut self, now: Now) {
        self.delivery.now = now;
        self.delivery.free_what_is_due();
        let mut due = std::mem::take(&mut self.due);
        self.timers.expire(now.mono_ms, &mut due);
        for timer in due.drain(..) {
            match timer {
                Timer::Connect(connection) => self.on_connect_timeout(connection, now),
                Timer::KeepAlive(connection) => self.on_keep_alive(connection, now),
                Timer::Hello(connection) => self.on_hello_timer(connection),
                Timer::Session(session) => self.on_session_timer(session, now),
                Timer::Losses(session) => self.say_losses(session, now),
                Timer::Refusals => self.on_refusals_timer(now),
                Timer::Retained(part) => self.expire_retained(usize::from(part), now),
                Timer::Memory(connection) => self.delivery.lift(connection, Hold::Memory),
                Timer::Rate(connection) => self.on_rate_timer(connection),
                Timer::Duel(connection) => self.on_duel_timer(connection, now),
                Timer::Crowd(receiver) => {
                    if let Some(deadline) = self.delivery.lose_patience(receiver) {
                        self.timers.insert(deadline, Timer::Crowd(receiver));
                    }
                }
            }
        }
        self.due = due;
    }

    fn on_connect_timeout(&mut self, handle: ConnectionHandle, now: Now) {
        let Some(connection) = self.delivery.connections.get(handle) else {
            return;
        };
        let waiting = matches!(connection.phase, Phase::AwaitConnect | Phase::AwaitAuth(_))
            || connection.is_being_accepted();
        if waiting {
            self.delivery.counters.connect_timeouts += 1;
            self.close(handle, Cause::ConnectTimeout, now);
        } else if !connection.keep_alive_timed {
            // The same timer goes on as that of its keep alive.
            self.on_keep_alive(handle, now);
        }
    }

    fn on_keep_alive(&mut self, handle: ConnectionHandle, now: Now) {
        let Some(connection) = self.delivery.connections.get(handle) else {
            return;
        };
        let (Phase::Attached, Some(patience)) =
            (&connection.phase, connection.keep_alive.patience_ms())
        else {
            return;
        };
        // It does not run against a peer that we are not listening to for our own reasons. One that
        // does not read what it asked for is no such peer: this is what ends it.
        let deadline =
            if connection.holds.is_ours() { now.mono_ms } else { connection.last_heard_ms }
                + patience;
        if deadline > now.mono_ms {
            if fault(Fault::KeepAliveForgotten) {
                return;
            }
            let session = connection.session;
            if let Some(connection) = self.delivery.connections.get_mut(handle) {
                connection.shed(now.mono_ms);
            }
            self.set_timer(deadline, Timer::KeepAlive(handle), now);
            // Whoever says nothing between two looks needs nothing meanwhile.
            if let Some(found) = session.and_then(|session| self.delivery.sessions.get_mut(session))
            {
                found.shed(now);
            }
        } else {
            let keep_alive = connection.keep_alive.seconds();
            self.violate(handle, Violation::KeepAliveTimeout { keep_alive }, now);
        }
    }

    /// A will or the end of a session may be due; with a timer each, and a client that came back in
    /// between, either may also be not.
    fn on_session_timer(&mut self, handle: SessionHandle, now: Now) {
        let Some(session) = self.delivery.sessions.get_mut(handle) else {
            return;
        };
        session.forget_timer();
        session.shed(now);
        // [MQTT3-4.1.0-2] [MQTT5-4.1.0-1]: as long as there is a connection, there is its session.
        if session.holder().is_some() {
            return;
        }
        // [MQTT5-4.1.0-2]
        if session.has_expired(now) {
            self.delivery.counters.sessions_expired += 1;
            return self.end_session(handle);
        }
        let is_due = |due: Option<u64>| due.is_some_and(|due| due <= now.mono_ms);
        let will = session.will.take_if(|will| is_due(will.due_ms));
        let client_id = will.as_ref().map(|_| session.client_id.clone());
        if will.is_some() && session.stored {
            let since_ms = session.rare().away_since_ms.unwrap_or(now.wall_ms);
            self.delivery.journal.push(away(session, since_ms));
        }
        let next = [session.rare().expires_ms, session.will.as_ref().and_then(|will| will.due_ms)];
        if let Some(deadline) = next.into_iter().flatten().min() {
            self.set_session_timer(handle, deadline, now);
        }
        if let (Some(will), Some(client_id)) = (will, client_id) {
            self.publish_will(&client_id, &will);
        }
    }

    /// Goes on with what has waited for tickets up to this one to become that safe.
    fn on_persisted(&mut self, persisted: Ticket, stage: Stage, now: Now) {
        self.settle_retained(persisted);
        self.delivery.journal.enter(stage);
        let has_come = |ticket: Ticket| ticket <= persisted || fault(Fault::TicketIgnored);
        while let Some(continuation) = self.delivery.waiting.next(stage, has_come) {
            self.go_on(continuation, now);
        }
        self.delivery.journal.leave();
    }

    fn go_on(&mut self, continuation: Continuation, now: Now) {
        match continuation {
            Continuation::Answer { session, number } => {
                self.complete_answer(session, number, false, now);
            }
            Continuation::Answers { session, first, count } => {
                if let Some(found) = self.delivery.sessions.get_mut(session) {
                    found.answers.complete_run(first, count);
                    self.release_completed(session, now);
                }
            }
            Continuation::Reply { asker, refused } => self.settle(asker, refused),
            Continuation::Attach { connection } => self.attach(connection, now),
            Continuation::Publish { session, packet_id } => {
                if let Some(found) = self.delivery.sessions.get_mut(session) {
                    found.outbound.stored(packet_id);
                }
                // It may be given up there, which leaves room.
                self.send_more(session);
            }
            Continuation::Pubrel { session, packet_id } => self.send_pubrel(session, packet_id),
            Continuation::Route(unrouted) => self.route_received(&unrouted),
        }
    }

    /// One of the events that an answer waits for has happened; it is sent if it was the last and
    /// the answer's turn has come.
    pub(super) fn complete_answer(
        &mut self,
        session: SessionHandle,
        number: AckNumber,
        refused: bool,
        now: Now,
    ) {
        let Some(found) = self.delivery.sessions.get_mut(session) else {
            return;
        };
        let inbound = &mut found.inbound;
        found.answers.complete(number, |answer| {
            let Answer::Ack { packet, packet_id, reason } = answer else {
                return;
            };
            if refused {
                *reason = ReasonCode::QuotaExceeded;
                if *packet == PacketType::Pubrec {
                    // What is refused is not held [MQTT5-4.3.3-9].
                    inbound.refuse(*packet_id);
                }
            }
        });
        self.release_completed(session, now);
    }

    /// Sends the answers whose turn has come.
    fn release_completed(&mut self, session: SessionHandle, now: Now) {
        while let Some(unspeakable) = self.delivery.release_answers(session) {
            // There is no negative acknowledgement before MQTT 5, and a positive one would lie. What
            // is ready behind it goes with the connection, and must not wait for an event of its own.
            self.close(unspeakable, Cause::QuotaExceeded, now);
        }
        self.unblock(session);
    }

    /// Reads a connection again whose answers were waiting, once half of them have left.
    fn unblock(&mut self, session: SessionHandle) {
        let Some(found) = self.delivery.sessions.get(session) else {
            return;
        };
        if found.answers.len() > self.delivery.limits.acks_waiting_max / 2 {
            return;
        }
        if let Some(handle) = found.connection {
            self.delivery.lift(handle, Hold::Answers);
        }
    }

    fn on_loaded(&mut self, session: SessionHandle, mut messages: Vec<Owed>) {
        if self.departing.contains_key(&session) {
            return self.depart_with(session, messages);
        }
        let now = self.delivery.stored_now();
        if let Some(found) = self.delivery.sessions.get_mut(session) {
            let spilled = found.queue.spilled_bytes();
            for owed in &mut messages {
                owed.message.put_on_clock(now);
            }
            let weight: usize = messages.iter().map(|owed| found.owe(owed)).sum();
            found.queue.loaded(messages);
            self.delivery.memory.owed += weight;
            let loaded = spilled - found.queue.spilled_bytes();
            self.delivery.memory.spilled -= self.delivery.spilled_weight(loaded);
        }
        self.delivery.pump(session);
        self.revive_replays(session);
    }
}

/// Output is spread thin if it is for so many connections at least, and for each of them, on average, less than
/// so many bytes, to write which costs hardly more than to write a single message.
const MANY: usize = 32;
const THIN_BYTES: usize = 4 * 1024;
/// So many of those with output are looked at: there may be thousands.
const LOOKED_AT: usize = 256;
/// Room for so many entries is kept by a list that is empty.
const ROOM_KEPT: usize = 256;

fn shed<T>(list: &mut Vec<T>) {
    if list.capacity() > 4 * list.len().max(ROOM_KEPT) {
        list.shrink_to(2 * list.len());
    }
}

fn shed_queue<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > 4 * queue.len().max(ROOM_KEPT) {
        queue.shrink_to(2 * queue.len());
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Settings, Shard};
    use super::{MANY, THIN_BYTES};
    use crate::connection::ConnectionHandle;
    use crate::outbox::Outbox;
    use crate::{Action, Event, Verdict};
    use noctule_session::Now;

    const NOW: Now = Now { mono_ms: 0, wall_ms: 0 };
    const CONNECT: &[u8] = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00";

    fn write_all(shard: &mut Shard) {
        let mut dirty = Vec::new();
        shard.take_dirty(&mut dirty);
        for handle in dirty {
            let bytes = shard.output(handle).map_or(0, Outbox::len);
            shard.on_written(handle, bytes);
        }
    }

    /// A shard whose clients, so many, have subscribed to everything, and a publisher.
    fn with_receivers(count: usize) -> (Shard, ConnectionHandle) {
        let mut shard = Shard::new(Settings::default(), NOW);
        let clients: Vec<_> = (0..=count).map(|_| shard.open(NOW)).collect();
        for client in &clients {
            shard.on_bytes(*client, CONNECT, NOW);
        }
        while let Some(action) = shard.next_action() {
            if let Action::Authenticate { connection, .. } = action {
                shard.handle(Event::Authenticated { connection, verdict: Verdict::Accepted }, NOW);
            }
        }
        for client in &clients[1..] {
            shard.on_bytes(*client, b"\x82\x06\0\x01\0\x01#\0", NOW);
        }
        write_all(&mut shard);
        (shard, clients[0])
    }

    /// Whether output is spread thin when each of so many receivers has two messages of such a payload.
    fn is_thin(receivers: usize, payload_bytes: usize) -> bool {
        let (mut shard, publisher) = with_receivers(receivers);
        assert!(!shard.is_spread_thin(), "there is nothing to write");
        let length = 3 + payload_bytes;
        let mut message = vec![0x30, length as u8 | 0x80, (length >> 7) as u8, 0, 1, b'a'];
        message.resize(message.len() + payload_bytes, b'x');
        shard.on_bytes(publisher, &message.repeat(2), NOW);
        let is_thin = shard.is_spread_thin();
        write_all(&mut shard);
        assert!(!shard.is_spread_thin(), "all is written");
        is_thin
    }

    #[test]
    fn a_little_for_each_of_many_is_spread_thin() {
        assert!(is_thin(MANY, 200));
        assert!(!is_thin(MANY - 1, 200), "not many");
        assert!(is_thin(MANY, THIN_BYTES / 2 - 10));
        assert!(!is_thin(MANY, THIN_BYTES / 2), "not a little");
    }
}
