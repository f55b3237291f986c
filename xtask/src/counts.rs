//! `cargo xtask counts`: what a message costs the broker in instructions and in system calls.
//!
//! Such counts do not depend on how busy the machine is, so they can be bounds where times cannot.
//! The release build, with one loop unless told otherwise, runs under callgrind and under strace, driven by
//! `noctule-load drive`; a run without messages, which connects and subscribes just the same, is
//! subtracted. The invariant: a count is divided by the messages that the driver says arrived, each
//! once and in order.

mod side_by_side;
mod subject;
mod tools;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::shell::{self, Failure};
use crate::workspace;
use subject::Subject;
use tools::{TOOLS, Tool};

/// One pattern of messages, and how much one delivery may cost.
struct Bound {
    /// As `noctule-load drive --mode` takes it.
    mode: &'static str,
    instructions_max: Option<f64>,
    system_calls_max: Option<f64>,
}

const BOUNDS: &[Bound] = &[
    Bound { mode: "q0-b1", instructions_max: None, system_calls_max: Some(2.2) },
    Bound { mode: "q0-b8", instructions_max: Some(800.0), system_calls_max: None },
    Bound { mode: "q1-b8", instructions_max: Some(1_400.0), system_calls_max: Some(0.6) },
    Bound { mode: "fan-out-b8", instructions_max: Some(150.0), system_calls_max: None },
];

/// What a delivery was found to cost.
struct Cost {
    instructions: f64,
    system_calls: f64,
}

/// The command. Takes `--messages N` (at least 10,000), `--broker "PROGRAM ARGUMENTS"`, another
/// program to count, which must say `listening on ADDRESS:PORT (MQTT)`, and `--shards 1,2,8`, which
/// counts it with each of these numbers of loops and compares them, without bounds.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Failure> {
    let options = Options::parse(arguments)?;
    tools::check()?;
    shell::run(workspace::cargo().args([
        "build",
        "--release",
        "--package",
        "noctule",
        "--package",
        "noctule-load",
    ]))?;
    let target = workspace::target()?;
    // The bounds are those of one loop: with more, what a message costs depends on where its
    // receivers live.
    let is_ours = options.broker.is_none();
    let mut bench = Bench {
        room: target.join("counts"),
        driver: target.join("release/noctule-load"),
        broker: options.broker.unwrap_or_else(|| {
            let program = target.join("release/noctule");
            let words = [&program.to_string_lossy(), "broker", "--port", "0", "--no-tls"];
            words.map(String::from).into()
        }),
        messages: options.messages,
    };
    if !options.shards.is_empty() {
        side_by_side::run(&bench, &options.shards)?;
        return Ok(ExitCode::SUCCESS);
    }
    if is_ours {
        bench = bench.with_loops(1);
    }
    let mut complaints = Vec::new();
    println!("{}", headings());
    for bound in BOUNDS {
        let cost = bench.cost(bound.mode)?;
        println!("{}", bound.line(&cost));
        complaints.extend(bound.complaints(&cost));
    }
    if complaints.is_empty() {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::new(complaints.join("; ")))
    }
}

struct Options {
    messages: u64,
    broker: Option<Vec<String>>,
    /// Numbers of loops to compare.
    shards: Vec<u16>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let mut options = Self { messages: MESSAGES_MIN, broker: None, shards: Vec::new() };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| Failure(format!("{word} needs a value")))?;
            match word.as_str() {
                "--messages" => {
                    let count = value.parse().ok().filter(|count| *count >= MESSAGES_MIN);
                    let least = || Failure(format!("--messages: at least {MESSAGES_MIN}"));
                    options.messages = count.ok_or_else(least)?;
                }
                "--broker" => {
                    options.broker = Some(value.split_whitespace().map(String::from).collect());
                }
                "--shards" => {
                    let numbers = value.split(',').map(|word| word.trim().parse().ok());
                    let numbers = numbers.map(|number| number.filter(|number| *number > 0));
                    let wrong = || Failure(format!("--shards: '{value}' is no list like 1,2,8"));
                    options.shards = numbers.collect::<Option<_>>().ok_or_else(wrong)?;
                }
                other => return Err(Failure(format!("there is no option '{other}'"))),
            }
        }
        Ok(options)
    }
}

/// Fewer, and what happens once in a while weighs too much.
const MESSAGES_MIN: u64 = 10_000;

struct Bench {
    room: PathBuf,
    driver: PathBuf,
    broker: Vec<String>,
    messages: u64,
}

impl Bench {
    /// The same broker with so many loops.
    fn with_loops(&self, shards: u16) -> Self {
        let mut broker = self.broker.clone();
        broker.extend(["--shards".into(), shards.to_string()]);
        let (room, driver) = (self.room.clone(), self.driver.clone());
        Self { room, driver, broker, messages: self.messages }
    }

    fn cost(&self, mode: &str) -> Result<Cost, Failure> {
        let [instructions, system_calls] = TOOLS;
        Ok(Cost {
            instructions: self.per_delivery(instructions, mode)?,
            system_calls: self.per_delivery(system_calls, mode)?,
        })
    }

    fn per_delivery(&self, tool: &Tool, mode: &str) -> Result<f64, Failure> {
        let empty = self.count(tool, mode, 0)?;
        let full = self.count(tool, mode, self.messages)?;
        if full.delivered < self.messages {
            return Err(Failure(format!(
                "{mode}: {} of {} messages delivered",
                full.delivered, self.messages
            )));
        }
        let grown = full.counted as f64 - empty.counted as f64;
        Ok(grown / full.delivered as f64)
    }

    /// Runs the broker under the tool from start to end, with `messages` in between.
    fn count(&self, tool: &Tool, mode: &str, messages: u64) -> Result<Counted, Failure> {
        let subject = Subject::start(tool, &self.broker, &self.room)?;
        let delivered = self.drive(&subject.address, mode, messages);
        // The broker must have its orderly end even if the driver failed.
        let report = subject.end();
        Ok(Counted { delivered: delivered?, counted: (tool.read)(&report?)? })
    }

    fn drive(&self, address: &str, mode: &str, messages: u64) -> Result<u64, Failure> {
        let mut command = driver(&self.driver, address, mode, messages);
        let text = shell::output(&mut command)?;
        let found: serde_json::Value = serde_json::from_str(&text)
            .map_err(|error| Failure(format!("the driver said '{text}': {error}")))?;
        found["delivered"].as_u64().ok_or_else(|| Failure(format!("the driver said '{text}'")))
    }
}

struct Counted {
    delivered: u64,
    counted: u64,
}

fn driver(program: &Path, address: &str, mode: &str, messages: u64) -> Command {
    let mut command = Command::new(program);
    command.args(["drive", address, "--json", "--mode", mode]);
    command.args(["--messages", &messages.to_string()]);
    command
}

fn headings() -> String {
    format!(
        "{:<12} {:>12} {:>8}  {:>12} {:>8}",
        "per delivery", "instructions", "at most", "system calls", "at most"
    )
}

impl Bound {
    fn line(&self, cost: &Cost) -> String {
        let most = |bound: Option<f64>| bound.map_or("–".into(), |bound| bound.to_string());
        format!(
            "{:<12} {:>12.0} {:>8}  {:>12.3} {:>8}",
            self.mode,
            cost.instructions,
            most(self.instructions_max),
            cost.system_calls,
            most(self.system_calls_max)
        )
    }

    fn complaints(&self, cost: &Cost) -> Vec<String> {
        [
            ("instructions", cost.instructions, self.instructions_max),
            ("system calls", cost.system_calls, self.system_calls_max),
        ]
        .into_iter()
        .filter_map(|(what, found, most)| {
            let most = most?;
            // A count that is none or no number is no pass.
            let holds = found > 0.0 && found <= most;
            (!holds).then(|| format!("{}: {found:.3} {what}, at most {most}", self.mode))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound =
        Bound { mode: "q1-b8", instructions_max: Some(1_400.0), system_calls_max: Some(0.6) };

    fn cost(instructions: f64, system_calls: f64) -> Cost {
        Cost { instructions, system_calls }
    }

    #[test]
    fn a_bound_holds_up_to_itself_and_not_above() {
        assert!(BOUND.complaints(&cost(1_400.0, 0.6)).is_empty());
        assert_eq!(
            BOUND.complaints(&cost(1_400.5, 0.61)),
            [
                "q1-b8: 1400.500 instructions, at most 1400",
                "q1-b8: 0.610 system calls, at most 0.6"
            ]
        );
    }

    #[test]
    fn a_count_of_nothing_is_no_pass() {
        for nothing in [0.0, -1.0, f64::NAN] {
            assert_eq!(BOUND.complaints(&cost(nothing, 0.5)).len(), 1, "{nothing}");
        }
    }

    #[test]
    fn what_has_no_bound_is_shown_and_not_judged() {
        let free = Bound { mode: "q0-b1", instructions_max: None, system_calls_max: None };
        assert!(free.complaints(&cost(1e9, 1e9)).is_empty());
        let line = free.line(&cost(712.4, 2.128));
        let cells: Vec<_> = line.split_whitespace().collect();
        assert_eq!(cells, ["q0-b1", "712", "–", "2.128", "–"]);
    }

    #[test]
    fn options_are_read_and_too_few_messages_refused() {
        let parse = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| String::from(*word)).collect();
            Options::parse(&words)
        };
        assert_eq!(parse(&[]).unwrap().messages, MESSAGES_MIN);
        assert_eq!(parse(&["--messages", "20000"]).unwrap().messages, 20_000);
        let broker = parse(&["--broker", "prog --port 0"]).unwrap().broker;
        assert_eq!(broker.unwrap(), ["prog", "--port", "0"]);
        assert_eq!(parse(&["--shards", "1,2, 8"]).unwrap().shards, [1, 2, 8]);
        for wrong in [&["--messages", "9999"][..], &["--messages"], &["--fast", "1"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        for wrong in [&["--shards", "1,,2"][..], &["--shards", "0"], &["--shards", "many"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
