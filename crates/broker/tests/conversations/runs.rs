//! Runs of messages: what clients hear, and what is counted, is the same whether messages come
//! together or byte by byte.

use crate::connecting;
use noctule_broker::{
    Entrance, EntranceId, Limits, Mount, Record, Sequence, SessionKey, Snapshot, Stage,
};
use noctule_mqtt::{PacketType, ProtocolVersion, ReasonCode};
use noctule_testkit::packets::*;
use noctule_testkit::{Pieces, Said, World, hear_out};
use proptest::prelude::*;

const PUBLISHERS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];
/// Receivers and their filters; every one is there in each conversation, so that some take a run as it
/// came and others do not.
const RECEIVERS: [(&str, ProtocolVersion, u8); 4] = [
    ("a", ProtocolVersion::V311, 1),
    ("+", ProtocolVersion::V5, 1),
    ("b", ProtocolVersion::V311, 0),
    ("b", ProtocolVersion::V5, 1),
];

#[derive(Debug, Clone)]
struct Message {
    topic: &'static str,
    qos: u8,
    retain: bool,
    payload_bytes: usize,
}

fn message() -> impl Strategy<Value = Message> {
    let topic = prop::sample::select(vec!["a", "b", "c"]);
    let payload_bytes = prop_oneof![8 => 0..100usize, 1 => 2_000..2_200usize];
    (topic, 0..2u8, prop::bool::weighted(0.05), payload_bytes).prop_map(
        |(topic, qos, retain, payload_bytes)| Message { topic, qos, retain, payload_bytes },
    )
}

/// Messages in groups of equals, which are what runs are made of.
fn messages() -> impl Strategy<Value = Vec<Message>> {
    let group = (message(), 1..12usize).prop_map(|(message, count)| vec![message; count]);
    prop::collection::vec(group, 1..8).prop_map(|groups| groups.concat())
}

/// What a store is told of a message: whose, which, and what is to be kept of it.
type Told = (SessionKey, Sequence, Option<Vec<u8>>);

/// What a store is told of messages.
fn stored(w: &World) -> Vec<Told> {
    let of = |record: &Record| match record {
        Record::Owed { key, owed, .. } => {
            assert!(owed.message.parts().published_by.is_some());
            Some((*key, owed.sequence, Some(owed.message.payload().to_vec())))
        }
        Record::Delivered { key, sequence } => Some((*key, *sequence, None)),
        _ => None,
    };
    let mut all: Vec<_> = w.records().iter().filter_map(of).collect();
    // Which batch something is in depends on how much comes at once.
    all.sort();
    all
}

/// What everybody hears of the messages, what is stored, and the numbers at the end.
fn conversation(
    pieces: Pieces,
    version: ProtocolVersion,
    (subscribers, are_kept): (usize, bool),
    window: u16,
    messages: &[Message],
) -> (Vec<Vec<Said>>, Vec<Told>, Snapshot) {
    let mut w = World::with(Limits { inflight_out_max: window, ..Limits::default() });
    w.connect("s", connecting(version));
    let names: Vec<_> = (0..subscribers).map(|number| format!("r{number}")).collect();
    for (name, (filter, version, qos)) in names.iter().zip(RECEIVERS) {
        let terms = connecting(version);
        w.connect(name, if are_kept { terms.persistent() } else { terms });
        w.subscribe(name, filter, qos);
    }
    w.in_pieces(pieces);
    let mut heard: Vec<Vec<Said>> = vec![Vec::new(); subscribers + 1];
    // Twice, so that the second time the routes are known.
    for _ in 0..2 {
        for (number, message) in messages.iter().enumerate() {
            let text = format!("{number:04}{}", "x".repeat(message.payload_bytes));
            let said = publish(message.topic, text).qos(message.qos);
            let said = if message.qos > 0 { said.id(number as u16 + 1) } else { said };
            w.say("s", if message.retain { said.retain() } else { said });
        }
        w.settle();
        for (heard, more) in heard.iter_mut().zip(hear_out(&mut w, &names)) {
            heard.extend(more);
        }
        heard[subscribers].extend(w.all_heard("s"));
    }
    let mut snapshot = w.snapshot();
    // How large buffers have grown is nothing that anybody can tell; a retained message counts with the
    // buffer that it was given, whose earlier life decides how large that is.
    snapshot.memory = Default::default();
    snapshot.holdings = Default::default();
    snapshot.retained_bytes = 0;
    (heard, stored(&w), snapshot)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    // [MQTT3-4.6.0-5] [MQTT3-4.6.0-6] [MQTT5-4.6.0-2] [MQTT5-4.6.0-5] [MQTT5-4.6.0-6]
    #[test]
    fn nobody_can_tell_whether_messages_came_together(
        version in prop::sample::select(PUBLISHERS.to_vec()),
        subscribers in (1..=RECEIVERS.len(), any::<bool>()),
        window in prop::sample::select(vec![1, 3, 10, 1_000]),
        messages in messages(),
    ) {
        let together = conversation(Pieces::Whole, version, subscribers, window, &messages);
        let apart = conversation(Pieces::Bytes, version, subscribers, window, &messages);
        prop_assert_eq!(together, apart);
    }
}

#[test]
fn messages_that_are_watched_are_reported_one_by_one_and_the_others_counted() {
    let mut w = World::new();
    w.connect("s", v311());
    w.connect("r", v311());
    w.subscribe("r", "x", 0);
    w.publish("s", publish("x", "first"));
    w.watch(3);
    for number in 0..10 {
        w.say("s", publish("x", number.to_string()));
    }
    w.settle();
    assert_eq!(w.watch(0), 7);
    assert_eq!(w.all_heard("r").len(), 11);
}

/// Has a client say the same message a few times, all at once, when its route is known.
fn say_together(w: &mut World, name: &str, topic: &str, qos: u8) {
    w.publish(name, publish(topic, "first").qos(qos));
    for number in 1..5 {
        let said = publish(topic, "then").qos(qos);
        w.say(name, if qos > 0 { said.id(100 + number) } else { said });
    }
    w.settle();
    let answered = w.all_heard(name).into_iter().filter_map(|said| match said {
        Said::Ack { packet: PacketType::Puback, id, .. } => Some(id),
        _ => None,
    });
    let expected = if qos > 0 { vec![101, 102, 103, 104] } else { Vec::new() };
    assert_eq!(answered.collect::<Vec<_>>(), expected);
}

fn messages_heard(w: &mut World, name: &str) -> Vec<(String, u8)> {
    let heard = w.all_heard(name).into_iter();
    heard
        .filter_map(|said| match said {
            Said::Publish(publish) => Some((publish.topic, publish.qos.bits())),
            _ => None,
        })
        .collect()
}

#[test]
fn a_run_from_below_a_mount_stays_below_it() {
    let site = Entrance { mount: Mount::new("site/1/"), ..Entrance::default() };
    let mut w = World::entered(vec![Entrance::default(), site], Stage::Written);
    // So that the route of the name without its mount is known, too.
    w.connect("outside", v311());
    w.connect("all", v311());
    w.subscribe("all", "#", 1);
    say_together(&mut w, "outside", "x", 0);
    say_together(&mut w, "outside", "x", 1);
    assert_eq!(messages_heard(&mut w, "all").len(), 10);
    w.come_by(EntranceId(1));
    w.connect("inside", v311());
    for qos in [0, 1] {
        say_together(&mut w, "inside", "x", qos);
        assert_eq!(messages_heard(&mut w, "all"), vec![("site/1/x".to_owned(), qos); 5]);
    }
    // And what comes in runs from elsewhere is called there as it is below the mount.
    w.connect("reader", v311());
    w.subscribe("reader", "x", 1);
    for qos in [0, 1] {
        say_together(&mut w, "outside", "site/1/x", qos);
        assert_eq!(messages_heard(&mut w, "reader"), vec![("x".to_owned(), qos); 5]);
        assert_eq!(messages_heard(&mut w, "all").len(), 5);
    }
}

#[test]
fn a_run_is_delivered_with_the_qos_of_the_subscription_where_that_is_the_rule() {
    let mut w = World::with(Limits { upgrade_qos: true, ..Limits::default() });
    w.connect("s", v311());
    w.connect("r", v311());
    w.subscribe("r", "x", 1);
    say_together(&mut w, "s", "x", 0);
    assert_eq!(messages_heard(&mut w, "r"), vec![("x".to_owned(), 1); 5]);
}

// [MQTT5-3.2.2-15]
#[test]
fn a_packet_that_is_too_large_is_refused_behind_others_as_well() {
    for (qos, version) in [0, 1].into_iter().flat_map(|qos| PUBLISHERS.map(|one| (qos, one))) {
        let mut w = World::with(Limits { packet_bytes_max: 100, ..Limits::default() });
        w.connect("s", connecting(version));
        w.connect("r", connecting(version));
        w.subscribe("r", "x", qos);
        w.publish("s", publish("x", "first").qos(qos));
        for (number, payload_bytes) in [5, 5, 200, 5].into_iter().enumerate() {
            let said = publish("x", "y".repeat(payload_bytes)).qos(qos);
            w.say("s", if qos > 0 { said.id(100 + number as u16) } else { said });
        }
        w.settle();
        assert_eq!(messages_heard(&mut w, "r").len(), 3, "at QoS {qos}, {version}");
        let told = w.all_heard("s").into_iter().any(|said| {
            matches!(said, Said::Disconnect { reason: ReasonCode::PacketTooLarge, .. })
        });
        assert_eq!(told, version == ProtocolVersion::V5);
        w.expect_closed("s");
    }
}
