//! What those who watch a shard are told: samples of its messages, its numbers, its own topics, and
//! who breaks the rules.

use crate::{connecting, in_each_version};
use noctule_broker::{Published, Record, Report, WATCHED_PAYLOAD_BYTES_MAX};
use noctule_mqtt::{PacketType, ProtocolVersion, QoS, ReasonCode, Violation};
use noctule_testkit::World;
use noctule_testkit::packets::*;

fn seen(w: &World) -> Vec<&Published> {
    fn published(report: &Report) -> Option<&Published> {
        match report {
            Report::Published(published) => Some(published),
            _ => None,
        }
    }
    w.reports().iter().filter_map(published).collect()
}

#[test]
fn so_many_messages_are_handed_out_as_are_wanted_and_the_others_counted() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("a", connecting(version));
        w.publish("a", publish("x", "before"));
        assert_eq!(w.watch(2), 1);
        for qos in 0..=2 {
            w.publish("a", publish("x/y", format!("{qos}")).qos(qos));
        }
        w.publish("a", publish("x", "").retain());
        let shown: Vec<_> =
            seen(&w).iter().map(|one| (&*one.topic, &*one.payload, one.qos)).collect();
        let expected: [(&str, &[u8], QoS); 2] =
            [("x/y", b"0", QoS::AtMostOnce), ("x/y", b"1", QoS::AtLeastOnce)];
        assert_eq!(shown, expected);
        assert_eq!(w.watch(5), 2);
        w.publish("a", publish("x", "m").retain().qos(2));
        let last = seen(&w)[2].clone();
        assert_eq!((&*last.publisher, last.retain, last.qos), ("a", true, QoS::ExactlyOnce));
        assert_eq!(last.payload_bytes, 1);
        assert_eq!(w.watch(0), 0);
    });
}

#[test]
fn of_a_large_payload_the_front_is_handed_out_and_its_size() {
    let mut w = World::new();
    w.connect("a", v311());
    w.watch(1);
    w.publish("a", publish("x", vec![7; 100_000]));
    assert_eq!(seen(&w)[0].payload.len(), WATCHED_PAYLOAD_BYTES_MAX);
    assert_eq!(seen(&w)[0].payload_bytes, 100_000);
}

#[test]
fn a_message_is_shown_once_and_only_if_it_is_taken() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("a", connecting(version).persistent());
        w.watch(100);
        // Not what clients may not publish.
        w.send("a", publish("$SYS/x", "m"));
        assert!(seen(&w).is_empty());
        // At QoS 2 of a persistent session when it is stored, and not again with its repetition.
        w.hold_store();
        w.send("a", publish("x", "m").qos(2).id(9));
        assert!(seen(&w).is_empty());
        w.let_store_run();
        w.expect("a", pubrec(9));
        w.send("a", publish("x", "m").qos(2).id(9).dup());
        w.expect("a", pubrec(9));
        assert_eq!(seen(&w).len(), 1);
        // Retained messages are shown when they are published, and not when they are delivered.
        w.publish("a", publish("r", "m").retain());
        w.connect("b", connecting(version));
        w.subscribe("b", "r", 0);
        w.expect_publish("b", publish("r", "m").retain());
        assert_eq!(seen(&w).len(), 2);
    });
}

#[test]
fn a_will_is_shown_with_its_clients_name_when_it_is_published() {
    in_each_version(|version| {
        for persistent in [false, true] {
            let mut w = World::new();
            w.watch(100);
            let connect = connecting(version).will(will("w", "gone"));
            w.connect("a", if persistent { connect.persistent() } else { connect });
            w.lose("a");
            let shown: Vec<_> = seen(&w).iter().map(|one| (&*one.publisher, &*one.topic)).collect();
            assert_eq!(shown, [("a", "w")], "{persistent}");
        }
    });
}

#[test]
fn packets_and_messages_are_counted_by_type_and_qos() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("s", connecting(version));
        w.subscribe("s", "x", 2);
        w.connect("p", connecting(version));
        for qos in 0..=2 {
            w.publish("p", publish("x", "four").qos(qos));
            w.receive("s", publish("x", "four").qos(qos));
        }
        w.send("p", pingreq());
        w.expect("p", pingresp());
        w.unsubscribe("s", "x");
        w.disconnect("p");
        let packets = w.snapshot().packets;
        let received = |packet: PacketType| packets.received[packet as usize];
        let sent = |packet: PacketType| packets.sent[packet as usize];
        assert_eq!((packets.publish_received, packets.publish_sent), ([1, 1, 1], [1, 1, 1]));
        assert_eq!((packets.payload_received, packets.payload_sent), (12, 12));
        use PacketType as P;
        for (packet, count) in [
            (P::Connect, 2),
            (P::Puback, 1),
            (P::Pubrec, 1),
            (P::Pubrel, 1),
            (P::Pubcomp, 1),
            (P::Subscribe, 1),
            (P::Unsubscribe, 1),
            (P::Pingreq, 1),
            (P::Disconnect, 1),
        ] {
            assert_eq!(received(packet), count, "{packet}");
        }
        for (packet, count) in [
            (P::Connack, 2),
            (P::Puback, 1),
            (P::Pubrec, 1),
            (P::Pubrel, 1),
            (P::Pubcomp, 1),
            (P::Suback, 1),
            (P::Unsuback, 1),
            (P::Pingresp, 1),
        ] {
            assert_eq!(sent(packet), count, "{packet}");
        }
        assert_eq!(packets.all_received(), 13);
        assert_eq!(packets.all_sent(), 12);
    });
}

#[test]
fn a_fan_out_counts_each_delivery() {
    let mut w = World::new();
    for number in 0..50 {
        let name = format!("s{number}");
        w.connect(&name, v311());
        w.subscribe(&name, "x", 0);
        w.unheed(&name);
    }
    w.connect("p", v311());
    w.publish("p", publish("x", "12345"));
    let packets = w.snapshot().packets;
    assert_eq!((packets.publish_sent, packets.payload_sent), ([50, 0, 0], 250));
}

#[test]
fn sessions_and_what_waits_for_them_are_counted() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("here", connecting(version).persistent());
        w.connect("away", connecting(version).persistent());
        w.subscribe("here", "x", 1);
        w.subscribe("away", "x", 1);
        w.lose("away");
        w.connect("p", connecting(version));
        for _ in 0..3 {
            w.publish("p", publish("x", "m").qos(1));
        }
        let numbers = w.snapshot();
        assert_eq!((numbers.sessions, numbers.connected, numbers.connections), (3, 2, 2));
        assert_eq!((numbers.queued, numbers.in_flight, numbers.subscriptions), (3, 3, 2));
        for _ in 0..3 {
            w.receive("here", publish("x", "m").qos(1));
        }
        // Taken over, ended: the number of the connected follows.
        w.connect("again", connecting(version).id("here").persistent());
        if version == ProtocolVersion::V5 {
            w.expect("here", disconnect(ReasonCode::SessionTakenOver));
        }
        w.expect_closed("here");
        w.disconnect("p");
        let numbers = w.snapshot();
        assert_eq!((numbers.sessions, numbers.connected), (2, 1));
        assert_eq!((numbers.queued, numbers.in_flight), (3, 0));
    });
}

#[test]
fn refusals_are_counted_by_reason() {
    in_each_version(|version| {
        let mut w = World::new();
        for reason in [ReasonCode::BadUserNameOrPassword, ReasonCode::NotAuthorized] {
            w.authenticate(noctule_testkit::Authenticator::No(reason));
            w.expect_refused("a", connecting(version), reason);
        }
        let refused = w.snapshot().refused;
        assert_eq!((refused.user_or_password, refused.not_authorized), (1, 1));
        assert_eq!(refused.each().map(|(_, count)| count).sum::<u64>(), 2);
        assert_eq!(w.snapshot().connected, 0);
    });
}

#[test]
fn what_the_broker_says_of_itself_is_retained_routed_and_never_stored() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("all", connecting(version).persistent());
        w.subscribe("all", "#", 2);
        w.connect("sys", connecting(version).persistent());
        w.subscribe("sys", "$SYS/#", 2);
        let records = w.records().len();
        w.watch(100);
        w.publish_system("$SYS/broker/uptime", "1 seconds");
        w.expect_publish("sys", publish("$SYS/broker/uptime", "1 seconds"));
        w.connect("late", connecting(version));
        w.subscribe("late", "$SYS/broker/uptime", 1);
        w.expect_publish("late", publish("$SYS/broker/uptime", "1 seconds").retain());
        // Nobody who is away is owed it.
        w.lose("sys");
        w.publish_system("$SYS/broker/uptime", "2 seconds");
        w.expect_publish("late", publish("$SYS/broker/uptime", "2 seconds"));
        w.connect("sys", connecting(version).persistent());
        w.expect_quiet();
        assert!(seen(&w).is_empty(), "it is no client's message");
        let stored = w.records()[records..].iter();
        let about_messages =
            stored.filter(|record| matches!(record, Record::Retained { .. } | Record::Owed { .. }));
        assert_eq!(about_messages.count(), 0);
        assert_eq!(w.population().retained, 1);
    });
}

fn offence(w: &World) -> Option<&noctule_broker::Offence> {
    w.reports().iter().rev().find_map(|report| match report {
        Report::Offended(offence) => Some(&**offence),
        _ => None,
    })
}

#[test]
fn who_breaks_the_rules_is_reported_with_the_packet_and_the_place() {
    // SUBSCRIBE whose QoS is 3.
    let broken = b"\x82\x06\x00\x01\x00\x01a\x03";
    for pieces in [noctule_testkit::Pieces::Whole, noctule_testkit::Pieces::Bytes] {
        let mut w = World::new();
        w.in_pieces(pieces);
        w.connect("a", v311());
        w.send_bytes("a", broken);
        w.expect_closed("a");
        let offence = offence(&w).unwrap();
        assert_eq!(offence.client_id.as_deref(), Some("a"));
        assert_eq!(offence.violation, Violation::RequestedQosInvalid);
        assert_eq!((offence.at, &*offence.packet), (Some(7), &broken[..]));
    }
}

#[test]
fn what_is_no_packet_is_reported_with_what_came() {
    for (bytes, at) in [
        // Not CONNECT; a remaining length without end; a client identifier that is not UTF-8.
        (&b"\xc0\x00"[..], None),
        (b"\x10\xff\xff\xff\xff", None),
        (b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02\xc3\x28", Some(15)),
    ] {
        let mut w = World::new();
        w.open("a", ProtocolVersion::V311);
        w.send_bytes("a", bytes);
        w.expect_closed("a");
        let offence = offence(&w).unwrap();
        assert_eq!(offence.client_id, None);
        assert!(bytes.starts_with(&offence.packet) && !offence.packet.is_empty(), "{offence:?}");
        assert_eq!(offence.at, at, "{offence:?}");
    }
}

#[test]
fn silence_is_no_packet_that_breaks_the_rules() {
    let mut w = World::new();
    w.connect("a", v311().keep_alive(1));
    w.pass(3);
    w.expect_closed("a");
    assert_eq!(offence(&w), None);
}
