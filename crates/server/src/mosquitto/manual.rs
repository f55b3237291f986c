//! The tables of `docs/moving-from-mosquitto.md`, as Markdown.
//!
//! What an option becomes must not be said here: each is translated with the examples of its row, and
//! what has come of that is shown. Invariant: the part of the page behind its marker is what
//! [`manual`] returns; a test compares them, and rewrites it when `NOCTULE_WRITE_DOCS=1` is set:
//!
//! ```text
//! NOCTULE_WRITE_DOCS=1 cargo test -p noctule-server the_page
//! ```

use super::lines::Line;
use super::options::{OPTIONS, Treatment};
use super::{Translation, Weight, translate_lines};
use std::path::PathBuf;

/// All of Mosquitto's options with what becomes of them: those that have a counterpart, those that
/// have no effect, those that are refused.
#[must_use]
pub fn manual() -> String {
    let mut tables = [String::from(TAKEN), String::from(HARMLESS), String::from(MISSING)];
    for option in OPTIONS {
        let name = option.name;
        match option.treatment {
            Treatment::Taken(_, examples, _) => {
                for example in examples {
                    let becomes = becomes(name, example);
                    let written = format!("{name} {example}").replace('\n', "`<br>`");
                    tables[0].push_str(&format!("| `{written}` | {becomes} |\n"));
                }
            }
            Treatment::Harmless(why) => tables[1].push_str(&format!("| `{name}` | {why} |\n")),
            Treatment::Missing(why) => tables[2].push_str(&format!("| `{name}` | {why} |\n")),
        }
    }
    tables.join("\n")
}

/// What comes of an option in a file that has what every file needs.
fn becomes(name: &str, example: &str) -> String {
    let file = before(name);
    let text = format!("{file}{name} {example}\n");
    let (before, after) = match (translation(name, &file), translation(name, &text)) {
        (Ok(before), Ok(after)) => (before, after),
        (_, Err(reasons)) | (Err(reasons), _) => {
            return format!("**refused**: {}", reasons.join("; "));
        }
    };
    let mut parts = changes(&settings(&before.toml), &settings(&after.toml));
    if after.pid_file.is_some() {
        parts.push("the number of the process is written there".into());
    }
    let differs = after.notes.iter().filter(|note| note.weight == Weight::Different);
    parts.extend(differs.map(|note| without_name(name, &note.text)));
    if parts.is_empty() { "nothing has to be set".into() } else { parts.join("; ") }
}

/// Where something is set, and what, as a line of TOML.
#[derive(PartialEq, Eq)]
struct Setting<'a> {
    section: &'a str,
    line: &'a str,
}

impl Setting<'_> {
    fn key(&self) -> (&str, Option<&str>) {
        (self.section, self.line.split(' ').next())
    }

    fn place(&self) -> String {
        if self.section.is_empty() { String::new() } else { format!(" in `{}`", self.section) }
    }
}

fn settings(toml: &str) -> Vec<Setting<'_>> {
    let mut section = "";
    let mut found = Vec::new();
    for line in toml.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with('[') {
            section = line;
        } else {
            found.push(Setting { section, line });
        }
    }
    found
}

/// What is set now, by section, and what is not set any more.
fn changes(old: &[Setting<'_>], new: &[Setting<'_>]) -> Vec<String> {
    let added: Vec<_> = new.iter().filter(|setting| !old.contains(setting)).collect();
    let of_section = |settings: &[&Setting<'_>]| {
        let lines: Vec<_> = settings.iter().map(|set| format!("`{}`", set.line)).collect();
        format!("{}{}", lines.join(", "), settings[0].place())
    };
    let mut parts: Vec<_> =
        added.chunk_by(|one, next| one.section == next.section).map(of_section).collect();
    let is_gone = |setting: &&Setting<'_>| new.iter().all(|one| one.key() != setting.key());
    let gone = old.iter().filter(is_gone);
    parts.extend(gone.map(|setting| format!("no `{}`{}", setting.line, setting.place())));
    parts
}

fn without_name(name: &str, text: &str) -> String {
    let rest = text.strip_prefix(name).and_then(|rest| rest.strip_prefix(": "));
    rest.unwrap_or(text).to_owned()
}

/// The reasons for which it is refused, if it is.
fn translation(name: &str, text: &str) -> Result<Translation, Vec<String>> {
    let line = |(index, line): (usize, &str)| {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        let file = PathBuf::from("mosquitto.conf");
        Line { file, number: index + 1, name: name.to_owned(), value: value.to_owned() }
    };
    let lines: Vec<_> = text.lines().enumerate().map(line).collect();
    translate_lines(&lines, None, Vec::new()).map_err(|notes| {
        let refused = notes.into_iter().filter(|note| note.weight == Weight::Refused);
        refused.map(|note| without_name(name, &note.text)).collect()
    })
}

/// What the examples stand behind.
const FILE: &str = "allow_anonymous true\nlistener 1884\n";

/// What an example stands behind, with what it would be refused without.
fn before(name: &str) -> String {
    let more = match name {
        "allow_anonymous" | "listener_allow_anonymous" => "password_file /etc/mosquitto/users\n",
        "cafile"
        | "capath"
        | "crlfile"
        | "keyfile"
        | "require_certificate"
        | "use_identity_as_username"
        | "use_subject_as_username" => "certfile /etc/ssl/broker.pem\n",
        _ => "",
    };
    format!("{FILE}{more}")
}

const TAKEN: &str = "\
### Options with a counterpart

Behind `allow_anonymous true` and `listener 1884`, and a `password_file` or `certfile` where one has to be there; each with an
example or two.

| line | becomes |
|---|---|
";

const HARMLESS: &str = "\
### Options without effect

The broker says so, and starts.

| option | why |
|---|---|
";

const MISSING: &str = "\
### Options that are refused

The broker does not start with them: without them somebody would get in, a message be lost, or clients see something
else.

| option | why, and what to do |
|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{LISTENER_OPTIONS, OPTIONS as OUR_OPTIONS};
    use std::path::Path;
    use std::{env, fs};

    const MARKER: &str = "<!-- Made from crates/server/src/mosquitto/options.rs; do not edit below.\n     \
                          NOCTULE_WRITE_DOCS=1 cargo test -p noctule-server the_page -->\n\n";

    #[test]
    fn the_page_about_mosquitto_is_what_the_table_says() {
        let page =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/moving-from-mosquitto.md");
        let written = fs::read_to_string(&page).expect("the page");
        let (own, tables) = written.split_once(MARKER).expect("the marker");
        if env::var_os("NOCTULE_WRITE_DOCS").is_some() {
            return fs::write(&page, format!("{own}{MARKER}{}", manual()))
                .expect("a writable page");
        }
        assert!(
            tables == manual(),
            "docs/moving-from-mosquitto.md is behind the table of options; rewrite it with \
             NOCTULE_WRITE_DOCS=1 cargo test -p noctule-server the_page"
        );
    }

    #[test]
    fn what_an_example_becomes_is_an_option_of_ours() {
        let is_known = |set: &Setting<'_>, name: &str| {
            let is_of_listener = set.section == "[[listener]]";
            let section = set.section.trim_matches(['[', ']']);
            let mut shared = OUR_OPTIONS.iter().filter(|spec| spec.name() == name);
            shared.any(|spec| {
                if is_of_listener { spec.is_per_listener() } else { spec.section == section }
            }) || (is_of_listener && LISTENER_OPTIONS.iter().any(|spec| spec.name() == name))
        };
        let mut count = 0;
        for option in OPTIONS {
            let Treatment::Taken(_, examples, _) = option.treatment else { continue };
            assert!(!examples.is_empty(), "{}", option.name);
            for example in examples {
                let text = format!("{}{} {example}\n", before(option.name), option.name);
                let Ok(translation) = translation(option.name, &text) else { continue };
                for set in settings(&translation.toml) {
                    let name = set.key().1.expect("a key");
                    assert!(is_known(&set, name), "{} in {}", set.line, set.section);
                    count += 1;
                }
            }
        }
        assert!(count > 100, "{count}");
    }

    #[test]
    fn every_option_is_in_the_tables_with_what_comes_of_it() {
        let manual = manual();
        for option in OPTIONS {
            let name = option.name;
            let found = [format!("\n| `{name}` |"), format!("\n| `{name} ")];
            assert!(found.iter().any(|row| manual.contains(row)), "{name}");
        }
        assert_eq!(becomes("max_qos", "1"), "`qos_max = 1` in `[protocol]`");
        assert_eq!(becomes("persistence", "true"), "no `in_memory = true`");
        assert_eq!(becomes("max_keepalive", "0"), "nothing has to be set");
        assert_eq!(becomes("queue_qos0_messages", "true"), "`queue_qos_0 = true` in `[session]`");
        assert!(becomes("mount_point", "site-1").starts_with("**refused**: 'site-1' does not end"));
    }
}
