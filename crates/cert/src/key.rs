//! Private keys: generated, read in the three PEM forms, and compared with certificates.
//!
//! What is signed with a key here is a certificate. The key's bytes leave only through
//! [`PrivateKey::der`] and, for a new one, as the PEM text of [`Made`](crate::Made).

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::{Signer, SigningKey};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::SectionKind;
use x509_parser::parse_x509_certificate;

use crate::facts::key_kind;
use crate::pem::{self, is_key};
use crate::{Fault, FileError};

/// A private key that can be used.
pub struct PrivateKey {
    der: PrivateKeyDer<'static>,
    signing: Arc<dyn SigningKey>,
}

impl PrivateKey {
    /// Reads the first private key of a PEM file: PKCS#8 (`PRIVATE KEY`), SEC1 (`EC PRIVATE KEY`)
    /// or PKCS#1 (`RSA PRIVATE KEY`).
    ///
    /// # Errors
    /// [`FileError`]: unreadable, no key, encrypted, or of a kind that cannot be used.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let sections = pem::sections(path, "a private key", is_key)?;
        let key = sections.into_iter().next().and_then(|(kind, der)| typed(kind, der));
        let bad = |what: String| FileError::new(path, Fault::BadKey(what));
        let der = key.ok_or_else(|| bad("unknown form".to_owned()))?;
        Self::from_der(der).map_err(bad)
    }

    pub(crate) fn from_der(der: PrivateKeyDer<'static>) -> Result<Self, String> {
        let signing = any_supported_type(&der).map_err(|error| error.to_string())?;
        Ok(Self { der, signing })
    }

    /// The key itself, for those who sign with it.
    #[must_use]
    pub fn der(&self) -> PrivateKeyDer<'static> {
        self.der.clone_key()
    }

    /// What kind of key it is, such as `ECDSA P-256`.
    #[must_use]
    pub fn kind(&self) -> String {
        key_kind(&self.public_key())
    }

    /// Whether the public half of this key is in the certificate.
    #[must_use]
    pub fn belongs_to(&self, certificate: &[u8]) -> bool {
        parse_x509_certificate(certificate)
            .is_ok_and(|(_, certificate)| certificate.public_key().raw == self.public_key())
    }

    /// The public half, as `SubjectPublicKeyInfo` in DER.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        // Every kind that the provider knows has one; none belongs to no certificate.
        self.signing.public_key().map_or_else(Vec::new, |key| key.to_vec())
    }

    /// What signs certificates with this key.
    pub(crate) fn issuing(&self) -> Result<IssuingKey, String> {
        let info = rcgen::SubjectPublicKeyInfo::from_der(&self.public_key())
            .map_err(|error| error.to_string())?;
        let signer = self.signing.choose_scheme(ISSUING_SCHEMES).ok_or("no way to sign")?;
        Ok(IssuingKey { info, signer })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

/// One for each kind of key, the one that certificates of this kind are signed with.
const ISSUING_SCHEMES: &[SignatureScheme] = &[
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PKCS1_SHA256,
];

/// A key in the shape that the certificate library signs with, whatever form it was read from.
pub(crate) struct IssuingKey {
    info: rcgen::SubjectPublicKeyInfo,
    signer: Box<dyn Signer>,
}

impl rcgen::PublicKeyData for IssuingKey {
    fn der_bytes(&self) -> &[u8] {
        self.info.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.info.algorithm()
    }
}

impl rcgen::SigningKey for IssuingKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.signer.sign(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

fn typed(kind: SectionKind, der: Vec<u8>) -> Option<PrivateKeyDer<'static>> {
    match kind {
        SectionKind::PrivateKey => Some(PrivateKeyDer::Pkcs8(der.into())),
        SectionKind::EcPrivateKey => Some(PrivateKeyDer::Sec1(der.into())),
        SectionKind::RsaPrivateKey => Some(PrivateKeyDer::Pkcs1(der.into())),
        _ => None,
    }
}
