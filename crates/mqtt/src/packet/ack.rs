//! PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7): a packet identifier and, from MQTT 5
//! on, a reason.

use super::PacketType;
use crate::codec::{self, EncodeError, Frame, Reader};
use crate::property::Carrier;
use crate::{PacketId, Properties, ProtocolVersion, ReasonCode, Violation};

/// The answer to a PUBLISH, or a later step of QoS 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack<'a> {
    /// Which message is meant.
    pub packet_id: PacketId,
    /// What became of it. Always success before MQTT 5.
    pub reason: ReasonCode,
    /// Reason string and user properties.
    pub properties: Properties<'a>,
}

impl<'a> Ack<'a> {
    /// An acknowledgement with nothing more to say.
    pub const fn new(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self { packet_id, reason, properties: Properties::EMPTY }
    }

    /// The acknowledgement in `frame` and which of the four it is, if it has the short form:
    /// nothing but a packet identifier, which looks the same in all versions and is what nearly all
    /// have. Anything else is for [`codec::decode`](crate::codec::decode).
    #[inline]
    pub fn short_form(frame: &Frame<'_>) -> Option<(PacketType, PacketId)> {
        let [first, 2, high, low] = *frame.bytes else {
            return None;
        };
        let packet = match first {
            0x40 => PacketType::Puback,
            0x50 => PacketType::Pubrec,
            0x62 => PacketType::Pubrel,
            0x70 => PacketType::Pubcomp,
            _ => return None,
        };
        Some((packet, PacketId::new(u16::from_be_bytes([high, low]))?))
    }

    pub(super) fn read(
        packet: PacketType,
        mut reader: Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, Violation> {
        let packet_id = reader.packet_id()?;
        let mut ack = Self::new(packet_id, ReasonCode::Success);
        if version.has_reason_codes() && !reader.is_empty() {
            ack.reason = read_reason(&mut reader, packet)?;
            if !reader.is_empty() {
                ack.properties = Properties::read(&mut reader, Carrier::Packet(packet))?;
            }
        }
        reader.finish()?;
        Ok(ack)
    }

    pub(super) fn write(
        &self,
        packet: PacketType,
        version: ProtocolVersion,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        codec::packet(out, packet.first_byte(), |out| {
            out.extend_from_slice(&self.packet_id.get().to_be_bytes());
            if version.has_reason_codes() {
                write_reason(out, packet, self.reason, self.properties)?;
            }
            Ok(())
        })
    }
}

/// Reads a reason code that `packet` may carry.
pub(super) fn read_reason(
    reader: &mut Reader<'_>,
    packet: PacketType,
) -> Result<ReasonCode, Violation> {
    let code = reader.u8("reason code")?;
    ReasonCode::from_byte(code)
        .filter(|reason| reason.allowed_in(packet))
        .ok_or(Violation::ReasonCodeInvalid { packet, code })
}

/// Appends reason and properties in the shortest form: neither for a plain success, no properties
/// when there are none (sections 3.4.2.1 and 3.14.2.1). A reason that is not one of the packet's is
/// refused `[MQTT5-3.4.2-1]` `[MQTT5-3.5.2-1]` `[MQTT5-3.6.2-1]` `[MQTT5-3.7.2-1]`
/// `[MQTT5-3.14.2-1]`.
pub(super) fn write_reason(
    out: &mut Vec<u8>,
    packet: PacketType,
    reason: ReasonCode,
    properties: Properties<'_>,
) -> Result<(), EncodeError> {
    if !reason.allowed_in(packet) {
        return Err(EncodeError::ReasonRefused);
    }
    if reason == ReasonCode::Success && properties.is_empty() {
        return Ok(());
    }
    out.push(reason.byte());
    if !properties.is_empty() {
        properties.write(out)?;
    }
    Ok(())
}
