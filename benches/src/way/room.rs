//! A shard and its clients, which answer as the protocol asks. What the shard does is done in
//! [`turn`], and only that counts; what clients do is done outside.

use noctule_broker::{Action, ConnectionHandle, Event, Settings, Shard, Verdict};
use noctule_mqtt::codec;
use noctule_mqtt::packet::{Ack, Connect, Publish, Subscribe, Subscription, SubscriptionOptions};
use noctule_mqtt::{
    Packet, PacketId, PacketType, Properties, ProtocolVersion, QoS, ReasonCode, TopicFilter,
    TopicName,
};
use noctule_session::Now;
use std::collections::HashMap;

const NOW: Now = Now { mono_ms: 1_000, wall_ms: 1_700_000_000_000 };
const PAYLOAD: [u8; 64] = [b'x'; 64];

/// A client, by its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(usize);

/// What a client has to say, or was told.
type Mail = Vec<(ConnectionHandle, Vec<u8>)>;

pub(crate) struct Room {
    shard: Shard,
    version: ProtocolVersion,
    clients: Vec<ConnectionHandle>,
    places: HashMap<ConnectionHandle, usize>,
    pub(crate) publishers: Vec<Peer>,
    said: Mail,
    told: Mail,
    dirty: Vec<ConnectionHandle>,
    number: usize,
}

impl Room {
    pub(crate) fn new(version: ProtocolVersion) -> Self {
        let settings = Settings { seed: [7; 32], next_key: 1, ..Settings::default() };
        Self {
            shard: Shard::new(settings, NOW),
            version,
            clients: Vec::new(),
            places: HashMap::new(),
            publishers: Vec::new(),
            said: Vec::new(),
            told: Vec::new(),
            dirty: Vec::new(),
            number: 0,
        }
    }

    /// Numbers messages from 0.
    pub(crate) fn next_number(&mut self) -> usize {
        self.number += 1;
        self.number - 1
    }

    pub(crate) fn connect(&mut self, client_id: &str, persistent: bool) -> Peer {
        let peer = Peer(self.clients.len());
        let handle = self.shard.open(NOW);
        self.clients.push(handle);
        self.places.insert(handle, peer.0);
        // Session expiry interval for ever, where that has to be said.
        let expiry: &[u8] = &[0x11, 0xFF, 0xFF, 0xFF, 0xFF];
        let says_expiry = persistent && self.version.has_properties();
        self.say(
            peer,
            &Packet::Connect(Box::new(Connect {
                version: self.version,
                clean_start: !persistent,
                keep_alive: 0,
                client_id,
                will: None,
                user_name: None,
                password: None,
                properties: if says_expiry {
                    Properties::from_checked(expiry)
                } else {
                    Properties::EMPTY
                },
            })),
        );
        self.settle();
        peer
    }

    pub(crate) fn subscribe(&mut self, peer: Peer, filters: &[String], qos: QoS) {
        let options = SubscriptionOptions::qos(qos);
        let subscriptions = filters.iter().map(|filter| Subscription {
            filter: TopicFilter::new(filter).expect("the patterns' filters are filters"),
            options,
        });
        let subscribe = Subscribe {
            packet_id: PacketId::FIRST,
            properties: Properties::EMPTY,
            subscriptions: subscriptions.collect(),
        };
        self.say(peer, &Packet::Subscribe(subscribe));
        self.settle();
    }

    /// Has a client say PUBLISH, together with what it has not said yet.
    pub(crate) fn publish(&mut self, peer: Peer, topic: &str, qos: QoS) {
        let packet_id = (qos != QoS::AtMostOnce)
            .then(|| PacketId::new((self.number % 65_535) as u16 + 1))
            .flatten();
        let publish = Publish {
            dup: false,
            qos,
            retain: false,
            topic: Some(TopicName::new(topic).expect("the patterns' topics are topics")),
            packet_id,
            properties: Properties::EMPTY,
            payload: &PAYLOAD,
        };
        self.say(peer, &Packet::Publish(publish));
    }

    fn say(&mut self, peer: Peer, packet: &Packet<'_>) {
        let handle = self.clients[peer.0];
        if self.said.last().is_none_or(|(last, _)| *last != handle) {
            self.said.push((handle, Vec::new()));
        }
        if let Some((_, bytes)) = self.said.last_mut() {
            codec::encode(packet, self.version, bytes).expect("the patterns' packets are packets");
        }
    }

    /// Takes turns until nobody has more to say. Returns how many messages arrived.
    pub(crate) fn settle(&mut self) -> usize {
        let mut arrived = 0;
        while !self.said.is_empty() {
            turn(&mut self.shard, &self.said, &mut self.dirty, &mut self.told);
            self.said.clear();
            for (handle, bytes) in std::mem::take(&mut self.told) {
                arrived += self.hear(Peer(self.places[&handle]), &bytes);
            }
        }
        arrived
    }

    /// A client reads and answers. Returns how many messages were among it.
    fn hear(&mut self, peer: Peer, mut bytes: &[u8]) -> usize {
        let mut messages = 0;
        while let Ok(Some(frame)) = codec::next_frame(bytes, u32::MAX) {
            bytes = &bytes[frame.bytes.len()..];
            let body = frame.body();
            let id_at = |at: usize| PacketId::new(u16::from_be_bytes([body[at], body[at + 1]]));
            let answer = match frame.type_bits() {
                3 => {
                    messages += 1;
                    let topic_len = usize::from(u16::from_be_bytes([body[0], body[1]]));
                    match frame.flags() >> 1 & 3 {
                        1 => id_at(2 + topic_len).map(|id| (PacketType::Puback, id)),
                        2 => id_at(2 + topic_len).map(|id| (PacketType::Pubrec, id)),
                        _ => None,
                    }
                }
                5 => id_at(0).map(|id| (PacketType::Pubrel, id)),
                6 => id_at(0).map(|id| (PacketType::Pubcomp, id)),
                _ => None,
            };
            if let Some((packet, packet_id)) = answer {
                let ack =
                    Ack { packet_id, reason: ReasonCode::Success, properties: Properties::EMPTY };
                let answer = match packet {
                    PacketType::Puback => Packet::Puback(ack),
                    PacketType::Pubrec => Packet::Pubrec(ack),
                    PacketType::Pubrel => Packet::Pubrel(ack),
                    _ => Packet::Pubcomp(ack),
                };
                self.say(peer, &answer);
            }
        }
        messages
    }
}

/// A turn of a loop: takes in what was said, does what is to be done, and puts out what there is to
/// say. Stores are prompt and everybody may come in.
#[inline(never)]
fn turn(
    shard: &mut Shard,
    said: &[(ConnectionHandle, Vec<u8>)],
    dirty: &mut Vec<ConnectionHandle>,
    told: &mut Mail,
) {
    for (handle, bytes) in said {
        shard.on_bytes(*handle, bytes, NOW);
    }
    shard.work(NOW);
    shard.end_turn();
    while let Some(action) = shard.next_action() {
        match action {
            Action::Authenticate { connection, .. } => {
                let verdict = Verdict::Accepted;
                shard.handle(Event::Authenticated { connection, verdict }, NOW);
            }
            Action::Persist { ticket, .. } => shard.handle(Event::Persisted(ticket), NOW),
            _ => {}
        }
    }
    shard.take_dirty(dirty);
    for handle in dirty.drain(..) {
        let Some(outbox) = shard.output(handle) else { continue };
        let bytes = outbox.contiguous().unwrap_or_default().to_vec();
        shard.on_written(handle, bytes.len());
        told.push((handle, bytes));
    }
}
