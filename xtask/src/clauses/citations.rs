//! Where the code cites statements.
//!
//! A citation is an identifier such as `MQTT5-3.1.2-22` in a Rust file. In tests, and in crates that
//! look at a broker from outside, it says that the statement is tested. Elsewhere it says that it is
//! enforced there if it stands in brackets; without them it is only named, as in the words that
//! explain a violation. A test counts if the place lies in its own crate or in one below it: the codec
//! reading a SUBACK says nothing about the broker that has to send one. What the client does counts for clients alone, what the broker and its
//! building do for servers alone, and the words and the conversation are common to both.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::register::End;
use crate::shell::Failure;

/// Crates whose code as a whole tests a broker.
const TESTERS: &[&str] = &["testkit", "conformance", "load"];
/// Crates that do what one end does; all others count for both.
const OF_SERVERS: &[&str] = &["broker", "server", "store", "net", "auth", "testkit", "conformance"];
const OF_CLIENTS: &[&str] = &["client"];

/// Crates from the lowest up; all others are above them.
const LAYERS: &[&str] = &["mqtt", "session"];

/// Where a statement is cited, seen from one end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cited {
    pub(super) enforced: bool,
    pub(super) tested: bool,
}

impl Cited {
    /// What it lacks, in words; `None` if nothing.
    pub(super) fn lacks(self) -> Option<&'static str> {
        match (self.enforced, self.tested) {
            (true, true) => None,
            (true, false) => Some("test"),
            (false, true) => Some("place"),
            (false, false) => Some("place and test"),
        }
    }
}

/// All citations.
#[derive(Debug, Default)]
pub(super) struct Citations {
    /// By identifier, for servers and for clients.
    found: BTreeMap<String, [Found; 2]>,
}

/// How high the layers are that cite a statement.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    lowest_place: Option<usize>,
    highest_test: Option<usize>,
}

impl Found {
    /// A test cannot fail for what is done in a layer that it does not know.
    fn cited(self) -> Cited {
        let Self { lowest_place, highest_test } = self;
        let reaches = |test| lowest_place.is_none_or(|place| place <= test);
        Cited { enforced: lowest_place.is_some(), tested: highest_test.is_some_and(reaches) }
    }
}

impl Citations {
    /// How a statement is cited by the code of one end.
    pub(super) fn at(&self, id: &str, end: End) -> Cited {
        self.found.get(id).map_or(Cited::default(), |ends| ends[end as usize].cited())
    }

    /// The identifiers that are cited anywhere.
    pub(super) fn ids(&self) -> impl Iterator<Item = &String> {
        self.found.keys()
    }

    /// Adds what a file cites, given the files that are modules for tests.
    pub(super) fn note(&mut self, name: &str, text: &str, test_modules: &[String]) {
        let crate_name = name.split_once("crates/").and_then(|(_, rest)| rest.split('/').next());
        let crate_name = crate_name.unwrap_or_default();
        let layer = LAYERS.iter().position(|one| *one == crate_name).unwrap_or(LAYERS.len());
        let all_tests = name.contains("/tests/")
            || TESTERS.contains(&crate_name)
            || test_modules.iter().any(|module| name.ends_with(module));
        let tests_at = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
        for (at, id) in identifiers(text) {
            let ends = self.found.entry(id.to_owned()).or_default();
            let is_test = all_tests || at >= tests_at;
            let is_place = !is_test && text[..at].ends_with('[');
            for end in End::BOTH.into_iter().filter(|end| counts_for(crate_name, *end)) {
                let Found { lowest_place, highest_test } = &mut ends[end as usize];
                if is_test {
                    *highest_test = (*highest_test).max(Some(layer));
                } else if is_place {
                    *lowest_place = Some(lowest_place.map_or(layer, |lowest| lowest.min(layer)));
                }
            }
        }
    }
}

fn counts_for(crate_name: &str, end: End) -> bool {
    let of_the_other = match end {
        End::Server => OF_CLIENTS,
        End::Client => OF_SERVERS,
    };
    !of_the_other.contains(&crate_name)
}

/// Every citation in a Rust file below a directory.
pub(super) fn below(directory: &Path) -> Result<Citations, Failure> {
    let mut files = Vec::new();
    for path in rust_files(directory)? {
        let text = read(&path)?;
        files.push((path.to_string_lossy().replace('\\', "/"), text));
    }
    let test_modules: Vec<_> =
        files.iter().flat_map(|(name, text)| test_modules(name, text)).collect();
    let mut citations = Citations::default();
    for (name, text) in &files {
        citations.note(name, text, &test_modules);
    }
    Ok(citations)
}

/// The files of the modules that a file declares for tests.
fn test_modules(name: &str, text: &str) -> Vec<String> {
    let directory = name.strip_suffix("/mod.rs").or_else(|| name.strip_suffix("/lib.rs"));
    let directory = directory.or_else(|| name.strip_suffix(".rs")).unwrap_or(name);
    let declared = text.match_indices("#[cfg(test)]\nmod ").filter_map(|(at, found)| {
        let rest = &text[at + found.len()..];
        let module = &rest[..rest.find(|c: char| !(c.is_alphanumeric() || c == '_'))?];
        rest[module.len()..].starts_with(';').then_some(module)
    });
    declared.map(|module| format!("{directory}/{module}.rs")).collect()
}

pub(super) fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))
}

fn rust_files(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_path_buf()];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory).map_err(|error| {
            Failure::new(format!("cannot read {}: {error}", directory.display()))
        })?;
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// The identifiers of statements in a text, and where they are: `MQTT3-` or `MQTT5-`, three numbers
/// with dots, a hyphen and a number. A section alone is none.
pub(super) fn identifiers(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("MQTT") {
        let rest = &text[at..];
        let long = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-');
        let Some(behind) = rest.strip_prefix("MQTT3-").or_else(|| rest.strip_prefix("MQTT5-"))
        else {
            continue;
        };
        let end = behind.find(|c| !long(c)).unwrap_or(behind.len());
        let number = behind[..end].trim_end_matches(['.', '-']);
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let is_statement = number.split_once('-').is_some_and(|(section, last)| {
            section.split('.').count() == 3 && section.split('.').all(is_number) && is_number(last)
        });
        if is_statement {
            found.push((at, &rest[.."MQTT5-".len() + number.len()]));
        }
    }
    found
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    // Written in halves, so that this file cites nothing.
    pub(in super::super) const ONE: &str = concat!("MQ", "TT5-3.1.2-22");
    pub(in super::super) const OTHER: &str = concat!("MQ", "TT3-4.6.0-1");
    pub(in super::super) const THIRD: &str = concat!("MQ", "TT5-9.9.9-9");

    #[test]
    fn identifiers_are_found_and_sections_are_not() {
        let text =
            format!("a [{ONE}]: b `{OTHER}`. [MQTT5-3.1.2] [MQTT5-3.1.2.11.2] MQTT4-1.1.1-1");
        assert_eq!(identifiers(&text), [(3, ONE), (23, OTHER)]);
    }

    #[test]
    fn a_test_counts_for_what_lies_at_its_height_or_below() {
        let cited = |place: &str, test: &str| {
            let mut citations = Citations::default();
            citations.note(&format!("crates/{place}/src/a.rs"), &format!("[{ONE}]"), &[]);
            citations.note(&format!("crates/{test}/tests/a.rs"), ONE, &[]);
            citations.at(ONE, End::Server).tested
        };
        assert!(cited("mqtt", "mqtt") && cited("mqtt", "session") && cited("session", "broker"));
        assert!(cited("broker", "broker") && cited("broker", "cli") && cited("net", "broker"));
        assert!(!cited("session", "mqtt") && !cited("broker", "mqtt"));
        assert!(!cited("broker", "session"));
    }

    #[test]
    fn naming_a_statement_is_not_enforcing_it() {
        let mut citations = Citations::default();
        citations.note("crates/mqtt/src/violation.rs", &format!("(\"{ONE}\", \"\")"), &[]);
        assert_eq!(both_ends(&citations, ONE), [(false, false); 2]);
        assert_eq!(citations.ids().count(), 1, "it has to be one of a register all the same");
    }

    fn both_ends(citations: &Citations, id: &str) -> [(bool, bool); 2] {
        End::BOTH.map(|end| citations.at(id, end)).map(|cited| (cited.enforced, cited.tested))
    }

    #[test]
    fn tests_are_told_from_code() {
        let mut citations = Citations::default();
        let text = format!("// [{ONE}]\n#[cfg(test)]\nmod tests {{\n// [{OTHER}]\n}}");
        citations.note("crates/mqtt/src/topic.rs", &text, &[]);
        assert_eq!(both_ends(&citations, ONE), [(true, false); 2]);
        assert_eq!(both_ends(&citations, OTHER), [(false, true); 2]);
        citations.note("crates/mqtt/tests/topic.rs", &text, &[]);
        assert_eq!(both_ends(&citations, ONE), [(true, true); 2]);
    }

    #[test]
    fn a_function_for_tests_ends_no_code_and_a_module_for_tests_is_all_test() {
        let mut citations = Citations::default();
        let text = format!("#[cfg(test)]\nmod bench;\n// [{ONE}]\n#[cfg(test)]\nfn f() {{}}");
        let modules = test_modules("crates/mqtt/src/machine/mod.rs", &text);
        assert_eq!(modules, ["crates/mqtt/src/machine/bench.rs"]);
        citations.note("crates/mqtt/src/machine/mod.rs", &text, &modules);
        citations.note("crates/mqtt/src/machine/bench.rs", &format!("// [{OTHER}]"), &modules);
        assert_eq!(both_ends(&citations, ONE), [(true, false); 2]);
        assert_eq!(both_ends(&citations, OTHER), [(false, true); 2]);
    }

    #[test]
    fn each_crate_counts_for_the_ends_that_it_is_of() {
        for (name, expected) in [
            ("crates/broker/src/a.rs", [(true, false), (false, false)]),
            ("crates/client/src/a.rs", [(false, false), (true, false)]),
            ("crates/session/src/a.rs", [(true, false), (true, false)]),
            ("crates/testkit/src/a.rs", [(false, true), (false, false)]),
            ("crates/conformance/src/a.rs", [(false, true), (false, false)]),
            ("crates/cli/tests/e2e/a.rs", [(false, true), (false, true)]),
        ] {
            let mut citations = Citations::default();
            citations.note(name, &format!("[{ONE}]"), &[]);
            assert_eq!(both_ends(&citations, ONE), expected, "{name}");
        }
    }
}
