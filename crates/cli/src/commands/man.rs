//! `noctule man`: manual pages, made from the same description as `--help`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_mangen::Man;

use crate::output;

/// The command and its flags.
pub(crate) fn describe() -> Command {
    Command::new("man")
        .about("Print a manual page, or write all of them")
        .arg(Arg::new(COMMAND).value_name("COMMAND").num_args(0..).help(
            "The command whose page is printed, with its subcommand if it has one [default: the \
             page of the program]",
        ))
        .arg(
            Arg::new(OUT)
                .long(OUT)
                .value_name("DIRECTORY")
                .conflicts_with(COMMAND)
                .value_parser(value_parser!(PathBuf))
                .help(
                    "Write the pages of all commands into this directory, which is made if need be",
                ),
        )
        .after_help(EXAMPLES)
}

const COMMAND: &str = "command";
const OUT: &str = "out";

const EXAMPLES: &str = "\
Examples:
  noctule man sub | man -l -
  noctule man --out ~/.local/share/man/man1 && man noctule-sub";

/// Prints a page or writes all.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    let done = match arguments.get_one::<PathBuf>(OUT) {
        Some(directory) => write_all(directory),
        None => {
            let words = arguments.get_many::<String>(COMMAND).into_iter().flatten();
            page(words.map(String::as_str)).map(|page| output::answer(&page))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            output::complain(problem);
            ExitCode::FAILURE
        }
    }
}

/// The page of the command that these words name.
fn page<'a>(words: impl Iterator<Item = &'a str>) -> Result<String, String> {
    let mut program = described();
    let mut command = &mut program;
    for word in words {
        let known: Vec<_> =
            command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
        command = command.find_subcommand_mut(word).ok_or_else(|| {
            format!("there is no command \"{word}\" here; expected one of: {}", known.join(", "))
        })?;
    }
    let mut page = Vec::new();
    let rendered = page_about(command).render(&mut page);
    rendered.map_err(|error| format!("cannot make the page: {error}"))?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn write_all(directory: &Path) -> Result<(), String> {
    let fault = |error| format!("cannot write manual pages into {}: {error}", directory.display());
    std::fs::create_dir_all(directory).map_err(fault)?;
    write_below(&described(), directory).map_err(fault)
}

fn write_below(command: &Command, directory: &Path) -> io::Result<()> {
    page_about(command).generate_to(directory)?;
    command.get_subcommands().try_for_each(|below| write_below(below, directory))
}

fn page_about(command: &Command) -> Man {
    Man::new(command.clone()).source(concat!("noctule ", env!("CARGO_PKG_VERSION")))
}

/// The program with every command's name in full, as pages refer to each other.
fn described() -> Command {
    let mut program = super::program();
    program.build();
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_flags_and_examples() {
        let page_of = |words: &[&str]| page(words.iter().copied()).unwrap();
        assert!(page_of(&[]).contains(".TH noctule 1"));
        for command in super::super::program().get_subcommands() {
            let page = page_of(&[command.get_name()]);
            assert!(page.contains(&format!("noctule\\-{}", command.get_name())), "{page}");
        }
        assert!(page_of(&["sub"]).contains("remove\\-retained"));
        assert!(page_of(&["passwd", "add"]).contains("noctule\\-passwd\\-add"));
        let unknown = page(["subb"].into_iter()).unwrap_err();
        assert!(unknown.contains("expected one of: broker, "), "{unknown}");
    }
}
