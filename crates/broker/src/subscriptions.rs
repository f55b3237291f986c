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

/// One session's subscription to one filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subscriber {
    pub(crate) session: SessionHandle,
    pub(crate) options: SubscriptionOptions,
    /// The subscription identifier, if there is one.
    pub(crate) identifier: Option<u32>,
}

/// The filters of many sessions.
#[derive(Debug)]
pub(crate) struct SubscriptionIndex {
    hasher: FixedState,
    exact: HashMap<Box<str>, Subscribers, FixedState>,
    /// Indexes of child nodes, found by parent and level.
    edges: HashTable<u32>,
    nodes: Vec<Node>,
    free: Vec<u32>,
    /// Scratch of [`matching`](Self::matching): nodes to visit with the level they stand at.
    stack: Vec<(u32, usize)>,
    len: usize,
}

#[derive(Debug, Default)]
struct Node {
    parent: u32,
    children: u32,
    /// The level that leads here from the parent; `+` for the wildcard.
    level: Box<str>,
    /// Subscribers of the filter that ends here.
    ending: Subscribers,
    /// Subscribers of the filter that goes on with `#`.
    multi_level: Subscribers,
}

const ROOT: u32 = 0;
const SINGLE_LEVEL: &str = "+";
const MULTI_LEVEL: &str = "#";

impl SubscriptionIndex {
    /// An empty index. The seed decides how strings hash, so that nobody can choose colliding ones.
    pub(crate) fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self {
            exact: HashMap::with_hasher(hasher.clone()),
            hasher,
            edges: HashTable::new(),
            nodes: vec![Node::default()],
            free: Vec::new(),
            stack: Vec::new(),
            len: 0,
        }
    }

    /// How many subscriptions there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a subscription, or replaces the same session's to the same filter. True if it is new.
    pub(crate) fn insert(&mut self, filter: TopicFilter<'_>, subscriber: Subscriber) -> bool {
        let subscribers = if filter.has_wildcard() {
            let (node, multi_level) = self.grow(filter);
            let node = &mut self.nodes[node as usize];
            if multi_level { &mut node.multi_level } else { &mut node.ending }
        } else {
            self.exact.entry(filter.as_str().into()).or_default()
        };
        let new = subscribers.insert(subscriber);
        self.len += usize::from(new);
        new
    }

    /// Removes a subscription. False if there was none.
    pub(crate) fn remove(&mut self, filter: TopicFilter<'_>, session: SessionHandle) -> bool {
        let removed = if filter.has_wildcard() {
            self.remove_wildcard(filter, session)
        } else {
            self.remove_exact(filter, session)
        };
        self.len -= usize::from(removed);
        removed
    }

    fn remove_exact(&mut self, filter: TopicFilter<'_>, session: SessionHandle) -> bool {
        let Some(subscribers) = self.exact.get_mut(filter.as_str()) else {
            return false;
        };
        let removed = subscribers.remove(session);
        if subscribers.is_empty() {
            self.exact.remove(filter.as_str());
        }
        removed
    }

    fn remove_wildcard(&mut self, filter: TopicFilter<'_>, session: SessionHandle) -> bool {
        let mut at = ROOT;
        let mut multi_level = false;
        for level in filter.as_str().split(LEVEL_SEPARATOR) {
            if level == MULTI_LEVEL {
                multi_level = true;
                break;
            }
            match self.child(at, level) {
                Some(child) => at = child,
                None => return false,
            }
        }
        let node = &mut self.nodes[at as usize];
        let subscribers = if multi_level { &mut node.multi_level } else { &mut node.ending };
        let removed = subscribers.remove(session);
        self.prune(at);
        removed
    }

    /// Calls `visit` with each subscription that matches `topic`; a session with several
    /// overlapping ones is visited several times.
    pub(crate) fn matching(&mut self, topic: TopicName<'_>, mut visit: impl FnMut(&Subscriber)) {
        let text = topic.as_str();
        if let Some(subscribers) = self.exact.get(text) {
            subscribers.for_each(&mut visit);
        }
        if self.nodes.len() == 1 && self.nodes[0].multi_level.is_empty() {
            return;
        }
        let levels: SmallVec<[&str; 16]> = text.split(LEVEL_SEPARATOR).collect();
        let mut stack = std::mem::take(&mut self.stack);
        stack.push((ROOT, 0));
        while let Some((at, depth)) = stack.pop() {
            let node = &self.nodes[at as usize];
            // [MQTT5-4.7.2-1]: wildcards in first place do not match $-topics.
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
        self.stack = stack;
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
        let node = Node { parent, level: level.into(), ..Node::default() };
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
            self.nodes[at as usize] = Node::default();
            self.free.push(at);
            self.nodes[parent as usize].children -= 1;
            at = parent;
        }
    }

    fn hash(&self, parent: u32, level: &str) -> u64 {
        self.hasher.hash_one((parent, level))
    }
}

/// The subscribers of one filter: mostly one, sometimes very many.
#[derive(Debug)]
enum Subscribers {
    Few(SmallVec<[Subscriber; 1]>),
    /// By session, so that one of 100,000 leaves in constant time.
    Many(Box<IndexMap<SessionHandle, Subscriber, FixedState>>),
}

/// Up to this many are searched one by one.
const FEW: usize = 16;

impl Default for Subscribers {
    fn default() -> Self {
        Self::Few(SmallVec::new())
    }
}

impl Subscribers {
    fn is_empty(&self) -> bool {
        match self {
            Self::Few(few) => few.is_empty(),
            Self::Many(many) => many.is_empty(),
        }
    }

    fn for_each(&self, visit: &mut impl FnMut(&Subscriber)) {
        match self {
            Self::Few(few) => few.iter().for_each(visit),
            Self::Many(many) => many.values().for_each(visit),
        }
    }

    /// True if the session had no subscription here.
    fn insert(&mut self, subscriber: Subscriber) -> bool {
        match self {
            Self::Many(many) => many.insert(subscriber.session, subscriber).is_none(),
            Self::Few(few) => {
                if let Some(old) = few.iter_mut().find(|old| old.session == subscriber.session) {
                    *old = subscriber;
                    return false;
                }
                if few.len() < FEW {
                    few.push(subscriber);
                } else {
                    // Session handles are ours and nobody can choose them: any fixed seed will do.
                    let mut many = IndexMap::with_hasher(FixedState::default());
                    many.extend(few.drain(..).map(|old| (old.session, old)));
                    many.insert(subscriber.session, subscriber);
                    *self = Self::Many(Box::new(many));
                }
                true
            }
        }
    }

    fn remove(&mut self, session: SessionHandle) -> bool {
        match self {
            Self::Few(few) => match few.iter().position(|old| old.session == session) {
                Some(index) => {
                    few.swap_remove(index);
                    true
                }
                None => false,
            },
            Self::Many(many) => {
                let removed = many.swap_remove(&session).is_some();
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
        Subscriber { session, options, identifier: None }
    }

    fn found(index: &mut SubscriptionIndex, topic: &str) -> BTreeSet<SessionHandle> {
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
                    prop_assert_eq!(index.insert(parsed, subscriber(session)), model.insert(key));
                } else {
                    prop_assert_eq!(index.remove(parsed, session), model.remove(&key));
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
                prop_assert_eq!(found(&mut index, topic), expected, "{}", topic);
            }
            for (filter, session) in model {
                prop_assert!(index.remove(TopicFilter::new(&filter).unwrap(), session));
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
        assert_eq!(found(&mut index, &deep).len(), 1);
        assert_eq!(found(&mut index, &deep[2..]).len(), 0);
        assert!(index.remove(TopicFilter::new(&wild).unwrap(), session));
        assert_eq!(index.edges.len(), 0);
    }

    #[test]
    fn many_subscribers_of_one_filter_come_and_go() {
        let handles = sessions(1_000);
        let mut index = SubscriptionIndex::new(1);
        let filter = TopicFilter::new("a/+").unwrap();
        for session in &handles {
            assert!(index.insert(filter, subscriber(*session)));
        }
        assert!(!index.insert(filter, subscriber(handles[7])));
        assert_eq!(found(&mut index, "a/b").len(), 1_000);
        for session in &handles {
            assert!(index.remove(filter, *session));
        }
        assert!(found(&mut index, "a/b").is_empty());
    }
}
