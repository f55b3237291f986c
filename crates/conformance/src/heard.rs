//! What a broker says, owned and named: a packet that was read and found to be well-formed.
//!
//! Whether it is the right packet is for the check to say; here only the codec judges.

use noctule_mqtt::packet::Publish;
use noctule_mqtt::{Packet, PacketType, Properties, ProtocolVersion, Receiver, Violation, codec};
use std::fmt;

/// A packet of the broker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Connack(Connack),
    Publish(Message),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Ack(Answer),
    Suback(Answers),
    Unsuback(Answers),
    Pingresp,
    Disconnect(Answer),
    Auth(Answer),
    /// One that only clients may send; the codec refuses it before anybody sees this.
    Other(PacketType),
}

/// CONNACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connack {
    pub(crate) session_present: bool,
    /// Return code of 3.1.1, reason code of 5.
    pub(crate) code: u8,
    properties: Vec<u8>,
}

/// PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Empty if a topic alias stands for it.
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    /// 0 at QoS 0.
    pub(crate) id: u16,
    properties: Vec<u8>,
}

/// A packet with one reason; `id` is 0 where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) packet: PacketType,
    pub(crate) id: u16,
    pub(crate) code: u8,
    properties: Vec<u8>,
}

/// SUBACK or UNSUBACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answers {
    pub(crate) id: u16,
    pub(crate) codes: Vec<u8>,
    properties: Vec<u8>,
}

macro_rules! with_properties {
    ($($name:ident)+) => {
        $(impl $name {
            /// Its properties, which the codec has checked.
            pub(crate) fn properties(&self) -> Properties<'_> {
                Properties::from_checked(&self.properties)
            }
        })+
    };
}

with_properties!(Connack Message Answer Answers);

impl Heard {
    /// Decodes a whole packet as a client does.
    pub(crate) fn read(bytes: &[u8], version: ProtocolVersion) -> Result<Self, Violation> {
        let Some(frame) = codec::next_frame(bytes, u32::MAX)? else {
            return Err(Violation::RemainingLengthMalformed);
        };
        let packet = codec::decode(&frame, version, Receiver::Client)?;
        let kind = packet.packet_type();
        Ok(match packet {
            Packet::Connack(connack) => Self::Connack(Connack {
                session_present: frame.body().first() == Some(&1),
                code: frame.body().get(1).copied().unwrap_or_default(),
                properties: connack.properties.as_bytes().into(),
            }),
            Packet::Publish(publish) => Self::Publish(Message::new(&publish)),
            Packet::Puback(ack)
            | Packet::Pubrec(ack)
            | Packet::Pubrel(ack)
            | Packet::Pubcomp(ack) => {
                Self::Ack(Answer::new(kind, ack.packet_id.get(), ack.reason.byte(), ack.properties))
            }
            Packet::Suback(suback) => Self::Suback(Answers {
                id: suback.packet_id.get(),
                codes: suback.reasons.iter().map(|reason| reason.byte()).collect(),
                properties: suback.properties.as_bytes().into(),
            }),
            Packet::Unsuback(unsuback) => Self::Unsuback(Answers {
                id: unsuback.packet_id.get(),
                codes: unsuback.reasons.iter().map(|reason| reason.byte()).collect(),
                properties: unsuback.properties.as_bytes().into(),
            }),
            Packet::Pingresp => Self::Pingresp,
            Packet::Disconnect(end) => {
                Self::Disconnect(Answer::new(kind, 0, end.reason.byte(), end.properties))
            }
            Packet::Auth(auth) => {
                Self::Auth(Answer::new(kind, 0, auth.reason.byte(), auth.properties))
            }
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::Pingreq => Self::Other(kind),
        })
    }
}

impl Message {
    fn new(publish: &Publish<'_>) -> Self {
        Self {
            topic: publish.topic.map_or(String::new(), |topic| topic.as_str().into()),
            payload: publish.payload.into(),
            qos: publish.qos.bits(),
            retain: publish.retain,
            dup: publish.dup,
            id: publish.packet_id.map_or(0, noctule_mqtt::PacketId::get),
            properties: publish.properties.as_bytes().into(),
        }
    }
}

impl Answer {
    fn new(packet: PacketType, id: u16, code: u8, properties: Properties<'_>) -> Self {
        Self { packet, id, code, properties: properties.as_bytes().into() }
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connack(connack) => {
                let present = if connack.session_present { " with a session" } else { "" };
                write!(f, "CONNACK 0x{:02X}{present}", connack.code)
            }
            Self::Publish(message) => message.fmt(f),
            Self::Ack(ack) => {
                write!(f, "{} 0x{:02X} for packet identifier {}", ack.packet, ack.code, ack.id)
            }
            Self::Suback(answers) => write!(f, "SUBACK {answers}"),
            Self::Unsuback(answers) => write!(f, "UNSUBACK {answers}"),
            Self::Pingresp => f.write_str("PINGRESP"),
            Self::Disconnect(answer) | Self::Auth(answer) => {
                write!(f, "{} 0x{:02X}", answer.packet, answer.code)
            }
            Self::Other(packet) => packet.fmt(f),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dup = if self.dup { ", DUP" } else { "" };
        let retain = if self.retain { ", RETAIN" } else { "" };
        let payload = String::from_utf8_lossy(&self.payload[..self.payload.len().min(40)]);
        write!(
            f,
            "PUBLISH '{}' to '{}' at QoS {}{dup}{retain}",
            payload.escape_debug(),
            self.topic.chars().take(80).collect::<String>().escape_debug(),
            self.qos
        )
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02X?} for packet identifier {}", self.codes, self.id)
    }
}
