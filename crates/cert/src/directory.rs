//! The directory in which a CA, a server's certificate and those of clients lie, by their names.
//!
//! A CA that is there is used and never replaced: clients trust it. A new certificate is made with a
//! new key.

use std::path::{Path, PathBuf};

use crate::authority::{
    Authority, IssueError, Made, Purpose, Validity, make_authority, self_signed,
};
use crate::facts::CertificateFacts;
use crate::{Fault, FileError, NewFile, UnixTime, make_private_directory, save};

/// A directory with certificates and keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory(PathBuf);

/// What was made, and where it lies.
#[derive(Debug)]
pub struct Issued {
    /// The file with the certificate.
    pub certificate: PathBuf,
    /// The file with the key.
    pub key: PathBuf,
    /// What the certificate says.
    pub facts: CertificateFacts,
    /// What the CA's certificate says; none if the certificate signs itself.
    pub authority: Option<CertificateFacts>,
    /// Whether that CA was made for this.
    pub authority_is_new: bool,
}

impl Directory {
    /// The directory at this path, which need not exist yet.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// `ca.pem`: what clients trust.
    #[must_use]
    pub fn ca_certificate(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    /// `ca.key`.
    #[must_use]
    pub fn ca_key(&self) -> PathBuf {
        self.0.join("ca.key")
    }

    /// `server.pem`: what the broker presents.
    #[must_use]
    pub fn server_certificate(&self) -> PathBuf {
        self.0.join("server.pem")
    }

    /// `server.key`.
    #[must_use]
    pub fn server_key(&self) -> PathBuf {
        self.0.join("server.key")
    }

    /// Makes a certificate with a new key and writes both. The CA is made if there is none, under
    /// `ca_name` and for `ca_validity`; `force` does not concern it.
    ///
    /// # Errors
    /// [`IssueError`]: files that exist without `force`, a CA that cannot be used, or no room.
    pub fn issue(
        &self,
        purpose: &Purpose,
        validity: Validity,
        (ca_name, ca_validity): (&str, Validity),
        force: bool,
        now: UnixTime,
    ) -> Result<Issued, IssueError> {
        let paths = self.paths(purpose);
        check_free(&paths, force)?;
        make_private_directory(&self.0)?;
        let authority_is_new = self.make_authority_if_missing(ca_name, ca_validity)?;
        let authority = Authority::read(&self.ca_certificate(), &self.ca_key(), now)?;
        let made = authority.issue(purpose, validity)?;
        let authority = Some(authority.facts().clone());
        keep(paths, made, force, authority, authority_is_new)
    }

    /// Makes a certificate that signs itself, with a new key, and writes both.
    ///
    /// # Errors
    /// As [`issue`](Self::issue).
    pub fn self_sign(
        &self,
        purpose: &Purpose,
        validity: Validity,
        force: bool,
    ) -> Result<Issued, IssueError> {
        let paths = self.paths(purpose);
        check_free(&paths, force)?;
        make_private_directory(&self.0)?;
        keep(paths, self_signed(purpose, validity)?, force, None, false)
    }

    /// Certificate and key.
    fn paths(&self, purpose: &Purpose) -> [PathBuf; 2] {
        match purpose {
            Purpose::Server(_) => [self.server_certificate(), self.server_key()],
            // No client is called so that its files would be the server's or the CA's.
            Purpose::Client(name) => {
                ["pem", "key"].map(|kind| self.0.join(format!("client-{name}.{kind}")))
            }
        }
    }

    fn make_authority_if_missing(
        &self,
        name: &str,
        validity: Validity,
    ) -> Result<bool, IssueError> {
        let [certificate, key] = [self.ca_certificate(), self.ca_key()];
        match (is_there(&certificate), is_there(&key)) {
            (true, true) => Ok(false),
            (false, false) => {
                let made = make_authority(name, validity)?;
                save(&pair(&[certificate, key], &made), false)?;
                Ok(true)
            }
            (true, false) => Err(without_partner(certificate, key)),
            (false, true) => Err(without_partner(key, certificate)),
        }
    }
}

fn without_partner(path: PathBuf, missing: PathBuf) -> IssueError {
    FileError { path, fault: Fault::WithoutPartner { missing } }.into()
}

fn check_free(paths: &[PathBuf], force: bool) -> Result<(), FileError> {
    match paths.iter().find(|path| !force && is_there(path)) {
        Some(path) => Err(FileError::new(path, Fault::Exists)),
        None => Ok(()),
    }
}

/// A dangling link is something there, too.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn keep(
    paths: [PathBuf; 2],
    made: Made,
    force: bool,
    authority: Option<CertificateFacts>,
    authority_is_new: bool,
) -> Result<Issued, IssueError> {
    save(&pair(&paths, &made), force)?;
    let [certificate, key] = paths;
    Ok(Issued { certificate, key, facts: made.facts, authority, authority_is_new })
}

/// The key first: a certificate is never there without it.
fn pair<'a>([certificate, key]: &[PathBuf; 2], made: &'a Made) -> [NewFile<'a>; 2] {
    [
        NewFile { path: key.clone(), content: &made.key_pem, secret: true },
        NewFile { path: certificate.clone(), content: &made.certificate_pem, secret: false },
    ]
}
