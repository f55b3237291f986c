//! Sessions that a store has kept, after the broker has ended without a word.

use noctule_broker::{
    Extras, Limits, Message, MessageParts, Owed, PacketId, Principal, QoS, Record, RecordedReplay,
    Sequence, SessionKey, StoredInFlight, StoredSession, StoredSubscription, SubscriptionOptions,
};
use noctule_testkit::packets::*;
use noctule_testkit::{PromptStore, Store, World};
use std::collections::BTreeMap;
use std::sync::Arc;

const KEY: SessionKey = SessionKey(5);

fn message(topic: &str, payload: &str, qos: QoS) -> Message {
    let payload = payload.as_bytes();
    let parts = MessageParts {
        topic,
        properties: &[],
        payload,
        qos,
        retain: false,
        published_by: None,
        received_ms: 0,
    };
    Message::from_parts(&parts).expect("a message")
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not zero")
}

/// The session of `r`, which is subscribed to `x` and owed nothing.
fn session() -> StoredSession {
    StoredSession {
        key: KEY,
        client_id: "r".into(),
        principal: Principal::default(),
        expiry: None,
        away_since_ms: None,
        ends_in_ms: None,
        will: None,
        subscriptions: vec![subscription("x")],
        in_flight: Vec::new(),
        held: Vec::new(),
        received: Vec::new(),
        queued: 0,
        queued_bytes: 0,
        last_queued: Sequence(0),
        next_sequence: 1,
    }
}

fn subscription(filter: &str) -> StoredSubscription {
    StoredSubscription {
        filter: filter.into(),
        options: SubscriptionOptions::qos(QoS::ExactlyOnce),
        identifier: None,
        replay: None,
    }
}

/// A world with this session, whose queue is what the store has: payloads with their QoS.
fn world(session: StoredSession, queue: &[(&str, QoS)]) -> World {
    world_owing(session, queue, None, |_| ())
}

/// The same, owed as a member of the group of a shared subscription if there is one, with those who
/// are there before.
fn world_owing(
    session: StoredSession,
    queue: &[(&str, QoS)],
    shared: Option<&str>,
    before: impl FnOnce(&mut World),
) -> World {
    let mut store = PromptStore::default();
    let mut bytes = 0;
    for (index, (payload, qos)) in queue.iter().enumerate() {
        let owed = Owed {
            sequence: Sequence(index as u64 + 1),
            message: message("x", payload, *qos),
            qos: *qos,
            retain: false,
            extras: Extras::of(&[], shared.map(Arc::from)),
            deferred: 0,
        };
        bytes += owed.bytes();
        store.persist(vec![Record::Owed { key: KEY, owed, spilled: true }]);
    }
    let mut w = World::new().on_store(store);
    let queued = queue.len();
    let (last_queued, next_sequence) = (Sequence(queued as u64), queued as u64 + 1);
    let stored =
        StoredSession { queued, queued_bytes: bytes, last_queued, next_sequence, ..session };
    before(&mut w);
    w.restore(stored);
    w
}

#[test] // [MQTT5-4.1.0-2]
fn a_session_whose_time_was_over_is_not_there_even_for_who_comes_first() {
    for expiry in [0, 100] {
        let over = StoredSession { expiry: Some(expiry), ends_in_ms: Some(0), ..session() };
        let mut w = world(over, &[("1", QoS::AtLeastOnce)]);
        assert!(!w.connect("r", v5().clean(false).expiry(100)), "it ended with the broker");
        assert_eq!(w.counters().sessions_expired, 1);
        assert!(w.records().contains(&Record::SessionEnded(KEY)));
        w.connect("s", v311());
        w.publish("s", publish("x", "2").qos(1));
        w.expect_quiet();
    }
}

fn in_flight(sequence: u64, packet_id: u16, received: bool) -> StoredInFlight {
    StoredInFlight { sequence: Sequence(sequence), packet_id: id(packet_id), received }
}

#[test]
fn a_session_is_there_with_its_subscriptions_and_its_queue_in_order() {
    let mut w = world(session(), &[("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce)]);
    w.connect("s", v311());
    w.publish("s", publish("x", "3").qos(1));
    assert!(w.connect("r", v311().persistent()), "the session is present");
    w.receive("r", publish("x", "1").qos(1).dup());
    w.receive("r", publish("x", "2").qos(2));
    w.receive("r", publish("x", "3").qos(1));
}

#[test] // [MQTT3-4.4.0-1] [MQTT5-4.4.0-1]: with the original packet identifiers
fn deliveries_go_on_with_their_identifiers_in_order() {
    let under_way = vec![in_flight(2, 2, false), in_flight(3, 3, true)];
    let stored = StoredSession { in_flight: under_way, ..session() };
    let queue = [
        ("before", QoS::AtLeastOnce),
        ("sent", QoS::ExactlyOnce),
        ("received", QoS::ExactlyOnce),
        ("not begun", QoS::ExactlyOnce),
    ];
    let mut w = world(stored, &queue);
    w.connect("r", v311().persistent());
    // Nobody knows whether it was sent.
    w.expect("r", publish("x", "before").qos(1).id(1).dup());
    w.expect("r", publish("x", "sent").qos(2).id(2).dup());
    w.expect("r", pubrel(3));
    w.expect("r", publish("x", "not begun").qos(2).id(4));
    w.send("r", pubcomp(3));
    w.send("r", pubrec(2));
    w.expect("r", pubrel(2));
    w.connect("s", v311());
    w.publish("s", publish("x", "new").qos(1));
    w.expect("r", publish("x", "new").qos(1).id(5));
}

#[test] // [MQTT3-4.4.0-1] [MQTT5-4.4.0-1]
fn a_delivery_at_qos_1_has_the_same_identifier_before_and_after_a_restart() {
    let mut w = World::new();
    w.connect("r", v311().persistent());
    w.subscribe("r", "x", 1);
    w.connect("s", v311());
    for number in 1..=5 {
        w.publish("s", publish("x", number.to_string()).qos(1));
        w.expect("r", publish("x", number.to_string()).qos(1).id(number));
    }
    // Two are done, not in order.
    w.send("r", puback(2));
    w.send("r", puback(4));
    let mut left = BTreeMap::new();
    for record in w.records() {
        match record {
            Record::Owed { owed, .. } => drop(left.insert(owed.sequence, owed.clone())),
            Record::Delivered { sequence, .. } => drop(left.remove(sequence)),
            _ => {}
        }
    }
    let mut store = PromptStore::default();
    let queued_bytes = left.values().map(Owed::bytes).sum();
    store.persist(
        left.values()
            .map(|owed| Record::Owed { key: KEY, owed: owed.clone(), spilled: true })
            .collect(),
    );
    let mut w = World::new().on_store(store);
    let (queued, last_queued, next_sequence) = (3, Sequence(5), 6);
    w.restore(StoredSession { queued, queued_bytes, last_queued, next_sequence, ..session() });
    w.connect("r", v311().persistent());
    for number in [1, 3, 5] {
        w.expect("r", publish("x", number.to_string()).qos(1).id(number).dup());
    }
    w.connect("s", v311());
    w.publish("s", publish("x", "6").qos(1));
    w.expect("r", publish("x", "6").qos(1).id(6));
}

#[test] // [MQTT3-3.3.1-1] [MQTT5-3.3.1-1]
fn only_what_may_have_been_in_flight_is_sent_as_a_repetition() {
    let queue = [("1", QoS::AtLeastOnce), ("2", QoS::AtLeastOnce), ("3", QoS::AtLeastOnce)];
    let mut store = PromptStore::default();
    for (index, (payload, qos)) in queue.iter().enumerate() {
        let owed = owed(index as u64 + 1, message("x", payload, *qos));
        store.persist(vec![Record::Owed { key: KEY, owed, spilled: true }]);
    }
    let limits = Limits { inflight_out_max: 2, ..Limits::default() };
    let mut w = World::with(limits).on_store(store);
    let (queued, last_queued, next_sequence) = (3, Sequence(3), 4);
    w.restore(StoredSession { queued, queued_bytes: 1, last_queued, next_sequence, ..session() });
    w.connect("r", v311().persistent());
    w.receive("r", publish("x", "1").qos(1).dup());
    w.receive("r", publish("x", "2").qos(1).dup());
    w.receive("r", publish("x", "3").qos(1));
}

fn owed(sequence: u64, message: Message) -> Owed {
    let (qos, sequence) = (message.qos(), Sequence(sequence));
    Owed { sequence, message, qos, retain: false, extras: None, deferred: 0 }
}

#[test] // [MQTT5-4.8.2-5]
fn what_a_group_is_owed_goes_to_another_member_when_the_session_ends() {
    let group = "$share/g/x";
    let in_flight = vec![in_flight(2, 2, false)];
    let ending = StoredSession {
        expiry: Some(10),
        ends_in_ms: Some(10_000),
        subscriptions: vec![subscription(group)],
        in_flight,
        ..session()
    };
    let queue = [
        ("1", QoS::AtLeastOnce),
        ("begun", QoS::ExactlyOnce),
        ("3", QoS::ExactlyOnce),
        ("4", QoS::AtLeastOnce),
    ];
    // What lies with the store is given on in both cases: when its session ends, and when that had
    // ended before the restart.
    let ended = StoredSession { client_id: "".into(), ..ending.clone() };
    for stored in [ending, ended] {
        let mut w = world_owing(stored, &queue, Some(group), |w| {
            w.connect("other", v5());
            w.subscribe("other", group, 2);
        });
        w.pass(11);
        w.receive("other", publish("x", "1").qos(1));
        w.receive("other", publish("x", "3").qos(2));
        w.receive("other", publish("x", "4").qos(1));
        let gone = |record: &Record| *record == Record::SessionEnded(KEY);
        assert_eq!(w.records().iter().filter(|record| gone(record)).count(), 1);
        assert_eq!(w.population().sessions, 1);
    }
}

#[test]
fn retained_messages_that_were_not_sent_for_a_subscription_follow_and_it_is_said_when_they_are() {
    let mut unsent = subscription("kept/#");
    unsent.replay = Some(RecordedReplay { number: None, up_to: 2, reached: None });
    let stored = StoredSession { subscriptions: vec![unsent.clone()], ..session() };
    let mut w = World::new();
    w.connect("s", v311());
    for number in 1..=3 {
        w.publish("s", publish(&format!("kept/{number}"), "x").qos(0).retain());
    }
    w.restore(stored);
    w.connect("r", v311().persistent());
    w.receive("r", publish("kept/1", "x").qos(0).retain());
    w.receive("r", publish("kept/2", "x").qos(0).retain());
    w.expect_nothing("r");
    let said = w.records().iter().any(|record| match record {
        Record::Subscribed { filter, replay, .. } => **filter == *"kept/#" && replay.is_none(),
        _ => false,
    });
    assert!(said);
}

#[test]
fn what_was_stored_and_not_routed_is_routed_once() {
    let received = vec![(id(3), message("x", "once", QoS::ExactlyOnce))];
    let mut w = world(StoredSession { received, held: vec![id(4)], ..session() }, &[]);
    w.connect("r", v311().persistent());
    w.receive("r", publish("x", "once").qos(2));
    // Its client may send both again: neither is routed again.
    for number in [3, 4] {
        w.send("r", publish("x", "again").qos(2).id(number).dup());
        w.expect("r", pubrec(number));
        w.send("r", pubrel(number));
        w.expect("r", pubcomp(number));
    }
}

#[test] // [MQTT5-3.1.3-9]
fn a_will_is_published_when_it_is_due_unless_the_client_returns() {
    for returns in [false, true] {
        let will = Some((message("last/r", "gone", QoS::AtMostOnce), 0, 30_000));
        let mut w = world(StoredSession { will, ..session() }, &[]);
        w.connect("s", v311());
        w.subscribe("s", "last/#", 0);
        w.pass(29);
        if returns {
            w.connect("r", v311().persistent());
        }
        w.expect_nothing("s");
        w.pass(2);
        if returns {
            w.expect_nothing("s");
        } else {
            w.expect("s", publish("last/r", "gone"));
        }
    }
}

#[test]
fn a_session_ends_when_its_time_is_over_and_that_begins_once() {
    let limited = StoredSession { expiry: Some(100), ends_in_ms: Some(40_000), ..session() };
    let mut w = world(limited.clone(), &[]);
    // It was there when the broker ended: the next broker has to know since when it is away.
    let away = |record: &Record| matches!(record, Record::Away { key, .. } if *key == KEY);
    assert_eq!(w.records().iter().filter(|record| away(record)).count(), 1);
    w.pass(39);
    assert_eq!(w.population().sessions, 1);
    w.pass(2);
    assert_eq!(w.population().sessions, 0);
    let known = StoredSession { away_since_ms: Some(7), ..limited };
    let w = world(known, &[]);
    assert_eq!(w.records().iter().filter(|record| away(record)).count(), 0);
}

#[test]
fn a_will_that_is_published_leaves_the_time_of_the_session_as_it_is() {
    let will = Some((message("last/r", "gone", QoS::AtMostOnce), 1, 1_000));
    let stored = StoredSession { will, away_since_ms: Some(7), ..session() };
    let mut w = world(stored, &[]);
    w.pass(2);
    let since: Vec<_> = w
        .records()
        .iter()
        .filter_map(|record| match record {
            Record::Away { since_ms, keeps_will, .. } => Some((*since_ms, *keeps_will)),
            _ => None,
        })
        .collect();
    assert_eq!(since, [(7, false)]);
}

#[test] // [MQTT5-3.3.2-5] is about what has not been begun
fn an_expired_delivery_that_was_under_way_is_completed_and_its_identifier_not_given_again() {
    // A message expiry interval of one second, and it came an hour ago.
    let parts = MessageParts {
        topic: "x",
        properties: &[2, 0, 0, 0, 1],
        payload: b"old",
        qos: QoS::ExactlyOnce,
        retain: false,
        published_by: None,
        received_ms: 1_700_000_000_000 - 3_600_000,
    };
    let expired = Message::from_stored_parts(&parts).unwrap();
    let owed = Owed {
        sequence: Sequence(1),
        message: expired,
        qos: QoS::ExactlyOnce,
        retain: false,
        extras: None,
        deferred: 0,
    };
    let queued_bytes = owed.bytes();
    let mut store = PromptStore::default();
    store.persist(vec![Record::Owed { key: KEY, owed, spilled: true }]);
    let mut w = World::new().on_store(store);
    let in_flight = vec![in_flight(1, 1, true)];
    let (queued, last_queued, next_sequence) = (1, Sequence(1), 2);
    w.restore(StoredSession {
        in_flight,
        queued,
        queued_bytes,
        last_queued,
        next_sequence,
        ..session()
    });
    w.connect("r", v5().expiry(1_000).clean(false));
    w.expect("r", pubrel(1));
    w.connect("s", v5());
    w.publish("s", publish("x", "new").qos(2));
    w.expect("r", publish("x", "new").qos(2).id(2));
}
