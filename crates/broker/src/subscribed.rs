//! What a session has subscribed to.

use crate::memory::subscription_bytes;
use crate::session::Terms;
use compact_str::CompactString;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Subscriptions by their filter, and what they take of memory. Some clients only publish, so they are behind
/// a pointer, which is there as long as there is a subscription.
#[derive(Debug, Default)]
pub(crate) struct Subscribed(Option<Box<All>>);

#[derive(Debug, Default)]
struct All {
    /// A filter of up to 24 bytes lies in the tree itself, so that the way down to it leads along no others.
    terms: BTreeMap<CompactString, Terms>,
    bytes: usize,
}

impl Subscribed {
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |all| all.terms.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What they take of memory, as it is counted.
    pub(crate) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |all| all.bytes)
    }

    pub(crate) fn get(&self, filter: &str) -> Option<Terms> {
        self.0.as_ref()?.terms.get(filter).copied()
    }

    /// Adds one, or puts other terms in the place of those that were there. Returns where they are noted
    /// now, and those that were there.
    pub(crate) fn insert(&mut self, filter: &str, terms: Terms) -> (&mut Terms, Option<Terms>) {
        let all = self.0.get_or_insert_default();
        match all.terms.entry(filter.into()) {
            Entry::Vacant(place) => {
                all.bytes += subscription_bytes(filter);
                (place.insert(terms), None)
            }
            Entry::Occupied(place) => {
                let noted = place.into_mut();
                let old = std::mem::replace(noted, terms);
                (noted, Some(old))
            }
        }
    }

    /// Returns whether it was there.
    pub(crate) fn remove(&mut self, filter: &str) -> bool {
        let Some(all) = self.0.as_mut().filter(|all| all.terms.contains_key(filter)) else {
            return false;
        };
        all.terms.remove(filter);
        all.bytes -= subscription_bytes(filter);
        if all.terms.is_empty() {
            self.0 = None;
        }
        true
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&CompactString, Terms)> {
        self.0.iter().flat_map(|all| &all.terms).map(|(filter, terms)| (filter, *terms))
    }

    pub(crate) fn filters(&self) -> impl Iterator<Item = &CompactString> {
        self.iter().map(|(filter, _)| filter)
    }

    /// Takes all of them out.
    pub(crate) fn take(&mut self) -> BTreeMap<CompactString, Terms> {
        self.0.take().map(|all| all.terms).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_mqtt::QoS;
    use noctule_mqtt::packet::SubscriptionOptions;

    fn terms(since: u64) -> Terms {
        let options = SubscriptionOptions::qos(QoS::AtMostOnce);
        Terms { options, identifier: None, since }
    }

    #[test]
    fn each_filter_is_there_and_counted_once() {
        let mut all = Subscribed::default();
        assert!(all.is_empty() && !all.remove("a") && all.get("a").is_none());
        assert_eq!(all.insert("a", terms(1)).1, None);
        assert_eq!(all.insert("a", terms(2)), (&mut terms(2), Some(terms(1))));
        *all.insert("b/c", terms(5)).0 = terms(4);
        assert_eq!(all.get("b/c"), Some(terms(4)));
        assert_eq!(all.get("a"), Some(terms(2)));
        assert_eq!(
            (all.len(), all.bytes()),
            (2, subscription_bytes("a") + subscription_bytes("b/c"))
        );
        assert!(all.remove("a") && !all.remove("a"));
        assert_eq!(all.filters().map(CompactString::as_str).collect::<Vec<_>>(), ["b/c"]);
        assert!(all.remove("b/c"));
        assert!(all.0.is_none(), "it takes no room");
    }
}
