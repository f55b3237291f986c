//! `noctule cert`: makes certificates for the broker and its clients, and shows what is in a file.
//!
//! What a certificate is made of lives in `noctule-cert`; here is which one is wanted, where it
//! goes, and what is said about it. A private key is never printed.

mod show;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use noctule_cert::{
    Directory, IssueError, Issued, Name, Purpose, UnixTime, Validity, ca_name, check_common_name,
    loopback_names, machine_name,
};
use noctule_server::options::Sources;
use noctule_server::{is_brokers_own, quoted_path};

use crate::output;

/// The command and its flags.
pub(crate) fn describe() -> Command {
    Command::new("cert")
        .about("Make certificates for TLS, and show what is in one")
        .long_about(LONG_ABOUT)
        .after_long_help(EXAMPLES)
        .args(names())
        .args(kinds())
        .args(places())
}

/// Makes what was asked for, or shows it.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    let now = UnixTime::from(SystemTime::now());
    let answer = match arguments.get_one::<PathBuf>(INFO) {
        Some(file) => show::file(file, now).map_err(|error| vec![error.to_string()]),
        None => make(arguments, now),
    };
    match answer {
        Ok(text) => {
            output::answer(&text);
            ExitCode::SUCCESS
        }
        Err(lines) => {
            lines.iter().for_each(output::complain);
            ExitCode::FAILURE
        }
    }
}

const LONG_ABOUT: &str = "\
Make certificates for TLS, and show what is in one

Without --client or --info, makes a key and a certificate for the broker, signed by a CA (certificate \
authority) of your own. The CA is made the first time and used again afterwards; its file ca.pem is \
what clients trust. The broker serves what lies in its data directory, and that is where the files go \
unless --out says otherwise. Files that exist are not replaced without --force, except the certificate \
that the broker has made by itself; a CA never is.";

const EXAMPLES: &str = "\
Examples:
  noctule cert                                  for this machine: localhost and its own name
  noctule cert --hostname broker.example.org    for other machines too
  noctule cert --client sensor-1                for a client that proves who it is
  noctule cert --info noctule-data/tls/server.pem";

const HOSTNAME: &str = "hostname";
const IP: &str = "ip";
const DAYS: &str = "days";
const OUT: &str = "out";
const CLIENT: &str = "client";
const SELF_SIGNED: &str = "self-signed";
const INFO: &str = "info";
const FORCE: &str = "force";

/// What clients of today accept at most for a server.
const DAYS_DEFAULT: &str = "825";

/// A CA is what people have to hand out again when it ends.
const CA_DAYS: i64 = 3_650;

fn names() -> [Arg; 2] {
    let name = |id: &'static str, placeholder: &'static str| {
        Arg::new(id)
            .long(id)
            .value_name(placeholder)
            .action(ArgAction::Append)
            .conflicts_with_all([CLIENT, INFO])
    };
    [
        name(HOSTNAME, "NAME")
            .value_parser(|text: &str| Name::parse(text).map_err(|error| error.to_string()))
            .help("Name that the broker is reached by; may be given several times")
            .long_help(
                "Name that the broker is reached by; may be given several times. localhost and its \
                 addresses are always included; without --hostname and --ip the name of this \
                 machine is, too.",
            ),
        name(IP, "ADDRESS")
            .value_parser(value_parser!(std::net::IpAddr))
            .help("IP address that the broker is reached by; may be given several times"),
    ]
}

fn kinds() -> [Arg; 3] {
    [
        Arg::new(CLIENT)
            .long(CLIENT)
            .value_name("NAME")
            .value_parser(|text: &str| {
                check_common_name(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
            })
            .conflicts_with_all([SELF_SIGNED, INFO])
            .help(
                "Make a certificate for a client of this name: client-NAME.pem and client-NAME.key",
            ),
        Arg::new(SELF_SIGNED)
            .long(SELF_SIGNED)
            .action(ArgAction::SetTrue)
            .conflicts_with(INFO)
            .help(
                "Make a certificate for the broker without a CA; clients trust server.pem itself",
            ),
        Arg::new(DAYS)
            .long(DAYS)
            .value_name("NUMBER")
            .value_parser(value_parser!(u32).range(1..=36_500))
            .default_value(DAYS_DEFAULT)
            .conflicts_with(INFO)
            .help("How long the certificate is valid; a new CA is for ten years at least"),
    ]
}

fn places() -> [Arg; 3] {
    let path = |id: &'static str, placeholder: &'static str| {
        Arg::new(id).long(id).value_name(placeholder).value_parser(value_parser!(PathBuf))
    };
    [
        path(OUT, "DIR").conflicts_with(INFO).help(
            "Directory for the files [default: tls in the broker's data directory, \
             ./noctule-data/tls]",
        ),
        Arg::new(FORCE)
            .long(FORCE)
            .action(ArgAction::SetTrue)
            .conflicts_with(INFO)
            .help("Replace a certificate and key that exist; a CA is never replaced"),
        path(INFO, "FILE").help("Show the certificates in FILE instead of making one"),
    ]
}

fn make(arguments: &ArgMatches, now: UnixTime) -> Result<String, Vec<String>> {
    let (directory, is_brokers) = match arguments.get_one::<PathBuf>(OUT) {
        Some(path) => (path.clone(), false),
        None => (brokers_directory()?, true),
    };
    let days = i64::from(*arguments.get_one::<u32>(DAYS).unwrap_or(&825));
    let validity = Validity::for_days(now, days);
    let purpose = purpose(arguments);
    let place = Directory::at(directory);
    // What the broker has made by itself was only to stand in.
    let is_stand_in = matches!(purpose, Purpose::Server(_)) && is_brokers_own(&place);
    let force = arguments.get_flag(FORCE) || is_stand_in;
    let issued = if arguments.get_flag(SELF_SIGNED) {
        place.self_sign(&purpose, validity, force)
    } else {
        let ca = (&*ca_name(), Validity::for_days(now, days.max(CA_DAYS)));
        place.issue(&purpose, validity, ca, force, now)
    };
    let issued = issued.map_err(|error: IssueError| vec![error.to_string()])?;
    Ok(said(&place, &purpose, &issued, is_brokers))
}

/// Where the broker looks, as far as the environment says; a configuration file is the broker's.
fn brokers_directory() -> Result<PathBuf, Vec<String>> {
    match Sources::of_process(None, Vec::new()).load() {
        Ok(loaded) => Ok(loaded.config.data_dir.join("tls")),
        Err(problems) => Err(problems.0.iter().map(ToString::to_string).collect()),
    }
}

fn purpose(arguments: &ArgMatches) -> Purpose {
    if let Some(name) = arguments.get_one::<String>(CLIENT) {
        return Purpose::Client(name.clone());
    }
    let hostnames = arguments.get_many::<Name>(HOSTNAME).unwrap_or_default().cloned();
    let addresses = arguments.get_many(IP).unwrap_or_default().copied().map(Name::Ip);
    let mut names: Vec<Name> = hostnames.chain(addresses).collect();
    let of_machine = if names.is_empty() { machine_name() } else { None };
    names.extend(loopback_names());
    names.extend(of_machine);
    let mut known = Vec::new();
    names.retain(|name| {
        let is_new = !known.contains(name);
        known.push(name.clone());
        is_new
    });
    Purpose::Server(names)
}

/// What was made, what it is for, and what to do next.
fn said(place: &Directory, purpose: &Purpose, issued: &Issued, is_brokers: bool) -> String {
    let mut lines = Vec::new();
    let ca = place.ca_certificate().display().to_string();
    match &issued.authority {
        Some(facts) if issued.authority_is_new => {
            lines.push(format!("made {ca}: a new CA, valid until {}", facts.not_after));
            lines.push(format!("made {}: its key; keep it secret", place.ca_key().display()));
        }
        Some(_) => lines.push(format!("signed by the CA that was there, {ca}")),
        None => {}
    }
    let whose = match purpose {
        Purpose::Server(names) => {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            format!("for {}", names.join(", "))
        }
        Purpose::Client(name) => format!("for the client {name}"),
    };
    let certificate = issued.certificate.display();
    lines.push(format!("made {certificate}: {whose}; valid until {}", issued.facts.not_after));
    lines.push(format!("made {}: its key; keep it secret", issued.key.display()));
    lines.push(format!("SHA-256 {}", issued.facts.fingerprint_sha256));
    lines.push(String::new());
    let trusted = match issued.authority {
        Some(_) => place.ca_certificate(),
        None => issued.certificate.clone(),
    };
    match purpose {
        Purpose::Server(_) => {
            lines.push(format!("Clients trust it by {}, for instance:", trusted.display()));
            lines.push(format!(
                "  mosquitto_sub -h localhost -p 8883 --cafile {} -t '#' -v",
                quoted_path(&trusted)
            ));
            if !is_brokers {
                lines.push("The broker serves what lies in tls/ below its data directory.".into());
            }
        }
        Purpose::Client(_) => {
            lines.push("The client shows it with, for instance:".to_owned());
            lines.push(format!(
                "  mosquitto_sub -h localhost -p 8883 --cafile {} --cert {} --key {} -t '#' -v",
                quoted_path(&trusted),
                quoted_path(&issued.certificate),
                quoted_path(&issued.key)
            ));
        }
    }
    lines.join("\n") + "\n"
}
