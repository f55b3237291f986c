//! The fields behind the addresses in version 2: a byte for the kind, two for the length, a value.
//!
//! Those of TLS and the checksum are read, the others are only counted off.

use super::{AnnouncedCertificate, AnnouncedTls, ProxyFailure};

const CRC32C: u8 = 0x03;
const TLS: u8 = 0x20;

/// Within [`TLS`].
const TLS_VERSION: u8 = 0x21;
const TLS_COMMON_NAME: u8 = 0x22;
const TLS_CIPHER: u8 = 0x23;

/// Bits of the first byte of [`TLS`]: the client is connected by TLS; it has shown a certificate on
/// this connection; it has in this session.
const BY_TLS: u8 = 1;
const CERTIFICATE_SHOWN: u8 = 2 | 4;

/// What is of interest of the fields.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) tls: Option<AnnouncedTls>,
    pub(super) checksum: Option<Checksum>,
}

/// A checksum of the whole header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checksum {
    pub(super) value: u32,
    /// Where it is among the bytes of the fields.
    pub(super) at: usize,
}

pub(super) fn parse(bytes: &[u8]) -> Result<Fields, ProxyFailure> {
    let mut fields = Fields::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (kind, value, behind) = take(rest)?;
        match kind {
            CRC32C => {
                let value: &[u8; 4] = value.try_into().map_err(|_| ProxyFailure::Truncated)?;
                let (value, at) = (u32::from_be_bytes(*value), bytes.len() - behind.len() - 4);
                once(kind, &mut fields.checksum, Checksum { value, at })?;
            }
            TLS => {
                if let Some(tls) = tls(value)? {
                    once(kind, &mut fields.tls, tls)?;
                }
            }
            _ => {}
        }
        rest = behind;
    }
    Ok(fields)
}

/// The first field: its kind, its value, and what is behind it.
fn take(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), ProxyFailure> {
    let ([kind, high, low], rest) =
        bytes.split_first_chunk::<3>().ok_or(ProxyFailure::Truncated)?;
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let (value, behind) = rest.split_at_checked(length).ok_or(ProxyFailure::Truncated)?;
    Ok((*kind, value, behind))
}

/// What is said of TLS, if the client uses it.
fn tls(value: &[u8]) -> Result<Option<AnnouncedTls>, ProxyFailure> {
    let ([client, verify @ ..], mut rest) =
        value.split_first_chunk::<5>().ok_or(ProxyFailure::Truncated)?;
    let (mut version, mut cipher, mut common_name) = (None, None, None);
    while !rest.is_empty() {
        let (kind, value, behind) = take(rest)?;
        let wanted = match kind {
            TLS_VERSION => Some(&mut version),
            TLS_CIPHER => Some(&mut cipher),
            TLS_COMMON_NAME => Some(&mut common_name),
            _ => None,
        };
        if let Some(wanted) = wanted {
            once(kind, wanted, text(value)?)?;
        }
        rest = behind;
    }
    if client & BY_TLS == 0 {
        return Ok(None);
    }
    // Zero says that it was found valid; a session may have been resumed that had one.
    let is_valid = client & CERTIFICATE_SHOWN != 0 && *verify == [0; 4];
    let certificate = is_valid.then_some(AnnouncedCertificate { common_name });
    Ok(Some(AnnouncedTls { version, cipher, certificate }))
}

fn once<T>(kind: u8, place: &mut Option<T>, value: T) -> Result<(), ProxyFailure> {
    match place.replace(value) {
        Some(_) => Err(ProxyFailure::Twice(kind)),
        None => Ok(()),
    }
}

fn text(value: &[u8]) -> Result<Box<str>, ProxyFailure> {
    std::str::from_utf8(value).map(Into::into).map_err(|_| ProxyFailure::NotText)
}

/// CRC-32C (Castagnoli) of `bytes`, with zeros for the four that begin `at`. Bit by bit, as it is
/// reckoned once for a connection, over some hundred bytes.
pub(super) fn crc32c_without(bytes: &[u8], at: usize) -> u32 {
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    let mut crc = u32::MAX;
    for (index, byte) in bytes.iter().enumerate() {
        crc ^= if (at..at + 4).contains(&index) { 0 } else { u32::from(*byte) };
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
        }
    }
    !crc
}
