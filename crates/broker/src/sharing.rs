//! Shared subscriptions: of a group of sessions one gets each message (MQTT 5.0 section 4.8.2).
//!
//! A group is a share name with a filter. Its members may live on several shards. The publisher's
//! shard chooses one by the numbers of members that the interest map says, and that shard chooses
//! among its own. A member that is away or full is passed over; a shard that finds none hands the
//! message to the next one. When all have been asked in vain they are asked once more, and now a
//! queue will do. So a message makes at most two rounds, and it is in the hands of one shard at a
//! time: it is never delivered twice, and whoever waits for its acknowledgement hears once. Only one for
//! which a place was kept, and which finds it taken, makes a third, in which no queue is too full.

use crate::arena::Handle;
use crate::commons::ShardId;
use crate::connection::ConnectionHandle;
use crate::crowd::Publisher;
use crate::delivery::Delivery;
use crate::limits::OnQueueFull;
use crate::mail::ReplyTo;
use crate::memory::Pressure;
use crate::message::Message;
use crate::offer::Sharing;
use crate::outgoing::{FormKey, FormTerms, Outgoing};
use crate::router::{Route, Target};
use crate::session::{Session, SessionHandle};
use noctule_mqtt::QoS;
use std::cell::Cell;
use std::rc::Rc;

/// Names a group on all shards: a hash of its filter, `$share` and share name included, wide enough to
/// be taken for the filter itself, and with a key, so that nobody can choose two filters of one hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey(pub(crate) u128);

/// A group as a shard with members of it knows it, for as long as there are any.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Whose turn it is among the members here.
    turn: Cell<usize>,
    /// Which shard's turn it is, for messages that are published here.
    dispatched: Cell<u64>,
    /// Who had the last message.
    last: Cell<Option<Handle<Session>>>,
}

impl Group {
    /// A group whose shards take turns from some point on.
    pub(crate) fn beginning_with(dispatched: u64) -> Self {
        Self { dispatched: Cell::new(dispatched), ..Self::default() }
    }
}

/// Where messages of a topic go in one group.
#[derive(Debug)]
pub(crate) struct GroupRoute {
    pub(crate) key: GroupKey,
    pub(crate) group: Rc<Group>,
    /// Its members here, in a lasting order.
    pub(crate) members: Vec<Target>,
    /// The shards with members, this one included, in the order of their numbers.
    pub(crate) shards: Vec<GroupShard>,
}

/// A shard's part in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupShard {
    pub(crate) shard: ShardId,
    pub(crate) members: u32,
    /// Whether one of them is persistent.
    pub(crate) durable: bool,
}

/// A message that was handed to another shard of its group.
#[derive(Debug)]
pub struct SharedLetter {
    pub(crate) message: Message,
    pub(crate) group: GroupKey,
    pub(crate) passage: Passage,
}

/// A message on its way through a group.
#[derive(Debug, Clone)]
pub(crate) struct Passage {
    /// The shard of its publisher.
    pub(crate) origin: ShardId,
    pub(crate) publisher: Option<ConnectionHandle>,
    /// Who waits to hear that it is settled.
    pub(crate) reply: Option<ReplyTo>,
    /// The shards that have been asked in this round; the last one is the one that has it.
    asked: Vec<ShardId>,
    round: Round,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// For a member that takes it now.
    Available,
    /// For a member that takes it some time.
    Queue,
    /// For any member whose session is there.
    Promised,
}

/// What became of a message in a group, as far as this shard is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A member here has it.
    Delivered,
    /// Another shard has it.
    HandedOn,
    /// Nobody takes it.
    Nobody,
}

/// How the next one is chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Choice {
    RoundRobin,
    Sticky,
    /// With the hash of the topic.
    Hash(u64),
}

impl Choice {
    pub(crate) fn new(sharing: Sharing, topic_hash: impl FnOnce() -> u64) -> Self {
        match sharing {
            Sharing::RoundRobin | Sharing::No => Self::RoundRobin,
            Sharing::Sticky => Self::Sticky,
            Sharing::Hash => Self::Hash(topic_hash()),
        }
    }
}

impl Passage {
    /// A message that begins its way.
    pub(crate) fn new(
        origin: ShardId,
        publisher: Option<ConnectionHandle>,
        reply: Option<ReplyTo>,
    ) -> Self {
        Self { origin, publisher, reply, asked: Vec::new(), round: Round::Available }
    }
}

impl GroupRoute {
    /// Whether a persistent session is among its members on any shard.
    pub(crate) fn is_durable(&self) -> bool {
        self.shards.iter().any(|one| one.durable)
    }

    /// The shard that a new message goes to first, as an index: each has as many turns as members.
    fn first_shard(&self, choice: Choice) -> usize {
        let total: u64 = self.shards.iter().map(|one| u64::from(one.members)).sum();
        let mut turn = match choice {
            Choice::Sticky => 0,
            Choice::Hash(hash) => hash % total.max(1),
            Choice::RoundRobin => {
                let turn = self.group.dispatched.get();
                self.group.dispatched.set(turn.wrapping_add(1));
                turn % total.max(1)
            }
        };
        for (index, one) in self.shards.iter().enumerate() {
            if turn < u64::from(one.members) {
                return index;
            }
            turn -= u64::from(one.members);
        }
        0
    }

    /// The member that is asked first, as an index.
    fn first_member(&self, choice: Choice) -> usize {
        let count = self.members.len().max(1);
        match choice {
            Choice::RoundRobin => self.group.turn.get() % count,
            Choice::Hash(hash) => (hash >> 32) as usize % count,
            Choice::Sticky => {
                let last = self.group.last.get();
                let place = self.members.iter().position(|one| Some(one.session) == last);
                place.unwrap_or(0)
            }
        }
    }
}

/// `count` indexes from `first` on, going round.
fn around(first: usize, count: usize) -> impl Iterator<Item = usize> {
    (first..count).chain(0..first.min(count))
}

impl Delivery {
    /// Has one member of a group get a message: one here, or one of the next shard that is asked.
    pub(crate) fn distribute(
        &mut self,
        own: ShardId,
        route: &GroupRoute,
        outgoing: &mut Outgoing<'_>,
        mut passage: Passage,
        choice: Choice,
    ) -> Fate {
        let here = route.shards.iter().position(|one| one.shard == own);
        let mut first = match here {
            Some(here) if !passage.asked.is_empty() => here,
            _ => route.first_shard(choice),
        };
        // It was handed on to this shard.
        if passage.asked.last() == Some(&own)
            && self.deliver_to_member(route, outgoing, &passage, choice, own)
        {
            return Fate::Delivered;
        }
        loop {
            let mut next = around(first, route.shards.len()).map(|index| route.shards[index].shard);
            match next.find(|shard| !passage.asked.contains(shard)) {
                Some(shard) if shard == own => {
                    passage.asked.push(own);
                    if self.deliver_to_member(route, outgoing, &passage, choice, own) {
                        return Fate::Delivered;
                    }
                }
                Some(shard) => {
                    passage.asked.push(shard);
                    let group = (route.key, route.is_durable());
                    self.hand_on(own, shard, group, outgoing, passage);
                    return Fate::HandedOn;
                }
                None if passage.round == Round::Available => {
                    passage.round = Round::Queue;
                    passage.asked.clear();
                    first = here.unwrap_or(first);
                }
                None if passage.round == Round::Queue && outgoing.paced => {
                    passage.round = Round::Promised;
                    passage.asked.clear();
                    first = here.unwrap_or(first);
                }
                None => {
                    if outgoing.view.qos == QoS::AtMostOnce {
                        self.dropped.away += 1;
                    } else {
                        self.dropped.group_away += 1;
                        outgoing.refused |= self.limits.on_queue_full == OnQueueFull::Refuse;
                    }
                    return Fate::Nobody;
                }
            }
        }
    }

    fn hand_on(
        &mut self,
        own: ShardId,
        to: ShardId,
        (group, is_durable): (GroupKey, bool),
        outgoing: &mut Outgoing<'_>,
        passage: Passage,
    ) {
        let publisher = passage.publisher.filter(|_| passage.origin == own);
        if is_durable && outgoing.lacks_attribution() {
            self.attribute(outgoing);
        }
        let message = outgoing.message(&mut self.pool).clone();
        let letter = Box::new(SharedLetter { message, group, passage });
        if let Some(postbag) = self.postbags.get_mut(usize::from(to.0)) {
            postbag.push_shared_letter(own, letter);
            if postbag.is_full() {
                self.wait_for_mail(to, publisher);
            }
        }
    }

    /// Hands a message to one of the members here. False if none can take it in this round.
    fn deliver_to_member(
        &mut self,
        route: &GroupRoute,
        outgoing: &mut Outgoing<'_>,
        passage: &Passage,
        choice: Choice,
        own: ShardId,
    ) -> bool {
        let members = &route.members;
        let found = around(route.first_member(choice), members.len()).find(|index| {
            let member = &members[*index];
            match passage.round {
                Round::Available => self.takes_now(member, outgoing),
                Round::Queue => self.takes_later(member, outgoing),
                Round::Promised => self.takes_anyhow(member, outgoing),
            }
        });
        let Some(index) = found else {
            return false;
        };
        route.group.turn.set(index + 1);
        route.group.last.set(Some(members[index].session));
        self.deliver_only(&members[index], outgoing);
        if self.has_met() {
            let shard = (passage.origin != own).then_some(passage.origin);
            let publisher = passage.publisher.map(|connection| Publisher { shard, connection });
            self.meet_crowd(publisher, 1);
        }
        true
    }

    /// Whether a member can be sent a message at once.
    fn takes_now(&self, member: &Target, outgoing: &Outgoing<'_>) -> bool {
        let Some(session) = self.sessions.get(member.session) else {
            return false;
        };
        let connection = session.connection.and_then(|handle| self.connections.get(handle));
        let Some(connection) = connection else {
            return false;
        };
        let qos = member.qos.min(self.limits.qos_of_delivery(outgoing.view.qos));
        if qos != QoS::AtMostOnce && self.lacks_space_for(session) {
            return false;
        }
        let Some(view) = self.mounts.inner(connection, outgoing.view) else {
            return false;
        };
        let has_room = qos == QoS::AtMostOnce
            || (session.queue.is_empty()
                && session.outbound.has_room(connection.window)
                && session.owing.bytes <= self.limits.queue_bytes_max);
        let retain = outgoing.view.retain && member.retain_as_published;
        let key = FormKey::new(connection.version.has_properties(), qos, retain);
        let terms = FormTerms::new(key, &member.extras);
        has_room
            && connection.outbox.len() <= self.marks.crowded
            && connection.choose_alias(&view, &terms).is_some()
    }

    /// Whether a member can have a message put aside for it; at QoS 0, whether it is there at all.
    fn takes_later(&mut self, member: &Target, outgoing: &mut Outgoing<'_>) -> bool {
        let Some(session) = self.sessions.get(member.session) else {
            return false;
        };
        let qos = member.qos.min(self.limits.qos_of_delivery(outgoing.view.qos));
        if qos == QoS::AtMostOnce {
            return session.connection.is_some() && self.has_a_name_for(session, outgoing);
        }
        if !self.has_a_name_for(session, outgoing) {
            return false;
        }
        let bytes = outgoing.owed_bytes();
        !self.lacks_space_for(session)
            && self.pressure < Pressure::NewWork
            && !self.is_full_for(member.session, bytes)
    }

    /// Whether a member can have a message put aside for it though its queue is full.
    fn takes_anyhow(&self, member: &Target, outgoing: &Outgoing<'_>) -> bool {
        let qos = member.qos.min(self.limits.qos_of_delivery(outgoing.view.qos));
        self.sessions.get(member.session).is_some_and(|session| {
            let keeps = qos != QoS::AtMostOnce || session.connection.is_some();
            keeps && self.has_a_name_for(session, outgoing)
        })
    }

    /// Whether a message has a name where a member is connected: it has none outside of a mount there. Of one
    /// that is away it is not known where it will be.
    pub(crate) fn has_a_name_for(&self, session: &Session, outgoing: &Outgoing<'_>) -> bool {
        let connection = session.connection.and_then(|handle| self.connections.get(handle));
        connection.is_none_or(|found| self.mounts.inner(found, outgoing.view).is_some())
    }

    /// Whether a message would have to be stored: as a retained one, or for somebody other than a
    /// member of a group, of which another may take it.
    pub(crate) fn would_store(&self, route: &Route, outgoing: &Outgoing<'_>) -> bool {
        let view = &outgoing.view;
        let is_owed = |target: &Target| {
            let stored = self.sessions.get(target.session).is_some_and(Session::is_persistent);
            stored && target.qos != QoS::AtMostOnce
        };
        (view.retain && !view.payload.is_empty())
            || (view.qos != QoS::AtMostOnce
                && (route.elsewhere.iter().any(|elsewhere| elsewhere.durable)
                    || route.targets.iter().any(is_owed)))
    }

    /// Whether a publisher is told that its message cannot be stored: if that can be said in its
    /// version, or if it is closed instead.
    pub(crate) fn refuses_publisher(&self, from: Option<SessionHandle>) -> bool {
        let connection = from.and_then(|from| self.connection_of(from));
        let connection = connection.and_then(|handle| self.connections.get(handle));
        self.limits.on_queue_full == OnQueueFull::Refuse
            || connection.is_some_and(|connection| connection.version.has_reason_codes())
    }

    /// Whether nothing more can be stored for a session.
    pub(crate) fn lacks_space_for(&self, session: &Session) -> bool {
        session.is_persistent() && self.store.lacks_space
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(members: &[u32]) -> GroupRoute {
        let shards = members.iter().enumerate().map(|(number, members)| GroupShard {
            shard: ShardId(number as u16),
            members: *members,
            durable: false,
        });
        GroupRoute {
            key: GroupKey(1),
            group: Rc::default(),
            members: Vec::new(),
            shards: shards.collect(),
        }
    }

    #[test]
    fn shards_have_as_many_turns_as_members() {
        let route = route(&[2, 1, 3]);
        let turns: Vec<_> = (0..12).map(|_| route.first_shard(Choice::RoundRobin)).collect();
        assert_eq!(turns, [0, 0, 1, 2, 2, 2, 0, 0, 1, 2, 2, 2]);
        assert_eq!(route.first_shard(Choice::Sticky), 0);
        assert_eq!(
            [0, 1, 2, 3, 5].map(|hash| route.first_shard(Choice::Hash(hash))),
            [0, 0, 1, 2, 2]
        );
    }

    #[test]
    fn everybody_is_asked_once_from_the_first_on() {
        assert_eq!(around(2, 4).collect::<Vec<_>>(), [2, 3, 0, 1]);
        assert_eq!(around(0, 1).collect::<Vec<_>>(), [0]);
        assert_eq!(around(0, 0).count(), 0);
    }
}
