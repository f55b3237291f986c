//! What is wrong with a file of rules: which line, what was found there, and what was expected.

use std::fmt;
use std::path::PathBuf;

/// Something to be said of a file of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1; none if it is about the file as a whole.
    pub line: Option<usize>,
    /// Whether the file can be used all the same.
    pub severity: Severity,
    /// One line of text.
    pub message: String,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It may be meant so.
    Warning,
    /// The file cannot be used.
    Error,
}

impl Problem {
    pub(crate) fn error(line: usize, message: impl Into<String>) -> Self {
        Self { line: Some(line), severity: Severity::Error, message: message.into() }
    }

    pub(crate) fn warning(line: usize, message: impl Into<String>) -> Self {
        Self { line: Some(line), severity: Severity::Warning, message: message.into() }
    }

    pub(crate) fn of_file(message: impl Into<String>) -> Self {
        Self { line: None, severity: Severity::Error, message: message.into() }
    }
}

/// A file of rules that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclError {
    /// The file.
    pub path: PathBuf,
    /// Why; at least one of them is an error.
    pub problems: Vec<Problem>,
}

impl AclError {
    /// What is wrong, a line of text each, with the file and its line.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let errors = self.problems.iter().filter(|one| one.severity == Severity::Error);
        errors.map(|problem| at(&self.path.display().to_string(), problem))
    }
}

/// A problem with the name of its file.
pub(crate) fn at(file: &str, problem: &Problem) -> String {
    match problem.line {
        Some(line) => format!("{file}:{line}: {}", problem.message),
        None => format!("{file}: {}", problem.message),
    }
}

impl fmt::Display for AclError {
    /// The first error, and how many more there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.lines();
        f.write_str(&lines.next().unwrap_or_default())?;
        match lines.count() {
            0 => Ok(()),
            more => write!(f, " (and {more} more; `noctule acl check` shows all)"),
        }
    }
}

impl std::error::Error for AclError {}
