//! What a run of the suite has found, as `noctule-load suite` writes it.

use std::path::Path;

use crate::shell::Failure;

/// A run.
pub(super) struct Findings {
    /// Processor, kernel and congestion control.
    pub(super) machine: String,
    pub(super) rounds: u64,
    pub(super) seconds: f64,
    /// More than 1 if numbers of things were divided: no figures to quote.
    pub(super) fraction: u64,
    cells: Vec<serde_json::Value>,
}

/// One figure of one row at one broker.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
    /// `None` for a round that has none.
    rounds: Vec<Option<f64>>,
}

impl Findings {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure(format!("cannot read {}: {error}", path.display())))?;
        Self::parse(&text)
    }

    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let found: serde_json::Value = serde_json::from_str(text)
            .map_err(|error| Failure(format!("the suite's JSON cannot be read: {error}")))?;
        let cells = found["cells"].as_array().cloned();
        Ok(Self {
            machine: found["machine"].as_str().unwrap_or("unknown").into(),
            rounds: found["rounds"].as_u64().unwrap_or(0),
            seconds: found["seconds"].as_f64().unwrap_or(0.0),
            fraction: found["fraction"].as_u64().unwrap_or(1),
            cells: cells.ok_or_else(|| Failure::new("the suite's JSON has no cells"))?,
        })
    }

    /// Whether this was to be measured.
    pub(super) fn has(&self, row: &str, broker: &str) -> bool {
        self.cells.iter().any(|cell| cell["row"] == row && cell["broker"] == broker)
    }

    pub(super) fn figure(&self, row: &str, broker: &str, name: &str) -> Option<Figure> {
        let cell = self.cells.iter().find(|cell| cell["row"] == row && cell["broker"] == broker)?;
        let figure = &cell["figures"][name];
        let rounds = figure["rounds"].as_array()?.iter().map(serde_json::Value::as_f64);
        Some(Figure {
            median: figure["median"].as_f64()?,
            least: figure["least"].as_f64()?,
            most: figure["most"].as_f64()?,
            rounds: rounds.collect(),
        })
    }

    /// What went wrong at a broker in a row, if anything did.
    pub(super) fn faults(&self, row: &str, broker: &str) -> Option<String> {
        let cell = self.cells.iter().find(|cell| cell["row"] == row && cell["broker"] == broker)?;
        let words = cell["faults"].as_str()?;
        (words != "none").then(|| words.into())
    }

    /// Why there are no figures of a broker in a row, or of some rounds of it.
    pub(super) fn failure(&self, row: &str, broker: &str) -> Option<&str> {
        let cell = self.cells.iter().find(|cell| cell["row"] == row && cell["broker"] == broker)?;
        cell["failure"].as_str()
    }

    /// Why a row was not measured at a broker, if this machine lacks what it takes.
    pub(super) fn left_out(&self, row: &str, broker: &str) -> Option<&str> {
        let cell = self.cells.iter().find(|cell| cell["row"] == row && cell["broker"] == broker)?;
        cell["left_out"].as_str()
    }

    /// All failures: row, broker and words.
    pub(super) fn failures(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.cells.iter().filter_map(|cell| {
            Some((cell["row"].as_str()?, cell["broker"].as_str()?, cell["failure"].as_str()?))
        })
    }

    /// Whether anything went wrong at Noctule.
    pub(super) fn is_ours_clean(&self) -> bool {
        let is_clean = |cell: &serde_json::Value| {
            let is_ours = cell["broker"].as_str().is_some_and(|name| name.starts_with("noctule"));
            !is_ours || (cell["faults"] == "none" && cell["failure"].is_null())
        };
        self.cells.iter().all(is_clean)
    }
}

impl Figure {
    /// How many times `other` this is: the median of the rounds, as neighbours in time have seen the
    /// same machine.
    pub(super) fn ratio_to(&self, other: &Self) -> Option<f64> {
        let both = self.rounds.iter().zip(&other.rounds);
        let mut ratios: Vec<f64> = both
            .filter_map(|(this, other)| Some((*this)? / (*other).filter(|value| *value > 0.0)?))
            .collect();
        ratios.sort_by(f64::total_cmp);
        let middle = ratios.len() / 2;
        let upper = *ratios.get(middle)?;
        if ratios.len() % 2 == 1 { Some(upper) } else { Some((ratios[middle - 1] + upper) / 2.0) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) const TEXT: &str = r#"{
        "machine": "a machine", "rounds": 2, "seconds": 1.0, "fraction": 1,
        "cells": [
            { "row": "pair-q0-64", "broker": "noctule", "faults": "none", "figures": {
                "us": { "median": 0.15, "least": 0.1, "most": 0.2, "rounds": [0.1, 0.2] } } },
            { "row": "pair-q0-64", "broker": "relay", "faults": "none", "figures": {
                "us": { "median": 0.04, "least": 0.02, "most": 0.06, "rounds": [0.02, 0.06] } } },
            { "row": "pair-q0-64", "broker": "mosquitto", "faults": "3 lost", "figures": {
                "us": { "median": 8.0, "least": 8.0, "most": 8.0, "rounds": [null, 8.0] } } },
            { "row": "grow-pairs-1", "broker": "noctule", "faults": "none", "figures": {
                "us": { "median": 0.2, "least": 0.2, "most": 0.2, "rounds": [0.2, 0.2] } } },
            { "row": "grow-pairs-1000", "broker": "noctule", "faults": "none", "figures": {
                "us": { "median": 0.4, "least": 0.2, "most": 0.4, "rounds": [0.4, 0.4] } } },
            { "row": "overload-q1", "broker": "noctule/1", "faults": "none", "figures": {
                "of_peak": { "median": 0.95, "least": 0.9, "most": 1.0, "rounds": [1.0, 0.9] },
                "lost": { "median": 0.0, "least": 0.0, "most": 0.0, "rounds": [0.0, 0.0] },
                "good_q0_p99_ms": { "median": 21.0, "least": 9.0, "most": 33.0, "rounds": [9.0, 33.0] } } },
            { "row": "overload-q1", "broker": "mosquitto", "faults": "none", "figures": {},
              "failure": "the broker ended" },
            { "row": "gain-pairs-q0", "broker": "noctule/1", "faults": "none", "figures": {
                "per_second": { "median": 15000.0, "least": 1e4, "most": 2e4, "rounds": [1e4, 2e4] },
                "us": { "median": 0.2, "least": 0.2, "most": 0.2, "rounds": [0.2, 0.2] },
                "used": { "median": 1.0, "least": 1.0, "most": 1.0, "rounds": [1.0, 1.0] },
                "generator_busy": { "median": 0.25, "least": 0.2, "most": 0.3, "rounds": [0.2, 0.3] } } },
            { "row": "gain-pairs-q0", "broker": "noctule/2", "faults": "none", "figures": {
                "per_second": { "median": 28000.0, "least": 2e4, "most": 3.6e4, "rounds": [2e4, 3.6e4] } } },
            { "row": "gain-pairs-q1", "broker": "noctule/1", "faults": "none", "figures": {},
              "left_out": "needs root" }
        ] }"#;

    #[test]
    fn ratios_are_taken_within_rounds() {
        let findings = Findings::parse(TEXT).unwrap();
        let us = |broker| findings.figure("pair-q0-64", broker, "us").unwrap();
        assert!((us("noctule").ratio_to(&us("relay")).unwrap() - 4.166_666).abs() < 1e-3);
        // The round in which Mosquitto lost something is left out.
        assert_eq!(us("mosquitto").ratio_to(&us("noctule")), Some(40.0));
        assert_eq!(findings.faults("pair-q0-64", "mosquitto").as_deref(), Some("3 lost"));
        assert_eq!(findings.faults("pair-q0-64", "noctule"), None);
        assert_eq!(findings.failure("overload-q1", "mosquitto"), Some("the broker ended"));
        let all: Vec<_> = findings.failures().collect();
        assert_eq!(all, [("overload-q1", "mosquitto", "the broker ended")]);
        assert!(findings.is_ours_clean(), "neither what others do is ours, nor what is left out");
        assert_eq!(findings.left_out("gain-pairs-q1", "noctule/1"), Some("needs root"));
        let ours = TEXT.replacen("\"faults\": \"none\"", "\"faults\": \"1 lost\"", 1);
        assert!(!Findings::parse(&ours).unwrap().is_ours_clean());
        assert!(findings.figure("pair-q0-64", "noctule", "nothing").is_none());
    }

    #[test]
    fn what_is_no_json_of_a_suite_is_refused() {
        assert!(Findings::parse("{").is_err());
        assert!(Findings::parse("{}").is_err());
    }
}
