//! `routing`: two-level routing against one shared index and what lies between, with the broker's own
//! types. The designs are in `design`, what is done with them in `work`; each way to measure has a module, and reading
//! the command line is done here.

mod counts;
mod design;
mod locks;
mod memory;
mod mix;
mod pauses;
mod times;
mod work;

use clap::{Arg, ArgMatches, Command, value_parser};
use design::{Common, Design, NAMES, One, Receiving, Two};
use mix::Top;
use noctule_load::statistics::range;
use noctule_load::table::figure;
use std::fmt;
use std::process::ExitCode;
use work::{Cell, Work, Workable};

fn main() -> ExitCode {
    let matches = command().get_matches();
    let done = match matches.subcommand() {
        Some(("times", matches)) => {
            times::run(
                &settings(matches),
                number(matches, "rounds"),
                number(matches, "operations"),
            );
            Ok(())
        }
        Some(("counts", matches)) => counts::run(&settings(matches), number(matches, "operations")),
        Some(("memory", matches)) => memory::run(&settings(matches)),
        Some(("pauses", matches)) => {
            pauses::run(&settings(matches), number(matches, "rounds"));
            Ok(())
        }
        Some(("counted", matches)) => {
            let setting = settings(matches)[0];
            counts::under_callgrind(&setting, design(matches), number(matches, "operations"));
            Ok(())
        }
        Some(("grown", matches)) => memory::grown(&settings(matches)[0], design(matches)),
        _ => Err("there is no such command".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("routing: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One state of a broker.
#[derive(Debug, Clone, Copy)]
struct Setting {
    top: Top,
    shards: u16,
    /// Of devices.
    filters: usize,
    /// Subscribers of one more filter.
    many: usize,
}

impl Setting {
    /// The design of that name, in this state.
    fn work(&self, design: &str) -> Box<dyn Workable> {
        match design {
            Two::NAME => self.work_of::<Two>(),
            Receiving::NAME => self.work_of::<Receiving>(),
            One::NAME => self.work_of::<One>(),
            _ => self.work_of::<Common>(),
        }
    }

    fn work_of<D: Design + 'static>(&self) -> Box<dyn Workable> {
        Box::new(Work::<D>::new(self.shards, self.top, self.filters, self.many))
    }

    fn cells(&self) -> &'static [Cell] {
        if self.many > 0 { &Cell::OF_FAN_OUT } else { &Cell::OF_DEVICES }
    }

    /// The same, as words of the command line.
    fn words(&self) -> Vec<String> {
        let top = if self.top == Top::Same { "same" } else { "hundred" };
        let words = [
            ("--top", top.to_string()),
            ("--shards", self.shards.to_string()),
            ("--filters", self.filters.to_string()),
            ("--many", self.many.to_string()),
        ];
        words.into_iter().flat_map(|(name, value)| [name.into(), value]).collect()
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.many {
            0 => write!(f, "{}", self.filters),
            many => write!(f, "{} + {many} on one", self.filters),
        }
    }
}

fn command() -> Command {
    let design = Arg::new("design").required(true).value_parser(NAMES);
    Command::new("routing")
        .about("Two-level routing against one shared index, and against a shared directory")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_settings(
            Command::new("times").about("nanoseconds per operation").args([rounds(), operations()]),
        ))
        .subcommand(with_settings(
            Command::new("counts").about("instructions per operation (valgrind)").arg(operations()),
        ))
        .subcommand(with_settings(Command::new("memory").about("bytes per filter")))
        .subcommand(with_settings(
            Command::new("pauses").about("what one shard notices of the others").arg(rounds()),
        ))
        .subcommand(with_settings(
            Command::new("counted").hide(true).args([design.clone(), operations()]),
        ))
        .subcommand(with_settings(Command::new("grown").hide(true).arg(design)))
}

fn with_settings(command: Command) -> Command {
    command.args([
        listed("filters", "1000,100000", "filters of devices"),
        listed("shards", "1,2,8", "shards"),
        listed("many", "0", "subscribers of one more filter; if any, it is what is measured"),
        Arg::new("top")
            .long("top")
            .default_value("same")
            .value_parser(["same", "hundred"])
            .help("first levels of the topics"),
    ])
}

fn listed(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    let arg = Arg::new(name).long(name).default_value(default).help(help);
    arg.value_delimiter(',').value_parser(value_parser!(u32))
}

fn rounds() -> Arg {
    listed("rounds", "7", "how often everything is measured")
}

fn operations() -> Arg {
    listed("operations", "20000", "publishes in a cell")
}

fn settings(matches: &ArgMatches) -> Vec<Setting> {
    let list = |name| matches.get_many::<u32>(name).into_iter().flatten().map(|n| *n as usize);
    let same = matches.get_one::<String>("top").is_none_or(|top| top == "same");
    let top = if same { Top::Same } else { Top::Hundred };
    let mut settings = Vec::new();
    for filters in list("filters") {
        for many in list("many") {
            for shards in list("shards") {
                settings.push(Setting { top, shards: shards.clamp(1, 256) as u16, filters, many });
            }
        }
    }
    settings
}

fn number(matches: &ArgMatches, name: &str) -> usize {
    matches.get_one::<u32>(name).map_or(1, |number| (*number).max(1) as usize)
}

fn design(matches: &ArgMatches) -> &str {
    matches.get_one::<String>("design").map_or("", String::as_str)
}

/// The smallest and the largest of some figures.
fn spread(values: &[f64]) -> String {
    range(values).map_or(String::new(), |(least, most)| {
        format!("{}–{}", figure(Some(least)), figure(Some(most)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together_and_settings_survive_it() {
        command().debug_assert();
        let words = ["routing", "memory", "--filters", "7", "--shards", "3", "--top", "hundred"];
        let matches = command().try_get_matches_from(words).unwrap();
        let (_, matches) = matches.subcommand().unwrap();
        let found = settings(matches);
        assert_eq!(found.len(), 1);
        let again = ["routing".to_string(), "memory".into()].into_iter().chain(found[0].words());
        let matches = command().try_get_matches_from(again).unwrap();
        let (_, matches) = matches.subcommand().unwrap();
        assert_eq!(format!("{:?}", settings(matches)[0]), format!("{:?}", found[0]));
    }
}
