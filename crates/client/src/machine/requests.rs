//! SUBSCRIBE and UNSUBSCRIBE between the user's wish and the broker's answer.
//!
//! A request that was sent on a connection which is lost is sent again on the next one. Each is
//! about one filter, so that each has a subscription identifier and an answer of its own.

use std::collections::VecDeque;

use noctule_mqtt::PacketId;

use super::Token;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Subscribe,
    Unsubscribe,
}

/// One request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) filter: String,
    /// Who wants to know; nobody if a lost subscription is restored.
    pub(super) token: Option<Token>,
    /// The identifier, once it was sent on this connection.
    packet_id: Option<PacketId>,
}

/// All requests without an answer, in their order.
#[derive(Debug, Default)]
pub(super) struct Requests {
    all: VecDeque<Request>,
}

impl Requests {
    pub(super) fn push(&mut self, kind: Kind, filter: String, token: Option<Token>) {
        self.all.push_back(Request { kind, filter, token, packet_id: None });
    }

    /// Puts a subscription that is to be restored before all that the user asked for since.
    pub(super) fn push_restoring(&mut self, filter: String) {
        self.all.push_front(Request {
            kind: Kind::Subscribe,
            filter,
            token: None,
            packet_id: None,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn any_sent(&self) -> bool {
        self.all.iter().any(|request| request.packet_id.is_some())
    }

    pub(super) fn uses(&self, packet_id: PacketId) -> bool {
        self.all.iter().any(|request| request.packet_id == Some(packet_id))
    }

    /// The first request that has not been sent on this connection.
    pub(super) fn first_unsent(&self) -> Option<&Request> {
        self.all.iter().find(|request| request.packet_id.is_none())
    }

    /// The first unsent request is sent with this identifier.
    pub(super) fn mark_sent(&mut self, packet_id: PacketId) {
        let unsent = self.all.iter_mut().find(|request| request.packet_id.is_none());
        if let Some(request) = unsent {
            request.packet_id = Some(packet_id);
        }
    }

    /// Takes the first unsent request out: it cannot be sent.
    pub(super) fn take_unsent(&mut self) -> Option<Request> {
        let index = self.all.iter().position(|request| request.packet_id.is_none())?;
        self.all.remove(index)
    }

    /// An answer came.
    pub(super) fn take(&mut self, packet_id: PacketId, kind: Kind) -> Option<Request> {
        let is_it =
            |request: &Request| request.packet_id == Some(packet_id) && request.kind == kind;
        let index = self.all.iter().position(is_it)?;
        self.all.remove(index)
    }

    /// The connection is lost: nothing has been sent.
    pub(super) fn forget_sent(&mut self) {
        for request in &mut self.all {
            request.packet_id = None;
        }
    }

    /// Whether the user has asked for `filter` and has no answer yet.
    pub(super) fn asks_for(&self, filter: &str) -> bool {
        self.all.iter().any(|request| request.filter == filter && request.kind == Kind::Subscribe)
    }

    /// The client has ended.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Request> {
        std::mem::take(&mut self.all).into_iter()
    }
}
