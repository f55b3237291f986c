//! The suite: everything that a broker's speed and size are judged by, in one run.
//!
//! A [`Row`] is one kind of work, measured at several brokers in turn, in rounds whose order
//! alternates; each time a broker starts afresh, so that no row finds what another one left. What a
//! row consists of is in the module of its work, which rows there are in [`rows`]. Nothing is judged
//! here: goals, ratios and pictures are for whoever reads the JSON. The invariant: a round in which a
//! message was lost, doubled or reordered has no figures.

mod backlog;
mod coming;
mod disk;
mod filters;
mod flow;
mod gain;
mod holding;
mod overload;
mod retained;
mod rows;
mod steady;

use std::path::PathBuf;
use std::time::Duration;

use noctule_mqtt::QoS;
use serde_json::{Value, json};

use crate::checker::Faults;
use crate::plan::Shape;
use crate::statistics::{median, range};
use crate::target::{Broker, Target};
use crate::{LoadError, machine};
use filters::Grid;

pub use overload::Overload;
pub use rows::rows;

/// Where programs are, and how much is done.
#[derive(Debug, Clone)]
pub struct Suite {
    /// Noctule's program.
    pub noctule: PathBuf,
    /// Mosquitto's; without it its column stays empty.
    pub mosquitto: Option<PathBuf>,
    /// The program whose command `relay` is the floor.
    pub relay: PathBuf,
    /// Which programs are measured, by [their names](Who::program); all if there is none.
    pub at: Vec<&'static str>,
    /// How often each row is measured, unless the row says less.
    pub rounds: u32,
    /// How long a row sends, per broker and round.
    pub duration: Duration,
    /// Divides numbers of sessions, filters and retained messages, for a trial of the suite itself.
    pub fraction: u32,
}

/// One line of the suite.
#[derive(Debug, Clone)]
pub struct Row {
    /// What it is called on the command line and in the JSON.
    pub name: String,
    /// What is done.
    pub work: Work,
    /// At whom.
    pub who: Vec<Who>,
    /// Whether the broker has the first processor and the generator the last one, and nothing else.
    pub pinned: bool,
    /// At most so many rounds, where one takes long and hardly varies.
    pub rounds_max: u32,
}

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Noctule as it comes.
    Noctule,
    /// Noctule with so many loops.
    Loops(u16),
    /// Debian's Mosquitto.
    Mosquitto,
    /// The program that only copies bytes.
    Relay,
}

/// What is done with a broker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Work {
    /// Messages as fast as they go, with so many under way to each receiver at most.
    Flow {
        /// Who talks to whom.
        shape: Shape,
        /// Of messages and subscriptions.
        qos: QoS,
        /// Of a message.
        payload_bytes: usize,
        /// Under way.
        window: u32,
        /// Encrypted.
        over_tls: bool,
    },
    /// Filters with wildcards, then messages each of which a few of them match.
    Filters {
        /// Subscribers: a hundred.
        clients: u16,
        /// Filters that each of them has.
        each: u32,
        /// How many of all match a message, each of another subscriber: one to four.
        matching: u16,
    },
    /// Equally many messages of 64 bytes from each publisher, at a broker each of whose loops has a
    /// bounded share of a processor.
    Gain {
        /// Who talks to whom.
        shape: Shape,
        /// Of messages and subscriptions.
        qos: QoS,
        /// Under way.
        window: u32,
    },
    /// Connections that say nothing.
    Idle {
        /// How many.
        connections: u32,
        /// Encrypted.
        over_tls: bool,
    },
    /// Connections that come and go.
    Coming {
        /// Encrypted: with full handshakes, then with resumed ones.
        over_tls: bool,
    },
    /// Persistent sessions without connections, a subscription each.
    Absent {
        /// How many.
        sessions: u32,
    },
    /// Messages of 64 bytes at QoS 1 that wait for persistent sessions, until those take them.
    Backlog {
        /// Sessions.
        clients: u16,
        /// Messages for each of them.
        each: u32,
    },
    /// Retained messages of 64 bytes: set, then all sent to one subscriber.
    Retained {
        /// How many.
        messages: u32,
    },
    /// Ten pairs at a fixed rate, and how long messages take.
    Steady {
        /// Of messages and subscriptions.
        qos: QoS,
        /// Messages per second, all pairs together.
        rate: f64,
    },
    /// Messages of 256 bytes at QoS 1 to a persistent session that is there: what the store costs
    /// beside the same in memory, and beside the disk alone.
    Disk {
        /// Publishers, each with `window` messages under way.
        publishers: u16,
        /// Under way for each.
        window: u16,
    },
    /// Twice the messages that it can carry, beside clients who want little.
    Overload(Overload),
}

/// What one round at one broker found.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// By name, which ends in the unit.
    pub figures: Vec<(&'static str, f64)>,
    /// What went wrong.
    pub faults: Faults,
    /// That something went wrong is what was looked for, and takes nothing from the figures.
    pub keeps_figures: bool,
    /// Why there are no figures, if the broker or the generator could not go on.
    pub failure: Option<String>,
    /// Why there are none, if this machine lacks what it takes to measure them: nobody's fault.
    pub left_out: Option<String>,
}

impl Measured {
    fn of(figures: impl IntoIterator<Item = (&'static str, f64)>) -> Self {
        Self { figures: figures.into_iter().collect(), ..Self::default() }
    }

    fn figure(&self, name: &str) -> Option<f64> {
        let found = self.figures.iter().find(|(other, _)| *other == name);
        let stands = self.keeps_figures || self.faults.is_clean();
        found.filter(|_| stands).map(|(_, value)| *value)
    }

    /// Whether everything came once and in order, and nothing failed.
    pub fn is_clean(&self) -> bool {
        self.faults.is_clean() && self.failure.is_none()
    }
}

/// All rounds of a row at one broker.
#[derive(Debug, Clone)]
pub struct Cell {
    /// The row's name.
    pub row: String,
    /// The broker's.
    pub broker: String,
    /// In the order of time.
    pub rounds: Vec<Measured>,
}

impl Suite {
    /// Measures the rows; `progress` hears of each round. A broker that cannot be started, ends or
    /// refuses, and a generator that cannot do its part, is a [failure](Measured::failure) of that round
    /// alone: an hour of others' figures is not thrown away for it.
    pub fn run(&self, rows: &[Row], mut progress: impl FnMut(&str, &str, &Measured)) -> Vec<Cell> {
        let mut cells: Vec<Cell> = Vec::new();
        for row in rows {
            let who: Vec<_> = row.who.iter().filter(|who| self.has(**who)).collect();
            let mut of_row: Vec<Cell> = Vec::new();
            for who in &who {
                let (row, broker) = (row.name.clone(), who.name());
                of_row.push(Cell { row, broker, rounds: Vec::new() });
            }
            for round in 0..self.rounds.min(row.rounds_max) {
                for turn in 0..who.len() {
                    let column = if round % 2 == 0 { turn } else { who.len() - 1 - turn };
                    let measured = self.measure(row, *who[column]).unwrap_or_else(|error| {
                        Measured { failure: Some(error.to_string()), ..Measured::default() }
                    });
                    progress(&row.name, &of_row[column].broker, &measured);
                    of_row[column].rounds.push(measured);
                }
            }
            cells.append(&mut of_row);
        }
        cells
    }

    fn has(&self, who: Who) -> bool {
        let is_there = who != Who::Mosquitto || self.mosquitto.is_some();
        is_there && (self.at.is_empty() || self.at.contains(&who.program()))
    }

    fn measure(&self, row: &Row, who: Who) -> Result<Measured, LoadError> {
        if let Work::Disk { publishers, window } = row.work {
            return disk::measure(self, publishers, window);
        }
        let target = self.target(who, row.work)?;
        let measured = start(&target, row.pinned).and_then(|mut broker| {
            let measured = self.work(&mut broker, who, row.work);
            // That the broker is gone explains more than what its end did to our connections.
            broker.check_alive()?;
            measured
        });
        // Where the generator ran is no concern of the next row.
        machine::run_anywhere()?;
        measured
    }

    fn target(&self, who: Who, work: Work) -> Result<Target, LoadError> {
        let target = match who {
            Who::Noctule => Target::noctule(&self.noctule),
            Who::Loops(loops) => Target::noctule_with_loops(&self.noctule, loops),
            Who::Mosquitto => {
                let program = self.mosquitto.as_ref();
                let program = program.ok_or_else(|| LoadError::new("no mosquitto here"))?;
                let mut target = Target::mosquitto(program);
                // A message that it drops would leave the row without a figure.
                if matches!(work, Work::Flow { .. } | Work::Filters { .. }) {
                    target = target.with_line(MOSQUITTO_QUEUES);
                }
                if work.is_exactly_once() {
                    target = target.with_line(MOSQUITTO_UNLIMITED);
                }
                target
            }
            Who::Relay => Target::relay(&self.relay, &["relay"]),
        };
        if work.is_over_tls() { target.with_tls(&self.noctule) } else { Ok(target) }
    }

    fn work(&self, broker: &mut Broker, who: Who, work: Work) -> Result<Measured, LoadError> {
        let part = |whole: u32| (whole / self.fraction.max(1)).max(1);
        match work {
            Work::Flow { .. } => flow::measure(broker, work, self.duration),
            Work::Gain { .. } => {
                let loops = who.loops().ok_or_else(|| LoadError::new("how many loops?"))?;
                gain::measure(broker, loops, work, self.duration)
            }
            Work::Filters { clients, each, matching } => {
                let grid = Grid { clients, each: part(each), matching };
                filters::measure(broker, grid, self.duration)
            }
            Work::Idle { connections, over_tls } => {
                holding::measure_idle(broker, part(connections), over_tls)
            }
            Work::Coming { over_tls } => coming::measure(broker, over_tls, self.duration),
            Work::Absent { sessions } => holding::measure_absent(broker, part(sessions)),
            Work::Backlog { clients, each } => backlog::measure(broker, clients, part(each)),
            Work::Retained { messages } => retained::measure(broker, part(messages)),
            Work::Steady { qos, rate } => steady::measure(broker, qos, rate, self.duration),
            Work::Disk { publishers, window } => disk::measure(self, publishers, window),
            Work::Overload(overload) => {
                let relay = self.target(Who::Relay, work)?;
                overload::measure(broker, overload, &relay, self.duration)
            }
        }
    }
}

impl Who {
    /// The program's name, whatever it is started with.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Noctule | Self::Loops(_) => "noctule",
            Self::Mosquitto => "mosquitto",
            Self::Relay => "relay",
        }
    }

    /// With how many loops it is started, if that is said.
    const fn loops(self) -> Option<u16> {
        match self {
            Self::Loops(loops) => Some(loops),
            Self::Noctule | Self::Mosquitto | Self::Relay => None,
        }
    }

    fn name(self) -> String {
        match self {
            Self::Loops(loops) => format!("{}/{loops}", self.program()),
            Self::Noctule | Self::Mosquitto | Self::Relay => self.program().into(),
        }
    }
}

impl Work {
    fn is_over_tls(self) -> bool {
        match self {
            Self::Flow { over_tls, .. }
            | Self::Idle { over_tls, .. }
            | Self::Coming { over_tls } => over_tls,
            _ => false,
        }
    }

    /// Whether there are many messages at QoS 2 at once.
    fn is_exactly_once(self) -> bool {
        match self {
            Self::Flow { qos, .. } => qos == QoS::ExactlyOnce,
            Self::Overload(overload) => overload.levels.contains(&QoS::ExactlyOnce),
            _ => false,
        }
    }
}

/// With its default, 20, Mosquitto 2.0.11 acknowledges at QoS 2 what a client sends beyond that at once,
/// and does not deliver it. Without a limit it does.
const MOSQUITTO_UNLIMITED: &str = "max_inflight_messages 0";

/// Starts a broker where it is to run, and moves to where we are to run ourselves.
fn start(target: &Target, pinned: bool) -> Result<Broker, LoadError> {
    if !pinned {
        return target.start();
    }
    let processors = machine::processors()?;
    // What we start inherits where we may run.
    machine::run_on(processors[0])?;
    let broker = target.start();
    machine::run_on(*processors.last().unwrap_or(&processors[0]))?;
    broker
}

impl Cell {
    /// The figures for programs: by name, with the figure of each round (`null` for one that is none).
    pub fn json(&self) -> Value {
        let mut faults = Faults::default();
        self.rounds.iter().for_each(|round| faults += round.faults);
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in self.rounds.iter().flat_map(|round| &round.figures) {
            if !names.contains(name) {
                names.push(name);
            }
        }
        let figures: serde_json::Map<_, _> =
            names.into_iter().map(|name| (name.into(), self.figure_json(name))).collect();
        json!({
            "row": self.row,
            "broker": self.broker,
            "faults": faults.to_string(),
            "failure": self.rounds.iter().find_map(|round| round.failure.as_deref()),
            "left_out": self.rounds.iter().find_map(|round| round.left_out.as_deref()),
            "figures": figures,
        })
    }

    fn figure_json(&self, name: &str) -> Value {
        let rounds: Vec<_> = self.rounds.iter().map(|round| round.figure(name)).collect();
        let known: Vec<f64> = rounds.iter().flatten().copied().collect();
        let ends = range(&known);
        json!({
            "median": median(&known),
            "least": ends.map(|(least, _)| least),
            "most": ends.map(|(_, most)| most),
            "rounds": rounds,
        })
    }
}

/// The suite's findings for programs.
pub fn json(cells: &[Cell], suite: &Suite) -> Value {
    json!({
        "machine": machine::describe(),
        "rounds": suite.rounds,
        "seconds": suite.duration.as_secs_f64(),
        "fraction": suite.fraction,
        "cells": cells.iter().map(Cell::json).collect::<Vec<_>>(),
    })
}

/// Mosquitto queues 1,000 messages for a client and drops what is over, which a flood's window reaches as
/// soon as it falls behind. No larger number will do: 2.0.11 counts more as queued than there are, and with
/// 100,000 it drops the next ones of a fan-in of which 10,000 are under way at most, as soon as that many
/// have gone through.
const MOSQUITTO_QUEUES: &str = "max_queued_messages 0";

/// A number no other run at the same broker has; each row has a broker of its own.
const RUN: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_with_a_fault_has_no_figure() {
        let good = |us| Measured::of([("us", us)]);
        let bad = Measured {
            faults: Faults { lost: 1, ..Faults::default() },
            ..Measured::of([("us", 9.0)])
        };
        let rounds = vec![good(1.0), bad, good(3.0)];
        let cell = Cell { row: "a".into(), broker: "b".into(), rounds };
        let found = cell.json();
        assert_eq!(found["figures"]["us"]["median"], 2.0);
        assert_eq!(found["figures"]["us"]["rounds"], json!([1.0, null, 3.0]));
        assert_eq!((&found["faults"], &found["failure"]), (&json!("1 lost"), &Value::Null));
    }

    #[test]
    fn what_this_machine_cannot_measure_is_nobodys_fault() {
        let round = Measured { left_out: Some("no root".into()), ..Measured::default() };
        assert!(round.is_clean());
        let cell = Cell { row: "a".into(), broker: "b".into(), rounds: vec![round] };
        assert_eq!(cell.json()["left_out"], "no root");
    }

    #[test]
    fn who_cannot_be_started_has_no_figures_and_stops_nobody() {
        let suite = Suite {
            noctule: "/nonexistent/noctule".into(),
            mosquitto: None,
            relay: "/nonexistent/relay".into(),
            at: Vec::new(),
            rounds: 2,
            duration: Duration::from_millis(1),
            fraction: 1,
        };
        let two: Vec<_> = rows().into_iter().take(2).collect();
        let mut heard = 0;
        let cells = suite.run(&two, |_, _, measured| heard += u32::from(!measured.is_clean()));
        assert_eq!((cells.len(), heard), (4, 8), "two rows at two, twice");
        let failure = cells[3].json()["failure"].to_string();
        assert!(failure.contains("/nonexistent/"), "{failure}");
    }

    #[test]
    fn who_has_a_configuration_file_gets_a_line_more() {
        let target = Target::mosquitto("mosquitto".as_ref()).with_line("max_inflight_messages 0");
        let how = format!("{:?}", target.how);
        assert!(how.contains("allow_anonymous true\\nmax_inflight_messages 0\\n"), "{how}");
        let noctule = Target::noctule("noctule".as_ref());
        assert_eq!(noctule.clone().with_line("anything"), noctule);
    }

    #[test]
    fn no_two_rows_have_one_name() {
        let mut names: Vec<_> = rows().into_iter().map(|row| row.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
