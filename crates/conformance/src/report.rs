//! A run in words for people and in JSON for programs.

use noctule_mqtt::ProtocolVersion;
use serde_json::{Value, json};
use std::fmt::Write;

use crate::check::VERSIONS;
use crate::outcome::Outcome;
use crate::suite::Finding;

/// How many cases came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Passed.
    pub passed: usize,
    /// Failed.
    pub failed: usize,
    /// Not applicable.
    pub not_applicable: usize,
}

impl Tally {
    /// Counts `findings`.
    pub fn of<'f>(findings: impl IntoIterator<Item = &'f Finding>) -> Self {
        let mut tally = Self::default();
        for finding in findings {
            match finding.outcome {
                Outcome::Passed => tally.passed += 1,
                Outcome::Failed(_) => tally.failed += 1,
                Outcome::NotApplicable(_) => tally.not_applicable += 1,
            }
        }
        tally
    }

    fn words(self) -> String {
        let Self { passed, failed, not_applicable } = self;
        format!("{passed} passed, {failed} failed, {not_applicable} not applicable")
    }
}

/// The failures and what was not applicable, each with its clauses, and the sums of both versions.
/// With `all`, those that passed are listed too.
pub fn text(findings: &[Finding], all: bool) -> String {
    let mut out = String::new();
    for finding in findings {
        if all || finding.outcome != Outcome::Passed {
            out.push_str(&entry(finding));
        }
    }
    for version in VERSIONS {
        let of_version = || findings.iter().filter(|finding| finding.case.version == version);
        if of_version().next().is_some() {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "MQTT {version}: {}", Tally::of(of_version()).words());
        }
    }
    out
}

fn entry(finding: &Finding) -> String {
    let case = &finding.case;
    let word = match finding.outcome {
        Outcome::Passed => "pass",
        Outcome::Failed(_) => "FAIL",
        Outcome::NotApplicable(_) => "n/a ",
    };
    let clauses = case.clauses().collect::<Vec<_>>().join(" ");
    let mut out = format!("{word} {} ({}) {clauses}\n", case.name(), case.version);
    let mut line = |label: &str, words: &str| {
        if !words.is_empty() {
            let _ = writeln!(out, "     {label:<9} {words}");
        }
    };
    match &finding.outcome {
        Outcome::Passed => {}
        Outcome::NotApplicable(why) => line("because", why),
        Outcome::Failed(failure) => {
            line("does", case.check.does);
            line("expected", &failure.expected);
            line("came", &failure.came);
            line("came hex", &failure.came_hex);
            line("sent hex", &failure.sent_hex);
        }
    }
    out
}

/// Everything, for programs.
pub fn json(broker: &str, findings: &[Finding]) -> Value {
    let sums = |version: Option<ProtocolVersion>| {
        let meant = findings.iter().filter(|one| version.is_none_or(|v| one.case.version == v));
        let Tally { passed, failed, not_applicable } = Tally::of(meant);
        json!({ "passed": passed, "failed": failed, "not_applicable": not_applicable })
    };
    json!({
        "broker": broker,
        "passed": Tally::of(findings).failed == 0,
        "all": sums(None),
        "3.1.1": sums(Some(ProtocolVersion::V311)),
        "5.0": sums(Some(ProtocolVersion::V5)),
        "checks": findings.iter().map(finding_json).collect::<Vec<_>>(),
    })
}

fn finding_json(finding: &Finding) -> Value {
    let case = &finding.case;
    let mut value = json!({
        "name": case.name(),
        "version": case.version.to_string(),
        "clauses": case.clauses().collect::<Vec<_>>(),
        "does": case.check.does,
        "milliseconds": u64::try_from(finding.took.as_millis()).unwrap_or(u64::MAX),
    });
    match &finding.outcome {
        Outcome::Passed => value["outcome"] = "passed".into(),
        Outcome::NotApplicable(why) => {
            value["outcome"] = "not applicable".into();
            value["reason"] = why.as_str().into();
        }
        Outcome::Failed(failure) => {
            value["outcome"] = "failed".into();
            value["expected"] = failure.expected.as_str().into();
            value["came"] = failure.came.as_str().into();
            value["came_hex"] = failure.came_hex.as_str().into();
            value["sent_hex"] = failure.sent_hex.as_str().into();
        }
    }
    value
}
