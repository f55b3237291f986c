//! Why a TLS connection came to nothing, in words that a person can act on.

use super::FirstBytes;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};
use std::fmt;

/// Why a TLS connection cannot go on.
#[derive(Debug, Clone)]
pub enum TlsFailure {
    /// What came is no TLS at all: these are its first bytes.
    NotTls(FirstBytes),
    /// The handshake failed.
    Handshake(Error),
    /// It failed after the handshake.
    Session(Error),
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTls(first) => {
                write!(f, "expected a TLS handshake, found bytes that are not TLS: {first}")
            }
            Self::Handshake(error) => write!(f, "TLS handshake failed: {}", Words(error)),
            Self::Session(error) => write!(f, "TLS failed: {}", Words(error)),
        }
    }
}

impl std::error::Error for TlsFailure {}

/// An error in words; those that people meet say what to do.
struct Words<'a>(&'a Error);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Error::NoCertificatesPresented => {
                f.write_str("the client showed no certificate, and one is required")
            }
            Error::InvalidCertificate(error) => {
                write!(f, "the client's certificate is not accepted: {}", certificate(error))
            }
            Error::AlertReceived(alert) => match received(*alert) {
                Some(words) => f.write_str(words),
                None => write!(f, "the client gave up ({alert:?})"),
            },
            Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::SignatureAlgorithmsExtensionRequired
                | PeerIncompatible::SupportedVersionsExtensionRequired,
            ) => f.write_str("the client offers neither TLS 1.2 nor 1.3"),
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => {
                f.write_str("the client offers no cipher suite that is still considered safe")
            }
            other => other.fmt(f),
        }
    }
}

fn certificate(error: &CertificateError) -> String {
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, InvalidPurpose, InvalidPurposeContext, NotValidYet,
        NotValidYetContext, Revoked, UnknownIssuer, UnknownRevocationStatus,
    };
    let words = match error {
        UnknownIssuer => "it is not signed by the CA of clients",
        Expired | ExpiredContext { .. } => "it has expired",
        NotValidYet | NotValidYetContext { .. } => "it is not valid yet",
        Revoked => "it is revoked",
        UnknownRevocationStatus => "the revocation lists say nothing about its CA",
        BadSignature => "its signature is wrong",
        InvalidPurpose | InvalidPurposeContext { .. } => {
            "it is not for TLS clients (extended key usage)"
        }
        other => return other.to_string(),
    };
    words.to_owned()
}

/// What a client means that gives up with this alert.
fn received(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::UnknownCA => {
            "the client does not trust this server's certificate (unknown CA): give it the CA's file"
        }
        AlertDescription::DecryptError => {
            "the client finds a wrong signature: its CA's file may be another one of the same name"
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => {
            "the client does not accept this server's certificate: its name may be missing in it"
        }
        AlertDescription::CertificateExpired => {
            "the client says that this server's certificate has expired"
        }
        // So mosquitto's clients and others call it that check the name behind the handshake's back.
        AlertDescription::InternalError => {
            "the client gave up (internal error): the name that it connects to may be missing in \
             this server's certificate"
        }
        AlertDescription::ProtocolVersion => "the client knows neither TLS 1.2 nor 1.3",
        _ => return None,
    })
}
