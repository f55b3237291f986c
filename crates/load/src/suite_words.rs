//! The command line of `suite`: which rows, how often, and at which programs.

use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use noctule_load::suite::{self, Measured, Row, Suite, Who};
use noctule_load::{LoadError, process};
use std::path::PathBuf;

use crate::arguments::{
    find_mosquitto, flag, list, noctule, number, number_arg, seconds, value, with_default,
};

/// The name of the command.
pub(crate) const NAME: &str = "suite";

pub(crate) fn command() -> Command {
    Command::new(NAME)
        .about("Everything a broker's speed and size are judged by, beside the relay and Mosquitto; JSON")
        .after_help("`cargo xtask bench` runs it, makes tables of it and puts them into the docs. Rows that begin with \
             `gain` give each of Noctule's loops a fifth of a processor: they need root and control groups \
             (version 1 or 2) with the controller cpu, and are not measured otherwise.")
        .arg(
            Arg::new("rows")
                .long("rows")
                .value_name("LIST")
                .value_delimiter(',')
                .help("rows by the beginnings of their names [default: all]"),
        )
        .arg(flag("list", "print the names of the rows and measure nothing"))
        .arg(
            Arg::new("at")
                .long("at")
                .value_name("LIST")
                .value_delimiter(',')
                .help("programs to measure: noctule, relay, mosquitto [default: all]")
                .value_parser(PROGRAMS),
        )
        .arg(number_arg("rounds", "N", "3", "how often everything is measured"))
        .arg(
            with_default("seconds", "S", "2", "of sending, per row, broker and round")
                .value_parser(value_parser!(f64)),
        )
        .arg(flag("quick", "one round, a third of a second, a tenth of what is kept: no figures to quote"))
        .arg(
            with_default("noctule", "PROGRAM", "target/release/noctule", "where Noctule is")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            Arg::new("mosquitto")
                .long("mosquitto")
                .value_name("PROGRAM")
                .help("where Mosquitto is [default: PATH, then /usr/sbin]; without it only ours is measured")
                .value_parser(value_parser!(PathBuf)),
        )
}

/// Runs the suite. True if every message came once and in order.
pub(crate) fn run(matches: &ArgMatches) -> Result<bool, LoadError> {
    let rows = chosen(&list::<String>(matches, "rows"))?;
    if matches.get_flag("list") {
        rows.iter().for_each(|row| println!("{}", row.name));
        return Ok(true);
    }
    process::raise_open_files(CONNECTIONS_MAX)?;
    let quick = matches.get_flag("quick");
    let suite = Suite {
        noctule: noctule(&value::<PathBuf>(matches, "noctule"))?,
        mosquitto: find_mosquitto(matches.get_one::<PathBuf>("mosquitto")),
        relay: std::env::current_exe()
            .map_err(|error| LoadError::io("cannot find this program", error))?,
        at: programs(&list::<String>(matches, "at")),
        rounds: if quick { 1 } else { number(matches, "rounds") },
        duration: if quick { QUICK } else { seconds(matches, "seconds") },
        fraction: if quick { QUICK_FRACTION } else { 1 },
    };
    let cells = suite.run(&rows, |row, broker, measured| {
        let figures: Vec<_> =
            measured.figures.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
        let left_out = measured.left_out.as_ref().map(|why| format!("not measured: {why}"));
        let figures = measured.failure.clone().or(left_out).unwrap_or(figures.join(", "));
        eprintln!("{row:<20} {broker:<10} {figures}; faults: {}", measured.faults);
    });
    println!("{:#}", suite::json(&cells, &suite));
    // What others lose, and how they fail, is in the JSON.
    let mut ours = cells.iter().filter(|cell| cell.broker.starts_with("noctule"));
    Ok(ours.all(|cell| cell.rounds.iter().all(Measured::is_clean)))
}

fn programs(words: &[String]) -> Vec<&'static str> {
    PROGRAMS.into_iter().filter(|program| words.iter().any(|word| word == program)).collect()
}

/// The rows whose names begin with one of these words; all of them for none.
fn chosen(words: &[String]) -> Result<Vec<Row>, LoadError> {
    let mut rows = suite::rows();
    if let Some(word) =
        words.iter().find(|word| !rows.iter().any(|row| row.name.starts_with(*word)))
    {
        return Err(LoadError::new(format!("no row begins with '{word}'; see --list")));
    }
    rows.retain(|row| words.is_empty() || words.iter().any(|word| row.name.starts_with(word)));
    Ok(rows)
}

const PROGRAMS: [&str; 3] =
    [Who::Noctule.program(), Who::Relay.program(), Who::Mosquitto.program()];
/// Of the row with the most.
const CONNECTIONS_MAX: u32 = 19_100;
const QUICK: Duration = Duration::from_millis(300);
const QUICK_FRACTION: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_how_their_names_begin() {
        let names = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            chosen(&words).map(|rows| rows.into_iter().map(|row| row.name).collect::<Vec<_>>())
        };
        assert_eq!(
            names(&["pair-q1", "connect"]).unwrap(),
            ["pair-q1-64", "pair-q1-1k", "connect"]
        );
        assert!(names(&["nothing"]).is_err());
        assert_eq!(names(&[]).unwrap().len(), suite::rows().len());
    }
}
