//! Messages that were received. They share their bytes, so a copy for each stream costs little.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use noctule_mqtt::{PacketId, Properties, QoS, packet};

/// A message that was received.
#[derive(Clone)]
pub struct Message {
    head: Arc<Head>,
    payload: Bytes,
}

struct Head {
    topic: String,
    qos: QoS,
    retain: bool,
    dup: bool,
    packet_id: Option<PacketId>,
    properties: Box<[u8]>,
}

impl Message {
    pub(crate) fn new(topic: String, publish: &packet::Publish<'_>) -> Self {
        let head = Head {
            topic,
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            packet_id: publish.packet_id,
            properties: publish.properties.as_bytes().into(),
        };
        Self { head: Arc::new(head), payload: Bytes::copy_from_slice(publish.payload) }
    }

    /// Where it was published.
    pub fn topic(&self) -> &str {
        &self.head.topic
    }

    /// What it says, any bytes.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The QoS of this delivery.
    pub fn qos(&self) -> QoS {
        self.head.qos
    }

    /// Whether it is a retained message, sent because of a new subscription. (With "retain as
    /// published": as it was published.)
    pub fn retain(&self) -> bool {
        self.head.retain
    }

    /// Whether the broker may have sent it before.
    pub fn dup(&self) -> bool {
        self.head.dup
    }

    /// The packet identifier of this delivery; none at QoS 0.
    pub fn packet_id(&self) -> Option<u16> {
        self.head.packet_id.map(PacketId::get)
    }

    /// Its properties; none before MQTT 5.
    pub fn properties(&self) -> Properties<'_> {
        Properties::from_checked(&self.head.properties)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("qos", &self.qos())
            .field("retain", &self.retain())
            .field("payload", &self.payload)
            .finish_non_exhaustive()
    }
}
