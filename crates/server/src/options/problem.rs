//! What is wrong with a configuration, and where.
//!
//! No text about a single option is made here. Invariant: a problem is one line, whatever the
//! file or the environment contained.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was written.
    pub place: Place,
    /// What is wrong, what was expected and what to do; one line.
    pub message: String,
}

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the configuration file; line and column count from one, the column in characters.
    Line {
        /// The file as it was named.
        file: PathBuf,
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// In a file of which a line has no columns that matter.
    Row {
        /// The file as it was named.
        file: PathBuf,
        /// Line.
        line: usize,
    },
    /// The configuration file as a whole.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line, without its dashes.
    Flag(&'static str),
    /// Settings that are each right and do not go together.
    Together,
}

/// Everything that is wrong with a configuration; at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Line { file, line, column } => {
                write!(f, "{}:{line}:{column}: ", file.display())?;
            }
            Place::Row { file, line } => write!(f, "{}:{line}: ", file.display())?,
            Place::File(file) => write!(f, "{}: ", file.display())?,
            Place::Variable(name) => write!(f, "environment variable {name}: ")?,
            Place::Flag(name) => write!(f, "--{name}: ")?,
            Place::Together => {}
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.0.iter().enumerate() {
            let line_break = if place > 0 { "\n" } else { "" };
            write!(f, "{line_break}{problem}")?;
        }
        Ok(())
    }
}

impl Error for Problem {}
impl Error for Problems {}
