//! The words of MQTT: control packets, properties, topics and reason codes, and the one codec that
//! reads and writes them for MQTT 3.1, 3.1.1 and 5.0.
//!
//! Everything here is a pure function of bytes. There is no socket, no clock, no session and no
//! opinion about what a peer may say *next*; the crate only knows what a packet says. Decoded
//! packets borrow from the bytes they were read from, so topic and payload are never copied, and
//! encoding appends to a buffer of the caller's.
//!
//! ```
//! use noctule_mqtt::{codec, Packet, ProtocolVersion, Receiver};
//!
//! let bytes = [0x30, 0x06, 0x00, 0x01, b'a', b'b', b'y', b'e'];
//! let frame = codec::next_frame(&bytes, 1_000)?.expect("the frame is whole");
//! let Packet::Publish(publish) = codec::decode(&frame, ProtocolVersion::V311, Receiver::Server)?
//! else {
//!     unreachable!("0x30 is a PUBLISH");
//! };
//! assert_eq!(publish.topic.map(|t| t.as_str()), Some("a"));
//! assert_eq!(publish.payload, b"bye");
//! # Ok::<(), noctule_mqtt::Violation>(())
//! ```

pub mod codec;
pub mod packet;
mod packet_id;
pub mod property;
mod qos;
mod reason;
pub mod rights;
pub mod topic;
mod version;
mod violation;

pub use packet::{Packet, PacketType};
pub use packet_id::PacketId;
pub use property::{Properties, Property, PropertyBuffer, PropertyId};
pub use qos::QoS;
pub use reason::ReasonCode;
pub use topic::{TopicFilter, TopicName};
pub use version::{ProtocolVersion, Receiver};
pub use violation::{Answer, Phase, Violation};
