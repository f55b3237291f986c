//! The effective configuration as a TOML file that explains itself.
//!
//! Invariant: what is printed here, read as a configuration file, is the same configuration.

use std::fmt::Write;

use super::spec::OptionSpec;
use super::table::{Config, LISTENER, LISTENER_OPTIONS, OPTIONS, SECTIONS};

/// `config` as TOML, each option with its documentation as a comment.
///
/// ```
/// use noctule_server::options::{Config, print_config};
///
/// assert!(print_config(&Config::default()).contains("\nport = 1883\n"));
/// ```
#[must_use]
pub fn print_config(config: &Config) -> String {
    let mut out = String::from("# Configuration of a Noctule broker.\n");
    for section in SECTIONS {
        if !section.name.is_empty() {
            out.push_str("\n\n");
            comment(&mut out, &section.text());
            line(&mut out, &format!("[{}]", section.name));
        }
        for spec in OPTIONS.iter().filter(|spec| spec.section == section.name) {
            print_option(&mut out, spec, config);
        }
    }
    print_listeners(&mut out, config);
    out
}

fn print_option(out: &mut String, spec: &OptionSpec, config: &Config) {
    out.push('\n');
    comment(out, &spec.text());
    comment(out, &format!("Accepts {}; default {}.", spec.expected(), spec.default_toml()));
    line(out, &format!("{} = {}", spec.name, spec.to_toml(config)));
}

fn print_listeners(out: &mut String, config: &Config) {
    out.push_str("\n\n");
    comment(out, &LISTENER.text());
    for spec in LISTENER_OPTIONS {
        comment(out, &format!("`{}`: {} Accepts {}.", spec.name, spec.text(), spec.expected()));
    }
    let shared = OPTIONS.iter().filter(|spec| spec.is_per_listener()).map(|spec| spec.name);
    comment(out, &format!("The others, as above: {}.", shared.collect::<Vec<_>>().join(", ")));
    if config.listeners.is_empty() {
        line(out, &format!("# [[{}]]", LISTENER.name));
    }
    for table in &config.listeners {
        line(out, &format!("[[{}]]", LISTENER.name));
        let listener = table.over(config);
        for spec in table.said() {
            line(out, &format!("{} = {}", spec.name, spec.to_toml(&listener)));
        }
        out.push('\n');
    }
}

fn line(out: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

/// Width of a comment, without its mark.
const COLUMNS: usize = 96;

fn comment(out: &mut String, text: &str) {
    for row in wrapped(text, COLUMNS) {
        line(out, &format!("# {row}"));
    }
}

/// `text` in rows of at most `columns` characters, unless one word is longer.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match rows.last_mut() {
            Some(row) if row.chars().count() + 1 + word.chars().count() <= columns => {
                row.push(' ');
                row.push_str(word);
            }
            _ => rows.push(word.to_owned()),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::file::read_text;
    use super::super::walks::changed_everywhere;
    use super::*;

    fn assert_round_trip(config: &Config) {
        let text = print_config(config);
        let mut read = Config::default();
        assert_eq!(read_text(Path::new("printed.toml"), &text, &mut read), [], "{text}");
        assert_eq!(&read, config, "{text}");
    }

    #[test]
    fn what_is_printed_loads_back() {
        assert_round_trip(&Config::default());
        assert_round_trip(&changed_everywhere());
    }

    #[test]
    fn a_path_with_everything_in_it_loads_back() {
        for path in ["a\"b\\c'd\n\te \u{1b}[31m", "'", "''' \"\"\"", "ö", " "] {
            assert_round_trip(&Config { data_dir: path.into(), ..Config::default() });
        }
    }

    #[test]
    fn every_option_is_printed_with_its_summary() {
        let text = print_config(&Config::default());
        for spec in OPTIONS {
            let first: String = spec.summary().split(' ').take(4).collect::<Vec<_>>().join(" ");
            assert!(text.contains(&format!("# {first}")), "{}", spec.key);
            assert!(text.contains(&format!("\n{} = ", spec.name)), "{}", spec.key);
        }
        assert!(text.lines().all(|row| row.chars().count() <= COLUMNS + 2));
    }
}
