//! `noctule conform`: checks a broker against the clauses of MQTT 3.1.1 and 5.0.
//!
//! What is checked, and how, is known to `noctule-conformance`; here it is asked for and printed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use noctule_client::{Address, ClientConfig, TlsError, TlsOptions, Transport};
use noctule_conformance::{
    Finding, Outcome, Patience, ProtocolVersion, Selection, Tally, Target, VERSIONS, json,
    run as check, selected, text,
};

use crate::client_arguments::duration;
use crate::output;

/// The command and its flags.
pub(crate) fn describe() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let time = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("TIME")
            .default_value(default)
            .value_parser(positive_duration)
            .help(help)
    };
    Command::new("conform")
        .about("Check a broker against the clauses of MQTT 3.1.1 and 5.0")
        .args([
            Arg::new(HOST)
                .value_name("HOST")
                .required_unless_present(LIST)
                .help("Where the broker is"),
            Arg::new(PORT)
                .short('p')
                .long(PORT)
                .value_name("PORT")
                .value_parser(value_parser!(u16).range(1..))
                .help("Its port [default: 1883, with TLS 8883; of WebSocket 8083, 8084]"),
            Arg::new(VERSION)
                .long("version")
                .value_name("VERSION")
                .default_value("all")
                .value_parser(["3.1.1", "5", "all"])
                .help("Which MQTT"),
            Arg::new(ONLY)
                .long(ONLY)
                .value_name("WHAT")
                .action(ArgAction::Append)
                .help("A clause (MQTT5-3.1.2-22), section (3.3), chapter (wills) or check; repeatable"),
            Arg::new(USER)
                .short('u')
                .long(USER)
                .value_name("NAME")
                .value_parser(field)
                .help("User name"),
            Arg::new(PASSWORD)
                .short('P')
                .long(PASSWORD)
                .value_name("WORD")
                .requires(USER)
                .value_parser(field)
                .help("Password"),
            flag(TLS, "Over TLS; without --cafile the system's root certificates are trusted")
                .visible_alias("ssl"),
            Arg::new(CAFILE)
                .long(CAFILE)
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Over TLS, trusting the certificates in this PEM file"),
            flag(INSECURE, "Over TLS, accepting any certificate"),
            flag(WS, "Over WebSocket, at the path /mqtt"),
            time(TIMEOUT, "5s", "How long what has to come is waited for"),
            time(SILENCE, "200ms", "How long what must not come is waited for"),
            Arg::new(JOBS)
                .long(JOBS)
                .value_name("COUNT")
                .default_value("8")
                .value_parser(value_parser!(u16).range(1..=64))
                .help("So many checks at a time"),
            flag(LIST, "List the checks with their clauses, and run none"),
            flag(ALL, "List also what passed"),
            flag(JSON, "Print everything as JSON"),
        ])
        .after_help(
            "Works on any broker, and best on one that nobody else uses: some checks subscribe to #. \
             Topics begin with conform/, client identifiers with cf; no session and no retained \
             message is left behind.\nWhat must not come is believed to be missing after --silence: \
             longer finds more, a broker that does nothing wrong passes with any.\n\nExamples:\n  \
             noctule conform localhost\n  noctule conform broker.example -p 1884 --version 5 --only \
             3.8 --only wills\n  noctule conform localhost --cafile noctule-data/tls/ca.pem\n  noctule \
             conform --list --only MQTT5-3.3\n\nExit codes: 0 nothing \
             failed, 1 something failed, 2 wrong usage, 3 the broker cannot be tested.",
        )
}

const HOST: &str = "host";
const PORT: &str = "port";
const VERSION: &str = "mqtt-version";
const ONLY: &str = "only";
const USER: &str = "username";
const PASSWORD: &str = "password";
const TLS: &str = "tls";
const CAFILE: &str = "cafile";
const INSECURE: &str = "insecure";
const WS: &str = "ws";
const TIMEOUT: &str = "timeout";
const SILENCE: &str = "silence";
const JOBS: &str = "jobs";
const LIST: &str = "list";
const ALL: &str = "all";
const JSON: &str = "json";

const UNREACHABLE: u8 = 3;

/// Checks, prints, and says by the exit code whether anything failed.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    let selection = selection(arguments);
    let cases = selected(&selection);
    if cases.is_empty() {
        output::complain("no check is meant by --only: `noctule conform --list` lists all");
        return crate::exit_code(crate::USAGE);
    }
    if arguments.get_flag(LIST) {
        output::answer(&list(&cases));
        return ExitCode::SUCCESS;
    }
    let host = arguments.get_one::<String>(HOST).map_or("", String::as_str);
    let encryption = match encryption(arguments) {
        Ok(encryption) => encryption,
        Err(problem) => {
            output::complain(problem);
            return crate::exit_code(crate::USAGE);
        }
    };
    let over_ws = arguments.get_flag(WS);
    let transport = if over_ws { Transport::web_socket() } else { Transport::Tcp };
    let usual = transport.default_port(encryption.is_some());
    let port = arguments.get_one(PORT).copied().unwrap_or(usual);
    let address = Address { tls: encryption.is_some(), transport, ..Address::new(host, port) };
    let name = address.to_string();
    let findings = target(arguments, host, port)
        .and_then(|target| match encryption {
            Some(config) => target.over_tls(config, host),
            None => Ok(target),
        })
        .map(|target| match &address.transport {
            Transport::WebSocket { path } => target.over_web_socket(&address.authority(), path),
            Transport::Tcp | Transport::Unix(_) => target,
        })
        .and_then(|target| check(&target, &selection, |finding| tell(arguments, finding)));
    match findings {
        Ok(findings) => {
            output::answer(&if arguments.get_flag(JSON) {
                format!("{:#}\n", json(&name, &findings))
            } else {
                text(&findings, arguments.get_flag(ALL))
            });
            if Tally::of(&findings).failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            output::complain(format_args!("{name}: {problem}"));
            ExitCode::from(UNREACHABLE)
        }
    }
}

/// A failure is told as it comes, on standard error, so that a long run is not silent.
fn tell(arguments: &ArgMatches, finding: &Finding) {
    if let Outcome::Failed(failure) = &finding.outcome
        && !arguments.get_flag(JSON)
    {
        output::complain(format_args!(
            "{} ({}) failed: {failure}",
            finding.case.name(),
            finding.case.version
        ));
    }
}

fn selection(arguments: &ArgMatches) -> Selection {
    let versions = match arguments.get_one::<String>(VERSION).map(String::as_str) {
        Some("3.1.1") => vec![ProtocolVersion::V311],
        Some("5") => vec![ProtocolVersion::V5],
        _ => VERSIONS.to_vec(),
    };
    Selection {
        versions,
        filters: arguments.get_many(ONLY).map(|all| all.cloned().collect()).unwrap_or_default(),
        jobs: arguments.get_one::<u16>(JOBS).copied().unwrap_or(1).into(),
    }
}

/// How to encrypt, if at all.
fn encryption(arguments: &ArgMatches) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    let (file, insecure) = (arguments.get_one::<PathBuf>(CAFILE), arguments.get_flag(INSECURE));
    if file.is_none() && !insecure && !arguments.get_flag(TLS) {
        return Ok(None);
    }
    let options = TlsOptions::default().insecure(insecure);
    let options = file.into_iter().fold(options, TlsOptions::ca_file);
    options.client_config().map(Some)
}

fn target(
    arguments: &ArgMatches,
    host: &str,
    port: u16,
) -> Result<Target, noctule_conformance::Unreachable> {
    let time = |name| arguments.get_one::<Duration>(name).copied().unwrap_or_default();
    let patience = Patience { answer: time(TIMEOUT), silence: time(SILENCE) };
    let mut target = Target::new(host, port, patience)?;
    target.user_name = arguments.get_one::<String>(USER).cloned();
    target.password = arguments.get_one::<String>(PASSWORD).map(|word| word.clone().into_bytes());
    Ok(target)
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Ok(time) if time.is_zero() => Err("must be longer than nothing".into()),
        other => other.map_err(|error| error.to_string()),
    }
}

/// What fits into a field of CONNECT.
fn field(text: &str) -> Result<String, String> {
    if text.len() > usize::from(u16::MAX) {
        return Err(format!("has {} bytes, and at most {} fit into CONNECT", text.len(), u16::MAX));
    }
    Ok(text.to_owned())
}

fn list(cases: &[noctule_conformance::Case]) -> String {
    let mut out = String::new();
    for case in cases {
        let clauses = case.clauses().collect::<Vec<_>>().join(" ");
        out.push_str(&format!(
            "{} ({}) {clauses}\n     {}\n",
            case.name(),
            case.version,
            case.check.does
        ));
    }
    out.push_str(&format!("{} checks\n", cases.len()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<ArgMatches, clap::Error> {
        describe().try_get_matches_from([&["conform"], words].concat())
    }

    #[test]
    fn versions_and_filters_are_read() {
        let selection = selection(&read(&["host", "--version", "5", "--only", "3.8"]).unwrap());
        assert_eq!(selection.versions, [ProtocolVersion::V5]);
        let cases = selected(&selection);
        assert!(!cases.is_empty() && cases.len() < 150, "{}", cases.len());
        assert!(cases.iter().all(|case| case.clauses().any(|clause| clause.contains("-3.8"))));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for words in [
            &[][..],
            &["host", "--version", "3.1"],
            &["host", "-p", "0"],
            &["host", "--timeout", "0s"],
            &["host", "--silence", "soon"],
            &["host", "--jobs", "0"],
            &["host", "-P", "word"],
            &["host", "-u", &"x".repeat(65_536)],
        ] {
            assert!(read(words).is_err(), "{words:?}");
        }
        assert!(read(&["--list"]).is_ok());
    }
}
