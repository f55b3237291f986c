//! The certificate that the broker makes by itself, so that TLS works from the first start on.
//!
//! It lies in `tls` below the data directory, signed by a CA that lies there as well. A note beside it
//! says which certificate the broker has made; that one alone is ever replaced: when its end is near,
//! or when the broker is reached by a name that it does not carry. What a person has put there stays.

use noctule_cert::{
    Directory, FileError, IssueError, Issued, Name, NewFile, Purpose, UnixTime, Validity, ca_name,
    facts, loopback_names, machine_name, read_certificates, save,
};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// A certificate is renewed when it has fewer days left.
pub(crate) const RENEWAL_DAYS: i64 = 30;

/// What clients of today accept at most for a server.
const DAYS: i64 = 825;

/// A CA is what people have to hand out again when it ends.
const CA_DAYS: i64 = 3_650;

/// Whether the server's certificate in a directory is one that the broker has made by itself, so that it
/// may be replaced by one that somebody asks for.
#[must_use]
pub fn is_brokers_own(directory: &Directory) -> bool {
    let path = directory.server_certificate();
    let chain = read_certificates(&path).unwrap_or_default();
    let fingerprint = chain.first().and_then(|own| facts(own)).map(|own| own.fingerprint_sha256);
    let noted = std::fs::read_to_string(path.with_file_name(NOTE)).unwrap_or_default();
    fingerprint.is_some_and(|fingerprint| fingerprint == noted.trim())
}

/// The file that says which certificate the broker has made.
const NOTE: &str = "made-by-broker";

/// The broker's own certificate.
#[derive(Debug, PartialEq)]
pub(crate) struct OwnCertificate {
    directory: Directory,
    note: PathBuf,
    names: Vec<Name>,
}

impl OwnCertificate {
    /// The one below `data_dir`, for a broker that listens on these addresses.
    pub(crate) fn new(data_dir: &Path, bind: &[IpAddr]) -> Self {
        let tls = data_dir.join("tls");
        let mut names = loopback_names();
        names.extend(machine_name());
        for address in bind.iter().filter(|address| !address.is_unspecified()) {
            let name = Name::Ip(*address);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Self { note: tls.join(NOTE), directory: Directory::at(tls), names }
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Sees to it that there is one, and that it is good for a while if it is the broker's own. Says
    /// what was made.
    pub(crate) fn ensure(&self, now: UnixTime) -> Result<Option<Issued>, IssueError> {
        let files = [self.directory.server_certificate(), self.directory.server_key()];
        let is_first = files.iter().all(|path| path.symlink_metadata().is_err());
        if !is_first && !self.wants_renewal(now) {
            return Ok(None);
        }
        let validity = Validity::for_days(now, self.days(now));
        let ca = (&*ca_name(), Validity::for_days(now, CA_DAYS));
        let purpose = Purpose::Server(self.names.clone());
        let issued = self.directory.issue(&purpose, validity, ca, !is_first, now)?;
        self.write_note(&issued.facts.fingerprint_sha256)?;
        Ok(Some(issued))
    }

    /// Whether the certificate is the broker's own, and too old or without one of the names.
    fn wants_renewal(&self, now: UnixTime) -> bool {
        let Ok(chain) = read_certificates(&self.directory.server_certificate()) else {
            // Whoever reads it next says what is wrong.
            return false;
        };
        let Some(facts) = chain.first().and_then(|own| facts(own)) else {
            return false;
        };
        let noted = std::fs::read_to_string(&self.note).unwrap_or_default();
        let has = |name: &Name| facts.names.contains(&name.described());
        noted.trim() == facts.fingerprint_sha256
            && (facts.not_after.days_since(now) < RENEWAL_DAYS || !self.names.iter().all(has))
    }

    /// As long as is usual, but not longer than the CA.
    fn days(&self, now: UnixTime) -> i64 {
        let chain = read_certificates(&self.directory.ca_certificate()).unwrap_or_default();
        let left = chain.first().and_then(|ca| facts(ca)).map(|ca| ca.not_after.days_since(now));
        left.map_or(DAYS, |left| DAYS.min(left))
    }

    fn write_note(&self, fingerprint: &str) -> Result<(), FileError> {
        let content = &*format!("{fingerprint}\n");
        let path = self.note.clone();
        save(&[NewFile { path, content, secret: false }], true)
    }
}
