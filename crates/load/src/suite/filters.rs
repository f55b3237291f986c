//! Very many filters with wildcards: what each takes of processor time and memory, and what a message
//! costs that one of them matches, on a topic that no cache remembers.

use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use noctule_mqtt::{PacketType, QoS};

use super::Measured;
use crate::checker::{Faults, Sequence};
use crate::link::{Link, Opening};
use crate::packets::{self, Arrival, Mark, Template};
use crate::target::Broker;
use crate::{LoadError, process};

pub(super) fn measure(
    broker: &mut Broker,
    clients: u16,
    each: u32,
    duration: Duration,
) -> Result<Measured, LoadError> {
    let pid = broker.pid.ok_or_else(|| LoadError::new("the broker's process is not known"))?;
    let endpoint = broker.address.into();
    let open = |number: u16| Opening::connect(&endpoint, &format!("filters-{number:05}"), 0);
    let mut openings: Vec<_> = (0..clients).map(open).collect::<Result<_, _>>()?;
    let before = (process::cpu_ns(pid)?, process::resident(pid)?);
    for (client, opening) in (0..clients).zip(&mut openings) {
        subscribe(opening, client, each)?;
    }
    let after = (process::cpu_ns(pid)?, process::resident(pid)?);
    let count = f64::from(clients) * f64::from(each);
    let mut measured = Measured::of([
        ("subscribe_us", (after.0 - before.0) as f64 / 1e3 / count),
        ("filter_bytes", (after.1 as f64 - before.1 as f64) / count),
    ]);
    let publisher = Opening::connect(&endpoint, "filters-publisher", 0)?;
    let mut crowd = Crowd::new(openings, publisher, each)?;
    crowd.run(duration / WARM_UP_SHARE)?;
    let before = process::cpu_ns(pid)?;
    let delivered = crowd.run(duration)?;
    let ns = process::cpu_ns(pid)? - before;
    measured.faults = crowd.faults();
    measured.figures.push(("us", ns as f64 / 1e3 / delivered.max(1) as f64));
    Ok(measured)
}

fn subscribe(opening: &mut Opening, client: u16, each: u32) -> Result<(), LoadError> {
    let filters: Vec<_> = (0..each).map(|number| filter(client, number)).collect();
    for filters in filters.chunks(PER_PACKET) {
        let filters: Vec<_> = filters.iter().map(String::as_str).collect();
        opening.subscribe_all(&filters, QoS::AtMostOnce)?;
    }
    Ok(())
}

fn filter(client: u16, number: u32) -> String {
    format!("plant/{client}/+/{number}/#")
}

/// A topic that this filter alone matches.
fn topic(client: u16, number: u32) -> String {
    format!("plant/{client}/line/{number}/value")
}

/// The subscribers and their publisher.
struct Crowd {
    poll: Poll,
    publisher: Link,
    subscribers: Vec<Link>,
    /// Of each subscriber's messages.
    sequences: Vec<Sequence>,
    sent: Vec<u64>,
    /// Messages to topics far apart, and whose they are.
    templates: Vec<(u16, Template)>,
    next: usize,
    foreign: u64,
    scratch: Vec<u8>,
}

impl Crowd {
    fn new(openings: Vec<Opening>, publisher: Opening, each: u32) -> Result<Self, LoadError> {
        let poll = Poll::new().map_err(|error| LoadError::io("cannot poll", error))?;
        let clients = openings.len() as u16;
        let mut subscribers = Vec::new();
        for (token, opening) in openings.into_iter().enumerate() {
            subscribers.push(opening.start(poll.registry(), Token(token))?);
        }
        let publisher = publisher.start(poll.registry(), Token(subscribers.len()))?;
        let template = |number: u32| {
            let number = number.wrapping_mul(FAR);
            let client = (number % u32::from(clients)) as u16;
            let topic = topic(client, number / u32::from(clients) % each);
            Ok((client, Template::new(&topic, QoS::AtMostOnce, PAYLOAD_BYTES)?))
        };
        Ok(Self {
            poll,
            publisher,
            sequences: subscribers.iter().map(|_| Sequence::default()).collect(),
            sent: vec![0; subscribers.len()],
            subscribers,
            templates: (0..TOPICS).map(template).collect::<Result<_, LoadError>>()?,
            next: 0,
            foreign: 0,
            scratch: vec![0; SCRATCH_BYTES],
        })
    }

    /// Sends for so long and waits until all has come; how many came.
    fn run(&mut self, duration: Duration) -> Result<u64, LoadError> {
        let before = self.delivered();
        let (begin, mut heard_at) = (Instant::now(), Instant::now());
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            let is_open = begin.elapsed() < duration;
            let under_way = self.sent.iter().sum::<u64>() - self.delivered();
            if is_open && under_way * 2 <= WINDOW {
                self.send(WINDOW - under_way);
            }
            if !is_open && under_way == 0 || heard_at.elapsed() > SILENCE {
                return Ok(self.delivered() - before);
            }
            self.publisher.flush()?;
            match self.poll.poll(&mut events, Some(TICK)) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                    return Err(LoadError::io("cannot poll", error));
                }
                _ => {}
            }
            for event in &events {
                let index = event.token().0;
                if index < self.subscribers.len() && self.read(index)? > 0 {
                    heard_at = Instant::now();
                }
            }
        }
    }

    fn send(&mut self, count: u64) {
        for _ in 0..count {
            let (client, template) = &self.templates[self.next % self.templates.len()];
            self.next += 1;
            let sent = &mut self.sent[usize::from(*client)];
            let mark = Mark { publisher: *client, sequence: *sent };
            template.append(mark, self.publisher.out());
            *sent += 1;
        }
    }

    fn read(&mut self, index: usize) -> Result<usize, LoadError> {
        let (sequence, sent) = (&mut self.sequences[index], self.sent[index]);
        let foreign = &mut self.foreign;
        self.subscribers[index].read(&mut self.scratch, |frame, _| {
            if frame.type_bits() != PacketType::Publish as u8 {
                return;
            }
            match packets::arrival(frame) {
                Arrival::Ours { mark, .. } if usize::from(mark.publisher) == index => {
                    sequence.arrived(mark.sequence, sent);
                }
                _ => *foreign += 1,
            }
        })
    }

    fn delivered(&self) -> u64 {
        self.sequences.iter().map(Sequence::delivered).sum()
    }

    fn faults(&self) -> Faults {
        let mut faults = Faults { foreign: self.foreign, ..Faults::default() };
        for (sequence, sent) in self.sequences.iter().zip(&self.sent) {
            faults += sequence.faults(*sent);
        }
        faults
    }
}

const PER_PACKET: usize = 100;
const PAYLOAD_BYTES: usize = 64;
/// More than a cache of routes holds.
const TOPICS: u32 = 50_000;
/// Odd, so that it goes through all topics and neighbours lie far apart.
const FAR: u32 = 2_654_435_761;
const WINDOW: u64 = 1_000;
const WARM_UP_SHARE: u32 = 10;
const SCRATCH_BYTES: usize = 256 * 1024;
const EVENTS_MAX: usize = 1024;
const TICK: Duration = Duration::from_millis(10);
const SILENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_mqtt::{TopicFilter, TopicName};

    #[test]
    fn every_topic_matches_its_filter_alone() {
        let topic = topic(3, 14);
        let name = TopicName::new(&topic).unwrap();
        let all = (0..5).flat_map(|client| (0..20).map(move |number| (client, number)));
        let matches = |(client, number): &(u16, u32)| {
            TopicFilter::new(&filter(*client, *number)).unwrap().matches(name)
        };
        assert_eq!(all.filter(matches).collect::<Vec<_>>(), [(3, 14)]);
    }
}
