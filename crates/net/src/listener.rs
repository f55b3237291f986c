//! Listening sockets: accepting connections, without waiting.

use crate::{Peer, Pipe};
use mio::event::Source;
use mio::{Interest, Registry, Token};
use rustix::net::sockopt::socket_peercred;
use socket2::SockRef;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

/// A listening socket of TCP or of this machine.
#[derive(Debug)]
pub struct Listener {
    inner: Inner,
    place: Arc<Place>,
}

#[derive(Debug)]
enum Inner {
    Tcp(mio::net::TcpListener),
    Unix(mio::net::UnixListener),
}

/// Where a socket listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// With the port that was chosen.
    Address(SocketAddr),
    /// A Unix socket.
    Path(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Listener {
    pub(crate) fn tcp(listener: TcpListener) -> io::Result<Self> {
        let place = Arc::new(Place::Address(listener.local_addr()?));
        Ok(Self { inner: Inner::Tcp(mio::net::TcpListener::from_std(listener)), place })
    }

    pub(crate) fn unix(listener: UnixListener, path: PathBuf) -> Self {
        let inner = Inner::Unix(mio::net::UnixListener::from_std(listener));
        Self { inner, place: Arc::new(Place::Path(path)) }
    }

    /// Another handle of the same socket, for another loop: each connection is accepted by the one
    /// that asks first.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn try_clone(&self) -> io::Result<Self> {
        let inner = match &self.inner {
            Inner::Tcp(listener) => {
                let listener: TcpListener = SockRef::from(listener).try_clone()?.into();
                Inner::Tcp(mio::net::TcpListener::from_std(listener))
            }
            Inner::Unix(listener) => {
                let listener: UnixListener = SockRef::from(listener).try_clone()?.into();
                Inner::Unix(mio::net::UnixListener::from_std(listener))
            }
        };
        Ok(Self { inner, place: Arc::clone(&self.place) })
    }

    /// Where it listens.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The address it listens on, with the port that was chosen; none if it is a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match &*self.place {
            Place::Address(address) => Some(*address),
            Place::Path(_) => None,
        }
    }

    /// Accepts a connection. What is written on it leaves at once: the caller writes whole batches.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is none, or what the operating system says.
    pub fn accept(&self) -> io::Result<(Pipe, Peer)> {
        match &self.inner {
            Inner::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                // A connection that is gone already will say so when it is read.
                let _ = SockRef::from(&stream).set_tcp_nodelay(true);
                Ok((Pipe::Plain(stream.into()), Peer::Address(peer)))
            }
            Inner::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                let peer = socket_peercred(&stream)?;
                let (user, process) = (peer.uid.as_raw(), peer.pid.as_raw_nonzero().get());
                Ok((Pipe::Plain(stream.into()), Peer::Local { user, process }))
            }
        }
    }
}

impl Source for Listener {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        match &mut self.inner {
            Inner::Tcp(listener) => listener.register(registry, token, interest),
            Inner::Unix(listener) => listener.register(registry, token, interest),
        }
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        match &mut self.inner {
            Inner::Tcp(listener) => listener.reregister(registry, token, interest),
            Inner::Unix(listener) => listener.reregister(registry, token, interest),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match &mut self.inner {
            Inner::Tcp(listener) => listener.deregister(registry),
            Inner::Unix(listener) => listener.deregister(registry),
        }
    }
}
