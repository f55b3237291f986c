//! PUBLISH: section 3.3.

use crate::row::*;
use noctule_mqtt::packet::Publish;
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    Packet, PacketType, Properties, Property, PropertyId, QoS, TopicName, Violation,
};

pub(crate) fn rows() -> Vec<Row> {
    [flags(), topics(), with_properties(), refused(), refused_properties()].concat()
}

fn with(list: &[Property<'static>]) -> Packet<'static> {
    Packet::Publish(Publish { properties: properties(list), ..publish() })
}

fn numbered(qos: QoS, dup: bool, retain: bool) -> Packet<'static> {
    Packet::Publish(Publish { dup, qos, retain, packet_id: Some(id(1)), ..publish() })
}

fn to(topic: &'static str) -> Packet<'static> {
    Packet::Publish(Publish { topic: Some(crate::row::topic(topic)), ..publish() })
}

fn short(field: &'static str, needed: usize, available: usize) -> Violation {
    cut(PacketType::Publish, field, needed, available)
}

#[rustfmt::skip]
fn flags() -> Vec<Row> {
    use QoS::*;
    const FLAGS: &str = "MQTT3 section 3.3.1";
    const FLAGS5: &str = "MQTT5 section 3.3.1";
    let plain = |retain| Packet::Publish(Publish { retain, ..publish() });
    vec![
        good("QoS 0", "MQTT3-3.3.2-1", (V3, BOTH), "30 04 0001 'a' 'x'", plain(false)),
        good("QoS 0, retained", FLAGS, (V3, BOTH), "31 04 0001 'a' 'x'", plain(true)),
        good("QoS 1", FLAGS, (V3, BOTH), "32 06 0001 'a' 0001 'x'", numbered(AtLeastOnce, false, false)),
        good("QoS 1, retained", FLAGS, (V3, BOTH), "33 06 0001 'a' 0001 'x'", numbered(AtLeastOnce, false, true)),
        good("QoS 2", FLAGS, (V3, BOTH), "34 06 0001 'a' 0001 'x'", numbered(ExactlyOnce, false, false)),
        good("QoS 2, retained", FLAGS, (V3, BOTH), "35 06 0001 'a' 0001 'x'", numbered(ExactlyOnce, false, true)),
        good("QoS 1, again", "MQTT3-3.3.1-1", (V3, BOTH), "3a 06 0001 'a' 0001 'x'", numbered(AtLeastOnce, true, false)),
        good("QoS 1, again, retained", FLAGS, (V3, BOTH), "3b 06 0001 'a' 0001 'x'", numbered(AtLeastOnce, true, true)),
        good("QoS 2, again", FLAGS, (V3, BOTH), "3c 06 0001 'a' 0001 'x'", numbered(ExactlyOnce, true, false)),
        good("QoS 2, again, retained", FLAGS, (V3, BOTH), "3d 06 0001 'a' 0001 'x'", numbered(ExactlyOnce, true, true)),
        good("QoS 0 in 5, without properties", "MQTT5-2.2.2-1, MQTT5-3.3.2-1", (V5, BOTH), "30 05 0001 'a' 00 'x'", plain(false)),
        good("QoS 0, retained, in 5", FLAGS5, (V5, BOTH), "31 05 0001 'a' 00 'x'", plain(true)),
        good("QoS 1 in 5", FLAGS5, (V5, BOTH), "32 07 0001 'a' 0001 00 'x'", numbered(AtLeastOnce, false, false)),
        good("QoS 1, again, in 5", "MQTT5-3.3.1-1", (V5, BOTH), "3a 07 0001 'a' 0001 00 'x'", numbered(AtLeastOnce, true, false)),
        good("QoS 2 in 5", FLAGS5, (V5, BOTH), "34 07 0001 'a' 0001 00 'x'", numbered(ExactlyOnce, false, false)),
        good("QoS 2, again, retained, in 5", FLAGS5, (V5, BOTH), "3d 07 0001 'a' 0001 00 'x'", numbered(ExactlyOnce, true, true)),
        good("the largest packet identifier", "MQTT3 section 2.3.1", (V3, BOTH), "32 06 0001 'a' ffff 'x'", Packet::Publish(Publish { qos: AtLeastOnce, packet_id: Some(id(65_535)), ..publish() })),
        good("at QoS 0 what looks like a packet identifier is payload", "MQTT3-2.3.1-5", (V3, BOTH), "30 05 0001 'a' 0000", Packet::Publish(Publish { payload: &[0, 0], ..publish() })),
        bad("no DUP at QoS 0", "MQTT3-3.3.1-2, MQTT5-3.3.1-2", (ALL, BOTH), "38 05 0001 'a' 00 'x'", Violation::DupAtQos0),
        bad("no DUP at QoS 0, retained or not", "MQTT3-3.3.1-2, MQTT5-3.3.1-2", (ALL, BOTH), "39 05 0001 'a' 00 'x'", Violation::DupAtQos0),
        bad("there is no QoS 3", "MQTT3-3.3.1-4, MQTT5-3.3.1-4", (ALL, BOTH), "36 07 0001 'a' 0001 00 'x'", Violation::QosInvalid { field: "QoS" }),
        bad("there is no QoS 3, retained", "MQTT3-3.3.1-4, MQTT5-3.3.1-4", (ALL, BOTH), "37 07 0001 'a' 0001 00 'x'", Violation::QosInvalid { field: "QoS" }),
        bad("there is no QoS 3, again", "MQTT3-3.3.1-4, MQTT5-3.3.1-4", (ALL, BOTH), "3e 07 0001 'a' 0001 00 'x'", Violation::QosInvalid { field: "QoS" }),
        bad("there is no QoS 3, again and retained", "MQTT3-3.3.1-4, MQTT5-3.3.1-4", (ALL, BOTH), "3f 07 0001 'a' 0001 00 'x'", Violation::QosInvalid { field: "QoS" }),
    ]
}

#[rustfmt::skip]
fn topics() -> Vec<Row> {
    vec![
        good("a payload may be empty", "MQTT3 section 3.3.3", (V3, BOTH), "30 03 0001 'a'", Packet::Publish(Publish { payload: b"", ..publish() })),
        good("a payload may be empty in 5", "MQTT5 section 3.3.3", (V5, BOTH), "30 04 0001 'a' 00", Packet::Publish(Publish { payload: b"", ..publish() })),
        good("a payload is any bytes", "MQTT3 section 3.3.3", (V3, BOTH), "30 07 0001 'a' 00ff80c0", Packet::Publish(Publish { payload: &[0, 0xFF, 0x80, 0xC0], ..publish() })),
        good("a topic may be a separator alone", "MQTT3 section 4.7.3", (V3, BOTH), "30 04 0001 '/' 'x'", to("/")),
        good("a topic may have empty levels", "MQTT3 section 4.7.3", (V3, BOTH), "30 08 0005 '//a//' 'x'", to("//a//")),
        good("a topic may have spaces", "MQTT3 section 4.7.3", (V3, BOTH), "30 06 0003 'a' 20 'b' 'x'", to("a b")),
        good("a topic may begin with $", "MQTT3 section 4.7.2", (V3, BOTH), "30 09 0006 '$SYS/x' 'x'", to("$SYS/x")),
        good("a topic beginning with $share is a topic", "MQTT5 section 4.7.2", (V5, BOTH), "30 0c 0008 '$share/a' 00 'x'", to("$share/a")),
        bad("a topic has no + in 3", "MQTT3-3.3.2-2", (V3, BOTH), "30 06 0003 'a/+' 'x'", Violation::TopicHasWildcard),
        bad("a topic has no # in 3", "MQTT3-3.3.2-2", (V3, BOTH), "30 04 0001 '#' 'x'", Violation::TopicHasWildcard),
        bad("a topic has no + in 5", "MQTT5-3.3.2-2", (V5, BOTH), "30 07 0003 'a+b' 00 'x'", Violation::TopicHasWildcard),
        bad("a topic has no # in 5", "MQTT5-3.3.2-2", (V5, BOTH), "30 07 0003 'a/#' 00 'x'", Violation::TopicHasWildcard),
        bad("a topic is not empty in 3", "MQTT3-4.7.3-1", (V3, BOTH), "30 03 0000 'x'", Violation::TopicEmpty),
        bad("a topic is not empty in 5 without an alias", "MQTT5 section 3.3.2.1", (V5, BOTH), "30 04 0000 00 'x'", Violation::TopicEmpty),
    ]
}

#[rustfmt::skip]
fn with_properties() -> Vec<Row> {
    use Property::*;
    vec![
        good("a payload of unknown format", "MQTT5 section 3.3.2.3.2", (V5, BOTH), "30 07 0001 'a' 02 01 00 'x'", with(&[PayloadFormatIndicator(0)])),
        good("a payload that is text", "MQTT5-3.3.2-4", (V5, BOTH), "30 07 0001 'a' 02 01 01 'x'", with(&[PayloadFormatIndicator(1)])),
        good("text need not be checked", "MQTT5 section 3.3.2.3.2", (V5, BOTH), "30 07 0001 'a' 02 01 01 ff", Packet::Publish(Publish { properties: properties(&[PayloadFormatIndicator(1)]), payload: &[0xFF], ..publish() })),
        good("a message that expires at once", "MQTT5-3.3.2-5", (V5, BOTH), "30 0a 0001 'a' 05 02 00000000 'x'", with(&[MessageExpiryInterval(0)])),
        good("a message that expires late", "MQTT5-3.3.2-6", (V5, BOTH), "30 0a 0001 'a' 05 02 ffffffff 'x'", with(&[MessageExpiryInterval(u32::MAX)])),
        good("a topic and an alias for it", "MQTT5 section 3.3.2.3.4", (V5, BOTH), "30 08 0001 'a' 03 23 0001 'x'", with(&[TopicAlias(1)])),
        good("an alias for a topic", "MQTT5 section 3.3.2.3.4", (V5, BOTH), "30 07 0000 03 23 ffff 'x'", Packet::Publish(Publish { topic: None, properties: properties(&[TopicAlias(65_535)]), ..publish() })),
        good("a response topic", "MQTT5-3.3.2-15", (V5, BOTH), "30 0b 0001 'a' 06 08 0003 'r/a' 'x'", with(&[ResponseTopic("r/a")])),
        good("correlation data are any bytes", "MQTT5-3.3.2-16", (V5, BOTH), "30 0b 0001 'a' 06 09 0003 00ff80 'x'", with(&[CorrelationData(&[0, 0xFF, 0x80])])),
        good("correlation data may be empty", "MQTT5 section 3.3.2.3.6", (V5, BOTH), "30 08 0001 'a' 03 09 0000 'x'", with(&[CorrelationData(b"")])),
        good("user properties keep their order", "MQTT5-3.3.2-18", (V5, BOTH), "30 1a 0001 'a' 15 26 0001 'b' 0001 '1' 26 0001 'a' 0001 '2' 26 0001 'b' 0001 '1' 'x'", with(&[UserProperty(("b", "1")), UserProperty(("a", "2")), UserProperty(("b", "1"))])),
        good("a content type", "MQTT5-3.3.2-20", (V5, BOTH), "30 0b 0001 'a' 06 03 0003 't/p' 'x'", with(&[ContentType("t/p")])),
        good("the smallest subscription identifier", "MQTT5-3.3.4-3", (V5, CLIENT), "30 07 0001 'a' 02 0b 01 'x'", with(&[SubscriptionIdentifier(1)])),
        good("the largest subscription identifier", "MQTT5 section 3.3.2.3.8", (V5, CLIENT), "30 0a 0001 'a' 05 0b ffffff7f 'x'", with(&[SubscriptionIdentifier(268_435_455)])),
        good("several subscription identifiers, and one twice", "MQTT5-3.3.4-4", (V5, CLIENT), "30 0c 0001 'a' 07 0b 7f 0b 8001 0b 7f 'x'", with(&[SubscriptionIdentifier(127), SubscriptionIdentifier(128), SubscriptionIdentifier(127)])),
    ]
}

#[rustfmt::skip]
fn refused() -> Vec<Row> {
    const END: &str = "MQTT3-4.8.0-1, MQTT5 section 4.13";
    const ID: &str = "MQTT3-2.3.1-1, MQTT5-2.2.1-3";
    vec![
        bad("a packet identifier at QoS 1 is not zero", ID, (ALL, BOTH), "32 07 0001 'a' 0000 00 'x'", Violation::PacketIdZero { packet: PacketType::Publish }),
        bad("a packet identifier at QoS 2 is not zero", ID, (ALL, BOTH), "34 07 0001 'a' 0000 00 'x'", Violation::PacketIdZero { packet: PacketType::Publish }),
        bad("PUBLISH is not empty", END, (ALL, BOTH), "30 00", short("topic name", 2, 0)),
        bad("the topic's length has two bytes", END, (ALL, BOTH), "30 01 00", short("topic name", 2, 1)),
        bad("the topic ends in the packet", END, (ALL, BOTH), "30 05 0004 'abc'", short("topic name", 4, 3)),
        bad("a topic's claim of 64 KiB ends in the packet", END, (ALL, BOTH), "30 05 ffff 'abc'", short("topic name", 65_535, 3)),
        bad("a packet identifier has two bytes", END, (ALL, BOTH), "32 04 0001 'a' 01", short("packet identifier", 2, 1)),
        bad("QoS 2 needs a packet identifier", END, (ALL, BOTH), "34 03 0001 'a'", short("packet identifier", 2, 0)),
    ]
}

#[rustfmt::skip]
fn refused_properties() -> Vec<Row> {
    let publish = Carrier::Packet(PacketType::Publish);
    let value = |property| Violation::PropertyValueInvalid { property };
    let length = || Violation::VariableByteIntegerMalformed { field: "property length" };
    vec![
        bad("PUBLISH of 5 has a property length", "MQTT5 section 3.3.2.3.1", (V5, BOTH), "30 03 0001 'a'", short("property length", 1, 0)),
        bad("the properties end in the packet", "MQTT5 section 4.13", (V5, BOTH), "30 06 0001 'a' 03 01 00", short("properties", 3, 2)),
        bad("a property ends in the properties and not in the payload", "MQTT5 section 4.13", (V5, BOTH), "30 09 0001 'a' 04 02 000000 'x'", short("message expiry interval", 4, 3)),
        bad("a property length is not longer than it needs", "MQTT5-1.5.5-1", (V5, BOTH), "30 06 0001 'a' 8000 'x'", length()),
        bad("a property length of one byte in four is refused", "MQTT5-1.5.5-1", (V5, BOTH), "30 0a 0001 'a' 82808000 01 00 'x'", length()),
        bad("a property length has four bytes at most", "MQTT5-1.5.5-1", (V5, BOTH), "30 09 0001 'a' 80808080 01 'x'", length()),
        bad("a property length that goes on ends in the packet", "MQTT5 section 4.13", (V5, BOTH), "30 04 0001 'a' 80", short("property length", 1, 0)),
        bad("a property identifier is not longer than it needs", "MQTT5-1.5.5-1", (V5, BOTH), "30 08 0001 'a' 03 8100 00 'x'", Violation::VariableByteIntegerMalformed { field: "property identifier" }),
        bad("a property identifier of two bytes is read and unknown", "MQTT5 section 2.2.2.2", (V5, BOTH), "30 08 0001 'a' 03 8101 00 'x'", Violation::PropertyUnknown { id: 129 }),
        bad("property 0 does not exist", "MQTT5 section 2.2.2.2", (V5, BOTH), "30 07 0001 'a' 02 00 00 'x'", Violation::PropertyUnknown { id: 0 }),
        bad("a payload format is 0 or 1", "MQTT5 section 3.3.2.3.2", (V5, BOTH), "30 07 0001 'a' 02 01 02 'x'", value(PropertyId::PayloadFormatIndicator)),
        bad("a topic alias is not zero", "MQTT5-3.3.2-8", (V5, BOTH), "30 08 0001 'a' 03 23 0000 'x'", Violation::TopicAliasInvalid { alias: 0 }),
        bad("a response topic has no wildcard", "MQTT5-3.3.2-14", (V5, BOTH), "30 0b 0001 'a' 06 08 0003 'r/#' 'x'", value(PropertyId::ResponseTopic)),
        bad("a response topic is not empty", "MQTT5-4.7.3-1", (V5, BOTH), "30 08 0001 'a' 03 08 0000 'x'", value(PropertyId::ResponseTopic)),
        bad("a client sends no subscription identifier", "MQTT5-3.3.4-6", (V5, SERVER), "30 07 0001 'a' 02 0b 01 'x'", Violation::SubscriptionIdentifierFromClient),
        bad("a subscription identifier is not zero", "MQTT5 section 3.3.2.3.8", (V5, CLIENT), "30 07 0001 'a' 02 0b 00 'x'", value(PropertyId::SubscriptionIdentifier)),
        bad("a subscription identifier is not longer than it needs", "MQTT5-1.5.5-1", (V5, CLIENT), "30 08 0001 'a' 03 0b 8100 'x'", Violation::VariableByteIntegerMalformed { field: "subscription identifier" }),
        bad("one topic alias is enough", "MQTT5 section 3.3.2.3.4", (V5, BOTH), "30 0b 0001 'a' 06 23 0001 23 0001 'x'", Violation::PropertyRepeated { property: PropertyId::TopicAlias, carrier: publish }),
        bad("one content type is enough", "MQTT5 section 3.3.2.3.9", (V5, BOTH), "30 0f 0001 'a' 0a 03 0001 't' 01 00 03 0001 't' 'x'", Violation::PropertyRepeated { property: PropertyId::ContentType, carrier: publish }),
        bad("a message has no delay", "MQTT5 section 2.2.2.2", (V5, BOTH), "30 0a 0001 'a' 05 18 00000001 'x'", Violation::PropertyNotAllowed { property: PropertyId::WillDelayInterval, carrier: publish }),
        bad("correlation data end in the properties", "MQTT5 section 4.13", (V5, BOTH), "30 09 0001 'a' 04 09 0002 ff 'x'", short("correlation data", 2, 1)),
        bad("a user property has a value", "MQTT5 section 1.5.7", (V5, BOTH), "30 09 0001 'a' 04 26 0001 'k' 'x'", short("user property", 2, 0)),
    ]
}

#[test] // [MQTT3-4.7.3-3] [MQTT5-4.7.3-3]
fn the_longest_topic_is_read_and_written() {
    let topic = "x".repeat(65_535);
    let mut packet = Vec::from([0x30, 0x81, 0x80, 0x04, 0xFF, 0xFF]);
    packet.extend_from_slice(topic.as_bytes());
    let frame = noctule_mqtt::codec::next_frame(&packet, u32::MAX).unwrap().unwrap();
    let version = noctule_mqtt::ProtocolVersion::V311;
    let decoded = noctule_mqtt::codec::decode(&frame, version, noctule_mqtt::Receiver::Server);
    let expected = Packet::Publish(Publish {
        topic: Some(TopicName::new(&topic).unwrap()),
        payload: b"",
        properties: Properties::EMPTY,
        ..publish()
    });
    assert_eq!(decoded.as_ref(), Ok(&expected));
    assert_eq!(crate::encoded(&expected, version), packet);
}
