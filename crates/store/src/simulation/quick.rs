//! What receivers have acknowledged before the commit need not be written: neither that they were owed
//! it nor that they have it, nor the message itself if nobody else is owed it.

use super::life::start;
use crate::engine::Engine;
use crate::faults::Faults;
use crate::testing::{SimulatedDisk, SimulatedFile};
use noctule_broker::{Message, MessageParts, Owed, Principal, QoS, Record, Sequence, SessionKey};

const KEYS: [SessionKey; 2] = [SessionKey(1), SessionKey(2)];

fn message() -> Message {
    let parts = MessageParts {
        topic: "a/b",
        properties: &[],
        payload: &[b'x'; 256],
        qos: QoS::AtLeastOnce,
        retain: false,
        published_by: None,
        received_ms: 0,
    };
    Message::from_parts(&parts).unwrap()
}

fn owed(key: SessionKey, sequence: u64, message: &Message) -> Record {
    let (sequence, message) = (Sequence(sequence), message.clone());
    let owed =
        Owed { sequence, message, qos: QoS::AtLeastOnce, retain: false, extras: None, deferred: 0 };
    Record::Owed { key, owed, spilled: false }
}

fn delivered(key: SessionKey, sequence: u64) -> Record {
    Record::Delivered { key, sequence: Sequence(sequence) }
}

/// A log with two sessions on a disk.
fn opened(disk: &SimulatedDisk) -> Engine<SimulatedFile> {
    let mut engine = start(disk, Faults::default()).unwrap();
    let session = |key: SessionKey| Record::Session {
        key,
        client_id: key.0.to_string().into(),
        principal: Principal::default(),
        expiry: None,
        will: None,
    };
    engine.commit(&[KEYS.map(session).to_vec()]).unwrap();
    engine
}

/// The bytes that a group takes in the log.
fn bytes(engine: &mut Engine<SimulatedFile>, group: &[Vec<Record>]) -> u64 {
    let before = engine.figures().bytes_written;
    engine.commit(group).unwrap();
    engine.figures().bytes_written - before
}

#[test]
fn what_all_have_acknowledged_before_the_commit_is_not_written() {
    let disk = SimulatedDisk::new(1);
    let mut engine = opened(&disk);
    let changes = disk.changes();
    let one = message();
    let group = [
        vec![owed(KEYS[0], 1, &one), owed(KEYS[1], 1, &one)],
        vec![delivered(KEYS[0], 1)],
        vec![delivered(KEYS[1], 1)],
    ];
    assert_eq!(bytes(&mut engine, &group), 0);
    assert_eq!(disk.changes(), changes, "nothing is flushed for it either");
    assert_eq!(engine.figures().queued, 0);
}

#[test]
fn what_one_of_two_has_not_acknowledged_is_written_for_that_one() {
    let disk = SimulatedDisk::new(1);
    let mut engine = opened(&disk);
    let one = message();
    let both = bytes(&mut engine, &[vec![owed(KEYS[0], 1, &one), owed(KEYS[1], 1, &one)]]);
    let group = [vec![owed(KEYS[0], 2, &one), owed(KEYS[1], 2, &one)], vec![delivered(KEYS[0], 2)]];
    let single = bytes(&mut engine, &group);
    assert!(256 < single && single < both, "{single}, {both}");
    drop(engine);
    disk.crash();
    let mut engine = start(&disk, Faults::default()).unwrap();
    let sequences = |engine: &Engine<SimulatedFile>, key| {
        let loaded = engine.loading(key, Sequence(0), usize::MAX).read().unwrap();
        loaded.iter().map(|owed| owed.sequence.0).collect::<Vec<_>>()
    };
    assert_eq!(sequences(&engine, KEYS[0]), [1]);
    assert_eq!(sequences(&engine, KEYS[1]), [1, 2]);
    // What was written before has to be said to be delivered.
    assert!(bytes(&mut engine, &[vec![delivered(KEYS[0], 1)]]) > 0);
    drop(engine);
    disk.crash();
    let engine = start(&disk, Faults::default()).unwrap();
    assert_eq!(sequences(&engine, KEYS[0]), []);
}
