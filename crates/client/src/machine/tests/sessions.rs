//! What outlives a connection, and what does not: sessions and subscriptions.

use super::*;

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
