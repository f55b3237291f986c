//! The header of a frame, read and written (RFC 6455, section 5.2).

use crate::{MaskKey, Violation};

/// Bytes of the longest header.
pub(crate) const HEADER_BYTES_MAX: usize = 14;
/// Bytes of payload that a control frame may have (5.5).
pub(crate) const CONTROL_BYTES_MAX: usize = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
const TWO_BYTES: u8 = 126;
const EIGHT_BYTES: u8 = 127;

/// Which end of a conversation this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes masked frames, sends plain ones.
    Server,
    /// Takes plain frames, sends masked ones.
    Client,
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// A further frame of a message.
    Continuation = 0,
    /// The first of a text.
    Text = 1,
    /// The first of bytes.
    Binary = 2,
    /// The last of this end's.
    Close = 8,
    /// Is to be answered with a pong.
    Ping = 9,
    /// The answer.
    Pong = 10,
}

impl Opcode {
    fn read(bits: u8) -> Result<Self, Violation> {
        Ok(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            unknown => return Err(Violation::UnknownOpcode(unknown)),
        })
    }

    /// Whether it is about the conversation and not part of what is said.
    #[must_use]
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A header that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) is_last: bool,
    pub(crate) opcode: Opcode,
    /// Bytes of payload behind it.
    pub(crate) payload: u64,
    /// Of zeros if there is no mask.
    pub(crate) key: MaskKey,
    /// Bytes of the header itself.
    pub(crate) bytes: usize,
}

/// Reads a header for an end that is `role`. None if there are too few bytes; what the first ones say
/// against the rules is said at once.
///
/// # Errors
/// What is wrong about the header itself; what frames mean to each other is not looked at.
#[inline]
pub(crate) fn read(bytes: &[u8], role: Role) -> Result<Option<Head>, Violation> {
    let &[first, ref behind @ ..] = bytes else {
        return Ok(None);
    };
    if first & RESERVED != 0 {
        return Err(Violation::ReservedBits);
    }
    let (is_last, opcode) = (first & FIN != 0, Opcode::read(first & OPCODE)?);
    if opcode.is_control() && !is_last {
        return Err(Violation::FragmentedControl);
    }
    let &[second, ref behind @ ..] = behind else {
        return Ok(None);
    };
    match (role, second & MASKED != 0) {
        (Role::Server, false) => return Err(Violation::NotMasked),
        (Role::Client, true) => return Err(Violation::Masked),
        (Role::Server, true) | (Role::Client, false) => {}
    }
    let short = second & LENGTH;
    if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
        return Err(Violation::LongControl);
    }
    let (payload, behind) = match short {
        TWO_BYTES => {
            let Some((length, behind)) = behind.split_first_chunk() else {
                return Ok(None);
            };
            let length = u64::from(u16::from_be_bytes(*length));
            if length < u64::from(TWO_BYTES) {
                return Err(Violation::LengthNotMinimal);
            }
            (length, behind)
        }
        EIGHT_BYTES => {
            let Some((length, behind)) = behind.split_first_chunk() else {
                return Ok(None);
            };
            let length = u64::from_be_bytes(*length);
            if length <= u64::from(u16::MAX) || length > i64::MAX as u64 {
                return Err(Violation::LengthNotMinimal);
            }
            (length, behind)
        }
        short => (u64::from(short), behind),
    };
    let (key, behind) = match role {
        Role::Client => (MaskKey::default(), behind),
        Role::Server => match behind.split_first_chunk() {
            Some((key, behind)) => (MaskKey::new(*key), behind),
            None => return Ok(None),
        },
    };
    Ok(Some(Head { is_last, opcode, payload, key, bytes: bytes.len() - behind.len() }))
}

/// The header of a frame to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameHeader {
    bytes: [u8; HEADER_BYTES_MAX],
    len: u8,
}

impl FrameHeader {
    /// The header of a binary frame, whole in itself, of `payload` bytes (at most 2^63 - 1). A client gives
    /// the key by which the payload is masked ([`apply_mask`](crate::apply_mask)), a server none.
    #[must_use]
    #[inline]
    pub fn binary(payload: u64, key: Option<MaskKey>) -> Self {
        Self::new(Opcode::Binary, payload, key)
    }

    /// The header of a frame, whole in itself, that is something else.
    #[must_use]
    #[inline]
    pub fn new(opcode: Opcode, payload: u64, key: Option<MaskKey>) -> Self {
        let mut bytes = [0; HEADER_BYTES_MAX];
        bytes[0] = FIN | opcode as u8;
        let masked = if key.is_some() { MASKED } else { 0 };
        let mut len = 2;
        match (u8::try_from(payload), u16::try_from(payload)) {
            (Ok(short), _) if short < TWO_BYTES => bytes[1] = masked | short,
            (_, Ok(length)) => {
                bytes[1] = masked | TWO_BYTES;
                bytes[2..4].copy_from_slice(&length.to_be_bytes());
                len = 4;
            }
            _ => {
                bytes[1] = masked | EIGHT_BYTES;
                bytes[2..10].copy_from_slice(&payload.to_be_bytes());
                len = 10;
            }
        }
        if let Some(key) = key {
            bytes[len..len + 4].copy_from_slice(&key.bytes());
            len += 4;
        }
        Self { bytes, len: len as u8 }
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let key = MaskKey::new([1, 2, 3, 4]);
        for payload in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 40, i64::MAX as u64] {
            for (role, key) in [(Role::Server, Some(key)), (Role::Client, None)] {
                let header = FrameHeader::binary(payload, key);
                let bytes = header.as_bytes();
                let read_back = read(bytes, role).unwrap().unwrap();
                let key = key.unwrap_or_default();
                let (opcode, bytes_len) = (Opcode::Binary, bytes.len());
                assert_eq!(
                    read_back,
                    Head { is_last: true, opcode, payload, key, bytes: bytes_len }
                );
                for part in 0..bytes.len() {
                    assert_eq!(read(&bytes[..part], role), Ok(None), "{part} bytes of {payload}");
                }
            }
        }
    }

    #[test]
    fn what_is_against_the_rules_is_said_as_soon_as_it_is_seen() {
        use Violation::*;
        let rows: &[(&[u8], Role, Violation)] = &[
            (&[0xc2], Role::Server, ReservedBits),
            (&[0xa2], Role::Server, ReservedBits),
            (&[0x92], Role::Server, ReservedBits),
            (&[0x83], Role::Server, UnknownOpcode(3)),
            (&[0x87], Role::Server, UnknownOpcode(7)),
            (&[0x8b], Role::Server, UnknownOpcode(11)),
            (&[0x8f], Role::Server, UnknownOpcode(15)),
            (&[0x08], Role::Server, FragmentedControl),
            (&[0x09], Role::Server, FragmentedControl),
            (&[0x0a], Role::Server, FragmentedControl),
            (&[0x82, 0x05], Role::Server, NotMasked),
            (&[0x82, 0x85], Role::Client, Masked),
            (&[0x89, 0xfe], Role::Server, LongControl),
            (&[0x88, 0xff], Role::Server, LongControl),
            (&[0x82, 0xfe, 0, 125], Role::Server, LengthNotMinimal),
            (&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], Role::Server, LengthNotMinimal),
            (&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], Role::Server, LengthNotMinimal),
        ];
        for (bytes, role, violation) in rows {
            assert_eq!(read(bytes, *role), Err(*violation), "{bytes:02x?}");
        }
    }
}
