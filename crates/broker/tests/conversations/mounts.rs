//! Entrances with rules about names: topics below a mount, and what client identifiers are.

use crate::{connecting, in_each_version};
use noctule_broker::{AssignedPrefix, Entrance, EntranceId, Limits, Mount, Stage};
use noctule_mqtt::{Property, ProtocolVersion, ReasonCode};
use noctule_testkit::packets::*;
use noctule_testkit::{Said, World};

const OUTSIDE: EntranceId = EntranceId(0);
const SITE: EntranceId = EntranceId(1);

fn world() -> World {
    let site = Entrance { mount: Mount::new("site/1/"), ..Entrance::default() };
    World::entered(vec![Entrance::default(), site], Stage::Flushed)
}

/// With `out` and `in`, who have subscribed to everything at this QoS.
fn with_both(version: ProtocolVersion, qos: u8) -> World {
    let mut w = world();
    w.connect("out", connecting(version));
    w.subscribe("out", "#", qos);
    w.come_by(SITE);
    w.connect("in", connecting(version));
    w.subscribe("in", "#", qos);
    w
}

#[test]
fn what_is_published_below_a_mount_is_so_to_others_and_plain_to_those_there() {
    in_each_version(|version| {
        for qos in 0..3 {
            for bytes in [0, 1, 5_000] {
                let message = |topic| publish(topic, vec![b'm'; bytes]).qos(qos);
                let mut w = with_both(version, qos);
                w.publish("in", message("a/b"));
                w.receive("out", message("site/1/a/b"));
                w.receive("in", message("a/b"));
                w.publish("out", message("site/1/a"));
                w.receive("out", message("site/1/a"));
                w.receive("in", message("a"));
                for elsewhere in ["a", "site/1", "site/10/a"] {
                    w.publish("out", message(elsewhere));
                    w.receive("out", message(elsewhere));
                }
                w.expect_quiet();
                w.unsubscribe("in", "#");
                w.publish("in", message("a/b"));
                w.receive("out", message("site/1/a/b"));
                w.expect_quiet();
            }
        }
    });
}

#[test]
fn aliases_of_both_ways_are_of_topics_as_the_client_calls_them() {
    let mut w = world();
    w.connect("out", v5());
    w.subscribe("out", "#", 1);
    w.come_by(SITE);
    w.connect("in", v5().aliases(4));
    w.subscribe("in", "#", 1);
    let user = Property::UserProperty(("a", "1"));
    w.publish("in", publish("a/b", "1").qos(1).alias(2).property(user));
    w.receive("out", publish("site/1/a/b", "1").qos(1).property(user));
    w.receive("in", publish("a/b", "1").qos(1).alias(1).property(user));
    w.publish("in", publish("", "2").qos(1).alias(2));
    w.receive("out", publish("site/1/a/b", "2").qos(1));
    w.receive("in", publish("", "2").qos(1).alias(1));
}

#[test]
fn what_is_retained_and_what_is_shared_is_below_the_mount_too() {
    in_each_version(|version| {
        let mut w = with_both(version, 1);
        w.publish("in", publish("kept", "x").qos(1).retain());
        w.receive("out", publish("site/1/kept", "x").qos(1));
        w.receive("in", publish("kept", "x").qos(1));
        w.connect("late", connecting(version));
        w.subscribe("late", "+", 1);
        w.receive("late", publish("kept", "x").qos(1).retain());
        w.subscribe("late", "$share/g/work/#", 1);
        w.publish("out", publish("site/1/work/1", "y").qos(1));
        w.receive("out", publish("site/1/work/1", "y").qos(1));
        w.receive("in", publish("work/1", "y").qos(1));
        w.receive("late", publish("work/1", "y").qos(1));
        w.unsubscribe("late", "$share/g/work/#");
        // What the broker says of itself is not below it.
        w.subscribe("late", "$SYS/#", 1);
        w.publish_system("$SYS/broker/x", "1");
        w.expect_quiet();
    });
}

#[test]
fn a_member_for_whom_a_message_has_no_name_leaves_it_to_others() {
    in_each_version(|version| {
        for qos in 0..3 {
            let mut w = world();
            w.connect("out", connecting(version));
            w.connect("moves", connecting(version).persistent());
            w.subscribe("moves", "$share/g/work/#", qos);
            w.disconnect("moves");
            w.connect("stays", connecting(version));
            w.subscribe("stays", "$share/g/work/#", qos);
            w.come_by(SITE);
            w.connect("moves", connecting(version).clean(false).persistent());
            for number in 0..4 {
                let message = || publish("work/1", number.to_string()).qos(qos);
                w.publish("out", message());
                w.receive("stays", message());
            }
            assert_eq!(w.dropped().outside_mount, 0);
            w.expect_quiet();
            // Without anybody else it is not put aside where it could not be sent.
            w.unsubscribe("stays", "$share/g/work/#");
            w.publish("out", publish("work/1", "x").qos(qos));
            w.expect_quiet();
            let dropped = w.dropped();
            assert_eq!(dropped.away + dropped.group_away, 1);
        }
    });
}

#[test]
fn a_will_is_published_below_the_mount() {
    in_each_version(|version| {
        let mut w = with_both(version, 1);
        w.connect("mortal", connecting(version).will(will("gone", "x").qos(1).retain()));
        w.lose("mortal");
        w.receive("out", publish("site/1/gone", "x").qos(1));
        w.receive("in", publish("gone", "x").qos(1));
    });
}

#[test]
fn what_waited_is_named_as_where_its_client_comes_back_to() {
    in_each_version(|version| {
        for qos in 1..3 {
            let mut w = world();
            w.connect("out", connecting(version));
            w.come_by(SITE);
            w.connect("in", connecting(version).persistent());
            w.subscribe("in", "a/#", qos);
            w.disconnect("in");
            w.publish("out", publish("site/1/a/b", "1").qos(qos));
            w.connect("in", connecting(version).clean(false).persistent());
            w.receive("in", publish("a/b", "1").qos(qos));
            w.disconnect("in");
            w.publish("out", publish("site/1/a/b", "2").qos(qos));
            w.come_by(OUTSIDE);
            w.connect("in", connecting(version).clean(false).persistent());
            w.receive("in", publish("site/1/a/b", "2").qos(qos));
            w.subscribe("in", "other", qos);
            w.disconnect("in");
            w.publish("out", publish("other", "3").qos(qos));
            w.publish("out", publish("site/1/a/b", "4").qos(qos));
            w.come_by(SITE);
            w.connect("in", connecting(version).clean(false).persistent());
            // The one has no name there.
            w.receive("in", publish("a/b", "4").qos(qos));
            assert_eq!(w.dropped().outside_mount, 1);
            w.publish("out", publish("other", "5").qos(qos));
            w.publish("out", publish("other", "6"));
            assert_eq!(w.dropped().outside_mount, 3);
            w.expect_quiet();
        }
    });
}

#[test]
fn nothing_reaches_beyond_the_mount_by_being_too_long_with_it() {
    in_each_version(|version| {
        let mut w = world();
        w.connect("out", connecting(version));
        w.come_by(SITE);
        w.connect("in", connecting(version));
        // Nobody would notice a filter that matches everything in it.
        let long = format!("{}#", "+/".repeat(32_767));
        assert_eq!(long.len(), 65_535);
        w.send("in", subscribe(1, &long, 0));
        w.expect("in", suback(1, &[if version == ProtocolVersion::V5 { 0x8F } else { 0x80 }]));
        w.send("in", unsubscribe(2, &[&long]));
        w.expect("in", unsuback(2, &[0x11]));
        w.publish("out", publish("a", "x"));
        w.expect_quiet();
        w.send("in", publish(&"x".repeat(65_535), "m"));
        w.expect_closed_with(version, ReasonCode::TopicNameInvalid);
    });
}

/// What a client hears whose topic is too long with its mount.
trait ExpectClosed {
    fn expect_closed_with(&mut self, version: ProtocolVersion, reason: ReasonCode);
}

impl ExpectClosed for World {
    fn expect_closed_with(&mut self, version: ProtocolVersion, reason: ReasonCode) {
        if version == ProtocolVersion::V5 {
            self.expect("in", disconnect(reason));
        }
        self.expect_closed("in");
    }
}

#[test]
fn identifiers_are_what_the_entrance_says() {
    in_each_version(|version| {
        let rules = Entrance {
            client_id_prefix: "dev-".into(),
            assigned_prefix: AssignedPrefix("dev-auto-".into()),
            ..Entrance::default()
        };
        let strict = Entrance { requires_client_id: true, ..Entrance::default() };
        let mut w = World::entered(vec![rules, strict], Stage::Flushed);
        w.connect("dev-1", connecting(version));
        w.expect_refused("dev", connecting(version), ReasonCode::NotAuthorized);
        w.expect_refused("x-dev-1", connecting(version), ReasonCode::NotAuthorized);
        if version == ProtocolVersion::V5 {
            w.start("nameless", connecting(version).id(""));
            let Some(Said::Connack { properties: Some(properties), .. }) = w.next_heard("nameless")
            else {
                panic!("no CONNACK");
            };
            let text = String::from_utf8_lossy(&properties);
            assert!(text.contains("dev-auto-"), "{text}");
        }
        w.come_by(EntranceId(1));
        w.expect_refused("a", connecting(version).id(""), ReasonCode::ClientIdentifierNotValid);
        w.connect("b", connecting(version));
    });
}

#[test]
fn messages_at_qos_0_wait_for_persistent_clients_if_they_are_told_to() {
    in_each_version(|version| {
        let limits =
            Limits { queue_at_most_once: true, queue_messages_max: 3, ..Limits::default() };
        let mut w = World::with(limits);
        w.connect("s", connecting(version));
        w.connect("r", connecting(version).persistent());
        w.connect("clean", connecting(version));
        for name in ["r", "clean"] {
            w.subscribe(name, "a", 1);
            w.disconnect(name);
        }
        w.publish("s", publish("a", "1"));
        w.publish("s", publish("a", "2").qos(1));
        w.publish("s", publish("a", vec![b'3'; 5_000]));
        w.publish("s", publish("a", "4"));
        assert_eq!(w.dropped().queue_full, 1, "they count like others");
        w.connect("r", connecting(version).clean(false).persistent());
        w.receive("r", publish("a", "1"));
        w.receive("r", publish("a", "2").qos(1));
        w.receive("r", publish("a", vec![b'3'; 5_000]));
        w.expect_quiet();
        w.publish("s", publish("a", "5"));
        w.receive("r", publish("a", "5"));
        w.disconnect("r");
        w.connect("r", connecting(version).clean(false).persistent());
        w.expect_quiet();
        w.forget("r", version);
        w.disconnect("s");
        w.expect_nobody_left();
    });
}

#[test]
fn a_message_is_delivered_with_the_qos_of_the_subscription_if_that_is_wanted() {
    in_each_version(|version| {
        let mut w = World::with(Limits { upgrade_qos: true, ..Limits::default() });
        w.connect("s", connecting(version));
        for (name, qos) in [("r0", 0), ("r1", 1), ("r2", 2)] {
            w.connect(name, connecting(version).persistent());
            w.subscribe(name, "a", qos);
        }
        for published in 0..3 {
            for bytes in [1, 5_000] {
                let message = |qos| publish("a", vec![b'm'; bytes]).qos(qos);
                w.publish("s", message(published));
                for (name, qos) in [("r0", 0), ("r1", 1), ("r2", 2)] {
                    w.receive(name, message(qos));
                }
            }
        }
        w.disconnect("r1");
        w.publish("s", publish("a", "kept"));
        w.receive("r0", publish("a", "kept"));
        w.receive("r2", publish("a", "kept").qos(2));
        w.connect("r1", connecting(version).clean(false).persistent());
        w.receive("r1", publish("a", "kept").qos(1));
    });
}

#[test]
fn user_properties_have_their_limit_below_a_mount_too() {
    let most = Limits::default().user_properties_max;
    let asking = |count: usize| {
        let property = Property::UserProperty(("a", "b"));
        (0..count).fold(subscribe(1, "t", 0), |one, _| one.property(property))
    };
    let mut w = world();
    w.come_by(SITE);
    w.connect("in", v5());
    w.send("in", asking(most));
    w.expect("in", suback(1, &[0]));
    w.send("in", asking(most + 1));
    w.expect("in", disconnect(ReasonCode::QuotaExceeded));
    w.expect_closed("in");
}
