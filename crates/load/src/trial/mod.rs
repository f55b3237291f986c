//! Trials: what a broker has to bear without its good clients noticing.
//!
//! Each trial makes one kind of trouble while a few good clients send themselves a message at a
//! time and wait for it. What comes out are figures by phase: the good clients' round trips, the
//! broker's memory, and what was lost or doubled. Whether the figures are good enough is not decided
//! here. The invariant: a round trip counts in every phase that it touches, so that a message which
//! a phase has held up is not charged to the next one alone.

mod crowd;
mod deaf;
mod duel;
mod flood;
mod floods;
mod good;
mod handshakes;
mod heap;
mod slow;
mod storm;
mod stuck;
mod watch;

pub use crowd::Crowd;
pub use duel::Duel;
pub use floods::Floods;
pub use handshakes::Handshakes;
pub use heap::Heap;
pub use slow::Slow;
pub use storm::{Storm, password_file};
pub use stuck::{Receiver, Stuck};

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::LoadError;
use crate::checker::Faults;
use crate::compare::faults_json;
use crate::endpoint::Endpoint;
use crate::process::Resident;
use crate::table::{Table, figure};
use crate::target::Broker;
use good::{Good, Pulse};
pub(crate) use watch::Watch;

/// One kind of trouble.
pub trait Trial {
    /// What the tables call it.
    fn name(&self) -> String;

    /// Makes the trouble, saying with `Scene::phase` when a part of it begins.
    ///
    /// # Errors
    /// If the trouble cannot be made; what it does to the broker is no error.
    fn run(&self, scene: &mut Scene) -> Result<(), LoadError>;
}

/// Where a trial takes place.
#[derive(Debug)]
pub struct Scene {
    address: SocketAddr,
    tls: Option<Endpoint>,
    pid: Option<u32>,
    run: u32,
    phases: Vec<Phase>,
}

/// A part of a trial, until the next one begins.
#[derive(Debug)]
struct Phase {
    name: String,
    begin: Instant,
    /// What the trouble itself was like, and what came of it.
    facts: Vec<(&'static str, f64)>,
    faults: Faults,
}

impl Scene {
    /// A part of the trial begins, and the one before it ends.
    fn phase(&mut self, name: impl Into<String>) {
        let (name, begin) = (name.into(), Instant::now());
        self.phases.push(Phase { name, begin, facts: Vec::new(), faults: Faults::default() });
    }

    /// Notes something about the present phase.
    fn fact(&mut self, name: &'static str, value: f64) {
        if let Some(phase) = self.phases.last_mut() {
            phase.facts.push((name, value));
        }
    }

    /// What the trouble's own messages suffered in the present phase.
    fn faults(&mut self, faults: Faults) {
        if let Some(phase) = self.phases.last_mut() {
            phase.faults += faults;
        }
    }
}

/// What was found in one phase.
#[derive(Debug, Clone)]
pub struct Found {
    /// Which broker.
    pub broker: String,
    /// Which trial.
    pub trial: String,
    /// Which part of it.
    pub phase: String,
    /// How long it took.
    pub lasted: Duration,
    /// The good clients' round trips.
    pub good: Pulse,
    /// What the good clients' messages suffered in the whole trial.
    pub good_faults: Faults,
    /// The broker's memory, if its process is known.
    pub resident: Option<Resident>,
    /// What the trouble itself was like.
    pub facts: Vec<(&'static str, f64)>,
    /// What the trouble's messages suffered. Messages that a limit keeps out are among the lost.
    pub faults: Faults,
}

/// Runs a trial beside `good` good clients.
///
/// # Errors
/// If the trouble cannot be made, a good client is thrown out, or the broker ends.
pub fn run(broker: &mut Broker, trial: &dyn Trial, good: u32) -> Result<Vec<Found>, LoadError> {
    let run = std::process::id();
    let (address, tls, pid) = (broker.address, broker.tls.clone(), broker.pid);
    let mut scene = Scene { address, tls, pid, run, phases: Vec::new() };
    let clients = Good::start(broker.address, good, run)?;
    let watch = broker.pid.map(Watch::start);
    scene.phase("before");
    std::thread::sleep(CALM);
    let done = trial.run(&mut scene);
    let end = Instant::now();
    // That the broker is gone explains more than what its end did to our connections.
    broker.check_alive()?;
    let record = clients.finish();
    let samples = watch.map(Watch::finish);
    done?;
    let record = record?;
    let ends = scene.phases.iter().skip(1).map(|phase| phase.begin).chain([end]);
    let ends: Vec<_> = ends.collect();
    let found = |(phase, end): (Phase, Instant)| Found {
        broker: broker.name.clone(),
        trial: trial.name(),
        phase: phase.name,
        lasted: end - phase.begin,
        good: record.pulse(phase.begin, end),
        good_faults: record.faults,
        resident: samples.as_ref().and_then(|samples| samples.span(phase.begin, end)),
        facts: phase.facts,
        faults: phase.faults,
    };
    Ok(scene.phases.into_iter().zip(ends).map(found).collect())
}

/// How long good clients are watched before the trouble, for comparison.
const CALM: Duration = Duration::from_millis(500);

/// The findings as a table for people.
pub fn table(found: &[Found]) -> String {
    let headings = [
        "broker",
        "trial",
        "phase",
        "s",
        "good n",
        "p50 ms",
        "p99 ms",
        "max ms",
        "RSS MiB",
        "peak",
        "end",
        "good's faults",
    ];
    let mut table = Table::new(&headings, 3);
    for one in found {
        let mib = |of: fn(&Resident) -> u64| {
            figure(one.resident.as_ref().map(|resident| of(resident) as f64 / MIB))
        };
        table.row(vec![
            one.broker.clone(),
            one.trial.clone(),
            one.phase.clone(),
            figure(Some(one.lasted.as_secs_f64())),
            one.good.count.to_string(),
            figure(one.good.p50_ms),
            figure(one.good.p99_ms),
            figure(one.good.max_ms),
            mib(|resident| resident.begin),
            mib(|resident| resident.peak),
            mib(|resident| resident.end),
            one.good_faults.to_string(),
        ]);
    }
    let mut text = table.text();
    for one in found.iter().filter(|one| !one.facts.is_empty()) {
        let facts: Vec<_> =
            one.facts.iter().map(|(name, value)| format!("{name} {}", whole(*value))).collect();
        let (broker, trial, phase) = (&one.broker, &one.trial, &one.phase);
        let facts = facts.join(", ");
        text.push_str(&format!("{broker}, {trial}, {phase}: {facts}; faults: {}\n", one.faults));
    }
    text
}

fn whole(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { figure(Some(value)) }
}

const MIB: f64 = 1_048_576.0;

/// The findings for programs.
pub fn json(found: &[Found]) -> Value {
    let one_json = |one: &Found| {
        let facts: serde_json::Map<_, _> =
            one.facts.iter().map(|(name, value)| ((*name).into(), json!(value))).collect();
        json!({
            "broker": one.broker,
            "trial": one.trial,
            "phase": one.phase,
            "seconds": one.lasted.as_secs_f64(),
            "good": {
                "count": one.good.count,
                "p50_ms": one.good.p50_ms,
                "p99_ms": one.good.p99_ms,
                "max_ms": one.good.max_ms,
                "faults": faults_json(&one.good_faults),
            },
            "resident": one.resident.as_ref().map(|resident| json!({
                "begin": resident.begin,
                "peak": resident.peak,
                "end": resident.end,
            })),
            "facts": facts,
            "faults": faults_json(&one.faults),
        })
    };
    Value::Array(found.iter().map(one_json).collect())
}
