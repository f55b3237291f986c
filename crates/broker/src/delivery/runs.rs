//! A run on its way to the sessions of its route, where all of them can be sent all of it at once, or
//! have what finds no room in flight wait in their queue.
//!
//! What is asked of a receiver here is what `routing.rs` asks for each message, for the whole run: if
//! it still keeps up and has room when all of the run is added, it would have had for each part.

use super::{Continuation, Delivery, push_ack};
use crate::connection::{Connection, ConnectionHandle, Transport};
use crate::faults::{Fault, fault};
use crate::memory::Pressure;
use crate::message::{Attribution, Message};
use crate::outgoing::{Encoded, FormKey};
use crate::persist::{Owed, Record, Sequence};
use crate::queue::Place;
use crate::router::{Route, Target};
use crate::run::Run;
use crate::session::{Answer, Session, SessionHandle};
use noctule_mqtt::{PacketType, QoS, ReasonCode, TopicName};

/// What was put out of a run at QoS 1.
#[derive(Debug, Default)]
struct Sent {
    packets: usize,
    payload_bytes: usize,
    packets_over_tls: usize,
}

/// A message that waits in a queue takes less than this and twice its packet.
const WAITING_BYTES: usize = 512;

impl Delivery {
    /// Whether every target of a route, if there is any, can be sent all of a run now, in the packets in
    /// which it came. `from` is the session that published it, if it is one of this shard.
    pub(crate) fn takes_run(
        &self,
        route: &Route,
        run: &Run<'_>,
        from: Option<SessionHandle>,
    ) -> bool {
        let key = FormKey::new(run.has_properties, run.qos, false);
        let qos_max = self.limits.qos_of_delivery(run.qos);
        let takes = |target: &Target| {
            // The publisher itself may have terms of its own.
            if Some(target.session) == from || target.extras.is_some() {
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
                && (run.qos == QoS::AtMostOnce
                    || self.has_room_for_run(session, connection, run)
                    || self.has_queue_for_run(session, run))
        };
        route.targets.iter().all(takes)
    }

    /// Whether all of a run at QoS 1 may be in flight to a client at once, and be kept for a session that
    /// is kept.
    fn has_room_for_run(&self, session: &Session, connection: &Connection, run: &Run<'_>) -> bool {
        session.queue.is_empty()
            && session.outbound.room_to_send(connection.window) >= run.messages
            && session.owing.bytes + run.bytes.len() <= self.limits.queue_bytes_max
            && (!session.is_persistent() || self.has_place_for_run(session, run))
    }

    /// Whether what of a run at QoS 1 finds no room in flight may wait in a session's queue. What is
    /// kept goes the way of single messages then.
    fn has_queue_for_run(&self, session: &Session, run: &Run<'_>) -> bool {
        let bytes = 2 * run.bytes.len() + run.messages * WAITING_BYTES;
        let places = session.rare().places;
        !session.is_persistent()
            && self.pressure < Pressure::NewWork
            && session.queue.next_place(0, usize::MAX) == Place::Resident
            && session.queue.len() + places.messages + run.messages
                <= self.limits.queue_messages_max
            && session.owing.bytes + places.bytes + bytes <= self.limits.queue_bytes_max
            && !fault(Fault::PausedReaderDropped)
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
        for member in run.members() {
            let (view, packet) = run.parts(&member, topic);
            messages.push(match &attribution {
                Some(attribution) => self.pool.attributed_message(&view, packet, attribution),
                None => self.pool.message(&view, packet),
            });
        }
        let mut sent = Sent::default();
        for target in others {
            self.put_run(target, run, messages.iter().cloned(), &mut sent);
        }
        self.put_run(last, run, messages.drain(..), &mut sent);
        self.run_messages = messages;
        self.packets.run_leaves(run.qos, sent.packets, sent.payload_bytes);
        self.tls.publish_sent += sent.packets_over_tls as u64;
    }

    /// Puts a run at QoS 1 into flight to one session, and its packets into the output; into the queue
    /// what finds no room.
    #[inline(always)]
    fn put_run(
        &mut self,
        target: &Target,
        run: &Run<'_>,
        messages: impl Iterator<Item = Message>,
        sent: &mut Sent,
    ) {
        let Some(session) = self.sessions.get_mut(target.session) else {
            return;
        };
        let Some(handle) = session.connection else {
            return;
        };
        let Some(connection) = self.connections.get_mut(handle) else {
            return;
        };
        let window = connection.window;
        let over_tls = connection.transport == Transport::Tls;
        let room = if session.queue.is_empty() { session.outbound.room_to_send(window) } else { 0 };
        if room < run.messages {
            session.queue.expect(run.messages - room);
        }
        let mut put = 0;
        let outbox = self.outputs.open(handle, connection);
        let is_kept = session.is_persistent();
        let defers = is_kept && self.journal.defers() && session.is_prompt(self.now);
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
            if put == room {
                session.queue.push(owed);
                continue;
            }
            put += 1;
            sent.payload_bytes += member.payload.len();
            if let Some(packet_id) = session.outbound.push_and_send(run.qos, owed, window) {
                let packet_id_at = member.header_len + run.packet_id_at();
                let packet_bytes = member.bytes.len();
                let encoded = Encoded { bytes: member.bytes, packet_id_at, packet_bytes };
                outbox.push_numbered(encoded, packet_id);
            }
        }
        sent.packets += put;
        sent.packets_over_tls += if over_tls { put } else { 0 };
        if put < run.messages {
            self.pump(target.session);
            self.meet(target.session);
        }
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
