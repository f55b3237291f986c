//! AUTH (MQTT 5.0 section 3.15): a step of an authentication that takes several.

use super::PacketType;
use super::ack::read_reason;
use super::connect::check_authentication;
use crate::codec::{self, EncodeError, Reader};
use crate::property::Carrier;
use crate::{Properties, ProtocolVersion, ReasonCode, Violation};

/// A step of extended authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Success, continue, or re-authenticate `[MQTT5-3.15.2-1]`.
    pub reason: ReasonCode,
    /// Authentication method and data, reason string, user properties.
    pub properties: Properties<'a>,
}

impl<'a> Auth<'a> {
    pub(super) fn read(mut reader: Reader<'a>) -> Result<Self, Violation> {
        let mut auth = Self { reason: ReasonCode::Success, properties: Properties::EMPTY };
        if !reader.is_empty() {
            auth.reason = read_reason(&mut reader, PacketType::Auth)?;
            // Unlike the acknowledgements, AUTH has no form with a reason and no property length.
            auth.properties = Properties::read(&mut reader, Carrier::Packet(PacketType::Auth))?;
            check_authentication(auth.properties)?;
        }
        reader.finish()?;
        Ok(auth)
    }

    pub(super) fn write(
        &self,
        version: ProtocolVersion,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        if version != ProtocolVersion::V5 {
            return Err(EncodeError::NotInVersion);
        }
        if !self.reason.allowed_in(PacketType::Auth) {
            return Err(EncodeError::ReasonRefused);
        }
        check_authentication(self.properties)?;
        codec::packet(out, PacketType::Auth.first_byte(), |out| {
            if self.reason == ReasonCode::Success && self.properties.is_empty() {
                return Ok(());
            }
            out.push(self.reason.byte());
            self.properties.write(out)
        })
    }
}
