//! UTF-8 strings: section 1.5.3 of 3.1.1, 1.5.4 of 5.0. What is refused and, as much, what is not.

use crate::row::{topic as topic_name, *};
use noctule_mqtt::packet::{Connect, Publish, Will};
use noctule_mqtt::{Packet, Properties, Property, ProtocolVersion as V, QoS, Violation};

pub(crate) fn rows() -> Vec<Row> {
    [ill_formed(), nulls(), well_formed(), everywhere()].concat()
}

/// The topic of PUBLISH, which is its first field and text.
const ILL: &str = "MQTT3-1.5.3-1, MQTT3-3.3.2-1, MQTT5-1.5.4-1, MQTT5-3.3.2-1";
const NULL: &str = "MQTT3-1.5.3-2, MQTT5-1.5.4-2";

fn topic_not_utf8(at: usize) -> Violation {
    Violation::StringNotUtf8 { field: "topic name", at }
}

/// At QoS 1: `0001` is the packet identifier and `00` the empty properties, or payload before 5.
#[rustfmt::skip]
fn ill_formed() -> Vec<Row> {
    let topic = |claim, hex, at| bad(claim, ILL, (ALL, BOTH), hex, topic_not_utf8(at));
    vec![
        topic("the first surrogate", "32 08 0003 eda080 0001 00", 0),
        topic("the last surrogate", "32 08 0003 edbfbf 0001 00", 0),
        topic("a pair of surrogates is no character", "32 0c 0007 'a' eda181edb080 0001 00", 1),
        topic("U+0000 in two bytes", "32 07 0002 c080 0001 00", 0),
        topic("a slash in two bytes", "32 08 0003 'a' c0af 0001 00", 1),
        topic("a slash in three bytes", "32 08 0003 e080af 0001 00", 0),
        topic("a slash in four bytes", "32 09 0004 f08080af 0001 00", 0),
        topic("a character beyond the last", "32 09 0004 f4908080 0001 00", 0),
        topic("a character of five bytes", "32 0a 0005 f888808080 0001 00", 0),
        topic("a byte that begins nothing", "32 08 0003 'ab' ff 0001 00", 2),
        topic("a byte that continues nothing", "32 06 0001 80 0001 00", 0),
        topic("a character cut off by the end of the string", "32 08 0003 'a' e282 0001 00", 1),
        topic("a character cut off by another", "32 08 0003 c3 'bc' 0001 00", 0),
        topic("Latin-1", "32 09 0004 'caf' e9 0001 00", 3),
    ]
}

#[rustfmt::skip]
fn nulls() -> Vec<Row> {
    let null = |field| Violation::StringHasNull { field };
    vec![
        bad("U+0000 in a topic", NULL, (ALL, BOTH), "32 08 0003 'a' 00 'b' 0001 00", null("topic name")),
        bad("U+0000 as a topic", "MQTT3-4.7.3-2, MQTT5-4.7.3-2", (ALL, BOTH), "32 06 0001 00 0001 00", null("topic name")),
        bad("U+0000 in a filter", "MQTT3-4.7.3-2", (V3, SERVER), "82 07 0001 0002 'a' 00 00", null("topic filter")),
        bad("U+0000 in a filter of 5", "MQTT5-4.7.3-2", (V5, SERVER), "a2 07 0001 00 0002 00 'a'", null("topic filter")),
        bad("U+0000 in a client identifier", "MQTT3-1.5.3-2", (V311, SERVER), "10 0d 0004 'MQTT' 04 02 003c 0001 00", null("client identifier")),
        bad("U+0000 in a client identifier of 5", "MQTT5-1.5.4-2", (V5, SERVER), "10 0f 0004 'MQTT' 05 02 003c 00 0002 'a' 00", null("client identifier")),
        bad("U+0000 in a will topic", "MQTT3-1.5.3-2", (V311, SERVER), "10 14 0004 'MQTT' 04 06 003c 0001 'a' 0002 'w' 00 0001 'x'", null("topic name")),
        bad("U+0000 in a user name", "MQTT3-1.5.3-2", (V311, SERVER), "10 11 0004 'MQTT' 04 82 003c 0001 'a' 0002 'u' 00", null("user name")),
        bad("U+0000 in a content type", "MQTT5-1.5.4-2", (V5, BOTH), "30 09 0001 'a' 04 03 0001 00 'x'", null("content type")),
        bad("U+0000 in a response topic", "MQTT5-1.5.4-2", (V5, BOTH), "30 0a 0001 'a' 05 08 0002 'r' 00 'x'", null("response topic")),
        bad("U+0000 in a user property's name", "MQTT5-1.5.4-2", (V5, BOTH), "30 0c 0001 'a' 07 26 0001 00 0001 'v' 'x'", null("user property")),
        bad("U+0000 in a user property's value", "MQTT5-1.5.4-2", (V5, BOTH), "30 0c 0001 'a' 07 26 0001 'k' 0001 00 'x'", null("user property")),
    ]
}

#[rustfmt::skip]
fn well_formed() -> Vec<Row> {
    let topic = |claim, clause, hex, topic| {
        let topic = Some(topic_name(topic));
        good(claim, clause, (V3, BOTH), hex, Packet::Publish(Publish { topic, ..publish() }))
    };
    vec![
        topic("a byte order mark is a character and is kept", "MQTT3-1.5.3-3", "30 07 0004 efbbbf 'a' 'x'", "\u{FEFF}a"),
        topic("a byte order mark alone is a topic", "MQTT3-1.5.3-3", "30 06 0003 efbbbf 'x'", "\u{FEFF}"),
        topic("the non-character U+FFFF may be accepted", "MQTT3 section 1.5.3", "30 06 0003 efbfbf 'x'", "\u{FFFF}"),
        topic("the non-character U+FDD0 may be accepted", "MQTT3 section 1.5.3", "30 06 0003 efb790 'x'", "\u{FDD0}"),
        topic("control characters may be accepted", "MQTT3 section 1.5.3", "30 07 0004 01 7f c29f 'x'", "\u{1}\u{7F}\u{9F}"),
        topic("the character before the surrogates", "MQTT3 section 1.5.3", "30 06 0003 ed9fbf 'x'", "\u{D7FF}"),
        topic("the character behind the surrogates", "MQTT3 section 1.5.3", "30 06 0003 ee8080 'x'", "\u{E000}"),
        topic("the specification's own example", "MQTT3 section 1.5.3", "30 08 0005 'A' f0aa9b94 'x'", "A\u{2A6D4}"),
        topic("the last character of all", "MQTT3 section 1.5.3", "30 07 0004 f48fbfbf 'x'", "\u{10FFFF}"),
        good("a byte order mark is kept in 5", "MQTT5-1.5.4-3", (V5, BOTH), "30 08 0004 efbbbf 'a' 00 'x'", Packet::Publish(Publish { topic: Some(topic_name("\u{FEFF}a")), ..publish() })),
        good("a byte order mark is kept in a property", "MQTT5-1.5.4-3", (V5, BOTH), "30 0b 0001 'a' 06 03 0003 efbbbf 'x'", Packet::Publish(Publish { properties: properties(&[Property::ContentType("\u{FEFF}")]), ..publish() })),
        good("a non-character is kept in 5", "MQTT5 section 1.5.4", (V5, BOTH), "30 07 0003 efbfbf 00 'x'", Packet::Publish(Publish { topic: Some(topic_name("\u{FFFF}")), ..publish() })),
        good("text beyond ASCII in all of CONNECT", "MQTT3 section 1.5.3", (V311, SERVER), "10 1a 0004 'MQTT' 04 86 003c 0002 'é' 0003 '→' 0001 'x' 0002 'ü'", Packet::Connect(Box::new(Connect {
            client_id: "é",
            will: Some(Will { topic: topic_name("→"), qos: QoS::AtMostOnce, retain: false, payload: b"x", properties: Properties::EMPTY }),
            user_name: Some("ü"),
            ..connect(V::V311)
        }))),
    ]
}

/// One ill-formed string in every field that is one.
#[rustfmt::skip]
fn everywhere() -> Vec<Row> {
    let not = |field| Violation::StringNotUtf8 { field, at: 0 };
    vec![
        bad("an ill-formed client identifier", "MQTT3-3.1.3-4", (V311, SERVER), "10 0d 0004 'MQTT' 04 02 003c 0001 ff", not("client identifier")),
        bad("an ill-formed client identifier in 5", "MQTT5-3.1.3-4", (V5, SERVER), "10 0e 0004 'MQTT' 05 02 003c 00 0001 ff", not("client identifier")),
        bad("an ill-formed will topic", "MQTT3-3.1.3-10", (V311, SERVER), "10 13 0004 'MQTT' 04 06 003c 0001 'a' 0001 ff 0001 'x'", not("will topic")),
        bad("an ill-formed will topic in 5", "MQTT5-3.1.3-11", (V5, SERVER), "10 15 0004 'MQTT' 05 06 003c 00 0001 'a' 00 0001 ff 0001 'x'", not("will topic")),
        bad("an ill-formed user name in 5", "MQTT5-3.1.3-12", (V5, SERVER), "10 11 0004 'MQTT' 05 82 003c 00 0001 'a' 0001 ff", not("user name")),
        bad("an ill-formed filter to end in 5", "MQTT5-3.10.3-1", (V5, SERVER), "a2 06 0001 00 0001 ff", not("topic filter")),
        bad("an ill-formed user name", "MQTT3-3.1.3-11", (V311, SERVER), "10 10 0004 'MQTT' 04 82 003c 0001 'a' 0001 ff", not("user name")),
        bad("an ill-formed filter", "MQTT3-3.8.3-1", (V3, SERVER), "82 06 0001 0001 ff 00", not("topic filter")),
        bad("an ill-formed filter in 5", "MQTT5-3.8.3-1", (V5, SERVER), "82 07 0001 00 0001 ff 00", not("topic filter")),
        bad("an ill-formed filter to end", "MQTT3-3.10.3-1", (V3, SERVER), "a2 05 0001 0001 ff", not("topic filter")),
        bad("an ill-formed authentication method", "MQTT5-1.5.4-1", (V5, SERVER), "10 12 0004 'MQTT' 05 02 003c 04 15 0001 ff 0001 'a'", not("authentication method")),
        bad("an ill-formed content type", "MQTT5-3.3.2-19", (V5, BOTH), "30 09 0001 'a' 04 03 0001 ff 'x'", not("content type")),
        bad("an ill-formed response topic", "MQTT5-3.3.2-13", (V5, BOTH), "30 09 0001 'a' 04 08 0001 ff 'x'", not("response topic")),
        bad("an ill-formed name of a user property", "MQTT5-1.5.4-1, MQTT5-1.5.7-1", (V5, BOTH), "30 0c 0001 'a' 07 26 0001 ff 0001 'v' 'x'", not("user property")),
        bad("an ill-formed value of a user property", "MQTT5-1.5.4-1, MQTT5-1.5.7-1", (V5, BOTH), "30 0c 0001 'a' 07 26 0001 'k' 0001 ff 'x'", not("user property")),
        bad("an ill-formed assigned client identifier", "MQTT5-1.5.4-1", (V5, CLIENT), "20 07 00 00 04 12 0001 ff", not("assigned client identifier")),
        bad("an ill-formed response information", "MQTT5-1.5.4-1", (V5, CLIENT), "20 07 00 00 04 1a 0001 ff", not("response information")),
        bad("an ill-formed server reference", "MQTT5-1.5.4-1", (V5, BOTH), "e0 06 9c 04 1c 0001 ff", not("server reference")),
    ]
}
