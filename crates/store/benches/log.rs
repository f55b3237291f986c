//! What a durable message costs: `cargo bench -p noctule-store`, with the floor of the disk beside it.
//!
//! 100,000 messages of 256 bytes are queued in 1,000 sessions, of which one never takes any. Each
//! commit adds B messages and delivers the B oldest. Then a million messages are queued, and the
//! store is opened by a process that has nothing else in memory.
//!
//! Arguments: `--seconds N` for each line of the table, `--directory PATH` on the disk to measure,
//! `--batch N` for one line alone.

use noctule_broker::{
    Event, Message, MessageParts, Owed, Principal, QoS, Record, Sequence, SessionKey, ShardId,
    Ticket,
};
use noctule_store::{Answer, Options, ShardStore, Store};
use rustix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const BATCHES: [usize; 4] = [1, 16, 256, 1_024];
const SESSIONS: u64 = 1_000;
const LIVE: usize = 100_000;
const MILLION: u64 = 1_000_000;
const PAYLOAD: [u8; 256] = [b'x'; 256];

fn main() {
    let mut seconds = 2.0;
    let mut directory = std::env::temp_dir();
    let mut only = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("a value behind it");
        match argument.as_str() {
            "--seconds" => seconds = value().parse().expect("a number of seconds"),
            "--directory" => directory = value().into(),
            "--batch" => only = Some(value().parse().expect("a number of messages")),
            "--open" => return open_and_tell(Path::new(&value())),
            // What cargo says.
            _ => {}
        }
    }
    let path = directory.join(format!("noctule-store-bench-{}", std::process::id()));
    let time = Duration::from_secs_f64(seconds);
    println!("durable messages of 256 bytes, one commit at a time; {seconds} s a line\n");
    println!(
        "{:>6} {:>12} {:>9} {:>9} {:>9} {:>9} {:>11} {:>11} {:>9}",
        "batch", "msg/s", "p50 ms", "p99 ms", "CPU µs", "B/msg", "floor/s", "floor p50", "of floor"
    );
    if let Some(batch) = only {
        return commits(&path, batch, time);
    }
    for batch in BATCHES {
        commits(&path, batch, time);
    }
    queued(&path);
    sessions(&path);
}

/// A store, and a shard that waits for each of its tickets.
struct Bench {
    store: Store,
    shard: ShardStore,
    answers: Receiver<Answer>,
    ticket: u64,
}

impl Bench {
    fn open(path: &Path) -> Self {
        let (sender, answers) = channel();
        let opened = Store::open(path, Options::default(), move |answer| drop(sender.send(answer)));
        let (store, _) = opened.expect("a store");
        let shard = store.for_shard(ShardId(0));
        Self { store, shard, answers, ticket: 0 }
    }

    fn persist(&mut self, records: Vec<Record>) {
        self.ticket += 1;
        self.shard.persist(Ticket(self.ticket), records);
        loop {
            match self.answers.recv().expect("an answer") {
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

    fn close(self) {
        self.store.close().expect("closed");
    }
}

fn session(key: u64) -> Record {
    let client_id = format!("client-{key}").into();
    Record::Session {
        key: SessionKey(key),
        client_id,
        principal: Principal::default(),
        expiry: None,
        will: None,
    }
}

fn owed(key: u64, sequence: u64) -> Record {
    let message = Message::from_parts(&MessageParts {
        topic: "sensor/temperature/17",
        properties: &[],
        payload: &PAYLOAD,
        qos: QoS::AtLeastOnce,
        retain: false,
        published_by: None,
        received_ms: 0,
    });
    let owed = Owed {
        sequence: Sequence(sequence),
        message: message.expect("a message"),
        qos: QoS::AtLeastOnce,
        retain: false,
        extras: None,
        deferred: 0,
    };
    Record::Owed { key: SessionKey(key), owed, spilled: false }
}

/// Adds and delivers as described above.
struct Traffic {
    queue: VecDeque<(u64, u64)>,
    next: u64,
}

impl Traffic {
    fn add(&mut self, records: &mut Vec<Record>) {
        let key = self.next % SESSIONS + 1;
        records.push(owed(key, self.next));
        // Session 1 takes nothing.
        if key != 1 {
            self.queue.push_back((key, self.next));
        }
        self.next += 1;
    }

    fn deliver(&mut self, records: &mut Vec<Record>) {
        if let Some((key, sequence)) = self.queue.pop_front() {
            let (key, sequence) = (SessionKey(key), Sequence(sequence));
            records.push(Record::Delivered { key, sequence });
        }
    }
}

fn commits(path: &Path, batch: usize, time: Duration) {
    let mut bench = Bench::open(path);
    bench.persist((1..=SESSIONS).map(session).collect());
    let mut traffic = Traffic { queue: VecDeque::new(), next: 1 };
    while traffic.queue.len() < LIVE {
        let mut records = Vec::new();
        (0..1_024).for_each(|_| traffic.add(&mut records));
        bench.persist(records);
    }
    let (processor, bytes) = (processor_time(), bytes_written());
    let begin = Instant::now();
    let mut each = Vec::new();
    let mut making = Duration::ZERO;
    while begin.elapsed() < time {
        // What the broker would have at hand is not the store's time.
        let before = processor_time();
        let mut records = Vec::with_capacity(2 * batch);
        (0..batch).for_each(|_| traffic.add(&mut records));
        (0..batch).for_each(|_| traffic.deliver(&mut records));
        making += processor_time() - before;
        let commit = Instant::now();
        bench.persist(records);
        each.push(commit.elapsed());
    }
    let messages = (each.len() * batch) as f64;
    let rate = messages / each.iter().sum::<Duration>().as_secs_f64();
    let processor = (processor_time() - processor).saturating_sub(making);
    let bytes = (bytes_written() - bytes) as f64 / messages;
    let written = bench.store.figures().expect("figures").bytes_written;
    bench.close();
    fs::remove_dir_all(path).expect("removed");
    let commit_bytes = (written as f64 / traffic.next as f64 * batch as f64) as usize;
    let mut floor = floor(path, commit_bytes, time);
    let floor_rate =
        batch as f64 * floor.len() as f64 / floor.iter().sum::<Duration>().as_secs_f64();
    println!(
        "{batch:>6} {rate:>12.0} {:>9.3} {:>9.3} {:>9.2} {bytes:>9.0} {floor_rate:>11.0} {:>11.3} {:>8.0}%",
        percentile(&mut each, 0.5),
        percentile(&mut each, 0.99),
        processor.as_secs_f64() * 1e6 / messages,
        percentile(&mut floor, 0.5),
        100.0 * rate / floor_rate,
    );
}

/// Times of commits that do nothing but write so many bytes into a file of zeros and flush them.
fn floor(path: &Path, bytes: usize, time: Duration) -> Vec<Duration> {
    const SIZE: u64 = 32 << 20;
    let made = OpenOptions::new().write(true).create(true).truncate(true).open(path);
    let file: File = made.expect("a file");
    for at in (0..SIZE).step_by(4_096) {
        file.write_all_at(&[0; 4_096], at).expect("room");
    }
    file.sync_all().expect("flushed");
    let data = vec![1; bytes.max(1)];
    let (mut at, mut each) = (0, Vec::new());
    let begin = Instant::now();
    while begin.elapsed() < time {
        if at + bytes as u64 > SIZE {
            at = 0;
        }
        let commit = Instant::now();
        file.write_all_at(&data, at).expect("written");
        file.sync_data().expect("flushed");
        each.push(commit.elapsed());
        at += bytes as u64;
    }
    fs::remove_file(path).expect("removed");
    each
}

/// A million queued messages: how long it takes to open, and how much memory.
fn queued(path: &Path) {
    let mut bench = Bench::open(path);
    bench.persist((1..=SESSIONS).map(session).collect());
    let begin = Instant::now();
    for first in (1..=MILLION).step_by(1_024) {
        let numbers = first..(first + 1_024).min(MILLION + 1);
        bench.persist(numbers.map(|number| owed(number % SESSIONS + 1, number)).collect());
    }
    println!("\n1,000,000 messages queued in {:.1} s", begin.elapsed().as_secs_f64());
    bench.close();
    println!("on disk: {}", usage(path));
    open_elsewhere(path);
    let mut bench = Bench::open(path);
    let begin = Instant::now();
    for first in (1..=MILLION).step_by(1_024) {
        let delivered = (first..(first + 1_024).min(MILLION + 1)).map(|number| Record::Delivered {
            key: SessionKey(number % SESSIONS + 1),
            sequence: Sequence(number),
        });
        bench.persist(delivered.collect());
    }
    println!("all delivered in {:.1} s", begin.elapsed().as_secs_f64());
    let deadline = Instant::now() + Duration::from_secs(20);
    while segments(path) > 4 && Instant::now() < deadline {
        let _ = bench.answers.recv_timeout(Duration::from_millis(50));
    }
    println!("on disk: {}", usage(path));
    bench.close();
    fs::remove_dir_all(path).expect("removed");
}

fn sessions(path: &Path) {
    let mut bench = Bench::open(path);
    for first in (1..=100_000).step_by(1_000) {
        let records = (first..first + 1_000).flat_map(|key| {
            let filter = format!("devices/{key}/#").into();
            let options = noctule_broker::SubscriptionOptions::qos(QoS::AtLeastOnce);
            let key_of = SessionKey(key);
            let subscribed = Record::Subscribed {
                key: key_of,
                filter,
                options,
                identifier: None,
                retained_up_to: None,
            };
            [session(key), subscribed]
        });
        bench.persist(records.collect());
    }
    bench.close();
    println!("\n100,000 sessions with a subscription each");
    open_elsewhere(path);
    fs::remove_dir_all(path).expect("removed");
}

/// Has the store opened by a process of its own.
fn open_elsewhere(path: &Path) {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program).arg("--open").arg(path).output().expect("a process");
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn open_and_tell(path: &Path) {
    let begin = Instant::now();
    let (store, recovered) = Store::open(path, Options::default(), |_| {}).expect("a store");
    let opened = begin.elapsed().as_secs_f64();
    let queued: usize = recovered.sessions.iter().map(|session| session.queued).sum();
    let with = status("RssAnon:");
    let sessions = recovered.sessions.len();
    drop(recovered);
    println!(
        "opened in {opened:.2} s: {sessions} sessions, {queued} messages; memory {} MiB, at most {} MiB",
        with >> 10,
        status("VmHWM:") >> 10,
    );
    store.close().expect("closed");
}

/// A line of the process's status, in KiB.
fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn bytes_written() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// In milliseconds.
fn percentile(times: &mut [Duration], part: f64) -> f64 {
    times.sort_unstable();
    let index = ((times.len() as f64 * part) as usize).min(times.len() - 1);
    times[index].as_secs_f64() * 1e3
}

fn files(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).expect("a directory");
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn segments(path: &Path) -> usize {
    files(path).iter().filter(|file| !file.ends_with("lock")).count()
}

fn usage(path: &Path) -> String {
    let bytes: u64 =
        files(path).iter().filter_map(|file| fs::metadata(file).ok()).map(|data| data.len()).sum();
    format!("{} segments, {} MiB", segments(path), bytes >> 20)
}
