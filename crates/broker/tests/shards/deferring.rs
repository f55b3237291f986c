//! What receivers acknowledge at once is not stored; for all else nothing is different.

use noctule_broker::Record;
use noctule_testkit::Shards;
use noctule_testkit::packets::*;

/// A publisher and two receivers whose sessions are kept, and a store that is held, whose shard defers.
fn deferring() -> Shards {
    let mut w = Shards::new(1);
    w.connect("pub", 0, v311());
    for name in ["quick", "slow"] {
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
