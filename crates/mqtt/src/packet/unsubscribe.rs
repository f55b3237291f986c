//! UNSUBSCRIBE and UNSUBACK (sections 3.10 and 3.11).

use super::PacketType;
use super::ack::read_reason;
use crate::codec::{self, EncodeError, Reader, write_string};
use crate::{PacketId, Properties, ProtocolVersion, ReasonCode, TopicFilter, Violation};

/// A request to end subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Comes back in the UNSUBACK.
    pub packet_id: PacketId,
    /// User properties.
    pub properties: Properties<'a>,
    /// The filters exactly as they were subscribed to, text `[MQTT3-3.10.3-1]` `[MQTT5-3.10.3-1]`; at
    /// least one `[MQTT3-3.10.3-2]` `[MQTT5-3.10.3-2]`.
    pub filters: Vec<TopicFilter<'a>>,
}

impl<'a> Unsubscribe<'a> {
    pub(super) fn read(
        mut reader: Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, Violation> {
        let packet_id = reader.packet_id()?;
        let properties = reader.properties(version)?;
        if reader.is_empty() {
            return Err(Violation::ListEmpty { packet: PacketType::Unsubscribe });
        }
        let mut filters = Vec::new();
        while !reader.is_empty() {
            filters.push(TopicFilter::new(reader.topic_text("topic filter")?)?);
        }
        Ok(Self { packet_id, properties, filters })
    }

    pub(super) fn write(
        &self,
        version: ProtocolVersion,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        if self.filters.is_empty() {
            return Err(EncodeError::ListEmpty);
        }
        codec::packet(out, PacketType::Unsubscribe.first_byte(), |out| {
            out.extend_from_slice(&self.packet_id.get().to_be_bytes());
            if version.has_properties() {
                self.properties.write(out)?;
            }
            self.filters.iter().try_for_each(|filter| write_string(out, filter.as_str()))
        })
    }
}

/// The answer to UNSUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsuback<'a> {
    /// Of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// Reason string, user properties.
    pub properties: Properties<'a>,
    /// One reason per filter, in order `[MQTT5-3.11.3-1]`; empty before MQTT 5.
    pub reasons: Vec<ReasonCode>,
}

impl<'a> Unsuback<'a> {
    pub(super) fn read(
        mut reader: Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, Violation> {
        let packet_id = reader.packet_id()?;
        let properties = reader.properties(version)?;
        let mut reasons = Vec::new();
        if version.has_reason_codes() {
            while !reader.is_empty() {
                reasons.push(read_reason(&mut reader, PacketType::Unsuback)?);
            }
            if reasons.is_empty() {
                return Err(Violation::ListEmpty { packet: PacketType::Unsuback });
            }
        }
        reader.finish()?;
        Ok(Self { packet_id, properties, reasons })
    }

    pub(super) fn write(
        &self,
        version: ProtocolVersion,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        codec::packet(out, PacketType::Unsuback.first_byte(), |out| {
            out.extend_from_slice(&self.packet_id.get().to_be_bytes());
            if !version.has_reason_codes() {
                return Ok(());
            }
            if self.reasons.is_empty() {
                return Err(EncodeError::ListEmpty);
            }
            self.properties.write(out)?;
            for reason in &self.reasons {
                // [MQTT5-3.11.3-2]
                if !reason.allowed_in(PacketType::Unsuback) {
                    return Err(EncodeError::ReasonRefused);
                }
                out.push(reason.byte());
            }
            Ok(())
        })
    }
}
