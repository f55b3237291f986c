//! SUBSCRIBE and UNSUBSCRIBE.
//!
//! A subscription is in the index before its SUBACK is put out, so that whatever is published after
//! the client has seen it is routed to it. Retained messages follow the SUBACK.

use super::Shard;
use crate::faults::{Fault, fault};
use crate::memory::{Pressure, subscription_bytes};
use crate::persist::Record;
use crate::retained::Cursor;
use crate::session::{Answer, Replay, Replays, Session, SessionHandle, Terms};
use crate::subscriptions::Subscriber;
use noctule_mqtt::packet::{
    RetainHandling, Suback, Subscribe, Subscription, Unsuback, Unsubscribe,
};
use noctule_mqtt::{Packet, Properties, ProtocolVersion, ReasonCode, TopicFilter, codec};
use std::sync::atomic::Ordering;

/// What follows an answer.
#[derive(Default)]
struct After {
    greet: bool,
    replays: Replays,
}

impl Shard {
    pub(super) fn on_subscribe(
        &mut self,
        session: SessionHandle,
        version: ProtocolVersion,
        subscribe: &Subscribe<'_>,
    ) {
        let identifier = subscribe.properties.subscription_identifier();
        let mut reasons = Vec::with_capacity(subscribe.subscriptions.len());
        let mut replays = Replays::new();
        let mut greet = false;
        for subscription in &subscribe.subscriptions {
            let terms = Terms { options: subscription.options, identifier, since: 0 };
            let reason = match self.subscribe(session, subscription, terms, &mut replays) {
                Ok(()) => {
                    greet |= self.asks_for_greeting(session, subscription.filter.as_str());
                    ReasonCode::granted(subscription.options.qos)
                }
                Err(reason) => reason,
            };
            reasons.push(reason);
        }
        let packet_id = subscribe.packet_id;
        let suback = Suback { packet_id, properties: Properties::EMPTY, reasons };
        let after = After { greet, replays };
        self.answer_encoded(session, version, &Packet::Suback(suback), after);
    }

    fn subscribe(
        &mut self,
        session: SessionHandle,
        subscription: &Subscription<'_>,
        mut terms: Terms,
        replays: &mut Replays,
    ) -> Result<(), ReasonCode> {
        let limits = &self.delivery.limits;
        let filter = subscription.filter;
        let text = filter.as_str();
        if text.len() > limits.topic_bytes_max
            || filter.level_count() > limits.topic_separators_max + 1
        {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        if text.starts_with("$share/") {
            return Err(ReasonCode::SharedSubscriptionsNotSupported);
        }
        let found = self.delivery.sessions.get_mut(session).ok_or(ReasonCode::UnspecifiedError)?;
        let is_new = !found.subscriptions.contains_key(text);
        if is_new && found.subscriptions.len() >= limits.subscriptions_max {
            return Err(ReasonCode::QuotaExceeded);
        }
        if is_new && self.delivery.pressure >= Pressure::NewWork {
            self.delivery.dropped.memory_subscriptions += 1;
            return Err(ReasonCode::QuotaExceeded);
        }
        if is_new {
            self.delivery.memory.sessions += subscription_bytes(text);
        }
        let durable = found.is_persistent();
        if durable {
            self.delivery.journal.push(Record::Subscribed {
                key: found.key,
                filter: text.into(),
                options: terms.options,
                identifier: terms.identifier,
            });
        }
        let early = fault(Fault::RetainedReadEarly)
            .then(|| self.commons.retained_sequence().load(Ordering::SeqCst));
        let old = found.subscriptions.get(text).copied();
        // A subscription that is replaced goes on: what is on its way is still owed.
        terms.since = old.map_or(0, |old| old.since);
        let subscriber = terms.subscriber(session, durable);
        let up_to = match old {
            None => {
                let since = self.router.subscribe_newly(filter, subscriber);
                terms.since = since;
                since
            }
            Some(_) => {
                self.router.subscribe(filter, subscriber);
                // Read after the subscription is in: what is set later is routed to it.
                self.commons.retained_sequence().load(Ordering::SeqCst)
            }
        };
        let up_to = early.unwrap_or(up_to);
        if let Some(found) = self.delivery.sessions.get_mut(session) {
            found.subscriptions.insert(text.into(), terms);
        }
        let options = terms.options;
        let wants_retained = match options.retain_handling {
            RetainHandling::Always => true,
            RetainHandling::IfNew => is_new,
            RetainHandling::Never => false,
        };
        if wants_retained {
            let part = self.first_retained_part(filter);
            replays.insert(text.into(), Replay { terms, up_to, part, cursor: Cursor::Start });
        }
        Ok(())
    }

    /// A subscription that was stored is made again.
    pub(crate) fn resubscribe(
        &mut self,
        session: SessionHandle,
        filter: TopicFilter<'_>,
        terms: Terms,
    ) {
        self.router.subscribe(filter, terms.subscriber(session, true));
        self.delivery.memory.sessions += subscription_bytes(filter.as_str());
        if let Some(found) = self.delivery.sessions.get_mut(session) {
            found.subscriptions.insert(filter.as_str().into(), terms);
        }
    }

    /// The session became persistent, or is not any more: whoever routes to it has to know.
    pub(super) fn renew_subscriptions(&mut self, session: SessionHandle) {
        let Some(found) = self.delivery.sessions.get(session) else {
            return;
        };
        let durable = found.is_persistent();
        for (filter, terms) in &found.subscriptions {
            if let Ok(filter) = TopicFilter::new(filter) {
                self.router.subscribe(filter, terms.subscriber(session, durable));
            }
        }
    }

    pub(super) fn on_unsubscribe(
        &mut self,
        session: SessionHandle,
        version: ProtocolVersion,
        unsubscribe: &Unsubscribe<'_>,
    ) {
        let reasons =
            unsubscribe.filters.iter().map(|filter| self.unsubscribe(session, *filter)).collect();
        let packet_id = unsubscribe.packet_id;
        let unsuback = Unsuback { packet_id, properties: Properties::EMPTY, reasons };
        self.answer_encoded(session, version, &Packet::Unsuback(unsuback), After::default());
    }

    /// Filters are compared character by character `[MQTT3-3.10.4-1]` `[MQTT5-3.10.4-1]`.
    fn unsubscribe(&mut self, session: SessionHandle, filter: TopicFilter<'_>) -> ReasonCode {
        let Some(found) = self.delivery.sessions.get_mut(session) else {
            return ReasonCode::UnspecifiedError;
        };
        if found.subscriptions.remove(filter.as_str()).is_none() {
            return ReasonCode::NoSubscriptionExisted;
        }
        found.replays.remove(filter.as_str());
        self.delivery.memory.sessions -= subscription_bytes(filter.as_str());
        if found.is_persistent() {
            let (key, filter) = (found.key, filter.as_str().into());
            self.delivery.journal.push(Record::Unsubscribed { key, filter });
        }
        self.router.unsubscribe(filter, session);
        ReasonCode::Success
    }

    /// SUBACK and UNSUBACK of a persistent session wait for the store.
    fn answer_encoded(
        &mut self,
        session: SessionHandle,
        version: ProtocolVersion,
        packet: &Packet<'_>,
        after: After,
    ) {
        let After { greet, replays } = after;
        let mut bytes = Vec::new();
        let encoded = codec::encode(packet, version, &mut bytes);
        debug_assert!(encoded.is_ok(), "an answer has as many entries as its request");
        let persistent = self.delivery.sessions.get(session).is_some_and(Session::is_persistent);
        let ticket = persistent
            .then(|| self.delivery.journal.ticket())
            .filter(|_| !self.delivery.journal.is_empty());
        if fault(Fault::ReplayOvertakesSuback)
            && let Some(found) = self.delivery.sessions.get_mut(session)
        {
            found.replays.extend(replays.clone());
            self.delivery.replay(session);
        }
        let answer = Answer::Encoded { bytes: bytes.into(), greet, replays };
        self.delivery.answer(session, answer, ticket);
    }
}

impl Terms {
    fn subscriber(self, session: SessionHandle, durable: bool) -> Subscriber {
        let Self { options, identifier, since } = self;
        Subscriber { session, options, identifier, durable, since }
    }
}
