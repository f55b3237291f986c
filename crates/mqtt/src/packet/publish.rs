//! PUBLISH (section 3.3): a message on its way.

use super::{PacketType, check_padded_length};
use crate::codec::{
    EncodeError, Frame, REMAINING_LENGTH_MAX, Reader, write_binary, write_variable_byte_integer,
};
use crate::{PacketId, Properties, ProtocolVersion, QoS, Receiver, TopicName, Violation};

/// An application message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Whether this may be a repetition of an earlier attempt. False at QoS 0 `[MQTT5-3.3.1-2]`.
    pub dup: bool,
    /// The promise between sender and receiver of this packet.
    pub qos: QoS,
    /// To a server: keep this as the topic's retained message. To a client: this is one.
    pub retain: bool,
    /// The topic; `None` stands for a topic alias in the properties (MQTT 5 only).
    pub topic: Option<TopicName<'a>>,
    /// Present exactly at QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// Properties of the message and of its delivery.
    pub properties: Properties<'a>,
    /// The message, any bytes.
    pub payload: &'a [u8],
}

const TOPIC: &str = "topic name";

/// Flag bit of the fixed header.
pub(crate) const DUP: u8 = 0b1000;
const RETAIN: u8 = 0b0001;

impl<'a> Publish<'a> {
    /// Decodes `frame`, whose type bits say that it is a PUBLISH, as
    /// [`codec::decode`](crate::codec::decode) does, but takes a topic unchecked that `is_known`:
    /// one whose bytes equal those of a topic name that was checked before.
    ///
    /// # Errors
    /// As [`codec::decode`](crate::codec::decode).
    #[inline]
    pub fn decode(
        frame: &Frame<'a>,
        version: ProtocolVersion,
        receiver: Receiver,
        is_known: impl FnOnce(&[u8]) -> bool,
    ) -> Result<Self, Violation> {
        if frame.has_padded_length() {
            check_padded_length(PacketType::Publish, frame, version)?;
        }
        let reader = Reader::new(frame.body(), PacketType::Publish);
        Self::read(frame.flags(), reader, version, receiver, is_known)
    }

    #[inline]
    pub(crate) fn read(
        flags: u8,
        mut reader: Reader<'a>,
        version: ProtocolVersion,
        receiver: Receiver,
        is_known: impl FnOnce(&[u8]) -> bool,
    ) -> Result<Self, Violation> {
        // [MQTT3-3.3.1-4] [MQTT5-3.3.1-4]
        let qos = Reader::qos_bits(flags >> 1, "QoS")?;
        let dup = flags & DUP != 0;
        // [MQTT3-3.3.1-2] [MQTT5-3.3.1-2]
        if dup && qos == QoS::AtMostOnce {
            return Err(Violation::DupAtQos0);
        }
        // The first field, and text [MQTT3-3.3.2-1] [MQTT5-3.3.2-1]; whether it is is asked below.
        let topic = reader.binary(TOPIC)?;
        let packet_id = match qos {
            // [MQTT3-2.3.1-5]
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce | QoS::ExactlyOnce => Some(reader.packet_id()?),
        };
        let properties = reader.properties(version)?;
        if !properties.is_empty() {
            check_properties(properties, receiver)?;
        }
        let topic = if is_known(topic) {
            Some(TopicName::from_checked(topic))
        } else if topic.is_empty() && properties.topic_alias().is_some() {
            None
        } else {
            Some(TopicName::new(Reader::text(topic, TOPIC)?)?)
        };
        let retain = flags & RETAIN != 0;
        Ok(Self { dup, qos, retain, topic, packet_id, properties, payload: reader.take_rest() })
    }

    pub(super) fn write(
        &self,
        version: ProtocolVersion,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        self.encode_head(version, out)?;
        out.extend_from_slice(self.payload);
        Ok(())
    }

    /// Appends everything but the payload, which the remaining length counts all the same: for
    /// whoever sends the payload from where it lies. `out` is undefined after an error.
    ///
    /// # Errors
    /// As [`codec::encode`](crate::codec::encode).
    pub fn encode_head(
        &self,
        version: ProtocolVersion,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let with_alias = version.has_properties() && self.properties.topic_alias().is_some();
        // [MQTT3-2.3.1-5] [MQTT5-2.2.1-2]: no packet identifier at QoS 0.
        let numbered = self.packet_id.is_some() == (self.qos != QoS::AtMostOnce);
        if !numbered || (self.topic.is_none() && !with_alias) {
            return Err(EncodeError::PublishIncomplete);
        }
        out.push(self.first_byte());
        let topic = self.topic.map_or(&[][..], TopicName::as_bytes);
        let id_len = if self.packet_id.is_some() { 2 } else { 0 };
        let properties_len = if version.has_properties() { self.properties.wire_len() } else { 0 };
        let remaining = 2 + topic.len() + id_len + properties_len + self.payload.len();
        if remaining > REMAINING_LENGTH_MAX as usize {
            return Err(EncodeError::PacketTooLarge { bytes: remaining });
        }
        write_variable_byte_integer(out, remaining as u32)?;
        write_binary(out, topic)?;
        if let Some(packet_id) = self.packet_id {
            out.extend_from_slice(&packet_id.get().to_be_bytes());
        }
        if version.has_properties() {
            self.properties.write(out)?;
        }
        Ok(())
    }

    fn first_byte(&self) -> u8 {
        // [MQTT3-3.3.1-2] [MQTT5-3.3.1-2]: never at QoS 0, whatever the caller says.
        let dup = if self.dup && self.qos != QoS::AtMostOnce { DUP } else { 0 };
        (PacketType::Publish as u8) << 4 | dup | self.qos.bits() << 1 | u8::from(self.retain)
    }
}

/// What the table of properties cannot say, as it depends on the direction `[MQTT5-3.3.4-6]`.
fn check_properties(properties: Properties<'_>, receiver: Receiver) -> Result<(), Violation> {
    if receiver == Receiver::Server && properties.subscription_identifier().is_some() {
        return Err(Violation::SubscriptionIdentifierFromClient);
    }
    Ok(())
}
