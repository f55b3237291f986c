//! The store on the file system of this machine, in directories of its own: locks, modes, messages,
//! and a process that is killed again and again.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use noctule_broker::{
    Event, Message, MessageParts, Owed, Principal, QoS, Record, Sequence, SessionHandle,
    SessionKey, ShardId, Ticket,
};
use noctule_store::{Answer, Inspection, Options, Store, StoreError, compact};
use noctule_testkit::Dice;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

const KEY: SessionKey = SessionKey(1);
const PATIENCE: Duration = Duration::from_secs(60);
/// Names the directory for the process that is to be killed.
const CHILD: &str = "NOCTULE_STORE_CHILD";

/// Starting a process copies, for a moment, what is open in this one: a lock that another test has let
/// go of meanwhile would still be held. So nobody has a store open while a process is started.
static STARTING: RwLock<()> = RwLock::new(());

/// A directory that does not outlive its test. While it is there, no process is started.
struct Scratch(PathBuf, Option<RwLockReadGuard<'static, ()>>);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("store-{name}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        Self(path, Some(STARTING.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// One for a test that starts processes.
    fn of_starter(name: &str) -> Self {
        let mut scratch = Self::new(name);
        scratch.1 = None;
        scratch
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Segments that are filled in no time.
fn options() -> Options {
    Options { segment_bytes: 1 << 20, free_bytes_min: 0, ..Options::default() }
}

fn opened(path: &Path) -> Result<(Store, Receiver<Answer>, u64), StoreError> {
    let (sender, answers) = channel();
    let answer = move |answer| drop(sender.send(answer));
    let (store, recovered) = Store::open(path, options(), answer)?;
    let next = recovered.sessions.first().map_or(1, |session| session.next_sequence);
    Ok((store, answers, next))
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

fn payload(sequence: u64) -> Vec<u8> {
    sequence.to_le_bytes().repeat(1 + (sequence % 60) as usize)
}

fn owed(sequence: u64) -> Record {
    let message = Message::from_parts(&MessageParts {
        topic: "a/b",
        properties: &[],
        payload: &payload(sequence),
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

fn wait_for(answers: &Receiver<Answer>, ticket: Ticket) {
    loop {
        match answers.recv_timeout(PATIENCE).unwrap() {
            Answer::Event { event: Event::Persisted(done), .. } if done >= ticket => return,
            Answer::Failed(error) => panic!("{error}"),
            _ => {}
        }
    }
}

/// Writes a session with messages from 1 to `last`, in turns of 500, and closes.
fn fill(path: &Path, last: u64) {
    let (store, answers, _) = opened(path).unwrap();
    let shard = store.for_shard(ShardId(0));
    shard.persist(Ticket(1), vec![session()]);
    let mut ticket = Ticket(1);
    for first in (1..=last).step_by(500) {
        ticket = Ticket(ticket.0 + 1);
        shard.persist(ticket, (first..=last.min(first + 499)).map(owed).collect());
    }
    wait_for(&answers, ticket);
    store.close().unwrap();
}

/// Every sequence that the session is owed, its payload checked.
fn read_all(path: &Path) -> Vec<u64> {
    let inspection = Inspection::open(path).unwrap();
    let mut found = Vec::new();
    loop {
        let after = Sequence(found.last().copied().unwrap_or(0));
        let messages = inspection.queue(KEY, after, 100_000).unwrap();
        if messages.is_empty() {
            return found;
        }
        for owed in messages {
            assert_eq!(owed.message.payload(), payload(owed.sequence.0));
            found.push(owed.sequence.0);
        }
    }
}

fn complaint<T>(result: Result<T, StoreError>) -> String {
    result.map(drop).unwrap_err().to_string()
}

#[test]
fn what_was_stored_is_there_after_a_restart_and_nobody_else_can_read_it() {
    let scratch = Scratch::new("restart");
    fill(&scratch.0, 5_000);
    assert_eq!(read_all(&scratch.0), (1..=5_000).collect::<Vec<_>>());
    let (store, answers, next) = opened(&scratch.0).unwrap();
    assert_eq!(next, 5_001);
    let shard = store.for_shard(ShardId(0));
    shard.load(SessionHandle::NOTHING, KEY, Sequence(4_998), 1 << 20);
    let loaded = loop {
        match answers.recv_timeout(PATIENCE).unwrap() {
            Answer::Event { event: Event::Loaded { messages, .. }, .. } => break messages,
            Answer::Failed(error) => panic!("{error}"),
            _ => {}
        }
    };
    let sequences: Vec<_> = loaded.iter().map(|owed| owed.sequence.0).collect();
    assert_eq!(sequences, [4_999, 5_000]);
    // It prepares segments as long as it is open.
    store.close().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&scratch.0), 0o700);
    for entry in fs::read_dir(&scratch.0).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_directory_has_one_store_at_a_time() {
    let scratch = Scratch::new("lock");
    let (store, _answers, _) = opened(&scratch.0).unwrap();
    let said = complaint(opened(&scratch.0));
    assert!(said.contains("another process is using the store"), "{said}");
    let said = complaint(Inspection::open(&scratch.0));
    assert!(said.contains("another process is using the store"), "{said}");
    store.close().unwrap();
    opened(&scratch.0).unwrap();
}

#[test]
fn damage_and_unknown_formats_are_said_with_file_and_place_and_nothing_is_changed() {
    let scratch = Scratch::new("damage");
    fill(&scratch.0, 5_000);
    // One of the first messages, wherever it lies.
    let (first, at) = place_of(&scratch.0, &payload(59));
    let name = first.file_name().unwrap().to_str().unwrap().to_owned();
    let whole = fs::read(&first).unwrap();
    let damage = |at: usize, bytes: &[u8]| {
        let file = fs::OpenOptions::new().write(true).open(&first).unwrap();
        file.write_all_at(bytes, at as u64).unwrap();
    };
    damage(at, b"not what was here");
    let said = complaint(opened(&scratch.0));
    let behind = said.split_once(&format!("damaged in '{name}' at byte ")).map(|(_, rest)| rest);
    let batch_at = behind.and_then(|rest| rest.split(':').next()?.parse().ok());
    assert!(batch_at.is_some_and(|found| (4_096..at).contains(&found)), "{said}");
    assert!(said.contains("Restore the directory"), "{said}");
    fs::write(&first, &whole).unwrap();

    // The header of a later version.
    let mut header = whole[..16].to_vec();
    header[8] = 9;
    header.extend_from_slice(&crc(&header).to_le_bytes());
    damage(0, &header);
    let said = complaint(opened(&scratch.0));
    let reads =
        format!("has format 9, and this version reads formats 2 to {}", noctule_store::VERSION);
    assert!(said.contains(&reads), "{said}");
    fs::write(&first, &whole).unwrap();

    fs::remove_file(&first).unwrap();
    let said = complaint(opened(&scratch.0));
    assert!(said.contains("needs a segment that is gone"), "{said}");
    fs::write(&first, &whole).unwrap();
    assert_eq!(read_all(&scratch.0).len(), 5_000, "nothing was changed");
}

#[test]
fn a_store_of_the_format_before_goes_on() {
    let scratch = Scratch::new("before");
    fill(&scratch.0, 5_000);
    for entry in fs::read_dir(&scratch.0).unwrap() {
        let path = entry.unwrap().path();
        let mut header = fs::read(&path).unwrap();
        header.truncate(16);
        if header.len() == 16 && header.starts_with(b"NOCTULE") {
            assert_eq!(u32::from(header[8]), noctule_store::VERSION);
            header[8] -= 1;
            header.extend_from_slice(&crc(&header).to_le_bytes());
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&header, 0).unwrap();
        }
    }
    assert_eq!(read_all(&scratch.0).len(), 5_000);
    // Both stand one behind the other then.
    let (store, answers, next) = opened(&scratch.0).unwrap();
    assert_eq!(next, 5_001);
    store.for_shard(ShardId(0)).persist(Ticket(1), vec![owed(next)]);
    wait_for(&answers, Ticket(1));
    store.close().unwrap();
    assert_eq!(read_all(&scratch.0).len(), 5_001);
}

/// The segment that has these bytes, and where.
fn place_of(directory: &Path, bytes: &[u8]) -> (PathBuf, usize) {
    let mut files: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let found = files.into_iter().find_map(|path| {
        let content = fs::read(&path).ok()?;
        let at = content.windows(bytes.len()).position(|window| window == bytes)?;
        Some((path, at))
    });
    found.expect("it was stored")
}

/// CRC-32, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _: u32| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[test]
fn a_directory_that_cannot_be_written_is_a_clear_message() {
    let scratch = Scratch::new("not-a-directory");
    fs::write(&scratch.0, "a file").unwrap();
    let said = complaint(opened(&scratch.0));
    assert!(said.starts_with("cannot open '") && said.contains("store-not-a-dir"), "{said}");
    fs::remove_file(&scratch.0).unwrap();
    let said = complaint(compact(&scratch.0, options()));
    assert!(said.starts_with("cannot open '"), "{said}");
    assert!(!scratch.0.exists(), "a wrong path does not become a store");
}

#[test]
fn compacting_leaves_what_counts() {
    let scratch = Scratch::new("compact");
    fill(&scratch.0, 30_000);
    let (store, answers, _) = opened(&scratch.0).unwrap();
    let shard = store.for_shard(ShardId(0));
    // All but one in a thousand.
    let delivered = (1..=30_000).filter(|sequence| sequence % 1_000 != 0);
    let delivered =
        delivered.map(|sequence| Record::Delivered { key: KEY, sequence: Sequence(sequence) });
    shard.persist(Ticket(1), delivered.collect());
    wait_for(&answers, Ticket(1));
    store.close().unwrap();
    let (before, after) = compact(&scratch.0, options()).unwrap();
    assert!(after <= 2 << 20 && after * 3 < before, "{before} → {after}");
    assert_eq!(read_all(&scratch.0), (1..=30).map(|one| one * 1_000).collect::<Vec<_>>());
    assert_eq!(Inspection::open(&scratch.0).unwrap().verify().unwrap(), 30);
}

/// The part of the process that is killed. Does nothing unless it is told where.
#[test]
fn child_that_is_killed() {
    let Ok(path) = std::env::var(CHILD) else {
        return;
    };
    let (store, answers, mut next) = opened(Path::new(&path)).unwrap();
    let shard = store.for_shard(ShardId(0));
    let mut say = std::io::stdout();
    let mut ticket = Ticket(1);
    shard.persist(ticket, vec![session()]);
    wait_for(&answers, ticket);
    let mut dice = Dice::new(next);
    loop {
        let mut records: Vec<_> =
            (0..=dice.below(40)).map(|more| owed(next + more as u64)).collect();
        next += records.len() as u64;
        let delivered = next.saturating_sub(3_000);
        if delivered > 0 {
            // Said before it is done: from here on it may be gone.
            writeln!(say, "delivering {delivered}").unwrap();
            let first = delivered.saturating_sub(records.len() as u64);
            let sequences = (first..=delivered).map(Sequence);
            records.extend(sequences.map(|sequence| Record::Delivered { key: KEY, sequence }));
        }
        ticket = Ticket(ticket.0 + 1);
        shard.persist(ticket, records);
        wait_for(&answers, ticket);
        writeln!(say, "stored {}", next - 1).unwrap();
    }
}

#[test]
fn a_process_that_is_killed_again_and_again_loses_nothing_that_it_promised() {
    let scratch = Scratch::of_starter("killed");
    let mut dice = Dice::new(std::process::id().into());
    let (mut stored, mut delivered) = (0, 0);
    for round in 0..8 {
        let alone = STARTING.write().unwrap_or_else(PoisonError::into_inner);
        // It has begun its own program when this returns, and what was copied is closed.
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_is_killed", "--nocapture"])
            .env(CHILD, &scratch.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        drop(alone);
        let mut lines_left = 30 + dice.below(400);
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            match line.split_once(' ') {
                Some(("stored", number)) => stored = number.parse().unwrap(),
                Some(("delivering", number)) => delivered = number.parse().unwrap(),
                // Words of the test harness.
                _ => continue,
            }
            lines_left -= 1;
            if lines_left == 0 {
                child.kill().unwrap();
                lines_left = usize::MAX;
            }
        }
        assert!(!child.wait().unwrap().success(), "it was killed");
        let found = read_all(&scratch.0);
        let promised: Vec<u64> = (delivered + 1..=stored).collect();
        let begin = found.iter().position(|sequence| *sequence == delivered + 1);
        let begin = begin.unwrap_or_else(|| panic!("round {round}: {} is gone", delivered + 1));
        assert_eq!(&found[begin..begin + promised.len()], &promised, "round {round}");
        assert!(begin < 200, "round {round}: {begin} messages that were delivered are back");
        assert!(found.len() < promised.len() + 300, "round {round}: more than was written");
    }
    assert!(stored > 3_000, "{stored}");
}
