//! The two ends of a connection: a pipe driven by edge-triggered readiness, and a blocking client.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use noctule_net::{ClientCertificates, Pipe, TlsAcceptor, TlsFailure};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use crate::certificates::{Authority, Identity, settings};

/// How long an event may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A client that blocks.
pub(crate) type Client = StreamOwned<ClientConnection, TcpStream>;

/// A CA, and an acceptor with a certificate that it has signed.
pub(crate) struct House {
    pub(crate) authority: Authority,
    pub(crate) acceptor: TlsAcceptor,
    listener: TcpListener,
}

impl House {
    pub(crate) fn new() -> Self {
        Self::asking(|_| ClientCertificates::NotAsked)
    }

    pub(crate) fn of(ca: &str) -> Self {
        Self::with(Authority::new(ca), ClientCertificates::NotAsked)
    }

    pub(crate) fn asking(clients: impl FnOnce(&Authority) -> ClientCertificates) -> Self {
        let authority = Authority::new("Servers");
        let clients = clients(&authority);
        Self::with(authority, clients)
    }

    fn with(authority: Authority, clients: ClientCertificates) -> Self {
        let acceptor = TlsAcceptor::new(settings(&authority.server(), clients)).expect("settings");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        Self { authority, acceptor, listener }
    }

    /// A raw client and the server's end of its connection, which expects TLS.
    pub(crate) fn raw(&self) -> (TcpStream, Served) {
        let (client, pipe) = self.plain();
        (client, Served::new(self.acceptor.accept(pipe).expect("a TLS pipe")))
    }

    /// A raw client and the server's end of its connection.
    pub(crate) fn plain(&self) -> (TcpStream, Pipe) {
        let client =
            TcpStream::connect(self.listener.local_addr().expect("bound")).expect("it listens");
        client.set_read_timeout(Some(DEADLINE)).expect("a socket");
        client.set_write_timeout(Some(DEADLINE)).expect("a socket");
        client.set_nodelay(true).expect("a socket");
        let (socket, _) = self.listener.accept().expect("a connection");
        socket.set_nonblocking(true).expect("a socket");
        let socket = mio::net::TcpStream::from_std(socket);
        (client, Pipe::Plain(socket.into()))
    }

    /// A TLS client that has said nothing yet, and the server's end.
    pub(crate) fn connect(&self, config: &Arc<ClientConfig>) -> (Client, Served) {
        let (socket, served) = self.raw();
        (client_over(socket, config), served)
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        self.config_of(rustls::ALL_VERSIONS, None)
    }

    pub(crate) fn config_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Identity>,
    ) -> Arc<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(self.verifier());
        Arc::new(match identity {
            Some(identity) => builder
                .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
                .expect("an identity"),
            None => builder.with_no_client_auth(),
        })
    }

    fn verifier(&self) -> Arc<dyn ServerCertVerifier> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.certificate()).expect("a CA");
        let provider = Arc::new(ring::default_provider());
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .expect("a verifier")
    }
}

pub(crate) fn client_over(socket: TcpStream, config: &Arc<ClientConfig>) -> Client {
    let name = "localhost".try_into().expect("a name");
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).expect("a client"), socket)
}

/// A pipe with what a loop knows of it.
pub(crate) struct Served {
    pub(crate) pipe: Pipe,
    poll: Poll,
    readable: bool,
    /// Reading ends with an end, and not with "nothing there".
    read_closed: bool,
    writable: bool,
}

impl Served {
    pub(crate) fn new(mut pipe: Pipe) -> Self {
        let poll = Poll::new().expect("a poll");
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut pipe, Token(0), both).expect("a socket");
        Self { pipe, poll, readable: false, read_closed: false, writable: true }
    }

    /// Takes the pipe out of this loop.
    pub(crate) fn leave(mut self) -> Pipe {
        self.poll.registry().deregister(&mut self.pipe).expect("it is registered");
        self.pipe
    }

    /// Waits until something changes.
    fn wait(&mut self) {
        let mut events = Events::with_capacity(8);
        loop {
            match self.poll.poll(&mut events, Some(DEADLINE)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result.expect("a poll"),
            }
            break;
        }
        assert!(!events.is_empty(), "no event in time: {:?}", self.pipe);
        for event in &events {
            self.read_closed |= event.is_read_closed() || event.is_error();
            self.readable |= event.is_readable() || self.read_closed;
            self.writable |= event.is_writable();
        }
        self.flush_if_possible();
    }

    fn flush_if_possible(&mut self) {
        if self.writable && self.pipe.wants_write() {
            match self.pipe.flush() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                // Reading will say it.
                _ => {}
            }
        }
    }

    /// The next bytes, at most `most`; none is the end.
    pub(crate) fn read(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; most];
        loop {
            if !self.readable && !self.pipe.holds_input() {
                self.wait();
                continue;
            }
            match self.pipe.read(&mut buffer) {
                Ok(read) => {
                    self.readable = read == most || self.read_closed;
                    buffer.truncate(read);
                    return Ok(buffer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for something to come, and reads all of it that is for the caller, in reads of at most `most`.
    pub(crate) fn read_all_there_is(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut buffer = vec![0; most];
        while !self.readable {
            self.wait();
        }
        while self.readable || self.pipe.holds_input() {
            match self.pipe.read(&mut buffer) {
                Ok(read) => {
                    self.readable = read == most;
                    all.extend_from_slice(&buffer[..read]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Exactly `count` bytes, in reads of at most `most`.
    pub(crate) fn read_exactly(&mut self, count: usize, most: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < count {
            let bytes = self.read(most.min(count - all.len())).expect("bytes");
            assert!(!bytes.is_empty(), "ended after {} bytes", all.len());
            all.extend(bytes);
        }
        all
    }

    /// Writes as much as the socket takes without waiting.
    pub(crate) fn write_now(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() && self.writable {
            match self.pipe.write(&bytes[written..]) {
                Ok(count) => {
                    self.writable = count == bytes.len() - written;
                    written += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) => panic!("{error}"),
            }
        }
        written
    }

    /// Writes all, and lets all leave.
    pub(crate) fn write_all(&mut self, bytes: &[u8]) {
        let mut written = 0;
        while written < bytes.len() {
            written += self.write_now(&bytes[written..]);
            if written < bytes.len() {
                self.wait();
            }
        }
        self.drain();
    }

    /// Writes slices that fit at once.
    pub(crate) fn write_slices(&mut self, slices: &[&[u8]]) -> usize {
        let slices: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        let written = self.pipe.write_vectored(&slices).expect("room");
        self.drain();
        written
    }

    /// Waits until everything that was taken has left.
    pub(crate) fn drain(&mut self) {
        while self.pipe.wants_write() {
            self.writable = false;
            self.wait();
        }
    }

    /// Reads what has come, of which nothing is for the caller.
    pub(crate) fn look(&mut self) {
        while !self.readable {
            self.wait();
        }
        match self.pipe.read(&mut [0; 100]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
            other => panic!("something for the caller: {other:?}"),
        }
    }

    /// Lets the handshake go on as far as it can without a byte of the caller's.
    pub(crate) fn pump(&mut self) {
        self.wait();
        match self.pipe.read(&mut [0; 1]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
            other => panic!("in the handshake: {other:?}"),
        }
    }

    /// The failure that reading ends with.
    pub(crate) fn failure(&mut self) -> TlsFailure {
        let error = loop {
            match self.read(100) {
                Ok(bytes) => assert!(!bytes.is_empty(), "an end instead of a failure"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        let inner = error.into_inner().expect("a failure of TLS");
        *inner.downcast::<TlsFailure>().expect("a failure of TLS")
    }
}
