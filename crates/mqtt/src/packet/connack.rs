//! CONNACK (section 3.2): the first packet a server sends `[MQTT5-3.2.0-1]`.

use super::PacketType;
use super::ack::read_reason;
use crate::codec::{self, EncodeError, Reader};
use crate::{Properties, ProtocolVersion, ReasonCode, Violation};

/// The answer to CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connack<'a> {
    /// Whether the server went on with a stored session. False with every refusal
    /// `[MQTT3-3.2.2-4]` `[MQTT5-3.2.2-6]`, and always before 3.1.1, which has no such flag.
    pub session_present: bool,
    /// Success, or why not. Before MQTT 5 the [return
    /// code](ReasonCode::connect_return_code) nearest in meaning is on the wire.
    pub reason: ReasonCode,
    /// What the server grants and limits.
    pub properties: Properties<'a>,
}

const SESSION_PRESENT: u8 = 0x01;

impl<'a> Connack<'a> {
    pub(super) fn read(
        mut reader: Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, Violation> {
        let mut flags = reader.u8("connect acknowledge flags")?;
        if version == ProtocolVersion::V31 {
            // "Reserved values, not used" there: no flag to read and none to refuse.
            flags = 0;
        }
        if flags & !SESSION_PRESENT != 0 {
            return Err(Violation::ConnackFlagsReserved { found: flags });
        }
        let reason = if version.has_reason_codes() {
            read_reason(&mut reader, PacketType::Connack)?
        } else {
            let code = reader.u8("connect return code")?;
            ReasonCode::from_connect_return_code(code)
                .ok_or(Violation::ReasonCodeInvalid { packet: PacketType::Connack, code })?
        };
        let properties = reader.properties(version)?;
        reader.finish()?;
        Ok(Self {
            session_present: flags == SESSION_PRESENT && !reason.is_error(),
            reason,
            properties,
        })
    }

    pub(super) fn write(
        &self,
        version: ProtocolVersion,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        // [MQTT5-3.2.2-8]
        if !self.reason.allowed_in(PacketType::Connack) {
            return Err(EncodeError::ReasonRefused);
        }
        let has_flag = version != ProtocolVersion::V31;
        // The others are 0 [MQTT5-3.2.2-1].
        let flags = u8::from(self.session_present && has_flag && !self.reason.is_error());
        codec::packet(out, PacketType::Connack.first_byte(), |out| {
            out.push(flags);
            if version.has_reason_codes() {
                out.push(self.reason.byte());
                self.properties.write(out)
            } else {
                out.push(self.reason.connect_return_code());
                Ok(())
            }
        })
    }
}
