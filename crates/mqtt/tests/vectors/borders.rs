//! Variable byte integers on both sides of every border, in each place that has one.

use crate::row::{bytes, id, variable_into};
use noctule_mqtt::codec::{self, EncodeError, next_frame};
use noctule_mqtt::packet::{Publish, Subscribe, Subscription, SubscriptionOptions, Unsuback};
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    Packet, PacketType, Properties, Property, PropertyBuffer, PropertyId, ProtocolVersion, QoS,
    ReasonCode, Receiver, TopicFilter, TopicName, Violation,
};

/// Table 1-1 of 5.0 and 2.4 of 3.1.1.
const BORDERS: &[(u32, &str)] = &[
    (1, "01"),
    (127, "7f"),
    (128, "80 01"),
    (16_383, "ff 7f"),
    (16_384, "80 80 01"),
    (2_097_151, "ff ff 7f"),
    (2_097_152, "80 80 80 01"),
    (268_435_455, "ff ff ff 7f"),
];

/// What a test need not fill with bytes.
const LARGE: u32 = 268_435_455;

#[test] // MQTT5 section 1.5.5
fn the_writer_of_these_tests_agrees_with_the_table() {
    for (value, hex) in BORDERS {
        let mut out = Vec::new();
        variable_into(&mut out, *value);
        assert_eq!(out, bytes(hex));
    }
}

#[test] // MQTT3 section 2.2.3, MQTT5 section 2.1.4
fn a_remaining_length_is_read_and_written_on_both_sides_of_every_border() {
    for (value, hex) in BORDERS.iter().filter(|(value, _)| (3..LARGE).contains(value)) {
        let payload = vec![b'x'; *value as usize - 3];
        let mut packet = vec![0x30];
        packet.extend(bytes(hex));
        packet.extend_from_slice(&[0, 1, b'a']);
        packet.extend_from_slice(&payload);
        let frame = next_frame(&packet, u32::MAX).unwrap().expect("it is whole");
        assert_eq!(frame.bytes.len(), packet.len());
        let decoded = codec::decode(&frame, ProtocolVersion::V311, Receiver::Server).unwrap();
        let expected = Publish { payload: &payload, ..crate::row::publish() };
        assert_eq!(decoded, Packet::Publish(expected));
        assert_eq!(crate::encoded(&decoded, ProtocolVersion::V311), packet);
    }
}

#[test] // MQTT3 section 2.2.3, MQTT5 section 2.1.4: packets but PUBLISH are written another way.
fn a_list_is_read_and_written_on_both_sides_of_every_border() {
    for (value, hex) in BORDERS.iter().filter(|(value, _)| (4..LARGE).contains(value)) {
        // Two bytes of packet identifier, no properties, and one for each reason.
        let reasons = vec![ReasonCode::Success; *value as usize - 3];
        let unsuback =
            Packet::Unsuback(Unsuback { packet_id: id(1), properties: Properties::EMPTY, reasons });
        let written = crate::encoded(&unsuback, ProtocolVersion::V5);
        assert_eq!(written[..1], [0xB0]);
        assert!(written[1..].starts_with(&bytes(hex)), "{value}");
        assert_eq!(written.len(), 1 + bytes(hex).len() + *value as usize);
        let frame = next_frame(&written, u32::MAX).unwrap().expect("it is whole");
        let decoded = codec::decode(&frame, ProtocolVersion::V5, Receiver::Client);
        assert_eq!(decoded, Ok(unsuback));
    }
}

#[test] // MQTT3 section 2.2.3, MQTT5 section 2.1.4
fn the_largest_remaining_length_is_a_claim_that_is_waited_for() {
    let claim = bytes("30 ffffff7f 0001 'a'");
    assert_eq!(next_frame(&claim, u32::MAX), Ok(None));
    let limit = 268_435_459;
    let refused = Violation::PacketTooLarge { size: 268_435_460, limit };
    assert_eq!(next_frame(&claim, limit), Err(refused));
    assert_eq!(next_frame(&claim, limit + 1), Ok(None));
}

#[test] // MQTT3 section 2.2.3: 2 bytes of length, 1 of topic, and the rest is payload.
fn a_packet_over_the_largest_remaining_length_is_not_written() {
    // Nobody writes to these bytes, so the system need not have them.
    let payload = vec![0; LARGE as usize - 2];
    let publish = Publish {
        topic: Some(TopicName::new("a").unwrap()),
        payload: &payload,
        ..crate::row::publish()
    };
    let mut out = vec![1, 2, 3];
    let refused = codec::encode(&Packet::Publish(publish), ProtocolVersion::V311, &mut out);
    let bytes = LARGE as usize + 1;
    assert_eq!(refused, Err(EncodeError::PacketTooLarge { bytes }));
    assert_eq!(out, [1, 2, 3]);
}

#[test] // MQTT5 sections 2.2.2.1 and 1.5.5
fn a_property_length_is_read_and_written_on_both_sides_of_every_border() {
    for (value, hex) in BORDERS.iter().filter(|(value, _)| (127..LARGE).contains(value)) {
        let properties = filled_with_user_properties(*value as usize);
        let mut body = bytes("0001 'a'");
        body.extend(bytes(hex));
        body.extend_from_slice(properties.as_properties().as_bytes());
        let mut packet = vec![0x30];
        variable_into(&mut packet, body.len() as u32);
        packet.extend(body);
        let frame = next_frame(&packet, u32::MAX).unwrap().expect("it is whole");
        let decoded = codec::decode(&frame, ProtocolVersion::V5, Receiver::Server).unwrap();
        let expected = Publish {
            properties: properties.as_properties(),
            payload: b"",
            ..crate::row::publish()
        };
        assert_eq!(decoded, Packet::Publish(expected));
        assert_eq!(crate::encoded(&decoded, ProtocolVersion::V5), packet);
    }
}

/// User properties of exactly `bytes` bytes, each of at least 5.
fn filled_with_user_properties(bytes: usize) -> PropertyBuffer {
    let mut buffer = PropertyBuffer::new(Carrier::Packet(PacketType::Publish));
    let text = "v".repeat(60_000);
    let mut left = bytes;
    while left > 0 {
        let take = if left < 60_000 { left } else { 50_000 };
        let pair = ("", &text[..take - 5]);
        let outcome = buffer.push(Property::UserProperty(pair));
        outcome.expect("a user property may stand anywhere");
        left -= take;
    }
    assert_eq!(buffer.as_properties().as_bytes().len(), bytes);
    buffer
}

#[test] // MQTT5 sections 1.5.5 and 3.8.2.1.2
fn a_subscription_identifier_is_read_and_written_at_every_border() {
    for (value, hex) in BORDERS {
        let mut buffer = PropertyBuffer::new(Carrier::Packet(PacketType::Subscribe));
        buffer.push(Property::SubscriptionIdentifier(*value)).unwrap();
        let expected = [vec![0x0B], bytes(hex)].concat();
        assert_eq!(buffer.as_properties().as_bytes(), expected);
        let subscribe = Packet::Subscribe(Subscribe {
            packet_id: id(1),
            properties: buffer.as_properties(),
            subscriptions: vec![Subscription {
                filter: TopicFilter::new("a").unwrap(),
                options: SubscriptionOptions::qos(QoS::AtMostOnce),
            }],
        });
        let bytes = crate::encoded(&subscribe, ProtocolVersion::V5);
        let frame = next_frame(&bytes, 100).unwrap().expect("it is whole");
        let decoded = codec::decode(&frame, ProtocolVersion::V5, Receiver::Server);
        assert_eq!(decoded, Ok(subscribe));
    }
}

#[test] // MQTT5 section 3.8.2.1.2: 1 to 268,435,455.
fn a_subscription_identifier_out_of_range_is_not_written() {
    for value in [0, 268_435_456, u32::MAX] {
        let carrier = Carrier::Packet(PacketType::Publish);
        let mut buffer = PropertyBuffer::new(carrier);
        let refused =
            EncodeError::PropertyRefused { property: PropertyId::SubscriptionIdentifier, carrier };
        let outcome = buffer.push(Property::SubscriptionIdentifier(value));
        assert_eq!(outcome, Err(refused));
        assert_eq!(buffer.as_properties(), Properties::EMPTY);
    }
}

#[test] // [MQTT5-1.5.5-1]
fn every_padded_form_of_a_variable_byte_integer_is_refused() {
    for hex in ["8000", "808000", "80808000", "8100", "ff00", "ff8000", "ffff8000"] {
        let padded = [vec![0x0B], bytes(hex)].concat();
        let outcome = Properties::check(&padded, Carrier::Packet(PacketType::Subscribe));
        let refused = Violation::VariableByteIntegerMalformed { field: "subscription identifier" };
        assert_eq!(outcome, Err(refused), "{hex}");
    }
}
