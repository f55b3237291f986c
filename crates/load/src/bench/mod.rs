//! One run of the stress test: a scenario, driven at one broker, and what was measured of it.
//!
//! A [`Job`] says what is to happen, [`run`] makes it happen, [`Run`] is what came of it; how that is
//! told is in [`report`]. What connections and messages do is decided by [`crate::fleet`] and
//! [`crate::dialer`]. The invariant: figures are those of one run from quiet to quiet, so that
//! messages, times and processor time belong to each other.

mod memory;
pub mod report;

use std::time::{Duration, Instant};

use noctule_mqtt::QoS;

use crate::LoadError;
use crate::checker::Faults;
use crate::dialer::{Dialed, Dialing, dial};
use crate::endpoint::Endpoint;
use crate::fleet::{Fleet, Outcome, Times};
use crate::latency::Latency;
use crate::link::Opening;
use crate::plan::{Goal, Pace, Plan, Shape};
use crate::process::{self, Resident};
use crate::schedule::Schedule;
use crate::watcher::Watcher;
use memory::Weighing;

/// What is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Pairs of a publisher and a subscriber.
    Pair,
    /// One publisher, and subscribers who all get everything.
    FanOut,
    /// Publishers, and one subscriber who gets everything.
    FanIn,
    /// Connections that come and go.
    Connect,
    /// Pairs at a rate that leaves the broker time: how long a message takes.
    Latency,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Pair, Self::FanOut, Self::FanIn, Self::Connect, Self::Latency];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::FanOut => "fanout",
            Self::FanIn => "fanin",
            Self::Connect => "connect",
            Self::Latency => "latency",
        }
    }

    /// The scenario of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name)
    }

    /// The rate that it has if nobody says another.
    fn usual_rate(self) -> Option<f64> {
        (self == Self::Latency).then_some(LATENCY_RATE)
    }
}

/// Slow enough for any broker.
const LATENCY_RATE: f64 = 1_000.0;

/// What is to be measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Job {
    /// What is driven.
    pub scenario: Scenario,
    /// Pairs, subscribers, publishers, or connections at a time.
    pub clients: u16,
    /// How long.
    pub duration: Duration,
    /// Messages, or connections, a second, of all clients together; `None` for as many as go.
    pub rate: Option<f64>,
    /// Of messages and subscriptions.
    pub qos: QoS,
    /// Of a message, at least [`MARK_BYTES`](crate::packets::MARK_BYTES).
    pub payload_bytes: usize,
    /// Messages under way to a subscriber at a time, where there is no rate.
    pub window: u32,
    /// Connections come, and the rate is reached, evenly within this time.
    pub ramp: Duration,
}

impl Job {
    /// Says what is wrong with it, if anything is.
    pub fn complaint(&self) -> Option<String> {
        if self.clients == 0 {
            return Some("there is at least one client".into());
        }
        self.plan().complaint()
    }

    /// The rate that is kept, if one is.
    pub fn rate(&self) -> Option<f64> {
        self.rate.or(self.scenario.usual_rate())
    }

    /// How many connections are open at a time.
    pub fn connections(&self) -> u32 {
        let shape = self.shape();
        match self.scenario {
            Scenario::Connect => self.clients.into(),
            _ => (shape.publishers() + shape.subscribers()) as u32,
        }
    }

    fn schedule(&self) -> Option<Schedule> {
        self.rate().map(|rate| Schedule::new(rate, self.ramp))
    }

    fn shape(&self) -> Shape {
        match self.scenario {
            Scenario::FanOut => Shape::FanOut(self.clients),
            Scenario::FanIn => Shape::FanIn(self.clients),
            Scenario::Pair | Scenario::Latency | Scenario::Connect => Shape::Pairs(self.clients),
        }
    }

    fn plan(&self) -> Plan {
        Plan {
            shape: self.shape(),
            qos: self.qos,
            payload_bytes: self.payload_bytes,
            pace: self.schedule().map_or(Pace::Flood(self.window), Pace::Scheduled),
            over_tls: false,
        }
    }
}

/// What came of a job.
#[derive(Debug, Clone)]
pub struct Run {
    /// Messages sent, or connections begun, and what became of them.
    pub counts: Counts,
    /// What went wrong with messages.
    pub faults: Faults,
    /// From the first to the last of them.
    pub elapsed: Duration,
    /// How many connections were opened before, and how long that took.
    pub opened: (u32, Duration),
    /// How long they took.
    pub latency: Latency,
    /// How late the generator itself was, with a rate.
    pub lag: Option<Latency>,
    /// Processor time of the broker in nanoseconds, if its process is known.
    pub broker_ns: Option<u64>,
    /// Memory of the broker, if its process is known.
    pub resident: Option<Resident>,
    /// Processor time of the generator in nanoseconds.
    pub generator_ns: u64,
    /// Whether it went on as long as it was to.
    pub is_whole: bool,
    /// Why it broke off in the middle, if a connection was lost: what was under way counts as lost.
    pub broke: Option<String>,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages sent, or connections begun.
    pub sent: u64,
    /// Messages delivered, or connections made.
    pub delivered: u64,
    /// What was due and could not be begun, as too much was under way.
    pub left_out: u64,
    /// Connections that CONNACK refused.
    pub refused: u64,
    /// Connections that broke.
    pub failed: u64,
    /// Connections that resumed a session of TLS.
    pub resumed: u64,
}

impl Run {
    /// Whether every message came once and in order, and every connection was made.
    pub fn is_clean(&self) -> bool {
        let counts = &self.counts;
        self.faults.is_clean() && counts.refused == 0 && counts.failed == 0 && self.broke.is_none()
    }
}

/// Connects and disconnects once, to see whether the broker is there and lets us in.
///
/// # Errors
/// If it does not.
pub fn greet(endpoint: &Endpoint) -> Result<(), LoadError> {
    let id = format!("{}-{:08x}-greets", endpoint.prefix, std::process::id());
    Opening::connect(endpoint, &id, 0).map(drop)
}

/// Does what the job says. `pid` is the broker's process, if it is known and runs here; `number` tells
/// the clients of this run from those of others by this process.
///
/// # Errors
/// If the broker refuses or breaks a connection, or there is no such process.
pub fn run(
    job: &Job,
    endpoint: &Endpoint,
    pid: Option<u32>,
    number: u32,
    watcher: &mut dyn Watcher,
) -> Result<Run, LoadError> {
    if let Some(complaint) = job.complaint() {
        return Err(LoadError::new(complaint));
    }
    let mut watcher = Weighing::new(pid, watcher)?;
    let run = std::process::id() << 8 | number;
    match job.scenario {
        Scenario::Connect => connect(job, endpoint, pid, run, &mut watcher),
        _ => messages(job, endpoint, pid, run, &mut watcher),
    }
}

/// Processor time of the broker and of this process.
struct Spent {
    broker_ns: Option<u64>,
    generator_ns: u64,
}

impl Spent {
    fn so_far(pid: Option<u32>) -> Result<Self, LoadError> {
        let broker_ns = pid.map(process::cpu_ns).transpose()?;
        Ok(Self { broker_ns, generator_ns: process::cpu_ns(std::process::id())? })
    }

    fn since(self, before: &Self) -> Self {
        let broker = self.broker_ns.zip(before.broker_ns);
        Self {
            broker_ns: broker.map(|(after, before)| after.saturating_sub(before)),
            generator_ns: self.generator_ns.saturating_sub(before.generator_ns),
        }
    }
}

fn connect(
    job: &Job,
    endpoint: &Endpoint,
    pid: Option<u32>,
    run: u32,
    watcher: &mut Weighing<'_>,
) -> Result<Run, LoadError> {
    let dialing =
        Dialing { at_once: job.clients, schedule: job.schedule(), duration: job.duration };
    let before = Spent::so_far(pid)?;
    let dialed = dial(endpoint, dialing, run, watcher)?;
    let spent = Spent::so_far(pid)?.since(&before);
    let Dialed { made, resumed, refused, failed, left_out, elapsed, latency } = dialed;
    let sent = made + refused + failed;
    Ok(Run {
        counts: Counts { sent, delivered: made, left_out, refused, failed, resumed },
        faults: Faults::default(),
        elapsed,
        opened: (0, Duration::ZERO),
        latency,
        lag: None,
        broker_ns: spent.broker_ns,
        resident: watcher.resident()?,
        generator_ns: spent.generator_ns,
        is_whole: !watcher.has_ended(),
        broke: None,
    })
}

fn messages(
    job: &Job,
    endpoint: &Endpoint,
    pid: Option<u32>,
    run: u32,
    watcher: &mut Weighing<'_>,
) -> Result<Run, LoadError> {
    let plan = job.plan();
    let begin = Instant::now();
    let connected = Fleet::connect_slowly(endpoint.clone(), plan, run, job.ramp, watcher)?;
    let mut fleet =
        connected.ok_or_else(|| LoadError::new("interrupted before all were connected"))?;
    let opened = (job.connections(), begin.elapsed());
    let mut before = Spent::so_far(pid)?;
    let mut ended = None;
    if plan.pace.schedule().is_none() {
        // Caches are filled and buffers have grown before anything counts.
        let warm_up = Goal::Time(job.duration.min(WARM_UP_MAX) / WARM_UP_SHARE);
        let done = fleet.run_while_connected(warm_up, watcher)?;
        // What broke so early is told like what breaks later.
        ended = Some(done).filter(|(_, _, broke)| broke.is_some());
    }
    let (outcome, times, broke) = match ended {
        Some(done) => done,
        None => {
            before = Spent::so_far(pid)?;
            fleet.run_while_connected(Goal::Time(job.duration), watcher)?
        }
    };
    // A broker that has ended cannot be asked any more.
    let is_there = broke.is_none();
    let spent = Spent::so_far(pid.filter(|_| is_there))?.since(&before);
    let resident = if is_there { watcher.resident()? } else { None };
    if outcome.faults.is_clean() && is_there {
        fleet.disconnect()?;
    }
    let Outcome { sent, delivered, left_out, elapsed, faults, .. } = outcome;
    let Times { latency, lag } = times;
    Ok(Run {
        counts: Counts { sent, delivered, left_out, ..Counts::default() },
        faults,
        elapsed,
        opened,
        latency,
        lag: plan.pace.schedule().map(|_| lag),
        broker_ns: spent.broker_ns,
        resident,
        generator_ns: spent.generator_ns,
        is_whole: is_there && !watcher.has_ended(),
        broke: broke.map(|broke| broke.to_string()),
    })
}

/// A tenth of the time, and at most a second.
const WARM_UP_SHARE: u32 = 10;
const WARM_UP_MAX: Duration = Duration::from_secs(10);
