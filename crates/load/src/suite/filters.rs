//! Very many filters with wildcards: what each takes of processor time and memory, and what a message
//! costs that a few of them match, or one, on a topic that no cache remembers.
//!
//! The filters belong to lines of plants, and a plant's messages are for [`Grid::matching`] clients, each
//! of whom has another form of filter for each of its lines. No two plants have more than one client in
//! common, so a message is for other clients than the ones before.

use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use noctule_mqtt::{PacketType, QoS};

use super::Measured;
use crate::checker::{Faults, Sequence};
use crate::link::{Link, Opening};
use crate::packets::{self, Arrival, Mark, Template};
use crate::target::Broker;
use crate::{LoadError, process};

/// Whose filters there are, and which of them a message matches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    /// Subscribers, and as many plants: more than the last of [`APART`].
    pub(super) clients: u16,
    /// Filters that each of them has at least.
    pub(super) each: u32,
    /// How many of all these filters match a message, each of another client: four at most.
    pub(super) matching: u16,
}

impl Grid {
    /// The lines of a plant.
    fn lines(self) -> u32 {
        self.each.div_ceil(self.matching.into())
    }

    fn filters(self) -> u32 {
        u32::from(self.clients) * u32::from(self.matching) * self.lines()
    }

    /// The plant for whose lines a client has filters of this form.
    fn plant(self, client: u16, form: u16) -> u16 {
        (client + self.clients - APART[usize::from(form)]) % self.clients
    }

    fn filters_of(self, client: u16) -> Vec<String> {
        let of_form = |form| {
            let plant = self.plant(client, form);
            (0..self.lines()).map(move |line| filter(form, plant, line))
        };
        (0..self.matching).flat_map(of_form).collect()
    }

    /// Topic number `number` and its plant: neighbours lie far apart. All plants have as many topics, and all lines as far
    /// as possible: with more lines than topics those have one that lie at equal distances.
    fn topic(self, number: u32) -> (u16, String) {
        let number = (u64::from(number) * FAR % u64::from(TOPICS)) as u32;
        let (clients, lines) = (u32::from(self.clients), self.lines());
        let (plant, of_plant) = (number % clients, number / clients);
        let line = of_plant * (lines * clients / TOPICS).max(1) % lines;
        let value = of_plant / lines;
        (plant as u16, format!("plant/{plant}/line/{line}/value{value}"))
    }
}

/// The four forms: all match all topics of their line, and nothing else.
fn filter(form: u16, plant: u16, line: u32) -> String {
    match form {
        0 => format!("plant/{plant}/+/{line}/#"),
        1 => format!("plant/{plant}/line/{line}/#"),
        2 => format!("plant/{plant}/line/{line}/+"),
        _ => format!("plant/{plant}/+/{line}/+"),
    }
}

pub(super) fn measure(
    broker: &mut Broker,
    grid: Grid,
    duration: Duration,
) -> Result<Measured, LoadError> {
    let pid = broker.pid.ok_or_else(|| LoadError::new("the broker's process is not known"))?;
    let endpoint = broker.address.into();
    let open = |number: u16| Opening::connect(&endpoint, &format!("filters-{number:05}"), 0);
    let mut openings: Vec<_> = (0..grid.clients).map(open).collect::<Result<_, _>>()?;
    let before = (process::cpu_ns(pid)?, process::resident(pid)?);
    for (client, opening) in (0..grid.clients).zip(&mut openings) {
        subscribe(opening, &grid.filters_of(client))?;
    }
    let after = (process::cpu_ns(pid)?, process::resident(pid)?);
    let count = f64::from(grid.filters());
    let mut measured = Measured::of([
        ("subscribe_us", (after.0 - before.0) as f64 / 1e3 / count),
        ("filter_bytes", (after.1 as f64 - before.1 as f64) / count),
    ]);
    let publisher = Opening::connect(&endpoint, "filters-publisher", 0)?;
    let mut crowd = Crowd::new(grid, openings, publisher)?;
    crowd.run(duration / WARM_UP_SHARE)?;
    let before = process::cpu_ns(pid)?;
    let delivered = crowd.run(duration)?;
    let ns = process::cpu_ns(pid)? - before;
    measured.faults = crowd.faults();
    measured.figures.push(("us", ns as f64 / 1e3 / delivered.max(1) as f64));
    Ok(measured)
}

fn subscribe(opening: &mut Opening, filters: &[String]) -> Result<(), LoadError> {
    for filters in filters.chunks(PER_PACKET) {
        let filters: Vec<_> = filters.iter().map(String::as_str).collect();
        opening.subscribe_all(&filters, QoS::AtMostOnce)?;
    }
    Ok(())
}

/// The subscribers and their publisher.
struct Crowd {
    grid: Grid,
    poll: Poll,
    publisher: Link,
    subscribers: Vec<Link>,
    /// What each subscriber gets, by form of filter.
    sequences: Vec<[Sequence; APART.len()]>,
    /// Messages about each plant.
    sent: Vec<u64>,
    /// Messages to topics far apart, and the plants they are about.
    templates: Vec<(u16, Template)>,
    next: usize,
    delivered: u64,
    under_way: u64,
    foreign: u64,
    scratch: Vec<u8>,
}

impl Crowd {
    fn new(grid: Grid, openings: Vec<Opening>, publisher: Opening) -> Result<Self, LoadError> {
        let poll = Poll::new().map_err(|error| LoadError::io("cannot poll", error))?;
        let mut subscribers = Vec::new();
        for (token, opening) in openings.into_iter().enumerate() {
            subscribers.push(opening.start(poll.registry(), Token(token))?);
        }
        let publisher = publisher.start(poll.registry(), Token(subscribers.len()))?;
        let template = |number: u32| {
            let (plant, topic) = grid.topic(number);
            Ok((plant, Template::new(&topic, QoS::AtMostOnce, PAYLOAD_BYTES)?))
        };
        Ok(Self {
            grid,
            poll,
            publisher,
            sequences: subscribers.iter().map(|_| Default::default()).collect(),
            sent: vec![0; subscribers.len()],
            subscribers,
            templates: (0..TOPICS).map(template).collect::<Result<_, LoadError>>()?,
            next: 0,
            delivered: 0,
            under_way: 0,
            foreign: 0,
            scratch: vec![0; SCRATCH_BYTES],
        })
    }

    /// Sends for so long and waits until all has come; how many came.
    fn run(&mut self, duration: Duration) -> Result<u64, LoadError> {
        let before = self.delivered;
        let window = WINDOW * self.subscribers.len() as u64;
        let (begin, mut heard_at) = (Instant::now(), Instant::now());
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            let is_open = begin.elapsed() < duration;
            if is_open && self.under_way * 2 <= window {
                self.send(window - self.under_way);
            }
            if !is_open && self.under_way == 0 || heard_at.elapsed() > SILENCE {
                return Ok(self.delivered - before);
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

    /// Sends what makes so many deliveries.
    fn send(&mut self, deliveries: u64) {
        let matching = u64::from(self.grid.matching);
        for _ in 0..deliveries / matching {
            let (plant, template) = &self.templates[self.next % self.templates.len()];
            self.next += 1;
            let sent = &mut self.sent[usize::from(*plant)];
            template.append(Mark { publisher: *plant, sequence: *sent }, self.publisher.out());
            *sent += 1;
            self.under_way += matching;
        }
    }

    fn read(&mut self, index: usize) -> Result<usize, LoadError> {
        let (grid, sequences, sent) = (self.grid, &mut self.sequences[index], &self.sent);
        let (mut arrived, foreign) = (0, &mut self.foreign);
        let read = self.subscribers[index].read(&mut self.scratch, |frame, _| {
            if frame.type_bits() != PacketType::Publish as u8 {
                return;
            }
            let Arrival::Ours { mark: Mark { publisher: plant, sequence }, .. } =
                packets::arrival(frame)
            else {
                *foreign += 1;
                return;
            };
            match (0..grid.matching).find(|form| grid.plant(index as u16, *form) == plant) {
                Some(form) => {
                    let sent = sent[usize::from(plant)];
                    let is_new = sequences[usize::from(form)].arrived(sequence, sent);
                    arrived += u64::from(is_new);
                }
                None => *foreign += 1,
            }
        });
        self.delivered += arrived;
        self.under_way -= arrived;
        read
    }

    fn faults(&self) -> Faults {
        let mut faults = Faults { foreign: self.foreign, ..Faults::default() };
        for (client, sequences) in (0..self.grid.clients).zip(&self.sequences) {
            for (form, sequence) in (0..self.grid.matching).zip(sequences) {
                let plant = self.grid.plant(client, form);
                faults += sequence.faults(self.sent[usize::from(plant)]);
            }
        }
        faults
    }
}

/// How far from its number the clients of a plant are: all differences are different, so that no two plants of
/// a hundred have more than one client in common.
const APART: [u16; 4] = [0, 11, 34, 71];
const PER_PACKET: usize = 100;
const PAYLOAD_BYTES: usize = 64;
/// More than a cache of routes holds.
const TOPICS: u32 = 50_000;
/// Without a divisor of [`TOPICS`], so that it goes through all of them.
const FAR: u64 = 2_654_435_761;
/// Messages under way to each subscriber, on average.
const WINDOW: u64 = 100;
const WARM_UP_SHARE: u32 = 10;
const SCRATCH_BYTES: usize = 256 * 1024;
const EVENTS_MAX: usize = 1024;
const TICK: Duration = Duration::from_millis(10);
const SILENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_mqtt::{TopicFilter, TopicName};
    use std::collections::HashSet;

    impl Grid {
        /// Whose the filters of this form for the lines of a plant are.
        fn client(self, plant: u16, form: u16) -> u16 {
            (plant + APART[usize::from(form)]) % self.clients
        }
    }

    fn grid(each: u32, matching: u16) -> Grid {
        Grid { clients: 100, each, matching }
    }

    #[test]
    fn a_topic_matches_a_filter_of_each_form_and_each_of_its_clients_has_one() {
        for grid in [grid(6, 1), grid(6, 4)] {
            let filters: Vec<Vec<_>> =
                (0..grid.clients).map(|client| grid.filters_of(client)).collect();
            let all: HashSet<_> = filters.iter().flatten().collect();
            assert_eq!(all.len(), grid.filters() as usize, "no filter is there twice");
            for (plant, topic) in (0..20).map(|number| grid.topic(number)) {
                let name = TopicName::new(&topic).unwrap();
                let matches = |client: &u16| {
                    let of_client = filters[usize::from(*client)].iter();
                    let parsed = of_client.map(|filter| TopicFilter::new(filter).unwrap());
                    parsed.filter(|filter| filter.matches(name)).count()
                };
                let found: HashSet<_> =
                    (0..grid.clients).filter(|client| matches(client) == 1).collect();
                let total: usize = (0..grid.clients).map(|client| matches(&client)).sum();
                let meant: HashSet<_> =
                    (0..grid.matching).map(|form| grid.client(plant, form)).collect();
                assert_eq!((found, total), (meant, usize::from(grid.matching)), "{topic}");
            }
        }
    }

    #[test]
    fn two_plants_have_one_client_in_common_at_most() {
        let grid = grid(4, 4);
        let clients = |plant| (0..4).map(move |form| grid.client(plant, form));
        for plant in 1..grid.clients {
            let here: HashSet<_> = clients(plant).collect();
            assert_eq!(here.len(), 4);
            assert!(clients(0).filter(|client| here.contains(client)).count() <= 1, "{plant}");
        }
    }

    #[test]
    fn all_topics_are_different_and_evenly_spread() {
        for grid in [grid(10, 1), grid(1_000, 1), grid(1_000, 4), grid(10_000, 1)] {
            let topics: Vec<_> = (0..TOPICS).map(|number| grid.topic(number)).collect();
            let different: HashSet<_> = topics.iter().map(|(_, topic)| topic).collect();
            assert_eq!(different.len(), TOPICS as usize, "{grid:?}");
            let of_plant = |plant| topics.iter().filter(|(other, _)| *other == plant).count();
            assert!((0..grid.clients).all(|plant| of_plant(plant) == 500), "{grid:?}");
            let lines = topics.iter().map(|(_, topic)| topic.rsplit_once('/').unwrap().0);
            let lines: HashSet<_> = lines.collect();
            let all = u32::from(grid.clients) * grid.lines();
            assert_eq!(lines.len(), all.min(TOPICS) as usize, "{grid:?}");
        }
    }
}
