//! The store with its threads on a disk whose power goes: what it has said stays true.

use crate::options::{Durability, Options};
use crate::store::{Answer, Store};
use crate::testing::SimulatedDisk;
use noctule_broker::{
    Event, Message, MessageParts, Owed, Principal, QoS, Record, Sequence, SessionHandle,
    SessionKey, ShardId, Stage, Ticket,
};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const KEY: SessionKey = SessionKey(7);
const PATIENCE: Duration = Duration::from_secs(60);

fn options() -> Options {
    Options { segment_bytes: 64 << 10, free_bytes_min: 0, ..Options::default() }
}

fn session() -> Record {
    Record::Session {
        key: KEY,
        client_id: "a".into(),
        principal: Principal::default(),
        expiry: None,
        will: None,
    }
}

fn owed(sequence: u64) -> Record {
    let payload = sequence.to_le_bytes().repeat(20);
    let message = Message::from_parts(&MessageParts {
        topic: "a/b",
        properties: &[],
        payload: &payload,
        qos: QoS::AtLeastOnce,
        retain: false,
        published_by: None,
        received_ms: 0,
    });
    let owed = Owed {
        sequence: Sequence(sequence),
        message: message.unwrap(),
        qos: QoS::AtLeastOnce,
        retain: false,
        extras: None,
        deferred: 0,
    };
    Record::Owed { key: KEY, owed, spilled: true }
}

fn opened(disk: &SimulatedDisk, options: Options) -> (Store, Receiver<Answer>) {
    let (sender, answers) = channel();
    let answer = move |answer| drop(sender.send(answer));
    let (store, _) = Store::open_on(disk.clone(), options, answer).unwrap();
    (store, answers)
}

#[test]
fn a_ticket_that_was_given_back_survives_a_power_cut() {
    let mut survived = 0;
    for seed in 0..60 {
        let disk = SimulatedDisk::new(seed);
        let (store, answers) = opened(&disk, options());
        let shards = [ShardId(0), ShardId(1)].map(|shard| store.for_shard(shard));
        shards[0].persist(Ticket(1), vec![session()]);
        disk.cut_power_after(20 + seed * 7);
        let mut promised = [0, 0];
        let mut next = 2;
        let ended = loop {
            // Odd ones from one shard, even ones from the other.
            shards[next as usize % 2].persist(Ticket(next), vec![owed(next)]);
            next += 1;
            match answers.recv_timeout(PATIENCE).unwrap() {
                Answer::Event { shard, event: Event::Persisted(ticket) } => {
                    promised[usize::from(shard.0)] = ticket.0;
                }
                Answer::Failed(error) => break error,
                _ => {}
            }
        };
        assert!(disk.is_off(), "{ended}");
        assert!(store.close().is_err());
        for answer in answers.try_iter() {
            assert!(!matches!(answer, Answer::Event { .. }), "nothing after the failure");
        }
        disk.crash();
        let (store, answers) = opened(&disk, options());
        let found = loaded(&store, &answers);
        for sequence in 2..next {
            let shard = (sequence % 2) as usize;
            if sequence <= promised[shard] {
                assert!(found.contains(&sequence), "seed {seed}: {sequence} of {promised:?}");
                survived += 1;
            }
        }
    }
    assert!(survived > 100, "{survived}");
}

/// The sequences of all messages of the session, loaded in pieces.
fn loaded(store: &Store, answers: &Receiver<Answer>) -> Vec<u64> {
    let shard = store.for_shard(ShardId(0));
    let mut found = Vec::new();
    loop {
        let after = Sequence(found.last().copied().unwrap_or(0));
        shard.load(SessionHandle::NOTHING, KEY, after, 1_000);
        let messages = loop {
            match answers.recv_timeout(PATIENCE).unwrap() {
                Answer::Event { event: Event::Loaded { messages, .. }, .. } => break messages,
                Answer::Failed(error) => panic!("{error}"),
                _ => {}
            }
        };
        if messages.is_empty() {
            return found;
        }
        assert!(messages.len() < 10, "about as many bytes as were asked for");
        for owed in messages {
            assert_eq!(owed.message.payload(), owed.sequence.0.to_le_bytes().repeat(20));
            found.push(owed.sequence.0);
        }
    }
}

#[test]
fn what_was_handed_in_before_closing_is_kept_in_every_mode() {
    let interval = Durability::Interval(Duration::from_secs(3_600));
    for durability in [Durability::Always, interval, Durability::Never] {
        let disk = SimulatedDisk::new(1);
        let (store, answers) = opened(&disk, Options { durability, ..options() });
        let shard = store.for_shard(ShardId(0));
        shard.persist(Ticket(1), vec![session()]);
        for number in 2..800 {
            shard.persist(Ticket(number), vec![owed(number)]);
        }
        store.close().unwrap();
        let last = answers.try_iter().filter_map(|answer| match answer {
            Answer::Event { event: Event::Persisted(ticket), .. } => Some(ticket),
            _ => None,
        });
        assert_eq!(last.last(), Some(Ticket(799)), "{durability:?}");
        disk.crash();
        let (store, answers) = opened(&disk, options());
        assert_eq!(loaded(&store, &answers), (2..800).collect::<Vec<_>>(), "{durability:?}");
    }
}

#[test]
fn who_asks_for_more_than_the_rule_gets_it_for_all_that_came_before() {
    for seed in 0..20 {
        let disk = SimulatedDisk::new(seed);
        let durability = Durability::Never;
        let (store, answers) = opened(&disk, Options { durability, ..options() });
        let shard = store.for_shard(ShardId(0));
        shard.persist(Ticket(1), vec![session()]);
        for number in 2..40 {
            shard.persist(Ticket(number), vec![owed(number)]);
        }
        shard.persist_until(Stage::Flushed, Ticket(40), vec![owed(40)]);
        let is_last = |answer: &Answer| {
            matches!(answer, Answer::Event { event: Event::Persisted(Ticket(40)), .. })
        };
        while !is_last(&answers.recv_timeout(PATIENCE).unwrap()) {}
        disk.cut_power_after(0);
        drop(store);
        disk.crash();
        let (store, answers) = opened(&disk, options());
        assert_eq!(loaded(&store, &answers), (2..=40).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn who_asks_for_less_than_the_rule_is_told_before_the_flush() {
    let disk = SimulatedDisk::new(1);
    let (store, answers) = opened(&disk, Options { says_written: true, ..options() });
    let shard = store.for_shard(ShardId(0));
    let next = || match answers.recv_timeout(PATIENCE).unwrap() {
        Answer::Event { event: Event::Written(ticket), .. } => ("written", ticket.0),
        Answer::Event { event: Event::Persisted(ticket), .. } => ("persisted", ticket.0),
        other => panic!("{other:?}"),
    };
    shard.persist_until(Stage::Written, Ticket(1), vec![session()]);
    assert_eq!(next(), ("persisted", 1), "it asked for no more");
    shard.persist_until(Stage::Flushed, Ticket(2), vec![owed(2)]);
    assert_eq!((next(), next()), (("written", 2), ("persisted", 2)));
    disk.cut_power_after(0);
    drop(store);
    disk.crash();
    let (store, answers) = opened(&disk, options());
    assert_eq!(loaded(&store, &answers), [2], "what was written before is flushed with it");
}

#[test]
fn a_store_shrinks_to_its_floor_when_all_is_delivered() {
    let disk = SimulatedDisk::new(1);
    let (store, answers) = opened(&disk, options());
    let shard = store.for_shard(ShardId(0));
    shard.persist(Ticket(1), vec![session()]);
    for number in 2..4_000 {
        shard.persist(Ticket(number), vec![owed(number)]);
    }
    let full = store.figures().unwrap();
    assert!(full.queued == 3_998 && full.segments > 8, "{full:?}");
    let delivered =
        (2..4_000).map(|number| Record::Delivered { key: KEY, sequence: Sequence(number) });
    shard.persist(Ticket(4_000), delivered.collect());
    let deadline = std::time::Instant::now() + PATIENCE;
    while disk.files().len() > 5 {
        assert!(std::time::Instant::now() < deadline, "{:?}", disk.files());
        // Answers come as long as it works; it tidies up when nobody asks.
        let _ = answers.recv_timeout(Duration::from_millis(30));
    }
    let figures = store.figures().unwrap();
    assert!(figures.segments <= 2 && figures.sessions == 1 && figures.queued == 0, "{figures:?}");
}

#[test]
fn what_all_still_counts_is_left_where_it_is() {
    let disk = SimulatedDisk::new(1);
    let (store, answers) = opened(&disk, options());
    let shard = store.for_shard(ShardId(0));
    shard.persist(Ticket(1), vec![session()]);
    for number in 2..6_000 {
        shard.persist(Ticket(number), vec![owed(number)]);
    }
    let mut last = Ticket(0);
    while last < Ticket(5_999) {
        if let Answer::Event { event: Event::Persisted(ticket), .. } =
            answers.recv_timeout(PATIENCE).unwrap()
        {
            last = ticket;
        }
    }
    let figures = store.figures().unwrap();
    assert!(figures.segments > 15 && figures.moved == 0, "{figures:?}");
}

#[test]
fn a_full_disk_is_said_before_it_hurts_and_said_again_when_there_is_room() {
    let disk = SimulatedDisk::new(1);
    let (store, answers) = opened(&disk, Options { free_bytes_min: 1 << 20, ..options() });
    let shard = store.for_shard(ShardId(0));
    assert!(store.has_space());
    disk.fill();
    let said = |wanted: bool| loop {
        match answers.recv_timeout(PATIENCE).unwrap() {
            Answer::Space { enough, .. } if enough == wanted => return,
            Answer::Failed(error) => panic!("{error}"),
            _ => {}
        }
    };
    said(false);
    assert!(!shard.has_space());
    // What has its place is still taken.
    shard.persist(Ticket(1), vec![session()]);
    loop {
        if let Answer::Event { event: Event::Persisted(Ticket(1)), .. } =
            answers.recv_timeout(PATIENCE).unwrap()
        {
            break;
        }
    }
    disk.make_room();
    said(true);
    assert!(shard.has_space());
}

#[test]
fn what_is_under_way_is_counted_until_it_has_landed() {
    let disk = SimulatedDisk::new(1);
    let (sender, answers) = channel();
    let (go_on, held) = channel::<()>();
    let held = std::sync::Mutex::new(held);
    let options = Options { in_flight_bytes_max: 1_000, ..options() };
    let (store, _) = Store::open_on(disk, options, move |answer| {
        let _ = sender.send(answer);
        // The writer stands still until it is let go.
        let _ = held.lock().unwrap().recv();
    })
    .unwrap();
    let shard = store.for_shard(ShardId(0));
    shard.persist(Ticket(1), vec![session()]);
    let _ = answers.recv_timeout(PATIENCE).unwrap();
    assert!(!shard.is_backed_up());
    shard.persist(Ticket(2), (1..100).map(owed).collect());
    assert!(shard.is_backed_up());
    drop(go_on);
    let first = answers.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(first, Answer::CaughtUp), "whoever waits is told: {first:?}");
    assert!(!shard.is_backed_up(), "it counts down before it answers");
    shard.persist(Ticket(3), vec![owed(100)]);
    let mut last = Ticket(0);
    while last < Ticket(3) {
        match answers.recv_timeout(PATIENCE).unwrap() {
            Answer::Event { event: Event::Persisted(ticket), .. } => last = ticket,
            other => assert!(!matches!(other, Answer::CaughtUp), "nobody waited"),
        }
    }
}

#[test]
fn a_full_disk_holds_up_nobody_who_closes_and_what_was_said_to_be_written_is_there() {
    let disk = SimulatedDisk::new(5);
    let options = Options { durability: Durability::Never, ..options() };
    let (store, answers) = opened(&disk, options.clone());
    let shard = store.for_shard(ShardId(0));
    shard.persist(Ticket(1), vec![session()]);
    disk.fill();
    let mut said = 0;
    // More than there are segments for.
    for number in 2..2_000 {
        shard.persist(Ticket(number), vec![owed(number)]);
    }
    assert!(store.close().unwrap_err().to_string().contains("earlier failure"));
    let mut full = false;
    for answer in answers.try_iter() {
        match answer {
            Answer::Event { event: Event::Persisted(ticket), .. } => said = ticket.0,
            Answer::Failed(error) => full |= error.is_out_of_space(),
            _ => {}
        }
    }
    assert!(full, "it says why");
    disk.crash();
    let (store, answers) = opened(&disk, options);
    let found = loaded(&store, &answers);
    // In order, and at least what was said.
    assert_eq!(found, (2..2 + found.len() as u64).collect::<Vec<_>>());
    assert!(
        found.len() as u64 + 1 >= said.max(2) && found.len() < 1_990,
        "{said}, {}",
        found.len()
    );
}
