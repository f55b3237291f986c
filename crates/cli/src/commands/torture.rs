//! `noctule torture`: kills a broker again and again under load and looks for every message that it
//! has acknowledged.
//!
//! How it is done, and what counts, is in `noctule_load::torture`; here the command line becomes a
//! plan, and the report text. The process that is to become the broker is this program too, in the
//! role of [`keep`]: it asks the kernel to be killed when we are gone.

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use noctule_client::ProtocolVersion;
use noctule_load::LoadError;
use noctule_load::torture::profile::{Asked, OWN_CA, PROFILES, Profile};
use noctule_load::torture::victim::{Ending, Launch, keep_to};
use noctule_load::torture::{self, Plan, Progress, Report, Verdict};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::client_arguments::duration;
use crate::output;

/// The command and its flags.
pub(crate) fn describe() -> Command {
    let profiles: Vec<_> = PROFILES
        .iter()
        .map(|profile| format!("  {:<24} {}\n", profile.name, profile.about))
        .collect();
    Command::new("torture")
        .about("Kill a broker again and again under load, and look for every acknowledged message")
        .long_about(LONG_ABOUT)
        .after_long_help(format!("Profiles:\n{}\n{EXAMPLES}", profiles.concat()))
        .args_override_self(true)
        .args(victims())
        .args(rounds())
        .args(clients())
        .args([
            switch(JSON, "Print the report as JSON"),
            switch(QUIET, "Say nothing on standard error while it runs"),
            switch(KEEP, "Keep the directory even if nothing was wrong"),
        ])
}

fn victims() -> [Arg; 8] {
    [
        Arg::new(COMMAND)
            .value_name("COMMAND")
            .num_args(0..)
            .last(true)
            .help("The broker, or with --profile further options for it: {port}, {data}, {config}, {shards}"),
        Arg::new(PROFILE)
            .long(PROFILE)
            .value_name("NAME")
            .value_parser(PossibleValuesParser::new(PROFILES.iter().map(|profile| profile.name)))
            .hide_possible_values(true)
            .help("A broker by name; --help lists them"),
        Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .conflicts_with(PROFILE)
            .help("A configuration file, of which {config} is a copy with {port} and {data} filled in"),
        Arg::new(SHARDS)
            .long(SHARDS)
            .value_name("LIST")
            .value_delimiter(',')
            .value_parser(value_parser!(u16).range(1..))
            .help("With how many loops it may begin, such as 1,2,3: each start takes one of them for {shards}"),
        switch(TLS, "Clients come over TLS; without --cafile they trust {data}/tls/ca.pem, which our broker makes")
            .visible_alias("ssl"),
        Arg::new(CAFILE)
            .long(CAFILE)
            .value_name("FILE")
            .help("Clients come over TLS and trust the certificates in this PEM file, in which {data} is filled in"),
        Arg::new(DIRECTORY)
            .long(DIRECTORY)
            .value_name("DIR")
            .value_parser(value_parser!(PathBuf))
            .help("Where to make the broker's directory, on the disk that is to be tested [default: the system's temporary directory]"),
        Arg::new(KEEPER)
            .long(KEEPER)
            .value_name("PID")
            .value_parser(value_parser!(u32))
            .hide(true),
    ]
}

fn rounds() -> [Arg; 5] {
    [
        number(ROUNDS, "NUMBER", "10", "How often it is killed under load").short('n'),
        Arg::new(SEED)
            .long(SEED)
            .value_name("NUMBER")
            .value_parser(value_parser!(u64))
            .help("Repeats the plan of an earlier run; by default one that differs each time"),
        Arg::new(SIGNAL)
            .long(SIGNAL)
            .value_name("SIGNAL")
            .default_value("KILL")
            .value_parser(["KILL", "TERM"])
            .help("How it is ended: KILL gives it no chance, TERM asks it to end in order"),
        Arg::new(UP)
            .long(UP)
            .value_name("FROM..TO")
            .default_value("100ms..2s")
            .value_parser(lifetimes)
            .help("How long it lives under load"),
        Arg::new(PATIENCE)
            .long(PATIENCE)
            .value_name("DURATION")
            .default_value("10s")
            .value_parser(duration)
            .help("How long nothing may come before what is missing is lost"),
    ]
}

fn clients() -> [Arg; 8] {
    [
        number(PUBLISHERS, "NUMBER", "4", "Publishers, each at QoS 1 and 2"),
        number(PRESENT, "NUMBER", "2", "Subscribers that are always there"),
        number(ABSENT, "NUMBER", "2", "Subscribers that are away most of the time"),
        number(WRITERS, "NUMBER", "2", "Writers of retained values"),
        number(
            RETAINED,
            "NUMBER",
            "4000",
            "Retained messages that one subscribes to again and again",
        ),
        number(WINDOW, "NUMBER", "64", "Messages that a publisher keeps in flight"),
        number(PAYLOAD, "BYTES", "256", "Size of a payload"),
        Arg::new(VERSION)
            .short('V')
            .long(VERSION)
            .value_name("VERSION")
            .default_value("mqttv311")
            .value_parser(["mqttv311", "mqttv5"])
            .help("What is spoken"),
    ]
}

fn number(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .default_value(default)
        .value_parser(value_parser!(u32).range(..=1_000_000))
        .help(help)
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn lifetimes(text: &str) -> Result<Range<Duration>, String> {
    let (from, to) = text
        .split_once("..")
        .ok_or_else(|| format!("expected two durations such as 100ms..2s, found \"{text}\""))?;
    Ok(duration(from)?..duration(to)?)
}

/// Tortures, or becomes the broker that is tortured.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    if let Some(parent) = arguments.get_one::<u32>(KEEPER) {
        output::complain(keep_to(*parent, &command(arguments)));
        return ExitCode::FAILURE;
    }
    let done = plan(arguments).and_then(|plan| carry_out(arguments, &plan));
    match done {
        Ok(Verdict::Kept) => ExitCode::SUCCESS,
        Ok(Verdict::Broken) => ExitCode::FAILURE,
        Ok(Verdict::Stopped) => ExitCode::from(STOPPED),
        Err(Trouble::Usage(words)) => {
            output::complain(words);
            crate::exit_code(crate::USAGE)
        }
        Err(Trouble::Failed(error)) => {
            output::complain(error);
            ExitCode::FAILURE
        }
    }
}

enum Trouble {
    Usage(String),
    Failed(LoadError),
}

impl From<LoadError> for Trouble {
    fn from(error: LoadError) -> Self {
        Self::Failed(error)
    }
}

fn carry_out(arguments: &ArgMatches, plan: &Plan) -> Result<Verdict, Trouble> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| LoadError::io("cannot handle signals", error))?;
    }
    let quiet = arguments.get_flag(QUIET);
    let say = |progress: &Progress<'_>| {
        if !quiet {
            output::complain(progress.line());
        }
    };
    if !quiet {
        output::complain(format_args!("seed {}, {}", plan.seed, plan.launch.words.join(" ")));
    }
    let report = torture::run(plan, &stop, say)?;
    let kept = report.tidy_up(arguments.get_flag(KEEP))?;
    show(&report, kept, arguments.get_flag(JSON));
    Ok(report.verdict)
}

fn show(report: &Report, kept: bool, json: bool) {
    if json {
        output::answer(&format!("{:#}\n", report.json()));
        return;
    }
    output::answer(&report.text());
    if kept && report.verdict != Verdict::Broken {
        output::answer(&format!("the broker's files are in {}\n", report.directory.display()));
    }
}

fn plan(arguments: &ArgMatches) -> Result<Plan, Trouble> {
    let directory = arguments.get_one::<PathBuf>(DIRECTORY).cloned();
    let mut plan = Plan::new(launch(arguments)?, directory.unwrap_or_else(std::env::temp_dir));
    let number = |name| arguments.get_one::<u32>(name).copied().unwrap_or_default();
    let small = |name| u16::try_from(number(name)).unwrap_or(u16::MAX);
    let given = |name| arguments.get_one::<Duration>(name).copied();
    plan.rounds = number(ROUNDS);
    plan.seed = arguments.get_one(SEED).copied().unwrap_or_else(|| fastrand::u32(..).into());
    if arguments.get_one::<String>(SIGNAL).is_some_and(|signal| signal == "TERM") {
        plan.ending = Ending::Terminate;
    }
    plan.life = arguments.get_one(UP).cloned().unwrap_or(plan.life);
    plan.patience = given(PATIENCE).unwrap_or(plan.patience);
    plan.publishers = small(PUBLISHERS);
    plan.present = small(PRESENT);
    plan.absent = small(ABSENT);
    plan.writers = small(WRITERS);
    plan.retained = number(RETAINED);
    plan.window = small(WINDOW);
    plan.payload_bytes = number(PAYLOAD) as usize;
    plan.shards = arguments.get_many(SHARDS).unwrap_or_default().copied().collect();
    if arguments.get_one::<String>(VERSION).is_some_and(|version| version == "mqttv5") {
        plan.version = ProtocolVersion::V5;
    }
    plan.complaint().map_or(Ok(plan), |complaint| Err(Trouble::Usage(complaint)))
}

fn launch(arguments: &ArgMatches) -> Result<Launch, Trouble> {
    let ours = std::env::current_exe()
        .map_err(|error| LoadError::io("cannot find this program", error))?;
    let words = command(arguments);
    let cafile = arguments.get_one::<String>(CAFILE);
    let over_tls = arguments.get_flag(TLS) || cafile.is_some();
    let asked = Asked { over_tls, shards: arguments.contains_id(SHARDS) };
    let mut launch = match arguments.get_one::<String>(PROFILE) {
        Some(name) => Profile::named(name)?.launch(&ours, &words, asked)?,
        None if words.is_empty() => {
            let words = "name a broker with --profile, or give its command behind --";
            return Err(Trouble::Usage(words.into()));
        }
        None => Launch { words, config: config(arguments)?, ..Launch::default() },
    };
    launch.trusted = over_tls.then(|| cafile.map_or(OWN_CA, String::as_str).into());
    let keeper = [&ours.to_string_lossy(), "torture", "--keep-to", "{pid}", "--"];
    launch.keeper = keeper.map(String::from).into();
    Ok(launch)
}

fn command(arguments: &ArgMatches) -> Vec<String> {
    arguments.get_many::<String>(COMMAND).unwrap_or_default().cloned().collect()
}

fn config(arguments: &ArgMatches) -> Result<Option<String>, LoadError> {
    let Some(path) = arguments.get_one::<PathBuf>(CONFIG) else {
        return Ok(None);
    };
    std::fs::read_to_string(path)
        .map(Some)
        .map_err(|error| LoadError::io(format!("cannot read {}", path.display()), error))
}

const COMMAND: &str = "command";
const PROFILE: &str = "profile";
const CONFIG: &str = "config";
const DIRECTORY: &str = "directory";
const KEEPER: &str = "keep-to";
const ROUNDS: &str = "rounds";
const SEED: &str = "seed";
const SIGNAL: &str = "signal";
const UP: &str = "up";
const PATIENCE: &str = "patience";
const PUBLISHERS: &str = "publishers";
const PRESENT: &str = "present";
const ABSENT: &str = "absent";
const WRITERS: &str = "writers";
const RETAINED: &str = "retained";
const SHARDS: &str = "shards";
const TLS: &str = "tls";
const CAFILE: &str = "cafile";
const WINDOW: &str = "window";
const PAYLOAD: &str = "payload";
const VERSION: &str = "protocol-version";
const JSON: &str = "json";
const QUIET: &str = "quiet";
const KEEP: &str = "keep";

/// The exit code if it was stopped before its end and nothing was wrong until then.
const STOPPED: u8 = 3;

const LONG_ABOUT: &str = "\
Kill a broker again and again under load, and look for every acknowledged message.

Starts the broker, keeps publishers (QoS 1 and 2), persistent subscribers that are there or away, and
writers of retained values busy, kills it at random moments, starts it again on what it has left, and
accounts for everything it had acknowledged: lost, doubled at QoS 2, out of order, older retained
values, sessions and subscriptions that are gone. One client subscribes to many retained messages again
and again, of which each has to come once, and deletes some of them meanwhile. Any broker will do that takes a port and a directory.";

const EXAMPLES: &str = "\
Placeholders in COMMAND and in the file of --config: {port} is a free port of 127.0.0.1, {data} an
empty directory, {shards} what --shards has chosen for this start. A broker whose command has no {port}
must say `listening on ADDRESS:PORT (MQTT)`, with --tls `listening on ADDRESS:PORT (MQTT over TLS)`.

Examples:
  noctule torture --profile noctule --rounds 100
  noctule torture --profile noctule --tls --shards 1,2,3
  noctule torture --profile mosquitto-every-change --directory .
  noctule torture --config my.conf -- mosquitto -c {config}
  noctule torture -- some-broker --port {port} --storage {data}

The broker dies with this program, however that ends. Its directory is removed unless something was
wrong or --keep is given.

Exit codes: 0 everything acknowledged was there, 1 it was not (or could not be found out), 2 wrong
usage, 3 stopped (Ctrl-C) before the end with nothing wrong until then.";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[&str]) -> Result<Plan, String> {
        let line = [&["torture"], line].concat();
        let matches = describe().try_get_matches_from(line).map_err(|error| error.to_string())?;
        plan(&matches).map_err(|trouble| match trouble {
            Trouble::Usage(words) => words,
            Trouble::Failed(error) => error.to_string(),
        })
    }

    #[test]
    fn a_command_or_a_profile_is_a_plan() {
        let plan = read(&["--rounds", "3", "--", "bat", "--port", "{port}"]).unwrap();
        assert_eq!(plan.launch.words, ["bat", "--port", "{port}"]);
        assert_eq!(plan.launch.keeper[1..], ["torture", "--keep-to", "{pid}", "--"]);
        assert_eq!((plan.rounds, plan.ending), (3, Ending::Kill));
        let line =
            ["--profile", "noctule", "--signal", "TERM", "--up", "1s..1500ms", "-V", "mqttv5"];
        let plan = read(&[&line[..], &["--seed", "7", "--", "--shards", "2"]].concat()).unwrap();
        assert!(plan.launch.words.ends_with(&["--shards".into(), "2".into()]));
        assert_eq!(
            (plan.seed, plan.ending, plan.version),
            (7, Ending::Terminate, ProtocolVersion::V5)
        );
        assert_eq!(plan.life, Duration::from_secs(1)..Duration::from_millis(1_500));
    }

    #[test]
    fn over_tls_and_with_other_loops_in_each_life() {
        let line = ["--profile", "noctule", "--tls", "--shards", "1,2,3"];
        let plan = read(&line).unwrap();
        let words = plan.launch.words.join(" ");
        assert!(words.ends_with("--tls-port 0 --data-dir {data} --shards {shards}"), "{words}");
        assert_eq!(plan.launch.trusted.as_deref(), Some("{data}/tls/ca.pem"));
        assert_eq!(plan.shards, [1, 2, 3]);
        let plan = read(&["--cafile", "my.pem", "--", "bat", "--port", "{port}"]).unwrap();
        assert_eq!(plan.launch.trusted.as_deref(), Some("my.pem"));
        assert_eq!(read(&["--", "bat"]).unwrap().launch.trusted, None);
        let line = ["--shards", "1,2", "--", "bat"];
        assert!(read(&line).unwrap_err().contains("needs {shards} in the command"));
        let line = ["--", "bat", "{shards}"];
        assert!(read(&line).unwrap_err().contains("says what {shards} stands for"));
        assert!(read(&["--shards", "0", "--", "bat", "{shards}"]).is_err());
    }

    #[test]
    fn the_defaults_of_the_line_are_those_of_a_plan() {
        let plan = read(&["--seed", "1", "--", "bat"]).unwrap();
        let expected = Plan::new(plan.launch.clone(), plan.directory.clone());
        assert_eq!(format!("{plan:?}"), format!("{expected:?}"));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        assert!(read(&[]).unwrap_err().contains("--profile"));
        assert!(read(&["--rounds", "0", "--", "bat"]).unwrap_err().contains("at least one round"));
        assert!(read(&["--up", "2s", "--", "bat"]).unwrap_err().contains("100ms..2s"));
        assert!(read(&["--profile", "bat"]).unwrap_err().contains("mosquitto-autosave"));
        assert!(read(&["--config", "no/such/file", "--", "bat"]).unwrap_err().contains("no/such"));
    }
}
