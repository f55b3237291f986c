//! Messages of the broker's own, below `$SYS/`.
//!
//! They are retained and routed like others, at QoS 0, so that nobody is owed them, and no record of
//! them is made: what they say is true for now and not for after the next start.

use super::Shard;
use super::share::Origin;
use crate::mail::Asks;
use crate::message::MessageView;
use crate::outgoing::Outgoing;
use noctule_mqtt::{QoS, TopicName};
use noctule_session::Now;
use std::sync::atomic::Ordering;

impl Shard {
    /// Publishes what the broker has to say of itself. A topic that is not below `$SYS/` is not
    /// published.
    pub fn publish_system(&mut self, topic: &str, payload: &[u8], now: Now) {
        self.delivery.now = now;
        let Some(topic) = TopicName::new(topic).ok().filter(|_| topic.starts_with("$SYS/")) else {
            debug_assert!(false, "not a topic of the broker's: {topic}");
            return;
        };
        let (qos, retain) = (QoS::AtMostOnce, true);
        let expires = crate::expiry::Deadline::NEVER;
        let view = MessageView { topic, properties: &[], payload, qos, retain, expires };
        let message = self.delivery.pool.own(&view);
        let part = self.placement.retained_part(topic.as_bytes(), self.commons.retained_parts());
        let (traces, placement) = (self.commons.retained_traces(), &self.placement);
        let memory = self.commons.memory();
        self.commons.change_retained(part, &mut |retained| {
            let before = retained.size();
            let (known, clears) = (retained.knows(topic.as_str()), payload.is_empty());
            if !known && !clears {
                traces.leave(placement, topic);
            }
            let sequence = self.commons.retained_sequence().fetch_add(1, Ordering::SeqCst) + 1;
            retained.set(&message, sequence);
            if known && clears {
                traces.take_back(placement, topic);
            }
            memory.retained_changed(before, retained.size());
        });
        let mut outgoing = Outgoing::of_message(&message);
        let route = self.router.route(topic, self.delivery.law());
        self.delivery.route(route, &mut outgoing, None);
        let elsewhere = &route.elsewhere;
        self.delivery.send_elsewhere(self.id, elsewhere, &mut outgoing, None, Asks::Nothing);
        if !route.groups.is_empty() {
            let origin = Origin { own: self.id, from: None, asks: Asks::Nothing };
            let chooser = (self.offer.shared_subscriptions, &self.placement);
            origin.distribute(&mut self.delivery, &route.groups, &mut outgoing, chooser);
        }
    }
}
