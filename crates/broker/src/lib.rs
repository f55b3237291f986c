//! The post office: sessions, subscriptions, retained messages, wills, and who gets which message.
//!
//! A [`Shard`] owns a set of sessions and their connections. It is given bytes, events and the
//! time, and it leaves bytes to write and [`Action`]s to carry out; it has no doors to the outside:
//! no socket, clock, file, thread or lock. Whoever drives it does, in every turn:
//!
//! 1. hand in what was read ([`Shard::on_bytes`]), closed connections, events, and the time;
//! 2. [`Shard::work`], once;
//! 3. [`Shard::end_turn`], then carry out the actions and hand in their answers, until there are
//!    none;
//! 4. write the output of every connection in [`Shard::take_dirty`], once.

mod arena;
mod clients;
mod commons;
mod connection;
mod counters;
mod crowd;
mod deferred;
mod delivery;
mod discarded;
mod entrance;
mod expiry;
pub mod faults;
mod holds;
mod limits;
mod losses;
mod mail;
mod memory;
mod memory_store;
mod message;
mod meter;
mod offer;
mod outbox;
mod outgoing;
mod parcel;
mod persist;
mod postbag;
mod principal;
mod promptness;
mod queue;
mod replay;
mod restore;
mod retained;
mod rights;
mod room;
mod router;
mod run;
mod session;
mod shard;
mod sharing;
mod statistics;
mod subscribed;
mod subscriptions;
mod unstored;
mod watch;
mod wheel;

pub use arena::Handle;
pub use commons::{
    Commons, Epochs, INTEREST_PARTS, Interest, RETAINED_PARTS, ShardId, retained_part,
};
pub use connection::{Cause, Connection, ConnectionHandle, Transport};
pub use counters::{Counters, Denied, Dropped, Packets, Refused, Traffic};
pub use entrance::{AcceptedVersions, AssignedPrefix, Entrance, EntranceId, Mount};
pub use expiry::Deadline;
pub use limits::{Limits, OnQueueFull};
pub use losses::Lost;
pub use mail::{Departure, Mail, Question, ReplyTo, RoomWanted};
pub use memory::{CommonMemory, Memory, Owner, Pressure};
pub use memory_store::{MemoryStore, Spilled};
pub use message::{Message, MessageBytes, MessageParts, PublishedBy};
pub use meter::{Bucket, Rates};
/// Words of MQTT that records are made of.
pub use noctule_mqtt::packet::{RetainHandling, SubscriptionOptions};
pub use noctule_mqtt::{PacketId, QoS};
pub use noctule_session::Now;
pub use offer::{Offer, Sharing};
pub use outbox::Outbox;
pub use parcel::Parcel;
pub use persist::{
    Extras, Owed, Record, RecordedWill, Sequence, SessionKey, Stage, StoreState, Ticket, Together,
};
pub use principal::Principal;
pub use replay::{RecordedReplay, ReplayNumber};
pub use restore::{StoredInFlight, StoredSession, StoredSubscription, home};
pub use retained::{Retained, RetainedTraces};
pub use rights::{EntrancePolicy, Grant, Policies, Policy, Refusals, Who, Wish, Word};
#[cfg(feature = "bench")]
#[doc(hidden)]
pub use router::bench;
pub use session::{Expiry, Session, SessionHandle};
pub use shard::{
    Action, Credentials, Enhanced, Event, Hello, Leftovers, Offence, Population, Quota, Report,
    Settings, Shard, Step, Verdict,
};
pub use sharing::SharedLetter;
pub use statistics::{HOLDINGS, Holding, Holdings, Snapshot};
pub use unstored::Unstored;
pub use watch::{Published, WATCHED_PAYLOAD_BYTES_MAX};
