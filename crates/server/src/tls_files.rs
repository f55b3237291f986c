//! The files of TLS: read at start, and read again when they change.
//!
//! What is read is checked as a whole before it is used: the key belongs to the certificate, and the
//! certificate is valid now. At start a fault ends the broker; later, what is in use stays.

use crate::options::{Auto, ClientAuth, Config, TlsVersion};
use crate::own_certificate::{OwnCertificate, RENEWAL_DAYS};
use crate::stamp::{Stamp, exposure, stamp};
use noctule_cert::{
    FileError, Identity, IssueError, Issued, UnixTime, read_authorities, read_revocation_lists,
};
use noctule_net::{BadTlsSettings, ClientCertificates, ClientTrust, TlsSettings};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Why TLS cannot be offered; one line.
#[derive(Debug)]
pub enum TlsError {
    /// A file cannot be used.
    File(FileError),
    /// The broker's own certificate cannot be made.
    Own(IssueError),
    /// The files are good each, and do not make up a server.
    Settings(BadTlsSettings),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Own(error) => {
                write!(f, "{error}; another place is chosen by --data-dir, --no-tls does without")
            }
            Self::Settings(error) => write!(f, "TLS: {error}"),
        }
    }
}

impl std::error::Error for TlsError {}

impl From<FileError> for TlsError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

/// Which files there are, and what for.
#[derive(Debug, PartialEq)]
pub(crate) struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    client_crl: Option<PathBuf>,
    client_auth: ClientAuth,
    ignores_dates: bool,
    version_min: TlsVersion,
    /// The one that the broker cares for, if nobody named another.
    own: Option<OwnCertificate>,
}

impl TlsFiles {
    /// The files that a listener's configuration names. A certificate of the broker's own is for all
    /// addresses where it is shown, `bind`.
    pub(crate) fn new(config: &Config, bind: &[IpAddr]) -> Self {
        let own = OwnCertificate::new(&config.data_dir, bind);
        let directory = own.directory();
        let or = |given: &Auto<PathBuf>, own: PathBuf| given.clone().or_else(|| own);
        let is_own = matches!(config.cert, Auto::Auto);
        Self {
            certificate: or(&config.cert, directory.server_certificate()),
            key: or(&config.key, directory.server_key()),
            client_ca: config.client_ca.get().cloned(),
            client_crl: config.client_crl.get().cloned(),
            client_auth: config.client_auth,
            ignores_dates: !config.check_client_dates,
            version_min: config.tls_version_min,
            own: is_own.then_some(own),
        }
    }

    /// What clients need to trust the server, if the broker knows it.
    pub(crate) fn ca_certificate(&self) -> Option<PathBuf> {
        let path = self.own.as_ref()?.directory().ca_certificate();
        path.exists().then_some(path)
    }

    pub(crate) fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// Makes or renews the certificate that the broker cares for, if it does and it is time.
    pub(crate) fn ensure(&self, now: UnixTime) -> Result<Option<Issued>, TlsError> {
        self.own.as_ref().map_or(Ok(None), |own| own.ensure(now)).map_err(TlsError::Own)
    }

    /// Reads and checks everything. Warns of a certificate that ends soon, and of a key that
    /// everybody may read.
    pub(crate) fn read(&self, now: UnixTime) -> Result<(TlsSettings, Vec<String>), TlsError> {
        let identity = Identity::read(&self.certificate, &self.key)?;
        identity.check_time(now)?;
        let settings = TlsSettings {
            chain: identity.chain.clone(),
            key: identity.key(),
            clients: self.clients()?,
            newest_only: self.version_min == TlsVersion::V13,
        };
        let end = identity.not_after();
        let is_near = end.days_since(now) < RENEWAL_DAYS;
        let certificate = self.certificate.display();
        let near = is_near.then(|| format!("{certificate}: expires on {end}; renew it before"));
        Ok((settings, near.into_iter().chain(exposure(&self.key)).collect()))
    }

    fn clients(&self) -> Result<ClientCertificates, FileError> {
        let Some(path) = &self.client_ca else {
            return Ok(ClientCertificates::NotAsked);
        };
        let revocation_lists = match &self.client_crl {
            Some(path) => read_revocation_lists(path)?,
            None => Vec::new(),
        };
        let ignores_dates = self.ignores_dates;
        let authorities = read_authorities(path)?;
        let trust = ClientTrust { authorities, revocation_lists, ignores_dates };
        Ok(match self.client_auth {
            ClientAuth::Required => ClientCertificates::Required(trust),
            ClientAuth::Optional => ClientCertificates::Optional(trust),
        })
    }

    /// What can be told about each file without reading it.
    pub(crate) fn stamps(&self) -> Vec<Stamp> {
        let always = [&self.certificate, &self.key];
        let rest = self.client_ca.iter().chain(&self.client_crl);
        always.into_iter().chain(rest).map(|path| stamp(path)).collect()
    }
}
