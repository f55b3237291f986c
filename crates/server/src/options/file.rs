//! The configuration file: TOML with the position of every key and value.
//!
//! No option is named here; the table says what there is. All problems of a file are found in one
//! go. Invariant: a file with a problem changes nothing, because its reader then gives up the
//! configuration as a whole.

use std::fs;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeInteger, DeString, DeTable, DeValue};

use super::listener::{LISTENERS_MAX, ListenerTable, listener_options};
use super::nearest::nearest;
use super::problem::{Place, Problem};
use super::spec::{OptionSpec, Section};
use super::table::{Config, LISTENER, OPTIONS, SECTIONS};
use super::value::Given;

/// Reads a file into `config` and returns what is wrong with it, in the order of its lines.
pub(crate) fn read_file(file: &Path, config: &mut Config) -> Vec<Problem> {
    let about = |message| vec![Problem { place: Place::File(file.to_owned()), message }];
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => return about(format!("cannot be read: {error}")),
    };
    match String::from_utf8(bytes) {
        Ok(text) => read_text(file, &text, config),
        Err(error) => {
            about(format!("is not UTF-8 text at byte {}", error.utf8_error().valid_up_to()))
        }
    }
}

/// Reads the text of `file` into `config` and returns what is wrong with it.
pub(crate) fn read_text(file: &Path, text: &str, config: &mut Config) -> Vec<Problem> {
    let mut reader = Reader { file, text, config, found: Vec::new() };
    let (document, errors) = DeTable::parse_recoverable(text);
    // What a broken line was meant to say is not guessed at, so nothing else is judged then.
    if errors.is_empty() {
        reader.document(document.get_ref());
    }
    for error in errors {
        let message = error.message().trim().replace('\n', "; ");
        reader.note(error.span().unwrap_or(0..0), message);
    }
    reader.into_problems()
}

/// A walk over one document.
struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    config: &'a mut Config,
    found: Vec<(usize, String)>,
}

type Key<'a> = Spanned<DeString<'a>>;

impl Reader<'_> {
    fn document(&mut self, document: &DeTable<'_>) {
        for (key, value) in document {
            match SECTIONS.iter().skip(1).find(|section| section.name == key.get_ref()) {
                _ if LISTENER.name == key.get_ref() => self.listeners(value),
                Some(section) => self.section(section, value),
                None => self.entry("", key, value),
            }
        }
    }

    fn section(&mut self, section: &Section, value: &Spanned<DeValue<'_>>) {
        if let DeValue::Table(table) = value.get_ref() {
            for (key, value) in table {
                self.entry(section.name, key, value);
            }
            return;
        }
        let found = given(value.get_ref()).found();
        let message = format!(
            "`{0}` is a section: expected `[{0}]` with its options below, found {found}",
            section.name
        );
        self.note(value.span(), message);
    }

    fn listeners(&mut self, value: &Spanned<DeValue<'_>>) {
        let DeValue::Array(tables) = value.get_ref() else {
            let message = "listeners are tables of their own: write `[[listener]]`, with its options \
                           below";
            return self.note(value.span(), message.to_owned());
        };
        if tables.len() > LISTENERS_MAX {
            self.note(value.span(), format!("more than {LISTENERS_MAX} listeners"));
        }
        for (number, table) in tables.iter().enumerate() {
            match table.get_ref() {
                DeValue::Table(entries) => self.listener(number, entries),
                other => {
                    let found = given(other).found();
                    self.note(
                        table.span(),
                        format!("`[[listener]]`: expected a table, found {found}"),
                    );
                }
            }
        }
    }

    fn listener(&mut self, number: usize, entries: &DeTable<'_>) {
        let name = entries.get("name").and_then(|name| name.get_ref().as_str());
        let label = match name {
            Some(name) if !name.is_empty() => format!("listener {name:?}"),
            _ => format!("listener {}", number + 1),
        };
        let mut table = ListenerTable::default();
        for (key, value) in entries {
            let name: &str = key.get_ref();
            match listener_options().find(|spec| spec.name == name) {
                Some(spec) => {
                    if let Err(wrong) = table.say(spec, given(value.get_ref())) {
                        self.note(value.span(), format!("{label}: `{name}`: {wrong}"));
                    }
                }
                None => self.note(key.span(), format!("{label}: {}", not_of_a_listener(name))),
            }
        }
        self.config.listeners.push(table);
    }

    fn entry(&mut self, section: &str, key: &Key<'_>, value: &Spanned<DeValue<'_>>) {
        let name: &str = key.get_ref();
        match option(section, name) {
            Some(spec) => self.option(spec, value),
            None if section.is_empty() && is_section(value.get_ref()) => {
                self.note(key.span(), unknown_section(name));
            }
            None => self.note(key.span(), unknown_key(section, name)),
        }
    }

    fn option(&mut self, spec: &OptionSpec, value: &Spanned<DeValue<'_>>) {
        if let Err(wrong) = spec.apply(self.config, &given(value.get_ref())) {
            let default = spec.default_toml();
            let message = format!("`{}`: {wrong} (without this line: {default})", spec.key);
            self.note(value.span(), message);
        }
    }

    fn note(&mut self, span: Range<usize>, message: String) {
        self.found.push((span.start, message));
    }

    /// Tables are walked in the order of their keys; people read in the order of lines.
    fn into_problems(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|(offset, _)| *offset);
        let problem = |(offset, message)| {
            let (line, column) = line_and_column(self.text, offset);
            Problem { place: Place::Line { file: self.file.to_owned(), line, column }, message }
        };
        self.found.into_iter().map(problem).collect()
    }
}

/// Whether somebody has written it between brackets.
fn is_section(value: &DeValue<'_>) -> bool {
    let is_list =
        |items: &[Spanned<DeValue<'_>>]| items.iter().any(|item| item.get_ref().is_table());
    value.is_table() || value.as_array().is_some_and(|items| is_list(items))
}

fn option(section: &str, name: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|spec| spec.section == section && spec.name == name)
}

fn unknown_section(name: &str) -> String {
    let sections = SECTIONS
        .iter()
        .skip(1)
        .chain([&LISTENER])
        .map(|section| (section.name.to_owned(), section.name));
    let known = nearest(name, sections).unwrap_or_default();
    let known = if known == LISTENER.name { format!("[[{known}]]") } else { format!("[{known}]") };
    format!("unknown section {name:?}; the nearest one is `{known}`")
}

/// Names the option that was probably meant: the same name elsewhere, or else the nearest one,
/// by its name or by one of its flags, those of the same section first.
fn unknown_key(section: &str, name: &str) -> String {
    if let Some(elsewhere) = OPTIONS.iter().find(|spec| spec.name == name) {
        return match elsewhere.section {
            "" => format!("`{name}` belongs at the top of the file, before the first section"),
            home => format!("`{name}` belongs in the section `[{home}]`"),
        };
    }
    let (here, elsewhere): (Vec<_>, Vec<_>) =
        OPTIONS.iter().partition(|spec| spec.section == section);
    let known = nearest(name, here.into_iter().chain(elsewhere).flat_map(names));
    let known = known.map_or("", |spec| if spec.section == section { spec.name } else { spec.key });
    format!("unknown key {name:?}; the nearest one is `{known}`")
}

/// Why a listener cannot have an option, or which one was probably meant.
fn not_of_a_listener(name: &str) -> String {
    if let Some(spec) = OPTIONS.iter().find(|spec| spec.name == name) {
        let place = match spec.section {
            "" => "at the top of the file".to_owned(),
            home => format!("in the section `[{home}]`"),
        };
        return format!("`{name}` is for all listeners alike and belongs {place}");
    }
    let known = nearest(name, listener_options().flat_map(names)).map_or("", |spec| spec.name);
    format!("unknown key {name:?}; the nearest one is `{known}`")
}

fn names(spec: &'static OptionSpec) -> impl Iterator<Item = (String, &'static OptionSpec)> {
    let all = [spec.name, spec.key].into_iter().chain(spec.flags().iter().copied());
    all.map(move |name| (name.to_owned(), spec))
}

fn given(value: &DeValue<'_>) -> Given {
    match value {
        DeValue::String(text) => Given::Text(text.to_string()),
        DeValue::Integer(number) => Given::Integer(decimal(number)),
        DeValue::Float(number) => Given::Float(number.to_string()),
        DeValue::Boolean(on) => Given::Switch(*on),
        DeValue::Array(items) => {
            let texts: Option<_> = items.iter().map(|item| item.get_ref().as_str()).collect();
            let texts: Option<Vec<&str>> = texts;
            texts.map_or(Given::Other("a list of something else than strings"), |texts| {
                Given::List(texts.into_iter().map(str::to_owned).collect())
            })
        }
        DeValue::Datetime(_) => Given::Other("a date or time"),
        DeValue::Table(_) => Given::Other("a table"),
    }
}

/// TOML integers may be hexadecimal, octal or binary.
fn decimal(number: &DeInteger<'_>) -> String {
    let digits = number.as_str().replace('_', "");
    i128::from_str_radix(&digits, number.radix())
        .map_or_else(|_| number.to_string(), |value| value.to_string())
}

/// Both count from one, the column in characters.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |line_break| line_break + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::super::{Hello, Listener};
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let mut config = Config::default();
        let found = read_text(Path::new("n.toml"), text, &mut config);
        found.iter().map(ToString::to_string).collect()
    }

    fn problem(text: &str) -> String {
        let found = problems(text);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    }

    #[test]
    fn an_unknown_key_names_line_column_and_the_nearest_known_key() {
        let nearest = |text: &str| problem(text);
        assert_eq!(
            nearest("# first\nprot = 1"),
            "n.toml:2:1: unknown key \"prot\"; the nearest one is `port`"
        );
        assert_eq!(
            nearest("[limits]\n  packet_byte_max = 1"),
            "n.toml:2:3: unknown key \"packet_byte_max\"; the nearest one is `packet_bytes_max`"
        );
        assert_eq!(
            nearest("packets_bytes_max = 1"),
            "n.toml:1:1: unknown key \"packets_bytes_max\"; the nearest one is \
             `limits.packet_bytes_max`"
        );
        assert_eq!(
            nearest("ssl_port = 1"),
            "n.toml:1:1: unknown key \"ssl_port\"; the nearest one is `tls_port`"
        );
        assert_eq!(
            nearest("\"a\\u001b\" = 1").split(';').next(),
            Some("n.toml:1:1: unknown key \"a\\u{1b}\"")
        );
    }

    #[test]
    fn a_key_in_the_wrong_section_is_told_the_right_one() {
        assert_eq!(
            problem("unsent_bytes_max = 1"),
            "n.toml:1:1: `unsent_bytes_max` belongs in the section `[limits]`"
        );
        assert_eq!(
            problem("[session]\nport = 1"),
            "n.toml:2:1: `port` belongs at the top of the file, before the first section"
        );
    }

    #[test]
    fn an_unknown_section_is_named_once() {
        assert_eq!(
            problem("port = 1\n[limit]\na = 1\nb = 2\n"),
            "n.toml:2:2: unknown section \"limit\"; the nearest one is `[limits]`"
        );
    }

    #[test]
    fn a_wrong_type_says_what_was_expected_and_what_the_default_is() {
        assert_eq!(
            problem("port = true"),
            "n.toml:1:8: `port`: expected a whole number from 0 to 65535, found true \
             (without this line: 1883)"
        );
        assert_eq!(
            problem("port = \"1883\""),
            "n.toml:1:8: `port`: expected a whole number from 0 to 65535, found the string \
             \"1883\"; write it without quotes (without this line: 1883)"
        );
        assert!(problem("tls = \"true\"").contains("found the string \"true\"; write it without"));
        assert!(problem("tls = 1").contains("expected `true` or `false`, found the number 1"));
        assert!(problem("bind = [1]").contains("found a list of something else than strings"));
        assert!(problem("data_dir = 2020-01-01").contains("expected a path, found a date or time"));
        assert!(problem("[port]\na = 1").contains("found a table"));
        assert!(problem("hello = \"no\"").contains("`waiting`, `always` or `never`, found the"));
        assert_eq!(
            problem("limits = 5"),
            "n.toml:1:10: `limits` is a section: expected `[limits]` with its options below, \
             found the number 5"
        );
    }

    #[test]
    fn out_of_range_says_the_range() {
        assert!(problem("port = 65536").contains("from 0 to 65535, found the number 65536"));
        assert!(problem("port = -1").contains("from 0 to 65535, found the number -1"));
        assert!(problem("[limits]\nconnect_timeout = \"2h\"").contains(
            "expected a duration from 10ms to 1h (such as 500ms, 5s or 2m; a bare number is \
                 seconds), found the string \"2h\""
        ));
        assert!(problem("[limits]\nunsent_bytes_max = 5").contains("a size of at least 1KiB"));
    }

    #[test]
    fn zero_is_never_without_limit() {
        assert_eq!(
            problem("[limits]\nsubscriptions_max = 0"),
            "n.toml:2:21: `limits.subscriptions_max`: expected a whole number of at least 1, or \
             `unlimited`, found the number 0; 0 does not mean without limit: write \"unlimited\" \
             for that (without this line: 10_000)"
        );
        assert!(problem("[limits]\ninflight_out_max = 0").contains("this option has to have one"));
    }

    #[test]
    fn a_listener_is_a_table_with_options_of_its_own() {
        let mut config = Config::default();
        let text = "hello = \"never\"\n[[listener]]\nport = 1\n[[listener]]\nname = \"field\"\n\
                    bind = \"::1\"\ntransport = \"tls\"\nhello = \"always\"\n\
                    protocol_versions = [\"5\"]\n[limits]\nqos2_ids_max = 7\n";
        assert_eq!(read_text(Path::new("n.toml"), text, &mut config), []);
        let listeners = config.all_listeners();
        let labels: Vec<_> = listeners.iter().filter_map(Listener::label).collect();
        assert_eq!(labels, ["listener 1 of the file", "listener \"field\""]);
        let (first, second) = (&listeners[0].config, &listeners[1].config);
        assert_eq!((first.port, second.port), (1, 8883), "a TLS listener has the usual port");
        assert_eq!((first.hello, second.hello), (Hello::Never, Hello::Always));
        assert_eq!(second.protocol_versions.list().len(), 1);
        assert_eq!((second.bind.len(), second.limits.qos2_ids_max), (1, 7));
    }

    #[test]
    fn what_is_wrong_with_a_listener_names_it() {
        assert_eq!(
            problem("[[listener]]\n[[listener]]\nname = \"field\"\nprot = 1\n"),
            "n.toml:4:1: listener \"field\": unknown key \"prot\"; the nearest one is `port`"
        );
        assert_eq!(
            problem("[[listener]]\ntransport = \"udp\"\n"),
            "n.toml:2:13: listener 1: `transport`: expected `tcp`, `tls`, `ws` or `wss`, found the string \"udp\""
        );
        assert_eq!(
            problem("[[listener]]\nverbose = true\n"),
            "n.toml:2:1: listener 1: `verbose` is for all listeners alike and belongs at the top of \
             the file"
        );
        assert!(problem("[listener]\nport = 1\n").contains("write `[[listener]]`"));
        assert!(problem("listener = [1]\n").contains("expected a table, found the number 1"));
        assert!(problem("[[listner]]\nport = 1\n").contains("the nearest one is `[[listener]]`"));
        assert!(problem(&"[[listener]]\n".repeat(201)).contains("more than 200 listeners"));
    }

    #[test]
    fn broken_toml_names_its_line_and_nothing_else_is_judged() {
        let found = problems("port = \nprot = 1\n");
        assert!(found[0].starts_with("n.toml:1:"), "{found:?}");
        assert!(!found.iter().any(|problem| problem.contains("unknown key")), "{found:?}");
        assert!(problem("port = 1\nport = 2").starts_with("n.toml:2:1: duplicate key"));
        let bare = problems("[limits]\nconnections_max = unlimited\n");
        assert!(bare[0].starts_with("n.toml:2:19: "), "{bare:?}");
        assert!(bare.iter().all(|problem| !problem.contains('\n')));
    }

    #[test]
    fn all_problems_come_at_once_in_the_order_of_lines() {
        let found = problems("tls = 1\nbogus = 2\nport = \"x\"\n[limits]\nqos2_ids_max = 0\n");
        let lines: Vec<_> = found.iter().map(|line| &line[..9]).collect();
        assert_eq!(lines, ["n.toml:1:", "n.toml:2:", "n.toml:3:", "n.toml:5:"]);
    }

    #[test]
    fn values_may_be_written_in_every_way_of_toml() {
        let mut config = Config::default();
        let text = "bind = \"::1\"\nport = 0x7_5B\nlimits.connect_timeout = 1.5\n\
                    limits.unsent_bytes_max = 100_000\nsession = { expiry_max = 60 }\n";
        assert_eq!(read_text(Path::new("n.toml"), text, &mut config), []);
        assert_eq!(config.bind, ["::1".parse::<std::net::IpAddr>().unwrap()]);
        assert_eq!(config.port, 1883);
        assert_eq!(config.limits.connect_timeout.as_millis(), 1500);
        assert_eq!(config.limits.unsent_bytes_max.get().unwrap().get(), 100_000);
        assert_eq!(config.session.expiry_max.get().unwrap().get(), 60);
    }

    #[test]
    fn a_column_counts_characters_and_a_line_may_end_in_either_way() {
        assert!(problem("# ä\r\n\"öö\" = 1").starts_with("n.toml:2:1: unknown key \"öö\""));
        assert!(problem("session = { \"ö\" = 1 }").starts_with("n.toml:1:13: "));
        assert!(problem("limits = { \"qos2_ids_max\" = 1, ä = 2 }").starts_with("n.toml:1:"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_one_problem() {
        let missing = Path::new("no-such-directory/n.toml");
        let found = read_file(missing, &mut Config::default());
        assert_eq!(found.len(), 1);
        let text = found[0].to_string();
        assert!(text.starts_with("no-such-directory/n.toml: cannot be read: "), "{text}");
    }
}
