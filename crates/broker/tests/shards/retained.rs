//! Retained messages are common to all shards.

use crate::{connecting, exchange, in_each_version};
use noctule_mqtt::ReasonCode;
use noctule_mqtt::packet::RetainHandling;
use noctule_testkit::Shards;
use noctule_testkit::packets::*;

#[test] // [MQTT3-3.3.1-6] [MQTT5-3.3.1-9]
fn a_retained_message_of_one_shard_is_there_for_subscribers_of_all_before_any_mail() {
    in_each_version(|version| {
        let mut w = Shards::new(3);
        let sender = w.name_at(0, 0);
        w.connect(&sender, 1, connecting(version));
        let watchers: Vec<_> = (0..3).map(|shard| w.name_at(shard, 1)).collect();
        for name in &watchers {
            w.connect(name, 0, connecting(version));
        }
        w.hold_mail();
        for topic in ["t/a", "t/b", "t/c", "t/d"] {
            w.send(&sender, publish(topic, topic).qos(1).id(1).retain());
            w.expect(&sender, puback(1).because(ReasonCode::NoMatchingSubscribers));
        }
        for name in &watchers {
            w.subscribe(name, "t/b", 1);
            w.receive(name, publish("t/b", "t/b").qos(1).retain());
            w.expect_nothing(name);
            w.send(name, subscribe(1, "t/+", 0));
            w.expect(name, suback(1, &[0]));
            let mut topics: Vec<_> = w
                .all_heard(name)
                .into_iter()
                .map(|said| match said {
                    Said::Publish(publish) if publish.retain => publish.topic,
                    other => panic!("{name} hears {other}"),
                })
                .collect();
            topics.sort();
            assert_eq!(topics, ["t/a", "t/b", "t/c", "t/d"]);
        }
        assert_eq!(w.populations()[2].retained, 4);
    });
}

#[test]
fn what_is_set_after_the_suback_comes_once_and_live() {
    in_each_version(|version| {
        let mut w = Shards::new(2);
        let (sender, watcher) = (w.name_at(0, 0), w.name_at(1, 0));
        w.connect(&sender, 0, connecting(version));
        // Persistent, so that SUBACK and the retained messages behind it wait for the store.
        w.connect(&watcher, 1, connecting(version).persistent());
        w.hold_mail();
        w.send(&sender, publish("t", "old").retain());
        w.hold_store(1);
        w.send(&watcher, subscribe(1, "t", 0));
        w.expect_nothing(&watcher);
        w.send(&sender, publish("t", "new").retain());
        w.let_store_run(1);
        w.expect(&watcher, suback(1, &[0]));
        // "new" was set when the subscription was in, and "old" is no longer there.
        w.expect_nothing(&watcher);
        w.deliver(0, 1);
        w.receive(&watcher, publish("t", "new"));
        w.expect_quiet();
    });
}

#[test]
fn a_retained_message_does_not_come_after_a_newer_live_one_of_its_topic() {
    in_each_version(|version| {
        let mut w = Shards::new(2);
        let (sender, watcher) = (w.name_at(0, 0), w.name_at(1, 0));
        w.connect(&sender, 0, connecting(version));
        w.connect(&watcher, 1, connecting(version).persistent());
        w.send(&sender, publish("t", "old").retain());
        w.hold_store(1);
        w.send(&watcher, subscribe(1, "t", 0));
        // It arrives live while the subscription's answer waits.
        w.send(&sender, publish("t", "new").retain());
        w.receive(&watcher, publish("t", "new"));
        w.let_store_run(1);
        w.expect(&watcher, suback(1, &[0]));
        w.expect_quiet();
    });
}

#[test] // [MQTT5-3.8.4-4]
fn replacing_a_subscription_loses_no_message_that_another_shard_has_just_retained() {
    let mut w = Shards::new(2);
    let (sender, watcher) = (w.name_at(0, 0), w.name_at(1, 0));
    w.connect(&sender, 0, v5());
    w.connect(&watcher, 1, v5());
    w.subscribe(&watcher, "t", 1);
    w.hold_mail();
    w.send(&sender, publish("t", "m").retain());
    // It wants no retained messages, but this one was on its way to its first subscription.
    w.send(&watcher, subscribe(2, "t", 0).retain_handling(RetainHandling::Never));
    w.expect(&watcher, suback(2, &[0]));
    w.deliver(0, 1);
    w.receive(&watcher, publish("t", "m"));
}

#[test] // [MQTT3-3.3.1-6] [MQTT3-3.10.4-2] [MQTT5-3.3.1-9] [MQTT5-3.10.4-2]
fn what_is_on_its_way_comes_live_for_the_subscription_from_before_it_as_long_as_there_is_one() {
    for leaves in [false, true] {
        in_each_version(|version| {
            let mut w = Shards::new(2);
            let (sender, watcher) = (w.name_at(0, 0), w.name_at(1, 0));
            w.connect(&sender, 0, connecting(version));
            w.connect(&watcher, 1, connecting(version));
            w.subscribe(&watcher, "t/#", 1);
            w.hold_mail();
            w.send(&sender, publish("t/a", "m").qos(1).id(1).retain());
            w.expect(&sender, puback(1));
            // For this one it is retained already.
            w.subscribe(&watcher, "#", 1);
            w.receive(&watcher, publish("t/a", "m").qos(1).retain());
            if leaves {
                w.send(&watcher, unsubscribe(2, &["t/#"]));
                w.all_heard(&watcher);
            }
            w.deliver(0, 1);
            if !leaves {
                w.receive(&watcher, publish("t/a", "m").qos(1));
            }
            w.expect_quiet();
        });
    }
}

#[test] // [MQTT3-3.3.1-10] [MQTT5-3.3.1-6]
fn what_one_shard_forgets_is_forgotten_on_all_at_once() {
    in_each_version(|version| {
        let mut w = Shards::new(2);
        let (sender, watcher) = (w.name_at(0, 0), w.name_at(1, 0));
        w.connect(&sender, 1, connecting(version));
        w.connect(&watcher, 0, connecting(version));
        w.hold_mail();
        w.send(&sender, publish("t", "kept").retain());
        w.send(&sender, publish("t", "").retain());
        w.subscribe(&watcher, "#", 0);
        w.expect_nothing(&watcher);
        exchange(&mut w, 0, 1);
        w.expect_quiet();
    });
}

#[test]
fn news_of_the_store_that_comes_while_it_is_asked_for_is_not_missed() {
    for fuse in 0..12 {
        let mut w = Shards::new(2);
        let (sender, watcher) = (w.name_at(0, 0), w.name_at(1, 0));
        w.connect(&sender, 0, v5());
        w.connect(&watcher, 1, v5().persistent());
        w.hold_store(0);
        w.hold_store(1);
        w.send(&sender, publish("t", "m").retain());
        w.send(&watcher, subscribe(1, "t", 1));
        // Its retained message is looked for now, and may be stored meanwhile.
        w.release_store(1, 1);
        w.store_meanwhile(1, 0, fuse);
        w.let_stores_run();
        w.settle();
        w.expect(&watcher, suback(1, &[1]));
        w.receive(&watcher, publish("t", "m").retain());
        w.expect_quiet();
    }
}

#[test]
fn what_was_cleared_twice_may_be_there_again_as_well() {
    let mut w = Shards::new(3);
    let senders: Vec<_> = (0..2).map(|shard| w.name_at(shard, 0)).collect();
    let watcher = w.name_at(2, 0);
    senders.iter().for_each(|name| {
        w.connect(name, 0, v5());
    });
    w.connect(&watcher, 2, v5().persistent());
    w.send(&senders[0], publish("t", "m").retain());
    w.hold_store(0);
    w.hold_store(1);
    w.hold_store(2);
    for name in &senders {
        w.send(name, publish("t", "").retain());
    }
    w.send(&watcher, subscribe(1, "t", 1));
    let is_recorded =
        w.held_batches(2).concat().iter().any(|record| {
            matches!(record, noctule_broker::Record::Subscribed { replay: Some(_), .. })
        });
    assert!(is_recorded, "after a crash there would be a message to be handed out");
}

#[test]
fn a_topic_that_is_always_being_stored_keeps_nobody_from_those_behind_it() {
    for payload in ["m", ""] {
        let mut w = Shards::new(2);
        let (sender, watcher) = (w.name_at(0, 0), w.name_at(1, 0));
        w.connect(&sender, 0, v5());
        w.connect(&watcher, 1, v5().persistent());
        let topics: Vec<_> = (0..30).map(|number| format!("t/{number:02}")).collect();
        for topic in &topics {
            w.send(&sender, publish(topic, "old").retain());
        }
        // One that is set, and perhaps cleared, again and again by the other shard.
        let busy = &topics[3];
        w.hold_store(0);
        w.send(&sender, publish(busy, "m").retain());
        w.send(&watcher, subscribe(1, "t/#", 1));
        w.expect(&watcher, suback(1, &[1]));
        let mut heard = std::collections::BTreeSet::new();
        for round in 0..20 {
            let payload = if round % 2 == 0 { "m" } else { payload };
            w.send(&sender, publish(busy, payload).retain());
            // The one before is stored, and this one is not.
            w.release_store(0, 1);
            w.settle();
            heard.extend(w.all_heard(&watcher).into_iter().filter_map(|said| match said {
                Said::Publish(publish) if publish.retain => Some(publish.topic),
                _ => None,
            }));
        }
        for topic in topics.iter().filter(|topic| *topic != busy) {
            assert!(heard.contains(topic), "{topic} is among those behind: {heard:?}");
        }
        w.let_stores_run();
        w.all_heard(&watcher);
    }
}
