//! How many bytes of memory are taken, by whom, and what follows when they are too many.
//!
//! Every queued byte is counted once, with an owner. A small message counts with each session that
//! is owed it; a large one is shared by all and counts by itself for as long as anybody has it. What
//! a shard's clients hold is plain numbers of the shard; once a turn it tells the others by how much
//! that has changed, and all of them look at the sum.
//!
//! The sum is what the broker knows of, not what the operating system says: what an allocator adds
//! or keeps is not in it. So the limit should leave some room below what there is.

use crate::commons::ShardId;
use crate::connection::{Connection, ConnectionHandle, Transport};
use crate::delivery::Delivery;
use crate::persist::Owed;
use crate::retained::{Load, Size};
use crate::session::{Session, SessionHandle};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a session takes besides what it is owed, its client identifier and its subscriptions.
const SESSION_BYTES: usize = size_of::<Session>() + 200;
/// What a subscription takes besides its filter, which is there three times: with the session, in
/// the shard's index and in the interest map.
pub(crate) const SUBSCRIPTION_BYTES: usize = 250;
/// What an idle connection takes.
const CONNECTION_BYTES: usize = size_of::<Connection>() + 300;
/// What an idle connection over TLS takes beside: its keys, and what its session remembers.
const TLS_BYTES: usize = 4 * 1024;
/// A shard tells the others when its memory has changed by this much, or this part of the limit.
const TOLD_BYTES: usize = 64 * 1024;
const TOLD_PART: usize = 256;

/// What all shards of a broker take together.
#[derive(Debug, Default)]
pub struct CommonMemory {
    /// As the shards have told.
    shards: AtomicUsize,
    retained: AtomicUsize,
    /// What clients have retained, all of it.
    retained_messages: AtomicUsize,
    retained_bytes: AtomicUsize,
    large: AtomicUsize,
}

impl CommonMemory {
    /// Bytes taken by all shards, as far as they have told, by retained messages, and by large
    /// messages, wherever those are.
    pub fn total(&self) -> usize {
        let [shards, retained, large] =
            [&self.shards, &self.retained, &self.large].map(|part| part.load(Ordering::Relaxed));
        shards.saturating_add(retained).saturating_add(large)
    }

    /// Bytes taken by large messages, each once.
    pub fn large(&self) -> usize {
        self.large.load(Ordering::Relaxed)
    }

    /// Bytes taken by small retained messages.
    pub fn retained(&self) -> usize {
        self.retained.load(Ordering::Relaxed)
    }

    pub(crate) fn add_large(&self, bytes: usize) {
        self.large.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn subtract_large(&self, bytes: usize) {
        self.large.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The retained messages of a part came to `before` and come to `after` now.
    pub(crate) fn retained_changed(&self, before: Size, after: Size) {
        change(&self.retained, before.memory, after.memory);
        change(&self.retained_messages, before.clients.messages, after.clients.messages);
        change(&self.retained_bytes, before.clients.bytes, after.clients.bytes);
    }

    /// What clients have retained, for their quota.
    pub(crate) fn retained_load(&self) -> Load {
        Load {
            messages: self.retained_messages.load(Ordering::Relaxed),
            bytes: self.retained_bytes.load(Ordering::Relaxed),
        }
    }
}

fn change(counter: &AtomicUsize, before: usize, after: usize) {
    // Wrapping: others may count the other way at the same time.
    counter.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
}

/// Who may take memory in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A connection: output that its socket has not taken, input that is not processed.
    Connection(ConnectionHandle),
    /// A session: itself, its subscriptions, what it is owed.
    Session(SessionHandle),
    /// Mail to another shard.
    Mail(ShardId),
    /// Sessions that have ended: messages that are not freed yet.
    Ended,
}

/// How short memory is. Each stage does what the ones before it do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Pressure {
    /// There is enough.
    #[default]
    None,
    /// Over 80 % of the limit: who sends much is read slowly.
    Floods,
    /// Over 90 %: QoS 0 is dropped for whoever does not take it at once.
    AtMostOnce,
    /// The limit is reached: nothing new is taken that would have to be kept. That is new sessions,
    /// subscriptions and retained messages, and messages for queues.
    NewWork,
}

impl Pressure {
    fn of(bytes: usize, max: usize) -> Self {
        // Nearly always.
        if bytes < max / 2 {
            return Self::None;
        }
        let percent = |part: usize| max / 100 * part;
        if bytes >= max {
            Self::NewWork
        } else if bytes >= percent(90) {
            Self::AtMostOnce
        } else if bytes >= percent(80) {
            Self::Floods
        } else {
            Self::None
        }
    }
}

/// What the clients of a shard take, in bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Connections with their output and input.
    pub connections: usize,
    /// Sessions with their subscriptions.
    pub sessions: usize,
    /// Messages that sessions are owed, or were when they ended.
    pub owed: usize,
    /// Those of them that were left to the store.
    pub spilled: usize,
    /// Mail that other shards have not said to have read.
    pub mail: usize,
}

impl Memory {
    /// Adds what another shard has counted.
    pub fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.sessions += other.sessions;
        self.owed += other.owed;
        self.spilled += other.spilled;
        self.mail += other.mail;
    }

    /// The sum of all.
    pub fn total(&self) -> usize {
        self.connections + self.sessions + self.owed + self.spilled + self.mail
    }
}

/// What a session is owed and has at hand.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owing {
    /// With its share of every message, which is what its limit is about.
    pub(crate) bytes: usize,
    /// As it counts for the shard: without what large messages take.
    weight: usize,
}

impl Session {
    /// The session is owed this, and has it at hand. Returns what it weighs.
    #[inline]
    pub(crate) fn owe(&mut self, owed: &Owed) -> usize {
        let weight = owed.weight();
        self.owing.bytes += owed.bytes();
        self.owing.weight += weight;
        weight
    }

    /// The session is not owed this any more. Returns what it weighed.
    #[inline]
    pub(crate) fn settle(&mut self, owed: &Owed) -> usize {
        let weight = owed.weight();
        self.owing.bytes -= owed.bytes();
        self.owing.weight -= weight;
        weight
    }

    /// What it is owed and has at hand, as it counts for the shard.
    pub(crate) fn owed_weight(&self) -> usize {
        self.owing.weight
    }

    /// What it takes besides what it is owed.
    fn bytes(&self) -> usize {
        session_bytes(&self.client_id) + self.owner_bytes() + self.subscriptions.bytes()
    }

    /// What is taken for it: itself and what it is owed, with its share of every message.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes() + self.owing.bytes + self.queue.spilled_bytes()
    }

    /// What it takes to know whose it is.
    pub(crate) fn owner_bytes(&self) -> usize {
        self.principal.user_name.as_ref().map_or(0, |name| name.len())
    }
}

pub(crate) fn session_bytes(client_id: &str) -> usize {
    SESSION_BYTES + 2 * client_id.len()
}

pub(crate) fn subscription_bytes(filter: &str) -> usize {
    SUBSCRIPTION_BYTES + 3 * filter.len()
}

impl Connection {
    fn bytes(&self) -> usize {
        CONNECTION_BYTES
            + self.outbox.weight()
            + self.partial.len()
            + self.rare().map_or(0, |rare| rare.held.len() + rare.alias_bytes)
            + self.principal.user_name.as_ref().map_or(0, |name| name.len())
            + self.sealed as usize
            + if self.transport == Transport::Tls { TLS_BYTES } else { 0 }
    }
}

impl Delivery {
    /// Counts what a connection takes now.
    #[inline]
    pub(crate) fn weigh(&mut self, handle: ConnectionHandle) {
        if let Some(connection) = self.connections.get_mut(handle) {
            let bytes = connection.bytes();
            self.memory.connections = self.memory.connections + bytes - connection.counted;
            connection.counted = bytes;
        }
    }

    /// A connection is gone from this shard.
    pub(crate) fn forget_weight(&mut self, connection: &mut Connection) {
        self.memory.connections -= std::mem::take(&mut connection.counted);
    }

    /// A session is gone, and all it was owed.
    pub(crate) fn forget_session(&mut self, session: &Session) {
        self.memory.owed -= session.owing.weight;
        self.memory.spilled -= self.spilled_weight(session.queue.spilled_bytes());
        self.memory.sessions -= session.bytes();
    }

    /// So much is at hand, or spilled to memory, of what a session that has ended leaves to others.
    pub(crate) fn count_departing(&mut self, weight: usize) {
        self.memory.owed += weight;
        self.departing_weight += weight;
    }

    /// It is taken in hand again.
    pub(crate) fn uncount_departing(&mut self, weight: usize) {
        self.memory.owed -= weight;
        self.departing_weight -= weight;
    }

    /// How much memory so many spilled bytes take.
    pub(crate) fn spilled_weight(&self, bytes: usize) -> usize {
        if self.limits.spills_to_memory { bytes } else { 0 }
    }

    /// What the clients of this shard take.
    pub(crate) fn memory(&self) -> Memory {
        let mail = self.postbags.iter().map(|postbag| postbag.unread() as usize).sum();
        Memory { mail, ..self.memory }
    }

    /// Tells the other shards how much is taken here, and finds out how short memory is.
    pub(crate) fn balance(&mut self, common: &CommonMemory) {
        let (max, total) = (self.limits.memory_max, self.memory().total());
        if total.abs_diff(self.told) >= TOLD_BYTES.min(max / TOLD_PART) {
            change(&common.shards, self.told, total);
            self.told = total;
        }
        let pressure = Pressure::of(common.total(), max);
        if pressure != self.pressure {
            self.pressure = pressure;
            if pressure > Pressure::None {
                self.outputs.give_all_back();
            }
            self.marks.press(pressure, &self.limits);
        }
    }

    /// What one owner takes; nothing if it is gone.
    pub(crate) fn bytes_of(&self, owner: Owner) -> usize {
        match owner {
            Owner::Connection(handle) => self.connections.get(handle).map_or(0, Connection::bytes),
            Owner::Session(handle) => self.sessions.get(handle).map_or(0, |session| {
                let spilled = self.spilled_weight(session.queue.spilled_bytes());
                session.bytes() + session.owing.weight + spilled
            }),
            Owner::Mail(shard) => self
                .postbags
                .get(usize::from(shard.0))
                .map_or(0, |postbag| postbag.unread() as usize),
            Owner::Ended => self.discarded.weight() + self.departing_weight,
        }
    }

    /// All who take memory.
    pub(crate) fn owners(&self) -> impl Iterator<Item = Owner> {
        let connections = self.connections.handles().map(Owner::Connection);
        let sessions = self.sessions.handles().map(Owner::Session);
        let mail = (0..self.postbags.len()).map(|shard| Owner::Mail(ShardId(shard as u16)));
        connections.chain(sessions).chain(mail).chain([Owner::Ended])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entrance::EntranceId;
    use crate::{Settings, Shard};
    use noctule_session::Now;

    #[test]
    fn pressure_rises_with_what_is_taken() {
        let stages =
            [0, 799, 800, 899, 900, 999, 1_000, 5_000].map(|bytes| Pressure::of(bytes, 1_000));
        use Pressure::{AtMostOnce, Floods, NewWork, None};
        assert_eq!(stages, [None, None, Floods, Floods, AtMostOnce, AtMostOnce, NewWork, NewWork]);
        assert_eq!(Pressure::of(usize::MAX / 2, usize::MAX), None, "without a limit");
    }

    #[test]
    fn a_connection_over_tls_counts_with_its_session_and_what_is_encrypted() {
        let now = Now { mono_ms: 0, wall_ms: 0 };
        let mut shard = Shard::new(Settings::default(), now);
        let mut bytes = |transport| {
            let handle = shard.open_at(EntranceId::default(), transport, now);
            shard.on_sealed(handle, 10_000);
            let sealed = shard.bytes_of(Owner::Connection(handle));
            shard.on_sealed(handle, 0);
            let bytes = shard.bytes_of(Owner::Connection(handle));
            assert_eq!(sealed - bytes, 10_000);
            bytes
        };
        assert_eq!(bytes(Transport::Tls) - bytes(Transport::Plain), TLS_BYTES);
        let sum: usize = shard.owners().map(|(_, bytes)| bytes).sum();
        assert_eq!(shard.memory().total(), sum);
    }
}
