//! Acknowledgements are promises: what they wait for, in which order they leave, and what becomes
//! of them when somebody goes.

use crate::{connecting, in_each_version, receive_numbered};
use noctule_broker::{Cause, Limits, Message, Principal, Record};
use noctule_mqtt::{ProtocolVersion, ReasonCode};
use noctule_testkit::World;
use noctule_testkit::packets::*;

/// A world with a held store, a persistent subscriber `r` of `durable` that is away, and a clean
/// one `c` of `plain`.
fn world(limits: Limits) -> World {
    let mut w = World::with(limits);
    w.connect("r", v311().persistent());
    w.subscribe("r", "durable/#", 2);
    w.disconnect("r");
    w.connect("c", v311());
    w.subscribe("c", "plain/#", 2);
    w.unheed("c");
    w
}

/// As [`world`], and a publisher `s`.
fn world_with(version: ProtocolVersion) -> World {
    let mut w = world(Limits::default());
    w.connect("s", connecting(version));
    w.hold_store();
    w
}

#[test] // [MQTT3-4.5.0-1] [MQTT5-4.3.2-4] [MQTT5-4.3.3-8] [MQTT5-4.5.0-1]
fn a_message_owed_to_a_persistent_session_is_acknowledged_once_it_is_stored() {
    in_each_version(|version| {
        for qos in [1, 2] {
            let mut w = world_with(version);
            w.send("s", publish("durable/x", "m").qos(qos).id(1));
            w.expect_nothing("s");
            let before = w.records().len();
            w.release_store(1);
            w.expect("s", if qos == 1 { puback(1) } else { pubrec(1) });
            let owed = |record: &Record| matches!(record, Record::Owed { .. });
            assert!(w.records()[before..].iter().any(owed));
        }
    });
}

#[test]
fn a_message_owed_to_nobody_durably_is_acknowledged_at_once() {
    in_each_version(|version| {
        let mut w = world_with(version);
        w.send("s", publish("plain/x", "m").qos(1).id(1));
        w.expect("s", puback(1));
        w.send("s", publish("plain/x", "m").qos(2).id(2));
        w.expect("s", pubrec(2));
        w.send("s", publish("nobody", "m").qos(1).id(3));
        w.expect("s", puback(3).because(ReasonCode::NoMatchingSubscribers));
        assert_eq!(w.store_waiting(), 0);
    });
}

#[test]
fn a_retained_message_is_acknowledged_once_it_is_stored() {
    in_each_version(|version| {
        let mut w = world_with(version);
        w.send("s", publish("nobody", "m").qos(1).id(1).retain());
        w.expect_nothing("s");
        w.release_store(1);
        w.expect("s", puback(1).because(ReasonCode::NoMatchingSubscribers));
    });
}

// [MQTT3-2.3.1-6] [MQTT3-4.6.0-2] [MQTT3-4.6.0-3] [MQTT5-2.2.1-5] [MQTT5-4.3.2-4] [MQTT5-4.3.3-8]
// [MQTT5-4.6.0-2] [MQTT5-4.6.0-3]
#[test]
fn acknowledgements_keep_the_order_of_their_messages_whatever_they_wait_for() {
    in_each_version(|version| {
        let mut w = world_with(version);
        let topics = ["plain/0", "durable/1", "plain/2", "plain/3", "durable/4", "plain/5"];
        for (number, topic) in topics.into_iter().enumerate() {
            let qos = 1 + number as u8 % 2;
            w.send("s", publish(topic, "m").qos(qos).id(number as u16 + 1));
        }
        w.expect("s", puback(1));
        w.expect_nothing("s");
        w.release_store(1);
        w.expect("s", pubrec(2));
        w.expect("s", puback(3));
        w.expect("s", pubrec(4));
        w.expect_nothing("s");
        w.release_store(1);
        w.expect("s", puback(5));
        w.expect("s", pubrec(6));
    });
}

#[test]
fn one_publishers_wait_is_not_anothers() {
    let mut w = world_with(ProtocolVersion::V311);
    w.connect("t", v311());
    w.send("s", publish("durable/x", "m").qos(1).id(1));
    w.send("t", publish("plain/x", "m").qos(1).id(1));
    w.expect_nothing("s");
    w.expect("t", puback(1));
    w.let_store_run();
    w.expect("s", puback(1));
}

#[test]
fn a_ticket_of_a_connection_that_is_gone_sends_nothing() {
    in_each_version(|version| {
        let mut w = world(Limits::default());
        w.connect("s", connecting(version).persistent());
        w.hold_store();
        w.send("s", publish("durable/x", "m").qos(1).id(1));
        w.send("s", publish("durable/x", "m").qos(2).id(2));
        w.lose("s");
        w.let_store_run();
        w.connect("s", connecting(version).persistent());
        w.expect_quiet();
    });
}

#[test]
fn a_ticket_that_comes_to_the_next_connection_sends_nothing_either() {
    in_each_version(|version| {
        let mut w = world(Limits::default());
        let connect = connecting(version).persistent();
        w.connect("s", connect.clone());
        w.hold_store();
        w.send("s", publish("durable/x", "m").qos(1).id(1));
        w.send("s", publish("durable/x", "m").qos(2).id(2));
        w.send("s", subscribe(3, "f", 0));
        w.lose("s");
        w.start("s", connect);
        w.let_store_run();
        let present = version != ProtocolVersion::V31;
        w.expect("s", if present { connack_present() } else { connack() });
        w.expect_quiet();
    });
}

#[test]
fn a_message_repeated_while_it_is_stored_is_acknowledged_once_and_taken_once() {
    in_each_version(|version| {
        let mut w = world(Limits::default());
        let connect = connecting(version).persistent();
        w.connect("s", connect.clone());
        w.hold_store();
        w.send("s", publish("durable/x", "1").qos(1).id(1));
        w.send("s", publish("durable/x", "2").qos(2).id(2));
        w.lose("s");
        // The new connection is stored behind the two messages; the messages are not.
        w.start("s", connect);
        w.let_store_run();
        w.all_heard("s");
        w.lose("s");
        w.connect("r", v311().persistent());
        w.receive("r", publish("durable/x", "1").qos(1));
        w.receive("r", publish("durable/x", "2").qos(2));
        w.expect_quiet();
    });
}

#[test] // the same ticket serves a repetition
fn a_repetition_on_a_new_connection_waits_for_the_ticket_of_the_first() {
    // A session that is not persistent for its publisher would be gone; so the publisher is, and
    // the wait is made long by holding the store again behind CONNACK.
    let mut w = world(Limits::default());
    w.connect("s", v311().persistent());
    w.hold_store();
    w.send("s", publish("durable/x", "1").qos(1).id(1));
    w.send("s", publish("durable/x", "2").qos(2).id(2));
    w.lose("s");
    w.open("s", ProtocolVersion::V5);
    // Expiring at its end, the session need not be stored before CONNACK.
    w.send("s", v5().clean(false));
    w.expect("s", connack_present());
    w.send("s", publish("durable/x", "1").qos(1).id(1).dup());
    w.send("s", publish("durable/x", "2").qos(2).id(2).dup());
    w.expect_nothing("s");
    w.let_store_run();
    w.expect("s", puback(1));
    w.expect("s", pubrec(2));
    w.connect("r", v311().persistent());
    w.receive("r", publish("durable/x", "1").qos(1));
    w.receive("r", publish("durable/x", "2").qos(2));
    w.expect_quiet();
}

#[test]
fn a_qos_2_message_of_a_persistent_session_is_stored_before_anybody_gets_it() {
    in_each_version(|version| {
        let mut w = world(Limits::default());
        w.connect("s", connecting(version).persistent());
        w.connect("t", v311());
        w.subscribe("t", "#", 0);
        w.hold_store();
        w.send("s", publish("plain/x", "m").qos(2).id(1));
        w.expect_nothing("s");
        w.expect_nothing("t");
        w.release_store(1);
        w.expect("t", publish("plain/x", "m"));
        w.expect("s", pubrec(1));
        let record = w.records().iter().find(|record| matches!(record, Record::Received { .. }));
        assert!(record.is_some());
    });
}

#[test]
fn a_release_of_a_persistent_session_is_stored_before_pubcomp() {
    in_each_version(|version| {
        let mut w = world(Limits::default());
        w.connect("s", connecting(version).persistent());
        w.send("s", publish("plain/x", "m").qos(2).id(1));
        w.expect("s", pubrec(1));
        w.hold_store();
        w.send("s", pubrel(1));
        w.expect_nothing("s");
        w.release_store(1);
        w.expect("s", pubcomp(1));
        assert!(w.records().iter().any(|record| matches!(record, Record::Released { .. })));
    });
}

#[test] // [MQTT5-4.3.3-11]: or a reused identifier would swallow a message
fn a_repeated_pubrel_waits_for_the_ticket_of_the_first_and_gets_one_pubcomp() {
    let mut w = world(Limits::default());
    w.connect("s", v311().persistent());
    w.send("s", publish("plain/x", "m").qos(2).id(1));
    w.expect("s", pubrec(1));
    w.hold_store();
    w.send("s", pubrel(1));
    w.send("s", pubrel(1));
    w.expect_nothing("s");
    w.lose("s");
    w.open("s", ProtocolVersion::V5);
    w.send("s", v5().clean(false));
    w.expect("s", connack_present());
    w.send("s", pubrel(1));
    w.expect_nothing("s");
    w.let_store_run();
    w.expect("s", pubcomp(1));
    w.expect_quiet();
}

#[test]
fn a_pubcomp_that_waited_for_a_connection_that_is_gone_is_not_sent_to_the_next() {
    let mut w = world(Limits::default());
    w.connect("s", v311().persistent());
    w.send("s", publish("plain/x", "m").qos(2).id(1));
    w.expect("s", pubrec(1));
    w.hold_store();
    w.send("s", pubrel(1));
    w.lose("s");
    w.open("s", ProtocolVersion::V5);
    w.send("s", v5().clean(false));
    w.expect("s", connack_present());
    w.let_store_run();
    w.expect_nothing("s");
    w.send("s", pubrel(1));
    w.expect("s", pubcomp(1).because(ReasonCode::PacketIdentifierNotFound));
}

#[test]
fn a_qos_2_delivery_of_a_persistent_session_stores_its_identifier_and_its_pubrec_first() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("r", connecting(version).persistent());
        w.subscribe("r", "x", 2);
        w.connect("s", v311());
        w.hold_store();
        w.send("s", publish("x", "m").qos(2).id(1));
        w.expect_nothing("r");
        w.release_store(1);
        w.expect("s", pubrec(1));
        w.expect("r", publish("x", "m").qos(2).id(1));
        w.send("r", pubrec(1));
        w.expect_nothing("r");
        w.send("r", pubrec(1));
        w.expect_nothing("r");
        w.release_store(1);
        w.expect("r", pubrel(1));
        w.send("r", pubcomp(1));
        w.let_store_run();
        w.expect_quiet();
        let kinds: Vec<_> = w
            .records()
            .iter()
            .filter_map(|record| match record {
                Record::Owed { .. } => Some("owed"),
                Record::PacketIdGiven { .. } => Some("identifier"),
                Record::DeliveryReceived { .. } => Some("received"),
                Record::Delivered { .. } => Some("delivered"),
                _ => None,
            })
            .collect();
        assert_eq!(kinds, ["owed", "identifier", "received", "delivered"]);
    });
}

#[test] // [MQTT3-4.4.0-1] [MQTT5-4.4.0-1]
fn what_is_stored_after_the_connection_was_lost_is_sent_on_the_next() {
    let mut w = World::new();
    w.connect("r", v311().persistent());
    w.subscribe("r", "x", 2);
    w.connect("s", v311());
    w.publish("s", publish("x", "1").qos(2));
    w.expect("r", publish("x", "1").qos(2).id(1));
    w.hold_store();
    w.send("s", publish("x", "2").qos(2).id(9));
    w.send("r", pubrec(1));
    w.lose("r");
    w.open("r", ProtocolVersion::V5);
    w.send("r", v5().clean(false));
    w.expect("r", connack_present());
    w.expect_nothing("r");
    w.let_store_run();
    w.expect("s", pubrec(9));
    w.expect("r", pubrel(1));
    w.receive("r", publish("x", "2").qos(2).id(2));
    w.send("r", pubcomp(1));
}

#[test] // [MQTT5-4.6.0-1]
fn a_qos_1_message_does_not_overtake_a_qos_2_message_that_is_being_stored() {
    let mut w = World::new();
    w.connect("r", v311().persistent());
    w.subscribe("r", "x", 2);
    w.connect("s", v311());
    w.hold_store();
    w.send("s", publish("x", "1").qos(2).id(1));
    w.send("s", publish("x", "2").qos(1).id(2));
    w.expect_nothing("r");
    w.let_store_run();
    w.expect("s", pubrec(1));
    w.expect("s", puback(2));
    w.receive("r", publish("x", "1").qos(2).id(1));
    w.receive("r", publish("x", "2").qos(1).id(2));
}

#[test]
fn connack_suback_and_unsuback_of_a_persistent_session_wait_for_the_store() {
    in_each_version(|version| {
        let mut w = World::new();
        w.hold_store();
        w.start("a", connecting(version).persistent());
        w.expect_nothing("a");
        w.release_store(1);
        w.expect("a", connack());
        w.send("a", subscribe(1, "x", 1));
        w.expect_nothing("a");
        w.release_store(1);
        w.expect("a", suback(1, &[1]));
        w.send("a", unsubscribe(2, &["x"]));
        w.expect_nothing("a");
        w.release_store(1);
        w.expect("a", unsuback(2, &[0]));
        let kinds: Vec<_> = w
            .records()
            .iter()
            .map(|record| match record {
                Record::Session { .. } => "session",
                Record::Subscribed { .. } => "subscribed",
                Record::Unsubscribed { .. } => "unsubscribed",
                _ => "else",
            })
            .collect();
        assert_eq!(kinds, ["session", "subscribed", "unsubscribed"]);
    });
}

#[test]
fn connack_suback_and_unsuback_of_a_clean_session_wait_for_nothing() {
    in_each_version(|version| {
        let mut w = World::new();
        w.hold_store();
        w.connect("a", connecting(version));
        w.subscribe("a", "x", 1);
        w.unsubscribe("a", "x");
        assert_eq!(w.store_waiting(), 0);
    });
}

#[test] // [MQTT3-3.8.4-1] and the order of promises
fn a_suback_waits_behind_the_acknowledgements_before_it() {
    let mut w = world_with(ProtocolVersion::V311);
    w.send("s", publish("durable/x", "m").qos(1).id(1));
    w.send("s", subscribe(2, "y", 0));
    w.expect_nothing("s");
    // The subscription counts all the same.
    w.publish("c", publish("y", "m"));
    w.expect("s", publish("y", "m"));
    w.let_store_run();
    w.expect("s", puback(1));
    w.expect("s", suback(2, &[0]));
}

#[test]
fn reading_stops_while_too_many_acknowledgements_wait_and_goes_on() {
    in_each_version(|version| {
        for qos in [1, 2] {
            for persistent in [false, true] {
                let mut w = world(Limits { acks_waiting_max: 4, ..Limits::default() });
                let connect = connecting(version);
                w.connect("s", if persistent { connect.persistent() } else { connect });
                w.hold_store();
                let text = |id: u16| (id - 1).to_string();
                for id in 1..=12 {
                    w.send("s", publish("durable/x", text(id)).qos(qos).id(id));
                }
                w.expect_nothing("s");
                assert!(w.unread("s") > 0, "the rest is not read");
                // When half of them have left, it goes on.
                let ack = |id| if qos == 1 { puback(id) } else { pubrec(id) };
                w.release_store(1);
                w.expect("s", ack(1));
                let unread = w.unread("s");
                assert!(unread > 0);
                w.release_store(1);
                w.expect("s", ack(2));
                assert!(w.unread("s") < unread, "it is read again");
                w.let_store_run();
                (3..=12).for_each(|id| drop(w.expect("s", ack(id))));
                w.connect("r", v311().persistent());
                receive_numbered(&mut w, "r", "durable/x", qos, 0..12);
            }
        }
    });
}

#[test] // 3.1.1 has no receive maximum, so nothing is wrong with this client
fn acknowledgements_that_wait_behind_others_count_too() {
    for version in [ProtocolVersion::V31, ProtocolVersion::V311] {
        let limits = Limits { acks_waiting_max: 4, inflight_in_max: 4, ..Limits::default() };
        let mut w = world(limits);
        w.connect("s", connecting(version));
        w.hold_store();
        w.send("s", publish("durable/x", "m").qos(1).id(1));
        for id in 2..=20 {
            w.send("s", publish("plain/x", "m").qos(1).id(id));
        }
        w.expect_nothing("s");
        assert!(w.unread("s") > 0, "the rest is not read");
        w.let_store_run();
        (1..=20).for_each(|id| drop(w.expect("s", puback(id))));
    }
}

#[test] // [MQTT3-3.1.2-24] [MQTT5-3.1.2-22]
fn keep_alive_does_not_run_against_a_client_that_is_not_being_read() {
    in_each_version(|version| {
        let mut w = world(Limits { acks_waiting_max: 2, ..Limits::default() });
        w.connect("s", connecting(version).keep_alive(10));
        w.hold_store();
        for id in 1..=2 {
            w.send("s", publish("durable/x", "m").qos(1).id(id));
        }
        w.pass(60);
        w.expect_quiet();
        w.let_store_run();
        w.expect("s", puback(1));
        w.expect("s", puback(2));
        // It has the whole time again from here on.
        w.pass_ms(14_900);
        w.expect_quiet();
        w.pass_ms(100 + 128);
        if version == ProtocolVersion::V5 {
            w.expect("s", disconnect(ReasonCode::KeepAliveTimeout));
        }
        w.expect_closed("s");
        assert!(matches!(w.cause("s"), Some(Cause::Violation(_))));
    });
}

#[test]
fn what_is_stored_says_who_published_it_and_when() {
    let mut w = World::new();
    w.connect("away", v311().persistent());
    w.subscribe("away", "x", 2);
    w.lose("away");
    w.connect("clean", v311());
    w.subscribe("clean", "x", 2);
    w.connect("s", v5().expiry(100).user("me"));
    w.publish("s", publish("x", "1").qos(1));
    w.publish("s", publish("x", "2").qos(2));
    w.publish("s", publish("y", "3").qos(0).retain());
    w.all_heard("clean");
    let by = |message: &Message| {
        let by = message.published_by().expect("a publisher");
        assert_eq!((by.client_id, by.user_name), ("s", Some("me")));
        assert!(message.received_ms() > 1_700_000_000_000, "{}", message.received_ms());
    };
    let mut seen = [0; 4];
    for record in w.records() {
        match record {
            Record::Owed { owed, .. } => {
                by(&owed.message);
                seen[0] += 1;
            }
            Record::Received { message, .. } => {
                by(message);
                seen[1] += 1;
            }
            Record::Retained { message, .. } => {
                by(message);
                seen[2] += 1;
            }
            Record::Session { client_id, principal, .. } if **client_id == *"s" => {
                assert_eq!(*principal, Principal::user("me"));
                seen[3] += 1;
            }
            _ => {}
        }
    }
    assert_eq!(seen, [2, 1, 1, 1]);
}
