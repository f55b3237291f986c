//! From HTTP/1.1 to WebSocket (RFC 6455, section 4), for both ends.
//!
//! A head is read when it is whole, and it is whole within [`HEAD_BYTES_MAX`] or not at all. The lines are
//! taken apart by `httparse`; what they have to say is looked at here, strictly: an upgrade is the first
//! thing that a stranger says.

mod client;
mod head;
mod key;
mod refusal;
mod server;

pub use client::{BadRequestPart, ClientUpgrade, UpgradeFailure};
pub use head::{HEAD_BYTES_MAX, head_end};
pub use refusal::Refusal;
pub use server::{UpgradeRequest, read_request};

/// A subprotocol by which MQTT goes over WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subprotocol {
    /// `mqtt`: of all versions `[MQTT5-6.0.0-4]`.
    Mqtt,
    /// `mqttv3.1`: what clients of 3.1 offer, some of them still.
    MqttV31,
}

impl Subprotocol {
    /// Its name in HTTP.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::MqttV31 => "mqttv3.1",
        }
    }
}

#[cfg(test)]
mod tests;
