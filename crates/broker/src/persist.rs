//! What has to be kept across a crash, said as records, and the tickets on which promises wait.
//!
//! The core writes records into its *journal* while it works. At the end of a turn they leave
//! together as [`Action::Persist`](crate::Action::Persist) with one ticket;
//! [`Event::Persisted`](crate::Event::Persisted) with that ticket says that they, and everything
//! before them, are on stable storage. Whatever must not be said before then waits for the ticket.
//!
//! Within a batch a record may refer only to records before it.
//!
//! Some of what a turn says need not leave with it: what [is deferred](crate::deferred), and that
//! something was delivered, for which nobody waits. Everything else takes all of it along.

use crate::commons::ShardId;
use crate::deferred::{Deferred, Entry, Given};
use crate::message::Message;
use crate::principal::Principal;
use crate::promptness::Moment;
use crate::replay::{RecordedReplay, ReplayNumber};
use crate::session::SessionHandle;
use noctule_mqtt::packet::SubscriptionOptions;
use noctule_mqtt::{PacketId, QoS};
use std::sync::Arc;

/// Numbers the batches of a shard, in order: a ticket also stands for all smaller ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Names a persistent session in records, for its whole life and longer than a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub u64);

/// The place of a message in the queue of one session, rising.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The packet identifier of its delivery. It follows from the place in the queue, so that a
    /// delivery has the same one before and after a restart without having it stored
    /// `[MQTT3-4.4.0-1]` `[MQTT5-4.4.0-1]`.
    #[inline]
    pub fn packet_id(self) -> PacketId {
        let steps = self.0.saturating_sub(1) % PacketId::COUNT as u64;
        PacketId::FIRST.after(steps as u16)
    }
}

/// A message that a session is owed, and on which terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// Its place in the session's queue.
    pub sequence: Sequence,
    /// The message.
    pub message: Message,
    /// The QoS of the delivery.
    pub qos: QoS,
    /// The retain flag of the delivery.
    pub retain: bool,
    /// What few deliveries have.
    pub extras: Option<Arc<Extras>>,
    /// By which number the broker looks for it among what it has not handed to its store yet. It says
    /// nothing about the message; 0 will do.
    pub deferred: u32,
}

/// What few deliveries have, behind one pointer so that the others do not carry it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extras {
    /// The subscription identifiers that go with it.
    pub identifiers: Box<[u32]>,
    /// If it is owed to the session as a member of a group: the filter of the shared subscription,
    /// `$share` and share name included.
    pub shared: Option<Arc<str>>,
    /// If it is a retained message that is handed out for a subscription: by which handing out. When
    /// it is stored that it is owed, it is stored that its topic was passed.
    pub replay: Option<ReplayNumber>,
}

impl Extras {
    /// These, if there are any.
    pub fn of(identifiers: &[u32], shared: Option<Arc<str>>) -> Option<Arc<Self>> {
        let has_any = !identifiers.is_empty() || shared.is_some();
        has_any.then(|| Arc::new(Self { identifiers: identifiers.into(), shared, replay: None }))
    }

    /// Those of a retained message that is handed out.
    pub fn replayed(identifiers: &[u32], replay: ReplayNumber) -> Arc<Self> {
        Arc::new(Self { identifiers: identifiers.into(), shared: None, replay: Some(replay) })
    }
}

impl Owed {
    /// The subscription identifiers that go with it.
    pub fn identifiers(&self) -> &[u32] {
        self.extras.as_ref().map_or(&[], |extras| &extras.identifiers)
    }

    /// The filter of the shared subscription, if it is owed to the session as a member of a group.
    pub fn shared(&self) -> Option<&str> {
        self.extras.as_ref()?.shared.as_deref()
    }

    /// The handing out of retained messages by which it is owed.
    pub fn replay(&self) -> Option<ReplayNumber> {
        self.extras.as_ref()?.replay
    }

    /// About how many bytes of memory it takes, its share of the message included.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.message.bytes()
    }

    /// How many of them are freed when it goes: those of its message if nobody else has that.
    pub(crate) fn freed_bytes(&self) -> usize {
        if self.message.is_shared() { size_of::<Self>() } else { self.bytes() }
    }

    /// How many of them count with whoever is owed it.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.message.weight()
    }
}

/// One change of what must survive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A persistent session exists, with these terms; replaces an earlier record of the session.
    Session {
        /// Which session.
        key: SessionKey,
        /// Its client identifier.
        client_id: Box<str>,
        /// Who the client of its last connection was.
        principal: Principal,
        /// Seconds it outlives its connection; `None` is for ever.
        expiry: Option<u32>,
        /// What to publish if the client is lost.
        will: Option<RecordedWill>,
    },
    /// The session has lost its client. Its expiry counts from then; without this record, from the
    /// restart. The next [`Session`](Record::Session) record says that the client is back.
    Away {
        /// Which session.
        key: SessionKey,
        /// Since when, in milliseconds of wall time since 1970.
        since_ms: u64,
        /// Whether its will is still to be published. If not it is forgotten, whether it was
        /// published or discarded.
        keeps_will: bool,
    },
    /// The session and all it owned is gone.
    SessionEnded(SessionKey),
    /// A subscription was made or replaced, or its retained messages have been handed out, all of
    /// them or up to some topic.
    Subscribed {
        /// Whose.
        key: SessionKey,
        /// To what.
        filter: Box<str>,
        /// On which terms.
        options: SubscriptionOptions,
        /// With which subscription identifier.
        identifier: Option<u32>,
        /// The retained messages that are still to be handed out for it, if some are.
        replay: Option<RecordedReplay>,
    },
    /// A subscription was ended.
    Unsubscribed {
        /// Whose.
        key: SessionKey,
        /// Which.
        filter: Box<str>,
    },
    /// The session is owed a message.
    Owed {
        /// Which session.
        key: SessionKey,
        /// The message and the terms.
        owed: Owed,
        /// Whether the session has let go of it, so that it must be [loaded](crate::Action::Load)
        /// again to be delivered.
        spilled: bool,
    },
    /// A QoS 2 delivery has this packet identifier from now on.
    PacketIdGiven {
        /// Whose.
        key: SessionKey,
        /// Which message.
        sequence: Sequence,
        /// Its packet identifier.
        packet_id: PacketId,
    },
    /// PUBREC came for a QoS 2 delivery.
    DeliveryReceived {
        /// Whose.
        key: SessionKey,
        /// Which message.
        sequence: Sequence,
    },
    /// A message was delivered in full, or given up: the session is not owed it any more.
    Delivered {
        /// Whose.
        key: SessionKey,
        /// Which message.
        sequence: Sequence,
    },
    /// A QoS 2 message came from the client of a persistent session; it is routed once this is
    /// stored.
    Received {
        /// Whose.
        key: SessionKey,
        /// The client's packet identifier, held until released.
        packet_id: PacketId,
        /// The message.
        message: Message,
    },
    /// The message received was routed.
    Routed {
        /// Whose.
        key: SessionKey,
        /// The client's packet identifier.
        packet_id: PacketId,
    },
    /// Nothing to keep, but a demand on the store: the batch of records that this is one of and
    /// batches of other shards that name the same are to be stored together or not at all. None of
    /// them may be stored before all are there, and none of what the same shards hand in behind them.
    Together {
        /// What the batches have in common.
        together: Together,
        /// How many there are. One of them knows it.
        batches: Option<u32>,
    },
    /// PUBREL came: the packet identifier is free.
    Released {
        /// Whose.
        key: SessionKey,
        /// The client's packet identifier.
        packet_id: PacketId,
    },
    /// A retained message was set, or removed if its payload is empty.
    Retained {
        /// Its place in the order of all retained messages: of one topic the highest holds, in
        /// whatever order the records of several shards come.
        sequence: u64,
        /// The message.
        message: Message,
    },
}

/// Names batches of several shards that are stored together, see [`Record::Together`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Together {
    /// Which shard has given the name.
    pub shard: ShardId,
    /// Its names are numbered.
    pub number: u64,
}

/// A will as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedWill {
    /// What is published.
    pub message: Message,
    /// Seconds to wait for the client to come back `[MQTT5-3.1.3-9]`.
    pub delay: u32,
}

/// What a store can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreState {
    /// So many records are under way to the disk that publishers of messages for it should wait.
    pub is_backed_up: bool,
    /// Free space is so scarce that new messages for it should be refused.
    pub lacks_space: bool,
}

/// How safe records are, or have to be for somebody who waits for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stage {
    /// The operating system has them: they outlive the process.
    Written,
    /// They are on stable storage: they outlive the machine's failure.
    #[default]
    Flushed,
}

/// The records of the turn that is going on, and what earlier ones have left.
#[derive(Debug)]
pub(crate) struct Journal {
    records: Vec<Record>,
    deferred: Deferred,
    /// Whether the last turn ended deferring, and so this one probably will.
    defers: bool,
    /// That messages were delivered which the store knows of.
    delivered: Vec<Record>,
    /// Since when the oldest of these is there.
    delivered_since_ms: Option<u64>,
    ticket: Ticket,
    /// The last ticket that was handed to the store, and the last that has come from it.
    handed_in: Ticket,
    persisted: Ticket,
    /// The number of the last [`Together`] of this shard.
    together: u64,
    /// The broker's own rule.
    usual: Stage,
    /// The rule of whose packets are being dealt with.
    now: Stage,
    /// How safe the records of this turn have to become.
    asked: Stage,
}

/// What a turn hands to the store.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) ticket: Ticket,
    pub(crate) stage: Stage,
    /// What had been deferred, which goes before the records.
    pub(crate) deferred: Vec<Entry>,
    pub(crate) records: Vec<Record>,
}

/// For so long that something was delivered may stay where it is, in milliseconds.
const DELIVERED_MS: u64 = 2;

impl Journal {
    /// A journal of a broker with this rule.
    pub(crate) fn new(usual: Stage) -> Self {
        Self {
            records: Vec::new(),
            deferred: Deferred::default(),
            defers: false,
            delivered: Vec::new(),
            delivered_since_ms: None,
            ticket: Ticket(1),
            handed_in: Ticket(0),
            persisted: Ticket(0),
            together: 0,
            usual,
            now: usual,
            asked: Stage::Written,
        }
    }

    /// A name for the batch of this turn and those of other shards.
    pub(crate) fn name_together(&mut self, own: ShardId) -> Together {
        self.together += 1;
        Together { shard: own, number: self.together }
    }

    /// The broker's own rule.
    pub(crate) fn usual(&self) -> Stage {
        self.usual
    }

    /// How safe things have to be for whose packets are being dealt with.
    pub(crate) fn stage(&self) -> Stage {
        self.now
    }

    /// From here on somebody's packets are dealt with who has this rule.
    #[inline]
    pub(crate) fn enter(&mut self, stage: Stage) {
        self.now = stage;
    }

    /// From here on the broker's own rule holds.
    #[inline]
    pub(crate) fn leave(&mut self) {
        self.now = self.usual;
    }

    /// Somebody waits for the records of this turn to become as safe as this.
    pub(crate) fn ask(&mut self, stage: Stage) {
        self.asked = self.asked.max(stage);
    }

    /// Adds a record and returns the ticket that will stand for it.
    pub(crate) fn push(&mut self, record: Record) -> Ticket {
        self.records.push(record);
        self.asked = self.asked.max(self.now);
        self.ticket
    }

    /// Whether it is worth while to defer anything.
    #[inline]
    pub(crate) fn defers(&self) -> bool {
        self.defers
    }

    /// Defers that a session whose client is there is owed a message. Returns the number that it gets.
    #[inline]
    pub(crate) fn defer(&mut self, session: SessionHandle, key: SessionKey, at: Sequence) -> u32 {
        self.asked = self.asked.max(self.now);
        self.deferred.push(Entry { session, key, sequence: at })
    }

    /// A session is not owed a message any more: one that is deferred need not be stored, of another the
    /// store hears, if it is not urgent for it.
    #[inline]
    pub(crate) fn delivered(&mut self, key: SessionKey, owed: &Owed) {
        if !self.deferred.settle(key, owed) {
            self.asked = self.asked.max(self.now);
            self.delivered.push(Record::Delivered { key, sequence: owed.sequence });
        }
    }

    /// Whether it is deferred that a session is owed a message, so that the store does not know of it.
    pub(crate) fn is_deferred(&self, key: SessionKey, owed: &Owed) -> bool {
        self.deferred.has(key, owed)
    }

    /// The ticket of the records of this turn.
    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Whether nothing was written in this turn that cannot wait.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Up to this ticket the store has kept everything.
    pub(crate) fn persisted(&mut self, ticket: Ticket) {
        self.persisted = self.persisted.max(ticket);
    }

    /// The last ticket that has come true by what was acknowledged.
    pub(crate) fn take_settled(&mut self) -> Option<Ticket> {
        // Tickets come true in their order.
        if self.deferred.is_empty() || self.persisted < self.handed_in {
            return None;
        }
        self.deferred.take_settled()
    }

    /// When something that can wait has waited for long enough.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        let delivered = self.delivered_since_ms.map(|since| since + DELIVERED_MS);
        self.deferred.due_ms().into_iter().chain(delivered).min()
    }

    /// Closes the turn and takes what is to be stored now: all that there is, or if it `defers` what cannot
    /// wait any longer, if there is any.
    pub(crate) fn end_turn(
        &mut self,
        defers: bool,
        now_ms: u64,
        gets_on: impl FnMut(SessionHandle, bool, Moment) -> bool,
    ) -> Option<Batch> {
        self.defers = defers;
        self.deferred.count_turn();
        if self.deferred.is_empty() && self.records.is_empty() && self.delivered.is_empty() {
            return None;
        }
        self.close_turn(defers, now_ms, gets_on)
    }

    fn close_turn(
        &mut self,
        defers: bool,
        now_ms: u64,
        gets_on: impl FnMut(SessionHandle, bool, Moment) -> bool,
    ) -> Option<Batch> {
        let given = if !defers || !self.records.is_empty() {
            self.take_all()
        } else {
            self.end_deferring(now_ms);
            self.deferred.take_overdue(now_ms, gets_on)
        };
        let is_due = |since: u64| !defers || since + DELIVERED_MS <= now_ms;
        let is_pressing = given.last.is_some() || self.delivered_since_ms.is_some_and(is_due);
        if !is_pressing {
            return None;
        }
        self.delivered_since_ms = None;
        let mut records = std::mem::take(&mut self.records);
        records.append(&mut self.delivered);
        // For what was delivered nobody waits: any ticket will do that has nothing before it.
        let (ticket, stage) = given.last.unwrap_or((self.handed_in, self.usual));
        self.handed_in = ticket;
        (!records.is_empty() || !given.entries.is_empty() || given.last.is_some())
            .then_some(Batch { ticket, stage, deferred: given.entries, records })
    }

    /// Gives back the memory for what was deferred, if nothing is.
    pub(crate) fn shed(&mut self) {
        self.deferred.shed();
    }

    /// The turn ends, and something in it or before it is to be stored now.
    fn take_all(&mut self) -> Given {
        let is_nothing = self.records.is_empty() && self.delivered.is_empty();
        let has_fresh = self.deferred.has_fresh();
        let mut given = self.deferred.take_all();
        if !is_nothing || has_fresh {
            let asked = std::mem::replace(&mut self.asked, Stage::Written);
            let stage = given.last.map_or(asked, |(_, stage)| stage.max(asked));
            given.last = Some((self.ticket, stage));
            self.ticket.0 += 1;
        }
        given
    }

    fn end_deferring(&mut self, now_ms: u64) {
        if !self.delivered.is_empty() {
            self.delivered_since_ms.get_or_insert(now_ms);
        }
        if self.deferred.has_fresh() {
            let stage = std::mem::replace(&mut self.asked, Stage::Written);
            self.deferred.keep(self.ticket, stage, now_ms);
            self.ticket.0 += 1;
        }
    }
}
