//! Mistakes that can be planted in the core, so that a test can prove that it would find them.
//!
//! Each is a question at the place where a mistake would be made: `fault(Fault::X)`. Without the
//! feature `planted-faults` the answer is a constant "no" and the question leaves nothing in the
//! code; with it, one fault can be planted per thread. No rule of the broker may depend on what is
//! here, and nothing but tests may switch the feature on.

use std::fmt;

/// Declares the faults and the list of them.
macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// A mistake that can be planted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[$doc])* $name,)+
        }

        impl Fault {
            /// Every fault there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The fault of this name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|fault| fault.to_string() == name)
            }
        }

        impl fmt::Display for Fault {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self {
                    $(Self::$name => stringify!($name),)+
                })
            }
        }
    };
}

faults! {
    /// A route is looked up before its epochs are noted.
    EpochNotedLate,
    /// The epoch of a filter is counted before the interest map is changed.
    EpochCountedEarly,
    /// A new subscription leaves the routes that a shard has cached as they are.
    CacheKept,
    /// A shard whose last subscriber leaves goes on being told of a filter.
    InterestNotWithdrawn,
    /// A subscription comes into the index a turn after its SUBACK.
    SubackBeforeIndex,
    /// The number of the last retained message is read before the subscription is in.
    RetainedReadEarly,
    /// A message to be retained is set after its receivers have been looked for.
    RetainedSetLate,
    /// What came behind CONNECT is forgotten when a connection is handed over.
    RestForgotten,
    /// A handle names whatever is in its slot now.
    GenerationUnchecked,
    /// A connection that has ended goes on being counted.
    ConnectionLeaked,
    /// A message that leaves a queue goes on being counted.
    QueueBytesLeaked,
    /// An answer that need not wait overtakes those that do.
    AckOutOfOrder,
    /// An answer leaves without waiting for the store.
    AckBeforeTicket,
    /// Whatever waits for the store goes on with the first ticket that comes.
    TicketIgnored,
    /// What is deferred is taken for acknowledged by its receivers.
    DeferredTakenForSettled,
    /// What is deferred and waits in a queue is not handed in with what is in flight.
    QueuedNotHandedIn,
    /// CONNACK of a persistent session leaves without waiting for the store.
    ConnackBeforeTicket,
    /// A message of QoS 2 that is repeated is routed again.
    DuplicateRouted,
    /// A message of QoS 2 is stored without asking its receivers for room.
    RoomNotAsked,
    /// The identifier of a QoS 2 message is held after its PUBREL.
    ReleaseForgotten,
    /// What is in flight is not sent again on a new connection.
    CursorNotRewound,
    /// Output that has drained is no reason to go on with the queue.
    QueueNotPumped,
    /// A message to the front part of a queue overtakes those that were left to the store.
    SpillOvertaken,
    /// A message of QoS 1 for somebody who does not read is dropped.
    PausedReaderDropped,
    /// A session that is taken over keeps its old connection open.
    TakeoverKeepsOld,
    /// Whoever waits for a session that others fight for is not given it when its turn has come.
    TurnForgotten,
    /// A will is published although its client said DISCONNECT.
    WillAfterDisconnect,
    /// A will that waits is published although its client is back.
    WillNotCancelled,
    /// Retained messages do not wait for the SUBACK of their subscription.
    ReplayOvertakesSuback,
    /// Silence is looked for once and never again.
    KeepAliveForgotten,
    /// A session whose client is away never ends by itself.
    ExpiryForgotten,
    /// Packet identifiers of deliveries begin anew with a restart.
    IdentifiersBeginAnew,
    /// Handing out retained messages begins anew with a restart.
    ReplayBeginsAnew,
    /// Retained messages are handed out that another shard has set and the store does not have.
    ReplayUnstored,
    /// The retained messages that are set after a restart have numbers that were there before.
    RetainedNumbersAgain,
    /// A letter between shards is lost.
    MailDropped,
    /// A letter between shards overtakes the one before it.
    MailReordered,
    /// A letter is posted and its reader not woken.
    WakeLost,
}

impl Fault {
    /// Those that only a broker that ends and begins anew can show.
    pub const OVER_RESTARTS: &'static [Self] = &[
        Self::IdentifiersBeginAnew,
        Self::DeferredTakenForSettled,
        Self::QueuedNotHandedIn,
        Self::ReplayBeginsAnew,
        Self::ReplayUnstored,
        Self::RetainedNumbersAgain,
    ];
}

#[cfg(feature = "planted-faults")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Plants a fault in every shard of this thread, instead of the one before.
#[cfg(feature = "planted-faults")]
pub fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// Whether this fault is planted.
#[cfg(feature = "planted-faults")]
pub fn fault(asked: Fault) -> bool {
    PLANTED.get() == Some(asked)
}

/// Whether this fault is planted: never, in a build without the feature.
#[cfg(not(feature = "planted-faults"))]
#[inline(always)]
pub const fn fault(_: Fault) -> bool {
    false
}
