//! Why an upgrade is refused, and what is answered in HTTP.

use std::fmt;

/// An upgrade is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// What came is not a request of HTTP/1.1.
    NotHttp,
    /// A request of another version of HTTP.
    OtherVersion,
    /// Another method than GET.
    Method,
    /// A field that has to be there is not, is there twice, or says what it must not: its name.
    Field(&'static str),
    /// The request has a body.
    Body,
    /// The head is longer than [`HEAD_BYTES_MAX`](super::HEAD_BYTES_MAX), or has too many fields.
    HeadTooLarge,
    /// The request does not ask for WebSocket.
    NotWebSocket,
    /// Another version of WebSocket than 13.
    WebSocketVersion,
    /// Neither of the subprotocols of MQTT is offered.
    Subprotocol,
    /// The page that asks comes from an origin that is not allowed.
    Origin,
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::NotHttp | Self::OtherVersion | Self::Field(_) | Self::Subprotocol => 400,
            Self::Origin => 403,
            Self::Method => 405,
            Self::Body => 413,
            Self::NotWebSocket | Self::WebSocketVersion => 426,
            Self::HeadTooLarge => 431,
        }
    }

    /// The whole answer, after which the connection is closed.
    #[must_use]
    pub fn response(self) -> Vec<u8> {
        let (phrase, fields) = match self.status() {
            403 => ("Forbidden", ""),
            405 => ("Method Not Allowed", "Allow: GET\r\n"),
            413 => ("Content Too Large", ""),
            426 => ("Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
            431 => ("Request Header Fields Too Large", ""),
            _ => ("Bad Request", ""),
        };
        // Who is told to upgrade is told so in this field, too.
        let connection = if self.status() == 426 { "Upgrade, close" } else { "close" };
        let (status, text) = (self.status(), self.to_string());
        format!(
            "HTTP/1.1 {status} {phrase}\r\nConnection: {connection}\r\n{fields}\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n{text}\n",
            text.len() + 1
        )
        .into_bytes()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttp => write!(f, "this is not a request of HTTP/1.1"),
            Self::OtherVersion => write!(f, "WebSocket begins with HTTP/1.1"),
            Self::Method => write!(f, "WebSocket begins with GET"),
            Self::Field(name) => {
                write!(f, "the field {name} is missing, is there twice or is not as it has to be")
            }
            Self::Body => write!(f, "a request for an upgrade has no body"),
            Self::HeadTooLarge => write!(f, "the head of the request is too large"),
            Self::NotWebSocket => write!(f, "this is an address for MQTT over WebSocket"),
            Self::WebSocketVersion => write!(f, "version 13 of WebSocket is spoken here"),
            Self::Subprotocol => {
                write!(f, "the subprotocol mqtt (or mqttv3.1) has to be offered")
            }
            Self::Origin => write!(f, "pages of this origin may not connect"),
        }
    }
}

impl std::error::Error for Refusal {}
