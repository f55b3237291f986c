//! Asking for room before a QoS 2 message of a persistent session is stored, where a full queue refuses
//! messages.
//!
//! ```text
//! PUBLISH ─► asked ─► all have room ─► stored ─► routed, PUBREC ─► PUBREL ─► PUBCOMP
//!              └────► somebody has none: PUBREC "quota exceeded", before MQTT 5 the connection is closed
//! ```
//!
//! - Until it is stored nothing is promised and nobody has it. If the broker ends, or the message is
//!   refused, its identifier is free, and whoever sends it again sends a new message `[MQTT5-4.3.3-9]`. A
//!   repetition while others are being asked is answered with what they will say.
//! - Once it is stored it comes to everybody it is for: places are [kept](crate::room) for it from the
//!   question on. After a restart nobody knows which; it is taken all the same.
//! - Several shards may have to be asked, and some know sooner than others. Messages of one session are
//!   stored in the order in which they came, so one that waits for an answer holds up those behind it.

use super::Shard;
use super::input::Sender;
use super::publish::taken;
use crate::commons::ShardId;
use crate::delivery::Continuation;
use crate::limits::OnQueueFull;
use crate::mail::{Mail, Question, RoomWanted};
use crate::message::Message;
use crate::outgoing::Outgoing;
use crate::persist::Stage;
use crate::room::{Promise, Room};
use crate::session::SessionHandle;
use crate::sharing::GroupKey;
use noctule_mqtt::PacketId;
use noctule_session::{AckNumber, Now};
use std::collections::{BTreeMap, VecDeque};

/// What is asked at the moment.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// Messages that came here and are not stored yet, by session, in their order.
    waiting: BTreeMap<SessionHandle, VecDeque<Waiting>>,
    /// Room that is kept for messages of other shards.
    kept: BTreeMap<Question, Room>,
    /// The number of the last question.
    asked: u64,
}

impl Asking {
    /// How much is under way.
    pub(super) fn len(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum::<usize>() + self.kept.len()
    }
}

/// A message that waits until it is known whether there is room for it.
#[derive(Debug)]
struct Waiting {
    number: u64,
    packet_id: PacketId,
    message: Message,
    /// How safe it has to be before it is answered.
    stage: Stage,
    answer: AckNumber,
    promise: Promise,
    /// How many shards have not answered.
    replies: usize,
    /// Whether one of them has said no.
    refused: bool,
    /// The groups of which no member has room yet.
    groups: Vec<GroupKey>,
}

impl Waiting {
    fn is_refused(&self) -> bool {
        self.refused || !self.groups.is_empty()
    }
}

/// What another shard says of room there.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoomFound<'a> {
    pub(super) from: ShardId,
    pub(super) has_room: bool,
    pub(super) groups: &'a [GroupKey],
    pub(super) is_kept: bool,
}

impl Shard {
    /// Whether a QoS 2 message of this session is stored only if there is room for it, as a full queue refuses
    /// it, or did so when one was asked about that still waits and must not be overtaken.
    pub(super) fn asks_for_room(&self, session: SessionHandle) -> bool {
        self.delivery.limits.on_queue_full == OnQueueFull::Refuse
            || self.asking.waiting.contains_key(&session)
    }

    /// A new QoS 2 message of a persistent session: stores it if it is known that there is room for it,
    /// refuses it if there is none here, and asks the others otherwise. Returns whether its identifier
    /// is held.
    pub(super) fn ask_for_room(
        &mut self,
        sender: &Sender,
        packet_id: PacketId,
        outgoing: &mut Outgoing<'_>,
    ) -> bool {
        let Sender { connection, session, .. } = *sender;
        let route = self.router.route(outgoing.view.topic, self.delivery.law());
        let mut room = Room::default();
        let mut has_room = self.delivery.keep_room(&mut room, &route.targets, outgoing);
        let mut to_ask: Vec<ShardId> = route.elsewhere.iter().map(|one| one.shard).collect();
        let mut groups = Vec::new();
        for group in &route.groups {
            if !has_room || self.delivery.keep_room_in_group(&mut room, group, outgoing) {
                continue;
            }
            let others = group.shards.iter().map(|one| one.shard).filter(|one| *one != self.id);
            to_ask.extend(others.clone());
            if others.count() > 0 {
                groups.push(group.key);
            } else {
                self.delivery.dropped.group_away += 1;
                has_room = false;
            }
        }
        if !has_room {
            self.delivery.give_back(room);
            self.refuse_received(sender, packet_id);
            return false;
        }
        to_ask.sort_unstable();
        to_ask.dedup();
        let message = outgoing.message(&mut self.delivery.pool).clone();
        let promise = Promise { room, ..Promise::default() };
        if to_ask.is_empty() && !self.asking.waiting.contains_key(&session) {
            if let Some(ticket) = self.store_received(session, packet_id, message, Some(promise)) {
                self.delivery.answer(session, taken(packet_id), Some(ticket));
            }
        } else {
            self.ask_others(session, packet_id, message, (promise, groups, to_ask));
        }
        self.wait_for_store(connection);
        self.block_if_waiting_too_much(connection, session);
        true
    }

    fn ask_others(
        &mut self,
        session: SessionHandle,
        packet_id: PacketId,
        message: Message,
        (mut promise, groups, to_ask): (Promise, Vec<GroupKey>, Vec<ShardId>),
    ) {
        let Some(found) = self.delivery.sessions.get_mut(session) else {
            return self.delivery.redeem(promise);
        };
        // It keeps its place among the answers, whatever it will say.
        let answer = found.answers.push(taken(packet_id), 1);
        self.asking.asked += 1;
        let number = self.asking.asked;
        let question = Question { shard: self.id, session, number };
        promise.question = Some(question);
        for shard in &to_ask {
            let (message, groups) = (message.clone(), groups.clone());
            let wanted = RoomWanted { question, message, groups };
            self.delivery.post(*shard, Mail::RoomWanted(Box::new(wanted)));
        }
        self.asking.waiting.entry(session).or_default().push_back(Waiting {
            number,
            packet_id,
            message,
            stage: self.delivery.journal.stage(),
            answer,
            promise,
            replies: to_ask.len(),
            refused: false,
            groups,
        });
    }

    /// Another shard wants to know whether there is room for a message here.
    pub(super) fn on_room_wanted(&mut self, wanted: &RoomWanted) {
        let RoomWanted { question, message, groups } = wanted;
        let outgoing = Outgoing::of_message(message);
        let route = self.router.route(outgoing.view.topic, self.delivery.law());
        let mut room = Room::default();
        let has_room = self.delivery.keep_room(&mut room, &route.targets, &outgoing);
        let mut found = Vec::new();
        for group in route.groups.iter().filter(|group| has_room && groups.contains(&group.key)) {
            if self.delivery.keep_room_in_group(&mut room, group, &outgoing) {
                found.push(group.key);
            }
        }
        let is_kept = has_room && !room.is_empty();
        if is_kept {
            self.asking.kept.insert(*question, room);
        } else {
            self.delivery.give_back(room);
        }
        let (from, question, groups) = (self.id, *question, found.into());
        let answer = Mail::Room { from, question, has_room, groups, is_kept };
        self.delivery.post(question.shard, answer);
    }

    /// Another shard says whether there is room for a message of a client here.
    pub(super) fn on_room(&mut self, question: Question, answer: &RoomFound<'_>, now: Now) {
        let Some(waiting) = self.asking.waiting.get_mut(&question.session) else {
            return;
        };
        let Ok(at) = waiting.binary_search_by_key(&question.number, |one| one.number) else {
            return;
        };
        let one = &mut waiting[at];
        one.replies -= 1;
        one.refused |= !answer.has_room;
        one.groups.retain(|group| !answer.groups.contains(group));
        if answer.is_kept {
            one.promise.kept_by.push(answer.from);
        }
        while let Some(one) = self.next_answered(question.session) {
            self.go_on_with(question.session, one, now);
        }
    }

    /// The places that were kept here for a message are not needed any more.
    pub(super) fn on_room_returned(&mut self, question: Question) {
        if let Some(room) = self.asking.kept.remove(&question) {
            self.delivery.give_back(room);
        }
    }

    /// The first message of a session that waits, if all have answered.
    fn next_answered(&mut self, session: SessionHandle) -> Option<Waiting> {
        let waiting = self.asking.waiting.get_mut(&session)?;
        let one = waiting.pop_front_if(|one| one.replies == 0);
        if waiting.is_empty() {
            self.asking.waiting.remove(&session);
        }
        one
    }

    /// It is known whether there is room for a message.
    fn go_on_with(&mut self, session: SessionHandle, one: Waiting, now: Now) {
        let found = self.delivery.sessions.get(session);
        let is_held = found.is_some_and(|found| found.inbound.is_storing_one(one.packet_id));
        let is_refused = one.is_refused();
        let Waiting { packet_id, message, stage, answer, promise, groups, .. } = one;
        // Of what its session has ended with, or its client has released, nobody has heard anything.
        if is_refused || !is_held {
            self.delivery.dropped.group_away += groups.len() as u64;
            self.delivery.redeem(promise);
            return self.complete_answer(session, answer, true, now);
        }
        self.delivery.journal.enter(stage);
        if let Some(ticket) = self.store_received(session, packet_id, message, Some(promise)) {
            let next = Continuation::Answer { session, number: answer };
            self.delivery.wait_for(ticket, stage, next);
        }
        self.delivery.journal.leave();
    }
}
