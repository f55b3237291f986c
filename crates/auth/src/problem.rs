//! What can be wrong with a password file, in one line: the file, the fault, the remedy.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A password file that cannot be used or changed, and why.
#[derive(Debug)]
pub struct PasswordFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a password file.
#[derive(Debug)]
pub enum Fault {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It has more than this many bytes.
    TooLarge(u64),
    /// It cannot be written.
    Unwritable(io::Error),
    /// It is there already.
    Exists,
    /// This line, from 1, is not `user:hash`.
    BadLine(usize),
    /// The hash in this line, from 1, is of no kind that is known, or would take too much memory or
    /// time.
    BadHash(usize),
    /// The user of this line, from 1, stands in an earlier line, too.
    Twice(usize),
    /// A name that no user can have.
    BadName(String),
    /// A password that no user can have: its length in bytes.
    BadPassword(usize),
    /// There is no such user.
    Unknown(String),
    /// The password could not be hashed.
    Hashing(String),
}

impl PasswordFileError {
    pub(crate) fn new(path: &Path, fault: Fault) -> Self {
        Self { path: path.to_owned(), fault }
    }
}

impl fmt::Display for PasswordFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.fault {
            Fault::Unreadable(error) => write!(f, "{path}: {}", reading(error)),
            Fault::TooLarge(max) => {
                write!(f, "{path}: has more than {max} bytes: name the password file itself")
            }
            Fault::Unwritable(error) => write!(
                f,
                "{path}: cannot be written ({error}): make its directory writable for this user"
            ),
            Fault::Exists => {
                write!(f, "{path}: exists and is not emptied: say --force to begin anew")
            }
            Fault::BadLine(line) => write!(
                f,
                "{path}:{line}: expected user:hash: remove the line, or add the user again with \
                 `noctule passwd add`"
            ),
            Fault::BadHash(line) => write!(
                f,
                "{path}:{line}: the hash is of no kind that is known, or far too expensive: remove \
                 the line, and add the user again with `noctule passwd add`"
            ),
            Fault::Twice(line) => {
                write!(f, "{path}:{line}: this user stands in an earlier line, too: remove one")
            }
            Fault::BadName(name) => write!(
                f,
                "{path}: expected a user name of 1 to 65535 bytes without ':', line breaks and \
                 other control characters, not beginning with '#', found \"{}\"",
                name.escape_debug()
            ),
            Fault::BadPassword(len) => {
                write!(f, "{path}: expected a password of 1 to 65535 bytes, found one of {len}")
            }
            Fault::Unknown(name) => {
                write!(f, "{path}: there is no user \"{}\" in it", name.escape_debug())
            }
            Fault::Hashing(what) => write!(f, "{path}: the password could not be hashed: {what}"),
        }
    }
}

impl std::error::Error for PasswordFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            Fault::Unreadable(error) | Fault::Unwritable(error) => Some(error),
            _ => None,
        }
    }
}

fn reading(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "there is no such file: check the path, or make one with `noctule passwd create`"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "may not be read by this user: change its owner (chown)".to_owned()
        }
        io::ErrorKind::InvalidData => "is not text in UTF-8: name the password file".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}
