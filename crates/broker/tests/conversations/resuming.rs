//! A session that is gone on with: what was unfinished is sent again or answered again, and nothing
//! else, wherever it was cut.

use crate::{connecting, in_each_version, publish_numbered, receive_numbered};
use noctule_broker::Limits;
use noctule_mqtt::{ProtocolVersion, ReasonCode};
use noctule_testkit::packets::*;
use noctule_testkit::{Said, World};

// [MQTT3-3.3.1-1] [MQTT3-4.3.2-1] [MQTT3-4.3.3-1] [MQTT3-4.4.0-1] [MQTT3-4.6.0-1] [MQTT5-3.3.1-1]
// [MQTT5-4.3.2-2] [MQTT5-4.3.2-3] [MQTT5-4.3.3-2] [MQTT5-4.3.3-3] [MQTT5-4.3.3-5] [MQTT5-4.3.3-6]
// [MQTT5-4.4.0-1] [MQTT5-4.6.0-1]
#[test]
fn a_resumed_session_repeats_what_is_unfinished_in_the_original_order() {
    in_each_version(|version| {
        let mut w = World::new();
        let connect = connecting(version).persistent();
        w.connect("r", connect.clone());
        w.subscribe("r", "x", 2);
        w.connect("s", v311());
        for (number, qos) in [1, 2, 2, 1, 1].into_iter().enumerate() {
            w.publish("s", publish("x", number.to_string()).qos(qos));
            w.expect("r", publish("x", number.to_string()).qos(qos).id(number as u16 + 1));
        }
        w.send("r", pubrec(2));
        w.expect("r", pubrel(2));
        w.send("r", puback(4));
        w.lose("r");
        w.publish("s", publish("x", "away").qos(1));
        w.connect("r", connect.clone());
        w.expect("r", publish("x", "0").qos(1).id(1).dup());
        w.expect("r", pubrel(2));
        w.expect("r", publish("x", "2").qos(2).id(3).dup());
        w.expect("r", publish("x", "4").qos(1).id(5).dup());
        w.expect("r", publish("x", "away").qos(1).id(6));
        // Once more, with some of it finished.
        w.send("r", puback(1));
        w.send("r", pubcomp(2));
        w.send("r", pubrec(3));
        w.expect("r", pubrel(3));
        w.lose("r");
        w.connect("r", connect);
        w.expect("r", pubrel(3));
        w.expect("r", publish("x", "4").qos(1).id(5).dup());
        w.expect("r", publish("x", "away").qos(1).id(6).dup());
        w.send("r", pubcomp(3));
        w.send("r", puback(5));
        w.send("r", puback(6));
        w.publish("s", publish("x", "new").qos(1));
        w.receive("r", publish("x", "new").qos(1).id(7));
    });
}

#[test] // [MQTT5-3.3.4-9]
fn a_session_resumed_with_a_smaller_window_keeps_to_it() {
    let mut w = World::new();
    w.connect("r", v5().persistent());
    w.subscribe("r", "x", 1);
    w.connect("s", v5());
    publish_numbered(&mut w, "s", "x", 1, 0..4);
    (0..4).for_each(|n| drop(w.expect("r", publish("x", n.to_string()).qos(1))));
    w.lose("r");
    w.publish("s", publish("x", "4").qos(1));
    w.connect("r", v5().persistent().receive_maximum(1));
    for number in 0..4 {
        w.expect_publish("r", publish("x", number.to_string()).qos(1).id(number + 1).dup());
        w.expect_nothing("r");
        w.send("r", puback(number + 1));
    }
    w.receive("r", publish("x", "4").qos(1));
}

#[test] // [MQTT3-4.4.0-1] [MQTT5-4.4.0-1]
fn repeating_stops_at_a_full_output_and_goes_on_over_a_gap() {
    // A message in the middle is finished; the output is full right before its place.
    let mut w = World::with(Limits { unsent_bytes_max: 100, ..Limits::default() });
    let long = |number: usize| format!("{number}{}", "-".repeat(200));
    w.connect("r", v311().persistent());
    w.subscribe("r", "x", 1);
    w.connect("s", v311());
    for number in 0..3 {
        w.publish("s", publish("x", long(number)).qos(1));
    }
    for number in 0..3 {
        w.expect("r", publish("x", long(number)).qos(1));
    }
    w.send("r", puback(2));
    w.lose("r");
    w.open("r", ProtocolVersion::V311);
    // It reads CONNACK and the first repetition, and behind that 30 answers to pings are waiting.
    w.stall("r");
    w.send("r", v311().persistent());
    (0..30).for_each(|_| w.send("r", pingreq()));
    let first = Said::from(publish("x", long(0)).qos(1).id(1).dup());
    let bytes = first.bytes(ProtocolVersion::V311).expect("it can be written").len();
    w.stall_after("r", 4 + bytes);
    w.settle();
    w.expect("r", connack_present());
    w.expect("r", first);
    w.send("r", puback(1));
    w.unstall("r");
    (0..30).for_each(|_| drop(w.expect("r", pingresp())));
    w.receive("r", publish("x", long(2)).qos(1).id(3).dup());
    w.publish("s", publish("x", "new").qos(1));
    w.receive("r", publish("x", "new").qos(1).id(4));
}

#[test] // [MQTT3-3.1.2-4] [MQTT3-4.3.3-2] [MQTT3-4.4.0-1] [MQTT5-4.3.3-10]
fn a_qos_2_message_repeated_after_a_new_connection_counts_once() {
    in_each_version(|version| {
        let mut w = World::new();
        let connect = connecting(version).persistent();
        w.connect("s", connect.clone());
        w.connect("r", v311());
        w.subscribe("r", "x", 2);
        w.send("s", publish("x", "m").qos(2).id(1));
        w.lose("s");
        w.receive("r", publish("x", "m").qos(2));
        w.connect("s", connect.clone());
        w.send("s", publish("x", "m").qos(2).id(1).dup());
        w.expect("s", pubrec(1));
        w.send("s", pubrel(1));
        w.lose("s");
        w.connect("s", connect);
        w.send("s", pubrel(1));
        w.expect("s", pubcomp(1).because(ReasonCode::PacketIdentifierNotFound));
        w.expect_quiet();
    });
}

#[test] // [MQTT5-4.9.0-1]: quotas begin anew with each connection.
fn what_a_lost_connection_left_unanswered_does_not_count_on_the_next() {
    let mut w = World::with(Limits { inflight_in_max: 2, ..Limits::default() });
    w.connect("r", v311().persistent());
    w.subscribe("r", "x", 1);
    w.connect("a", v5().persistent());
    w.hold_store();
    w.send("a", publish("x", "0").qos(1).id(1));
    w.send("a", publish("x", "1").qos(1).id(2));
    w.lose("a");
    w.start("a", v5().persistent());
    w.let_store_run();
    w.expect("a", connack_present());
    w.hold_store();
    w.send("a", publish("x", "2").qos(1).id(1));
    w.send("a", publish("x", "3").qos(1).id(2));
    w.expect_nothing("a");
    w.let_store_run();
    w.expect("a", puback(1));
    w.expect("a", puback(2));
    receive_numbered(&mut w, "r", "x", 1, 0..4);
}

#[test] // [MQTT5-4.4.0-2]
fn what_was_refused_is_not_sent_again() {
    for qos in [1, 2] {
        let mut w = World::new();
        w.connect("r", v5().persistent());
        w.subscribe("r", "x", qos);
        w.connect("s", v5());
        publish_numbered(&mut w, "s", "x", qos, 0..2);
        w.expect("r", publish("x", "0").qos(qos).id(1));
        w.expect("r", publish("x", "1").qos(qos).id(2));
        let refusal = if qos == 1 { puback(1) } else { pubrec(1) };
        w.send("r", refusal.because(ReasonCode::NotAuthorized));
        w.lose("r");
        w.connect("r", v5().persistent());
        w.receive("r", publish("x", "1").qos(qos).id(2).dup());
        w.expect_quiet();
    }
}

#[test] // [MQTT5-3.3.4-10]
fn a_resumed_session_is_sent_all_its_pubrels_whatever_the_window() {
    let mut w = World::new();
    w.connect("r", v5().persistent());
    w.subscribe("r", "x", 2);
    w.connect("s", v5());
    publish_numbered(&mut w, "s", "x", 2, 0..3);
    for id in 1..=3u16 {
        w.expect("r", publish("x", (id - 1).to_string()).qos(2).id(id));
    }
    for id in 1..=3 {
        w.send("r", pubrec(id));
        w.expect("r", pubrel(id));
    }
    w.lose("r");
    w.connect("r", v5().persistent().receive_maximum(1));
    (1..=3).for_each(|id| drop(w.expect("r", pubrel(id))));
    (1..=3).for_each(|id| w.send("r", pubcomp(id)));
    w.publish("s", publish("x", "next").qos(2));
    w.receive("r", publish("x", "next").qos(2));
}

/// How far an exchange at QoS 2 has come when the connection is lost.
const STEPS: [&str; 4] = ["PUBLISH", "PUBREC", "PUBREL", "PUBCOMP"];

#[test] // [MQTT3-4.3.3-2] [MQTT3-4.4.0-1] [MQTT5-4.3.3-10] [MQTT5-4.3.3-11]
fn what_a_client_sends_at_qos_2_arrives_once_wherever_the_exchange_was_cut() {
    in_each_version(|version| {
        for (cut, step) in STEPS.into_iter().enumerate() {
            let mut w = World::new();
            w.note(format!("cut behind {step}, in {version}"));
            let connect = connecting(version).persistent();
            w.connect("s", connect.clone());
            w.connect("r", v311());
            w.subscribe("r", "x", 2);
            w.send("s", publish("x", "m").qos(2).id(7));
            if cut >= 1 {
                w.expect("s", pubrec(7));
            }
            if cut >= 2 {
                w.send("s", pubrel(7));
            }
            if cut >= 3 {
                w.expect("s", pubcomp(7));
            }
            w.lose("s");
            w.connect("s", connect);
            if cut < 1 {
                w.send("s", publish("x", "m").qos(2).id(7).dup());
                w.expect("s", pubrec(7));
            }
            if cut < 3 {
                w.send("s", pubrel(7));
                let released = cut == 2;
                let reason = ReasonCode::PacketIdentifierNotFound;
                w.expect("s", if released { pubcomp(7).because(reason) } else { pubcomp(7) });
            }
            w.receive("r", publish("x", "m").qos(2));
            w.expect_quiet();
            // The identifier means a new message now.
            w.send("s", publish("x", "next").qos(2).id(7));
            w.expect("s", pubrec(7));
            w.receive("r", publish("x", "next").qos(2));
        }
    });
}

#[test] // [MQTT3-4.3.3-1] [MQTT3-4.4.0-1] [MQTT5-4.3.3-3] [MQTT5-4.3.3-5] [MQTT5-4.4.0-1]
fn what_a_client_is_sent_at_qos_2_is_completed_wherever_the_exchange_was_cut() {
    in_each_version(|version| {
        for (cut, step) in STEPS.into_iter().enumerate() {
            let mut w = World::new();
            w.note(format!("cut behind {step}, in {version}"));
            let connect = connecting(version).persistent();
            w.connect("r", connect.clone());
            w.subscribe("r", "x", 2);
            w.connect("s", v311());
            w.publish("s", publish("x", "m").qos(2));
            w.expect("r", publish("x", "m").qos(2).id(1));
            if cut >= 1 {
                w.send("r", pubrec(1));
                w.expect("r", pubrel(1));
            }
            if cut >= 3 {
                w.send("r", pubcomp(1));
            }
            w.lose("r");
            w.connect("r", connect);
            if cut < 1 {
                w.expect("r", publish("x", "m").qos(2).id(1).dup());
                w.send("r", pubrec(1));
            }
            if cut < 3 {
                w.expect("r", pubrel(1));
                w.send("r", pubcomp(1));
            }
            w.expect_quiet();
            w.publish("s", publish("x", "next").qos(2));
            w.receive("r", publish("x", "next").qos(2).id(2));
        }
    });
}
