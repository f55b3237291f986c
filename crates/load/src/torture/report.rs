//! What came of a torture, for people and for programs.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::books::Tally;
use super::course::Course;
use super::findings::{Finding, Findings, KEPT_MAX, Kind};
use super::lane::Life;
use super::plan::Plan;
use super::victim::Ending;
use crate::LoadError;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything acknowledged was there, in all rounds.
    Kept,
    /// It was not.
    Broken,
    /// Nothing was found until it was stopped.
    Stopped,
}

/// A round has ended with the broker's death.
#[derive(Debug)]
pub struct Progress<'a> {
    /// Which, from 1.
    pub round: Life,
    /// Of so many.
    pub rounds: u32,
    /// Since the beginning.
    pub elapsed: Duration,
    /// What was done so far; deliveries are counted at the end.
    pub tally: &'a Tally,
    /// What was found so far.
    pub findings: &'a Findings,
}

impl Progress<'_> {
    /// One line.
    pub fn line(&self) -> String {
        let Self { round, rounds, elapsed, tally, findings } = self;
        let seconds = elapsed.as_secs_f64();
        let found = found(findings);
        let found = if found.is_empty() { "nothing wrong".into() } else { found.join(", ") };
        format!(
            "round {round} of {rounds}: {seconds:.1} s, {} acknowledged, {} kills: {found}",
            tally.acknowledged, tally.kills
        )
    }
}

fn found(findings: &Findings) -> Vec<String> {
    let count = |kind: &Kind| (findings.count(*kind), kind.words());
    let counts = Kind::ALL.iter().map(count).filter(|(count, _)| *count > 0);
    counts.map(|(count, words)| format!("{count} {words}")).collect()
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Report {
    /// How it ended.
    pub verdict: Verdict,
    /// Rounds that ended with the broker's death.
    pub rounds: u32,
    /// How long all took.
    pub elapsed: Duration,
    /// What was done.
    pub tally: Tally,
    /// What was found.
    pub findings: Findings,
    /// The longest time from a start to the first connection.
    pub slowest_start: Duration,
    /// The broker's files.
    pub directory: PathBuf,
    command: String,
    seed: u64,
    signal: &'static str,
}

impl Report {
    pub(super) fn new(plan: &Plan, course: &Course<'_>, verdict: Verdict) -> Self {
        Self {
            verdict,
            rounds: course.books.life().saturating_sub(1).min(plan.rounds),
            elapsed: course.books.elapsed(),
            tally: course.books.tally,
            findings: course.books.findings.clone(),
            slowest_start: course.slowest_start,
            directory: course.victim.directory().to_owned(),
            command: plan.launch.words.join(" "),
            seed: plan.seed,
            signal: match plan.ending {
                Ending::Kill => "SIGKILL",
                Ending::Terminate => "SIGTERM",
            },
        }
    }

    /// Removes the broker's files, unless they are evidence or `keep` says so; whether they are
    /// there still.
    ///
    /// # Errors
    /// If they cannot be removed.
    pub fn tidy_up(&self, keep: bool) -> Result<bool, LoadError> {
        if keep || self.verdict == Verdict::Broken {
            return Ok(true);
        }
        remove(&self.directory).map(|()| false)
    }

    /// For people: figures, what was found, and the verdict in the last line.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, figure) in self.figures() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:<28} {figure:>12}");
        }
        text.push('\n');
        for kind in Kind::ALL {
            let _ = writeln!(text, "{:<28} {:>12}", kind.words(), self.findings.count(kind));
        }
        for kind in Kind::ALL.into_iter().filter(|kind| self.findings.count(*kind) > 0) {
            self.tell(kind, &mut text);
        }
        let _ = writeln!(text, "\n{}", self.verdict());
        text
    }

    fn figures(&self) -> [(&'static str, String); 12] {
        let Tally { kills, acknowledged, refused, delivered, repeated, overtaken, .. } = self.tally;
        [
            ("rounds", self.rounds.to_string()),
            ("kills", format!("{kills} {}", self.signal)),
            ("seconds", format!("{:.1}", self.elapsed.as_secs_f64())),
            ("slowest start", format!("{} ms", self.slowest_start.as_millis())),
            ("acknowledged", acknowledged.to_string()),
            ("delivered", delivered.to_string()),
            ("repeated at QoS 1, overtaken", format!("{repeated}, {overtaken}")),
            ("refused, connections cut", format!("{refused}, {}", self.tally.cut)),
            ("sessions found again", self.tally.resumed.to_string()),
            ("retained values looked at", self.tally.looked_at.to_string()),
            ("retained messages handed out", self.tally.handed_out.to_string()),
            ("deleted meanwhile", self.tally.deleted.to_string()),
        ]
    }

    fn tell(&self, kind: Kind, text: &mut String) {
        let count = self.findings.count(kind);
        let first =
            if count > KEPT_MAX { format!(", the first {KEPT_MAX}") } else { String::new() };
        let _ = writeln!(text, "\n{}{first}:", kind.words());
        for finding in self.findings.kept().iter().filter(|finding| finding.kind == kind) {
            let _ = writeln!(text, "  {finding}");
        }
    }

    /// One sentence.
    pub fn verdict(&self) -> String {
        let rounds = self.rounds;
        match self.verdict {
            Verdict::Kept => format!(
                "kept: everything acknowledged was there after {} kills in {rounds} rounds",
                self.tally.kills
            ),
            Verdict::Broken => format!(
                "BROKEN: {} (seed {}; its files are in {})",
                found(&self.findings).join(", "),
                self.seed,
                self.directory.display()
            ),
            Verdict::Stopped => {
                format!("stopped in round {}: nothing wrong until then", rounds + 1)
            }
        }
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let verdict = match self.verdict {
            Verdict::Kept => "kept",
            Verdict::Broken => "broken",
            Verdict::Stopped => "stopped",
        };
        let counts =
            Kind::ALL.map(|kind| (kind.key().to_owned(), self.findings.count(kind).into()));
        let findings: Vec<_> = self.findings.kept().iter().map(Finding::json).collect();
        json!({
            "verdict": verdict,
            "command": self.command,
            "signal": self.signal,
            "seed": self.seed,
            "rounds": self.rounds,
            "seconds": self.elapsed.as_secs_f64(),
            "slowest_start_ms": self.slowest_start.as_secs_f64() * 1_000.0,
            "done": self.tally.json(),
            "violations": Value::Object(counts.into_iter().collect()),
            "first_violations": findings,
            "directory": (self.verdict == Verdict::Broken).then(|| self.directory.display().to_string()),
        })
    }
}

fn remove(directory: &Path) -> Result<(), LoadError> {
    std::fs::remove_dir_all(directory)
        .map_err(|error| LoadError::io(format!("cannot remove {}", directory.display()), error))
}
