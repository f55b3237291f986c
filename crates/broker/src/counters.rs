//! What happened, in numbers. Plain integers of one shard; nothing here is shared.

use noctule_mqtt::{PacketType, QoS, ReasonCode};

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

            /// Adds what another shard has counted.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)+
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
        /// Connections closed because no CONNECT was accepted in time.
        connect_timeouts,
        /// Connections closed without a CONNECT because their place was needed.
        connects_given_way,
        /// Connections closed because the peer broke the rules.
        violations,
        /// Bytes read.
        bytes_received,
        /// Bytes written.
        bytes_sent,
        /// Times that a publisher was not read because a receiver did not keep up.
        publishers_slowed,
        /// Times that a publisher was not read because another shard did not keep up.
        publishers_slowed_by_mail,
        /// Times that a receiver counted as slow, having been waited for.
        slow_consumers,
        /// Times that a client was not read because it sent faster than it may.
        clients_slowed_by_rate,
        /// Times that no connection was accepted for a while because they came too fast.
        arrivals_slowed,
        /// Connections that waited because others fought with them for a client identifier.
        duels_slowed,
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
        /// Its topic is not below the mount by which the client has come.
        outside_mount,
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
        /// Not retained, and refused if its client can be told, because there are as many retained
        /// messages as may be.
        retained_quota,
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

counters! {
    /// CONNECTs that were answered with a refusal, by reason.
    Refused {
        /// A protocol version that is not spoken here.
        protocol_version,
        /// A client identifier that is not allowed.
        client_identifier,
        /// A client identifier whose session belongs to somebody else.
        foreign_session,
        /// User name or password are wrong.
        user_or_password,
        /// Not authorized.
        not_authorized,
        /// There are as many connections as may be, or memory is short.
        quota,
        /// Too many connections, or wrong logins, from one address; or too many for one client
        /// identifier.
        connection_rate,
        /// Anything else, such as a CONNECT that cannot be read.
        other,
        /// Those of all these who were not told, but closed as soon as they were accepted.
        unheard,
    }
}

impl Refused {
    pub(crate) fn count(&mut self, reason: ReasonCode) {
        *match reason {
            ReasonCode::UnsupportedProtocolVersion => &mut self.protocol_version,
            ReasonCode::ClientIdentifierNotValid => &mut self.client_identifier,
            ReasonCode::BadUserNameOrPassword => &mut self.user_or_password,
            ReasonCode::NotAuthorized => &mut self.not_authorized,
            ReasonCode::QuotaExceeded => &mut self.quota,
            ReasonCode::ConnectionRateExceeded => &mut self.connection_rate,
            _ => &mut self.other,
        } += 1;
    }
}

counters! {
    /// What clients wanted and may not, by what it was.
    Denied {
        /// Messages that were not taken.
        publish,
        /// Topic filters that were refused, and subscriptions that lost their right.
        subscribe,
        /// Messages that were not given to a subscriber as they were published. Each is one message to
        /// one session.
        read,
        /// Retained messages that were not given to a subscriber.
        retained,
        /// Retained messages that were not given out because their publisher may not publish them any
        /// more.
        retained_source,
        /// Messages that waited for a session and were not given to it, as its rights have changed.
        queued,
        /// Wills that were refused, or not published.
        will,
        /// What would have been denied, were denials not only said.
        shadow,
    }
}

counters! {
    /// What connections of one transport have carried.
    Traffic {
        /// Connections opened.
        connections_opened,
        /// Connections closed.
        connections_closed,
        /// CONNECTs refused.
        connects_refused,
        /// Bytes read, without what the transport adds.
        bytes_received,
        /// Bytes written, without what the transport adds.
        bytes_sent,
        /// PUBLISH packets received.
        publish_received,
        /// PUBLISH packets put into outputs.
        publish_sent,
    }
}

/// Packets by type, and messages by QoS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packets {
    /// Received, by the number of their type; but PUBLISH is in `publish_received` alone.
    pub received: [u64; 16],
    /// Put into outputs, by the number of their type; but PUBLISH is in `publish_sent` alone.
    pub sent: [u64; 16],
    /// PUBLISH packets received, by QoS.
    pub publish_received: [u64; 3],
    /// PUBLISH packets put into outputs, by QoS.
    pub publish_sent: [u64; 3],
    /// Bytes of the payloads of PUBLISH packets received.
    pub payload_received: u64,
    /// Bytes of the payloads of PUBLISH packets put into outputs.
    pub payload_sent: u64,
}

impl Packets {
    /// PUBLISH packets received.
    pub fn messages_received(&self) -> u64 {
        self.publish_received.iter().sum()
    }

    /// PUBLISH packets put into outputs.
    pub fn messages_sent(&self) -> u64 {
        self.publish_sent.iter().sum()
    }

    /// Packets received, of all types.
    pub fn all_received(&self) -> u64 {
        self.received.iter().sum::<u64>() + self.messages_received()
    }

    /// Packets put into outputs, of all types.
    pub fn all_sent(&self) -> u64 {
        self.sent.iter().sum::<u64>() + self.messages_sent()
    }

    /// Adds what another shard has counted.
    pub fn add(&mut self, other: &Self) {
        let pairs = self.received.iter_mut().zip(&other.received);
        let pairs = pairs.chain(self.sent.iter_mut().zip(&other.sent));
        let pairs = pairs.chain(self.publish_received.iter_mut().zip(&other.publish_received));
        let pairs = pairs.chain(self.publish_sent.iter_mut().zip(&other.publish_sent));
        pairs.for_each(|(sum, more)| *sum += more);
        self.payload_received += other.payload_received;
        self.payload_sent += other.payload_sent;
    }

    #[inline]
    pub(crate) fn came(&mut self, type_bits: u8) {
        self.received[usize::from(type_bits & 0x0F)] += 1;
    }

    #[inline]
    pub(crate) fn leaves(&mut self, packet: PacketType) {
        self.sent[packet as usize] += 1;
    }

    /// PUBLISH packets with payloads of so many bytes each leave.
    #[inline]
    pub(crate) fn publish_leaves(&mut self, qos: QoS, packets: u64, payload_bytes: usize) {
        self.publish_sent[qos as usize] += packets;
        self.payload_sent += packets * payload_bytes as u64;
    }

    /// So many PUBLISH packets leave, with so many bytes of payload together.
    pub(crate) fn run_leaves(&mut self, qos: QoS, packets: usize, payload_bytes: usize) {
        self.publish_sent[qos as usize] += packets as u64;
        self.payload_sent += payload_bytes as u64;
    }

    /// So many PUBLISH packets came, with so many bytes of payload together.
    pub(crate) fn run_came(&mut self, qos: QoS, packets: usize, payload_bytes: usize) {
        self.publish_received[qos as usize] += packets as u64;
        self.payload_received += payload_bytes as u64;
    }

    #[inline]
    pub(crate) fn publish_came(&mut self, qos: QoS, payload_bytes: usize) {
        self.publish_received[qos as usize] += 1;
        self.payload_received += payload_bytes as u64;
    }
}
