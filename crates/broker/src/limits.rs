//! Everything that a client can make grow has a bound, and this is the list.
//!
//! The defaults and the reasons are in the manual's chapter on limits; whoever builds a shard fills
//! the struct from the configuration.

use noctule_mqtt::QoS;

/// What happens to a message that finds a session's queue full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnQueueFull {
    /// That session does not get it, which is counted; the sender is acknowledged for the others.
    DropNew,
    /// The sender gets "quota exceeded" (MQTT 5), or no acknowledgement and a closed connection.
    Refuse,
}

/// Bounds of one shard and of each client on it.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; a CONNECT beyond is refused with "quota exceeded" (3.x: code 3).
    pub connections_max: usize,
    /// Bytes a connection may send before its CONNECT is whole.
    pub connect_bytes_max: u32,
    /// Milliseconds until the CONNECT of a new connection must be accepted.
    pub connect_timeout_ms: u64,
    /// Bytes of a packet, fixed header included.
    pub packet_bytes_max: u32,
    /// Bytes of a topic name or filter.
    pub topic_bytes_max: usize,
    /// Level separators in a topic name or filter.
    pub topic_separators_max: usize,
    /// Messages at QoS 1 and 2 on their way to a client; it may allow fewer.
    pub inflight_out_max: u16,
    /// Messages at QoS 1 and 2 on their way from a client: our receive maximum.
    pub inflight_in_max: u16,
    /// Packet identifiers of QoS 2 messages that a client has not released.
    pub qos2_ids_max: usize,
    /// Topic aliases that a client may use: our topic alias maximum.
    pub topic_aliases_in_max: u16,
    /// Topic aliases that we use towards a client; it may allow fewer.
    pub topic_aliases_out_max: u16,
    /// Bytes waiting in a connection's output beyond which nothing is added.
    pub unsent_bytes_max: usize,
    /// Messages waiting in a session's queue.
    pub queue_messages_max: usize,
    /// Bytes of messages waiting in a session's queue.
    pub queue_bytes_max: usize,
    /// Bytes of messages waiting in a persistent session's queue, those left to the store included,
    /// if the store is on disk.
    pub queue_stored_bytes_max: usize,
    /// Whether what is left to the store takes memory all the same.
    pub spills_to_memory: bool,
    /// How many of these bytes a persistent session keeps at hand; the rest is left to the store.
    pub queue_resident_bytes_max: usize,
    /// What happens beyond.
    pub on_queue_full: OnQueueFull,
    /// Whether messages at QoS 0 wait in the queue of a persistent session whose client is away.
    pub queue_at_most_once: bool,
    /// Whether a message is delivered with the QoS of the subscription also if it was published with a
    /// lower one, which is not what MQTT says `[MQTT3-3.8.4-6]` `[MQTT5-3.8.4-8]`.
    pub upgrade_qos: bool,
    /// Subscriptions of a session; one more is answered with "quota exceeded" (3.x: failure).
    pub subscriptions_max: usize,
    /// Answers of a connection that wait for the store; it is not read beyond.
    pub acks_waiting_max: usize,
    /// The longest session expiry interval granted, in seconds; `None` grants all.
    pub session_expiry_max: Option<u32>,
    /// Bytes of memory that all shards take together; see [`Pressure`](crate::Pressure).
    pub memory_max: usize,
    /// User properties in a packet of a client; one more closes the connection.
    pub user_properties_max: usize,
    /// Retained messages of all clients; a further topic is answered with "quota exceeded".
    pub retained_messages_max: usize,
    /// Bytes of their topics, properties and payloads.
    pub retained_bytes_max: usize,
    /// Times that a session is taken over, each within a minute of the last, before further ones have
    /// to wait; `None` never.
    pub takeovers_max: Option<u32>,
    /// Retained topics visited for a new subscription before others have their turn.
    pub retained_slice: usize,
}

impl Limits {
    /// The highest QoS with which a message may be delivered that was published with this one.
    #[inline]
    pub(crate) fn qos_of_delivery(&self, published: QoS) -> QoS {
        if self.upgrade_qos { QoS::ExactlyOnce } else { published }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: usize::MAX,
            connect_bytes_max: 100_000,
            connect_timeout_ms: 10_000,
            packet_bytes_max: 2_000_000,
            topic_bytes_max: 65_535,
            topic_separators_max: 200,
            inflight_out_max: 1_000,
            inflight_in_max: 1_000,
            qos2_ids_max: 1_000,
            topic_aliases_in_max: 16,
            topic_aliases_out_max: 16,
            unsent_bytes_max: 1 << 20,
            queue_messages_max: 100_000,
            queue_bytes_max: 64 << 20,
            queue_stored_bytes_max: 1 << 30,
            spills_to_memory: true,
            queue_resident_bytes_max: 1 << 20,
            on_queue_full: OnQueueFull::DropNew,
            queue_at_most_once: false,
            upgrade_qos: false,
            subscriptions_max: 10_000,
            acks_waiting_max: 1_000,
            session_expiry_max: None,
            memory_max: usize::MAX,
            user_properties_max: 1_000,
            retained_messages_max: usize::MAX,
            retained_bytes_max: usize::MAX,
            takeovers_max: Some(10),
            retained_slice: 1_000,
        }
    }
}
