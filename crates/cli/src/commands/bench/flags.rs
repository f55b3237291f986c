//! The command line of `noctule bench`: what may be said, and the job that it means.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use noctule_client::QoS;
use noctule_load::bench::{Job, Scenario};

use crate::client_arguments::{access_arguments, duration, qos};

pub(super) const PID: &str = "pid";
pub(super) const FLOOR: &str = "floor";
pub(super) const JSON: &str = "json";
pub(super) const COMPARE: &str = "compare";
pub(super) const PREFIX: &str = "prefix";

/// Not a scenario but the other end of the floor.
pub(super) const RELAY: &str = "relay";

const SCENARIO: &str = "scenario";
const CLIENTS: &str = "clients";
const DURATION: &str = "duration";
const RATE: &str = "rate";
const QOS: &str = "qos";
const SIZE: &str = "size";
const WINDOW: &str = "window";
const RAMP: &str = "ramp";

/// The command and its flags.
pub(crate) fn describe() -> Command {
    Command::new("bench")
        .visible_alias("stress")
        .about("Drive a broker hard, check every message, measure")
        .disable_help_flag(true)
        .args_override_self(true)
        .arg(
            Arg::new(SCENARIO)
                .value_name("SCENARIO")
                .default_value(Scenario::Pair.name())
                .value_parser(scenarios())
                .help("What is driven"),
        )
        .args(job_arguments())
        .args(report_arguments())
        .args(access_arguments())
        .after_help(AFTER_HELP)
}

const AFTER_HELP: &str = "\
Without --rate publishers send as fast as messages come back (a closed loop): that measures how much \
goes through. With --rate they send by a schedule (an open loop), and a message's latency counts from \
the moment at which it was due, so what waits behind a slow broker counts, too.

Examples:
  noctule bench
  noctule bench pair --clients 50 --qos 1 --duration 30s --floor --pid $(pidof noctule)
  noctule bench fanout --clients 1000 --rate 200 --size 256
  noctule bench connect --clients 100 --tls --cafile noctule-data/tls/ca.pem
  noctule bench latency --rate 5000 --ramp 5s --json > before.json
  noctule bench latency --rate 5000 --ramp 5s --compare before.json

Exit codes: 0 all came once and in order (also after Ctrl-C), 1 could not be done, 2 wrong usage, \
3 something was lost, doubled, out of order, changed or not acknowledged, or a connection was refused \
or broke.";

fn scenarios() -> Vec<PossibleValue> {
    let with_help = |scenario: Scenario| {
        PossibleValue::new(scenario.name()).help(match scenario {
            Scenario::Pair => "publishers, each with a subscriber of its own",
            Scenario::FanOut => "one publisher, whose messages go to all subscribers",
            Scenario::FanIn => "publishers, whose messages all go to one subscriber",
            Scenario::Connect => "connections that come and go",
            Scenario::Latency => "pairs at 1000 messages a second: how long a message takes",
        })
    };
    let relay = PossibleValue::new(RELAY).hide(true);
    Scenario::ALL.into_iter().map(with_help).chain([relay]).collect()
}

fn job_arguments() -> [Arg; 7] {
    let flag = |id: &'static str, value: &'static str| Arg::new(id).long(id).value_name(value);
    let all = [
        flag(CLIENTS, "N")
            .short('n')
            .default_value("10")
            .value_parser(value_parser!(u16).range(1..=MOST_CLIENTS))
            .help("Pairs, subscribers, publishers, or connections at a time"),
        flag(DURATION, "TIME")
            .default_value("5s")
            .value_parser(positive_duration)
            .help("How long it is driven"),
        flag(RATE, "N")
            .value_parser(rate)
            .help("Messages (or connections) a second, by all together [default: as many as go]"),
        flag(QOS, "QOS").short('q').default_value("0").value_parser(qos).help("QoS of messages"),
        flag(SIZE, "BYTES")
            .short('s')
            .default_value("64")
            .value_parser(value_parser!(u32).range(8..=MOST_BYTES))
            .help("Size of a payload; the first eight bytes number it"),
        flag(WINDOW, "N")
            .default_value("500")
            .value_parser(value_parser!(u32).range(1..=60_000))
            .help("Without --rate: messages under way to a subscriber at a time"),
        flag(RAMP, "TIME")
            .default_value("0")
            .value_parser(duration)
            .help("Open the connections, and reach the rate, evenly within this time"),
    ];
    all.map(|arg| arg.help_heading("Load"))
}

const MOST_CLIENTS: i64 = 50_000;
const MOST_BYTES: i64 = 16_000_000;

fn report_arguments() -> [Arg; 5] {
    let switch = |id: &'static str| Arg::new(id).long(id).action(ArgAction::SetTrue);
    let all = [
        Arg::new(PID)
            .long(PID)
            .value_name("PID")
            .value_parser(value_parser!(u32).range(1..))
            .help("Process of the broker, if it runs on this machine: its CPU time and memory"),
        switch(FLOOR).help("Measure the same through a relay that only copies bytes, and compare"),
        switch(JSON).help("Print JSON instead of a table"),
        Arg::new(COMPARE)
            .long(COMPARE)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Compare with what --json printed before"),
        Arg::new(PREFIX)
            .long(PREFIX)
            .value_name("TEXT")
            .default_value("noctule-bench")
            .value_parser(prefix)
            .help("What topics and client identifiers begin with"),
    ];
    all.map(|arg| arg.help_heading("Report"))
}

/// The job that the flags mean; `None` if they do not mean a scenario, but the relay.
pub(super) fn job(arguments: &ArgMatches) -> Option<Result<Job, String>> {
    let scenario = arguments.get_one::<String>(SCENARIO).map_or("", String::as_str);
    let scenario = Scenario::named(scenario)?;
    let duration = |id: &str| arguments.get_one::<Duration>(id).copied().unwrap_or_default();
    let number = |id: &str| arguments.get_one::<u32>(id).copied().unwrap_or_default();
    let ramp = duration(RAMP);
    let job = Job {
        scenario,
        clients: arguments.get_one(CLIENTS).copied().unwrap_or_default(),
        duration: duration(DURATION),
        rate: arguments.get_one(RATE).copied(),
        qos: arguments.get_one::<QoS>(QOS).copied().unwrap_or_default(),
        payload_bytes: number(SIZE) as usize,
        window: number(WINDOW),
        ramp,
    };
    let is_pointless = scenario == Scenario::Connect && job.rate.is_none() && !ramp.is_zero();
    Some(if is_pointless { Err("--ramp with connect needs --rate".into()) } else { Ok(job) })
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time.is_zero() { Err("expected more than nothing".into()) } else { Ok(time) }
}

fn rate(text: &str) -> Result<f64, String> {
    let wrong = || format!("expected a number above 0, such as 1000 or 0.5, found \"{text}\"");
    let rate: f64 = text.parse().map_err(|_| wrong())?;
    if rate.is_finite() && rate > 0.0 { Ok(rate) } else { Err(wrong()) }
}

fn prefix(text: &str) -> Result<String, String> {
    let is_odd = |letter: char| matches!(letter, '+' | '#' | '$') || letter.is_control();
    if text.is_empty() || text.len() > 100 || text.contains(is_odd) {
        return Err("expected 1 to 100 letters without +, # and $".into());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[&str]) -> Result<Job, String> {
        let line = [&["bench"], line].concat();
        let matches = describe().try_get_matches_from(line).map_err(|error| error.to_string())?;
        job(&matches).expect("a scenario")
    }

    #[test]
    fn without_flags_ten_pairs_talk_for_five_seconds() {
        let job = read(&[]).unwrap();
        assert_eq!((job.scenario, job.clients), (Scenario::Pair, 10));
        assert_eq!(
            (job.duration, job.rate(), job.payload_bytes),
            (Duration::from_secs(5), None, 64)
        );
        assert_eq!(read(&["latency"]).unwrap().rate(), Some(1_000.0));
        assert_eq!(read(&["latency", "--rate", "5"]).unwrap().rate(), Some(5.0));
    }

    #[test]
    fn flags_say_otherwise() {
        let line = ["fanin", "-n", "3", "--duration", "200ms", "-q", "2", "-s", "8", "--ramp", "1"];
        let job = read(&line).unwrap();
        assert_eq!((job.scenario, job.clients, job.qos), (Scenario::FanIn, 3, QoS::ExactlyOnce));
        assert_eq!((job.duration.as_millis(), job.ramp.as_secs()), (200, 1));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            &["--rate", "0"][..],
            &["--rate", "fast"],
            &["--duration", "0"],
            &["--size", "7"],
            &["--clients", "0"],
            &["--prefix", "a/#"],
            &["connect", "--ramp", "1s"],
            &["flood"],
        ] {
            assert!(read(line).is_err(), "{line:?}");
        }
    }
}
