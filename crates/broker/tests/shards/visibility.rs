//! Who is found by whom: a subscription counts on every shard when its SUBACK is seen, and on none
//! when it is gone.

use crate::{connecting, in_each_version};
use noctule_mqtt::ReasonCode;
use noctule_testkit::packets::*;
use noctule_testkit::{Dice, Shards};

#[test] // [MQTT3-3.8.4-1] [MQTT5-3.8.4-1]
fn what_is_published_on_any_shard_after_the_suback_arrives() {
    for seed in 0..10 {
        in_each_version(|version| {
            let mut w = Shards::new(4);
            let mut dice = Dice::new(seed);
            let senders: Vec<_> = (0..4).map(|shard| w.name_at(shard, 0)).collect();
            for (shard, name) in senders.iter().enumerate() {
                w.connect(name, shard, connecting(version));
                // So that the route without the subscription is in each shard's cache.
                w.send(name, publish("a/b/c", "nobody hears this"));
            }
            let watcher = w.name_at(2, 1);
            w.connect(&watcher, 0, connecting(version));
            w.hold_mail();
            for filter in ["a/b/c", "a/b/#", "a/+/c", "+/b/c", "#"] {
                w.subscribe(&watcher, filter, 0);
                for name in &senders {
                    w.send(name, publish("a/b/c", format!("{filter} {name}")));
                }
                while w.deliver_any(&mut dice) {}
                let mut heard: Vec<_> = w.all_heard(&watcher).iter().map(payload_of).collect();
                heard.sort();
                let mut expected: Vec<_> =
                    senders.iter().map(|name| format!("{filter} {name}")).collect();
                expected.sort();
                assert_eq!(heard, expected);
                w.send(&watcher, unsubscribe(2, &[filter]));
                w.next_heard(&watcher);
            }
        });
    }
}

fn payload_of(said: &Said) -> String {
    match said {
        Said::Publish(publish) => String::from_utf8_lossy(&publish.payload).into_owned(),
        other => panic!("{other} is no message"),
    }
}

/// What PUBACK says on a shard: whether anybody, anywhere, wants the topic.
fn somebody_wants(w: &mut Shards, sender: &str, topic: &str) -> bool {
    w.send(sender, publish(topic, "m").qos(1).id(7));
    match w.next_heard(sender) {
        Some(Said::Ack { reason: ReasonCode::Success, .. }) => true,
        Some(Said::Ack { reason: ReasonCode::NoMatchingSubscribers, .. }) => false,
        other => panic!("{sender} hears {other:?}"),
    }
}

#[test]
fn the_interest_of_a_shard_ends_with_its_last_subscriber() {
    for leaves in ["unsubscribes", "disconnects", "is lost", "is taken over", "expires"] {
        let mut w = Shards::new(2);
        let sender = w.name_at(0, 0);
        let (one, two) = (w.name_at(1, 0), w.name_at(1, 1));
        w.connect(&sender, 0, v5());
        for (name, filter) in [(&one, "t/#"), (&two, "t/#"), (&two, "t/a")] {
            if !w.is_open(name) {
                let expiry = if leaves == "expires" { 60 } else { 0 };
                w.connect(name, 0, v5().expiry(expiry));
            }
            w.subscribe(name, filter, 0);
        }
        for (gone, left) in [(&one, true), (&two, false)] {
            assert!(somebody_wants(&mut w, &sender, "t/a"), "before {gone} {leaves}");
            for name in [&one, &two] {
                w.all_heard(name);
            }
            match leaves {
                "unsubscribes" => {
                    w.send(gone, unsubscribe(1, &["t/#", "t/a"]));
                    w.next_heard(gone);
                }
                "disconnects" => w.disconnect(gone),
                "is lost" => w.lose(gone),
                "is taken over" => {
                    w.connect("new", 0, v5().id(gone));
                    w.expect(gone, disconnect(ReasonCode::SessionTakenOver));
                    w.expect_closed(gone);
                    w.disconnect("new");
                }
                _ => {
                    w.lose(gone);
                    w.pass_ms(62_000);
                }
            }
            assert_eq!(somebody_wants(&mut w, &sender, "t/a"), left, "after {gone} {leaves}");
            w.all_heard(&two);
        }
        for name in [&one, &two, &sender] {
            if w.is_open(name) {
                w.disconnect(name);
            }
        }
        w.expect_nobody_left();
    }
}
