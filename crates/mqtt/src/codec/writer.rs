//! Appending fields and fixed headers to a buffer of the caller's.

use super::REMAINING_LENGTH_MAX;
use crate::property::Carrier;
use crate::{PropertyId, Violation};
use std::fmt;

/// Why a packet cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EncodeError {
    /// Text or data of more than 65,535 bytes where the length has two.
    FieldTooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The packet would be larger than a remaining length can say.
    PacketTooLarge {
        /// Its remaining length.
        bytes: usize,
    },
    /// The property is not allowed there, not with this value, or not twice.
    PropertyRefused {
        /// Which property.
        property: PropertyId,
        /// Where it was to be put.
        carrier: Carrier,
    },
    /// The packet does not exist in this version: AUTH, and CONNECT with a password but no user
    /// name, before MQTT 5.
    NotInVersion,
    /// PUBLISH without a packet identifier at QoS 1 or 2, or with one at QoS 0; or without a topic
    /// before MQTT 5.
    PublishIncomplete,
    /// The reason cannot be said in this packet and version.
    ReasonRefused,
    /// SUBSCRIBE, SUBACK, UNSUBSCRIBE or UNSUBACK with an empty list.
    ListEmpty,
    /// A topic or filter that is not well-formed, or anything else that the receiver would have to
    /// call a violation: U+0000 in text, authentication data without a method, a shared
    /// subscription that may not be.
    Topic(Violation),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FieldTooLong { bytes } => {
                write!(f, "a field of {bytes} bytes is longer than the 65,535 that fit")
            }
            Self::PacketTooLarge { bytes } => {
                write!(f, "a packet of {bytes} bytes is larger than MQTT's 268,435,455")
            }
            Self::PropertyRefused { property, carrier } => write!(
                f,
                "the property '{}' is not allowed in {carrier}, not with this value or not twice",
                property.words()
            ),
            Self::NotInVersion => f.write_str("the packet does not exist in this MQTT version"),
            Self::PublishIncomplete => {
                f.write_str("packet identifier or topic do not go with QoS and version")
            }
            Self::ReasonRefused => f.write_str("this packet cannot carry that reason code"),
            Self::ListEmpty => f.write_str("the list needs at least one entry"),
            Self::Topic(violation) => violation.fmt(f),
        }
    }
}

impl std::error::Error for EncodeError {}

impl From<Violation> for EncodeError {
    fn from(violation: Violation) -> Self {
        Self::Topic(violation)
    }
}

/// How many bytes `value` takes as a variable byte integer (section 1.5.5); 4 if it is too large
/// for one.
pub const fn variable_byte_integer_len(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

pub(crate) fn write_variable_byte_integer(
    out: &mut Vec<u8>,
    mut value: u32,
) -> Result<(), EncodeError> {
    if value > REMAINING_LENGTH_MAX {
        return Err(EncodeError::PacketTooLarge { bytes: value as usize });
    }
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    Ok(())
}

pub(crate) fn write_binary(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), EncodeError> {
    let length =
        u16::try_from(bytes.len()).map_err(|_| EncodeError::FieldTooLong { bytes: bytes.len() })?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) -> Result<(), EncodeError> {
    write_binary(out, text.as_bytes())
}

/// Appends text that no type has checked for U+0000 `[MQTT5-1.5.4-2]`.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) -> Result<(), EncodeError> {
    if text.contains('\0') {
        return Err(Violation::StringHasNull { field: "text" }.into());
    }
    write_string(out, text)
}

/// Appends a fixed header and the body that `write_body` appends, whose length need not be known
/// before. Meant for the small packets; PUBLISH computes its length first, because here a body of
/// 128 bytes or more is moved once.
pub(crate) fn packet(
    out: &mut Vec<u8>,
    first_byte: u8,
    write_body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    out.push(first_byte);
    let length_at = out.len();
    out.push(0);
    let body_at = out.len();
    write_body(out)?;
    let remaining = out.len() - body_at;
    if remaining < 0x80 {
        out[length_at] = remaining as u8;
        return Ok(());
    }
    let mut length = Vec::with_capacity(4);
    let claimed = u32::try_from(remaining).unwrap_or(u32::MAX);
    write_variable_byte_integer(&mut length, claimed)?;
    out.splice(length_at..body_at, length);
    Ok(())
}
