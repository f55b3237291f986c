//! All connections of a run, driven by one thread: publishers that number their messages and keep
//! their pace, subscribers that check the numbers and acknowledge.
//!
//! One turn: poll, read every ready connection, refill the publishers' buffers, write each
//! connection once. Acknowledgements therefore leave in batches, one write per read. A run begins
//! and ends quiet, with nothing under way, so that what it cost the broker can be told from outside.

mod connecting;
mod publisher;
mod sending;
mod stopwatch;
mod subscriber;

use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll};
use noctule_mqtt::QoS;

use crate::LoadError;
use crate::alarm::{ALARM, Alarm};
use crate::checker::{Faults, Sequence};
use crate::endpoint::Endpoint;
use crate::latency::Latency;
use crate::link::Link;
use crate::packets::PINGREQ;
use crate::plan::{Goal, Pace, Plan};
use crate::watcher::{Moment, Nobody, Watcher};
pub(crate) use connecting::topic;
use publisher::Publisher;
use stopwatch::Stopwatch;
use subscriber::Subscriber;

/// How long nothing may come before what is under way is given up as lost, unless told otherwise.
pub const STALL: Duration = Duration::from_secs(5);

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Messages sent.
    pub sent: u64,
    /// Messages delivered; with N subscribers to a topic, N for each.
    pub delivered: u64,
    /// Messages that were due and could not be sent, as too much was under way already.
    pub left_out: u64,
    /// From the first message to the last that came back.
    pub elapsed: Duration,
    /// How it went in the later half of the time for sending; `None` for a run to a number of messages.
    pub steady: Option<Steady>,
    /// What went wrong since the fleet connected.
    pub faults: Faults,
}

/// A part of a run: everything that can hold messages back holds some, and more are being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steady {
    /// Messages delivered.
    pub delivered: u64,
    /// How long it was.
    pub elapsed: Duration,
}

impl Steady {
    /// Messages delivered in a second.
    pub fn rate(&self) -> f64 {
        self.delivered as f64 / self.elapsed.as_secs_f64()
    }
}

/// How long the messages of a run took.
#[derive(Debug, Clone)]
pub struct Times {
    /// From the moment a message was due (without a rate: was handed to the socket) to its arrival.
    pub latency: Latency,
    /// How late the generator itself sent what nothing held up; empty without a rate.
    pub lag: Latency,
}

/// The connections of one plan.
#[derive(Debug)]
pub struct Fleet {
    plan: Plan,
    endpoint: Endpoint,
    poll: Poll,
    alarm: Alarm,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    /// The QoS of each publisher's messages, in turn: that of the plan, unless publishers differ.
    levels: Vec<QoS>,
    /// Messages sent, by publisher: the subscribers' checkers ask for it.
    sent: Vec<u64>,
    scratch: Vec<u8>,
    stall: Duration,
    /// Times the messages of this run, if anybody wants to know.
    stopwatch: Option<Stopwatch>,
    /// How often the broker wants to hear from everybody, and when it did last.
    ping: Option<(Duration, Instant)>,
}

impl Fleet {
    /// Gives up what is under way when nothing has come for `silence`, instead of [`STALL`].
    pub fn give_up_after(&mut self, silence: Duration) {
        self.stall = silence;
    }

    /// Has publishers keep no more than `bytes` each on our side, where they would take the broker's
    /// memory and caches, unlike those of clients elsewhere; and no more than so many messages at QoS 2
    /// under way, as brokers end the connection of who begins more than they can remember.
    ///
    /// # Errors
    /// If a socket does not let itself be set.
    pub fn keep_little(&mut self, bytes: usize, qos2_under_way: u64) -> Result<(), LoadError> {
        let mut all = self.publishers.iter_mut();
        all.try_for_each(|publisher| publisher.keep_little(bytes, qos2_under_way))
            .map_err(|error| LoadError::io("cannot set the size of a socket's buffer", error))
    }

    /// Changes how fast the publishers of the next run send.
    pub fn set_pace(&mut self, pace: Pace) {
        self.plan.pace = pace;
    }

    /// Sends until the goal is reached and waits until everything has come back, or nothing has for
    /// [`STALL`].
    ///
    /// # Errors
    /// If a connection is lost or carries what is no packet.
    pub fn run(&mut self, goal: Goal) -> Result<Outcome, LoadError> {
        self.stopwatch = None;
        match self.drive(goal, &mut Nobody) {
            (outcome, None) => Ok(outcome),
            (_, Some(broke)) => Err(broke),
        }
    }

    /// The same for a watcher, who may end it early, with the time that messages took.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_timed(
        &mut self,
        goal: Goal,
        watcher: &mut dyn Watcher,
    ) -> Result<(Outcome, Times), LoadError> {
        match self.run_while_connected(goal, watcher)? {
            (outcome, times, None) => Ok((outcome, times)),
            (_, _, Some(broke)) => Err(broke),
        }
    }

    /// The same with why it broke off, if it did: what was seen until then is told all the same, and what
    /// was under way counts as lost. The fleet is of no use then.
    ///
    /// # Errors
    /// If time cannot be taken.
    pub fn run_while_connected(
        &mut self,
        goal: Goal,
        watcher: &mut dyn Watcher,
    ) -> Result<(Outcome, Times, Option<LoadError>), LoadError> {
        self.stopwatch = Some(Stopwatch::new(self.plan.pace.schedule(), &self.sent)?);
        let (outcome, broke) = self.drive(goal, watcher);
        let times = self.stopwatch.take().map(Stopwatch::into_times);
        // It was put there above, and nothing else takes it.
        let times = times.ok_or_else(|| LoadError::new("the stopwatch is gone"))?;
        Ok((outcome, times, broke))
    }

    /// What was done, and why it was not all if a connection was lost or carried what is no packet.
    fn drive(&mut self, goal: Goal, watcher: &mut dyn Watcher) -> (Outcome, Option<LoadError>) {
        let before = (self.sent.iter().sum::<u64>(), self.delivered());
        let begin = Instant::now();
        let (mut end, half) = match goal {
            Goal::Time(duration) => (Some(begin + duration), Some(begin + duration / 2)),
            Goal::MessagesEach(_) => (None, None),
        };
        self.set_targets(goal);
        let mut events = Events::with_capacity(EVENTS_MAX);
        let last = match goal {
            // What is due at the very end is not sent any more, and all before it is.
            Goal::Time(duration) => duration.saturating_sub(Duration::from_nanos(1)),
            Goal::MessagesEach(_) => Duration::MAX,
        };
        let (mut heard_at, mut looked_at) = (begin, begin);
        let (mut is_open, mut closed_at, mut left_out) = (true, begin, 0);
        let (mut half_way, mut steady) = (None, None);
        if let Some(stopwatch) = &mut self.stopwatch {
            stopwatch.start(begin);
        }
        let schedule = self.plan.pace.schedule();
        let bases = self.sent.clone();
        let broke = loop {
            let now = Instant::now();
            if now - looked_at >= TICK {
                looked_at = now;
                if !self.look(watcher, now - begin, before) {
                    end = Some(end.map_or(now, |end| end.min(now)));
                }
                if let Err(error) = self.ping(now) {
                    break Some(error);
                }
            }
            let refilled = match schedule.filter(|_| is_open) {
                Some(schedule) => {
                    let due = schedule.count((now - begin).min(last));
                    self.refill_by(due, &bases, now).and_then(|count| {
                        left_out = count;
                        self.set_alarm(&schedule, due, begin)
                    })
                }
                None => self.refill(),
            };
            if let Err(error) = refilled {
                break Some(error);
            }
            if half_way.is_none() && half.is_some_and(|half| now >= half) {
                half_way = Some((now, self.delivered()));
            }
            if is_open && end.is_some_and(|end| now >= end) {
                is_open = false;
                closed_at = now;
                steady = half_way.map(|(since, delivered)| Steady {
                    delivered: self.delivered() - delivered,
                    elapsed: now - since,
                });
                self.stop_sending();
            }
            if self.is_quiet() {
                break None;
            }
            let silence = now.saturating_duration_since(heard_at);
            let is_waiting = is_open && schedule.is_some();
            if is_waiting && silence > self.stall / 2 && self.is_all_back() {
                // Nothing can come before the next message is due.
                heard_at = now;
            } else if silence > self.stall {
                break None;
            }
            let wait = end.map_or(TICK, |end| end.saturating_duration_since(now));
            match self.turn(&mut events, wait.clamp(MILLISECOND, TICK)) {
                Ok(true) => heard_at = Instant::now(),
                Ok(false) => {}
                Err(error) => break Some(error),
            }
        };
        // A wait for what never came is no part of the time that the rest took.
        let delivered = self.delivered() - before.1;
        let over_at = if delivered > 0 { heard_at.max(closed_at) } else { Instant::now() };
        let outcome = Outcome {
            sent: self.sent.iter().sum::<u64>() - before.0,
            delivered,
            left_out,
            elapsed: over_at - begin,
            steady,
            faults: self.faults(),
        };
        (outcome, broke)
    }

    /// Tells the watcher; whether it wants to go on.
    fn look(&self, watcher: &mut dyn Watcher, elapsed: Duration, before: (u64, u64)) -> bool {
        let Some(stopwatch) = &self.stopwatch else {
            return true;
        };
        watcher.go_on(&Moment {
            elapsed,
            sent: self.sent.iter().sum::<u64>() - before.0,
            delivered: self.delivered() - before.1,
            latency: stopwatch.latency(),
        })
    }

    fn ping(&mut self, now: Instant) -> Result<(), LoadError> {
        let Some((every, last)) = &mut self.ping else {
            return Ok(());
        };
        if now - *last < *every {
            return Ok(());
        }
        *last = now;
        let publishers = self.publishers.iter_mut().map(Publisher::link);
        for link in publishers.chain(self.subscribers.iter_mut().map(Subscriber::link)) {
            link.out().extend_from_slice(&PINGREQ);
            link.flush()?;
        }
        Ok(())
    }

    /// Disconnects everybody and waits until the broker has closed each connection.
    ///
    /// # Errors
    /// If it does not within a few seconds.
    pub fn disconnect(self) -> Result<(), LoadError> {
        let publishers = self.publishers.into_iter().map(Publisher::into_link);
        let subscribers = self.subscribers.into_iter().map(Subscriber::into_link);
        publishers
            .chain(subscribers)
            .try_for_each(Link::disconnect)
            .map_err(|error| LoadError::io("a connection did not end in order", error))
    }

    /// Whether all is sent and has come back. A gap keeps the run open: what is missing may only
    /// be late.
    fn is_quiet(&self) -> bool {
        let mut all = self.publishers.iter().zip(&self.sent);
        all.all(|(publisher, sent)| *sent == publisher.target)
            && self.is_all_back()
            && self.sequences().all(|(_, sequence)| sequence.is_whole())
    }

    /// Whether nothing is under way.
    fn is_all_back(&self) -> bool {
        self.sent.iter().enumerate().all(|(index, sent)| self.returned(index) == *sent)
    }

    /// Polls once and reads what came; whether anything did.
    fn turn(&mut self, events: &mut Events, wait: Duration) -> Result<bool, LoadError> {
        match self.poll.poll(events, Some(wait)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                return Err(LoadError::io("cannot poll", error));
            }
            _ => {}
        }
        let mut bytes = 0;
        for event in events.iter().filter(|event| event.token() != ALARM) {
            bytes += self.take(event)?;
        }
        for subscriber in &mut self.subscribers {
            subscriber.flush_acks()?;
        }
        Ok(bytes > 0)
    }

    fn take(&mut self, event: &Event) -> Result<usize, LoadError> {
        let index = event.token().0;
        let publishers = self.publishers.len();
        let (sent, scratch) = (&self.sent, &mut self.scratch);
        let mut bytes = 0;
        let link = if index < publishers {
            let publisher = &mut self.publishers[index];
            if event.is_readable() {
                bytes =
                    publisher.read(scratch, sent[index], self.levels[index % self.levels.len()])?;
            }
            publisher.link()
        } else {
            let subscriber = &mut self.subscribers[index - publishers];
            if event.is_readable() {
                let version = self.endpoint.version;
                let stopwatch = self.stopwatch.as_mut();
                let qos = self.levels[subscriber.heard().start % self.levels.len()];
                let plan = Plan { qos, ..self.plan };
                bytes = subscriber.read(scratch, sent, &plan, version, stopwatch)?;
            }
            subscriber.link()
        };
        if event.is_writable() {
            link.flush()?;
        }
        if event.is_read_closed() {
            link.check_open()?;
        }
        Ok(bytes)
    }

    /// The QoS of a publisher's messages.
    fn level(&self, publisher: usize) -> QoS {
        self.levels[publisher % self.levels.len()]
    }

    fn delivered(&self) -> u64 {
        self.sequences().map(|(_, sequence)| sequence.delivered()).sum()
    }

    fn faults(&self) -> Faults {
        let mut faults = Faults::default();
        for (publisher, sequence) in self.sequences() {
            faults += sequence.faults(self.sent[publisher]);
        }
        for subscriber in &self.subscribers {
            faults.foreign += subscriber.foreign;
        }
        for (index, (publisher, sent)) in self.publishers.iter().zip(&self.sent).enumerate() {
            faults += publisher.faults;
            if self.level(index) != QoS::AtMostOnce {
                faults.unacknowledged += sent.saturating_sub(publisher.acknowledged);
            }
        }
        faults
    }

    /// Each checker with the index of the publisher it watches.
    fn sequences(&self) -> impl Iterator<Item = (usize, &Sequence)> {
        self.subscribers.iter().flat_map(Subscriber::sequences)
    }
}

const SCRATCH_BYTES: usize = 256 * 1024;
const EVENTS_MAX: usize = 1024;
const TICK: Duration = Duration::from_millis(100);
const MILLISECOND: Duration = Duration::from_millis(1);
