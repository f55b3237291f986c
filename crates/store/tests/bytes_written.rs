//! How much a small commit makes the kernel write. Alone in its process, whose counter it reads.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use noctule_broker::{
    Event, Message, MessageParts, Owed, Principal, QoS, Record, Sequence, SessionKey, ShardId,
    Ticket,
};
use noctule_store::{Answer, Options, Store};
use std::fs;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

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
    };
    Record::Owed { key: SessionKey(1), owed, spilled: false }
}

/// A kernel that keeps the segment in large units writes a megabyte for every commit: that is why
/// segments are filled in small steps.
#[test]
fn a_small_commit_writes_few_kilobytes() {
    let name = format!("bytes-written-{}", std::process::id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let (sender, answers) = channel();
    let answer = move |answer| drop(sender.send(answer));
    let (store, _) = Store::open(&path, Options::default(), answer).unwrap();
    let shard = store.for_shard(ShardId(0));
    let persist = |ticket, record| {
        shard.persist(Ticket(ticket), vec![record]);
        loop {
            match answers.recv_timeout(Duration::from_secs(60)).unwrap() {
                Answer::Event { event: Event::Persisted(Ticket(done)), .. } if done == ticket => {
                    break;
                }
                Answer::Failed(error) => panic!("{error}"),
                _ => {}
            }
        }
    };
    let key = SessionKey(1);
    persist(
        1,
        Record::Session {
            key,
            client_id: "a".into(),
            principal: Principal::default(),
            expiry: None,
            will: None,
        },
    );
    // The segment that is made ahead is not part of a commit.
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while fs::read_dir(&path).unwrap().filter(is_segment).count() < 2 {
        assert!(std::time::Instant::now() < deadline, "no segment was made ahead");
        std::thread::yield_now();
    }
    persist(2, owed(2));
    let before = written();
    for number in 3..3 + COMMITS {
        persist(number, owed(number));
    }
    let after = written();
    store.close().unwrap();
    fs::remove_dir_all(&path).unwrap();
    let (Some(before), Some(after)) = (before, after) else {
        return println!("this kernel does not count");
    };
    let each = (after - before) / COMMITS;
    println!("{each} bytes for a commit of one message");
    assert!(each < 16 << 10, "{each} bytes");
}

fn is_segment(entry: &std::io::Result<fs::DirEntry>) -> bool {
    let name = entry.as_ref().map(fs::DirEntry::file_name);
    name.is_ok_and(|name| name.to_string_lossy().starts_with("segment-"))
}
