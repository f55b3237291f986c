//! The PROXY protocol: how a proxy says in front of a connection whose it is.
//!
//! Versions 1 (a line of text) and 2 (binary), as HAProxy's `doc/proxy-protocol.txt` describes them
//! (revision of 2020, sections 2.1 and 2.2). Whether a peer may announce anybody must be decided by
//! whoever reads from it: to everybody else, this is a way to claim any address.
//!
//! ```text
//! nothing ─ bytes that a header may begin with ─► a part ─ its last byte ─► Announcement
//!    └──────────────────┴─ anything else, too many bytes, the end ─► ProxyFailure
//! ```
//!
//! The bytes are looked at where they lie and taken off the socket when the header is whole, so that
//! what follows, a TLS handshake or a CONNECT, is left to whoever reads next. Invariant: no header
//! takes more than [`HEADER_BYTES_MAX`], and nothing is allocated for one that is not whole.

mod binary;
mod failure;
mod text;
mod tlv;

pub use self::failure::ProxyFailure;

use crate::stream::Stream;
use std::io::{self, Read};
use std::net::SocketAddr;

/// The longest header that is read. One of version 1 has 107 bytes at most, one of version 2 with all
/// that is known of TLS a few hundred, and with a client's certificate a few thousand.
pub const HEADER_BYTES_MAX: usize = 4_096;

/// What a proxy says of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Whose it is.
    pub client: Client,
    /// How the client is connected to the proxy, if that is by TLS and the proxy says so.
    pub tls: Option<Box<AnnouncedTls>>,
}

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// The proxy's own, for instance to see whether somebody is there (`LOCAL`).
    Proxy,
    /// Somebody's whom the proxy cannot name (`UNKNOWN`, or other families than those of IP).
    Unknown,
    /// That of the client with this address.
    Address(SocketAddr),
}

/// What a proxy says of its client's TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnnouncedTls {
    /// The version, such as `TLSv1.3`.
    pub version: Option<Box<str>>,
    /// The cipher suite.
    pub cipher: Option<Box<str>>,
    /// The client's certificate, if it has shown one that the proxy found valid.
    pub certificate: Option<AnnouncedCertificate>,
}

/// What a proxy says of a client's certificate that it found valid.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnnouncedCertificate {
    /// The common name of its subject.
    pub common_name: Option<Box<str>>,
}

/// Looks for a header at the beginning of `bytes`: what it says and how long it is, or none if more
/// bytes are needed to tell.
///
/// # Errors
/// [`ProxyFailure`] as soon as it is certain that there is no header, or none that can be used.
pub fn parse_announcement(bytes: &[u8]) -> Result<Option<(Announcement, usize)>, ProxyFailure> {
    let begins = |signature: &[u8]| {
        let known = bytes.len().min(signature.len());
        bytes[..known] == signature[..known]
    };
    if bytes.is_empty() {
        Ok(None)
    } else if begins(text::SIGNATURE) {
        text::parse(bytes)
    } else if begins(binary::SIGNATURE) {
        binary::parse(bytes)
    } else {
        Err(ProxyFailure::NotAHeader)
    }
}

/// Takes a header off a socket, if it is there as a whole; see
/// [`Pipe::read_announcement`](crate::Pipe::read_announcement).
pub(crate) fn skip_announcement(
    socket: &mut Stream,
    buffer: &mut [u8],
) -> io::Result<Announcement> {
    let most = buffer.len().min(HEADER_BYTES_MAX);
    let buffer = &mut buffer[..most];
    let there = socket.peek(buffer)?;
    if there == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let invalid = |failure| io::Error::new(io::ErrorKind::InvalidData, failure);
    match parse_announcement(&buffer[..there]).map_err(invalid)? {
        Some((announcement, length)) => {
            // They were there a moment ago, and nobody else reads them.
            socket.read_exact(&mut buffer[..length])?;
            Ok(announcement)
        }
        None if there == most => Err(invalid(ProxyFailure::TooLong)),
        None => Err(io::ErrorKind::WouldBlock.into()),
    }
}

#[cfg(test)]
mod tests;
