//! One connection, whatever carries it.
//!
//! For loops that are told of readiness once per change (edge-triggered). The contract:
//!
//! - [`Pipe::read`] that fills less than its buffer has emptied the socket, so readiness will be told
//!   again; unless [`Pipe::holds_input`], for then there is more without the socket having anything. If it was
//!   told already that the peer has closed its side, the end is still to be read.
//! - [`Pipe::write`] that takes less than it was given, or says `WouldBlock`, has filled the socket, so
//!   it will be told when there is room.
//! - When there is room, [`Pipe::flush`] comes first if [`Pipe::wants_write`]: bytes that were taken
//!   may not have left. It may become true by reading, too, as TLS and WebSocket answer by themselves.
//!
//! [`Pipe::read`] may also say `WouldBlock` and hold input: there was much that is no payload.

use crate::Peer;
use crate::proxy::{Announcement, skip_announcement};
use crate::stream::Stream;
use crate::tls::{TlsFacts, TlsStream};
use crate::websocket::{WebSocketRules, WebSocketStream};
use mio::event::Source;
use mio::{Interest, Registry, Token};
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

/// A two-way stream of bytes. It can be sent to another thread at any time, with what it holds.
#[derive(Debug)]
pub enum Pipe {
    /// The socket itself.
    Plain(Stream),
    /// TLS over it.
    Tls(Box<TlsStream>),
    /// WebSocket over one of these.
    WebSocket(Box<WebSocketStream>),
}

impl Pipe {
    /// Makes a pipe one that expects an upgrade to WebSocket, and then carries bytes in binary frames.
    #[must_use]
    pub fn into_websocket(self, rules: Arc<WebSocketRules>) -> Self {
        Self::WebSocket(Box::new(WebSocketStream::new(self, rules)))
    }

    /// Reads what is there into `buffer`; 0 means that the peer has finished writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing is there, or what the operating system says. With
    /// TLS, [`io::ErrorKind::InvalidData`] around a [`TlsFailure`](crate::TlsFailure); with WebSocket
    /// around a [`WebSocketFailure`](crate::WebSocketFailure), after which the peer may still be told why.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
            Self::WebSocket(stream) => stream.read(buffer),
        }
    }

    /// Whether a further [`read`](Self::read) has an answer without the socket having anything: bytes
    /// that were decrypted already, or the end.
    pub fn holds_input(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.holds_input(),
            Self::WebSocket(stream) => stream.holds_input(),
        }
    }

    /// Writes as much of `bytes` as fits now.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write_vectored(&[IoSlice::new(bytes)]),
            Self::WebSocket(stream) => stream.write(bytes),
        }
    }

    /// Writes as much of `slices`, one after another, as fits now.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write_vectored(slices),
            Self::Tls(stream) => stream.write_vectored(slices),
            Self::WebSocket(stream) => stream.write_vectored(slices),
        }
    }

    /// Whether bytes that were taken are still here, because the socket was full.
    pub fn wants_write(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.wants_write(),
            Self::WebSocket(stream) => stream.wants_write(),
        }
    }

    /// How many bytes are here, in either direction: were taken and have not left, or have come and were not read,
    /// as some are not whole.
    pub fn held(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(stream) => stream.held(),
            Self::WebSocket(stream) => stream.held(),
        }
    }

    /// Lets bytes leave that were taken.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if some are still here, or what the operating system says.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.flush(),
            Self::WebSocket(stream) => stream.flush(),
        }
    }

    /// Tells the peer that nothing more will be written; what [`wants_write`](Self::wants_write) is
    /// about may be lost. That the peer is gone already is no error.
    pub fn finish_writing(&mut self) {
        match self {
            Self::Plain(stream) => stream.finish_writing(),
            Self::Tls(stream) => stream.finish_writing(),
            Self::WebSocket(stream) => stream.finish_writing(),
        }
    }

    /// Whether the handshake of TLS is still going on. It advances by reading; how long it may take is
    /// the caller's to decide.
    pub fn is_handshaking(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.is_handshaking(),
            Self::WebSocket(stream) => stream.inner().is_handshaking(),
        }
    }

    /// What was agreed on in the handshake; none without TLS, or before it is through.
    pub fn tls_facts(&self) -> Option<TlsFacts> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.facts(),
            Self::WebSocket(stream) => stream.inner().tls_facts(),
        }
    }

    /// Whether what crosses the wire is encrypted.
    pub fn is_encrypted(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(_) => true,
            Self::WebSocket(stream) => stream.inner().is_encrypted(),
        }
    }

    /// Whether this is the socket alone, without anything that would have to say goodbye first.
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Whether this is WebSocket, or may become it.
    pub fn is_websocket(&self) -> bool {
        matches!(self, Self::WebSocket(_))
    }

    /// Whose the connection is, if its other end is `peer`'s: a proxy of ours may say so in its request for
    /// WebSocket (`X-Forwarded-For`), once that is read. Who comes by way of another proxy is not `peer`
    /// either, but nobody knows who it is.
    #[must_use]
    pub fn forwarded(&self, peer: Peer) -> Peer {
        match self {
            Self::Plain(_) | Self::Tls(_) => peer,
            Self::WebSocket(stream) => stream.forwarded(peer),
        }
    }

    /// Whether `peer`, whose its other end is, is a proxy of ours that is to say in its request for WebSocket
    /// whose the connection is.
    #[must_use]
    pub fn is_of_proxy(&self, peer: &Peer) -> bool {
        match self {
            Self::Plain(_) | Self::Tls(_) => false,
            Self::WebSocket(stream) => stream.is_of_proxy(peer),
        }
    }

    /// The peer is no stranger any more: what it sends beside payload has no limit from now on.
    pub fn acquaint(&mut self) {
        if let Self::WebSocket(stream) = self {
            stream.acquaint();
        }
    }

    /// Reads from the socket, before anything else is, how a proxy announces its client, and nothing of
    /// what follows. `buffer` is for looking at it.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] until it is there as a whole, [`io::ErrorKind::InvalidData`] around
    /// a [`ProxyFailure`](crate::ProxyFailure) if it cannot be read, or what the operating system says.
    pub fn read_announcement(&mut self, buffer: &mut [u8]) -> io::Result<Announcement> {
        skip_announcement(self.socket_mut(), buffer)
    }

    fn socket_mut(&mut self) -> &mut Stream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.socket_mut(),
            Self::WebSocket(stream) => stream.inner_mut().socket_mut(),
        }
    }
}

impl Source for Pipe {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.socket_mut().register(registry, token, interest)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.socket_mut().reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket_mut().deregister(registry)
    }
}
