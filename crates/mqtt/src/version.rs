//! Protocol versions, and which end of a connection is reading.
//!
//! What differs between versions is asked for by name here, so that nobody compares numbers.

use std::fmt;

/// A version of MQTT this code speaks. The discriminant is the protocol level of CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ProtocolVersion {
    /// MQTT 3.1, protocol name `MQIsdp`, level 3.
    V31 = 3,
    /// MQTT 3.1.1, protocol name `MQTT`, level 4 `[MQTT3-3.1.2-2]`.
    V311 = 4,
    /// MQTT 5.0, protocol name `MQTT`, level 5 `[MQTT5-3.1.2-2]`.
    V5 = 5,
}

impl ProtocolVersion {
    /// All versions, oldest first.
    pub const ALL: [ProtocolVersion; 3] = [Self::V31, Self::V311, Self::V5];

    /// The protocol name and level by which CONNECT announces this version.
    pub const fn announced_as(self) -> (&'static str, u8) {
        match self {
            Self::V31 => ("MQIsdp", 3),
            Self::V311 => ("MQTT", 4),
            Self::V5 => ("MQTT", 5),
        }
    }

    /// Whether packets carry properties.
    pub const fn has_properties(self) -> bool {
        matches!(self, Self::V5)
    }

    /// Whether acknowledgements and DISCONNECT carry reason codes.
    pub const fn has_reason_codes(self) -> bool {
        matches!(self, Self::V5)
    }

    /// Whether the server may send DISCONNECT before it closes.
    pub const fn server_may_disconnect(self) -> bool {
        matches!(self, Self::V5)
    }

    /// Whether SUBSCRIBE, UNSUBSCRIBE and PUBREL may carry the DUP flag (MQTT 3.1 section 2.1).
    pub const fn allows_dup_on_requests(self) -> bool {
        matches!(self, Self::V31)
    }

    /// Whether CONNECT flags without a meaning are disregarded instead of refused: the reserved
    /// one, and QoS and retain of a will that is not there (MQTT 3.1 section 3.1, "Connect flags").
    pub const fn disregards_unused_connect_flags(self) -> bool {
        matches!(self, Self::V31)
    }

    /// Whether a CONNECT may set the user name flag and then end without a user name, which MQTT
    /// 3.1 (section 3.1, "User name and password flags") asks servers to accept.
    pub const fn tolerates_missing_user_name(self) -> bool {
        matches!(self, Self::V31)
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V31 => "3.1",
            Self::V311 => "3.1.1",
            Self::V5 => "5.0",
        })
    }
}

/// Which end of the connection reads a packet; some packets flow in one direction only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiver {
    /// A broker, reading what clients send.
    Server,
    /// A client, reading what the broker sends.
    Client,
}
