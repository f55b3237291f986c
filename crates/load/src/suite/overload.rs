//! Twice the load that a broker can carry, and what becomes of it.
//!
//! First pairs send as fast as the broker lets them, with so many messages under way that it is never
//! idle: that is its *peak*. Then twice as many messages a second fall due, whatever has come back,
//! and each publisher hands its socket what the socket takes. The rest it keeps: so what a broker does
//! against too much is seen from outside, by whom it slows, what it loses, and what it keeps in its
//! memory. Meanwhile *good* clients, a pair at QoS 0 and one at QoS 1, send a message now and then, and
//! are timed from when each was due. The same pair at an idle relay is the *control*: what it waits
//! for there, it waits for on our side. They are there at the peak as well: each of their messages takes
//! the processor from somebody, and what that costs is no matter of too much load. Beside some of the
//! receivers there may be *laggards*, who hear the same and read little of it or nothing.
//!
//! Everybody here but the broker shares one processor (or, unless pinned, all). The good clients and
//! the control come first there, if that is allowed; otherwise the control shows what they suffer.

mod laggards;

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use noctule_mqtt::QoS;

use super::{Measured, RUN};
use crate::checker::Faults;
use crate::fleet::{Fleet, Outcome};
use crate::latency::Latency;
use crate::plan::{Goal, Pace, Plan, Shape};
use crate::process;
use crate::schedule::Schedule;
use crate::target::{Broker, Target};
use crate::trial::Watch;
use crate::watcher::Nobody;
use crate::{LoadError, machine};
use laggards::Laggards;

/// What is done to a broker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overload {
    /// The QoS of publishers and their receivers, in turn.
    pub levels: &'static [QoS],
    /// How many receivers beside those of the pairs hear a publisher each and do not keep up.
    pub laggards: u16,
}

pub(super) fn measure(
    broker: &mut Broker,
    overload: Overload,
    relay: &Target,
    duration: Duration,
) -> Result<Measured, LoadError> {
    let pid = broker.pid.ok_or_else(|| LoadError::new("the broker's process is not known"))?;
    let spent = || -> Result<_, LoadError> {
        Ok((process::cpu_ns(pid)?, process::cpu_ns(std::process::id())?))
    };
    let (peak, peak_busy) = peak(broker.address, overload, relay, duration, &spent)?;
    if !peak.faults.is_clean() {
        return Ok(Measured { faults: peak.faults, ..Measured::default() });
    }
    let peak_rate = rate(&peak);
    let offered = peak_rate * TIMES;
    let pace = Pace::Scheduled(Schedule::new(offered, Duration::ZERO));
    let mut fleet = connect(broker.address, overload, pace, RUN + 1)?;
    fleet.keep_little(KEPT_BYTES, QOS_2_UNDER_WAY)?;
    let laggards = Laggards::start(broker.address, RUN + 1, overload)?;
    let clients = GoodPairs::connect(broker.address, relay, RUN + 5)?;
    let before = process::resident(pid)?;
    let watch = Watch::start(pid);
    let clients = clients.start(duration);
    let spent_before = spent()?;
    let outcome = fleet.run(Goal::Time(duration))?;
    let spent_after = spent()?;
    let all_busy = busy(spent_before, spent_after, outcome.elapsed);
    let memory_most = watch.finish().most().unwrap_or(before);
    let good = clients.finish()?;
    drop(laggards);
    let sent = outcome.sent as f64 / outcome.elapsed.as_secs_f64();
    let (q0_ms, q1_ms, control_ms) =
        (p99_ms(&good.at_most_once), p99_ms(&good.at_least_once), p99_ms(&good.control));
    let mut faults = outcome.faults;
    faults += good.faults;
    Ok(Measured {
        figures: vec![
            ("peak_per_second", peak_rate),
            ("offered_per_second", offered),
            ("sent_per_second", sent),
            ("per_second", rate(&outcome)),
            ("of_peak", rate(&outcome) / peak_rate),
            ("peak_busy", peak_busy.0),
            ("peak_generator_busy", peak_busy.1),
            ("busy", all_busy.0),
            ("generator_busy", all_busy.1),
            ("memory_mib", memory_most.saturating_sub(before) as f64 / MIB),
            ("good_q0_p99_ms", q0_ms),
            ("good_q1_p99_ms", q1_ms),
            ("control_p99_ms", control_ms),
            ("lost", faults.lost as f64),
            ("doubled", (faults.doubled + faults.reordered + faults.foreign) as f64),
            ("unacknowledged", faults.unacknowledged as f64),
        ],
        faults,
        keeps_figures: true,
        failure: None,
        left_out: None,
    })
}

/// Processor time of broker and generator, in nanoseconds.
type Spent = (u64, u64);

/// How many processors both kept busy.
fn busy(before: Spent, after: Spent, elapsed: Duration) -> (f64, f64) {
    let share =
        |before: u64, after: u64| after.saturating_sub(before) as f64 / 1e9 / elapsed.as_secs_f64();
    (share(before.0, after.0), share(before.1, after.1))
}

/// The most that the broker carries, and how busy it and we are then: everybody has as much under way as
/// it takes.
fn peak(
    address: SocketAddr,
    overload: Overload,
    relay: &Target,
    duration: Duration,
    spent: &impl Fn() -> Result<Spent, LoadError>,
) -> Result<(Outcome, (f64, f64)), LoadError> {
    let mut fleet = connect(address, overload, Pace::Flood(WINDOW), RUN)?;
    let warm_up = fleet.run(Goal::Time(duration / WARM_UP_SHARE))?;
    if !warm_up.faults.is_clean() {
        return Ok((warm_up, (0.0, 0.0)));
    }
    let clients = GoodPairs::connect(address, relay, RUN + 2)?.start(duration);
    let before = spent()?;
    let mut outcome = fleet.run(Goal::Time(duration))?;
    let all_busy = busy(before, spent()?, outcome.elapsed);
    outcome.faults += clients.finish()?.faults;
    if outcome.faults.is_clean() {
        fleet.disconnect()?;
    }
    Ok((outcome, all_busy))
}

fn connect(
    address: SocketAddr,
    overload: Overload,
    pace: Pace,
    run: u32,
) -> Result<Fleet, LoadError> {
    let shape = Shape::Pairs(PAIRS);
    let plan =
        Plan { shape, qos: QoS::AtMostOnce, payload_bytes: PAYLOAD_BYTES, pace, over_tls: false };
    let mut fleet = Fleet::connect_mixed(address, plan, overload.levels, run)?;
    fleet.give_up_after(SILENCE);
    Ok(fleet)
}

/// Messages a second while everything is full and more are sent. What it takes to fill all the buffers at
/// twice the load, and to empty them when nothing falls due any more, is some hundred milliseconds each
/// and says nothing of how much is carried.
fn rate(outcome: &Outcome) -> f64 {
    outcome.steady.map_or(0.0, |steady| steady.rate())
}

/// The longest there is, if nothing came at all.
fn p99_ms(latency: &Latency) -> f64 {
    latency.quantile_ms(0.99).unwrap_or(crate::latency::LONGEST.as_secs_f64() * 1e3)
}

/// Clients that send a message now and then.
struct GoodPairs {
    fleets: [Fleet; 3],
    /// Lives as long as its clients.
    relay: Broker,
}

/// They are at it.
struct GoodAtWork {
    threads: Vec<JoinHandle<Result<(Outcome, Latency), LoadError>>>,
    _relay: Broker,
}

/// What they saw.
struct Seen {
    at_most_once: Latency,
    at_least_once: Latency,
    control: Latency,
    faults: Faults,
}

impl GoodPairs {
    /// With three numbers of runs, from this one on.
    fn connect(address: SocketAddr, relay: &Target, run: u32) -> Result<Self, LoadError> {
        machine::come_first();
        let relay = relay.start();
        machine::come_as_others();
        let relay = relay?;
        let pace = Pace::Scheduled(Schedule::new(GOOD_RATE, Duration::ZERO));
        let plan = |qos| Plan {
            shape: Shape::Pairs(1),
            qos,
            payload_bytes: PAYLOAD_BYTES,
            pace,
            over_tls: false,
        };
        let fleets = [
            Fleet::connect(address, plan(QoS::AtMostOnce), run)?,
            Fleet::connect(address, plan(QoS::AtLeastOnce), run + 1)?,
            Fleet::connect(relay.address, plan(QoS::AtLeastOnce), run + 2)?,
        ];
        Ok(Self { fleets, relay })
    }

    fn start(self, duration: Duration) -> GoodAtWork {
        let start = |mut fleet: Fleet| {
            thread::spawn(move || {
                machine::come_first();
                let (outcome, times) = fleet.run_timed(Goal::Time(duration), &mut Nobody)?;
                Ok((outcome, times.latency))
            })
        };
        GoodAtWork { threads: self.fleets.into_iter().map(start).collect(), _relay: self.relay }
    }
}

impl GoodAtWork {
    fn finish(self) -> Result<Seen, LoadError> {
        let mut seen = Vec::new();
        let mut faults = Faults::default();
        for thread in self.threads {
            let joined = thread.join().map_err(|_| LoadError::new("a good client panicked"))?;
            let (outcome, latency) = joined?;
            faults += outcome.faults;
            seen.push(latency);
        }
        let all: Result<[Latency; 3], _> = seen.try_into();
        let [at_most_once, at_least_once, control] =
            all.map_err(|_| LoadError::new("a good client is missing"))?;
        Ok(Seen { at_most_once, at_least_once, control, faults })
    }
}

/// Many, as one publisher's share of a turn is bounded in any case.
const PAIRS: u16 = 100;
const PAYLOAD_BYTES: usize = 64;
/// Under way to each receiver when the peak is looked for.
const WINDOW: u32 = 1_000;
/// So many times what it can carry.
const TIMES: f64 = 2.0;
/// What a publisher keeps on our side of what the broker does not take.
const KEPT_BYTES: usize = 256 * 1024;
/// As many as the brokers here remember of one client.
const QOS_2_UNDER_WAY: u64 = 500;
/// Messages a second of each good pair.
const GOOD_RATE: f64 = 250.0;
const WARM_UP_SHARE: u32 = 10;
/// How long nothing may come before what is under way is lost.
const SILENCE: Duration = Duration::from_secs(3);
const MIB: f64 = 1_048_576.0;
