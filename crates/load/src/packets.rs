//! The packets the generator sends and the one it receives in numbers: PUBLISH.
//!
//! Without other word everything is MQTT 3.1.1. A PUBLISH is encoded once by the codec; each message is a copy of it
//! with its number patched in, because encoding anew would cost the generator more than the broker
//! is measured for.

use noctule_mqtt::codec::{self, Frame};
use noctule_mqtt::packet::{Publish, Subscribe, Subscription, SubscriptionOptions};
use noctule_mqtt::{
    Packet, PacketId, PacketType, Properties, ProtocolVersion, QoS, TopicFilter, TopicName,
};

use crate::LoadError;

/// The version spoken unless an [`Endpoint`](crate::endpoint::Endpoint) says otherwise.
pub const VERSION: ProtocolVersion = ProtocolVersion::V311;

/// How many bytes at the front of a payload number the message.
pub const MARK_BYTES: usize = 8;

/// The number of a message: whose it is and which of theirs, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Index of the publisher.
    pub publisher: u16,
    /// How many messages the publisher had sent before, at most 2⁴⁸ − 1.
    pub sequence: u64,
}

impl Mark {
    pub(crate) fn to_bytes(self) -> [u8; MARK_BYTES] {
        (u64::from(self.publisher) << SEQUENCE_BITS | self.sequence).to_be_bytes()
    }

    pub(crate) fn from_bytes(bytes: [u8; MARK_BYTES]) -> Self {
        let number = u64::from_be_bytes(bytes);
        Self {
            publisher: (number >> SEQUENCE_BITS) as u16,
            sequence: number & ((1 << SEQUENCE_BITS) - 1),
        }
    }
}

const SEQUENCE_BITS: u32 = 48;

/// One publisher's PUBLISH, ready to be numbered.
#[derive(Debug, Clone)]
pub struct Template {
    bytes: Vec<u8>,
    qos: QoS,
    packet_id_at: Option<usize>,
    mark_at: usize,
}

impl Template {
    /// A message on `topic` with `payload_bytes` of payload, at least [`MARK_BYTES`].
    ///
    /// # Errors
    /// If the topic is none or the packet too large.
    pub fn new(topic: &str, qos: QoS, payload_bytes: usize) -> Result<Self, LoadError> {
        Self::of_version(topic, qos, payload_bytes, VERSION)
    }

    /// The same in any version of MQTT.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of_version(
        topic: &str,
        qos: QoS,
        payload_bytes: usize,
        version: ProtocolVersion,
    ) -> Result<Self, LoadError> {
        let mut bytes = Vec::new();
        let payload = vec![b'x'; payload_bytes.max(MARK_BYTES)];
        let publish = Publish {
            dup: false,
            qos,
            retain: false,
            topic: Some(TopicName::new(topic).map_err(in_words)?),
            packet_id: (qos != QoS::AtMostOnce).then_some(PacketId::FIRST),
            properties: Properties::EMPTY,
            payload: &payload,
        };
        codec::encode(&Packet::Publish(publish), version, &mut bytes).map_err(in_words)?;
        let mark_at = bytes.len() - payload.len();
        let before_properties = mark_at - usize::from(version.has_properties());
        let packet_id_at = (qos != QoS::AtMostOnce).then_some(before_properties - 2);
        Ok(Self { bytes, qos, packet_id_at, mark_at })
    }

    /// The QoS of the message.
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// How many bytes the whole packet has.
    pub fn packet_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Appends the message with this mark; its packet identifier, at QoS 1, follows from its
    /// sequence number ([`packet_id`]).
    pub fn append(&self, mark: Mark, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&self.bytes);
        if let Some(at) = self.packet_id_at {
            let id = packet_id(mark.sequence).get().to_be_bytes();
            out[begin + at..begin + at + 2].copy_from_slice(&id);
        }
        let at = begin + self.mark_at;
        out[at..at + MARK_BYTES].copy_from_slice(&mark.to_bytes());
    }
}

/// The packet identifier of a publisher's message number `sequence`: in order, 1 after 65,535.
pub fn packet_id(sequence: u64) -> PacketId {
    PacketId::FIRST.after((sequence % PacketId::COUNT as u64) as u16)
}

/// What a PUBLISH from the broker turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// One of our messages.
    Ours {
        /// Its number.
        mark: Mark,
        /// What the PUBACK must say, at QoS 1.
        packet_id: Option<[u8; 2]>,
        /// Size of the payload.
        payload_bytes: usize,
    },
    /// Something the broker says by itself, on a topic that begins with `$`.
    OfTheBroker,
    /// Nothing we can read.
    Unreadable,
}

/// Reads the frame of a PUBLISH as far as counting needs it.
pub fn arrival(frame: &Frame<'_>) -> Arrival {
    arrival_of_version(frame, VERSION)
}

/// The same in any version of MQTT.
pub fn arrival_of_version(frame: &Frame<'_>, version: ProtocolVersion) -> Arrival {
    arrival_in(frame, version).unwrap_or(Arrival::Unreadable)
}

fn arrival_in(frame: &Frame<'_>, version: ProtocolVersion) -> Option<Arrival> {
    let (topic_len, rest) = frame.body().split_first_chunk::<2>()?;
    let (topic, rest) = rest.split_at_checked(u16::from_be_bytes(*topic_len).into())?;
    if topic.first() == Some(&b'$') {
        return Some(Arrival::OfTheBroker);
    }
    let (packet_id, payload) = if frame.flags() & QOS_BITS == 0 {
        (None, rest)
    } else {
        let (id, payload) = rest.split_first_chunk::<2>()?;
        (Some(*id), payload)
    };
    let payload = if version.has_properties() { behind_properties(payload)? } else { payload };
    Some(Arrival::Ours {
        mark: Mark::from_bytes(*payload.first_chunk()?),
        packet_id,
        payload_bytes: payload.len(),
    })
}

const QOS_BITS: u8 = 0b0110;

/// What follows the properties, whose length stands first in up to four bytes of seven bits each.
#[inline]
fn behind_properties(bytes: &[u8]) -> Option<&[u8]> {
    let mut length = 0;
    for (at, &byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return bytes.get(at + 1 + length..);
        }
    }
    None
}

/// Appends a PUBACK.
pub fn append_puback(packet_id: [u8; 2], out: &mut Vec<u8>) {
    append_ack(PacketType::Puback, packet_id, out);
}

/// Appends PUBACK, PUBREC, PUBREL or PUBCOMP, which say yes.
#[inline]
pub fn append_ack(packet: PacketType, packet_id: [u8; 2], out: &mut Vec<u8>) {
    // Of these four, PUBREL alone has a flag.
    let flags = if packet == PacketType::Pubrel { 0b0010 } else { 0 };
    out.extend_from_slice(&[(packet as u8) << 4 | flags, 2, packet_id[0], packet_id[1]]);
}

/// A SUBSCRIBE for several filters.
///
/// # Errors
/// If one of them is none.
pub fn subscribe(
    filters: &[&str],
    qos: QoS,
    version: ProtocolVersion,
) -> Result<Vec<u8>, LoadError> {
    let options = SubscriptionOptions::qos(qos);
    let subscriptions = filters
        .iter()
        .map(|filter| TopicFilter::new(filter).map(|filter| Subscription { filter, options }));
    let packet = Packet::Subscribe(Subscribe {
        packet_id: PacketId::FIRST,
        properties: Properties::EMPTY,
        subscriptions: subscriptions.collect::<Result<_, _>>().map_err(in_words)?,
    });
    encoded(&packet, version)
}

/// A DISCONNECT, in any version.
pub const DISCONNECT: [u8; 2] = [(PacketType::Disconnect as u8) << 4, 0];

/// A PINGREQ.
pub const PINGREQ: [u8; 2] = [(PacketType::Pingreq as u8) << 4, 0];

pub(crate) fn encoded(packet: &Packet<'_>, version: ProtocolVersion) -> Result<Vec<u8>, LoadError> {
    let mut bytes = Vec::new();
    codec::encode(packet, version, &mut bytes).map_err(in_words)?;
    Ok(bytes)
}

fn in_words(error: impl std::fmt::Display) -> LoadError {
    LoadError::new(format!("cannot write a packet: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_mqtt::Receiver;

    #[test]
    fn a_numbered_copy_is_the_packet_the_codec_reads() {
        for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
            let template = Template::of_version("a/b", QoS::AtLeastOnce, 20, version).unwrap();
            let mark = Mark { publisher: 7, sequence: 65_536 };
            let mut out = vec![0xFF];
            template.append(mark, &mut out);
            let frame = codec::next_frame(&out[1..], 1_000).unwrap().unwrap();
            assert_eq!(frame.bytes.len(), out.len() - 1);
            assert_eq!(frame.bytes.len(), template.packet_bytes());
            let packet = codec::decode(&frame, version, Receiver::Server).unwrap();
            let Packet::Publish(publish) = packet else {
                panic!("{packet:?}");
            };
            assert_eq!(publish.topic.unwrap().as_str(), "a/b");
            assert_eq!(publish.packet_id.map(PacketId::get), Some(2));
            assert_eq!(publish.payload.len(), 20);
            assert_eq!(
                arrival_of_version(&frame, version),
                Arrival::Ours { mark, packet_id: Some([0, 2]), payload_bytes: 20 }
            );
        }
    }

    #[test]
    fn qos_0_has_no_packet_id() {
        let template = Template::new("a", QoS::AtMostOnce, 8).unwrap();
        let mut out = Vec::new();
        let mark = Mark { publisher: u16::MAX, sequence: (1 << SEQUENCE_BITS) - 1 };
        template.append(mark, &mut out);
        let frame = codec::next_frame(&out, 1_000).unwrap().unwrap();
        let expected = Arrival::Ours { mark, packet_id: None, payload_bytes: 8 };
        assert_eq!(arrival(&frame), expected);
    }

    #[test]
    fn what_is_not_ours_is_told_apart() {
        let told = |bytes: &[u8]| arrival(&codec::next_frame(bytes, 1_000).unwrap().unwrap());
        assert_eq!(told(b"\x30\x05\x00\x02$S!"), Arrival::OfTheBroker);
        // Too short for a mark, for its packet id, for its topic.
        assert_eq!(told(b"\x30\x0A\x00\x01a1234567"), Arrival::Unreadable);
        assert_eq!(told(b"\x32\x04\x00\x01a\x00"), Arrival::Unreadable);
        assert_eq!(told(b"\x30\x03\x00\x09a"), Arrival::Unreadable);
    }

    #[test]
    fn properties_are_skipped_and_never_believed() {
        let told = |bytes: &[u8]| {
            let frame = codec::next_frame(bytes, 1_000).unwrap().unwrap();
            arrival_of_version(&frame, ProtocolVersion::V5)
        };
        let mark = Mark { publisher: 1, sequence: 2 };
        let ours = Arrival::Ours { mark, packet_id: None, payload_bytes: 8 };
        // Two bytes of properties; none, in a length of two bytes.
        assert_eq!(told(b"\x30\x0E\x00\x01a\x02\x01\x01\x00\x01\x00\x00\x00\x00\x00\x02"), ours);
        assert_eq!(told(b"\x30\x0D\x00\x01a\x80\x00\x00\x01\x00\x00\x00\x00\x00\x02"), ours);
        // Longer than the packet; a length without an end; nothing at all.
        assert_eq!(
            told(b"\x30\x0C\x00\x01a\x7F\x00\x01\x00\x00\x00\x00\x00\x02"),
            Arrival::Unreadable
        );
        assert_eq!(told(b"\x30\x09\x00\x01a\xFF\xFF\xFF\xFF\xFF\x01"), Arrival::Unreadable);
        assert_eq!(told(b"\x30\x03\x00\x01a"), Arrival::Unreadable);
    }

    #[test]
    fn packet_ids_run_in_order_and_skip_zero() {
        let ids = [0, 1, 65_534, 65_535, 65_536].map(|sequence| packet_id(sequence).get());
        assert_eq!(ids, [1, 2, 65_535, 1, 2]);
    }

    #[test]
    fn an_acknowledgement_is_what_the_codec_writes() {
        let id = PacketId::new(0x1234).unwrap();
        let ack = noctule_mqtt::packet::Ack::new(id, noctule_mqtt::ReasonCode::Success);
        for (packet_type, packet) in [
            (PacketType::Puback, Packet::Puback(ack)),
            (PacketType::Pubrec, Packet::Pubrec(ack)),
            (PacketType::Pubrel, Packet::Pubrel(ack)),
            (PacketType::Pubcomp, Packet::Pubcomp(ack)),
        ] {
            for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
                let mut ours = Vec::new();
                append_ack(packet_type, [0x12, 0x34], &mut ours);
                assert_eq!(encoded(&packet, version).unwrap(), ours);
            }
        }
    }
}
