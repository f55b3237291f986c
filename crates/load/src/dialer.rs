//! Connections that come and go: each is opened, perhaps encrypted, greeted with CONNECT, answered
//! with CONNACK, and ended with DISCONNECT. Any number at once, by a schedule or as many as go.
//!
//! A connection counts as made when CONNACK has said yes; its place is taken by the next one only
//! when the broker has closed it, so that the broker has done all its work. What a connection is for
//! is not known here.

use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use crate::LoadError;
use crate::alarm::{ALARM, Alarm};
use crate::caller::{Caller, Step};
use crate::endpoint::Endpoint;
use crate::latency::Latency;
use crate::packets::DISCONNECT;
use crate::schedule::Schedule;
use crate::watcher::{Moment, Watcher};

/// How many connections are made, and how fast.
#[derive(Debug, Clone, Copy)]
pub struct Dialing {
    /// At most so many at a time.
    pub at_once: u16,
    /// When each is begun; `None` begins one as soon as there is a place for it.
    pub schedule: Option<Schedule>,
    /// How long new ones are begun.
    pub duration: Duration,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Dialed {
    /// Connections that CONNACK has welcomed.
    pub made: u64,
    /// Of those, how many went on with an earlier TLS session.
    pub resumed: u64,
    /// Connections that CONNACK has refused.
    pub refused: u64,
    /// Connections that broke, or were not answered in time.
    pub failed: u64,
    /// Connections that the schedule wanted and for which there was no place until the end.
    pub left_out: u64,
    /// From the first connection's beginning to the last one's end.
    pub elapsed: Duration,
    /// From the moment a connection was due (without a schedule: was begun) to its CONNACK.
    pub latency: Latency,
}

/// The places for connections.
struct Dialer<'a> {
    endpoint: &'a Endpoint,
    poll: Poll,
    places: Vec<Place>,
    free: Vec<usize>,
    scratch: Vec<u8>,
    dialed: Dialed,
    /// When something was last heard.
    heard_at: Instant,
}

struct Place {
    caller: Option<Caller>,
    connect: Vec<u8>,
    since: Instant,
}

/// Makes connections until the time is over or the watcher has seen enough, and waits for the end of
/// each. `run` tells the client identifiers from those of other runs at the same broker.
///
/// # Errors
/// If no connection can be begun; what the broker does to connections is no error.
pub fn dial(
    endpoint: &Endpoint,
    dialing: Dialing,
    run: u32,
    watcher: &mut dyn Watcher,
) -> Result<Dialed, LoadError> {
    let mut dialer = Dialer::new(endpoint, dialing.at_once, run)?;
    let alarm = Alarm::new(dialer.poll.registry())?;
    let begin = Instant::now();
    let mut events = Events::with_capacity(EVENTS_MAX);
    let (mut begun, mut is_open, mut looked_at) = (0, true, begin);
    let mut open_for = Duration::ZERO;
    loop {
        let now = Instant::now();
        if now - looked_at >= TICK {
            looked_at = now;
            is_open &= watcher.go_on(&dialer.moment(begun, now - begin));
        }
        if is_open {
            // What is due at the very end is not begun any more, and all before it is.
            let last = dialing.duration.saturating_sub(Duration::from_nanos(1));
            begun = dialer.begin(begun, &dialing, begin, now.min(begin + last))?;
            open_for = (now - begin).min(last);
            is_open = now - begin < dialing.duration;
            if let Some(schedule) = dialing.schedule.filter(|_| !dialer.free.is_empty()) {
                alarm.set(schedule.due(begun).saturating_sub(begin.elapsed()))?;
            }
        } else if dialer.is_empty() || now - dialer.heard_at > SILENCE {
            break;
        }
        dialer.turn(&mut events)?;
    }
    if let Some(schedule) = dialing.schedule {
        dialer.dialed.left_out = schedule.count(open_for).saturating_sub(begun);
    }
    Ok(dialer.finish(begin))
}

impl<'a> Dialer<'a> {
    fn new(endpoint: &'a Endpoint, at_once: u16, run: u32) -> Result<Self, LoadError> {
        let poll = Poll::new().map_err(|error| LoadError::io("cannot poll", error))?;
        let place = |number: u16| {
            let connect = endpoint.connect(
                &format!("{}-{run:08x}-c{number:05}", endpoint.prefix),
                0,
                true,
            )?;
            Ok(Place { caller: None, connect, since: Instant::now() })
        };
        Ok(Self {
            endpoint,
            poll,
            places: (0..at_once).map(place).collect::<Result<_, LoadError>>()?,
            free: (0..usize::from(at_once)).rev().collect(),
            scratch: vec![0; SCRATCH_BYTES],
            dialed: Dialed {
                made: 0,
                resumed: 0,
                refused: 0,
                failed: 0,
                left_out: 0,
                elapsed: Duration::ZERO,
                latency: Latency::new()?,
            },
            heard_at: Instant::now(),
        })
    }

    fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    fn moment(&self, begun: u64, elapsed: Duration) -> Moment<'_> {
        let (delivered, latency) = (self.dialed.made, &self.dialed.latency);
        Moment { elapsed, sent: begun, delivered, latency }
    }

    /// Begins what is due, as far as there are places; how many were begun so far.
    fn begin(
        &mut self,
        mut begun: u64,
        dialing: &Dialing,
        begin: Instant,
        now: Instant,
    ) -> Result<u64, LoadError> {
        let due = dialing.schedule.map_or(u64::MAX, |schedule| schedule.count(now - begin));
        while begun < due
            && let Some(number) = self.free.pop()
        {
            let place = &mut self.places[number];
            let caller = Caller::call(self.endpoint, self.poll.registry(), Token(number))?;
            place.caller = Some(caller);
            place.since = dialing.schedule.map_or(now, |schedule| begin + schedule.due(begun));
            begun += 1;
        }
        Ok(begun)
    }

    fn turn(&mut self, events: &mut Events) -> Result<(), LoadError> {
        match self.poll.poll(events, Some(TICK)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                return Err(LoadError::io("cannot poll", error));
            }
            _ => {}
        }
        for event in &*events {
            if event.token() != ALARM {
                self.step(event.token().0);
            }
        }
        Ok(())
    }

    fn step(&mut self, number: usize) {
        let place = &mut self.places[number];
        let Some(caller) = &mut place.caller else {
            return;
        };
        let was_in = caller.is_in();
        let step = caller.turn(&place.connect, &mut self.scratch, |_, _| {});
        if step != Step::Nothing {
            self.heard_at = Instant::now();
        }
        match step {
            Step::Nothing => return,
            Step::LetIn => {
                self.dialed.made += 1;
                self.dialed.resumed += u64::from(caller.is_resumed());
                self.dialed.latency.record(self.heard_at - place.since, 1);
                if caller.say(&DISCONNECT) {
                    // The broker closes, and so ends the place's use.
                    return;
                }
            }
            Step::Refused => self.dialed.refused += 1,
            Step::Gone => self.dialed.failed += u64::from(!was_in),
        }
        place.caller = None;
        self.free.push(number);
    }

    fn finish(mut self, begin: Instant) -> Dialed {
        let unanswered = self.places.iter().filter_map(|place| place.caller.as_ref());
        self.dialed.failed += unanswered.filter(|caller| !caller.is_in()).count() as u64;
        self.dialed.elapsed = begin.elapsed();
        self.dialed
    }
}

const SCRATCH_BYTES: usize = 16 * 1024;
const EVENTS_MAX: usize = 1024;
const TICK: Duration = Duration::from_millis(100);

/// How long nothing may come at the end before what is under way is given up.
const SILENCE: Duration = Duration::from_secs(5);
