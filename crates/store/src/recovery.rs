//! What the shards have to be given at the start.
//!
//! Where a session goes is the server's business; what it means to have it, the broker's. Here is
//! only what was kept, and how much of its time is left.

use crate::disk::DiskFile;
use crate::engine::{Window, read_message, read_will};
use crate::error::StoreError;
use crate::index::{Index, Location, Session};
use noctule_broker::{
    Message, PacketId, Principal, RecordedWill, Sequence, SessionKey, StoredInFlight,
    StoredSession, StoredSubscription,
};

/// Everything that was kept.
#[derive(Debug, Default)]
pub struct Recovered {
    /// All persistent sessions, by their keys.
    pub sessions: Vec<RecoveredSession>,
    /// All retained messages, in no order, each with its place in the order of all.
    pub retained: Vec<(u64, Message)>,
    /// Keys from this one on were never given to a session.
    pub next_key: u64,
    /// The place of the next retained message.
    pub next_retained: u64,
    /// The latest wall time in the log, in milliseconds since 1970. The clock may show less: then
    /// it has been set back, and this is nearer to the truth.
    pub wall_ms: u64,
}

/// A persistent session as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredSession {
    /// Its key.
    pub key: SessionKey,
    /// Its client identifier. It is empty if the session has ended and what it was owed as a member
    /// of groups is still to be given to others.
    pub client_id: Box<str>,
    /// Who the client of its last connection was.
    pub principal: Principal,
    /// Seconds it outlives its connection; `None` is for ever.
    pub expiry: Option<u32>,
    /// Since when its client is away, in milliseconds since 1970; `None` if it was there when the
    /// broker stopped.
    pub away_since_ms: Option<u64>,
    /// The will that is to be published if the client does not come back.
    pub will: Option<RecordedWill>,
    /// Its subscriptions, ordered by filter.
    pub subscriptions: Vec<StoredSubscription>,
    /// QoS 2 deliveries under way, in the order of the queue. Their messages are in the queue, and
    /// are loaded with it.
    pub in_flight: Vec<StoredInFlight>,
    /// Packet identifiers of the client that are held, their messages routed.
    pub held: Vec<PacketId>,
    /// QoS 2 messages of the client that are stored and not routed: each is to be routed, and its
    /// identifier to be held.
    pub received: Vec<(PacketId, Message)>,
    /// How many messages it is owed, those in flight included.
    pub queued: usize,
    /// About how many bytes they are.
    pub queued_bytes: u64,
    /// The last of them.
    pub last_queued: Sequence,
    /// The sequence of the next message it will be owed.
    pub next_sequence: u64,
}

/// How long a will without a delay waits for its client after a restart.
const WILL_PATIENCE_MS: u64 = 30_000;

impl RecoveredSession {
    /// In how many milliseconds it ends, if its client does not come back; `None` is never.
    /// `wall_ms` is the wall clock, or the latest time in the log if that is later: so a clock that
    /// was set back adds nothing to what was left then.
    pub fn ends_in_ms(&self, wall_ms: u64) -> Option<u64> {
        let whole = u64::from(self.expiry?) * 1_000;
        // Whoever was connected when the broker stopped is away from now on.
        let passed = self.away_since_ms.map_or(0, |since| wall_ms.saturating_sub(since));
        Some(whole.saturating_sub(passed))
    }

    /// As it is given back to the shard of its client identifier; `wall_ms` as
    /// [above](Self::ends_in_ms).
    pub fn into_stored(self, wall_ms: u64) -> StoredSession {
        let (ends_in_ms, will_in_ms) = (self.ends_in_ms(wall_ms), self.will_in_ms());
        StoredSession {
            key: self.key,
            client_id: self.client_id,
            principal: self.principal,
            expiry: self.expiry,
            away_since_ms: self.away_since_ms,
            ends_in_ms,
            will: self.will.zip(will_in_ms).map(|(will, ms)| (will.message, will.delay, ms)),
            subscriptions: self.subscriptions,
            in_flight: self.in_flight,
            held: self.held,
            received: self.received,
            queued: self.queued,
            queued_bytes: usize::try_from(self.queued_bytes).unwrap_or(usize::MAX),
            last_queued: self.last_queued,
            next_sequence: self.next_sequence,
        }
    }

    /// In how many milliseconds its will is due, if its client does not come back and the session
    /// does not end before.
    pub fn will_in_ms(&self) -> Option<u64> {
        let delay = u64::from(self.will.as_ref()?.delay) * 1_000;
        Some(if delay == 0 { WILL_PATIENCE_MS } else { delay })
    }
}

/// Reads what was kept; `window` opens the segment of a place.
pub(crate) fn recover<F: DiskFile>(
    index: &Index,
    wall_ms: u64,
    window: &dyn Fn(Location) -> Option<Window<F>>,
) -> Result<Recovered, StoreError> {
    let mut reading = Reading { open: None, window };
    // In the order of the log, so that what lies together is read at once.
    let mut by_place: Vec<_> = index.sessions.iter().collect();
    by_place.sort_unstable_by_key(|(_, session)| session.at);
    let mut sessions = Vec::with_capacity(by_place.len());
    for (key, session) in by_place {
        sessions.push(reading.session(*key, session)?);
    }
    sessions.sort_unstable_by_key(|session| session.key);
    let mut retained: Vec<_> = index.retained.messages().collect();
    retained.sort_unstable_by_key(|found| found.at);
    let mut messages = Vec::with_capacity(retained.len());
    for found in retained {
        messages.push((found.sequence, reading.message(found.at)?));
    }
    Ok(Recovered {
        sessions,
        retained: messages,
        next_key: index.key_max + 1,
        next_retained: index.retained_max + 1,
        wall_ms,
    })
}

/// Reads at one place after another.
struct Reading<'a, F> {
    open: Option<Window<F>>,
    window: &'a dyn Fn(Location) -> Option<Window<F>>,
}

impl<F: DiskFile> Reading<'_, F> {
    fn at(&mut self, at: Location) -> Result<&mut Window<F>, StoreError> {
        if self.open.as_ref().is_none_or(|open| open.id != at.segment) {
            self.open = (self.window)(at);
        }
        let gone = || {
            let name = crate::format::segment::file_name(at.segment);
            StoreError::damaged(name, u64::from(at.offset), "this file of the log is missing")
        };
        self.open.as_mut().ok_or_else(gone)
    }

    fn message(&mut self, at: Location) -> Result<Message, StoreError> {
        read_message(self.at(at)?, at.offset)
    }

    fn session(
        &mut self,
        key: SessionKey,
        session: &Session,
    ) -> Result<RecoveredSession, StoreError> {
        let will = match session.at {
            Some(at) if session.has_will => {
                let (delay, message) = read_will(self.at(at)?, at.offset)?;
                Some(RecordedWill { message, delay })
            }
            _ => None,
        };
        let mut received = Vec::new();
        for (packet_id, held) in session.held.iter().filter(|(_, held)| !held.routed) {
            received.push((*packet_id, self.message(held.at)?));
        }
        let routed = session.held.iter().filter(|(_, held)| held.routed);
        Ok(RecoveredSession {
            key,
            client_id: session.client_id.clone(),
            principal: session.principal.clone(),
            expiry: session.expiry,
            away_since_ms: session.away_since_ms,
            will,
            subscriptions: subscriptions(session),
            in_flight: in_flight(session),
            held: routed.map(|(packet_id, _)| *packet_id).collect(),
            received,
            queued: session.queue.len(),
            queued_bytes: session.queue.bytes(),
            last_queued: session.queue.last().unwrap_or_default(),
            next_sequence: session.sequence_max + 1,
        })
    }
}

fn subscriptions(session: &Session) -> Vec<StoredSubscription> {
    let all = session.subscriptions.iter();
    all.map(|(filter, subscribed)| StoredSubscription {
        filter: filter.clone(),
        options: subscribed.options,
        identifier: subscribed.identifier,
        retained_up_to: subscribed.retained_up_to,
    })
    .collect()
}

fn in_flight(session: &Session) -> Vec<StoredInFlight> {
    let all = session.in_flight.iter();
    all.map(|(sequence, in_flight)| StoredInFlight {
        sequence: *sequence,
        packet_id: in_flight.packet_id,
        received: in_flight.received,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(expiry: Option<u32>, away_since_ms: Option<u64>) -> RecoveredSession {
        RecoveredSession {
            key: SessionKey(1),
            client_id: "a".into(),
            principal: Principal::default(),
            expiry,
            away_since_ms,
            will: None,
            subscriptions: Vec::new(),
            in_flight: Vec::new(),
            held: Vec::new(),
            received: Vec::new(),
            queued: 0,
            queued_bytes: 0,
            last_queued: Sequence(0),
            next_sequence: 1,
        }
    }

    #[test]
    fn expiry_goes_on_counting_and_begins_at_the_restart_for_who_was_there() {
        assert_eq!(session(None, Some(0)).ends_in_ms(1 << 50), None);
        assert_eq!(session(Some(10), Some(5_000)).ends_in_ms(8_000), Some(7_000));
        assert_eq!(session(Some(10), Some(5_000)).ends_in_ms(80_000), Some(0));
        assert_eq!(session(Some(10), None).ends_in_ms(80_000), Some(10_000));
        assert_eq!(session(Some(0), None).ends_in_ms(80_000), Some(0));
        let back = session(Some(10), Some(5_000)).ends_in_ms(1_000);
        assert_eq!(back, Some(10_000), "never more than all");
    }
}
