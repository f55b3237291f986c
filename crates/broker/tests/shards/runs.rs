//! Runs of messages whose receivers are on several shards: what clients hear is the same whether
//! messages come together or byte by byte.

use crate::connecting;
use noctule_broker::{Limits, OnQueueFull};
use noctule_mqtt::ProtocolVersion;
use noctule_testkit::packets::*;
use noctule_testkit::{Pieces, Said, Shards, hear_out};
use proptest::prelude::*;

/// The shard of a receiver, its filter, version and QoS, whether it is kept, and the largest packet it
/// takes.
type Receiver = (usize, &'static str, ProtocolVersion, u8, bool, Option<u32>);

#[derive(Debug, Clone)]
struct Terms {
    window: u16,
    queue_messages_max: usize,
    on_queue_full: OnQueueFull,
}

fn terms() -> impl Strategy<Value = Terms> {
    let windows = prop::sample::select(vec![1, 3, 10, 1_000]);
    let queues = prop::sample::select(vec![4, 20, 100_000]);
    let full = prop::sample::select(vec![OnQueueFull::DropNew, OnQueueFull::Refuse]);
    (windows, queues, full).prop_map(|(window, queue_messages_max, on_queue_full)| Terms {
        window,
        queue_messages_max,
        on_queue_full,
    })
}

fn receiver() -> impl Strategy<Value = Receiver> {
    let filters = prop::sample::select(vec!["a", "b", "+", "#"]);
    let versions = prop::sample::select(vec![ProtocolVersion::V311, ProtocolVersion::V5]);
    let kept = prop::bool::weighted(0.3);
    let packets = prop_oneof![4 => Just(None), 1 => Just(Some(60))];
    (0..2usize, filters, versions, 0..2u8, kept, packets).prop_map(|found| {
        let (shard, filter, version, qos, kept, packet_max) = found;
        let packet_max = packet_max.filter(|_| version == ProtocolVersion::V5);
        (shard, filter, version, qos, kept, packet_max)
    })
}

/// Groups of equal messages: topic, QoS, size, and how many.
fn groups() -> impl Strategy<Value = Vec<(&'static str, u8, usize, usize)>> {
    let topic = prop::sample::select(vec!["a", "b", "c"]);
    let size = prop_oneof![6 => 0..40usize, 2 => 40..100usize, 1 => 2_000..2_100usize];
    prop::collection::vec((topic, 0..2u8, size, 1..12usize), 1..8)
}

/// What everybody hears, the publisher last.
fn conversation(
    pieces: Pieces,
    version: ProtocolVersion,
    receivers: &[Receiver],
    terms: &Terms,
    groups: &[(&'static str, u8, usize, usize)],
) -> Vec<Vec<Said>> {
    let limits = Limits {
        inflight_out_max: terms.window,
        queue_messages_max: terms.queue_messages_max,
        // Without reasons the publisher would be closed.
        on_queue_full: match version {
            ProtocolVersion::V5 => terms.on_queue_full,
            _ => OnQueueFull::DropNew,
        },
        ..Limits::default()
    };
    let mut w = Shards::with(2, &limits);
    let sender = w.name_at(0, 20);
    w.connect(&sender, 0, connecting(version));
    let mut names = Vec::new();
    for (number, (shard, filter, version, qos, kept, packet_max)) in receivers.iter().enumerate() {
        let name = w.name_at(*shard, number);
        let mut terms = connecting(*version);
        terms = if *kept { terms.persistent() } else { terms };
        terms = packet_max.map_or(terms.clone(), |most| terms.packet_max(most));
        w.connect(&name, *shard, terms);
        w.subscribe(&name, filter, *qos);
        names.push(name);
    }
    w.in_pieces(pieces);
    let mut heard: Vec<Vec<Said>> = vec![Vec::new(); names.len() + 1];
    let mut number = 0;
    // Twice, so that the second time the routes are known.
    for _ in 0..2 {
        for (topic, qos, size, count) in groups {
            for _ in 0..*count {
                number += 1;
                let said = publish(topic, format!("{number:04}{}", "x".repeat(*size))).qos(*qos);
                w.say(&sender, if *qos > 0 { said.id(number) } else { said });
            }
        }
        w.settle();
        for (heard, more) in heard.iter_mut().zip(hear_out(&mut w, &names)) {
            heard.extend(more);
        }
        heard[names.len()].extend(w.all_heard(&sender));
    }
    heard
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    // [MQTT3-4.6.0-5] [MQTT3-4.6.0-6] [MQTT5-4.6.0-2] [MQTT5-4.6.0-5] [MQTT5-4.6.0-6]
    #[test]
    fn nobody_on_any_shard_can_tell_whether_messages_came_together(
        version in prop::sample::select(vec![ProtocolVersion::V311, ProtocolVersion::V5]),
        receivers in prop::collection::vec(receiver(), 1..5),
        terms in terms(),
        groups in groups(),
    ) {
        let together = conversation(Pieces::Whole, version, &receivers, &terms, &groups);
        let apart = conversation(Pieces::Bytes, version, &receivers, &terms, &groups);
        prop_assert_eq!(together, apart);
    }
}
