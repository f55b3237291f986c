//! The tables of `spec/`: the statements of a specification, and the exceptions.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::citations::{identifiers, read};
use crate::shell::Failure;

/// One of the two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Server,
    Client,
}

impl End {
    pub(super) const BOTH: [End; 2] = [Self::Server, Self::Client];
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Client => "client",
        })
    }
}

/// A row of a register.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) id: String,
    /// The end that has to follow it; `None` if both have.
    end: Option<End>,
}

impl Statement {
    /// Whether this end has to follow it.
    pub(super) fn binds(&self, end: End) -> bool {
        self.end.is_none_or(|one| one == end)
    }
}

/// Why a statement for an end is not enforced and tested there, by its identifier.
pub(super) type Exceptions = BTreeMap<String, String>;

/// The kinds of reasons. Which ones there are is said in `spec/README.md`.
const KINDS: &[&str] = &["transport", "absent", "later"];

pub(super) fn statements(path: &Path) -> Result<Vec<Statement>, Failure> {
    read_statements(&read(path)?)
}

pub(super) fn exceptions(path: &Path) -> Result<Exceptions, Failure> {
    read_exceptions(&read(path)?)
}

pub(super) fn read_statements(text: &str) -> Result<Vec<Statement>, Failure> {
    let statements = rows::<4>(text)?.into_iter().map(|[id, level, end, _]| {
        let fine = matches!(level, "MUST" | "SHOULD") && identifiers(id) == [(0, id)];
        let end = match end {
            "server" => Some(Some(End::Server)),
            "client" => Some(Some(End::Client)),
            "both" => Some(None),
            _ => None,
        };
        end.filter(|_| fine)
            .map(|end| Statement { id: id.into(), end })
            .ok_or_else(|| Failure::new(format!("not a row of a register: {id} {level}")))
    });
    let statements: Vec<_> = statements.collect::<Result<_, _>>()?;
    unique(statements.iter().map(|statement| statement.id.as_str()))?;
    Ok(statements)
}

fn read_exceptions(text: &str) -> Result<Exceptions, Failure> {
    let rows = rows::<3>(text)?;
    unique(rows.iter().map(|[id, ..]| *id))?;
    let exceptions = rows.into_iter().map(|[id, kind, why]| {
        if !KINDS.contains(&kind) {
            let kinds = KINDS.join(", ");
            return Err(Failure::new(format!("{id}: the kind is one of {kinds}, not '{kind}'")));
        }
        if why.is_empty() {
            return Err(Failure::new(format!("{id} is an exception without a reason")));
        }
        Ok((id.to_owned(), format!("{why} ({kind})")))
    });
    exceptions.collect()
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

fn unique<'a>(ids: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    let mut seen = std::collections::BTreeSet::new();
    for id in ids {
        if !seen.insert(id) {
            return Err(Failure::new(format!("{id} has two rows")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::citations::tests::ONE;
    use super::*;

    fn statement(level: &str, end: &str) -> String {
        format!("id\tlevel\tend\twords\n{ONE}\t{level}\t{end}\tsilence\n")
    }

    #[test]
    fn a_row_says_whom_a_statement_binds() {
        for (end, server, client) in
            [("server", true, false), ("client", false, true), ("both", true, true)]
        {
            let read = read_statements(&statement("SHOULD", end)).expect("a register");
            assert_eq!(read.len(), 1);
            assert_eq!((read[0].binds(End::Server), read[0].binds(End::Client)), (server, client));
        }
    }

    #[test]
    fn bad_rows_are_refused() {
        assert!(read_statements(&statement("PERHAPS", "server")).is_err());
        assert!(read_statements(&statement("MUST", "nobody")).is_err());
        assert!(read_statements("heading\nMQTT5-3\tMUST\tserver\tx").is_err());
        let twice = format!("{}{ONE}\tMUST\tboth\tx\n", statement("MUST", "server"));
        assert!(read_statements(&twice).is_err());
    }

    #[test]
    fn an_exception_has_a_kind_and_a_reason() {
        let row = |kind: &str, why: &str| format!("heading\n{ONE}\t{kind}\t{why}");
        let read = read_exceptions(&row("absent", "it is not sent")).expect("a table");
        assert_eq!(read[ONE], "it is not sent (absent)");
        assert!(read_exceptions(&row("absent", "")).is_err());
        assert!(read_exceptions(&row("whatever", "it is not sent")).is_err());
        assert!(read_exceptions(&format!("heading\n{ONE}\tabsent")).is_err());
    }
}
