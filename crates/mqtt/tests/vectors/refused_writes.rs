//! What cannot be written, and that a refusal leaves the caller's buffer as it was.

use crate::row::{connect, id, properties, publish};
use crate::violations::name;
use noctule_mqtt::codec::{self, EncodeError};
use noctule_mqtt::packet::{
    Ack, Auth, Connack, Connect, Disconnect, Publish, Suback, Subscribe, Subscription,
    SubscriptionOptions, Unsuback, Unsubscribe,
};
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    Packet, PacketType, Properties, Property, PropertyBuffer, ProtocolVersion as V, QoS,
    ReasonCode, Violation,
};
use std::collections::BTreeSet;

type Row = (&'static str, V, Packet<'static>, EncodeError);

static LONG: [u8; 65_536] = [b'x'; 65_536];

fn long_text() -> &'static str {
    std::str::from_utf8(&LONG).expect("it is ASCII")
}

fn connecting(connect: Connect<'static>) -> Packet<'static> {
    Packet::Connect(Box::new(connect))
}

fn subscribing(filter: &'static str, options: SubscriptionOptions) -> Packet<'static> {
    Packet::Subscribe(Subscribe {
        packet_id: id(1),
        properties: Properties::EMPTY,
        subscriptions: vec![Subscription { filter: crate::row::filter(filter), options }],
    })
}

fn null() -> EncodeError {
    EncodeError::Topic(Violation::StringHasNull { field: "text" })
}

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    use EncodeError::*;
    let properties_none = Properties::EMPTY;
    let no_local = SubscriptionOptions { no_local: true, ..SubscriptionOptions::default() };
    let data = || properties(&[Property::AuthenticationData(b"d")]);
    let auth = |reason, properties| Packet::Auth(Auth { reason, properties });
    vec![
        ("a client identifier has 65,535 bytes at most", V::V311, connecting(Connect { client_id: long_text(), ..connect(V::V311) }), FieldTooLong { bytes: 65_536 }),
        ("a user name has 65,535 bytes at most", V::V5, connecting(Connect { user_name: Some(long_text()), ..connect(V::V5) }), FieldTooLong { bytes: 65_536 }),
        ("a password has 65,535 bytes at most", V::V5, connecting(Connect { password: Some(&LONG), ..connect(V::V5) }), FieldTooLong { bytes: 65_536 }),
        ("a client identifier has no U+0000 [MQTT5-1.5.4-2]", V::V5, connecting(Connect { client_id: "a\0", ..connect(V::V5) }), null()),
        ("a user name has no U+0000 [MQTT3-1.5.3-2]", V::V311, connecting(Connect { user_name: Some("\0"), ..connect(V::V311) }), null()),
        ("a password needs a user name before 5 [MQTT3-3.1.2-22]", V::V311, connecting(Connect { password: Some(b"p"), ..connect(V::V311) }), NotInVersion),
        ("a password needs a user name in 3.1", V::V31, connecting(Connect { password: Some(b"p"), ..connect(V::V31) }), NotInVersion),
        ("authentication data need a method in CONNECT", V::V5, connecting(Connect { properties: data(), ..connect(V::V5) }), Topic(Violation::AuthenticationDataWithoutMethod)),
        ("authentication data need a method in AUTH", V::V5, auth(ReasonCode::ContinueAuthentication, data()), Topic(Violation::AuthenticationDataWithoutMethod)),
        ("3.1 has no AUTH", V::V31, auth(ReasonCode::Success, properties_none), NotInVersion),
        ("3.1.1 has no AUTH", V::V311, auth(ReasonCode::Success, properties_none), NotInVersion),
        ("AUTH refuses nothing [MQTT5-3.15.2-1]", V::V5, auth(ReasonCode::NotAuthorized, properties_none), ReasonRefused),
        ("CONNACK takes over nothing [MQTT5-3.2.2-8]", V::V5, Packet::Connack(Connack { session_present: false, reason: ReasonCode::SessionTakenOver, properties: properties_none }), ReasonRefused),
        ("CONNACK takes over nothing in 3.1.1 either", V::V311, Packet::Connack(Connack { session_present: false, reason: ReasonCode::SessionTakenOver, properties: properties_none }), ReasonRefused),
        ("PUBACK has no reason of PUBREL [MQTT5-3.4.2-1]", V::V5, Packet::Puback(Ack::new(id(1), ReasonCode::PacketIdentifierNotFound)), ReasonRefused),
        ("PUBREC has no reason of PUBCOMP [MQTT5-3.5.2-1]", V::V5, Packet::Pubrec(Ack::new(id(1), ReasonCode::PacketIdentifierNotFound)), ReasonRefused),
        ("PUBCOMP has no reason of PUBREC [MQTT5-3.7.2-1]", V::V5, Packet::Pubcomp(Ack::new(id(1), ReasonCode::NotAuthorized)), ReasonRefused),
        ("PUBREL has no reason of PUBREC [MQTT5-3.6.2-1]", V::V5, Packet::Pubrel(Ack::new(id(1), ReasonCode::QuotaExceeded)), ReasonRefused),
        ("DISCONNECT has no reason of CONNACK [MQTT5-3.14.2-1]", V::V5, Packet::Disconnect(Disconnect::new(ReasonCode::Banned)), ReasonRefused),
        ("SUBACK has no reason of UNSUBACK [MQTT5-3.9.3-2]", V::V5, Packet::Suback(Suback { packet_id: id(1), properties: properties_none, reasons: vec![ReasonCode::NoSubscriptionExisted] }), ReasonRefused),
        ("UNSUBACK grants nothing [MQTT5-3.11.3-2]", V::V5, Packet::Unsuback(Unsuback { packet_id: id(1), properties: properties_none, reasons: vec![ReasonCode::GrantedQos1] }), ReasonRefused),
        ("QoS 1 needs a packet identifier [MQTT3-2.3.1-1]", V::V311, Packet::Publish(Publish { qos: QoS::AtLeastOnce, ..publish() }), PublishIncomplete),
        ("QoS 2 needs a packet identifier [MQTT5-2.2.1-3]", V::V5, Packet::Publish(Publish { qos: QoS::ExactlyOnce, ..publish() }), PublishIncomplete),
        ("QoS 0 has no packet identifier [MQTT5-2.2.1-2]", V::V5, Packet::Publish(Publish { packet_id: Some(id(1)), ..publish() }), PublishIncomplete),
        ("a message needs a topic", V::V5, Packet::Publish(Publish { topic: None, ..publish() }), PublishIncomplete),
        ("an alias is no topic before 5", V::V311, Packet::Publish(Publish { topic: None, properties: properties(&[Property::TopicAlias(1)]), ..publish() }), PublishIncomplete),
        ("SUBSCRIBE needs a filter [MQTT3-3.8.3-3]", V::V311, Packet::Subscribe(Subscribe { packet_id: id(1), properties: properties_none, subscriptions: vec![] }), ListEmpty),
        ("UNSUBSCRIBE needs a filter [MQTT5-3.10.3-2]", V::V5, Packet::Unsubscribe(Unsubscribe { packet_id: id(1), properties: properties_none, filters: vec![] }), ListEmpty),
        ("SUBACK needs a reason [MQTT3-3.8.4-5]", V::V311, Packet::Suback(Suback { packet_id: id(1), properties: properties_none, reasons: vec![] }), ListEmpty),
        ("UNSUBACK of 5 needs a reason", V::V5, Packet::Unsuback(Unsuback { packet_id: id(1), properties: properties_none, reasons: vec![] }), ListEmpty),
        ("no No Local on a shared subscription [MQTT5-3.8.3-4]", V::V5, subscribing("$share/g/a", no_local), Topic(Violation::NoLocalOnShared)),
        ("a shared subscription has a filter [MQTT5-4.8.2-2]", V::V5, subscribing("$share/g", SubscriptionOptions::default()), Topic(Violation::SharedFilterInvalid)),
    ]
}

#[test]
fn what_cannot_be_said_is_refused_and_leaves_no_trace() {
    for (claim, version, packet, expected) in rows() {
        let mut out = vec![0xAB, 0xCD];
        let outcome = codec::encode(&packet, version, &mut out);
        assert_eq!(outcome, Err(expected), "{claim}");
        assert_eq!(out, [0xAB, 0xCD], "{claim}");
    }
}

#[test]
fn properties_that_cannot_be_said_are_refused_and_leave_no_trace() {
    let carrier = Carrier::Packet(PacketType::Publish);
    let mut buffer = PropertyBuffer::new(carrier);
    buffer.push(Property::ContentType("t")).unwrap();
    let refused =
        |property: Property<'_>| EncodeError::PropertyRefused { property: property.id(), carrier };
    for property in [
        Property::ContentType("again"),
        Property::ReasonString("not here"),
        Property::PayloadFormatIndicator(2),
        Property::TopicAlias(0),
        Property::ResponseTopic("r/#"),
        Property::ResponseTopic(""),
    ] {
        assert_eq!(buffer.push(property), Err(refused(property)));
    }
    for text in [("k\0", "v"), ("k", "v\0")] {
        assert_eq!(buffer.push(Property::UserProperty(text)), Err(null()));
    }
    let too_long = EncodeError::FieldTooLong { bytes: 65_536 };
    let outcome = buffer.push(Property::UserProperty(("k", long_text())));
    assert_eq!(outcome, Err(too_long.clone()));
    let outcome = buffer.push(Property::CorrelationData(&LONG));
    assert_eq!(outcome, Err(too_long));
    assert_eq!(buffer.as_properties().as_bytes(), [0x03, 0, 1, b't']);
}

#[test] // [MQTT3-3.3.1-2] [MQTT5-3.3.1-2]
fn dup_is_never_written_at_qos_0() {
    let packet = Packet::Publish(Publish { dup: true, ..publish() });
    assert_eq!(crate::encoded(&packet, V::V311)[0], 0x30);
}

#[test] // [MQTT3-3.2.2-4] [MQTT5-3.2.2-6]
fn a_refusal_is_never_written_with_a_session() {
    for (version, wire) in [
        (V::V31, &[0x20, 2, 0, 5][..]),
        (V::V311, &[0x20, 2, 0, 5]),
        (V::V5, &[0x20, 3, 0, 0x87, 0]),
    ] {
        let packet = Packet::Connack(Connack {
            session_present: true,
            reason: ReasonCode::NotAuthorized,
            properties: Properties::EMPTY,
        });
        assert_eq!(crate::encoded(&packet, version), wire);
    }
}

#[test] // MQTT 3.1 section 3.2: the first byte is not used.
fn a_session_is_never_written_in_3_1() {
    let packet = Packet::Connack(Connack {
        session_present: true,
        reason: ReasonCode::Success,
        properties: Properties::EMPTY,
    });
    assert_eq!(crate::encoded(&packet, V::V31), [0x20, 2, 0, 0]);
    assert_eq!(crate::encoded(&packet, V::V311), [0x20, 2, 1, 0]);
}

#[test] // MQTT3 table 3.1 and [MQTT3-3.9.3-2]
fn reasons_of_5_are_written_to_older_clients_in_the_old_words() {
    let connack = |reason| {
        let packet = Packet::Connack(Connack {
            session_present: false,
            reason,
            properties: properties(&[Property::ReasonString("not written")]),
        });
        crate::encoded(&packet, V::V311)
    };
    assert_eq!(connack(ReasonCode::Banned), [0x20, 2, 0, 5]);
    assert_eq!(connack(ReasonCode::QuotaExceeded), [0x20, 2, 0, 3]);
    assert_eq!(connack(ReasonCode::UnsupportedProtocolVersion), [0x20, 2, 0, 1]);
    let suback = Packet::Suback(Suback {
        packet_id: id(1),
        properties: Properties::EMPTY,
        reasons: vec![ReasonCode::NotAuthorized, ReasonCode::GrantedQos2],
    });
    assert_eq!(crate::encoded(&suback, V::V311), [0x90, 4, 0, 1, 0x80, 2]);
}

/// A new variant does not compile until somebody has decided whether rows here reach it.
fn is_reached_by_rows(error: &EncodeError) -> bool {
    match error {
        EncodeError::FieldTooLong { .. }
        | EncodeError::NotInVersion
        | EncodeError::PublishIncomplete
        | EncodeError::ReasonRefused
        | EncodeError::ListEmpty
        | EncodeError::Topic(_) => true,
        // `borders.rs` has the packet, and the properties above are refused when they are pushed.
        EncodeError::PacketTooLarge { .. } | EncodeError::PropertyRefused { .. } => false,
    }
}

#[test]
fn the_rows_reach_every_error_of_the_encoder() {
    let rows = rows();
    assert!(rows.iter().all(|(.., error)| is_reached_by_rows(error)));
    let reached: BTreeSet<_> = rows.iter().map(|(.., error)| name(error)).collect();
    assert_eq!(reached.len(), 6, "{reached:?}");
    assert!(rows.iter().all(|(.., error)| error.to_string().len() > 10));
}
