//! What a shard has counted and holds, put together for whoever publishes it.
//!
//! A snapshot is a copy of plain numbers, made when it is asked for. Only how many messages wait is
//! not counted as it happens: sessions are gone through for it, so many at a time.

use crate::counters::{Counters, Denied, Dropped, Packets, Refused, Traffic};
use crate::memory::Memory;
use crate::shard::Shard;

/// The numbers of one shard, or the sum of several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Connections, refusals, bytes.
    pub counters: Counters,
    /// Deliveries that did not happen.
    pub dropped: Dropped,
    /// What clients wanted and may not.
    pub denied: Denied,
    /// Refused CONNECTs by reason.
    pub refused: Refused,
    /// Packets and messages.
    pub packets: Packets,
    /// What connections over TLS had of all this.
    pub tls: Traffic,
    /// Connections by WebSocket that were ever accepted, as whoever has the sockets counts them.
    pub websocket_opened: u64,
    /// Those of them that have ended.
    pub websocket_closed: u64,
    /// What is taken of memory.
    pub memory: Memory,
    /// Connections now, accepted as clients or not.
    pub connections: usize,
    /// Sessions now.
    pub sessions: usize,
    /// Those of them whose client is connected.
    pub connected: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Those of them that are shared.
    pub shared_subscriptions: usize,
    /// Retained messages of all shards.
    pub retained: usize,
    /// What small retained messages of all shards take of memory, in bytes.
    pub retained_bytes: usize,
    /// What large messages take of it, each once and whosever they are, in bytes.
    pub large_bytes: usize,
    /// Bytes that sockets have not taken, as found in the last round.
    pub unsent_bytes: usize,
    /// Messages that wait in queues of sessions, as found in the last round.
    pub queued: usize,
    /// Messages on their way to clients, not acknowledged yet, as found in the last round.
    pub in_flight: usize,
    /// Those for whom most memory is taken, the largest first, as found in the last round.
    pub holdings: Holdings,
}

/// How much memory is taken for a client: by its session, the messages that it is owed (large ones in
/// full, though others may share them), and its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Its client identifier.
    pub client_id: Box<str>,
    /// How many bytes.
    pub bytes: usize,
}

/// The largest holdings, in falling order; never more than [`HOLDINGS`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings(Vec<Holding>);

/// So many of those for whom most memory is taken are named.
pub const HOLDINGS: usize = 5;

impl Holdings {
    /// The largest first.
    #[must_use]
    pub fn as_slice(&self) -> &[Holding] {
        &self.0
    }

    /// Takes one in if it is among the largest.
    fn offer(&mut self, client_id: &str, bytes: usize) {
        if self.0.len() == HOLDINGS && self.0.last().is_some_and(|least| least.bytes >= bytes) {
            return;
        }
        let at = self.0.partition_point(|other| other.bytes >= bytes);
        self.0.insert(at, Holding { client_id: client_id.into(), bytes });
        self.0.truncate(HOLDINGS);
    }

    fn add(&mut self, other: &Self) {
        for Holding { client_id, bytes } in &other.0 {
            self.offer(client_id, *bytes);
        }
    }
}

impl Snapshot {
    /// Adds the numbers of another shard.
    pub fn add(&mut self, other: &Self) {
        self.counters.add(&other.counters);
        self.dropped.add(&other.dropped);
        self.denied.add(&other.denied);
        self.refused.add(&other.refused);
        self.packets.add(&other.packets);
        self.tls.add(&other.tls);
        self.websocket_opened += other.websocket_opened;
        self.websocket_closed += other.websocket_closed;
        self.memory.add(&other.memory);
        self.connections += other.connections;
        self.sessions += other.sessions;
        self.connected += other.connected;
        self.subscriptions += other.subscriptions;
        self.shared_subscriptions += other.shared_subscriptions;
        // These are common to all, and the latest look is as good as any.
        self.retained = self.retained.max(other.retained);
        self.retained_bytes = self.retained_bytes.max(other.retained_bytes);
        self.large_bytes = self.large_bytes.max(other.large_bytes);
        self.unsent_bytes += other.unsent_bytes;
        self.queued += other.queued;
        self.in_flight += other.in_flight;
        self.holdings.add(&other.holdings);
    }
}

/// A round through the sessions, and what the last one has found.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    next: usize,
    so_far: Waiting,
    found: Waiting,
}

/// What waits for clients.
#[derive(Debug, Clone, Default)]
struct Waiting {
    queued: usize,
    in_flight: usize,
    unsent_bytes: usize,
    holdings: Holdings,
}

/// So many places of sessions and connections are looked at in one go.
const SURVEYED: usize = 5_000;

impl Shard {
    /// The numbers of this shard. Each call goes on with counting the messages that wait.
    pub fn snapshot(&mut self) -> Snapshot {
        self.go_on_surveying();
        let Waiting { queued, in_flight, unsent_bytes, holdings } = self.survey.found.clone();
        let common = self.commons.memory();
        let delivery = &self.delivery;
        Snapshot {
            counters: delivery.counters.clone(),
            dropped: delivery.dropped.clone(),
            denied: delivery.authority.denied.clone(),
            refused: delivery.refused.clone(),
            packets: delivery.packets.clone(),
            tls: delivery.tls.clone(),
            websocket_opened: 0,
            websocket_closed: 0,
            memory: delivery.memory(),
            connections: delivery.connections.len(),
            sessions: delivery.sessions.len(),
            connected: delivery.connected,
            subscriptions: self.router.subscriptions(),
            shared_subscriptions: self.router.shared_subscriptions(),
            retained: self.retained_len(),
            retained_bytes: common.retained(),
            large_bytes: common.large(),
            unsent_bytes,
            queued,
            in_flight,
            holdings,
        }
    }

    /// Whether the last [`snapshot`](Self::snapshot) has left sessions to be looked at.
    pub fn is_surveying(&self) -> bool {
        self.survey.next != 0
    }

    /// Counts for whom memory is taken, and how many messages wait, at once and from the beginning: some
    /// 10 ms for 100,000 clients, so that it is for when somebody has to know.
    pub fn survey_all(&mut self) {
        self.survey.next = 0;
        self.survey.so_far = Waiting::default();
        self.go_on_surveying();
        while self.is_surveying() {
            self.go_on_surveying();
        }
    }

    fn go_on_surveying(&mut self) {
        let survey = &mut self.survey;
        for session in self.delivery.sessions.values_after(survey.next).take(SURVEYED).flatten() {
            survey.so_far.queued += session.queue.len();
            survey.so_far.in_flight += session.outbound.len();
            let connection = session.connection.and_then(|one| self.delivery.connections.get(one));
            let bytes = session.held_bytes() + connection.map_or(0, |one| one.counted);
            survey.so_far.holdings.offer(&session.client_id, bytes);
        }
        let connections = self.delivery.connections.values_after(survey.next).take(SURVEYED);
        for connection in connections.flatten() {
            survey.so_far.unsent_bytes += connection.outbox.len();
        }
        survey.next += SURVEYED;
        let slots = self.delivery.sessions.slots().max(self.delivery.connections.slots());
        if survey.next >= slots {
            survey.next = 0;
            survey.found = std::mem::take(&mut survey.so_far);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_named_the_largest_first() {
        let mut holdings = Holdings::default();
        for (number, bytes) in [3, 9, 1, 7, 5, 2, 8].into_iter().enumerate() {
            holdings.offer(&number.to_string(), bytes);
        }
        let mut others = Holdings::default();
        others.offer("x", 6);
        others.offer("y", 0);
        holdings.add(&others);
        let named: Vec<_> = holdings.as_slice().iter().map(|one| one.bytes).collect();
        assert_eq!(named, [9, 8, 7, 6, 5]);
        assert_eq!(*holdings.as_slice()[3].client_id, *"x");
    }
}
