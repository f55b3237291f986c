//! Sessions: how long they last, what they keep, and what is left when everybody has gone.

use crate::{connecting, in_each_version, publish_numbered, receive_numbered};
use noctule_broker::{Limits, Record};
use noctule_mqtt::{ProtocolVersion, ReasonCode};
use noctule_testkit::World;
use noctule_testkit::packets::*;

const DAY: u64 = 24 * 3_600;

#[test] // [MQTT3-3.1.2-6] [MQTT5-3.1.2-4] and MQTT 5.0 section 3.1.2.11.2
fn a_clean_session_ends_with_its_connection() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("a", connecting(version));
        w.subscribe("a", "x", 1);
        w.lose("a");
        assert_eq!((w.population().sessions, w.population().subscriptions), (0, 0));
        w.connect("b", v311());
        w.publish("b", publish("x", "m").qos(1));
        assert!(!w.connect("a", connecting(version)));
        w.expect_quiet();
        assert!(w.records().is_empty(), "nothing of it is stored");
    });
}

// [MQTT3-3.1.2-4] [MQTT3-3.1.2-5] [MQTT3-4.1.0-1] [MQTT3-4.5.0-1] [MQTT5-3.1.2-5] [MQTT5-3.1.2-23]
// [MQTT5-4.1.0-1] [MQTT5-4.5.0-1]
#[test]
fn a_persistent_session_keeps_subscriptions_and_messages() {
    in_each_version(|version| {
        for gone in [World::lose, World::disconnect, World::break_socket] {
            let mut w = World::new();
            let connect = connecting(version).persistent();
            w.connect("a", connect.clone());
            w.subscribe("a", "x", 2);
            gone(&mut w, "a");
            w.connect("b", v311());
            publish_numbered(&mut w, "b", "x", 1, 0..3);
            publish_numbered(&mut w, "b", "x", 2, 3..6);
            w.publish("b", publish("x", "at most once"));
            assert_eq!(w.dropped().away, 1);
            w.connect("a", connect);
            receive_numbered(&mut w, "a", "x", 1, 0..3);
            receive_numbered(&mut w, "a", "x", 2, 3..6);
            w.publish("b", publish("x", "live"));
            w.expect("a", publish("x", "live"));
        }
    });
}

#[test] // [MQTT3-3.1.2-6] [MQTT5-3.1.2-4]
fn a_clean_start_forgets_everything() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("a", connecting(version).persistent());
        w.subscribe("a", "x", 1);
        w.disconnect("a");
        w.connect("b", v311());
        w.publish("b", publish("x", "m").qos(1));
        assert!(!w.connect("a", connecting(version).persistent().clean(true)));
        w.publish("b", publish("x", "m").qos(1));
        w.expect_quiet();
        let ended = |record: &Record| matches!(record, Record::SessionEnded(_));
        assert_eq!(w.records().iter().filter(|record| ended(record)).count(), 1);
    });
}

#[test]
fn a_session_of_mqtt_3_without_clean_session_never_expires() {
    for version in [ProtocolVersion::V31, ProtocolVersion::V311] {
        let mut w = World::new();
        w.connect("a", connecting(version).clean(false));
        w.disconnect("a");
        w.pass(3_000 * DAY);
        assert_eq!(w.population().sessions, 1);
        w.connect("a", connecting(version).clean(false));
    }
}

#[test] // [MQTT5-3.1.2-23] [MQTT5-4.1.0-2]
fn a_session_of_mqtt_5_ends_when_its_expiry_interval_has_passed() {
    for seconds in [1, 60, 200_000] {
        let mut w = World::new();
        w.connect("a", v5().expiry(seconds));
        w.subscribe("a", "x", 1);
        w.lose("a");
        w.pass_ms(u64::from(seconds) * 1_000 - 1);
        assert_eq!(w.population().sessions, 1);
        w.pass_ms(1 + 128);
        w.expect_nobody_left();
        assert_eq!(w.counters().sessions_expired, 1);
        assert!(!w.connect("a", v5().clean(false)));
    }
}

#[test] // MQTT 5.0 section 3.1.2.11.2
fn a_session_expiry_of_all_ones_is_never() {
    let mut w = World::new();
    w.connect("a", v5().expiry(u32::MAX));
    w.lose("a");
    w.pass(u64::from(u32::MAX) + DAY);
    assert!(w.connect("a", v5().clean(false)));
}

#[test] // [MQTT5-3.1.2-23]
fn a_client_that_comes_back_in_time_stops_the_expiry() {
    let mut w = World::new();
    w.connect("a", v5().expiry(10));
    w.lose("a");
    w.pass(9);
    assert!(w.connect("a", v5().clean(false).expiry(10)));
    w.pass(100);
    w.lose("a");
    w.pass(9);
    assert_eq!(w.population().sessions, 1);
    w.pass_ms(1_000 + 128);
    w.expect_nobody_left();
}

#[test] // MQTT 5.0 section 3.1.2.11.2
fn the_expiry_of_the_last_connection_counts() {
    let mut w = World::new();
    w.connect("a", v5().expiry(10));
    w.lose("a");
    w.pass(5);
    w.connect("a", v311().clean(false));
    w.lose("a");
    w.pass(100 * DAY);
    assert!(w.connect("a", v5().clean(false).expiry(20)));
    w.lose("a");
    w.pass_ms(19_999);
    assert_eq!(w.population().sessions, 1);
    w.pass_ms(1 + 128);
    w.expect_nobody_left();
}

#[test] // [MQTT5-4.1.0-2] and MQTT 5.0 section 3.1.2.11.2
fn without_a_session_expiry_interval_the_session_ends_with_the_connection() {
    let mut w = World::new();
    w.connect("a", v5().clean(false));
    w.lose("a");
    w.expect_nobody_left();
    // Also one that was kept until now.
    w.connect("a", v5().expiry(100));
    w.lose("a");
    assert!(w.connect("a", v5().clean(false)));
    w.lose("a");
    w.expect_nobody_left();
}

#[test] // MQTT 5.0 section 3.14.2.2.2
fn disconnect_can_change_the_session_expiry() {
    let mut w = World::new();
    w.connect("a", v5().expiry(100));
    w.send("a", disconnect_expiring(ReasonCode::Success, 10));
    w.expect_closed("a");
    w.pass_ms(9_999);
    assert_eq!(w.population().sessions, 1);
    w.pass_ms(1 + 128);
    w.expect_nobody_left();

    w.connect("a", v5().expiry(10));
    w.send("a", disconnect_expiring(ReasonCode::Success, 1_000));
    w.expect_closed("a");
    w.pass(999);
    assert_eq!(w.population().sessions, 1);
    w.pass(2);
    w.expect_nobody_left();

    w.connect("a", v5().expiry(10));
    w.send("a", disconnect_expiring(ReasonCode::Success, 0));
    w.expect_closed("a");
    w.expect_nobody_left();
}

#[test] // MQTT 5.0 section 3.14.2.2.2: a crash must not bring the old interval back
fn a_session_expiry_changed_by_disconnect_is_stored() {
    let mut w = World::new();
    w.connect("a", v5().expiry(100));
    w.send("a", disconnect_expiring(ReasonCode::Success, 10));
    w.expect_closed("a");
    let expiries: Vec<_> = w
        .records()
        .iter()
        .filter_map(|record| match record {
            Record::Session { expiry, .. } => Some(*expiry),
            _ => None,
        })
        .collect();
    assert_eq!(expiries, [Some(100), Some(10)]);
}

#[test] // MQTT 5.0 section 3.14.2.2.2
fn disconnect_cannot_make_a_session_last_that_was_not_to() {
    let mut w = World::new();
    w.connect("a", v5());
    w.send("a", disconnect_expiring(ReasonCode::Success, 0));
    w.expect_closed("a");
    w.connect("a", v5());
    w.send("a", disconnect_expiring(ReasonCode::Success, 1));
    w.expect("a", disconnect(ReasonCode::ProtocolError));
    w.expect_closed("a");
    w.expect_nobody_left();
}

#[test]
fn a_session_can_be_gone_on_with_in_another_version() {
    in_each_version(|first| {
        in_each_version(|second| {
            let mut w = World::new();
            w.connect("a", connecting(first).persistent());
            w.subscribe("a", "x", 1);
            w.disconnect("a");
            w.connect("b", v5());
            let property = noctule_mqtt::Property::ContentType("text");
            w.publish("b", publish("x", "m").qos(1).property(property));
            w.connect("a", connecting(second).persistent());
            let expected = publish("x", "m").qos(1);
            let v5 = second == ProtocolVersion::V5;
            w.receive("a", if v5 { expected.property(property) } else { expected });
        });
    });
}

#[test]
fn nothing_is_left_when_everybody_has_gone() {
    let mut w = World::with(Limits {
        queue_resident_bytes_max: 1_000,
        inflight_out_max: 2,
        ..Limits::default()
    });
    in_each_version(|version| {
        let (clean, kept) = (format!("clean {version}"), format!("kept {version}"));
        for (name, connect) in
            [(&clean, connecting(version)), (&kept, connecting(version).persistent())]
        {
            let connect = connect.will(will("will", "gone").qos(1)).keep_alive(60);
            w.connect(name, connect);
            w.unheed(name);
            for (number, filter) in ["#", "+/+", "a/b", "$SYS/#", "a/#"].into_iter().enumerate() {
                w.subscribe(name, filter, number as u8 % 3);
            }
            for number in 0..30 {
                w.publish(name, publish("a/b", vec![7; 200]).qos(number % 3));
            }
            w.publish(name, publish("a/r", "retained").qos(1).retain());
        }
    });
    assert!(w.spilled() > 0);
    w.publish("clean 5.0", publish("a/r", "").retain());
    in_each_version(|version| {
        w.forget(&format!("clean {version}"), version);
        w.forget(&format!("kept {version}"), version);
    });
    w.expect_nobody_left();
    assert_eq!(w.population().retained, 0);
}

#[test] // [MQTT3-3.1.3-2] [MQTT5-3.1.3-2]
fn a_session_belongs_to_its_client_identifier_and_to_no_other() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("a", connecting(version).id("same").persistent());
        w.subscribe("a", "x", 1);
        w.disconnect("a");
        for other in ["other", "Same", "same "] {
            assert!(!w.connect(other, connecting(version).id(other).persistent()));
            w.publish(other, publish("x", other).qos(1));
            w.expect_nothing(other);
        }
        w.connect("a", connecting(version).id("same").persistent());
        for other in ["other", "Same", "same "] {
            w.receive("a", publish("x", other).qos(1));
        }
    });
}

#[test] // [MQTT3-4.1.0-2] [MQTT5-4.1.0-1]
fn a_session_lasts_as_long_as_its_connection_whatever_its_expiry_was() {
    for again in [v31().clean(false), v311().clean(false), v5().clean(false).expiry(10)] {
        let mut w = World::new();
        w.connect("a", v5().expiry(10));
        w.subscribe("a", "x", 1);
        // From here on somebody will look whether its time is over.
        w.lose("a");
        w.pass(9);
        w.connect("a", again);
        w.pass(1_000_000);
        w.publish("a", publish("x", "m").qos(1));
        w.receive("a", publish("x", "m").qos(1));
        assert_eq!(w.population().sessions, 1);
    }
}
