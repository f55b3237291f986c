//! Connections that come and go, each with CONNECT and DISCONNECT: processor time for one.

use std::time::Duration;

use super::{Measured, RUN};
use crate::LoadError;
use crate::dialer::{Dialing, dial};
use crate::endpoint::Endpoint;
use crate::process;
use crate::target::Broker;
use crate::watcher::Nobody;

pub(super) fn measure(
    broker: &mut Broker,
    over_tls: bool,
    duration: Duration,
) -> Result<Measured, LoadError> {
    let endpoint = broker.endpoint(over_tls)?;
    let Some(tls) = endpoint.tls.clone() else {
        return Ok(Measured::of([("us", cost(broker, &endpoint, duration)?)]));
    };
    let full = Endpoint { tls: Some(tls.without_resumption()), ..endpoint.clone() };
    Ok(Measured::of([
        ("full_us", cost(broker, &full, duration)?),
        ("resumed_us", cost(broker, &endpoint, duration)?),
    ]))
}

/// Processor time per connection, in microseconds.
fn cost(broker: &Broker, endpoint: &Endpoint, duration: Duration) -> Result<f64, LoadError> {
    let pid = broker.pid.ok_or_else(|| LoadError::new("the broker's process is not known"))?;
    let dialing = |duration| Dialing { at_once: AT_ONCE, schedule: None, duration };
    dial(endpoint, dialing(duration / WARM_UP_SHARE), RUN, &mut Nobody)?;
    let before = process::cpu_ns(pid)?;
    let dialed = dial(endpoint, dialing(duration), RUN, &mut Nobody)?;
    let ns = process::cpu_ns(pid)? - before;
    if dialed.refused + dialed.failed > 0 || dialed.made == 0 {
        let (made, refused, failed) = (dialed.made, dialed.refused, dialed.failed);
        let words = format!("{made} connections made, {refused} refused, {failed} failed");
        return Err(LoadError::new(words));
    }
    Ok(ns as f64 / 1e3 / dialed.made as f64)
}

/// Enough to keep a broker busy, and no more than the client keeps tickets for: who finds none cannot
/// resume.
const AT_ONCE: u16 = 8;
const WARM_UP_SHARE: u32 = 10;
