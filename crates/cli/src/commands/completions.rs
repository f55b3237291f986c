//! `noctule completions`: the script by which a shell completes commands and flags.
//!
//! It is made from the same description as `--help`, so there is nothing here that a new flag
//! would have to be added to.

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command, ValueEnum};
use clap_complete::{Shell, generate};

use crate::output;

/// The command and its argument.
pub(crate) fn describe() -> Command {
    let names = Shell::value_variants().iter().filter_map(Shell::to_possible_value);
    Command::new("completions")
        .about("Print a shell's script for completing commands and flags")
        .arg(
            Arg::new(SHELL)
                .value_name("SHELL")
                .required(true)
                .value_parser(PossibleValuesParser::new(names))
                .help("Whose script"),
        )
        .after_help(EXAMPLES)
}

const SHELL: &str = "shell";

const EXAMPLES: &str = "\
Examples:
  noctule completions bash > ~/.local/share/bash-completion/completions/noctule
  noctule completions fish > ~/.config/fish/completions/noctule.fish
  noctule completions zsh > ~/.zfunc/_noctule    # with ~/.zfunc in $fpath before compinit";

/// Prints the script.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    let name = arguments.get_one::<String>(SHELL).map(String::as_str).unwrap_or_default();
    let Ok(shell) = Shell::from_str(name, false) else {
        // clap has accepted it as one of these names.
        return ExitCode::FAILURE;
    };
    output::answer(&script(shell));
    ExitCode::SUCCESS
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    generate(shell, &mut super::program(), "noctule", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_of_every_shell_names_every_command() {
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for command in super::super::program().get_subcommands() {
                let name = command.get_name();
                assert!(script.contains(name), "{shell} does not know {name}");
            }
            assert!(script.contains("will-topic"), "{shell} does not know --will-topic");
        }
    }
}
