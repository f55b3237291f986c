//! `noctule broker`: reads the configuration and runs the broker with it.
//!
//! The flags are made from the option table of the server; no option is named here. What the
//! broker does with its configuration is the server's matter.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use noctule_server::options::{Loaded, OPTIONS, OptionSpec, Shape, Sources, print_config};

use crate::output;

/// The command and its flags.
pub(crate) fn describe() -> Command {
    Command::new("broker")
        .about("Run the broker: MQTT 3.1, 3.1.1 and 5 on port 1883 of this machine")
        .long_about(LONG_ABOUT)
        .args_override_self(true)
        .args(own_flags())
        .args(OPTIONS.iter().flat_map(option_flags))
        .after_long_help(EXAMPLES)
}

const EXAMPLES: &str = "\
Examples:
  noctule broker
  noctule broker --bind 0.0.0.0 --password-file users
  noctule broker --no-tls --log-messages all --log-raw-data
  noctule broker --config noctule.toml --check-config";

/// Runs the broker, or does with its configuration what was asked for instead.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    let file = arguments.get_one::<PathBuf>(CONFIG).cloned();
    let sources = Sources::of_process(file, given(arguments));
    let Loaded { config, warnings, .. } = match sources.load() {
        Ok(loaded) => loaded,
        Err(problems) => {
            problems.0.iter().for_each(output::complain);
            return ExitCode::FAILURE;
        }
    };
    warnings.iter().for_each(output::complain);
    if arguments.get_flag(PRINT_CONFIG) {
        output::answer(&print_config(&config));
        return ExitCode::SUCCESS;
    }
    if arguments.get_flag(CHECK_CONFIG) {
        output::answer("configuration ok\n");
        return ExitCode::SUCCESS;
    }
    match noctule_server::run(config, sources) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(error);
            ExitCode::FAILURE
        }
    }
}

const LONG_ABOUT: &str = "\
Run the broker: MQTT 3.1, 3.1.1 and 5 on port 1883 of this machine

Every option can be set in the file named by --config, in an environment variable and by a flag; \
the flag is the strongest. `-h` lists the flags that are needed most, `--help` all of them.";

const CONFIG: &str = "config";
const CHECK_CONFIG: &str = "check-config";
const PRINT_CONFIG: &str = "print-config";

/// The flags that are no option of the configuration.
fn own_flags() -> [Arg; 3] {
    [
        Arg::new(CONFIG)
            .long(CONFIG)
            .short('c')
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Read the configuration from this TOML file"),
        Arg::new(CHECK_CONFIG)
            .long(CHECK_CONFIG)
            .action(ArgAction::SetTrue)
            .conflicts_with(PRINT_CONFIG)
            .help("Say whether the configuration is right, and end"),
        Arg::new(PRINT_CONFIG)
            .long(PRINT_CONFIG)
            .action(ArgAction::SetTrue)
            .help("Print the configuration that would be used, as a commented file, and end"),
    ]
}

/// The flags of one option: one that sets it, and for a switch one that turns it off.
fn option_flags(spec: &'static OptionSpec) -> Vec<Arg> {
    let Some((main, aliases)) = spec.flags().split_first() else {
        return Vec::new();
    };
    let arg = Arg::new(spec.key())
        .long(*main)
        .visible_aliases(aliases)
        .help(short_help(spec))
        .long_help(long_help(spec))
        .hide_short_help(!spec.section().is_empty());
    let arg = match spec.short() {
        Some(short) => arg.short(short),
        None => arg,
    };
    let arg = match spec.section() {
        "" => arg,
        section => arg.help_heading(section),
    };
    match spec.shape() {
        Shape::Switch => switch(arg, spec),
        Shape::Single => with_off(valued(arg, spec), spec),
        Shape::List => vec![valued(arg, spec).action(ArgAction::Append)],
    }
}

fn valued(arg: Arg, spec: &'static OptionSpec) -> Arg {
    let check = move |text: &str| spec.check(text).map(|()| text.to_owned());
    arg.value_name(spec.placeholder()).allow_negative_numbers(true).value_parser(check)
}

fn switch(on: Arg, spec: &'static OptionSpec) -> Vec<Arg> {
    with_off(on.action(ArgAction::SetTrue), spec)
}

/// A flag, and the one that stands for its opposite if there is one.
fn with_off(on: Arg, spec: &'static OptionSpec) -> Vec<Arg> {
    let Some((main, aliases)) = spec.off_flags().split_first() else {
        return vec![on];
    };
    let off = Arg::new(*main)
        .long(*main)
        .visible_aliases(aliases)
        .action(ArgAction::SetTrue)
        .overrides_with(spec.key())
        .hide_short_help(on.is_hide_short_help_set())
        .help(format!("The opposite of --{}", spec.flags()[0]));
    vec![on.overrides_with(*main), off]
}

fn short_help(spec: &OptionSpec) -> String {
    format!("{} [default: {}]", spec.summary(), spec.default_text())
}

fn long_help(spec: &OptionSpec) -> String {
    format!(
        "{}\n\nAccepts {}.\n[default: {}] [file: {}] [env: {}]",
        spec.text(),
        spec.expected(),
        spec.default_text(),
        spec.key(),
        spec.variable(),
    )
}

/// The options that were given as flags, with their values as text.
fn given(arguments: &ArgMatches) -> Vec<(&'static OptionSpec, String)> {
    OPTIONS.iter().filter_map(|spec| Some((spec, given_text(arguments, spec)?))).collect()
}

fn given_text(arguments: &ArgMatches, spec: &OptionSpec) -> Option<String> {
    let on_line = |id| arguments.value_source(id) == Some(ValueSource::CommandLine);
    if spec.off_flags().first().is_some_and(|flag| on_line(flag)) {
        return Some(spec.off_word().to_owned());
    }
    if spec.shape() == Shape::Switch {
        return on_line(spec.key()).then(|| "true".to_owned());
    }
    let values = arguments.get_many::<String>(spec.key())?;
    Some(values.cloned().collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use noctule_server::options::{Config, LogMessages};

    use super::*;

    fn read(flags: &[&str]) -> Result<Config, clap::Error> {
        let line = [&["broker"], flags].concat();
        let matches = describe().try_get_matches_from(line)?;
        let sources = Sources { flags: given(&matches), ..Sources::default() };
        Ok(sources.load().unwrap().config)
    }

    #[test]
    fn every_option_has_its_flags_default_and_variable_in_the_help() {
        let help = describe().render_long_help().to_string();
        // The terminal's width decides where lines break.
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for spec in OPTIONS {
            for flag in spec.flags().iter().chain(spec.off_flags()) {
                assert!(help.contains(&format!("--{flag}")), "--{flag}");
            }
            let default = format!("[default: {}]", spec.default_text());
            assert!(help.contains(&default), "{} {default}", spec.key());
            assert!(help.contains(&format!("[env: {}]", spec.variable())), "{}", spec.key());
            assert!(help.contains(&format!("[file: {}]", spec.key())), "{}", spec.key());
            assert!(help.contains(spec.summary()), "{}", spec.key());
        }
    }

    #[test]
    fn the_short_help_leaves_out_the_limits() {
        let help = describe().render_help().to_string();
        assert!(help.contains("--port") && help.contains("--no-tls"), "{help}");
        assert!(!help.contains("--packet-bytes-max"), "{help}");
    }

    #[test]
    fn every_option_with_a_value_can_be_set_by_its_flags() {
        for spec in OPTIONS.iter().filter(|spec| spec.shape() != Shape::Switch) {
            let value = spec.default_text();
            for flag in spec.flags() {
                let config = read(&[&format!("--{flag}={value}")]).unwrap();
                assert_eq!(config, Config::default(), "{flag}");
            }
        }
        let config = read(&["-p", "0", "--bind", "::1", "--bind", "127.0.0.2,127.0.0.3"]).unwrap();
        assert_eq!(config.port, 0);
        assert_eq!(config.bind.len(), 3);
    }

    #[test]
    fn of_a_flag_and_its_opposite_the_last_counts() {
        assert!(!read(&["--no-ssl"]).unwrap().tls);
        let messages = |flags: &[&str]| read(flags).unwrap().log_messages;
        assert_eq!(messages(&["--log-messages", "all", "--no-log-messages"]), LogMessages::None);
        assert_eq!(messages(&["--no-log-messages", "--log-messages", "all"]), LogMessages::All);
        assert!(read(&["--no-tls", "--ssl"]).unwrap().tls);
        assert!(!read(&["--tls", "--no-tls", "--no-tls"]).unwrap().tls);
        assert!(read(&["-v", "--verbose"]).unwrap().verbose);
        assert_eq!(read(&["--ssl-port", "1", "--tls-port", "2"]).unwrap().tls_port, 2);
    }

    #[test]
    fn a_wrong_value_is_a_usage_error_that_says_what_was_expected() {
        let error = read(&["--port", "-1"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(text.contains("--port <NUMBER>"), "{text}");
        assert!(text.contains("expected a whole number from 0 to 65535, found \"-1\""), "{text}");
        let zero = read(&["--subscriptions-max", "0"]).unwrap_err().to_string();
        assert!(zero.contains("write \"unlimited\""), "{zero}");
    }

    #[test]
    fn an_unknown_flag_is_a_usage_error_that_names_the_nearest() {
        let error = read(&["--prot", "1"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("'--port'"), "{error}");
    }

    #[test]
    fn checking_and_printing_exclude_each_other() {
        assert_eq!(read(&["--check-config", "--print-config"]).unwrap_err().exit_code(), 2);
    }
}
