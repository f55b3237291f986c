//! What goes on once a ticket has come, in the order of tickets.

use crate::connection::ConnectionHandle;
use crate::mail::Asker;
use crate::persist::{Stage, Ticket};
use crate::restore::Unrouted;
use crate::session::SessionHandle;
use noctule_mqtt::PacketId;
use noctule_session::AckNumber;
use std::collections::VecDeque;

/// What is done once a ticket is persisted.
#[derive(Debug)]
pub(crate) enum Continuation {
    /// Another shard is told that a message of its client is stored here.
    Reply { asker: Asker, refused: bool },
    /// A promise has come true.
    Answer { session: SessionHandle, number: AckNumber },
    /// So many have, one behind the other.
    Answers { session: SessionHandle, first: AckNumber, count: usize },
    /// The session of a new connection is stored: CONNACK may leave.
    Attach { connection: ConnectionHandle },
    /// A QoS 2 delivery's packet identifier is stored: PUBLISH may leave.
    Publish { session: SessionHandle, packet_id: PacketId },
    /// That PUBREC came is stored: PUBREL may leave.
    Pubrel { session: SessionHandle, packet_id: PacketId },
    /// A received QoS 2 message is stored: it is routed, and PUBREC may leave.
    Route(Box<Unrouted>),
}

/// What waits for the store, by how safe it wants to have it.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    written: VecDeque<(Ticket, Continuation)>,
    flushed: VecDeque<(Ticket, Continuation)>,
}

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.written.len() + self.flushed.len()
    }

    pub(super) fn push(&mut self, ticket: Ticket, stage: Stage, next: Continuation) {
        self.at(stage).push_back((ticket, next));
    }

    /// What has waited longest for a stage, if its ticket has come.
    pub(crate) fn next(
        &mut self,
        stage: Stage,
        has_come: impl Fn(Ticket) -> bool,
    ) -> Option<Continuation> {
        let next = self.at(stage).pop_front_if(|(ticket, _)| has_come(*ticket))?;
        Some(next.1)
    }

    fn at(&mut self, stage: Stage) -> &mut VecDeque<(Ticket, Continuation)> {
        match stage {
            Stage::Written => &mut self.written,
            Stage::Flushed => &mut self.flushed,
        }
    }
}
