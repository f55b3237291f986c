//! What CONNACK says: what a client is granted and what is offered to it, as far as that differs from
//! the defaults of MQTT 5 (section 3.2.2.3), and refusals in words.

use super::{Hello, Shard};
use crate::connection::ConnectionHandle;
use crate::offer::Sharing;
use crate::session::Expiry;
use noctule_mqtt::codec::variable_byte_integer_len;
use noctule_mqtt::packet::Connack;
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    Packet, PacketType, Property, PropertyBuffer, ProtocolVersion, QoS, ReasonCode,
};

/// What one client gets that is not what it asked for, or has asked for.
pub(super) struct Granted<'a> {
    /// Another session expiry interval.
    pub(super) expiry: Option<Expiry>,
    /// A client identifier `[MQTT5-3.1.3-7]` `[MQTT5-3.2.2-16]`.
    pub(super) client_id: Option<&'a str>,
    /// Another keep alive in seconds `[MQTT5-3.2.2-21]`.
    pub(super) keep_alive: Option<u16>,
    /// It asked for response information `[MQTT5-3.1.2-28]`.
    pub(super) response_information: bool,
    /// The largest packet it accepts.
    pub(super) room: u32,
    /// Who is greeted where it came in.
    pub(super) hello: Hello,
}

impl Shard {
    /// The properties of a CONNACK that accepts, without their length; none before MQTT 5.
    pub(super) fn connack_properties(
        &self,
        version: ProtocolVersion,
        granted: &Granted<'_>,
    ) -> Box<[u8]> {
        if !version.has_properties() {
            return Box::default();
        }
        let mut properties = PropertyBuffer::new(Carrier::Packet(PacketType::Connack));
        let mut push = |property: Option<Property<'_>>| {
            if let Some(property) = property {
                let pushed = properties.push(property);
                debug_assert!(pushed.is_ok(), "CONNACK may have this property: {pushed:?}");
            }
        };
        let (limits, offer) = (&self.delivery.limits, &self.offer);
        let expiry = granted.expiry.and_then(Expiry::seconds);
        push(expiry.map(Property::SessionExpiryInterval));
        let receive_maximum = limits.inflight_in_max;
        push((receive_maximum < u16::MAX).then_some(Property::ReceiveMaximum(receive_maximum)));
        // [MQTT5-3.2.2-9]
        let qos = offer.qos_max;
        push((qos < QoS::ExactlyOnce).then(|| Property::MaximumQoS(qos.bits())));
        push((!offer.retain).then_some(Property::RetainAvailable(0)));
        let packet_max = limits.packet_bytes_max;
        push((packet_max < u32::MAX).then_some(Property::MaximumPacketSize(packet_max)));
        push(granted.client_id.map(Property::AssignedClientIdentifier));
        let aliases = limits.topic_aliases_in_max;
        push((aliases > 0).then_some(Property::TopicAliasMaximum(aliases)));
        let wildcards = offer.wildcard_subscriptions;
        push((!wildcards).then_some(Property::WildcardSubscriptionAvailable(0)));
        let identifiers = offer.subscription_identifiers;
        push((!identifiers).then_some(Property::SubscriptionIdentifierAvailable(0)));
        let shared = offer.shared_subscriptions != Sharing::No;
        push((!shared).then_some(Property::SharedSubscriptionAvailable(0)));
        push(granted.keep_alive.map(Property::ServerKeepAlive));
        let information = offer.response_information.as_deref();
        let information = information.filter(|_| granted.response_information);
        push(information.map(Property::ResponseInformation));
        // [MQTT5-3.2.2-20]: it must not make the packet too large; without it CONNACK is shorter
        // than this by far.
        let greets = granted.hello != Hello::Never && granted.room >= INTRODUCTION_ROOM;
        push(greets.then_some(Property::UserProperty(INTRODUCTION)));
        properties.as_properties().as_bytes().into()
    }

    /// Puts out a CONNACK that refuses, if the client takes one.
    pub(super) fn send_refusal(&mut self, handle: ConnectionHandle, reason: ReasonCode, why: &str) {
        // What is too large for it cannot be told, and it is closed all the same.
        let _ = self.delivery.send_explained(handle, why, |properties| {
            Packet::Connack(Connack { session_present: false, reason, properties })
        });
    }
}

/// The user property of CONNACK by which a client knows that it may ask to be greeted.
const INTRODUCTION: (&str, &str) = ("server", "noctule");
const INTRODUCTION_ROOM: u32 = 256;

/// How many bytes a CONNACK with these properties has.
pub(super) fn connack_bytes(properties: &[u8], version: ProtocolVersion) -> usize {
    if !version.has_properties() {
        return 4;
    }
    let remaining = 2 + variable_byte_integer_len(properties.len()) + properties.len();
    1 + variable_byte_integer_len(remaining) + remaining
}
