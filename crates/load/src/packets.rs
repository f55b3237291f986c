//! The packets the generator sends and the one it receives in numbers: PUBLISH.
//!
//! Everything is MQTT 3.1.1. A PUBLISH is encoded once by the codec; each message is a copy of it
//! with its number patched in, because encoding anew would cost the generator more than the broker
//! is measured for.

use noctule_mqtt::codec::{self, Frame};
use noctule_mqtt::packet::{Connect, Publish, Subscribe, Subscription, SubscriptionOptions};
use noctule_mqtt::{
    Packet, PacketId, PacketType, Properties, ProtocolVersion, QoS, TopicFilter, TopicName,
};

use crate::LoadError;

/// The version spoken.
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
    packet_id_at: Option<usize>,
    mark_at: usize,
}

impl Template {
    /// A message on `topic` with `payload_bytes` of payload, at least [`MARK_BYTES`].
    ///
    /// # Errors
    /// If the topic is none or the packet too large.
    pub fn new(topic: &str, qos: QoS, payload_bytes: usize) -> Result<Self, LoadError> {
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
        codec::encode(&Packet::Publish(publish), VERSION, &mut bytes).map_err(in_words)?;
        let mark_at = bytes.len() - payload.len();
        Ok(Self { bytes, packet_id_at: (qos != QoS::AtMostOnce).then_some(mark_at - 2), mark_at })
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
    arrival_in(frame).unwrap_or(Arrival::Unreadable)
}

fn arrival_in(frame: &Frame<'_>) -> Option<Arrival> {
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
    Some(Arrival::Ours {
        mark: Mark::from_bytes(*payload.first_chunk()?),
        packet_id,
        payload_bytes: payload.len(),
    })
}

const QOS_BITS: u8 = 0b0110;

/// Appends a PUBACK.
pub fn append_puback(packet_id: [u8; 2], out: &mut Vec<u8>) {
    let first = (PacketType::Puback as u8) << 4;
    out.extend_from_slice(&[first, 2, packet_id[0], packet_id[1]]);
}

/// A CONNECT with a clean session.
///
/// # Errors
/// If the client id is too long.
pub fn connect(client_id: &str, keep_alive: u16) -> Result<Vec<u8>, LoadError> {
    connect_to(client_id, keep_alive, true)
}

/// A CONNECT with a clean session, or with one that is kept.
///
/// # Errors
/// If the client id is too long.
pub fn connect_to(client_id: &str, keep_alive: u16, clean: bool) -> Result<Vec<u8>, LoadError> {
    encoded(&Packet::Connect(Box::new(Connect {
        version: VERSION,
        clean_start: clean,
        keep_alive,
        client_id,
        will: None,
        user_name: None,
        password: None,
        properties: Properties::EMPTY,
    })))
}

/// A SUBSCRIBE for one filter.
///
/// # Errors
/// If the filter is none.
pub fn subscribe(filter: &str, qos: QoS) -> Result<Vec<u8>, LoadError> {
    subscribe_all(&[filter], qos)
}

/// A SUBSCRIBE for several filters.
///
/// # Errors
/// If one of them is none.
pub fn subscribe_all(filters: &[&str], qos: QoS) -> Result<Vec<u8>, LoadError> {
    let options = SubscriptionOptions::qos(qos);
    let subscriptions = filters
        .iter()
        .map(|filter| TopicFilter::new(filter).map(|filter| Subscription { filter, options }));
    encoded(&Packet::Subscribe(Subscribe {
        packet_id: PacketId::FIRST,
        properties: Properties::EMPTY,
        subscriptions: subscriptions.collect::<Result<_, _>>().map_err(in_words)?,
    }))
}

/// A DISCONNECT.
pub const DISCONNECT: [u8; 2] = [(PacketType::Disconnect as u8) << 4, 0];

pub(crate) fn encoded(packet: &Packet<'_>) -> Result<Vec<u8>, LoadError> {
    let mut bytes = Vec::new();
    codec::encode(packet, VERSION, &mut bytes).map_err(in_words)?;
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
        let template = Template::new("a/b", QoS::AtLeastOnce, 20).unwrap();
        let mark = Mark { publisher: 7, sequence: 65_536 };
        let mut out = vec![0xFF];
        template.append(mark, &mut out);
        let frame = codec::next_frame(&out[1..], 1_000).unwrap().unwrap();
        assert_eq!(frame.bytes.len(), out.len() - 1);
        let packet = codec::decode(&frame, VERSION, Receiver::Server).unwrap();
        let Packet::Publish(publish) = packet else {
            panic!("{packet:?}");
        };
        assert_eq!(publish.topic.unwrap().as_str(), "a/b");
        assert_eq!(publish.packet_id.map(PacketId::get), Some(2));
        assert_eq!(publish.payload.len(), 20);
        assert_eq!(
            arrival(&frame),
            Arrival::Ours { mark, packet_id: Some([0, 2]), payload_bytes: 20 }
        );
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
    fn packet_ids_run_in_order_and_skip_zero() {
        let ids = [0, 1, 65_534, 65_535, 65_536].map(|sequence| packet_id(sequence).get());
        assert_eq!(ids, [1, 2, 65_535, 1, 2]);
    }

    #[test]
    fn a_puback_is_what_the_codec_writes() {
        let mut ours = Vec::new();
        append_puback([0x12, 0x34], &mut ours);
        let id = PacketId::new(0x1234).unwrap();
        let ack = noctule_mqtt::packet::Ack::new(id, noctule_mqtt::ReasonCode::Success);
        assert_eq!(encoded(&Packet::Puback(ack)).unwrap(), ours);
    }
}
