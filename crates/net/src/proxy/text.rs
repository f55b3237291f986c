//! Version 1: one line of ASCII.
//!
//! `PROXY TCP4 192.0.2.1 198.51.100.2 56324 1883` and CR LF, with `TCP6` in place of `TCP4` for
//! addresses of IPv6, or `PROXY UNKNOWN` and anything up to the end of the line. Exactly one space
//! is between two words.

use super::{Announcement, Client, ProxyFailure};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// What such a line begins with.
pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// With CR LF, as the protocol promises.
const LINE_BYTES_MAX: usize = 107;

pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Announcement, usize)>, ProxyFailure> {
    let seen = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = seen.windows(2).position(|pair| pair == b"\r\n") else {
        let is_full = seen.len() == LINE_BYTES_MAX;
        return if is_full { Err(ProxyFailure::BadLine) } else { Ok(None) };
    };
    let client = seen.get(SIGNATURE.len()..end).and_then(client).ok_or(ProxyFailure::BadLine)?;
    Ok(Some((Announcement { client, tls: None }, end + 2)))
}

/// Whom the words after the first one name.
fn client(words: &[u8]) -> Option<Client> {
    let words = std::str::from_utf8(words).ok()?;
    if words == "UNKNOWN" || words.starts_with("UNKNOWN ") {
        return Some(Client::Unknown);
    }
    let mut words = words.split(' ');
    let address = match words.next()? {
        "TCP4" => between::<Ipv4Addr>(&mut words)?,
        "TCP6" => between::<Ipv6Addr>(&mut words)?,
        _ => return None,
    };
    words.next().is_none().then_some(Client::Address(address))
}

/// The first of two addresses, with the first of two ports.
fn between<'a, A: FromStr + Into<IpAddr>>(
    words: &mut impl Iterator<Item = &'a str>,
) -> Option<SocketAddr> {
    let source: A = words.next()?.parse().ok()?;
    let _destination: A = words.next()?.parse().ok()?;
    let port = port(words.next()?)?;
    let _destination_port = self::port(words.next()?)?;
    Some(SocketAddr::new(source.into(), port))
}

/// A number without a sign and without zeros in front.
fn port(word: &str) -> Option<u16> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = word == "0" || !word.starts_with('0');
    if is_plain && is_short { word.parse().ok() } else { None }
}
