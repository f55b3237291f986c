//! What a server or client presents: a chain of certificates with its key, read and checked.

use std::path::{Path, PathBuf};

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use x509_parser::parse_x509_certificate;
use x509_parser::parse_x509_crl;

use crate::facts::facts;
use crate::pem::{self, is_certificate, is_list};
use crate::{Fault, FileError, PrivateKey, UnixTime};

/// Reads the certificates of a PEM file, in their order; at least one.
///
/// # Errors
/// [`FileError`]: unreadable, no certificate in it, or one that is damaged.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let sections = pem::sections(path, "a certificate", is_certificate)?;
    for (number, (_, der)) in (1..).zip(&sections) {
        if !parse_x509_certificate(der).is_ok_and(|(rest, _)| rest.is_empty()) {
            return Err(FileError::new(path, Fault::BadCertificate(number)));
        }
    }
    Ok(sections.into_iter().map(|(_, der)| der.into()).collect())
}

/// Reads the certificates of a PEM file, or of all files of a directory that have any; at least one.
/// Files without a certificate are passed over, such as keys and lists that lie beside them.
///
/// # Errors
/// As [`read_certificates`].
pub fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    if !path.is_dir() {
        return read_certificates(path);
    }
    let unreadable = |error| FileError::new(path, Fault::Unreadable(error));
    let mut files: Vec<_> = std::fs::read_dir(path)
        .map_err(unreadable)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    files.sort();
    let mut all: Vec<CertificateDer<'static>> = Vec::new();
    for file in files.iter().filter(|file| file.is_file()) {
        if pem::sections(file, "a certificate", is_certificate).is_err() {
            continue;
        }
        // Links of hashed names lead to the same ones.
        let new = read_certificates(file)?.into_iter().filter(|one| !all.contains(one));
        let new: Vec<_> = new.collect();
        all.extend(new);
    }
    if all.is_empty() {
        return Err(FileError::new(path, Fault::NotPem { expected: "a certificate", der: false }));
    }
    Ok(all)
}

/// Reads the certificate revocation lists of a PEM file; at least one.
///
/// # Errors
/// [`FileError`]: unreadable, no list in it, or one that is damaged.
pub fn read_revocation_lists(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, FileError> {
    let sections = pem::sections(path, "a revocation list (X509 CRL)", is_list)?;
    for (number, (_, der)) in (1..).zip(&sections) {
        if !parse_x509_crl(der).is_ok_and(|(rest, _)| rest.is_empty()) {
            return Err(FileError::new(path, Fault::BadRevocationList(number)));
        }
    }
    Ok(sections.into_iter().map(|(_, der)| der.into()).collect())
}

/// A chain of certificates, the own one first, with the key that belongs to it.
#[derive(Debug)]
pub struct Identity {
    /// The chain.
    pub chain: Vec<CertificateDer<'static>>,
    key: PrivateKey,
    path: PathBuf,
    not_before: UnixTime,
    not_after: UnixTime,
}

impl Identity {
    /// Reads a chain and its key, which may lie in one file.
    ///
    /// # Errors
    /// [`FileError`]: one of the files cannot be used, or the key does not belong to the first
    /// certificate. That a certificate has expired is said by [`check_time`](Self::check_time).
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, FileError> {
        let chain = read_certificates(certificate)?;
        let private_key = PrivateKey::read(key)?;
        let bad = || FileError::new(certificate, Fault::BadCertificate(1));
        let first = chain.first().ok_or_else(bad)?;
        if !private_key.belongs_to(first) {
            let fault = Fault::NotItsKey { certificate: certificate.to_owned() };
            return Err(FileError::new(key, fault));
        }
        let facts = facts(first).ok_or_else(bad)?;
        Ok(Self {
            key: private_key,
            path: certificate.to_owned(),
            not_before: facts.not_before,
            not_after: facts.not_after,
            chain,
        })
    }

    /// The private key.
    #[must_use]
    pub fn key(&self) -> PrivateKeyDer<'static> {
        self.key.der()
    }

    /// The last moment at which the own certificate is valid.
    #[must_use]
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// Whether the own certificate is valid at `now`.
    ///
    /// # Errors
    /// [`FileError`] if its time is over or has not come.
    pub fn check_time(&self, now: UnixTime) -> Result<(), FileError> {
        let fault = if now > self.not_after {
            Fault::Expired(self.not_after)
        } else if now < self.not_before {
            Fault::NotYetValid(self.not_before)
        } else {
            return Ok(());
        };
        Err(FileError::new(&self.path, fault))
    }
}
