//! What a TLS server presents and whom it accepts; replaceable while it runs.
//!
//! TLS 1.2 and 1.3 with the cipher suites that rustls offers, all with forward secrecy. Sessions are
//! resumed by tickets, which the server need not remember. Replacing the settings makes older tickets
//! void, so that a certificate revoked since cannot come back by one. Connections that exist are not
//! touched.

use super::TlsStream;
use super::asked::OneCertificate;
use super::session::Session;
use super::timeless::Timeless;
use crate::Pipe;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, version};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

/// What a server presents, and whom it accepts.
#[derive(Debug)]
pub struct TlsSettings {
    /// The server's certificate, followed by those between it and a root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the first certificate.
    pub key: PrivateKeyDer<'static>,
    /// Whether clients show certificates.
    pub clients: ClientCertificates,
    /// Whether TLS 1.2 is not offered.
    pub newest_only: bool,
}

/// Whether clients show certificates.
#[derive(Debug)]
pub enum ClientCertificates {
    /// They are not asked to.
    NotAsked,
    /// Who shows one must show a valid one.
    Optional(ClientTrust),
    /// Who shows no valid one is refused.
    Required(ClientTrust),
}

/// What makes a client's certificate a valid one.
#[derive(Debug)]
pub struct ClientTrust {
    /// The CAs that sign them.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Certificates that are not valid any more. If there is a list, each of those CAs needs one:
    /// where none says that a certificate is still good, it is refused. That a list is past its
    /// time is no reason to refuse.
    pub revocation_lists: Vec<CertificateRevocationListDer<'static>>,
    /// Whether a certificate whose time is over, or has not come, is taken like any other.
    pub ignores_dates: bool,
}

/// Settings that cannot be used, in one line.
#[derive(Debug)]
pub struct BadTlsSettings(String);

impl fmt::Display for BadTlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadTlsSettings {}

/// Makes TLS connections out of accepted plain ones. Shared by all threads that accept.
pub struct TlsAcceptor {
    config: RwLock<Arc<ServerConfig>>,
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").finish_non_exhaustive()
    }
}

impl TlsAcceptor {
    /// An acceptor with these settings.
    ///
    /// # Errors
    /// [`BadTlsSettings`] if they cannot be used, for example a key that is not the certificate's.
    pub fn new(settings: TlsSettings) -> Result<Self, BadTlsSettings> {
        Ok(Self { config: RwLock::new(config(settings)?) })
    }

    /// Uses other settings for connections to come.
    ///
    /// # Errors
    /// [`BadTlsSettings`]; the former settings stay in use.
    pub fn replace(&self, settings: TlsSettings) -> Result<(), BadTlsSettings> {
        let config = config(settings)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Makes a plain pipe one that expects a TLS handshake. One that has TLS stays as it is.
    ///
    /// # Errors
    /// What rustls says about a new connection; it has no reason to.
    pub fn accept(&self, pipe: Pipe) -> io::Result<Pipe> {
        let Pipe::Plain(socket) = pipe else {
            return Ok(pipe);
        };
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner).clone();
        let session = Session::new(config).map_err(io::Error::other)?;
        Ok(Pipe::Tls(Box::new(TlsStream::new(socket, session))))
    }
}

fn config(settings: TlsSettings) -> Result<Arc<ServerConfig>, BadTlsSettings> {
    let bad = |what: &str, error: &dyn fmt::Display| BadTlsSettings(format!("{what}: {error}"));
    let provider = Arc::new(ring::default_provider());
    let versions: &[_] =
        if settings.newest_only { &[&version::TLS13] } else { rustls::DEFAULT_VERSIONS };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| bad("TLS versions", &error))?;
    let certificate = CertifiedKey::from_der(settings.chain, settings.key, &provider)
        .map_err(|error| bad("the server's certificate and key", &error))?;
    let builder = match verifier(settings.clients, provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(OneCertificate::new(certificate)));
    config.ticketer = ring::Ticketer::new().map_err(|error| bad("session tickets", &error))?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

fn verifier(
    clients: ClientCertificates,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, BadTlsSettings> {
    let (trust, is_optional) = match clients {
        ClientCertificates::NotAsked => return Ok(None),
        ClientCertificates::Optional(trust) => (trust, true),
        ClientCertificates::Required(trust) => (trust, false),
    };
    let mut roots = RootCertStore::empty();
    for (number, authority) in (1..).zip(trust.authorities) {
        roots.add(authority).map_err(|error| {
            BadTlsSettings(format!("certificate {number} of the clients' CAs: {error}"))
        })?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .with_crls(trust.revocation_lists)
        .only_check_end_entity_revocation();
    let builder = if is_optional { builder.allow_unauthenticated() } else { builder };
    let verifier = builder.build().map_err(|error| {
        BadTlsSettings(format!("the clients' CAs and revocation lists: {error}"))
    })?;
    if trust.ignores_dates { Ok(Some(Arc::new(Timeless(verifier)))) } else { Ok(Some(verifier)) }
}
