//! The subscription index: which sessions want a topic.
//!
//! Filters without wildcards lie in a hash map. The others form a tree whose edges are one hash
//! table `(node, level) → node`, so that a node costs no map of its own; only the edge `+` is kept
//! in the node itself. Matching walks the tree with an explicit stack; its depth is the topic's and
//! nothing recurses. Each level of the topic is hashed once, however many nodes it is looked for in.

mod level;
mod listing;

pub(crate) use level::Levels;
pub(crate) use listing::Listing;

use crate::session::SessionHandle;
use foldhash::quality::FixedState;
use hashbrown::{HashMap, HashTable};
use level::Level;
use noctule_mqtt::packet::SubscriptionOptions;
use noctule_mqtt::topic::LEVEL_SEPARATOR;
use noctule_mqtt::{QoS, TopicFilter};
use smallvec::SmallVec;
use std::hash::{BuildHasher, Hasher};
use std::num::NonZeroU32;

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
    /// The number of the last retained message that was set when the subscription was made. What
    /// another shard sent of those comes too late for it.
    pub(crate) since: u64,
    /// The subscription identifier, if there is one.
    pub(crate) identifier: Option<NonZeroU32>,
    /// The highest QoS that it wants.
    pub(crate) qos: QoS,
    /// Not the session's own messages.
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    /// Whether the session is persistent.
    pub(crate) durable: bool,
}

impl Subscriber {
    /// A subscription on these terms.
    pub(crate) fn new(
        session: SessionHandle,
        options: SubscriptionOptions,
        identifier: Option<u32>,
        durable: bool,
        since: u64,
    ) -> Self {
        let SubscriptionOptions { qos, no_local, retain_as_published, .. } = options;
        // Zero is no identifier.
        let identifier = identifier.and_then(NonZeroU32::new);
        Self { session, since, identifier, qos, no_local, retain_as_published, durable }
    }

    pub(crate) fn identifier(&self) -> Option<u32> {
        self.identifier.map(NonZeroU32::get)
    }
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
    exact: HashMap<Box<[u8]>, Listing<L>, FixedState>,
    /// Child nodes, but for those that `+` leads to.
    edges: HashTable<Edge>,
    nodes: Vec<Node<L>>,
    free: Vec<u32>,
    len: usize,
}

/// What leads from a node to a child. With its hash at hand the table grows without a look at what
/// was hashed.
#[derive(Debug, Clone, Copy)]
struct Edge {
    hash: u32,
    child: u32,
}

#[derive(Debug)]
struct Node<L: Listed> {
    parent: u32,
    /// How many, the one of `+` included.
    children: u32,
    /// The child that `+` leads to; the root, which is nobody's child, stands for none.
    single_level: u32,
    /// The level that leads here from the parent; `+` for the wildcard.
    level: Level,
    /// Subscribers of the filter that ends here.
    ending: Listing<L>,
    /// Subscribers of the filter that goes on with `#`.
    multi_level: Listing<L>,
}

impl<L: Listed> Node<L> {
    fn new(parent: u32, level: &[u8]) -> Self {
        let (ending, multi_level) = (Listing::default(), Listing::default());
        let level = Level::new(level);
        Self { parent, children: 0, single_level: ROOT, level, ending, multi_level }
    }
}

const ROOT: u32 = 0;
/// The parent of a node that is not used.
const NOWHERE: u32 = u32::MAX;
/// Room for eight times so many is never too much.
const ROOM_KEPT: usize = 64;
const SINGLE_LEVEL: &str = "+";
const MULTI_LEVEL: &str = "#";
/// Odd, and its bits are as good as random.
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

impl<L: Listed> FilterIndex<L> {
    /// An empty index. The seed decides how strings hash, so that nobody can choose colliding ones.
    pub(crate) fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self {
            exact: HashMap::with_hasher(hasher.clone()),
            hasher,
            edges: HashTable::new(),
            nodes: vec![Node::new(ROOT, b"")],
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
            self.exact.entry(filter.as_str().as_bytes().into()).or_default()
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
        if !filter.has_wildcard() {
            return self.exact.get(filter.as_str().as_bytes())?.find(key);
        }
        let (at, multi_level) = self.end_of(filter)?;
        let node = &self.nodes[at as usize];
        let listing = if multi_level { &node.multi_level } else { &node.ending };
        listing.find(key)
    }

    /// The node where a wildcard filter ends, if there is one, and whether it ends with `#`.
    fn end_of(&self, filter: TopicFilter<'_>) -> Option<(u32, bool)> {
        let mut at = ROOT;
        for level in filter.as_str().split(LEVEL_SEPARATOR) {
            if level == MULTI_LEVEL {
                return Some((at, true));
            }
            at = self.child(at, level)?;
        }
        Some((at, false))
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
    pub(crate) fn get(&self, filter: TopicFilter<'_>, key: L::Key) -> Option<L> {
        self.find(filter, key)
    }

    fn remove_exact(&mut self, filter: TopicFilter<'_>, key: L::Key) -> Change {
        let Some(listing) = self.exact.get_mut(filter.as_str().as_bytes()) else {
            return Change::NONE;
        };
        let change = listing.remove(key);
        if change.after == Presence::Nobody {
            self.exact.remove(filter.as_str().as_bytes());
            if is_far_too_large(self.exact.capacity(), self.exact.len()) {
                self.exact.shrink_to(2 * self.exact.len());
            }
        }
        change
    }

    fn remove_wildcard(&mut self, filter: TopicFilter<'_>, key: L::Key) -> Change {
        let Some((at, multi_level)) = self.end_of(filter) else {
            return Change::NONE;
        };
        let node = &mut self.nodes[at as usize];
        let listing = if multi_level { &mut node.multi_level } else { &mut node.ending };
        let change = listing.remove(key);
        self.prune(at);
        if is_far_too_large(self.nodes.len(), self.nodes.len() - self.free.len()) {
            self.move_together();
        }
        change
    }

    /// Calls `visit` with each entry whose filter matches `topic`, and with no other
    /// `[MQTT3-3.3.2-3]` `[MQTT5-3.3.2-3]`; a key that is listed under several is visited several
    /// times. Levels are compared byte by byte `[MQTT3-4.7.3-4]` `[MQTT5-4.7.3-4]`.
    pub(crate) fn matching(&self, levels: &Levels<'_>, mut visit: impl FnMut(&L)) {
        let topic = levels.topic();
        if !self.exact.is_empty()
            && let Some(subscribers) = self.exact.get(topic)
        {
            subscribers.for_each(&mut visit);
        }
        if self.nodes.len() == 1 && self.nodes[0].multi_level.is_empty() {
            return;
        }
        // [MQTT3-4.7.2-1] [MQTT5-4.7.2-1]: wildcards in first place do not match $-topics.
        let is_reserved = topic.first() == Some(&b'$');
        // Of the levels that have been come to so far.
        let mut hashes: SmallVec<[u64; 16]> = SmallVec::new();
        let mut stack: SmallVec<[(u32, u32); 16]> = SmallVec::new();
        stack.push((ROOT, 0));
        while let Some((at, depth)) = stack.pop() {
            let node = &self.nodes[at as usize];
            let wildcards = depth > 0 || !is_reserved;
            if wildcards {
                node.multi_level.for_each(&mut visit);
            }
            let Some(level) = levels.get(depth as usize) else {
                node.ending.for_each(&mut visit);
                continue;
            };
            if node.children == 0 {
                continue;
            }
            let only_wildcard = node.single_level != ROOT && node.children == 1;
            if wildcards && node.single_level != ROOT {
                stack.push((node.single_level, depth + 1));
            }
            if only_wildcard {
                continue;
            }
            // What lies in front of a level that is come to has been come to before.
            while hashes.len() <= depth as usize {
                hashes.push(self.hash_level(levels.get(hashes.len()).unwrap_or_default()));
            }
            if let Some(child) = self.literal_child(at, level, hashes[depth as usize]) {
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
        if level == SINGLE_LEVEL {
            let child = self.nodes[parent as usize].single_level;
            return (child != ROOT).then_some(child);
        }
        self.literal_child(parent, level.as_bytes(), self.hash_level(level.as_bytes()))
    }

    #[inline]
    fn literal_child(&self, parent: u32, level: &[u8], level_hash: u64) -> Option<u32> {
        let hash = edge_hash(parent, level_hash);
        let is_edge = |edge: &Edge| edge.hash == hash && self.is_child(edge.child, parent, level);
        self.edges.find(spread(hash), is_edge).map(|edge| edge.child)
    }

    fn is_child(&self, child: u32, parent: u32, level: &[u8]) -> bool {
        let node = &self.nodes[child as usize];
        node.parent == parent && node.level.as_bytes() == level
    }

    fn add_child(&mut self, parent: u32, level: &str) -> u32 {
        let node = Node::new(parent, level.as_bytes());
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
        let above = &mut self.nodes[parent as usize];
        above.children += 1;
        if level == SINGLE_LEVEL {
            above.single_level = child;
        } else {
            let hash = edge_hash(parent, self.hash_level(level.as_bytes()));
            self.edges.insert_unique(spread(hash), Edge { hash, child }, |edge| spread(edge.hash));
        }
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
            if self.nodes[parent as usize].single_level == at {
                self.nodes[parent as usize].single_level = ROOT;
            } else {
                let hash = edge_hash(parent, self.hash_level(node.level.as_bytes()));
                if let Ok(edge) = self.edges.find_entry(spread(hash), |edge| edge.child == at) {
                    edge.remove();
                }
            }
            self.nodes[at as usize] = Node::new(NOWHERE, b"");
            self.free.push(at);
            self.nodes[parent as usize].children -= 1;
            at = parent;
        }
    }

    /// Gives back the memory of nodes that are not used, by numbering the others anew. As most are not,
    /// this costs less than it has cost to remove those.
    fn move_together(&mut self) {
        let mut numbers = vec![ROOT; self.nodes.len()];
        let is_used = |node: &Node<L>| node.parent != NOWHERE;
        let used = (0..).zip(&self.nodes).filter(|(_, node)| is_used(node));
        for (number, (before, _)) in (0..).zip(used) {
            numbers[before as usize] = number;
        }
        let mut nodes = Vec::with_capacity(self.nodes.len() - self.free.len());
        nodes.extend(std::mem::take(&mut self.nodes).into_iter().filter(is_used));
        let mut edges = HashTable::with_capacity(nodes.len());
        for (number, node) in (0..).zip(&mut nodes) {
            node.parent = numbers[node.parent as usize];
            node.single_level = numbers[node.single_level as usize];
            if number != ROOT && node.level.as_bytes() != SINGLE_LEVEL.as_bytes() {
                let hash = edge_hash(node.parent, self.hash_level(node.level.as_bytes()));
                let edge = Edge { hash, child: number };
                edges.insert_unique(spread(hash), edge, |edge| spread(edge.hash));
            }
        }
        (self.nodes, self.edges, self.free) = (nodes, edges, Vec::new());
    }

    #[inline]
    fn hash_level(&self, level: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(level);
        hasher.finish()
    }
}

/// Whether so much room is left of a burst. It was filled, so that giving it back costs little beside.
fn is_far_too_large(room: usize, used: usize) -> bool {
    room > 8 * used.max(ROOM_KEPT)
}

/// The hash of an edge: that of its level, which nobody outside can foretell, and of its parent.
#[inline]
fn edge_hash(parent: u32, level_hash: u64) -> u32 {
    let product = u128::from(level_hash ^ u64::from(parent)) * u128::from(MIX);
    (product ^ product >> 64) as u32
}

/// As many bits as a table takes its places and its tags from.
#[inline]
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

impl Change {
    const NONE: Change =
        Change { happened: false, before: Presence::Nobody, after: Presence::Nobody };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;
    use crate::session::Session;
    use noctule_mqtt::TopicName;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn sessions(count: usize) -> Vec<SessionHandle> {
        let mut arena = Arena::default();
        (0..count).map(|_| arena.insert(Session::for_tests())).collect()
    }

    fn subscriber(session: SessionHandle) -> Subscriber {
        let options = SubscriptionOptions::qos(QoS::AtMostOnce);
        Subscriber::new(session, options, None, false, 0)
    }

    fn found(index: &SubscriptionIndex, topic: &str) -> BTreeSet<SessionHandle> {
        let mut found = BTreeSet::new();
        index.matching(&Levels::new(topic.as_bytes()), |subscriber| {
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
    fn what_a_burst_has_left_is_given_back_and_the_others_are_found() {
        let session = sessions(1)[0];
        let mut index = SubscriptionIndex::new(1);
        let filters: Vec<String> = (0..12_000)
            .map(|number| match number % 3 {
                0 => format!("plant/{number}/+/value"),
                1 => format!("+/{number}/#"),
                _ => format!("plant/line/{number}"),
            })
            .collect();
        let parsed = |number: usize| TopicFilter::new(&filters[number]).unwrap();
        (0..12_000).for_each(|number| {
            index.insert(parsed(number), subscriber(session));
        });
        let (nodes, edges) = (index.nodes.len(), index.edges.capacity());
        let stays = |number: &usize| number % 100 == 99;
        for number in (0..12_000).filter(|number| !stays(number)) {
            assert!(index.remove(parsed(number), session).happened);
        }
        assert!(index.nodes.len() < nodes / 4 && index.edges.capacity() < edges / 4);
        assert!(index.exact.capacity() <= 8 * ROOM_KEPT, "{}", index.exact.capacity());
        for number in 0..12_000 {
            let topic = filters[number].replace('+', "plant").replace('#', "x");
            assert_eq!(found(&index, &topic).len(), usize::from(stays(&number)), "{topic}");
        }
        for number in (0..12_000).filter(stays) {
            assert!(index.remove(parsed(number), session).happened);
        }
        assert_eq!((index.len(), index.edges.len(), index.levels()), (0, 0, 0));
    }

    #[test]
    fn a_filter_takes_little() {
        // What a filter with a wildcard takes in the index, its edge apart.
        assert_eq!(size_of::<Subscriber>(), 24);
        assert_eq!(size_of::<Listing<Subscriber>>(), 24);
        assert_eq!(size_of::<Node<Subscriber>>(), 80);
        assert_eq!(size_of::<Edge>(), 8);
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
