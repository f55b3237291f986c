//! Messages of shared subscriptions: at their beginning, and when they come from another shard of
//! their group. What a member leaves that it has not acknowledged is `depart`'s.

use super::Shard;
use crate::commons::{Placement, ShardId};
use crate::delivery::Delivery;
use crate::mail::{Asks, ReplyTo};
use crate::offer::Sharing;
use crate::outgoing::Outgoing;
use crate::session::SessionHandle;
use crate::sharing::{Choice, Fate, GroupRoute, Passage, SharedLetter};
use noctule_mqtt::TopicName;

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
    ) -> u32 {
        let choice = Choice::new(sharing, || placement.topic_hash(outgoing.view.topic));
        let publisher = self.from.and_then(|session| delivery.connection_of(session));
        let mut replies = 0;
        for group in groups {
            let durable = group.is_durable();
            let reply = delivery.reply_to(self.own, self.asks, outgoing.view.qos, durable);
            let passage = Passage::new(self.own, publisher, reply);
            let fate = delivery.distribute(self.own, group, outgoing, passage, choice);
            replies += u32::from(fate == Fate::HandedOn && reply.is_some());
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
        outgoing.paced = reply.is_some_and(ReplyTo::is_promised);
        let expired = outgoing.view.expires.has_passed(self.delivery.now);
        let choice = self.choice(outgoing.view.topic);
        let route = self.router.route(outgoing.view.topic, self.delivery.law());
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

    pub(super) fn choice(&self, topic: TopicName<'_>) -> Choice {
        Choice::new(self.offer.shared_subscriptions, || self.placement.topic_hash(topic))
    }
}
