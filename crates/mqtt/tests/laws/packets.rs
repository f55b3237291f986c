//! Packets made at random: every kind, in every version and direction that has it, with what that
//! version can say.
//!
//! Packets borrow, so their parts are leaked on purpose: a test process is short.

use crate::topics;
use noctule_mqtt::packet::{
    Ack, Auth, Connack, Connect, Disconnect, Publish, RetainHandling, Suback, Subscribe,
    Subscription, SubscriptionOptions, Unsuback, Unsubscribe, Will,
};
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    Packet, PacketId, PacketType, Properties, Property, PropertyBuffer, PropertyId,
    ProtocolVersion, QoS, ReasonCode, Receiver, TopicFilter, TopicName,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// A packet on its way.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) version: ProtocolVersion,
    pub(crate) receiver: Receiver,
    pub(crate) packet: Packet<'static>,
}

/// Any packet.
pub(crate) fn sent() -> impl Strategy<Value = Sent> {
    way().prop_flat_map(|(version, receiver)| {
        packet(version, receiver).prop_map(move |packet| Sent { version, receiver, packet })
    })
}

/// Several packets that flow to one receiver.
pub(crate) fn stream() -> impl Strategy<Value = (ProtocolVersion, Receiver, Vec<Packet<'static>>)> {
    way().prop_flat_map(|(version, receiver)| {
        let packets = vec(packet(version, receiver), 1..8);
        packets.prop_map(move |packets| (version, receiver, packets))
    })
}

fn way() -> impl Strategy<Value = (ProtocolVersion, Receiver)> {
    let versions = select(&ProtocolVersion::ALL[..]);
    (versions, select(&[Receiver::Server, Receiver::Client][..]))
}

fn packet(version: ProtocolVersion, receiver: Receiver) -> impl Strategy<Value = Packet<'static>> {
    let exists = move |packet: &PacketType| {
        packet.flows_to(receiver, version)
            && (*packet != PacketType::Auth || version.has_reason_codes())
    };
    let kinds: Vec<_> = PacketType::ALL.into_iter().filter(exists).collect();
    select(kinds).prop_flat_map(move |kind| packet_of(kind, version, receiver))
}

fn packet_of(
    kind: PacketType,
    version: ProtocolVersion,
    receiver: Receiver,
) -> BoxedStrategy<Packet<'static>> {
    match kind {
        PacketType::Connect => connect(version).boxed(),
        PacketType::Connack => connack(version).boxed(),
        PacketType::Publish => publish(version, receiver).boxed(),
        PacketType::Puback => ack(kind, version).prop_map(Packet::Puback).boxed(),
        PacketType::Pubrec => ack(kind, version).prop_map(Packet::Pubrec).boxed(),
        PacketType::Pubrel => ack(kind, version).prop_map(Packet::Pubrel).boxed(),
        PacketType::Pubcomp => ack(kind, version).prop_map(Packet::Pubcomp).boxed(),
        PacketType::Subscribe => subscribe(version).boxed(),
        PacketType::Suback => suback(version).boxed(),
        PacketType::Unsubscribe => unsubscribe(version).boxed(),
        PacketType::Unsuback => unsuback(version).boxed(),
        PacketType::Pingreq => Just(Packet::Pingreq).boxed(),
        PacketType::Pingresp => Just(Packet::Pingresp).boxed(),
        PacketType::Disconnect => disconnect(version, receiver).boxed(),
        PacketType::Auth => auth().boxed(),
    }
}

fn connect(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let carrier = Carrier::Packet(PacketType::Connect);
    let will = (topic(), qos(), any::<bool>(), data(), properties(version, Carrier::Will));
    let credentials = (option::of(text()), option::of(data()));
    (any::<(bool, u16)>(), text(), option::of(will), credentials, properties(version, carrier))
        .prop_map(move |(flags, client_id, will, credentials, properties)| {
            let (clean_start, keep_alive) = flags;
            let (user_name, password) = credentials;
            let alone = version.has_properties() || user_name.is_some();
            let will = will.map(|(topic, qos, retain, payload, properties)| Will {
                topic,
                qos,
                retain,
                payload,
                properties,
            });
            Packet::Connect(Box::new(Connect {
                version,
                clean_start,
                keep_alive,
                client_id,
                will,
                user_name,
                password: password.filter(|_| alone),
                properties,
            }))
        })
}

fn connack(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let reasons: Vec<_> = if version.has_reason_codes() {
        reasons_of(PacketType::Connack)
    } else {
        (0..6).filter_map(ReasonCode::from_connect_return_code).collect()
    };
    let properties = properties(version, Carrier::Packet(PacketType::Connack));
    let has_flag = version != ProtocolVersion::V31;
    (any::<bool>(), select(reasons), properties).prop_map(
        move |(session_present, reason, properties)| {
            Packet::Connack(Connack {
                session_present: session_present && has_flag && !reason.is_error(),
                reason,
                properties,
            })
        },
    )
}

fn publish(version: ProtocolVersion, receiver: Receiver) -> impl Strategy<Value = Packet<'static>> {
    let properties =
        list(version, Carrier::Packet(PacketType::Publish)).prop_map(move |mut list| {
            if receiver == Receiver::Server {
                list.retain(|property| property.id() != PropertyId::SubscriptionIdentifier);
            }
            pushed(&list, Carrier::Packet(PacketType::Publish))
        });
    (any::<[bool; 3]>(), qos(), topic(), packet_id(), properties, data()).prop_map(
        |([dup, retain, by_alias], qos, topic, packet_id, properties, payload)| {
            let alias = by_alias && properties.topic_alias().is_some();
            Packet::Publish(Publish {
                dup: dup && qos != QoS::AtMostOnce,
                qos,
                retain,
                topic: (!alias).then_some(topic),
                packet_id: (qos != QoS::AtMostOnce).then_some(packet_id),
                properties,
                payload,
            })
        },
    )
}

fn ack(kind: PacketType, version: ProtocolVersion) -> impl Strategy<Value = Ack<'static>> {
    let properties = properties(version, Carrier::Packet(kind));
    (packet_id(), reason(kind, version), properties)
        .prop_map(|(packet_id, reason, properties)| Ack { packet_id, reason, properties })
}

fn subscribe(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let handling = vec![RetainHandling::Always, RetainHandling::IfNew, RetainHandling::Never];
    let options = (qos(), any::<[bool; 2]>(), select(handling));
    let is_v5 = version.has_properties();
    let subscription = (any::<bool>(), topics::filter(), options).prop_map(
        move |(shared, filter, (qos, [no_local, retain_as_published], retain_handling))| {
            let filter = if shared { format!("$share/g/{filter}") } else { filter };
            let options = if is_v5 {
                SubscriptionOptions {
                    qos,
                    no_local: no_local && !shared,
                    retain_as_published,
                    retain_handling,
                }
            } else {
                SubscriptionOptions::qos(qos)
            };
            Subscription { filter: leaked_filter(filter), options }
        },
    );
    let properties = properties(version, Carrier::Packet(PacketType::Subscribe));
    (packet_id(), properties, vec(subscription, 1..5)).prop_map(
        |(packet_id, properties, subscriptions)| {
            Packet::Subscribe(Subscribe { packet_id, properties, subscriptions })
        },
    )
}

fn suback(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let mut reasons = reasons_of(PacketType::Suback);
    if !version.has_reason_codes() {
        reasons.retain(|reason| !reason.is_error() || *reason == ReasonCode::UnspecifiedError);
    }
    let properties = properties(version, Carrier::Packet(PacketType::Suback));
    (packet_id(), properties, vec(select(reasons), 1..9)).prop_map(
        |(packet_id, properties, reasons)| {
            Packet::Suback(Suback { packet_id, properties, reasons })
        },
    )
}

fn unsubscribe(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let filter = topics::filter().prop_map(leaked_filter);
    let properties = properties(version, Carrier::Packet(PacketType::Unsubscribe));
    (packet_id(), properties, vec(filter, 1..5)).prop_map(|(packet_id, properties, filters)| {
        Packet::Unsubscribe(Unsubscribe { packet_id, properties, filters })
    })
}

fn unsuback(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let properties = properties(version, Carrier::Packet(PacketType::Unsuback));
    let reasons = vec(select(reasons_of(PacketType::Unsuback)), 1..9);
    (packet_id(), properties, reasons).prop_map(move |(packet_id, properties, mut reasons)| {
        if !version.has_reason_codes() {
            reasons.clear();
        }
        Packet::Unsuback(Unsuback { packet_id, properties, reasons })
    })
}

fn disconnect(
    version: ProtocolVersion,
    receiver: Receiver,
) -> impl Strategy<Value = Packet<'static>> {
    let carrier = Carrier::Packet(PacketType::Disconnect);
    let properties = list(version, carrier).prop_map(move |mut list| {
        if receiver == Receiver::Client {
            list.retain(|property| property.id() != PropertyId::SessionExpiryInterval);
        }
        pushed(&list, carrier)
    });
    (reason(PacketType::Disconnect, version), properties)
        .prop_map(|(reason, properties)| Packet::Disconnect(Disconnect { reason, properties }))
}

fn auth() -> impl Strategy<Value = Packet<'static>> {
    let version = ProtocolVersion::V5;
    let properties = properties(version, Carrier::Packet(PacketType::Auth));
    (reason(PacketType::Auth, version), properties)
        .prop_map(|(reason, properties)| Packet::Auth(Auth { reason, properties }))
}

fn reasons_of(packet: PacketType) -> Vec<ReasonCode> {
    let all = ReasonCode::ALL.iter().copied();
    all.filter(|reason| reason.allowed_in(packet)).collect()
}

fn reason(packet: PacketType, version: ProtocolVersion) -> impl Strategy<Value = ReasonCode> {
    let reasons =
        if version.has_reason_codes() { reasons_of(packet) } else { vec![ReasonCode::Success] };
    select(reasons)
}

/// Places that have properties.
pub(crate) fn carriers() -> impl Strategy<Value = Carrier> {
    let packets = PacketType::ALL.into_iter().map(Carrier::Packet);
    let all: Vec<_> = packets.chain([Carrier::Will]).collect();
    select(all)
}

/// None before MQTT 5.
fn properties(
    version: ProtocolVersion,
    carrier: Carrier,
) -> impl Strategy<Value = Properties<'static>> {
    list(version, carrier).prop_map(move |list| pushed(&list, carrier))
}

fn list(
    version: ProtocolVersion,
    carrier: Carrier,
) -> impl Strategy<Value = Vec<Property<'static>>> {
    let count = if version.has_properties() { 0..8 } else { 0..1 };
    vec(any_property(), count).prop_map(move |mut list| {
        list.retain(|property| property.id().allowed_in(carrier));
        list
    })
}

/// What of `list` may be said in `carrier`; authentication data get a method.
fn pushed(list: &[Property<'_>], carrier: Carrier) -> Properties<'static> {
    let mut buffer = PropertyBuffer::new(carrier);
    let is_data = |property: &Property<'_>| property.id() == PropertyId::AuthenticationData;
    let method = list.iter().any(is_data).then_some(Property::AuthenticationMethod("m"));
    for property in list.iter().copied().chain(method) {
        // A second one of its kind is refused, which leaves the first.
        let _ = buffer.push(property);
    }
    Properties::from_checked(leaked(buffer.as_properties().as_bytes().to_vec()))
}

/// Any property with a value that is allowed.
pub(crate) fn any_property() -> impl Strategy<Value = Property<'static>> {
    select(PropertyId::ALL).prop_flat_map(property_of)
}

fn property_of(id: PropertyId) -> BoxedStrategy<Property<'static>> {
    use PropertyId as Id;
    let bit = || 0..2u8;
    let number = any::<u32>;
    match id {
        Id::PayloadFormatIndicator => bit().prop_map(Property::PayloadFormatIndicator).boxed(),
        Id::MessageExpiryInterval => number().prop_map(Property::MessageExpiryInterval).boxed(),
        Id::ContentType => text().prop_map(Property::ContentType).boxed(),
        Id::ResponseTopic => {
            topic().prop_map(|topic| Property::ResponseTopic(topic.as_str())).boxed()
        }
        Id::CorrelationData => data().prop_map(Property::CorrelationData).boxed(),
        Id::SubscriptionIdentifier => {
            subscription_identifier().prop_map(Property::SubscriptionIdentifier).boxed()
        }
        Id::SessionExpiryInterval => number().prop_map(Property::SessionExpiryInterval).boxed(),
        Id::AssignedClientIdentifier => text().prop_map(Property::AssignedClientIdentifier).boxed(),
        Id::ServerKeepAlive => any::<u16>().prop_map(Property::ServerKeepAlive).boxed(),
        Id::AuthenticationMethod => text().prop_map(Property::AuthenticationMethod).boxed(),
        Id::AuthenticationData => data().prop_map(Property::AuthenticationData).boxed(),
        Id::RequestProblemInformation => {
            bit().prop_map(Property::RequestProblemInformation).boxed()
        }
        Id::WillDelayInterval => number().prop_map(Property::WillDelayInterval).boxed(),
        Id::RequestResponseInformation => {
            bit().prop_map(Property::RequestResponseInformation).boxed()
        }
        Id::ResponseInformation => text().prop_map(Property::ResponseInformation).boxed(),
        Id::ServerReference => text().prop_map(Property::ServerReference).boxed(),
        Id::ReasonString => text().prop_map(Property::ReasonString).boxed(),
        Id::ReceiveMaximum => (1..=u16::MAX).prop_map(Property::ReceiveMaximum).boxed(),
        Id::TopicAliasMaximum => any::<u16>().prop_map(Property::TopicAliasMaximum).boxed(),
        Id::TopicAlias => (1..=u16::MAX).prop_map(Property::TopicAlias).boxed(),
        Id::MaximumQoS => bit().prop_map(Property::MaximumQoS).boxed(),
        Id::RetainAvailable => bit().prop_map(Property::RetainAvailable).boxed(),
        Id::UserProperty => (text(), text()).prop_map(Property::UserProperty).boxed(),
        Id::MaximumPacketSize => (1..=u32::MAX).prop_map(Property::MaximumPacketSize).boxed(),
        Id::WildcardSubscriptionAvailable => {
            bit().prop_map(Property::WildcardSubscriptionAvailable).boxed()
        }
        Id::SubscriptionIdentifierAvailable => {
            bit().prop_map(Property::SubscriptionIdentifierAvailable).boxed()
        }
        Id::SharedSubscriptionAvailable => {
            bit().prop_map(Property::SharedSubscriptionAvailable).boxed()
        }
    }
}

fn subscription_identifier() -> impl Strategy<Value = u32> {
    prop_oneof![1..300u32, 16_000..17_000u32, 2_097_000..2_098_000u32, 268_435_000..=268_435_455u32]
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|number| PacketId::new(number).expect("not zero"))
}

fn qos() -> impl Strategy<Value = QoS> {
    select(&QoS::ALL[..])
}

fn topic() -> impl Strategy<Value = TopicName<'static>> {
    topics::topic().prop_map(|topic| TopicName::new(topic.leak()).expect("a topic"))
}

fn leaked_filter(filter: String) -> TopicFilter<'static> {
    TopicFilter::new(filter.leak()).expect("a filter")
}

/// Any text but U+0000, now and then long enough for lengths of two bytes.
fn text() -> impl Strategy<Value = &'static str> {
    let character = any::<char>().prop_filter("U+0000 is no text", |c| *c != '\0');
    let characters = prop_oneof![9 => vec(character.clone(), 0..8), 1 => vec(character, 100..200)];
    characters.prop_map(|characters| &*String::from_iter(characters).leak())
}

fn data() -> impl Strategy<Value = &'static [u8]> {
    let bytes = prop_oneof![9 => vec(any::<u8>(), 0..12), 1 => vec(any::<u8>(), 100..20_000)];
    bytes.prop_map(leaked)
}

fn leaked(bytes: Vec<u8>) -> &'static [u8] {
    bytes.leak()
}
