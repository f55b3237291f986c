//! Messages that are good for so long and no longer, wherever they wait.

use noctule_broker::{Limits, Record};
use noctule_mqtt::{Property, ReasonCode};
use noctule_testkit::packets::*;
use noctule_testkit::{Said, World};

/// A world with a sender, and a persistent receiver of `x/#` that is away.
fn with_an_absent_receiver() -> World {
    let mut w = World::new();
    w.connect("s", v5());
    w.connect("r", v5().persistent());
    w.subscribe("r", "x/#", 2);
    w.disconnect("r");
    w
}

#[test] // [MQTT5-3.3.2-5] [MQTT5-3.3.2-6]
fn a_queued_message_leaves_with_what_is_left_or_not_at_all() {
    for qos in [1, 2] {
        for bytes in [5, 5_000] {
            let mut w = with_an_absent_receiver();
            let message = |topic, seconds| {
                let message = publish(topic, vec![b'm'; bytes]).qos(qos);
                let message = message.property(Property::UserProperty(("a", "1")));
                message.expiring(seconds).property(Property::ContentType("t"))
            };
            w.publish("s", message("x/short", 10));
            w.publish("s", message("x/long", 100));
            w.publish("s", publish("x/for ever", "m").qos(qos));
            w.pass(10);
            w.connect("r", v5().persistent());
            w.receive("r", message("x/long", 90));
            w.receive("r", publish("x/for ever", "m").qos(qos));
            w.expect_nothing("r");
            assert_eq!(w.dropped().expired, 1);
            w.lose("r");
            w.connect("r", v5().persistent());
            w.expect_nothing("r");
        }
    }
}

#[test] // [MQTT5-3.3.2-6]
fn whoever_is_there_gets_the_interval_as_it_was_said() {
    let mut w = World::new();
    w.connect("s", v5());
    for (name, qos) in [("zero", 0), ("one", 1), ("two", 2)] {
        w.connect(name, v5());
        w.subscribe(name, "x", qos);
    }
    w.connect("old", v311());
    w.subscribe("old", "x", 2);
    for seconds in [0, 1, u32::MAX] {
        w.publish("s", publish("x", "m").qos(2).expiring(seconds));
        for (name, qos) in [("zero", 0), ("one", 1), ("two", 2)] {
            w.receive(name, publish("x", "m").qos(qos).expiring(seconds));
        }
        w.receive("old", publish("x", "m").qos(2));
    }
}

#[test] // [MQTT5-3.3.2-5]
fn what_waits_for_room_in_the_window_expires_and_what_is_under_way_does_not() {
    for persistent in [false, true] {
        let mut w = World::new();
        w.connect("s", v5());
        let connect = v5().receive_maximum(1);
        w.connect("r", if persistent { connect.persistent() } else { connect });
        w.subscribe("r", "x", 2);
        for payload in ["under way", "waits", "waits longer"] {
            let seconds = if payload == "waits longer" { 10 } else { 5 };
            w.publish("s", publish("x", payload).qos(2).expiring(seconds));
        }
        let first = w.expect_publish("r", publish("x", "under way").qos(2).expiring(5));
        w.pass(6);
        w.acknowledge("r", &first);
        w.receive("r", publish("x", "waits longer").qos(2).expiring(4));
        assert_eq!(w.dropped().expired, 1);
    }
}

#[test] // [MQTT5-3.3.2-5] [MQTT5-4.3.3-7]: delivery had begun, so it goes on
fn what_was_sent_once_is_sent_again_although_its_time_has_passed() {
    for qos in 1..3 {
        let mut w = World::new();
        w.connect("s", v5());
        w.connect("r", v5().persistent());
        w.subscribe("r", "x", qos);
        w.publish("s", publish("x", "m").qos(qos).expiring(5));
        w.expect("r", publish("x", "m").qos(qos).expiring(5));
        w.lose("r");
        w.pass(60);
        w.connect("r", v5().persistent());
        w.receive("r", publish("x", "m").qos(qos).dup().expiring(0));
        assert_eq!(w.dropped().expired, 0);
    }
}

#[test] // [MQTT5-3.3.2-5] [MQTT5-4.3.3-13]
fn a_message_whose_identifier_waits_for_the_store_may_expire_there() {
    let mut w = World::new();
    w.connect("s", v5());
    w.connect("r", v5().persistent());
    w.subscribe("r", "x", 2);
    w.hold_store();
    w.send("s", publish("x", "late").qos(2).id(1).expiring(5));
    w.pass(6);
    w.let_store_run();
    w.expect("s", pubrec(1));
    w.send("s", pubrel(1));
    w.expect("s", pubcomp(1));
    w.expect_nothing("r");
    assert_eq!(w.dropped().expired, 1);
    w.publish("s", publish("x", "next").qos(2));
    w.receive("r", publish("x", "next").qos(2));
}

#[test] // [MQTT5-3.3.2-5] [MQTT5-3.3.2-6]
fn a_retained_message_ages_and_is_forgotten() {
    let mut w = World::new();
    w.connect("s", v5());
    w.publish("s", publish("x/a", "short").retain().expiring(10));
    w.publish("s", publish("x/b", "long").retain().expiring(300));
    w.publish("s", publish("x/c", "replaced").retain().expiring(10));
    w.publish("s", publish("x/c", "stays").retain());
    w.pass(9);
    w.connect("early", v5());
    w.subscribe("early", "x/#", 1);
    w.receive("early", publish("x/a", "short").retain().expiring(1));
    w.receive("early", publish("x/b", "long").retain().expiring(291));
    w.receive("early", publish("x/c", "stays").retain());
    w.pass(2);
    assert_eq!(w.population().retained, 2, "it is not kept until somebody asks");
    w.connect("late", v5());
    w.subscribe("late", "x/#", 1);
    w.receive("late", publish("x/b", "long").retain().expiring(289));
    w.receive("late", publish("x/c", "stays").retain());
    w.pass(600);
    assert_eq!(w.population().retained, 1);
    assert_eq!(w.dropped().expired, 2);
    w.publish("s", publish("x/c", "").retain());
    w.receive("early", publish("x/c", ""));
    w.receive("late", publish("x/c", ""));
    assert_eq!(w.population().retained, 0);
}

#[test] // MQTT 5.0 section 3.1.3.2.4
fn the_interval_of_a_will_begins_when_the_will_is_published() {
    let mut w = World::new();
    let testament = will("x/will", "lost").qos(1).retain().delay(100);
    let testament = testament.property(Property::MessageExpiryInterval(10));
    w.connect("a", v5().persistent().will(testament));
    w.connect("r", v5().persistent());
    w.subscribe("r", "x/#", 1);
    w.disconnect("r");
    w.lose("a");
    w.pass(105);
    w.connect("r", v5().persistent());
    let left = w.expect_publish("r", publish("x/will", "lost").qos(1).expiring(6));
    w.acknowledge("r", &left);
    w.pass(6);
    assert_eq!(w.population().retained, 0);
}

#[test]
fn a_queue_full_of_expired_messages_takes_new_ones() {
    let mut w = World::with(Limits { queue_messages_max: 3, ..Limits::default() });
    w.connect("s", v5());
    w.connect("r", v5().persistent());
    w.subscribe("r", "x", 1);
    w.disconnect("r");
    for number in 0..3 {
        w.publish("s", publish("x", number.to_string()).qos(1).expiring(10 + number));
    }
    w.publish("s", publish("x", "no room").qos(1));
    assert_eq!((w.dropped().queue_full, w.dropped().expired), (1, 0));
    w.pass(11);
    w.publish("s", publish("x", "fits").qos(1));
    assert_eq!((w.dropped().queue_full, w.dropped().expired), (1, 2));
    w.connect("r", v5().persistent());
    w.receive("r", publish("x", "2").qos(1).expiring(1));
    w.receive("r", publish("x", "fits").qos(1));
}

#[test]
fn what_was_left_to_the_store_expires_there() {
    let limits = Limits { queue_resident_bytes_max: 1_000, ..Limits::default() };
    let mut w = World::with(limits);
    w.connect("s", v5());
    w.connect("r", v5().persistent());
    w.subscribe("r", "x", 1);
    w.disconnect("r");
    for number in 0..50u32 {
        let seconds = if number % 2 == 0 { 10 } else { 100 };
        w.publish("s", publish("x", number.to_string()).qos(1).expiring(seconds));
    }
    assert!(w.spilled() > 0);
    w.pass(20);
    w.connect("r", v5().persistent());
    for number in (1..50).step_by(2) {
        w.receive("r", publish("x", number.to_string()).qos(1).expiring(80));
    }
    w.expect_nothing("r");
    assert_eq!((w.dropped().expired, w.spilled()), (25, 0));
}

#[test]
fn puback_does_not_speak_of_those_who_let_a_message_expire() {
    let mut w = with_an_absent_receiver();
    w.send("s", publish("x/a", "m").qos(1).id(1).expiring(0));
    assert_eq!(
        w.next_heard("s"),
        Some(Said::Ack {
            packet: noctule_mqtt::PacketType::Puback,
            id: 1,
            reason: ReasonCode::Success
        })
    );
    w.connect("r", v5().persistent());
    w.expect_nothing("r");
}

#[test]
fn the_store_is_told_when_a_retained_message_has_expired() {
    let mut w = World::new();
    w.connect("s", v5());
    for topic in ["x/1", "x/2"] {
        w.publish("s", publish(topic, "m").qos(1).retain().expiring(5));
    }
    w.publish("s", publish("x/3", "stays").qos(1).retain());
    w.pass(7);
    assert_eq!(w.population().retained, 1);
    w.publish("s", publish("x/1", "new").qos(1).retain());
    let mut kept = std::collections::BTreeMap::new();
    for record in w.records() {
        if let Record::Retained { sequence, message } = record {
            let before = kept.insert(message.topic().to_owned(), (*sequence, message.clone()));
            assert!(before.is_none_or(|(before, _)| before < *sequence), "{kept:?}");
        }
    }
    let payloads: Vec<_> = kept.values().map(|(_, message)| message.payload()).collect();
    assert_eq!(payloads, [b"new".as_slice(), b"", b"stays"]);
}

#[test]
fn expired_messages_behind_many_others_make_room() {
    let mut w = World::with(Limits { queue_messages_max: 1_500, ..Limits::default() });
    w.connect("r", v5().persistent());
    w.subscribe("r", "t", 1);
    w.disconnect("r");
    w.connect("p", v5());
    for number in 0..1_500_u32 {
        let said = publish("t", number.to_string()).qos(1).id(1);
        w.send("p", if number < 1_000 { said } else { said.expiring(1) });
        w.expect("p", puback(1));
    }
    w.pass_ms(2_000);
    for number in 0..10 {
        w.send("p", publish("t", format!("new {number}")).qos(1).id(1));
        w.expect("p", puback(1));
    }
    assert_eq!(w.dropped().queue_full, 0);
}
