//! SUBSCRIBE and UNSUBSCRIBE: what is granted, refused, replaced and ended.

use crate::{connecting, in_each_version};
use noctule_broker::Limits;
use noctule_mqtt::{Property, ProtocolVersion, ReasonCode};
use noctule_testkit::packets::*;
use noctule_testkit::{Said, World};

// [MQTT3-2.3.1-7] [MQTT3-3.8.4-1] [MQTT3-3.8.4-2] [MQTT3-3.8.4-4] [MQTT3-3.8.4-5] [MQTT3-3.9.3-1]
// [MQTT5-2.2.1-6] [MQTT5-3.8.4-1] [MQTT5-3.8.4-2] [MQTT5-3.8.4-5] [MQTT5-3.8.4-6] [MQTT5-3.9.3-1]
#[test]
fn each_filter_has_its_own_result_in_order() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("a", connecting(version));
        let deep = vec!["x"; 300].join("/");
        let request = subscribe(77, "a", 2)
            .and("$share/group/b", 1)
            .and("c/+", 1)
            .and(&deep, 0)
            .and("d/#", 0);
        w.send("a", request);
        let v5 = version == ProtocolVersion::V5;
        let refused = if v5 { 0x8F } else { 0x80 };
        let expected = &[2, 1, 1, refused, 0];
        w.expect("a", suback(77, expected));
        assert_eq!(w.population().subscriptions, 4);
        for (topic, qos) in [("a", 2), ("c/x", 1), ("d", 0)] {
            w.publish("a", publish(topic, "m").qos(2));
            w.receive("a", publish(topic, "m").qos(qos));
        }
        w.publish("a", publish("e", "m"));
        w.expect_quiet();
    });
}

#[test]
fn a_filter_may_have_200_separators_and_not_one_more() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("a", connecting(version));
        let levels = |count| vec!["+"; count].join("/");
        let refused = if version == ProtocolVersion::V5 { 0x8F } else { 0x80 };
        w.send("a", subscribe(1, &levels(201), 0).and(&levels(202), 0));
        w.expect("a", suback(1, &[0, refused]));
        let topic = vec!["x"; 201].join("/");
        w.publish("a", publish(&topic, "m"));
        w.expect("a", publish(&topic, "m"));
    });
}

#[test]
fn a_topic_over_the_limits_is_a_violation() {
    in_each_version(|version| {
        for qos in 0..3 {
            for persistent in [false, true] {
                let mut w = World::with(Limits { topic_bytes_max: 500, ..Limits::default() });
                let connect = connecting(version);
                for topic in [vec!["x"; 202].join("/"), "x".repeat(501)] {
                    let connect = connect.clone();
                    w.connect("a", if persistent { connect.persistent() } else { connect });
                    let said = publish(&topic, "m").qos(qos);
                    w.send("a", if qos > 0 { said.id(1) } else { said });
                    if version == ProtocolVersion::V5 {
                        w.expect("a", disconnect(ReasonCode::TopicNameInvalid));
                    }
                    w.expect_closed("a");
                }
                // Its identifier is free.
                w.connect("a", if persistent { connect.persistent() } else { connect });
                if qos == 2 {
                    w.publish("a", publish("x", "m").qos(2).id(1));
                }
            }
        }
    });
}

#[test] // [MQTT3-3.8.4-3] [MQTT5-3.8.4-3]
fn a_second_subscription_to_the_same_filter_replaces_the_first() {
    in_each_version(|version| {
        for filter in ["x", "+", "#"] {
            let mut w = World::new();
            w.connect("a", connecting(version));
            for qos in [2, 0, 1] {
                w.subscribe("a", filter, qos);
                assert_eq!(w.population().subscriptions, 1);
                w.publish("a", publish("x", "m").qos(2));
                w.receive("a", publish("x", "m").qos(qos));
                w.expect_quiet();
            }
            w.unsubscribe("a", filter);
            w.publish("a", publish("x", "m"));
            w.expect_quiet();
        }
    });
}

#[test] // [MQTT3-3.3.5-1] [MQTT5-3.3.4-2]
fn overlapping_subscriptions_are_one_delivery_at_the_highest_qos() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("a", connecting(version));
        for (filter, qos) in [("x/y", 0), ("x/+", 2), ("#", 1), ("+/y/#", 0)] {
            w.subscribe("a", filter, qos);
        }
        for (sent, expected) in [(0, 0), (1, 1), (2, 2)] {
            w.publish("a", publish("x/y", "m").qos(sent));
            w.receive("a", publish("x/y", "m").qos(expected));
            w.expect_quiet();
        }
    });
}

#[test] // [MQTT5-3.3.4-3] [MQTT5-3.3.4-4] [MQTT5-3.3.4-5]
fn overlapping_subscriptions_give_all_their_identifiers() {
    for qos in 0..3 {
        let mut w = World::new();
        w.connect("a", v5());
        w.connect("s", v311());
        for (id, filter, identifier) in [
            (1, "x/y", Some(1)),
            (2, "x/+", Some(268_435_455)),
            (3, "x/#", None),
            (4, "z", Some(9)),
        ] {
            let request = subscribe(id, filter, 2);
            let with = identifier.map(|identifier| request.clone().identifier(identifier));
            w.send("a", with.unwrap_or(request));
            w.expect("a", suback(id, &[2]));
        }
        w.publish("s", publish("x/y", "m").qos(qos));
        let Said::Publish(heard) = w.next_heard("a").expect("the message has come") else {
            panic!("a PUBLISH was expected");
        };
        let mut identifiers: Vec<_> = noctule_mqtt::Properties::from_checked(&heard.properties)
            .subscription_identifiers()
            .collect();
        identifiers.sort();
        assert_eq!(identifiers, [1, 268_435_455]);
        w.acknowledge("a", &heard);
        w.publish("s", publish("x/q", "m").qos(qos));
        let identifier = Property::SubscriptionIdentifier(268_435_455);
        w.receive("a", publish("x/q", "m").qos(qos).property(identifier));
        w.publish("s", publish("x/q/r", "m").qos(qos));
        w.receive("a", publish("x/q/r", "m").qos(qos));
        w.expect_quiet();
    }
}

#[test] // [MQTT5-3.3.4-3]
fn a_replaced_subscription_replaces_its_identifier() {
    let mut w = World::new();
    w.connect("a", v5());
    for (id, identifier) in [(1, Some(5)), (2, Some(6)), (3, None)] {
        let request = subscribe(id, "x", 0);
        let with = identifier.map(|identifier| request.clone().identifier(identifier));
        w.send("a", with.unwrap_or(request));
        w.expect("a", suback(id, &[0]));
        w.publish("a", publish("x", "m"));
        let expected = publish("x", "m");
        w.expect(
            "a",
            match identifier {
                Some(identifier) => expected.property(Property::SubscriptionIdentifier(identifier)),
                None => expected,
            },
        );
    }
}

#[test] // [MQTT5-3.3.4-6]
fn a_subscription_identifier_from_a_publisher_is_a_violation() {
    let mut w = World::new();
    w.connect("a", v5());
    w.send("a", publish("x", "m").property(Property::SubscriptionIdentifier(1)));
    w.expect("a", disconnect(ReasonCode::ProtocolError));
    w.expect_closed("a");
}

#[test] // [MQTT5-3.8.3-3]
fn no_local_keeps_a_clients_own_messages_from_it() {
    for qos in 0..3 {
        let mut w = World::new();
        w.connect("a", v5());
        w.connect("b", v5());
        w.send("a", subscribe(1, "x", 2).no_local());
        w.expect("a", suback(1, &[2]));
        w.publish("a", publish("x", "own").qos(qos));
        w.expect_quiet();
        w.publish("b", publish("x", "other").qos(qos));
        w.receive("a", publish("x", "other").qos(qos));
        // Another subscription wants them all the same.
        w.subscribe("a", "#", 0);
        w.publish("a", publish("x", "own").qos(qos));
        w.receive("a", publish("x", "own"));
        w.expect_quiet();
    }
}

#[test] // [MQTT5-3.8.3-3]
fn no_local_holds_for_a_session_that_has_been_gone_on_with() {
    let mut w = World::new();
    w.connect("a", v5().persistent());
    w.send("a", subscribe(1, "x", 1).no_local());
    w.expect("a", suback(1, &[1]));
    w.lose("a");
    w.connect("a", v5().persistent());
    w.publish("a", publish("x", "own").qos(1));
    w.publish("a", publish("x", "own").qos(2));
    w.expect_quiet();
}

#[test] // MQTT 5.0 section 3.9.3
fn subscriptions_have_a_limit_that_replacing_does_not_touch() {
    in_each_version(|version| {
        let mut w = World::with(Limits { subscriptions_max: 2, ..Limits::default() });
        w.connect("a", connecting(version));
        let refused = if version == ProtocolVersion::V5 { 0x97 } else { 0x80 };
        w.send("a", subscribe(1, "x", 0).and("y", 1).and("z", 2).and("x", 2));
        w.expect("a", suback(1, &[0, 1, refused, 2]));
        w.unsubscribe("a", "x");
        w.subscribe("a", "z", 2);
        w.publish("a", publish("z", "m").qos(2));
        w.receive("a", publish("z", "m").qos(2));
    });
}

// [MQTT3-2.3.1-7] [MQTT3-3.10.4-1] [MQTT3-3.10.4-4] [MQTT3-3.10.4-5] [MQTT3-3.10.4-6]
// [MQTT5-2.2.1-6] [MQTT5-3.10.4-1] [MQTT5-3.10.4-4] [MQTT5-3.10.4-5] [MQTT5-3.10.4-6]
// [MQTT5-3.11.3-1]
#[test]
fn an_unsubscribe_compares_filters_character_by_character() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("a", connecting(version));
        w.subscribe("a", "x/+", 0);
        w.subscribe("a", "x/#", 0);
        w.send("a", unsubscribe(9, &["x/y", "x/+", "x/+", "nothing"]));
        w.expect("a", unsuback(9, &[0x11, 0, 0x11, 0x11]));
        w.send("a", unsubscribe(10, &["nothing", "nothing more"]));
        w.expect("a", unsuback(10, &[0x11, 0x11]));
        assert_eq!(w.population().subscriptions, 1);
        w.publish("a", publish("x/y", "m"));
        w.expect("a", publish("x/y", "m"));
        w.unsubscribe("a", "x/#");
        w.publish("a", publish("x/y", "m"));
        w.expect_quiet();
    });
}

#[test] // [MQTT3-3.10.4-3] [MQTT5-3.10.4-3]
fn what_is_in_flight_after_an_unsubscribe_is_sent_again_until_it_is_acknowledged() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("a", connecting(version).persistent());
        w.subscribe("a", "x", 2);
        w.connect("s", v311());
        w.publish("s", publish("x", "1").qos(1));
        w.publish("s", publish("x", "2").qos(2));
        w.expect("a", publish("x", "1").qos(1));
        w.expect("a", publish("x", "2").qos(2));
        w.unsubscribe("a", "x");
        w.lose("a");
        w.connect("a", connecting(version).persistent());
        w.receive("a", publish("x", "1").qos(1).dup());
        w.receive("a", publish("x", "2").qos(2).dup());
        w.publish("s", publish("x", "3").qos(1));
        w.expect_quiet();
    });
}

#[test] // [MQTT3-3.8.4-3] [MQTT5-3.8.4-4]
fn replacing_a_subscription_loses_nothing_that_is_on_its_way() {
    in_each_version(|version| {
        for persistent in [false, true] {
            let mut w = World::with(Limits { inflight_out_max: 1, ..Limits::default() });
            let connect = connecting(version);
            w.connect("a", if persistent { connect.persistent() } else { connect });
            w.subscribe("a", "x", 1);
            w.connect("s", v311());
            for payload in ["in flight", "queued"] {
                w.publish("s", publish("x", payload).qos(1));
            }
            let first = w.expect_publish("a", publish("x", "in flight").qos(1));
            w.subscribe("a", "x", 0);
            w.acknowledge("a", &first);
            w.receive("a", publish("x", "queued").qos(1));
            w.publish("s", publish("x", "new").qos(1));
            w.receive("a", publish("x", "new"));
        }
    });
}

#[test] // [MQTT3-3.10.4-2] [MQTT5-3.10.4-2]
fn what_is_in_flight_is_finished_after_an_unsubscribe() {
    let mut w = World::new();
    w.connect("a", v311());
    w.subscribe("a", "x", 2);
    w.publish("a", publish("x", "1").qos(1));
    w.publish("a", publish("x", "2").qos(2));
    w.unsubscribe("a", "x");
    w.publish("a", publish("x", "3").qos(1));
    w.receive("a", publish("x", "1").qos(1));
    w.receive("a", publish("x", "2").qos(2));
    w.expect_quiet();
}

#[test] // [MQTT3-4.7.2-1] [MQTT5-4.7.2-1]
fn a_wildcard_in_first_place_does_not_match_dollar_topics() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("a", connecting(version));
        for (filter, matching) in
            [("#", false), ("+/x", false), ("+/#", false), ("$d/#", true), ("$d/+", true)]
        {
            w.subscribe("a", filter, 0);
            w.publish("a", publish("$d/x", "m"));
            if matching {
                w.expect("a", publish("$d/x", "m"));
            }
            w.expect_quiet();
            w.unsubscribe("a", filter);
        }
    });
}

#[test] // [MQTT3-3.3.5-2] [MQTT3-4.7.2-1] [MQTT5-4.7.2-1] and MQTT 5.0 section 3.4.2.1
fn clients_cannot_publish_below_sys() {
    in_each_version(|version| {
        for persistent in [false, true] {
            let mut w = World::new();
            w.connect("watcher", v311());
            w.subscribe("watcher", "$SYS/#", 2);
            let connect = connecting(version);
            w.connect("a", if persistent { connect.persistent() } else { connect });
            w.send("a", publish("$SYS/x", "m"));
            w.expect_nothing("a");
            w.send("a", publish("$SYS/x", "m").qos(1).id(1).retain());
            w.expect("a", puback(1).because(ReasonCode::NotAuthorized));
            w.send("a", publish("$SYS/x", "m").qos(2).id(2));
            w.expect("a", pubrec(2).because(ReasonCode::NotAuthorized));
            if version != ProtocolVersion::V5 {
                w.send("a", pubrel(2));
                w.expect("a", pubcomp(2));
            }
            w.expect_quiet();
            assert_eq!(w.dropped().reserved_topic, 3);
            assert_eq!(w.population().retained, 0);
            // A topic that only begins like it is anybody's.
            w.subscribe("a", "$SYSTEM/x", 0);
            w.publish("a", publish("$SYSTEM/x", "m"));
            w.expect("a", publish("$SYSTEM/x", "m"));
        }
    });
}

// [MQTT3-3.3.2-3] [MQTT3-4.7.3-4] [MQTT5-3.3.2-3] [MQTT5-4.7.3-4] and the rule of section 4.7.1
#[test]
fn matching_follows_the_letter() {
    let rows: [(&str, &str, bool); 12] = [
        ("sport/#", "sport", true),
        ("sport/#", "sport/tennis/player1", true),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+", "/finance", false),
        ("/+", "/finance", true),
        ("+/+", "/finance", true),
        ("#", "/", true),
        ("a//b", "a//b", true),
        ("a/+/b", "a//b", true),
        ("ACCOUNTS", "accounts", false),
        ("é", "e\u{301}", false),
    ];
    let mut w = World::new();
    w.connect("a", v311());
    for (filter, topic, matching) in rows {
        w.subscribe("a", filter, 0);
        w.publish("a", publish(topic, "m"));
        if matching {
            w.expect("a", publish(topic, "m"));
        }
        w.expect_quiet();
        w.unsubscribe("a", filter);
    }
}

#[test]
fn many_clients_of_all_versions_get_one_message_each_in_its_own_form() {
    let mut w = World::new();
    in_each_version(|version| {
        for qos in 0..3 {
            for number in 0..7 {
                let name = format!("{version} {qos} {number}");
                w.connect(&name, connecting(version));
                w.subscribe(&name, "x/+", qos);
            }
        }
    });
    w.connect("s", v5());
    let property = Property::ContentType("text");
    for sent in 0..3 {
        w.publish("s", publish("x/y", "m").qos(sent).property(property));
        in_each_version(|version| {
            for qos in 0..3u8 {
                for number in 0..7 {
                    let expected = publish("x/y", "m").qos(sent.min(qos));
                    let v5 = version == ProtocolVersion::V5;
                    let expected = if v5 { expected.property(property) } else { expected };
                    w.receive(&format!("{version} {qos} {number}"), expected);
                }
            }
        });
    }
}

#[test]
fn many_subscriptions_of_a_client_that_leaves_are_taken_out_and_lead_to_nobody() {
    let mut w = World::with(Limits { subscriptions_max: 10_000, ..Limits::default() });
    w.connect("many", v311());
    for packet in 0..30 {
        let mut filters = subscribe(1 + packet, &format!("x/{packet}"), 0);
        for number in 0..100 {
            filters = filters.and(&format!("x/{packet}/{number}/+"), 0);
        }
        w.send("many", filters);
        w.next_heard("many");
    }
    assert_eq!(w.population().subscriptions, 30 * 101);
    w.connect("s", v5());
    w.lose("many");
    assert_eq!((w.population().subscriptions, w.population().sessions), (0, 1));
    w.send("s", publish("x/7/7/y", "").qos(1).id(1));
    w.expect("s", puback(1).because(ReasonCode::NoMatchingSubscribers));
}
