//! How a fleet comes together: each connection opened, greeted and subscribed, one after another.

use std::time::{Duration, Instant};

use mio::{Poll, Token};
use noctule_mqtt::QoS;

use super::publisher::Publisher;
use super::subscriber::Subscriber;
use super::{Fleet, SCRATCH_BYTES, STALL, TICK};
use crate::LoadError;
use crate::alarm::Alarm;
use crate::endpoint::Endpoint;
use crate::latency::Latency;
use crate::link::{Granted, Opening};
use crate::packets::Template;
use crate::plan::{Plan, Shape};
use crate::watcher::{Moment, Watcher};

impl Fleet {
    /// Connects and subscribes everybody. `run` tells this fleet's topics and client ids from those
    /// of other fleets at the same broker.
    ///
    /// # Errors
    /// If the plan cannot be carried out, or the broker refuses.
    pub fn connect(endpoint: impl Into<Endpoint>, plan: Plan, run: u32) -> Result<Self, LoadError> {
        let mut fleet = Self::without_connections(endpoint.into(), plan)?;
        for number in 0..fleet.connections() {
            fleet.connect_next(run, number)?;
        }
        Ok(fleet)
    }

    /// The same with pairs of several QoS levels: the publishers have these in turn, each with its
    /// subscriber. The level of the plan is of no account.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), and if there are no levels, or publishers share subscribers.
    pub fn connect_mixed(
        endpoint: impl Into<Endpoint>,
        plan: Plan,
        levels: &[QoS],
        run: u32,
    ) -> Result<Self, LoadError> {
        if levels.is_empty() || !matches!(plan.shape, Shape::Pairs(_)) {
            return Err(LoadError::new("only pairs have QoS levels in turn, and one at least"));
        }
        let mut fleet = Self::without_connections(endpoint.into(), plan)?;
        fleet.levels = levels.to_vec();
        for number in 0..fleet.connections() {
            fleet.connect_next(run, number)?;
        }
        Ok(fleet)
    }

    /// The same, spread over `ramp`, and only as long as the watcher wants to go on; `None` if it
    /// does not.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_slowly(
        endpoint: Endpoint,
        plan: Plan,
        run: u32,
        ramp: Duration,
        watcher: &mut dyn Watcher,
    ) -> Result<Option<Self>, LoadError> {
        let mut fleet = Self::without_connections(endpoint, plan)?;
        let (begin, count) = (Instant::now(), fleet.connections());
        let nothing = Latency::new()?;
        for number in 0..count {
            let due = ramp.mul_f64(number as f64 / count as f64);
            loop {
                let elapsed = begin.elapsed();
                let latency = &nothing;
                if !watcher.go_on(&Moment { elapsed, sent: 0, delivered: 0, latency }) {
                    return Ok(None);
                }
                let wait = due.saturating_sub(elapsed).min(TICK);
                if wait.is_zero() {
                    break;
                }
                std::thread::sleep(wait);
            }
            fleet.connect_next(run, number)?;
        }
        Ok(Some(fleet))
    }

    pub(super) fn without_connections(endpoint: Endpoint, plan: Plan) -> Result<Self, LoadError> {
        if let Some(complaint) = plan.complaint() {
            return Err(LoadError::new(complaint));
        }
        let poll = Poll::new().map_err(|error| LoadError::io("cannot poll", error))?;
        Ok(Self {
            plan,
            endpoint,
            alarm: Alarm::new(poll.registry())?,
            poll,
            publishers: Vec::new(),
            subscribers: Vec::new(),
            levels: vec![plan.qos],
            sent: vec![0; plan.shape.publishers()],
            scratch: vec![0; SCRATCH_BYTES],
            stall: STALL,
            stopwatch: None,
            ping: None,
        })
    }

    pub(super) fn connections(&self) -> usize {
        self.plan.shape.subscribers() + self.plan.shape.publishers()
    }

    /// Subscribers first, so that nobody misses anything.
    pub(super) fn connect_next(&mut self, run: u32, number: usize) -> Result<(), LoadError> {
        let subscribers = self.plan.shape.subscribers();
        if number < subscribers {
            self.add_subscriber(run, number)
        } else {
            self.add_publisher(run, number - subscribers)
        }
    }

    pub(super) fn add_subscriber(&mut self, run: u32, index: usize) -> Result<(), LoadError> {
        let heard = self.plan.shape.heard(index);
        let prefix = &self.endpoint.prefix;
        let id = format!("{prefix}-{run:08x}-s{index:05}");
        let mut opening = Opening::connect(&self.endpoint, &id, KEEP_ALIVE_OFF)?;
        let filter = if heard.len() == 1 {
            topic(prefix, run, heard.start)
        } else {
            format!("{prefix}/{run:08x}/+")
        };
        opening.subscribe(&filter, self.level(heard.start))?;
        self.obey(opening.granted());
        let token = Token(self.plan.shape.publishers() + index);
        let link = opening.start(self.poll.registry(), token)?;
        self.subscribers.push(Subscriber::new(link, heard));
        Ok(())
    }

    pub(super) fn add_publisher(&mut self, run: u32, index: usize) -> Result<(), LoadError> {
        let (plan, endpoint, qos) = (self.plan, &self.endpoint, self.level(index));
        let id = format!("{}-{run:08x}-p{index:05}", endpoint.prefix);
        let opening = Opening::connect(endpoint, &id, KEEP_ALIVE_OFF)?;
        let granted = opening.granted();
        if qos.bits() > granted.qos_max {
            let most = granted.qos_max;
            return Err(LoadError::new(format!("the broker takes messages up to QoS {most}")));
        }
        let topic = topic(&endpoint.prefix, run, index);
        let template = Template::of_version(&topic, qos, plan.payload_bytes, endpoint.version)?;
        let (bytes, most) = (template.packet_bytes(), granted.packet_bytes_max);
        if bytes > most as usize {
            return Err(LoadError::new(format!(
                "the broker takes packets of up to {most} bytes, and these have {bytes}"
            )));
        }
        let link = opening.start(self.poll.registry(), Token(index))?;
        self.publishers.push(Publisher::new(link, template, granted.receive_maximum));
        self.obey(granted);
        Ok(())
    }

    /// Does not stay silent for longer than the broker bears [MQTT5-3.2.2-21].
    pub(super) fn obey(&mut self, granted: Granted) {
        if let Some(seconds) = granted.keep_alive.filter(|seconds| *seconds > 0) {
            let wanted = Duration::from_secs(seconds.into()) / 2;
            let every = self.ping.map_or(wanted, |(every, _)| every.min(wanted));
            self.ping = Some((every, Instant::now()));
        }
    }
}

/// What a publisher of a fleet sends to. Of one width, so that every message of a run has the same size.
pub(crate) fn topic(prefix: &str, run: u32, publisher: usize) -> String {
    format!("{prefix}/{run:08x}/{publisher:05}")
}

/// A run is short and a broker under valgrind slow: no pings, unless the broker wants some.
const KEEP_ALIVE_OFF: u16 = 0;
