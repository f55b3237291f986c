//! A store with very many persistent sessions, a subscription each: how long the broker takes to open
//! it, and how much memory it then has.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use noctule_mqtt::QoS;

use super::place::Place;
use super::{Plan, backlog};
use crate::link::Opening;
use crate::packets::DISCONNECT;
use crate::{LoadError, process};

/// What was found.
#[derive(Debug, Clone)]
pub struct Crowded {
    /// How many sessions there were.
    pub sessions: u32,
    /// How long it took to make them, a connection after another in a few threads.
    pub made: Duration,
    /// Size of the broker's directory then, in bytes.
    pub bytes: u64,
    /// From the start of the program until a client was let in.
    pub opened: Duration,
    /// Resident memory then, in bytes.
    pub resident: u64,
}

pub(super) fn measure(plan: &Plan, place: &Place) -> Result<Crowded, LoadError> {
    let (broker, _) = place.start(plan, &[])?;
    let begin = Instant::now();
    make_sessions(broker.address, 0..plan.sessions)?;
    let made = begin.elapsed();
    drop(broker);
    let bytes = place.bytes()?;
    let (broker, pid, opened) = backlog::open(plan, place)?;
    let resident = process::resident(pid)?;
    drop(broker);
    place.clear()?;
    Ok(Crowded { sessions: plan.sessions, made, bytes, opened, resident })
}

/// Makes persistent sessions with these numbers, which have a subscription each and no connection.
pub(crate) fn make_sessions(address: SocketAddr, numbers: Range<u32>) -> Result<(), LoadError> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|first| {
                let mut numbers = numbers.clone().skip(first).step_by(THREADS);
                scope.spawn(move || numbers.try_for_each(|number| come_and_go(address, number)))
            })
            .collect();
        let panicked = |_| Err(LoadError::new("a thread panicked"));
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(panicked))
    })
}

/// Makes a session with a subscription, and leaves.
fn come_and_go(address: SocketAddr, number: u32) -> Result<(), LoadError> {
    let mut opening = Opening::resume(&address.into(), &format!("device-{number:06}"))?;
    opening.subscribe(&format!("devices/{number:06}/#"), QoS::AtLeastOnce)?;
    let mut stream = opening.into_stream();
    // The broker closes first, so that no port of ours has to wait until it is free again.
    let left = stream.write_all(&DISCONNECT).and_then(|()| stream.read(&mut [0]));
    left.map(|_| ()).map_err(|error| LoadError::io("a client cannot leave", error))
}

/// So that the broker's flushes serve several at once.
const THREADS: usize = 16;
