//! Messages from the broker, their acknowledgements, and what it must not send.

use super::*;

#[test]
fn bytes_may_come_in_any_pieces() {
    let mut bench = Bench::started(options(V5));
    bench.open();
    for byte in [0x20, 3, 0, 0, 0, 0x30, 5, 0, 1, b'a', 0, b'!'] {
        bench.hear_bytes(&[byte]);
    }
    assert_eq!(bench.delivered(), ["a=! to []"]);
}

#[test] // [MQTT3-4.6.0-4] [MQTT5-4.6.0-4]
fn messages_are_released_in_the_order_in_which_they_were_received() {
    for version in [V311, V5] {
        let mut bench = Bench::connected(options(version));
        (1..=3).for_each(|token| bench.publish(token, "a", ExactlyOnce));
        bench.said();
        [2, 3, 1].into_iter().for_each(|id| bench.pubrec(id));
        assert_eq!(bench.said(), ["PUBREL 2", "PUBREL 3", "PUBREL 1"]);
    }
}

#[test] // [MQTT3-3.3.1-3] [MQTT5-3.3.1-3] [MQTT5-4.3.2-5]
fn a_repetition_that_comes_is_none_when_it_is_published_on() {
    for version in [V311, V5] {
        let mut bench = Bench::connected(options(version));
        bench.message("a", "1", 1, AtLeastOnce);
        bench.repetition("a", "2", 1, AtLeastOnce);
        assert_eq!(bench.delivered(), ["a=1 to []", "a=2 to []"], "an identifier that was free");
        assert_eq!(bench.said(), ["PUBACK 1", "PUBACK 1"]);
        bench.publish(1, "a", AtLeastOnce);
        assert_eq!(bench.said(), ["PUBLISH 1 a q1"]);
    }
}

// [MQTT3-4.5.0-2] [MQTT3-4.6.0-3] [MQTT5-4.5.0-2] [MQTT5-4.6.0-3]
#[test]
fn messages_are_acknowledged_in_their_order_whether_anybody_takes_them_or_not() {
    for version in [V311, V5] {
        let mut bench = Bench::connected(options(version));
        for (id, qos) in [(7, ExactlyOnce), (3, AtLeastOnce), (9, ExactlyOnce), (1, AtLeastOnce)] {
            bench.message("nobody/asked", "x", id, qos);
        }
        assert_eq!(bench.said(), ["PUBREC 7", "PUBACK 3", "PUBREC 9", "PUBACK 1"]);
        assert_eq!(bench.delivered().len(), 4);
    }
}

// [MQTT3-2.3.1-6] [MQTT3-3.3.4-1] [MQTT3-4.3.2-2] [MQTT3-4.3.3-2] [MQTT5-2.2.1-5]
// [MQTT5-3.3.4-1] [MQTT5-4.3.2-4] [MQTT5-4.3.3-8] [MQTT5-4.3.3-10] [MQTT5-4.3.3-11]
#[test]
fn messages_are_acknowledged_and_delivered_as_their_qos_says() {
    for version in [V311, V5] {
        let mut bench = Bench::connected(options(version));
        bench.subscribe(1, "a", 1);
        bench.suback(1, ReasonCode::GrantedQos2);
        bench.said();
        bench.message("a", "0", 0, AtMostOnce);
        bench.message("a", "1", 5, AtLeastOnce);
        bench.message("a", "2", 6, ExactlyOnce);
        bench.message("a", "2", 6, ExactlyOnce);
        assert_eq!(bench.delivered(), ["a=0 to [1]", "a=1 to [1]", "a=2 to [1]"]);
        assert_eq!(bench.said(), ["PUBACK 5", "PUBREC 6", "PUBREC 6"]);
        bench.pubrel(6);
        bench.pubrel(6);
        let unknown = if version == V5 { "PUBCOMP 6 0x92" } else { "PUBCOMP 6" };
        assert_eq!(bench.said(), ["PUBCOMP 6", unknown]);
    }
}

#[test] // [MQTT5-3.3.4-9]
fn a_broker_that_exceeds_our_receive_maximum_is_left() {
    let limits = Limits { receive_maximum: 2, ..Limits::default() };
    let mut bench = Bench::connected(options(V5).limits(limits));
    for id in 1..=3 {
        bench.message("a", "x", id, ExactlyOnce);
    }
    assert_eq!(bench.said().last().unwrap(), "DISCONNECT 0x93");
    assert_eq!(bench.closes, 1);
    bench.wait_for_attempt();
}

#[test] // [MQTT5-3.3.2-7] [MQTT5-3.3.2-8] [MQTT5-3.3.2-10]
fn topic_aliases_hold_for_one_connection_and_within_the_limit() {
    let limits = Limits { topic_alias_maximum: 2, ..Limits::default() };
    let mut bench = Bench::connected(options(V5).limits(limits));
    let alias = |number| [Property::TopicAlias(number)];
    bench.message_with("long/name", "1", 0, AtMostOnce, &alias(2));
    bench.message_with("", "2", 0, AtMostOnce, &alias(2));
    assert_eq!(bench.delivered(), ["long/name=1 to []", "long/name=2 to []"]);
    bench.reconnect(true);
    bench.message_with("", "3", 0, AtMostOnce, &alias(2));
    assert_eq!(bench.said().last().unwrap(), "DISCONNECT 0x94");
    bench.wait_for_attempt();
    bench.open();
    bench.connack(true, &[]);
    bench.message_with("a", "4", 0, AtMostOnce, &alias(3));
    assert_eq!(bench.said().last().unwrap(), "DISCONNECT 0x94");
}

#[test] // [MQTT3-4.8.0-1] [MQTT5-4.13.2-1]
fn rubbish_in_the_middle_of_a_connection_ends_it_with_a_clear_reason() {
    for version in [V311, V5] {
        for bytes in [&[0xf7, 1, 0][..], &[0x00, 0], &[0x62, 2, 0, 0], &[0x36, 3, 0, 1, b'a']] {
            let mut bench = Bench::connected(options(version));
            bench.hear_bytes(bytes);
            assert_eq!(bench.closes, 1, "{bytes:?}");
            assert!(bench.last_reason().contains("does not speak MQTT as it should"));
            let last = bench.said();
            assert_eq!(last.iter().any(|line| line.starts_with("DISCONNECT")), version == V5);
            bench.wait_for_attempt();
        }
    }
    let mut bench = Bench::connected(options(V5));
    bench.connack(false, &[]);
    assert!(bench.last_reason().contains("CONNACK came out of place"));
}

#[test]
fn any_bytes_in_any_pieces_end_in_a_reconnect_at_most_and_never_in_a_panic() {
    for seed in 0..3_000 {
        let mut chance = fastrand::Rng::with_seed(seed);
        let version = if chance.bool() { V5 } else { V311 };
        let mut bench = Bench::connected(options(version));
        bench.publish(1, "a", ExactlyOnce);
        bench.subscribe(2, "b", 1);
        for _ in 0..20 {
            // Types and lengths that may be, so that more than the first byte is looked at.
            let mut bytes = vec![chance.u8(2..16) << 4 | chance.u8(..16) & chance.u8(..16)];
            let length = chance.u8(..12);
            bytes.push(length);
            bytes.extend(
                std::iter::repeat_with(|| chance.u8(..) & chance.u8(..)).take(length.into()),
            );
            for piece in bytes.chunks(chance.usize(1..8)) {
                bench.hear_bytes(piece);
            }
            if bench.closes > 0 {
                break;
            }
        }
        if bench.closes > 0 && bench.machine.ended().is_none() {
            bench.wait_for_attempt();
        }
    }
}
