//! A fixed rate, and how long messages take, from the moment at which each was due.

use std::time::Duration;

use noctule_mqtt::QoS;

use super::{Measured, RUN};
use crate::LoadError;
use crate::fleet::Fleet;
use crate::plan::{Goal, Pace, Plan, Shape};
use crate::schedule::Schedule;
use crate::target::Broker;
use crate::watcher::Nobody;

pub(super) fn measure(
    broker: &mut Broker,
    qos: QoS,
    rate: f64,
    duration: Duration,
) -> Result<Measured, LoadError> {
    let pace = Pace::Scheduled(Schedule::new(rate, Duration::ZERO));
    let shape = Shape::Pairs(PAIRS);
    let plan = Plan { shape, qos, payload_bytes: 64, pace, over_tls: false };
    let mut fleet = Fleet::connect(broker.address, plan, RUN)?;
    fleet.run(Goal::Time(duration / WARM_UP_SHARE))?;
    let (outcome, times) = fleet.run_timed(Goal::Time(duration), &mut Nobody)?;
    let us = |share| times.latency.quantile_ms(share).map(|ms| ms * 1e3);
    let figures = [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999)];
    let known = figures.into_iter().filter_map(|(name, share)| Some((name, us(share)?)));
    let (figures, faults) = (known.collect(), outcome.faults);
    Ok(Measured { figures, faults, ..Measured::default() })
}

const PAIRS: u16 = 10;
const WARM_UP_SHARE: u32 = 10;
