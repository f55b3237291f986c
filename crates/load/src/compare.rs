//! Processor time per delivered message, for several brokers in one run.
//!
//! Brokers are measured in turn, scenario by scenario, in several rounds whose order alternates, as
//! the speed of a machine drifts by more than brokers differ. The figure of a round is the
//! broker's processor time from quiet to quiet over the messages delivered meanwhile. The
//! invariant: a round in which a message was lost, doubled or reordered has no figure.

use std::time::Duration;

use serde_json::{Value, json};

use crate::LoadError;
use crate::checker::Faults;
use crate::fleet::{Fleet, Outcome};
use crate::plan::{Goal, Plan};
use crate::process;
use crate::statistics::{median, median_ratio, range};
use crate::table::{Table, figure};
use crate::target::Broker;

/// How long and how often each scenario is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Of sending, per broker, scenario and round.
    pub duration: Duration,
    /// How many times everything is measured.
    pub rounds: u32,
}

/// One round of one scenario at one broker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Processor time of the broker in nanoseconds; `None` if its process is not known.
    pub broker_ns: Option<u64>,
    /// Processor time of the generator in nanoseconds.
    pub generator_ns: u64,
    /// What came of it.
    pub outcome: Outcome,
}

impl Sample {
    /// Microseconds of the broker per delivered message, if this is a figure at all.
    pub fn broker_us(&self) -> Option<f64> {
        self.per_message(self.broker_ns?)
    }

    /// Microseconds of the generator per delivered message.
    pub fn generator_us(&self) -> Option<f64> {
        self.per_message(self.generator_ns)
    }

    /// Delivered messages per second.
    pub fn rate(&self) -> Option<f64> {
        let is_figure = self.outcome.faults.is_clean() && self.outcome.delivered > 0;
        is_figure.then(|| self.outcome.delivered as f64 / self.outcome.elapsed.as_secs_f64())
    }

    fn per_message(&self, ns: u64) -> Option<f64> {
        let is_figure = self.outcome.faults.is_clean() && self.outcome.delivered > 0;
        is_figure.then(|| ns as f64 / 1_000.0 / self.outcome.delivered as f64)
    }
}

/// All rounds of one scenario at one broker.
#[derive(Debug)]
pub struct Cell {
    /// Which scenario.
    pub plan: Plan,
    /// Which broker.
    pub broker: String,
    /// One per round.
    pub samples: Vec<Sample>,
}

/// What a comparison found.
#[derive(Debug)]
pub struct Comparison {
    /// By scenario, then by broker in the order given.
    pub cells: Vec<Cell>,
    /// The broker to which ratios are taken: the first.
    pub reference: String,
}

/// Measures every plan at every broker; `progress` hears each sample as it comes.
///
/// # Errors
/// If a broker ends, refuses or breaks a connection, or its process used no processor time, which
/// means that it is not the one that did the work.
pub fn compare(
    brokers: &mut [Broker],
    plans: &[Plan],
    effort: Effort,
    mut progress: impl FnMut(&Plan, &str, &Sample),
) -> Result<Comparison, LoadError> {
    let reference = brokers.first().map(|broker| broker.name.clone());
    let reference = reference.ok_or_else(|| LoadError::new("there is no broker to measure"))?;
    let mut cells: Vec<Cell> = plans
        .iter()
        .flat_map(|plan| {
            brokers.iter().map(|broker| Cell {
                plan: *plan,
                broker: broker.name.clone(),
                samples: Vec::new(),
            })
        })
        .collect();
    let count = brokers.len();
    let mut run = std::process::id() << 8;
    for round in 0..effort.rounds {
        for (row, plan) in plans.iter().enumerate() {
            for turn in 0..count {
                let column = if round % 2 == 0 { turn } else { count - 1 - turn };
                let broker = &mut brokers[column];
                run = run.wrapping_add(1);
                let sample = measure(broker, *plan, effort.duration, run)
                    .map_err(|error| LoadError::new(format!("{}, {plan}: {error}", broker.name)))?;
                progress(plan, &broker.name, &sample);
                cells[row * count + column].samples.push(sample);
            }
        }
    }
    Ok(Comparison { cells, reference })
}

/// Measures one scenario once, after a short run to warm up.
pub(crate) fn measure(
    broker: &mut Broker,
    plan: Plan,
    duration: Duration,
    run: u32,
) -> Result<Sample, LoadError> {
    let measured = drive(broker, plan, duration, run);
    // That the broker is gone explains more than what its end did to our connections.
    broker.check_alive()?;
    measured
}

fn drive(broker: &Broker, plan: Plan, duration: Duration, run: u32) -> Result<Sample, LoadError> {
    let generator = std::process::id();
    let broker_ns = || broker.pid.map(process::cpu_ns).transpose();
    let mut fleet = Fleet::connect(broker.endpoint(plan.over_tls)?, plan, run)?;
    let warm_up = fleet.run(Goal::Time(duration / WARM_UP_SHARE))?;
    if !warm_up.faults.is_clean() {
        return Ok(Sample { broker_ns: None, generator_ns: 0, outcome: warm_up });
    }
    let before = (broker_ns()?, process::cpu_ns(generator)?);
    let outcome = fleet.run(Goal::Time(duration))?;
    let after = (broker_ns()?, process::cpu_ns(generator)?);
    let sample = Sample {
        broker_ns: after.0.zip(before.0).map(|(after, before)| after - before),
        generator_ns: after.1 - before.1,
        outcome,
    };
    if outcome.faults.is_clean() {
        fleet.disconnect()?;
    }
    if sample.broker_ns == Some(0) && outcome.delivered > 0 {
        return Err(LoadError::new(
            "the process used no processor time: it is not the one that answers",
        ));
    }
    Ok(sample)
}

const WARM_UP_SHARE: u32 = 10;

impl Comparison {
    /// Whether every sample is a figure.
    pub fn is_clean(&self) -> bool {
        self.cells.iter().all(|cell| cell.faults().is_clean())
    }

    /// The comparison as a table for people.
    pub fn table(&self) -> String {
        let ratio = format!("× {}", self.reference);
        let headings = [
            "scenario",
            "broker",
            "µs/message",
            "least",
            "most",
            &ratio,
            "messages/s",
            "CPU s/round",
            "generator µs",
            "faults",
        ];
        let mut table = Table::new(&headings, 2);
        for cell in &self.cells {
            let ends = range(&cell.figures(Sample::broker_us));
            table.row(vec![
                cell.plan.to_string(),
                cell.broker.clone(),
                figure(cell.median(Sample::broker_us)),
                figure(ends.map(|(least, _)| least)),
                figure(ends.map(|(_, most)| most)),
                figure(self.ratio(cell)),
                figure(cell.median(Sample::rate)),
                figure(cell.median(|sample| Some(sample.broker_ns? as f64 / NS_PER_SECOND))),
                figure(cell.median(Sample::generator_us)),
                cell.faults().to_string(),
            ]);
        }
        table.text()
    }

    /// The comparison for programs.
    pub fn json(&self) -> Value {
        let cells: Vec<_> = self.cells.iter().map(|cell| self.cell_json(cell)).collect();
        json!({ "reference": self.reference, "cells": cells })
    }

    fn cell_json(&self, cell: &Cell) -> Value {
        let samples: Vec<_> = cell.samples.iter().map(sample_json).collect();
        json!({
            "scenario": cell.plan.to_string(),
            "broker": cell.broker,
            "us_per_message": cell.median(Sample::broker_us),
            "ratio_to_reference": self.ratio(cell),
            "messages_per_second": cell.median(Sample::rate),
            "generator_us_per_message": cell.median(Sample::generator_us),
            "faults": faults_json(&cell.faults()),
            "rounds": samples,
        })
    }

    /// How many times the reference's processor time the cell's broker took in its scenario.
    fn ratio(&self, cell: &Cell) -> Option<f64> {
        let reference = self
            .cells
            .iter()
            .find(|other| other.plan == cell.plan && other.broker == self.reference)?;
        median_ratio(&cell.by_round(), &reference.by_round())
    }
}

impl Cell {
    /// What went wrong in all rounds together.
    pub fn faults(&self) -> Faults {
        let mut faults = Faults::default();
        for sample in &self.samples {
            faults += sample.outcome.faults;
        }
        faults
    }

    fn by_round(&self) -> Vec<Option<f64>> {
        self.samples.iter().map(Sample::broker_us).collect()
    }

    fn figures(&self, of: impl Fn(&Sample) -> Option<f64>) -> Vec<f64> {
        self.samples.iter().filter_map(of).collect()
    }

    fn median(&self, of: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        median(&self.figures(of))
    }
}

fn sample_json(sample: &Sample) -> Value {
    json!({
        "broker_ns": sample.broker_ns,
        "generator_ns": sample.generator_ns,
        "sent": sample.outcome.sent,
        "delivered": sample.outcome.delivered,
        "seconds": sample.outcome.elapsed.as_secs_f64(),
        "faults": faults_json(&sample.outcome.faults),
    })
}

/// Faults for programs.
pub fn faults_json(faults: &Faults) -> Value {
    json!({
        "lost": faults.lost,
        "doubled": faults.doubled,
        "reordered": faults.reordered,
        "foreign": faults.foreign,
        "unacknowledged": faults.unacknowledged,
    })
}

const NS_PER_SECOND: f64 = 1e9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Pace, Shape};
    use noctule_mqtt::QoS;

    fn plan() -> Plan {
        Plan {
            shape: Shape::Pairs(10),
            qos: QoS::AtMostOnce,
            payload_bytes: 64,
            pace: Pace::Flood(1_000),
            over_tls: false,
        }
    }

    fn sample(broker_ns: u64, lost: u64) -> Sample {
        Sample {
            broker_ns: Some(broker_ns),
            generator_ns: 2_000_000,
            outcome: Outcome {
                sent: 1_000 + lost,
                delivered: 1_000,
                left_out: 0,
                elapsed: Duration::from_millis(500),
                steady: None,
                faults: Faults { lost, ..Faults::default() },
            },
        }
    }

    fn comparison(others: Vec<Sample>) -> Comparison {
        let cell = |broker: &str, samples| Cell { plan: plan(), broker: broker.into(), samples };
        let ours = vec![sample(1_000_000, 0), sample(2_000_000, 0)];
        Comparison {
            cells: vec![cell("noctule", ours), cell("other", others)],
            reference: "noctule".into(),
        }
    }

    #[test]
    fn time_is_divided_by_what_was_delivered() {
        let sample = sample(1_500_000, 0);
        assert_eq!(sample.broker_us(), Some(1.5));
        assert_eq!(sample.generator_us(), Some(2.0));
        assert_eq!(sample.rate(), Some(2_000.0));
    }

    #[test]
    fn a_round_with_loss_is_no_figure_and_says_so() {
        assert_eq!(sample(1_500_000, 1).broker_us(), None);
        assert_eq!(sample(1_500_000, 1).rate(), None);
        let lossy = comparison(vec![sample(50_000_000, 3), sample(80_000_000, 0)]);
        assert!(!lossy.is_clean());
        // The clean round alone: 80 against 2.
        assert_eq!(lossy.ratio(&lossy.cells[1]), Some(40.0));
        assert!(lossy.table().contains("3 lost"), "{}", lossy.table());
        assert_eq!(lossy.json()["cells"][1]["faults"]["lost"], 3);
    }

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        let steady = comparison(vec![sample(40_000_000, 0), sample(80_000_000, 0)]);
        assert!(steady.is_clean());
        assert_eq!(steady.ratio(&steady.cells[1]), Some(40.0));
        assert_eq!(steady.json()["cells"][1]["ratio_to_reference"], 40.0);
        assert_eq!(steady.json()["cells"][0]["us_per_message"], 1.5);
    }

    #[test]
    fn nothing_to_measure_is_an_error() {
        let effort = Effort { duration: Duration::from_millis(1), rounds: 1 };
        assert!(compare(&mut [], &[plan()], effort, |_, _, _| ()).is_err());
    }
}
