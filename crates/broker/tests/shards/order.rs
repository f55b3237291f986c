//! Messages of one publisher on one topic arrive in order, whatever the mail between others does.

use crate::in_each_version;
use noctule_broker::Limits;
use noctule_testkit::packets::*;
use noctule_testkit::{Dice, Pieces, Shards};

#[test] // [MQTT3-4.6.0-6] [MQTT5-4.6.0-6]
fn messages_of_one_publisher_and_topic_arrive_in_order_on_every_shard() {
    for seed in 0..20 {
        let mut w = Shards::new(3);
        w.in_pieces(Pieces::Random(seed));
        let mut dice = Dice::new(seed);
        let publishers: Vec<_> = (0..3).map(|shard| w.name_at(shard, 0)).collect();
        let subscribers: Vec<_> = (0..3).map(|shard| w.name_at(shard, 1)).collect();
        for (shard, name) in subscribers.iter().enumerate() {
            w.connect(name, (shard + 1) % 3, v311());
            w.subscribe(name, "t/#", 1);
        }
        for (shard, name) in publishers.iter().enumerate() {
            w.connect(name, (shard + 2) % 3, v5());
        }
        w.hold_mail();
        for numbers in [0..3, 3..4, 4..8] {
            for (at, name) in publishers.iter().enumerate() {
                // Read together, so that letters are posted in batches too.
                for number in numbers.clone() {
                    // Each QoS is a sequence of its own.
                    for qos in [0, 1] {
                        let words = publish(&format!("t/{at}/{qos}"), number.to_string()).qos(qos);
                        w.say(name, if qos == 0 { words } else { words.id(number + 1) });
                    }
                }
                w.settle();
                w.deliver_any(&mut dice);
            }
        }
        while w.deliver_any(&mut dice) {}
        for name in &subscribers {
            let mut by_topic = std::collections::BTreeMap::<String, String>::new();
            for said in w.all_heard(name) {
                let Said::Publish(publish) = said else { panic!("{name} hears {said}") };
                let payload = String::from_utf8(publish.payload).unwrap();
                by_topic.entry(publish.topic).or_default().push_str(&payload);
            }
            assert_eq!(by_topic.len(), 6, "{by_topic:?}");
            assert!(by_topic.values().all(|all| all == "01234567"), "seed {seed}: {by_topic:?}");
        }
        for name in &publishers {
            assert_eq!(w.all_heard(name), (1..=8).map(puback).collect::<Vec<_>>());
        }
    }
}

/// What receivers on two shards hear of messages to one topic that come in such pieces: those at QoS 0
/// and 1, one whose window is small, and one whose session is kept.
fn heard_of_forty(pieces: Pieces, qos: u8, properties: bool) -> Vec<Vec<String>> {
    let mut w = Shards::new(2);
    let publisher = w.name_at(0, 0);
    let receivers: Vec<_> = (0..2).flat_map(|at| (1..4).map(move |n| (at, n))).collect();
    let receivers: Vec<_> = receivers.into_iter().map(|(at, n)| w.name_at(at, n)).collect();
    for (number, name) in receivers.iter().enumerate() {
        match number % 3 {
            0 => w.connect(name, 0, v311()),
            1 => w.connect(name, 1, v5().receive_maximum(7)),
            _ => w.connect(name, 0, v5().expiry(100)),
        };
        w.subscribe(name, "t", if number == 3 { 0 } else { 1 });
    }
    w.connect(&publisher, 1, if properties { v5() } else { v311() });
    w.in_pieces(pieces);
    for number in 0..40 {
        let words = publish("t", format!("number {number}")).qos(qos);
        w.say(&publisher, if qos == 0 { words } else { words.id(number + 1) });
    }
    w.settle();
    let mut all = Vec::new();
    for name in &receivers {
        let mut heard = Vec::new();
        loop {
            let said = w.all_heard(name);
            if said.is_empty() {
                break;
            }
            for one in said {
                let Said::Publish(publish) = one else { panic!("{name} hears {one}") };
                heard.push(format!(
                    "{} at {:?}",
                    String::from_utf8_lossy(&publish.payload),
                    publish.qos
                ));
                if let Some(id) = publish.id {
                    w.say(name, puback(id));
                }
            }
            w.settle();
        }
        assert_eq!(heard.len(), 40, "{name}");
        all.push(heard);
    }
    let answers = w.all_heard(&publisher).len();
    assert_eq!(answers, if qos == 0 { 0 } else { 40 });
    all
}

#[test] // [MQTT3-4.6.0-6] [MQTT5-4.6.0-6]
fn nobody_on_another_shard_can_tell_whether_messages_came_together() {
    for (qos, properties) in [(0, false), (0, true), (1, false), (1, true)] {
        let one_by_one = heard_of_forty(Pieces::Bytes, qos, properties);
        for pieces in [Pieces::Whole, Pieces::Random(1), Pieces::Random(2)] {
            assert_eq!(heard_of_forty(pieces, qos, properties), one_by_one, "{qos} {pieces:?}");
        }
    }
}

#[test]
fn a_publisher_waits_for_a_crowded_receiver_elsewhere_however_its_messages_came() {
    let limits = Limits { unsent_bytes_max: 40_000, ..Limits::default() };
    for pieces in [Pieces::Whole, Pieces::Bytes] {
        let mut w = Shards::with(2, &limits);
        w.in_pieces(pieces);
        let (publisher, bystander) = (w.name_at(0, 0), w.name_at(0, 1));
        let (receiver, other) = (w.name_at(1, 0), w.name_at(1, 1));
        for name in [&publisher, &bystander] {
            w.connect(name, 0, v5());
        }
        w.connect(&receiver, 1, v5().receive_maximum(4));
        w.subscribe(&receiver, "t", 1);
        w.connect(&other, 1, v311());
        w.subscribe(&other, "u", 1);
        let mut sent = 0;
        while w.unread(&publisher) == 0 {
            assert!(sent < 300, "nobody waits for a receiver that acknowledges nothing");
            for _ in 0..10 {
                sent += 1;
                w.say(&publisher, publish("t", [b'.'; 100]).qos(1).id(sent));
            }
            w.settle();
            w.all_heard(&publisher);
            w.all_heard(&receiver);
        }
        // Who has nothing to do with it does not.
        w.send(&bystander, publish("u", "m").qos(1).id(1));
        w.expect(&bystander, puback(1));
        w.send(&bystander, publish("u", "m").qos(1).id(2));
        w.expect(&bystander, puback(2));
        w.all_heard(&other);
    }
}

#[test] // [MQTT5-3.8.3-3]
fn no_local_holds_when_the_message_goes_to_other_shards_too() {
    let mut w = Shards::new(2);
    let (own, other) = (w.name_at(0, 0), w.name_at(1, 0));
    w.connect(&own, 1, v5());
    w.connect(&other, 0, v5());
    for name in [&own, &other] {
        w.send(name, subscribe(1, "t", 0).no_local());
        w.expect(name, suback(1, &[0]));
    }
    w.send(&own, publish("t", "mine"));
    w.receive(&other, publish("t", "mine"));
    w.expect_nothing(&own);
    w.send(&other, publish("t", "yours"));
    w.receive(&own, publish("t", "yours"));
    w.expect_nothing(&other);
}

#[test] // [MQTT3-3.1.2-8] [MQTT5-3.1.2-8]
fn wills_reach_the_other_shards() {
    in_each_version(|version| {
        let mut w = Shards::new(3);
        let dying = w.name_at(1, 0);
        let watchers: Vec<_> = (0..3).map(|shard| w.name_at(shard, 1)).collect();
        for name in &watchers {
            w.connect(name, 0, v311());
            w.subscribe(name, "last/+", 1);
        }
        let last_words = will("last/words", "farewell").qos(1);
        w.connect(&dying, 2, crate::connecting(version).keep_alive(10).will(last_words));
        w.pass_ms(14_000);
        w.expect_quiet();
        w.pass_ms(2_000);
        if version.has_reason_codes() {
            w.expect(&dying, disconnect(noctule_mqtt::ReasonCode::KeepAliveTimeout));
        }
        w.expect_closed(&dying);
        for name in &watchers {
            w.receive(name, publish("last/words", "farewell").qos(1));
        }
    });
}
