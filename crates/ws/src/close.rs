//! Why a conversation is closed, as a number.

use std::fmt;

/// The code of a close frame (RFC 6455, section 7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// This end goes away: a server stops, a page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the rules of WebSocket.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A kind of data that is not taken: MQTT comes in binary frames.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// Data that is not what it says, such as a text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// Against what this end allows.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// A frame is larger than what this end takes.
    pub const TOO_BIG: Self = Self(1009);

    /// A code that may stand in a frame; the others are kept for what never crosses the wire.
    #[must_use]
    pub fn new(code: u16) -> Option<Self> {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(code))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
