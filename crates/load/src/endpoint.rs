//! Where a broker is and how clients introduce themselves there: place, version, password, TLS,
//! WebSocket.
//!
//! A value to be cloned and handed around; nothing here opens a connection. Certificates are not
//! judged here either: whoever makes a [`TlsClient`] brings the configuration that does.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use noctule_mqtt::packet::Connect;
use noctule_mqtt::{Packet, Properties, ProtocolVersion};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::LoadError;
use crate::packets;
pub use crate::socket::Place;

/// A broker as clients of the generator meet it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Where it listens.
    pub place: Place,
    /// Which MQTT is spoken.
    pub version: ProtocolVersion,
    /// As whom.
    pub user_name: Option<String>,
    /// With which password.
    pub password: Option<Vec<u8>>,
    /// With which encryption, if any.
    pub tls: Option<TlsClient>,
    /// In which frames, if any.
    pub web_socket: Option<WebSocketClient>,
    /// What client identifiers and topics begin with.
    pub prefix: String,
}

impl From<SocketAddr> for Endpoint {
    /// MQTT 3.1.1 without a name and without encryption.
    fn from(address: SocketAddr) -> Self {
        let version = ProtocolVersion::V311;
        let prefix = "load".into();
        Self {
            place: address.into(),
            version,
            user_name: None,
            password: None,
            tls: None,
            web_socket: None,
            prefix,
        }
    }
}

impl Endpoint {
    /// The CONNECT of a client with this identifier.
    ///
    /// # Errors
    /// If one of the texts is too long.
    pub(crate) fn connect(
        &self,
        client_id: &str,
        keep_alive: u16,
        clean: bool,
    ) -> Result<Vec<u8>, LoadError> {
        packets::encoded(
            &Packet::Connect(Box::new(Connect {
                version: self.version,
                clean_start: clean,
                keep_alive,
                client_id,
                will: None,
                user_name: self.user_name.as_deref(),
                password: self.password.as_deref(),
                properties: Properties::EMPTY,
            })),
            self.version,
        )
    }
}

/// What a client says when it asks for WebSocket.
#[derive(Debug, Clone)]
pub struct WebSocketClient {
    /// Host and port as the server is known by them.
    pub host: String,
    /// The path.
    pub path: String,
}

/// How the client's end of TLS is made.
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl TlsClient {
    /// With a configuration of one's own; `server_name` is the name or address that the broker's
    /// certificate must hold.
    ///
    /// # Errors
    /// If `server_name` is neither.
    pub fn new(config: Arc<ClientConfig>, server_name: &str) -> Result<Self, LoadError> {
        let server_name = ServerName::try_from(server_name.to_owned())
            .map_err(|error| LoadError::new(format!("{server_name:?} names no server: {error}")))?;
        Ok(Self { config, server_name })
    }

    /// Trusts the CA certificates in this PEM text, and no others.
    ///
    /// # Errors
    /// If the text holds none.
    pub fn trusting(ca_pem: &[u8], server_name: &str) -> Result<Self, LoadError> {
        let unfit = |error: &dyn fmt::Display| LoadError::new(format!("no CA to trust: {error}"));
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem) {
            let certificate = certificate.map_err(|error| unfit(&error))?;
            roots.add(certificate).map_err(|error| unfit(&error))?;
        }
        if roots.is_empty() {
            return Err(unfit(&"there is no certificate in the file"));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unfit(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self::new(Arc::new(config), server_name)
    }

    /// The same, and every handshake is a full one.
    #[must_use]
    pub fn without_resumption(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::disabled();
        Self { config: Arc::new(config), server_name: self.server_name.clone() }
    }

    /// A session for one connection.
    pub(crate) fn session(&self) -> Result<rustls::ClientConnection, LoadError> {
        rustls::ClientConnection::new(Arc::clone(&self.config), self.server_name.clone())
            .map_err(|error| LoadError::new(format!("cannot begin TLS: {error}")))
    }
}
