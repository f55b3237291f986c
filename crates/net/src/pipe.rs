//! One connection, whatever carries it.
//!
//! For loops that are told of readiness once per change (edge-triggered). The contract:
//!
//! - [`Pipe::read`] that fills less than its buffer has emptied the socket, so readiness will be told
//!   again; unless [`Pipe::holds_input`], for then there is more without the socket having anything.
//! - [`Pipe::write`] that takes less than it was given, or says `WouldBlock`, has filled the socket, so
//!   it will be told when there is room.
//! - When there is room, [`Pipe::flush`] comes first if [`Pipe::wants_write`]: bytes that were taken
//!   may not have left. It may become true by reading, too, as TLS answers by itself.

use crate::proxy::{Announcement, skip_announcement};
use crate::stream::Stream;
use crate::tls::{TlsFacts, TlsStream};
use mio::event::Source;
use mio::{Interest, Registry, Token};
use std::io::{self, IoSlice, Read, Write};

/// A two-way stream of bytes. It can be sent to another thread at any time, with what it holds.
#[derive(Debug)]
pub enum Pipe {
    /// The socket itself.
    Plain(Stream),
    /// TLS over it.
    Tls(Box<TlsStream>),
}

impl Pipe {
    /// Reads what is there into `buffer`; 0 means that the peer has finished writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing is there, or what the operating system says. With
    /// TLS, [`io::ErrorKind::InvalidData`] around a [`TlsFailure`](crate::TlsFailure).
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }

    /// Whether a further [`read`](Self::read) has an answer without the socket having anything: bytes
    /// that were decrypted already, or the end.
    pub fn holds_input(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.holds_input(),
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
        }
    }

    /// Whether bytes that were taken are still here, because the socket was full.
    pub fn wants_write(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.wants_write(),
        }
    }

    /// How many bytes were taken and are still here.
    pub fn unsent(&mut self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(stream) => stream.unsent(),
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
        }
    }

    /// Tells the peer that nothing more will be written; what [`wants_write`](Self::wants_write) is
    /// about may be lost. That the peer is gone already is no error.
    pub fn finish_writing(&mut self) {
        match self {
            Self::Plain(stream) => stream.finish_writing(),
            Self::Tls(stream) => stream.finish_writing(),
        }
    }

    /// Whether the handshake of TLS is still going on. It advances by reading; how long it may take is
    /// the caller's to decide.
    pub fn is_handshaking(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.is_handshaking(),
        }
    }

    /// What was agreed on in the handshake; none without TLS, or before it is through.
    pub fn tls_facts(&self) -> Option<TlsFacts> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.facts(),
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
