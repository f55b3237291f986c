//! What shards say to each other. Mail from one shard to another arrives in the order it was
//! written, which is what keeps the order of a publisher's messages across shards.

use crate::ShardId;
use crate::connection::{Connection, ConnectionHandle};
use crate::message::Message;
use crate::parcel::Parcel;
use crate::persist::SessionKey;
use crate::session::SessionHandle;
use crate::sharing::SharedLetter;
use noctule_mqtt::PacketId;
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
    /// A message is stored for whoever was owed it on the writing shard.
    Settled {
        /// As in the letter that asked.
        reply: ReplyTo,
        /// Whether a session refused it because its queue is full.
        refused: bool,
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
            | Self::Settled { .. } => None,
        }
    }
}

/// Names what waits for a letter's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyTo {
    pub(crate) shard: ShardId,
    pub(crate) asker: Asker,
}

/// What waits for other shards to say that a message is stored there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// An answer to the publisher.
    Answer { session: SessionHandle, number: AckNumber },
    /// The store, which goes on having a QoS 2 message of a client until those who are owed it are
    /// stored to be.
    Routing { key: SessionKey, packet_id: PacketId },
    /// A session that has ended and whose messages go to others.
    Departing(SessionHandle),
}

/// Who asks, for a message that is about to be routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    /// Nobody has to know.
    Nobody,
    /// The next answer of this session.
    Answer(SessionHandle),
    /// See [`Asker::Routing`].
    Routing { key: SessionKey, packet_id: PacketId },
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
