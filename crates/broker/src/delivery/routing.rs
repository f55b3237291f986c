//! A message on its way to the sessions of its route: at once where that is possible, and into
//! their queues where it is not.

use super::Delivery;
use super::queueing::Queued;
use crate::connection::{Connection, ConnectionHandle, Transport};
use crate::crowd::Publisher;
use crate::faults::{Fault, fault};
use crate::losses::Lost;
use crate::memory::Pressure;
use crate::message::{Attribution, Message};
use crate::outgoing::{FormKey, FormTerms, OneDelivery, Outgoing, put_publish};
use crate::persist::{Owed, Record, Sequence};
use crate::router::{Route, Target};
use crate::session::{Session, SessionHandle};
use noctule_mqtt::{PacketId, QoS};

impl Delivery {
    /// Hands a message to every target of its route. `from` is the session that published it, if it
    /// is one of this shard.
    pub(crate) fn route(
        &mut self,
        route: &Route,
        outgoing: &mut Outgoing<'_>,
        from: Option<SessionHandle>,
    ) {
        self.deliver_all(route, outgoing, from);
        if !self.met.is_empty() {
            let publisher = from
                .and_then(|session| self.connection_of(session))
                .map(|connection| Publisher { shard: None, connection });
            self.meet_crowd(publisher, route.targets.len());
        }
    }

    /// As [`route`](Self::route), for a message of another shard's client.
    pub(crate) fn route_foreign(
        &mut self,
        route: &Route,
        outgoing: &mut Outgoing<'_>,
        publisher: Option<Publisher>,
    ) {
        self.deliver_all(route, outgoing, None);
        if !self.met.is_empty() {
            self.meet_crowd(publisher, route.targets.len());
        }
    }

    /// Hands a message to one target, whoever published it.
    pub(crate) fn deliver_only(&mut self, target: &Target, outgoing: &mut Outgoing<'_>) {
        self.forms.begin(outgoing, self.now);
        self.deliver(target, outgoing, None);
    }

    /// Whether the message being routed has met a receiver that is crowded.
    pub(crate) fn has_met(&self) -> bool {
        !self.met.is_empty()
    }

    #[inline]
    fn deliver_all(
        &mut self,
        route: &Route,
        outgoing: &mut Outgoing<'_>,
        from: Option<SessionHandle>,
    ) {
        if self.authority.in_force {
            self.authority.denied.read += u64::from(route.denied);
        }
        let mut targets = route.targets.as_slice();
        if targets.is_empty() {
            return;
        }
        self.forms.begin(outgoing, self.now);
        let qos_max = self.limits.qos_of_delivery(outgoing.view.qos);
        while let [first, ..] = targets {
            let at_most_once = qos_max.min(first.qos) == QoS::AtMostOnce;
            let served = if at_most_once { self.deliver_alike(targets, outgoing, from) } else { 0 };
            let Some((target, rest)) = targets[served..].split_first() else {
                return;
            };
            self.deliver(target, outgoing, from);
            targets = rest;
        }
    }

    /// Serves targets from the front as long as they get the same bytes at QoS 0, which is what a
    /// fan-out is made of, and returns how many that were.
    fn deliver_alike(
        &mut self,
        targets: &[Target],
        outgoing: &Outgoing<'_>,
        from: Option<SessionHandle>,
    ) -> usize {
        let Some((key, bytes)) = self.forms.current_at_most_once(outgoing) else {
            return 0;
        };
        // What is asked here is asked for each receiver; a message to be retained, whose form
        // depends on more, goes the general way.
        if outgoing.view.retain {
            return 0;
        }
        let qos = self.limits.qos_of_delivery(outgoing.view.qos);
        let crowded = self.marks.crowded;
        let is_alike = |connection: &Connection| {
            connection.takes(key)
                && connection.outbox.len() <= crowded
                && bytes.len() <= connection.packet_bytes_max as usize
        };
        // The publisher itself may have terms of its own.
        let from_slot = from.map_or(usize::MAX, SessionHandle::slot);
        let (mut served, mut over_tls) = (0, 0);
        for target in targets {
            let at_most_once = qos == QoS::AtMostOnce || target.qos == QoS::AtMostOnce;
            let is_publisher = target.session.slot() == from_slot;
            if !at_most_once || is_publisher || target.has_identifiers() {
                break;
            }
            // Whatever is out of the ordinary is for the general way.
            let Some(session) = self.sessions.get(target.session) else { break };
            let Some(handle) = session.connection else { break };
            let Some(connection) = self.connections.get_mut(handle) else { break };
            if !is_alike(connection) {
                break;
            }
            over_tls += u64::from(connection.transport == Transport::Tls);
            self.outputs.open(handle, connection).push(bytes);
            served += 1;
        }
        let payload_bytes = outgoing.view.payload.len();
        self.packets.publish_leaves(QoS::AtMostOnce, served as u64, payload_bytes);
        self.tls.publish_sent += over_tls;
        served
    }

    fn deliver(
        &mut self,
        target: &Target,
        outgoing: &mut Outgoing<'_>,
        from: Option<SessionHandle>,
    ) {
        if target.since >= outgoing.retained && outgoing.retained > 0 {
            // It was published before the subscription and has been sent as what was retained.
            return;
        }
        // [MQTT3-3.8.4-6] [MQTT5-3.8.4-8] [MQTT5-4.8.2-3]: the lower one of both.
        let wanted = if from == Some(target.session) { target.own_qos } else { Some(target.qos) };
        let qos_max = self.limits.qos_of_delivery(outgoing.view.qos);
        match wanted.map(|wanted| wanted.min(qos_max)) {
            None => {}
            Some(QoS::AtMostOnce) => self.deliver_at_most_once(target, outgoing),
            Some(qos) => self.deliver_acknowledged(target, qos, outgoing),
        }
    }

    /// Sends a message at QoS 0 `[MQTT3-4.3.1-1]` `[MQTT5-4.3.1-1]`, however full the window is.
    fn deliver_at_most_once(&mut self, target: &Target, outgoing: &mut Outgoing<'_>) {
        let Some(session) = self.sessions.get_mut(target.session) else {
            return;
        };
        let Some(handle) = session.connection else {
            if self.limits.queue_at_most_once && session.is_persistent() {
                let retain = outgoing.view.retain && target.retain_as_published;
                return self.put_aside(target, retain, outgoing);
            }
            self.dropped.away += 1;
            return;
        };
        let Some(connection) = self.connections.get_mut(handle) else {
            return;
        };
        if connection.outbox.len() > self.marks.crowded {
            self.met.push(handle);
            if connection.is_over(&self.marks) {
                if self.pressure >= Pressure::AtMostOnce {
                    self.dropped.memory_at_most_once += 1;
                } else {
                    self.dropped.slow_consumer += 1;
                }
                self.losses.note(target.session, Lost { at_most_once: 1, queued: 0 });
                return;
            }
        }
        // [MQTT3-3.3.1-9] [MQTT5-3.3.1-12] [MQTT5-3.3.1-13]
        let retain = outgoing.view.retain && target.retain_as_published;
        let key = FormKey::new(connection.version.has_properties(), QoS::AtMostOnce, retain);
        if connection.is_of_its_own() {
            let terms = FormTerms::new(key, &target.extras);
            return self.send_its_own(handle, terms, PacketId::FIRST, outgoing);
        }
        let encoded = self.forms.form(outgoing, key, &target.extras);
        if !connection.accepts(encoded.packet_bytes) {
            self.dropped.packet_too_large += 1;
            return;
        }
        let outbox = self.outputs.open(handle, connection);
        outbox.push(encoded.bytes);
        if let Some(message) = outgoing.shared_payload(&mut self.pool) {
            outbox.push_payload(message);
        }
        if connection.transport == Transport::Tls {
            self.tls.publish_sent += 1;
        }
        self.packets.publish_leaves(QoS::AtMostOnce, 1, outgoing.view.payload.len());
    }

    /// Puts a message at QoS 0 into the queue of a session whose client is away.
    #[cold]
    fn put_aside(&mut self, target: &Target, retain: bool, outgoing: &mut Outgoing<'_>) {
        if self.store.lacks_space && !outgoing.paced {
            self.dropped.store_full += 1;
            return;
        }
        if outgoing.lacks_attribution() {
            self.attribute(outgoing);
        }
        // Its publisher waits for nothing, so nothing follows from how it went; and no place was kept.
        let (refused, paced) = (outgoing.refused, std::mem::take(&mut outgoing.paced));
        self.deliver_later(target, QoS::AtMostOnce, retain, outgoing);
        (outgoing.refused, outgoing.paced) = (refused, paced);
    }

    fn deliver_acknowledged(&mut self, target: &Target, qos: QoS, outgoing: &mut Outgoing<'_>) {
        let Some(mut session) = self.sessions.get_mut(target.session) else {
            return;
        };
        let persistent = session.is_persistent();
        if persistent && outgoing.lacks_attribution() {
            self.attribute(outgoing);
            let Some(again) = self.sessions.get_mut(target.session) else {
                return;
            };
            session = again;
        }
        if persistent && self.store.lacks_space && !outgoing.paced {
            self.dropped.store_full += 1;
            self.losses.note(target.session, Lost { at_most_once: 0, queued: 1 });
            outgoing.refused |= !outgoing.unstored;
            return;
        }
        let retain = outgoing.view.retain && target.retain_as_published;
        let Some(handle) = session.connection else {
            return self.deliver_later(target, qos, retain, outgoing);
        };
        let Some(connection) = self.connections.get_mut(handle) else {
            return self.deliver_later(target, qos, retain, outgoing);
        };
        // What waits for its place in the store goes the longer way through the queue.
        let is_ready = !(persistent && qos == QoS::ExactlyOnce)
            && session.queue.is_empty()
            && session.outbound.has_room(connection.window)
            && (!persistent || session.has_number_for(Sequence(session.next_sequence + 1)))
            && session.owing.bytes <= self.limits.queue_bytes_max
            && connection.outbox.len() <= self.marks.crowded;
        if !is_ready {
            return self.deliver_later(target, qos, retain, outgoing);
        }
        let key = FormKey::new(connection.version.has_properties(), qos, retain);
        let encoded = self.forms.form(outgoing, key, &target.extras);
        let of_its_own = connection.is_of_its_own();
        let accepted = if of_its_own {
            let terms = FormTerms::new(key, &target.extras);
            let Some(view) = self.mounts.inner(connection, outgoing.view) else {
                self.dropped.outside_mount += 1;
                return;
            };
            connection.choose_alias(&view, &terms).is_some()
        } else {
            connection.accepts(encoded.packet_bytes)
        };
        if !accepted {
            self.dropped.packet_too_large += 1;
            return;
        }
        let mut owed = target.owed(session, qos, retain, outgoing.message(&mut self.pool).clone());
        if persistent {
            let (key, sequence) = (session.key, owed.sequence);
            if self.journal.defers() && session.is_prompt(self.now) {
                owed.deferred = self.journal.defer(target.session, key, sequence);
            } else {
                let owed = owed.clone();
                self.journal.push(Record::Owed { key, owed, spilled: false });
            }
            outgoing.durable = true;
            session.outbound.skip_to(sequence.packet_id());
        }
        self.memory.owed += session.owe(&owed);
        let Some(packet_id) = session.outbound.push_and_send(qos, owed, connection.window) else {
            return;
        };
        if of_its_own {
            let terms = FormTerms::new(key, &target.extras);
            return self.send_its_own(handle, terms, packet_id, outgoing);
        }
        let outbox = self.outputs.open(handle, connection);
        outbox.push_numbered(encoded, packet_id);
        if let Some(message) = outgoing.shared_payload(&mut self.pool) {
            outbox.push_payload(message);
        }
        if connection.transport == Transport::Tls {
            self.tls.publish_sent += 1;
        }
        self.packets.publish_leaves(qos, 1, outgoing.view.payload.len());
    }

    /// Has what is kept of a message say when it came and from whom, for whoever keeps it longer
    /// than its publisher may be known.
    #[inline(never)]
    pub(crate) fn attribute(&mut self, outgoing: &mut Outgoing<'_>) {
        let from = outgoing.from.and_then(|from| self.sessions.get(from));
        let published_by = from.map(Session::author).or(outgoing.published_by);
        let attribution = Attribution { published_by, received_ms: self.stored_now().wall_ms };
        outgoing.attribute(&attribution, &mut self.pool);
    }

    /// Puts a message into the queue of a session whose client cannot be sent it at once.
    #[cold]
    fn deliver_later(
        &mut self,
        target: &Target,
        qos: QoS,
        retain: bool,
        outgoing: &mut Outgoing<'_>,
    ) {
        let Some(session) = self.sessions.get_mut(target.session) else {
            return;
        };
        if fault(Fault::PausedReaderDropped) && session.connection.is_some() {
            return;
        }
        let owed = target.owed(session, qos, retain, outgoing.message(&mut self.pool).clone());
        match self.enqueue(target.session, owed, outgoing.paced) {
            Queued::Refused => outgoing.refused = true,
            Queued::Waiting { durable } => {
                outgoing.durable |= durable;
                self.pump(target.session);
                self.meet(target.session);
            }
        }
    }

    /// Sends a message to a client that takes topic aliases or is below a mount, whose bytes nobody
    /// else gets.
    #[cold]
    fn send_its_own(
        &mut self,
        handle: ConnectionHandle,
        terms: FormTerms<'_>,
        packet_id: PacketId,
        outgoing: &mut Outgoing<'_>,
    ) {
        let shared = outgoing.shared_payload(&mut self.pool);
        let Some(connection) = self.connections.get_mut(handle) else {
            return;
        };
        let Some(view) = self.mounts.inner(connection, outgoing.view) else {
            self.dropped.outside_mount += 1;
            return;
        };
        let Some(alias) = connection.choose_alias(&view, &terms) else {
            self.dropped.packet_too_large += 1;
            return;
        };
        let delivery = OneDelivery { terms, dup: false, packet_id, now: self.now, alias };
        let outbox = self.outputs.open(handle, connection);
        put_publish(outbox, &view, &delivery, shared, &mut self.scratch);
        connection.note_alias(alias, view.topic);
        if connection.transport == Transport::Tls {
            self.tls.publish_sent += 1;
        }
        self.packets.publish_leaves(terms.key.qos(), 1, outgoing.view.payload.len());
    }

    /// A message for this session had to wait: notes the receiver if it is crowded.
    pub(super) fn meet(&mut self, session: SessionHandle) {
        if let Some(found) = self.sessions.get(session)
            && let Some(handle) = found.connection
            && let Some(connection) = self.connections.get(handle)
            && self.marks.are_exceeded(connection.outbox.len(), found.queue.bytes())
        {
            self.met.push(handle);
        }
    }
}

impl Target {
    #[inline(always)]
    fn owed(&self, session: &mut Session, qos: QoS, retain: bool, message: Message) -> Owed {
        let sequence = session.next_sequence();
        let extras = self.extras.clone();
        Owed { sequence, message, qos, retain, extras, deferred: 0 }
    }
}
