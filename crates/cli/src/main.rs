//! The program `noctule`: finds the command that was asked for and ends with its exit code.
//!
//! What a command does lives in its own file below `commands`; nothing is decided here.
//! Exit codes: 0 fine, 1 could not be done (with a line that says why), 2 wrong usage. Client
//! commands have more: 27 for a time-out, and the broker's reason code if it refused.

mod board;
mod broker_test;
mod client_arguments;
mod client_run;
mod commands;
mod file_argument;
mod message_format;
mod output;
mod printer;
mod shell;
mod terminal;
mod weather;

use std::process::ExitCode;

fn main() -> ExitCode {
    let line = match client_arguments::prepared(std::env::args_os().collect()) {
        Ok(line) => line,
        Err(problem) => {
            output::complain(problem);
            return exit_code(USAGE);
        }
    };
    match commands::program().try_get_matches_from(line) {
        Ok(matches) => commands::run(&matches),
        Err(answer) => {
            // Help and version are answers too, with exit code 0. Nobody is left to tell if the
            // terminal is gone.
            let _ = answer.print();
            exit_code(answer.exit_code())
        }
    }
}

/// The exit code of wrong usage, which is clap's as well.
const USAGE: i32 = 2;

fn exit_code(code: i32) -> ExitCode {
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}
