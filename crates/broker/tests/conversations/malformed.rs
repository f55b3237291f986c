//! Packets that cannot be read or may not come: the right answer, a closed connection, and everybody
//! else untouched. What is malformed is tested row by row with the codec; here it is about what a
//! shard makes of it.

use crate::{connecting, in_each_version};
use noctule_broker::Cause;
use noctule_mqtt::{ProtocolVersion, ReasonCode};
use noctule_testkit::packets::*;
use noctule_testkit::{Dice, Pieces, Said, World};

const MALFORMED: ReasonCode = ReasonCode::MalformedPacket;
const PROTOCOL: ReasonCode = ReasonCode::ProtocolError;

/// What a connected client sends, and what MQTT 5 answers. The bytes are such that they are wrong
/// in every version.
const IN_CONVERSATION: &[(&str, &[u8], ReasonCode)] = &[
    ("[MQTT3-2.2.2-2] type 0", &[0x00, 0], MALFORMED),
    ("[MQTT5-2.1.3-1] flags of PUBACK", &[0x41, 2, 0, 1], MALFORMED),
    ("[MQTT5-2.1.3-1] flags of PUBREL", &[0x60, 2, 0, 1], MALFORMED),
    ("[MQTT5-2.1.3-1] flags of SUBSCRIBE", &[0x80, 6, 0, 1, 0, 1, b'x', 0], MALFORMED),
    ("[MQTT5-2.1.3-1] flags of UNSUBSCRIBE", &[0xA0, 5, 0, 1, 0, 1, b'x'], MALFORMED),
    ("[MQTT5-2.1.3-1] flags of PINGREQ", &[0xC2, 0], MALFORMED),
    ("[MQTT5-2.1.3-1] flags of DISCONNECT", &[0xE1, 0], MALFORMED),
    ("MQTT5 section 2.1.4, five bytes of length", &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0], MALFORMED),
    ("[MQTT3-3.3.1-4] QoS 3", &[0x36, 5, 0, 1, b'x', 0, 1], MALFORMED),
    ("[MQTT3-3.3.1-2] DUP at QoS 0", &[0x38, 4, 0, 1, b'x', 0], MALFORMED),
    ("[MQTT3-3.3.2-2] wildcard in a topic", &[0x30, 4, 0, 1, b'#', 0], MALFORMED),
    ("[MQTT3-4.7.3-1] empty topic", &[0x30, 3, 0, 0, 0], PROTOCOL),
    ("[MQTT3-1.5.3-2] null in a topic", &[0x30, 4, 0, 1, 0, 0], MALFORMED),
    ("[MQTT3-1.5.3-1] topic that is not UTF-8", &[0x30, 4, 0, 1, 0xFF, 0], MALFORMED),
    ("[MQTT3-1.5.3-1] surrogate in a topic", &[0x30, 6, 0, 3, 0xED, 0xA0, 0x80, 0], MALFORMED),
    ("topic over the end", &[0x30, 3, 0, 9, b'x'], MALFORMED),
    ("PUBLISH without a topic", &[0x30, 0], MALFORMED),
    ("[MQTT3-2.3.1-1] packet identifier 0", &[0x32, 6, 0, 1, b'x', 0, 0, 0], MALFORMED),
    ("QoS 1 without a packet identifier", &[0x32, 3, 0, 1, b'x'], MALFORMED),
    ("PUBACK without a packet identifier", &[0x40, 0], MALFORMED),
    ("[MQTT3-2.3.1-1] PUBACK of 0", &[0x40, 2, 0, 0], MALFORMED),
    ("[MQTT3-2.3.1-1] PUBREC of 0", &[0x50, 2, 0, 0], MALFORMED),
    ("[MQTT3-2.3.1-1] PUBREL of 0", &[0x62, 2, 0, 0], MALFORMED),
    ("[MQTT3-2.3.1-1] PUBCOMP of 0", &[0x70, 2, 0, 0], MALFORMED),
    ("[MQTT3-2.3.1-1] SUBSCRIBE of 0", &[0x82, 7, 0, 0, 0, 0, 1, b'x', 0], MALFORMED),
    ("[MQTT3-2.3.1-1] UNSUBSCRIBE of 0", &[0xA2, 6, 0, 0, 0, 0, 1, b'x'], MALFORMED),
    ("SUBSCRIBE of half an identifier", &[0x82, 1, 0], MALFORMED),
    ("PINGREQ with a body", &[0xC0, 1, 0], MALFORMED),
    ("CONNACK from a client", &[0x20, 2, 0, 0], PROTOCOL),
    ("SUBACK from a client", &[0x90, 3, 0, 1, 0], PROTOCOL),
    ("UNSUBACK from a client", &[0xB0, 2, 0, 1], PROTOCOL),
    ("PINGRESP from a client", &[0xD0, 0], PROTOCOL),
];

/// The same, where versions differ before and since MQTT 5.
const BEFORE_V5: &[(&str, &[u8])] = &[
    ("type 15", &[0xF0, 0]),
    ("[MQTT3-3.8.3-3] SUBSCRIBE without filters", &[0x82, 2, 0, 1]),
    ("[MQTT3-3.8.3-4] options of SUBSCRIBE", &[0x82, 6, 0, 1, 0, 1, b'x', 4]),
    ("[MQTT3-3.8.3-4] QoS 3 of SUBSCRIBE", &[0x82, 6, 0, 1, 0, 1, b'x', 3]),
    ("[MQTT3-4.7.1-2] wildcard amid a level", &[0x82, 7, 0, 1, 0, 2, b'x', b'#', 0]),
    ("[MQTT3-3.10.3-2] UNSUBSCRIBE without filters", &[0xA2, 2, 0, 1]),
    ("PUBACK too long", &[0x40, 3, 0, 1, 0]),
    ("DISCONNECT with a body", &[0xE0, 1, 0]),
];

const V5: &[(&str, &[u8], ReasonCode)] = &[
    ("[MQTT5-3.8.3-2] SUBSCRIBE without filters", &[0x82, 3, 0, 1, 0], PROTOCOL),
    ("[MQTT5-3.8.3-5] options of SUBSCRIBE", &[0x82, 7, 0, 1, 0, 0, 1, b'x', 0xC0], MALFORMED),
    ("retain handling 3", &[0x82, 7, 0, 1, 0, 0, 1, b'x', 0x30], PROTOCOL),
    ("QoS 3 of SUBSCRIBE", &[0x82, 7, 0, 1, 0, 0, 1, b'x', 3], PROTOCOL),
    ("[MQTT5-3.8.3-4] No Local on shared", b"\x82\x10\0\x01\0\0\x0A$share/g/x\x04", PROTOCOL),
    ("[MQTT5-4.8.2-1] shared without a filter", b"\x82\x0E\0\x01\0\0\x08$share/g\0", MALFORMED),
    ("[MQTT5-4.7.1-1] # amid a filter", b"\x82\x09\0\x01\0\0\x03#/x\0", MALFORMED),
    ("[MQTT5-3.10.3-2] UNSUBSCRIBE without filters", &[0xA2, 3, 0, 1, 0], PROTOCOL),
    ("unknown property", &[0x30, 6, 0, 1, b'x', 2, 0x7E, 0], MALFORMED),
    ("property of another packet", &[0x30, 8, 0, 1, b'x', 3, 0x21, 0, 1, 0], MALFORMED),
    ("property twice", &[0x30, 8, 0, 1, b'x', 4, 1, 0, 1, 0], PROTOCOL),
    ("property over the end", &[0x30, 5, 0, 1, b'x', 9, 1], MALFORMED),
    ("reason that PUBACK cannot have", &[0x40, 3, 0, 1, 0x8E], MALFORMED),
    ("[MQTT5-1.5.5-1] padded length", &[0xC0, 0x80, 0], MALFORMED),
    ("[MQTT5-3.3.4-6] subscription identifier", &[0x30, 6, 0, 1, b'x', 2, 0x0B, 1], PROTOCOL),
    (
        "[MQTT5-3.3.2-8] topic alias 0",
        &[0x30, 7, 0, 1, b'x', 3, 0x23, 0, 0],
        ReasonCode::TopicAliasInvalid,
    ),
];

/// A world with bystanders that have something in flight in both directions.
fn world() -> World {
    let mut w = World::new();
    w.connect("watcher", v5());
    w.subscribe("watcher", "#", 2);
    w.connect("kept", v311().persistent());
    w.subscribe("kept", "kept", 1);
    w.lose("kept");
    w.connect("talker", v311());
    w.subscribe("talker", "talk", 2);
    w
}

/// Whether the bystanders are as they should be.
fn expect_untouched(w: &mut World) {
    w.publish("talker", publish("talk", "on").qos(2));
    w.receive("talker", publish("talk", "on").qos(2));
    w.receive("watcher", publish("talk", "on").qos(2));
    w.publish("talker", publish("kept", "m").qos(1));
    w.receive("watcher", publish("kept", "m").qos(1));
    w.connect("kept", v311().persistent());
    w.receive("kept", publish("kept", "m").qos(1));
    w.expect_quiet();
    assert_eq!(w.population().connections, 3);
}

fn check(version: ProtocolVersion, what: &str, bytes: &[u8], reason: ReasonCode) {
    for pieces in [Pieces::Whole, Pieces::Bytes] {
        let mut w = world();
        w.note(format!("{what}, in {version}"));
        w.connect("bad", connecting(version));
        w.subscribe("bad", "x", 1);
        w.in_pieces(pieces);
        // What stands behind it is not looked at any more.
        w.say_bytes("bad", bytes);
        w.say("bad", publish("x", "behind"));
        w.settle();
        if version == ProtocolVersion::V5 {
            w.expect("bad", disconnect(reason));
        }
        w.expect_closed("bad");
        assert!(matches!(w.cause("bad"), Some(Cause::Violation(_))));
        assert_eq!(w.counters().violations, 1);
        w.in_pieces(Pieces::Whole);
        expect_untouched(&mut w);
    }
}

#[test] // [MQTT3-4.8.0-1] [MQTT5-3.14.4-2] [MQTT5-4.13.1-1] [MQTT5-4.13.2-1]
fn a_malformed_packet_closes_its_connection_with_the_right_word_and_touches_nobody() {
    in_each_version(|version| {
        for (what, bytes, reason) in IN_CONVERSATION {
            check(version, what, bytes, *reason);
        }
    });
    for (what, bytes, reason) in V5 {
        check(ProtocolVersion::V5, what, bytes, *reason);
    }
    for version in [ProtocolVersion::V31, ProtocolVersion::V311] {
        for (what, bytes) in BEFORE_V5 {
            check(version, what, bytes, MALFORMED);
        }
    }
}

#[test] // MQTT 3.1.1 section 2.2.3, MQTT 5.0 section 2.1.4
fn a_remaining_length_that_goes_on_is_refused_at_its_fourth_byte() {
    in_each_version(|version| {
        for first in [0x10, 0x30, 0xC0] {
            let mut w = World::new();
            w.open("new", version);
            // As a first packet only CONNECT may have a length at all.
            w.send_bytes("new", &[0x10, 0xFF, 0xFF, 0xFF]);
            w.expect_quiet();
            w.send_bytes("new", &[0x80]);
            w.expect_closed("new");
            w.connect("a", connecting(version));
            w.send_bytes("a", &[first, 0x80, 0x80, 0x80]);
            w.expect_quiet();
            w.send_bytes("a", &[0x80]);
            if version == ProtocolVersion::V5 {
                w.expect("a", disconnect(MALFORMED));
            }
            w.expect_closed("a");
        }
    });
}

/// CONNECT packets that are wrong, by the version they announce and what MQTT 5 answers.
const CONNECTS: &[(&str, ProtocolVersion, &[u8], Option<ReasonCode>)] = &[
    (
        "[MQTT3-3.1.2-3] reserved flag",
        ProtocolVersion::V311,
        b"\x10\x0D\0\x04MQTT\x04\x03\0\0\0\x01a",
        None,
    ),
    (
        "[MQTT5-3.1.2-3] reserved flag",
        ProtocolVersion::V5,
        b"\x10\x0E\0\x04MQTT\x05\x03\0\0\0\0\x01a",
        Some(MALFORMED),
    ),
    (
        "[MQTT3-3.1.2-13] will QoS without will",
        ProtocolVersion::V311,
        b"\x10\x0D\0\x04MQTT\x04\x0A\0\0\0\x01a",
        None,
    ),
    (
        "[MQTT5-3.1.2-11] will QoS without will",
        ProtocolVersion::V5,
        b"\x10\x0E\0\x04MQTT\x05\x0A\0\0\0\0\x01a",
        Some(MALFORMED),
    ),
    (
        "[MQTT3-3.1.2-22] password without user",
        ProtocolVersion::V311,
        b"\x10\x10\0\x04MQTT\x04\x42\0\0\0\x01a\0\x01p",
        None,
    ),
    (
        "client identifier over the end",
        ProtocolVersion::V5,
        b"\x10\x0E\0\x04MQTT\x05\x02\0\0\0\0\x09a",
        Some(MALFORMED),
    ),
    (
        "receive maximum 0",
        ProtocolVersion::V5,
        b"\x10\x11\0\x04MQTT\x05\x02\0\0\x03\x21\0\0\0\x01a",
        Some(PROTOCOL),
    ),
    (
        "session expiry twice",
        ProtocolVersion::V5,
        b"\x10\x18\0\x04MQTT\x05\x02\0\0\x0A\x11\0\0\0\x01\x11\0\0\0\x01\0\x01a",
        Some(PROTOCOL),
    ),
    (
        "client identifier not UTF-8",
        ProtocolVersion::V311,
        b"\x10\x0D\0\x04MQTT\x04\x02\0\0\0\x01\xFF",
        None,
    ),
    (
        "something behind the end",
        ProtocolVersion::V311,
        b"\x10\x0E\0\x04MQTT\x04\x02\0\0\0\x01aX",
        None,
    ),
    (
        "will topic with a wildcard",
        ProtocolVersion::V5,
        b"\x10\x14\0\x04MQTT\x05\x06\0\0\0\0\x01a\0\0\x01#\0\0",
        Some(MALFORMED),
    ),
    (
        "[MQTT3-2.2.2-2] flags of CONNECT",
        ProtocolVersion::V311,
        b"\x11\x0D\0\x04MQTT\x04\x02\0\0\0\x01a",
        None,
    ),
];

#[test] // [MQTT3-3.1.4-1] [MQTT3-3.2.2-6] [MQTT5-3.1.4-1]
fn a_malformed_connect_is_closed_and_mqtt_5_is_told_why() {
    for (what, version, bytes, reason) in CONNECTS {
        for pieces in [Pieces::Whole, Pieces::Bytes] {
            let mut w = world();
            w.note((*what).into());
            w.open("bad", *version);
            w.in_pieces(pieces);
            w.send_bytes("bad", bytes);
            if let Some(reason) = reason {
                w.expect("bad", connack_refused(*reason));
            }
            w.expect_closed("bad");
            w.in_pieces(Pieces::Whole);
            expect_untouched(&mut w);
        }
    }
}

#[test]
fn every_packet_can_come_byte_by_byte() {
    in_each_version(|version| {
        let mut w = World::new();
        w.in_pieces(Pieces::Bytes);
        let connect = connecting(version)
            .user("name")
            .password("secret")
            .keep_alive(60)
            .will(will("will", "lost").qos(2).retain());
        w.connect("a", connect);
        w.send("a", subscribe(1, "x/#", 2).and("y", 1));
        w.expect("a", suback(1, &[2, 1]));
        for qos in 0..3 {
            w.publish("a", publish("x/y", vec![b'm'; 300]).qos(qos).retain());
            w.receive("a", publish("x/y", vec![b'm'; 300]).qos(qos));
        }
        w.send("a", unsubscribe(2, &["x/#", "z"]));
        w.expect("a", unsuback(2, &[0, 0x11]));
        w.send("a", pingreq());
        w.expect("a", pingresp());
        if version == ProtocolVersion::V5 {
            w.send("a", puback(9).because(ReasonCode::QuotaExceeded));
            w.send("a", disconnect_expiring(ReasonCode::Success, 0));
        } else {
            w.send("a", disconnect(ReasonCode::Success));
        }
        w.expect_closed("a");
        w.expect_nobody_left();
    });
}

#[test]
fn random_bytes_close_their_connection_at_the_worst() {
    let mut w = world();
    let mut dice = Dice::new(99);
    for _ in 0..2_000 {
        let version = dice.pick(&ProtocolVersion::ALL);
        w.connect("bad", connecting(version));
        w.unheed("bad");
        let length = dice.below(60);
        let mut bytes: Vec<u8> = (0..length).map(|_| dice.roll() as u8).collect();
        if let Some(second) = bytes.get_mut(1) {
            // Mostly a length that can be met.
            *second %= 40;
        }
        w.send_bytes("bad", &bytes);
        for said in w.all_heard("watcher") {
            if let Said::Publish(publish) = said {
                w.acknowledge("watcher", &publish);
            }
        }
        if w.is_open("bad") {
            w.lose("bad");
        }
        w.retire("bad");
    }
    w.all_heard("watcher");
    assert_eq!((w.population().connections, w.population().sessions), (2, 3));
    w.send("talker", pingreq());
    w.expect("talker", pingresp());
}
