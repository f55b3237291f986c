//! The house's own commands: `cargo xtask COMMAND`, run from anywhere in the workspace.
//!
//! Each command is one row of [`COMMANDS`] and one module. What a check *is* lives here once, so
//! that a person at a desk and the machine that guards the main branch run the same thing. No rule
//! about the code itself lives here: those are tests, in `xtask/tests/house`.

mod bench;
mod checks;
mod clauses;
mod counts;
mod foreign;
mod shell;
mod steps;
mod tally;
mod workspace;

use std::process::ExitCode;

use shell::Failure;

struct Command {
    name: &'static str,
    about: &'static str,
    /// A command that has said itself what is wrong returns the exit code; a failure is still to
    /// be printed.
    run: fn(&[String]) -> Result<ExitCode, Failure>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "test",
        about: "everything CI checks: foreign clients, formatting, clippy, all tests",
        run: checks::run,
    },
    Command {
        name: "prepare",
        about: "install the foreign MQTT clients that the tests talk to, where they are missing",
        run: foreign::run,
    },
    Command {
        name: "clauses",
        about: "normative statements of MQTT: enforced, tested, neither; `--list` names the open ones",
        run: clauses::run,
    },
    Command {
        name: "counts",
        about: "instructions and system calls per message, against their bounds (valgrind, strace)",
        run: counts::run,
    },
    Command {
        name: "bench",
        about: "speed, size and overload beside a relay and Mosquitto; see `bench --help`",
        run: bench::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        eprint!("{}", help());
        return ExitCode::from(2);
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprint!("cargo xtask: there is no command '{name}'\n\n{}", help());
        return ExitCode::from(2);
    };
    if rest.iter().any(|word| word == "--help" || word == "-h") {
        match command.name {
            "bench" => println!("{}", bench::HELP),
            name => println!("cargo xtask {name}: {}", command.about),
        }
        return ExitCode::SUCCESS;
    }
    match (command.run)(rest) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("cargo xtask {name}: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> String {
    let mut text = String::from("usage: cargo xtask COMMAND\n\n");
    for command in COMMANDS {
        text.push_str(&format!("  {:<10} {}\n", command.name, command.about));
    }
    text
}
