//! The command line of `durable`: its options, and the plan they make.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};
use noctule_load::LoadError;
use noctule_load::durable::{Load, Plan, Subscriber};

use crate::arguments::{flag, list, noctule, number, number_arg, seconds, value, with_default};

/// The name of the command.
pub(crate) const NAME: &str = "durable";

pub(crate) fn command() -> Command {
    Command::new(NAME)
        .about("What Noctule's store costs: durable and in memory in the same run, beside the disk")
        .after_help(
            "Messages of QoS 1 go to one persistent session whose client is absent or present. The \
             floor is a file of zeros that is written and flushed at the same size. `per flush` \
             needs `perf` and the right to count system calls; without it the floor is that of all \
             messages under way at once.",
        )
        .arg(
            with_default("loads", "LIST", "1x1,32x1,64x4,64x16,64x100", "PUBLISHERSxWINDOW")
                .value_delimiter(',')
                .value_parser(value_parser!(Load)),
        )
        .arg(
            with_default(
                "subscribers",
                "LIST",
                "absent,present",
                "where the subscriber's client is meanwhile",
            )
            .value_delimiter(',')
            .value_parser(value_parser!(Subscriber)),
        )
        .arg(flag("no-loads", "leave the traffic out"))
        .arg(number_arg("payload", "BYTES", "256", "size of a message"))
        .arg(
            with_default("seconds", "S", "2", "of sending, per load, storage and round")
                .value_parser(value_parser!(f64)),
        )
        .arg(number_arg("rounds", "N", "3", "how often the traffic is measured"))
        .arg(
            with_default("queued", "N", "1000000", "messages queued at the start; 0 leaves it out")
                .value_parser(value_parser!(u64)),
        )
        .arg(
            with_default("sessions", "N", "100000", "sessions at the start; 0 leaves it out")
                .value_parser(value_parser!(u32)),
        )
        .arg(
            with_default(
                "directory",
                "PATH",
                ".",
                "where data is kept, on the disk to be measured",
            )
            .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            with_default("noctule", "PROGRAM", "target/release/noctule", "where Noctule is")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            Arg::new("options")
                .long("options")
                .value_name("WORDS")
                .allow_hyphen_values(true)
                .help("more of Noctule's options, separated by spaces"),
        )
        .arg(flag("json", "print JSON instead of a table"))
}

/// What is asked for.
pub(crate) fn plan(matches: &ArgMatches) -> Result<Plan, LoadError> {
    let options = matches.get_one::<String>("options").map_or("", String::as_str);
    let loads = if matches.get_flag("no-loads") { Vec::new() } else { list(matches, "loads") };
    Ok(Plan {
        program: noctule(&value::<PathBuf>(matches, "noctule"))?,
        options: options.split_whitespace().map(String::from).collect(),
        parent: value(matches, "directory"),
        loads,
        subscribers: list(matches, "subscribers"),
        payload_bytes: number(matches, "payload") as usize,
        duration: seconds(matches, "seconds"),
        rounds: number(matches, "rounds"),
        queued: value(matches, "queued"),
        sessions: value(matches, "sessions"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(words: &[&str]) -> Result<Plan, LoadError> {
        let program = std::env::current_exe().unwrap();
        let program = program.to_str().unwrap();
        let all = [NAME, "--noctule", program].into_iter().chain(words.iter().copied());
        plan(&command().try_get_matches_from(all).unwrap())
    }

    #[test]
    fn options_say_what_is_measured() {
        let plan = planned(&[]).unwrap();
        assert_eq!(plan.loads.len(), 5);
        assert_eq!((plan.queued, plan.sessions, plan.payload_bytes), (1_000_000, 100_000, 256));
        let plan = planned(&["--loads", "2x3", "--queued", "0", "--options", "-v --x"]).unwrap();
        assert_eq!(plan.loads, [Load { publishers: 2, window: 3 }]);
        assert_eq!(plan.options, ["-v", "--x"]);
        assert!(planned(&["--no-loads"]).unwrap().loads.is_empty());
        assert_eq!(plan.subscribers, Subscriber::ALL);
        let plan = planned(&["--subscribers", "present"]).unwrap();
        assert_eq!(plan.subscribers, [Subscriber::Present]);
        let wrong = [NAME, "--subscribers", "here"];
        assert!(command().try_get_matches_from(wrong).is_err());
    }

    #[test]
    fn a_load_is_publishers_and_a_window() {
        for wrong in ["64", "x1", "0x1", "1x0", "1x70000"] {
            assert!(command().try_get_matches_from([NAME, "--loads", wrong]).is_err(), "{wrong}");
        }
        assert_eq!("64x16".parse::<Load>().unwrap().to_string(), "64x16");
    }
}
