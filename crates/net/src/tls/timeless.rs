//! Client certificates whatever the day is.
//!
//! Each certificate of a chain has to be valid at some time, and all else about it is checked as usual.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::Arc;

/// A chain is no longer than this, so its dates are asked for no more often.
const TRIES: usize = 12;

/// Verifies as another verifier does, and takes the dates of certificates for good.
#[derive(Debug)]
pub(super) struct Timeless(pub(super) Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Timeless {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    /// Asks as of now, and if that is the wrong time, as of a time that is right for the certificate that
    /// was complained about.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        mut now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut tries = 0;
        loop {
            let verified = self.0.verify_client_cert(end_entity, intermediates, now);
            let other = match &verified {
                Err(Error::InvalidCertificate(error)) => right_time(error),
                _ => None,
            };
            match other {
                Some(other) if tries < TRIES => now = other,
                _ => return verified,
            }
            tries += 1;
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// A time at which the certificate that was complained about is valid.
fn right_time(error: &CertificateError) -> Option<UnixTime> {
    match error {
        CertificateError::ExpiredContext { not_after, .. } => Some(*not_after),
        CertificateError::NotValidYetContext { not_before, .. } => Some(*not_before),
        _ => None,
    }
}
