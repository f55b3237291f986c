//! The words alone: packets are decoded, and what was decoded is encoded again.

use noctule_mqtt::codec;
use noctule_mqtt::packet::{Connect, Publish, Subscribe, Subscription, SubscriptionOptions};
use noctule_mqtt::{
    Packet, PacketId, Properties, ProtocolVersion, QoS, Receiver, TopicFilter, TopicName,
};

/// Content type, response topic, a user property.
const PROPERTIES: &[u8] = b"\x03\x00\x04json\x08\x00\x05reply\x26\x00\x03key\x00\x05value";
const PAYLOAD: [u8; 64] = [b'x'; 64];

/// The name of a kind of packet, and what makes one.
type Kind = (&'static str, fn() -> Words);

pub(crate) const KINDS: &[Kind] = &[
    ("codec-connect-v5", || Words::new(&connect())),
    ("codec-publish-v5", || Words::new(&publish())),
    ("codec-subscribe-v5", || Words::new(&subscribe())),
];

fn connect() -> Packet<'static> {
    Packet::Connect(Box::new(Connect {
        version: ProtocolVersion::V5,
        clean_start: true,
        keep_alive: 60,
        client_id: "device-000017",
        will: None,
        user_name: Some("device"),
        password: Some(b"secret"),
        properties: Properties::from_checked(&[0x11, 0, 0, 1, 0]),
    }))
}

fn publish() -> Packet<'static> {
    Packet::Publish(Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: TopicName::new("plant/7/line/12/value").ok(),
        packet_id: Some(PacketId::FIRST),
        properties: Properties::from_checked(PROPERTIES),
        payload: &PAYLOAD,
    })
}

fn subscribe() -> Packet<'static> {
    let options = SubscriptionOptions::qos(QoS::AtLeastOnce);
    let filters = ["plant/7/+/12/#", "plant/7/line/12/value", "alarms/#"];
    let filters = filters.into_iter().filter_map(|filter| TopicFilter::new(filter).ok());
    Packet::Subscribe(Subscribe {
        packet_id: PacketId::FIRST,
        properties: Properties::EMPTY,
        subscriptions: filters.map(|filter| Subscription { filter, options }).collect(),
    })
}

/// A packet as bytes, and room to write it again.
#[derive(Debug)]
pub(crate) struct Words {
    bytes: Vec<u8>,
    again: Vec<u8>,
}

impl Words {
    fn new(packet: &Packet<'_>) -> Self {
        let mut bytes = Vec::new();
        codec::encode(packet, ProtocolVersion::V5, &mut bytes).expect("the kinds are packets");
        Self { bytes, again: Vec::new() }
    }

    /// Reads and writes it once. Returns how many packets that were.
    pub(crate) fn burst(&mut self) -> usize {
        turn(&self.bytes, &mut self.again);
        usize::from(self.again == self.bytes)
    }
}

/// What counts.
#[inline(never)]
fn turn(bytes: &[u8], again: &mut Vec<u8>) {
    again.clear();
    if let Ok(Some(frame)) = codec::next_frame(bytes, u32::MAX)
        && let Ok(packet) = codec::decode(&frame, ProtocolVersion::V5, Receiver::Server)
    {
        let _ = codec::encode(&packet, ProtocolVersion::V5, again);
    }
}
