//! Who is at the other end, as far as the network says.
//!
//! Whether anybody believes it must not be decided here.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// An address: the peer's own, or the one that a proxy said its client has.
    Address(SocketAddr),
    /// Somebody on this machine, over a Unix socket.
    Local {
        /// The number of the user whose process it is, of which the operating system is sure.
        user: u32,
        /// The number of the process that connected.
        process: i32,
    },
    /// Whoever is behind this proxy, which did not say who.
    Behind(Source),
}

/// What counts as one when connections or failures are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// An address.
    Address(IpAddr),
    /// A user of this machine.
    User(u32),
}

impl Peer {
    /// What it counts with. Who is behind a proxy that says nothing counts as the proxy.
    #[must_use]
    pub fn source(&self) -> Source {
        match self {
            Self::Address(address) => Source::Address(address.ip()),
            Self::Behind(proxy) => *proxy,
            Self::Local { user, .. } => Source::User(*user),
        }
    }

    /// Whether it is known to be on this machine.
    #[must_use]
    pub fn is_on_this_machine(&self) -> bool {
        match self {
            Self::Address(address) => address.ip().to_canonical().is_loopback(),
            Self::Local { .. } => true,
            Self::Behind(_) => false,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Local { user, process } => write!(f, "unix:user={user},process={process}"),
            Self::Behind(proxy) => write!(f, "unknown,behind={proxy}"),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::User(user) => write!(f, "unix:user={user}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_this_machine_count_apart_and_proxies_are_not_this_machine() {
        let address: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let (one, other) =
            (Peer::Local { user: 1, process: 7 }, Peer::Local { user: 2, process: 8 });
        assert_ne!(one.source(), other.source());
        assert_eq!(one.source(), Peer::Local { user: 1, process: 9 }.source());
        assert_eq!(Peer::Behind(one.source()).source(), one.source());
        assert!(one.is_on_this_machine() && Peer::Address(address).is_on_this_machine());
        assert!(!Peer::Behind(one.source()).is_on_this_machine());
        assert_eq!(one.to_string(), "unix:user=1,process=7");
        assert_eq!(one.source().to_string(), "unix:user=1");
    }
}
