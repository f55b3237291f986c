//! A file of rules, read.

use crate::problem::{AclError, Problem, Severity, at};
use crate::rules::Rules;
use crate::{mosquitto, tables};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The languages in which rules are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// That of Mosquitto's `acl_file`.
    Mosquitto,
    /// Ours: TOML with groups and rules.
    Toml,
}

impl Language {
    /// The language of a file: TOML if its name ends in `.toml`, and Mosquitto's otherwise.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let ending = path.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| ending.eq_ignore_ascii_case("toml")) {
            Self::Toml
        } else {
            Self::Mosquitto
        }
    }
}

/// More is no file of rules.
const BYTES_MAX: u64 = 64 << 20;

/// The rules of a file, and what is to be said of it.
#[derive(Debug)]
pub struct AclFile {
    /// The rules.
    pub rules: Rules,
    /// What may not be meant so, a line of text each, with the file and its line.
    pub warnings: Vec<String>,
}

impl AclFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`AclError`]: it cannot be read, something in it is wrong, or there are no rules in it.
    pub fn read(path: &Path) -> Result<Self, AclError> {
        let failed =
            |message| AclError { path: path.to_owned(), problems: vec![Problem::of_file(message)] };
        let mut text = String::new();
        let read = File::open(path)
            .and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text))
            .map_err(|error| failed(reading(&error)))?;
        if read as u64 > BYTES_MAX {
            return Err(failed(format!(
                "has more than {BYTES_MAX} bytes: name the file of rules itself"
            )));
        }
        Self::parse(path, &text)
    }

    /// Takes the text of a file.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(path: &Path, text: &str) -> Result<Self, AclError> {
        let source = path.display().to_string();
        let (rules, problems) = match Language::of(path) {
            Language::Mosquitto => mosquitto::parse(&source, text),
            Language::Toml => tables::parse(&source, text),
        };
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            return Err(AclError { path: path.to_owned(), problems });
        }
        let warnings = problems.iter().map(|problem| at(&source, problem)).collect();
        Ok(Self { rules, warnings })
    }
}

fn reading(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file: check the path".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "may not be read by this user: change its owner (chown)".to_owned()
        }
        io::ErrorKind::InvalidData => "is not text in UTF-8: name the file of rules".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}
