//! How much a small commit makes the kernel write. Alone in its process, whose counter it reads.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use noctule_broker::{
    Event, Message, MessageParts, Owed, Principal, QoS, Record, Sequence, SessionKey, ShardId,
    Ticket,
};
use noctule_store::{Answer, Options, ShardStore, Store};
use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const COMMITS: u64 = 300;

/// Bytes that this process has made the kernel write to a disk, if it counts them.
fn written() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/io").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "))?;
    line.parse().ok()
}

fn owed(sequence: u64) -> Record {
    let message = Message::from_parts(&MessageParts {
        topic: "sensor/temperature",
        properties: &[],
        payload: &[7; 256],
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
    Record::Owed { key: SessionKey(1), owed, spilled: false }
}

/// A store, and a shard that waits for each of its tickets.
struct Writer {
    store: Store,
    shard: ShardStore,
    answers: Receiver<Answer>,
    ticket: u64,
}

impl Writer {
    fn open(path: &Path, segment_bytes: u32) -> Self {
        let (sender, answers) = channel();
        let answer = move |answer| drop(sender.send(answer));
        let options = Options { segment_bytes, ..Options::default() };
        let (store, _) = Store::open(path, options, answer).unwrap();
        let shard = store.for_shard(ShardId(0));
        let mut writer = Self { store, shard, answers, ticket: 0 };
        let key = SessionKey(1);
        let client_id = "a".into();
        writer.persist(vec![Record::Session {
            key,
            client_id,
            principal: Principal::default(),
            expiry: None,
            will: None,
        }]);
        writer
    }

    fn persist(&mut self, records: Vec<Record>) {
        self.ticket += 1;
        self.shard.persist(Ticket(self.ticket), records);
        loop {
            match self.answers.recv_timeout(PATIENCE).unwrap() {
                Answer::Event { event: Event::Persisted(ticket), .. }
                    if ticket.0 == self.ticket =>
                {
                    return;
                }
                Answer::Failed(error) => panic!("{error}"),
                _ => {}
            }
        }
    }

    /// Bytes that the kernel writes for a commit of one message, from this one on.
    fn each(&mut self, first: u64) -> Option<u64> {
        self.persist(vec![owed(first)]);
        let before = written()?;
        for number in 1..=COMMITS {
            self.persist(vec![owed(first + number)]);
        }
        Some((written()? - before) / COMMITS)
    }
}

fn files(path: &Path, prefix: &str) -> usize {
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with(prefix)).count()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// A kernel that keeps a segment in large units writes as much for every commit: that is why the last
/// page of a batch is written by itself, and why nothing of a segment's earlier life stays in memory.
#[test]
fn a_small_commit_writes_few_kilobytes() {
    let name = format!("bytes-written-{}", std::process::id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut writer = Writer::open(&path, 32 << 20);
    // The segment that is made ahead is not part of a commit.
    wait_until("no segment was made ahead", || files(&path, "segment-") == 2);
    let in_new = writer.each(2);
    writer.store.close().unwrap();
    fs::remove_dir_all(&path).unwrap();

    let mut writer = Writer::open(&path, SMALL);
    // Large commits, until every file has been used before.
    for first in (1..=LARGE_COMMITS * LARGE).step_by(LARGE as usize) {
        let numbers = || first..first + LARGE;
        writer.persist(numbers().map(owed).collect());
        let delivered =
            |number| Record::Delivered { key: SessionKey(1), sequence: Sequence(number) };
        writer.persist(numbers().map(delivered).collect());
    }
    let begun = writer.store.figures().unwrap().segments_begun;
    assert!(begun > 8, "{begun} segments for four files at most");
    wait_until("old segments are not given up", || files(&path, "segment-") <= 3);
    let in_used = writer.each(LARGE_COMMITS * LARGE + 1);
    writer.store.close().unwrap();
    fs::remove_dir_all(&path).unwrap();

    let (Some(in_new), Some(in_used)) = (in_new, in_used) else {
        return println!("this kernel does not count");
    };
    println!(
        "{in_new} bytes for a commit of one message, {in_used} in a file that was used before"
    );
    assert!(in_new < 16 << 10, "{in_new} bytes");
    assert!(in_used < 16 << 10, "{in_used} bytes in a file that was used before");
}

const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a small segment, in which all small commits have their place.
const SMALL: u32 = 1 << 20;
/// Messages of a large commit: in larger units than small commits may write.
const LARGE: u64 = 1_000;
const LARGE_COMMITS: u64 = 40;
