//! What a publisher's shard notices of the others' subscriptions: the longest publish while another
//! thread subscribes as fast as it can, and the publishes of a second while it changes 50,000
//! subscriptions. Where two threads and the rest of the machine share two processors, the longest
//! publish without anybody beside it says how much of it is the machine's.

use crate::Setting;
use crate::design::{Common, Design, One, Two};
use crate::locks::Locks;
use crate::mix::{self, HOT_TOPICS};
use crate::work::{GUEST_SESSIONS, GUESTS, guests, parsed};
use noctule_load::statistics::median;
use noctule_load::table::{Table, figure};
use noctule_mqtt::TopicName;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Measures settings with two shards and more, and prints a table.
pub(crate) fn run(settings: &[Setting], rounds: usize) {
    let headings = [
        "filters",
        "shards",
        "design",
        "alone max µs",
        "growing max µs",
        "longest insert µs",
        "alone ns",
        "churn hot ns",
        "alone cold ns",
        "churn cold ns",
        "changes/s",
    ];
    let mut table = Table::new(&headings, 3);
    for setting in settings.iter().filter(|setting| setting.shards > 1) {
        let mut found = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..rounds {
            found[0].push(round::<Two>(setting));
            found[1].push(round::<One>(setting));
            found[2].push(round::<Common>(setting));
        }
        for (name, rounds) in [Two::NAME, One::NAME, Common::NAME].into_iter().zip(found) {
            let mut row = vec![setting.to_string(), setting.shards.to_string(), name.into()];
            let columns = rounds[0].len();
            row.extend((0..columns).map(|column| {
                let values: Vec<f64> = rounds.iter().map(|round| round[column]).collect();
                figure(median(&values))
            }));
            table.row(row);
        }
    }
    print!("{}", table.text());
}

/// One row without its names.
fn round<D: Design>(setting: &Setting) -> [f64; 8] {
    let locks = Locks::new(setting.shards);
    let cold = mix::topics(setting.top, setting.filters, mix::COLD_TOPICS);
    let hot = &cold[..HOT_TOPICS];
    let mut own = D::new(&locks, 0..1);
    let phase = AtomicU8::new(GROWING);
    thread::scope(|scope| {
        let others = scope.spawn(|| others::<D>(&locks, setting, &phase));
        let growing = publish_while(&mut own, &cold, || phase.load(Ordering::Acquire) == GROWING);
        let alone = publish_for(&mut own, &cold);
        let alone_hot = publish_for(&mut own, hot);
        phase.store(CHANGING, Ordering::Release);
        others.thread().unpark();
        let churn_hot = publish_for(&mut own, hot);
        let churn_cold = publish_for(&mut own, &cold);
        phase.store(DONE, Ordering::Release);
        let (longest_insert, changes) = others.join().expect("the other shards' thread ends well");
        [
            alone.longest,
            growing.longest,
            longest_insert,
            alone_hot.mean,
            churn_hot.mean,
            alone.mean,
            churn_cold.mean,
            changes,
        ]
    })
}

/// What the other shards' thread does now.
const GROWING: u8 = 0;
const WAITING: u8 = 1;
const CHANGING: u8 = 2;
const DONE: u8 = 3;

/// The other shards: subscribes the filters, waits, changes subscriptions until told to stop.
/// Returns the longest insertion in microseconds and the changes per second.
fn others<D: Design>(locks: &Arc<Locks>, setting: &Setting, phase: &AtomicU8) -> (f64, f64) {
    let mut others = D::new(locks, 1..setting.shards);
    let shard_of = |number: usize| 1 + (number % usize::from(setting.shards - 1)) as u16;
    let mut longest = Duration::ZERO;
    for number in 0..setting.filters {
        let filter = mix::filter(setting.top, number);
        let begin = Instant::now();
        others.subscribe(shard_of(number), parsed(&filter), number as u32);
        longest = longest.max(begin.elapsed());
    }
    let guests = guests(setting.top, setting.filters);
    phase.store(WAITING, Ordering::Release);
    while phase.load(Ordering::Acquire) == WAITING {
        thread::park();
    }
    let begin = Instant::now();
    let mut changes = 0;
    while phase.load(Ordering::Acquire) == CHANGING {
        let due = (begin.elapsed().as_secs_f64() * CHANGES_PER_SECOND) as usize;
        for change in changes..due {
            let (guest, leaves) = (change % GUESTS, change / GUESTS % 2 == 1);
            let (filter, session) = (guests[guest], (GUEST_SESSIONS + guest) as u32);
            if leaves {
                others.unsubscribe(shard_of(guest), filter, session);
            } else {
                others.subscribe(shard_of(guest), filter, session);
            }
        }
        changes = due.max(changes);
        thread::sleep(BREATH);
    }
    (longest.as_secs_f64() * 1e6, changes as f64 / begin.elapsed().as_secs_f64())
}

const CHANGES_PER_SECOND: f64 = 50_000.0;
/// Changes come in small bursts.
const BREATH: Duration = Duration::from_micros(200);

/// How long the calm cells last.
const WHILE: Duration = Duration::from_millis(500);

struct Published {
    /// In microseconds.
    longest: f64,
    /// In nanoseconds.
    mean: f64,
}

fn publish_for<D: Design>(own: &mut D, topics: &[String]) -> Published {
    let begin = Instant::now();
    publish_while(own, topics, || begin.elapsed() < WHILE)
}

/// Publishes on shard 0 while `on`, which is asked before each.
fn publish_while<D: Design>(
    own: &mut D,
    topics: &[String],
    mut on: impl FnMut() -> bool,
) -> Published {
    let (mut longest, mut sum, mut count) = (Duration::ZERO, Duration::ZERO, 0_u64);
    while on() {
        let topic = &topics[mix::scattered(count) as usize % topics.len()];
        let topic = TopicName::from_checked(topic.as_bytes());
        let begin = Instant::now();
        std::hint::black_box(own.publish(0, topic));
        let took = begin.elapsed();
        longest = longest.max(took);
        sum += took;
        count += 1;
    }
    let mean = sum.as_nanos() as f64 / count.max(1) as f64;
    Published { longest: longest.as_secs_f64() * 1e6, mean }
}
