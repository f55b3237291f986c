//! Publishers with a window each, and the persistent subscriber that is owed what they send.
//!
//! One thread; messages are numbered and checked as everywhere. The invariant: a run begins and ends
//! with nothing under way.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use noctule_mqtt::codec::Frame;
use noctule_mqtt::{PacketType, QoS};

use super::listener::{FILTER, Listener, OWED};
use super::{Load, Subscriber};
use crate::LoadError;
use crate::checker::Faults;
use crate::latency::Latency;
use crate::link::{Link, Opening};
use crate::packets::{self, Mark, Template};
use crate::plan::{Goal, Pace};

/// All connections of one broker.
#[derive(Debug)]
pub(super) struct Crew {
    poll: Poll,
    load: Load,
    publishers: Vec<Publisher>,
    listener: Option<Listener>,
    scratch: Vec<u8>,
    stall: Duration,
}

/// What a run did.
#[derive(Debug, Clone)]
pub(super) struct Done {
    /// Acknowledged, and delivered if somebody is there.
    pub(super) messages: u64,
    pub(super) elapsed: Duration,
    /// From PUBLISH to PUBACK, where a publisher has one message under way.
    pub(super) answer: Latency,
}

#[derive(Debug)]
struct Publisher {
    link: Link,
    template: Template,
    sent: u64,
    /// When the last message was.
    sent_at: Instant,
    acknowledged: u64,
    /// Acknowledged out of order or refused.
    odd: u64,
    target: u64,
}

impl Crew {
    /// Makes the session, then connects the publishers.
    pub(super) fn connect(
        address: SocketAddr,
        load: Load,
        subscriber: Subscriber,
        payload_bytes: usize,
    ) -> Result<Self, LoadError> {
        let poll = Poll::new().map_err(|error| LoadError::io("cannot poll", error))?;
        let mut opening = Opening::resume(&address.into(), OWED)?;
        opening.subscribe(FILTER, QoS::AtLeastOnce)?;
        let token = Token(load.publishers.into());
        let link = opening.start(poll.registry(), token)?;
        let listener = match subscriber {
            Subscriber::Absent => {
                let left = |error| LoadError::io("a subscriber cannot leave", error);
                link.disconnect().map_err(left)?;
                None
            }
            Subscriber::Present => Some(Listener::new(link, load.publishers.into())),
        };
        let publishers = (0..load.publishers)
            .map(|number| Publisher::connect(address, number, payload_bytes, &poll))
            .collect::<Result<_, _>>()?;
        let scratch = vec![0; SCRATCH_BYTES];
        Ok(Self { poll, load, publishers, listener, scratch, stall: STALL })
    }

    /// Sends until the goal is reached and waits for what is under way.
    pub(super) fn run(&mut self, goal: Goal) -> Result<Done, LoadError> {
        let (begin, before) = (Instant::now(), self.returned_in_all());
        for publisher in &mut self.publishers {
            publisher.target = match goal {
                Goal::Time(_) => u64::MAX,
                Goal::MessagesEach(count) => publisher.sent + count,
            };
        }
        let mut answer = Latency::new()?;
        let mut events = Events::with_capacity(EVENTS_MAX);
        let (mut heard_at, mut is_open) = (begin, true);
        loop {
            if is_open && matches!(goal, Goal::Time(time) if begin.elapsed() >= time) {
                is_open = false;
                self.publishers.iter_mut().for_each(|one| one.target = one.sent);
            }
            self.send()?;
            if self.is_quiet() || heard_at.elapsed() > self.stall {
                break;
            }
            if self.turn(&mut events, &mut answer)? {
                heard_at = Instant::now();
            }
        }
        let elapsed = heard_at.saturating_duration_since(begin);
        Ok(Done { messages: self.returned_in_all() - before, elapsed, answer })
    }

    /// What went wrong since the crew connected, once a run is over.
    pub(super) fn faults(&self) -> Faults {
        let mut faults = Faults::default();
        for publisher in &self.publishers {
            faults.unacknowledged += publisher.sent - publisher.acknowledged + publisher.odd;
        }
        if let Some(listener) = &self.listener {
            faults += listener.faults(&self.sent());
        }
        faults
    }

    /// How many each publisher has sent.
    pub(super) fn sent(&self) -> Vec<u64> {
        self.publishers.iter().map(|publisher| publisher.sent).collect()
    }

    fn send(&mut self) -> Result<(), LoadError> {
        let pace = Pace::Flood(self.load.window.into());
        for index in 0..self.publishers.len() {
            let returned = self.returned(index);
            let publisher = &mut self.publishers[index];
            let room = pace.room(publisher.sent, returned, 1);
            let until = publisher.target.min(publisher.sent + room);
            publisher.send(index as u16, until)?;
        }
        Ok(())
    }

    fn returned(&self, index: usize) -> u64 {
        let acknowledged = self.publishers[index].acknowledged;
        let delivered = self.listener.as_ref().map(|listener| listener.next(index));
        delivered.map_or(acknowledged, |delivered| delivered.min(acknowledged))
    }

    fn returned_in_all(&self) -> u64 {
        (0..self.publishers.len()).map(|index| self.returned(index)).sum()
    }

    fn is_quiet(&self) -> bool {
        self.publishers.iter().enumerate().all(|(index, publisher)| {
            publisher.sent >= publisher.target && self.returned(index) == publisher.sent
        })
    }

    /// Polls once and reads what came; whether anything did.
    fn turn(&mut self, events: &mut Events, answer: &mut Latency) -> Result<bool, LoadError> {
        if let Err(error) = self.poll.poll(events, Some(TICK))
            && error.kind() != std::io::ErrorKind::Interrupted
        {
            return Err(LoadError::io("cannot poll", error));
        }
        let is_single = self.load.window == 1;
        let mut bytes = 0;
        for event in &*events {
            let link = match self.publishers.get_mut(event.token().0) {
                Some(publisher) => {
                    let before = publisher.acknowledged;
                    bytes += publisher.read(&mut self.scratch)?;
                    if is_single && publisher.acknowledged > before {
                        answer.record(publisher.sent_at.elapsed(), 1);
                    }
                    &mut publisher.link
                }
                None => {
                    // Only the subscriber has a token beyond theirs.
                    let Some(listener) = &mut self.listener else {
                        continue;
                    };
                    let publishers = &self.publishers;
                    let sent = |index| publishers.get(index).map(|one: &Publisher| one.sent);
                    bytes += listener.read(&mut self.scratch, sent)?;
                    listener.link()
                }
            };
            link.flush()?;
            if event.is_read_closed() {
                link.check_open()?;
            }
        }
        Ok(bytes > 0)
    }
}

impl Publisher {
    fn connect(
        address: SocketAddr,
        number: u16,
        payload_bytes: usize,
        poll: &Poll,
    ) -> Result<Self, LoadError> {
        let opening = Opening::connect(&address.into(), &format!("publisher-{number:05}"), 0)?;
        let topic = format!("durable/{number:05}");
        Ok(Self {
            link: opening.start(poll.registry(), Token(number.into()))?,
            template: Template::new(&topic, QoS::AtLeastOnce, payload_bytes)?,
            sent: 0,
            sent_at: Instant::now(),
            acknowledged: 0,
            odd: 0,
            target: 0,
        })
    }

    fn send(&mut self, number: u16, until: u64) -> Result<(), LoadError> {
        if until <= self.sent {
            return Ok(());
        }
        for sequence in self.sent..until {
            self.template.append(Mark { publisher: number, sequence }, self.link.out());
        }
        self.sent = until;
        self.sent_at = Instant::now();
        self.link.flush()
    }

    fn read(&mut self, scratch: &mut [u8]) -> Result<usize, LoadError> {
        let (acknowledged, odd, sent) = (&mut self.acknowledged, &mut self.odd, self.sent);
        self.link.read(scratch, |frame, _| {
            if frame.type_bits() == PacketType::Puback as u8 && *acknowledged < sent {
                *odd += u64::from(!is_next(frame, *acknowledged));
                *acknowledged += 1;
            } else {
                *odd += 1;
            }
        })
    }
}

/// Whether an acknowledgement is that of this message [MQTT3-4.6.0-2].
fn is_next(frame: &Frame<'_>, sequence: u64) -> bool {
    frame.body() == packets::packet_id(sequence).get().to_be_bytes()
}

const SCRATCH_BYTES: usize = 256 * 1024;
const EVENTS_MAX: usize = 1_024;
const TICK: Duration = Duration::from_millis(20);
/// How long nothing may come before what is under way is given up as lost.
const STALL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
