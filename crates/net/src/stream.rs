//! A socket that carries bytes both ways, be it of TCP or of this machine.
//!
//! What is spoken over it must not be known here.

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

/// A connected, non-blocking socket.
#[derive(Debug)]
pub enum Stream {
    /// Of TCP.
    Tcp(TcpStream),
    /// Of a Unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// Copies what is there into `buffer` and leaves it there; 0 means that the peer has finished
    /// writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing is there, or what the operating system says.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let socket = match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        };
        let (read, _) = recv(socket, buffer, RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
        Ok(read)
    }

    /// Tells the peer that nothing more will be written. That it is gone already is no error.
    pub(crate) fn finish_writing(&self) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}

// The standard library's calls can be cancelled by other threads in C; to allow for that costs them as
// much as all else that is done outside the kernel.
impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let receive = |socket: BorrowedFd<'_>| {
            recv(socket, buffer, RecvFlags::empty()).map(|(read, _)| read).map_err(io::Error::from)
        };
        match self {
            Self::Tcp(stream) => stream.try_io(|| receive(stream.as_fd())),
            Self::Unix(stream) => stream.try_io(|| receive(stream.as_fd())),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let transmit = |socket: BorrowedFd<'_>| {
            send(socket, bytes, SendFlags::NOSIGNAL).map_err(io::Error::from)
        };
        match self {
            Self::Tcp(stream) => stream.try_io(|| transmit(stream.as_fd())),
            Self::Unix(stream) => stream.try_io(|| transmit(stream.as_fd())),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(slices),
            Self::Unix(stream) => stream.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // A socket keeps nothing back.
        Ok(())
    }
}

impl Source for Stream {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.register(registry, token, interest),
            Self::Unix(stream) => stream.register(registry, token, interest),
        }
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.reregister(registry, token, interest),
            Self::Unix(stream) => stream.reregister(registry, token, interest),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.deregister(registry),
            Self::Unix(stream) => stream.deregister(registry),
        }
    }
}
