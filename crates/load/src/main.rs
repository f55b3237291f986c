//! `noctule-load`: the load generator on the command line. Only words are turned into plans and
//! findings into text here; what is measured, and how, is in the library.

mod arguments;
mod durable_words;
mod suite_words;
mod trials;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use noctule_load::compare::{self, Effort, Sample, faults_json};
use noctule_load::fleet::Fleet;
use noctule_load::plan::{Goal, Plan};
use noctule_load::target::{Broker, Target};
use noctule_load::{LoadError, durable, idle, machine, process, relay, table, trial};
use serde_json::json;

use arguments::Mode;

fn main() -> ExitCode {
    let matches = arguments::command().get_matches();
    let done = match matches.subcommand() {
        Some(("compare", matches)) => compare_brokers(matches),
        Some(("drive", matches)) => drive(matches),
        Some(("idle", matches)) => measure_idle(matches),
        Some(("relay", matches)) => relay(matches),
        Some((durable_words::NAME, matches)) => measure_durable(matches),
        Some((suite_words::NAME, matches)) => suite_words::run(matches),
        Some((name, matches)) if trials::NAMES.contains(&name) => bear(name, matches),
        _ => Err(LoadError::new("there is no such command")),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("noctule-load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// True if every message came once and in order.
fn compare_brokers(matches: &ArgMatches) -> Result<bool, LoadError> {
    let plans = arguments::plans(matches)?;
    let effort = Effort {
        duration: arguments::seconds(matches, "seconds"),
        rounds: arguments::number(matches, "rounds"),
    };
    let processors = machine::processors()?;
    let pinned = matches.get_flag("pin");
    let mut brokers = start_pinned(&arguments::targets(matches)?, &processors, pinned)?;
    eprintln!("{}", conditions(pinned));
    let comparison = compare::compare(&mut brokers, &plans, effort, report)?;
    if matches.get_flag("json") {
        println!("{:#}", comparison.json());
    } else {
        print!("{}", comparison.table());
    }
    Ok(comparison.is_clean())
}

fn report(plan: &Plan, broker: &str, sample: &Sample) {
    eprintln!(
        "{:<26} {broker:<10} {:>8} µs/message  {:>9} messages/s  faults: {}",
        plan.to_string(),
        table::figure(sample.broker_us()),
        table::figure(sample.rate()),
        sample.outcome.faults
    );
}

/// Starts brokers where they are to run, and moves to where we are to run ourselves.
fn start_pinned(
    targets: &[Target],
    processors: &[usize],
    pinned: bool,
) -> Result<Vec<Broker>, LoadError> {
    if !pinned {
        return start(targets);
    }
    // What we start inherits where we may run.
    machine::run_on(processors[0])?;
    let brokers = start(targets);
    machine::run_on(*processors.last().unwrap_or(&processors[0]))?;
    brokers
}

/// Runs a trial at every broker; true if no good client lost anything.
fn bear(name: &str, matches: &ArgMatches) -> Result<bool, LoadError> {
    process::raise_open_files(trials::connections(name, matches))?;
    let processors = machine::processors()?;
    let pinned = matches.get_flag("pin");
    let mut found = Vec::new();
    let mut targets = arguments::targets(matches)?;
    if name == trials::HANDSHAKES {
        targets = arguments::with_tls(targets, matches)?;
    }
    if name == trials::STORM {
        targets = trials::with_users(arguments::with_tls(targets, matches)?, matches);
    }
    for target in targets {
        for trial in trials::trials(name, matches)? {
            // A fresh process each time: what one trial leaves behind is not the next one's.
            let targets = std::slice::from_ref(&target);
            let mut broker = start_pinned(targets, &processors, pinned)?.remove(0);
            let good = arguments::number(matches, "good");
            let what = || format!("{}, {}", target.name, trial.name());
            let findings = trial::run(&mut broker, trial.as_ref(), good)
                .map_err(|error| LoadError::new(format!("{}: {error}", what())))?;
            eprintln!("{}: done", what());
            found.extend(findings);
        }
    }
    if matches.get_flag("json") {
        println!("{:#}", trial::json(&found));
    } else {
        eprintln!("{}", conditions(pinned));
        print!("{}", trial::table(&found));
    }
    Ok(found.iter().all(|found| found.good_faults.is_clean()))
}

fn start(targets: &[Target]) -> Result<Vec<Broker>, LoadError> {
    targets
        .iter()
        .map(|target| {
            target.start().map_err(|error| LoadError::new(format!("{}: {error}", target.name)))
        })
        .collect()
}

/// What one needs to know to read the figures.
fn conditions(pinned: bool) -> String {
    let where_ = if pinned {
        "brokers on the first processor, generator on the last"
    } else {
        "nothing pinned"
    };
    format!("{}, {where_}", machine::describe())
}

/// Sends a fixed number of messages and says what came of it.
fn drive(matches: &ArgMatches) -> Result<bool, LoadError> {
    let address: SocketAddr = arguments::value(matches, "broker");
    let mode: Mode = arguments::value(matches, "mode");
    let (plan, each) = mode.plan(
        arguments::value(matches, "messages"),
        arguments::number(matches, "payload") as usize,
    );
    let mut fleet = Fleet::connect(address, plan, DRIVE_RUN)?;
    let outcome = fleet.run(Goal::MessagesEach(each))?;
    fleet.disconnect()?;
    let (sent, delivered, faults) = (outcome.sent, outcome.delivered, outcome.faults);
    if matches.get_flag("json") {
        let faults = faults_json(&faults);
        let found = json!({ "sent": sent, "delivered": delivered, "faults": faults });
        println!("{found}");
    } else {
        println!("{plan}: {sent} sent, {delivered} delivered, faults: {faults}");
    }
    if !faults.is_clean() {
        eprintln!("noctule-load: {plan}: {sent} sent, {delivered} delivered, faults: {faults}");
    }
    Ok(outcome.faults.is_clean())
}

/// Every driven run uses the same topics and ids, so that it costs a broker the same.
const DRIVE_RUN: u32 = 1;

fn measure_idle(matches: &ArgMatches) -> Result<bool, LoadError> {
    let connections = arguments::number(matches, "connections");
    process::raise_open_files(connections)?;
    let settle = Duration::from_secs(arguments::number(matches, "settle").into());
    let mut costs = Vec::new();
    for target in arguments::targets(matches)? {
        for keep_alive in arguments::list(matches, "keep-alive") {
            // A fresh process each time: memory once taken is not always given back.
            let mut broker = start(std::slice::from_ref(&target))?.remove(0);
            let cost = idle::measure(&mut broker, connections, keep_alive, settle)?;
            eprintln!(
                "{}, keep alive {keep_alive}: {:.0} bytes each",
                cost.broker,
                cost.bytes_each()
            );
            costs.push(cost);
        }
    }
    if matches.get_flag("json") {
        println!("{:#}", idle::json(&costs));
    } else {
        print!("{}", idle::table(&costs));
    }
    Ok(true)
}

/// True if every message that was acknowledged came once and in order.
fn measure_durable(matches: &ArgMatches) -> Result<bool, LoadError> {
    let plan = durable_words::plan(matches)?;
    eprintln!("{}", conditions(false));
    let findings = durable::measure(&plan, |done| eprintln!("{done}"))?;
    if matches.get_flag("json") {
        println!("{:#}", durable::json(&findings));
    } else {
        print!("{}", durable::table(&findings));
    }
    Ok(findings.is_clean())
}

fn relay(matches: &ArgMatches) -> Result<bool, LoadError> {
    relay::serve(arguments::value(matches, "port")).map(|()| true)
}
