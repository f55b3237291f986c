//! DISCONNECT (section 3.14): the last packet of a connection.

use super::PacketType;
use super::ack::{read_reason, write_reason};
use crate::codec::{self, EncodeError, Reader};
use crate::property::Carrier;
use crate::{Properties, PropertyId, ProtocolVersion, ReasonCode, Receiver, Violation};

/// The end of a connection and, from MQTT 5 on, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Always success ("normal disconnection") before MQTT 5.
    pub reason: ReasonCode,
    /// Session expiry interval, reason string, user properties, server reference.
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    /// A DISCONNECT with nothing but a reason.
    pub const fn new(reason: ReasonCode) -> Self {
        Self { reason, properties: Properties::EMPTY }
    }

    pub(super) fn read(
        mut reader: Reader<'a>,
        version: ProtocolVersion,
        receiver: Receiver,
    ) -> Result<Self, Violation> {
        let mut disconnect = Self::new(ReasonCode::Success);
        if version.has_reason_codes() && !reader.is_empty() {
            disconnect.reason = read_reason(&mut reader, PacketType::Disconnect)?;
            if !reader.is_empty() {
                disconnect.properties =
                    Properties::read(&mut reader, Carrier::Packet(PacketType::Disconnect))?;
                check_properties(disconnect.properties, receiver)?;
            }
        }
        reader.finish()?;
        Ok(disconnect)
    }

    pub(super) fn write(
        &self,
        version: ProtocolVersion,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        codec::packet(out, PacketType::Disconnect.first_byte(), |out| {
            if version.has_reason_codes() {
                write_reason(out, PacketType::Disconnect, self.reason, self.properties)?;
            }
            Ok(())
        })
    }
}

/// What the table of properties cannot say: a server sends no session expiry interval
/// `[MQTT5-3.14.2-2]`.
fn check_properties(properties: Properties<'_>, receiver: Receiver) -> Result<(), Violation> {
    if receiver == Receiver::Client && properties.session_expiry_interval().is_some() {
        return Err(Violation::PropertyNotAllowed {
            property: PropertyId::SessionExpiryInterval,
            carrier: Carrier::Packet(PacketType::Disconnect),
        });
    }
    Ok(())
}
