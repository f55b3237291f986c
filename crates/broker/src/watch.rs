//! Published messages for somebody who watches: a few of them, handed out as reports, and the number
//! of the others.
//!
//! Whoever drives the shard says how many he wants to see. When that many were handed out, or nobody
//! watches, a message costs one look at a number. What is handed out is a copy, cut to what anybody
//! would show, so that neither a slow observer nor a large payload keeps memory of the broker.

use crate::message::MessageView;
use crate::shard::{Action, Report, Shard};
use noctule_mqtt::QoS;

/// So many bytes of a payload are handed out at most.
pub const WATCHED_PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// A message that a client published, or its will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// When, in milliseconds since 1970.
    pub wall_ms: u64,
    /// The client identifier of the publisher.
    pub publisher: Box<str>,
    /// The topic name.
    pub topic: Box<str>,
    /// The QoS it was published with.
    pub qos: QoS,
    /// Whether it is to be retained.
    pub retain: bool,
    /// The payload, up to [`WATCHED_PAYLOAD_BYTES_MAX`] bytes of it.
    pub payload: Box<[u8]>,
    /// How many bytes it has.
    pub payload_bytes: usize,
}

/// How many messages are still to be handed out, and how many were not.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    left: u32,
    unseen: u64,
}

impl Watch {
    /// Whether this message is to be handed out; if not, it is counted.
    #[inline]
    pub(crate) fn wants_one(&mut self) -> bool {
        if self.left == 0 {
            self.unseen += 1;
            return false;
        }
        true
    }

    /// Whether a message is wanted.
    #[inline]
    pub(crate) fn is_watching(&self) -> bool {
        self.left > 0
    }

    /// Counts messages of which none is wanted.
    #[inline]
    pub(crate) fn pass(&mut self, messages: usize) {
        self.unseen += messages as u64;
    }
}

impl Shard {
    /// Has the next `messages` that are published reported, as [`Report::Published`]. Returns how
    /// many were not since this was called last.
    pub fn watch(&mut self, messages: u32) -> u64 {
        self.watch.left = messages;
        std::mem::take(&mut self.watch.unseen)
    }
}

impl Watch {
    /// The report of a message, which counts as handed out.
    #[cold]
    pub(crate) fn hand_out(
        &mut self,
        wall_ms: u64,
        publisher: &str,
        view: &MessageView<'_>,
    ) -> Action {
        self.left = self.left.saturating_sub(1);
        let shown = view.payload.len().min(WATCHED_PAYLOAD_BYTES_MAX);
        let published = Published {
            wall_ms,
            publisher: publisher.into(),
            topic: view.topic.as_str().into(),
            qos: view.qos,
            retain: view.retain,
            payload: view.payload[..shown].into(),
            payload_bytes: view.payload.len(),
        };
        Action::Report(Report::Published(Box::new(published)))
    }
}
