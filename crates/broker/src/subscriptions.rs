//! The subscription index: which sessions want a topic.
//!
//! Filters without wildcards lie in a hash map. The others form a tree whose edges are one hash
//! table `(node, level) → node`, so that a node costs no map of its own. Matching walks the tree
//! with an explicit stack; its depth is the topic's and nothing recurses.

use crate::session::SessionHandle;
use foldhash::quality::FixedState;
use hashbrown::{HashMap, HashTable};
use indexmap::IndexMap;
use noctule_mqtt::packet::SubscriptionOptions;
use noctule_mqtt::topic::LEVEL_SEPARATOR;
use noctule_mqtt::{TopicFilter, TopicName};
use smallvec::SmallVec;
use std::hash::BuildHasher;

/// What an index lists under its filters: at most one of each key per filter.
pub(crate) trait Listed: Copy + std::fmt::Debug {
    /// Whose entry it is.
    type Key: Copy + Eq + std::hash::Hash + std::fmt::Debug;

    fn key(&self) -> Self::Key;

    /// Whether whatever matches is owed across a crash.
    fn is_durable(&self) -> bool;
}

/// Who is listed under a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Nobody,
    Somebody,
    /// And among them one to whom things are owed across a crash.
    SomebodyDurable,
}

/// What an insertion or removal did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// An insertion was of a new key; a removal found one.
    pub(crate) happened: bool,
    pub(crate) before: Presence,
    pub(crate) after: Presence,
}

/// One session's subscription to one filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subscriber {
    pub(crate) session: SessionHandle,
    pub(crate) options: SubscriptionOptions,
    /// The subscription identifier, if there is one.
    pub(crate) identifier: Option<u32>,
    /// Whether the session is persistent.
    pub(crate) durable: bool,
    /// The number of the last retained message that was set when the subscription was made. What
    /// another shard sent of those comes too late for it.
    pub(crate) since: u64,
}

impl Listed for Subscriber {
    type Key = SessionHandle;

    fn key(&self) -> SessionHandle {
        self.session
    }

    fn is_durable(&self) -> bool {
        self.durable
    }
}

/// The filters of a shard's sessions.
pub(crate) type SubscriptionIndex = FilterIndex<Subscriber>;

/// Filters, and who is listed under each.
#[derive(Debug)]
pub(crate) struct FilterIndex<L: Listed> {
    hasher: FixedState,
    exact: HashMap<Box<str>, Listing<L>, FixedState>,
    /// Indexes of child nodes, found by parent and level.
    edges: HashTable<u32>,
    nodes: Vec<Node<L>>,
    free: Vec<u32>,
    len: usize,
}

#[derive(Debug)]
struct Node<L: Listed> {
    parent: u32,
    children: u32,
    /// The level that leads here from the parent; `+` for the wildcard.
    level: Box<str>,
    /// Subscribers of the filter that ends here.
    ending: Listing<L>,
    /// Subscribers of the filter that goes on with `#`.
    multi_level: Listing<L>,
}

impl<L: Listed> Node<L> {
    fn new(parent: u32, level: &str) -> Self {
        let (ending, multi_level) = (Listing::default(), Listing::default());
        Self { parent, children: 0, level: level.into(), ending, multi_level }
    }
}

const ROOT: u32 = 0;
const SINGLE_LEVEL: &str = "+";
const MULTI_LEVEL: &str = "#";

impl<L: Listed> FilterIndex<L> {
    /// An empty index. The seed decides how strings hash, so that nobody can choose colliding ones.
    pub(crate) fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self {
            exact: HashMap::with_hasher(hasher.clone()),
            hasher,
            edges: HashTable::new(),
            nodes: vec![Node::new(ROOT, "")],
            free: Vec::new(),
            len: 0,
        }
    }

    /// How many subscriptions there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many levels there are in the tree of filters with wildcards, the root not counted.
    pub(crate) fn levels(&self) -> usize {
        self.nodes.len() - 1 - self.free.len()
    }

    /// Lists an entry under a filter, or replaces the one of the same key.
    pub(crate) fn insert(&mut self, filter: TopicFilter<'_>, entry: L) -> Change {
        let listing = if filter.has_wildcard() {
            let (node, multi_level) = self.grow(filter);
            let node = &mut self.nodes[node as usize];
            if multi_level { &mut node.multi_level } else { &mut node.ending }
        } else {
            self.exact.entry(filter.as_str().into()).or_default()
        };
        let change = listing.insert(entry);
        self.len += usize::from(change.happened);
        change
    }

    /// As [`insert`](Self::insert); returns whether the key is new, and the entry that was replaced.
    pub(crate) fn replace(&mut self, filter: TopicFilter<'_>, entry: L) -> (bool, Option<L>) {
        let old = self.find(filter, entry.key());
        (self.insert(filter, entry).happened, old)
    }

    /// As [`remove`](Self::remove); returns the entry.
    pub(crate) fn take(&mut self, filter: TopicFilter<'_>, key: L::Key) -> Option<L> {
        let old = self.find(filter, key);
        self.remove(filter, key);
        old
    }

    fn find(&self, filter: TopicFilter<'_>, key: L::Key) -> Option<L> {
        let listing = if filter.has_wildcard() {
            let mut at = ROOT;
            let mut multi_level = false;
            for level in filter.as_str().split(LEVEL_SEPARATOR) {
                if level == MULTI_LEVEL {
                    multi_level = true;
                    break;
                }
                at = self.child(at, level)?;
            }
            let node = &self.nodes[at as usize];
            if multi_level { &node.multi_level } else { &node.ending }
        } else {
            self.exact.get(filter.as_str())?
        };
        listing.entries.find(key)
    }

    /// Removes the entry of a key.
    pub(crate) fn remove(&mut self, filter: TopicFilter<'_>, key: L::Key) -> Change {
        let change = if filter.has_wildcard() {
            self.remove_wildcard(filter, key)
        } else {
            self.remove_exact(filter, key)
        };
        self.len -= usize::from(change.happened);
        change
    }

    /// The entry of a key.
    #[cfg(feature = "bench")]
    pub(crate) fn get(&self, filter: TopicFilter<'_>, key: L::Key) -> Option<&L> {
        if !filter.has_wildcard() {
            return self.exact.get(filter.as_str())?.get(key);
        }
        let mut at = ROOT;
        for level in filter.as_str().split(LEVEL_SEPARATOR) {
            if level == MULTI_LEVEL {
                return self.nodes[at as usize].multi_level.get(key);
            }
            at = self.child(at, level)?;
        }
        self.nodes[at as usize].ending.get(key)
    }

    fn remove_exact(&mut self, filter: TopicFilter<'_>, key: L::Key) -> Change {
        let Some(listing) = self.exact.get_mut(filter.as_str()) else {
            return Change::NONE;
        };
        let change = listing.remove(key);
        if change.after == Presence::Nobody {
            self.exact.remove(filter.as_str());
        }
        change
    }

    fn remove_wildcard(&mut self, filter: TopicFilter<'_>, key: L::Key) -> Change {
        let mut at = ROOT;
        let mut multi_level = false;
        for level in filter.as_str().split(LEVEL_SEPARATOR) {
            if level == MULTI_LEVEL {
                multi_level = true;
                break;
            }
            match self.child(at, level) {
                Some(child) => at = child,
                None => return Change::NONE,
            }
        }
        let node = &mut self.nodes[at as usize];
        let listing = if multi_level { &mut node.multi_level } else { &mut node.ending };
        let change = listing.remove(key);
        self.prune(at);
        change
    }

    /// Calls `visit` with each entry whose filter matches `topic`, and with no other
    /// `[MQTT3-3.3.2-3]` `[MQTT5-3.3.2-3]`; a key that is listed under several is visited several
    /// times. Levels are compared byte by byte `[MQTT3-4.7.3-4]` `[MQTT5-4.7.3-4]`.
    pub(crate) fn matching(&self, topic: TopicName<'_>, mut visit: impl FnMut(&L)) {
        let text = topic.as_str();
        if let Some(subscribers) = self.exact.get(text) {
            subscribers.for_each(&mut visit);
        }
        if self.nodes.len() == 1 && self.nodes[0].multi_level.is_empty() {
            return;
        }
        let levels: SmallVec<[&str; 16]> = text.split(LEVEL_SEPARATOR).collect();
        let mut stack: SmallVec<[(u32, usize); 32]> = SmallVec::new();
        stack.push((ROOT, 0));
        while let Some((at, depth)) = stack.pop() {
            let node = &self.nodes[at as usize];
            // [MQTT3-4.7.2-1] [MQTT5-4.7.2-1]: wildcards in first place do not match $-topics.
            let wildcards = depth > 0 || !topic.is_reserved();
            if wildcards {
                node.multi_level.for_each(&mut visit);
            }
            let Some(level) = levels.get(depth) else {
                node.ending.for_each(&mut visit);
                continue;
            };
            if node.children == 0 {
                continue;
            }
            if wildcards && let Some(child) = self.child(at, SINGLE_LEVEL) {
                stack.push((child, depth + 1));
            }
            if let Some(child) = self.child(at, level) {
                stack.push((child, depth + 1));
            }
        }
    }

    /// The node where a wildcard filter ends, made if need be, and whether it ends with `#`.
    fn grow(&mut self, filter: TopicFilter<'_>) -> (u32, bool) {
        let mut at = ROOT;
        for level in filter.as_str().split(LEVEL_SEPARATOR) {
            if level == MULTI_LEVEL {
                return (at, true);
            }
            at = match self.child(at, level) {
                Some(child) => child,
                None => self.add_child(at, level),
            };
        }
        (at, false)
    }

    fn child(&self, parent: u32, level: &str) -> Option<u32> {
        self.edges
            .find(self.hash(parent, level), |child| self.is_edge(*child, parent, level))
            .copied()
    }

    fn is_edge(&self, child: u32, parent: u32, level: &str) -> bool {
        let node = &self.nodes[child as usize];
        node.parent == parent && *node.level == *level
    }

    fn add_child(&mut self, parent: u32, level: &str) -> u32 {
        let node = Node::new(parent, level);
        let child = match self.free.pop() {
            Some(free) => {
                self.nodes[free as usize] = node;
                free
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        };
        self.nodes[parent as usize].children += 1;
        let hash = self.hash(parent, level);
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        self.edges.insert_unique(hash, child, |other| {
            let node = &nodes[*other as usize];
            hasher.hash_one((node.parent, &*node.level))
        });
        child
    }

    /// Removes `at` and its ancestors as far as nothing hangs on them.
    fn prune(&mut self, mut at: u32) {
        while at != ROOT {
            let node = &self.nodes[at as usize];
            if node.children > 0 || !node.ending.is_empty() || !node.multi_level.is_empty() {
                return;
            }
            let parent = node.parent;
            let hash = self.hash(parent, &node.level);
            if let Ok(edge) = self.edges.find_entry(hash, |child| *child == at) {
                edge.remove();
            }
            self.nodes[at as usize] = Node::new(ROOT, "");
            self.free.push(at);
            self.nodes[parent as usize].children -= 1;
            at = parent;
        }
    }

    fn hash(&self, parent: u32, level: &str) -> u64 {
        self.hasher.hash_one((parent, level))
    }
}

/// Who is listed under one filter.
#[derive(Debug)]
pub(crate) struct Listing<L: Listed> {
    entries: Entries<L>,
    /// How many of them are durable.
    durable: u32,
}

/// Mostly one, sometimes very many.
#[derive(Debug)]
enum Entries<L: Listed> {
    Few(SmallVec<[L; 1]>),
    /// By key, so that one of 100,000 leaves in constant time.
    Many(Box<IndexMap<L::Key, L, FixedState>>),
}

/// Up to this many are searched one by one.
const FEW: usize = 16;

impl Change {
    const NONE: Change =
        Change { happened: false, before: Presence::Nobody, after: Presence::Nobody };
}

impl<L: Listed> Default for Listing<L> {
    fn default() -> Self {
        Self { entries: Entries::Few(SmallVec::new()), durable: 0 }
    }
}

#[cfg(feature = "bench")]
impl<L: Listed> Listing<L> {
    pub(crate) fn len(&self) -> usize {
        match &self.entries {
            Entries::Few(few) => few.len(),
            Entries::Many(many) => many.len(),
        }
    }

    fn get(&self, key: L::Key) -> Option<&L> {
        match &self.entries {
            Entries::Few(few) => few.iter().find(|entry| entry.key() == key),
            Entries::Many(many) => many.get(&key),
        }
    }
}

impl<L: Listed> Listing<L> {
    pub(crate) fn is_empty(&self) -> bool {
        match &self.entries {
            Entries::Few(few) => few.is_empty(),
            Entries::Many(many) => many.is_empty(),
        }
    }

    pub(crate) fn for_each(&self, visit: &mut impl FnMut(&L)) {
        match &self.entries {
            Entries::Few(few) => few.iter().for_each(visit),
            Entries::Many(many) => many.values().for_each(visit),
        }
    }

    fn presence(&self) -> Presence {
        match (self.is_empty(), self.durable) {
            (true, _) => Presence::Nobody,
            (false, 0) => Presence::Somebody,
            (false, _) => Presence::SomebodyDurable,
        }
    }

    pub(crate) fn insert(&mut self, entry: L) -> Change {
        let before = self.presence();
        let old = self.entries.insert(entry);
        self.durable += u32::from(entry.is_durable());
        self.durable -= u32::from(old.is_some_and(|old| old.is_durable()));
        Change { happened: old.is_none(), before, after: self.presence() }
    }

    pub(crate) fn remove(&mut self, key: L::Key) -> Change {
        let before = self.presence();
        let old = self.entries.remove(key);
        self.durable -= u32::from(old.is_some_and(|old| old.is_durable()));
        Change { happened: old.is_some(), before, after: self.presence() }
    }
}

impl<L: Listed> Entries<L> {
    fn find(&self, key: L::Key) -> Option<L> {
        match self {
            Self::Few(few) => few.iter().find(|one| one.key() == key).copied(),
            Self::Many(many) => many.get(&key).copied(),
        }
    }

    /// Returns the entry that was replaced.
    fn insert(&mut self, entry: L) -> Option<L> {
        match self {
            Self::Many(many) => many.insert(entry.key(), entry),
            Self::Few(few) => {
                if let Some(old) = few.iter_mut().find(|old| old.key() == entry.key()) {
                    return Some(std::mem::replace(old, entry));
                }
                if few.len() < FEW {
                    few.push(entry);
                } else {
                    // Keys are ours and nobody can choose them: any fixed seed will do.
                    let mut many = IndexMap::with_hasher(FixedState::default());
                    many.extend(few.drain(..).map(|old| (old.key(), old)));
                    many.insert(entry.key(), entry);
                    *self = Self::Many(Box::new(many));
                }
                None
            }
        }
    }

    fn remove(&mut self, key: L::Key) -> Option<L> {
        match self {
            Self::Few(few) => {
                let index = few.iter().position(|old| old.key() == key)?;
                Some(few.swap_remove(index))
            }
            Self::Many(many) => {
                let removed = many.swap_remove(&key);
                if many.len() <= FEW / 2 {
                    *self = Self::Few(many.values().copied().collect());
                }
                removed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;
    use crate::session::Session;
    use noctule_mqtt::QoS;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn sessions(count: usize) -> Vec<SessionHandle> {
        let mut arena = Arena::default();
        (0..count).map(|_| arena.insert(Session::for_tests())).collect()
    }

    fn subscriber(session: SessionHandle) -> Subscriber {
        let options = SubscriptionOptions::qos(QoS::AtMostOnce);
        Subscriber { session, options, identifier: None, durable: false, since: 0 }
    }

    fn found(index: &SubscriptionIndex, topic: &str) -> BTreeSet<SessionHandle> {
        let mut found = BTreeSet::new();
        index.matching(TopicName::new(topic).unwrap(), |subscriber| {
            found.insert(subscriber.session);
        });
        found
    }

    /// Levels and topics that provoke everything: empty levels, `$`, wildcards, shared prefixes.
    fn level() -> impl Strategy<Value = &'static str> {
        prop_oneof![Just("a"), Just("b"), Just(""), Just("$SYS"), Just("aa"), Just("é")]
    }

    fn topic() -> impl Strategy<Value = String> {
        prop::collection::vec(level(), 1..6)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("a topic is not empty", |topic| !topic.is_empty())
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop_oneof![3 => level(), 2 => Just("+")];
        (prop::collection::vec(level, 0..5), any::<bool>())
            .prop_map(|(mut levels, multi)| {
                if multi {
                    levels.push("#");
                }
                levels.join("/")
            })
            .prop_filter("a filter is not empty", |filter| !filter.is_empty())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// The index finds what asking every filter would find, through insertions and removals.
        #[test]
        fn the_index_agrees_with_asking_every_filter(
            steps in prop::collection::vec((filter(), 0..40usize, prop::bool::weighted(0.7)), 1..120),
            topics in prop::collection::vec(topic(), 1..20),
        ) {
            let handles = sessions(40);
            let mut index = SubscriptionIndex::new(1);
            let mut model: BTreeSet<(String, SessionHandle)> = BTreeSet::new();
            for (filter, session, insert) in &steps {
                let (parsed, session) = (TopicFilter::new(filter).unwrap(), handles[*session]);
                let key = (filter.clone(), session);
                if *insert {
                    let change = index.insert(parsed, subscriber(session));
                    prop_assert_eq!(change.happened, model.insert(key));
                } else {
                    prop_assert_eq!(index.remove(parsed, session).happened, model.remove(&key));
                }
            }
            prop_assert_eq!(index.len(), model.len());
            for topic in &topics {
                let name = TopicName::new(topic).unwrap();
                let expected: BTreeSet<_> = model
                    .iter()
                    .filter(|(filter, _)| TopicFilter::new(filter).unwrap().matches(name))
                    .map(|(_, session)| *session)
                    .collect();
                prop_assert_eq!(found(&index, topic), expected, "{}", topic);
            }
            for (filter, session) in model {
                prop_assert!(index.remove(TopicFilter::new(&filter).unwrap(), session).happened);
            }
            prop_assert_eq!(index.len(), 0);
            prop_assert_eq!(index.edges.len(), 0);
            prop_assert!(index.exact.is_empty());
            prop_assert_eq!(index.nodes.len(), index.free.len() + 1);
        }
    }

    #[test]
    fn three_hundred_levels_match_without_recursion() {
        let session = sessions(1)[0];
        let mut index = SubscriptionIndex::new(1);
        let deep = vec!["x"; 300].join("/");
        let wild = vec!["+"; 300].join("/");
        index.insert(TopicFilter::new(&wild).unwrap(), subscriber(session));
        assert_eq!(found(&index, &deep).len(), 1);
        assert_eq!(found(&index, &deep[2..]).len(), 0);
        assert!(index.remove(TopicFilter::new(&wild).unwrap(), session).happened);
        assert_eq!(index.edges.len(), 0);
    }

    #[test]
    fn many_subscribers_of_one_filter_come_and_go() {
        let handles = sessions(1_000);
        let mut index = SubscriptionIndex::new(1);
        let filter = TopicFilter::new("a/+").unwrap();
        for session in &handles {
            assert!(index.insert(filter, subscriber(*session)).happened);
        }
        assert!(!index.insert(filter, subscriber(handles[7])).happened);
        assert_eq!(found(&index, "a/b").len(), 1_000);
        for session in &handles {
            assert!(index.remove(filter, *session).happened);
        }
        assert!(found(&index, "a/b").is_empty());
    }
}
