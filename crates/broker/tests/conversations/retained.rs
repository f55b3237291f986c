//! Retained messages: kept, replaced, forgotten, and given to new subscriptions piece by piece.

use crate::{connecting, in_each_version};
use noctule_broker::{Limits, Record};
use noctule_mqtt::packet::RetainHandling;
use noctule_mqtt::{Property, ProtocolVersion};
use noctule_testkit::packets::*;
use noctule_testkit::{Said, World};
use std::collections::BTreeMap;

fn world() -> World {
    let mut w = World::new();
    w.connect("s", v311());
    w
}

// [MQTT3-3.3.1-5] [MQTT3-3.3.1-6] [MQTT3-3.3.1-7] [MQTT3-3.3.1-8] [MQTT5-3.3.1-5] [MQTT5-3.3.1-9]
#[test]
fn a_retained_message_follows_the_suback_with_its_flag() {
    in_each_version(|version| {
        for (qos, wanted) in [(0, 0), (1, 1), (2, 2), (2, 1), (1, 0), (0, 2)] {
            let mut w = world();
            w.publish("s", publish("x", "old").retain());
            w.publish("s", publish("x", "kept").qos(qos).retain());
            w.connect("r", connecting(version));
            w.send("r", subscribe(1, "x", wanted));
            w.expect("r", suback(1, &[wanted]));
            w.receive("r", publish("x", "kept").qos(qos.min(wanted)).retain());
        }
    });
}

#[test] // [MQTT3-3.3.1-9] [MQTT5-3.3.1-12]
fn a_live_copy_has_no_retain_flag() {
    in_each_version(|version| {
        let mut w = world();
        w.connect("r", connecting(version));
        w.subscribe("r", "x", 1);
        w.publish("s", publish("x", "m").qos(1).retain());
        w.receive("r", publish("x", "m").qos(1));
        assert_eq!(w.population().retained, 1);
    });
}

#[test] // [MQTT5-3.3.1-12] [MQTT5-3.3.1-13]
fn retain_as_published_keeps_the_flag_as_it_was() {
    let mut w = world();
    w.connect("r", v5());
    w.send("r", subscribe(1, "x", 1).retain_as_published());
    w.expect("r", suback(1, &[1]));
    for qos in [0, 1] {
        w.publish("s", publish("x", "m").qos(qos).retain());
        w.receive("r", publish("x", "m").qos(qos).retain());
        w.publish("s", publish("x", "m").qos(qos));
        w.receive("r", publish("x", "m").qos(qos));
    }
}

#[test] // [MQTT5-3.3.1-13]
fn retain_as_published_holds_for_what_is_queued_too() {
    let mut w = world();
    w.connect("r", v5().persistent());
    w.send("r", subscribe(1, "x", 1).retain_as_published());
    w.expect("r", suback(1, &[1]));
    w.lose("r");
    w.publish("s", publish("x", "1").qos(1).retain());
    w.publish("s", publish("x", "2").qos(1));
    w.connect("r", v5().persistent());
    w.receive("r", publish("x", "1").qos(1).retain());
    w.receive("r", publish("x", "2").qos(1));
}

#[test] // [MQTT3-3.3.1-10] [MQTT3-3.3.1-11] [MQTT5-3.3.1-6] [MQTT5-3.3.1-7]
fn an_empty_payload_forgets_and_is_delivered_like_any_other() {
    in_each_version(|version| {
        let mut w = world();
        w.connect("live", connecting(version));
        w.subscribe("live", "x", 0);
        w.publish("s", publish("x", "m").retain());
        w.expect("live", publish("x", "m"));
        w.publish("s", publish("x", "").retain());
        w.expect("live", publish("x", ""));
        assert_eq!(w.population().retained, 0);
        w.connect("r", connecting(version));
        w.subscribe("r", "#", 0);
        w.expect_quiet();
    });
}

#[test] // [MQTT3-3.3.1-12] [MQTT5-3.3.1-8]
fn a_message_without_the_flag_neither_sets_nor_forgets() {
    let mut w = world();
    w.publish("s", publish("x", "kept").retain());
    w.publish("s", publish("x", "passing"));
    w.publish("s", publish("x", ""));
    w.connect("r", v311());
    w.subscribe("r", "x", 0);
    w.expect("r", publish("x", "kept").retain());
}

#[test] // [MQTT3-3.8.4-3] [MQTT5-3.8.4-4] and [MQTT5-3.3.1-9] [MQTT5-3.3.1-10] [MQTT5-3.3.1-11]
fn retain_handling_says_when_they_come() {
    let rows = [
        (RetainHandling::Always, true, true),
        (RetainHandling::IfNew, true, false),
        (RetainHandling::Never, false, false),
    ];
    for (handling, at_first, again) in rows {
        let mut w = world();
        w.publish("s", publish("x", "m").retain());
        w.connect("r", v5());
        for (id, expected) in [(1, at_first), (2, again)] {
            w.send("r", subscribe(id, "x", 0).retain_handling(handling));
            w.expect("r", suback(id, &[0]));
            if expected {
                w.expect("r", publish("x", "m").retain());
            }
            w.expect_quiet();
        }
    }
}

#[test] // [MQTT3-3.8.4-3]
fn each_subscribe_of_mqtt_3_brings_them_again() {
    for version in [ProtocolVersion::V31, ProtocolVersion::V311] {
        let mut w = world();
        w.publish("s", publish("x", "m").retain());
        w.connect("r", connecting(version));
        for _ in 0..2 {
            w.subscribe("r", "x", 0);
            w.expect("r", publish("x", "m").retain());
        }
    }
}

#[test] // [MQTT5-3.3.2-18] [MQTT5-3.3.4-3]
fn they_come_with_subscription_identifier_and_properties() {
    let mut w = World::new();
    w.connect("s", v5());
    let pair = Property::UserProperty(("a", "b"));
    w.publish("s", publish("x", "m").property(pair).retain());
    w.connect("r", v5());
    w.send("r", subscribe(1, "x", 0).identifier(7));
    w.expect("r", suback(1, &[0]));
    let identifier = Property::SubscriptionIdentifier(7);
    w.expect("r", publish("x", "m").property(identifier).property(pair).retain());
}

#[test] // [MQTT3-4.7.2-1] [MQTT5-4.7.2-1] and section 4.7.1.2
fn wildcards_find_what_they_match_and_no_dollar_topics() {
    let topics = ["a", "a/b", "a/b/c", "b", "/", "$d/a", "a/"];
    let rows: [(&str, &[&str]); 8] = [
        ("#", &["a", "a/b", "a/b/c", "b", "/", "a/"]),
        ("+", &["a", "b"]),
        ("a/#", &["a", "a/b", "a/b/c", "a/"]),
        ("a/+", &["a/b", "a/"]),
        ("+/+", &["a/b", "/", "a/"]),
        ("$d/#", &["$d/a"]),
        ("+/a", &[]),
        ("a/b/c/#", &["a/b/c"]),
    ];
    let mut w = World::with(Limits { retained_slice: 3, ..Limits::default() });
    w.connect("s", v311());
    for topic in topics {
        w.publish("s", publish(topic, topic).retain());
    }
    w.connect("r", v311());
    for (filter, expected) in rows {
        w.subscribe("r", filter, 0);
        let mut heard: Vec<_> = w
            .all_heard("r")
            .into_iter()
            .map(|said| match said {
                Said::Publish(publish) if publish.retain => publish.topic,
                other => panic!("{other} was not expected"),
            })
            .collect();
        heard.sort();
        let mut expected: Vec<String> = expected.iter().map(|topic| (*topic).into()).collect();
        expected.sort();
        assert_eq!(heard, expected, "{filter}");
    }
}

#[test]
fn many_are_sent_in_slices_and_others_have_their_turn_in_between() {
    let mut w = World::with(Limits { retained_slice: 3, ..Limits::default() });
    w.connect("s", v311());
    for number in 0..50 {
        w.publish("s", publish(&format!("t/{number}"), "m").retain());
    }
    w.connect("r", v311());
    w.connect("other", v311());
    w.say("r", subscribe(1, "#", 0));
    w.say("other", pingreq());
    w.settle();
    w.expect("other", pingresp());
    w.expect("r", suback(1, &[0]));
    assert_eq!(w.all_heard("r").len(), 50);
}

/// Publishes many retained messages of `bytes` bytes, and gives back what they are.
fn publish_many(w: &mut World, count: usize, bytes: usize) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for number in 0..count {
        let (topic, payload) = (format!("t/{number}"), vec![number as u8; bytes]);
        w.publish("s", publish(&topic, &payload).qos(1).retain());
        all.insert(topic, payload);
    }
    all
}

fn take(w: &mut World, expected: &mut BTreeMap<String, Vec<u8>>) {
    while let Some(said) = w.next_heard("r") {
        let Said::Publish(heard) = said else { panic!("{said} was not expected") };
        assert!(heard.retain && !heard.dup);
        let payload = expected.remove(&heard.topic);
        assert_eq!(payload.as_ref(), Some(&heard.payload), "{} comes once", heard.topic);
        w.acknowledge("r", &heard);
    }
}

#[test] // [MQTT3-3.3.1-6] [MQTT5-3.3.1-9]
fn ten_thousand_go_through_a_small_window_and_none_is_lost() {
    for queue_messages_max in [2, 100_000] {
        let mut w =
            World::with(Limits { inflight_out_max: 20, queue_messages_max, ..Limits::default() });
        w.connect("s", v311());
        let mut expected = publish_many(&mut w, 10_000, 10);
        w.connect("r", v311());
        w.subscribe("r", "#", 1);
        take(&mut w, &mut expected);
        assert!(expected.is_empty(), "{} are missing", expected.len());
        assert_eq!(w.dropped(), &noctule_broker::Dropped::default());
    }
}

#[test] // [MQTT3-3.3.1-6] [MQTT5-3.3.1-9]
fn a_slow_reader_gets_all_of_ten_thousand() {
    for qos in [0, 1] {
        let mut w = World::with(Limits { unsent_bytes_max: 4_000, ..Limits::default() });
        w.connect("s", v311());
        let mut expected = publish_many(&mut w, 10_000, 50);
        w.connect("r", v311());
        w.stall_after("r", 1_000);
        w.send("r", subscribe(1, "#", qos));
        w.expect("r", suback(1, &[qos]));
        while !expected.is_empty() {
            let before = expected.len();
            take(&mut w, &mut expected);
            let unsent = w.unsent("r");
            assert!(unsent <= 4_000 + 100, "{unsent} bytes wait");
            w.stall_after("r", 3_333);
            w.settle();
            assert!(before > expected.len() || before == 10_000, "it does not go on");
        }
        assert_eq!(w.dropped(), &noctule_broker::Dropped::default());
    }
}

#[test] // [MQTT3-3.3.1-6] [MQTT5-3.3.1-9]
fn large_ones_do_not_pile_up_in_the_output_or_the_queue() {
    for qos in [0, 1] {
        let mut w = World::with(Limits {
            unsent_bytes_max: 20_000,
            queue_bytes_max: 15_000,
            inflight_out_max: 2,
            ..Limits::default()
        });
        w.connect("s", v311());
        let mut expected = publish_many(&mut w, 100, 10_000);
        w.connect("r", v5().persistent());
        w.subscribe("r", "#", qos);
        take(&mut w, &mut expected);
        assert!(expected.is_empty(), "{} are missing", expected.len());
        assert_eq!(w.dropped(), &noctule_broker::Dropped::default());
    }
}

#[test]
fn a_client_that_leaves_amid_them_gets_the_rest_when_it_comes_back() {
    let mut w = World::with(Limits { inflight_out_max: 5, ..Limits::default() });
    w.connect("s", v311());
    let mut expected = publish_many(&mut w, 100, 10);
    w.connect("r", v311().persistent());
    w.subscribe("r", "#", 1);
    for _ in 0..20 {
        let Some(Said::Publish(heard)) = w.next_heard("r") else { panic!("20 have come") };
        expected.remove(&heard.topic);
        w.acknowledge("r", &heard);
    }
    w.lose("r");
    w.connect("r", v311().persistent());
    while let Some(Said::Publish(heard)) = w.next_heard("r") {
        expected.remove(&heard.topic);
        w.acknowledge("r", &heard);
    }
    assert!(expected.is_empty(), "{} are missing", expected.len());
}

#[test] // [MQTT3-3.10.4-2] [MQTT5-3.10.4-2]
fn an_unsubscribe_ends_them() {
    let mut w = World::with(Limits { inflight_out_max: 5, ..Limits::default() });
    w.connect("s", v311());
    publish_many(&mut w, 100, 10);
    w.connect("r", v311());
    w.subscribe("r", "#", 1);
    let heard = w.all_heard("r");
    assert_eq!(heard.len(), 5);
    w.unsubscribe("r", "#");
    for said in heard {
        let Said::Publish(publish) = said else { panic!("{said} was not expected") };
        w.acknowledge("r", &publish);
    }
    // What was on its way may come, but no more.
    assert!(w.all_heard("r").len() <= 1);
}

#[test] // [MQTT3-3.10.4-2] [MQTT5-3.10.4-2]
fn an_unsubscribe_ends_them_also_while_the_suback_waits_for_the_store() {
    let mut w = world();
    w.publish("s", publish("x", "m").retain());
    w.connect("r", v311().persistent());
    w.hold_store();
    w.send("r", subscribe(1, "x", 0));
    w.send("r", unsubscribe(2, &["x"]));
    w.let_store_run();
    w.expect("r", suback(1, &[0]));
    w.expect("r", unsuback(2, &[0]));
    w.expect_quiet();
}

#[test]
fn one_too_large_for_the_client_is_dropped_and_counted_and_the_others_come() {
    let mut w = world();
    w.publish("s", publish("a", "small").retain());
    w.publish("s", publish("b", vec![1; 1_000]).retain());
    w.publish("s", publish("c", "small").retain());
    w.connect("r", v5().packet_max(500));
    w.subscribe("r", "#", 1);
    // In the order of the parts that they lie in.
    w.expect("r", publish("c", "small").retain());
    w.expect("r", publish("a", "small").retain());
    assert_eq!(w.dropped().packet_too_large, 1);
}

#[test]
fn a_large_one_is_kept_byte_for_byte() {
    let mut w = world();
    let payload: Vec<u8> = (0..100_000u32).map(|number| (number % 251) as u8).collect();
    w.publish("s", publish("x", &payload).qos(1).retain());
    w.connect("r", v5());
    w.subscribe("r", "x", 1);
    w.receive("r", publish("x", &payload).qos(1).retain());
}

#[test]
fn one_is_stored_with_the_message_and_forgotten_with_it() {
    use noctule_broker::Record;
    let mut w = world();
    w.publish("s", publish("x", "m").retain());
    w.publish("s", publish("x", "").retain());
    let payloads: Vec<_> = w
        .records()
        .iter()
        .map(|record| match record {
            Record::Retained { message, .. } => message.payload().len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(payloads, [1, 0]);
}

#[test] // [MQTT5-3.1.2-25]
fn retained_messages_come_when_one_that_is_too_large_has_made_room() {
    let mut w = World::new();
    w.connect("p", v311());
    w.publish("p", publish("kept", "here").retain());
    w.connect("r", v5().persistent().receive_maximum(1).packet_max(100));
    w.subscribe("r", "t", 2);
    w.hold_store();
    w.send("r", subscribe(9, "kept", 1));
    // It takes the only place in flight, and is found to be too large when its place is stored.
    w.send("p", publish("t", [0; 200]).qos(2).id(1));
    w.let_store_run();
    w.expect("r", suback(9, &[1]));
    w.receive("r", publish("kept", "here").retain());
    w.expect("p", pubrec(1));
}

#[test] // [MQTT3-3.1.2-7]
fn they_outlast_the_session_of_their_publisher() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("s", connecting(version));
        w.publish("s", publish("x", "kept").qos(1).retain());
        w.disconnect("s");
        w.expect_nobody_left();
        w.connect("s", connecting(version).persistent());
        w.publish("s", publish("y", "kept").qos(1).retain());
        w.forget("s", version);
        w.expect_nobody_left();
        w.connect("r", connecting(version));
        for topic in ["x", "y"] {
            w.subscribe("r", topic, 1);
            w.receive("r", publish(topic, "kept").qos(1).retain());
        }
    });
}

#[test] // [MQTT5-3.3.4-5]
fn each_copy_has_the_identifier_of_its_own_subscription() {
    let mut w = world();
    w.publish("s", publish("x/y", "m").retain());
    w.connect("r", v5());
    for (id, filter, identifier) in [(1, "x/y", Some(7)), (2, "x/#", Some(8)), (3, "+/y", None)] {
        let request = subscribe(id, filter, 0);
        let with = identifier.map(|identifier| request.clone().identifier(identifier));
        w.send("r", with.unwrap_or(request));
        w.expect("r", suback(id, &[0]));
        let copy = publish("x/y", "m").retain();
        w.expect(
            "r",
            match identifier {
                Some(identifier) => copy.property(Property::SubscriptionIdentifier(identifier)),
                None => copy,
            },
        );
    }
    // A group's member gets a copy of its own, beside that of its other subscriptions.
    w.send("r", subscribe(4, "$share/g/x/y", 0).identifier(9));
    w.expect("r", suback(4, &[0]));
    w.publish("s", publish("x/y", "live"));
    let mut heard: Vec<Vec<u32>> = w
        .all_heard("r")
        .into_iter()
        .map(|said| match said {
            Said::Publish(publish) => noctule_mqtt::Properties::from_checked(&publish.properties)
                .subscription_identifiers()
                .collect(),
            other => panic!("{other} was not expected"),
        })
        .collect();
    heard.iter_mut().for_each(|identifiers| identifiers.sort_unstable());
    heard.sort();
    assert_eq!(heard, [vec![7, 8], vec![9]]);
}

#[test]
fn one_that_is_upgraded_still_says_who_has_published_it_and_when() {
    let mut w = World::with(Limits { upgrade_qos: true, ..Limits::default() });
    w.connect("s", v5().user("anna"));
    w.publish("s", publish("x", "kept").retain());
    let kept = w.records().iter().find_map(|record| match record {
        Record::Retained { message, .. } => Some(message.clone()),
        _ => None,
    });
    let kept = kept.expect("it is stored");
    assert!(kept.received_ms() > 0 && kept.published_by().is_some());
    w.pass(100);
    w.connect("r", v5().persistent());
    w.subscribe("r", "x", 1);
    w.expect("r", publish("x", "kept").qos(1).retain().id(1));
    w.lose("r");
    let owed: Vec<_> = w
        .records()
        .iter()
        .filter_map(|record| match record {
            Record::Owed { owed, .. } => Some(owed.message.clone()),
            _ => None,
        })
        .collect();
    let [owed] = &owed[..] else { panic!("{owed:?}") };
    assert_eq!(owed.published_by(), kept.published_by());
    assert_eq!(owed.received_ms(), kept.received_ms());
}
