//! What carries a connection of the generator: a socket, TLS over it if that is wanted, and frames of
//! WebSocket over that; none of them ever waits.
//!
//! This is the client's end of TLS; the server's end, in `noctule-net`, has to be fair to thousands
//! of strangers and may be left half-read. Here every connection is read until nothing is left, so
//! that readiness told at its edge is enough, and no rule of fairness is needed.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::time::Duration;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use rustls::{ClientConnection, HandshakeKind};

use crate::LoadError;
use crate::endpoint::{Endpoint, TlsClient};
use crate::framed::Framed;
use crate::socket::{Socket, WaitingSocket};

/// A stream of bytes, in frames of WebSocket if that is wanted.
#[derive(Debug)]
pub(crate) struct Layered<S> {
    stream: S,
    framed: Option<Box<Framed>>,
}

/// A connection that never waits.
pub(crate) type Carrier = Layered<Stream>;

/// One in its opening, which waits for each answer.
pub(crate) type Waiting = Layered<WaitingStream>;

/// A stream of bytes, as it is or encrypted.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(Socket),
    Tls(Box<TlsCarrier>),
}

/// TLS over a socket.
#[derive(Debug)]
pub(crate) struct TlsCarrier {
    socket: Socket,
    session: ClientConnection,
    /// What was read from the socket at once.
    incoming: Box<[u8]>,
    /// Which part of it TLS has not looked at yet: it takes no more than somebody reads.
    unseen: Range<usize>,
}

/// Two records at their largest.
const INCOMING_BYTES: usize = 32 * 1024;

impl Layered<Stream> {
    /// Begins to connect, with readiness reported under `token`.
    pub(crate) fn dial(
        endpoint: &Endpoint,
        registry: &Registry,
        token: Token,
    ) -> Result<Self, LoadError> {
        let socket = Socket::dial(&endpoint.place)?;
        let session = endpoint.tls.as_ref().map(TlsClient::session).transpose()?;
        let framed = framed(endpoint)?;
        let mut carrier = Self { stream: Stream::over(socket, session), framed };
        carrier.register(registry, token)?;
        Ok(carrier)
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> Result<(), LoadError> {
        let both = Interest::READABLE.add(Interest::WRITABLE);
        let socket = match &mut self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => &mut tls.socket,
        };
        socket
            .register(registry, token, both)
            .map_err(|error| LoadError::io("cannot watch a connection for readiness", error))
    }

    /// What lies below everything.
    pub(crate) fn socket(&self) -> &Socket {
        match &self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => &tls.socket,
        }
    }

    /// Whether a read that brought `count` bytes to a buffer of `most` has emptied the socket.
    pub(crate) fn has_emptied_socket(&self, count: usize, most: usize) -> bool {
        match (&self.stream, &self.framed) {
            (Stream::Tls(_), _) => false,
            (Stream::Plain(_), None) => count < most,
            (Stream::Plain(_), Some(framed)) => framed.has_emptied_it(),
        }
    }

    /// Whether it has taken in what its socket did not take yet.
    pub(crate) fn has_unsent(&self) -> bool {
        match &self.stream {
            Stream::Plain(_) => false,
            Stream::Tls(tls) => tls.session.wants_write(),
        }
    }

    /// Whether the handshake resumed an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        match &self.stream {
            Stream::Plain(_) => false,
            Stream::Tls(tls) => tls.session.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// Says `last`, finishes writing, and waits at most `patience` until the peer has closed.
    pub(crate) fn close(self, last: &[u8], patience: Duration) -> io::Result<()> {
        match self.framed {
            Some(framed) => self.stream.close(&framed.last_words(last)?, patience),
            None => self.stream.close(last, patience),
        }
    }
}

/// The frames of a connection to an endpoint that wants them.
fn framed(endpoint: &Endpoint) -> Result<Option<Box<Framed>>, LoadError> {
    endpoint.web_socket.as_ref().map(|door| Framed::new(door).map(Box::new)).transpose()
}

impl<S: Read + Write> Read for Layered<S> {
    /// 0 is the end, whether it was announced in TLS or not: MQTT knows by itself what is whole.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.framed {
            Some(framed) => framed.read(&mut self.stream, buffer),
            None => self.stream.read(buffer),
        }
    }
}

impl<S: Read + Write> Write for Layered<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.framed {
            Some(framed) => framed.write(&mut self.stream, bytes),
            None => self.stream.write(bytes),
        }
    }

    /// Lets bytes leave that the socket did not take when they were written.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.framed {
            Some(framed) => framed.flush(&mut self.stream),
            None => self.stream.flush(),
        }
    }
}

impl Stream {
    fn over(socket: Socket, session: Option<ClientConnection>) -> Self {
        match session {
            None => Self::Plain(socket),
            Some(session) => {
                let incoming = vec![0; INCOMING_BYTES].into_boxed_slice();
                Self::Tls(Box::new(TlsCarrier { socket, session, incoming, unseen: 0..0 }))
            }
        }
    }

    fn close(self, last: &[u8], patience: Duration) -> io::Result<()> {
        match self {
            Self::Plain(socket) => {
                let mut stream = socket.into_waiting(patience)?;
                stream.write_all(last)?;
                stream.finish()?;
                io::copy(&mut stream, &mut io::sink()).map(|_| ())
            }
            Self::Tls(tls) => {
                let TlsCarrier { socket, mut session, .. } = *tls;
                let mut stream = socket.into_waiting(patience)?;
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

fn farewell(session: &mut ClientConnection, stream: &mut WaitingSocket) -> io::Result<()> {
    session.send_close_notify();
    while session.wants_write() {
        session.write_tls(stream)?;
    }
    stream.finish()?;
    io::copy(stream, &mut io::sink()).map(|_| ())
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
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

/// What carries a connection in its opening.
#[derive(Debug)]
pub(crate) enum WaitingStream {
    Plain(WaitingSocket),
    Tls(Box<rustls::StreamOwned<ClientConnection, WaitingSocket>>),
}

impl Layered<WaitingStream> {
    /// Connects, and waits at most `patience` for this and later for each answer.
    pub(crate) fn connect(endpoint: &Endpoint, patience: Duration) -> Result<Self, LoadError> {
        let socket = WaitingSocket::connect(&endpoint.place, patience)?;
        let stream = match &endpoint.tls {
            None => WaitingStream::Plain(socket),
            Some(tls) => {
                let session = tls.session()?;
                WaitingStream::Tls(Box::new(rustls::StreamOwned::new(session, socket)))
            }
        };
        Ok(Self { stream, framed: framed(endpoint)? })
    }

    /// The same connection, which waits no more.
    pub(crate) fn into_carrier(self) -> io::Result<Carrier> {
        let (socket, session) = match self.stream {
            WaitingStream::Plain(socket) => (socket, None),
            WaitingStream::Tls(tls) => (tls.sock, Some(tls.conn)),
        };
        let stream = Stream::over(socket.into_socket()?, session);
        Ok(Layered { stream, framed: self.framed })
    }

    /// The socket; what TLS and frames have taken in and not handed on is lost.
    pub(crate) fn into_socket(self) -> WaitingSocket {
        match self.stream {
            WaitingStream::Plain(socket) => socket,
            WaitingStream::Tls(tls) => tls.sock,
        }
    }
}

impl Read for WaitingStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for WaitingStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
