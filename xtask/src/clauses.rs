//! `cargo xtask clauses`: which normative statements of MQTT the code cites where it enforces them,
//! and which its tests cite.
//!
//! The register is in `spec/`: the statements of both specifications in our own words, and those
//! that are open, with what they lack and why. A citation is an identifier such as `MQTT5-3.1.2-22`
//! anywhere in a Rust file; in tests it counts as tested, elsewhere as enforced. The invariant: what
//! a server has to do is enforced and tested, or is in the list of those that are open.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::shell::Failure;
use crate::workspace;

const REGISTERS: &[&str] = &["mqtt3.tsv", "mqtt5.tsv"];
const OPEN: &str = "open.tsv";

/// A row of a register.
struct Statement {
    id: String,
    /// `server`, `client` or `both`.
    end: String,
}

/// Where a statement is cited.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Cited {
    enforced: bool,
    tested: bool,
}

impl Cited {
    /// What it lacks, in the words of the list; `None` if nothing.
    fn lacks(self) -> Option<&'static str> {
        match (self.enforced, self.tested) {
            (true, true) => None,
            (true, false) => Some("test"),
            (false, true) => Some("place"),
            (false, false) => Some("both"),
        }
    }
}

/// Prints how many statements are where, and what is wrong. `--list` prints each that is open.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Failure> {
    let list = match arguments {
        [] => false,
        [word] if word == "--list" => true,
        [word, ..] => return Err(Failure::new(format!("takes `--list` alone, got '{word}'"))),
    };
    let spec = workspace::root().join("spec");
    let cited = citations(&workspace::root().join("crates"))?;
    let mut known = BTreeSet::new();
    let mut complaints = Vec::new();
    let open = read_open(&read(&spec.join(OPEN))?)?;
    for register in REGISTERS {
        let statements = read_register(&read(&spec.join(register))?)?;
        println!("{register}: {}", summary(&statements, &cited));
        for statement in &statements {
            let found = cited.get(&statement.id).copied().unwrap_or_default();
            if list
                && statement.end != "client"
                && let Some(lacks) = found.lacks()
            {
                println!("  {} ({}) lacks {lacks}", statement.id, statement.end);
            }
            complaints.extend(complaint(statement, found, open.get(&statement.id)));
        }
        known.extend(statements.into_iter().map(|statement| statement.id));
    }
    let unknown = cited.keys().chain(open.keys()).filter(|id| !known.contains(*id));
    complaints.extend(unknown.map(|id| format!("{id} is in no register")));
    for complaint in &complaints {
        println!("{complaint}");
    }
    Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(statements: &[Statement], cited: &BTreeMap<String, Cited>) -> String {
    let count = |wanted: fn(Cited) -> bool, servers: bool| {
        let ours = statements.iter().filter(|one| !servers || one.end != "client");
        ours.filter(|one| wanted(cited.get(&one.id).copied().unwrap_or_default())).count()
    };
    let line = |servers| {
        format!(
            "{} statements, {} enforced and tested, {} enforced alone, {} tested alone, {} neither",
            count(|_| true, servers),
            count(|one| one.enforced && one.tested, servers),
            count(|one| one.enforced && !one.tested, servers),
            count(|one| !one.enforced && one.tested, servers),
            count(|one| !one.enforced && !one.tested, servers),
        )
    };
    format!("{}\n  of them for servers: {}", line(false), line(true))
}

/// What is wrong with a statement's place, if it is one that servers have to follow.
fn complaint(statement: &Statement, found: Cited, open: Option<&String>) -> Option<String> {
    let id = &statement.id;
    match (statement.end.as_str(), found.lacks(), open) {
        ("client", _, None) | (_, None, None) => None,
        ("client", _, Some(_)) => Some(format!("{id} is for clients: take it off {OPEN}")),
        (_, None, Some(_)) => Some(format!("{id} lacks nothing any more: take it off {OPEN}")),
        (_, Some(lacks), None) => Some(format!("{id} lacks {lacks}, and {OPEN} does not say why")),
        (_, Some(lacks), Some(said)) => {
            (lacks != said).then(|| format!("{id} lacks {lacks}; {OPEN} says {said}"))
        }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))
}

/// The rows of a table without its heading, each with so many columns.
fn rows<const COLUMNS: usize>(text: &str) -> Result<Vec<[&str; COLUMNS]>, Failure> {
    let rows = text.lines().skip(1).filter(|line| !line.is_empty()).map(|line| {
        let columns: Vec<_> = line.split('\t').collect();
        columns.try_into().map_err(|_| {
            Failure::new(format!("a row needs {COLUMNS} columns with tabs between: {line}"))
        })
    });
    rows.collect()
}

fn read_register(text: &str) -> Result<Vec<Statement>, Failure> {
    let statements = rows::<4>(text)?.into_iter().map(|[id, level, end, _]| {
        let fine =
            matches!(level, "MUST" | "SHOULD") && matches!(end, "server" | "client" | "both");
        if !fine || identifiers(id) != [id] {
            return Err(Failure::new(format!("not a row of a register: {id} {level} {end}")));
        }
        Ok(Statement { id: id.into(), end: end.into() })
    });
    statements.collect()
}

/// What the statements that are open lack.
fn read_open(text: &str) -> Result<BTreeMap<String, String>, Failure> {
    let open = rows::<3>(text)?.into_iter().map(|[id, lacks, why]| {
        if why.is_empty() {
            return Err(Failure::new(format!("{OPEN} does not say why {id} is open")));
        }
        Ok((id.to_owned(), lacks.to_owned()))
    });
    open.collect()
}

/// Every statement that a Rust file below a directory cites.
fn citations(directory: &Path) -> Result<BTreeMap<String, Cited>, Failure> {
    let mut found: BTreeMap<String, Cited> = BTreeMap::new();
    for file in rust_files(directory)? {
        let name = file.to_string_lossy().replace('\\', "/");
        cite(&name, &read(&file)?, &mut found);
    }
    Ok(found)
}

/// Adds what a file cites.
fn cite(name: &str, text: &str, found: &mut BTreeMap<String, Cited>) {
    let all_tests = name.contains("/tests/") || name.contains("/testkit/");
    let tests_at = text.find("#[cfg(test)]").unwrap_or(text.len());
    for (part, tests) in [(&text[..tests_at], all_tests), (&text[tests_at..], true)] {
        for id in identifiers(part) {
            let cited = found.entry(id.to_owned()).or_default();
            if tests { cited.tested = true } else { cited.enforced = true }
        }
    }
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

/// The identifiers of statements in a text: `MQTT3-` or `MQTT5-`, three numbers with dots, a hyphen
/// and a number. A section alone is none.
fn identifiers(text: &str) -> Vec<&str> {
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
            found.push(&rest[.."MQTT5-".len() + number.len()]);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    // Written in halves, so that this file cites nothing.
    const ONE: &str = concat!("MQ", "TT5-3.1.2-22");
    const OTHER: &str = concat!("MQ", "TT3-4.6.0-1");

    #[test]
    fn identifiers_are_found_and_sections_are_not() {
        let text =
            format!("a [{ONE}]: b `{OTHER}`. [MQTT5-3.1.2] [MQTT5-3.1.2.11.2] MQTT4-1.1.1-1");
        assert_eq!(identifiers(&text), [ONE, OTHER]);
    }

    #[test]
    fn tests_are_told_from_code() {
        let mut found = BTreeMap::new();
        let text = format!("// [{ONE}]\n#[cfg(test)]\n// [{OTHER}]\n");
        cite("crates/broker/src/queue.rs", &text, &mut found);
        assert!(found[ONE] == Cited { enforced: true, tested: false });
        assert!(found[OTHER] == Cited { enforced: false, tested: true });
        cite("crates/broker/tests/queue.rs", &text, &mut found);
        assert!(found[ONE] == Cited { enforced: true, tested: true });
    }

    #[test]
    fn a_statement_that_loses_its_test_is_found() {
        let statement = |end: &str| Statement { id: ONE.into(), end: end.into() };
        let (both, place) =
            (Cited { enforced: true, tested: true }, Cited { enforced: true, tested: false });
        assert_eq!(complaint(&statement("server"), both, None), None);
        assert_eq!(complaint(&statement("client"), place, None), None);
        assert_eq!(complaint(&statement("server"), place, Some(&"test".into())), None);
        assert!(complaint(&statement("server"), place, None).is_some());
        assert!(complaint(&statement("both"), both, Some(&"test".into())).is_some());
        assert!(complaint(&statement("both"), place, Some(&"both".into())).is_some());
    }

    #[test]
    fn tables_are_read_and_bad_rows_are_refused() {
        let row = |level: &str| format!("id\tlevel\tend\twords\n{ONE}\t{level}\tserver\tsilence\n");
        assert_eq!(read_register(&row("MUST")).map(|all| all.len()).ok(), Some(1));
        assert!(read_register(&row("PERHAPS")).is_err());
        assert!(read_register("heading\nMQTT5-3\tMUST\tserver\tx").is_err());
        assert!(read_open(&format!("heading\n{ONE}\ttest\t")).is_err());
        assert!(read_open(&format!("heading\n{ONE}\ttest")).is_err());
    }
}
