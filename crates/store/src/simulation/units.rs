//! What is handed in together is found together or not at all, wherever the power goes.

use crate::faults::Faults;
use crate::options::Options;
use crate::store::{Answer, Store};
use crate::testing::SimulatedDisk;
use noctule_broker::{
    Message, MessageParts, Owed, Principal, QoS, Record, Sequence, SessionHandle, SessionKey,
    ShardId, Ticket, Together,
};
use noctule_testkit::Dice;
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// One session for each of two shards.
const KEYS: [SessionKey; 2] = [SessionKey(1), SessionKey(2)];

/// Segments that a few units fill, so that units come to lie at their ends, and that some units are
/// too large for.
fn options(faults: Faults) -> Options {
    Options { segment_bytes: 64 << 10, free_bytes_min: 0, faults, ..Options::default() }
}

fn opened(disk: &SimulatedDisk, faults: Faults) -> (Store, Receiver<Answer>) {
    let (sender, answers) = channel();
    let answer = move |answer| drop(sender.send(answer));
    let (store, _) = Store::open_on(disk.clone(), options(faults), answer).unwrap();
    (store, answers)
}

fn message(bytes: usize) -> Message {
    let message = Message::from_parts(&MessageParts {
        topic: "a/b",
        properties: &[],
        payload: &vec![b'x'; bytes],
        qos: QoS::ExactlyOnce,
        retain: false,
        published_by: None,
        received_ms: 0,
    });
    message.unwrap()
}

fn owed(key: SessionKey, sequence: u64, message: Message) -> Record {
    let owed = Owed {
        sequence: Sequence(sequence),
        message,
        qos: QoS::ExactlyOnce,
        retain: false,
        extras: None,
        deferred: 0,
    };
    Record::Owed { key, owed, spilled: true }
}

/// A life of a store: units of records, some of them from both shards, until the power goes. Returns
/// how many of the units that were handed in came to nothing.
pub(super) fn live(seed: u64, faults: Faults) -> usize {
    let mut dice = Dice::new(seed);
    let disk = SimulatedDisk::new(seed);
    let (store, answers) = opened(&disk, faults);
    let shards = [ShardId(0), ShardId(1)].map(|shard| store.for_shard(shard));
    for (shard, key) in shards.iter().zip(KEYS) {
        let client_id = key.0.to_string().into();
        shard.persist(
            Ticket(1),
            vec![Record::Session {
                key,
                client_id,
                principal: Principal::default(),
                expiry: None,
                will: None,
            }],
        );
    }
    disk.cut_power_after(20 + dice.below(600) as u64);
    let mut units: Vec<BTreeSet<(SessionKey, u64)>> = Vec::new();
    let mut next = 1;
    let mut ticket = 2;
    while !disk.is_off() {
        let mut unit = BTreeSet::new();
        let both = dice.chance(40);
        let first = dice.below(2);
        let together = Together { shard: ShardId(first as u16), number: ticket };
        for at in [first, 1 - first].into_iter().take(if both { 2 } else { 1 }) {
            let mut records = Vec::new();
            for _ in 0..1 + dice.below(12) {
                // Two of the largest are more than a segment takes.
                let large = if dice.chance(4) { 35_000 } else { 3_000 };
                let message = message(dice.pick(&[10, 300, large]));
                let everybody = dice.chance(30);
                for key in KEYS.into_iter().filter(|key| everybody || *key == KEYS[at]) {
                    records.push(owed(key, next, message.clone()));
                    unit.insert((key, next));
                }
                next += 1;
            }
            if both {
                let batches = (at == first).then_some(2);
                let place = dice.below(records.len());
                records.insert(place, Record::Together { together, batches });
            }
            shards[at].persist(Ticket(ticket), records);
        }
        units.push(unit);
        ticket += 1;
        if dice.chance(30) {
            // Whatever it says, so that not everything is one group.
            let _ = answers.recv_timeout(PATIENCE);
        }
    }
    assert!(store.close().is_err());
    disk.crash();
    let (store, answers) = opened(&disk, faults);
    let found = KEYS.map(|key| found(&store, &answers, key)).concat();
    let found: BTreeSet<_> = found.into_iter().collect();
    let mut lost = 0;
    for unit in units {
        let there = unit.intersection(&found).count();
        assert!(there == 0 || there == unit.len(), "seed {seed}: {there} of {unit:?}");
        lost += usize::from(there == 0);
    }
    lost
}

fn found(store: &Store, answers: &Receiver<Answer>, key: SessionKey) -> Vec<(SessionKey, u64)> {
    let shard = store.for_shard(ShardId(0));
    let mut found: Vec<(SessionKey, u64)> = Vec::new();
    loop {
        let after = Sequence(found.last().map_or(0, |(_, sequence)| *sequence));
        shard.load(SessionHandle::NOTHING, key, after, 100_000);
        let messages = loop {
            match answers.recv_timeout(PATIENCE).unwrap() {
                Answer::Event { event: noctule_broker::Event::Loaded { messages, .. }, .. } => {
                    break messages;
                }
                Answer::Failed(error) => panic!("{error}"),
                _ => {}
            }
        };
        if messages.is_empty() {
            return found;
        }
        found.extend(messages.iter().map(|owed| (key, owed.sequence.0)));
    }
}

#[test]
fn a_unit_is_there_as_a_whole_or_not_at_all() {
    let lost: usize = (0..300).map(|seed| live(seed, Faults::default())).sum();
    assert!(lost > 300, "the power went while units were under way: {lost}");
}

#[test]
fn the_first_unit_after_a_start_may_be_larger_than_a_segment() {
    let (mut lost, mut kept) = (0, 0);
    for cut in (0..240).step_by(3) {
        let disk = SimulatedDisk::new(cut);
        let key = KEYS[0];
        let (store, _) = opened(&disk, Faults::default());
        let client_id = "a".into();
        let session = Record::Session {
            key,
            client_id,
            principal: Principal::default(),
            expiry: None,
            will: None,
        };
        let first = owed(key, 1, message(10));
        store.for_shard(ShardId(0)).persist(Ticket(1), vec![session, first]);
        store.close().unwrap();
        disk.kill();

        let (store, _) = opened(&disk, Faults::default());
        disk.cut_power_after(cut);
        let large = (2..6).map(|sequence| owed(key, sequence, message(35_000)));
        store.for_shard(ShardId(0)).persist(Ticket(1), large.collect());
        let stored = store.close().is_ok();
        disk.crash();

        let (store, answers) = opened(&disk, Faults::default());
        let there = found(&store, &answers, key).len();
        assert!(there == 5 || (there == 1 && !stored), "cut at {cut}: {there}, {stored}");
        *(if there == 5 { &mut kept } else { &mut lost }) += 1;
    }
    assert!(lost > 5 && kept > 5, "the power goes before and after: {lost}, {kept}");
}
