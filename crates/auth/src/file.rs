//! The password file: one `user:hash` per line; empty lines and those that begin with `#` are left
//! as they are.
//!
//! Whoever cannot be found costs the time of one who can, so that names cannot be told by the clock.
//! Files in which all hashes have the same cost, as those made here, keep that promise to the letter;
//! otherwise an unknown user costs what the first one does.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::hash::{Hash, PASSWORD_BYTES_MAX};
use crate::problem::{Fault, PasswordFileError};
use crate::replace;

/// Enough for 500,000 users.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What MQTT can carry in a user name.
const NAME_BYTES_MAX: usize = 65_535;

/// A password file, read.
#[derive(Debug)]
pub struct PasswordFile {
    lines: Vec<Line>,
    /// Where each user's line is.
    users: HashMap<String, usize>,
    decoy: Option<Hash>,
}

/// What a change of a password file did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The user is new.
    Added,
    /// The user was there, and has another password now.
    Changed,
    /// The user is gone.
    Deleted,
}

#[derive(Debug)]
enum Line {
    /// Left as it is.
    Other(String),
    User(String, Hash),
}

impl PasswordFile {
    /// Makes an empty password file that only its owner may read. With `force` one that is there is
    /// emptied.
    ///
    /// # Errors
    /// [`PasswordFileError`]: it exists, or cannot be written.
    pub fn create(path: &Path, force: bool) -> Result<(), PasswordFileError> {
        let made = if force { replace::replace(path, "") } else { replace::create(path, "") };
        made.map_err(|error| {
            let exists = error.kind() == io::ErrorKind::AlreadyExists;
            let fault = if exists { Fault::Exists } else { Fault::Unwritable(error) };
            PasswordFileError::new(path, fault)
        })
    }

    /// Reads a password file.
    ///
    /// # Errors
    /// [`PasswordFileError`]: unreadable, or a line that is wrong.
    pub fn read(path: &Path) -> Result<Self, PasswordFileError> {
        let error = |fault| PasswordFileError::new(path, fault);
        let text = read_text(path).map_err(error)?;
        let mut file = Self { lines: Vec::new(), users: HashMap::new(), decoy: None };
        for (number, line) in (1..).zip(text.lines()) {
            let line = read_line(line, number).map_err(error)?;
            if let Line::User(name, _) = &line
                && file.users.insert(name.clone(), file.lines.len()).is_some()
            {
                return Err(error(Fault::Twice(number)));
            }
            file.lines.push(line);
        }
        let first = file.lines.iter().find_map(Line::hash).map(Hash::decoy);
        file.decoy = first.or_else(Hash::nobodys);
        Ok(file)
    }

    /// How many users there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is no user.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether this is the password of this user. Takes some 20 ms and 20 MiB, also for a user that
    /// does not exist.
    #[must_use]
    pub fn verify(&self, user: &str, password: &[u8]) -> bool {
        let known = self.users.get(user).and_then(|index| self.hash_at(*index));
        let Some(hash) = known.or(self.decoy.as_ref()) else {
            return false;
        };
        // In this order: the time is spent in any case.
        hash.is_of(password) && known.is_some()
    }

    /// Gives a user this password, in the file at `path`, which is read, changed and replaced while
    /// others who do so wait.
    ///
    /// # Errors
    /// [`PasswordFileError`]: the file, the name or the password cannot be used.
    pub fn set(path: &Path, user: &str, password: &[u8]) -> Result<Change, PasswordFileError> {
        let error = |fault| PasswordFileError::new(path, fault);
        if !is_name(user) {
            return Err(error(Fault::BadName(user.to_owned())));
        }
        if !(1..=PASSWORD_BYTES_MAX).contains(&password.len()) {
            return Err(error(Fault::BadPassword(password.len())));
        }
        Self::change(path, |file| {
            let hash = Hash::of(password).map_err(Fault::Hashing)?;
            let line = Line::User(user.to_owned(), hash);
            Ok(match file.users.get(user) {
                Some(index) => {
                    file.lines[*index] = line;
                    Change::Changed
                }
                None => {
                    file.lines.push(line);
                    Change::Added
                }
            })
        })
    }

    /// Takes a user out of the file at `path`, as [`set`](Self::set) does.
    ///
    /// # Errors
    /// [`PasswordFileError`]: the file cannot be used, or has no such user.
    pub fn delete(path: &Path, user: &str) -> Result<Change, PasswordFileError> {
        Self::change(path, |file| {
            let index = file.users.get(user).ok_or_else(|| Fault::Unknown(user.to_owned()))?;
            file.lines.remove(*index);
            Ok(Change::Deleted)
        })
    }

    fn change(
        path: &Path,
        edit: impl FnOnce(&mut Self) -> Result<Change, Fault>,
    ) -> Result<Change, PasswordFileError> {
        let error = |fault| PasswordFileError::new(path, fault);
        let _lock = replace::lock(path).map_err(|cause| error(Fault::Unreadable(cause)))?;
        let mut file = Self::read(path)?;
        let change = edit(&mut file).map_err(error)?;
        replace::replace(path, &file.text()).map_err(|cause| error(Fault::Unwritable(cause)))?;
        Ok(change)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            // Writing to a string cannot fail.
            let _ = match line {
                Line::Other(line) => writeln!(text, "{line}"),
                Line::User(name, hash) => writeln!(text, "{name}:{hash}"),
            };
        }
        text
    }

    fn hash_at(&self, index: usize) -> Option<&Hash> {
        self.lines.get(index).and_then(Line::hash)
    }
}

impl Line {
    fn hash(&self) -> Option<&Hash> {
        match self {
            Self::User(_, hash) => Some(hash),
            Self::Other(_) => None,
        }
    }
}

fn read_text(path: &Path) -> Result<String, Fault> {
    let file = File::open(path).map_err(Fault::Unreadable)?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(Fault::Unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(Fault::TooLarge(FILE_BYTES_MAX));
    }
    Ok(text)
}

fn read_line(line: &str, number: usize) -> Result<Line, Fault> {
    if line.trim().is_empty() || line.starts_with('#') {
        return Ok(Line::Other(line.to_owned()));
    }
    let (name, hash) = line.split_once(':').ok_or(Fault::BadLine(number))?;
    if !is_name(name) {
        return Err(Fault::BadLine(number));
    }
    let hash = Hash::parse(hash.trim_end()).ok_or(Fault::BadHash(number))?;
    Ok(Line::User(name.to_owned(), hash))
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c != ':' && !c.is_control();
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(fits) && !name.starts_with('#')
}
