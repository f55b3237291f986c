//! Queues of sessions: their ends, what is left to the store, and the order in which it comes back.

use crate::{connecting, in_each_version, publish_numbered, receive_numbered};
use noctule_broker::{Cause, Limits, OnQueueFull, Owed, Record, SessionKey};
use noctule_mqtt::{ProtocolVersion, ReasonCode};
use noctule_testkit::packets::*;
use noctule_testkit::{PromptStore, Said, Store, World};

/// A world whose subscriber `r` of `x` at QoS 1 is away.
fn world(limits: Limits) -> World {
    let mut w = World::with(limits);
    w.connect("r", v311().persistent());
    w.subscribe("r", "x", 1);
    w.disconnect("r");
    w.connect("s", v311());
    w
}

fn come_back(w: &mut World) {
    w.connect("r", v311().persistent());
}

#[test]
fn a_queue_full_of_messages_takes_no_new_ones_and_keeps_the_old() {
    let mut w = world(Limits { queue_messages_max: 3, ..Limits::default() });
    publish_numbered(&mut w, "s", "x", 1, 0..5);
    assert_eq!(w.dropped().queue_full, 2);
    come_back(&mut w);
    receive_numbered(&mut w, "r", "x", 1, 0..3);
    publish_numbered(&mut w, "s", "x", 1, 5..6);
    receive_numbered(&mut w, "r", "x", 1, 5..6);
}

#[test]
fn a_queue_full_of_bytes_takes_no_new_messages_and_keeps_the_old() {
    // Room for three messages of 1,000 bytes and what they take beside, but not for four.
    let mut w = world(Limits { queue_bytes_max: 4_000, ..Limits::default() });
    for number in 0..6u8 {
        w.publish("s", publish("x", vec![number; 1_000]).qos(1));
    }
    assert_eq!(w.dropped().queue_full, 3);
    come_back(&mut w);
    for number in 0..3u8 {
        w.receive("r", publish("x", vec![number; 1_000]).qos(1));
    }
}

#[test]
fn a_full_queue_of_one_is_no_loss_for_another() {
    let mut w = world(Limits { queue_messages_max: 1, ..Limits::default() });
    w.connect("other", v311());
    w.subscribe("other", "x", 1);
    for number in 0..3 {
        publish_numbered(&mut w, "s", "x", 1, number..number + 1);
        receive_numbered(&mut w, "other", "x", 1, number..number + 1);
    }
    assert_eq!(w.dropped().queue_full, 2);
}

#[test] // [MQTT3-4.8.0-2] [MQTT5-3.4.2-1] and MQTT 5.0 section 3.4.2.1
fn a_full_queue_can_refuse_the_message_instead() {
    let limits =
        Limits { queue_messages_max: 1, on_queue_full: OnQueueFull::Refuse, ..Limits::default() };
    in_each_version(|version| {
        for (qos, is_kept) in [(1, false), (2, false), (1, true), (2, true)] {
            let mut w = world(limits.clone());
            publish_numbered(&mut w, "s", "x", 1, 0..1);
            let connect = connecting(version);
            w.connect("p", if is_kept { connect.persistent() } else { connect });
            w.send("p", publish("x", "refused").qos(qos).id(1));
            if version == ProtocolVersion::V5 {
                let ack = if qos == 1 { puback(1) } else { pubrec(1) };
                w.expect("p", ack.because(ReasonCode::QuotaExceeded));
                w.send("p", pingreq());
                w.expect("p", pingresp());
            } else {
                w.expect_closed("p");
                assert_eq!(w.cause("p"), Some(&Cause::QuotaExceeded));
            }
            come_back(&mut w);
            receive_numbered(&mut w, "r", "x", 1, 0..1);
            w.expect_quiet();
        }
    });
}

#[test] // [MQTT5-4.3.3-9]
fn the_identifier_of_a_refused_qos_2_message_is_free() {
    for connect in [v5(), v5().persistent()] {
        let mut w = world(refusing(1));
        publish_numbered(&mut w, "s", "x", 1, 0..1);
        w.connect("p", connect);
        w.send("p", publish("x", "refused").qos(2).id(1));
        w.expect("p", pubrec(1).because(ReasonCode::QuotaExceeded));
        w.send("p", pubrel(1));
        w.expect("p", pubcomp(1).because(ReasonCode::PacketIdentifierNotFound));
        come_back(&mut w);
        receive_numbered(&mut w, "r", "x", 1, 0..1);
        w.send("p", publish("x", "taken").qos(2).id(1));
        w.expect("p", pubrec(1));
        w.receive("r", publish("x", "taken").qos(1));
    }
}

/// Queues that take so many messages and refuse further ones.
fn refusing(queue_messages_max: usize) -> Limits {
    Limits { queue_messages_max, on_queue_full: OnQueueFull::Refuse, ..Limits::default() }
}

#[test] // [MQTT3-4.6.0-3] [MQTT5-4.6.0-3]
fn as_many_are_taken_as_there_is_room_for_though_none_is_stored_yet() {
    let mut w = world(refusing(3));
    w.connect("p", v5().persistent());
    w.hold_store();
    for id in 1..=5 {
        w.send("p", publish("x", (id - 1).to_string()).qos(2).id(id));
    }
    w.send("s", publish("x", "no").qos(1).id(9));
    w.expect_closed("s");
    w.let_store_run();
    (1..=3).for_each(|id| drop(w.expect("p", pubrec(id))));
    (4..=5).for_each(|id| drop(w.expect("p", pubrec(id).because(ReasonCode::QuotaExceeded))));
    come_back(&mut w);
    receive_numbered(&mut w, "r", "x", 1, 0..3);
    // What comes again is new, and there is room.
    w.send("p", publish("x", "3").qos(2).id(4).dup());
    w.expect("p", pubrec(4));
    receive_numbered(&mut w, "r", "x", 1, 3..4);
    w.expect_quiet();
}

#[test]
fn what_is_refused_is_not_retained_and_comes_to_nobody() {
    let mut w = world(refusing(1));
    publish_numbered(&mut w, "s", "x", 1, 0..1);
    w.connect("other", v5());
    w.subscribe("other", "x", 2);
    w.connect("p", v5().persistent());
    w.send("p", publish("x", "no").qos(2).id(1).retain());
    w.expect("p", pubrec(1).because(ReasonCode::QuotaExceeded));
    w.subscribe("other", "x", 2);
    w.expect_quiet();
}

#[test]
fn a_place_is_free_again_when_its_receiver_is_gone_or_its_message_has_come() {
    for ends in [false, true] {
        let mut w = world(refusing(1));
        w.connect("p", v5().persistent());
        w.hold_store();
        w.send("p", publish("x", "0").qos(2).id(1));
        if ends {
            w.forget("r", ProtocolVersion::V311);
            w.start("r", v311().persistent());
        }
        w.let_store_run();
        w.expect("p", pubrec(1));
        if ends {
            w.expect("r", connack());
            w.subscribe("r", "x", 1);
            w.disconnect("r");
        } else {
            come_back(&mut w);
            receive_numbered(&mut w, "r", "x", 1, 0..1);
            w.disconnect("r");
        }
        w.send("p", publish("x", "1").qos(2).id(2));
        w.expect("p", pubrec(2));
        w.send("p", publish("x", "2").qos(2).id(3));
        w.expect("p", pubrec(3).because(ReasonCode::QuotaExceeded));
        come_back(&mut w);
        receive_numbered(&mut w, "r", "x", 1, 1..2);
    }
}

#[test]
fn a_client_that_reads_has_room_for_as_many_as_may_be_under_way_to_it() {
    let mut w = World::with(Limits { inflight_out_max: 2, ..refusing(1) });
    w.connect("r", v5());
    w.subscribe("r", "x", 2);
    w.connect("p", v5().persistent());
    w.hold_store();
    for id in 1..=3 {
        w.send("p", publish("x", id.to_string()).qos(2).id(id));
    }
    w.let_store_run();
    (1..=2).for_each(|id| drop(w.expect("p", pubrec(id))));
    w.expect("p", pubrec(3).because(ReasonCode::QuotaExceeded));
    w.receive("r", publish("x", "1").qos(2));
    w.receive("r", publish("x", "2").qos(2));
    w.expect_quiet();
}

#[test] // [MQTT3-4.3.3-2] [MQTT5-4.3.3-10]
fn what_is_dropped_for_a_full_queue_is_taken_and_not_routed_again() {
    in_each_version(|version| {
        let mut w = world(Limits { queue_messages_max: 1, ..Limits::default() });
        publish_numbered(&mut w, "s", "x", 1, 0..1);
        w.connect("p", connecting(version).persistent());
        let said = publish("x", "found no room").qos(2).id(1);
        w.send("p", said.clone());
        w.expect("p", pubrec(1));
        assert_eq!(w.dropped().queue_full, 1);
        come_back(&mut w);
        receive_numbered(&mut w, "r", "x", 1, 0..1);
        // There would be room now, but it is not routed again.
        w.send("p", said.dup());
        w.expect("p", pubrec(1));
        w.expect_quiet();
    });
}

#[test]
fn at_most_once_is_not_refused_for_a_full_queue() {
    let mut w = world(Limits {
        queue_messages_max: 1,
        on_queue_full: OnQueueFull::Refuse,
        ..Limits::default()
    });
    publish_numbered(&mut w, "s", "x", 1, 0..1);
    w.publish("s", publish("x", "at most once"));
    w.send("s", pingreq());
    w.expect("s", pingresp());
}

/// Little stays in memory, and little is in flight.
fn tight() -> Limits {
    Limits { queue_resident_bytes_max: 600, inflight_out_max: 2, ..Limits::default() }
}

#[test]
fn what_is_left_to_the_store_comes_back_in_order() {
    for qos in [1, 2] {
        let mut w = world(tight());
        w.connect("r", v311().persistent());
        w.subscribe("r", "x", qos);
        w.disconnect("r");
        publish_numbered(&mut w, "s", "x", qos, 0..50);
        assert!(w.spilled() > 30, "most of it is in the store: {}", w.spilled());
        come_back(&mut w);
        receive_numbered(&mut w, "r", "x", qos, 0..50);
        assert_eq!(w.spilled(), 0);
        w.expect_quiet();
    }
}

#[test]
fn a_clean_session_leaves_nothing_to_the_store() {
    let mut w = World::with(tight());
    w.connect("r", v311());
    w.subscribe("r", "x", 1);
    w.connect("s", v311());
    publish_numbered(&mut w, "s", "x", 1, 0..50);
    assert_eq!(w.spilled(), 0);
    receive_numbered(&mut w, "r", "x", 1, 0..50);
    assert!(w.records().is_empty());
}

#[test]
fn messages_published_while_others_are_loaded_follow_them() {
    let mut w = world(tight());
    publish_numbered(&mut w, "s", "x", 1, 0..20);
    come_back(&mut w);
    w.hold_store();
    let mut published = 20;
    let mut received = 0;
    while received < 60 {
        while let Some(said) = w.next_heard("r") {
            let Said::Publish(heard) = said else { panic!("{said} was not expected") };
            assert_eq!(heard.payload, received.to_string().as_bytes());
            w.acknowledge("r", &heard);
            received += 1;
        }
        if published < 60 {
            let id = published as u16;
            w.send("s", publish("x", published.to_string()).qos(1).id(id));
            published += 1;
        }
        assert!(w.store_waiting() > 0 || received == 60);
        w.release_store(1);
    }
    w.let_store_run();
    (20..60).for_each(|id| drop(w.expect("s", puback(id))));
    assert_eq!(w.spilled(), 0);
}

#[test]
fn a_connection_lost_while_messages_are_loaded_loses_none() {
    let mut w = world(tight());
    publish_numbered(&mut w, "s", "x", 1, 0..20);
    come_back(&mut w);
    receive_numbered(&mut w, "r", "x", 1, 0..2);
    w.hold_store();
    for number in 2.. {
        match w.next_heard("r") {
            Some(Said::Publish(heard)) => w.acknowledge("r", &heard),
            _ => {
                w.note(format!("{number} messages have come, the next are being loaded"));
                break;
            }
        }
    }
    assert!(w.store_waiting() > 0);
    w.lose("r");
    w.let_store_run();
    let left = w.spilled();
    assert!(left > 0);
    come_back(&mut w);
    let mut seen = Vec::new();
    while let Some(Said::Publish(heard)) = w.next_heard("r") {
        seen.push(String::from_utf8(heard.payload.clone()).expect("a number"));
        w.acknowledge("r", &heard);
    }
    let expected: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(seen, expected[20 - seen.len()..]);
    assert!(seen.len() > left);
}

#[test]
fn a_session_that_ends_takes_its_messages_out_of_the_store() {
    let mut w = world(tight());
    publish_numbered(&mut w, "s", "x", 1, 0..20);
    assert!(w.spilled() > 0);
    w.forget("r", ProtocolVersion::V311);
    assert_eq!(w.spilled(), 0);
}

#[test]
fn a_session_that_ends_while_its_messages_are_loaded_harms_nobody() {
    let mut w = world(tight());
    publish_numbered(&mut w, "s", "x", 1, 0..20);
    w.hold_store();
    w.start("r", v311().persistent());
    w.release_store(1);
    w.expect("r", connack_present());
    w.unheed("r");
    w.all_heard("r");
    for id in [1, 2] {
        w.send("r", puback(id));
    }
    assert!(w.store_waiting() > 0);
    w.lose("r");
    w.start("r", v311());
    w.let_store_run();
    w.all_heard("r");
    w.disconnect("r");
    w.disconnect("s");
    w.expect_nobody_left();
}

#[test]
fn the_limits_of_a_queue_count_what_is_in_the_store() {
    let mut w = world(Limits { queue_messages_max: 10, ..tight() });
    publish_numbered(&mut w, "s", "x", 1, 0..15);
    assert_eq!(w.dropped().queue_full, 5);
    come_back(&mut w);
    receive_numbered(&mut w, "r", "x", 1, 0..10);
    w.expect_quiet();
}

/// A store that gives one message at a time, whatever is asked for.
struct StingyStore(PromptStore);

impl Store for StingyStore {
    fn persist(&mut self, records: Vec<Record>) {
        self.0.persist(records);
    }

    fn load(&mut self, key: SessionKey, _bytes_max: usize) -> Vec<Owed> {
        self.0.load(key, 0)
    }

    fn spilled(&self) -> usize {
        self.0.spilled()
    }
}

#[test]
fn a_store_may_give_back_as_little_as_one_message_at_a_time() {
    let mut w = World::with(tight()).on_store(StingyStore(PromptStore::default()));
    w.connect("r", v5().persistent());
    w.subscribe("r", "x", 2);
    w.lose("r");
    w.connect("s", v311());
    publish_numbered(&mut w, "s", "x", 2, 0..20);
    w.connect("r", v5().persistent());
    receive_numbered(&mut w, "r", "x", 2, 0..20);
    assert_eq!(w.spilled(), 0);
}

#[test]
fn every_record_owed_is_delivered_or_its_session_ended() {
    let mut w = world(tight());
    publish_numbered(&mut w, "s", "x", 1, 0..20);
    come_back(&mut w);
    receive_numbered(&mut w, "r", "x", 1, 0..20);
    let mut owed = std::collections::BTreeSet::new();
    for record in w.records() {
        match record {
            Record::Owed { key, owed: one, .. } => assert!(owed.insert((*key, one.sequence))),
            Record::Delivered { key, sequence } => assert!(owed.remove(&(*key, *sequence))),
            _ => {}
        }
    }
    assert!(owed.is_empty(), "{owed:?}");
}
