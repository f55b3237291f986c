//! What is in a shard at the moment, counted: for whoever has to prove that nothing stays behind.
//!
//! Nothing here is asked for while messages flow; some counts walk through all sessions.

use super::Shard;
use crate::connection::ConnectionHandle;
use crate::postbag::Postbag;

/// What a shard holds. In one that all clients have left, and whose timers have run out, everything
/// is zero but the retained messages, which are not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leftovers {
    /// Connections, accepted as clients or not.
    pub connections: usize,
    /// Sessions, connected or away.
    pub sessions: usize,
    /// Client identifiers that lead to a session.
    pub client_ids: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Levels of topic filters with wildcards in the index.
    pub index_levels: usize,
    /// Messages waiting in the sessions' queues, those left to the store included.
    pub queued_messages: usize,
    /// Bytes that the queues count for them.
    pub queued_bytes: usize,
    /// Messages in flight to clients.
    pub inflight: usize,
    /// Bytes that were read from clients and are held back until they may be dealt with.
    pub held_bytes: usize,
    /// What waits for a ticket of the store.
    pub waiting: usize,
    /// Messages that wait to hear whether there is room for them, here or for another shard, and places that
    /// are kept in queues.
    pub asking: usize,
    /// Sessions whose messages are to be loaded.
    pub loads: usize,
    /// Sessions that have ended and whose messages go to other members of groups.
    pub departing: usize,
    /// Sessions with retained messages on their way.
    pub replays: usize,
    /// Filters whose retained messages connected clients wait for, though nothing else is under way
    /// to them.
    pub replays_due: usize,
    /// Letters to other shards that nobody has taken.
    pub letters: usize,
    /// Actions that nobody has carried out.
    pub actions: usize,
    /// Timers, of which each goes away when its time has come.
    pub timers: usize,
}

impl Shard {
    /// Counts what the shard holds.
    pub fn leftovers(&self) -> Leftovers {
        let delivery = &self.delivery;
        let mut left = Leftovers {
            connections: delivery.connections.len(),
            sessions: delivery.sessions.len(),
            client_ids: self.clients.len(),
            subscriptions: self.router.subscriptions(),
            index_levels: self.router.index_levels(),
            waiting: delivery.waiting.len(),
            asking: self.asking.len(),
            loads: delivery.loads.len(),
            departing: self.departures.len(),
            replays: delivery.replays.len(),
            letters: delivery.postbags.iter().map(Postbag::letters).sum(),
            actions: self.actions.len(),
            timers: self.timers.len(),
            ..Leftovers::default()
        };
        for session in delivery.sessions.handles().filter_map(|one| delivery.sessions.get(one)) {
            left.queued_messages += session.queue.len();
            left.queued_bytes += session.queue.bytes();
            let idle = session.queue.is_empty() && session.outbound.is_empty();
            if idle && session.connection.is_some() {
                left.replays_due += session.replays.len();
            }
            left.inflight += session.outbound.len();
            left.asking += session.rare().places.messages;
        }
        let connections = &delivery.connections;
        let held = connections.handles().filter_map(|one| connections.get(one));
        left.held_bytes = held.map(crate::Connection::held).sum();
        left
    }

    /// Whether a connection has been given the session of its client identifier. One whose client
    /// fights with another for it may have been accepted and wait for its turn (see `duel`).
    pub fn has_session(&self, connection: ConnectionHandle) -> bool {
        let found = self.delivery.connections.get(connection);
        found.is_some_and(|found| found.session.is_some())
    }
}
