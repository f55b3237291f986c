//! Runs cases against a broker, several at a time, and gives back the results in their order.
//!
//! A case has its own clients and topics, so that cases do not meet; most of a run is waiting.

use noctule_mqtt::ProtocolVersion;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::check::{Case, cases};
use crate::lab::Lab;
use crate::outcome::{Outcome, Stop};
use crate::target::{Granted, Reception, Target, Unreachable};

/// Which cases are run, and how many at a time.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The versions.
    pub versions: Vec<ProtocolVersion>,
    /// What [`Case::is_meant_by`] takes; without any, all cases are meant.
    pub filters: Vec<String>,
    /// So many cases at a time, at least one.
    pub jobs: usize,
}

/// A case with its outcome.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The case.
    pub case: Case,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

/// The cases that are meant.
pub fn selected(selection: &Selection) -> Vec<Case> {
    let mut all = cases(&selection.versions);
    if !selection.filters.is_empty() {
        all.retain(|case| selection.filters.iter().any(|filter| case.is_meant_by(filter)));
    }
    all
}

/// Runs what is selected against `target`. `progress` is told of each finding as it comes.
///
/// # Errors
/// [`Unreachable`] if the broker cannot be tested at all. A version that it does not speak is no
/// error: its cases are not applicable.
pub fn run(
    target: &Target,
    selection: &Selection,
    mut progress: impl FnMut(&Finding),
) -> Result<Vec<Finding>, Unreachable> {
    let mut receptions = Vec::new();
    for version in &selection.versions {
        receptions.push((*version, target.receive(*version)?));
    }
    let cases = selected(selection);
    let next = AtomicUsize::new(0);
    let (sender, receiver) = channel();
    let mut findings: Vec<Option<Finding>> = vec![None; cases.len()];
    std::thread::scope(|scope| {
        for _ in 0..selection.jobs.clamp(1, cases.len().max(1)) {
            let (sender, next, cases, receptions) = (sender.clone(), &next, &cases, &receptions);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else { return };
                    // Nobody stops listening before the last has come.
                    let _ = sender.send((index, find(target, receptions, *case)));
                }
            });
        }
        drop(sender);
        for (index, finding) in receiver {
            progress(&finding);
            findings[index] = Some(finding);
        }
    });
    Ok(findings.into_iter().flatten().collect())
}

fn find(target: &Target, receptions: &[(ProtocolVersion, Reception)], case: Case) -> Finding {
    let begin = Instant::now();
    let reception = receptions.iter().find(|(version, _)| *version == case.version);
    let outcome = match reception.map(|(_, reception)| reception) {
        Some(Reception::Spoken(granted)) => examine(target, granted, case),
        Some(Reception::NotSpoken(code)) => Outcome::NotApplicable(format!(
            "the broker refuses this version with CONNACK 0x{code:02X}"
        )),
        None => Outcome::NotApplicable("the version was not asked for".into()),
    };
    Finding { case, outcome, took: begin.elapsed() }
}

fn examine(target: &Target, granted: &Granted, case: Case) -> Outcome {
    let lab = Lab::new(target, case.version, granted);
    let verdict = (case.check.run)(&lab);
    lab.tidy();
    if let Err(Stop::NotApplicable(why)) = verdict {
        return Outcome::NotApplicable(why);
    }
    verdict.into()
}
