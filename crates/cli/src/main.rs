//! The program `noctule`: finds the command that was asked for and ends with its exit code.
//!
//! What a command does lives in its own file below `commands`; nothing is decided here.
//! Exit codes: 0 fine, 1 could not be done (with a line that says why), 2 wrong usage.

mod commands;
mod output;

use std::process::ExitCode;

fn main() -> ExitCode {
    match commands::program().try_get_matches() {
        Ok(matches) => commands::run(&matches),
        Err(answer) => {
            // Help and version are answers too, with exit code 0. Nobody is left to tell if the
            // terminal is gone.
            let _ = answer.print();
            exit_code(answer.exit_code())
        }
    }
}

fn exit_code(code: i32) -> ExitCode {
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}
