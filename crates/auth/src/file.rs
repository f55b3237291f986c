//! The password file: one `user:hash` per line; empty lines and those that begin with `#` are left
//! as they are.
//!
//! Whoever cannot be found costs the time of one who can, and is shown a challenge that looks like
//! one of a user, so that names cannot be told by clock or answer. Where lines differ in their cost, a
//! name that does not exist is always given that of the same user, picked by the name and a key that
//! comes of the file's secrets: so costs of unknown names are spread as those of known ones.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use noctule_scram::ScramSecret;
use sha2::{Digest, Sha256};

use crate::credential::{Credential, Hashing, PASSWORD_BYTES_MAX};
use crate::problem::{Fault, PasswordFileError};
use crate::replace;

/// Enough for 500,000 users.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What MQTT can carry in a user name.
const NAME_BYTES_MAX: usize = 65_535;

/// A password file, read.
#[derive(Debug, Default)]
pub struct PasswordFile {
    lines: Vec<Line>,
    /// Where each user's line is.
    users: HashMap<String, usize>,
    /// The lines of users.
    user_lines: Vec<usize>,
    /// The lines of users who can prove that they know their password without saying it.
    scram_lines: Vec<usize>,
    /// Picks whom an unknown name looks like.
    decoy_key: [u8; 32],
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
    User(String, Credential),
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
        let mut file = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = read_line(line, number).map_err(error)?;
            file.take(line, number).map_err(error)?;
        }
        Ok(file)
    }

    fn take(&mut self, line: Line, number: usize) -> Result<(), Fault> {
        let place = self.lines.len();
        if let Line::User(name, credential) = &line {
            if self.users.insert(name.clone(), place).is_some() {
                return Err(Fault::Twice(number));
            }
            if self.user_lines.is_empty() {
                let secret = format!("decoys of {credential}");
                self.decoy_key = Sha256::digest(secret).into();
            }
            self.user_lines.push(place);
            if credential.scram().is_some() {
                self.scram_lines.push(place);
            }
        }
        self.lines.push(line);
        Ok(())
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

    /// Whether there is a user of this name.
    #[must_use]
    pub fn has(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    /// Whether this is the password of this user. Takes its time (some 20 ms and 20 MiB for a password
    /// that was hashed by Argon2id), also for a user that does not exist.
    #[must_use]
    pub fn verify(&self, user: &str, password: &[u8]) -> bool {
        let known = self.credential_of(user);
        let like = self.pick(&self.user_lines, user);
        let nobodys = Credential::nobodys();
        // In this order: the time is spent in any case.
        known.or(like).unwrap_or(&nobodys).is_of(password) && known.is_some()
    }

    /// What is kept of a user's password for SCRAM, or a decoy that looks like it if there is no such
    /// user, or the password is kept otherwise.
    #[must_use]
    pub fn scram_secret(&self, user: &str) -> ScramSecret {
        let like = self.pick(&self.scram_lines, user).and_then(Credential::scram);
        // Made in any case, so that it cannot be told by the time it takes.
        let decoy = ScramSecret::decoy(user, &self.decoy_key, like);
        self.credential_of(user).and_then(Credential::scram).cloned().unwrap_or(decoy)
    }

    /// Gives a user this password, in the file at `path`, which is read, changed and replaced while
    /// others who do so wait. Without `hashing` a user who has a SCRAM password gets another one, and
    /// everybody else is hashed by Argon2id.
    ///
    /// # Errors
    /// [`PasswordFileError`]: the file, the name or the password cannot be used.
    pub fn set(
        path: &Path,
        user: &str,
        password: &[u8],
        hashing: Option<Hashing>,
    ) -> Result<Change, PasswordFileError> {
        let error = |fault| PasswordFileError::new(path, fault);
        if !is_name(user) {
            return Err(error(Fault::BadName(user.to_owned())));
        }
        if !(1..=PASSWORD_BYTES_MAX).contains(&password.len()) {
            return Err(error(Fault::BadPassword(password.len())));
        }
        Self::change(path, |file| {
            let before = file.credential_of(user).and_then(Credential::scram);
            let as_before = before.map(|secret| Hashing::Scram(secret.iterations()));
            let hashing = hashing.or(as_before).unwrap_or(Hashing::Argon2id);
            let credential = Credential::of(password, hashing).map_err(Fault::Hashing)?;
            let line = Line::User(user.to_owned(), credential);
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
                Line::User(name, credential) => writeln!(text, "{name}:{credential}"),
            };
        }
        text
    }

    fn credential_of(&self, user: &str) -> Option<&Credential> {
        self.credential_at(*self.users.get(user)?)
    }

    fn credential_at(&self, place: usize) -> Option<&Credential> {
        match self.lines.get(place)? {
            Line::User(_, credential) => Some(credential),
            Line::Other(_) => None,
        }
    }

    /// The one of these lines that a name stands for, always the same.
    fn pick(&self, lines: &[usize], user: &str) -> Option<&Credential> {
        let hash = Sha256::new().chain_update(self.decoy_key).chain_update(user).finalize();
        let number = hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        let place = number.checked_rem(lines.len() as u64)?;
        self.credential_at(*lines.get(usize::try_from(place).ok()?)?)
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
    let credential = Credential::parse(hash.trim_end()).ok_or(Fault::BadHash(number))?;
    Ok(Line::User(name.to_owned(), credential))
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c != ':' && !c.is_control();
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(fits) && !name.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::hashed;
    use std::collections::HashSet;

    /// What checking a password has cost.
    fn cost(file: &PasswordFile, user: &str, password: &[u8]) -> Vec<String> {
        hashed::take();
        // Nobody here has this password.
        assert!(!file.verify(user, password));
        hashed::take()
    }

    fn file(lines: &[(&str, Credential)]) -> PasswordFile {
        let mut file = PasswordFile::default();
        for (number, (name, credential)) in (1..).zip(lines) {
            let line = Line::User((*name).to_owned(), credential.clone());
            file.take(line, number).expect("no name comes twice");
        }
        file
    }

    fn credential(hashing: Hashing) -> Credential {
        Credential::of(b"secret", hashing).expect("it can be hashed")
    }

    #[test]
    fn a_user_who_does_not_exist_costs_the_hashes_of_one_who_does() {
        let file = file(&[("anna", credential(Hashing::Argon2id))]);
        let wrong = cost(&file, "anna", b"wrong");
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].contains("argon2id"), "{wrong:?}");
        for nobody in ["bert", "Anna", "", "a name that is rather long, to say the least"] {
            assert_eq!(cost(&file, nobody, b"wrong"), wrong, "{nobody}");
        }
        // Whatever the password.
        assert_eq!(cost(&file, "anna", b""), wrong);
        assert_eq!(cost(&file, "bert", &[0; 60_000]), wrong);
        // In a file without users, and with the right password, too.
        assert_eq!(cost(&PasswordFile::default(), "bert", b"wrong").len(), 1);
        assert!(file.verify("anna", b"secret"));
        assert_eq!(hashed::take(), wrong);
    }

    #[test]
    fn where_users_cost_differently_each_unknown_name_costs_always_what_one_of_them_does() {
        let iterations = noctule_scram::ITERATIONS_MIN;
        let file = file(&[
            ("anna", credential(Hashing::Argon2id)),
            ("bert", credential(Hashing::Scram(iterations))),
        ]);
        let known: HashSet<_> = ["anna", "bert"].map(|it| cost(&file, it, b"x")).into();
        assert_eq!(known.len(), 2);
        let mut found = HashSet::new();
        for number in 0..16 {
            let name = format!("nobody {number}");
            let costs = cost(&file, &name, b"x");
            assert_eq!(cost(&file, &name, b"y"), costs, "{name} always costs the same");
            found.insert(costs);
        }
        assert_eq!(found, known, "16 names, and none has the cost of one of two");
    }
}
