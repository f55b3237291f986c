//! `noctule convert`: a mosquitto.conf in our words.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use noctule_server::mosquitto::translate;

use crate::output;

/// The command and its argument.
pub(crate) fn describe() -> Command {
    Command::new("convert")
        .about("Print a mosquitto.conf as a configuration file of noctule")
        .long_about(LONG_ABOUT)
        .arg(
            Arg::new(FILE)
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("The mosquitto.conf"),
        )
        .after_help(EXAMPLES)
}

/// Prints it.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    let file = arguments.get_one::<PathBuf>(FILE).map(PathBuf::as_path);
    match translate(file, None) {
        Ok(translation) => {
            output::answer(&translation.toml);
            ExitCode::SUCCESS
        }
        Err(notes) => {
            notes.iter().for_each(output::complain);
            ExitCode::FAILURE
        }
    }
}

const FILE: &str = "file";

const LONG_ABOUT: &str = "\
Print a mosquitto.conf as a configuration file of noctule

The broker does with it what `noctule mosquitto -c FILE` does. What means something else here has a \
comment that says so and names its line; lines that mean nothing here are comments at the beginning. If something cannot be done without, it is named and \
nothing is printed.";

const EXAMPLES: &str = "\
Examples:
  noctule convert /etc/mosquitto/mosquitto.conf > noctule.toml
  noctule broker --config noctule.toml";
