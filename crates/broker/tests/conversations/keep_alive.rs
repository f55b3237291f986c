//! Silence, and how long it is borne.

use crate::{connecting, in_each_version};
use noctule_mqtt::{ProtocolVersion, ReasonCode};
use noctule_testkit::World;
use noctule_testkit::packets::*;

/// How late a deadline may be met.
const GRAIN_MS: u64 = 128;

#[test] // [MQTT3-3.1.2-24] [MQTT5-3.1.2-22] [MQTT5-4.13.1-1]
fn silence_for_one_and_a_half_keep_alives_closes() {
    in_each_version(|version| {
        for seconds in [1, 10, 7_777, u16::MAX] {
            let mut w = World::new();
            w.connect("a", connecting(version).keep_alive(seconds));
            let patience = u64::from(seconds) * 1_500;
            w.pass_ms(patience - 1);
            w.expect_quiet();
            w.pass_ms(1 + GRAIN_MS);
            if version == ProtocolVersion::V5 {
                w.expect("a", disconnect(ReasonCode::KeepAliveTimeout));
            }
            w.expect_closed("a");
            w.expect_nobody_left();
        }
    });
}

#[test] // [MQTT3-3.1.2-24] [MQTT5-3.1.2-22]
fn each_packet_begins_the_time_anew() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("a", connecting(version).keep_alive(10));
        for round in 0..20 {
            w.pass_ms(14_999);
            w.expect_quiet();
            if round % 2 == 0 {
                w.send("a", pingreq());
                w.expect("a", pingresp());
            } else {
                w.send("a", publish("x", "m"));
            }
        }
        w.pass_ms(14_999);
        w.expect_quiet();
        w.pass_ms(1 + GRAIN_MS);
        if version == ProtocolVersion::V5 {
            w.expect("a", disconnect(ReasonCode::KeepAliveTimeout));
        }
        w.expect_closed("a");
    });
}

#[test] // MQTT 3.1.1 and 5.0 section 3.1.2.10
fn keep_alive_zero_is_for_ever() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("a", connecting(version).keep_alive(0));
        w.pass(30 * 24 * 3_600);
        w.send("a", pingreq());
        w.expect("a", pingresp());
    });
}

#[test] // what the server sends does not count
fn a_client_that_only_listens_is_closed_too() {
    let mut w = World::new();
    w.connect("a", v311().keep_alive(2));
    w.subscribe("a", "x", 0);
    w.connect("b", v311());
    for _ in 0..2 {
        w.pass(1);
        w.publish("b", publish("x", "m"));
        w.expect("a", publish("x", "m"));
    }
    w.pass_ms(1_000 + GRAIN_MS);
    w.expect_closed("a");
}

#[test]
fn the_keep_alive_of_a_session_taken_over_is_that_of_the_new_connection() {
    let mut w = World::new();
    w.connect("a1", v311().id("a").persistent().keep_alive(2));
    w.connect("a2", v311().id("a").persistent().keep_alive(100));
    w.expect_closed("a1");
    w.pass(140);
    w.send("a2", pingreq());
    w.expect("a2", pingresp());
}

#[test]
fn keep_alive_runs_from_connack_on() {
    use noctule_broker::Verdict;
    use noctule_testkit::Authenticator;
    let mut w = World::new();
    w.authenticate(Authenticator::Waiting);
    w.start("a", v311().keep_alive(1));
    w.pass(5);
    w.verdict(Verdict::Accepted);
    w.expect("a", connack());
    w.pass_ms(1_499);
    w.send("a", pingreq());
    w.expect("a", pingresp());
}
