//! The tables in `docs/specification.md`, from the specification's command lines to ours: every line
//! is run, and says what the table says.

use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::stage::Stage;

const PAGE: &str = include_str!("../../../../docs/specification.md");

/// What goes on until it is interrupted.
const ENDLESS: &[&str] = &["noctule broker", "noctule sub", "noctule sensor", "noctule dashboard"];

struct Row {
    line: &'static str,
    says: &'static str,
}

#[test]
fn every_line_of_the_tables_works_and_says_what_is_promised() {
    let stage = Stage::new();
    let alone = stage.alone();
    well(&stage, "noctule cert --out mine", &alone);
    well(&stage, "noctule passwd create mine/users", &alone);
    well(&stage, "printf secret | noctule passwd add mine/users anna --password-stdin", &alone);
    let rows = rows();
    assert!(rows.len() >= 35, "the tables were read: {} rows", rows.len());
    for row in &rows {
        if ENDLESS.iter().any(|endless| row.line.starts_with(endless)) {
            interrupted(&stage, row);
        } else {
            let said = well(&stage, row.line, &directory(&stage, row.line));
            assert!(said.contains(row.says), "{} does not say {}:\n{said}", row.line, row.says);
        }
    }
}

/// Rows with a command line of ours in their second column.
fn rows() -> Vec<Row> {
    let code = |cell: &'static str| cell.trim().trim_matches('`');
    let row = |line: &'static str| {
        let cells: Vec<_> = line.strip_prefix("| ")?.strip_suffix('|')?.split(" | ").collect();
        let [_, line, says] = cells[..] else { return None };
        code(line).starts_with("noctule ").then(|| Row { line: code(line), says: code(says) })
    };
    PAGE.lines().filter_map(row).collect()
}

/// Where a line is typed: certificates and brokers have a directory without a broker.
fn directory(stage: &Stage, line: &str) -> PathBuf {
    let apart = line.starts_with("noctule broker") || line.starts_with("noctule cert");
    if apart { stage.alone() } else { stage.directory() }
}

/// Runs a line to its good end; what it said.
fn well(stage: &Stage, line: &str, directory: &Path) -> String {
    let typed = stage.type_line(line, directory, 0);
    let said = typed.lines.join("\n");
    assert_eq!(typed.code, 0, "{line}:\n{said}");
    said
}

/// Runs a line until it has said what it should, and interrupts it.
fn interrupted(stage: &Stage, row: &Row) {
    let directory = directory(stage, row.line);
    let mut line = row.line.to_owned();
    if line.starts_with("noctule broker") {
        // Each is a first run, on a port that is free.
        let _ = std::fs::remove_dir_all(directory.join("noctule-data"));
        line = line.replace("8883", "0");
    }
    let program = stage.start_line(&line, &directory);
    program.expect(row.line, |line| line.contains(row.says).then_some(()));
    program.signal(Signal::INT);
    program.finish().well();
}
