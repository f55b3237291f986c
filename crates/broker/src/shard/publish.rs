//! PUBLISH from a client: is it taken, who gets it, and when may it be acknowledged.

use super::Shard;
use super::input::Sender;
use super::quota::is_too_much_to_retain;
use super::share::Origin;
use crate::connection::{Cause, ConnectionHandle};
use crate::delivery::{Continuation, push_ack};
use crate::expiry::{Deadline, deadline};
use crate::faults::{Fault, fault};
use crate::holds::Hold;
use crate::mail::Asks;
use crate::memory::Pressure;
use crate::message::{Attribution, Message, MessageView};
use crate::outgoing::{Outgoing, RawPublish};
use crate::persist::{Record, Ticket};
use crate::restore::Unrouted;
use crate::rights::{Denial, Standing};
use crate::room::Promise;
use crate::router::{CachedRoute, Refusal};
use crate::session::{Answer, Session, SessionHandle, Will};
use noctule_mqtt::codec::{self, EncodeError, Frame};
use noctule_mqtt::packet::Publish;
use noctule_mqtt::{
    Packet, PacketId, PacketType, Properties, PropertyId, ProtocolVersion, QoS, ReasonCode,
    Receiver, TopicName, Violation,
};
use noctule_session::Received;

/// Packets that came with a topic alias are written again into a buffer that is kept up to this size.
const UNALIASED_KEPT_BYTES: usize = 64 * 1024;

/// Appends `publish` as it would be without its topic alias.
fn write_unaliased(
    publish: &Publish<'_>,
    topic: TopicName<'_>,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let all = publish.properties;
    let alias = all.position(PropertyId::TopicAlias).unwrap_or(0..0);
    let (before, behind) = (&all.as_bytes()[..alias.start], &all.as_bytes()[alias.end..]);
    let others = [before, behind].concat();
    let properties = Properties::from_checked(&others);
    let unaliased = Publish { topic: Some(topic), properties, ..*publish };
    codec::encode(&Packet::Publish(unaliased), version, out)
}

/// That a QoS 2 message was taken.
pub(super) fn taken(packet_id: PacketId) -> Answer {
    Answer::Ack { packet: PacketType::Pubrec, packet_id, reason: ReasonCode::Success }
}

/// What became of a message that was routed.
struct Routed {
    reason: ReasonCode,
    /// Whether somebody is owed it across a crash.
    durable: bool,
    /// How many other shards were asked to reply.
    replies: u32,
}

impl Shard {
    /// A PUBLISH came. A topic whose route is cached is known to be valid and is not checked again.
    #[inline]
    pub(super) fn on_publish(
        &mut self,
        sender: &Sender,
        frame: &Frame<'_>,
    ) -> Result<(), Violation> {
        let mut cached = None;
        let publish = Publish::decode(frame, sender.version, Receiver::Server, |topic| {
            cached = self.router.cached(topic, sender.last_route);
            cached.is_some()
        })?;
        // Out of the way of those who have neither.
        if !publish.properties.is_empty()
            || frame.flags() & self.refused_publish_flags != 0
            || sender.mounted
        {
            return self.on_publish_with_more(sender, frame, cached, &publish);
        }
        self.take_publish(sender, frame, cached, &publish, Deadline::NEVER)
    }

    /// A PUBLISH that has properties, or perhaps what is not offered, or a topic below a mount.
    #[inline(never)]
    fn on_publish_with_more(
        &mut self,
        sender: &Sender,
        frame: &Frame<'_>,
        cached: Option<CachedRoute>,
        publish: &Publish<'_>,
    ) -> Result<(), Violation> {
        if frame.flags() & self.refused_publish_flags != 0 {
            return Err(self.refused_flags(publish));
        }
        self.check_user_properties(publish.properties)?;
        if let Some(alias) = publish.properties.topic_alias() {
            return self.on_aliased(sender, publish, alias);
        }
        if self.has_wrong_format(publish) {
            return self.refuse_format(sender, publish);
        }
        if sender.mounted {
            return self.on_mounted(sender, publish);
        }
        let expires = deadline(publish.properties, sender.now);
        self.take_publish(sender, frame, cached, publish, expires)
    }

    #[inline(always)]
    fn take_publish(
        &mut self,
        sender: &Sender,
        frame: &Frame<'_>,
        cached: Option<CachedRoute>,
        publish: &Publish<'_>,
        expires: Deadline,
    ) -> Result<(), Violation> {
        if cached != sender.last_route
            && let Some(connection) = self.delivery.connections.get_mut(sender.connection)
        {
            connection.last_route = cached;
        }
        self.delivery.packets.publish_came(publish.qos, publish.payload.len());
        if self.is_metering {
            self.charge_message(sender.connection);
        }
        // Without an alias there is a topic.
        let Some(view) = MessageView::of_publish(publish, expires) else {
            return Err(Violation::TopicEmpty);
        };
        let packet = RawPublish::new(frame, publish, sender.version);
        let mut outgoing = Outgoing::of_packet(view, packet);
        // [MQTT3-3.3.4-1] [MQTT5-3.3.4-1]
        match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(packet_id)) => {
                self.publish_at_least_once(sender, cached, packet_id, publish.dup, &mut outgoing)
            }
            (QoS::ExactlyOnce, Some(packet_id)) => {
                self.publish_exactly_once(sender, cached, packet_id, &mut outgoing)
            }
            (QoS::AtMostOnce, _) | (_, None) => {
                let routed =
                    self.route(&mut outgoing, Some(sender.session), cached, Asks::Nothing)?;
                if routed.durable {
                    self.wait_for_store(sender.connection);
                }
                Ok(())
            }
        }
    }

    /// A PUBLISH with a topic alias: goes on with what it would be without, so that nobody else
    /// knows of aliases. They are the connection's own `[MQTT5-3.3.2-7]`.
    #[inline(never)]
    fn on_aliased(
        &mut self,
        sender: &Sender,
        publish: &Publish<'_>,
        alias: u16,
    ) -> Result<(), Violation> {
        // [MQTT5-3.3.2-8] [MQTT5-3.3.2-9], and all others are accepted [MQTT5-3.3.2-12].
        if alias == 0 || alias > self.delivery.limits.topic_aliases_in_max {
            return Err(Violation::TopicAliasInvalid { alias });
        }
        let Some(connection) = self.delivery.connections.get_mut(sender.connection) else {
            return Ok(());
        };
        if let Some(topic) = publish.topic {
            let rare = connection.add_rare();
            rare.aliases_in.get_or_insert_default().set(alias, topic.as_bytes());
            rare.count_aliases();
        }
        let topic = match publish.topic {
            Some(topic) => topic,
            None => {
                let known = connection.rare().and_then(|rare| rare.aliases_in.as_ref());
                match known.and_then(|known| known.topic(alias)) {
                    Some(topic) => TopicName::from_checked(topic),
                    None => return Err(Violation::TopicAliasUnknown { alias }),
                }
            }
        };
        let mut bytes = std::mem::take(&mut self.unaliased);
        bytes.clear();
        let written = write_unaliased(publish, topic, sender.version, &mut bytes);
        let outcome = match (written, codec::next_frame(&bytes, u32::MAX)) {
            (Ok(()), Ok(Some(frame))) => self.on_publish(sender, &frame),
            _ => Err(Violation::PacketTooLarge { size: bytes.len() as u64, limit: u32::MAX }),
        };
        if bytes.capacity() <= UNALIASED_KEPT_BYTES {
            self.unaliased = bytes;
        }
        outcome
    }

    /// What is wrong with a PUBLISH that has what is not offered.
    #[cold]
    fn refused_flags(&self, publish: &Publish<'_>) -> Violation {
        if publish.qos > self.offer.qos_max {
            let (qos, limit) = (publish.qos.bits(), self.offer.qos_max.bits());
            return Violation::QosNotSupported { qos, limit };
        }
        Violation::RetainNotSupported
    }

    /// Whether a payload is looked at, claims to be UTF-8 and is not (section 3.3.2.3.2).
    fn has_wrong_format(&self, publish: &Publish<'_>) -> bool {
        self.offer.payload_format_checked
            && publish.properties.payload_format_indicator() == Some(1)
            && std::str::from_utf8(publish.payload).is_err()
    }

    /// Refuses a payload that is not what it claims to be. At QoS 0 there is no other way to say so
    /// than to end the connection.
    #[cold]
    fn refuse_format(&mut self, sender: &Sender, publish: &Publish<'_>) -> Result<(), Violation> {
        let (packet, packet_id) = match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(packet_id)) => (PacketType::Puback, packet_id),
            (QoS::ExactlyOnce, Some(packet_id)) => (PacketType::Pubrec, packet_id),
            (QoS::AtMostOnce, _) | (_, None) => return Err(Violation::PayloadNotUtf8),
        };
        let reason = ReasonCode::PayloadFormatInvalid;
        let routed = Routed { reason, durable: false, replies: 0 };
        self.acknowledge(sender, packet, packet_id, &routed);
        Ok(())
    }

    /// Once it is acknowledged, its identifier means a new message, with DUP or without: no record is
    /// kept of it `[MQTT3-4.3.2-2]` `[MQTT5-4.3.2-5]`.
    fn publish_at_least_once(
        &mut self,
        sender: &Sender,
        cached: Option<CachedRoute>,
        packet_id: PacketId,
        dup: bool,
        outgoing: &mut Outgoing<'_>,
    ) -> Result<(), Violation> {
        let session = sender.session;
        let nothing_waits = self.check_receive_maximum(sender, 1)?;
        // What a lost connection left unanswered and still waits for the store.
        if dup && self.revive_answer(session, PacketType::Puback, packet_id) {
            return Ok(());
        }
        let routed = self.route(outgoing, Some(session), cached, Asks::Word(session))?;
        if nothing_waits
            && !routed.durable
            && routed.replies == 0
            && routed.reason == ReasonCode::Success
        {
            if let Some(connection) = self.delivery.connections.get_mut(sender.connection) {
                let outbox = self.delivery.outputs.open(sender.connection, connection);
                push_ack(outbox, PacketType::Puback, packet_id);
                self.delivery.packets.leaves(PacketType::Puback);
            }
            return Ok(());
        }
        self.acknowledge(sender, PacketType::Puback, packet_id, &routed);
        Ok(())
    }

    fn publish_exactly_once(
        &mut self,
        sender: &Sender,
        cached: Option<CachedRoute>,
        packet_id: PacketId,
        outgoing: &mut Outgoing<'_>,
    ) -> Result<(), Violation> {
        let session = sender.session;
        let limit = self.delivery.limits.qos2_ids_max;
        let Some(found) = self.delivery.sessions.get_mut(session) else {
            return Ok(());
        };
        let storing = stores_received(found);
        match found.inbound.on_publish(packet_id, storing) {
            Received::New if found.inbound.held() > limit => {
                found.inbound.refuse(packet_id);
                return Err(Violation::ReceiveMaximumExceeded { limit: limit as u16 });
            }
            Received::New => {}
            Received::Storing => {
                self.revive_answer(session, PacketType::Pubrec, packet_id);
                return Ok(());
            }
            Received::Duplicate if fault(Fault::DuplicateRouted) => {}
            Received::Duplicate => {
                // Its PUBREC may still be waiting for those who are owed it.
                if !self.revive_answer(session, PacketType::Pubrec, packet_id) {
                    self.delivery.answer(session, taken(packet_id), None);
                }
                return Ok(());
            }
        }
        let outcome = self.take_exactly_once(sender, cached, packet_id, storing, outgoing);
        // What was not taken must not be held: its repetition would be answered and lost.
        if !matches!(outcome, Ok(true))
            && let Some(found) = self.delivery.sessions.get_mut(session)
        {
            found.inbound.refuse(packet_id);
        }
        outcome.map(|_| ())
    }

    /// Stores or routes a new QoS 2 message and answers it. Returns whether it was taken.
    fn take_exactly_once(
        &mut self,
        sender: &Sender,
        cached: Option<CachedRoute>,
        packet_id: PacketId,
        storing: bool,
        outgoing: &mut Outgoing<'_>,
    ) -> Result<bool, Violation> {
        // It is among those that are held already.
        self.check_receive_maximum(sender, 0)?;
        let Sender { connection, session, .. } = *sender;
        if storing && self.delivery.store.lacks_space {
            self.delivery.dropped.store_full += 1;
            self.refuse_received(sender, packet_id);
            return Ok(false);
        }
        if storing && self.takes_topic(session, outgoing)? {
            // Once it is stored its receipt is promised, and nobody can be refused any more.
            if self.lacks_memory_to_retain(&outgoing.view)
                || self.refuses_to_retain(&outgoing.view, Some(session))
            {
                self.refuse_received(sender, packet_id);
                return Ok(false);
            }
            outgoing.from = Some(session);
            self.delivery.attribute(outgoing);
            if self.asks_for_room(session) && !fault(Fault::RoomNotAsked) {
                return Ok(self.ask_for_room(sender, packet_id, outgoing));
            }
            let message = outgoing.message(&mut self.delivery.pool).clone();
            if let Some(ticket) = self.store_received(session, packet_id, message, None) {
                self.delivery.answer(session, taken(packet_id), Some(ticket));
            }
            self.wait_for_store(connection);
            self.block_if_waiting_too_much(connection, session);
            return Ok(true);
        }
        let routed = self.route(outgoing, Some(session), cached, Asks::Word(session))?;
        self.acknowledge(sender, PacketType::Pubrec, packet_id, &routed);
        Ok(!routed.reason.is_error())
    }

    /// A QoS 2 message is not taken, as something is full.
    pub(super) fn refuse_received(&mut self, sender: &Sender, packet_id: PacketId) {
        let reason = ReasonCode::QuotaExceeded;
        let routed = Routed { reason, durable: false, replies: 0 };
        self.acknowledge(sender, PacketType::Pubrec, packet_id, &routed);
    }

    /// A QoS 2 message from a persistent session counts as received once it is stored; PUBREC and
    /// routing wait for that, or a crash could lose or double it. Returns the ticket.
    pub(super) fn store_received(
        &mut self,
        session: SessionHandle,
        packet_id: PacketId,
        message: Message,
        promise: Option<Promise>,
    ) -> Option<Ticket> {
        let found = self.delivery.sessions.get_mut(session)?;
        let key = found.key;
        // None overtakes one that came over a connection with a stricter rule.
        let mut stage = self.delivery.journal.stage();
        if found.inbound.is_storing() {
            stage = stage.max(found.receiving);
        }
        found.receiving = stage;
        let record = Record::Received { key, packet_id, message: message.clone() };
        let ticket = self.delivery.journal.push(record);
        let client_id = found.client_id.as_str().into();
        let unrouted = Unrouted { session, client_id, key, packet_id, message, promise };
        let next = Continuation::Route(Box::new(unrouted));
        self.delivery.wait_for(ticket, stage, next);
        Some(ticket)
    }

    /// A received QoS 2 message is stored: routes it. Its PUBREC follows in its own turn.
    pub(crate) fn route_received(&mut self, unrouted: Unrouted) {
        let Unrouted { session, client_id, key, packet_id, message, promise } = unrouted;
        let from = match self.delivery.sessions.get_mut(session) {
            Some(found) => {
                found.inbound.stored(packet_id);
                Some(session)
            }
            None => self.clients.find(&client_id, &self.delivery.sessions),
        };
        self.delivery.journal.push(Record::Routed { key, packet_id });
        let is_promised = promise.is_some();
        // In front of the message, so that it finds its places free.
        self.delivery.redeem(promise.unwrap_or_default());
        // Nobody knows by now where its client came in.
        if from.is_none()
            && !self.may_author_publish(&message, &Standing::default(), Denial::Publish)
        {
            return;
        }
        self.route_once(&message, from, is_promised);
    }

    /// Routes a message of which this turn's batch says that it is routed. That must not be stored
    /// without what it makes other shards owe, nor they without it: a crash in between would lose the
    /// message or double it. One that is promised comes to all it is for; what a full queue refuses of
    /// another is counted there.
    fn route_once(&mut self, message: &Message, from: Option<SessionHandle>, is_promised: bool) {
        let together = self.delivery.journal.name_together(self.id);
        let asks = if is_promised { Asks::Promised(together) } else { Asks::Together(together) };
        let mut outgoing = Outgoing::of_message(message);
        outgoing.paced = is_promised;
        // It was checked when it came.
        let routed = self.route(&mut outgoing, from, None, asks);
        let elsewhere = routed.map_or(0, |routed| routed.replies);
        if elsewhere > 0 {
            let batches = Some(elsewhere + 1);
            self.delivery.journal.push(Record::Together { together, batches });
        }
    }

    /// Publishes a client's will, if it still may.
    pub(super) fn publish_will(&mut self, client_id: &str, will: &Will) {
        let message = &will.message;
        if !self.may_author_publish(message, &will.standing, Denial::Will) {
            return;
        }
        if self.watch.wants_one() {
            let wall_ms = self.delivery.now.wall_ms;
            let report = self.watch.hand_out(wall_ms, client_id, &message.view());
            self.actions.push_back(report);
        }
        let mut view = message.view();
        let properties = Properties::from_checked(view.properties);
        view.expires = deadline(properties, self.delivery.now);
        // Nobody is left who could be refused: all others get it.
        let retains = view.retain
            && !self.lacks_memory_to_retain(&view)
            && !self.refuses_to_retain(&view, None);
        if !view.expires.is_never() || retains != view.retain {
            view.retain = retains;
            let published_by = message.published_by();
            let received_ms = self.delivery.stored_now().wall_ms;
            let attribution = Attribution { published_by, received_ms };
            let expiring = self.delivery.pool.attributed(&view, &attribution);
            return self.route_once(&expiring, None, false);
        }
        self.route_once(message, None, false);
    }

    /// Keeps a message if it is to be retained, and hands it to everybody who wants its topic. Its
    /// route is `cached` if it has been found already. Other shards that owe it durably are asked for
    /// what the publisher `asks`.
    fn route(
        &mut self,
        outgoing: &mut Outgoing<'_>,
        from: Option<SessionHandle>,
        cached: Option<CachedRoute>,
        asks: Asks,
    ) -> Result<Routed, Violation> {
        outgoing.from = from;
        // Of whom has no session any more was asked by whoever calls. What comes of one that stands nowhere was
        // judged before the broker ended, and may be acknowledged.
        if self.delivery.authority.in_force
            && let Some(from) = from
            && self.stands_somewhere(from)
            && !self.may_publish(from, outgoing.view.topic, cached)
        {
            let reason = ReasonCode::NotAuthorized;
            return Ok(Routed { reason, durable: false, replies: 0 });
        }
        let route = match cached {
            Some(found) => self.router.at(found),
            None => self.router.route(outgoing.view.topic, self.delivery.law()),
        };
        match &route.refusal {
            None => {}
            Some(Refusal::OverLimit(violation)) => return Err(violation.clone()),
            Some(Refusal::Reserved) => {
                self.delivery.dropped.reserved_topic += 1;
                return Ok(Routed {
                    reason: ReasonCode::NotAuthorized,
                    durable: false,
                    replies: 0,
                });
            }
        }
        // What is promised already is kept whatever there is.
        let may_refuse = !matches!(asks, Asks::Together(_) | Asks::Promised(_));
        if may_refuse
            && outgoing.view.retain
            && !outgoing.view.payload.is_empty()
            && self.delivery.pressure >= Pressure::NewWork
        {
            self.delivery.dropped.memory_retained += 1;
            let reason = ReasonCode::QuotaExceeded;
            return Ok(Routed { reason, durable: false, replies: 0 });
        }
        if may_refuse
            && outgoing.view.retain
            && is_too_much_to_retain(
                &*self.commons,
                &self.placement,
                &self.delivery.limits,
                &outgoing.view,
            )
        {
            self.note_not_retained(from);
            let reason = ReasonCode::QuotaExceeded;
            return Ok(Routed { reason, durable: false, replies: 0 });
        }
        let mut asks = asks;
        if self.delivery.store.lacks_space
            && !outgoing.paced
            && self.delivery.would_store(route, outgoing)
        {
            // Before anybody gets it: who is refused sends it again.
            if matches!(asks, Asks::Word(_)) && self.delivery.refuses_publisher(from) {
                self.delivery.dropped.store_full += 1;
                let reason = ReasonCode::QuotaExceeded;
                return Ok(Routed { reason, durable: false, replies: 0 });
            }
            (outgoing.unstored, asks) = (true, Asks::Nothing);
        }
        if let Some(from) = from
            && self.watch.wants_one()
            && let Some(session) = self.delivery.sessions.get(from)
        {
            let wall_ms = self.delivery.now.wall_ms;
            let report = self.watch.hand_out(wall_ms, &session.client_id, &outgoing.view);
            self.actions.push_back(report);
        }
        // Who subscribed before it was set gets it now; who did later finds it. So its receivers are
        // looked for once more: another shard may have got one since.
        // [MQTT3-3.3.1-5] [MQTT3-3.3.1-12] [MQTT5-3.3.1-5] [MQTT5-3.3.1-8]: with the flag, and only then.
        let route = if outgoing.view.retain {
            if outgoing.unstored && !outgoing.view.payload.is_empty() {
                self.delivery.dropped.store_full += 1;
            } else if !fault(Fault::RetainedSetLate) {
                self.retain(outgoing);
            }
            self.router.route(outgoing.view.topic, self.delivery.law())
        } else {
            route
        };
        if outgoing.is_large_to_keep() && !route.is_empty() {
            // Made once, for those who have to know and for the others.
            self.delivery.attribute(outgoing);
        }
        self.delivery.route(route, outgoing, from);
        let mut replies = if route.elsewhere.is_empty() {
            0
        } else {
            let publisher = from.and_then(|from| self.delivery.connection_of(from));
            let elsewhere = &route.elsewhere;
            self.delivery.send_elsewhere(self.id, elsewhere, outgoing, publisher, asks)
        };
        let nobody = route.is_empty();
        if !route.groups.is_empty() {
            let origin = Origin { own: self.id, from, asks };
            let chooser = (self.offer.shared_subscriptions, &self.placement);
            replies += origin.distribute(&mut self.delivery, &route.groups, outgoing, chooser);
        }
        let reason = if outgoing.refused {
            ReasonCode::QuotaExceeded
        } else if nobody {
            ReasonCode::NoMatchingSubscribers
        } else {
            ReasonCode::Success
        };
        if outgoing.view.retain && !outgoing.unstored && fault(Fault::RetainedSetLate) {
            self.retain(outgoing);
        }
        Ok(Routed { reason, durable: outgoing.durable, replies })
    }

    /// Whether there is no memory to retain one more message, if it is one to be retained; counted then.
    fn lacks_memory_to_retain(&mut self, view: &MessageView<'_>) -> bool {
        let lacks =
            view.retain && !view.payload.is_empty() && self.delivery.pressure >= Pressure::NewWork;
        self.delivery.dropped.memory_retained += u64::from(lacks);
        lacks
    }

    /// Whether a message of this topic is taken at all.
    fn takes_topic(
        &mut self,
        from: SessionHandle,
        outgoing: &Outgoing<'_>,
    ) -> Result<bool, Violation> {
        if self.delivery.authority.in_force
            && !self.rule_publishing(from, outgoing.view.topic, None).permits()
        {
            return Ok(false);
        }
        match &self.router.route(outgoing.view.topic, self.delivery.law()).refusal {
            Some(Refusal::OverLimit(violation)) => Err(violation.clone()),
            Some(Refusal::Reserved) => Ok(false),
            None => Ok(true),
        }
    }

    /// Sends PUBACK or PUBREC with the identifier of its PUBLISH `[MQTT3-2.3.1-6]` `[MQTT5-2.2.1-5]`,
    /// in its turn, and once what it promises is true `[MQTT5-4.3.2-4]` `[MQTT5-4.3.3-8]`. A message
    /// that may not be published is acknowledged before MQTT 5 `[MQTT3-3.3.5-2]`.
    fn acknowledge(
        &mut self,
        sender: &Sender,
        packet: PacketType,
        packet_id: PacketId,
        routed: &Routed,
    ) {
        let Sender { connection: handle, session, now, .. } = *sender;
        if routed.reason == ReasonCode::QuotaExceeded && !self.speaks_reasons(handle) {
            // There is no negative acknowledgement before MQTT 5, and a positive one would lie
            // [MQTT3-4.8.0-2]. Other shards may have been given its number: it must not become the next answer's.
            if routed.replies > 0 {
                let answer = Answer::Ack { packet, packet_id, reason: routed.reason };
                self.delivery.answer_after(session, answer, None, routed.replies);
            }
            return self.close(handle, Cause::QuotaExceeded, now);
        }
        let reason = routed.reason;
        let ticket = routed.durable.then(|| self.delivery.journal.ticket());
        let answer = Answer::Ack { packet, packet_id, reason };
        self.delivery.answer_after(session, answer, ticket, routed.replies);
        if routed.durable || routed.replies > 0 {
            self.wait_for_store(handle);
        }
        self.block_if_waiting_too_much(handle, session);
    }

    fn speaks_reasons(&self, handle: ConnectionHandle) -> bool {
        let connection = self.delivery.connections.get(handle);
        connection.is_some_and(|connection| connection.version.has_reason_codes())
    }

    /// Stops reading a publisher of durable messages until the store has caught up, if it is behind.
    pub(super) fn wait_for_store(&mut self, handle: ConnectionHandle) {
        if self.delivery.store.is_backed_up
            && let Some(connection) = self.delivery.connections.get_mut(handle)
            && connection.holds.add(Hold::Store)
        {
            self.delivery.waiting_for_store.push(handle);
        }
    }

    /// Stops reading a connection that has too many answers waiting for the store.
    pub(super) fn block_if_waiting_too_much(
        &mut self,
        handle: ConnectionHandle,
        session: SessionHandle,
    ) {
        let waiting =
            self.delivery.sessions.get(session).map_or(0, |session| session.answers.len());
        if waiting >= self.delivery.limits.acks_waiting_max
            && let Some(connection) = self.delivery.connections.get_mut(handle)
        {
            connection.holds.add(Hold::Answers);
        }
    }

    /// `[MQTT5-3.3.4-7]`: whether the client has no more messages unfinished than it was told, with
    /// `more` that are not counted yet. Before MQTT 5 it is told nothing and reading stops instead.
    /// Returns whether no answer is waiting, so that the next may leave at once.
    #[inline]
    pub(super) fn check_receive_maximum(
        &self,
        sender: &Sender,
        more: usize,
    ) -> Result<bool, Violation> {
        let limit = self.delivery.limits.inflight_in_max;
        let Some(found) = self.delivery.sessions.get(sender.session) else {
            return Ok(false);
        };
        let waiting = found.answers.len();
        // Other answers wait too, and those of an earlier connection; they are told apart only when
        // it matters.
        if found.inbound.held() + waiting + more > usize::from(limit)
            && sender.version.has_properties()
        {
            count_unfinished(found, more, limit)?;
        }
        Ok(waiting == 0)
    }

    /// A repeated packet whose answer still waits, from this connection or the last: the same
    /// answer will do. False if there is none.
    pub(super) fn revive_answer(
        &mut self,
        session: SessionHandle,
        wanted: PacketType,
        wanted_id: PacketId,
    ) -> bool {
        self.delivery.sessions.get_mut(session).is_some_and(|found| {
            // A message of QoS 1 is better routed twice than before one that was repeated before it:
            // of a retained topic the older would stay.
            let may_move = wanted != PacketType::Puback;
            found.answers.revive(may_move, |answer| {
                matches!(answer, Answer::Ack { packet, packet_id, .. }
                    if (*packet, *packet_id) == (wanted, wanted_id))
            })
        })
    }
}

/// Counts what a client has begun and not finished, with `more`, against what it was told.
#[cold]
fn count_unfinished(session: &Session, more: usize, limit: u16) -> Result<(), Violation> {
    let is_puback =
        |answer: &&Answer| matches!(answer, Answer::Ack { packet: PacketType::Puback, .. });
    let pubacks = session.answers.iter_live().filter(is_puback).count();
    if session.inbound.held() + pubacks + more > usize::from(limit) {
        return Err(Violation::ReceiveMaximumExceeded { limit });
    }
    Ok(())
}

/// Whether a QoS 2 message is stored before it is routed. One of a session that keeps nothing any
/// more may still come behind others that are being stored, and must not overtake them.
fn stores_received(session: &Session) -> bool {
    session.is_persistent() || session.inbound.is_storing()
}
