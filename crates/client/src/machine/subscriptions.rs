//! Which filters this client is subscribed to, and where their messages go.

use std::collections::{BTreeMap, HashMap};

use noctule_mqtt::{Properties, TopicFilter, TopicName};

use super::ReceiverId;
use crate::subscribe::Wanted;

/// A subscription, asked for or granted.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) wanted: Wanted,
    /// The identifier by which its messages are known, if it has one.
    pub(super) identifier: Option<u32>,
    receivers: Vec<ReceiverId>,
    /// Whether its messages go to whoever gets the rest.
    to_rest: bool,
    /// Whether a broker has granted it, in this session or one that was lost.
    pub(super) granted: bool,
}

/// All subscriptions by filter.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    held: BTreeMap<String, Held>,
    by_identifier: HashMap<u32, Vec<String>>,
    last_identifier: u32,
    /// Where messages go that no subscription explains.
    rest: Vec<ReceiverId>,
}

impl Subscriptions {
    /// A wish for messages. A second one for the same filter replaces the terms, as it does at the
    /// broker `[MQTT5-3.8.4-3]`, and both get the messages.
    pub(super) fn add(&mut self, wanted: Wanted, receiver: Option<ReceiverId>) {
        let filter = wanted.filter.clone();
        let identifier = Properties::from_checked(&wanted.properties).subscription_identifier();
        self.forget_identifier(&filter);
        let held = self.held.entry(filter.clone()).or_insert_with(|| Held {
            wanted: wanted.clone(),
            identifier: None,
            receivers: Vec::new(),
            to_rest: false,
            granted: false,
        });
        held.wanted = wanted;
        held.to_rest |= receiver.is_none();
        held.receivers.extend(receiver);
        held.identifier = identifier;
        if let Some(identifier) = identifier {
            self.by_identifier.entry(identifier).or_default().push(filter);
        }
    }

    /// Also gets what no subscription explains.
    pub(super) fn add_rest(&mut self, receiver: ReceiverId) {
        self.rest.push(receiver);
    }

    pub(super) fn get(&self, filter: &str) -> Option<&Held> {
        self.held.get(filter)
    }

    /// Gives the subscription an identifier, if it has none, and returns it.
    pub(super) fn identify(&mut self, filter: &str) -> Option<u32> {
        let held = self.held.get_mut(filter)?;
        if held.identifier.is_none() {
            self.last_identifier = self.last_identifier % IDENTIFIER_MAX + 1;
            held.identifier = Some(self.last_identifier);
            self.by_identifier.entry(self.last_identifier).or_default().push(filter.to_owned());
        }
        held.identifier
    }

    pub(super) fn mark_granted(&mut self, filter: &str) {
        if let Some(held) = self.held.get_mut(filter) {
            held.granted = true;
        }
    }

    /// Ends a subscription; its receivers.
    pub(super) fn remove(&mut self, filter: &str) -> Vec<ReceiverId> {
        self.forget_identifier(filter);
        self.held.remove(filter).map(|held| held.receivers).unwrap_or_default()
    }

    /// A receiver has gone.
    pub(super) fn remove_receiver(&mut self, gone: ReceiverId) {
        self.rest.retain(|receiver| *receiver != gone);
        for held in self.held.values_mut() {
            held.receivers.retain(|receiver| *receiver != gone);
        }
    }

    /// The filters that were granted, last first.
    pub(super) fn granted(&self) -> impl Iterator<Item = &str> {
        self.held.iter().rev().filter(|(_, held)| held.granted).map(|(filter, _)| filter.as_str())
    }

    /// Where a message goes: by its subscription identifiers if they are ours, else wherever its
    /// topic matches, and if no subscription explains it, to whoever wants the rest.
    pub(super) fn route(
        &self,
        topic: TopicName<'_>,
        properties: Properties<'_>,
    ) -> Vec<ReceiverId> {
        let identifiers = properties.subscription_identifiers();
        let filters = identifiers.filter_map(|identifier| self.by_identifier.get(&identifier));
        let mut meant: Vec<_> =
            filters.flatten().filter_map(|filter| self.held.get(filter)).collect();
        if meant.is_empty() {
            let matching = self.held.iter().filter(|(filter, _)| matches(filter, topic));
            meant = matching.map(|(_, held)| held).collect();
        }
        let mut to: Vec<_> = meant.iter().flat_map(|held| &held.receivers).copied().collect();
        if meant.is_empty() || meant.iter().any(|held| held.to_rest) {
            to.extend(&self.rest);
        }
        to
    }

    fn forget_identifier(&mut self, filter: &str) {
        let identifier = self.held.get_mut(filter).and_then(|held| held.identifier.take());
        let Some(identifier) = identifier else { return };
        if let Some(filters) = self.by_identifier.get_mut(&identifier) {
            filters.retain(|known| known != filter);
            if filters.is_empty() {
                self.by_identifier.remove(&identifier);
            }
        }
    }
}

/// Whether a message on `topic` may be for a subscription to `filter`, which may be shared.
fn matches(filter: &str, topic: TopicName<'_>) -> bool {
    let Ok(filter) = TopicFilter::new(filter) else { return false };
    match filter.shared() {
        Ok(Some(shared)) => shared.filter.matches(topic),
        _ => filter.matches(topic),
    }
}

/// The largest subscription identifier (section 3.8.2.1.2).
const IDENTIFIER_MAX: u32 = 268_435_455;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscribe::Subscribe;
    use noctule_mqtt::property::Carrier;
    use noctule_mqtt::{PacketType, Property, PropertyBuffer};

    fn with(filters: &[&str]) -> Subscriptions {
        let mut all = Subscriptions::default();
        for (number, filter) in (1..).zip(filters) {
            all.add(Subscribe::new(*filter).check().unwrap(), Some(ReceiverId(number)));
        }
        all
    }

    fn route(all: &Subscriptions, topic: &str, identifiers: &[u32]) -> Vec<u64> {
        let mut properties = PropertyBuffer::new(Carrier::Packet(PacketType::Publish));
        for identifier in identifiers {
            properties.push(Property::SubscriptionIdentifier(*identifier)).unwrap();
        }
        let topic = TopicName::new(topic).unwrap();
        all.route(topic, properties.as_properties()).iter().map(|receiver| receiver.0).collect()
    }

    #[test]
    fn without_identifiers_the_topic_decides() {
        let all = with(&["a/#", "a/b", "$share/g/a/+", "c"]);
        assert_eq!(route(&all, "a/b", &[]), [3, 1, 2]);
        assert_eq!(route(&all, "c", &[]), [4]);
        assert!(route(&all, "d", &[]).is_empty());
    }

    #[test]
    fn with_identifiers_only_the_subscriptions_meant_get_the_message() {
        let mut all = with(&["a/#", "a/b"]);
        let (one, two) = (all.identify("a/#").unwrap(), all.identify("a/b").unwrap());
        assert_eq!(all.identify("a/b"), Some(two));
        assert_eq!(route(&all, "a/b", &[two]), [2]);
        assert_eq!(route(&all, "a/b", &[one, two]), [1, 2]);
        assert_eq!(route(&all, "a/b", &[999]), [1, 2], "of an earlier session: by topic");
        all.remove("a/b");
        assert_eq!(route(&all, "a/b", &[two]), [1]);
    }

    #[test]
    fn a_second_receiver_of_a_filter_joins_the_first_and_one_that_goes_is_forgotten() {
        let mut all = with(&["a", "a"]);
        all.add_rest(ReceiverId(9));
        assert_eq!(route(&all, "a", &[]), [1, 2]);
        all.remove_receiver(ReceiverId(1));
        assert_eq!(route(&all, "a", &[]), [2]);
        all.add(Subscribe::new("gone").check().unwrap(), Some(ReceiverId(3)));
        all.remove_receiver(ReceiverId(3));
        assert!(route(&all, "gone", &[]).is_empty(), "discarded, and not the rest");
        assert_eq!(route(&all, "b", &[]), [9]);
        all.add(Subscribe::new("b").check().unwrap(), None);
        assert_eq!(route(&all, "b", &[]), [9]);
        assert_eq!(all.remove("a"), [ReceiverId(2)]);
    }
}
