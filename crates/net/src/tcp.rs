//! TCP listeners: binding addresses and accepting connections, without waiting.

use crate::Pipe;
use mio::event::Source;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

/// Connections that the operating system may hold ready to be accepted.
const BACKLOG: i32 = 4_096;

/// How often a free port is asked for that is free on every address.
const FREE_PORT_TRIES: usize = 16;

/// A listening TCP socket.
#[derive(Debug)]
pub struct Listener {
    inner: mio::net::TcpListener,
    address: SocketAddr,
}

/// Listens on one port of several addresses. Port 0 takes one that is free on all of them.
///
/// # Errors
/// The first address that cannot be listened on, and why.
pub fn bind_all(addresses: &[IpAddr], port: u16) -> Result<Vec<Listener>, (SocketAddr, io::Error)> {
    let mut tries = FREE_PORT_TRIES;
    loop {
        match bind_each(addresses, port) {
            Err((_, error))
                if port == 0 && error.kind() == io::ErrorKind::AddrInUse && tries > 1 =>
            {
                tries -= 1;
            }
            result => return result,
        }
    }
}

/// The first address may choose the port, the others take the same.
fn bind_each(addresses: &[IpAddr], port: u16) -> Result<Vec<Listener>, (SocketAddr, io::Error)> {
    let mut listeners: Vec<Listener> = Vec::with_capacity(addresses.len());
    for address in addresses {
        let port = listeners.first().map_or(port, |first| first.address.port());
        let address = SocketAddr::new(*address, port);
        listeners.push(Listener::bind(address).map_err(|error| (address, error))?);
    }
    Ok(listeners)
}

impl Listener {
    /// Listens on `address`. A port whose last connections are still closing can be used again.
    ///
    /// # Errors
    /// What the operating system says, for example that the port is in use.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            // IPv4 has a listener of its own.
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener: TcpListener = socket.into();
        let address = listener.local_addr()?;
        Ok(Self { inner: mio::net::TcpListener::from_std(listener), address })
    }

    /// Another handle of the same socket, for another loop: each connection is accepted by the one
    /// that asks first.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn try_clone(&self) -> io::Result<Self> {
        let listener: TcpListener = SockRef::from(&self.inner).try_clone()?.into();
        Ok(Self { inner: mio::net::TcpListener::from_std(listener), address: self.address })
    }

    /// The address it listens on, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts a connection. What is written on it leaves at once: the caller writes whole batches.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is none, or what the operating system says.
    pub fn accept(&self) -> io::Result<(Pipe, SocketAddr)> {
        let (stream, peer) = self.inner.accept()?;
        // A connection that is gone already will say so when it is read.
        let _ = SockRef::from(&stream).set_tcp_nodelay(true);
        Ok((Pipe::Tcp(stream), peer))
    }
}

impl Source for Listener {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.inner.register(registry, token, interest)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.inner.reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.inner.deregister(registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn one_free_port_is_taken_on_every_address() {
        let addresses = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let listeners = bind_all(&addresses, 0).unwrap();
        let ports: Vec<_> = listeners.iter().map(|one| one.address().port()).collect();
        assert_ne!(ports[0], 0);
        assert_eq!(ports[0], ports[1]);
        let (address, error) = bind_all(&addresses, ports[0]).unwrap_err();
        assert_eq!((address.port(), error.kind()), (ports[0], io::ErrorKind::AddrInUse));
    }
}
