//! Control packets: one enum, one struct per kind of packet, for all versions.
//!
//! What a version lacks is empty here (properties) or a success (reason codes). Each struct's file
//! holds how it is read and written; the fixed header is checked before any of them is asked.

mod ack;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod publish;
mod subscribe;
mod unsubscribe;

pub use ack::Ack;
pub use auth::Auth;
pub use connack::Connack;
pub use connect::{Connect, Will, announced_version};
pub use disconnect::Disconnect;
pub use publish::Publish;
pub use subscribe::{RetainHandling, Suback, Subscribe, Subscription, SubscriptionOptions};
pub use unsubscribe::{Unsuback, Unsubscribe};

use crate::codec::{self, EncodeError, Frame, Reader};
use crate::{ProtocolVersion, Receiver, Violation};
use std::fmt;

/// A kind of control packet; the discriminant is its number on the wire (section 2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum PacketType {
    Connect = 1,
    Connack = 2,
    Publish = 3,
    Puback = 4,
    Pubrec = 5,
    Pubrel = 6,
    Pubcomp = 7,
    Subscribe = 8,
    Suback = 9,
    Unsubscribe = 10,
    Unsuback = 11,
    Pingreq = 12,
    Pingresp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketType {
    /// Every kind, in numerical order.
    pub const ALL: [PacketType; 15] = [
        Self::Connect,
        Self::Connack,
        Self::Publish,
        Self::Puback,
        Self::Pubrec,
        Self::Pubrel,
        Self::Pubcomp,
        Self::Subscribe,
        Self::Suback,
        Self::Unsubscribe,
        Self::Unsuback,
        Self::Pingreq,
        Self::Pingresp,
        Self::Disconnect,
        Self::Auth,
    ];

    /// The kind with this number, or `None` for 0 and above 15.
    pub fn from_bits(bits: u8) -> Option<Self> {
        Self::ALL.get(usize::from(bits.wrapping_sub(1))).copied()
    }

    /// The specification's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Connack => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::Puback => "PUBACK",
            Self::Pubrec => "PUBREC",
            Self::Pubrel => "PUBREL",
            Self::Pubcomp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::Suback => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::Unsuback => "UNSUBACK",
            Self::Pingreq => "PINGREQ",
            Self::Pingresp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }

    /// The flags the fixed header must have; PUBLISH is free to choose `[MQTT3-2.2.2-1]`
    /// `[MQTT5-2.1.3-1]`.
    ///
    /// PUBREL, SUBSCRIBE and UNSUBSCRIBE have 0010 `[MQTT3-3.6.1-1]` `[MQTT3-3.8.1-1]`
    /// `[MQTT3-3.10.1-1]` `[MQTT5-3.6.1-1]` `[MQTT5-3.8.1-1]` `[MQTT5-3.10.1-1]`, all others none:
    /// among them DISCONNECT `[MQTT3-3.14.1-1]` `[MQTT5-3.14.1-1]` and AUTH `[MQTT5-3.15.1-1]`.
    pub const fn required_flags(self) -> Option<u8> {
        match self {
            Self::Publish => None,
            Self::Pubrel | Self::Subscribe | Self::Unsubscribe => Some(0b0010),
            _ => Some(0),
        }
    }

    /// Whether `receiver` may be sent this packet (table 2-1).
    pub const fn flows_to(self, receiver: Receiver, version: ProtocolVersion) -> bool {
        match self {
            Self::Connect | Self::Subscribe | Self::Unsubscribe | Self::Pingreq => {
                matches!(receiver, Receiver::Server)
            }
            Self::Connack | Self::Suback | Self::Unsuback | Self::Pingresp => {
                matches!(receiver, Receiver::Client)
            }
            Self::Disconnect => {
                matches!(receiver, Receiver::Server) || version.server_may_disconnect()
            }
            _ => true,
        }
    }

    /// The first byte of the packet, for all kinds but PUBLISH.
    pub(crate) fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.required_flags().unwrap_or(0)
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A control packet. It borrows from the bytes it was decoded from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum Packet<'a> {
    Connect(Box<Connect<'a>>),
    Connack(Connack<'a>),
    Publish(Publish<'a>),
    Puback(Ack<'a>),
    Pubrec(Ack<'a>),
    Pubrel(Ack<'a>),
    Pubcomp(Ack<'a>),
    Subscribe(Subscribe<'a>),
    Suback(Suback<'a>),
    Unsubscribe(Unsubscribe<'a>),
    Unsuback(Unsuback<'a>),
    Pingreq,
    Pingresp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

impl<'a> Packet<'a> {
    /// Which kind of packet this is.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::Connack(_) => PacketType::Connack,
            Self::Publish(_) => PacketType::Publish,
            Self::Puback(_) => PacketType::Puback,
            Self::Pubrec(_) => PacketType::Pubrec,
            Self::Pubrel(_) => PacketType::Pubrel,
            Self::Pubcomp(_) => PacketType::Pubcomp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::Suback(_) => PacketType::Suback,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::Unsuback(_) => PacketType::Unsuback,
            Self::Pingreq => PacketType::Pingreq,
            Self::Pingresp => PacketType::Pingresp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }

    /// See [`codec::decode`].
    pub(crate) fn decode(
        frame: &Frame<'a>,
        version: ProtocolVersion,
        receiver: Receiver,
    ) -> Result<Self, Violation> {
        let packet_type = codec::check_first_byte(frame.bytes[0], version, receiver)?;
        if frame.has_padded_length() {
            check_padded_length(packet_type, frame, version)?;
        }
        let reader = Reader::new(frame.body(), packet_type);
        Ok(match packet_type {
            PacketType::Publish => {
                Self::Publish(Publish::read(frame.flags(), reader, version, receiver, |_| false)?)
            }
            PacketType::Puback => Self::Puback(Ack::read(packet_type, reader, version)?),
            PacketType::Pubrec => Self::Pubrec(Ack::read(packet_type, reader, version)?),
            PacketType::Pubrel => Self::Pubrel(Ack::read(packet_type, reader, version)?),
            PacketType::Pubcomp => Self::Pubcomp(Ack::read(packet_type, reader, version)?),
            PacketType::Connect => Self::Connect(Box::new(Connect::read(reader)?)),
            PacketType::Connack => Self::Connack(Connack::read(reader, version)?),
            PacketType::Subscribe => Self::Subscribe(Subscribe::read(reader, version)?),
            PacketType::Suback => Self::Suback(Suback::read(reader, version)?),
            PacketType::Unsubscribe => Self::Unsubscribe(Unsubscribe::read(reader, version)?),
            PacketType::Unsuback => Self::Unsuback(Unsuback::read(reader, version)?),
            PacketType::Pingreq => {
                reader.finish()?;
                Self::Pingreq
            }
            PacketType::Pingresp => {
                reader.finish()?;
                Self::Pingresp
            }
            PacketType::Disconnect => {
                Self::Disconnect(Disconnect::read(reader, version, receiver)?)
            }
            PacketType::Auth => Self::Auth(Auth::read(reader)?),
        })
    }

    /// See [`codec::encode`].
    pub(crate) fn encode(
        &self,
        version: ProtocolVersion,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let packet_type = self.packet_type();
        match self {
            Self::Connect(packet) => packet.write(out),
            Self::Connack(packet) => packet.write(version, out),
            Self::Publish(packet) => packet.write(version, out),
            Self::Puback(ack) | Self::Pubrec(ack) | Self::Pubrel(ack) | Self::Pubcomp(ack) => {
                ack.write(packet_type, version, out)
            }
            Self::Subscribe(packet) => packet.write(version, out),
            Self::Suback(packet) => packet.write(version, out),
            Self::Unsubscribe(packet) => packet.write(version, out),
            Self::Unsuback(packet) => packet.write(version, out),
            Self::Pingreq | Self::Pingresp => {
                out.extend_from_slice(&[packet_type.first_byte(), 0]);
                Ok(())
            }
            Self::Disconnect(packet) => packet.write(version, out),
            Self::Auth(packet) => packet.write(version, out),
        }
    }
}

/// Refuses a remaining length with more bytes than it needs if the version does
/// `[MQTT5-1.5.5-1]`; CONNECT speaks for itself.
fn check_padded_length(
    packet_type: PacketType,
    frame: &Frame<'_>,
    version: ProtocolVersion,
) -> Result<(), Violation> {
    let spoken = match packet_type {
        PacketType::Connect => announced_version(frame.body()),
        _ => Some(version),
    };
    if spoken == Some(ProtocolVersion::V5) {
        return Err(Violation::VariableByteIntegerMalformed { field: "remaining length" });
    }
    Ok(())
}
