//! The client's half: a request is written, and its answer is read.

use super::head::{FIELDS_MAX, Fields, HEAD_BYTES_MAX, has_whole_line_ends};
use super::{Subprotocol, head_end, key};
use crate::NoRandomness;
use httparse::{EMPTY_HEADER, Response, Status};
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;

/// Bytes of a reason that are passed on.
const REASON_BYTES_MAX: usize = 100;

/// A client that asks for an upgrade.
#[derive(Debug, Clone)]
pub struct ClientUpgrade {
    key: String,
    subprotocol: Subprotocol,
}

/// A part of a request would break it: a host, a target, or a field with a line break or a character that it
/// must not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRequestPart(
    /// Which one.
    pub String,
);

/// The server did not upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpgradeFailure {
    /// What it says is not a response of HTTP/1.1.
    NotHttp,
    /// Its response does not end in time, or has too many fields.
    HeadTooLarge,
    /// It answered with this status and these words.
    Status(u16, String),
    /// It upgrades to something else, or has not understood the key.
    NotWebSocket,
    /// It chose a subprotocol that was not offered, or none.
    Subprotocol(String),
    /// It switched an extension on, for which nobody has asked.
    Extension(String),
}

impl ClientUpgrade {
    /// A client that wants to speak `subprotocol`.
    ///
    /// # Errors
    /// [`NoRandomness`] if there is none for the key.
    pub fn new(subprotocol: Subprotocol) -> Result<Self, NoRandomness> {
        let mut nonce = [0; 16];
        SystemRandom::new().fill(&mut nonce).map_err(|_| NoRandomness)?;
        Ok(Self::with_nonce(subprotocol, nonce))
    }

    /// The same with a nonce that somebody else has chosen.
    #[must_use]
    pub fn with_nonce(subprotocol: Subprotocol, nonce: [u8; 16]) -> Self {
        Self { key: key::key(nonce), subprotocol }
    }

    /// The request. `host` is what stands in the address, with its port unless that is the usual one;
    /// `target` is the path, such as `/mqtt`; `fields` are further ones, such as `Authorization`.
    ///
    /// # Errors
    /// [`BadRequestPart`] for one that would break the request.
    pub fn request(
        &self,
        host: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Result<Vec<u8>, BadRequestPart> {
        let has_no_gap =
            |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_graphic());
        if !has_no_gap(host) {
            return Err(BadRequestPart(format!("the host {host:?}")));
        }
        if !has_no_gap(target) || !target.starts_with('/') {
            return Err(BadRequestPart(format!("the path {target:?}")));
        }
        // [MQTT5-6.0.0-3] [MQTT3-6.0.0-3]: the subprotocol is offered.
        let mut request = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {}\r\n",
            self.key,
            self.subprotocol.name()
        );
        for (name, value) in fields {
            let is_token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
            let is_text = |c: u8| c == b'\t' || c >= b' ' && c != 0x7f;
            if name.is_empty() || !name.bytes().all(is_token) || !value.bytes().all(is_text) {
                return Err(BadRequestPart(format!("the field {name:?}")));
            }
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        Ok(request.into_bytes())
    }

    /// Reads what the server has answered so far: how many bytes the answer has, behind which frames begin,
    /// or None if it is not whole.
    ///
    /// # Errors
    /// Why there is no WebSocket.
    pub fn read_response(&self, bytes: &[u8]) -> Result<Option<usize>, UpgradeFailure> {
        let Some(end) = head_end(bytes, 0) else {
            let too_large = bytes.len() > HEAD_BYTES_MAX;
            return if too_large { Err(UpgradeFailure::HeadTooLarge) } else { self.begins(bytes) };
        };
        if end > HEAD_BYTES_MAX {
            return Err(UpgradeFailure::HeadTooLarge);
        }
        self.read_head(&bytes[..end])?;
        Ok(Some(end))
    }

    /// Whether what has come may become a response: who waits for one should not wait for a server that
    /// speaks something else.
    fn begins(&self, bytes: &[u8]) -> Result<Option<usize>, UpgradeFailure> {
        let version = b"HTTP/1.";
        let common = bytes.len().min(version.len());
        if bytes[..common] == version[..common] { Ok(None) } else { Err(UpgradeFailure::NotHttp) }
    }

    fn read_head(&self, head: &[u8]) -> Result<(), UpgradeFailure> {
        let mut headers = [EMPTY_HEADER; FIELDS_MAX];
        let mut response = Response::new(&mut headers);
        match response.parse(head) {
            Ok(Status::Complete(length)) if length == head.len() && has_whole_line_ends(head) => {}
            Err(httparse::Error::TooManyHeaders) => return Err(UpgradeFailure::HeadTooLarge),
            Ok(_) | Err(_) => return Err(UpgradeFailure::NotHttp),
        }
        match response.code {
            Some(101) => {}
            Some(status) => {
                let reason = response.reason.unwrap_or_default();
                let reason = reason.chars().take(REASON_BYTES_MAX).collect();
                return Err(UpgradeFailure::Status(status, reason));
            }
            None => return Err(UpgradeFailure::NotHttp),
        }
        let fields = Fields(response.headers);
        let accept = fields.one("Sec-WebSocket-Accept").ok().flatten();
        if !fields.lists("Upgrade", "websocket")
            || !fields.lists("Connection", "upgrade")
            || accept != Some(&key::accept(&self.key))
        {
            return Err(UpgradeFailure::NotWebSocket);
        }
        if let Some(extension) = fields.list("Sec-WebSocket-Extensions").first() {
            return Err(UpgradeFailure::Extension((*extension).to_owned()));
        }
        match fields.one("Sec-WebSocket-Protocol") {
            Ok(Some(chosen)) if chosen == self.subprotocol.name() => Ok(()),
            Ok(chosen) => Err(UpgradeFailure::Subprotocol(chosen.unwrap_or_default().to_owned())),
            Err(_) => Err(UpgradeFailure::NotHttp),
        }
    }
}

impl fmt::Display for BadRequestPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot stand in a request of HTTP", self.0)
    }
}

impl std::error::Error for BadRequestPart {}

impl fmt::Display for UpgradeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttp => write!(f, "the server does not answer in HTTP/1.1"),
            Self::HeadTooLarge => write!(f, "the server's answer is too large"),
            Self::Status(status, reason) => {
                write!(f, "the server does not speak WebSocket there: HTTP {status} {reason}")
            }
            Self::NotWebSocket => {
                write!(f, "the server has not understood the request for WebSocket")
            }
            Self::Subprotocol(chosen) if chosen.is_empty() => {
                write!(f, "the server does not say that it speaks MQTT")
            }
            Self::Subprotocol(chosen) => {
                write!(f, "the server chose the subprotocol {chosen:?}, which was not offered")
            }
            Self::Extension(extension) => {
                write!(f, "the server uses the extension {extension:?}, for which nobody has asked")
            }
        }
    }
}

impl std::error::Error for UpgradeFailure {}
