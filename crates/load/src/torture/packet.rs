//! The packets that a client under torture says, in the version it speaks.
//!
//! Payloads carry the number of the message in front ([`Mark`]); a deletion has none.

use noctule_mqtt::packet::{Ack, Connect, Publish, Subscribe, Subscription, SubscriptionOptions};
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    Packet, PacketId, PacketType, Properties, Property, PropertyBuffer, ProtocolVersion, QoS,
    ReasonCode, TopicFilter, TopicName, codec,
};

use super::lane::Lane;
use crate::LoadError;
use crate::packets::Mark;

/// Writes packets of one version.
#[derive(Debug, Clone)]
pub(crate) struct Pen {
    pub(crate) version: ProtocolVersion,
    payload: Vec<u8>,
}

impl Pen {
    /// For messages of this size, at least that of a [`Mark`].
    pub(crate) fn new(version: ProtocolVersion, payload_bytes: usize) -> Self {
        Self { version, payload: vec![b'x'; payload_bytes.max(crate::packets::MARK_BYTES)] }
    }

    /// A CONNECT to a session that is kept for ever, or to one that ends with the connection.
    pub(crate) fn connect(&self, client_id: &str, keep: bool) -> Result<Vec<u8>, LoadError> {
        let mut properties = PropertyBuffer::new(Carrier::Packet(PacketType::Connect));
        if keep && self.version.has_reason_codes() {
            properties.push(Property::SessionExpiryInterval(u32::MAX)).map_err(in_words)?;
        }
        self.written(&Packet::Connect(Box::new(Connect {
            version: self.version,
            clean_start: !keep,
            keep_alive: 0,
            client_id,
            will: None,
            user_name: None,
            password: None,
            properties: properties.as_properties(),
        })))
    }

    /// A SUBSCRIBE at QoS 2.
    pub(crate) fn subscribe(&self, filters: &[&str]) -> Result<Vec<u8>, LoadError> {
        let options = SubscriptionOptions::qos(QoS::ExactlyOnce);
        let subscriptions = filters
            .iter()
            .map(|filter| TopicFilter::new(filter).map(|filter| Subscription { filter, options }))
            .collect::<Result<_, _>>()
            .map_err(in_words)?;
        let packet_id = PacketId::FIRST;
        let properties = Properties::EMPTY;
        self.written(&Packet::Subscribe(Subscribe { packet_id, properties, subscriptions }))
    }

    /// Appends a PUBLISH of the message with this number on lane number `index`.
    pub(crate) fn publish(
        &mut self,
        (index, lane): (usize, &Lane),
        number: u64,
        packet_id: PacketId,
        dup: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), LoadError> {
        let mark = Mark { publisher: index as u16, sequence: number };
        self.payload[..crate::packets::MARK_BYTES].copy_from_slice(&mark.to_bytes());
        let deletes = lane.retain() && lane.deletes(number);
        let publish = Publish {
            dup,
            qos: lane.qos(),
            retain: lane.retain(),
            topic: Some(TopicName::new(lane.topic()).map_err(in_words)?),
            packet_id: Some(packet_id),
            properties: Properties::EMPTY,
            payload: if deletes { &[] } else { &self.payload },
        };
        codec::encode(&Packet::Publish(publish), self.version, out).map_err(in_words)
    }

    /// Appends a PUBLISH at QoS 2 of a message that is to be retained and belongs to no lane.
    pub(crate) fn retain(
        &self,
        topic: &str,
        payload: &[u8],
        (packet_id, dup): (PacketId, bool),
        out: &mut Vec<u8>,
    ) -> Result<(), LoadError> {
        let publish = Publish {
            dup,
            qos: QoS::ExactlyOnce,
            retain: true,
            topic: Some(TopicName::new(topic).map_err(in_words)?),
            packet_id: Some(packet_id),
            properties: Properties::EMPTY,
            payload,
        };
        codec::encode(&Packet::Publish(publish), self.version, out).map_err(in_words)
    }

    /// Appends PUBACK, PUBREC, PUBREL or PUBCOMP.
    pub(crate) fn answer(&self, kind: PacketType, packet_id: PacketId, out: &mut Vec<u8>) {
        let ack = Ack::new(packet_id, ReasonCode::Success);
        let packet = match kind {
            PacketType::Puback => Packet::Puback(ack),
            PacketType::Pubrec => Packet::Pubrec(ack),
            PacketType::Pubrel => Packet::Pubrel(ack),
            _ => Packet::Pubcomp(ack),
        };
        // Two bytes behind a header fit into any packet.
        let _ = codec::encode(&packet, self.version, out);
    }

    fn written(&self, packet: &Packet<'_>) -> Result<Vec<u8>, LoadError> {
        let mut bytes = Vec::new();
        codec::encode(packet, self.version, &mut bytes).map_err(in_words)?;
        Ok(bytes)
    }
}

/// The number in a payload; `None` if it is too short for one.
pub(crate) fn mark(payload: &[u8]) -> Option<Mark> {
    payload.first_chunk().map(|bytes| Mark::from_bytes(*bytes))
}

fn in_words(error: impl std::fmt::Display) -> LoadError {
    LoadError::new(format!("cannot write a packet: {error}"))
}
