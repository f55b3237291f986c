//! What has to be kept across a crash, said as records, and the tickets on which promises wait.
//!
//! The core writes records into its *journal* while it works. At the end of a turn they leave
//! together as [`Action::Persist`](crate::Action::Persist) with one ticket;
//! [`Event::Persisted`](crate::Event::Persisted) with that ticket says that they, and everything
//! before them, are on stable storage. Whatever must not be said before then waits for the ticket.
//!
//! Within a batch a record may refer only to records before it.

use crate::commons::ShardId;
use crate::message::Message;
use crate::principal::Principal;
use crate::replay::{RecordedReplay, ReplayNumber};
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

/// The records of the turn that is going on.
#[derive(Debug)]
pub(crate) struct Journal {
    records: Vec<Record>,
    ticket: Ticket,
    /// The number of the last [`Together`] of this shard.
    together: u64,
    /// The broker's own rule.
    usual: Stage,
    /// The rule of whose packets are being dealt with.
    now: Stage,
    /// How safe the records of this turn have to become.
    asked: Stage,
}

impl Journal {
    /// A journal of a broker with this rule.
    pub(crate) fn new(usual: Stage) -> Self {
        let (records, ticket) = (Vec::new(), Ticket(1));
        Self { records, ticket, together: 0, usual, now: usual, asked: Stage::Written }
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

    /// The ticket of the records of this turn.
    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Whether nothing was written in this turn.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Closes the batch, if there is anything in it, and says how safe it has to become.
    pub(crate) fn take(&mut self) -> Option<(Ticket, Vec<Record>, Stage)> {
        if self.records.is_empty() {
            return None;
        }
        let ticket = self.ticket;
        self.ticket = Ticket(ticket.0 + 1);
        let stage = std::mem::replace(&mut self.asked, Stage::Written);
        Some((ticket, std::mem::take(&mut self.records), stage))
    }
}
