//! The checks and the register of clauses: what is cited is there, and much of what is there for
//! servers is checked.

use std::collections::BTreeSet;
use std::path::Path;

use noctule_conformance::{VERSIONS, cases};

/// The numbered statements of both registers, and those of them that bind servers.
fn register() -> (BTreeSet<String>, BTreeSet<String>) {
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec");
    let (mut all, mut of_servers) = (BTreeSet::new(), BTreeSet::new());
    for name in ["mqtt3.tsv", "mqtt5.tsv"] {
        let text = std::fs::read_to_string(spec.join(name)).expect("a register");
        for row in text.lines().skip(1) {
            let columns: Vec<_> = row.split('\t').collect();
            all.insert(columns[0].to_owned());
            if columns[2] != "client" {
                of_servers.insert(columns[0].to_owned());
            }
        }
    }
    assert!(all.len() > 300, "the registers are read");
    (all, of_servers)
}

/// Clauses with a number; the others are sections.
fn cited() -> BTreeSet<String> {
    let all = cases(&VERSIONS);
    let clauses = all.iter().flat_map(noctule_conformance::Case::clauses);
    clauses.filter(|clause| is_numbered(clause)).map(str::to_owned).collect()
}

fn is_numbered(clause: &str) -> bool {
    clause.matches('-').count() == 2
}

#[test]
fn every_clause_that_is_cited_is_in_the_register() {
    let (all, _) = register();
    let unknown: Vec<_> = cited().difference(&all).cloned().collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn sections_are_sections() {
    for case in cases(&VERSIONS) {
        for clause in case.clauses().filter(|clause| !is_numbered(clause)) {
            let number = clause.split_once('-').map_or("", |(_, number)| number);
            let parts = number.split('.').all(|part| part.parse::<u8>().is_ok());
            assert!(parts, "{}: {clause}", case.name());
        }
    }
}

#[test]
fn most_clauses_for_servers_are_checked() {
    let (_, of_servers) = register();
    let checked = cited().intersection(&of_servers).count();
    assert!(checked * 10 >= of_servers.len() * 7, "{checked} of {}", of_servers.len());
}
