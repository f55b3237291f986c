//! What the log says, in memory: every session and retained topic, and where each thing that still
//! counts is written.
//!
//! The same function brings it up to date with a record that is being written and with one that is
//! read again, so both come to the same state. Payloads stay on disk. For each segment it counts
//! what still counts in it; a segment without any is not needed.

mod live;
mod queue;
mod session;
mod topics;

pub(crate) use live::Live;
pub(crate) use queue::OwedAt;
pub(crate) use session::Session;
pub(crate) use topics::{Retained, Topics};

use crate::faults::{Fault, Faults};
use crate::format::record::Stored;
use noctule_broker::SessionKey;
use std::collections::HashMap;

/// Where a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Location {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
}

/// What has to be known of the message that a record is about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size<'a> {
    /// About how large it is.
    pub(crate) bytes: u32,
    /// Its topic, if that matters.
    pub(crate) topic: &'a [u8],
}

/// Everything that must survive.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) sessions: HashMap<SessionKey, Session, foldhash::fast::FixedState>,
    pub(crate) retained: Topics,
    pub(crate) live: Live,
    /// The highest there ever was, as far as the log knows.
    pub(crate) key_max: u64,
    pub(crate) retained_max: u64,
    faults: Faults,
}

impl Index {
    pub(crate) fn new(faults: Faults) -> Self {
        Self { faults, ..Self::default() }
    }

    /// Whether a new record changes anything. One that does not is not written: it could mean
    /// something else once records before it are gone.
    pub(crate) fn accepts(&self, record: &Stored<'_>) -> bool {
        let session = |key: &SessionKey| self.sessions.get(key);
        match record {
            Stored::Session { .. } | Stored::Message(_) => true,
            Stored::SessionEnded { key }
            | Stored::Away { key, .. }
            | Stored::Subscribed { key, .. }
            | Stored::Owed { key, .. }
            | Stored::Received { key, .. } => session(key).is_some(),
            Stored::Unsubscribed { key, filter } => {
                session(key).is_some_and(|session| session.subscriptions.get(filter).is_some())
            }
            Stored::InFlight { key, sequence, .. } | Stored::Delivered { key, sequence } => {
                session(key).is_some_and(|session| session.queue.get(*sequence).is_some())
            }
            Stored::Held { key, packet_id } | Stored::Released { key, packet_id } => {
                session(key).is_some_and(|session| session.held.contains_key(packet_id))
            }
            Stored::Retained { sequence, message } => {
                self.retained.get(message.0.topic).is_none_or(|old| {
                    old.sequence < *sequence || self.faults.planted(Fault::OldRetainedWins)
                })
            }
        }
    }

    /// Brings it up to date with a record at this place. `of` is the message that is owed, if one is.
    pub(crate) fn apply(&mut self, record: &Stored<'_>, at: Location, of: Size<'_>) {
        match record {
            Stored::Message(_) => {}
            Stored::Retained { sequence, message } => {
                self.retained_max = self.retained_max.max(*sequence);
                let cleared = message.0.payload.is_empty();
                let entry = Retained { sequence: *sequence, at, cleared };
                let Some(old) = self.retained.set(message.0.topic, entry) else {
                    return self.live.gain(at);
                };
                if old.sequence > *sequence && !self.faults.planted(Fault::OldRetainedWins) {
                    // It was outdated when it came, which is rare.
                    self.retained.set(message.0.topic, old);
                    return;
                }
                self.live.gain(at);
                self.live.lose(old.at);
            }
            Stored::SessionEnded { key } => {
                if self.faults.planted(Fault::SessionEndForgotten) && key.0.is_multiple_of(3) {
                    return;
                }
                if let Some(session) = self.sessions.remove(key) {
                    session.locations().for_each(|at| self.live.lose(at));
                }
            }
            Stored::Session { key, .. }
            | Stored::Away { key, .. }
            | Stored::Subscribed { key, .. }
            | Stored::Unsubscribed { key, .. }
            | Stored::Owed { key, .. }
            | Stored::InFlight { key, .. }
            | Stored::Delivered { key, .. }
            | Stored::Received { key, .. }
            | Stored::Held { key, .. }
            | Stored::Released { key, .. } => {
                self.key_max = self.key_max.max(key.0);
                let session = self.sessions.entry(*key).or_default();
                session.apply(record, at, of, &mut self.live);
            }
        }
    }

    /// Whether the record at this place is what counts now.
    pub(crate) fn holds(&self, record: &Stored<'_>, at: Location) -> bool {
        let session = |key: &SessionKey| self.sessions.get(key);
        let found = match record {
            Stored::Session { key, .. } => session(key).and_then(|session| session.at),
            Stored::Away { key, .. } => session(key).and_then(|session| session.away_at),
            Stored::Subscribed { key, filter, .. } => session(key)
                .and_then(|session| session.subscriptions.get(filter))
                .map(|subscribed| subscribed.at),
            Stored::Owed { key, sequence, .. } => {
                session(key).and_then(|session| session.queue.get(*sequence))
            }
            Stored::InFlight { key, sequence, .. } => session(key)
                .and_then(|session| session.in_flight.get(sequence))
                .map(|in_flight| in_flight.at),
            Stored::Received { key, packet_id, .. } | Stored::Held { key, packet_id } => {
                session(key).and_then(|session| session.held.get(packet_id)).map(|held| held.at)
            }
            Stored::Retained { message, .. } => {
                self.retained.get(message.0.topic).map(|retained| retained.at)
            }
            Stored::SessionEnded { .. }
            | Stored::Unsubscribed { .. }
            | Stored::Message(_)
            | Stored::Delivered { .. }
            | Stored::Released { .. } => None,
        };
        found == Some(at)
    }

    /// Forgets which topics were cleared before this place in the order of all retained messages: what is
    /// older has come. Their records count no more. As segments go from the oldest on, none outlives them
    /// that has a message for such a topic.
    pub(crate) fn forget_cleared(&mut self, before: u64) {
        while let Some(forgotten) = self.retained.forget_cleared(before) {
            forgotten.into_iter().for_each(|at| self.live.lose(at));
        }
    }

    /// What is wrong with the state as a whole, once all of the log is read.
    pub(crate) fn inconsistency(&self) -> Option<&'static str> {
        for session in self.sessions.values() {
            if session.at.is_none() {
                return Some("something belongs to a session that the log does not know");
            }
            if session.in_flight.keys().any(|sequence| session.queue.get(*sequence).is_none()) {
                return Some("a packet identifier belongs to a message that the log does not know");
            }
        }
        None
    }

    /// Messages that are owed, of all sessions.
    pub(crate) fn queued(&self) -> usize {
        self.sessions.values().map(|session| session.queue.len()).sum()
    }
}
