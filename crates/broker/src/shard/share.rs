//! Messages of shared subscriptions: at their beginning, when they come from another shard of their
//! group, and when a member leaves what it has not acknowledged.

use super::Shard;
use crate::commons::{Placement, ShardId};
use crate::delivery::Delivery;
use crate::mail::Asks;
use crate::offer::Sharing;
use crate::outgoing::Outgoing;
use crate::persist::Owed;
use crate::session::{Session, SessionHandle};
use crate::sharing::{Choice, Fate, GroupRoute, Passage, SharedLetter};
use noctule_mqtt::TopicName;
use noctule_session::Stage;

/// Whose message it is that begins its way through groups.
pub(super) struct Origin {
    pub(super) own: ShardId,
    /// The session that published it, if it is one of this shard.
    pub(super) from: Option<SessionHandle>,
    /// What those who owe it durably are to do.
    pub(super) asks: Asks,
}

impl Origin {
    /// Has one member of each group get a message. Returns how many other shards were asked to reply.
    #[inline(never)]
    pub(super) fn distribute(
        &self,
        delivery: &mut Delivery,
        groups: &[GroupRoute],
        outgoing: &mut Outgoing<'_>,
        (sharing, placement): (Sharing, &Placement),
    ) -> u16 {
        let choice = Choice::new(sharing, || placement.topic_hash(outgoing.view.topic));
        let publisher = self.from.and_then(|session| delivery.connection_of(session));
        let mut replies = 0;
        for group in groups {
            let durable = group.is_durable();
            let reply = delivery.reply_to(self.own, self.asks, outgoing.view.qos, durable);
            let passage = Passage::new(self.own, publisher, reply);
            let fate = delivery.distribute(self.own, group, outgoing, passage, choice);
            replies += u16::from(fate == Fate::HandedOn && reply.is_some());
        }
        replies
    }
}

impl Shard {
    /// A message came for one member of a group.
    pub(super) fn on_shared_letter(&mut self, letter: SharedLetter) {
        let SharedLetter { message, group, passage } = letter;
        let mut outgoing = Outgoing::of_message(&message);
        let reply = passage.reply;
        let expired = outgoing.view.expires.has_passed(self.delivery.now);
        let choice = self.choice(outgoing.view.topic);
        let route = self.router.route(outgoing.view.topic, &self.delivery.limits);
        let fate = match route.groups.iter().find(|one| one.key == group) {
            Some(found) if !expired => {
                self.delivery.distribute(self.id, found, &mut outgoing, passage, choice)
            }
            _ => {
                // All have left meanwhile.
                let dropped = &mut self.delivery.dropped;
                *if expired { &mut dropped.expired } else { &mut dropped.group_away } += 1;
                Fate::Nobody
            }
        };
        if let Some(reply) = reply.filter(|_| fate != Fate::HandedOn) {
            self.reply(reply, outgoing.durable, outgoing.refused);
        }
    }

    fn choice(&self, topic: TopicName<'_>) -> Choice {
        Choice::new(self.offer.shared_subscriptions, || self.placement.topic_hash(topic))
    }

    /// A session has ended, and not before that `[MQTT5-4.8.2-4]`: what it was owed as a member of a
    /// group and had not acknowledged goes to another member. Not so at QoS 2 what was sent to it,
    /// which may have come `[MQTT5-4.8.2-5]`.
    pub(super) fn redistribute(&mut self, session: Session) {
        for owed in session.into_unfinished() {
            self.give_to_another(&owed);
        }
    }

    fn give_to_another(&mut self, owed: &Owed) {
        let Some(filter) = owed.shared() else {
            return;
        };
        let key = self.router.group_key(filter);
        let mut outgoing = Outgoing::of_message(&owed.message);
        outgoing.view.retain = owed.retain;
        if outgoing.view.expires.has_passed(self.delivery.now) {
            self.delivery.dropped.expired += 1;
            return;
        }
        let choice = self.choice(outgoing.view.topic);
        let route = self.router.route(outgoing.view.topic, &self.delivery.limits);
        match route.groups.iter().find(|one| one.key == key) {
            Some(group) => {
                let passage = Passage::new(self.id, None, None);
                self.delivery.distribute(self.id, group, &mut outgoing, passage, choice);
            }
            None => self.delivery.dropped.group_away += 1,
        }
    }
}

impl Session {
    /// Whether it shares a subscription with others.
    pub(super) fn is_member_of_groups(&self) -> bool {
        self.subscriptions.keys().any(|filter| filter.starts_with("$share/"))
    }

    /// What it is owed and may be given to somebody else, in order.
    fn into_unfinished(self) -> impl Iterator<Item = Owed> {
        let in_flight = self.outbound.into_iter().filter_map(|entry| {
            let may = match entry.stage() {
                Stage::AwaitPuback | Stage::StoringId => true,
                Stage::AwaitPubrec => !entry.was_sent(),
                Stage::StoringRelease | Stage::AwaitPubcomp => false,
            };
            may.then_some(entry.message)
        });
        // Those that were sent before a restart may have arrived.
        let restored = self.restored;
        let is_begun = move |owed: &Owed| {
            restored.as_ref().is_some_and(|restored| restored.contains_key(&owed.sequence))
        };
        let waiting = self.queue.into_resident().filter(move |owed| !is_begun(owed));
        in_flight.chain(waiting)
    }
}
