//! Room that is kept free in queues, for messages which are promised before they are routed.
//!
//! A QoS 2 message of a persistent session is stored and then routed, and once it is stored nobody can
//! be refused any more. So where a full queue refuses messages, its receivers are asked for room first
//! (`shard/asking.rs`), and each keeps a place for it: it counts like a message that waits, until the
//! message comes or somebody else has none. What comes to a place that was kept is taken however
//! full a queue is by then.

use crate::commons::ShardId;
use crate::delivery::Delivery;
use crate::limits::Limits;
use crate::losses::Lost;
use crate::mail::{Mail, Question};
use crate::memory::Pressure;
use crate::outgoing::Outgoing;
use crate::router::Target;
use crate::session::{Session, SessionHandle};
use crate::sharing::GroupRoute;
use noctule_mqtt::QoS;

/// Places for one message in the queues of some sessions.
#[derive(Debug, Default)]
pub(crate) struct Room {
    bytes: usize,
    sessions: Vec<SessionHandle>,
}

impl Room {
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

/// The places that are kept in the queue of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Places {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Places {
    pub(crate) const NONE: Self = Self { messages: 0, bytes: 0 };
}

/// That places were kept for a message, so that it comes to whom it is for.
#[derive(Debug, Default)]
pub(crate) struct Promise {
    /// Those of its publisher's shard.
    pub(crate) room: Room,
    /// What other shards were asked, if some were, and which keep some.
    pub(crate) question: Option<Question>,
    pub(crate) kept_by: Vec<ShardId>,
}

/// Why a session has no room.
#[derive(Debug, Clone, Copy)]
enum Lack {
    Queue,
    Memory,
}

impl Delivery {
    /// Keeps a place with every target that will be owed a message. False if one of them has none;
    /// what was kept before that is in `room`.
    pub(crate) fn keep_room(
        &mut self,
        room: &mut Room,
        targets: &[Target],
        outgoing: &Outgoing<'_>,
    ) -> bool {
        let qos_max = self.limits.qos_of_delivery(outgoing.view.qos);
        let bytes = outgoing.owed_bytes();
        for target in targets {
            let own = outgoing.from == Some(target.session);
            let wanted = if own { target.own_qos } else { Some(target.qos) };
            if wanted.is_none_or(|qos| qos.min(qos_max) == QoS::AtMostOnce) {
                continue;
            }
            let Some(lack) = self.lacks_room(target.session, bytes) else {
                self.keep_place(room, target.session, bytes);
                continue;
            };
            match lack {
                Lack::Queue => self.dropped.queue_full += 1,
                Lack::Memory => self.dropped.memory_queued += 1,
            }
            self.losses.note(target.session, Lost { at_most_once: 0, queued: 1 });
            return false;
        }
        true
    }

    /// Keeps a place with a member of a group that is here. False if none of them has one.
    pub(crate) fn keep_room_in_group(
        &mut self,
        room: &mut Room,
        group: &GroupRoute,
        outgoing: &Outgoing<'_>,
    ) -> bool {
        let qos_max = self.limits.qos_of_delivery(outgoing.view.qos);
        let bytes = outgoing.owed_bytes();
        for member in &group.members {
            let Some(session) = self.sessions.get(member.session) else {
                continue;
            };
            if !self.has_a_name_for(session, outgoing) {
                continue;
            }
            if member.qos.min(qos_max) == QoS::AtMostOnce {
                if session.connection.is_some() {
                    return true;
                }
            } else if !self.lacks_space_for(session)
                && self.lacks_room(member.session, bytes).is_none()
            {
                self.keep_place(room, member.session, bytes);
                return true;
            }
        }
        false
    }

    /// A message is about to come to the places that were kept for it, or does not come at all.
    pub(crate) fn redeem(&mut self, promise: Promise) {
        let Promise { room, question, kept_by } = promise;
        self.give_back(room);
        for (shard, question) in kept_by.into_iter().zip(question.into_iter().cycle()) {
            self.post(shard, Mail::RoomReturned { question });
        }
    }

    /// Places that were kept are free again.
    pub(crate) fn give_back(&mut self, room: Room) {
        let Room { bytes, sessions } = room;
        for handle in sessions {
            let session = self.sessions.get_mut(handle);
            if let Some(rare) = session.and_then(|session| session.rare.as_mut()) {
                rare.places.messages -= 1;
                rare.places.bytes -= bytes;
            }
        }
    }

    fn keep_place(&mut self, room: &mut Room, handle: SessionHandle, bytes: usize) {
        if let Some(session) = self.sessions.get_mut(handle) {
            let places = &mut session.rare_mut().places;
            places.messages += 1;
            places.bytes += bytes;
            room.bytes = bytes;
            room.sessions.push(handle);
        }
    }

    /// What keeps a session from taking one more message, if anything does.
    fn lacks_room(&mut self, handle: SessionHandle, bytes: usize) -> Option<Lack> {
        if self.will_send_at_once(handle) {
            return None;
        }
        if self.is_full_for(handle, bytes) {
            return Some(Lack::Queue);
        }
        (self.pressure >= Pressure::NewWork).then_some(Lack::Memory)
    }

    /// Whether one more message would need no queue, nor do those whose places are kept.
    fn will_send_at_once(&self, handle: SessionHandle) -> bool {
        let Some(session) = self.sessions.get(handle) else {
            return true;
        };
        let connection = session.connection.and_then(|handle| self.connections.get(handle));
        let places = session.rare().places;
        session.queue.is_empty()
            && session.owing.bytes + places.bytes <= self.limits.queue_bytes_max
            && connection.is_some_and(|connection| {
                places.messages < session.outbound.room_to_send(connection.window)
                    && connection.outbox.len() <= self.marks.crowded
            })
    }
}

impl Session {
    /// Whether one more message of `bytes` would be too much for it.
    pub(crate) fn is_full_for(&self, bytes: usize, limits: &Limits) -> bool {
        let bytes_max = if self.is_persistent() && !limits.spills_to_memory {
            limits.queue_stored_bytes_max
        } else {
            limits.queue_bytes_max
        };
        let places = self.rare().places;
        let taken = self.owing.bytes + self.queue.spilled_bytes() + places.bytes;
        self.queue.len() + places.messages >= limits.queue_messages_max || taken + bytes > bytes_max
    }
}
