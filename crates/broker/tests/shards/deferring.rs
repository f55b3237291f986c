//! What receivers acknowledge at once is not stored; for all else nothing is different.

use noctule_broker::{Limits, Record};
use noctule_testkit::Shards;
use noctule_testkit::packets::*;

/// A publisher and two receivers whose sessions are kept, and a store that is held, whose shard defers.
fn deferring() -> Shards {
    deferring_for(&["quick", "slow"], &Limits::default())
}

/// The same with one receiver, to whom one message is sent at a time.
fn one_at_a_time() -> Shards {
    deferring_for(&["quick"], &Limits { inflight_out_max: 1, ..Limits::default() })
}

fn deferring_for(receivers: &[&str], limits: &Limits) -> Shards {
    let mut w = Shards::with(1, limits);
    w.connect("pub", 0, v311());
    for name in receivers {
        w.connect(name, 0, v311().persistent());
        w.subscribe(name, "x", 1);
    }
    w.defer(true);
    // A turn ends deferring before anything is deferred.
    w.send("pub", pingreq());
    w.expect("pub", pingresp());
    w.hold_store(0);
    w
}

/// How many records that a session is owed something the store has been asked to keep.
fn asked_for(w: &Shards) -> usize {
    let batches = w.held_batches(0);
    let records = batches.into_iter().flatten();
    records.filter(|record| matches!(record, Record::Owed { .. })).count()
}

/// What has come besides is of no account.
fn let_hear(w: &mut Shards) {
    for name in ["quick", "slow"] {
        w.all_heard(name);
    }
}

/// Hears a message and does not answer.
fn hear(w: &mut Shards, name: &str) -> u16 {
    match w.next_heard(name) {
        Some(Said::Publish(publish)) => publish.packet_id(),
        other => panic!("{name} hears {other:?}"),
    }
}

#[test] // [MQTT3-4.3.2-2] [MQTT5-4.3.2-4]
fn what_all_receivers_have_acknowledged_is_acknowledged_without_the_store() {
    let mut w = deferring();
    w.send("pub", publish("x", "1").qos(1).id(7));
    for name in ["quick", "slow"] {
        w.expect_nothing("pub");
        let id = hear(&mut w, name);
        w.send(name, puback(id));
    }
    w.expect("pub", puback(7));
    assert_eq!(w.held_batches(0).len(), 0);
}

#[test]
fn what_one_of_them_does_not_acknowledge_is_stored_for_him_alone_and_then_not_deferred() {
    let mut w = deferring();
    w.send("pub", publish("x", "1").qos(1).id(7));
    let id = hear(&mut w, "quick");
    w.send("quick", puback(id));
    let late = hear(&mut w, "slow");
    assert_eq!(asked_for(&w), 0);
    w.pass_ms(10);
    w.expect_nothing("pub");
    assert_eq!(asked_for(&w), 1);
    w.let_store_run(0);
    w.expect("pub", puback(7));
    w.hold_store(0);
    // The slow one is not waited for now, and nothing waits that comes with what it is owed.
    w.send("pub", publish("x", "2").qos(1).id(8));
    assert_eq!(asked_for(&w), 2);
    w.send("slow", puback(late));
    w.let_store_run(0);
    w.expect("pub", puback(8));
    let_hear(&mut w);
}

#[test] // [MQTT5-4.6.0-2]
fn whatever_else_is_to_be_stored_takes_all_of_it_along() {
    let mut w = deferring();
    w.send("pub", publish("x", "1").qos(1).id(7));
    assert_eq!(asked_for(&w), 0);
    w.connect("away", 0, v311());
    w.send("away", publish("kept", "value").qos(1).id(1).retain());
    assert_eq!(asked_for(&w), 2);
    w.expect_nothing("pub");
    w.let_store_run(0);
    w.expect("pub", puback(7));
    w.expect("away", puback(1));
    let_hear(&mut w);
}

#[test]
fn a_session_that_ends_is_waited_for_no_longer() {
    let mut w = deferring();
    w.send("pub", publish("x", "1").qos(1).id(7));
    let id = hear(&mut w, "quick");
    w.send("quick", puback(id));
    w.connect("slow2", 0, v311().id("slow"));
    assert_eq!(asked_for(&w), 0, "its session has ended");
    w.let_store_run(0);
    w.expect("pub", puback(7));
    let_hear(&mut w);
    w.expect_closed("slow");
}

/// Three messages are published, of which two wait for the first one.
fn publish_three(w: &mut Shards) {
    for (id, text) in [(7, "1"), (8, "2"), (9, "3")] {
        w.send("pub", publish("x", text).qos(1).id(id));
    }
}

#[test] // [MQTT3-4.3.2-2] [MQTT5-4.3.2-4]
fn what_waits_for_its_turn_to_be_sent_to_one_who_answers_at_once_is_not_stored() {
    let mut w = one_at_a_time();
    publish_three(&mut w);
    for answered in [7, 8, 9] {
        w.expect_nothing("pub");
        let id = hear(&mut w, "quick");
        w.send("quick", puback(id));
        w.expect("pub", puback(answered));
    }
    assert_eq!(w.held_batches(0).len(), 0);
}

#[test]
fn what_waits_for_its_turn_is_stored_when_the_one_before_it_is_not_acknowledged() {
    let mut w = one_at_a_time();
    publish_three(&mut w);
    let late = hear(&mut w, "quick");
    w.pass_ms(20);
    assert_eq!(asked_for(&w), 3);
    w.expect_nothing("pub");
    w.let_store_run(0);
    for id in [7, 8, 9] {
        w.expect("pub", puback(id));
    }
    w.send("quick", puback(late));
    for _ in 0..2 {
        let id = hear(&mut w, "quick");
        w.send("quick", puback(id));
    }
}

#[test] // [MQTT3-3.1.2-5] [MQTT5-4.5.0-1]
fn what_waits_for_one_who_leaves_is_stored() {
    let mut w = one_at_a_time();
    publish_three(&mut w);
    hear(&mut w, "quick");
    w.lose("quick");
    w.let_store_run(0);
    w.pass_ms(20);
    for id in [7, 8, 9] {
        w.expect("pub", puback(id));
    }
}
