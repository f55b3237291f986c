//! Why a request of the client's user was not fulfilled.
//!
//! Why a *connection* ended is a [`Reason`]; it is part of an error only where it is the cause.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use noctule_mqtt::ReasonCode;
use noctule_mqtt::codec::EncodeError;

use crate::reason::Reason;
use crate::tls::TlsError;

/// Why a request was not fulfilled.
#[derive(Clone, Debug)]
pub enum Error {
    /// The request makes no sense or breaks a rule of MQTT: what is wrong.
    Invalid(String),
    /// The queue of messages that wait for the connection or their turn is full.
    QueueFull {
        /// Messages that wait.
        messages: usize,
        /// How many may.
        messages_max: usize,
        /// Bytes that wait, topics included.
        bytes: usize,
        /// How many may.
        bytes_max: usize,
    },
    /// The broker understood and said no.
    Refused {
        /// Its reason.
        code: ReasonCode,
        /// Its own words, if it sent any.
        words: Option<String>,
    },
    /// The packet is larger than the broker takes `[MQTT5-3.2.2-15]`.
    TooLarge {
        /// The packet's size in bytes.
        bytes: usize,
        /// The largest that the broker takes.
        bytes_max: u32,
    },
    /// The broker has said that it does not offer this: what.
    NotOffered(&'static str),
    /// The connection was lost before a message at QoS 0 had left. It was not sent again, as QoS 0
    /// promises nothing.
    ConnectionLost,
    /// The client has ended: why.
    Ended(Arc<Reason>),
    /// It did not happen within this time.
    TimedOut(Duration),
    /// The TLS options cannot be used.
    Tls(TlsError),
}

impl Error {
    /// The broker's reason code, if the broker refused.
    pub fn reason_code(&self) -> Option<ReasonCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Ended(reason) => reason.reason_code(),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(what) => f.write_str(what),
            Self::QueueFull { messages, messages_max, bytes, bytes_max } => write!(
                f,
                "the queue is full: {messages} of {messages_max} messages, {bytes} of {bytes_max} \
                 bytes wait; wait for the connection, or raise the limits of the queue"
            ),
            Self::Refused { code, words: None } => write!(f, "the broker refused: {code}"),
            Self::Refused { code, words: Some(words) } => {
                write!(f, "the broker refused: {code}: {words:?}")
            }
            Self::TooLarge { bytes, bytes_max } => write!(
                f,
                "a packet of {bytes} bytes is larger than the {bytes_max} that the broker takes"
            ),
            Self::NotOffered(what) => write!(f, "the broker does not offer {what}"),
            Self::ConnectionLost => {
                f.write_str("the connection was lost before the message was sent (QoS 0)")
            }
            Self::Ended(reason) => write!(f, "the client has ended: {reason}"),
            Self::TimedOut(wait) => write!(f, "it did not happen within {wait:?}"),
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<TlsError> for Error {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}
