//! What a client sends again on a new connection, while answers of the last one still wait. Each of
//! these was found by the simulation.

use crate::connecting;
use noctule_broker::{Limits, OnQueueFull};
use noctule_mqtt::ProtocolVersion;
use noctule_testkit::Shards;
use noctule_testkit::packets::*;

/// A persistent publisher on shard 0, and on shard 1 a persistent subscriber to `slow`, for which
/// acknowledgements wait as long as mail is held.
fn with_a_slow_topic(version: ProtocolVersion) -> (Shards, String, String) {
    let mut w = Shards::new(2);
    let (sender, receiver) = (w.name_at(0, 0), w.name_at(1, 0));
    w.connect(&sender, 0, connecting(version).persistent());
    w.connect(&receiver, 1, connecting(version).persistent());
    w.subscribe(&receiver, "slow", 1);
    w.hold_mail();
    (w, sender, receiver)
}

#[test] // [MQTT3-4.6.0-2] [MQTT5-4.6.0-2]
fn pubacks_come_in_the_order_of_the_repeated_packets() {
    crate::in_each_version(|version| {
        let (mut w, sender, receiver) = with_a_slow_topic(version);
        w.send(&sender, publish("slow", "1").qos(1).id(1));
        crate::exchange(&mut w, 0, 1);
        w.all_heard(&sender);
        w.send(&sender, publish("slow", "2").qos(1).id(2));
        w.lose(&sender);
        // The first acknowledgement was lost on its way, the second still waits.
        w.connect(&sender, 0, connecting(version).persistent());
        w.send(&sender, publish("slow", "1").qos(1).id(1).dup());
        w.send(&sender, publish("slow", "2").qos(1).id(2).dup());
        w.deliver(0, 1);
        w.deliver(1, 0);
        w.expect_nothing(&sender);
        crate::exchange(&mut w, 0, 1);
        let heard = w.all_heard(&sender);
        assert_eq!(heard, [puback(1), puback(2)]);
        w.all_heard(&receiver);
    });
}

#[test] // [MQTT3-4.6.0-1] [MQTT5-4.6.0-1]
fn of_repeated_messages_the_last_stays_retained() {
    crate::in_each_version(|version| {
        let (mut w, sender, receiver) = with_a_slow_topic(version);
        w.send(&sender, publish("slow", "old").qos(1).id(1).retain());
        crate::exchange(&mut w, 0, 1);
        w.all_heard(&sender);
        w.send(&sender, publish("slow", "new").qos(1).id(2).retain());
        w.lose(&sender);
        w.connect(&sender, 0, connecting(version).persistent());
        w.send(&sender, publish("slow", "old").qos(1).id(1).dup().retain());
        w.send(&sender, publish("slow", "new").qos(1).id(2).dup().retain());
        crate::exchange(&mut w, 0, 1);
        assert_eq!(w.all_heard(&sender), [puback(1), puback(2)]);
        w.all_heard(&receiver);
        let late = w.name_at(1, 1);
        w.let_mail_run();
        w.connect(&late, 0, connecting(version));
        w.subscribe(&late, "slow", 0);
        w.receive(&late, publish("slow", "new").retain());
    });
}

#[test] // [MQTT3-4.6.0-6] [MQTT5-4.6.0-6]
fn a_message_does_not_overtake_one_of_its_session_that_is_being_stored() {
    let mut w = Shards::new(1);
    w.connect("receiver", 0, v5());
    w.subscribe("receiver", "t", 0);
    w.connect("x/1", 0, v5().id("x").clean(false).expiry(100));
    w.hold_store(0);
    w.send("x/1", publish("t", "first").qos(2).id(1));
    // The session goes on, but keeps nothing any more.
    w.connect("x/2", 0, v5().id("x").clean(false));
    w.expect("x/1", disconnect(noctule_mqtt::ReasonCode::SessionTakenOver));
    w.expect_closed("x/1");
    w.send("x/2", publish("t", "second").qos(2).id(2));
    w.let_store_run(0);
    w.receive("receiver", publish("t", "first"));
    w.receive("receiver", publish("t", "second"));
    w.expect("x/2", pubrec(2));
}

#[test] // [MQTT3-4.3.2-2]
fn what_was_ready_behind_a_refusal_does_not_hold_up_the_next_connection() {
    let limits = Limits {
        queue_messages_max: 1,
        acks_waiting_max: 2,
        on_queue_full: OnQueueFull::Refuse,
        ..Limits::default()
    };
    let mut w = Shards::with(2, &limits);
    let (sender, receiver) = (w.name_at(0, 0), w.name_at(1, 0));
    w.connect(&sender, 0, v311().persistent());
    w.connect(&receiver, 1, v311().persistent());
    w.subscribe(&receiver, "full", 1);
    w.disconnect(&receiver);
    w.send(&sender, publish("full", "fits").qos(1).id(1));
    w.expect(&sender, puback(1));
    w.hold_mail();
    w.say(&sender, publish("full", "does not").qos(1).id(2));
    w.say(&sender, publish("empty", "ready behind it").qos(1).id(3));
    w.settle();
    crate::exchange(&mut w, 0, 1);
    w.expect_closed(&sender);
    w.let_mail_run();
    assert!(w.connect(&sender, 0, v311().persistent()), "session present");
    for id in 4..8 {
        w.send(&sender, publish("empty", "m").qos(1).id(id));
        w.expect(&sender, puback(id));
    }
}

#[test] // [MQTT5-3.8.3-3]
fn a_message_of_a_clients_last_session_is_its_own() {
    let mut w = Shards::new(1);
    w.connect("other", 0, v5());
    w.subscribe("other", "t", 1);
    w.connect("x/1", 0, v5().id("x").expiry(100));
    w.hold_store(0);
    w.send("x/1", publish("t", "late").qos(2).id(1));
    w.connect("x/2", 0, v5().id("x"));
    w.expect("x/1", disconnect(noctule_mqtt::ReasonCode::SessionTakenOver));
    w.expect_closed("x/1");
    w.send("x/2", subscribe(1, "t", 1).no_local());
    w.expect("x/2", suback(1, &[1]));
    w.let_store_run(0);
    w.receive("other", publish("t", "late").qos(1));
    w.expect_nothing("x/2");
}
