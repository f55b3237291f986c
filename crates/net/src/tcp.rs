//! Listening on ports of TCP.

use crate::Listener;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Connections that the operating system may hold ready to be accepted.
pub(crate) const BACKLOG: i32 = 4_096;

/// How often a free port is asked for that is free on every address.
const FREE_PORT_TRIES: usize = 16;

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
        let chosen = listeners.first().and_then(Listener::address);
        let address = SocketAddr::new(*address, chosen.map_or(port, |first| first.port()));
        listeners.push(bind(address).map_err(|error| (address, error))?);
    }
    Ok(listeners)
}

/// Listens on `address`. A port whose last connections are still closing can be used again.
fn bind(address: SocketAddr) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // IPv4 has a listener of its own.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Listener::tcp(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn one_free_port_is_taken_on_every_address() {
        let addresses = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let listeners = bind_all(&addresses, 0).unwrap();
        let ports: Vec<_> = listeners.iter().map(|one| one.address().unwrap().port()).collect();
        assert_ne!(ports[0], 0);
        assert_eq!(ports[0], ports[1]);
        let (address, error) = bind_all(&addresses, ports[0]).unwrap_err();
        assert_eq!((address.port(), error.kind()), (ports[0], io::ErrorKind::AddrInUse));
    }
}
