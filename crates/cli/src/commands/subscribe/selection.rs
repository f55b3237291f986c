//! Which of the messages that come are printed.

use clap::{Arg, ArgAction, ArgMatches};
use noctule_client::{Message, TopicFilter, TopicName};

use crate::client_run::Failure;

const FILTER_OUT: &str = "filter-out";
pub(in crate::commands) const NO_RETAINED: &str = "no-retained";
const RETAINED_ONLY: &str = "retained-only";
const RANDOM: &str = "random-filter";

/// The flags.
pub(super) fn selection_arguments() -> [Arg; 4] {
    let switch = |id: &'static str| Arg::new(id).long(id).action(ArgAction::SetTrue);
    [
        no_retained(),
        switch(RETAINED_ONLY).help("Print retained messages only, and end at the first other"),
        Arg::new(FILTER_OUT)
            .short('T')
            .long(FILTER_OUT)
            .value_name("TOPIC")
            .action(ArgAction::Append)
            .help("Leave out messages that match this; may be repeated"),
        Arg::new(RANDOM)
            .long(RANDOM)
            .value_name("PERCENT")
            .value_parser(percent)
            .help("Print only so many per cent of the messages, at random"),
    ]
}

/// `-R`, which `noctule request` has, too.
pub(in crate::commands) fn no_retained() -> Arg {
    Arg::new(NO_RETAINED)
        .short('R')
        .long(NO_RETAINED)
        .action(ArgAction::SetTrue)
        .help("Leave out retained messages")
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=100.0).contains(number));
    number.ok_or_else(|| format!("expected a number from 0 to 100, found \"{text}\""))
}

/// Which messages are printed.
pub(super) struct Selection {
    filter_out: Vec<String>,
    no_retained: bool,
    /// The first message that is not retained is the end.
    pub(super) retained_only: bool,
    random_percent: Option<f64>,
}

impl Selection {
    /// Reads it.
    pub(super) fn read(arguments: &ArgMatches) -> Result<Self, Failure> {
        let filter_out: Vec<String> =
            arguments.get_many(FILTER_OUT).into_iter().flatten().cloned().collect();
        for filter in &filter_out {
            TopicFilter::new(filter).map_err(|fault| {
                Failure::usage(format!("\"{filter}\" filters nothing out: {fault}"))
            })?;
        }
        Ok(Self {
            filter_out,
            no_retained: arguments.get_flag(NO_RETAINED),
            retained_only: arguments.get_flag(RETAINED_ONLY),
            random_percent: arguments.get_one(RANDOM).copied(),
        })
    }

    /// Whether this one is printed.
    pub(super) fn takes(&self, message: &Message) -> bool {
        let stale = self.no_retained && message.retain();
        let chosen = self.random_percent.is_none_or(|percent| fastrand::f64() * 100.0 < percent);
        !stale && chosen && !self.filters_out(message)
    }

    /// Whether its topic is one that is left out.
    pub(super) fn filters_out(&self, message: &Message) -> bool {
        let Ok(topic) = TopicName::new(message.topic()) else { return false };
        let matches =
            |filter: &String| TopicFilter::new(filter).is_ok_and(|filter| filter.matches(topic));
        self.filter_out.iter().any(matches)
    }
}
