//! `cargo xtask clauses`: which normative statements of MQTT the code cites where it enforces them,
//! and which its tests cite.
//!
//! The register is in `spec/`: the statements of both specifications in our own words, and the
//! exceptions of each end with their reasons. The invariant: what a server has to do is enforced and
//! tested, or is an exception of servers; and the same for clients.

mod citations;
mod register;

use std::collections::BTreeMap;
use std::process::ExitCode;

use crate::shell::Failure;
use crate::workspace;
use citations::{Citations, Cited};
use register::{End, Exceptions, Statement};

const REGISTERS: &[&str] = &["mqtt3.tsv", "mqtt5.tsv"];

/// Where the exceptions of an end are.
const fn exceptions_of(end: End) -> &'static str {
    match end {
        End::Server => "exceptions.tsv",
        End::Client => "client-exceptions.tsv",
    }
}

/// Prints how many statements are where, and what is wrong. `--list` prints each that is open.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Failure> {
    let list = match arguments {
        [] => false,
        [word] if word == "--list" => true,
        [word, ..] => return Err(Failure::new(format!("takes `--list` alone, got '{word}'"))),
    };
    let complaints = report(list)?;
    for complaint in &complaints {
        println!("{complaint}");
    }
    Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The same as a step of `cargo xtask test`.
pub(crate) fn check() -> Result<(), Failure> {
    let complaints = report(false)?;
    if complaints.is_empty() { Ok(()) } else { Err(Failure::new(complaints.join("\n"))) }
}

/// Prints the summary, with `list` also what is open, and returns what is wrong.
fn report(list: bool) -> Result<Vec<String>, Failure> {
    let spec = workspace::root().join("spec");
    let cited = citations::below(&workspace::root().join("crates"))?;
    let mut excepted = Vec::new();
    for end in End::BOTH {
        excepted.push((end, register::exceptions(&spec.join(exceptions_of(end)))?));
    }
    let mut all = Vec::new();
    for name in REGISTERS {
        let statements = register::statements(&spec.join(name))?;
        println!("{name}: {} statements", statements.len());
        for (end, exceptions) in &excepted {
            println!("  {}", summary(&statements, &cited, exceptions, *end));
            for line in open(&statements, &cited, exceptions, *end).iter().filter(|_| list) {
                println!("    {line}");
            }
        }
        all.extend(statements);
    }
    let of_ends =
        excepted.iter().flat_map(|(end, exceptions)| complaints(&all, &cited, exceptions, *end));
    let excepted_ids = excepted.iter().flat_map(|(_, exceptions)| exceptions.keys());
    Ok(of_ends.chain(unknown(&all, cited.ids().chain(excepted_ids))).collect())
}

/// How many statements for an end are enforced and tested, and how many are not.
fn summary(
    statements: &[Statement],
    cited: &Citations,
    exceptions: &Exceptions,
    end: End,
) -> String {
    let mut counts: BTreeMap<Cited, usize> = BTreeMap::new();
    let (mut all, mut excepted) = (0, 0);
    for statement in statements.iter().filter(|one| one.binds(end)) {
        all += 1;
        if exceptions.contains_key(&statement.id) {
            excepted += 1;
        } else {
            *counts.entry(cited.at(&statement.id, end)).or_default() += 1;
        }
    }
    let count =
        |enforced, tested| counts.get(&Cited { enforced, tested }).copied().unwrap_or_default();
    format!(
        "for {end}s {all}: {} enforced and tested, {} enforced alone, {} tested alone, \
         {} neither, {excepted} exceptions",
        count(true, true),
        count(true, false),
        count(false, true),
        count(false, false),
    )
}

/// The statements for an end that lack something, with what.
fn open(
    statements: &[Statement],
    cited: &Citations,
    exceptions: &Exceptions,
    end: End,
) -> Vec<String> {
    let lines = statements.iter().filter(|one| one.binds(end)).filter_map(|statement| {
        let id = &statement.id;
        match exceptions.get(id) {
            Some(why) => Some(format!("{id} is an exception: {why}")),
            None => cited.at(id, end).lacks().map(|lacks| format!("{id} lacks {lacks}")),
        }
    });
    lines.collect()
}

/// What is wrong with the statements for an end, and with its exceptions.
fn complaints(
    statements: &[Statement],
    cited: &Citations,
    exceptions: &Exceptions,
    end: End,
) -> Vec<String> {
    let of_each = statements.iter().filter_map(|statement| {
        let id = &statement.id;
        complaint(statement, cited.at(id, end), exceptions.get(id), end)
    });
    of_each.collect()
}

fn complaint(
    statement: &Statement,
    found: Cited,
    exception: Option<&String>,
    end: End,
) -> Option<String> {
    let (id, file) = (&statement.id, exceptions_of(end));
    match (statement.binds(end), found.lacks(), exception) {
        (false, _, Some(_)) => Some(format!("{id} is not for {end}s: take it off {file}")),
        (true, None, Some(_)) => Some(format!("{id} is enforced and tested: take it off {file}")),
        (true, Some(lacks), None) => {
            Some(format!("{id} lacks {lacks} for {end}s, and {file} does not say why"))
        }
        (false, _, None) | (true, None, None) | (true, Some(_), Some(_)) => None,
    }
}

/// Identifiers that are in no register.
fn unknown<'a>(
    statements: &[Statement],
    ids: impl Iterator<Item = &'a String>,
) -> impl Iterator<Item = String> {
    ids.filter(|id| !statements.iter().any(|statement| statement.id == **id))
        .map(|id| format!("{id} is in no register"))
}

#[cfg(test)]
mod tests {
    use super::citations::tests::{ONE, OTHER, THIRD};
    use super::*;

    const BOTH: Cited = Cited { enforced: true, tested: true };
    const PLACE: Cited = Cited { enforced: true, tested: false };

    fn table(rows: &[[&str; 4]]) -> Vec<Statement> {
        let rows: Vec<_> = rows.iter().map(|row| row.join("\t")).collect();
        register::read_statements(&format!("heading\n{}", rows.join("\n"))).expect("a register")
    }

    fn excepted(ids: &[&str]) -> Exceptions {
        ids.iter().map(|id| ((*id).to_owned(), "there is a reason".to_owned())).collect()
    }

    #[test]
    fn a_statement_that_loses_its_test_is_found() {
        let [server, client] =
            ["server", "client"].map(|end| table(&[[ONE, "MUST", end, "words"]]).remove(0));
        let why = String::from("there is a reason");
        for (end, own, other) in [(End::Server, &server, &client), (End::Client, &client, &server)]
        {
            let complaint = |one, found, exception| complaint(one, found, exception, end);
            assert_eq!(complaint(own, BOTH, None), None);
            assert_eq!(complaint(other, PLACE, None), None);
            assert_eq!(complaint(own, PLACE, Some(&why)), None);
            assert!(complaint(own, PLACE, None).is_some_and(|said| said.contains("lacks test")));
            assert!(complaint(own, Cited::default(), None).is_some());
            assert!(complaint(own, BOTH, Some(&why)).is_some());
            assert!(complaint(other, BOTH, Some(&why)).is_some());
        }
    }

    #[test]
    fn an_identifier_of_no_register_is_found_wherever_it_is_cited() {
        let statements = table(&[[ONE, "MUST", "server", "words"]]);
        let mut cited = Citations::default();
        cited.note("crates/broker/src/queue.rs", &format!("// [{ONE}] [{OTHER}]"), &[]);
        cited.note("crates/broker/tests/queue.rs", &format!("// [{ONE}]"), &[]);
        assert_eq!(complaints(&statements, &cited, &Exceptions::new(), End::Server), [""; 0]);
        let exceptions = excepted(&[THIRD]);
        let found: Vec<_> = unknown(&statements, cited.ids().chain(exceptions.keys())).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(|said| said.ends_with("is in no register")));
        assert!(found[0].starts_with(OTHER) && found[1].starts_with(THIRD));
    }

    #[test]
    fn what_a_client_enforces_is_nothing_that_a_server_has_done() {
        let statements = table(&[[ONE, "MUST", "both", "words"]]);
        let mut cited = Citations::default();
        cited.note("crates/client/src/machine.rs", &format!("// [{ONE}]"), &[]);
        cited.note("crates/client/tests/machine.rs", &format!("// [{ONE}]"), &[]);
        let none = Exceptions::new();
        assert_eq!(complaints(&statements, &cited, &none, End::Server).len(), 1);
        assert_eq!(complaints(&statements, &cited, &none, End::Client), [""; 0]);
        assert_eq!(open(&statements, &cited, &none, End::Client), [""; 0]);
        cited.note("crates/session/src/outbound.rs", &format!("// [{ONE}]"), &[]);
        cited.note("crates/testkit/src/manners.rs", &format!("// [{ONE}]"), &[]);
        assert_eq!(complaints(&statements, &cited, &none, End::Server), [""; 0]);
    }

    #[test]
    fn the_summary_counts_each_statement_once_at_each_end() {
        let statements = table(&[
            [ONE, "MUST", "both", "words"],
            [OTHER, "MUST", "server", "words"],
            [THIRD, "SHOULD", "client", "words"],
        ]);
        let mut cited = Citations::default();
        cited.note("crates/mqtt/src/topic.rs", &format!("// [{ONE}] [{OTHER}]"), &[]);
        let said = |excepted_id, end| summary(&statements, &cited, &excepted(&[excepted_id]), end);
        let expected = "0 enforced and tested, 1 enforced alone, 0 tested alone, 0 neither, ";
        assert_eq!(said(OTHER, End::Server), format!("for servers 2: {expected}1 exceptions"));
        assert_eq!(said(THIRD, End::Client), format!("for clients 2: {expected}1 exceptions"));
    }
}
