//! What a peer does against the rules of frames, and the code that closes the conversation for it.

use crate::CloseCode;
use std::fmt;

/// The peer broke the rules of WebSocket, or those of MQTT about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// A reserved bit is set, and no extension was agreed on that gives it a meaning (5.2).
    ReservedBits,
    /// An opcode without a meaning (5.2).
    UnknownOpcode(u8),
    /// A client's frame without a mask (5.1).
    NotMasked,
    /// A server's frame with a mask (5.1).
    Masked,
    /// A length in more bytes than it needs, or of more than 63 bits (5.2).
    LengthNotMinimal,
    /// A control frame that does not end with itself (5.5).
    FragmentedControl,
    /// A control frame of more than 125 bytes (5.5).
    LongControl,
    /// A further frame of a message that has not begun (5.4).
    NothingToContinue,
    /// A message begins while another has not ended (5.4).
    NotContinued,
    /// A text frame: MQTT comes in binary ones `[MQTT5-6.0.0-1]`.
    Text,
    /// A frame of this many bytes, more than may be.
    TooLarge(u64),
    /// A close frame with half a code, or one that must not be sent (5.5.1, 7.4).
    BadCloseCode,
    /// A close frame whose reason is not UTF-8 (5.5.1).
    BadCloseReason,
}

impl Violation {
    /// What the close frame says to it.
    #[must_use]
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::ReservedBits
            | Self::UnknownOpcode(_)
            | Self::NotMasked
            | Self::Masked
            | Self::LengthNotMinimal
            | Self::FragmentedControl
            | Self::LongControl
            | Self::NothingToContinue
            | Self::NotContinued
            | Self::BadCloseCode => CloseCode::PROTOCOL_ERROR,
            Self::Text => CloseCode::UNSUPPORTED_DATA,
            Self::TooLarge(_) => CloseCode::TOO_BIG,
            Self::BadCloseReason => CloseCode::INVALID_DATA,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedBits => {
                write!(f, "a frame with reserved bits, though nothing gives them a meaning")
            }
            Self::UnknownOpcode(opcode) => write!(f, "a frame with the unknown opcode {opcode:#x}"),
            Self::NotMasked => write!(f, "a frame of a client without a mask"),
            Self::Masked => write!(f, "a frame of a server with a mask"),
            Self::LengthNotMinimal => {
                write!(f, "a frame whose length is not written as it has to be")
            }
            Self::FragmentedControl => write!(f, "a control frame in pieces"),
            Self::LongControl => write!(f, "a control frame of more than 125 bytes"),
            Self::NothingToContinue => {
                write!(f, "a frame that goes on with a message which has not begun")
            }
            Self::NotContinued => write!(f, "a message that begins before the last one has ended"),
            Self::Text => write!(f, "a text frame; MQTT comes in binary frames"),
            Self::TooLarge(bytes) => {
                write!(f, "a frame of {bytes} bytes, more than a packet may have")
            }
            Self::BadCloseCode => write!(f, "a close frame whose code must not be sent"),
            Self::BadCloseReason => write!(f, "a close frame whose reason is not UTF-8"),
        }
    }
}

impl std::error::Error for Violation {}
