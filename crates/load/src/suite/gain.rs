//! What another loop gains, where every loop has a bounded share of a processor.
//!
//! On two processors a loop and the generator are busy already, and a second loop has nothing to gain.
//! With a [`Ration`] for each loop there is room: so many loops have so many shares, and the generator has
//! what is left. All publishers send equally many messages, and the time until the last one has
//! come counts. If each sent as fast as it could, pairs whose ends live on one loop would carry most, as no
//! other loop has to have its turn for them.

use std::thread;
use std::time::{Duration, Instant};

use super::{Measured, RUN, Work};
use crate::LoadError;
use crate::fleet::{Fleet, Outcome};
use crate::plan::{Goal, Pace, Plan};
use crate::process::{self, Thread};
use crate::rations::{Ration, Rations};
use crate::target::Broker;

/// `work` is a [`Work::Gain`], and the broker has so many loops.
pub(super) fn measure(
    broker: &Broker,
    loops: u16,
    work: Work,
    duration: Duration,
) -> Result<Measured, LoadError> {
    let Work::Gain { shape, qos, window } = work else {
        return Err(LoadError::new("this is no work for loops on rations"));
    };
    let pid = broker.pid.ok_or_else(|| LoadError::new("the broker's process is not known"))?;
    let threads = loops_of(pid, loops)?;
    let _rations = match Rations::new(pid, &threads, RATION) {
        Ok(rations) => rations,
        Err(error) => {
            let left_out = format!("needs root and control groups ({error})");
            return Ok(Measured { left_out: Some(left_out), ..Measured::default() });
        }
    };
    let (payload_bytes, over_tls) = (PAYLOAD_BYTES, false);
    let plan = Plan { shape, qos, payload_bytes, pace: Pace::Flood(window), over_tls };
    let mut fleet = Fleet::connect(broker.endpoint(over_tls)?, plan, RUN)?;
    let warm_up = fleet.run(Goal::Time(duration / WARM_UP_SHARE))?;
    if !warm_up.faults.is_clean() {
        return Ok(Measured { faults: warm_up.faults, ..Measured::default() });
    }
    let spent = || -> Result<_, LoadError> {
        let of_loops = threads.iter().map(|thread| process::thread_cpu_ns(pid, *thread));
        let of_loops: u64 = of_loops.sum::<Result<_, _>>()?;
        Ok([process::cpu_ns(pid)?, of_loops, process::cpu_ns(std::process::id())?])
    };
    let before = spent()?;
    let each = messages_each(&warm_up, shape.publishers(), duration);
    let outcome = fleet.run(Goal::MessagesEach(each))?;
    let after = spent()?;
    if outcome.faults.is_clean() {
        fleet.disconnect()?;
    }
    let seconds = outcome.elapsed.as_secs_f64();
    let [broker_s, loops_s, generator_s] =
        std::array::from_fn(|who| after[who].saturating_sub(before[who]) as f64 / NS_PER_SECOND);
    let delivered = outcome.delivered as f64;
    let figures = [
        ("per_second", delivered / seconds),
        ("us", broker_s * US_PER_SECOND / delivered),
        ("used", loops_s / seconds / (RATION.share() * f64::from(loops))),
        ("generator_busy", generator_s / seconds),
    ];
    Ok(Measured { faults: outcome.faults, ..Measured::of(figures) })
}

/// The threads of the broker's loops. A thread takes its name itself, soon after it has begun.
fn loops_of(pid: u32, loops: u16) -> Result<Vec<u32>, LoadError> {
    let deadline = Instant::now() + NAMES_TIMEOUT;
    loop {
        let found = process::threads(pid)?;
        let of_loops = found.into_iter().filter(|Thread { name, .. }| name.starts_with(LOOP_NAME));
        let ids: Vec<_> = of_loops.map(|thread| thread.id).collect();
        if ids.len() == usize::from(loops) {
            return Ok(ids);
        }
        if Instant::now() >= deadline {
            let words = format!("of {loops} loops {} have a thread named so", ids.len());
            return Err(LoadError::new(words));
        }
        thread::sleep(NAMES_POLL);
    }
}

/// How many messages of each publisher take about `duration`, as fast as the first ones went.
fn messages_each(first: &Outcome, publishers: usize, duration: Duration) -> u64 {
    let per_second = first.sent as f64 / first.elapsed.as_secs_f64() / publishers as f64;
    ((per_second * duration.as_secs_f64()) as u64).max(1)
}

/// A fifth of a processor: with four loops the generator still has more than one.
const RATION: Ration = Ration { quota: Duration::from_millis(1), period: Duration::from_millis(5) };
const PAYLOAD_BYTES: usize = 64;
/// What the threads of loops are called, with a number behind it.
const LOOP_NAME: &str = "shard-";
const NAMES_TIMEOUT: Duration = Duration::from_secs(2);
const NAMES_POLL: Duration = Duration::from_millis(5);
const WARM_UP_SHARE: u32 = 4;
const NS_PER_SECOND: f64 = 1e9;
const US_PER_SECOND: f64 = 1e6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::Faults;

    #[test]
    fn as_many_messages_as_the_time_is_long() {
        let first = Outcome {
            sent: 1_000,
            delivered: 1_000,
            left_out: 0,
            elapsed: Duration::from_millis(500),
            steady: None,
            faults: Faults::default(),
        };
        assert_eq!(messages_each(&first, 10, Duration::from_secs(3)), 600);
        assert_eq!(messages_each(&first, 10, Duration::from_millis(1)), 1);
    }

    #[test]
    fn loops_are_known_by_the_names_of_their_threads() {
        let (tell, told) = std::sync::mpsc::channel::<()>();
        let name = format!("{LOOP_NAME}7");
        let waits = move || told.recv();
        let one = thread::Builder::new().name(name).spawn(waits).unwrap();
        assert_eq!(loops_of(std::process::id(), 1).unwrap().len(), 1);
        drop(tell);
        assert!(one.join().unwrap().is_err());
    }
}
