//! `noctule check`: tests a broker over plain and TLS and says what it found.

use std::cell::Cell;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use noctule_cert::{CertificateFacts, UnixTime, Validity, facts, make_authority};
use noctule_client::{Address, ClientOptions, TlsOptions, Transport};
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
            door(WS_PORT).help("Test WebSocket too, on this port [default: 8083]"),
            door(WSS_PORT).help("Test WebSocket over TLS too, on this port [default: 8084]"),
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
             noctule-data/tls/ca.pem\n  noctule check localhost --no-tls --ws-port\n  noctule check \
             unix:/run/noctule.sock\n  noctule check broker.example --json\n\nExit codes: 0 all \
             passed, 1 something failed, 2 wrong usage.",
        )
}

/// A flag for a further way in.
fn door(name: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("PORT")
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("0")
        .value_parser(value_parser!(u16))
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

/// The port of TLS: as the flag says, or the address if it is one of TLS, or as is usual.
fn tls_port(arguments: &ArgMatches, address: &Address) -> u16 {
    let by_url = address.tls && address.port != address.transport.default_port(false);
    let usual = address.transport.default_port(true);
    let by_address = if by_url { address.port } else { usual };
    arguments.get_one(TLS_PORT).copied().unwrap_or(by_address)
}

fn subject(arguments: &ArgMatches) -> Result<(Subject, String), Failure> {
    let connection = connection_v5(arguments).map_err(Failure::usage)?;
    let address = connection.options.address();
    // Trust on the line makes the connection one with TLS; the plain port is meant here.
    let usual = address.transport.default_port(false);
    let port = if address.tls { usual } else { address.port };
    let port = arguments.get_one("port").copied().unwrap_or(port);
    let trust = client_arguments::trust(arguments).map_err(Failure::usage)?;
    let validity = Validity::for_days(UnixTime::from(SystemTime::now()), 1);
    let stranger = make_authority("a stranger", validity)
        .map_err(|error| Failure::new(format!("cannot make a certificate: {error}")))?;
    let (is_unix, place) = match &address.transport {
        Transport::Unix(_) => (true, address.to_string()),
        _ => (false, address.host.clone()),
    };
    let doors = doors(arguments, &connection.options, trust.as_ref());
    let tls = match trust {
        _ if is_unix => Err("a Unix socket is not encrypted"),
        Some(trust) => Ok((tls_port(arguments, address), trust)),
        None => Err("left out by --no-tls"),
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
    trust: Option<&TlsOptions>,
) -> Vec<(&'static str, ClientOptions)> {
    let web_socket = Transport::web_socket();
    let port = |flag: &str, tls: bool| {
        let given: Option<u16> = arguments.get_one(flag).copied();
        given.map(|port| if port == 0 { web_socket.default_port(tls) } else { port })
    };
    let to = |port: u16| {
        let Transport::WebSocket { path } = &web_socket else { return options.clone() };
        options.clone().plain_port(port).web_socket(path.as_str())
    };
    let plain = port(WS_PORT, false).map(|port| ("WebSocket", to(port)));
    let encrypted = port(WSS_PORT, true)
        .map(|port| ("WebSocket over TLS", to(port).tls(trust.cloned().unwrap_or_default())));
    plain.into_iter().chain(encrypted).collect()
}

/// The connection of the shell.
fn over_tls(arguments: &ArgMatches) -> Result<Connection, String> {
    let mut connection = connection_v5(arguments)?;
    let trust = client_arguments::trust(arguments)?.unwrap_or_default();
    let port = tls_port(arguments, connection.options.address());
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
