//! Opening a connection: name look-up and TCP, or a Unix socket; TLS if it is wanted, and WebSocket.
//! No MQTT here.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig};

use crate::address::{Address, Transport};
use crate::reason::Reason;
use crate::web_socket::{Failure, WebSocket};

/// A stream of bytes in both directions.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open connection.
pub(crate) struct Connection {
    pub(crate) reader: ReadHalf<Box<dyn Stream>>,
    pub(crate) writer: WriteHalf<Box<dyn Stream>>,
    /// What the peer showed, in DER.
    pub(crate) certificates: Vec<Bytes>,
}

/// Opens a connection, encrypted if there is a configuration for it.
pub(crate) async fn open(
    address: Address,
    bind_address: Option<IpAddr>,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Connection, Reason> {
    let cannot = |error| Reason::Network(format!("cannot connect to {address}: {error}"));
    if let Transport::Unix(path) = &address.transport {
        let stream = UnixStream::connect(path).await.map_err(cannot)?;
        return Ok(Connection::over(Box::new(stream), Vec::new()));
    }
    let tcp = connect(&address, bind_address).await.map_err(cannot)?;
    // Small packets that wait for an answer must not wait for more data; without the option they
    // come late and nothing breaks.
    let _ = tcp.set_nodelay(true);
    let mut certificates = Vec::new();
    let stream: Box<dyn Stream> = match tls {
        None => Box::new(tcp),
        Some(config) => {
            let stream = encrypt(&address, config, tcp).await?;
            let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
            certificates.extend(shown.iter().map(|shown| Bytes::copy_from_slice(shown)));
            Box::new(stream)
        }
    };
    let stream = match &address.transport {
        Transport::WebSocket { path } => {
            let upgraded = WebSocket::upgrade(stream, &address.authority(), path).await;
            Box::new(upgraded.map_err(Failure::into_reason)?)
        }
        Transport::Tcp | Transport::Unix(_) => stream,
    };
    Ok(Connection::over(stream, certificates))
}

impl Connection {
    fn over(stream: Box<dyn Stream>, certificates: Vec<Bytes>) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self { reader, writer, certificates }
    }
}

/// Tries the addresses of the host in turn.
async fn connect(address: &Address, bind_address: Option<IpAddr>) -> io::Result<TcpStream> {
    let place = (address.host.as_str(), address.port);
    let Some(own) = bind_address else { return TcpStream::connect(place).await };
    let mut failure = io::Error::other("the name has no address of the kind to connect from");
    for peer in lookup_host(place).await?.filter(|peer| peer.is_ipv4() == own.is_ipv4()) {
        let socket = if own.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind(SocketAddr::new(own, 0))?;
        match socket.connect(peer).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn encrypt(
    address: &Address,
    config: Arc<ClientConfig>,
    tcp: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Reason> {
    let name = ServerName::try_from(address.host.clone()).map_err(|_| {
        Reason::Tls(format!("\"{}\" is no name that a certificate could be for", address.host))
    })?;
    TlsConnector::from(config).connect(name, tcp).await.map_err(|error| tls_reason(address, &error))
}

/// What a failed handshake means. Only what concerns certificates and agreement is final; a
/// connection that broke meanwhile is one that broke.
fn tls_reason(address: &Address, error: &io::Error) -> Reason {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(problem)) => Reason::Tls(format!(
            "the certificate of {address} is not accepted: {}",
            certificate_words(problem)
        )),
        Some(rustls::Error::InvalidMessage(_)) => {
            Reason::Tls(format!("{address} does not answer with TLS; is this the plain port?"))
        }
        Some(rustls::Error::AlertReceived(alert)) => Reason::Tls(format!(
            "{address} ended the handshake: {alert:?}; it may ask for a client certificate or for \
             another version of TLS"
        )),
        Some(other) => Reason::Tls(other.to_string()),
        None => Reason::Network(format!("the TLS handshake with {address} broke off: {error}")),
    }
}

/// What is wrong with a certificate, and what helps.
fn certificate_words(problem: &CertificateError) -> String {
    match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired; the broker needs a new one".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; is this machine's clock right?".into()
        }
        CertificateError::UnknownIssuer => {
            "its issuer is not trusted; name the CA or the certificate to trust".into()
        }
        CertificateError::BadSignature => {
            "another CA of the same name has signed it; name the CA or the certificate to trust"
                .into()
        }
        other => other.to_string(),
    }
}
