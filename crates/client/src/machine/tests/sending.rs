//! Messages to the broker: promises, windows, queues, what it does not take.

use super::*;

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

#[test] // [MQTT5-4.4.0-2]
fn what_the_broker_refused_is_not_sent_again() {
    let mut bench = Bench::connected(options(V5));
    bench.publish(1, "a", AtLeastOnce);
    bench.publish(2, "a", ExactlyOnce);
    bench.puback(1, ReasonCode::NotAuthorized);
    assert!(bench.refusal().contains("not authorized"));
    let ack = packet::Ack::new(packet_id(2), ReasonCode::QuotaExceeded);
    bench.hear(&Packet::Pubrec(ack));
    assert!(bench.refusal().contains("quota"));
    bench.said();
    bench.reconnect(true);
    assert_eq!(bench.said(), ["CONNECT expiry 3600"]);
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
