//! Version 2: twelve bytes that no other protocol begins with, version and command, family and
//! protocol, the length of the rest; then both addresses, then fields.

use super::tlv::{self, Fields};
use super::{Announcement, Client, HEADER_BYTES_MAX, ProxyFailure};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// What such a header begins with.
pub(super) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Up to and with the length.
const FIXED: usize = 16;

/// Version 2 with each command.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

/// Families with the protocols that are offered.
const UNSPECIFIED: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;

/// Bytes of both paths.
const UNIX_ADDRESSES: usize = 2 * 108;

pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Announcement, usize)>, ProxyFailure> {
    if let Some(command) = bytes.get(12)
        && !matches!(*command, LOCAL | PROXY)
    {
        return Err(ProxyFailure::UnknownCommand(*command));
    }
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(None);
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = FIXED + length;
    if whole > HEADER_BYTES_MAX {
        return Err(ProxyFailure::TooLong);
    }
    let Some(rest) = rest.get(..length) else {
        return Ok(None);
    };
    if command == LOCAL {
        // What else it says is not to be looked at.
        return Ok(Some((Announcement { client: Client::Proxy, tls: None }, whole)));
    }
    let (client, fields) = match family {
        // Neither addresses nor anything behind them is to be believed.
        UNSPECIFIED => (Client::Unknown, &[][..]),
        TCP_OVER_IPV4 => {
            let (source, port, fields) = between::<4>(rest)?;
            (Client::Address(SocketAddr::new(Ipv4Addr::from(source).into(), port)), fields)
        }
        TCP_OVER_IPV6 => {
            let (source, port, fields) = between::<16>(rest)?;
            (Client::Address(SocketAddr::new(Ipv6Addr::from(source).into(), port)), fields)
        }
        UNIX_STREAM => {
            let fields = rest.get(UNIX_ADDRESSES..).ok_or(ProxyFailure::Truncated)?;
            (Client::Unknown, fields)
        }
        other => return Err(ProxyFailure::UnknownFamily(other)),
    };
    let Fields { tls, checksum } = tlv::parse(fields)?;
    if let Some(found) = checksum {
        // It was reckoned with zeros in its own place, which is at the end of those bytes.
        let at = whole - fields.len() + found.at;
        if tlv::crc32c_without(&bytes[..whole], at) != found.value {
            return Err(ProxyFailure::BadChecksum);
        }
    }
    Ok(Some((Announcement { client, tls: tls.map(Box::new) }, whole)))
}

/// The first of two addresses, the first of two ports, and what follows.
fn between<const BYTES: usize>(rest: &[u8]) -> Result<([u8; BYTES], u16, &[u8]), ProxyFailure> {
    let truncated = ProxyFailure::Truncated;
    let (source, rest) = rest.split_first_chunk::<BYTES>().ok_or(truncated)?;
    let (_destination, rest) = rest.split_first_chunk::<BYTES>().ok_or(truncated)?;
    let (ports, fields) = rest.split_first_chunk::<4>().ok_or(truncated)?;
    Ok((*source, u16::from_be_bytes([ports[0], ports[1]]), fields))
}
