//! A run on its way to the sessions of its route, where all of them can be sent all of it at once.
//!
//! What is asked of a receiver here is what `routing.rs` asks for each message, for the whole run: if
//! it still keeps up and has room when all of the run is added, it would have had for each part.

use super::{Continuation, Delivery, push_ack};
use crate::connection::{Connection, ConnectionHandle, Transport};
use crate::expiry::Deadline;
use crate::message::{Attribution, Message, MessageView};
use crate::outgoing::{Encoded, FormKey, RawPublish};
use crate::persist::{Owed, Record, Sequence};
use crate::router::{Route, Target};
use crate::run::{Member, Run};
use crate::session::{Answer, Session, SessionHandle};
use noctule_mqtt::{PacketType, QoS, ReasonCode, TopicName};

impl Delivery {
    /// Whether every target of a route can be sent all of a run now, in the packets in which it came.
    pub(crate) fn takes_run(&self, route: &Route, run: &Run<'_>, from: SessionHandle) -> bool {
        let key = FormKey::new(run.has_properties, run.qos, false);
        let qos_max = self.limits.qos_of_delivery(run.qos);
        let takes = |target: &Target| {
            // The publisher itself may have terms of its own.
            if target.session == from || target.extras.is_some() {
                return false;
            }
            if qos_max.min(target.qos) != run.qos {
                return false;
            }
            let Some(session) = self.sessions.get(target.session) else { return false };
            let Some(connection) = session.connection.and_then(|one| self.connections.get(one))
            else {
                return false;
            };
            connection.takes(key)
                && connection.outbox.len() + run.bytes.len() <= self.marks.crowded
                && run.packet_bytes_max <= connection.packet_bytes_max as usize
                && (run.qos == QoS::AtMostOnce || self.has_room_for_run(session, connection, run))
        };
        !route.targets.is_empty() && route.targets.iter().all(takes)
    }

    /// Whether all of a run at QoS 1 may be in flight to a client at once, and be kept for a session that
    /// is kept.
    fn has_room_for_run(&self, session: &Session, connection: &Connection, run: &Run<'_>) -> bool {
        session.queue.is_empty()
            && session.outbound.room_to_send(connection.window) >= run.messages
            && session.owing.bytes + run.bytes.len() <= self.limits.queue_bytes_max
            && (!session.is_persistent() || self.has_place_for_run(session, run))
    }

    fn has_place_for_run(&self, session: &Session, run: &Run<'_>) -> bool {
        let last = Sequence(session.next_sequence + run.messages as u64);
        !self.store.lacks_space && session.has_number_for(last)
    }

    /// Whether one of those who are sent a run is a session that is kept.
    pub(crate) fn keeps_run(&self, targets: &[Target]) -> bool {
        let sessions = targets.iter().filter_map(|target| self.sessions.get(target.session));
        sessions.into_iter().any(Session::is_persistent)
    }

    /// Puts out a run at QoS 0 to all targets, who [take it](Self::takes_run).
    pub(crate) fn send_run_at_most_once(&mut self, targets: &[Target], run: &Run<'_>) {
        let mut over_tls = 0;
        for target in targets {
            let handle = self.sessions.get(target.session).and_then(|session| session.connection);
            let Some(handle) = handle else { continue };
            let Some(connection) = self.connections.get_mut(handle) else { continue };
            over_tls += usize::from(connection.transport == Transport::Tls);
            self.outputs.open(handle, connection).push(run.bytes);
        }
        self.count_run(targets.len(), over_tls, run);
    }

    /// Puts out a run at QoS 1 to all targets, who [take it](Self::takes_run). `topic` is its topic;
    /// `from` has published it, if somebody [keeps](Self::keeps_run) it.
    pub(crate) fn send_run_at_least_once(
        &mut self,
        targets: &[Target],
        run: &Run<'_>,
        topic: TopicName<'_>,
        from: Option<SessionHandle>,
    ) {
        let Some((last, others)) = targets.split_last() else {
            return;
        };
        let received_ms = self.stored_now().wall_ms;
        let author = from.and_then(|from| self.sessions.get(from));
        let attribution =
            author.map(|author| Attribution { published_by: Some(author.author()), received_ms });
        let mut messages = std::mem::take(&mut self.run_messages);
        for Member { bytes, header_len, payload, .. } in run.members() {
            let (qos, retain, expires) = (run.qos, false, Deadline::NEVER);
            let view = MessageView { topic, properties: &[], payload, qos, retain, expires };
            let has_properties = run.has_properties;
            let packet = RawPublish { bytes, header_len, has_properties, passable: true };
            messages.push(match &attribution {
                Some(attribution) => self.pool.attributed_message(&view, packet, attribution),
                None => self.pool.message(&view, packet),
            });
        }
        let mut over_tls = 0;
        for target in others {
            over_tls += usize::from(self.put_run(target, run, messages.iter().cloned()));
        }
        over_tls += usize::from(self.put_run(last, run, messages.drain(..)));
        self.run_messages = messages;
        self.count_run(targets.len(), over_tls, run);
    }

    /// Puts a run at QoS 1 into flight to one session, and its packets into the output. Returns whether
    /// that is encrypted.
    #[inline(always)]
    fn put_run(
        &mut self,
        target: &Target,
        run: &Run<'_>,
        messages: impl Iterator<Item = Message>,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(target.session) else {
            return false;
        };
        let Some(handle) = session.connection else {
            return false;
        };
        let Some(connection) = self.connections.get_mut(handle) else {
            return false;
        };
        let window = connection.window;
        let over_tls = connection.transport == Transport::Tls;
        let outbox = self.outputs.open(handle, connection);
        let is_kept = session.is_persistent();
        let defers = is_kept && self.journal.defers() && session.is_quick(self.now);
        for (member, message) in run.members().zip(messages) {
            let sequence = session.next_sequence();
            let (qos, retain, extras) = (run.qos, false, None);
            let mut owed = Owed { sequence, message, qos, retain, extras, deferred: 0 };
            if is_kept {
                let key = session.key;
                if defers {
                    owed.deferred = self.journal.defer(target.session, key, sequence);
                } else {
                    let owed = owed.clone();
                    self.journal.push(Record::Owed { key, owed, spilled: false });
                }
                session.outbound.skip_to(sequence.packet_id());
            }
            self.memory.owed += session.owe(&owed);
            if let Some(packet_id) = session.outbound.push_and_send(run.qos, owed, window) {
                let packet_id_at = member.header_len + run.packet_id_at();
                let packet_bytes = member.bytes.len();
                let encoded = Encoded { bytes: member.bytes, packet_id_at, packet_bytes };
                outbox.push_numbered(encoded, packet_id);
            }
        }
        over_tls
    }

    fn count_run(&mut self, receivers: usize, over_tls: usize, run: &Run<'_>) {
        self.packets.run_leaves(run.qos, receivers * run.messages, receivers * run.payload_bytes);
        self.tls.publish_sent += (over_tls * run.messages) as u64;
    }

    /// Answers all of a run with PUBACK when what this turn has to keep is stored.
    pub(crate) fn acknowledge_run_later(&mut self, handle: SessionHandle, run: &Run<'_>) {
        let Some(session) = self.sessions.get_mut(handle) else {
            return;
        };
        let (packet, reason) = (PacketType::Puback, ReasonCode::Success);
        let first = session.answers.next_number();
        for packet_id in run.members().filter_map(|member| member.packet_id) {
            session.answers.push(Answer::Ack { packet, packet_id, reason }, 1);
        }
        let (ticket, stage) = (self.journal.ticket(), self.journal.stage());
        let next = Continuation::Answers { session: handle, first, count: run.messages };
        self.wait_for(ticket, stage, next);
    }

    /// Answers all of a run with PUBACK, each with its identifier and in their order.
    pub(crate) fn acknowledge_run(&mut self, handle: ConnectionHandle, run: &Run<'_>) {
        let Some(connection) = self.connections.get_mut(handle) else {
            return;
        };
        let outbox = self.outputs.open(handle, connection);
        for packet_id in run.members().filter_map(|member| member.packet_id) {
            push_ack(outbox, PacketType::Puback, packet_id);
        }
        self.packets.sent[PacketType::Puback as usize] += run.messages as u64;
    }
}
