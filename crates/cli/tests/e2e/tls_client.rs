//! A raw client over TLS: any bytes, whenever a test wants them to leave.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::broker::Broker;
use crate::program::DEADLINE;

/// A connection whose handshake begins with the first byte that is written.
pub(crate) struct TlsClient(StreamOwned<ClientConnection, TcpStream>);

impl TlsClient {
    /// To the broker's TLS port, trusting what is in the PEM file `ca`.
    pub(crate) fn new(broker: &Broker, ca: &Path) -> Self {
        Self::sharing(broker, &Self::config(ca, None))
    }

    /// As [`new`](Self::new), with a certificate and a key of its own.
    pub(crate) fn with(broker: &Broker, ca: &Path, certificate: &Path, key: &Path) -> Self {
        Self::sharing(broker, &Self::config(ca, Some((certificate, key))))
    }

    /// With settings that other clients have, too.
    pub(crate) fn sharing(broker: &Broker, config: &Arc<ClientConfig>) -> Self {
        let name = "localhost".try_into().expect("a name");
        let session = ClientConnection::new(Arc::clone(config), name).expect("a client");
        Self(StreamOwned::new(session, tcp(broker)))
    }

    /// Settings that trust `ca`, with a certificate and a key of one's own.
    pub(crate) fn config(ca: &Path, own: Option<(&Path, &Path)>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).expect("a file") {
            roots.add(certificate.expect("a certificate")).expect("a CA");
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        Arc::new(match own {
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_file_iter(certificate).expect("a file");
                let chain = chain.collect::<Result<_, _>>().expect("certificates");
                let key = PrivateKeyDer::from_pem_file(key).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("a pair")
            }
            None => builder.with_no_client_auth(),
        })
    }

    /// Sends bytes, with a handshake before them if there was none.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("an open connection");
        self.0.flush().expect("an open connection");
    }

    /// Sends the first words of the handshake, and goes on with it at the next [`send`](Self::send).
    pub(crate) fn say_hello(&mut self) {
        let Self(StreamOwned { conn, sock }) = self;
        while conn.wants_write() {
            conn.write_tls(sock).expect("an open connection");
        }
    }

    /// Sends bytes in records of which the last `count` encrypted bytes do not leave yet: those are returned, for
    /// [`send_encrypted`](Self::send_encrypted).
    pub(crate) fn send_all_but(&mut self, bytes: &[u8], count: usize) -> Vec<u8> {
        let mut records = Vec::new();
        self.0.conn.writer().write_all(bytes).expect("room");
        while self.0.conn.wants_write() {
            self.0.conn.write_tls(&mut records).expect("memory");
        }
        let rest = records.split_off(records.len() - count);
        self.send_encrypted(&records);
        rest
    }

    /// Sends what is encrypted already.
    pub(crate) fn send_encrypted(&mut self, records: &[u8]) {
        self.0.sock.write_all(records).expect("an open connection");
    }

    /// The next `count` bytes.
    pub(crate) fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).expect("bytes");
        bytes
    }

    /// SHA-256 of the certificate that the broker presented.
    pub(crate) fn certificate_of_broker(&self) -> String {
        let chain = self.0.conn.peer_certificates().expect("after the handshake");
        noctule_cert::facts(&chain[0]).expect("a certificate").fingerprint_sha256
    }
}

fn tcp(broker: &Broker) -> TcpStream {
    let port = broker.tls_port().parse().expect("a port");
    let socket = TcpStream::connect((broker.host().as_str(), port)).expect("the broker accepts");
    socket.set_read_timeout(Some(DEADLINE)).expect("a socket");
    socket.set_write_timeout(Some(DEADLINE)).expect("a socket");
    socket
}
