//! Who publishes to whom, and how much at once.

use crate::room::{Peer, Room};
use noctule_mqtt::{ProtocolVersion, QoS};

/// One pattern of messages of 64 bytes.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) name: &'static str,
    version: ProtocolVersion,
    qos: QoS,
    /// Messages of one publisher that come together.
    batch: usize,
    publishers: usize,
    subscribers: usize,
    /// Whether subscribers have sessions that are kept.
    persistent: bool,
    /// Filters with wildcards that each subscriber has beside the one that matches.
    wildcards: usize,
    /// Topics that are published to in turn; one per publisher if none.
    topics: usize,
}

const PAIR: Pattern = Pattern {
    name: "",
    version: ProtocolVersion::V311,
    qos: QoS::AtMostOnce,
    batch: 8,
    publishers: 1,
    subscribers: 1,
    persistent: false,
    wildcards: 0,
    topics: 0,
};

pub(crate) const PATTERNS: &[Pattern] = &[
    Pattern { name: "pair-q0-b1", batch: 1, ..PAIR },
    Pattern { name: "pair-q0-b8", ..PAIR },
    Pattern { name: "pair-q0-b8-v5", version: ProtocolVersion::V5, ..PAIR },
    Pattern { name: "pair-q1-b8", qos: QoS::AtLeastOnce, ..PAIR },
    Pattern { name: "pair-q1-b8-v5", version: ProtocolVersion::V5, qos: QoS::AtLeastOnce, ..PAIR },
    Pattern { name: "pair-q1-b8-kept", qos: QoS::AtLeastOnce, persistent: true, ..PAIR },
    Pattern { name: "pair-q2-b8", qos: QoS::ExactlyOnce, ..PAIR },
    Pattern { name: "fan-out-q0-b8", subscribers: 500, ..PAIR },
    Pattern { name: "fan-out-q1-b8", qos: QoS::AtLeastOnce, subscribers: 500, ..PAIR },
    Pattern { name: "fan-in-q1-b8", qos: QoS::AtLeastOnce, publishers: 100, ..PAIR },
    Pattern { name: "match-q0", subscribers: 100, wildcards: 1_000, topics: 50_000, ..PAIR },
];

impl Pattern {
    /// Messages that a burst delivers.
    #[cfg(test)]
    pub(crate) fn deliveries(&self) -> usize {
        let receivers = if self.topics > 0 { 1 } else { self.subscribers };
        self.batch * self.publishers * receivers
    }

    /// A shard with the clients that the pattern needs.
    pub(crate) fn room(&self) -> Room {
        let mut room = Room::new(self.version);
        for number in 0..self.subscribers {
            let subscriber = room.connect(&format!("sub{number}"), self.persistent);
            let filters: Vec<String> = if self.wildcards > 0 {
                let mine = |filter| format!("plant/{number}/+/{filter}/#");
                (0..self.wildcards).map(mine).collect()
            } else {
                vec!["fan/in/+".into()]
            };
            for filters in filters.chunks(100) {
                room.subscribe(subscriber, filters, self.qos);
            }
        }
        for number in 0..self.publishers {
            let publisher = room.connect(&format!("pub{number}"), false);
            room.publishers.push(publisher);
        }
        room
    }

    /// Has every publisher send its batch, and everybody answer until there is nothing more to say.
    /// Returns how many messages arrived.
    pub(crate) fn burst(&self, room: &mut Room) -> usize {
        let mut arrived = 0;
        for index in 0..self.publishers {
            let publisher: Peer = room.publishers[index];
            for _ in 0..self.batch {
                let number = room.next_number();
                let topic = if self.topics > 0 {
                    // Far apart, so that no cache of routes holds them all.
                    let topic = number * 7_919 % self.topics;
                    format!("plant/{}/line/{}/value", topic % self.subscribers, topic % 1_000)
                } else {
                    format!("fan/in/{index}")
                };
                room.publish(publisher, &topic, self.qos);
            }
            arrived += room.settle();
        }
        arrived
    }
}
