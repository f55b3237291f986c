//! The fixed header: where a packet begins, how long it is, and whether it may exist at all.

use crate::{PacketType, ProtocolVersion, Receiver, Violation};

/// The largest remaining length that four bytes can say (section 2.1.4), 268,435,455.
pub const REMAINING_LENGTH_MAX: u32 = 268_435_455;

/// One whole packet as it came, not yet decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The packet's bytes, fixed header included.
    pub bytes: &'a [u8],
    /// How many of them are the fixed header, 2 to 5.
    pub header_len: usize,
}

impl<'a> Frame<'a> {
    /// Variable header and payload.
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[self.header_len..]
    }

    /// The four-bit packet type as sent, 0 to 15.
    pub fn type_bits(&self) -> u8 {
        self.bytes[0] >> 4
    }

    /// The four flag bits.
    pub fn flags(&self) -> u8 {
        self.bytes[0] & 0x0F
    }

    /// Whether the remaining length has more bytes than it needs: forbidden from MQTT 5 on
    /// `[MQTT5-1.5.5-1]`, while 3.1 and 3.1.1 say nothing of it.
    pub fn has_padded_length(&self) -> bool {
        self.header_len > 2 && self.bytes[self.header_len - 1] == 0
    }
}

/// The length of the first packet in `bytes`, fixed header included, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameLength {
    /// The fixed header is not complete: at least this many bytes are needed in all.
    AtLeast(usize),
    Known {
        header_len: usize,
        total: usize,
    },
}

/// Reads the remaining length of the packet that begins `bytes`.
#[inline]
pub(crate) fn frame_length(bytes: &[u8], bytes_max: u32) -> Result<FrameLength, Violation> {
    // Most packets are short.
    if let [_, length @ 0..0x80, ..] = *bytes
        && u32::from(length) + 2 <= bytes_max
    {
        return Ok(FrameLength::Known { header_len: 2, total: 2 + usize::from(length) });
    }
    let mut remaining = 0u32;
    for index in 0..4 {
        let Some(&byte) = bytes.get(1 + index) else {
            return Ok(FrameLength::AtLeast(2 + index));
        };
        remaining |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            // A longer form than needed is refused when the packet is decoded, as only then the
            // version is known.
            let total = 2 + index + remaining as usize;
            if total > bytes_max as usize {
                let size = u64::from(remaining) + 2 + index as u64;
                return Err(Violation::PacketTooLarge { size, limit: bytes_max });
            }
            return Ok(FrameLength::Known { header_len: 2 + index, total });
        }
    }
    Err(Violation::RemainingLengthMalformed)
}

/// The first packet in `bytes`, or `None` if it is not complete yet.
///
/// # Errors
/// [`Violation::RemainingLengthMalformed`], or [`Violation::PacketTooLarge`] if the packet claims
/// more than `bytes_max` bytes in all, as soon as the claim can be read.
#[inline]
pub fn next_frame(bytes: &[u8], bytes_max: u32) -> Result<Option<Frame<'_>>, Violation> {
    match frame_length(bytes, bytes_max)? {
        FrameLength::Known { header_len, total } if total <= bytes.len() => {
            Ok(Some(Frame { bytes: &bytes[..total], header_len }))
        }
        FrameLength::Known { .. } | FrameLength::AtLeast(_) => Ok(None),
    }
}

/// Checks the first byte of a packet: whether the type exists in this version, flows in this
/// direction, and has the flags it must have `[MQTT3-2.2.2-2]` `[MQTT5-2.1.3-1]`.
pub(crate) fn check_first_byte(
    first: u8,
    version: ProtocolVersion,
    receiver: Receiver,
) -> Result<PacketType, Violation> {
    let packet_type = PacketType::from_bits(first >> 4)
        .filter(|packet| *packet != PacketType::Auth || version == ProtocolVersion::V5)
        .ok_or(Violation::PacketTypeReserved { bits: first >> 4 })?;
    if !packet_type.flows_to(receiver, version) {
        return Err(Violation::WrongDirection { packet: packet_type });
    }
    if let Some(expected) = packet_type.required_flags() {
        let dup = if version.allows_dup_on_requests() && expected == 0b0010 { 0b1000 } else { 0 };
        let found = first & 0x0F;
        if found & !dup != expected {
            return Err(Violation::FlagsReserved { packet: packet_type, expected, found });
        }
    }
    Ok(packet_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test] // [MQTT5-1.5.5-1] and section 2.1.4
    fn remaining_length_has_at_most_four_bytes() {
        let longest = [0x30, 0xFF, 0xFF, 0xFF, 0x7F];
        assert_eq!(
            frame_length(&longest, u32::MAX),
            Ok(FrameLength::Known { header_len: 5, total: 268_435_455 + 5 })
        );
        let five = [0x30, 0x80, 0x80, 0x80, 0x80, 0x01];
        assert_eq!(frame_length(&five, u32::MAX), Err(Violation::RemainingLengthMalformed));
    }

    #[test]
    fn a_claim_over_the_limit_is_refused_at_the_fixed_header() {
        let claim = [0x30, 0x0A];
        assert_eq!(next_frame(&claim, 11), Err(Violation::PacketTooLarge { size: 12, limit: 11 }));
        assert_eq!(next_frame(&claim, 12), Ok(None));
    }
}
