//! What shards say to each other. Mail from one shard to another arrives in the order it was
//! written, which is what keeps the order of a publisher's messages across shards.

use crate::ShardId;
use crate::connection::Connection;
use crate::message::Message;
use crate::session::SessionHandle;
use noctule_session::AckNumber;
use std::fmt;

/// A letter from one shard to another.
#[derive(Debug)]
pub enum Mail {
    /// A message for the receiving shard's sessions.
    Publish {
        /// The message.
        message: Message,
        /// Who waits to hear that it is settled; nobody if nobody is owed it durably.
        reply: Option<ReplyTo>,
    },
    /// A message is stored for whoever was owed it on the writing shard.
    Settled {
        /// As in the letter that asked.
        reply: ReplyTo,
        /// Whether a session refused it because its queue is full.
        refused: bool,
    },
}

/// Names the acknowledgement that waits for a letter's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyTo {
    pub(crate) shard: ShardId,
    pub(crate) session: SessionHandle,
    pub(crate) number: AckNumber,
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
