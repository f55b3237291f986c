//! What shards say to each other. Mail from one shard to another arrives in the order it was
//! written, which is what keeps the order of a publisher's messages across shards.

use crate::ShardId;
use crate::connection::{Connection, ConnectionHandle};
use crate::message::Message;
use crate::parcel::Parcel;
use crate::persist::{Stage, Together};
use crate::session::SessionHandle;
use crate::sharing::{GroupKey, SharedLetter};
use noctule_session::AckNumber;
use std::fmt;

/// A letter from one shard to another.
#[derive(Debug)]
pub enum Mail {
    /// Messages for the receiving shard's sessions, as packets.
    Packets {
        /// Who wrote it.
        from: ShardId,
        /// The packets.
        parcel: Parcel,
        /// If the writer wants to know how far its mail was read: the number of bytes of messages
        /// that it had written, this letter's included.
        receipt: Option<u64>,
    },
    /// A message for the receiving shard's sessions that is shared instead of copied.
    Publish {
        /// Who wrote it.
        from: ShardId,
        /// The message.
        message: Message,
        /// The connection that it came on.
        publisher: Option<ConnectionHandle>,
        /// Who waits to hear that it is settled; nobody if nobody is owed it durably.
        reply: Option<ReplyTo>,
        /// The number it was retained with; zero if it was not.
        retained: u64,
        /// As with packets.
        receipt: Option<u64>,
    },
    /// A message for one member of a shared subscription's group.
    Shared {
        /// Who wrote it.
        from: ShardId,
        /// What it is about.
        letter: Box<SharedLetter>,
        /// As with packets.
        receipt: Option<u64>,
    },
    /// Messages of the other shard were dealt with: so many bytes of those it has written to this
    /// one, since they began.
    Receipt {
        /// Who has read.
        from: ShardId,
        /// How far.
        read: u64,
    },
    /// A receiver on the writing shard does not keep up with a publisher of the reading one, which
    /// is not read until [`Mail::SpeedUp`] comes.
    SlowDown {
        /// The publisher.
        publisher: ConnectionHandle,
    },
    /// A receiver that a publisher waits for is waited for no longer.
    SpeedUp {
        /// The publisher.
        publisher: ConnectionHandle,
    },
    /// Retained messages of the writing shard are stored that somebody waits for.
    RetainedStored,
    /// A message is stored for whoever was owed it on the writing shard.
    Settled {
        /// As in the letter that asked.
        asker: Asker,
        /// Whether a session refused it because its queue is full.
        refused: bool,
    },
    /// Whether there is room for a message on the reading shard.
    RoomWanted(Box<RoomWanted>),
    /// Whether there is on the writing one.
    Room {
        /// Who wrote it.
        from: ShardId,
        /// As in the letter that asked.
        question: Question,
        /// Whether all who will be owed the message have room.
        has_room: bool,
        /// The groups of which a member has.
        groups: Box<[GroupKey]>,
        /// Whether places are kept until [`Mail::RoomReturned`] comes.
        is_kept: bool,
    },
    /// The places that are kept on the reading shard are not needed any more: the message comes with the
    /// next letters, or not at all.
    RoomReturned {
        /// As in the letter that asked.
        question: Question,
    },
}

impl Mail {
    /// Where a letter with messages asks for a receipt.
    pub(crate) fn receipt_place(&mut self) -> Option<&mut Option<u64>> {
        match self {
            Self::Packets { receipt, .. }
            | Self::Publish { receipt, .. }
            | Self::Shared { receipt, .. } => Some(receipt),
            Self::Receipt { .. }
            | Self::SlowDown { .. }
            | Self::SpeedUp { .. }
            | Self::RetainedStored
            | Self::Settled { .. }
            | Self::RoomWanted(_)
            | Self::Room { .. }
            | Self::RoomReturned { .. } => None,
        }
    }
}

/// What is to be done when a letter's message is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyTo {
    /// The acknowledgement that waits for it is to hear of it, once it is stored.
    Answer(Asker),
    /// Its records are to be stored together with those of the shard that wrote the letter.
    Together(Together),
    /// The same, and places were kept for it.
    Promised(Together),
}

impl ReplyTo {
    /// How safe the message has to be before somebody hears of it. Nobody waits for what is stored
    /// together with other things.
    pub(crate) fn stage(self) -> Option<Stage> {
        match self {
            Self::Answer(asker) => Some(asker.stage),
            Self::Together(_) | Self::Promised(_) => None,
        }
    }

    /// Whether the message is taken however full a queue is.
    pub(crate) fn is_promised(self) -> bool {
        matches!(self, Self::Promised(_))
    }
}

/// Names a question whether there is room for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// Who asks.
    pub(crate) shard: ShardId,
    /// For whose message.
    pub(crate) session: SessionHandle,
    /// The questions of a shard are numbered.
    pub(crate) number: u64,
}

/// A question whether there is room for a message, in sessions and in groups.
#[derive(Debug)]
pub struct RoomWanted {
    pub(crate) question: Question,
    pub(crate) message: Message,
    /// The groups of which a member is looked for.
    pub(crate) groups: Vec<GroupKey>,
}

/// Names an acknowledgement that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    pub(crate) shard: ShardId,
    pub(crate) session: SessionHandle,
    pub(crate) number: AckNumber,
    /// How safe it has to be before it is answered.
    pub(crate) stage: Stage,
}

/// What the publisher of a message wants of other shards that owe it durably.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    /// Nothing.
    Nothing,
    /// Word when it is stored, for the next answer of this session.
    Word(SessionHandle),
    /// That it is stored together with what is recorded here.
    Together(Together),
    /// The same, of a message for which places were kept.
    Promised(Together),
}

/// A connection on its way to the shard of its session, accepted and without its CONNACK.
pub struct Departure(pub(crate) Box<Connection>);

impl fmt::Debug for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Departure").field(&self.0.version).finish()
    }
}

impl PartialEq for Departure {
    /// No two are the same: each is somebody's connection.
    fn eq(&self, _: &Self) -> bool {
        false
    }
}
