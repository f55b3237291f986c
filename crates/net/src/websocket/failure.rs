//! Why a WebSocket connection came to nothing.

use crate::FirstBytes;
use noctule_ws::{Refusal, Violation};
use std::fmt;
use std::io;

/// Why a connection cannot go on. The peer was told, as far as it can be told: it has an answer of HTTP or a
/// close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebSocketFailure {
    /// What came is no HTTP at all: these are its first bytes.
    NotHttp(FirstBytes),
    /// The upgrade was refused.
    Refused(Refusal),
    /// It broke the rules of frames.
    Violated(Violation),
    /// It sent too much that is not MQTT, before it was accepted.
    TooMuch,
}

impl WebSocketFailure {
    /// The failure in an error of a pipe, if that is what it is about.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref().and_then(|inner| inner.downcast_ref())
    }
}

impl fmt::Display for WebSocketFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttp(first) => {
                write!(f, "expected a request of HTTP, found bytes that are none: {first}")
            }
            Self::Refused(refusal) => {
                write!(f, "refused an upgrade to WebSocket ({}): {refusal}", refusal.status())
            }
            Self::Violated(violation) => {
                write!(f, "WebSocket failed ({}): {violation}", violation.close_code())
            }
            Self::TooMuch => write!(f, "WebSocket failed: too much came before CONNECT"),
        }
    }
}

impl std::error::Error for WebSocketFailure {}

impl From<WebSocketFailure> for io::Error {
    fn from(failure: WebSocketFailure) -> Self {
        Self::new(io::ErrorKind::InvalidData, failure)
    }
}
