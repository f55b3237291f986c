//! Handing messages to sessions: the sessions and connections of a shard, what leaves on the
//! connections, and what has to be kept.
//!
//! Nobody else puts a PUBLISH into an output. Every delivery, live, retained, queued or resumed,
//! passes here, with the same limits and the same records.

use crate::arena::Arena;
use crate::commons::ShardId;
use crate::connection::{Connection, ConnectionHandle, Transport};
use crate::counters::{Counters, Dropped, Packets, Refused, Traffic};
use crate::crowd::{Marks, Publisher};
use crate::faults::{Fault, fault};
use crate::holds::Hold;
use crate::limits::{Limits, OnQueueFull};
use crate::losses::{Losses, Lost};
use crate::mail::{Asker, Asks, Mail, ReplyTo};
use crate::memory::{CommonMemory, Memory, Pressure};
use crate::message::{Attribution, Message, MessagePool};
use crate::outbox::{COPY_MAX, Outbox};
use crate::outgoing::{FormKey, FormTerms, Forms, OneDelivery, Outgoing, put_publish};
use crate::persist::{Extras, Journal, Owed, Record, Sequence, Stage, StoreState, Ticket};
use crate::postbag::{Covering, Postbag};
use crate::queue::Place;
use crate::restore::Unrouted;
use crate::router::{Elsewhere, Route, Target};
use crate::session::{Answer, Session, SessionHandle, Terms};
use noctule_mqtt::packet::Ack;
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    Packet, PacketId, PacketType, Properties, Property, PropertyBuffer, ProtocolVersion, QoS,
    ReasonCode, codec,
};
use noctule_session::{AckNumber, Acknowledged, Now, Stage as Progress, ToSend};
use std::collections::VecDeque;
use std::sync::Arc;

/// What is done once a ticket is persisted.
#[derive(Debug)]
pub(crate) enum Continuation {
    /// Another shard is told that a message of its client is stored here.
    Reply { asker: Asker, refused: bool },
    /// A promise has come true.
    Answer { session: SessionHandle, number: AckNumber },
    /// The session of a new connection is stored: CONNACK may leave.
    Attach { connection: ConnectionHandle },
    /// A QoS 2 delivery's packet identifier is stored: PUBLISH may leave.
    Publish { session: SessionHandle, packet_id: PacketId },
    /// That PUBREC came is stored: PUBREL may leave.
    Pubrel { session: SessionHandle, packet_id: PacketId },
    /// A received QoS 2 message is stored: it is routed, and PUBREC may leave.
    Route(Box<Unrouted>),
}

/// What waits for the store, by how safe it wants to have it.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    written: VecDeque<(Ticket, Continuation)>,
    flushed: VecDeque<(Ticket, Continuation)>,
}

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.written.len() + self.flushed.len()
    }

    fn push(&mut self, ticket: Ticket, stage: Stage, next: Continuation) {
        self.at(stage).push_back((ticket, next));
    }

    /// What has waited longest for a stage, if its ticket has come.
    pub(crate) fn next(
        &mut self,
        stage: Stage,
        has_come: impl Fn(Ticket) -> bool,
    ) -> Option<Continuation> {
        let next = self.at(stage).pop_front_if(|(ticket, _)| has_come(*ticket))?;
        Some(next.1)
    }

    fn at(&mut self, stage: Stage) -> &mut VecDeque<(Ticket, Continuation)> {
        match stage {
            Stage::Written => &mut self.written,
            Stage::Flushed => &mut self.flushed,
        }
    }
}

/// Connections with something to write, and buffers to write into.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    pub(crate) dirty: Vec<ConnectionHandle>,
    buffers: Vec<Vec<u8>>,
    buffers_bytes: usize,
}

/// Buffers up to this size are kept for reuse, and so many bytes of them in all.
const BUFFER_KEPT_BYTES: usize = 64 * 1024;
const BUFFERS_KEPT_BYTES: usize = 1 << 20;
/// The size of a new buffer.
const BUFFER_BYTES: usize = 1_024;

impl Outputs {
    /// The outbox of a connection that something is about to be put into.
    #[inline(always)]
    pub(crate) fn open<'c>(
        &mut self,
        handle: ConnectionHandle,
        connection: &'c mut Connection,
    ) -> &'c mut Outbox {
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(handle);
            if connection.outbox.lacks_buffer() {
                connection.outbox.lend(self.buffer());
            }
        }
        &mut connection.outbox
    }

    fn buffer(&mut self) -> Vec<u8> {
        match self.buffers.pop() {
            Some(buffer) => {
                self.buffers_bytes -= buffer.capacity();
                buffer
            }
            None => Vec::with_capacity(BUFFER_BYTES),
        }
    }

    /// Takes a drained buffer back.
    pub(crate) fn recycle(&mut self, buffer: Vec<u8>) {
        let bytes = buffer.capacity();
        let worth = (1..=BUFFER_KEPT_BYTES).contains(&bytes);
        if worth && self.buffers_bytes + bytes <= BUFFERS_KEPT_BYTES {
            self.buffers_bytes += bytes;
            self.buffers.push(buffer);
        }
    }
}

/// The parties of a shard and what passes between them.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) limits: Limits,
    pub(crate) sessions: Arena<Session>,
    pub(crate) connections: Arena<Connection>,
    pub(crate) journal: Journal,
    /// What waits for which ticket; tickets rise.
    pub(crate) waiting: Waiting,
    pub(crate) outputs: Outputs,
    pub(crate) counters: Counters,
    pub(crate) packets: Packets,
    pub(crate) refused: Refused,
    /// What connections over TLS have of it all.
    pub(crate) tls: Traffic,
    /// Sessions whose client is connected.
    pub(crate) connected: usize,
    pub(crate) dropped: Dropped,
    pub(crate) losses: Losses,
    /// Sessions whose spilled messages are to be loaded.
    pub(crate) loads: Vec<SessionHandle>,
    /// Sessions with retained messages on their way to new subscriptions, each once.
    pub(crate) replays: VecDeque<SessionHandle>,
    /// What is written to other shards, by shard.
    pub(crate) postbags: Vec<Postbag>,
    pub(crate) pool: MessagePool,
    /// The time of what is being done.
    pub(crate) now: Now,
    /// The latest wall time that a store has kept.
    pub(crate) stored_wall_ms: u64,
    pub(crate) marks: Marks,
    /// What clients take, mail apart.
    pub(crate) memory: Memory,
    /// What the other shards know of it.
    pub(crate) told: usize,
    pub(crate) pressure: Pressure,
    /// What the store can take.
    pub(crate) store: StoreState,
    /// Publishers that wait for the store.
    pub(crate) waiting_for_store: Vec<ConnectionHandle>,
    /// Crowded receivers that the message being routed has met.
    pub(crate) met: Vec<ConnectionHandle>,
    /// Receivers that are crowded since the shard looked last.
    pub(crate) crowded: Vec<ConnectionHandle>,
    /// Connections whose input is wanted again.
    pub(crate) released: VecDeque<ConnectionHandle>,
    forms: Forms,
    scratch: Vec<u8>,
}

impl Delivery {
    pub(crate) fn new(
        limits: Limits,
        stage: Stage,
        shards: u16,
        memory: &Arc<CommonMemory>,
        now: Now,
    ) -> Self {
        let mut postbags = Vec::new();
        postbags.resize_with(usize::from(shards), Postbag::default);
        Self {
            postbags,
            now,
            stored_wall_ms: 0,
            marks: Marks::new(&limits),
            memory: Memory::default(),
            told: 0,
            pressure: Pressure::None,
            store: StoreState::default(),
            waiting_for_store: Vec::new(),
            met: Vec::new(),
            crowded: Vec::new(),
            released: VecDeque::new(),
            limits,
            sessions: Arena::default(),
            connections: Arena::default(),
            journal: Journal::new(stage),
            waiting: Waiting::default(),
            outputs: Outputs::default(),
            counters: Counters::default(),
            packets: Packets::default(),
            refused: Refused::default(),
            tls: Traffic::default(),
            connected: 0,
            dropped: Dropped::default(),
            losses: Losses::default(),
            loads: Vec::new(),
            replays: VecDeque::new(),
            pool: MessagePool::new(memory),
            forms: Forms::default(),
            scratch: Vec::new(),
        }
    }

    /// The time by which stored messages expire: if the clock was set back before a start, nothing is
    /// good for longer.
    pub(crate) fn stored_now(&self) -> Now {
        Now { wall_ms: self.now.wall_ms.max(self.stored_wall_ms), ..self.now }
    }

    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.marks.press(self.pressure, &limits);
        self.limits = limits;
    }

    /// The connection that a session has, once its CONNACK is written.
    pub(crate) fn connection_of(&self, session: SessionHandle) -> Option<ConnectionHandle> {
        self.sessions.get(session).and_then(|found| found.connection)
    }

    /// Writes a letter that is no message to another shard.
    pub(crate) fn post(&mut self, to: ShardId, letter: Mail) {
        if let Some(postbag) = self.postbags.get_mut(usize::from(to.0)) {
            postbag.push(letter);
        }
    }

    /// Sends a message to other shards. Returns how many of them were asked to reply, because they
    /// owe it durably or may refuse it, or because all are to store it together.
    pub(crate) fn send_elsewhere(
        &mut self,
        own: ShardId,
        elsewhere: &[Elsewhere],
        outgoing: &mut Outgoing<'_>,
        publisher: Option<ConnectionHandle>,
        asks: Asks,
    ) -> u32 {
        let received_ms = self.stored_now().wall_ms;
        let mut replies = 0;
        for Elsewhere { shard, durable } in elsewhere {
            let reply = self.reply_to(own, asks, outgoing.view.qos, *durable);
            replies += u32::from(reply.is_some());
            if let Some(postbag) = self.postbags.get_mut(usize::from(shard.0)) {
                let attribution = durable.then(|| {
                    let from = outgoing.from.and_then(|from| self.sessions.get(from));
                    let published_by = from.map(Session::author).or(outgoing.published_by);
                    Attribution { published_by, received_ms }
                });
                let covering = Covering { from: own, publisher, reply, attribution };
                postbag.push_message(outgoing, covering, &mut self.pool);
                if postbag.is_full() {
                    self.wait_for_mail(*shard, publisher);
                }
            }
        }
        replies
    }

    /// How another shard, or the member of a group, is to answer; not at all if nothing depends on it.
    pub(crate) fn reply_to(
        &self,
        own: ShardId,
        asks: Asks,
        qos: QoS,
        durable: bool,
    ) -> Option<ReplyTo> {
        if qos == QoS::AtMostOnce {
            return None;
        }
        let session = match asks {
            Asks::Nothing => return None,
            // Even where nobody was owed it durably a moment ago, somebody may be now.
            Asks::Together(together) => return Some(ReplyTo::Together(together)),
            Asks::Word(session) => session,
        };
        let may_refuse = self.limits.on_queue_full == OnQueueFull::Refuse;
        if !(durable || may_refuse) {
            return None;
        }
        let number = self.sessions.get(session)?.answers.next_number();
        let stage = self.journal.stage();
        Some(ReplyTo::Answer(Asker { shard: own, session, number, stage }))
    }

    /// A box is full: whoever wrote to it is not read until it is emptier.
    #[cold]
    pub(crate) fn wait_for_mail(&mut self, to: ShardId, publisher: Option<ConnectionHandle>) {
        if let Some(publisher) = publisher
            && let Some(connection) = self.connections.get_mut(publisher)
            && connection.holds.add(Hold::Mail)
            && let Some(postbag) = self.postbags.get_mut(usize::from(to.0))
        {
            self.counters.publishers_slowed_by_mail += 1;
            postbag.waiting.push(publisher);
        }
    }

    /// Another shard has read so far; those who waited for it go on if that is enough.
    pub(crate) fn on_receipt(&mut self, from: ShardId, read: u64) {
        let waiting = match self.postbags.get_mut(usize::from(from.0)) {
            Some(postbag) => postbag.on_receipt(read),
            None => return,
        };
        for publisher in waiting {
            self.lift(publisher, Hold::Mail);
        }
    }

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
        let mut targets = route.targets.as_slice();
        if targets.is_empty() {
            return;
        }
        self.forms.begin(outgoing, self.now);
        while let [first, ..] = targets {
            let at_most_once = outgoing.view.qos.min(first.qos) == QoS::AtMostOnce;
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
        let qos = outgoing.view.qos;
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
        match wanted.map(|wanted| wanted.min(outgoing.view.qos)) {
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
        if connection.aliases_out.is_some() {
            let terms = FormTerms::new(key, &target.extras);
            return self.send_aliased(handle, terms, PacketId::FIRST, outgoing);
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
            && session.has_number_for(Sequence(session.next_sequence + 1))
            && session.owing.bytes <= self.limits.queue_bytes_max
            && connection.outbox.len() <= self.marks.crowded;
        if !is_ready {
            return self.deliver_later(target, qos, retain, outgoing);
        }
        let key = FormKey::new(connection.version.has_properties(), qos, retain);
        let encoded = self.forms.form(outgoing, key, &target.extras);
        let aliased = connection.aliases_out.is_some();
        let accepted = if aliased {
            let terms = FormTerms::new(key, &target.extras);
            connection.choose_alias(&outgoing.view, &terms).is_some()
        } else {
            connection.accepts(encoded.packet_bytes)
        };
        if !accepted {
            self.dropped.packet_too_large += 1;
            return;
        }
        let owed = target.owed(session, qos, retain, outgoing.message(&mut self.pool).clone());
        if persistent {
            let (key, owed) = (session.key, owed.clone());
            self.journal.push(Record::Owed { key, owed, spilled: false });
            outgoing.durable = true;
        }
        self.memory.owed += session.owe(&owed);
        session.outbound.skip_to(owed.sequence.packet_id());
        let Some(packet_id) = session.outbound.push_and_send(qos, owed, connection.window) else {
            return;
        };
        if aliased {
            let terms = FormTerms::new(key, &target.extras);
            return self.send_aliased(handle, terms, packet_id, outgoing);
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

    /// Sends a message to a client that takes topic aliases, whose bytes nobody else gets.
    #[cold]
    fn send_aliased(
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
        let Some(alias) = connection.choose_alias(&outgoing.view, &terms) else {
            self.dropped.packet_too_large += 1;
            return;
        };
        let delivery = OneDelivery { terms, dup: false, packet_id, now: self.now, alias };
        let outbox = self.outputs.open(handle, connection);
        put_publish(outbox, &outgoing.view, &delivery, shared, &mut self.scratch);
        connection.note_alias(alias, outgoing.view.topic);
        if connection.transport == Transport::Tls {
            self.tls.publish_sent += 1;
        }
        self.packets.publish_leaves(terms.key.qos(), 1, outgoing.view.payload.len());
    }

    /// A message for this session had to wait: notes the receiver if it is crowded.
    fn meet(&mut self, session: SessionHandle) {
        if let Some(found) = self.sessions.get(session)
            && let Some(handle) = found.connection
            && let Some(connection) = self.connections.get(handle)
            && connection.outbox.len() + found.queue.bytes() > self.marks.crowded
        {
            self.met.push(handle);
        }
    }

    /// Whether one more retained message can be sent without filling the session's queue or
    /// output with them.
    pub(crate) fn has_room_for_retained(&self, session: SessionHandle) -> bool {
        let Some(found) = self.sessions.get(session) else {
            return false;
        };
        let connection = found.connection.and_then(|handle| self.connections.get(handle));
        found.queue.is_empty()
            && found.owing.bytes <= self.limits.queue_bytes_max
            && connection.is_some_and(|connection| {
                found.outbound.has_room(connection.window)
                    && connection.outbox.len() <= self.limits.unsent_bytes_max / 2
            })
    }

    /// Hands a message to one session on the terms of one subscription: a retained one.
    pub(crate) fn deliver_retained(
        &mut self,
        session: SessionHandle,
        terms: Terms,
        message: &Message,
    ) {
        let target = Target {
            session,
            qos: terms.options.qos,
            own_qos: None,
            // [MQTT3-3.3.1-8] and section 3.3.1.3 of MQTT 5: the flag says that this is one from
            // before the subscription.
            retain_as_published: true,
            // Each copy has that of its own subscription [MQTT5-3.3.4-5].
            extras: Extras::of(terms.identifier.as_slice(), None),
            since: 0,
        };
        let mut outgoing = Outgoing::of_message(message);
        outgoing.paced = true;
        let route = Route { targets: vec![target], ..Route::default() };
        self.route(&route, &mut outgoing, None);
    }

    /// Whether a message of so many bytes is too much for a session's queue, when those of it that
    /// have expired are gone.
    pub(crate) fn is_full_for(&mut self, handle: SessionHandle, bytes: usize) -> bool {
        let Some(session) = self.sessions.get_mut(handle) else {
            return false;
        };
        if !session.is_full_for(bytes, &self.limits) {
            return false;
        }
        let restored = session.restored.as_deref();
        let begun = |sequence| restored.is_some_and(|all| all.contains_key(&sequence));
        for expired in session.queue.take_expired(self.now, begun) {
            self.dropped.expired += 1;
            self.memory.owed -= session.settle(&expired);
            forget(session, &expired, &mut self.journal);
        }
        session.is_full_for(bytes, &self.limits)
    }

    /// Puts a message at the end of a session's queue, if there is room: it belongs to the session,
    /// whether its client is connected or away `[MQTT3-3.1.2-5]` `[MQTT3-4.5.0-1]` `[MQTT5-4.5.0-1]`.
    /// One that is `paced` has waited for room.
    fn enqueue(&mut self, handle: SessionHandle, owed: Owed, paced: bool) -> Queued {
        let bytes = owed.bytes();
        let is_full = self.is_full_for(handle, bytes);
        let Some(session) = self.sessions.get_mut(handle) else {
            return Queued::Waiting { durable: false };
        };
        let durable = session.is_persistent();
        if !paced && (is_full || self.pressure >= Pressure::NewWork) {
            if is_full {
                self.dropped.queue_full += 1;
            } else {
                self.dropped.memory_queued += 1;
            }
            self.losses.note(handle, Lost { at_most_once: 0, queued: 1 });
            return match self.limits.on_queue_full {
                OnQueueFull::DropNew => Queued::Waiting { durable: false },
                OnQueueFull::Refuse => Queued::Refused,
            };
        }
        let sequence = owed.sequence;
        let place = session.queue.next_place(bytes, durable, &self.limits);
        let record =
            |owed| Record::Owed { key: session.key, owed, spilled: place == Place::Spilled };
        match place {
            Place::Spilled => {
                self.journal.push(record(owed));
                session.queue.push_spilled(sequence, bytes);
                if self.limits.spills_to_memory {
                    self.memory.spilled += bytes;
                }
            }
            Place::Resident => {
                if durable {
                    self.journal.push(record(owed.clone()));
                }
                self.memory.owed += session.owe(&owed);
                session.queue.push(owed);
            }
        }
        Queued::Waiting { durable }
    }

    /// Puts out what a session's client may be sent now: messages in flight that have not been sent
    /// on this connection, then the queue.
    pub(crate) fn pump(&mut self, handle: SessionHandle) {
        let Some(connection) = self.connection_of(handle) else {
            return;
        };
        self.pump_out(handle, connection);
        if self.connections.get(connection).is_some_and(|found| found.crowd.is_some()) {
            self.ease(connection);
        }
    }

    fn pump_out(&mut self, handle: SessionHandle, connection_handle: ConnectionHandle) {
        let Some(session) = self.sessions.get_mut(handle) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(connection_handle) else {
            return;
        };
        loop {
            if connection.outbox.len() > self.limits.unsent_bytes_max {
                connection.stalled = true;
                return;
            }
            let has_properties = connection.version.has_properties();
            match session.outbound.next_to_send(connection.window) {
                Some(ToSend::Pubrel(packet_id)) => {
                    let outbox = self.outputs.open(connection_handle, connection);
                    push_ack(outbox, PacketType::Pubrel, packet_id);
                    self.packets.leaves(PacketType::Pubrel);
                    continue;
                }
                Some(ToSend::Publish { packet_id, dup, message: owed }) => {
                    let view = owed.message.view();
                    let terms = owed.form_terms(has_properties);
                    // What was begun to be delivered is delivered [MQTT5-3.3.2-5] [MQTT5-4.3.3-7].
                    let expired = !dup && view.expires.has_passed(self.now);
                    let alias = connection.choose_alias(&view, &terms).filter(|_| !expired);
                    let Some(alias) = alias else {
                        if expired {
                            self.dropped.expired += 1;
                        } else {
                            self.dropped.packet_too_large += 1;
                        }
                        if let Some(owed) = discard(session, packet_id, &mut self.journal) {
                            self.memory.owed -= session.settle(&owed);
                        }
                        continue;
                    };
                    let delivery = OneDelivery { terms, dup, packet_id, now: self.now, alias };
                    let large = view.payload.len() > COPY_MAX;
                    let shared = large.then(|| owed.message.clone());
                    let outbox = self.outputs.open(connection_handle, connection);
                    put_publish(outbox, &view, &delivery, shared, &mut self.scratch);
                    connection.note_alias(alias, view.topic);
                    if connection.transport == Transport::Tls {
                        self.tls.publish_sent += 1;
                    }
                    self.packets.publish_leaves(owed.qos, 1, view.payload.len());
                    continue;
                }
                None => {}
            }
            if !session.outbound.has_room(connection.window) {
                return;
            }
            if session.queue.first().is_some_and(|first| !session.has_number_for(first)) {
                return;
            }
            let Some(owed) = session.queue.pop() else {
                // As much as may be in flight: what is loaded is on its way there.
                if session.owing.bytes <= self.limits.queue_bytes_max
                    && session.queue.start_load(&self.limits)
                {
                    self.loads.push(handle);
                }
                return;
            };
            let (qos, sequence) = (owed.qos, owed.sequence);
            let perhaps_sent = session.perhaps_sent.take(sequence) && qos == QoS::AtLeastOnce;
            let old = session.restored.as_mut().and_then(|restored| restored.remove(&sequence));
            if let Some((packet_id, received)) = old {
                // What was begun is completed, or its identifier would be given to another message
                // while the client still holds it.
                let stage = if received { Progress::AwaitPubcomp } else { Progress::AwaitPubrec };
                session.outbound.push_restored(packet_id, owed, stage);
                continue;
            }

            if owed.message.expires().has_passed(self.now) {
                self.dropped.expired += 1;
                self.memory.owed -= session.settle(&owed);
                forget(session, &owed, &mut self.journal);
                continue;
            }
            if perhaps_sent && !fault(Fault::IdentifiersBeginAnew) {
                session.outbound.push_restored(sequence.packet_id(), owed, Progress::AwaitPuback);
                continue;
            }
            let storing = session.is_persistent() && qos == QoS::ExactlyOnce;
            if !fault(Fault::IdentifiersBeginAnew) {
                session.outbound.skip_to(sequence.packet_id());
            }
            let packet_id = session.outbound.push(qos, owed, storing);
            if storing {
                let key = session.key;
                let ticket = self.journal.push(Record::PacketIdGiven { key, sequence, packet_id });
                let next = Continuation::Publish { session: handle, packet_id };
                // One after another, so that they leave in their order.
                let stage = self.journal.usual();
                self.journal.ask(stage);
                self.waiting.push(ticket, stage, next);
            }
        }
    }

    /// Answers a client in its turn: at once, or behind earlier answers, or when `ticket` is
    /// persisted.
    pub(crate) fn answer(&mut self, handle: SessionHandle, answer: Answer, ticket: Option<Ticket>) {
        self.answer_after(handle, answer, ticket, 0);
    }

    /// Has something go on when a ticket has become that safe.
    pub(crate) fn wait_for(&mut self, ticket: Ticket, stage: Stage, next: Continuation) {
        self.journal.ask(stage);
        self.waiting.push(ticket, stage, next);
    }

    /// As [`answer`](Self::answer), but after so many replies of other shards, too.
    pub(crate) fn answer_after(
        &mut self,
        handle: SessionHandle,
        answer: Answer,
        ticket: Option<Ticket>,
        replies: u32,
    ) {
        let Some(session) = self.sessions.get_mut(handle) else {
            return;
        };
        let ticket = ticket.filter(|_| !fault(Fault::AckBeforeTicket));
        let waits = replies + u32::from(ticket.is_some());
        if waits == 0 && (session.answers.is_empty() || fault(Fault::AckOutOfOrder)) {
            self.write_answer(handle, answer);
            return;
        }
        let number = session.answers.push(answer, waits);
        if let Some(ticket) = ticket {
            let stage = self.journal.stage();
            self.wait_for(ticket, stage, Continuation::Answer { session: handle, number });
        }
    }

    /// Writes the answers whose turn has come. Returns the connection if one of them cannot be said
    /// in its version, so that it has to be closed.
    pub(crate) fn release_answers(&mut self, handle: SessionHandle) -> Option<ConnectionHandle> {
        while let Some(answer) =
            self.sessions.get_mut(handle).and_then(|session| session.answers.pop_ready())
        {
            let refuses = matches!(answer, Answer::Ack { reason: ReasonCode::QuotaExceeded, .. });
            let connection = self.sessions.get(handle).and_then(|session| session.connection);
            let speaks_reasons = connection
                .and_then(|handle| self.connections.get(handle))
                .is_some_and(|connection| connection.version.has_reason_codes());
            if refuses && !speaks_reasons {
                return connection;
            }
            self.write_answer(handle, answer);
        }
        None
    }

    fn write_answer(&mut self, handle: SessionHandle, answer: Answer) {
        let Some(session) = self.sessions.get_mut(handle) else {
            return;
        };
        let Some(connection_handle) = session.connection else {
            return;
        };
        let Some(connection) = self.connections.get_mut(connection_handle) else {
            return;
        };
        let version = connection.version;
        match answer {
            Answer::Ack { packet, packet_id, reason } if reason.is_error() => {
                let why = explanation(reason);
                let bytes = explained(connection, why, |properties| {
                    let ack = Ack { packet_id, reason, properties };
                    match packet {
                        PacketType::Puback => Packet::Puback(ack),
                        PacketType::Pubrec => Packet::Pubrec(ack),
                        _ => Packet::Pubcomp(ack),
                    }
                });
                self.outputs.open(connection_handle, connection).push(&bytes);
                self.packets.leaves(packet);
            }
            Answer::Ack { packet, packet_id, reason } => {
                let outbox = self.outputs.open(connection_handle, connection);
                push_ack_with(outbox, version, packet, packet_id, reason);
                self.packets.leaves(packet);
            }
            Answer::Encoded { bytes, greet, replays } => {
                self.outputs.open(connection_handle, connection).push(&bytes);
                let is_suback = bytes.first().is_some_and(|first| first >> 4 == 9);
                let packet = if is_suback { PacketType::Suback } else { PacketType::Unsuback };
                self.packets.leaves(packet);
                session.replays.extend(replays);
                if greet {
                    self.greet_on_request(connection_handle);
                }
                self.replay(handle);
            }
        }
    }

    /// Has the retained messages sent that a session waits for, if it does.
    pub(crate) fn replay(&mut self, handle: SessionHandle) {
        if let Some(session) = self.sessions.get_mut(handle)
            && !session.replays.is_empty()
            && !std::mem::replace(&mut session.replaying, true)
        {
            self.replays.push_back(handle);
        }
    }

    /// Puts a packet that may say `why` in a reason string into a connection's output: with it if
    /// the client wants and takes it, without it otherwise `[MQTT5-3.1.2-29]` `[MQTT5-3.2.2-19]`
    /// `[MQTT5-3.4.2-2]` `[MQTT5-3.5.2-2]` `[MQTT5-3.9.2-1]` `[MQTT5-3.14.2-3]`.
    ///
    /// # Errors
    /// The size of the packet if it is too large even so; nothing is put out then.
    pub(crate) fn send_explained(
        &mut self,
        handle: ConnectionHandle,
        why: &str,
        packet: impl for<'r> Fn(Properties<'r>) -> Packet<'r>,
    ) -> Result<(), usize> {
        let Some(connection) = self.connections.get(handle) else {
            return Ok(());
        };
        let most = connection.packet_bytes_max as usize;
        let bytes = explained(connection, why, &packet);
        if bytes.len() > most {
            return Err(bytes.len());
        }
        self.packets.leaves(packet(Properties::EMPTY).packet_type());
        if let Some(connection) = self.connections.get_mut(handle) {
            self.outputs.open(handle, connection).push(&bytes);
        }
        Ok(())
    }

    /// Puts a packet that is no PUBLISH into a connection's output, if the client accepts one of its
    /// size. Returns whether it does.
    pub(crate) fn send_if_accepted(
        &mut self,
        handle: ConnectionHandle,
        packet: &Packet<'_>,
    ) -> bool {
        let Some(connection) = self.connections.get_mut(handle) else {
            return false;
        };
        let mut bytes = Vec::new();
        let encoded = codec::encode(packet, connection.version, &mut bytes);
        let accepted = encoded.is_ok() && connection.accepts(bytes.len());
        if accepted {
            self.outputs.open(handle, connection).push(&bytes);
            self.packets.leaves(packet.packet_type());
        }
        accepted
    }

    /// Puts a packet that is no PUBLISH into a connection's output.
    pub(crate) fn send(&mut self, handle: ConnectionHandle, packet: &Packet<'_>) {
        let Some(connection) = self.connections.get_mut(handle) else {
            return;
        };
        let version = connection.version;
        let outbox = self.outputs.open(handle, connection);
        let before = outbox.tail().len();
        let encoded = codec::encode(packet, version, outbox.tail());
        debug_assert!(encoded.is_ok(), "the broker's own packets can be encoded: {encoded:?}");
        let written = outbox.tail().len() - before;
        outbox.appended(written);
        match packet {
            Packet::Publish(publish) => {
                if connection.transport == Transport::Tls {
                    self.tls.publish_sent += 1;
                }
                self.packets.publish_leaves(publish.qos, 1, publish.payload.len());
            }
            other => self.packets.leaves(other.packet_type()),
        }
    }

    /// A CONNECT is answered with a refusal.
    pub(crate) fn count_refusal(&mut self, handle: ConnectionHandle, reason: ReasonCode) {
        self.refused.count(reason);
        self.count_refused_connect(handle);
    }

    /// A CONNECT is refused for a reason that is counted already.
    pub(crate) fn count_refused_connect(&mut self, handle: ConnectionHandle) {
        self.counters.connects_refused += 1;
        if self.connections.get(handle).is_some_and(|one| one.transport == Transport::Tls) {
            self.tls.connects_refused += 1;
        }
    }
}

/// The bytes of a packet for a client, with a reason string if it wants that and it fits.
pub(crate) fn explained(
    connection: &Connection,
    why: &str,
    packet: impl for<'r> Fn(Properties<'r>) -> Packet<'r>,
) -> Vec<u8> {
    let version = connection.version;
    let mut bytes = Vec::new();
    if version.has_properties() && connection.problem_information && !why.is_empty() {
        let plain = packet(Properties::EMPTY);
        let mut buffer = PropertyBuffer::new(Carrier::Packet(plain.packet_type()));
        let pushed = buffer.push(Property::ReasonString(why));
        debug_assert!(pushed.is_ok(), "this packet may have a reason string: {pushed:?}");
        let encoded = codec::encode(&packet(buffer.as_properties()), version, &mut bytes);
        if encoded.is_ok() && bytes.len() <= connection.packet_bytes_max as usize {
            return bytes;
        }
        bytes.clear();
    }
    let encoded = codec::encode(&packet(Properties::EMPTY), version, &mut bytes);
    debug_assert!(encoded.is_ok(), "the broker's own packets can be encoded: {encoded:?}");
    bytes
}

/// What became of a message for a session's queue.
enum Queued {
    Waiting { durable: bool },
    Refused,
}

/// A message is given up: its place in flight is free, and the session is not owed it any more.
fn discard(session: &mut Session, packet_id: PacketId, journal: &mut Journal) -> Option<Owed> {
    let Acknowledged::Done(owed) = session.outbound.discard(packet_id) else {
        return None;
    };
    forget(session, &owed, journal);
    Some(owed)
}

/// A session is not owed this message any more: the store need not keep it.
fn forget(session: &Session, owed: &Owed, journal: &mut Journal) {
    if session.is_persistent() {
        journal.push(Record::Delivered { key: session.key, sequence: owed.sequence });
    }
}

/// A refusal in words, for a reason string.
pub(crate) fn explanation(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::QuotaExceeded => {
            "a limit is reached: of connections, retained messages, user properties or a queue, or \
             memory or the disk is short"
        }
        ReasonCode::NotAuthorized => "topics below $SYS/ are the broker's own",
        ReasonCode::PayloadFormatInvalid => "the payload is declared to be UTF-8 and is not",
        ReasonCode::TopicFilterInvalid => "a topic filter is longer or deeper than allowed",
        other => other.words(),
    }
}

/// Appends an acknowledgement that reports success, which looks the same in all versions.
pub(crate) fn push_ack(outbox: &mut Outbox, packet: PacketType, packet_id: PacketId) {
    let flags = packet.required_flags().unwrap_or(0);
    let [high, low] = packet_id.get().to_be_bytes();
    outbox.push(&[(packet as u8) << 4 | flags, 2, high, low]);
}

/// Appends an acknowledgement with its reason, where the version has a place for it.
pub(crate) fn push_ack_with(
    outbox: &mut Outbox,
    version: ProtocolVersion,
    packet: PacketType,
    packet_id: PacketId,
    reason: ReasonCode,
) {
    if reason == ReasonCode::Success || !version.has_reason_codes() {
        push_ack(outbox, packet, packet_id);
        return;
    }
    let flags = packet.required_flags().unwrap_or(0);
    let [high, low] = packet_id.get().to_be_bytes();
    outbox.push(&[(packet as u8) << 4 | flags, 3, high, low, reason.byte()]);
}

impl Target {
    #[inline(always)]
    fn owed(&self, session: &mut Session, qos: QoS, retain: bool, message: Message) -> Owed {
        let sequence = session.next_sequence();
        Owed { sequence, message, qos, retain, extras: self.extras.clone() }
    }
}

impl Owed {
    fn form_terms(&self, has_properties: bool) -> FormTerms<'_> {
        let key = FormKey::new(has_properties, self.qos, self.retain);
        FormTerms::new(key, &self.extras)
    }
}
