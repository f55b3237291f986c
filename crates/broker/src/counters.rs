//! What happened, in numbers. Plain integers of one shard; nothing here is shared.

/// Declares a set of counters with a name for each.
macro_rules! counters {
    ($(#[$outer:meta])* $name:ident { $($(#[$doc:meta])* $field:ident,)+ }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$doc])* pub $field: u64,)+
        }

        impl $name {
            /// Every counter with its name.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field),)+].into_iter()
            }
        }
    };
}

counters! {
    /// Traffic of a shard since it started.
    Counters {
        /// Connections opened.
        connections_opened,
        /// CONNECTs accepted.
        connects_accepted,
        /// CONNECTs refused, whatever the reason.
        connects_refused,
        /// Connections closed because the peer broke the rules.
        violations,
        /// Bytes read.
        bytes_received,
        /// Bytes written.
        bytes_sent,
        /// PUBLISH packets received.
        publish_received,
        /// PUBLISH packets put into outputs.
        publish_sent,
        /// Times that a publisher was not read because a receiver did not keep up.
        publishers_slowed,
        /// Times that a publisher was not read because another shard did not keep up.
        publishers_slowed_by_mail,
        /// Times that a receiver counted as slow, having been waited for.
        slow_consumers,
        /// Sessions that ended because their expiry interval passed.
        sessions_expired,
    }
}

counters! {
    /// Deliveries that did not happen, by reason. Each is one message to one session.
    Dropped {
        /// QoS 0, and the client does not read fast enough.
        slow_consumer,
        /// QoS 0, and the client of the session is away.
        away,
        /// The session's queue is full.
        queue_full,
        /// The packet is larger than the client accepts `[MQTT5-3.1.2-25]`.
        packet_too_large,
        /// No member of a shared subscription could take it, nor have it put aside.
        group_away,
        /// Its message expiry interval has passed `[MQTT5-3.3.2-5]`. A retained message counts, too,
        /// though not for a session.
        expired,
        /// Not owed to a session, or not retained, because the disk of the store is nearly full.
        store_full,
        /// QoS 0, and memory is short.
        memory_at_most_once,
        /// Not put into a session's queue because memory is short.
        memory_queued,
        /// Not retained, and not routed, because memory is short.
        memory_retained,
        /// Subscriptions refused because memory is short.
        memory_subscriptions,
        /// New sessions refused because memory is short.
        memory_sessions,
        /// Connections closed because memory is short and they sent a large packet.
        memory_packets,
        /// Published below `$SYS/`, which clients may not.
        reserved_topic,
    }
}
