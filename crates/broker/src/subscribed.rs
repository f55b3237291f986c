//! What a session has subscribed to.

use crate::memory::subscription_bytes;
use crate::session::Terms;
use compact_str::CompactString;
use foldhash::quality::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::hash::BuildHasher;

/// Subscriptions by their filter, and what they take of memory. Some clients only publish, so they are behind
/// a pointer, which is there as long as there is a subscription.
#[derive(Debug, Default)]
pub(crate) struct Subscribed(Option<Box<All>>);

#[derive(Debug)]
struct All {
    /// Decides where filters are found: by a secret of this process, or clients could choose colliding ones.
    hasher: FixedState,
    /// Where in the list each filter is.
    places: HashTable<u32>,
    /// A filter of up to 24 bytes lies in the list itself.
    list: Vec<(CompactString, Terms)>,
    bytes: usize,
}

/// Room for eight times so many is never too much.
const ROOM_KEPT: usize = 8;

impl Subscribed {
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |all| all.list.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What they take of memory, as it is counted.
    pub(crate) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |all| all.bytes)
    }

    pub(crate) fn get(&self, filter: &str) -> Option<Terms> {
        let All { hasher, places, list, .. } = self.0.as_deref()?;
        let place = places.find(hasher.hash_one(filter), |place| is_at(list, *place, filter))?;
        list.get(*place as usize).map(|(_, terms)| *terms)
    }

    /// Adds one, or puts other terms in the place of those that were there. Returns where they are noted
    /// now, and those that were there. All of a session are added with the same hasher.
    pub(crate) fn insert(
        &mut self,
        filter: &str,
        terms: Terms,
        hasher: &FixedState,
    ) -> (&mut Terms, Option<Terms>) {
        let All { hasher, places, list, bytes } =
            &mut **self.0.get_or_insert_with(|| Box::new(All::new(hasher.clone())));
        let is_it = |place: &u32| is_at(list, *place, filter);
        let hash_of = |place: &u32| hasher.hash_one(list[*place as usize].0.as_str());
        match places.entry(hasher.hash_one(filter), is_it, hash_of) {
            Entry::Vacant(entry) => {
                entry.insert(list.len() as u32);
                *bytes += subscription_bytes(filter);
                let (_, noted) = list.push_mut((filter.into(), terms));
                (noted, None)
            }
            Entry::Occupied(entry) => {
                let (_, noted) = &mut list[*entry.get() as usize];
                let old = std::mem::replace(noted, terms);
                (noted, Some(old))
            }
        }
    }

    /// Returns whether it was there.
    pub(crate) fn remove(&mut self, filter: &str) -> bool {
        let was_there = self.0.as_mut().is_some_and(|all| all.remove(filter));
        if self.is_empty() {
            self.0 = None;
        }
        was_there
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&CompactString, Terms)> {
        self.0.iter().flat_map(|all| &all.list).map(|(filter, terms)| (filter, *terms))
    }

    pub(crate) fn filters(&self) -> impl Iterator<Item = &CompactString> {
        self.iter().map(|(filter, _)| filter)
    }

    /// Takes all of them out.
    pub(crate) fn take(&mut self) -> Vec<(CompactString, Terms)> {
        self.0.take().map(|all| all.list).unwrap_or_default()
    }
}

impl All {
    fn new(hasher: FixedState) -> Self {
        Self { hasher, places: HashTable::new(), list: Vec::new(), bytes: 0 }
    }

    /// The last of the list takes the place of the one that goes. Tables that were made for many more
    /// become smaller.
    fn remove(&mut self, filter: &str) -> bool {
        let Self { hasher, places, list, bytes } = self;
        let is_it = |place: &u32| is_at(list, *place, filter);
        let Ok(entry) = places.find_entry(hasher.hash_one(filter), is_it) else {
            return false;
        };
        let (place, _) = entry.remove();
        *bytes -= subscription_bytes(filter);
        list.swap_remove(place as usize);
        if let Some((moved, _)) = list.get(place as usize) {
            let last = list.len() as u32;
            let moved = places.find_mut(hasher.hash_one(moved.as_str()), |at| *at == last);
            moved.into_iter().for_each(|at| *at = place);
        }
        if list.capacity() > 8 * list.len().max(ROOM_KEPT) {
            list.shrink_to(2 * list.len());
            let hash_of = |place: &u32| hasher.hash_one(list[*place as usize].0.as_str());
            places.shrink_to(2 * list.len(), hash_of);
        }
        true
    }
}

fn is_at(list: &[(CompactString, Terms)], place: u32, filter: &str) -> bool {
    list.get(place as usize).is_some_and(|(other, _)| *other == *filter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_mqtt::QoS;
    use noctule_mqtt::packet::SubscriptionOptions;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn terms(since: u64) -> Terms {
        let options = SubscriptionOptions::qos(QoS::AtMostOnce);
        Terms { options, identifier: None, since }
    }

    fn hasher() -> FixedState {
        FixedState::with_seed(7)
    }

    #[test]
    fn each_filter_is_there_and_counted_once() {
        let mut all = Subscribed::default();
        assert!(all.is_empty() && !all.remove("a") && all.get("a").is_none());
        assert_eq!(all.insert("a", terms(1), &hasher()).1, None);
        assert_eq!(all.insert("a", terms(2), &hasher()), (&mut terms(2), Some(terms(1))));
        *all.insert("b/c", terms(5), &hasher()).0 = terms(4);
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

    #[test]
    fn room_that_was_needed_once_is_given_back() {
        let mut all = Subscribed::default();
        let filters: Vec<_> = (0..10_000).map(|number| format!("plant/{number}/+")).collect();
        for filter in &filters {
            all.insert(filter, terms(0), &hasher());
        }
        filters[5..].iter().for_each(|filter| assert!(all.remove(filter)));
        let room =
            all.0.as_ref().map_or((0, 0), |all| (all.list.capacity(), all.places.capacity()));
        assert!(room.0 <= 8 * ROOM_KEPT && room.1 <= 16 * ROOM_KEPT, "{room:?}");
        filters[..5].iter().for_each(|filter| assert_eq!(all.get(filter), Some(terms(0))));
    }

    proptest! {
        /// Few filters, so that they are often replaced and taken out.
        #[test]
        fn filters_are_found_until_they_are_removed(
            steps in prop::collection::vec(("[ab]{1,5}", any::<bool>()), 1..300),
        ) {
            let (mut all, mut model) = (Subscribed::default(), BTreeMap::new());
            for (number, (filter, insert)) in (0..).zip(&steps) {
                if *insert {
                    let (noted, old) = all.insert(filter, terms(number), &hasher());
                    prop_assert_eq!(*noted, terms(number));
                    prop_assert_eq!(old, model.insert(filter.as_str(), terms(number)));
                } else {
                    prop_assert_eq!(all.remove(filter), model.remove(filter.as_str()).is_some());
                }
                prop_assert_eq!(all.len(), model.len());
                prop_assert_eq!(all.get(filter), model.get(filter.as_str()).copied());
            }
            let bytes = model.keys().map(|filter| subscription_bytes(filter)).sum::<usize>();
            prop_assert_eq!(all.bytes(), bytes);
            let left: BTreeMap<_, _> = all.iter().map(|(one, terms)| (one.as_str(), terms)).collect();
            prop_assert_eq!(left, model);
        }
    }
}
