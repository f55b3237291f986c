//! Wills: when they are published, when not, and with what.

use crate::{connecting, in_each_version};
use noctule_mqtt::{Property, ProtocolVersion, ReasonCode};
use noctule_testkit::World;
use noctule_testkit::packets::*;

/// A world with a watcher of wills.
fn world() -> World {
    let mut w = World::new();
    w.connect("watcher", v5());
    w.subscribe("watcher", "will/#", 2);
    w
}

fn testament(version: ProtocolVersion) -> Connecting {
    connecting(version).keep_alive(10).will(will("will/a", "lost").qos(1))
}

fn expect_will(w: &mut World) {
    w.receive("watcher", publish("will/a", "lost").qos(1));
}

#[test] // [MQTT3-3.1.2-8] [MQTT5-3.1.2-7] [MQTT5-3.1.2-8] [MQTT5-3.1.2-10]
fn a_will_is_published_for_every_cause_but_disconnect() {
    type End = fn(&mut World, ProtocolVersion);
    let causes: [(&str, End); 6] = [
        ("closed by the peer", |w, _| w.lose("a")),
        ("a failing socket", |w, _| w.break_socket("a")),
        ("keep-alive", |w, version| {
            w.pass(16);
            if version == ProtocolVersion::V5 {
                w.expect("a", disconnect(ReasonCode::KeepAliveTimeout));
            }
            w.expect_closed("a");
        }),
        ("a violation", |w, version| {
            w.send_bytes("a", &[0xF1, 0]);
            if version == ProtocolVersion::V5 {
                w.expect("a", disconnect(ReasonCode::MalformedPacket));
            }
            w.expect_closed("a");
        }),
        ("take-over", |w, version| {
            w.connect("a2", connecting(version).id("a"));
            if version == ProtocolVersion::V5 {
                w.expect("a", disconnect(ReasonCode::SessionTakenOver));
            }
            w.expect_closed("a");
        }),
        ("a second CONNECT", |w, version| {
            w.send("a", connecting(version));
            if version == ProtocolVersion::V5 {
                w.expect("a", disconnect(ReasonCode::ProtocolError));
            }
            w.expect_closed("a");
        }),
    ];
    in_each_version(|version| {
        for (cause, end) in causes {
            for persistent in [false, true] {
                let mut w = world();
                w.note(format!("{cause}, persistent: {persistent}"));
                let connect = testament(version);
                w.connect("a", if persistent { connect.persistent() } else { connect });
                end(&mut w, version);
                expect_will(&mut w);
                w.expect_quiet();
                w.pass(100);
                w.expect_quiet();
            }
        }
    });
}

#[test] // [MQTT3-3.1.2-10] [MQTT3-3.14.4-3] [MQTT5-3.14.4-3]
fn disconnect_discards_the_will() {
    in_each_version(|version| {
        for persistent in [false, true] {
            let mut w = world();
            let connect = testament(version);
            w.connect("a", if persistent { connect.persistent() } else { connect });
            w.disconnect("a");
            w.pass(10_000);
            w.expect_quiet();
        }
    });
}

#[test] // MQTT 5.0 section 3.14.2.1, 0x04
fn disconnect_with_any_other_reason_publishes_it() {
    let reasons = [
        ReasonCode::DisconnectWithWill,
        ReasonCode::UnspecifiedError,
        ReasonCode::ImplementationSpecificError,
    ];
    for reason in reasons {
        let mut w = world();
        w.connect("a", testament(ProtocolVersion::V5));
        w.send("a", disconnect(reason));
        w.expect_closed("a");
        expect_will(&mut w);
    }
}

#[test]
fn shutting_down_publishes_wills_before_anybody_is_closed() {
    in_each_version(|version| {
        for persistent in [false, true] {
            let mut w = world();
            w.connect("v3", v311());
            w.subscribe("v3", "will/#", 0);
            let connect = testament(version);
            w.connect("a", if persistent { connect.persistent() } else { connect });
            w.shut_down();
            if version == ProtocolVersion::V5 {
                w.expect("a", disconnect(ReasonCode::ServerShuttingDown));
            }
            w.expect_closed("a");
            w.expect("watcher", publish("will/a", "lost").qos(1));
            w.expect("watcher", disconnect(ReasonCode::ServerShuttingDown));
            w.expect_closed("watcher");
            w.expect("v3", publish("will/a", "lost"));
            w.expect_closed("v3");
        }
    });
}

#[test] // [MQTT3-3.1.2-14] [MQTT3-3.1.2-16] [MQTT3-3.1.2-17] [MQTT5-3.1.2-12] [MQTT5-3.1.2-15]
fn a_will_has_its_own_qos_and_retain_flag() {
    in_each_version(|version| {
        for qos in 0..3 {
            let mut w = world();
            w.connect("a", connecting(version).will(will("will/a", "kept").qos(qos).retain()));
            w.lose("a");
            w.receive("watcher", publish("will/a", "kept").qos(qos));
            assert_eq!(w.population().retained, 1);
            w.connect("late", connecting(version));
            w.subscribe("late", "will/a", qos);
            w.receive("late", publish("will/a", "kept").qos(qos).retain());
        }
    });
}

#[test]
fn an_empty_retained_will_forgets_a_retained_message() {
    let mut w = world();
    w.connect("a", v311().will(will("will/a", "").retain()));
    w.publish("a", publish("will/a", "there").retain());
    w.expect("watcher", publish("will/a", "there"));
    w.lose("a");
    w.expect("watcher", publish("will/a", ""));
    assert_eq!(w.population().retained, 0);
}

#[test] // [MQTT5-3.1.2-10] [MQTT5-3.1.3-9] and section 3.1.3.2.2
fn a_delayed_will_waits_and_comes() {
    let mut w = world();
    w.connect("a", v5().expiry(100).will(will("will/a", "lost").qos(1).delay(10)));
    w.lose("a");
    w.pass_ms(9_999);
    w.expect_quiet();
    w.pass_ms(1 + 128);
    expect_will(&mut w);
    w.pass(200);
    w.expect_nothing("watcher");
    assert_eq!(w.population().sessions, 1);
}

#[test] // [MQTT5-3.1.3-9]
fn a_client_that_comes_back_in_time_takes_its_delayed_will_along() {
    let mut w = world();
    let connect = v5().clean(false).expiry(100).will(will("will/a", "lost").qos(1).delay(10));
    w.connect("a", connect.clone());
    for _ in 0..3 {
        w.lose("a");
        w.pass(9);
        assert!(w.connect("a", connect.clone()));
        w.pass(30);
        w.expect_quiet();
    }
    w.connect("a2", v5().id("a").clean(false).expiry(100));
    w.expect("a", disconnect(ReasonCode::SessionTakenOver));
    w.expect_closed("a");
    w.lose("a2");
    w.pass(200);
    w.expect_quiet();
}

#[test] // [MQTT5-3.1.2-8] and section 3.1.3.2.2
fn a_delayed_will_comes_when_the_session_ends() {
    // By its expiry,
    let mut w = world();
    w.connect("a", v5().expiry(5).will(will("will/a", "lost").qos(1).delay(1_000)));
    w.lose("a");
    w.pass_ms(4_999);
    w.expect_quiet();
    w.pass_ms(1 + 128);
    expect_will(&mut w);
    // at once without one,
    w.connect("a", v5().will(will("will/a", "lost").qos(1).delay(1_000)));
    w.lose("a");
    expect_will(&mut w);
    // and by a clean start.
    w.connect("a", v5().expiry(500).will(will("will/a", "lost").qos(1).delay(1_000)));
    w.lose("a");
    w.connect("a", v5());
    expect_will(&mut w);
    w.connect("b", v5().expiry(500).will(will("will/a", "lost").qos(1).delay(1_000)));
    w.connect("b2", v5().id("b"));
    w.expect("b", disconnect(ReasonCode::SessionTakenOver));
    w.expect_closed("b");
    expect_will(&mut w);
}

#[test] // MQTT 5.0 section 3.14.2.2.2
fn a_session_expiry_set_by_disconnect_counts_for_the_will_too() {
    let mut w = world();
    w.connect("a", v5().expiry(500).will(will("will/a", "lost").qos(1).delay(100)));
    w.send("a", disconnect_expiring(ReasonCode::DisconnectWithWill, 0));
    w.expect_closed("a");
    expect_will(&mut w);
}

#[test] // [MQTT5-3.1.3-10] and section 3.1.3.2
fn a_will_carries_its_properties_but_not_its_delay() {
    let mut w = world();
    let properties = [
        Property::UserProperty(("b", "1")),
        Property::ContentType("text"),
        Property::UserProperty(("a", "2")),
        Property::CorrelationData(&[0, 255]),
    ];
    let mut testament = will("will/a", "lost").delay(1);
    let mut expected = publish("will/a", "lost");
    for property in properties {
        testament = testament.property(property);
        expected = expected.property(property);
    }
    w.connect("a", v5().will(testament));
    w.lose("a");
    w.expect("watcher", expected);
}

#[test]
fn a_refused_connection_leaves_no_will() {
    use noctule_testkit::Authenticator;
    let mut w = world();
    w.authenticate(Authenticator::No(ReasonCode::NotAuthorized));
    w.expect_refused("a", testament(ProtocolVersion::V5), ReasonCode::NotAuthorized);
    w.pass(100);
    w.expect_quiet();
}

#[test]
fn a_will_reaches_its_own_persistent_session() {
    let mut w = World::new();
    let connect = v311().persistent().will(will("w", "mine").qos(1));
    w.connect("a", connect.clone());
    w.subscribe("a", "w", 1);
    w.lose("a");
    w.connect("a", connect);
    w.receive("a", publish("w", "mine").qos(1));
}

#[test] // [MQTT3-3.1.2-12]
fn the_will_of_the_last_connection_counts() {
    let mut w = world();
    w.connect("a", v311().persistent().will(will("will/a", "first")));
    w.disconnect("a");
    w.connect("a", v311().persistent().will(will("will/a", "second")));
    w.lose("a");
    w.expect("watcher", publish("will/a", "second"));
    w.connect("a", v311().persistent());
    w.lose("a");
    w.expect_quiet();
    // Nor does one that was waiting when a connection without a will took its place.
    w.connect("b", v5().expiry(1_000).will(will("will/b", "waiting").delay(50)));
    w.lose("b");
    w.connect("b", v311().persistent());
    w.lose("b");
    w.pass(200);
    w.expect_quiet();
}

#[test] // [MQTT3-3.1.2-16] [MQTT5-3.1.2-14]
fn a_will_without_the_retain_flag_is_not_retained() {
    in_each_version(|version| {
        let mut w = world();
        w.publish("watcher", publish("will/a", "kept").retain());
        w.expect("watcher", publish("will/a", "kept"));
        w.connect("a", testament(version));
        w.lose("a");
        expect_will(&mut w);
        w.connect("late", connecting(version));
        w.subscribe("late", "will/a", 1);
        w.receive("late", publish("will/a", "kept").retain());
        w.expect_quiet();
    });
}

#[test] // [MQTT3-3.1.2-10] [MQTT5-3.1.2-10]
fn a_will_that_was_published_does_not_come_again_when_the_session_ends() {
    in_each_version(|version| {
        let mut w = world();
        w.connect("a", testament(version).persistent());
        w.lose("a");
        expect_will(&mut w);
        w.connect("a", connecting(version));
        w.lose("a");
        w.expect_quiet();
    });
    let mut w = world();
    w.connect("a", testament(ProtocolVersion::V5).expiry(60));
    w.lose("a");
    expect_will(&mut w);
    w.pass(61);
    assert_eq!(w.population().sessions, 1, "that of the watcher");
    w.expect_quiet();
}
