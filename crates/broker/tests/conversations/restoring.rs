//! Sessions that a store has kept, after the broker has ended without a word.

use noctule_broker::{
    Message, MessageParts, Owed, PacketId, QoS, Record, Sequence, SessionKey, StoredInFlight,
    StoredSession, SubscriptionOptions,
};
use noctule_testkit::packets::*;
use noctule_testkit::{PromptStore, Store, World};

const KEY: SessionKey = SessionKey(5);

fn message(topic: &str, payload: &str, qos: QoS) -> Message {
    let payload = payload.as_bytes();
    let parts = MessageParts { topic, properties: &[], payload, qos, retain: false };
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
        expiry: None,
        away_since_ms: None,
        ends_in_ms: None,
        will: None,
        subscriptions: vec![("x".into(), SubscriptionOptions::qos(QoS::ExactlyOnce), None)],
        in_flight: Vec::new(),
        before_in_flight: 0,
        held: Vec::new(),
        received: Vec::new(),
        queued: 0,
        queued_bytes: 0,
        next_sequence: 1,
    }
}

/// A world with this session, whose queue is what the store has: payloads with their QoS.
fn world(session: StoredSession, queue: &[(&str, QoS)]) -> World {
    let mut store = PromptStore::default();
    let mut bytes = 0;
    for (index, (payload, qos)) in queue.iter().enumerate() {
        let owed = Owed {
            sequence: Sequence(index as u64 + 1),
            message: message("x", payload, *qos),
            qos: *qos,
            retain: false,
            extras: None,
        };
        bytes += owed.bytes();
        store.persist(vec![Record::Owed { key: KEY, owed, spilled: true }]);
    }
    let mut w = World::new().on_store(store);
    let next_sequence = queue.len() as u64 + 1;
    w.restore(StoredSession { queued: queue.len(), queued_bytes: bytes, next_sequence, ..session });
    w
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
    w.receive("r", publish("x", "1").qos(1));
    w.receive("r", publish("x", "2").qos(2));
    w.receive("r", publish("x", "3").qos(1));
}

#[test] // [MQTT3-4.4.0-1] [MQTT5-4.4.0-1]: with the original packet identifiers
fn deliveries_of_qos_2_go_on_with_their_identifiers_among_the_others_in_order() {
    let under_way = vec![in_flight(2, 7, false), in_flight(3, 9, true)];
    let stored = StoredSession { in_flight: under_way, before_in_flight: 1, ..session() };
    let queue = [
        ("before", QoS::AtLeastOnce),
        ("sent", QoS::ExactlyOnce),
        ("received", QoS::ExactlyOnce),
        ("new", QoS::ExactlyOnce),
    ];
    let mut w = world(stored, &queue);
    w.connect("r", v311().persistent());
    w.expect("r", publish("x", "before").qos(1).id(6));
    w.expect("r", publish("x", "sent").qos(2).id(7).dup());
    w.expect("r", pubrel(9));
    w.expect("r", publish("x", "new").qos(2).id(10));
    w.send("r", pubcomp(9));
    w.send("r", pubrec(7));
    w.expect("r", pubrel(7));
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
    // A message expiry interval of one second, stored an hour ago.
    let parts = MessageParts {
        topic: "x",
        properties: &[2, 0, 0, 0, 1],
        payload: b"old",
        qos: QoS::ExactlyOnce,
        retain: false,
    };
    let expired = Message::from_stored_parts(&parts, 1_700_000_000_000 - 3_600_000).unwrap();
    let owed = Owed {
        sequence: Sequence(1),
        message: expired,
        qos: QoS::ExactlyOnce,
        retain: false,
        extras: None,
    };
    let queued_bytes = owed.bytes();
    let mut store = PromptStore::default();
    store.persist(vec![Record::Owed { key: KEY, owed, spilled: true }]);
    let mut w = World::new().on_store(store);
    let in_flight = vec![in_flight(1, 1, true)];
    w.restore(StoredSession { in_flight, queued: 1, queued_bytes, next_sequence: 2, ..session() });
    w.connect("r", v5().expiry(1_000).clean(false));
    w.expect("r", pubrel(1));
    w.connect("s", v5());
    w.publish("s", publish("x", "new").qos(2));
    w.expect("r", publish("x", "new").qos(2).id(2));
}
