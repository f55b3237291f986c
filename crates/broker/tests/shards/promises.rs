//! What an acknowledgement waits for on other shards, and what it says when they refuse.

use crate::{connecting, exchange, in_each_version};
use noctule_broker::{Limits, OnQueueFull, Record, Together};
use noctule_mqtt::ReasonCode;
use noctule_testkit::Shards;
use noctule_testkit::packets::*;

#[test]
fn puback_waits_for_a_persistent_subscriber_on_another_shard_and_its_store() {
    in_each_version(|version| {
        let mut w = Shards::new(2);
        let (sender, receiver) = (w.name_at(0, 0), w.name_at(1, 0));
        w.connect(&sender, 0, connecting(version));
        w.connect(&receiver, 1, connecting(version).persistent());
        w.subscribe(&receiver, "t", 1);
        w.hold_mail();
        w.hold_store(1);
        w.send(&sender, publish("t", "m").qos(1).id(5));
        w.expect_nothing(&sender);
        w.deliver(0, 1);
        w.receive(&receiver, publish("t", "m").qos(1));
        assert_eq!(w.letters(1, 0), 0, "nothing is settled before it is stored");
        w.let_store_run(1);
        assert_eq!(w.letters(1, 0), 1);
        w.expect_nothing(&sender);
        w.deliver(1, 0);
        w.expect(&sender, puback(5));
    });
}

#[test] // [MQTT5-4.3.3-8]
fn pubrec_of_a_clean_publisher_waits_for_a_persistent_subscriber_on_another_shard() {
    in_each_version(|version| {
        let mut w = Shards::new(2);
        let (sender, receiver) = (w.name_at(0, 0), w.name_at(1, 0));
        w.connect(&sender, 1, connecting(version));
        w.connect(&receiver, 0, connecting(version).persistent());
        w.subscribe(&receiver, "t", 2);
        w.hold_mail();
        w.send(&sender, publish("t", "m").qos(2).id(5));
        w.expect_nothing(&sender);
        exchange(&mut w, 0, 1);
        w.expect(&sender, pubrec(5));
        w.send(&sender, pubrel(5));
        w.expect(&sender, pubcomp(5));
        w.receive(&receiver, publish("t", "m").qos(2));
    });
}

/// The name that the only batch held from a shard's store has in common with others, and how many
/// it says there are; and whether a session is owed something by it.
fn together(w: &Shards, shard: usize) -> (Option<(Together, Option<u32>)>, bool) {
    let batches = w.held_batches(shard);
    assert_eq!(batches.len(), 1, "{batches:?}");
    let name = batches[0].iter().find_map(|record| match record {
        Record::Together { together, batches } => Some((*together, *batches)),
        _ => None,
    });
    (name, batches[0].iter().any(|record| matches!(record, Record::Owed { .. })))
}

#[test]
fn a_persistent_publishers_qos_2_message_is_routed_and_owed_in_batches_that_are_stored_together() {
    in_each_version(|version| {
        let mut w = Shards::new(3);
        let sender = w.name_at(0, 0);
        let receivers = [w.name_at(0, 1), w.name_at(1, 0), w.name_at(2, 0)];
        w.connect(&sender, 0, connecting(version).persistent());
        for (at, receiver) in receivers.iter().enumerate() {
            // The one on shard 2 keeps nothing, but might by now.
            let client = connecting(version);
            w.connect(receiver, at, if at < 2 { client.persistent() } else { client });
            w.subscribe(receiver, "t", 2);
        }
        w.hold_mail();
        (0..3).for_each(|shard| w.hold_store(shard));
        w.send(&sender, publish("t", "m").qos(2).id(5));
        assert_eq!(
            together(&w, 0),
            (None, false),
            "received, and not routed before that is stored"
        );
        w.let_store_work_once(0);
        let (name, owes) = together(&w, 0);
        let (name, batches) = name.expect("it is owed elsewhere");
        assert!(w.held_batches(0)[0].iter().any(|record| matches!(record, Record::Routed { .. })));
        assert_eq!((owes, batches), (true, Some(3)));
        for shard in [1, 2] {
            w.deliver(0, shard);
            assert_eq!(together(&w, shard), (Some((name, None)), shard == 1), "shard {shard}");
        }
        w.expect(&sender, pubrec(5));
        (0..3).for_each(|shard| w.let_store_run(shard));
        for receiver in &receivers {
            w.receive(receiver, publish("t", "m").qos(2));
        }
    });
}

#[test]
fn that_a_will_is_published_and_what_others_owe_by_it_are_stored_together() {
    let mut w = Shards::new(2);
    let (sender, receiver) = (w.name_at(0, 0), w.name_at(1, 0));
    w.connect(&sender, 0, v5().persistent().will(will("t", "gone").qos(1)));
    w.connect(&receiver, 1, v5().persistent());
    w.subscribe(&receiver, "t", 1);
    w.hold_mail();
    (0..2).for_each(|shard| w.hold_store(shard));
    w.lose(&sender);
    let (name, owes) = together(&w, 0);
    let (name, batches) = name.expect("it is owed elsewhere");
    assert_eq!((owes, batches), (false, Some(2)));
    w.deliver(0, 1);
    assert_eq!(together(&w, 1), (Some((name, None)), true));
    (0..2).for_each(|shard| w.let_store_run(shard));
    w.receive(&receiver, publish("t", "gone").qos(1));
}

#[test]
fn what_only_one_shard_owes_is_stored_without_others() {
    let mut w = Shards::new(2);
    let (sender, receiver) = (w.name_at(0, 0), w.name_at(0, 1));
    w.connect(&sender, 0, v5().persistent());
    w.connect(&receiver, 0, v5().persistent());
    w.subscribe(&receiver, "t", 2);
    w.hold_store(0);
    w.send(&sender, publish("t", "m").qos(2).id(5));
    w.let_store_work_once(0);
    assert_eq!(together(&w, 0), (None, true));
    w.let_store_run(0);
    w.expect(&sender, pubrec(5));
    w.receive(&receiver, publish("t", "m").qos(2));
}

#[test]
fn puback_does_not_wait_for_a_clean_subscriber_on_another_shard() {
    in_each_version(|version| {
        let mut w = Shards::new(2);
        let (sender, receiver) = (w.name_at(0, 0), w.name_at(1, 0));
        w.connect(&sender, 0, connecting(version));
        w.connect(&receiver, 0, connecting(version));
        w.subscribe(&receiver, "t", 1);
        w.hold_mail();
        w.send(&sender, publish("t", "m").qos(1).id(5));
        w.expect(&sender, puback(5));
        w.deliver(0, 1);
        assert_eq!(w.letters(1, 0), 0);
        w.receive(&receiver, publish("t", "m").qos(1));
    });
}

#[test] // [MQTT3-4.6.0-2] [MQTT5-4.6.0-2]
fn pubacks_leave_in_order_although_only_the_first_waits_for_another_shard() {
    in_each_version(|version| {
        let mut w = Shards::new(3);
        let (sender, durable, clean) = (w.name_at(0, 0), w.name_at(1, 0), w.name_at(2, 0));
        w.connect(&sender, 0, connecting(version));
        w.connect(&durable, 1, connecting(version).persistent());
        w.connect(&clean, 2, connecting(version));
        w.subscribe(&durable, "slow", 1);
        w.subscribe(&clean, "fast", 1);
        w.hold_mail();
        w.send(&sender, publish("slow", "1").qos(1).id(1));
        w.send(&sender, publish("fast", "2").qos(1).id(2));
        w.deliver_all(0, 2);
        w.receive(&clean, publish("fast", "2").qos(1));
        w.expect_nothing(&sender);
        exchange(&mut w, 0, 1);
        w.expect(&sender, puback(1));
        w.expect(&sender, puback(2));
        w.receive(&durable, publish("slow", "1").qos(1));
    });
}

/// A publisher and, on another shard, an absent session whose queue takes one message.
fn with_a_full_queue(connect: Connecting) -> (Shards, String, String) {
    let limits =
        Limits { queue_messages_max: 1, on_queue_full: OnQueueFull::Refuse, ..Limits::default() };
    let mut w = Shards::with(2, &limits);
    let (sender, receiver) = (w.name_at(0, 0), w.name_at(1, 0));
    w.connect(&sender, 0, connect);
    w.connect(&receiver, 1, v311().persistent());
    w.subscribe(&receiver, "t", 2);
    w.disconnect(&receiver);
    w.send(&sender, publish("t", "fits").qos(1).id(1));
    w.expect(&sender, puback(1));
    (w, sender, receiver)
}

/// The session comes back and has the message that was acknowledged, and no other.
fn nothing_but_what_fitted(w: &mut Shards, receiver: &str) {
    assert!(w.connect(receiver, 0, v311().persistent()), "session present");
    w.receive(receiver, publish("t", "fits").qos(1));
    w.expect_nothing(receiver);
}

#[test] // [MQTT5-4.3.3-9]
fn a_queue_that_is_full_on_another_shard_refuses_with_quota_exceeded() {
    let (mut w, sender, receiver) = with_a_full_queue(v5());
    w.send(&sender, publish("t", "1").qos(1).id(2));
    w.expect(&sender, puback(2).because(ReasonCode::QuotaExceeded));
    w.send(&sender, publish("t", "2").qos(2).id(3));
    w.expect(&sender, pubrec(3).because(ReasonCode::QuotaExceeded));
    // What was refused is not held: the identifier is free, and nothing is there to be released.
    w.send(&sender, pubrel(3));
    w.expect(&sender, pubcomp(3).because(ReasonCode::PacketIdentifierNotFound));
    nothing_but_what_fitted(&mut w, &receiver);
}

#[test]
fn a_queue_that_is_full_on_another_shard_closes_a_client_that_cannot_be_told() {
    for connect in [v31(), v311()] {
        for qos in [1, 2] {
            let (mut w, sender, receiver) = with_a_full_queue(connect.clone());
            w.send(&sender, publish("t", "no").qos(qos).id(2));
            w.expect_closed(&sender);
            nothing_but_what_fitted(&mut w, &receiver);
        }
    }
}

#[test]
fn a_refusal_that_comes_after_the_publisher_has_left_concerns_nobody() {
    let (mut w, sender, receiver) = with_a_full_queue(v5());
    w.hold_mail();
    w.send(&sender, publish("t", "no").qos(1).id(2));
    w.lose(&sender);
    w.connect(&sender, 0, v5());
    w.let_mail_run();
    w.expect_nothing(&sender);
    nothing_but_what_fitted(&mut w, &receiver);
}

/// Publishes and says whether PUBACK waits for the other shard.
fn puback_waits(w: &mut Shards, sender: &str, id: u16) -> bool {
    w.hold_mail();
    w.send(sender, publish("t", "m").qos(1).id(id));
    let heard = w.all_heard(sender);
    w.let_mail_run();
    let later = w.all_heard(sender);
    assert_eq!([heard.as_slice(), &later].concat().len(), 1, "PUBACK comes once");
    heard.is_empty()
}

#[test]
fn other_shards_know_whether_a_session_is_persistent_by_its_last_connect() {
    let mut w = Shards::new(2);
    let (sender, receiver) = (w.name_at(0, 0), w.name_at(1, 0));
    w.connect(&sender, 0, v5());
    w.connect(&receiver, 0, v5().persistent());
    w.subscribe(&receiver, "t", 1);
    assert!(puback_waits(&mut w, &sender, 1));
    w.receive(&receiver, publish("t", "m").qos(1));
    // It goes on with its session, to be over with this connection.
    w.lose(&receiver);
    assert!(w.connect(&receiver, 0, v5().clean(false)), "session present");
    assert!(!puback_waits(&mut w, &sender, 2));
    w.receive(&receiver, publish("t", "m").qos(1));
    w.lose(&receiver);
    assert!(!w.connect(&receiver, 0, v5().persistent()), "no session is present");
    w.subscribe(&receiver, "t", 1);
    assert!(puback_waits(&mut w, &sender, 3));
    w.receive(&receiver, publish("t", "m").qos(1));
    // One persistent session among clean ones is enough, and when it ends the others stay.
    let clean = w.name_at(1, 1);
    w.connect(&clean, 1, v5());
    w.subscribe(&clean, "t", 1);
    w.disconnect(&receiver);
    w.connect(&receiver, 1, v5());
    assert!(!puback_waits(&mut w, &sender, 4));
    w.receive(&clean, publish("t", "m").qos(1));
}
