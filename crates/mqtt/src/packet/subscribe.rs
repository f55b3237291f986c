//! SUBSCRIBE and SUBACK (sections 3.8 and 3.9).

use super::PacketType;
use super::ack::read_reason;
use crate::codec::{self, EncodeError, Reader, write_string};
use crate::{PacketId, Properties, ProtocolVersion, QoS, ReasonCode, TopicFilter, Violation};

/// A request for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Comes back in the SUBACK.
    pub packet_id: PacketId,
    /// Subscription identifier, user properties.
    pub properties: Properties<'a>,
    /// What is wanted; at least one `[MQTT3-3.8.3-3]` `[MQTT5-3.8.3-2]`.
    pub subscriptions: Vec<Subscription<'a>>,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// Which topics: text `[MQTT3-3.8.3-1]` `[MQTT5-3.8.3-1]`.
    pub filter: TopicFilter<'a>,
    /// On which terms.
    pub options: SubscriptionOptions,
}

/// The subscription options byte (section 3.8.3.1). Before MQTT 5 only `qos` is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SubscriptionOptions {
    /// The highest QoS at which the client wants messages.
    pub qos: QoS,
    /// Do not send the client its own messages back.
    pub no_local: bool,
    /// Keep the retain flag of messages as they were published.
    pub retain_as_published: bool,
    /// When retained messages are sent.
    pub retain_handling: RetainHandling,
}

/// When retained messages are sent for a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum RetainHandling {
    /// At every SUBSCRIBE.
    #[default]
    Always = 0,
    /// Only if the subscription did not exist.
    IfNew = 1,
    /// Never.
    Never = 2,
}

impl SubscriptionOptions {
    /// The options of MQTT 3.1 and 3.1.1, which know a QoS only.
    pub const fn qos(qos: QoS) -> Self {
        Self {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Always,
        }
    }

    fn from_byte(byte: u8, version: ProtocolVersion) -> Result<Self, Violation> {
        // [MQTT3-3.8.3-4] [MQTT5-3.8.3-5]
        let reserved = if version == ProtocolVersion::V5 { 0b1100_0000 } else { 0b1111_1100 };
        if byte & reserved != 0 {
            return Err(Violation::SubscriptionOptionsReserved { found: byte });
        }
        Ok(Self {
            qos: QoS::from_bits(byte & 0b11).ok_or(Violation::RequestedQosInvalid)?,
            no_local: byte & 0b100 != 0,
            retain_as_published: byte & 0b1000 != 0,
            retain_handling: match byte >> 4 & 0b11 {
                0 => RetainHandling::Always,
                1 => RetainHandling::IfNew,
                2 => RetainHandling::Never,
                _ => return Err(Violation::RetainHandlingInvalid),
            },
        })
    }

    fn byte(self, version: ProtocolVersion) -> u8 {
        if version != ProtocolVersion::V5 {
            return self.qos.bits();
        }
        self.qos.bits()
            | u8::from(self.no_local) << 2
            | u8::from(self.retain_as_published) << 3
            | (self.retain_handling as u8) << 4
    }
}

impl Subscription<'_> {
    /// Shared subscriptions have a form of their own and no No Local, in MQTT 5
    /// `[MQTT5-4.8.2-1]` `[MQTT5-3.8.3-4]`; before it, `$share` is a level like any other.
    fn check_shared(&self, version: ProtocolVersion) -> Result<(), Violation> {
        if version == ProtocolVersion::V5
            && self.filter.shared()?.is_some()
            && self.options.no_local
        {
            return Err(Violation::NoLocalOnShared);
        }
        Ok(())
    }
}

impl<'a> Subscribe<'a> {
    pub(super) fn read(
        mut reader: Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, Violation> {
        let packet_id = reader.packet_id()?;
        let properties = reader.properties(version)?;
        if reader.is_empty() {
            return Err(Violation::ListEmpty { packet: PacketType::Subscribe });
        }
        let mut subscriptions = Vec::new();
        while !reader.is_empty() {
            let filter = TopicFilter::new(reader.topic_text("topic filter")?)?;
            let options =
                SubscriptionOptions::from_byte(reader.u8("subscription options")?, version)?;
            let subscription = Subscription { filter, options };
            subscription.check_shared(version)?;
            subscriptions.push(subscription);
        }
        Ok(Self { packet_id, properties, subscriptions })
    }

    pub(super) fn write(
        &self,
        version: ProtocolVersion,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        if self.subscriptions.is_empty() {
            return Err(EncodeError::ListEmpty);
        }
        codec::packet(out, PacketType::Subscribe.first_byte(), |out| {
            out.extend_from_slice(&self.packet_id.get().to_be_bytes());
            if version.has_properties() {
                self.properties.write(out)?;
            }
            for subscription in &self.subscriptions {
                subscription.check_shared(version)?;
                write_string(out, subscription.filter.as_str())?;
                out.push(subscription.options.byte(version));
            }
            Ok(())
        })
    }
}

/// The answer to SUBSCRIBE: one reason per filter, in order `[MQTT5-3.8.4-6]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suback<'a> {
    /// Of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// Reason string, user properties.
    pub properties: Properties<'a>,
    /// The granted QoS or a failure, which is always "unspecified error" before MQTT 5.
    pub reasons: Vec<ReasonCode>,
}

impl<'a> Suback<'a> {
    pub(super) fn read(
        mut reader: Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, Violation> {
        let packet_id = reader.packet_id()?;
        let properties = reader.properties(version)?;
        let mut reasons = Vec::new();
        while !reader.is_empty() {
            let reason = read_reason(&mut reader, PacketType::Suback)?;
            let before_v5 = !version.has_reason_codes();
            if before_v5 && reason.is_error() && reason != ReasonCode::UnspecifiedError {
                // [MQTT3-3.9.3-2]: 0, 1, 2 and 0x80 only.
                return Err(Violation::ReasonCodeInvalid {
                    packet: PacketType::Suback,
                    code: reason.byte(),
                });
            }
            reasons.push(reason);
        }
        if reasons.is_empty() {
            return Err(Violation::ListEmpty { packet: PacketType::Suback });
        }
        Ok(Self { packet_id, properties, reasons })
    }

    pub(super) fn write(
        &self,
        version: ProtocolVersion,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        if self.reasons.is_empty() {
            return Err(EncodeError::ListEmpty);
        }
        codec::packet(out, PacketType::Suback.first_byte(), |out| {
            out.extend_from_slice(&self.packet_id.get().to_be_bytes());
            if version.has_properties() {
                self.properties.write(out)?;
            }
            for reason in &self.reasons {
                // [MQTT5-3.9.3-2]
                if !reason.allowed_in(PacketType::Suback) {
                    return Err(EncodeError::ReasonRefused);
                }
                let vague = reason.is_error() && !version.has_reason_codes();
                out.push(if vague { ReasonCode::UnspecifiedError } else { *reason }.byte());
            }
            Ok(())
        })
    }
}
