//! The command line of the trials: a command for each, and what its words mean.

use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use noctule_load::LoadError;
use noctule_load::packets::MARK_BYTES;
use noctule_load::target::Target;
use noctule_load::trial::{
    Crowd, Duel, Floods, Handshakes, Heap, Receiver, Slow, Storm, Stuck, Trial, password_file,
};
use noctule_mqtt::QoS;

use crate::arguments::{flag, list, number, number_arg, seconds, with_default, with_targets};

/// The commands.
pub(crate) const NAMES: [&str; 8] =
    ["slow", "stuck", "floods", "crowd", "duel", "heap", HANDSHAKES, STORM];

/// One that needs TLS.
pub(crate) const HANDSHAKES: &str = "handshakes";
/// One that needs TLS, and users.
pub(crate) const STORM: &str = "storm";

pub(crate) fn commands() -> [Command; 8] {
    [
        command("slow", "A subscriber that never reads while others flood it").args([
            publishers("8"),
            payload("64"),
            lasting("5"),
            qos(),
        ]),
        command(
            "stuck",
            "Much for one QoS 1 subscriber that does not read, and for one that is away",
        )
        .args([number_arg("megabytes", "N", "300", "of payload, in millions of bytes")])
        .args([payload("1000"), receivers()]),
        command("floods", "Many QoS 0 floods at once, each to a subscriber that reads").args([
            publishers("50"),
            payload("64"),
            lasting("5"),
        ]),
        command("crowd", "Very many connections that come, speak and leave at once")
            .arg(number_arg("connections", "N", "19000", "connections"))
            .arg(number_arg("at-once", "N", "1000", "connections on their way in at a time")),
        command("duel", "Clients that fight for one client id, and what is sent to it meanwhile")
            .args([number_arg("clients", "N", "200", "clients"), lasting("5")]),
        command("heap", "A client with very many subscriptions, and its leaving")
            .arg(number_arg(
                "subscriptions",
                "N",
                "100000",
                "subscriptions; Noctule needs --options '--subscriptions-max N'",
            ))
            .arg(number_arg("per-packet", "N", "1000", "subscriptions in a packet")),
        command(
            HANDSHAKES,
            "Connections over TLS that come and go, and what others notice of them",
        )
        .args([number_arg("rate", "N", "200", "handshakes a second, in some phases")])
        .args([lasting("5")]),
        command(STORM, "Strangers who begin to connect and stop, and logins in great numbers")
            .arg(number_arg("strangers", "N", "3000", "strangers at each place where one can stop"))
            .arg(number_arg("rate", "N", "5000", "logins a second of a user who was there before"))
            .arg(number_arg("users", "N", "300", "users who come for the first time"))
            .args([lasting("5")]),
    ]
}

fn command(name: &'static str, about: &'static str) -> Command {
    let command = Command::new(name)
        .about(about)
        .after_help(
            "A few good clients send themselves one message at a time meanwhile; their round trips \
             are the figures. What the trial's own messages suffered is shown and not judged, as \
             limits keep some of them out.",
        )
        .arg(number_arg("good", "N", "4", "good clients"))
        .arg(flag("pin", "the broker on the first processor, everything else on the last"))
        .arg(flag("json", "print JSON instead of a table"));
    with_targets(command, "noctule")
}

fn publishers(default: &'static str) -> Arg {
    with_default("publishers", "N", default, "publishers")
        .value_parser(value_parser!(u16).range(1..))
}

fn payload(default: &'static str) -> Arg {
    number_arg("payload", "BYTES", default, "size of a message")
}

fn lasting(default: &'static str) -> Arg {
    with_default("seconds", "S", default, "how long").value_parser(value_parser!(f64))
}

fn qos() -> Arg {
    with_default("qos", "LIST", "0,1", "QoS levels, a trial for each")
        .value_delimiter(',')
        .value_parser(value_parser!(u8).range(..=1))
}

fn receivers() -> Arg {
    with_default("receivers", "LIST", "deaf,absent", "who does not take it, a trial for each")
        .value_delimiter(',')
        .value_parser(["deaf", "absent"])
}

/// How many connections this process and the broker need for it.
pub(crate) fn connections(name: &str, matches: &ArgMatches) -> u32 {
    let of_the_trial = match name {
        "crowd" => number(matches, "connections"),
        "duel" => number(matches, "clients"),
        HANDSHAKES => 100,
        STORM => number(matches, "strangers").max(number(matches, "users")).saturating_add(100),
        "slow" | "floods" => 2 * u32::from(publishers_of(matches)),
        _ => 3,
    };
    of_the_trial.saturating_add(number(matches, "good"))
}

fn publishers_of(matches: &ArgMatches) -> u16 {
    matches.get_one("publishers").copied().unwrap_or(1)
}

/// The brokers of a storm, with its users.
pub(crate) fn with_users(targets: Vec<Target>, matches: &ArgMatches) -> Vec<Target> {
    let users = password_file(number(matches, "users"));
    targets.into_iter().map(|target| target.with_passwords(users.clone())).collect()
}

/// The trials that a command asks for.
pub(crate) fn trials(name: &str, matches: &ArgMatches) -> Result<Vec<Box<dyn Trial>>, LoadError> {
    // Not every trial has messages of its own to measure.
    let payload = matches.try_get_one::<u32>("payload").ok().flatten();
    let payload_bytes = payload.map_or(MARK_BYTES, |bytes| *bytes as usize);
    if payload_bytes < MARK_BYTES {
        return Err(LoadError::new(format!(
            "a payload has at least {MARK_BYTES} bytes, in which the message is numbered"
        )));
    }
    let duration = || -> Duration { seconds(matches, "seconds") };
    Ok(match name {
        "slow" => list::<u8>(matches, "qos")
            .into_iter()
            .filter_map(QoS::from_bits)
            .map(|qos| Slow {
                qos,
                publishers: publishers_of(matches),
                payload_bytes,
                duration: duration(),
            })
            .map(boxed)
            .collect(),
        "stuck" => list::<String>(matches, "receivers")
            .into_iter()
            .map(|who| Stuck {
                receiver: if who == "deaf" { Receiver::Deaf } else { Receiver::Absent },
                bytes: u64::from(number(matches, "megabytes")) * 1_000_000,
                payload_bytes,
            })
            .map(boxed)
            .collect(),
        "floods" => vec![boxed(Floods {
            count: publishers_of(matches),
            payload_bytes,
            duration: duration(),
        })],
        "crowd" => vec![boxed(Crowd {
            connections: number(matches, "connections"),
            at_once: number(matches, "at-once"),
        })],
        "duel" => {
            vec![boxed(Duel { clients: number(matches, "clients"), duration: duration() })]
        }
        STORM => vec![boxed(Storm {
            strangers: number(matches, "strangers"),
            rate: number(matches, "rate"),
            users: number(matches, "users"),
            duration: duration(),
        })],
        HANDSHAKES => {
            vec![boxed(Handshakes { rate: number(matches, "rate"), duration: duration() })]
        }
        _ => vec![boxed(Heap {
            subscriptions: number(matches, "subscriptions"),
            per_packet: number(matches, "per-packet"),
        })],
    })
}

fn boxed(trial: impl Trial + 'static) -> Box<dyn Trial> {
    Box::new(trial)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Vec<String> {
        let all = ["noctule-load"].iter().chain(words);
        let matches = crate::arguments::command().try_get_matches_from(all).unwrap();
        let (name, matches) = matches.subcommand().unwrap();
        trials(name, matches).unwrap().iter().map(|trial| trial.name()).collect()
    }

    #[test]
    fn without_options_each_command_is_the_trial_it_is_named_for() {
        let all: Vec<_> = NAMES.iter().flat_map(|name| names(&[*name])).collect();
        let expected = [
            "slow q0 64 B",
            "slow q1 64 B",
            "stuck deaf 1000 B",
            "stuck absent 1000 B",
            "50 floods 64 B",
            "crowd of 19000",
            "duel of 200",
            "heap of 100000",
            "handshakes",
            "storm of 3000",
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn options_choose_and_a_payload_without_room_for_its_number_is_refused() {
        assert_eq!(names(&["slow", "--qos", "1", "--payload", "10"]), ["slow q1 10 B"]);
        assert_eq!(names(&["stuck", "--receivers", "absent"]), ["stuck absent 1000 B"]);
        let words = ["noctule-load", "floods", "--payload", "7"];
        let matches = crate::arguments::command().try_get_matches_from(words).unwrap();
        assert!(trials("floods", matches.subcommand().unwrap().1).is_err());
    }
}
