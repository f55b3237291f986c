//! Tidiness: what every file of the repository looks like, whoever wrote it.
//!
//! Each rule is a function from a path and its text to complaints. Words that a rule looks for are
//! put together here from two halves, so that this file obeys its own rules.

use std::path::Path;
use std::process::Command;

use crate::{output_of, root};

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "misc", "types"];

const LATER: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME")];

const IGNORED: &str = concat!("#[ig", "nore");

/// Places on somebody's machine, which no reader of the repository has.
const MACHINE_PATHS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/")];
const HOMES: &str = concat!("/ho", "me/");

/// Below this it is a placeholder and no sentence.
const OPENER_WORDS_MIN: usize = 3;

#[test]
fn every_file_is_tidy() {
    let files = files();
    assert!(files.iter().any(|(path, _)| path == "xtask/tests/house/tidy.rs"), "files were read");
    let complaints: Vec<_> = files.iter().flat_map(|(path, text)| complaints(path, text)).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn a_module_without_a_paragraph_is_found() {
    let opened = "//! What lives here and what must not live here.\n\nfn f() {}\n";
    assert_eq!(complaints("crates/net/src/tcp.rs", opened), [""; 0]);
    for unopened in ["fn f() {}\n", "", "\n// A comment.\n", "//! placeholder\n"] {
        let found = complaints("crates/net/src/tcp.rs", unopened);
        assert_eq!(found, ["crates/net/src/tcp.rs: does not open with a module paragraph (`//!`)"]);
    }
    assert_eq!(complaints("docs/example.rs", "fn f() {}\n"), [""; 0]);
}

#[test]
fn an_empty_name_is_found_in_files_and_directories() {
    let text = "//! What lives here and what must not live here.\n";
    for path in ["crates/net/src/utils.rs", "crates/mqtt/src/common/mod.rs", "xtask/src/types.rs"] {
        assert_eq!(complaints(path, text).len(), 1, "{path}");
    }
    assert_eq!(complaints("crates/mqtt/src/packet_types.rs", text), [""; 0]);
}

#[test]
fn a_note_for_later_without_issue_is_found() {
    for word in LATER {
        let found = complaints(".ci/run", &format!("one\n# {word}: more\n"));
        assert_eq!(found, [format!(".ci/run:2: {word} without an issue number (#N)")]);
        assert_eq!(complaints(".ci/run", &format!("# {word}(#12): more\n")), [""; 0]);
        assert_eq!(complaints(".ci/run", &format!("MAS{word}S\n")), [""; 0]);
    }
}

#[test]
fn an_ignored_test_is_found() {
    let text =
        format!("//! What lives here and what must not live here.\n{IGNORED}]\nfn f() {{}}\n");
    let found = complaints("crates/net/src/tcp.rs", &text);
    assert_eq!(found, ["crates/net/src/tcp.rs:2: a test that does not run"]);
}

#[test]
fn a_machine_path_is_found() {
    for path in MACHINE_PATHS {
        let found = complaints("README.md", &format!("see {path}notes\n"));
        assert_eq!(found, [format!("README.md:1: names a path of one machine ({path})")]);
        assert_eq!(complaints("README.md", &format!("net{path}notes\n")), [""; 0]);
    }
    assert_eq!(complaints("README.md", &format!("see {HOMES}bat/notes\n")).len(), 1);
    assert_eq!(complaints("README.md", &format!("see {HOMES}<name>/notes\n")), [""; 0]);
}

fn complaints(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let ours = path.starts_with("crates/") || path.starts_with("xtask/");
    if ours && path.ends_with(".rs") && !has_opener(text) {
        found.push(format!("{path}: does not open with a module paragraph (`//!`)"));
    }
    if path.ends_with(".rs") {
        found.extend(empty_name(path));
    }
    for (number, line) in (1..).zip(text.lines()) {
        found.extend(line_complaint(path, line).map(|words| format!("{path}:{number}: {words}")));
    }
    found
}

fn has_opener(text: &str) -> bool {
    let opener = text.lines().take_while(|line| line.starts_with("//!"));
    let words: usize =
        opener.map(|line| line.trim_start_matches("//!").split_whitespace().count()).sum();
    words >= OPENER_WORDS_MIN
}

fn empty_name(path: &str) -> Option<String> {
    let stem = path.trim_end_matches(".rs");
    let name = stem.split('/').find(|part| EMPTY_NAMES.contains(part))?;
    Some(format!("{path}: '{name}' does not say what is inside"))
}

fn line_complaint(path: &str, line: &str) -> Option<String> {
    // Prose may speak about these words; code leaves them behind.
    let is_prose = path.ends_with(".md");
    if let Some(word) = LATER.iter().find(|word| !is_prose && has_word(line, word))
        && !has_issue_number(line)
    {
        return Some(format!("{word} without an issue number (#N)"));
    }
    if path.ends_with(".rs") && line.contains(IGNORED) {
        return Some("a test that does not run".into());
    }
    machine_path(line).map(|found| format!("names a path of one machine ({found})"))
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_name_part) && !after.is_some_and(is_name_part)
    })
}

fn has_issue_number(line: &str) -> bool {
    line.split('#').skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn machine_path(line: &str) -> Option<&'static str> {
    let starts_here = |at: usize| !line[..at].chars().next_back().is_some_and(is_path_part);
    let machine = |path: &&&str| line.match_indices(**path).any(|(at, _)| starts_here(at));
    let somebodys = |(at, _): (usize, &str)| {
        starts_here(at) && line[at + HOMES.len()..].starts_with(is_name_part)
    };
    let home = line.match_indices(HOMES).any(somebodys);
    MACHINE_PATHS.iter().find(machine).copied().or_else(|| home.then_some(HOMES))
}

fn is_name_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_path_part(c: char) -> bool {
    is_name_part(c) || matches!(c, '.' | '-' | '}' | '+' | '#')
}

/// All text files of the repository, tracked or about to be, by path from the root.
fn files() -> Vec<(String, String)> {
    let mut git = Command::new("git");
    // A clone may belong to another user than the one who tests it.
    git.args(["-c", "safe.directory=*", "ls-files", "-z"]);
    let list = output_of(git.args(["--cached", "--others", "--exclude-standard"]));
    list.split_terminator('\0').filter_map(read_text).collect()
}

/// None for what is not text, and for a tracked file that is gone from the directory.
fn read_text(path: &str) -> Option<(String, String)> {
    let bytes = std::fs::read(root().join(Path::new(path))).ok()?;
    Some((path.into(), String::from_utf8(bytes).ok()?))
}
