//! SUBSCRIBE and UNSUBSCRIBE.
//!
//! A subscription is in the index before its SUBACK is put out, so that whatever is published after
//! the client has seen it is routed to it. Retained messages follow the SUBACK.

use super::Shard;
use super::input::Sender;
use crate::connection::Cause;
use crate::delivery::{explained, explanation};
use crate::faults::{Fault, fault};
use crate::memory::{Pressure, subscription_bytes};
use crate::offer::Sharing;
use crate::persist::Record;
use crate::replay::{Replay, ReplayNumber};
use crate::session::{Answer, Session, SessionHandle, Terms};
use crate::subscriptions::Subscriber;
use noctule_mqtt::packet::{
    RetainHandling, Suback, Subscribe, Subscription, Unsuback, Unsubscribe,
};
use noctule_mqtt::{Packet, Properties, ReasonCode, TopicFilter};
use std::num::NonZeroU32;
use std::sync::atomic::Ordering;

/// What follows an answer.
#[derive(Clone, Copy, Default)]
struct After {
    greet: bool,
    opens: Option<ReplayNumber>,
}

impl Shard {
    /// SUBSCRIBE came: one filter after another, and one SUBACK for all of them `[MQTT3-3.8.4-1]`
    /// `[MQTT3-3.8.4-4]` `[MQTT5-3.8.4-1]` `[MQTT5-3.8.4-5]`, with a reason for each in their order
    /// `[MQTT3-3.8.4-5]` `[MQTT3-3.9.3-1]` `[MQTT5-3.8.4-6]` `[MQTT5-3.9.3-1]`.
    pub(super) fn on_subscribe(&mut self, sender: &Sender, subscribe: &Subscribe<'_>) {
        let session = sender.session;
        // Zero is no identifier.
        let identifier = subscribe.properties.subscription_identifier().and_then(NonZeroU32::new);
        let mut reasons = Vec::with_capacity(subscribe.subscriptions.len());
        let mut opens = None;
        let mut greet = false;
        for subscription in &subscribe.subscriptions {
            let mut options = subscription.options;
            // [MQTT5-3.2.2-10] [MQTT5-3.8.4-7]: granted as far as it is offered.
            options.qos = options.qos.min(self.offer.qos_max);
            let terms = Terms { options, identifier, since: 0 };
            let reason = match self.subscribe(session, subscription, terms, &mut opens) {
                Ok(()) => {
                    greet |= self.asks_for_greeting(session, subscription.filter.as_str());
                    ReasonCode::granted(terms.options.qos)
                }
                Err(reason) => reason,
            };
            reasons.push(reason);
        }
        // [MQTT3-2.3.1-7] [MQTT3-3.8.4-2] [MQTT5-2.2.1-6] [MQTT5-3.8.4-2]
        let packet_id = subscribe.packet_id;
        let why = reasons.iter().find(|reason| reason.is_error()).map_or("", |r| explanation(*r));
        self.answer_encoded(sender, why, After { greet, opens }, |properties| {
            Packet::Suback(Suback { packet_id, properties, reasons: reasons.clone() })
        });
    }

    fn subscribe(
        &mut self,
        session: SessionHandle,
        subscription: &Subscription<'_>,
        mut terms: Terms,
        opens: &mut Option<ReplayNumber>,
    ) -> Result<(), ReasonCode> {
        let limits = &self.delivery.limits;
        let filter = subscription.filter;
        let text = filter.as_str();
        // Levels are counted only where there are bytes for so many.
        if text.len() > limits.topic_bytes_max
            || text.len() > limits.topic_separators_max
                && filter.level_count() > limits.topic_separators_max + 1
        {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        // MQTT 5 has been told that a shared filter is not well-formed; the others have no such rule.
        let shared = filter.shared().map_err(|_| ReasonCode::TopicFilterInvalid)?;
        if shared.is_some() && self.offer.shared_subscriptions == Sharing::No {
            return Err(ReasonCode::SharedSubscriptionsNotSupported);
        }
        // [MQTT3-3.8.3-2]
        if filter.has_wildcard() && !self.offer.wildcard_subscriptions {
            return Err(ReasonCode::WildcardSubscriptionsNotSupported);
        }
        if terms.identifier.is_some() && !self.offer.subscription_identifiers {
            return Err(ReasonCode::SubscriptionIdentifiersNotSupported);
        }
        if self.delivery.authority.in_force && !self.may_subscribe(session, filter) {
            return Err(ReasonCode::NotAuthorized);
        }
        let limits = &self.delivery.limits;
        let found = self.delivery.sessions.get_mut(session).ok_or(ReasonCode::UnspecifiedError)?;
        found.forget_suspended(text);
        // Whether it is a new one is asked beforehand only where no new one is taken.
        let is_full = found.subscriptions.len() >= limits.subscriptions_max;
        let lacks_memory = self.delivery.pressure >= Pressure::NewWork;
        if (is_full || lacks_memory) && found.subscriptions.get(text).is_none() {
            self.delivery.dropped.memory_subscriptions += u64::from(!is_full);
            return Err(ReasonCode::QuotaExceeded);
        }
        let durable = found.is_persistent();
        // [MQTT3-3.8.4-3] [MQTT5-3.8.4-3]: in the place of the one that was there, in the index as well.
        let (noted, old) = found.subscriptions.insert(text, terms, self.placement.hasher());
        let is_new = old.is_none();
        if is_new {
            self.delivery.memory.sessions += subscription_bytes(text);
        }
        let early = fault(Fault::RetainedReadEarly)
            .then(|| self.commons.retained_sequence().load(Ordering::SeqCst));
        // A subscription that is replaced goes on: what is on its way is still owed [MQTT3-3.8.4-3]
        // [MQTT5-3.8.4-4].
        terms.since = old.map_or(0, |old| old.since);
        noted.since = terms.since;
        let beginning = self.placement.beginning(filter);
        let up_to = match (old, shared) {
            (None, None) => {
                let subscriber = terms.subscriber(session, durable);
                let since = self.router.subscribe_newly(filter, beginning, subscriber);
                (terms.since, noted.since) = (since, since);
                since
            }
            (Some(_), _) | (None, Some(_)) => {
                self.put_subscription(text, terms.subscriber(session, durable));
                // Read after the subscription is in: what is set later is routed to it.
                self.commons.retained_sequence().load(Ordering::SeqCst)
            }
        };
        let up_to = early.unwrap_or(up_to);
        let options = terms.options;
        let wants_retained = match options.retain_handling {
            // Section 4.8.2: retained messages are not for groups.
            _ if shared.is_some() => false,
            // [MQTT3-3.3.1-6] [MQTT3-3.8.4-3] [MQTT5-3.3.1-9] [MQTT5-3.8.4-4]
            RetainHandling::Always => true,
            // [MQTT5-3.3.1-10]
            RetainHandling::IfNew => is_new,
            // [MQTT5-3.3.1-11]
            RetainHandling::Never => false,
        };
        // Asked for after the count was read, see [`RetainedTraces`](crate::RetainedTraces).
        let wants_retained = wants_retained && self.commons.retained_traces().lead_to(beginning);
        let replay = wants_retained.then(|| {
            let is_stored = durable && self.has_retained_for(filter, up_to);
            let number = self.delivery.number_replay();
            *opens = Some(number);
            Replay::new(number, up_to, self.first_retained_part(filter), is_stored)
        });
        if (durable || replay.is_some())
            && let Some(found) = self.delivery.sessions.get_mut(session)
        {
            if let Some(replay) = replay {
                found.replays.await_suback(text, replay);
            }
            if durable {
                self.delivery.journal.push(found.subscribed(text, terms));
            }
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
        self.put_subscription(filter.as_str(), terms.subscriber(session, true));
        self.delivery.memory.sessions += subscription_bytes(filter.as_str());
        if let Some(found) = self.delivery.sessions.get_mut(session) {
            found.subscriptions.insert(filter.as_str(), terms, self.placement.hasher());
        }
    }

    /// The session became persistent, or is not any more: whoever routes to it has to know.
    pub(super) fn renew_subscriptions(&mut self, session: SessionHandle) {
        let Some(found) = self.delivery.sessions.get(session) else {
            return;
        };
        let durable = found.is_persistent();
        let leading = found.subscriptions.iter().filter(|(filter, _)| !found.is_suspended(filter));
        let all: Vec<_> = leading.map(|(filter, terms)| (filter.clone(), terms)).collect();
        for (filter, terms) in all {
            self.put_subscription(&filter, terms.subscriber(session, durable));
        }
    }

    /// A subscription that is there leads somewhere again.
    pub(super) fn resume_subscription(&mut self, session: SessionHandle, filter: &str) {
        let Some(found) = self.delivery.sessions.get(session) else {
            return;
        };
        if let Some(terms) = found.subscriptions.get(filter) {
            let durable = found.is_persistent();
            self.put_subscription(filter, terms.subscriber(session, durable));
        }
    }

    /// Has a subscription found, or found on other terms.
    fn put_subscription(&mut self, filter: &str, subscriber: Subscriber) {
        match TopicFilter::new(filter).and_then(|parsed| Ok((parsed, parsed.shared()?))) {
            Ok((_, Some(shared))) => self.router.join(shared, filter, subscriber),
            Ok((plain, None)) => self.router.subscribe(plain, subscriber),
            // It was checked when it was subscribed to.
            Err(_) => {}
        }
    }

    /// Has a subscription not found any more.
    pub(super) fn drop_subscription(&mut self, filter: &str, session: SessionHandle) {
        match TopicFilter::new(filter).and_then(|parsed| Ok((parsed, parsed.shared()?))) {
            Ok((_, Some(shared))) => self.router.leave(shared, filter, session),
            Ok((plain, None)) => self.router.unsubscribe(plain, session),
            Err(_) => {}
        }
    }

    /// UNSUBSCRIBE came: one filter after another, and one UNSUBACK for all of them, also if there was
    /// none to end `[MQTT3-3.10.4-4]` `[MQTT3-3.10.4-5]` `[MQTT3-3.10.4-6]` `[MQTT5-3.10.4-4]`
    /// `[MQTT5-3.10.4-5]` `[MQTT5-3.10.4-6]`, with a reason for each in their order `[MQTT5-3.11.3-1]`.
    pub(super) fn on_unsubscribe(&mut self, sender: &Sender, unsubscribe: &Unsubscribe<'_>) {
        let session = sender.session;
        let reasons: Vec<_> =
            unsubscribe.filters.iter().map(|filter| self.unsubscribe(session, *filter)).collect();
        // [MQTT3-2.3.1-7] [MQTT3-3.10.4-4] [MQTT5-2.2.1-6] [MQTT5-3.10.4-5]
        let packet_id = unsubscribe.packet_id;
        self.answer_encoded(sender, "", After::default(), |properties| {
            Packet::Unsuback(Unsuback { packet_id, properties, reasons: reasons.clone() })
        });
    }

    /// Filters are compared character by character `[MQTT3-3.10.4-1]` `[MQTT5-3.10.4-1]`.
    fn unsubscribe(&mut self, session: SessionHandle, filter: TopicFilter<'_>) -> ReasonCode {
        let Some(found) = self.delivery.sessions.get_mut(session) else {
            return ReasonCode::UnspecifiedError;
        };
        if !found.subscriptions.remove(filter.as_str()) {
            return ReasonCode::NoSubscriptionExisted;
        }
        found.replays.remove(filter.as_str());
        found.forget_suspended(filter.as_str());
        self.delivery.memory.sessions -= subscription_bytes(filter.as_str());
        if found.is_persistent() {
            let (key, filter) = (found.key, filter.as_str().into());
            self.delivery.journal.push(Record::Unsubscribed { key, filter });
        }
        // Nothing new is for it from here on [MQTT3-3.10.4-2] [MQTT5-3.10.4-2]; what is queued or in
        // flight stays, and is delivered [MQTT3-3.10.4-3] [MQTT5-3.10.4-3].
        self.drop_subscription(filter.as_str(), session);
        ReasonCode::Success
    }

    /// SUBACK and UNSUBACK of a persistent session wait for the store.
    fn answer_encoded(
        &mut self,
        sender: &Sender,
        why: &str,
        after: After,
        packet: impl for<'r> Fn(Properties<'r>) -> Packet<'r>,
    ) {
        let After { greet, opens } = after;
        let Sender { connection: handle, session, now, .. } = *sender;
        let Some(connection) = self.delivery.connections.get(handle) else {
            return;
        };
        let (bytes, limit) = (explained(connection, why, packet), connection.packet_bytes_max);
        if !connection.accepts(bytes.len()) {
            // [MQTT5-3.1.2-24]: what it waits for cannot be sent.
            return self.close(handle, Cause::AnswerTooLarge { bytes: bytes.len(), limit }, now);
        }
        let persistent = self.delivery.sessions.get(session).is_some_and(Session::is_persistent);
        let ticket = persistent
            .then(|| self.delivery.journal.ticket())
            .filter(|_| !self.delivery.journal.is_empty());
        if fault(Fault::ReplayOvertakesSuback)
            && let Some(found) = self.delivery.sessions.get_mut(session)
        {
            found.replays.open_all();
            self.delivery.replay(session);
        }
        let answer = Answer::Encoded { bytes: bytes.into(), greet, opens };
        self.delivery.answer(session, answer, ticket);
    }
}

impl Terms {
    fn subscriber(self, session: SessionHandle, durable: bool) -> Subscriber {
        Subscriber::new(session, self.options, self.identifier, durable, self.since)
    }
}
