//! QoS 0, 1 and 2 in both directions: windows, packet identifiers, repetitions.

use crate::{connecting, in_each_version, publish_numbered, receive_numbered};
use noctule_broker::Limits;
use noctule_mqtt::{Properties, ProtocolVersion, ReasonCode};
use noctule_testkit::packets::*;
use noctule_testkit::{Pieces, Said, World};

// [MQTT3-3.3.4-1] [MQTT3-3.8.4-6] [MQTT3-4.3.1-1] [MQTT3-4.3.2-1] [MQTT3-4.3.3-1] [MQTT5-3.3.4-1]
// [MQTT5-3.8.4-8] [MQTT5-4.3.1-1]
#[test]
fn a_message_arrives_at_the_lower_of_the_two_qos_in_each_pair_of_versions() {
    for pieces in [Pieces::Whole, Pieces::Bytes] {
        in_each_version(|sender| {
            in_each_version(|receiver| {
                let mut w = World::new();
                w.in_pieces(pieces);
                w.connect("s", connecting(sender));
                w.connect("r", connecting(receiver));
                for wanted in 0..3 {
                    w.subscribe("r", "x", wanted);
                    for sent in 0..3 {
                        let text = format!("{sent} for {wanted}");
                        w.publish("s", publish("x", &text).qos(sent));
                        w.receive("r", publish("x", &text).qos(sent.min(wanted)));
                    }
                }
            });
        });
    }
}

#[test] // [MQTT3-3.3.1-3] [MQTT5-3.3.1-3]
fn the_dup_flag_of_the_publisher_is_not_passed_on() {
    let mut w = World::new();
    w.connect("a", v311());
    w.subscribe("a", "x", 2);
    w.publish("a", publish("x", "1").qos(1).dup());
    w.receive("a", publish("x", "1").qos(1));
    w.publish("a", publish("x", "2").qos(2).dup());
    w.receive("a", publish("x", "2").qos(2));
}

#[test] // [MQTT3-2.3.1-4] [MQTT5-2.2.1-4] [MQTT5-4.3.2-1] [MQTT5-4.3.3-1]
fn packet_identifiers_towards_a_client_run_in_sequence() {
    let mut w = World::new();
    w.connect("a", v311());
    w.subscribe("a", "x", 2);
    for (number, qos) in [1, 2, 2, 1, 2].into_iter().enumerate() {
        w.publish("a", publish("x", "m").qos(qos));
        w.receive("a", publish("x", "m").qos(qos).id(number as u16 + 1));
    }
}

#[test] // [MQTT5-3.3.4-9] [MQTT5-4.9.0-2]
fn no_more_than_the_window_is_in_flight_and_the_rest_follows_in_order() {
    in_each_version(|version| {
        for persistent in [false, true] {
            for qos in [1, 2] {
                let mut w = World::with(Limits { inflight_out_max: 2, ..Limits::default() });
                let connect = connecting(version);
                let connect = if persistent { connect.persistent() } else { connect };
                w.connect("r", connect);
                w.subscribe("r", "x", qos);
                w.connect("s", v311());
                publish_numbered(&mut w, "s", "x", qos, 0..5);
                let first = w.expect_publish("r", publish("x", "0").qos(qos).id(1));
                let second = w.expect_publish("r", publish("x", "1").qos(qos).id(2));
                w.expect_nothing("r");
                w.acknowledge("r", &second);
                let third = w.expect_publish("r", publish("x", "2").qos(qos).id(3));
                w.expect_nothing("r");
                w.acknowledge("r", &first);
                w.acknowledge("r", &third);
                receive_numbered(&mut w, "r", "x", qos, 3..5);
            }
        }
    });
}

#[test] // [MQTT5-3.3.4-9] [MQTT5-4.9.0-1] [MQTT5-4.9.0-2]
fn a_receive_maximum_holds_until_pubcomp() {
    let mut w = World::new();
    w.connect("r", v5().receive_maximum(1));
    w.subscribe("r", "x", 2);
    w.connect("s", v5());
    publish_numbered(&mut w, "s", "x", 2, 0..2);
    w.publish("s", publish("x", "at most once"));
    w.expect("r", publish("x", "0").qos(2).id(1));
    // [MQTT5-4.9.0-3]: QoS 0 goes on.
    w.expect("r", publish("x", "at most once"));
    w.send("r", pubrec(1));
    w.expect("r", pubrel(1));
    w.expect_nothing("r");
    w.send("r", pubcomp(1));
    w.receive("r", publish("x", "1").qos(2).id(2));
}

#[test] // [MQTT5-4.3.3-4]
fn a_pubrec_with_an_error_ends_the_delivery_and_frees_its_place() {
    for persistent in [false, true] {
        let mut w = World::new();
        let connect = v5().receive_maximum(1);
        w.connect("r", if persistent { connect.persistent() } else { connect });
        w.subscribe("r", "x", 2);
        w.connect("s", v5());
        publish_numbered(&mut w, "s", "x", 2, 0..2);
        w.expect("r", publish("x", "0").qos(2).id(1));
        w.send("r", pubrec(1).because(ReasonCode::UnspecifiedError));
        w.receive("r", publish("x", "1").qos(2).id(2));
    }
}

#[test] // [MQTT3-4.3.3-2] [MQTT5-4.3.3-10] [MQTT5-4.3.3-12]
fn a_repeated_qos_2_message_is_answered_and_not_delivered_again() {
    in_each_version(|version| {
        for persistent in [false, true] {
            let mut w = World::new();
            let connect = connecting(version);
            w.connect("s", if persistent { connect.persistent() } else { connect });
            w.connect("r", v311());
            w.subscribe("r", "x", 2);
            w.send("s", publish("x", "m").qos(2).id(7));
            w.expect("s", pubrec(7));
            w.receive("r", publish("x", "m").qos(2));
            for _ in 0..3 {
                w.send("s", publish("x", "m").qos(2).id(7).dup());
                w.expect("s", pubrec(7));
            }
            w.send("s", pubrel(7));
            w.expect("s", pubcomp(7));
            w.expect_quiet();
            w.send("s", publish("x", "another").qos(2).id(7));
            w.expect("s", pubrec(7));
            w.receive("r", publish("x", "another").qos(2));
        }
    });
}

#[test] // MQTT 3.1.1 and 5.0 section 4.3
fn acknowledgements_of_unknown_identifiers_are_answered_and_harm_nobody() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("a", connecting(version));
        w.send("a", puback(9));
        w.send("a", pubcomp(9));
        w.expect_nothing("a");
        w.send("a", pubrec(9));
        w.expect("a", pubrel(9).because(ReasonCode::PacketIdentifierNotFound));
        w.send("a", pubrel(9));
        w.expect("a", pubcomp(9).because(ReasonCode::PacketIdentifierNotFound));
        w.subscribe("a", "x", 1);
        w.publish("a", publish("x", "m").qos(1));
        w.receive("a", publish("x", "m").qos(1));
    });
}

#[test] // [MQTT5-4.3.3-3]
fn a_repeated_pubrec_gets_its_pubrel_again() {
    for connect in [v311(), v5().persistent()] {
        let mut w = World::new();
        w.connect("a", connect);
        w.subscribe("a", "x", 2);
        w.publish("a", publish("x", "m").qos(2));
        w.expect("a", publish("x", "m").qos(2).id(1));
        for _ in 0..3 {
            w.send("a", pubrec(1));
            w.expect("a", pubrel(1));
        }
        w.send("a", pubcomp(1));
        w.send("a", pubcomp(1));
        w.expect_quiet();
    }
}

#[test] // MQTT 3.1.1 and 5.0 section 4.3
fn an_acknowledgement_of_the_wrong_kind_is_a_violation() {
    let wrong = [(1, pubrec(1)), (1, pubcomp(1)), (2, puback(1)), (2, pubcomp(1))];
    in_each_version(|version| {
        for (qos, said) in wrong.clone() {
            let mut w = World::new();
            w.connect("a", connecting(version));
            w.subscribe("a", "x", 2);
            w.publish("a", publish("x", "m").qos(qos));
            w.expect("a", publish("x", "m").qos(qos).id(1));
            w.send("a", said);
            if version == ProtocolVersion::V5 {
                w.expect("a", disconnect(ReasonCode::ProtocolError));
            }
            w.expect_closed("a");
            assert_eq!(w.counters().violations, 1);
        }
    });
}

#[test] // [MQTT5-3.3.4-7] [MQTT5-4.9.0-1]
fn a_client_that_exceeds_our_receive_maximum_is_told_so() {
    let limits = Limits { inflight_in_max: 2, ..Limits::default() };
    let mut w = World::with(limits.clone());
    w.start("a", v5());
    let Said::Connack { properties: Some(bytes), .. } = w.expect("a", connack()) else {
        panic!("a CONNACK was expected");
    };
    assert_eq!(Properties::from_checked(&bytes).receive_maximum(), Some(2));
    for id in 1..=2 {
        w.send("a", publish("x", "m").qos(2).id(id));
        w.expect("a", pubrec(id).because(ReasonCode::NoMatchingSubscribers));
    }
    w.send("a", publish("x", "m").qos(2).id(3));
    w.expect("a", disconnect(ReasonCode::ReceiveMaximumExceeded));
    w.expect_closed("a");

    // At QoS 1 only what waits for the store can be unacknowledged.
    let mut w = World::with(limits);
    w.connect("r", v311().persistent());
    w.subscribe("r", "x", 1);
    w.connect("a", v5());
    w.hold_store();
    w.send("a", publish("x", "0").qos(1).id(1));
    w.send("a", publish("x", "1").qos(1).id(2));
    w.expect_nothing("a");
    w.send("a", publish("x", "2").qos(1).id(3));
    w.expect("a", disconnect(ReasonCode::ReceiveMaximumExceeded));
    w.expect_closed("a");
    w.let_store_run();
    receive_numbered(&mut w, "r", "x", 1, 0..2);
}

#[test] // [MQTT5-3.3.4-7]
fn requests_that_wait_for_the_store_do_not_count_as_messages() {
    let mut w = World::with(Limits { inflight_in_max: 2, ..Limits::default() });
    w.connect("a", v5().persistent());
    w.hold_store();
    for id in 1..=5 {
        w.send("a", subscribe(id, &format!("f/{id}"), 0));
    }
    w.send("a", publish("f/1", "m").qos(1).id(6));
    w.expect("a", publish("f/1", "m"));
    w.expect_nothing("a");
    w.let_store_run();
    (1..=5).for_each(|id| drop(w.expect("a", suback(id, &[0]))));
    w.expect("a", puback(6));
}

#[test]
fn too_many_unreleased_qos_2_identifiers_close_the_connection_and_lose_nothing() {
    in_each_version(|version| {
        let mut w = World::with(Limits { qos2_ids_max: 2, ..Limits::default() });
        w.connect("r", v311());
        w.subscribe("r", "x", 0);
        let connect = connecting(version).persistent();
        w.connect("a", connect.clone());
        for id in 1..=2 {
            w.send("a", publish("x", id.to_string()).qos(2).id(id));
            w.expect("a", pubrec(id));
            w.expect("r", publish("x", id.to_string()));
        }
        w.send("a", publish("x", "3").qos(2).id(3));
        if version == ProtocolVersion::V5 {
            w.expect("a", disconnect(ReasonCode::ReceiveMaximumExceeded));
        }
        w.expect_closed("a");
        // It comes back, releases the two, and repeats the third.
        w.connect("a", connect);
        for id in 1..=2 {
            w.send("a", pubrel(id));
            w.expect("a", pubcomp(id));
        }
        w.send("a", publish("x", "3").qos(2).id(3).dup());
        w.expect("a", pubrec(3));
        w.expect("r", publish("x", "3"));
    });
}

#[test] // [MQTT3-4.6.0-5] [MQTT3-4.6.0-6] [MQTT5-4.6.0-5] [MQTT5-4.6.0-6]
fn messages_of_one_publisher_arrive_in_order_through_windows_and_queues() {
    for qos in [1, 2] {
        let mut w = World::with(Limits { inflight_out_max: 3, ..Limits::default() });
        w.connect("r", v311());
        w.subscribe("r", "x", qos);
        w.connect("s", v311());
        publish_numbered(&mut w, "s", "x", qos, 0..10);
        receive_numbered(&mut w, "r", "x", qos, 0..4);
        publish_numbered(&mut w, "s", "x", qos, 10..15);
        receive_numbered(&mut w, "r", "x", qos, 4..15);
    }
}

#[test] // [MQTT3-3.3.4-1] and MQTT 5.0 section 3.4.2.1
fn mqtt_5_is_told_that_nobody_wanted_the_message() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("a", connecting(version));
        w.send("a", publish("x", "m").qos(1).id(1));
        w.expect("a", puback(1).because(ReasonCode::NoMatchingSubscribers));
        w.send("a", publish("x", "m").qos(2).id(2));
        w.expect("a", pubrec(2).because(ReasonCode::NoMatchingSubscribers));
        w.send("a", pubrel(2));
        w.expect("a", pubcomp(2));
    });
}

#[test] // [MQTT5-3.8.3-3]: a connection with an equal client identifier, not the same session
fn no_local_holds_for_what_is_routed_after_its_publisher_has_begun_a_new_session() {
    let mut w = World::new();
    w.connect("a", v5().expiry(100));
    w.hold_store();
    w.send("a", publish("x", "own").qos(2).id(1));
    w.lose("a");
    w.start("a", v5());
    w.expect("a", connack());
    w.send("a", subscribe(1, "x", 1).no_local());
    w.expect("a", suback(1, &[1]));
    w.let_store_run();
    w.expect_nothing("a");
}

#[test] // [MQTT3-4.6.0-4] [MQTT5-4.6.0-4]
fn pubrels_leave_in_the_order_of_their_pubrecs() {
    in_each_version(|version| {
        for persistent in [false, true] {
            let mut w = World::new();
            let connect = connecting(version);
            w.connect("r", if persistent { connect.persistent() } else { connect });
            w.subscribe("r", "x", 2);
            w.connect("s", v311());
            publish_numbered(&mut w, "s", "x", 2, 0..4);
            for number in 0..4u16 {
                w.expect("r", publish("x", number.to_string()).qos(2).id(number + 1));
            }
            w.hold_store();
            for id in [3, 1, 4, 2] {
                w.send("r", pubrec(id));
            }
            w.let_store_run();
            for id in [3, 1, 4, 2] {
                w.expect("r", pubrel(id));
            }
        }
    });
}

#[test] // [MQTT5-3.3.4-10] [MQTT5-4.9.0-3]
fn a_full_window_holds_up_nothing_but_messages() {
    for persistent in [false, true] {
        let mut w = World::new();
        let connect = v5().receive_maximum(1);
        w.connect("r", if persistent { connect.persistent() } else { connect });
        w.subscribe("r", "x", 2);
        w.connect("s", v5());
        publish_numbered(&mut w, "s", "x", 2, 0..2);
        w.expect("r", publish("x", "0").qos(2).id(1));
        w.send("r", pingreq());
        w.expect("r", pingresp());
        w.send("r", subscribe(1, "y", 0));
        w.expect("r", suback(1, &[0]));
        w.send("r", publish("z", "m").qos(1).id(2));
        w.expect("r", puback(2).because(ReasonCode::NoMatchingSubscribers));
        w.send("r", publish("z", "m").qos(2).id(3));
        // That of a persistent session is acknowledged before it is known who wants it.
        let answer = pubrec(3);
        let nobody = ReasonCode::NoMatchingSubscribers;
        w.expect("r", if persistent { answer } else { answer.because(nobody) });
        w.send("r", pubrel(3));
        w.expect("r", pubcomp(3));
        w.send("r", unsubscribe(4, &["y"]));
        w.expect("r", unsuback(4, &[0]));
        w.send("r", pubrec(1));
        w.expect("r", pubrel(1));
        w.expect_quiet();
    }
}

#[test] // [MQTT3-4.3.2-2] [MQTT5-4.3.2-5]
fn an_identifier_that_was_acknowledged_means_a_new_message_with_dup_or_without() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("s", connecting(version).persistent());
        w.connect("r", connecting(version));
        w.subscribe("r", "x", 1);
        w.send("s", publish("x", "first").qos(1).id(9));
        w.expect("s", puback(9));
        w.receive("r", publish("x", "first").qos(1));
        for message in [publish("x", "second"), publish("x", "third").dup()] {
            let payload = message.payload.clone();
            w.send("s", message.qos(1).id(9));
            w.expect("s", puback(9));
            w.receive("r", publish("x", payload).qos(1));
        }
    });
}
