//! The commands, one file each, and the program that they make up together.
//!
//! To add a command, add its file and its row in [`COMMANDS`]; what the command does must not
//! leak into this file. Invariant: help and the overview list what [`COMMANDS`] lists.

mod acl;
mod bench;
mod broker;
mod cert;
mod check;
mod completions;
mod conform;
mod convert;
mod dashboard;
mod man;
mod mosquitto;
mod passwd;
mod publish;
mod request;
mod sensor;
mod shell;
mod store;
mod subscribe;
mod torture;

use std::fmt::Write;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::output;

/// A command: how it is described and how it is run.
struct Entry {
    describe: fn() -> Command,
    run: fn(&ArgMatches) -> ExitCode,
    /// Part of what most people need, which `noctule` alone prints.
    everyday: bool,
}

const COMMANDS: &[Entry] = &[
    Entry { describe: broker::describe, run: broker::run, everyday: true },
    Entry { describe: check::describe, run: check::run, everyday: true },
    Entry { describe: conform::describe, run: conform::run, everyday: false },
    Entry { describe: cert::describe, run: cert::run, everyday: true },
    Entry { describe: passwd::describe, run: passwd::run, everyday: false },
    Entry { describe: acl::describe, run: acl::run, everyday: false },
    Entry { describe: publish::describe, run: publish::run, everyday: true },
    Entry { describe: subscribe::describe, run: subscribe::run, everyday: true },
    Entry { describe: request::describe, run: request::run, everyday: false },
    Entry { describe: shell::describe, run: shell::run, everyday: true },
    Entry { describe: sensor::describe, run: sensor::run, everyday: true },
    Entry { describe: dashboard::describe, run: dashboard::run, everyday: true },
    Entry { describe: bench::describe, run: bench::run, everyday: true },
    Entry { describe: mosquitto::describe, run: mosquitto::run, everyday: false },
    Entry { describe: convert::describe, run: convert::run, everyday: false },
    Entry { describe: store::describe, run: store::run, everyday: false },
    Entry { describe: completions::describe, run: completions::run, everyday: false },
    Entry { describe: man::describe, run: man::run, everyday: false },
    Entry { describe: torture::describe, run: torture::run, everyday: false },
];

/// The whole program, for reading the command line.
pub(crate) fn program() -> Command {
    Command::new("noctule")
        .version(env!("CARGO_PKG_VERSION"))
        .about("An MQTT broker and its tools")
        .after_help("`noctule COMMAND --help` explains a command.")
        .disable_help_subcommand(true)
        .subcommands(COMMANDS.iter().map(|entry| (entry.describe)()))
}

/// Runs the command that was asked for; without one, says which there are.
pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    let Some((name, arguments)) = matches.subcommand() else {
        output::answer(&overview());
        return ExitCode::SUCCESS;
    };
    let named = |entry: &&Entry| (entry.describe)().get_name() == name;
    // clap accepts only names from the same list.
    COMMANDS.iter().find(named).map_or(ExitCode::FAILURE, |entry| (entry.run)(arguments))
}

fn overview() -> String {
    let mut out = String::from("noctule: an MQTT broker and its tools\n\n");
    for entry in COMMANDS.iter().filter(|entry| entry.everyday) {
        let command = (entry.describe)();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  noctule {:<10}  {about}", command.get_name());
    }
    out.push_str("\n`noctule COMMAND --help` explains a command, `noctule --help` lists all.\n");
    out
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::error::ErrorKind;

    use super::*;
    use crate::client_arguments;

    #[test]
    fn the_description_of_every_command_is_sound() {
        program().debug_assert();
    }

    #[test]
    fn the_help_of_every_command_has_examples() {
        for entry in COMMANDS {
            let help = (entry.describe)().render_long_help().to_string();
            assert!(help.contains("\nExamples:\n"), "{help}");
        }
    }

    #[test]
    fn every_example_in_a_help_is_a_line_that_is_understood() {
        let mut count = 0;
        for entry in COMMANDS {
            let help = (entry.describe)().render_long_help().to_string();
            let examples = help.split("\nExamples:\n").nth(1).unwrap_or_default();
            for example in examples.lines().take_while(|line| line.starts_with("  ")) {
                let line = example.find("noctule ").map_or("", |at| &example[at..]);
                // What it does may stand behind it.
                let line = line.split("  ").next().unwrap_or_default();
                let line = line.replace("$(pidof noctule)", "1");
                let words = crate::shell::split(&line).unwrap();
                let end = |word: &String| ["|", ">", "&&"].contains(&word.as_str());
                let words = words.into_iter().take_while(|word| !end(word)).map(OsString::from);
                let read = program().try_get_matches_from(client_arguments::joined(words));
                assert!(read.is_ok(), "{example}: {}", read.unwrap_err());
                count += 1;
            }
        }
        assert!(count > 30, "{count} examples");
    }

    #[test]
    fn the_overview_names_every_everyday_command_and_what_it_does() {
        let overview = overview();
        assert!(overview.contains("noctule broker "), "{overview}");
        for entry in COMMANDS.iter().filter(|entry| entry.everyday) {
            let about = (entry.describe)().get_about().unwrap().to_string();
            assert!(!about.is_empty() && overview.contains(&about), "{overview}");
        }
    }

    #[test]
    fn nothing_is_no_error_and_a_wrong_command_is_one() {
        assert!(program().try_get_matches_from(["noctule"]).unwrap().subcommand().is_none());
        let wrong = program().try_get_matches_from(["noctule", "brokr"]).unwrap_err();
        assert_eq!(wrong.exit_code(), 2);
        assert!(wrong.to_string().contains("'broker'"), "{wrong}");
    }

    #[test]
    fn the_version_is_an_answer() {
        let version = program().try_get_matches_from(["noctule", "--version"]).unwrap_err();
        assert_eq!((version.kind(), version.exit_code()), (ErrorKind::DisplayVersion, 0));
        assert_eq!(version.to_string(), concat!("noctule ", env!("CARGO_PKG_VERSION"), "\n"));
    }
}
