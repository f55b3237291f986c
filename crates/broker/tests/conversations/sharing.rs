//! Shared subscriptions: one of a group gets each message, and which one.

use noctule_broker::{Limits, Offer, OnQueueFull, Sharing};
use noctule_mqtt::packet::RetainHandling;
use noctule_mqtt::{Property, ReasonCode};
use noctule_testkit::packets::*;
use noctule_testkit::{Said, World};

const GROUP: &str = "$share/g/x/#";

/// A world with a sender, and members of a group for which `connect` is called.
fn with_members(mut w: World, names: &[&str], connect: impl Fn() -> Connecting) -> World {
    w.connect("s", v5());
    for name in names {
        w.connect(name, connect());
        w.subscribe(name, GROUP, 2);
    }
    w
}

fn world(names: &[&str]) -> World {
    with_members(World::new(), names, v5)
}

fn number(number: usize, qos: u8) -> Publishing {
    publish("x/y", number.to_string()).qos(qos)
}

/// Who has got the message, which nobody else has; it is acknowledged.
fn taken_by<'n>(w: &mut World, names: &[&'n str], message: &Publishing) -> &'n str {
    let mut takers = Vec::new();
    for name in names {
        for said in w.all_heard(name) {
            let Said::Publish(heard) = said else { panic!("{name} hears {said}") };
            assert_eq!((&heard.payload, heard.qos), (&message.payload, message.qos), "{name}");
            w.acknowledge(name, &heard);
            takers.push(*name);
        }
    }
    assert_eq!(takers.len(), 1, "{takers:?}");
    takers[0]
}

#[test] // MQTT 5.0 section 4.8.2
fn members_take_turns_exactly_whatever_their_version() {
    for qos in 0..3 {
        let mut w = World::new();
        w.connect("s", v5());
        for (name, connect) in [("a", v31()), ("b", v311()), ("c", v5())] {
            w.connect(name, connect);
            w.subscribe(name, GROUP, 2);
        }
        let names = ["a", "b", "c"];
        let mut takers = Vec::new();
        for count in 0..9 {
            w.publish("s", number(count, qos));
            takers.push(taken_by(&mut w, &names, &number(count, qos)));
        }
        for round in takers.chunks(3) {
            assert_eq!(round, &takers[..3], "each in its turn");
        }
        assert_eq!(std::collections::BTreeSet::from_iter(takers).len(), 3);
    }
}

#[test]
fn groups_and_plain_subscriptions_do_not_disturb_each_other() {
    let mut w = world(&["a", "b"]);
    w.connect("other", v5());
    w.subscribe("other", "$share/h/x/#", 1);
    w.subscribe("other", "$share/g/x/y", 0);
    w.subscribe("other", "+/y", 2);
    w.connect("plain", v311());
    w.subscribe("plain", "x/y", 1);
    for count in 0..4 {
        w.publish("s", number(count, 2));
        taken_by(&mut w, &["a", "b"], &number(count, 2));
        w.receive("plain", number(count, 1));
        let mut heard: Vec<_> = w.all_heard("other");
        heard.sort_by_key(|said| match said {
            Said::Publish(publish) => publish.qos.bits(),
            other => panic!("{other}"),
        });
        assert_eq!(heard.len(), 3, "the plain one and those of two groups");
        for said in heard {
            let Said::Publish(publish) = said else { unreachable!("seen above") };
            w.acknowledge("other", &publish);
        }
    }
}

#[test] // [MQTT5-3.3.4-3] [MQTT5-4.8.2-3]
fn a_delivery_is_on_the_terms_of_the_members_own_subscription() {
    let mut w = World::new();
    w.connect("s", v5());
    w.connect("a", v5());
    w.send("a", subscribe(1, GROUP, 0).identifier(5).retain_as_published());
    w.expect("a", suback(1, &[0]));
    w.connect("b", v5());
    w.send("b", subscribe(1, GROUP, 1).identifier(9));
    w.expect("b", suback(1, &[1]));
    for _ in 0..2 {
        w.publish("s", publish("x", "m").qos(2).retain());
        for name in ["a", "b"] {
            for said in w.all_heard(name) {
                let Said::Publish(heard) = said else { panic!("{said}") };
                let expected = if name == "a" {
                    publish("x", "m").retain().property(Property::SubscriptionIdentifier(5))
                } else {
                    publish("x", "m").qos(1).property(Property::SubscriptionIdentifier(9))
                };
                assert_eq!(Publishing { id: None, ..heard.clone() }, expected);
                w.acknowledge(name, &heard);
            }
        }
    }
}

#[test] // MQTT 5.0 sections 3.3.1.3 and 4.8.2
fn retained_messages_are_not_sent_to_groups() {
    let mut w = world(&[]);
    w.publish("s", publish("x", "kept").retain());
    for handling in [RetainHandling::Always, RetainHandling::IfNew, RetainHandling::Never] {
        w.connect("a", v5());
        w.send("a", subscribe(1, GROUP, 0).retain_handling(handling));
        w.expect("a", suback(1, &[0]));
        w.expect_nothing("a");
        w.disconnect("a");
    }
}

#[test]
fn what_the_broker_says_of_itself_comes_to_one_member_of_a_group_that_asks_for_it() {
    let mut w = World::new();
    for name in ["a", "b"] {
        w.connect(name, v5());
        w.subscribe(name, "$share/g/$SYS/broker/#", 1);
    }
    w.connect("all", v5());
    // Who asks for everything has not asked for topics that begin with `$` [MQTT5-4.7.2-1].
    w.subscribe("all", "$share/h/#", 1);
    let mut takers = Vec::new();
    for seconds in ["1", "2"] {
        w.publish_system("$SYS/broker/uptime", seconds);
        let said = publish("$SYS/broker/uptime", seconds);
        takers.push(taken_by(&mut w, &["a", "b", "all"], &said));
    }
    takers.sort_unstable();
    assert_eq!(takers, ["a", "b"], "they take turns");
}

#[test] // [MQTT5-3.8.3-4]
fn no_local_on_a_shared_subscription_is_a_protocol_error() {
    let mut w = world(&[]);
    w.connect("a", v5());
    w.send_bytes("a", b"\x82\x10\x00\x01\x00\x00\x0a$share/g/x\x04");
    w.expect("a", disconnect(ReasonCode::ProtocolError));
    w.expect_closed("a");
}

#[test]
fn whoever_publishes_into_his_own_group_has_his_turn_too() {
    let mut w = world(&["a", "b"]);
    let takers: Vec<_> = (0..4)
        .map(|count| {
            w.publish("a", number(count, 1));
            taken_by(&mut w, &["a", "b"], &number(count, 1))
        })
        .collect();
    assert_eq!(takers.iter().filter(|name| **name == "a").count(), 2);
}

#[test] // [MQTT5-3.10.4-1]
fn a_member_that_leaves_gets_nothing_more_and_the_last_one_ends_the_group() {
    let mut w = world(&["a", "b"]);
    w.unsubscribe("a", GROUP);
    for count in 0..3 {
        w.publish("s", number(count, 1));
        assert_eq!(taken_by(&mut w, &["a", "b"], &number(count, 1)), "b");
    }
    w.send("a", unsubscribe(7, &[GROUP, "x/#"]));
    w.expect("a", unsuback(7, &[0x11, 0x11]));
    w.disconnect("b");
    w.send("s", number(9, 1).id(1));
    w.expect("s", puback(1).because(ReasonCode::NoMatchingSubscribers));
    for name in ["a", "s"] {
        w.disconnect(name);
    }
    w.expect_nobody_left();
}

#[test]
fn who_is_away_or_has_no_room_is_passed_over() {
    for qos in 0..3 {
        let mut w = with_members(World::new(), &["a", "b", "c"], || v5().persistent());
        w.lose("a");
        for count in 0..4 {
            w.publish("s", number(count, qos));
            assert_ne!(taken_by(&mut w, &["b", "c"], &number(count, qos)), "a");
        }
        w.connect("a", v5().persistent());
        w.expect_nothing("a");
    }
    // A full window is no room.
    let mut w = with_members(World::new(), &["a", "b"], || v5().receive_maximum(1));
    let names = ["a", "b"];
    w.publish("s", number(0, 1));
    w.publish("s", number(1, 1));
    let held: Vec<_> = names.iter().map(|name| w.all_heard(name).remove(0)).collect();
    let Said::Publish(first) = &held[0] else { panic!("{held:?}") };
    w.acknowledge("a", first);
    for count in 2..5 {
        w.publish("s", number(count, 1));
        assert_eq!(taken_by(&mut w, &names, &number(count, 1)), "a", "b has one unacknowledged");
    }
    let Said::Publish(second) = &held[1] else { panic!("{held:?}") };
    w.acknowledge("b", second);
}

#[test] // [MQTT5-3.1.2-25]
fn a_member_that_does_not_take_packets_so_large_is_passed_over() {
    for qos in 0..3 {
        let mut w = world(&["b"]);
        w.connect("a", v5().packet_max(100));
        w.subscribe("a", GROUP, 2);
        for _ in 0..3 {
            w.publish("s", publish("x", [1; 200]).qos(qos));
            w.receive("b", publish("x", [1; 200]).qos(qos));
        }
        w.expect_nothing("a");
    }
}

#[test]
fn when_all_are_away_one_persistent_member_keeps_the_message() {
    for qos in 1..3 {
        let mut w = with_members(World::new(), &["a", "b"], || v5().persistent());
        for name in ["a", "b"] {
            w.lose(name);
        }
        for count in 0..6 {
            w.publish("s", number(count, qos));
        }
        w.publish("s", number(9, 0));
        assert_eq!(w.dropped().away, 1, "QoS 0 waits for nobody");
        let mut all = Vec::new();
        for name in ["a", "b"] {
            w.connect(name, v5().persistent());
            while let Some(said) = w.next_heard(name) {
                let Said::Publish(heard) = said else { panic!("{said}") };
                w.acknowledge(name, &heard);
                all.push(String::from_utf8_lossy(&heard.payload).into_owned());
            }
        }
        all.sort();
        assert_eq!(all, ["0", "1", "2", "3", "4", "5"], "each once");
    }
}

#[test]
fn nobody_is_left_to_keep_a_message() {
    for (on_queue_full, reason) in [
        (OnQueueFull::DropNew, ReasonCode::Success),
        (OnQueueFull::Refuse, ReasonCode::QuotaExceeded),
    ] {
        let limits = Limits { queue_messages_max: 1, on_queue_full, ..Limits::default() };
        let mut w = with_members(World::with(limits), &["a"], || v5().persistent());
        w.lose("a");
        w.publish("s", number(0, 1));
        w.send("s", number(1, 1).id(9));
        w.expect("s", puback(9).because(reason));
        assert_eq!(w.dropped().group_away, 1);
        w.connect("a", v5().persistent());
        w.receive("a", number(0, 1));
    }
}

#[test] // MQTT 5.0 section 4.8.2: "the Server SHOULD send the Application Message to another Client"
fn what_a_member_has_not_acknowledged_at_qos_1_goes_to_another_when_its_session_ends() {
    for ends in ["with its connection", "by expiry", "by a clean start"] {
        let connect =
            || if ends == "with its connection" { v5() } else { v5().expiry(10).clean(false) };
        let mut w = with_members(World::new(), &["a"], connect);
        for count in 0..3 {
            w.publish("s", number(count, 1));
            w.expect("a", number(count, 1));
        }
        w.connect("b", v5());
        w.subscribe("b", GROUP, 1);
        w.lose("a");
        match ends {
            "by expiry" => {
                w.expect_nothing("b");
                w.pass(11);
            }
            "by a clean start" => {
                w.expect_nothing("b");
                w.connect("a", v5());
            }
            _ => {}
        }
        for count in 0..3 {
            w.receive("b", number(count, 1));
        }
    }
}

#[test] // MQTT 5.0 section 4.8.2
fn what_is_on_its_way_from_the_store_when_a_session_ends_goes_to_another_member() {
    let limits = Limits { queue_resident_bytes_max: 1, ..Limits::default() };
    let connect = || v5().persistent().receive_maximum(1);
    let mut w = with_members(World::with(limits), &["a"], connect);
    for count in 0..9 {
        w.publish("s", number(count, 1));
    }
    w.connect("b", v5());
    w.subscribe("b", GROUP, 1);
    w.receive("a", number(0, 1));
    w.hold_store();
    // With the last one at hand acknowledged, more is asked for.
    w.receive("a", number(1, 1));
    w.send("a", disconnect_expiring(ReasonCode::Success, 0));
    w.expect_closed("a");
    w.let_store_run();
    for count in 2..9 {
        w.receive("b", number(count, 1));
    }
}

#[test] // [MQTT5-4.8.2-4] [MQTT5-4.8.2-5]
fn what_was_sent_at_qos_2_is_completed_with_the_same_member_or_not_at_all() {
    let mut w =
        with_members(World::new(), &["a"], || v5().expiry(10).clean(false).receive_maximum(2));
    for count in 0..3 {
        w.publish("s", number(count, 2));
    }
    w.connect("b", v5());
    w.subscribe("b", GROUP, 2);
    let first = w.expect_publish("a", number(0, 2));
    w.expect("a", number(1, 2));
    w.send("a", pubrec(first.packet_id()));
    w.expect("a", pubrel(first.packet_id()));
    w.lose("a");
    w.expect_nothing("b");
    // It comes back: the same member.
    w.connect("a", v5().expiry(10).clean(false).receive_maximum(2));
    w.expect("a", pubrel(first.packet_id()));
    w.expect("a", number(1, 2).dup());
    w.lose("a");
    w.pass(11);
    // What it had never been sent may go to another; what it may have got is gone.
    w.receive("b", number(2, 2));
    w.expect_nothing("b");
}

#[test] // [MQTT5-4.8.2-6]
fn what_a_member_refuses_goes_to_nobody_else() {
    for qos in 1..3 {
        let mut w = world(&["a", "b"]);
        w.publish("s", number(0, qos));
        let (name, said) = ["a", "b"]
            .into_iter()
            .find_map(|name| w.next_heard(name).map(|said| (name, said)))
            .expect("one of them has it");
        let Said::Publish(heard) = said else { panic!("{said}") };
        let answer = if qos == 1 { puback(heard.packet_id()) } else { pubrec(heard.packet_id()) };
        w.send(name, answer.because(ReasonCode::UnspecifiedError));
        w.lose(name);
        let other = if name == "a" { "b" } else { "a" };
        w.expect_nothing(other);
    }
}

#[test]
fn a_sticky_group_stays_with_its_member_as_long_as_it_can() {
    let sticky = Offer { shared_subscriptions: Sharing::Sticky, ..Offer::default() };
    let mut w = with_members(World::offering(sticky), &["a", "b"], v5);
    let names = ["a", "b"];
    w.publish("s", number(0, 1));
    let first = taken_by(&mut w, &names, &number(0, 1));
    for count in 1..4 {
        w.publish("s", number(count, 1));
        assert_eq!(taken_by(&mut w, &names, &number(count, 1)), first);
    }
    let other = if first == "a" { "b" } else { "a" };
    w.disconnect(first);
    for count in 4..7 {
        w.publish("s", number(count, 1));
        w.receive(other, number(count, 1));
    }
}

#[test]
fn a_hashing_group_has_one_member_for_a_topic_and_uses_all_of_them() {
    let hash = Offer { shared_subscriptions: Sharing::Hash, ..Offer::default() };
    let names = ["a", "b", "c"];
    let mut w = with_members(World::offering(hash), &names, v5);
    let mut used = std::collections::BTreeSet::new();
    for topic in 0..30 {
        let message = publish(&format!("x/{topic}"), "m").qos(1);
        w.publish("s", message.clone());
        let taker = taken_by(&mut w, &names, &message);
        for _ in 0..2 {
            w.publish("s", message.clone());
            assert_eq!(taken_by(&mut w, &names, &message), taker);
        }
        used.insert(taker);
    }
    assert_eq!(used.len(), 3);
}

#[test]
fn versions_without_a_rule_for_it_may_write_a_shared_filter_badly() {
    for connect in [v31(), v311()] {
        let mut w = World::new();
        w.connect("a", connect);
        w.send("a", subscribe(1, "$share/g", 0).and("$share//x", 0).and(GROUP, 1));
        w.expect("a", suback(1, &[0x80, 0x80, 1]));
    }
}

#[test]
fn a_group_whose_only_members_queue_is_full_of_what_has_expired_takes_what_is_new() {
    let limits = Limits { queue_messages_max: 2, ..Limits::default() };
    let mut w = with_members(World::with(limits), &["a"], || v5().expiry(1_000).clean(false));
    w.lose("a");
    for old in 0..3 {
        w.publish("s", number(old, 1).expiring(5));
    }
    assert_eq!(w.dropped().group_away + w.dropped().queue_full, 1, "{:?}", w.dropped());
    w.pass(6);
    w.publish("s", number(3, 1));
    assert_eq!(w.dropped().expired, 2);
    w.connect("a", v5().expiry(1_000).clean(false));
    assert_eq!(taken_by(&mut w, &["a"], &number(3, 1)), "a");
}
