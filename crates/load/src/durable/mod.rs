//! What it costs Noctule to keep its promises on disk: the same traffic with and without the store,
//! beside what the disk itself allows, and how long a full store takes to open.
//!
//! Messages of QoS 1 go to a persistent session that is present or absent, so that each is owed
//! durably. Here live the plan and the rounds; the connections are in `crew`, the disk alone in
//! `floor`, what is counted from outside in `flushes`, the large stores in `backlog` and
//! `crowded`, the words in `report`. No bound is judged here. The invariant: what is compared was
//! measured in the same round, and a round with a fault has no figure.

mod backlog;
mod crew;
mod crowded;
mod floor;
mod flushes;
mod listener;
mod place;
mod report;

pub use backlog::Backlog;
pub use crowded::Crowded;
pub(crate) use crowded::make_sessions;
pub use floor::Floor;
pub use report::{json, table};

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::LoadError;
use crate::checker::Faults;
use crate::latency::Latency;
use crate::packets::MARK_BYTES;
use crate::plan::Goal;
use crate::process;
use crew::Crew;
use flushes::Flushes;
use place::Place;

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The broker's program.
    pub program: PathBuf,
    /// More words for its command line.
    pub options: Vec<String>,
    /// Where a directory for the data is made, on the disk that is meant.
    pub parent: PathBuf,
    /// How much is under way at a time, one series of figures for each.
    pub loads: Vec<Load>,
    /// Where the persistent subscriber is, one series of figures for each.
    pub subscribers: Vec<Subscriber>,
    /// Size of a message.
    pub payload_bytes: usize,
    /// How long each round sends.
    pub duration: Duration,
    /// How often everything is measured.
    pub rounds: u32,
    /// Messages of the queue with which the store is opened; 0 leaves it out.
    pub queued: u64,
    /// Persistent sessions with which the store is opened; 0 leaves it out.
    pub sessions: u32,
}

/// How many publishers there are and how many messages each has under way at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// How many publishers.
    pub publishers: u16,
    /// Messages of each that are not acknowledged yet.
    pub window: u16,
}

impl Load {
    /// Messages under way at most.
    pub fn under_way(self) -> u64 {
        u64::from(self.publishers) * u64::from(self.window)
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.publishers, self.window)
    }
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = |text: &str| text.parse().ok().filter(|number| *number > 0);
        text.split_once('x')
            .and_then(|(publishers, window)| {
                Some(Self { publishers: read(publishers)?, window: read(window)? })
            })
            .ok_or_else(|| "PUBLISHERSxWINDOW, such as 64x16".into())
    }
}

/// Where the persistent subscriber is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscriber {
    /// Away: the messages wait in its queue.
    Absent,
    /// There, and acknowledges what comes.
    Present,
}

impl Subscriber {
    /// Both places.
    pub const ALL: [Self; 2] = [Self::Absent, Self::Present];
}

impl fmt::Display for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Absent { "absent" } else { "present" })
    }
}

impl FromStr for Subscriber {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|one| one.to_string() == text);
        found.ok_or_else(|| "absent or present".into())
    }
}

/// What one round found about one kind of storage.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Messages acknowledged and, if the subscriber is present, delivered.
    pub messages: u64,
    /// From the first message until all of them were.
    pub elapsed: Duration,
    /// Processor time of the broker, in nanoseconds.
    pub broker_ns: u64,
    /// Bytes that the kernel wrote for the broker, or is about to.
    pub bytes_written: u64,
    /// From PUBLISH to PUBACK; measured with one message under way per publisher only.
    pub answer: Latency,
    /// What went wrong.
    pub faults: Faults,
}

impl Sample {
    fn is_figure(&self) -> bool {
        self.faults.is_clean() && self.messages > 0
    }

    /// Acknowledged messages a second.
    pub fn rate(&self) -> Option<f64> {
        self.is_figure().then(|| self.messages as f64 / self.elapsed.as_secs_f64())
    }

    /// Processor time of the broker per message, in microseconds.
    pub fn broker_us(&self) -> Option<f64> {
        self.is_figure().then(|| self.broker_ns as f64 / self.messages as f64 / 1e3)
    }

    /// Bytes written per message.
    pub fn bytes_each(&self) -> Option<f64> {
        self.is_figure().then(|| self.bytes_written as f64 / self.messages as f64)
    }
}

/// One round: the durable broker, the same in memory, and the disk at the same size of a commit.
#[derive(Debug, Clone)]
pub struct Round {
    /// With the store.
    pub durable: Sample,
    /// Messages per flush, if they could be counted.
    pub per_flush: Option<f64>,
    /// With `--in-memory`.
    pub memory: Sample,
    /// The disk alone.
    pub floor: Floor,
}

/// All rounds of one load.
#[derive(Debug, Clone)]
pub struct Series {
    /// How much was under way.
    pub load: Load,
    /// Where the subscriber was.
    pub subscriber: Subscriber,
    /// In the order of time.
    pub rounds: Vec<Round>,
}

/// Everything that was found.
#[derive(Debug, Clone)]
pub struct Findings {
    /// Traffic, by load and place of the subscriber.
    pub series: Vec<Series>,
    /// A store with a long queue.
    pub backlog: Option<Backlog>,
    /// A store with many sessions.
    pub crowded: Option<Crowded>,
}

impl Findings {
    /// Whether nothing was lost, doubled or left without an answer.
    pub fn is_clean(&self) -> bool {
        let rounds = self.series.iter().flat_map(|series| &series.rounds);
        let mut samples = rounds.flat_map(|round| [&round.durable, &round.memory]);
        samples.all(|sample| sample.faults.is_clean())
            && self.backlog.as_ref().is_none_or(|backlog| backlog.faults.is_clean())
    }
}

/// Measures everything; `report` is told what is done.
///
/// # Errors
/// If the broker cannot be started or ends, or the directory cannot be used.
pub fn measure(plan: &Plan, mut report: impl FnMut(&str)) -> Result<Findings, LoadError> {
    if plan.payload_bytes < MARK_BYTES {
        return Err(LoadError::new(format!(
            "a payload has at least {MARK_BYTES} bytes, in which the message is numbered"
        )));
    }
    let place = Place::make(&plan.parent)?;
    let mut series: Vec<_> = plan
        .subscribers
        .iter()
        .flat_map(|&subscriber| {
            let of_load = move |&load: &Load| Series { load, subscriber, rounds: Vec::new() };
            plan.loads.iter().map(of_load)
        })
        .collect();
    for number in 0..plan.rounds {
        for one in &mut series {
            one.rounds.push(round(plan, &place, one.load, one.subscriber, number)?);
            let (load, subscriber) = (one.load, one.subscriber);
            report(&format!("round {}, {load}, subscriber {subscriber}: done", number + 1));
        }
    }
    let backlog = (plan.queued > 0).then(|| backlog::measure(plan, &place)).transpose()?;
    report("queue: done");
    let crowded = (plan.sessions > 0).then(|| crowded::measure(plan, &place)).transpose()?;
    Ok(Findings { series, backlog, crowded })
}

/// Durable and in memory in alternating order, then the disk.
fn round(
    plan: &Plan,
    place: &Place,
    load: Load,
    subscriber: Subscriber,
    number: u32,
) -> Result<Round, LoadError> {
    let sampled = |is_durable| sample(plan, place, load, subscriber, is_durable);
    let ((durable, per_flush), (memory, _)) = if number.is_multiple_of(2) {
        let durable = sampled(true)?;
        (durable, sampled(false)?)
    } else {
        let memory = sampled(false)?;
        (sampled(true)?, memory)
    };
    // What is acknowledged by its receiver early needs no flush, so that there may be fewer flushes
    // than messages; but no flush serves more than are under way.
    let under_way = load.under_way() as f64;
    let batch = per_flush.map_or(under_way, |messages| messages.min(under_way));
    let floor = floor::measure(place, batch, plan.payload_bytes, plan.duration / FLOOR_SHARE)?;
    Ok(Round { durable, per_flush, memory, floor })
}

fn sample(
    plan: &Plan,
    place: &Place,
    load: Load,
    subscriber: Subscriber,
    is_durable: bool,
) -> Result<(Sample, Option<f64>), LoadError> {
    let words: &[&str] = if is_durable { &[] } else { &["--in-memory"] };
    let (mut broker, pid) = place.start(plan, words)?;
    let mut crew = Crew::connect(broker.address, load, subscriber, plan.payload_bytes)?;
    crew.run(Goal::Time(plan.duration / WARM_UP_SHARE))?;
    let before = (process::cpu_ns(pid)?, process::bytes_written(pid)?);
    let done = crew.run(Goal::Time(plan.duration));
    broker.check_alive()?;
    let done = done?;
    let sample = Sample {
        messages: done.messages,
        elapsed: done.elapsed,
        broker_ns: process::cpu_ns(pid)?.saturating_sub(before.0),
        bytes_written: process::bytes_written(pid)?.saturating_sub(before.1),
        answer: done.answer,
        faults: crew.faults(),
    };
    let per_flush = if is_durable { per_flush(plan, &mut crew, pid)? } else { None };
    drop(crew);
    drop(broker);
    place.clear()?;
    Ok((sample, per_flush))
}

/// In a run of its own, as counting slows down every system call of the machine a little.
fn per_flush(plan: &Plan, crew: &mut Crew, pid: u32) -> Result<Option<f64>, LoadError> {
    let Some(flushes) = Flushes::begin(pid) else {
        return Ok(None);
    };
    let done = crew.run(Goal::Time(plan.duration / FLUSHES_SHARE))?;
    let count = flushes.finish().filter(|count| *count > 0);
    Ok(count.map(|count| done.messages as f64 / count as f64))
}

const WARM_UP_SHARE: u32 = 5;
const FLUSHES_SHARE: u32 = 4;
const FLOOR_SHARE: u32 = 4;
