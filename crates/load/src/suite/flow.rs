//! Messages as fast as they go: processor time per delivered message.

use std::time::Duration;

use super::{Measured, RUN, Work};
use crate::LoadError;
use crate::compare;
use crate::plan::{Pace, Plan};
use crate::target::Broker;

/// `work` is a [`Work::Flow`].
pub(super) fn measure(
    broker: &mut Broker,
    work: Work,
    duration: Duration,
) -> Result<Measured, LoadError> {
    let Work::Flow { shape, qos, payload_bytes, window, over_tls } = work else {
        return Err(LoadError::new("this is no flow of messages"));
    };
    let plan = Plan { shape, qos, payload_bytes, pace: Pace::Flood(window), over_tls };
    let sample = compare::measure(broker, plan, duration, RUN)?;
    let figures = [
        ("us", sample.broker_us()),
        ("per_second", sample.rate()),
        ("generator_us", sample.generator_us()),
        ("cpu_s", sample.broker_ns.map(|ns| ns as f64 / 1e9)),
    ];
    let known = figures.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let (figures, faults) = (known.collect(), sample.outcome.faults);
    Ok(Measured { figures, faults, ..Measured::default() })
}
