//! What can be wrong with a file, in one line: the file, the fault, the remedy.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::UnixTime;

/// A file that cannot be used, and why.
#[derive(Debug)]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a file.
#[derive(Debug)]
pub enum Fault {
    /// It cannot be read: missing, forbidden, a directory, or something rarer.
    Unreadable(io::Error),
    /// It has more than this many bytes.
    TooLarge(u64),
    /// It is not PEM; `der` if it looks like the binary form.
    NotPem {
        /// What was expected in it.
        expected: &'static str,
        /// It begins as DER does.
        der: bool,
    },
    /// It is PEM, of another kind.
    WrongType {
        /// What was expected in it.
        expected: &'static str,
        /// The labels that it has, as in `BEGIN label`.
        found: String,
    },
    /// The key needs a passphrase, and there is nobody to ask.
    Encrypted,
    /// The PEM is damaged.
    Damaged(String),
    /// The certificate with this number, from 1, is none.
    BadCertificate(usize),
    /// The revocation list with this number, from 1, is none.
    BadRevocationList(usize),
    /// The key is of a kind that cannot be used.
    BadKey(String),
    /// The key does not belong to the first certificate of that file.
    NotItsKey {
        /// The file with the certificate.
        certificate: PathBuf,
    },
    /// The certificate's time is over.
    Expired(UnixTime),
    /// The certificate's time has not come.
    NotYetValid(UnixTime),
    /// The certificate may not sign others.
    NotAnAuthority,
    /// Of a CA's two files only this one is there.
    WithoutPartner {
        /// The other one.
        missing: PathBuf,
    },
    /// It is there already, and may not be replaced.
    Exists,
    /// It, or its directory, cannot be written.
    Unwritable(io::Error),
}

impl FileError {
    pub(crate) fn new(path: &Path, fault: Fault) -> Self {
        Self { path: path.to_owned(), fault }
    }

    /// For `map_err` on reading `path`.
    pub(crate) fn reading(path: &Path) -> impl Fn(io::Error) -> Self {
        move |error| Self::new(path, Fault::Unreadable(error))
    }

    /// For `map_err` on writing `path`.
    pub(crate) fn writing(path: &Path) -> impl Fn(io::Error) -> Self {
        move |error| Self::new(path, Fault::Unwritable(error))
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.fault {
            Fault::Unreadable(error) => write!(f, "{path}: {}", reading(error)),
            Fault::TooLarge(max) => {
                write!(f, "{path}: has more than {max} bytes: name the PEM file itself")
            }
            Fault::NotPem { expected, der: true } => write!(
                f,
                "{path}: is binary (DER), {expected} in PEM is expected: convert it with `openssl \
                 x509 -inform DER -in {path}` (a certificate) or `openssl pkey -inform DER -in \
                 {path}` (a key)"
            ),
            Fault::NotPem { expected, der: false } => write!(
                f,
                "{path}: is not PEM, no line begins with -----BEGIN: name a file with {expected}"
            ),
            Fault::WrongType { expected, found } => write!(
                f,
                "{path}: holds {found}, {expected} is expected: name the other file, perhaps \
                 certificate and key are exchanged"
            ),
            Fault::Encrypted => write!(
                f,
                "{path}: the key is encrypted with a passphrase: write one without, as in `openssl \
                 pkey -in {path} -out plain.key`, readable by its owner only"
            ),
            Fault::Damaged(what) => {
                write!(f, "{path}: is damaged PEM ({what}): copy the file again")
            }
            Fault::BadCertificate(number) => write!(
                f,
                "{path}: certificate {number} in it is no X.509 certificate: copy the file again"
            ),
            Fault::BadRevocationList(number) => write!(
                f,
                "{path}: revocation list {number} in it is no X.509 CRL: copy the file again"
            ),
            Fault::BadKey(what) => write!(
                f,
                "{path}: the key cannot be used ({what}): use ECDSA P-256 or P-384, Ed25519, or \
                 RSA with 2048 to 8192 bits"
            ),
            Fault::NotItsKey { certificate } => write!(
                f,
                "{path}: this key does not belong to the first certificate in {}: name the key \
                 that the certificate was made with; a chain begins with the server's own \
                 certificate",
                certificate.display()
            ),
            Fault::Expired(at) => {
                write!(
                    f,
                    "{path}: expired on {at}: renew it where it was issued, or make another with \
                     `noctule cert --force`"
                )
            }
            Fault::NotYetValid(at) => write!(
                f,
                "{path}: is valid only from {at} on: check the clock of this machine, or wait"
            ),
            Fault::NotAnAuthority => write!(
                f,
                "{path}: this certificate may not sign others (it is no CA): name another \
                 directory, or move this file away so that a CA is made"
            ),
            Fault::WithoutPartner { missing } => write!(
                f,
                "{path}: is there, but {} is not: bring that back, or move this one away so that a \
                 new CA is made, whose ca.pem all clients then need",
                missing.display()
            ),
            Fault::Exists => {
                write!(f, "{path}: exists and is not overwritten: say --force to replace it")
            }
            Fault::Unwritable(error) => {
                write!(f, "{path}: cannot be written ({error}): make the place writable")
            }
        }
    }
}

impl std::error::Error for FileError {
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
            "there is no such file: check the path; `noctule cert` makes certificates and keys"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "may not be read by this user: change its owner or mode (chown, chmod)".to_owned()
        }
        io::ErrorKind::IsADirectory => "is a directory: name the file in it".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}
