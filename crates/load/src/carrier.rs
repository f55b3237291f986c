//! What carries a connection of the generator: TCP, or TLS over TCP, neither of which ever waits.
//!
//! This is the client's end of TLS; the server's end, in `noctule-net`, has to be fair to thousands
//! of strangers and may be left half-read. Here every connection is read until nothing is left, so
//! that readiness told at its edge is enough, and no rule of fairness is needed.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::{ClientConnection, HandshakeKind};

use crate::LoadError;
use crate::endpoint::{Endpoint, TlsClient};

/// A stream of bytes.
#[derive(Debug)]
pub(crate) enum Carrier {
    Tcp(TcpStream),
    Tls(Box<TlsCarrier>),
}

/// TLS over TCP.
#[derive(Debug)]
pub(crate) struct TlsCarrier {
    socket: TcpStream,
    session: ClientConnection,
    /// What was read from the socket at once.
    incoming: Box<[u8]>,
    /// Which part of it TLS has not looked at yet: it takes no more than somebody reads.
    unseen: Range<usize>,
}

/// Two records at their largest.
const INCOMING_BYTES: usize = 32 * 1024;

impl Carrier {
    /// Begins to connect, with readiness reported under `token`.
    pub(crate) fn dial(
        endpoint: &Endpoint,
        registry: &Registry,
        token: Token,
    ) -> Result<Self, LoadError> {
        let address = endpoint.address;
        let socket = TcpStream::connect(address)
            .map_err(|error| LoadError::io(format!("cannot connect to {address}"), error))?;
        let session = endpoint.tls.as_ref().map(TlsClient::session).transpose()?;
        let mut carrier = Self::over(socket, session);
        carrier.register(registry, token)?;
        Ok(carrier)
    }

    pub(crate) fn over(socket: TcpStream, session: Option<ClientConnection>) -> Self {
        match session {
            None => Self::Tcp(socket),
            Some(session) => {
                let incoming = vec![0; INCOMING_BYTES].into_boxed_slice();
                Self::Tls(Box::new(TlsCarrier { socket, session, incoming, unseen: 0..0 }))
            }
        }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> Result<(), LoadError> {
        let both = Interest::READABLE.add(Interest::WRITABLE);
        self.socket_mut()
            .register(registry, token, both)
            .map_err(|error| LoadError::io("cannot watch a connection for readiness", error))
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Tcp(socket) => socket,
            Self::Tls(tls) => &tls.socket,
        }
    }

    fn socket_mut(&mut self) -> &mut TcpStream {
        match self {
            Self::Tcp(socket) => socket,
            Self::Tls(tls) => &mut tls.socket,
        }
    }

    /// Whether TCP is through; an error if it never will be.
    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        if let Some(error) = self.socket().take_error()? {
            return Err(error);
        }
        match self.socket().peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a read that did not fill its buffer has emptied the socket.
    pub(crate) fn empties_by_short_read(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Whether the handshake resumed an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Tls(tls) => tls.session.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// Says `last`, finishes writing, and waits at most `patience` until the peer has closed.
    pub(crate) fn close(self, last: &[u8], patience: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => {
                let mut stream = waiting(socket, patience)?;
                stream.write_all(last)?;
                stream.shutdown(Shutdown::Write)?;
                io::copy(&mut stream, &mut io::sink()).map(|_| ())
            }
            Self::Tls(tls) => {
                let TlsCarrier { socket, mut session, .. } = *tls;
                let mut stream = waiting(socket, patience)?;
                rustls::Stream::new(&mut session, &mut stream).write_all(last)?;
                match farewell(&mut session, &mut stream) {
                    // Who closes on DISCONNECT need not hear the goodbye of TLS as well.
                    Err(error) if is_gone(&error) => Ok(()),
                    done => done,
                }
            }
        }
    }
}

fn waiting(socket: TcpStream, patience: Duration) -> io::Result<std::net::TcpStream> {
    let stream = std::net::TcpStream::from(socket);
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(patience))?;
    Ok(stream)
}

fn farewell(session: &mut ClientConnection, stream: &mut std::net::TcpStream) -> io::Result<()> {
    session.send_close_notify();
    while session.wants_write() {
        session.write_tls(stream)?;
    }
    stream.shutdown(Shutdown::Write)?;
    io::copy(stream, &mut io::sink()).map(|_| ())
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

impl Read for Carrier {
    /// 0 is the end, whether it was announced in TLS or not: MQTT knows by itself what is whole.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Carrier {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    /// Lets encrypted bytes leave that the socket did not take when they were written.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

impl TlsCarrier {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                answer => return answer,
            }
            if self.unseen.is_empty() {
                self.unseen = 0..self.socket.read(&mut self.incoming)?;
                if self.unseen.is_empty() {
                    return Ok(0);
                }
            }
            self.decrypt()?;
        }
    }

    /// Has TLS look at some of what has come, and lets leave what it answers.
    fn decrypt(&mut self) -> io::Result<()> {
        let mut unseen = &self.incoming[self.unseen.clone()];
        self.unseen.start += self.session.read_tls(&mut unseen)?;
        if let Err(error) = self.session.process_new_packets() {
            // The alert that says why; nobody is left to complain to if it does not get out.
            let _ = self.flush();
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let taken = self.session.writer().write(bytes)?;
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            // What was taken waits in the session, whose buffer has an end of 64 KiB.
            _ if taken == 0 && !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

/// A stream in the opening of a connection, which waits for each answer.
#[derive(Debug)]
pub(crate) enum Waiting {
    Tcp(std::net::TcpStream),
    Tls(Box<rustls::StreamOwned<ClientConnection, std::net::TcpStream>>),
}

impl Waiting {
    /// Connects, and waits at most `patience` for this and later for each answer.
    pub(crate) fn connect(endpoint: &Endpoint, patience: Duration) -> Result<Self, LoadError> {
        let address: SocketAddr = endpoint.address;
        let stream = std::net::TcpStream::connect_timeout(&address, patience)
            .and_then(|stream| {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(patience))?;
                Ok(stream)
            })
            .map_err(|error| LoadError::io(format!("cannot connect to {address}"), error))?;
        Ok(match &endpoint.tls {
            None => Self::Tcp(stream),
            Some(tls) => Self::Tls(Box::new(rustls::StreamOwned::new(tls.session()?, stream))),
        })
    }

    /// The same connection, which waits no more.
    pub(crate) fn into_carrier(self) -> io::Result<Carrier> {
        let (stream, session) = match self {
            Self::Tcp(stream) => (stream, None),
            Self::Tls(tls) => (tls.sock, Some(tls.conn)),
        };
        stream.set_nonblocking(true)?;
        Ok(Carrier::over(TcpStream::from_std(stream), session))
    }

    /// The socket; of TLS, what it has decrypted is lost.
    pub(crate) fn into_socket(self) -> std::net::TcpStream {
        match self {
            Self::Tcp(stream) => stream,
            Self::Tls(tls) => tls.sock,
        }
    }
}

impl Read for Waiting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Waiting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
