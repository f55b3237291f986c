//! A socket of TCP or of this machine alone (Unix), as a loop and as an opening want it.
//!
//! Both are the same to whoever reads and writes; what only TCP has is done where there is TCP.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::net::{RecvFlags, recv};

use crate::LoadError;

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An address of TCP.
    Tcp(SocketAddr),
    /// The Unix socket at this path.
    Unix(PathBuf),
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Place {
    fn unreachable(&self, error: io::Error) -> LoadError {
        LoadError::io(format!("cannot connect to {self}"), error)
    }
}

/// A socket that never waits.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(mio::net::TcpStream),
    Unix(mio::net::UnixStream),
}

impl Socket {
    /// Has the system keep about so many bytes that are on their way out.
    pub(crate) fn set_send_buffer(&self, bytes: usize) -> io::Result<()> {
        let set = match self {
            Self::Tcp(stream) => set_socket_send_buffer_size(stream, bytes),
            Self::Unix(stream) => set_socket_send_buffer_size(stream, bytes),
        };
        Ok(set?)
    }

    /// Begins to connect.
    pub(crate) fn dial(place: &Place) -> Result<Self, LoadError> {
        let begun = match place {
            Place::Tcp(address) => mio::net::TcpStream::connect(*address).map(Self::Tcp),
            Place::Unix(path) => mio::net::UnixStream::connect(path).map(Self::Unix),
        };
        begun.map_err(|error| place.unreachable(error))
    }

    /// Whether the connection is through; an error if it never will be.
    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        let (failed, peer) = match self {
            Self::Tcp(socket) => (socket.take_error()?, socket.peer_addr().map(drop)),
            Self::Unix(socket) => (socket.take_error()?, socket.peer_addr().map(drop)),
        };
        match failed.map_or(peer, Err) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lets small packets leave at once. Without it they come late, and nothing breaks.
    pub(crate) fn set_nodelay(&self) {
        if let Self::Tcp(socket) = self {
            let _ = socket.set_nodelay(true);
        }
    }

    /// Whether the peer has finished writing and everything was read.
    ///
    /// # Errors
    /// As of reading.
    pub(crate) fn is_at_end(&self) -> io::Result<bool> {
        let mut one = [0];
        let peeked = match self {
            Self::Tcp(socket) => recv(socket, &mut one, RecvFlags::PEEK),
            Self::Unix(socket) => recv(socket, &mut one, RecvFlags::PEEK),
        };
        match peeked.map_err(io::Error::from) {
            Ok((_, count)) => Ok(count == 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The same socket, which waits, for an answer at most `patience`.
    pub(crate) fn into_waiting(self, patience: Duration) -> io::Result<WaitingSocket> {
        let socket = match self {
            Self::Tcp(socket) => WaitingSocket::Tcp(socket.into()),
            Self::Unix(socket) => WaitingSocket::Unix(socket.into()),
        };
        socket.set_nonblocking(false)?;
        socket.set_patience(patience)?;
        Ok(socket)
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, want: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.register(registry, token, want),
            Self::Unix(socket) => socket.register(registry, token, want),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, want: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.reregister(registry, token, want),
            Self::Unix(socket) => socket.reregister(registry, token, want),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.deregister(registry),
            Self::Unix(socket) => socket.deregister(registry),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket that waits.
#[derive(Debug)]
pub(crate) enum WaitingSocket {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl WaitingSocket {
    /// Connects, and waits at most `patience` for this and later for each answer.
    pub(crate) fn connect(place: &Place, patience: Duration) -> Result<Self, LoadError> {
        let connected = match place {
            Place::Tcp(address) => std::net::TcpStream::connect_timeout(address, patience)
                .and_then(|socket| {
                    socket.set_nodelay(true)?;
                    Ok(Self::Tcp(socket))
                }),
            Place::Unix(path) => std::os::unix::net::UnixStream::connect(path).map(Self::Unix),
        };
        let patient = connected.and_then(|socket| {
            socket.set_patience(patience)?;
            Ok(socket)
        });
        patient.map_err(|error| place.unreachable(error))
    }

    /// Waits at most so long for an answer from now on.
    pub(crate) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_read_timeout(Some(patience)),
            Self::Unix(socket) => socket.set_read_timeout(Some(patience)),
        }
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_nonblocking(nonblocking),
            Self::Unix(socket) => socket.set_nonblocking(nonblocking),
        }
    }

    /// Finishes writing.
    pub(crate) fn finish(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Self::Unix(socket) => socket.shutdown(Shutdown::Write),
        }
    }

    /// The same socket, which waits no more.
    pub(crate) fn into_socket(self) -> io::Result<Socket> {
        self.set_nonblocking(true)?;
        Ok(match self {
            Self::Tcp(socket) => Socket::Tcp(mio::net::TcpStream::from_std(socket)),
            Self::Unix(socket) => Socket::Unix(mio::net::UnixStream::from_std(socket)),
        })
    }
}

impl Read for WaitingSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for WaitingSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
