//! What a store has kept is given back to the shards, before anybody connects.
//!
//! A session comes back as if its client had just gone away: its whole queue is left to the store,
//! and is loaded when the client comes. Deliveries have the packet identifiers they had, as these
//! follow from the places in the queue. How far one at QoS 2 has come is known; one at QoS 1 may have
//! been sent, and so is sent as a repetition. What of its time is left to a session, and to its will,
//! is the store's to know.

use crate::commons::{Commons, Placement, ShardId};
use crate::faults::{Fault, fault};
use crate::limits::OnQueueFull;
use crate::message::Message;
use crate::persist::{Record, Sequence, SessionKey};
use crate::principal::Principal;
use crate::replay::{RecordedReplay, Replay};
use crate::rights::Standing;
use crate::room::Promise;
use crate::session::{Expiry, PerhapsSent, Session, SessionHandle, Terms, Will};
use crate::shard::Shard;
use noctule_mqtt::packet::SubscriptionOptions;
use noctule_mqtt::{PacketId, TopicFilter};
use noctule_session::Now;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::Ordering;

/// A persistent session as a store has kept it.
#[derive(Debug, Clone)]
pub struct StoredSession {
    /// Its key.
    pub key: SessionKey,
    /// Its client identifier. It is empty if the session has ended and what it was owed as a member
    /// of groups is still to be given to others.
    pub client_id: Box<str>,
    /// Who the client of its last connection was.
    pub principal: Principal,
    /// Seconds it outlives its connection; `None` is for ever.
    pub expiry: Option<u32>,
    /// Since when its client is away, in milliseconds of wall time; `None` if it was there when the
    /// broker ended, and so is away from now on.
    pub away_since_ms: Option<u64>,
    /// Milliseconds until it ends if its client does not come back; `None` is never.
    pub ends_in_ms: Option<u64>,
    /// What is to be published if its client does not come back, the delay it was set with in
    /// seconds, and in how many milliseconds it is due.
    pub will: Option<(Message, u32, u64)>,
    /// Its subscriptions, ordered by filter.
    pub subscriptions: Vec<StoredSubscription>,
    /// QoS 2 deliveries under way, in the order of the queue.
    pub in_flight: Vec<StoredInFlight>,
    /// Packet identifiers of QoS 2 messages of its client whose messages were routed.
    pub held: Vec<PacketId>,
    /// QoS 2 messages of its client that were not routed yet.
    pub received: Vec<(PacketId, Message)>,
    /// How many messages it is owed, those in flight included.
    pub queued: usize,
    /// About how many bytes they are.
    pub queued_bytes: usize,
    /// The last of them.
    pub last_queued: Sequence,
    /// The sequence of the next message that it will be owed.
    pub next_sequence: u64,
}

/// A subscription of a stored session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSubscription {
    /// To what.
    pub filter: Box<str>,
    /// On which terms.
    pub options: SubscriptionOptions,
    /// With which subscription identifier.
    pub identifier: Option<u32>,
    /// The retained messages that are still to be handed out for it, if some are.
    pub replay: Option<RecordedReplay>,
}

/// A QoS 2 delivery under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredInFlight {
    /// Which message of the queue.
    pub sequence: Sequence,
    /// Its packet identifier.
    pub packet_id: PacketId,
    /// Whether PUBREC came.
    pub received: bool,
}

/// A QoS 2 message of a client that is stored, or about to be, and not routed.
#[derive(Debug)]
pub(crate) struct Unrouted {
    pub(crate) session: SessionHandle,
    /// No Local is about the client, which may have a new session by then `[MQTT5-3.8.3-3]`.
    pub(crate) client_id: Box<str>,
    pub(crate) key: SessionKey,
    pub(crate) packet_id: PacketId,
    pub(crate) message: Message,
    /// If a full queue may not refuse it.
    pub(crate) promise: Option<Promise>,
}

/// Deliveries under way whose messages are still left to the store, by sequence: the identifier, and
/// whether PUBREC came.
pub(crate) type Restored = BTreeMap<Sequence, (PacketId, bool)>;

/// The shard where the session of a client identifier lives, among shards that share `commons`.
pub fn home(commons: &dyn Commons, client_id: &str) -> ShardId {
    Placement::new(commons.seed()).home(client_id, commons.shards())
}

fn restore_retained(
    commons: &dyn Commons,
    messages: impl IntoIterator<Item = (u64, Message)>,
    next: u64,
    now: Now,
) {
    let placement = Placement::new(commons.seed());
    for (sequence, mut message) in messages {
        message.put_on_clock(now);
        let parts = commons.retained_parts();
        let part = placement.retained_part(message.topic().as_bytes(), parts);
        commons.change_retained(part, &mut |retained| {
            let before = retained.size();
            if !retained.knows(message.topic()) {
                commons.retained_traces().leave(&placement, message.topic_name());
            }
            retained.set(&message, sequence);
            commons.memory().retained_changed(before, retained.size());
        });
    }
    commons.retained_sequence().fetch_max(next.saturating_sub(1), Ordering::SeqCst);
}

impl Shard {
    /// Gives retained messages back, each with its place in the order of all; `next` is the place of
    /// the next one. One shard does it for all, and forgets those of them in time that expire.
    pub fn restore_retained(
        &mut self,
        messages: impl IntoIterator<Item = (u64, Message)>,
        next: u64,
        now: Now,
    ) {
        self.set_now(now);
        restore_retained(self.commons(), messages, next, self.delivery.stored_now());
        self.watch_all_retained(now);
    }

    /// Gives a session back that a store has kept. When all shards have got theirs, each
    /// [goes on](Self::go_on_restored) with what was under way.
    pub fn restore(&mut self, stored: StoredSession, now: Now) {
        self.set_now(now);
        if stored.client_id.is_empty() {
            return self.restore_departing(&stored);
        }
        let client_id = stored.client_id.clone();
        let mut session = Session::new(&stored.client_id, stored.key);
        session.stored = true;
        session.standing = Standing::nowhere(&stored.principal);
        session.principal = stored.principal.into();
        session.set_expiry(stored.expiry.map_or(Expiry::Never, Expiry::After));
        session.next_sequence = stored.next_sequence.saturating_sub(1);
        session.rare_mut().expires_ms = stored.ends_in_ms.map(|ms| now.mono_ms + ms);
        session.will = stored.will.map(|(message, delay, due_in_ms)| {
            Box::new(Will {
                message,
                delay,
                due_ms: Some(now.mono_ms + due_in_ms),
                standing: Standing::default(),
            })
        });
        session.rare_mut().away_since_ms = Some(stored.away_since_ms.unwrap_or(now.wall_ms));
        if stored.away_since_ms.is_none() {
            // Or another crash would begin its time anew.
            self.record(away(&session, now.wall_ms));
        }
        session.queue.leave_to_store(stored.queued, stored.queued_bytes, stored.last_queued);
        // Which of them were sent is not stored: it may have been as many as may be in flight.
        session.rare_mut().perhaps_sent = PerhapsSent {
            left: usize::from(self.delivery.limits.inflight_out_max),
            last: stored.last_queued,
        };
        let restored: Restored = stored
            .in_flight
            .iter()
            .map(|one| (one.sequence, (one.packet_id, one.received)))
            .collect();
        session.rare_mut().restored = (!restored.is_empty()).then(|| Box::new(restored));
        stored.held.iter().for_each(|packet_id| session.inbound.restore(*packet_id, false));
        stored.received.iter().for_each(|(packet_id, _)| session.inbound.restore(*packet_id, true));
        let handle = self.adopt(session);
        for subscription in stored.subscriptions {
            self.restore_subscription(handle, &subscription);
        }
        self.watch_restored(handle, now);
        // Their places were kept, wherever that was.
        let refuses = self.delivery.limits.on_queue_full == OnQueueFull::Refuse;
        let received = stored.received.into_iter();
        let unrouted = received.map(|(packet_id, message)| {
            let (session, key) = (handle, stored.key);
            let client_id = client_id.clone();
            let promise = refuses.then(Promise::default);
            Unrouted { session, client_id, key, packet_id, message, promise }
        });
        self.keep_unrouted(unrouted);
    }

    fn restore_subscription(&mut self, handle: SessionHandle, stored: &StoredSubscription) {
        // It was one when it was stored.
        let Ok(filter) = TopicFilter::new(&stored.filter) else {
            return;
        };
        let identifier = stored.identifier.and_then(NonZeroU32::new);
        let terms = Terms { options: stored.options, identifier, since: 0 };
        self.resubscribe(handle, filter, terms);
        if let Some(recorded) = &stored.replay {
            self.restore_replay(handle, (filter, terms), recorded);
        }
    }

    /// Retained messages that were being handed out go on being handed out, when the client is there.
    fn restore_replay(
        &mut self,
        handle: SessionHandle,
        (filter, terms): (TopicFilter<'_>, Terms),
        recorded: &RecordedReplay,
    ) {
        if !fault(Fault::RetainedNumbersAgain) {
            // Some of these may have been lost with the process. What is set from now on is later.
            self.commons().retained_sequence().fetch_max(recorded.up_to, Ordering::SeqCst);
        }
        let number = recorded.number.unwrap_or_else(|| self.delivery.number_replay());
        self.delivery.next_replay = self.delivery.next_replay.max(number.next());
        let first_part = self.first_retained_part(filter);
        let replay =
            Replay::restored(number, recorded, first_part, |topic| self.retained_part_of(topic));
        let Some(found) = self.delivery.sessions.get_mut(handle) else {
            return;
        };
        found.replays.await_suback(filter.as_str(), replay);
        if recorded.number.is_none() {
            // What will be owed by it names its number.
            let numbered = found.subscribed(filter.as_str(), terms);
            self.record(numbered);
        }
    }

    /// All sessions of all shards have been given back: routes the messages that were stored and not
    /// routed. What follows is to be carried out as in a turn.
    pub fn go_on_restored(&mut self, now: Now) {
        self.set_now(now);
        for unrouted in self.take_unrouted() {
            self.route_received(unrouted);
        }
        self.depart_restored();
    }
}

/// A session's client is away.
pub(crate) fn away(session: &Session, since_ms: u64) -> Record {
    Record::Away { key: session.key, since_ms, keeps_will: session.will.is_some() }
}
