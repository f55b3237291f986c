//! The command line of `noctule-load`: what may be said, and what it means as plans and targets.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use noctule_load::LoadError;
use noctule_load::plan::{Pace, Plan, Shape};
use noctule_load::target::Target;
use noctule_mqtt::QoS;

use crate::{durable_words, suite_words, trials};

/// All commands and options.
pub(crate) fn command() -> Command {
    Command::new("noctule-load")
        .about("Drives MQTT brokers, checks what they deliver and measures what it costs them.")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(compare_command())
        .subcommand(drive_command())
        .subcommand(idle_command())
        .subcommand(durable_words::command())
        .subcommand(suite_words::command())
        .subcommands(trials::commands())
        .subcommand(
            Command::new("relay")
                .about("A program that only moves bytes between pairs: the floor for brokers")
                .arg(
                    with_default("port", "PORT", "0", "port; 0 takes a free one")
                        .value_parser(value_parser!(u16)),
                ),
        )
}

fn compare_command() -> Command {
    let command = Command::new("compare")
        .about("Processor time per delivered message, several brokers in the same run")
        .arg(listed("qos", "LIST", "0,1", "QoS levels").value_parser(value_parser!(u8).range(..=1)))
        .arg(number_arg("payload", "BYTES", "64", "size of a message"))
        .arg(
            with_default("shape", "SHAPE", "pairs", "who talks to whom")
                .value_parser(["pairs", "fan-out", "fan-in"]),
        )
        .arg(
            with_default("count", "N", "10", "pairs, receivers or senders")
                .value_parser(value_parser!(u16).range(1..)),
        )
        .arg(
            listed("batches", "LIST", "1,8,64", "fixed batches: messages per write")
                .value_parser(value_parser!(u32).range(1..)),
        )
        .arg(flag("no-batches", "leave the fixed batches out"))
        .arg(flag("no-flood", "leave the flood out"))
        .arg(flag("tls", "each scenario over TLS as well"))
        .arg(number_arg("window", "N", "1000", "flood: messages under way per receiver"))
        .arg(
            with_default("seconds", "S", "3", "of sending, per broker, scenario and round")
                .value_parser(value_parser!(f64)),
        )
        .arg(number_arg("rounds", "N", "3", "how often everything is measured"))
        .arg(flag("pin", "brokers on the first processor, the generator on the last"))
        .arg(flag("json", "print JSON instead of a table"));
    with_targets(command, "noctule,mosquitto")
}

fn drive_command() -> Command {
    Command::new("drive")
        .about("Sends a fixed number of messages in fixed batches to one broker, then disconnects")
        .arg(
            Arg::new("broker")
                .value_name("ADDRESS:PORT")
                .required(true)
                .value_parser(value_parser!(SocketAddr)),
        )
        .arg(
            with_default(
                "mode",
                "MODE",
                "q0-b8",
                "q0-b1, q0-b8, q1-b8 (10 pairs) or fan-out-b8 (1 to 100)",
            )
            .value_parser(value_parser!(Mode)),
        )
        .arg(
            with_default(
                "messages",
                "N",
                "20000",
                "to be delivered in all, rounded up to whole batches",
            )
            .value_parser(value_parser!(u64)),
        )
        .arg(number_arg("payload", "BYTES", "64", "size of a message"))
        .arg(flag("json", "print JSON"))
}

fn idle_command() -> Command {
    let command = Command::new("idle")
        .about("Resident memory per idle connection")
        .arg(number_arg("connections", "N", "10000", "connections to hold"))
        .arg(
            listed("keep-alive", "LIST", "0,60", "keep alive in seconds")
                .value_parser(value_parser!(u16)),
        )
        .arg(
            with_default("settle", "S", "3", "seconds to wait before memory is read")
                .value_parser(value_parser!(u32)),
        )
        .arg(flag("json", "print JSON instead of a table"));
    with_targets(command, "noctule,mosquitto")
}

/// Adds the options that say which brokers are meant, and which if they say nothing.
pub(crate) fn with_targets(command: Command, default: &'static str) -> Command {
    command
        .arg(
            listed("brokers", "LIST", default, "of those known here; the first is the reference")
                .value_parser(KNOWN),
        )
        .arg(
            Arg::new("broker")
                .long("broker")
                .value_name("NAME=BROKER")
                .action(ArgAction::Append)
                .help(
                    "another one: NAME=COMMAND with {port} and {dir}, or NAME=ADDRESS:PORT[,PID]",
                ),
        )
        .arg(
            with_default("noctule", "PROGRAM", "target/release/noctule", "where Noctule is")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            Arg::new("shards")
                .long("shards")
                .value_name("LIST")
                .value_delimiter(',')
                .value_parser(value_parser!(u16).range(1..=256))
                .help("Noctule once for each of these numbers of loops [default: as it comes]"),
        )
        .arg(
            Arg::new("options")
                .long("options")
                .value_name("WORDS")
                .allow_hyphen_values(true)
                .help("more of Noctule's options, separated by spaces"),
        )
        .arg(
            Arg::new("mosquitto")
                .long("mosquitto")
                .value_name("PROGRAM")
                .help("where Mosquitto is [default: PATH, then /usr/sbin]")
                .value_parser(value_parser!(PathBuf)),
        )
}

pub(crate) fn with_default(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Arg {
    Arg::new(name).long(name).value_name(value).default_value(default).help(help)
}

pub(crate) fn number_arg(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Arg {
    with_default(name, value, default, help).value_parser(value_parser!(u32).range(1..))
}

fn listed(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Arg {
    with_default(name, value, default, help).value_delimiter(',')
}

pub(crate) fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// The value of an option that has a default or is required.
pub(crate) fn value<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> T {
    // Guaranteed by the command above: each such option has a default or is required.
    matches.get_one::<T>(name).cloned().expect("clap has seen to it")
}

/// The value of a counting option.
pub(crate) fn number(matches: &ArgMatches, name: &str) -> u32 {
    value(matches, name)
}

/// The values of an option that takes a list.
pub(crate) fn list<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Vec<T> {
    matches.get_many::<T>(name).map_or(Vec::new(), |values| values.cloned().collect())
}

/// A duration given in seconds; nonsense becomes the shortest or longest that makes sense.
pub(crate) fn seconds(matches: &ArgMatches, name: &str) -> Duration {
    let seconds: f64 = value(matches, name);
    Duration::from_secs_f64(seconds.clamp(SECONDS_MIN, SECONDS_MAX))
}

const SECONDS_MIN: f64 = 0.05;
/// The brokers that are known here by name.
const KNOWN: [&str; 6] = ["noctule", "noctule-ws", "mosquitto", "mosquitto-ws", "relay", "none"];
const SECONDS_MAX: f64 = 86_400.0;

/// The scenarios of a comparison, QoS by QoS, batches before the flood.
pub(crate) fn plans(matches: &ArgMatches) -> Result<Vec<Plan>, LoadError> {
    let count: u16 = value(matches, "count");
    let shape = match value::<String>(matches, "shape").as_str() {
        "fan-out" => Shape::FanOut(count),
        "fan-in" => Shape::FanIn(count),
        _ => Shape::Pairs(count),
    };
    let mut paces = Vec::new();
    if !matches.get_flag("no-batches") {
        paces.extend(list(matches, "batches").into_iter().map(Pace::Batch));
    }
    if !matches.get_flag("no-flood") {
        paces.push(Pace::Flood(number(matches, "window")));
    }
    let mut plans = Vec::new();
    for qos in list::<u8>(matches, "qos").into_iter().filter_map(QoS::from_bits) {
        let ways: &[bool] = if matches.get_flag("tls") { &[false, true] } else { &[false] };
        for &over_tls in ways {
            plans.extend(paces.iter().map(|&pace| Plan {
                shape,
                qos,
                payload_bytes: number(matches, "payload") as usize,
                pace,
                over_tls,
            }));
        }
    }
    if plans.is_empty() {
        return Err(LoadError::new("no scenario is left to measure"));
    }
    match plans.iter().find_map(Plan::complaint) {
        Some(complaint) => Err(LoadError::new(complaint)),
        None => Ok(plans),
    }
}

/// The brokers to measure, in the order given.
pub(crate) fn targets(matches: &ArgMatches) -> Result<Vec<Target>, LoadError> {
    let mut targets = Vec::new();
    for name in list::<String>(matches, "brokers").into_iter().filter(|name| name != "none") {
        match name.as_str() {
            "mosquitto" => {
                targets.push(Target::mosquitto(&mosquitto(matches.get_one("mosquitto"))?));
            }
            "mosquitto-ws" => {
                let program = mosquitto(matches.get_one("mosquitto"))?;
                targets.push(Target::mosquitto_by_websocket(&program));
            }
            "noctule-ws" => {
                let program = noctule(&value::<PathBuf>(matches, "noctule"))?;
                targets.push(Target::noctule_by_websocket(&program));
            }
            "relay" => targets.push(relay()?),
            _ => targets.extend(noctules(matches)?),
        }
    }
    for text in list::<String>(matches, "broker") {
        targets.push(Target::parse(&text)?);
    }
    // Not every command has this flag.
    if matches.try_get_one("tls").is_ok_and(|tls| tls == Some(&true)) {
        return with_tls(targets, matches);
    }
    Ok(targets)
}

/// The same brokers with a listener for TLS each, and certificates made by Noctule.
pub(crate) fn with_tls(
    targets: Vec<Target>,
    matches: &ArgMatches,
) -> Result<Vec<Target>, LoadError> {
    let program = noctule(&value::<PathBuf>(matches, "noctule"))?;
    targets.into_iter().map(|target| target.with_tls(&program)).collect()
}

/// Noctule as it comes, or once for each number of loops.
fn noctules(matches: &ArgMatches) -> Result<Vec<Target>, LoadError> {
    let program = noctule(&value::<PathBuf>(matches, "noctule"))?;
    let options = matches.get_one::<String>("options").map_or("", String::as_str);
    let options: Vec<_> = options.split_whitespace().map(String::from).collect();
    let loops = list::<u16>(matches, "shards");
    let targets = if loops.is_empty() {
        vec![Target::noctule(&program)]
    } else {
        loops.iter().map(|loops| Target::noctule_with_loops(&program, *loops)).collect()
    };
    Ok(targets.into_iter().map(|target| target.with_options(&options)).collect())
}

/// The program, wherever it is run from.
pub(crate) fn noctule(program: &Path) -> Result<PathBuf, LoadError> {
    // Brokers run in directories of their own, so a relative path would lead nowhere.
    program.canonicalize().map_err(|error| {
        let hint = "build it with `cargo build --release`, or name it with --noctule";
        LoadError::io(format!("no {}; {hint}", program.display()), error)
    })
}

/// Mosquitto's program: the one named, or the first one found.
pub(crate) fn find_mosquitto(program: Option<&PathBuf>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    program.cloned().or_else(|| {
        std::env::split_paths(&path)
            .chain([PathBuf::from("/usr/sbin")])
            .map(|directory| directory.join("mosquitto"))
            .find(|candidate| candidate.is_file())
    })
}

fn mosquitto(program: Option<&PathBuf>) -> Result<PathBuf, LoadError> {
    let found = find_mosquitto(program);
    let hint = "no mosquitto here: apt-get install mosquitto, or leave it out with --brokers";
    found.ok_or_else(|| LoadError::new(hint))
}

fn relay() -> Result<Target, LoadError> {
    std::env::current_exe()
        .map(|program| Target::relay(&program, &["relay"]))
        .map_err(|error| LoadError::io("cannot find this program", error))
}

/// A pattern of the deterministic driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Ten pairs, QoS 0, one message per write.
    Q0B1,
    /// Ten pairs, QoS 0, eight messages per write.
    Q0B8,
    /// Ten pairs, QoS 1, eight messages per write.
    Q1B8,
    /// One publisher, a hundred subscribers, QoS 0, eight messages per write.
    FanOutB8,
}

impl Mode {
    const ALL: [(&'static str, Self); 4] = [
        ("q0-b1", Self::Q0B1),
        ("q0-b8", Self::Q0B8),
        ("q1-b8", Self::Q1B8),
        ("fan-out-b8", Self::FanOutB8),
    ];

    /// The plan, and how many messages each publisher sends so that at least `deliveries` are made
    /// in whole batches.
    pub(crate) fn plan(self, deliveries: u64, payload_bytes: usize) -> (Plan, u64) {
        let (shape, qos, batch) = match self {
            Self::Q0B1 => (Shape::Pairs(10), QoS::AtMostOnce, 1),
            Self::Q0B8 => (Shape::Pairs(10), QoS::AtMostOnce, 8),
            Self::Q1B8 => (Shape::Pairs(10), QoS::AtLeastOnce, 8),
            Self::FanOutB8 => (Shape::FanOut(100), QoS::AtMostOnce, 8),
        };
        let pace = Pace::Batch(batch);
        let plan = Plan { shape, qos, payload_bytes, pace, over_tls: false };
        // Each subscriber of these shapes hears one publisher.
        let each = deliveries.div_ceil(shape.subscribers() as u64);
        (plan, each.next_multiple_of(batch.into()))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, mode)| mode == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, mode)| *mode)
            .ok_or_else(|| format!("one of {}", Self::ALL.map(|(name, _)| name).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(words: &[&str]) -> ArgMatches {
        let all = ["noctule-load", "compare"].iter().chain(words);
        let matches = command().try_get_matches_from(all).unwrap();
        matches.subcommand_matches("compare").unwrap().clone()
    }

    #[test]
    fn the_command_line_holds_together() {
        command().debug_assert();
    }

    #[test]
    fn without_options_it_is_ten_pairs_at_both_qos_in_batches_and_floods() {
        let plans: Vec<_> = plans(&compare(&[])).unwrap();
        let words: Vec<_> = plans.iter().map(Plan::to_string).collect();
        let expected = [
            "10 pairs q0 64 B batch 1",
            "10 pairs q0 64 B batch 8",
            "10 pairs q0 64 B batch 64",
            "10 pairs q0 64 B flood",
            "10 pairs q1 64 B batch 1",
            "10 pairs q1 64 B batch 8",
            "10 pairs q1 64 B batch 64",
            "10 pairs q1 64 B flood",
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn options_choose_scenarios_and_brokers() {
        let words = ["--shape", "fan-in", "--count", "100", "--qos", "1", "--batches", "8"];
        let plans = plans(&compare(&[&words[..], &["--no-flood"]].concat())).unwrap();
        assert_eq!(plans.len(), 1);
        assert_eq!(plans[0].to_string(), "100 to 1 q1 64 B batch 8");
        let words = ["--brokers", "relay", "--broker", "x=prog {port}"];
        let targets = targets(&compare(&words)).unwrap();
        let names: Vec<_> = targets.iter().map(|target| target.name.as_str()).collect();
        assert_eq!(names, ["relay", "x"]);
    }

    #[test]
    fn noctule_joins_once_for_each_number_of_loops() {
        let program = std::env::current_exe().unwrap();
        let program = program.to_str().unwrap();
        let words = ["--brokers", "noctule", "--noctule", program, "--shards", "1,8"];
        let targets = targets(&compare(&[&words[..], &["--options", "-v --retry 3"]].concat()));
        let targets = targets.unwrap();
        let names: Vec<_> = targets.iter().map(|target| target.name.as_str()).collect();
        assert_eq!(names, ["noctule/1", "noctule/8"]);
        let noctule_load::target::How::Command { words, .. } = &targets[1].how else {
            panic!("{targets:?}");
        };
        let expected = ["broker", "--port", "0", "--no-tls", "--shards", "8", "-v", "--retry", "3"];
        assert_eq!(words[1..], expected);
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        assert!(plans(&compare(&["--no-flood", "--no-batches"])).is_err());
        assert!(plans(&compare(&["--payload", "7"])).is_err());
        let missing = ["--brokers", "noctule", "--noctule", "no/such/program"];
        let error = targets(&compare(&missing)).unwrap_err().to_string();
        assert!(error.contains("cargo build --release"), "{error}");
        let qos_2 = ["noctule-load", "compare", "--qos", "2"];
        assert!(command().try_get_matches_from(qos_2).is_err());
    }

    #[test]
    fn a_driven_run_is_whole_batches_and_at_least_what_was_asked() {
        for (name, mode) in Mode::ALL {
            assert_eq!(name.parse(), Ok(mode));
            assert_eq!(mode.to_string(), name);
            let (plan, each) = mode.plan(10_001, 64);
            let Pace::Batch(batch) = plan.pace else {
                panic!("{plan}");
            };
            assert_eq!(each % u64::from(batch), 0);
            assert!(each * plan.shape.subscribers() as u64 >= 10_001);
            assert_eq!(mode.plan(0, 64).1, 0);
        }
        assert!("q2-b8".parse::<Mode>().is_err());
    }
}
