//! Runs the simulation by hand: so many seeds, so many simulated minutes each, with or without a
//! planted fault. Its failures name their seeds; one seed alone tells its whole story.

use noctule_broker::faults::{Fault, plant};
use noctule_testkit::Plan;
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "\
usage: simulate [FIRST[..END]] [MINUTES] [FAULT]

  FIRST..END  seeds, without END a single one, whose whole story is told; 0..20 if left out
  MINUTES     of virtual time for each seed; 30 if left out
  FAULT       a mistake to plant; one of:";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match parse(&arguments) {
        Some((seeds, minutes, fault)) => run(seeds, minutes, fault),
        None => {
            println!("{USAGE}");
            Fault::ALL.iter().for_each(|fault| println!("              {fault}"));
            ExitCode::from(2)
        }
    }
}

fn parse(arguments: &[String]) -> Option<(std::ops::Range<u64>, u64, Option<Fault>)> {
    let seeds = match arguments.first() {
        None => 0..20,
        Some(text) => match text.split_once("..") {
            Some((first, end)) => first.parse().ok()?..end.parse().ok()?,
            None => {
                let seed = text.parse().ok()?;
                seed..seed + 1
            }
        },
    };
    let minutes = arguments.get(1).map_or(Some(30), |text| text.parse().ok())?;
    match arguments.get(2) {
        None => Some((seeds, minutes, None)),
        Some(name) => Some((seeds, minutes, Some(Fault::named(name)?))),
    }
}

fn run(seeds: std::ops::Range<u64>, minutes: u64, fault: Option<Fault>) -> ExitCode {
    plant(fault);
    let whole_story = seeds.end - seeds.start == 1;
    let (mut runs, mut failed) = (0, 0);
    for seed in seeds {
        runs += 1;
        match (Plan { seed, minutes, whole_story }).run() {
            Ok(totals) => say(&format!("seed {seed}: {totals:?}")),
            Err(story) => {
                failed += 1;
                say(&story);
            }
        }
    }
    say(&format!("{runs} runs of {minutes} minutes, {failed} failed"));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says a line, to whoever still listens.
fn say(line: &str) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(1);
    }
}
