//! `noctule check`: tests a broker over plain and TLS and says what it found.

use std::cell::Cell;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use noctule_cert::{CertificateFacts, UnixTime, Validity, facts, make_authority};
use noctule_client::{ClientOptions, TlsOptions, Transport};
use serde_json::{Value, json};

use super::shell;
use crate::broker_test::{Findings, Outcome, Subject, Tested, examine};
use crate::client_arguments::{self, Connection, connection_v5, property_argument};
use crate::client_run::{self, Failure, interrupted};
use crate::output;

/// The command and its flags.
pub(crate) fn describe() -> Command {
    Command::new("check")
        .about("Test a broker over plain and TLS, with its certificate")
        .disable_help_flag(true)
        .args_override_self(true)
        .args(client_arguments::arguments())
        .arg(property_argument("-D connect receive-maximum 10"))
        .args([
            Arg::new(TLS_PORT)
                .long(TLS_PORT)
                .visible_alias("ssl-port")
                .value_name("PORT")
                .value_parser(value_parser!(u16).range(1..))
                .help("Port of TLS [default: 8883, of WebSocket 8084]"),
            door(WS_PORT).help("Test WebSocket too, on this port (8083 is usual)"),
            door(WSS_PORT).help("Test WebSocket over TLS too, on this port (8084 is usual)"),
            Arg::new(JSON).long(JSON).action(ArgAction::SetTrue).help("Print the findings as JSON"),
            Arg::new(INTERACTIVE)
                .long(INTERACTIVE)
                .action(ArgAction::SetTrue)
                .help("Open the shell over TLS afterwards"),
        ])
        .after_help(
            "Works on any broker. MQTT 5 is spoken unless -V says otherwise; topics begin with \
             noctule-check/.\nWhom to trust is said by --cafile, or by --cert alone; otherwise the \
             system's roots are trusted. With a ws:// URL everything goes over WebSocket; on a Unix \
             socket there is no TLS.\n\nExamples:\n  noctule check localhost --cafile \
             noctule-data/tls/ca.pem\n  noctule check localhost --no-tls --ws-port 8083\n  noctule check \
             unix:/run/noctule.sock\n  noctule check broker.example --json\n\nExit codes: 0 all \
             passed, 1 something failed, 2 wrong usage.",
        )
}

/// A flag for a further way in.
fn door(name: &'static str) -> Arg {
    let port = value_parser!(u16).range(1..);
    Arg::new(name).long(name).value_name("PORT").value_parser(port)
}

const TLS_PORT: &str = "tls-port";
const JSON: &str = "json";
const INTERACTIVE: &str = "interactive";
const WS_PORT: &str = "ws-port";
const WSS_PORT: &str = "wss-port";

/// Tests, and opens the shell if that is wanted.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    let stopped = Cell::new(false);
    let code = client_run::run(arguments, |arguments| {
        let (subject, place) = subject(arguments)?;
        let as_json = arguments.get_flag(JSON);
        let stopped = &stopped;
        Ok(async move {
            let findings = tokio::select! {
                findings = examine(&subject) => findings,
                () = interrupted() => {
                    stopped.set(true);
                    output::say_goodbye();
                    return Ok(());
                }
            };
            output::answer(&if as_json { json(&place, &findings) } else { table(&findings) });
            if findings.passed() { Ok(()) } else { Err(Failure::new("not all tests passed")) }
        })
    });
    if arguments.get_flag(INTERACTIVE) && !stopped.get() {
        match over_tls(arguments) {
            Ok(connection) => {
                let opened = shell::open(connection);
                // What was found counts, unless there was no shell.
                return if opened == ExitCode::SUCCESS { code } else { opened };
            }
            Err(problem) => output::complain(problem),
        }
    }
    code
}

/// The plain port and that of TLS. What the place says is one of them; --port is the plain one.
///
/// # Errors
/// As of the place.
fn ports(arguments: &ArgMatches) -> Result<(u16, u16), String> {
    let place = client_arguments::address(arguments)?;
    let usual = |tls| place.transport.default_port(tls);
    let given: Option<u16> = arguments.get_one("port").copied();
    let (plain, tls) = match given {
        Some(port) => (port, usual(true)),
        None if place.tls => (usual(false), place.port),
        None => (place.port, usual(true)),
    };
    Ok((plain, arguments.get_one(TLS_PORT).copied().unwrap_or(tls)))
}

fn subject(arguments: &ArgMatches) -> Result<(Subject, String), Failure> {
    let connection = connection_v5(arguments).map_err(Failure::usage)?;
    let address = connection.options.address();
    let (port, tls_port) = ports(arguments).map_err(Failure::usage)?;
    let trust = client_arguments::trust(arguments).map_err(Failure::usage)?;
    let validity = Validity::for_days(UnixTime::from(SystemTime::now()), 1);
    let stranger = make_authority("a stranger", validity)
        .map_err(|error| Failure::new(format!("cannot make a certificate: {error}")))?;
    let (is_unix, place) = match &address.transport {
        Transport::Unix(_) => (true, address.to_string()),
        _ => (false, address.host.clone()),
    };
    let doors = doors(arguments, &connection.options, &trust);
    if is_unix && !doors.is_empty() {
        return Err(Failure::usage(
            "--ws-port and --wss-port need a host, and a Unix socket has none",
        ));
    }
    let tls = if is_unix {
        Err("a Unix socket is not encrypted")
    } else if client_arguments::is_tls_left_out(arguments) {
        Err("left out by --no-tls")
    } else {
        Ok((tls_port, trust))
    };
    let subject = Subject {
        plain: connection.options.clone().plain_port(port),
        tls,
        doors,
        strange_ca: stranger.certificate_pem,
        hello: connection.hello.unwrap_or(Duration::from_secs(5)),
    };
    Ok((subject, place))
}

/// The further ways in that were asked for.
fn doors(
    arguments: &ArgMatches,
    options: &ClientOptions,
    trust: &TlsOptions,
) -> Vec<(&'static str, ClientOptions)> {
    let Transport::WebSocket { path } = Transport::web_socket() else { return Vec::new() };
    let to = |port: u16| options.clone().plain_port(port).web_socket(path.as_str());
    let port = |flag: &str| arguments.get_one::<u16>(flag).copied();
    let plain = port(WS_PORT).map(|port| ("WebSocket", to(port)));
    let encrypted = port(WSS_PORT).map(|port| ("WebSocket over TLS", to(port).tls(trust.clone())));
    plain.into_iter().chain(encrypted).collect()
}

/// The connection of the shell.
fn over_tls(arguments: &ArgMatches) -> Result<Connection, String> {
    let mut connection = connection_v5(arguments)?;
    let trust = client_arguments::trust(arguments)?;
    let (_, port) = ports(arguments)?;
    connection.options = connection.options.plain_port(port).tls(trust);
    Ok(connection)
}

/// A line per test, the certificate, and a verdict.
fn table(findings: &Findings) -> String {
    let mut text = String::new();
    for test in &findings.tests {
        let (word, reason) = verdict(test);
        text.push_str(&format!("{word:<5} {:<20} {reason}\n", test.name));
    }
    if let Some(facts) = certificate(findings) {
        let CertificateFacts { subject, issuer, names, not_before, not_after, key, .. } = &facts;
        text.push_str(&format!(
            "\nCertificate  {subject}\n  issuer     {issuer}\n  names      {}\n  valid      \
             {not_before} to {not_after}\n  key        {key}\n  SHA-256    {}\n",
            names.join(", "),
            facts.fingerprint_sha256,
        ));
    }
    let failed = count(findings, |outcome| matches!(outcome, Outcome::Failed(_)));
    let passed = count(findings, |outcome| matches!(outcome, Outcome::Passed(_)));
    let skipped = findings.tests.len() - failed - passed;
    text.push_str(&format!("\n{passed} passed, {failed} failed, {skipped} skipped\n"));
    text
}

fn count(findings: &Findings, is_it: impl Fn(&Outcome) -> bool) -> usize {
    findings.tests.iter().filter(|test| is_it(&test.outcome)).count()
}

fn verdict(test: &Tested) -> (&'static str, &str) {
    match &test.outcome {
        Outcome::Passed(words) => ("pass", words),
        Outcome::Failed(words) => ("FAIL", words),
        Outcome::Skipped(words) => ("skip", words),
    }
}

fn certificate(findings: &Findings) -> Option<CertificateFacts> {
    facts(findings.certificate.as_ref()?)
}

fn json(place: &str, findings: &Findings) -> String {
    let tests: Vec<_> = findings
        .tests
        .iter()
        .map(|test| {
            let (outcome, reason) = verdict(test);
            json!({ "name": test.name, "outcome": outcome.to_lowercase(), "reason": reason })
        })
        .collect();
    let certificate = certificate(findings).map_or(Value::Null, |facts| {
        json!({
            "subject": facts.subject,
            "issuer": facts.issuer,
            "names": facts.names,
            "not_before": facts.not_before.0,
            "not_after": facts.not_after.0,
            "key": facts.key,
            "sha256": facts.fingerprint_sha256,
        })
    });
    let all = json!({
        "host": place,
        "passed": findings.passed(),
        "tests": tests,
        "certificate": certificate,
    });
    format!("{all:#}\n")
}
