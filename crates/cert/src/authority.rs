//! Making certificates: an authority (CA), what it signs, and certificates that sign themselves.
//!
//! All keys made here are ECDSA P-256: small, fast, and understood by every client of today. A
//! certificate may do what it is for and nothing else: key usage and extended key usage say so.

use std::fmt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::CertificateDer;

use crate::facts::{CertificateFacts, facts};
use crate::key::IssuingKey;
use crate::names::{Name, common_name};
use crate::{Fault, FileError, PrivateKey, UnixTime, read_certificates};

/// Clocks differ: a new certificate is valid from this many seconds ago on.
const CLOCK_TOLERANCE_S: i64 = 3_600;

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: UnixTime,
    /// The last moment.
    pub not_after: UnixTime,
}

impl Validity {
    /// From an hour before `now`, as clocks differ, until `days` after `now`.
    #[must_use]
    pub fn for_days(now: UnixTime, days: i64) -> Self {
        Self {
            not_before: UnixTime(now.0.saturating_sub(CLOCK_TOLERANCE_S)),
            not_after: now.plus_days(days),
        }
    }
}

/// What a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// A server that is reached by these names.
    Server(Vec<Name>),
    /// A client with this name.
    Client(String),
}

/// A new certificate and its key, as PEM.
pub struct Made {
    /// The certificate, then those that stand between it and a root.
    pub certificate_pem: String,
    /// The private key (PKCS#8).
    pub key_pem: String,
    /// What the certificate says.
    pub facts: CertificateFacts,
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Made").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// Why no certificate was made.
#[derive(Debug)]
pub enum IssueError {
    /// The authority's own certificate ends before the new one would.
    OutlivesAuthority {
        /// The authority's certificate.
        authority: PathBuf,
        /// Its last moment.
        not_after: UnixTime,
    },
    /// A file of the authority cannot be used, or a new one cannot be written.
    File(FileError),
    /// The library could not; what it says.
    Library(String),
}

impl fmt::Display for IssueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutlivesAuthority { authority, not_after } => write!(
                f,
                "{}: this CA is valid until {not_after} only: ask for fewer --days, or move it and \
                 its key away so that a new one is made",
                authority.display()
            ),
            Self::File(error) => error.fmt(f),
            Self::Library(what) => write!(f, "the certificate could not be made: {what}"),
        }
    }
}

impl std::error::Error for IssueError {}

impl From<FileError> for IssueError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl From<rcgen::Error> for IssueError {
    fn from(error: rcgen::Error) -> Self {
        Self::Library(error.to_string())
    }
}

/// Makes a CA: its certificate signs others, and itself.
///
/// # Errors
/// [`IssueError::Library`] if the library cannot.
pub fn make_authority(name: &str, validity: Validity) -> Result<Made, IssueError> {
    let mut params = params(name, validity)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // It would name the authority itself, which says nothing.
    params.use_authority_key_identifier_extension = false;
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    made(&certificate, "", &key)
}

/// Makes a certificate that nobody vouches for: clients have to be given this very certificate.
///
/// # Errors
/// [`IssueError::Library`] if the library cannot.
pub fn self_signed(purpose: &Purpose, validity: Validity) -> Result<Made, IssueError> {
    let params = leaf(purpose, validity)?;
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    made(&certificate, "", &key)
}

/// A CA with its key, ready to sign.
pub struct Authority {
    path: PathBuf,
    chain: Vec<CertificateDer<'static>>,
    facts: CertificateFacts,
    issuer: Issuer<'static, IssuingKey>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads a CA's certificate and key. Behind its certificate, the file may hold those of the
    /// authorities above it.
    ///
    /// # Errors
    /// [`FileError`]: a file cannot be used, they do not belong together, the certificate is no
    /// CA's, or it has expired at `now`.
    pub fn read(certificate: &Path, key: &Path, now: UnixTime) -> Result<Self, FileError> {
        let error = |fault| FileError::new(certificate, fault);
        let chain = read_certificates(certificate)?;
        let private_key = PrivateKey::read(key)?;
        let own = chain.first().ok_or_else(|| error(Fault::BadCertificate(1)))?;
        let facts = facts(own).ok_or_else(|| error(Fault::BadCertificate(1)))?;
        if !private_key.belongs_to(own) {
            let fault = Fault::NotItsKey { certificate: certificate.to_owned() };
            return Err(FileError::new(key, fault));
        }
        let may_sign =
            facts.key_usages.is_empty() || facts.key_usages.contains(&"certificate signing");
        if !facts.is_ca || !may_sign {
            return Err(error(Fault::NotAnAuthority));
        }
        if now > facts.not_after {
            return Err(error(Fault::Expired(facts.not_after)));
        }
        let bad_key = |what| FileError::new(key, Fault::BadKey(what));
        let issuing = private_key.issuing().map_err(bad_key)?;
        let issuer =
            Issuer::from_ca_cert_der(own, issuing).map_err(|_| error(Fault::BadCertificate(1)))?;
        Ok(Self { path: certificate.to_owned(), chain, facts, issuer })
    }

    /// What the CA's certificate says.
    #[must_use]
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// Makes a key and a certificate for it. If the CA is not a root, those above it follow.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn issue(&self, purpose: &Purpose, validity: Validity) -> Result<Made, IssueError> {
        if validity.not_after > self.facts.not_after {
            return Err(IssueError::OutlivesAuthority {
                authority: self.path.clone(),
                not_after: self.facts.not_after,
            });
        }
        let key = KeyPair::generate()?;
        let certificate = leaf(purpose, validity)?.signed_by(&key, &self.issuer)?;
        made(&certificate, &self.chain_below_root(), &key)
    }

    fn chain_below_root(&self) -> String {
        let below = |der: &&CertificateDer<'_>| facts(der).is_some_and(|facts| !facts.self_issued);
        self.chain.iter().filter(below).map(|der| certificate_pem(der)).collect()
    }
}

fn certificate_pem(der: &[u8]) -> String {
    let ending = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", der), ending)
}

fn made(certificate: &rcgen::Certificate, chain: &str, key: &KeyPair) -> Result<Made, IssueError> {
    let facts = facts(certificate.der())
        .ok_or_else(|| IssueError::Library("it cannot be read back".to_owned()))?;
    Ok(Made { certificate_pem: certificate.pem() + chain, key_pem: key.serialize_pem(), facts })
}

fn params(name: &str, validity: Validity) -> Result<CertificateParams, IssueError> {
    let date = |at: UnixTime| {
        at.to_date_time().ok_or_else(|| IssueError::Library(format!("{at} is no date of X.509")))
    };
    let mut params = CertificateParams::default();
    params.not_before = date(validity.not_before)?;
    params.not_after = date(validity.not_after)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn leaf(purpose: &Purpose, validity: Validity) -> Result<CertificateParams, IssueError> {
    let (name, names, usage) = match purpose {
        Purpose::Server(names) => (
            common_name(names),
            names.iter().map(alternative_name).collect::<Result<_, _>>()?,
            ExtendedKeyUsagePurpose::ServerAuth,
        ),
        Purpose::Client(name) => (name.clone(), Vec::new(), ExtendedKeyUsagePurpose::ClientAuth),
    };
    let mut params = params(&name, validity)?;
    params.subject_alt_names = names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    Ok(params)
}

fn alternative_name(name: &Name) -> Result<SanType, IssueError> {
    Ok(match name {
        Name::Dns(name) => SanType::DnsName(name.clone().try_into()?),
        Name::Ip(address) => SanType::IpAddress(*address),
    })
}
