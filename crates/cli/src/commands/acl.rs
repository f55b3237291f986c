//! `noctule acl`: explains what a file of rules lets somebody do, and says what is wrong with one.
//!
//! It reads the file as the broker does, and asks the same rules. What rules mean is a matter of
//! `noctule-acl`.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use noctule_acl::{AclFile, Decision, Rules, Who, Wish};
use noctule_mqtt::{TopicFilter, TopicName};

use crate::{file_argument, output};

/// The command and its subcommands.
pub(crate) fn describe() -> Command {
    Command::new("acl")
        .about("Explain what a file of rules lets a client do")
        .long_about(LONG_ABOUT)
        .after_long_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("test")
                .about("Say whether a client may do something, and by which rule: exit code 0 if it may, 1 if not")
                .arg(file_argument::required(FILE_HELP))
                .args(who())
                .args(wishes())
                .group(
                    ArgGroup::new("wish").args([PUBLISH, SUBSCRIBE, READ]).required(true).multiple(true),
                ),
        )
        .subcommand(
            Command::new("check")
                .about("Say what is wrong with a file, and what may not be meant in it")
                .arg(file_argument::required(FILE_HELP)),
        )
}

/// Does what was asked for.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    match arguments.subcommand() {
        Some(("test", arguments)) => test(arguments),
        Some(("check", arguments)) => check(arguments),
        // clap accepts no other.
        _ => ExitCode::FAILURE,
    }
}

const LONG_ABOUT: &str = "\
Explain what a file of rules lets a client do

The file is what the broker's option --acl-file names: in Mosquitto's language, or in TOML if its name \
ends in .toml. What a token claims besides, and what a listener without rules permits, is not in it.

A user name gives rights if it was proved, by a password, certificate or token, or if \
acl_trust_claimed_names is set where nobody is asked for a proof. Whoever only says a name has the \
rights of a client without one: leave out --user to ask about it.";

const EXAMPLES: &str = "\
Examples:
  noctule acl test rules --user anna --publish plant/1/set
  noctule acl test rules --client-id sensor-1 --read '$SYS/broker/uptime'
  noctule acl test rules.toml --user otto --groups operators --subscribe 'plant/#'
  noctule acl check rules.toml";

const FILE_HELP: &str = "The file of rules";
const USER: &str = "user";
const CLIENT_ID: &str = "client-id";
const GROUPS: &str = "groups";
const PUBLISH: &str = "publish";
const SUBSCRIBE: &str = "subscribe";
const READ: &str = "read";

/// Who asks without saying which client it is.
const SOME_CLIENT: &str = "some-client";

fn who() -> [Arg; 3] {
    [
        Arg::new(USER)
            .long(USER)
            .short('u')
            .value_name("NAME")
            .help("The client's user name, as it was proved [default: it has none]"),
        Arg::new(CLIENT_ID)
            .long(CLIENT_ID)
            .short('i')
            .value_name("ID")
            .default_value(SOME_CLIENT)
            .help("The client identifier"),
        Arg::new(GROUPS)
            .long(GROUPS)
            .value_name("GROUP,…")
            .value_delimiter(',')
            .action(ArgAction::Append)
            .help("Groups that the user is taken to be in, besides those of the file"),
    ]
}

fn wishes() -> [Arg; 3] {
    let wish = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).action(ArgAction::Append).help(help)
    };
    [
        wish(PUBLISH, "TOPIC", "May it publish on this topic?"),
        wish(SUBSCRIBE, "FILTER", "May it subscribe to this filter?"),
        wish(READ, "TOPIC", "May it be given messages of this topic?"),
    ]
}

fn test(arguments: &ArgMatches) -> ExitCode {
    let rules = match AclFile::read(file_argument::path(arguments)) {
        Ok(file) => file.rules,
        Err(error) => {
            error.lines().for_each(output::complain);
            return ExitCode::from(2);
        }
    };
    let who = Who {
        client_id: text(arguments, CLIENT_ID).unwrap_or(SOME_CLIENT),
        user_name: text(arguments, USER),
    };
    let groups: Vec<&str> =
        arguments.get_many::<String>(GROUPS).unwrap_or_default().map(String::as_str).collect();
    if let Some(unknown) = groups.iter().find(|group| !rules.has_group(group)) {
        output::complain(format!("no rule is for a group \"{}\"", unknown.escape_debug()));
        return ExitCode::from(2);
    }
    let mut may_all = true;
    for (kind, given) in given(arguments) {
        let wish = match wish(kind, given) {
            Ok(wish) => wish,
            Err(line) => {
                output::complain(line);
                return ExitCode::from(2);
            }
        };
        let decision = rules.decide_with(who, &groups, wish);
        may_all &= decision.is_allowed();
        output::answer(&explained(&rules, who, wish, &decision));
    }
    if may_all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What was asked about, each kind in the order in which it was given.
fn given(arguments: &ArgMatches) -> impl Iterator<Item = (&'static str, &str)> {
    [PUBLISH, SUBSCRIBE, READ].into_iter().flat_map(|kind| {
        let values = arguments.get_many::<String>(kind).unwrap_or_default();
        values.map(move |value| (kind, value.as_str()))
    })
}

fn wish<'a>(kind: &str, given: &'a str) -> Result<Wish<'a>, String> {
    let wrong =
        |what: &str, why: String| format!("\"{}\" is no {what}: {why}", given.escape_debug());
    let topic = || TopicName::new(given).map_err(|why| wrong("topic", why.to_string()));
    match kind {
        PUBLISH => Ok(Wish::Publish(topic()?)),
        READ => Ok(Wish::Read(topic()?)),
        _ => {
            let filter = TopicFilter::new(given);
            let filter = filter.map_err(|why| wrong("topic filter", why.to_string()))?;
            let shared = filter.shared().map_err(|why| wrong("topic filter", why.to_string()))?;
            Ok(Wish::Subscribe(shared.map_or(filter, |shared| shared.filter)))
        }
    }
}

fn explained(rules: &Rules, who: Who<'_>, wish: Wish<'_>, decision: &Decision<'_>) -> String {
    let word = if decision.is_allowed() { "allowed" } else { "denied" };
    let client = match who.user_name {
        Some(user) => format!("user \"{}\"", user.escape_debug()),
        None => "a client without a user name".to_owned(),
    };
    let wish = wish.to_string();
    format!("{word}: {client} wants to {}\n  {}\n", wish.escape_debug(), decision.explain(rules))
}

fn check(arguments: &ArgMatches) -> ExitCode {
    match AclFile::read(file_argument::path(arguments)) {
        Ok(AclFile { rules, warnings }) => {
            warnings.iter().for_each(output::complain);
            let plural = if rules.len() == 1 { "" } else { "s" };
            output::answer(&format!("ok, {} rule{plural}\n", rules.len()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            error.lines().for_each(output::complain);
            ExitCode::FAILURE
        }
    }
}

fn text<'a>(arguments: &'a ArgMatches, name: &str) -> Option<&'a str> {
    arguments.get_one::<String>(name).map(String::as_str)
}
