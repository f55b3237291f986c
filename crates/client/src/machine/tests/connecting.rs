//! Attempts, refusals, silence: from no connection to one and back.

use super::*;

#[test]
fn the_first_attempts_fail_and_the_waits_are_those_of_the_policy() {
    let mut bench = Bench::started(options(V5));
    let mut waits = Vec::new();
    for _ in 0..8 {
        bench.break_off();
        waits.push(bench.wait_for_attempt());
    }
    let ranges = [5, 5, 10, 20, 40, 60, 60, 60].map(|s| s * 800..=s * 1_000);
    for (wait, range) in waits.iter().zip(ranges) {
        assert!(range.contains(wait), "{waits:?}");
    }
    bench.open();
    bench.connack(false, &[]);
    bench.break_off();
    assert_eq!(bench.wait_for_attempt(), 0, "after a connection the first attempt is at once");
}

#[test]
fn a_broker_that_accepts_and_closes_is_not_attacked() {
    let mut bench = Bench::connected(options(V5));
    let mut waits = Vec::new();
    for _ in 0..5 {
        bench.break_off();
        waits.push(bench.wait_for_attempt());
        bench.open();
        bench.connack(true, &[]);
    }
    assert_eq!(waits[..2], [0, 0]);
    assert!(waits[2] >= 4_000 && waits[4] >= 8_000, "{waits:?}");
    bench.pass_ms(6_000);
    bench.break_off();
    assert_eq!(bench.wait_for_attempt(), 0, "a connection that lasted makes up for it");
}

#[test]
fn attempts_end_when_as_many_as_allowed_have_failed() {
    let policy = Reconnect::default().attempts(3);
    let mut bench = Bench::started(options(V5).reconnect(policy));
    bench.publish(1, "a", AtLeastOnce);
    for _ in 0..2 {
        bench.break_off();
        bench.wait_for_attempt();
    }
    bench.break_off();
    assert!(bench.machine.ended().is_some());
    assert!(bench.last_reason().contains("gave up after 3 attempts"), "{}", bench.last_reason());
    assert!(bench.refusal().contains("gave up"));
    assert_eq!(bench.machine.next_deadline(), None);
}

#[test]
fn a_client_that_never_reconnects_ends_with_its_connection() {
    let mut bench = Bench::connected(options(V5).reconnect(Reconnect::never()));
    bench.break_off();
    assert!(bench.machine.ended().is_some());
    assert_eq!(bench.last_reason(), "the broker closed the connection");
}

#[test]
fn a_refusal_that_cannot_heal_is_the_end_and_one_that_may_is_not() {
    let mut bench = Bench::started(options(V5));
    bench.open();
    bench.refuse(ReasonCode::ServerBusy);
    bench.wait_for_attempt();
    bench.open();
    bench.refuse(ReasonCode::BadUserNameOrPassword);
    assert!(bench.machine.ended().is_some());
    assert!(bench.last_reason().contains("password is wrong"), "{}", bench.last_reason());

    let stubborn = Reconnect { even_if_refused: true, ..Reconnect::default() };
    let mut bench = Bench::started(options(V311).reconnect(stubborn));
    bench.open();
    bench.refuse(ReasonCode::NotAuthorized);
    assert!(bench.wait_for_attempt() >= 4_000);
}

#[test] // MQTT5 section 3.2.2.2: a broker without MQTT 5 answers in the form of 3.1.1
fn a_broker_that_knows_no_mqtt_5_is_understood() {
    let mut bench = Bench::started(options(V5));
    bench.open();
    bench.hear_bytes(&[0x20, 2, 0, 1]);
    assert!(bench.machine.ended().is_some());
    assert!(bench.last_reason().contains("does not speak MQTT 5.0"), "{}", bench.last_reason());
}

#[test]
fn what_is_no_broker_ends_the_attempt_with_a_clear_reason() {
    for (bytes, words) in [
        (&b"HTTP/1.1 400 Bad Request\r\n"[..], "web server"),
        (&[0x15, 3, 1, 0, 2][..], "TLS"),
        (&[0x20, 0xff, 0xff, 0xff, 0xff, 1][..], "remaining length"),
        (&[0x20, 0xff, 0xff, 0xff, 0x7f][..], "over the limit"),
        (&[0x20, 3, 9, 0, 0][..], "CONNACK has flags"),
    ] {
        let mut bench = Bench::started(options(V5));
        bench.open();
        bench.hear_bytes(bytes);
        assert_eq!(bench.closes, 1);
        assert!(bench.last_reason().contains(words), "{}", bench.last_reason());
        bench.wait_for_attempt();
    }
}

#[test]
fn a_peer_that_accepts_and_says_nothing_is_left() {
    let mut bench = Bench::started(options(V5));
    bench.pass_ms(10_000);
    assert!(bench.last_reason().starts_with("no connection from"), "{}", bench.last_reason());
    bench.wait_for_attempt();
    bench.open();
    bench.pass_ms(10_000);
    assert!(bench.last_reason().starts_with("no CONNACK from"), "{}", bench.last_reason());
    assert_eq!(bench.closes, 2);
}

#[test] // [MQTT5-3.1.2-20] [MQTT3-3.1.2-23]
fn silence_is_filled_with_pings_and_a_peer_that_does_not_answer_them_is_left() {
    for version in [V311, V5] {
        let mut bench = Bench::connected(options(version).keep_alive_seconds(10));
        bench.pass_ms(7_400);
        assert!(bench.said().is_empty());
        bench.pass_ms(200);
        assert_eq!(bench.said(), ["PINGREQ"]);
        bench.hear(&Packet::Pingresp);
        bench.pass_ms(7_600);
        assert_eq!(bench.said(), ["PINGREQ"]);
        bench.pass_ms(20_000);
        assert!(bench.last_reason().starts_with("no PINGRESP"), "{}", bench.last_reason());
    }
}

#[test] // [MQTT5-3.1.2-21] [MQTT5-3.2.2-21]
fn the_brokers_own_keep_alive_replaces_ours() {
    let mut bench = Bench::started(options(V5).keep_alive_seconds(0));
    bench.open();
    bench.connack(false, &[Property::ServerKeepAlive(4)]);
    bench.said();
    bench.pass_ms(3_100);
    assert_eq!(bench.said(), ["PINGREQ"]);
}

#[test]
fn who_only_sends_finds_out_that_nobody_listens() {
    let mut bench = Bench::connected(options(V5).keep_alive_seconds(10));
    for number in 0..30 {
        bench.publish(number, "a", AtMostOnce);
        bench.pass_ms(1_000);
    }
    assert!(bench.said().contains(&"PINGREQ".to_owned()));
    assert_eq!(bench.closes, 1);
}

#[test]
fn a_peer_that_acknowledges_nothing_is_left_and_one_that_is_slow_is_not() {
    let mut bench = Bench::connected(options(V5).keep_alive_seconds(0));
    bench.publish(1, "a", AtLeastOnce);
    bench.publish(2, "b", AtLeastOnce);
    bench.pass_ms(19_000);
    bench.puback(1, ReasonCode::Success);
    bench.pass_ms(19_000);
    assert_eq!(bench.closes, 0);
    bench.pass_ms(2_000);
    assert!(bench.last_reason().starts_with("no acknowledgement"), "{}", bench.last_reason());
}

#[test]
fn a_peer_that_is_not_read_from_is_not_expected_to_answer() {
    let mut bench = Bench::connected(options(V5).keep_alive_seconds(10));
    bench.publish(1, "a", AtLeastOnce);
    bench.machine.pause(bench.now_ms, true);
    bench.pass_ms(100_000);
    assert_eq!(bench.closes, 0);
    assert!(bench.said().contains(&"PINGREQ".to_owned()), "it must hear that we live");
    bench.machine.pause(bench.now_ms, false);
    bench.pass_ms(19_000);
    assert_eq!(bench.closes, 0);
    bench.pass_ms(2_000);
    assert_eq!(bench.closes, 1);
}
