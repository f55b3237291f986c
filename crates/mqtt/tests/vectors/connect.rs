//! CONNECT: section 3.1 of all three specifications.

use crate::row::*;
use noctule_mqtt::packet::{Connect, Will};
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    Packet, PacketType, Properties, Property, PropertyId, ProtocolVersion as V, QoS, Violation,
};

pub(crate) fn rows() -> Vec<Row> {
    [
        identities(),
        wills(),
        credentials(),
        with_properties(),
        tolerated_in_3_1(),
        refused_versions(),
        refused_flags(),
        refused_fields(),
        refused_properties(),
    ]
    .concat()
}

fn packet(connect: Connect<'static>) -> Packet<'static> {
    Packet::Connect(Box::new(connect))
}

fn with(list: &[Property<'static>]) -> Packet<'static> {
    packet(Connect { properties: properties(list), ..connect(V::V5) })
}

fn will() -> Will<'static> {
    Will {
        topic: topic("w"),
        qos: QoS::AtMostOnce,
        retain: false,
        payload: b"x",
        properties: Properties::EMPTY,
    }
}

fn dying(version: V, will: Will<'static>) -> Packet<'static> {
    packet(Connect { will: Some(will), ..connect(version) })
}

fn short(field: &'static str, needed: usize, available: usize) -> Violation {
    cut(PacketType::Connect, field, needed, available)
}

#[rustfmt::skip]
fn identities() -> Vec<Row> {
    vec![
        good("MQTT 3.1 is MQIsdp, level 3", "MQTT31 section 3.1", (V31, SERVER), "10 0f 0006 'MQIsdp' 03 02 003c 0001 'a'", packet(connect(V::V31))),
        good("MQTT 3.1.1 is MQTT, level 4", "MQTT3-3.1.2-1, MQTT3-3.1.2-11", (V311, SERVER), "10 0d 0004 'MQTT' 04 02 003c 0001 'a'", packet(connect(V::V311))),
        good("MQTT 5.0 is MQTT, level 5", "MQTT5-3.1.2-1", (V5, SERVER), "10 0e 0004 'MQTT' 05 02 003c 00 0001 'a'", packet(connect(V::V5))),
        good("a clean session that was not asked for is none", "MQTT3-3.1.2-4", (V311, SERVER), "10 0d 0004 'MQTT' 04 00 003c 0001 'a'", packet(Connect { clean_start: false, ..connect(V::V311) })),
        good("a clean start that was not asked for is none", "MQTT5-3.1.2-4", (V5, SERVER), "10 0e 0004 'MQTT' 05 00 003c 00 0001 'a'", packet(Connect { clean_start: false, ..connect(V::V5) })),
        good("a keep alive of zero is taken", "MQTT3 section 3.1.2.10", (V311, SERVER), "10 0d 0004 'MQTT' 04 02 0000 0001 'a'", packet(Connect { keep_alive: 0, ..connect(V::V311) })),
        good("a keep alive of 65,535 is taken", "MQTT5 section 3.1.2.10", (V5, SERVER), "10 0e 0004 'MQTT' 05 02 ffff 00 0001 'a'", packet(Connect { keep_alive: 65_535, ..connect(V::V5) })),
        good("a client identifier may be empty in 3.1.1", "MQTT3-3.1.3-6", (V311, SERVER), "10 0c 0004 'MQTT' 04 02 003c 0000", packet(Connect { client_id: "", ..connect(V::V311) })),
        good("an empty client identifier without a clean session can be read, to be refused with a code", "MQTT3-3.1.3-8", (V311, SERVER), "10 0c 0004 'MQTT' 04 00 003c 0000", packet(Connect { client_id: "", clean_start: false, ..connect(V::V311) })),
        good("a client identifier may be empty in 5", "MQTT5-3.1.3-6", (V5, SERVER), "10 0d 0004 'MQTT' 05 02 003c 00 0000", packet(Connect { client_id: "", ..connect(V::V5) })),
        good("a client identifier of 19 bytes is no special case", "MQTT3-3.1.3-5", (V311, SERVER), "10 1f 00044d515454 04 02 003c 0013 'noctule-0123456789a'", packet(Connect { client_id: "noctule-0123456789a", ..connect(V::V311) })),
        good("a client identifier over 23 characters is the server's to allow", "MQTT3 section 3.1.3.1", (V311, SERVER), "10 2a 0004 'MQTT' 04 02 003c 001e 'abcdefghijklmnopqrstuvwxyz-.é'", packet(Connect { client_id: "abcdefghijklmnopqrstuvwxyz-.é", ..connect(V::V311) })),
    ]
}

#[rustfmt::skip]
fn wills() -> Vec<Row> {
    use Property::*;
    let v5 = |list: &[Property<'static>]| dying(V::V5, Will { properties: properties(list), ..will() });
    vec![
        good("a will at QoS 0 in 3.1", "MQTT31 section 3.1", (V31, SERVER), "10 15 0006 'MQIsdp' 03 06 003c 0001 'a' 0001 'w' 0001 'x'", dying(V::V31, will())),
        good("a will at QoS 0", "MQTT3-3.1.2-9", (V311, SERVER), "10 13 0004 'MQTT' 04 06 003c 0001 'a' 0001 'w' 0001 'x'", dying(V::V311, will())),
        good("a will at QoS 1", "MQTT3-3.1.2-14", (V311, SERVER), "10 13 0004 'MQTT' 04 0e 003c 0001 'a' 0001 'w' 0001 'x'", dying(V::V311, Will { qos: QoS::AtLeastOnce, ..will() })),
        good("a will at QoS 2", "MQTT3-3.1.2-14", (V311, SERVER), "10 13 0004 'MQTT' 04 16 003c 0001 'a' 0001 'w' 0001 'x'", dying(V::V311, Will { qos: QoS::ExactlyOnce, ..will() })),
        good("a will to be retained", "MQTT3-3.1.2-17", (V311, SERVER), "10 13 0004 'MQTT' 04 26 003c 0001 'a' 0001 'w' 0001 'x'", dying(V::V311, Will { retain: true, ..will() })),
        good("a will without a payload", "MQTT3 section 3.1.3.3", (V311, SERVER), "10 12 0004 'MQTT' 04 06 003c 0001 'a' 0001 'w' 0000", dying(V::V311, Will { payload: b"", ..will() })),
        good("a will payload is any bytes", "MQTT3 section 3.1.3.3", (V311, SERVER), "10 15 0004 'MQTT' 04 06 003c 0001 'a' 0001 'w' 0003 00ff80", dying(V::V311, Will { payload: &[0, 0xFF, 0x80], ..will() })),
        good("a will in 5 has a property length", "MQTT5-3.1.2-9", (V5, SERVER), "10 15 0004 'MQTT' 05 06 003c 00 0001 'a' 00 0001 'w' 0001 'x'", dying(V::V5, will())),
        good("a will at QoS 1 in 5", "MQTT5-3.1.2-12", (V5, SERVER), "10 15 0004 'MQTT' 05 0e 003c 00 0001 'a' 00 0001 'w' 0001 'x'", dying(V::V5, Will { qos: QoS::AtLeastOnce, ..will() })),
        good("a will at QoS 2 to be retained in 5", "MQTT5-3.1.2-12", (V5, SERVER), "10 15 0004 'MQTT' 05 36 003c 00 0001 'a' 00 0001 'w' 0001 'x'", dying(V::V5, Will { qos: QoS::ExactlyOnce, retain: true, ..will() })),
        good("a will with a delay", "MQTT5 section 3.1.3.2.2", (V5, SERVER), "10 1a 0004 'MQTT' 05 06 003c 00 0001 'a' 05 18 00000e10 0001 'w' 0001 'x'", v5(&[WillDelayInterval(3_600)])),
        good("a will with its message's properties in any order", "MQTT5 section 3.1.3.2", (V5, SERVER), "10 30 0004 'MQTT' 05 06 003c 00 0001 'a' 1b 02 0000000a 01 01 08 0001 'r' 09 0002 00ff 03 0001 't' 26 0001 'k' 0001 'v' 0001 'w' 0001 'x'", v5(&[MessageExpiryInterval(10), PayloadFormatIndicator(1), ResponseTopic("r"), CorrelationData(&[0, 0xFF]), ContentType("t"), UserProperty(("k", "v"))])),
        bad("a will needs a topic in 3", "MQTT3-4.7.3-1", (V311, SERVER), "10 12 0004 'MQTT' 04 06 003c 0001 'a' 0000 0001 'x'", Violation::TopicEmpty),
        bad("a will needs a topic in 5", "MQTT5-4.7.3-1", (V5, SERVER), "10 14 0004 'MQTT' 05 06 003c 00 0001 'a' 00 0000 0001 'x'", Violation::TopicEmpty),
        bad("a will topic has no wildcard", "MQTT3-4.7.1-1", (V311, SERVER), "10 15 0004 'MQTT' 04 06 003c 0001 'a' 0003 'w/#' 0001 'x'", Violation::TopicHasWildcard),
        bad("a will topic has no wildcard in 5", "MQTT5-4.7.0-1", (V5, SERVER), "10 15 0004 'MQTT' 05 06 003c 00 0001 'a' 00 0001 '+' 0001 'x'", Violation::TopicHasWildcard),
    ]
}

#[rustfmt::skip]
fn credentials() -> Vec<Row> {
    let known = |version| Connect { user_name: Some("u"), ..connect(version) };
    let both = |version| Connect { password: Some(b"p"), ..known(version) };
    vec![
        good("a user name and no password in 3.1", "MQTT31 section 3.1", (V31, SERVER), "10 12 0006 'MQIsdp' 03 82 003c 0001 'a' 0001 'u'", packet(known(V::V31))),
        good("a user name and a password in 3.1", "MQTT31 section 3.1", (V31, SERVER), "10 15 0006 'MQIsdp' 03 c2 003c 0001 'a' 0001 'u' 0001 'p'", packet(both(V::V31))),
        good("a user name and no password", "MQTT3-3.1.2-19", (V311, SERVER), "10 10 0004 'MQTT' 04 82 003c 0001 'a' 0001 'u'", packet(known(V::V311))),
        good("a user name and a password", "MQTT3-3.1.2-21", (V311, SERVER), "10 13 0004 'MQTT' 04 c2 003c 0001 'a' 0001 'u' 0001 'p'", packet(both(V::V311))),
        good("a user name and a password in 5", "MQTT5-3.1.2-17, MQTT5-3.1.2-19", (V5, SERVER), "10 14 0004 'MQTT' 05 c2 003c 00 0001 'a' 0001 'u' 0001 'p'", packet(both(V::V5))),
        good("a password without a user name in 5", "MQTT5 section 3.1.2.9", (V5, SERVER), "10 11 0004 'MQTT' 05 42 003c 00 0001 'a' 0001 'p'", packet(Connect { password: Some(b"p"), ..connect(V::V5) })),
        good("a user name and a password may be empty", "MQTT3 section 3.1.3.4", (V311, SERVER), "10 11 0004 'MQTT' 04 c2 003c 0001 'a' 0000 0000", packet(Connect { user_name: Some(""), password: Some(b""), ..connect(V::V311) })),
        good("a password is any bytes", "MQTT3 section 3.1.3.5", (V311, SERVER), "10 15 0004 'MQTT' 04 c2 003c 0001 'a' 0001 'u' 0003 00ff80", packet(Connect { password: Some(&[0, 0xFF, 0x80]), ..known(V::V311) })),
        good("everything at once", "MQTT3-3.1.3-1", (V311, SERVER), "10 19 0004 'MQTT' 04 f6 003c 0001 'a' 0001 'w' 0001 'x' 0001 'u' 0001 'p'", packet(Connect { will: Some(Will { qos: QoS::ExactlyOnce, retain: true, ..will() }), ..both(V::V311) })),
        good("everything at once in 5", "MQTT5-3.1.3-1", (V5, SERVER), "10 23 0004 'MQTT' 05 f6 003c 03 21 0005 0001 'a' 05 18 00000001 0001 'w' 0001 'x' 0001 'u' 0001 'p'", packet(Connect {
            properties: properties(&[Property::ReceiveMaximum(5)]),
            will: Some(Will { qos: QoS::ExactlyOnce, retain: true, properties: properties(&[Property::WillDelayInterval(1)]), ..will() }),
            ..both(V::V5)
        })),
    ]
}

#[rustfmt::skip]
fn with_properties() -> Vec<Row> {
    use Property::*;
    vec![
        good("a session expiry interval of zero", "MQTT5 section 3.1.2.11.2", (V5, SERVER), "10 13 0004 'MQTT' 05 02 003c 05 11 00000000 0001 'a'", with(&[SessionExpiryInterval(0)])),
        good("a session that never expires", "MQTT5 section 3.1.2.11.2", (V5, SERVER), "10 13 0004 'MQTT' 05 02 003c 05 11 ffffffff 0001 'a'", with(&[SessionExpiryInterval(u32::MAX)])),
        good("the smallest receive maximum", "MQTT5 section 3.1.2.11.3", (V5, SERVER), "10 11 0004 'MQTT' 05 02 003c 03 21 0001 0001 'a'", with(&[ReceiveMaximum(1)])),
        good("the largest receive maximum", "MQTT5 section 3.1.2.11.3", (V5, SERVER), "10 11 0004 'MQTT' 05 02 003c 03 21 ffff 0001 'a'", with(&[ReceiveMaximum(65_535)])),
        good("the smallest maximum packet size", "MQTT5 section 3.1.2.11.4", (V5, SERVER), "10 13 0004 'MQTT' 05 02 003c 05 27 00000001 0001 'a'", with(&[MaximumPacketSize(1)])),
        good("no topic aliases at all", "MQTT5 section 3.1.2.11.5", (V5, SERVER), "10 11 0004 'MQTT' 05 02 003c 03 22 0000 0001 'a'", with(&[TopicAliasMaximum(0)])),
        good("response information is asked for", "MQTT5 section 3.1.2.11.6", (V5, SERVER), "10 10 0004 'MQTT' 05 02 003c 02 19 01 0001 'a'", with(&[RequestResponseInformation(1)])),
        good("problem information is declined", "MQTT5 section 3.1.2.11.7", (V5, SERVER), "10 10 0004 'MQTT' 05 02 003c 02 17 00 0001 'a'", with(&[RequestProblemInformation(0)])),
        good("one user property twice", "MQTT5 section 3.1.2.11.8", (V5, SERVER), "10 1c 0004 'MQTT' 05 02 003c 0e 26 0001 'k' 0001 'v' 26 0001 'k' 0001 'v' 0001 'a'", with(&[UserProperty(("k", "v")), UserProperty(("k", "v"))])),
        good("an authentication method", "MQTT5 section 3.1.2.11.9", (V5, SERVER), "10 12 0004 'MQTT' 05 02 003c 04 15 0001 'm' 0001 'a'", with(&[AuthenticationMethod("m")])),
        good("authentication data before their method", "MQTT5 section 3.1.2.11.10", (V5, SERVER), "10 17 0004 'MQTT' 05 02 003c 09 16 0002 00ff 15 0001 'm' 0001 'a'", with(&[AuthenticationData(&[0, 0xFF]), AuthenticationMethod("m")])),
    ]
}

#[rustfmt::skip]
fn tolerated_in_3_1() -> Vec<Row> {
    let plain = || packet(connect(V::V31));
    vec![
        odd("3.1: the user name may be missing in spite of its flag", "MQTT31 section 3.1", (V31, SERVER), "10 0f 0006 'MQIsdp' 03 82 003c 0001 'a'", plain()),
        odd("3.1: user name and password may be missing in spite of their flags", "MQTT31 section 3.1", (V31, SERVER), "10 0f 0006 'MQIsdp' 03 c2 003c 0001 'a'", plain()),
        odd("3.1: the password may be missing in spite of its flag", "MQTT31 section 3.1", (V31, SERVER), "10 12 0006 'MQIsdp' 03 c2 003c 0001 'a' 0001 'u'", packet(Connect { user_name: Some("u"), ..connect(V::V31) })),
        odd("3.1: the reserved flag is not used", "MQTT31 section 3.1", (V31, SERVER), "10 0f 0006 'MQIsdp' 03 03 003c 0001 'a'", plain()),
        odd("3.1: a will QoS without a will is disregarded", "MQTT31 section 3.1", (V31, SERVER), "10 0f 0006 'MQIsdp' 03 0a 003c 0001 'a'", plain()),
        odd("3.1: even a will QoS of 3 is disregarded without a will", "MQTT31 section 3.1", (V31, SERVER), "10 0f 0006 'MQIsdp' 03 1a 003c 0001 'a'", plain()),
        odd("3.1: will retain without a will is disregarded", "MQTT31 section 3.1", (V31, SERVER), "10 0f 0006 'MQIsdp' 03 22 003c 0001 'a'", plain()),
        bad("3.1: half a user name is not a missing one", "MQTT31 section 3.1", (V31, SERVER), "10 10 0006 'MQIsdp' 03 82 003c 0001 'a' 00", short("user name", 2, 1)),
        bad("3.1: a password needs a user name", "MQTT31 section 3.1", (V31, SERVER), "10 12 0006 'MQIsdp' 03 42 003c 0001 'a' 0001 'p'", Violation::PasswordWithoutUserName),
        bad("3.1: a will QoS of 3 is none", "MQTT31 section 3.1", (V31, SERVER), "10 15 0006 'MQIsdp' 03 1e 003c 0001 'a' 0001 'w' 0001 'x'", Violation::QosInvalid { field: "will QoS" }),
    ]
}

#[rustfmt::skip]
fn refused_versions() -> Vec<Row> {
    const NAME: &str = "MQTT3-3.1.2-1, MQTT5-3.1.2-1";
    const LEVEL: &str = "MQTT3-3.1.2-2, MQTT5-3.1.2-2";
    let level = |level| Violation::ProtocolVersionUnsupported { level };
    vec![
        bad("the protocol name is in capitals", NAME, (ALL, SERVER), "10 0d 0004 'mqtt' 04 02 003c 0001 'a'", Violation::ProtocolNameUnknown),
        bad("the protocol name has no more letters", NAME, (ALL, SERVER), "10 0e 0005 'MQTTX' 04 02 003c 0001 'a'", Violation::ProtocolNameUnknown),
        bad("the protocol name has no fewer letters", NAME, (ALL, SERVER), "10 0c 0003 'MQT' 04 02 003c 0001 'a'", Violation::ProtocolNameUnknown),
        bad("the protocol name is not empty", NAME, (ALL, SERVER), "10 09 0000 04 02 003c 0001 'a'", Violation::ProtocolNameUnknown),
        bad("a protocol name that is not text is unknown", NAME, (ALL, SERVER), "10 0d 0004 ffffffff 04 02 003c 0001 'a'", Violation::ProtocolNameUnknown),
        bad("MQIsdp has no level 4", LEVEL, (ALL, SERVER), "10 0f 0006 'MQIsdp' 04 02 003c 0001 'a'", level(4)),
        bad("MQTT has no level 3", LEVEL, (ALL, SERVER), "10 0d 0004 'MQTT' 03 02 003c 0001 'a'", level(3)),
        bad("MQIsdp has no level 5", LEVEL, (ALL, SERVER), "10 10 0006 'MQIsdp' 05 02 003c 00 0001 'a'", level(5)),
        bad("level 6 is not spoken yet", LEVEL, (ALL, SERVER), "10 0e 0004 'MQTT' 06 02 003c 00 0001 'a'", level(6)),
        bad("level 0 was never spoken", LEVEL, (ALL, SERVER), "10 0d 0004 'MQTT' 00 02 003c 0001 'a'", level(0)),
        bad("the mark of bridges is no level of the standard", LEVEL, (ALL, SERVER), "10 0d 0004 'MQTT' 84 02 003c 0001 'a'", level(0x84)),
        bad("an unsupported level is told even if nothing behind it can be read", LEVEL, (ALL, SERVER), "10 07 0004 'MQTT' 07", level(7)),
    ]
}

#[rustfmt::skip]
fn refused_flags() -> Vec<Row> {
    let loose = || Violation::WillFlagsWithoutWill;
    let qos = || Violation::QosInvalid { field: "will QoS" };
    vec![
        bad("the reserved flag is zero", "MQTT3-3.1.2-3", (V311, SERVER), "10 0d 0004 'MQTT' 04 03 003c 0001 'a'", Violation::ConnectFlagReserved),
        bad("the reserved flag is zero in 5", "MQTT5-3.1.2-3", (V5, SERVER), "10 0e 0004 'MQTT' 05 03 003c 00 0001 'a'", Violation::ConnectFlagReserved),
        bad("a will QoS of 1 needs a will", "MQTT3-3.1.2-13", (V311, SERVER), "10 0d 0004 'MQTT' 04 0a 003c 0001 'a'", loose()),
        bad("a will QoS of 2 needs a will", "MQTT3-3.1.2-13", (V311, SERVER), "10 0d 0004 'MQTT' 04 12 003c 0001 'a'", loose()),
        bad("will retain needs a will", "MQTT3-3.1.2-15", (V311, SERVER), "10 0d 0004 'MQTT' 04 22 003c 0001 'a'", loose()),
        bad("a will QoS of 1 needs a will in 5", "MQTT5-3.1.2-11", (V5, SERVER), "10 0e 0004 'MQTT' 05 0a 003c 00 0001 'a'", loose()),
        bad("a will QoS of 2 needs a will in 5", "MQTT5-3.1.2-11", (V5, SERVER), "10 0e 0004 'MQTT' 05 12 003c 00 0001 'a'", loose()),
        bad("will retain needs a will in 5", "MQTT5-3.1.2-13", (V5, SERVER), "10 0e 0004 'MQTT' 05 22 003c 00 0001 'a'", loose()),
        bad("there is no will QoS of 3", "MQTT3-3.1.2-14", (V311, SERVER), "10 13 0004 'MQTT' 04 1e 003c 0001 'a' 0001 'w' 0001 'x'", qos()),
        bad("there is no will QoS of 3 in 5", "MQTT5-3.1.2-12", (V5, SERVER), "10 15 0004 'MQTT' 05 1e 003c 00 0001 'a' 00 0001 'w' 0001 'x'", qos()),
        bad("a password needs a user name before 5", "MQTT3-3.1.2-22", (V311, SERVER), "10 10 0004 'MQTT' 04 42 003c 0001 'a' 0001 'p'", Violation::PasswordWithoutUserName),
    ]
}

#[rustfmt::skip]
fn refused_fields() -> Vec<Row> {
    const END: &str = "MQTT3-4.8.0-1, MQTT5 section 4.13";
    vec![
        bad("CONNECT is not empty", END, (ALL, SERVER), "10 00", short("protocol name", 2, 0)),
        bad("the protocol name ends in the packet", END, (ALL, SERVER), "10 05 0004 'MQT'", short("protocol name", 4, 3)),
        bad("the protocol name is followed by a level", END, (ALL, SERVER), "10 06 0004 'MQTT'", short("protocol version", 1, 0)),
        bad("the level is followed by flags", END, (NEW, SERVER), "10 07 0004 'MQTT' 04", short("connect flags", 1, 0)),
        bad("the keep alive has two bytes", END, (NEW, SERVER), "10 09 0004 'MQTT' 04 02 00", short("keep alive", 2, 1)),
        bad("a client identifier is needed", "MQTT3-3.1.3-3", (V311, SERVER), "10 0a 0004 'MQTT' 04 02 003c", short("client identifier", 2, 0)),
        bad("the client identifier ends in the packet", END, (NEW, SERVER), "10 0d 0004 'MQTT' 04 02 003c 0002 'a'", short("client identifier", 2, 1)),
        bad("a will needs its topic", "MQTT3-3.1.2-9", (V311, SERVER), "10 0d 0004 'MQTT' 04 06 003c 0001 'a'", short("will topic", 2, 0)),
        bad("a will needs its payload", "MQTT3-3.1.2-9", (V311, SERVER), "10 10 0004 'MQTT' 04 06 003c 0001 'a' 0001 'w'", short("will payload", 2, 0)),
        bad("the user name flag needs a user name", "MQTT3-3.1.2-19", (V311, SERVER), "10 0d 0004 'MQTT' 04 82 003c 0001 'a'", short("user name", 2, 0)),
        bad("the password flag needs a password", "MQTT3-3.1.2-21", (V311, SERVER), "10 10 0004 'MQTT' 04 c2 003c 0001 'a' 0001 'u'", short("password", 2, 0)),
        bad("the password ends in the packet", END, (NEW, SERVER), "10 13 0004 'MQTT' 04 c2 003c 0001 'a' 0001 'u' 0004 'p'", short("password", 4, 1)),
        bad("the user name flag needs a user name in 5", "MQTT5-3.1.2-17", (V5, SERVER), "10 0e 0004 'MQTT' 05 82 003c 00 0001 'a'", short("user name", 2, 0)),
        bad("the password flag needs a password in 5", "MQTT5-3.1.2-19", (V5, SERVER), "10 0e 0004 'MQTT' 05 42 003c 00 0001 'a'", short("password", 2, 0)),
        bad("no user name without its flag", "MQTT3-3.1.2-18", (V311, SERVER), "10 10 0004 'MQTT' 04 02 003c 0001 'a' 0001 'u'", Violation::TrailingBytes { packet: PacketType::Connect, extra: 3 }),
        bad("no user name without its flag in 5", "MQTT5-3.1.2-16", (V5, SERVER), "10 11 0004 'MQTT' 05 02 003c 00 0001 'a' 0001 'u'", Violation::TrailingBytes { packet: PacketType::Connect, extra: 3 }),
        bad("no password without its flag in 5", "MQTT5-3.1.2-18", (V5, SERVER), "10 14 0004 'MQTT' 05 82 003c 00 0001 'a' 0001 'u' 0001 'p'", Violation::TrailingBytes { packet: PacketType::Connect, extra: 3 }),
        bad("a client identifier is needed in 5", "MQTT5-3.1.3-3", (V5, SERVER), "10 0b 0004 'MQTT' 05 02 003c 00", short("client identifier", 2, 0)),
        bad("no password without its flag", "MQTT3-3.1.2-20", (V311, SERVER), "10 13 0004 'MQTT' 04 82 003c 0001 'a' 0001 'u' 0001 'p'", Violation::TrailingBytes { packet: PacketType::Connect, extra: 3 }),
    ]
}

#[rustfmt::skip]
fn refused_properties() -> Vec<Row> {
    const VALUE: &str = "MQTT5 section 3.1.2.11";
    let value = |property| Violation::PropertyValueInvalid { property };
    vec![
        bad("CONNECT of 5 has a property length", "MQTT5 section 3.1.2.11.1", (V5, SERVER), "10 0a 0004 'MQTT' 05 02 003c", short("property length", 1, 0)),
        bad("the properties end in the packet", "MQTT5 section 4.13", (V5, SERVER), "10 0e 0004 'MQTT' 05 02 003c 05 21 0001", short("properties", 5, 3)),
        bad("a property ends in the properties", "MQTT5 section 4.13", (V5, SERVER), "10 11 0004 'MQTT' 05 02 003c 02 21 00 05 0001 'a'", short("receive maximum", 2, 1)),
        bad("a receive maximum is not zero", VALUE, (V5, SERVER), "10 11 0004 'MQTT' 05 02 003c 03 21 0000 0001 'a'", value(PropertyId::ReceiveMaximum)),
        bad("a maximum packet size is not zero", VALUE, (V5, SERVER), "10 13 0004 'MQTT' 05 02 003c 05 27 00000000 0001 'a'", value(PropertyId::MaximumPacketSize)),
        bad("request response information is 0 or 1", VALUE, (V5, SERVER), "10 10 0004 'MQTT' 05 02 003c 02 19 02 0001 'a'", value(PropertyId::RequestResponseInformation)),
        bad("request problem information is 0 or 1", VALUE, (V5, SERVER), "10 10 0004 'MQTT' 05 02 003c 02 17 ff 0001 'a'", value(PropertyId::RequestProblemInformation)),
        bad("authentication data need a method", "MQTT5 section 3.1.2.11.10", (V5, SERVER), "10 12 0004 'MQTT' 05 02 003c 04 16 0001 'd' 0001 'a'", Violation::AuthenticationDataWithoutMethod),
        bad("a will has a property length", "MQTT5 section 3.1.3.2", (V5, SERVER), "10 0e 0004 'MQTT' 05 06 003c 00 0001 'a'", short("property length", 1, 0)),
        bad("a will delay is the will's", "MQTT5 section 2.2.2.2", (V5, SERVER), "10 13 0004 'MQTT' 05 02 003c 05 18 00000001 0001 'a'", Violation::PropertyNotAllowed { property: PropertyId::WillDelayInterval, carrier: Carrier::Packet(PacketType::Connect) }),
        bad("a session expiry is not the will's", "MQTT5 section 2.2.2.2", (V5, SERVER), "10 1a 0004 'MQTT' 05 06 003c 00 0001 'a' 05 11 00000001 0001 'w' 0001 'x'", Violation::PropertyNotAllowed { property: PropertyId::SessionExpiryInterval, carrier: Carrier::Will }),
        bad("a will has one delay", "MQTT5 section 3.1.3.2.2", (V5, SERVER), "10 1f 0004 'MQTT' 05 06 003c 00 0001 'a' 0a 18 00000001 18 00000001 0001 'w' 0001 'x'", Violation::PropertyRepeated { property: PropertyId::WillDelayInterval, carrier: Carrier::Will }),
        bad("a will's payload format is 0 or 1", "MQTT5 section 3.1.3.2.3", (V5, SERVER), "10 17 0004 'MQTT' 05 06 003c 00 0001 'a' 02 01 02 0001 'w' 0001 'x'", value(PropertyId::PayloadFormatIndicator)),
        bad("a will's response topic has no wildcard", "MQTT5 section 3.1.3.2.6", (V5, SERVER), "10 1b 0004 'MQTT' 05 06 003c 00 0001 'a' 06 08 0003 'r/+' 0001 'w' 0001 'x'", value(PropertyId::ResponseTopic)),
        bad("a will topic ends in the packet", "MQTT5 section 4.13", (V5, SERVER), "10 12 0004 'MQTT' 05 06 003c 00 0001 'a' 00 0005 'w'", short("will topic", 5, 1)),
    ]
}
