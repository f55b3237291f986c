//! Properties of MQTT 5: passed on unchanged to those who know them, left away for the others; and
//! what a client says of itself with them.

use crate::connecting;
use noctule_mqtt::{Property, ProtocolVersion, ReasonCode};
use noctule_testkit::packets::*;
use noctule_testkit::{Said, World};

/// Everything a publisher may say, the order being part of it.
fn with_all(message: Publishing) -> Publishing {
    message
        .property(Property::UserProperty(("z", "first")))
        .property(Property::PayloadFormatIndicator(1))
        .property(Property::ContentType("text/plain"))
        .property(Property::UserProperty(("a", "second")))
        .property(Property::ResponseTopic("answers/here"))
        .property(Property::CorrelationData(&[0, 1, 255]))
        .property(Property::MessageExpiryInterval(3_600))
        .property(Property::UserProperty(("z", "")))
}

// [MQTT5-3.3.2-4] [MQTT5-3.3.2-15] [MQTT5-3.3.2-16] [MQTT5-3.3.2-17] [MQTT5-3.3.2-18]
// [MQTT5-3.3.2-20]
#[test]
fn properties_pass_through_unchanged_and_in_order() {
    for qos in 0..3 {
        for bytes in [10, 5_000] {
            let mut w = World::new();
            w.connect("s", v5());
            w.connect("live", v5());
            w.subscribe("live", "x", 2);
            w.connect("later", v5().persistent());
            w.subscribe("later", "x", 2);
            w.disconnect("later");
            w.publish("s", with_all(publish("x", vec![b'm'; bytes]).qos(qos)));
            w.receive("live", with_all(publish("x", vec![b'm'; bytes]).qos(qos)));
            w.connect("later", v5().persistent());
            if qos > 0 {
                w.receive("later", with_all(publish("x", vec![b'm'; bytes]).qos(qos)));
            }
        }
    }
}

#[test]
fn versions_without_properties_get_the_message_without_them() {
    for version in [ProtocolVersion::V31, ProtocolVersion::V311] {
        for qos in 0..3 {
            for bytes in [10, 5_000] {
                let mut w = World::new();
                w.connect("s", v5());
                w.connect("r", connecting(version));
                w.subscribe("r", "x", 2);
                w.publish("s", with_all(publish("x", vec![b'm'; bytes]).qos(qos)));
                w.receive("r", publish("x", vec![b'm'; bytes]).qos(qos));
            }
        }
    }
}

#[test]
fn messages_of_older_versions_come_to_mqtt_5_without_properties() {
    for version in [ProtocolVersion::V31, ProtocolVersion::V311] {
        for qos in 0..3 {
            let mut w = World::new();
            w.connect("s", connecting(version));
            w.connect("r", v5());
            w.subscribe("r", "x", 2);
            w.publish("s", publish("x", "m").qos(qos));
            w.receive("r", publish("x", "m").qos(qos));
        }
    }
}

#[test] // [MQTT5-1.5.5-1]: 3.1.1 does not forbid a padded length, but what we send is not padded
fn a_padded_remaining_length_is_not_passed_on() {
    let mut w = World::new();
    w.connect("s", v311());
    w.connect("r", v311());
    w.subscribe("r", "x", 0);
    w.send_bytes("s", &[0x30, 0x84, 0x00, 0, 1, b'x', b'm']);
    w.expect("r", publish("x", "m"));
    let sent = w.counters().bytes_sent;
    w.send_bytes("s", &[0x30, 0x04, 0, 1, b'x', b'm']);
    w.expect("r", publish("x", "m"));
    assert_eq!(w.counters().bytes_sent - sent, 6);
    let counted = sent - (2 * 4 + 5);
    assert_eq!(counted, 6, "two CONNACKs, a SUBACK and the message without padding");
}

/// The bytes of `message` in MQTT 5, as a client gets it.
fn size(message: Publishing) -> u32 {
    let message =
        if message.qos == noctule_mqtt::QoS::AtMostOnce { message } else { message.id(1) };
    Said::from(message).bytes(ProtocolVersion::V5).expect("it can be written").len() as u32
}

#[test] // [MQTT5-3.1.2-24] [MQTT5-3.1.2-25]
fn a_message_over_the_clients_maximum_packet_size_is_dropped_and_counted() {
    for qos in 0..3 {
        for bytes in [50, 1_000, 3_000] {
            let fitting = with_all(publish("x", vec![1; bytes]).qos(qos));
            let over = with_all(publish("x", vec![2; bytes + 1]).qos(qos));
            for persistent in [false, true] {
                let mut w = World::new();
                let connect = v5().packet_max(size(fitting.clone()));
                let connect = if persistent { connect.persistent() } else { connect };
                w.connect("r", connect.clone());
                w.subscribe("r", "x", 2);
                w.connect("s", v5());
                w.publish("s", over.clone());
                w.publish("s", fitting.clone());
                w.receive("r", fitting.clone());
                assert_eq!(w.dropped().packet_too_large, 1);
                if persistent && qos > 0 {
                    // As if it had been delivered: the session is rid of it.
                    w.lose("r");
                    w.publish("s", over.clone());
                    w.publish("s", fitting.clone());
                    w.connect("r", connect);
                    w.receive("r", fitting.clone());
                    assert_eq!(w.dropped().packet_too_large, 2);
                }
                w.expect_quiet();
            }
        }
    }
}

#[test] // [MQTT5-3.1.2-25]
fn what_became_too_large_for_the_next_connection_is_dropped_from_the_flight() {
    let mut w = World::new();
    w.connect("r", v5().persistent());
    w.subscribe("r", "x", 2);
    w.connect("s", v5());
    for (number, qos) in [(0, 1), (1, 2), (2, 1)] {
        let bytes = if number == 2 { 10 } else { 1_000 };
        w.publish("s", publish("x", vec![number; bytes]).qos(qos));
        w.expect("r", publish("x", vec![number; bytes]).qos(qos));
    }
    w.lose("r");
    w.connect("r", v5().persistent().packet_max(100));
    w.receive("r", publish("x", [2; 10]).qos(1).id(3).dup());
    // Its PUBREC may have been lost: what was begun at QoS 2 is ended without it [MQTT5-4.3.3-4].
    w.expect("r", pubrel(2));
    w.send("r", pubcomp(2));
    assert_eq!(w.dropped().packet_too_large, 2);
    w.lose("r");
    w.connect("r", v5().persistent());
    w.expect_quiet();
}

#[test] // [MQTT5-3.2.2-15]
fn a_packet_over_our_own_limit_is_a_violation_as_soon_as_it_is_claimed() {
    crate::in_each_version(|version| {
        let mut w = World::new();
        w.connect("a", connecting(version));
        // 2,000,000 bytes with the fixed header are allowed and one more is not.
        w.send_bytes("a", &[0x30, 0xFC, 0x88, 0x7A]);
        w.expect_quiet();
        w.lose("a");
        w.connect("a", connecting(version));
        w.send_bytes("a", &[0x30, 0xFD, 0x88, 0x7A]);
        if version == ProtocolVersion::V5 {
            w.expect("a", disconnect(ReasonCode::PacketTooLarge));
        }
        w.expect_closed("a");
    });
}
