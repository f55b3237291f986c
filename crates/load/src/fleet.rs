//! All connections of a run, driven by one thread: publishers that number their messages and keep
//! their pace, subscribers that check the numbers and acknowledge.
//!
//! One turn: poll, read every ready connection, refill the publishers' buffers, write each
//! connection once. Acknowledgements therefore leave in batches, one write per read. A run begins
//! and ends quiet, with nothing under way, so that what it cost the broker can be told from outside.

use std::ops::Range;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Token};
use noctule_mqtt::codec::Frame;
use noctule_mqtt::{PacketType, QoS};

use crate::LoadError;
use crate::checker::{Faults, Sequence};
use crate::endpoint::Endpoint;
use crate::link::{Link, Opening};
use crate::packets::{self, Arrival, Mark, Template};
use crate::plan::{Goal, Plan};

/// How long nothing may come before what is under way is given up as lost, unless told otherwise.
pub const STALL: Duration = Duration::from_secs(5);

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Messages sent.
    pub sent: u64,
    /// Messages delivered; with N subscribers to a topic, N for each.
    pub delivered: u64,
    /// From the first message to the last that came back.
    pub elapsed: Duration,
    /// What went wrong since the fleet connected.
    pub faults: Faults,
}

/// The connections of one plan.
#[derive(Debug)]
pub struct Fleet {
    plan: Plan,
    poll: Poll,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    /// Messages sent, by publisher: the subscribers' checkers ask for it.
    sent: Vec<u64>,
    scratch: Vec<u8>,
    stall: Duration,
}

#[derive(Debug)]
struct Publisher {
    link: Link,
    template: Template,
    acknowledged: u64,
    faults: Faults,
    /// Where to stop sending, counted as `sent` is.
    target: u64,
}

#[derive(Debug)]
struct Subscriber {
    link: Link,
    /// Of each publisher heard, from `heard.start` on.
    sequences: Vec<Sequence>,
    heard: Range<usize>,
    foreign: u64,
    has_acks: bool,
}

impl Fleet {
    /// Connects and subscribes everybody. `run` tells this fleet's topics and client ids from those
    /// of other fleets at the same broker.
    ///
    /// # Errors
    /// If the plan cannot be carried out, or the broker refuses.
    pub fn connect(endpoint: impl Into<Endpoint>, plan: Plan, run: u32) -> Result<Self, LoadError> {
        let endpoint = endpoint.into();
        if let Some(complaint) = plan.complaint() {
            return Err(LoadError::new(complaint));
        }
        let poll = Poll::new().map_err(|error| LoadError::io("cannot poll", error))?;
        let mut fleet = Self {
            plan,
            poll,
            publishers: Vec::new(),
            subscribers: Vec::new(),
            sent: vec![0; plan.shape.publishers()],
            scratch: vec![0; SCRATCH_BYTES],
            stall: STALL,
        };
        for index in 0..plan.shape.subscribers() {
            fleet.add_subscriber(&endpoint, run, index)?;
        }
        for index in 0..plan.shape.publishers() {
            fleet.add_publisher(&endpoint, run, index)?;
        }
        Ok(fleet)
    }

    fn add_subscriber(
        &mut self,
        endpoint: &Endpoint,
        run: u32,
        index: usize,
    ) -> Result<(), LoadError> {
        let heard = self.plan.shape.heard(index);
        let id = format!("load-{run:08x}-s{index:05}");
        let mut opening = Opening::connect(endpoint, &id, KEEP_ALIVE_OFF)?;
        let filter =
            if heard.len() == 1 { topic(run, heard.start) } else { format!("load/{run:08x}/+") };
        opening.subscribe(&filter, self.plan.qos)?;
        let token = Token(self.plan.shape.publishers() + index);
        self.subscribers.push(Subscriber {
            link: opening.start(self.poll.registry(), token)?,
            sequences: heard.clone().map(|_| Sequence::default()).collect(),
            heard,
            foreign: 0,
            has_acks: false,
        });
        Ok(())
    }

    fn add_publisher(
        &mut self,
        endpoint: &Endpoint,
        run: u32,
        index: usize,
    ) -> Result<(), LoadError> {
        let id = format!("load-{run:08x}-p{index:05}");
        let opening = Opening::connect(endpoint, &id, KEEP_ALIVE_OFF)?;
        let plan = self.plan;
        self.publishers.push(Publisher {
            link: opening.start(self.poll.registry(), Token(index))?,
            template: Template::new(&topic(run, index), plan.qos, plan.payload_bytes)?,
            acknowledged: 0,
            faults: Faults::default(),
            target: 0,
        });
        Ok(())
    }

    /// Gives up what is under way when nothing has come for `silence`, instead of [`STALL`].
    pub fn give_up_after(&mut self, silence: Duration) {
        self.stall = silence;
    }

    /// Sends until the goal is reached and waits until everything has come back, or nothing has for
    /// [`STALL`].
    ///
    /// # Errors
    /// If a connection is lost or carries what is no packet.
    pub fn run(&mut self, goal: Goal) -> Result<Outcome, LoadError> {
        let before = (self.sent.iter().sum::<u64>(), self.delivered());
        let begin = Instant::now();
        let end = match goal {
            Goal::Time(duration) => Some(begin + duration),
            Goal::MessagesEach(_) => None,
        };
        self.set_targets(goal);
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut heard_at = begin;
        loop {
            self.refill()?;
            let now = Instant::now();
            if end.is_some_and(|end| now >= end) {
                self.stop_sending();
            }
            if self.is_quiet() || now - heard_at > self.stall {
                break;
            }
            let wait = end.map_or(TICK, |end| end.saturating_duration_since(now));
            if self.turn(&mut events, wait.clamp(MILLISECOND, TICK))? {
                heard_at = Instant::now();
            }
        }
        Ok(Outcome {
            sent: self.sent.iter().sum::<u64>() - before.0,
            delivered: self.delivered() - before.1,
            elapsed: begin.elapsed(),
            faults: self.faults(),
        })
    }

    /// Disconnects everybody and waits until the broker has closed each connection.
    ///
    /// # Errors
    /// If it does not within a few seconds.
    pub fn disconnect(self) -> Result<(), LoadError> {
        let publishers = self.publishers.into_iter().map(|publisher| publisher.link);
        let subscribers = self.subscribers.into_iter().map(|subscriber| subscriber.link);
        publishers
            .chain(subscribers)
            .try_for_each(Link::disconnect)
            .map_err(|error| LoadError::io("a connection did not end in order", error))
    }

    fn set_targets(&mut self, goal: Goal) {
        for (publisher, sent) in self.publishers.iter_mut().zip(&self.sent) {
            publisher.target = match goal {
                Goal::Time(_) => u64::MAX,
                Goal::MessagesEach(count) => sent + count,
            };
        }
    }

    fn stop_sending(&mut self) {
        for (publisher, sent) in self.publishers.iter_mut().zip(&self.sent) {
            publisher.target = *sent;
        }
    }

    /// Whether all is sent and has come back. A gap keeps the run open: what is missing may only
    /// be late.
    fn is_quiet(&self) -> bool {
        let is_back = |(index, publisher): (usize, &Publisher)| {
            let sent = self.sent[index];
            sent == publisher.target && self.returned(index) == sent
        };
        self.publishers.iter().enumerate().all(is_back)
            && self.sequences().all(|(_, sequence)| sequence.is_whole())
    }

    /// How many messages of a publisher have come back to everybody who hears it, and are
    /// acknowledged at QoS 1. A lost message counts as soon as a later one came, so that a broker
    /// which loses does not stop the run.
    fn returned(&self, publisher: usize) -> u64 {
        let delivered = self
            .plan
            .shape
            .listeners(publisher)
            .map(|index| {
                let subscriber = &self.subscribers[index];
                subscriber.sequences[publisher - subscriber.heard.start].next()
            })
            .min()
            .unwrap_or(0);
        if self.plan.qos == QoS::AtMostOnce {
            delivered
        } else {
            delivered.min(self.publishers[publisher].acknowledged)
        }
    }

    /// Lets every publisher send what its pace allows.
    fn refill(&mut self) -> Result<(), LoadError> {
        let share = self.subscribers[0].heard.len() as u64;
        for index in 0..self.publishers.len() {
            let sent = self.sent[index];
            let room = self.plan.pace.room(sent, self.returned(index), share);
            let publisher = &mut self.publishers[index];
            let until = publisher.target.min(sent + room);
            if until == sent {
                continue;
            }
            for sequence in sent..until {
                let mark = Mark { publisher: index as u16, sequence };
                publisher.template.append(mark, publisher.link.out());
            }
            self.sent[index] = until;
            publisher.link.flush()?;
        }
        Ok(())
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
        for event in &*events {
            bytes += self.take(event)?;
        }
        for subscriber in &mut self.subscribers {
            if std::mem::take(&mut subscriber.has_acks) {
                subscriber.link.flush()?;
            }
        }
        Ok(bytes > 0)
    }

    fn take(&mut self, event: &Event) -> Result<usize, LoadError> {
        let index = event.token().0;
        let publishers = self.publishers.len();
        let (sent, qos, scratch) = (&self.sent, self.plan.qos, &mut self.scratch);
        let mut bytes = 0;
        let link = if index < publishers {
            let publisher = &mut self.publishers[index];
            if event.is_readable() {
                bytes = publisher.read(scratch, sent[index])?;
            }
            &mut publisher.link
        } else {
            let subscriber = &mut self.subscribers[index - publishers];
            if event.is_readable() {
                bytes = subscriber.read(scratch, sent, qos, self.plan.payload_bytes)?;
            }
            &mut subscriber.link
        };
        if event.is_writable() {
            link.flush()?;
        }
        if event.is_read_closed() {
            link.check_open()?;
        }
        Ok(bytes)
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
        for (publisher, sent) in self.publishers.iter().zip(&self.sent) {
            faults += publisher.faults;
            if self.plan.qos != QoS::AtMostOnce {
                faults.unacknowledged += sent.saturating_sub(publisher.acknowledged);
            }
        }
        faults
    }

    /// Each checker with the index of the publisher it watches.
    fn sequences(&self) -> impl Iterator<Item = (usize, &Sequence)> {
        self.subscribers
            .iter()
            .flat_map(|subscriber| subscriber.heard.clone().zip(&subscriber.sequences))
    }
}

impl Publisher {
    fn read(&mut self, scratch: &mut [u8], sent: u64) -> Result<usize, LoadError> {
        let (acknowledged, faults) = (&mut self.acknowledged, &mut self.faults);
        self.link.read(scratch, |frame, _| {
            if frame.type_bits() == PacketType::Puback as u8 {
                if *acknowledged >= sent {
                    faults.foreign += 1;
                    return;
                }
                let expected = packets::packet_id(*acknowledged).get().to_be_bytes();
                if frame.body() != expected {
                    faults.unacknowledged += 1;
                }
                *acknowledged += 1;
            } else if !is_of_the_broker(frame) {
                faults.foreign += 1;
            }
        })
    }
}

impl Subscriber {
    fn read(
        &mut self,
        scratch: &mut [u8],
        sent: &[u64],
        qos: QoS,
        payload_bytes: usize,
    ) -> Result<usize, LoadError> {
        let (sequences, heard) = (&mut self.sequences, self.heard.clone());
        let (foreign, has_acks) = (&mut self.foreign, &mut self.has_acks);
        self.link.read(scratch, |frame, out| {
            if frame.type_bits() != PacketType::Publish as u8 {
                *foreign += 1;
                return;
            }
            match packets::arrival(frame) {
                Arrival::OfTheBroker => {}
                Arrival::Unreadable => *foreign += 1,
                Arrival::Ours { mark, packet_id, payload_bytes: bytes } => {
                    if let Some(id) = packet_id {
                        packets::append_puback(id, out);
                        *has_acks = true;
                    }
                    let publisher = usize::from(mark.publisher);
                    let as_sent =
                        bytes == payload_bytes && packet_id.is_some() == (qos != QoS::AtMostOnce);
                    if as_sent && heard.contains(&publisher) {
                        sequences[publisher - heard.start].arrived(mark.sequence, sent[publisher]);
                    } else {
                        *foreign += 1;
                    }
                }
            }
        })
    }
}

fn is_of_the_broker(frame: &Frame<'_>) -> bool {
    frame.type_bits() == PacketType::Publish as u8
        && packets::arrival(frame) == Arrival::OfTheBroker
}

/// Of one width, so that every message of a run has the same size.
fn topic(run: u32, publisher: usize) -> String {
    format!("load/{run:08x}/{publisher:05}")
}

/// A run is short and a broker under valgrind slow: no pings.
const KEEP_ALIVE_OFF: u16 = 0;

const SCRATCH_BYTES: usize = 256 * 1024;
const EVENTS_MAX: usize = 1024;
const TICK: Duration = Duration::from_millis(100);
const MILLISECOND: Duration = Duration::from_millis(1);
