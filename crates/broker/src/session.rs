//! A session: what the broker remembers of a client, whether it is connected or away.

use crate::arena::Handle;
use crate::connection::ConnectionHandle;
use crate::faults::{Fault, fault};
use crate::memory::Owing;
use crate::message::Message;
use crate::persist::{Owed, Record, RecordedWill, Sequence, SessionKey, Stage};
use crate::principal::Identity;
use crate::promptness::{Moment, OnItsWay, Promptness};
use crate::queue::Queue;
use crate::replay::{ReplayNumber, Replays};
use crate::restore::Restored;
use crate::rights::Standing;
use crate::room::Places;
use crate::subscribed::Subscribed;
use compact_str::CompactString;
use noctule_mqtt::packet::SubscriptionOptions;
use noctule_mqtt::{PacketId, PacketType, ReasonCode};
use noctule_session::{AckQueue, Inbound, Now, Outbound};
use std::collections::BTreeSet;
use std::num::NonZeroU32;

/// Names a session of a shard.
pub type SessionHandle = Handle<Session>;

/// How long a session outlives its connection (MQTT 5.0 section 3.1.2.11.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// Not at all: Clean Session before MQTT 5, a session expiry interval of zero since.
    AtClose,
    /// So many seconds.
    After(u32),
    /// Until somebody ends it.
    Never,
}

impl Expiry {
    /// The expiry that a session expiry interval asks for, at most `max` seconds.
    pub(crate) fn granted(interval: u32, max: Option<u32>) -> Self {
        match (interval, max) {
            (0, _) => Self::AtClose,
            (u32::MAX, None) => Self::Never,
            (interval, None) => Self::After(interval),
            (interval, Some(max)) => Self::After(interval.min(max)),
        }
    }

    /// As a session expiry interval says it.
    pub(crate) fn seconds(self) -> Option<u32> {
        match self {
            Self::AtClose => Some(0),
            Self::After(seconds) => Some(seconds),
            Self::Never => None,
        }
    }
}

/// An [`Expiry`] as a session expiry interval says it, which takes half as much.
#[derive(Debug, Clone, Copy)]
struct Interval(u32);

impl Interval {
    fn of(expiry: Expiry) -> Self {
        Self(expiry.seconds().unwrap_or(u32::MAX))
    }

    #[inline]
    fn get(self) -> Expiry {
        match self.0 {
            0 => Expiry::AtClose,
            u32::MAX => Expiry::Never,
            seconds => Expiry::After(seconds),
        }
    }
}

/// What the broker remembers of a client.
#[derive(Debug)]
pub struct Session {
    /// Most identifiers are short enough to lie in it.
    pub(crate) client_id: CompactString,
    pub(crate) key: SessionKey,
    /// Who the client of its last connection was. It belongs to him if that was verified.
    pub(crate) principal: Identity,
    /// What besides its names its rights depend on: those of its last connection.
    pub(crate) standing: Standing,
    /// The generation of policies by which what waits in it was judged, or will be.
    pub(crate) judged_by: Option<u32>,
    /// Messages up to this one were queued before the policies or the standing changed, and are judged
    /// when they leave.
    pub(crate) recheck_through: Sequence,
    /// The connection to deliver to: one whose CONNACK is written.
    pub(crate) connection: Option<ConnectionHandle>,
    expiry: Interval,
    pub(crate) subscriptions: Subscribed,
    pub(crate) outbound: Outbound<Owed>,
    pub(crate) queue: Queue,
    pub(crate) inbound: Inbound,
    /// How safe the QoS 2 messages that are being stored have to be before they are routed.
    pub(crate) receiving: Stage,
    pub(crate) answers: AckQueue<Answer>,
    pub(crate) will: Option<Box<Will>>,
    /// Whether the store knows of it.
    pub(crate) stored: bool,
    /// How much it is owed and has at hand, in its queue and in flight.
    pub(crate) owing: Owing,
    /// If there is any of it.
    pub(crate) rare: Option<Box<Rare>>,
    /// The sequence of the last message it was owed.
    pub(crate) next_sequence: u64,
    /// Retained messages still to be handed out: asking again for what is being handed out begins it
    /// anew and adds nothing.
    pub(crate) replays: Replays,
    /// It is among the sessions whose retained messages are being sent now.
    pub(crate) replaying: bool,
}

/// What a session with a client who is there hardly ever has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rare {
    /// A connection that has been given the session and whose CONNACK waits for the store.
    pub(crate) claimant: Option<ConnectionHandle>,
    /// How soon its client acknowledges.
    promptness: Promptness,
    /// When it ends by itself, in monotonic milliseconds, while its client is away.
    pub(crate) expires_ms: Option<u64>,
    /// The deadline of the timer that will look at it next.
    pub(crate) timer_ms: Option<u64>,
    /// Since when its client is away, in milliseconds of wall time, once it was lost.
    pub(crate) away_since_ms: Option<u64>,
    /// QoS 2 deliveries that were under way when the broker ended, until their messages are loaded.
    pub(crate) restored: Option<Box<Restored>>,
    /// Messages of its queue that may have been sent before a restart.
    pub(crate) perhaps_sent: PerhapsSent,
    /// Places that are kept in its queue.
    pub(crate) places: Places,
    /// Filters of subscriptions that have lost their right, and may get it back.
    suspended: BTreeSet<Box<str>>,
}

/// That of a session which has nothing of it.
static NOTHING_RARE: Rare = Rare {
    claimant: None,
    promptness: Promptness::UNKNOWN,
    expires_ms: None,
    timer_ms: None,
    away_since_ms: None,
    restored: None,
    perhaps_sent: PerhapsSent { left: 0, last: Sequence(0) },
    places: Places::NONE,
    suspended: BTreeSet::new(),
};

/// The messages of a restored queue that may have been sent: the first ones, as many as can be in
/// flight.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PerhapsSent {
    pub(crate) left: usize,
    /// Those behind this one came after the restart.
    pub(crate) last: Sequence,
}

impl PerhapsSent {
    /// Whether this message, which is the next, may have been sent.
    #[inline]
    pub(crate) fn take(&mut self, sequence: Sequence) -> bool {
        let may = self.left > 0 && sequence <= self.last;
        self.left = self.left.saturating_sub(1);
        may
    }
}

/// The terms of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) options: SubscriptionOptions,
    /// The subscription identifier, if there is one.
    pub(crate) identifier: Option<NonZeroU32>,
    /// The number of the last retained message that was set when it was made.
    pub(crate) since: u64,
}

impl Terms {
    pub(crate) fn identifier(&self) -> Option<u32> {
        self.identifier.map(NonZeroU32::get)
    }
}

/// A client may have thousands of them.
const _: () = assert!(size_of::<Terms>() <= 16);

/// An answer to a client that may have to wait its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// PUBACK, PUBREC or PUBCOMP.
    Ack { packet: PacketType, packet_id: PacketId, reason: ReasonCode },
    /// A SUBACK or UNSUBACK, encoded, and what follows it: a greeting, retained messages up to the
    /// replay of this number.
    Encoded { bytes: Box<[u8]>, greet: bool, opens: Option<ReplayNumber> },
}

/// What to publish if the client is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Will {
    pub(crate) message: Message,
    /// Seconds to wait for the client to come back `[MQTT5-3.1.3-9]`.
    pub(crate) delay: u32,
    /// When it is due, in monotonic milliseconds, once the client is lost.
    pub(crate) due_ms: Option<u64>,
    /// What besides its names the rights of its author depend on.
    pub(crate) standing: Standing,
}

impl Session {
    pub(crate) fn new(client_id: &str, key: SessionKey) -> Self {
        Self {
            client_id: client_id.into(),
            key,
            principal: Identity::default(),
            standing: Standing::default(),
            judged_by: None,
            recheck_through: Sequence(0),
            connection: None,
            receiving: Stage::Written,
            expiry: Interval::of(Expiry::AtClose),
            subscriptions: Subscribed::default(),
            outbound: Outbound::default(),
            queue: Queue::default(),
            inbound: Inbound::default(),
            answers: AckQueue::default(),
            will: None,
            stored: false,
            owing: Owing::default(),
            rare: None,
            next_sequence: 0,
            replays: Replays::default(),
            replaying: false,
        }
    }

    /// Whether it is kept when its connection ends, and so has to be kept across a crash.
    pub(crate) fn is_persistent(&self) -> bool {
        self.expiry() != Expiry::AtClose
    }

    /// What the store has to know of a subscription, and of what is to be handed out for it.
    pub(crate) fn subscribed(&self, filter: &str, terms: Terms) -> Record {
        let (options, identifier) = (terms.options, terms.identifier());
        let replay = self.replays.recorded(filter);
        Record::Subscribed { key: self.key, filter: filter.into(), options, identifier, replay }
    }

    /// What the store has to know of it.
    pub(crate) fn record(&self) -> Record {
        Record::Session {
            key: self.key,
            client_id: self.client_id.as_str().into(),
            principal: (*self.principal).clone(),
            expiry: self.expiry().seconds(),
            will: self
                .will
                .as_ref()
                .map(|will| RecordedWill { message: will.message.clone(), delay: will.delay }),
        }
    }

    /// What waits in it is to be judged by these policies: if they are others than before, as it leaves.
    #[inline]
    pub(crate) fn have_judged_by(&mut self, generation: u32) {
        if self.judged_by != Some(generation) {
            self.judged_by = Some(generation);
            self.recheck_through = Sequence(self.next_sequence);
        }
    }

    /// What it has of what few have.
    #[inline]
    pub(crate) fn rare(&self) -> &Rare {
        self.rare.as_deref().unwrap_or(&NOTHING_RARE)
    }

    /// As [`rare`](Self::rare), to be changed.
    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Whether its next message, which has this number, may have been sent before a restart.
    #[inline]
    pub(crate) fn has_perhaps_sent(&mut self, sequence: Sequence) -> bool {
        self.rare.as_mut().is_some_and(|rare| rare.perhaps_sent.take(sequence))
    }

    /// How far the delivery of this number had come before a restart, if it was under way.
    pub(crate) fn take_restored(&mut self, sequence: Sequence) -> Option<(PacketId, bool)> {
        self.rare.as_mut()?.restored.as_mut()?.remove(&sequence)
    }

    /// What is left of deliveries that were under way before a restart, when the session ends.
    pub(crate) fn take_all_restored(&mut self) -> Option<Box<Restored>> {
        self.rare.as_mut()?.restored.take()
    }

    /// Its client has come back: it does not end by itself.
    pub(crate) fn is_there_again(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.expires_ms = None;
        }
    }

    /// Whether its client was away for longer than it is kept.
    pub(crate) fn has_expired(&self, now: Now) -> bool {
        self.rare().expires_ms.is_some_and(|expires| expires <= now.mono_ms)
    }

    /// The timer that was to look at it has come.
    pub(crate) fn forget_timer(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.timer_ms = None;
        }
    }

    /// No connection waits for the store any more to have it.
    pub(crate) fn forget_claimant(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.claimant = None;
        }
    }

    /// Gives back the memory for what few have if nothing of it is left.
    pub(crate) fn shed_rare(&mut self) {
        if *self.rare() == NOTHING_RARE {
            self.rare = None;
        }
    }

    /// Nothing is expected of its client for a while: gives back the memory for what comes and goes.
    pub(crate) fn shed(&mut self, now: Now) {
        self.outbound.shed();
        self.inbound.shed();
        let is_prompt = |rare: &&mut Box<Rare>| rare.promptness.is_prompt(now.mono_ms);
        if let Some(rare) = self.rare.as_mut().filter(is_prompt) {
            rare.promptness = Promptness::UNKNOWN;
        }
        self.shed_rare();
    }

    /// Whether one of its subscriptions is there and leads to nothing, as it has no right to it.
    pub(crate) fn is_suspended(&self, filter: &str) -> bool {
        self.rare().suspended.contains(filter)
    }

    /// One of its subscriptions leads to nothing from now on.
    pub(crate) fn suspend(&mut self, filter: &str) {
        self.rare_mut().suspended.insert(filter.into());
    }

    /// One of its subscriptions is gone, or leads somewhere again.
    pub(crate) fn forget_suspended(&mut self, filter: &str) {
        if let Some(rare) = &mut self.rare {
            rare.suspended.remove(filter);
            self.shed_rare();
        }
    }

    /// Whether something waits for room to be sent.
    pub(crate) fn has_more_to_send(&self) -> bool {
        !self.queue.is_empty() || self.replays.has_open() || self.outbound.has_unsent()
    }

    /// The connection that has it, whether its CONNACK is written or not.
    pub(crate) fn holder(&self) -> Option<ConnectionHandle> {
        self.connection.or(self.rare().claimant)
    }

    /// Whether the packet identifier of a message at this place is not one in flight. One of an old
    /// message that is not acknowledged holds up those that come 65,534 places behind it.
    #[inline]
    pub(crate) fn has_number_for(&self, sequence: Sequence) -> bool {
        let span = PacketId::COUNT as u64 - 1;
        let oldest = self.outbound.oldest();
        oldest.is_none_or(|oldest| sequence.0.saturating_sub(oldest.sequence.0) < span)
    }

    /// A message that it is owed, if it is in flight at QoS 1 or waits at hand.
    pub(crate) fn at_hand(&self, sequence: Sequence) -> Option<&Owed> {
        let in_flight = self.outbound.message(sequence.packet_id());
        let is_it = |owed: &&Owed| owed.sequence == sequence;
        let waiting = || self.queue.message(sequence).filter(|_| !fault(Fault::QueuedNotHandedIn));
        in_flight.filter(is_it).or_else(waiting)
    }

    /// Whether its client is expected to acknowledge at once.
    #[inline]
    pub(crate) fn is_prompt(&self, now: Now) -> bool {
        self.rare.as_ref().is_none_or(|rare| rare.promptness.is_prompt(now.mono_ms))
    }

    /// Something that was deferred for it is overdue: whether its client may be waited for all the
    /// same, if it `may_wait`. If not, it is taken to be late for a while.
    pub(crate) fn gets_on(&mut self, may_wait: bool, now: Moment) -> bool {
        let more_waits = self.queue.first();
        let last = more_waits.map_or(self.next_sequence, |first| first.0.saturating_sub(1));
        let is = self.outbound.oldest().map(|oldest| OnItsWay {
            oldest: oldest.sequence,
            last: Sequence(last),
            more_waits: more_waits.is_some(),
        });
        let promptness = &mut self.rare.get_or_insert_default().promptness;
        let may_wait = may_wait && self.connection.is_some();
        let gets_on = may_wait && is.is_some_and(|is| promptness.gets_on(is, now));
        if !gets_on {
            promptness.note_late(now.ms);
        }
        gets_on
    }

    /// How long it outlives its connection.
    #[inline]
    pub(crate) fn expiry(&self) -> Expiry {
        self.expiry.get()
    }

    /// It is to outlive its connection for so long.
    pub(crate) fn set_expiry(&mut self, expiry: Expiry) {
        self.expiry = Interval::of(expiry);
    }

    pub(crate) fn next_sequence(&mut self) -> Sequence {
        self.next_sequence += 1;
        Sequence(self.next_sequence)
    }

    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self::new("test", SessionKey(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_owes_nothing_is_small() {
        // As with connections.
        assert!(size_of::<Session>() <= 248, "{}", size_of::<Session>());
    }
}
