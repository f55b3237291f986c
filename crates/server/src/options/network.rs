//! Networks as an option: who may say something that is believed.
//!
//! What they may say must not be known here.

use super::value::{Given, Mismatch, Range, Shape, Value};
use noctule_net::{Peer, Source};
use std::fmt;
use std::net::IpAddr;

/// Networks, addresses and Unix sockets; possibly none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    /// Whoever may connect to a Unix socket.
    Unix,
    /// Addresses that begin with the same bits.
    Addresses { first: IpAddr, bits: u8 },
}

/// How those of a Unix socket are written.
const UNIX: &str = "unix";

impl Networks {
    /// None.
    pub const NONE: Self = Self(Vec::new());

    /// Whether there is one at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether somebody is in one of them.
    #[must_use]
    pub fn has(&self, peer: &Peer) -> bool {
        self.0.iter().any(|network| network.has(&peer.source()))
    }
}

impl Network {
    fn has(&self, source: &Source) -> bool {
        match (self, source) {
            (Self::Unix, Source::User(_)) => true,
            (Self::Addresses { first, bits }, Source::Address(address)) => {
                let address = address.to_canonical();
                first.is_ipv4() == address.is_ipv4() && masked(address, *bits) == *first
            }
            _ => false,
        }
    }

    fn read(text: &str) -> Result<Self, Mismatch> {
        let text = text.trim();
        if text == UNIX {
            return Ok(Self::Unix);
        }
        let none = || Mismatch::advice(format!("{text:?} is neither an address nor a network"));
        let (address, bits) = match text.split_once('/') {
            None => (text, None),
            Some((address, bits)) => (address, Some(bits)),
        };
        let first: IpAddr = address.parse().map_err(|_| none())?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(none)?,
        };
        let begin = masked(first, bits);
        if begin != first {
            let advice = format!("{text} is within the network {begin}/{bits}: which is meant?");
            return Err(Mismatch::advice(advice));
        }
        Ok(Self::Addresses { first, bits })
    }
}

/// An address with zeros behind its first `bits`.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix => f.write_str(UNIX),
            Self::Addresses { first, bits } => {
                first.fmt(f)?;
                let most = if first.is_ipv4() { 32 } else { 128 };
                if *bits == most { Ok(()) } else { write!(f, "/{bits}") }
            }
        }
    }
}

impl Value for Networks {
    const PLACEHOLDER: &'static str = "NETWORK";
    const SHAPE: Shape = Shape::List;

    fn read(given: &Given) -> Result<Self, Mismatch> {
        let networks: Result<_, _> = match given {
            Given::List(items) => items.iter().map(|item| Network::read(item)).collect(),
            _ => {
                let text = given.text().ok_or_else(Mismatch::default)?;
                let words = text.split(',').filter(|_| !text.is_empty());
                words.map(Network::read).collect()
            }
        };
        networks.map(Self)
    }

    fn to_toml(&self) -> String {
        let items: Vec<_> = self.0.iter().map(|network| format!("\"{network}\"")).collect();
        format!("[{}]", items.join(", "))
    }

    fn describe(_: Range) -> String {
        "addresses, networks (such as 10.0.0.0/8 or 2001:db8::/32) and `unix`".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn read(text: &str) -> Result<Networks, Option<String>> {
        Networks::read(&Given::Words(text.to_owned())).map_err(|mismatch| mismatch.advice)
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_with_its_bits() {
        let has = |networks: &str, address: &str| {
            let address: IpAddr = address.parse().unwrap();
            read(networks).unwrap().has(&Peer::Address(SocketAddr::new(address, 9)))
        };
        for (networks, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.0/31, 2001:db8::/33", "2001:db8:7fff::1", true),
            ("192.0.2.0/31, 2001:db8::/33", "2001:db8:8000::1", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "ffff::", true),
            ("::/0", "127.0.0.1", false),
            ("unix", "127.0.0.1", false),
            ("", "127.0.0.1", false),
        ] {
            assert_eq!(has(networks, address), expected, "{networks} {address}");
        }
        let local = Peer::Local { user: 0, process: 1 };
        assert!(read("unix").unwrap().has(&local));
        assert!(!read("0.0.0.0/0,::/0").unwrap().has(&local));
    }

    #[test]
    fn what_is_no_network_is_named() {
        let advice = |text| read(text).unwrap_err().unwrap();
        assert_eq!(advice("localhost"), "\"localhost\" is neither an address nor a network");
        for text in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "::/129", "/8", "10.0.0.0/8/8"] {
            assert!(advice(text).contains("neither"), "{text}");
        }
        let meant = "10.0.0.1/8 is within the network 10.0.0.0/8: which is meant?";
        assert_eq!(advice("::1,10.0.0.1/8"), meant);
    }
}
