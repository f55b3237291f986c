//! Conversations of the machine with a broker, in virtual time.

use std::time::Duration;

use noctule_mqtt::{Packet, Property, ProtocolVersion, QoS, ReasonCode, packet};

use super::bench::{Bench, options};
use crate::event::Event;
use crate::options::{Limits, Session};
use crate::publish::Publish;
use crate::reconnect::Reconnect;

use ProtocolVersion::{V5, V311};
use QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};

const HOUR: Duration = Duration::from_secs(3_600);

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

#[test]
fn whose_session_was_taken_over_does_not_take_it_back() {
    let mut bench = Bench::connected(options(V5));
    bench.hear(&Packet::Disconnect(packet::Disconnect::new(ReasonCode::SessionTakenOver)));
    assert!(bench.machine.ended().is_some());
    assert!(bench.last_reason().contains("same client identifier"));
    let mut bench = Bench::connected(options(V5));
    bench.hear(&Packet::Disconnect(packet::Disconnect::new(ReasonCode::ServerShuttingDown)));
    bench.wait_for_attempt();
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
fn bytes_may_come_in_any_pieces() {
    let mut bench = Bench::started(options(V5));
    bench.open();
    for byte in [0x20, 3, 0, 0, 0, 0x30, 5, 0, 1, b'a', 0, b'!'] {
        bench.hear_bytes(&[byte]);
    }
    assert_eq!(bench.delivered(), ["a=! to []"]);
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

// [MQTT3-4.3.1-1] [MQTT3-4.3.2-1] [MQTT3-4.3.3-1] [MQTT5-4.3.1-1] [MQTT5-4.3.2-1]
// [MQTT5-4.3.3-1] [MQTT5-4.3.3-4]
#[test]
fn publishing_is_done_when_the_promise_is_fulfilled() {
    for version in [V311, V5] {
        let mut bench = Bench::connected(options(version));
        bench.writable = false;
        bench.publish(1, "a", AtMostOnce);
        assert!(bench.done().is_empty(), "it has not left yet");
        bench.writable = true;
        bench.publish(2, "b", AtLeastOnce);
        bench.publish(3, "c", ExactlyOnce);
        assert_eq!(bench.said(), ["PUBLISH 0 a q0", "PUBLISH 1 b q1", "PUBLISH 2 c q2"]);
        assert_eq!(bench.done(), [1]);
        bench.puback(1, ReasonCode::Success);
        assert_eq!(bench.done(), [2]);
        bench.pubrec(2);
        assert_eq!(bench.said(), ["PUBREL 2"]);
        assert!(bench.done().is_empty());
        bench.pubcomp(2);
        assert_eq!(bench.done(), [3]);
    }
}

#[test]
fn what_the_broker_refuses_is_told() {
    let mut bench = Bench::connected(options(V5));
    bench.publish(1, "a", AtLeastOnce);
    bench.puback(1, ReasonCode::NotAuthorized);
    assert!(bench.refusal().contains("not authorized"));
    bench.publish(2, "a", AtLeastOnce);
    bench.puback(2, ReasonCode::NoMatchingSubscribers);
    assert_eq!(bench.done(), [2], "nobody listens: no failure");
}

// [MQTT3-2.3.1-3] [MQTT3-3.3.1-1] [MQTT3-4.1.0-1] [MQTT3-4.3.2-1] [MQTT3-4.3.3-1] [MQTT3-4.4.0-1]
// [MQTT3-4.6.0-1] [MQTT5-3.3.1-1] [MQTT5-4.3.2-2] [MQTT5-4.3.2-3] [MQTT5-4.3.3-2]
// [MQTT5-3.1.2-23] [MQTT5-4.1.0-1] [MQTT5-4.3.3-3] [MQTT5-4.3.3-5] [MQTT5-4.3.3-6]
// [MQTT5-4.4.0-1] [MQTT5-4.6.0-1]
#[test]
fn a_resumed_session_is_sent_what_is_not_done_and_nothing_else() {
    for version in [V311, V5] {
        let mut bench = Bench::connected(options(version).session(Session::Persistent(HOUR)));
        for (token, qos) in [(1, AtLeastOnce), (2, ExactlyOnce), (3, ExactlyOnce)] {
            bench.publish(token, "a", qos);
        }
        bench.pubrec(2);
        bench.said();
        bench.break_off();
        bench.publish(4, "b", AtLeastOnce);
        bench.wait_for_attempt();
        bench.open();
        bench.connack(true, &[]);
        let said = bench.said();
        assert_eq!(
            said[1..],
            ["PUBLISH 1 a q1 dup", "PUBREL 2", "PUBLISH 3 a q2 dup", "PUBLISH 4 b q1"]
        );
        bench.puback(1, ReasonCode::Success);
        bench.pubcomp(2);
        assert_eq!(bench.done(), [1, 2]);
    }
}

#[test]
fn after_a_lost_session_messages_are_published_anew_and_received_ones_are_done() {
    let mut bench = Bench::connected(options(V5));
    bench.publish(1, "a", AtLeastOnce);
    bench.publish(2, "b", ExactlyOnce);
    bench.publish(3, "c", ExactlyOnce);
    bench.pubrec(2);
    bench.said();
    bench.reconnect(false);
    assert_eq!(bench.said()[1..], ["PUBLISH 1 a q1", "PUBLISH 3 c q2"]);
    assert_eq!(bench.done(), [2]);
}

// [MQTT3-3.1.0-1] [MQTT3-3.1.2-4] [MQTT3-3.1.2-6] [MQTT5-3.1.0-1]
#[test]
fn sessions_begin_and_end_as_the_options_say() {
    let client = Session::Client(HOUR);
    let connects = |version, session| {
        let mut bench = Bench::started(options(version).session(session));
        bench.open();
        bench.connack(false, &[]);
        bench.reconnect(session != Session::Connection && (version, session) != (V311, client));
        bench.leave();
        bench.said()
    };
    assert_eq!(
        connects(V5, client),
        ["CONNECT clean expiry 3600", "CONNECT expiry 3600", "DISCONNECT 0x00 expiry 0"]
    );
    assert_eq!(
        connects(V5, Session::Persistent(HOUR)),
        ["CONNECT expiry 3600", "CONNECT expiry 3600", "DISCONNECT 0x00"]
    );
    assert_eq!(
        connects(V5, Session::Fresh(HOUR)),
        ["CONNECT clean expiry 3600", "CONNECT expiry 3600", "DISCONNECT 0x00"]
    );
    let clean = ["CONNECT clean expiry 0", "CONNECT clean expiry 0", "DISCONNECT 0x00"];
    assert_eq!(connects(V5, Session::Connection), clean);
    assert_eq!(connects(V311, client), clean);
    let kept = ["CONNECT expiry 0", "CONNECT expiry 0", "DISCONNECT 0x00"];
    assert_eq!(connects(V311, Session::Persistent(HOUR)), kept);
}

#[test] // [MQTT5-3.2.2-4]
fn a_session_that_was_not_asked_for_is_not_gone_on_with() {
    for (version, session) in [
        (V5, Session::Connection),
        (V5, Session::Client(HOUR)),
        (V5, Session::Fresh(HOUR)),
        (V311, Session::Client(HOUR)),
    ] {
        let mut bench = Bench::started(options(version).session(session));
        bench.publish(1, "a", ExactlyOnce);
        bench.open();
        bench.connack(true, &[]);
        assert!(bench.last_reason().contains("a session although"), "{}", bench.last_reason());
        assert_eq!((bench.closes, bench.answers.len()), (1, 0));
        let said = bench.said();
        let last_words: &[&str] = if version == V5 { &["DISCONNECT 0x82"] } else { &[] };
        assert!(said[0].starts_with("CONNECT clean") && said[1..] == *last_words, "{said:?}");
        let granted = |event: &Event| matches!(event, Event::Connected(_));
        assert!(!bench.events.iter().any(granted), "it has not been connected");
        bench.wait_for_attempt();
        bench.open();
        bench.connack(false, &[]);
        assert_eq!(bench.said()[1..], ["PUBLISH 1 a q2"]);
    }
}

#[test] // [MQTT3-3.1.3-2] [MQTT5-3.1.3-2]
fn a_session_is_asked_for_by_the_identifier_it_has() {
    let mut bench = Bench::connected(options(V311).session(Session::Persistent(HOUR)));
    bench.reconnect(true);
    assert_eq!(bench.client_ids(), ["me", "me"]);
    let mut bench = Bench::started(options(V5).client_id(""));
    bench.open();
    bench.connack(false, &[Property::AssignedClientIdentifier("chosen")]);
    bench.reconnect(true);
    bench.reconnect(false);
    assert_eq!(bench.client_ids(), ["", "chosen", "chosen"]);
    let Some(Event::Connected(granted)) = bench.events.last() else { panic!("not connected") };
    assert_eq!(granted.client_id, "chosen");
}

#[test] // [MQTT5-3.3.4-8] [MQTT5-4.9.0-3]
fn nothing_but_messages_waits_when_the_broker_takes_no_more() {
    let mut bench = Bench::started(options(V5).keep_alive_seconds(10));
    bench.open();
    bench.connack(false, &[Property::ReceiveMaximum(1)]);
    bench.publish(1, "a", ExactlyOnce);
    bench.publish(2, "a", ExactlyOnce);
    bench.said();
    bench.subscribe(3, "b", 1);
    bench.message("b", "x", 1, AtLeastOnce);
    bench.message("b", "y", 2, ExactlyOnce);
    bench.pubrel(2);
    bench.unsubscribe(4, "c");
    assert_eq!(
        bench.said(),
        ["SUBSCRIBE 2 b #1", "PUBACK 1", "PUBREC 2", "PUBCOMP 2", "UNSUBSCRIBE 3 c"]
    );
    assert_eq!(bench.delivered(), ["b=x to [1]", "b=y to [1]"]);
    bench.pass_ms(8_000);
    assert_eq!(bench.said(), ["PINGREQ"]);
    bench.pubrec(1);
    assert_eq!(bench.said(), ["PUBREL 1"], "PUBREL needs no quota, and PUBREC gives none back");
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

#[test] // [MQTT5-4.4.0-2]
fn what_the_broker_refused_is_not_sent_again() {
    let mut bench = Bench::connected(options(V5));
    bench.publish(1, "a", AtLeastOnce);
    bench.publish(2, "a", ExactlyOnce);
    bench.puback(1, ReasonCode::NotAuthorized);
    assert!(bench.refusal().contains("not authorized"));
    let ack = packet::Ack::new(super::bench::packet_id(2), ReasonCode::QuotaExceeded);
    bench.hear(&Packet::Pubrec(ack));
    assert!(bench.refusal().contains("quota"));
    bench.said();
    bench.reconnect(true);
    assert_eq!(bench.said(), ["CONNECT expiry 3600"]);
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

#[test] // [MQTT5-3.3.4-7] [MQTT5-4.9.0-1] [MQTT5-4.9.0-2]
fn no_more_messages_are_in_flight_than_the_broker_takes() {
    let mut bench = Bench::started(options(V5));
    bench.open();
    bench.connack(false, &[Property::ReceiveMaximum(2)]);
    bench.said();
    for token in 1..=4 {
        bench.publish(token, "a", AtLeastOnce);
    }
    bench.publish(5, "b", AtMostOnce);
    assert_eq!(bench.said(), ["PUBLISH 1 a q1", "PUBLISH 2 a q1"]);
    bench.puback(1, ReasonCode::Success);
    bench.puback(2, ReasonCode::Success);
    assert_eq!(bench.said(), ["PUBLISH 3 a q1", "PUBLISH 4 a q1", "PUBLISH 0 b q0"], "in order");
}

#[test] // [MQTT5-3.2.2-11] [MQTT5-3.2.2-14] [MQTT5-3.2.2-15]
fn what_the_broker_does_not_offer_is_not_sent() {
    let mut bench = Bench::started(options(V5));
    bench.publish_message(9, Publish::new("a", vec![0; 90]));
    bench.open();
    let limits = [
        Property::MaximumQoS(1),
        Property::RetainAvailable(0),
        Property::MaximumPacketSize(50),
        Property::WildcardSubscriptionAvailable(0),
        Property::SharedSubscriptionAvailable(0),
        Property::SubscriptionIdentifierAvailable(0),
    ];
    bench.connack(false, &limits);
    assert!(bench.refusal().contains("larger than the 50"));
    bench.publish(1, "a", ExactlyOnce);
    assert!(bench.refusal().contains("QoS 2"));
    bench.publish_message(2, Publish::new("a", "").retain(true));
    assert!(bench.refusal().contains("retained"));
    bench.subscribe(3, "a/#", 1);
    assert!(bench.refusal().contains("wildcards"));
    bench.subscribe(4, "$share/g/a", 2);
    assert!(bench.refusal().contains("shared"));
    assert_eq!(bench.ended_receivers, [1, 2]);
    bench.said();
    bench.subscribe(5, "a", 3);
    let said = bench.said();
    assert!(said[0].ends_with(" a"), "without an identifier: {said:?}");
}

#[test]
fn while_away_messages_wait_up_to_the_limits_and_are_refused_beyond_them() {
    let limits = Limits { queue_count_max: 3, queue_bytes_max: 30, ..Limits::default() };
    let mut bench = Bench::started(options(V5).limits(limits));
    for token in 1..=3 {
        bench.publish(token, "a", AtLeastOnce);
    }
    assert!(bench.answers.is_empty());
    bench.publish(4, "a", AtLeastOnce);
    assert!(bench.refusal().contains("3 of 3 messages"));
    bench.open();
    bench.connack(false, &[]);
    assert_eq!(bench.said()[1..], ["PUBLISH 1 a q1", "PUBLISH 2 a q1", "PUBLISH 3 a q1"]);
    bench.break_off();
    bench.publish_message(5, Publish::new("a", vec![0; 30]));
    assert!(bench.refusal().contains("0 of 30 bytes"));
}

#[test]
fn messages_without_a_promise_wait_only_if_they_are_told_to() {
    let mut bench = Bench::started(options(V5));
    bench.publish(1, "a", AtMostOnce);
    bench.open();
    bench.connack(false, &[]);
    assert_eq!(bench.done(), [1]);
    let mut bench = Bench::connected(options(V5).queue_at_most_once(false));
    bench.writable = false;
    bench.publish(1, "a", AtMostOnce);
    bench.break_off();
    assert!(bench.refusal().contains("QoS 0"));
    bench.publish(2, "a", AtMostOnce);
    assert!(bench.refusal().contains("QoS 0"));
}

#[test]
fn subscriptions_are_restored_when_the_session_was_lost_and_only_then() {
    for (version, identifiers) in [(V311, ["", ""]), (V5, [" #1", " #2"])] {
        let session = Session::Persistent(HOUR);
        let mut bench = Bench::connected(options(version).session(session));
        bench.subscribe(1, "a", 1);
        bench.subscribe(2, "b/+", 2);
        let [one, two] = identifiers;
        assert_eq!(bench.said(), [format!("SUBSCRIBE 1 a{one}"), format!("SUBSCRIBE 2 b/+{two}")]);
        bench.suback(1, ReasonCode::GrantedQos2);
        bench.reconnect(true);
        assert_eq!(bench.said()[1..], [format!("SUBSCRIBE 3 b/+{two}")], "it was never answered");
        bench.suback(3, ReasonCode::GrantedQos2);
        assert_eq!(bench.done(), [1, 2]);
        bench.subscribe(3, "c", 3);
        bench.said();
        bench.reconnect(false);
        let said = bench.said();
        let filters: Vec<_> = said[1..].iter().map(|line| line.split(' ').nth(2)).collect();
        assert_eq!(filters, [Some("a"), Some("b/+"), Some("c")]);
    }
}

#[test]
fn a_subscription_that_is_refused_ends_its_stream() {
    let mut bench = Bench::connected(options(V5));
    bench.subscribe(1, "a", 1);
    bench.suback(1, ReasonCode::NotAuthorized);
    assert!(bench.refusal().contains("not authorized"));
    assert_eq!(bench.ended_receivers, [1]);
    bench.subscribe(2, "b", 2);
    bench.suback(2, ReasonCode::Success);
    bench.reconnect(false);
    bench.suback(3, ReasonCode::NotAuthorized);
    assert_eq!(bench.ended_receivers, [1, 2]);
    let lost =
        |event: &Event| matches!(event, Event::SubscriptionLost { filter, .. } if filter == "b");
    assert!(bench.events.iter().any(lost));
    bench.reconnect(false);
    assert_eq!(bench.said().last().unwrap(), "CONNECT expiry 3600", "and is not asked for again");
}

#[test]
fn unsubscribing_ends_the_stream_when_the_broker_has_answered() {
    let mut bench = Bench::connected(options(V5));
    bench.subscribe(1, "a", 1);
    bench.suback(1, ReasonCode::Success);
    bench.unsubscribe(2, "a");
    bench.message("a", "1", 0, AtMostOnce);
    assert_eq!(bench.delivered(), ["a=1 to [1]"]);
    bench.unsuback(2);
    assert_eq!((bench.done(), bench.ended_receivers.clone()), (vec![1, 2], vec![1]));
    bench.message("a", "2", 0, AtMostOnce);
    assert_eq!(bench.delivered(), ["a=2 to []"]);
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

#[test] // [MQTT5-3.2.2-5] [MQTT5-4.3.3-10]
fn a_message_received_before_the_connection_broke_is_not_delivered_again_in_the_session() {
    for (present, again) in [(true, 0), (false, 1)] {
        let mut bench = Bench::connected(options(V5));
        bench.message("a", "x", 6, ExactlyOnce);
        bench.delivered();
        bench.reconnect(present);
        bench.message("a", "x", 6, ExactlyOnce);
        assert_eq!(bench.delivered().len(), again);
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

// [MQTT3-3.14.4-1] [MQTT3-3.14.4-2] [MQTT5-3.14.4-1] [MQTT5-3.14.4-2]
#[test]
fn who_leaves_finishes_what_is_under_way() {
    let mut bench = Bench::connected(options(V5));
    bench.publish(1, "a", ExactlyOnce);
    bench.leave();
    assert_eq!(bench.said(), ["PUBLISH 1 a q2"]);
    bench.pubrec(1);
    bench.pubcomp(1);
    assert_eq!(bench.said(), ["PUBREL 1", "DISCONNECT 0x00 expiry 0"]);
    assert_eq!(bench.closes, 1);
    assert!(bench.machine.ended().is_some());
    assert_eq!(bench.done(), [1]);
    assert_eq!(bench.machine.next_deadline(), None);
}

#[test]
fn who_leaves_does_not_wait_for_ever() {
    let mut bench = Bench::connected(options(V5));
    bench.publish(1, "a", AtLeastOnce);
    bench.leave();
    bench.pass_ms(5_000);
    assert_eq!(bench.said(), ["PUBLISH 1 a q1", "DISCONNECT 0x00 expiry 0"]);
    assert!(bench.refusal().contains("disconnected as asked"));
    bench.publish(2, "a", AtLeastOnce);
    assert!(bench.refusal().contains("has ended"));
}

#[test]
fn who_leaves_without_a_connection_makes_no_further_attempt() {
    let mut bench = Bench::started(options(V5));
    bench.break_off();
    bench.publish(1, "a", AtLeastOnce);
    bench.leave();
    assert!(bench.refusal().contains("disconnected as asked"));
    assert_eq!(bench.machine.next_deadline(), None);

    let mut bench = Bench::started(options(V5));
    bench.leave();
    assert!(bench.machine.ended().is_some(), "nothing waits for the attempt under way");
}

#[test]
fn who_leaves_while_connecting_finishes_that_if_something_waits() {
    let mut bench = Bench::started(options(V5));
    bench.publish(1, "a", AtMostOnce);
    bench.leave();
    bench.open();
    bench.connack(false, &[]);
    assert_eq!(bench.said()[1..], ["PUBLISH 0 a q0", "DISCONNECT 0x00 expiry 0"]);
    assert_eq!(bench.done(), [1]);

    let mut bench = Bench::started(options(V5));
    bench.publish(1, "a", AtMostOnce);
    bench.leave();
    bench.break_off();
    assert!(bench.refusal().contains("disconnected as asked"), "one attempt, not two");
    assert_eq!(bench.opens, 1);

    let mut bench = Bench::started(options(V5));
    bench.publish(1, "a", AtMostOnce);
    bench.open();
    bench.leave();
    bench.pass_ms(5_000);
    assert!(bench.machine.ended().is_some(), "not for longer than the leave timeout");
}

#[test] // [MQTT3-2.3.1-2] [MQTT5-2.2.1-3]
fn messages_and_requests_never_share_an_identifier() {
    let mut bench = Bench::connected(options(V5));
    bench.subscribe(1, "a", 1);
    assert_eq!(bench.said(), ["SUBSCRIBE 1 a #1"]);
    for round in 0..65_534u32 {
        bench.publish(2, "m", AtLeastOnce);
        let id = (round + 1) % 65_535 + 1;
        assert_eq!(bench.said(), [format!("PUBLISH {id} m q1")]);
        bench.puback(id as u16, ReasonCode::Success);
    }
    bench.publish(3, "m", AtLeastOnce);
    assert_eq!(bench.said(), ["PUBLISH 2 m q1"], "1 belongs to SUBSCRIBE still");
    bench.answers.clear();
    bench.suback(1, ReasonCode::Success);
    assert_eq!(bench.done(), [1]);
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
