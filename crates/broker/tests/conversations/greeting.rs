//! `HELLO`: who is greeted, when, and who must not be disturbed.

use crate::{connecting, in_each_version};
use noctule_broker::{Hello, Limits};
use noctule_mqtt::{Property, ProtocolVersion, ReasonCode};
use noctule_testkit::packets::*;
use noctule_testkit::{Authenticator, Said, World};

/// How late a deadline may be met.
const GRAIN_MS: u64 = 128;

fn world(hello: Hello) -> World {
    World::greeting(hello, Limits::default())
}

fn topic(client_id: &str) -> String {
    format!("$SYS/broker/connection/{client_id}")
}

fn hello(client_id: &str) -> Publishing {
    publish(&topic(client_id), "HELLO")
}

#[test]
fn who_subscribes_to_its_own_topic_is_greeted_right_behind_suback_and_once() {
    in_each_version(|version| {
        for persistent in [false, true] {
            let mut w = world(Hello::Waiting);
            let connect = connecting(version);
            w.connect("a", if persistent { connect.persistent() } else { connect });
            w.send("a", subscribe(1, "x", 0).and(&topic("a"), 2).and("y", 0));
            w.expect("a", suback(1, &[0, 2, 0]));
            let heard = w.expect_publish("a", hello("a"));
            assert!(!heard.retain && heard.id.is_none(), "QoS 0 and not retained");
            w.send("a", subscribe(2, &topic("a"), 1));
            w.expect("a", suback(2, &[1]));
            w.pass(10);
            w.expect_quiet();
            assert_eq!(w.population().retained, 0);
            assert_eq!(w.snapshot().packets.messages_received(), 0, "it was never published");
        }
    });
}

#[test]
fn the_suback_of_a_persistent_session_waits_for_the_store_and_the_greeting_with_it() {
    in_each_version(|version| {
        let mut w = world(Hello::Waiting);
        w.connect("a", connecting(version).persistent());
        w.hold_store();
        w.send("a", subscribe(1, &topic("a"), 0));
        w.expect_nothing("a");
        w.let_store_run();
        w.expect("a", suback(1, &[0]));
        w.expect_publish("a", hello("a"));
    });
}

#[test]
fn a_filter_that_is_not_exactly_its_topic_asks_for_nothing() {
    in_each_version(|version| {
        let mut w = world(Hello::Waiting);
        w.connect("a", connecting(version));
        for filter in ["$SYS/#", "$SYS/broker/connection/+", "$SYS/broker/connection/b", "#"] {
            w.subscribe("a", filter, 0);
        }
        w.pass(10);
        w.expect_quiet();
    });
}

#[test]
fn a_refused_filter_asks_for_nothing() {
    in_each_version(|version| {
        let limits = Limits { subscriptions_max: 1, ..Limits::default() };
        let mut w = World::greeting(Hello::Waiting, limits);
        w.connect("a", connecting(version));
        w.subscribe("a", "x", 0);
        w.send("a", subscribe(7, &topic("a"), 0));
        let refused = if version == ProtocolVersion::V5 { 0x97 } else { 0x80 };
        w.expect("a", suback(7, &[refused]));
        w.pass(2);
        w.expect_quiet();
    });
}

#[test]
fn a_silent_client_of_version_3_without_a_subscription_is_greeted_after_a_second() {
    for version in [ProtocolVersion::V31, ProtocolVersion::V311] {
        let mut w = world(Hello::Waiting);
        w.connect("a", connecting(version));
        w.pass_ms(999);
        w.expect_quiet();
        w.pass_ms(1 + GRAIN_MS);
        w.expect_publish("a", hello("a"));
        w.pass(600);
        w.subscribe("a", &topic("a"), 0);
        w.expect_quiet();
        // Each connection anew.
        w.disconnect("a");
        w.connect("a", connecting(version));
        w.pass(2);
        w.expect_publish("a", hello("a"));
    }
}

#[test]
fn a_silent_client_of_version_5_is_left_alone() {
    let mut w = world(Hello::Waiting);
    w.connect("a", v5());
    w.pass(600);
    w.expect_quiet();
}

#[test]
fn who_says_anything_within_the_second_is_left_alone() {
    for version in [ProtocolVersion::V31, ProtocolVersion::V311] {
        for after_ms in [0, 1, 500, 999] {
            let mut w = world(Hello::Waiting);
            w.connect("a", connecting(version));
            w.pass_ms(after_ms);
            w.publish("a", publish("x", "m"));
            w.pass(600);
            w.expect_quiet();
        }
        // A piece of a packet is a sign of life too, and so is what came behind CONNECT.
        let mut w = world(Hello::Waiting);
        w.connect("a", connecting(version));
        w.send_bytes("a", &[0xC0]);
        w.pass(2);
        w.expect_quiet();
        w.authenticate(Authenticator::Waiting);
        w.start("b", connecting(version));
        w.send("b", publish("x", "m"));
        w.verdict(noctule_broker::Verdict::Accepted);
        w.expect("b", connack());
        w.pass(600);
        w.expect_quiet();
    }
}

#[test]
fn a_resumed_session_with_subscriptions_is_left_alone() {
    for version in [ProtocolVersion::V31, ProtocolVersion::V311] {
        let mut w = world(Hello::Waiting);
        w.connect("a", connecting(version).persistent());
        w.subscribe("a", "x", 1);
        w.lose("a");
        w.connect("a", connecting(version).persistent());
        w.pass(600);
        w.expect_quiet();
        // But one that never had any is waiting for all we know.
        w.connect("b", connecting(version).persistent());
        w.lose("b");
        w.connect("b", connecting(version).persistent());
        w.pass(2);
        w.expect_publish("b", hello("b"));
    }
}

#[test]
fn always_is_right_behind_connack_and_once() {
    in_each_version(|version| {
        let mut w = world(Hello::Always);
        w.connect("a", connecting(version).persistent());
        w.expect_publish("a", hello("a"));
        w.subscribe("a", &topic("a"), 0);
        w.pass(10);
        w.expect_quiet();
        // Ahead of what a resumed session is owed.
        w.subscribe("a", "x", 1);
        w.lose("a");
        w.connect("p", connecting(version));
        w.expect_publish("p", hello("p"));
        w.publish("p", publish("x", "m").qos(1));
        w.connect("a", connecting(version).persistent());
        w.expect_publish("a", hello("a"));
        w.receive("a", publish("x", "m").qos(1));
        w.expect_quiet();
    });
}

#[test]
fn never_is_never() {
    in_each_version(|version| {
        let mut w = world(Hello::Never);
        w.connect("a", connecting(version));
        w.subscribe("a", &topic("a"), 0);
        w.connect("b", connecting(version));
        w.pass(600);
        w.expect_quiet();
    });
}

#[test]
fn who_is_refused_hears_connack_and_nothing_else() {
    in_each_version(|version| {
        let mut w = world(Hello::Always);
        let reason = ReasonCode::NotAuthorized;
        w.authenticate(Authenticator::No(reason));
        w.expect_refused("a", connecting(version), reason);
    });
}

#[test]
fn an_identifier_that_makes_no_topic_gets_none_and_serves_on() {
    in_each_version(|version| {
        for mode in [Hello::Always, Hello::Waiting] {
            for id in ["a+b", "#", "+"] {
                let mut w = world(mode);
                w.connect("a", connecting(version).id(id));
                w.pass(2);
                w.publish("a", publish("x", "m"));
                w.expect_quiet();
            }
            // With levels of its own it makes a topic.
            let mut w = world(mode);
            w.connect("a", connecting(version).id("site/7"));
            if mode == Hello::Waiting {
                w.send("a", subscribe(1, &topic("site/7"), 0));
                w.expect("a", suback(1, &[0]));
            }
            w.expect_publish("a", hello("site/7"));
        }
    });
}

#[test] // [MQTT5-3.1.2-24] [MQTT5-3.2.2-20]
fn a_client_that_takes_only_small_packets_gets_none() {
    for (packet_max, greeted) in [(33, false), (34, true)] {
        let mut w = world(Hello::Waiting);
        w.connect("a", v5().packet_max(packet_max));
        w.send("a", subscribe(1, &topic("a"), 0));
        w.expect("a", suback(1, &[0]));
        if greeted {
            w.expect_publish("a", hello("a"));
        }
        w.expect_quiet();
    }
}

#[test]
fn connack_of_version_5_says_who_this_is_unless_nobody_is_greeted() {
    for (mode, packet_max, says) in [
        (Hello::Waiting, 1_000_000, true),
        (Hello::Waiting, 200, false),
        (Hello::Always, 1_000_000, true),
        (Hello::Never, 1_000_000, false),
    ] {
        let mut w = world(mode);
        w.start("a", v5().packet_max(packet_max));
        let Some(Said::Connack { properties: Some(properties), .. }) = w.next_heard("a") else {
            panic!("no CONNACK with properties");
        };
        let introduction = Property::UserProperty(("server", "noctule"));
        let introduction = noctule_testkit::packets::properties(
            noctule_mqtt::PacketType::Connack,
            &[introduction],
        );
        let found = properties.windows(introduction.len()).any(|window| *window == *introduction);
        assert_eq!(found, says, "{mode:?} {packet_max}");
        if mode == Hello::Always {
            w.expect_publish("a", hello("a"));
        }
    }
}
