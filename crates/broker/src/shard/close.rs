//! The end of connections and of sessions, and what is due then: wills, expiry, a last word.

use super::{Action, Offence, Report, Shard, Timer};
use crate::connection::{Cause, ConnectionHandle, Phase};
use crate::faults::{Fault, fault};
use crate::persist::Record;
use crate::restore::away;
use crate::session::{Expiry, SessionHandle};
use noctule_mqtt::packet::Disconnect;
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    Answer, Packet, PacketType, Phase as PeerPhase, Property, PropertyBuffer, ReasonCode, Receiver,
    Violation, codec,
};
use noctule_session::Now;

/// How far away a timer may be, in milliseconds; who waits for longer is asked in between. Nobody
/// takes out the timers of what has ended, and a keep-alive lasts up to 27 hours, a session expiry
/// 136 years: whoever came and went again and again would fill the memory with them.
const TIMER_STEP_MS: u64 = 120_000;

/// So many bytes of a packet that breaks the rules are reported.
const OFFENCE_BYTES_MAX: usize = 256;

impl Shard {
    /// The broker stops: publishes wills, tells everybody, closes every connection.
    pub fn shut_down(&mut self, now: Now) {
        self.delivery.now = now;
        let all: Vec<_> = self.delivery.connections.handles().collect();
        // Wills first, while those who are to hear them are still there.
        for handle in &all {
            let session = self.delivery.connections.get(*handle).and_then(|found| found.session);
            let will = session
                .and_then(|session| self.delivery.sessions.get_mut(session))
                .and_then(|session| {
                    let will = session.will.take_if(|will| will.delay == 0)?;
                    Some((session.client_id.clone(), will))
                });
            if let Some((client_id, will)) = will {
                self.publish_will(&client_id, &will);
            }
        }
        for handle in all {
            self.close(handle, Cause::ShuttingDown, now);
        }
        self.give_all_away();
    }

    /// DISCONNECT came.
    pub(super) fn on_disconnect(
        &mut self,
        handle: ConnectionHandle,
        session: SessionHandle,
        disconnect: &Disconnect<'_>,
        now: Now,
    ) -> Result<(), Violation> {
        if let (Some(interval), Some(found)) = (
            disconnect.properties.session_expiry_interval(),
            self.delivery.sessions.get_mut(session),
        ) {
            if found.expiry() == Expiry::AtClose && interval != 0 {
                return Err(Violation::SessionExpirySetLate);
            }
            let max = self.delivery.limits.session_expiry_max;
            found.set_expiry(Expiry::granted(interval, max));
            if found.is_persistent() {
                self.delivery.journal.push(found.record());
            }
        }
        let cause = if disconnect.reason == ReasonCode::Success {
            Cause::Disconnected
        } else {
            Cause::DisconnectedWithWill
        };
        self.close(handle, cause, now);
        Ok(())
    }

    /// As [`violate`](Self::violate), with the packet that did it.
    #[cold]
    pub(super) fn violate_with(
        &mut self,
        handle: ConnectionHandle,
        violation: Violation,
        packet: &[u8],
        now: Now,
    ) {
        if let Some(connection) = self.delivery.connections.get(handle) {
            let frame = codec::next_frame(packet, u32::MAX).ok().flatten();
            let at = frame.and_then(|frame| {
                codec::position(&frame, connection.version, Receiver::Server, &violation)
            });
            let session = connection.session.and_then(|one| self.delivery.sessions.get(one));
            let offence = Offence {
                connection: handle,
                client_id: session.map(|session| session.client_id.as_str().into()),
                violation: violation.clone(),
                at,
                packet: packet[..packet.len().min(OFFENCE_BYTES_MAX)].into(),
                packet_bytes: packet.len(),
            };
            self.actions.push_back(Action::Report(Report::Offended(Box::new(offence))));
        }
        self.violate(handle, violation, now);
    }

    /// The peer broke the rules: answers as the version allows and closes `[MQTT3-4.8.0-1]`
    /// `[MQTT5-4.13.1-1]`.
    #[cold]
    pub(super) fn violate(&mut self, handle: ConnectionHandle, violation: Violation, now: Now) {
        let Some(connection) = self.delivery.connections.get(handle) else {
            return;
        };
        let phase = match connection.phase {
            Phase::Attached => PeerPhase::Connected,
            _ => PeerPhase::Connecting,
        };
        let version = connection.announced.then_some(connection.version);
        self.delivery.counters.violations += 1;
        match violation.answer(version, phase) {
            Answer::Connack(reason) => {
                self.delivery.count_refusal(handle, reason);
                self.send_refusal(handle, reason, &violation.to_string());
            }
            // Closing says it.
            Answer::Disconnect(_) | Answer::Close => {}
        }
        self.close(handle, Cause::Violation(violation), now);
    }

    /// Ends a connection: a last word to the client if the version has one, then the driver is
    /// asked to close it, and its session goes on without it.
    pub(super) fn close(&mut self, handle: ConnectionHandle, cause: Cause, now: Now) {
        let Some(connection) = self.delivery.connections.get_mut(handle) else {
            return;
        };
        let phase = std::mem::replace(&mut connection.phase, Phase::Closing);
        if matches!(phase, Phase::Closing) {
            return;
        }
        self.delivery.end_crowd(handle);
        let Some(connection) = self.delivery.connections.get_mut(handle) else {
            return;
        };
        let connection_version = connection.announced.then_some(connection.version);
        // What stands behind is not looked at [MQTT3-3.1.4-5] [MQTT5-3.1.4-6].
        connection.take_held();
        connection.partial.take();
        let session = connection.session.take();
        // [MQTT5-3.14.0-1]: who has not heard CONNACK hears nothing now.
        let hears_reasons =
            matches!(phase, Phase::Attached) && connection.version.server_may_disconnect();
        self.delivery.weigh(handle);
        if let Some(reason) = cause.disconnect_reason().filter(|_| hears_reasons) {
            self.say_goodbye(handle, reason, &cause);
        }
        let version = connection_version;
        let client_id = session
            .and_then(|session| self.delivery.sessions.get(session))
            .map(|session| session.client_id.as_str().into());
        if let Some(session) = session {
            self.detach(session, handle, &cause, now);
        }
        self.actions.push_back(Action::Report(Report::Disconnected {
            connection: handle,
            client_id,
            version,
            cause,
        }));
        // Nothing is put out any more [MQTT5-3.14.4-1] [MQTT5-3.14.4-2] [MQTT5-4.13.2-1].
        self.actions.push_back(Action::Close(handle));
    }

    /// The last word to a client; never with a session expiry interval `[MQTT5-3.14.2-2]`.
    fn say_goodbye(&mut self, handle: ConnectionHandle, reason: ReasonCode, cause: &Cause) {
        let reference = self.offer.server_reference.as_deref();
        if let (Cause::ShuttingDown, Some(reference)) = (cause, reference) {
            let mut properties = PropertyBuffer::new(Carrier::Packet(PacketType::Disconnect));
            if properties.push(Property::ServerReference(reference)).is_ok() {
                let reason = ReasonCode::UseAnotherServer;
                let properties = properties.as_properties();
                let goodbye = Packet::Disconnect(Disconnect { reason, properties });
                let fits = self.delivery.send_if_accepted(handle, &goodbye);
                if fits {
                    return;
                }
            }
        }
        // If it takes not even that, closing has to say it.
        let _ = self.delivery.send_explained(handle, &cause.to_string(), |properties| {
            Packet::Disconnect(Disconnect { reason, properties })
        });
    }

    /// A session loses its connection: ends, or waits for its client.
    fn detach(
        &mut self,
        handle: SessionHandle,
        connection: ConnectionHandle,
        cause: &Cause,
        now: Now,
    ) {
        let Some(session) = self.delivery.sessions.get_mut(handle) else {
            return;
        };
        if session.holder() != Some(connection) {
            return;
        }
        if session.connection.take().is_some() {
            self.delivery.connected -= 1;
        }
        if !self.duels.is_empty() {
            let client_id = session.client_id.clone();
            self.end_duel(&client_id, now);
        }
        let Some(session) = self.delivery.sessions.get_mut(handle) else {
            return;
        };
        session.forget_claimant();
        session.answers.abandon_all();
        session.shed(now);
        if !cause.publishes_will() && !fault(Fault::WillAfterDisconnect) {
            // [MQTT3-3.1.2-10] [MQTT3-3.14.4-3] [MQTT5-3.1.2-10] [MQTT5-3.14.4-3]
            session.will = None;
        }
        // [MQTT3-4.1.0-1] [MQTT5-3.1.2-23] [MQTT5-4.1.0-2]
        if !session.is_persistent() {
            self.end_session(handle);
            return;
        }
        let mut deadline: Option<u64> = None;
        if let Expiry::After(seconds) = session.expiry()
            && !fault(Fault::ExpiryForgotten)
        {
            let expires = now.mono_ms + u64::from(seconds) * 1_000;
            session.rare_mut().expires_ms = Some(expires);
            deadline = Some(expires);
        }
        // Published, it is gone [MQTT3-3.1.2-10] [MQTT5-3.1.2-10].
        if let Some(will) = session.will.take_if(|will| will.delay == 0) {
            let client_id = session.client_id.clone();
            self.publish_will(&client_id, &will);
        } else if let Some(will) = &mut session.will {
            let due = now.mono_ms + u64::from(will.delay) * 1_000;
            will.due_ms = Some(due);
            deadline = Some(deadline.map_or(due, |earlier| earlier.min(due)));
        }
        if let Some(found) = self.delivery.sessions.get_mut(handle).filter(|found| found.stored) {
            found.rare_mut().away_since_ms = Some(now.wall_ms);
            self.delivery.journal.push(away(found, now.wall_ms));
        }
        if let Some(deadline) = deadline {
            self.set_session_timer(handle, deadline, now);
        }
    }

    /// Has a session looked at that was given back, when its will or its end is due.
    pub(crate) fn watch_restored(&mut self, handle: SessionHandle, now: Now) {
        let due = self.delivery.sessions.get(handle).and_then(|found| {
            let will = found.will.as_ref().and_then(|will| will.due_ms);
            [will, found.rare().expires_ms].into_iter().flatten().min()
        });
        if let Some(deadline) = due {
            self.set_session_timer(handle, deadline, now);
        }
    }

    /// Has the session looked at by `deadline`. One timer at a time is enough: the earliest sets
    /// the next.
    pub(super) fn set_session_timer(&mut self, handle: SessionHandle, deadline: u64, now: Now) {
        let deadline = deadline.min(now.mono_ms + TIMER_STEP_MS);
        if let Some(session) = self.delivery.sessions.get_mut(handle)
            && session.rare().timer_ms.is_none_or(|timer| timer > deadline)
        {
            session.rare_mut().timer_ms = Some(deadline);
            self.set_timer(deadline, Timer::Session(handle), now);
        }
    }

    /// Has a timer come at its deadline, or before that, when [`TIMER_STEP_MS`] have passed.
    pub(super) fn set_timer(&mut self, deadline: u64, timer: Timer, now: Now) {
        self.timers.insert(deadline.min(now.mono_ms + TIMER_STEP_MS), timer);
    }

    /// A session is over: its subscriptions and all it was owed are gone, and a will that waited is
    /// published now `[MQTT5-3.1.3-9]`.
    pub(super) fn end_session(&mut self, handle: SessionHandle) {
        let Some(mut session) = self.delivery.sessions.remove(handle) else {
            return;
        };
        self.delivery.forget_session(&session);
        self.clients.remove(handle, &session.client_id, &self.delivery.sessions);
        let shares = session.is_member_of_groups();
        if session.subscriptions.len() > LEAVING_SLICE {
            let subscriptions = session.subscriptions.take();
            self.leaving.push_back((handle, subscriptions));
        } else {
            for filter in session.subscriptions.filters() {
                self.drop_subscription(filter, handle);
            }
        }
        let client_id = session.client_id.clone();
        let will = session.will.take();
        if shares {
            self.redistribute(handle, session);
        } else {
            if session.stored {
                self.delivery.journal.push(Record::SessionEnded(session.key));
            }
            self.delivery.discard_owed(session);
        }
        if let Some(will) = will {
            self.publish_will(&client_id, &will);
        }
    }
}

/// So many subscriptions of sessions that are over are taken out at once.
const LEAVING_SLICE: usize = 1_000;

impl Shard {
    /// Takes out subscriptions of sessions that are over, of which one may have many thousands: a
    /// slice of them. Until then their routes lead to nobody.
    pub(super) fn take_out_subscriptions(&mut self) {
        let mut left = LEAVING_SLICE;
        while left > 0
            && let Some((session, subscriptions)) = self.leaving.front_mut()
        {
            let session = *session;
            let Some((filter, _)) = subscriptions.pop() else {
                self.leaving.pop_front();
                continue;
            };
            left -= 1;
            self.drop_subscription(&filter, session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    /// CONNECT of MQTT 5 with the longest keep-alive and a session expiry of 136 years, and
    /// DISCONNECT right behind it.
    const VISIT: &[u8] =
        b"\x10\x13\x00\x04MQTT\x05\x02\xff\xff\x05\x11\xff\xff\xff\xfe\x00\x01a\xe0\x00";

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    #[test]
    fn a_client_that_is_there_is_looked_at_by_one_timer() {
        for (keep_alive, timers) in [(0u8, 0), (1, 1), (6, 1), (7, 1), (60, 1)] {
            let mut shard = Shard::new(Settings::default(), at(0));
            let connection = shard.open(at(0));
            let connect = [b"\x10\x0c\x00\x04MQTT\x04\x02\x00", &[keep_alive, 0, 0][..]].concat();
            shard.on_bytes(connection, &connect, at(0));
            let verdict = crate::Verdict::Accepted;
            shard.handle(crate::Event::Authenticated { connection, verdict }, at(0));
            for second in 1..=30 {
                let now = at(second * 1_000);
                shard.on_bytes(connection, &[0xC0, 0], now);
                shard.on_tick(now);
            }
            assert_eq!(shard.population().connections, 1);
            assert_eq!(shard.timers.len(), timers, "keep alive {keep_alive}");
        }
    }

    #[test]
    fn timers_of_those_who_came_and_went_do_not_stay() {
        let mut shard = Shard::new(Settings::default(), at(0));
        for visit in 0..100 {
            let now = at(visit);
            let connection = shard.open(now);
            shard.on_bytes(connection, VISIT, now);
            while let Some(action) = shard.next_action() {
                match action {
                    Action::Authenticate { connection, .. } => {
                        let verdict = crate::Verdict::Accepted;
                        shard.handle(crate::Event::Authenticated { connection, verdict }, now);
                    }
                    Action::Close(handle) => shard.on_closed(handle, Cause::PeerClosed, now),
                    _ => {}
                }
                shard.work(now);
                shard.end_turn();
                if let Some(Action::Persist { ticket, .. }) = shard.actions.back() {
                    let ticket = *ticket;
                    shard.handle(crate::Event::Persisted(ticket), now);
                }
            }
            assert_eq!(shard.population().connections, 0);
        }
        assert_eq!(shard.population().sessions, 1, "each visit began the session anew");
        assert!(shard.timers.len() > 100);
        shard.on_tick(at(TIMER_STEP_MS + 1_000));
        assert_eq!(shard.timers.len(), 1, "the session's own");
    }
}
