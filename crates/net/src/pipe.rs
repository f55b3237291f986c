//! One connection, whatever carries it.

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};

/// A two-way stream of bytes.
#[derive(Debug)]
pub enum Pipe {
    /// Plain TCP.
    Tcp(TcpStream),
}

impl Pipe {
    /// Reads what is there into `buffer`; 0 means that the peer has finished writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing is there, or what the operating system says.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
        }
    }

    /// Writes as much of `bytes` as fits now.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
        }
    }

    /// Writes as much of `slices`, one after another, as fits now.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(slices),
        }
    }

    /// Tells the peer that nothing more will be written. That it is gone already is no error.
    pub fn finish_writing(&self) {
        match self {
            Self::Tcp(stream) => {
                let _ = stream.shutdown(Shutdown::Write);
            }
        }
    }

    /// The peer's address, while the connection stands.
    pub fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
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
        match self {
            Self::Tcp(stream) => stream.register(registry, token, interest),
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
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.deregister(registry),
        }
    }
}
