//! A store in which one session is owed very much: how long the broker takes to open it, how much
//! memory it then has, and what is left on disk when everything is delivered.

use std::thread;
use std::time::{Duration, Instant};

use super::crew::Crew;
use super::listener::Listener;
use super::place::Place;
use super::{Load, Plan, Subscriber};
use crate::checker::Faults;
use crate::link::Opening;
use crate::plan::Goal;
use crate::{LoadError, process};

/// What was found.
#[derive(Debug, Clone)]
pub struct Backlog {
    /// How many messages waited.
    pub messages: u64,
    /// How long it took until all were acknowledged.
    pub filled: Duration,
    /// Size of the broker's directory then, in bytes.
    pub bytes_full: u64,
    /// From the start of the program until a client was let in.
    pub opened: Duration,
    /// Resident memory then, in bytes.
    pub resident: u64,
    /// At most until then, in bytes.
    pub resident_peak: u64,
    /// How long the subscriber took to get and acknowledge everything.
    pub delivered: Duration,
    /// Size of the directory when it shrank no more, in bytes.
    pub bytes_after: u64,
    /// What went wrong with these messages.
    pub faults: Faults,
}

pub(super) fn measure(plan: &Plan, place: &Place) -> Result<Backlog, LoadError> {
    let (broker, _) = place.start(plan, &[])?;
    let mut crew = Crew::connect(broker.address, LOAD, Subscriber::Absent, plan.payload_bytes)?;
    let each = plan.queued.div_ceil(LOAD.publishers.into());
    let done = crew.run(Goal::MessagesEach(each))?;
    let (sent, mut faults) = (crew.sent(), crew.faults());
    drop(crew);
    drop(broker);
    let bytes_full = place.bytes()?;
    let (mut broker, pid, opened) = open(plan, place)?;
    let (resident, resident_peak) = (process::resident(pid)?, process::resident_peak(pid)?);
    let (delivered, of_delivery) = Listener::drain(broker.address, &sent)?;
    faults += of_delivery;
    let bytes_after = settled(place)?;
    broker.check_alive()?;
    drop(broker);
    place.clear()?;
    Ok(Backlog {
        messages: done.messages,
        filled: done.elapsed,
        bytes_full,
        opened,
        resident,
        resident_peak,
        delivered,
        bytes_after,
        faults,
    })
}

/// Starts a broker on what is there already; how long until it lets a client in.
pub(super) fn open(
    plan: &Plan,
    place: &Place,
) -> Result<(crate::target::Broker, u32, Duration), LoadError> {
    let begin = Instant::now();
    let (broker, pid) = place.start(plan, &[])?;
    Opening::connect(&broker.address.into(), "first", 0)?;
    Ok((broker, pid, begin.elapsed()))
}

/// The size of the directory as soon as it has not changed for a while.
fn settled(place: &Place) -> Result<u64, LoadError> {
    let begin = Instant::now();
    let (mut bytes, mut since) = (place.bytes()?, begin);
    while since.elapsed() < QUIET && begin.elapsed() < PATIENCE {
        thread::sleep(TICK);
        let now = place.bytes()?;
        if now != bytes {
            (bytes, since) = (now, Instant::now());
        }
    }
    Ok(bytes)
}

const LOAD: Load = Load { publishers: 64, window: 100 };
const QUIET: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(50);
