//! What the user wants sent: messages and requests, from their arrival to the output.

use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    Packet, PacketId, PacketType, Properties, Property, PropertyBuffer, ProtocolVersion, QoS,
    ReasonCode, TopicFilter, codec, packet,
};
use noctule_session::ToSend;

use super::requests::Kind;
use super::{Action, Machine, Phase, ReceiverId, Sent, Token};
use crate::connected::Connected;
use crate::error::Error;
use crate::publish::Outgoing;
use crate::subscribe::Wanted;

impl Machine {
    /// A message to be published.
    pub(crate) fn publish(&mut self, now_ms: u64, publish: Outgoing, token: Option<Token>) {
        self.now_ms = now_ms;
        if let Err(error) = self.check_publish(&publish) {
            return self.answer(token, Err(error));
        }
        self.backlog.push(Sent { publish, token });
        self.pump();
    }

    fn check_publish(&self, publish: &Outgoing) -> Result<(), Error> {
        self.check_open()?;
        if self.phase == Phase::Connected {
            // Publishers wait while the queue is full; what comes all the same is taken.
            return Ok(());
        }
        if publish.qos == QoS::AtMostOnce && !self.options.queue_at_most_once {
            return Err(Error::ConnectionLost);
        }
        self.backlog.check(publish.bytes(), &self.options.limits)
    }

    /// Whether requests are still taken.
    fn check_open(&self) -> Result<(), Error> {
        match &self.phase {
            Phase::Ended(reason) => Err(Error::Ended(reason.clone())),
            Phase::Closing => Err(Error::Ended(std::sync::Arc::new(crate::Reason::Asked))),
            _ => Ok(()),
        }
    }

    /// A subscription to be made.
    pub(crate) fn subscribe(
        &mut self,
        now_ms: u64,
        wanted: Wanted,
        receiver: Option<ReceiverId>,
        token: Option<Token>,
    ) {
        self.now_ms = now_ms;
        if let Err(error) = self.check_open() {
            self.actions.extend(receiver.map(Action::EndReceiver));
            return self.answer(token, Err(error));
        }
        self.requests.push(Kind::Subscribe, wanted.filter.clone(), token);
        self.subscriptions.add(wanted, receiver);
        self.send_requests();
    }

    /// A receiver of what no subscription explains.
    pub(crate) fn add_rest(&mut self, receiver: ReceiverId) {
        self.subscriptions.add_rest(receiver);
    }

    /// A subscription to be ended.
    pub(crate) fn unsubscribe(&mut self, now_ms: u64, filter: String, token: Option<Token>) {
        self.now_ms = now_ms;
        if let Err(error) = self.check_open() {
            return self.answer(token, Err(error));
        }
        self.requests.push(Kind::Unsubscribe, filter, token);
        self.send_requests();
    }

    /// A receiver has gone.
    pub(crate) fn forget_receiver(&mut self, receiver: ReceiverId) {
        self.subscriptions.remove_receiver(receiver);
    }

    /// Sends what may be sent: first what is in flight and was not sent on this connection, with
    /// the identifiers it had `[MQTT3-2.3.1-3]`, then what waits, in order. No more are in flight than
    /// the broker takes `[MQTT5-3.3.4-7]` `[MQTT5-4.9.0-1]`, and none before CONNACK `[MQTT5-3.1.2-30]`.
    pub(super) fn pump(&mut self) {
        if self.phase != Phase::Connected {
            return;
        }
        let Some(granted) = self.link.granted.clone() else { return };
        let window = self.options.limits.inflight_count_max.min(granted.receive_maximum);
        let before = self.output.bytes().len();
        self.pump_in_flight(&granted, window);
        while !self.output.is_full() && !self.outbound.has_unsent() {
            let Some(first) = self.backlog.first() else { break };
            if let Err(error) = check_granted(&first.publish, &granted) {
                let refused = self.backlog.pop();
                self.answer(refused.and_then(|sent| sent.token), Err(error));
                continue;
            }
            let acknowledged = first.publish.qos != QoS::AtMostOnce;
            let qos = first.publish.qos;
            if acknowledged && !(self.has_room(window) && self.has_free_identifier(qos)) {
                break;
            }
            let Some(sent) = self.backlog.pop() else { break };
            if acknowledged {
                self.outbound.push(sent.publish.qos, sent, false);
                self.pump_in_flight(&granted, window);
            } else {
                self.send_at_most_once(&sent);
            }
        }
        if self.output.bytes().len() > before {
            self.link.sent_ms = self.now_ms;
        }
        self.note_waiting(false);
    }

    /// Whether one more message may be in flight; sees to it that its identifier is free.
    fn has_room(&mut self, window: u16) -> bool {
        while self.requests.uses(self.outbound.next_packet_id()) && self.outbound.has_room(window) {
            self.outbound.pass_over();
        }
        self.outbound.has_room(window)
    }

    /// Whether the identifier that the next message gets is not held by the broker for a message of
    /// an earlier process. If it may be, it is freed first.
    fn has_free_identifier(&mut self, qos: QoS) -> bool {
        let next = self.outbound.next_packet_id();
        if self.adopted.is_freeing(next) {
            return false;
        }
        if qos != QoS::ExactlyOnce || !self.adopted.may_hold(next) {
            return true;
        }
        if self.adopted.is_waiting() {
            return false;
        }
        let (outbound, requests) = (&self.outbound, &self.requests);
        let is_used = |id| outbound.message(id).is_some() || requests.uses(id);
        for packet_id in self.adopted.free(next, is_used) {
            self.send(&Packet::Pubrel(packet::Ack::new(packet_id, ReasonCode::Success)));
        }
        false
    }

    fn pump_in_flight(&mut self, granted: &Connected, window: u16) {
        let version = granted.version;
        while !self.output.is_full() {
            let Some(next) = self.outbound.next_to_send(window) else { break };
            let (packet_id, outcome) = match next {
                ToSend::Pubrel(packet_id) => {
                    let ack = packet::Ack::new(packet_id, ReasonCode::Success);
                    let encoded =
                        codec::encode(&Packet::Pubrel(ack), version, self.output.buffer());
                    (packet_id, encoded.map_err(Error::from))
                }
                ToSend::Publish { packet_id, dup, message } => {
                    let checked = check_granted(&message.publish, granted);
                    let out = self.output.buffer();
                    let outcome = checked.and_then(|()| {
                        Ok(message.publish.encode(Some(packet_id), dup, version, out)?)
                    });
                    (packet_id, outcome)
                }
            };
            if let Err(error) = outcome
                && let noctule_session::Acknowledged::Done(sent) = self.outbound.discard(packet_id)
            {
                self.answer(sent.token, Err(error));
            }
        }
    }

    /// QoS 0 has no identifier and no DUP `[MQTT3-4.3.1-1]` `[MQTT5-4.3.1-1]`.
    fn send_at_most_once(&mut self, sent: &Sent) {
        let version = self.version();
        match sent.publish.encode(None, false, version, self.output.buffer()) {
            Ok(()) => {
                if let Some(token) = sent.token {
                    self.output.when_written(token);
                }
            }
            Err(error) => self.answer(sent.token, Err(error.into())),
        }
    }

    /// There is no connection: what promises nothing does not wait for one.
    pub(super) fn drop_at_most_once(&mut self) {
        let mut kept = Vec::new();
        while let Some(sent) = self.backlog.pop() {
            if sent.publish.qos == QoS::AtMostOnce {
                self.answer(sent.token, Err(Error::ConnectionLost));
            } else {
                kept.push(sent);
            }
        }
        kept.into_iter().for_each(|sent| self.backlog.push(sent));
    }

    /// Appends a packet of ours that has no identifier of its own to wait for.
    pub(super) fn send(&mut self, packet: &Packet<'_>) {
        let version = self.version();
        // Acknowledgements, PINGREQ and DISCONNECT have nothing that could not be written.
        let written = codec::encode(packet, version, self.output.buffer());
        debug_assert!(written.is_ok(), "{packet:?}: {written:?}");
        self.link.sent_ms = self.now_ms;
    }

    pub(super) fn encode_subscribe(
        &mut self,
        packet_id: PacketId,
        filter: &str,
    ) -> Result<(), Error> {
        let version = self.version();
        let granted = self.link.granted.clone();
        let offers = |f: fn(&Connected) -> bool| granted.as_deref().is_none_or(f);
        let filter_is = checked_filter(filter)?;
        if filter_is.has_wildcard() && !offers(|granted| granted.wildcards_available) {
            return Err(Error::NotOffered("filters with wildcards"));
        }
        let is_shared = version == ProtocolVersion::V5 && filter.starts_with("$share/");
        if is_shared && !offers(|granted| granted.shared_subscriptions_available) {
            return Err(Error::NotOffered("shared subscriptions"));
        }
        let automatic = self.options.subscription_identifiers
            && offers(|granted| granted.subscription_identifiers_available);
        if automatic {
            self.subscriptions.identify(filter);
        }
        let Some(held) = self.subscriptions.get(filter) else { return Ok(()) };
        let properties = subscribe_properties(&held.wanted, held.identifier)?;
        let subscribe = packet::Subscribe {
            packet_id,
            properties: properties.as_properties(),
            subscriptions: vec![packet::Subscription {
                filter: filter_is,
                options: held.wanted.options,
            }],
        };
        Ok(codec::encode(&Packet::Subscribe(subscribe), version, self.output.buffer())?)
    }

    pub(super) fn encode_unsubscribe(
        &mut self,
        packet_id: PacketId,
        filter: &str,
    ) -> Result<(), Error> {
        let unsubscribe = packet::Unsubscribe {
            packet_id,
            properties: Properties::EMPTY,
            filters: vec![checked_filter(filter)?],
        };
        let version = self.version();
        Ok(codec::encode(&Packet::Unsubscribe(unsubscribe), version, self.output.buffer())?)
    }

    /// A subscription that was refused and never granted is none.
    pub(super) fn forget_refused(&mut self, filter: &str) {
        if self.subscriptions.get(filter).is_some_and(|held| !held.granted) {
            let gone = self.subscriptions.remove(filter);
            self.actions.extend(gone.into_iter().map(Action::EndReceiver));
        }
    }
}

/// Filters are checked before they get here; asked again, the answer is an error and no panic.
fn checked_filter(filter: &str) -> Result<TopicFilter<'_>, Error> {
    crate::subscribe::checked_filter(filter)
}

/// What the broker said it does not take is not sent `[MQTT5-3.2.2-11]` `[MQTT5-3.2.2-14]`
/// `[MQTT5-3.2.2-15]`.
fn check_granted(publish: &Outgoing, granted: &Connected) -> Result<(), Error> {
    if publish.qos > granted.maximum_qos {
        return Err(Error::NotOffered(match publish.qos {
            QoS::ExactlyOnce => "QoS 2",
            _ => "QoS 1",
        }));
    }
    if publish.retain && !granted.retain_available {
        return Err(Error::NotOffered("retained messages"));
    }
    let bytes = publish.packet_bytes(granted.version);
    match granted.maximum_packet_size {
        Some(bytes_max) if bytes > bytes_max as usize => Err(Error::TooLarge { bytes, bytes_max }),
        _ => Ok(()),
    }
}

/// The user's properties, with the identifier that we chose if the user chose none.
fn subscribe_properties(wanted: &Wanted, identifier: Option<u32>) -> Result<PropertyBuffer, Error> {
    let mut properties = PropertyBuffer::new(Carrier::Packet(PacketType::Subscribe));
    for property in Properties::from_checked(&wanted.properties) {
        properties.push(property)?;
    }
    if let Some(identifier) = identifier
        && properties.as_properties().subscription_identifier().is_none()
    {
        properties.push(Property::SubscriptionIdentifier(identifier))?;
    }
    Ok(properties)
}
