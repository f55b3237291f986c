//! What waits and says nothing: resident memory for each idle connection and each absent session, and
//! how much of it stays with the broker when the connections are gone.

use std::time::Duration;

use super::Measured;
use crate::durable::make_sessions;
use crate::idle::check_open;
use crate::link::Opening;
use crate::socket::Socket;
use crate::target::Broker;
use crate::{LoadError, process};

pub(super) fn measure_idle(
    broker: &mut Broker,
    connections: u32,
    over_tls: bool,
) -> Result<Measured, LoadError> {
    let endpoint = broker.endpoint(over_tls)?;
    let open = |number: u32| {
        let id = format!("idle-{number:08}");
        Opening::connect(&endpoint, &id, KEEP_ALIVE_S).and_then(Opening::into_quiet)
    };
    // The first one shows the broker its way.
    let first = open(0)?;
    let before = settled(broker)?;
    let held: Vec<Socket> = (1..=connections).map(open).collect::<Result<_, _>>()?;
    let after = settled(broker)?;
    if !over_tls {
        // Held until now; a broker that closed them in between would look cheap.
        held.iter().chain([&first]).try_for_each(check_open)?;
    }
    drop(held);
    let left = calmed(broker)?;
    Ok(Measured::of([
        ("bytes", each(before, after, connections)),
        ("left_bytes", left as f64 - before as f64),
    ]))
}

pub(super) fn measure_absent(broker: &mut Broker, sessions: u32) -> Result<Measured, LoadError> {
    make_sessions(broker.address, 0..1)?;
    let before = settled(broker)?;
    make_sessions(broker.address, 1..sessions + 1)?;
    let after = settled(broker)?;
    Ok(Measured::of([("bytes", each(before, after, sessions))]))
}

/// Resident memory once everybody is gone, and the broker has had time to give back most of what it does
/// not need.
pub(super) fn calmed(broker: &Broker) -> Result<u64, LoadError> {
    std::thread::sleep(CALM);
    settled(broker)
}

pub(super) fn settled(broker: &Broker) -> Result<u64, LoadError> {
    let pid = broker.pid.ok_or_else(|| LoadError::new("the broker's process is not known"))?;
    // What is due once a second, such as statistics, has come.
    std::thread::sleep(SETTLE);
    process::resident(pid)
}

fn each(before: u64, after: u64, count: u32) -> f64 {
    (after as f64 - before as f64) / f64::from(count.max(1))
}

const KEEP_ALIVE_S: u16 = 60;
const CALM: Duration = Duration::from_secs(3);
const SETTLE: Duration = Duration::from_millis(1_500);
