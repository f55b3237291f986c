//! The subscription index: which sessions want a topic.
//!
//! Filters without wildcards lie in a hash map. The others form a tree whose edges are one hash
//! table `(node, level) → node`, so that a node costs no map of its own; only the edge `+` is kept
//! in the node itself. Matching walks the tree level by level, several topics beside each other if
//! they are known beforehand ([`FilterIndex::matching_all`]), and nothing recurses.

mod edges;
mod level;
mod listing;
mod nodes;

pub(crate) use level::Levels;
pub(crate) use listing::Listing;

use crate::session::SessionHandle;
use edges::Edges;
use foldhash::quality::FixedState;
use hashbrown::HashMap;
use noctule_mqtt::packet::SubscriptionOptions;
use noctule_mqtt::{QoS, TopicFilter};
use nodes::{Node, Nodes, ROOT};
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
        identifier: Option<NonZeroU32>,
        durable: bool,
        since: u64,
    ) -> Self {
        let SubscriptionOptions { qos, no_local, retain_as_published, .. } = options;
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

/// A topic that has come to a node, and the hash of the edge along which its next level leads.
#[derive(Debug, Clone, Copy)]
struct Step {
    topic: u32,
    at: u32,
    hash: u32,
}

/// Filters, and who is listed under each.
#[derive(Debug)]
pub(crate) struct FilterIndex<L: Listed> {
    hasher: FixedState,
    exact: HashMap<Box<[u8]>, Listing<L>, FixedState>,
    /// Child nodes, but for those that `+` leads to.
    edges: Edges,
    nodes: Nodes<L>,
    len: usize,
}

const SINGLE_LEVEL: &[u8] = b"+";
const MULTI_LEVEL: &[u8] = b"#";
/// With more nodes than this the tree does not lie in the processor's nearer caches.
const LARGE: usize = 2_048;
/// Room for eight times so many is never too much.
const ROOM_KEPT: usize = 64;
/// Odd, and its bits are as good as random.
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

impl<L: Listed> FilterIndex<L> {
    /// An empty index. The seed decides how strings hash, so that nobody can choose colliding ones.
    pub(crate) fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self {
            exact: HashMap::with_hasher(hasher.clone()),
            hasher,
            edges: Edges::default(),
            nodes: Nodes::new(),
            len: 0,
        }
    }

    /// How many subscriptions there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many levels there are in the tree of filters with wildcards, the root not counted.
    pub(crate) fn levels(&self) -> usize {
        self.nodes.len() - 1
    }

    /// Lists an entry under a filter, or replaces the one of the same key.
    pub(crate) fn insert(&mut self, filter: TopicFilter<'_>, entry: L) -> Change {
        let listing = if filter.has_wildcard() {
            let (node, multi_level) = self.grow(filter);
            self.nodes.at_mut(node).listing_mut(multi_level)
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
        self.nodes.at(at).listing(multi_level)?.find(key)
    }

    /// The node where a wildcard filter ends, if there is one, and whether it ends with `#`.
    fn end_of(&self, filter: TopicFilter<'_>) -> Option<(u32, bool)> {
        let mut at = ROOT;
        for level in levels_of(filter) {
            if level == MULTI_LEVEL {
                return Some((at, true));
            }
            at = self.child(at, level, edge_hash(at, self.hash_level(level)))?;
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
        let node = self.nodes.at_mut(at);
        let change = node.listing_mut(multi_level).remove(key);
        node.shed();
        self.prune(at);
        if is_far_too_large(self.nodes.room(), self.nodes.len()) {
            self.move_together();
        }
        change
    }

    /// Calls `visit` with each entry whose filter matches `topic`, and with no other
    /// `[MQTT3-3.3.2-3]` `[MQTT5-3.3.2-3]`; a key that is listed under several is visited several
    /// times. Levels are compared byte by byte `[MQTT3-4.7.3-4]` `[MQTT5-4.7.3-4]`.
    pub(crate) fn matching(&self, levels: &Levels<'_>, mut visit: impl FnMut(&L)) {
        self.matching_all(std::slice::from_ref(levels), |_, entry| visit(entry));
    }

    /// As [`matching`](Self::matching) of each of `topics`, by number. They are looked for beside each
    /// other: in a large tree nearly every step waits for memory, and so all of them wait at once.
    pub(crate) fn matching_all(&self, topics: &[Levels<'_>], mut visit: impl FnMut(usize, &L)) {
        if !self.exact.is_empty() {
            for (number, levels) in topics.iter().enumerate() {
                if let Some(subscribers) = self.exact.get(levels.topic()) {
                    subscribers.for_each(&mut |entry| visit(number, entry));
                }
            }
        }
        if self.nodes.at(ROOT).is_bare() {
            return;
        }
        let mut here: SmallVec<[Step; 32]> = SmallVec::new();
        let mut next: SmallVec<[Step; 32]> = SmallVec::new();
        here.extend((0..topics.len() as u32).map(|topic| Step { topic, at: ROOT, hash: 0 }));
        for depth in 0.. {
            self.hash_level_of(&mut here, topics, depth);
            if here.len() > 1 && self.nodes.len() > LARGE {
                self.touch(&here);
            }
            for step in &here {
                self.take_step(*step, topics, depth, &mut next, &mut visit);
            }
            if next.is_empty() {
                return;
            }
            std::mem::swap(&mut here, &mut next);
            next.clear();
        }
    }

    /// Notes the hashes of the edges that steps may lead along.
    #[inline]
    fn hash_level_of(&self, steps: &mut [Step], topics: &[Levels<'_>], depth: usize) {
        let mut last = (u32::MAX, 0);
        for step in steps {
            if step.topic != last.0 {
                let level = topics[step.topic as usize].get(depth);
                last = (step.topic, level.map_or(0, |level| self.hash_level(level)));
            }
            step.hash = edge_hash(step.at, last.1);
        }
    }

    /// Has what steps will look at come from memory, all of it at once.
    #[inline]
    fn touch(&self, steps: &[Step]) {
        let mut guesses: SmallVec<[u32; 32]> = SmallVec::new();
        guesses.extend(steps.iter().map(|step| self.edges.guess(step.hash).unwrap_or(ROOT)));
        let all = guesses.iter().fold(0, |all, child| all ^ self.nodes.at(*child).parent);
        std::hint::black_box(all);
    }

    /// Visits who is listed at a node, and notes where it goes on.
    #[inline]
    fn take_step(
        &self,
        step: Step,
        topics: &[Levels<'_>],
        depth: usize,
        next: &mut SmallVec<[Step; 32]>,
        visit: &mut impl FnMut(usize, &L),
    ) {
        let Step { topic, at, hash } = step;
        let levels = &topics[topic as usize];
        let node = self.nodes.at(at);
        // [MQTT3-4.7.2-1] [MQTT5-4.7.2-1]: wildcards in first place do not match $-topics.
        let wildcards = depth > 0 || levels.topic().first() != Some(&b'$');
        let mut visit = |entry: &L| visit(topic as usize, entry);
        if wildcards && let Some(listing) = node.listing(true) {
            listing.for_each(&mut visit);
        }
        let Some(level) = levels.get(depth) else {
            if let Some(listing) = node.listing(false) {
                listing.for_each(&mut visit);
            }
            return;
        };
        if wildcards && node.single_level != ROOT {
            next.push(Step { topic, at: node.single_level, hash: 0 });
        }
        if node.has_literal_children()
            && let Some(at) = self.literal_child(at, level, hash)
        {
            next.push(Step { topic, at, hash: 0 });
        }
    }

    /// The node where a wildcard filter ends, made if need be, and whether it ends with `#`.
    fn grow(&mut self, filter: TopicFilter<'_>) -> (u32, bool) {
        let mut at = ROOT;
        for level in levels_of(filter) {
            if level == MULTI_LEVEL {
                return (at, true);
            }
            let hash = edge_hash(at, self.hash_level(level));
            at = match self.child(at, level, hash) {
                Some(child) => child,
                None => self.add_child(at, level, hash),
            };
        }
        (at, false)
    }

    fn child(&self, parent: u32, level: &[u8], hash: u32) -> Option<u32> {
        if level == SINGLE_LEVEL {
            let child = self.nodes.at(parent).single_level;
            return (child != ROOT).then_some(child);
        }
        self.literal_child(parent, level, hash)
    }

    #[inline]
    fn literal_child(&self, parent: u32, level: &[u8], hash: u32) -> Option<u32> {
        self.edges.find(hash, |child| {
            let node = self.nodes.at(child);
            node.parent == parent && node.level.as_bytes() == level
        })
    }

    fn add_child(&mut self, parent: u32, level: &[u8], hash: u32) -> u32 {
        let child = self.nodes.insert(Node::new(parent, level));
        let above = self.nodes.at_mut(parent);
        above.children += 1;
        if level == SINGLE_LEVEL {
            above.single_level = child;
        } else {
            self.edges.insert(hash, child);
        }
        child
    }

    /// Removes `at` and its ancestors as far as nothing hangs on them.
    fn prune(&mut self, mut at: u32) {
        while at != ROOT && self.nodes.at(at).is_bare() {
            let node = self.nodes.at(at);
            let parent = node.parent;
            let hash = edge_hash(parent, self.hash_level(node.level.as_bytes()));
            let above = self.nodes.at_mut(parent);
            above.children -= 1;
            if above.single_level == at {
                above.single_level = ROOT;
            } else {
                self.edges.remove(hash, at);
            }
            self.nodes.remove(at);
            at = parent;
        }
    }

    /// Gives back the memory of nodes that are not used, by numbering the others anew. As most are not,
    /// this costs less than it has cost to remove those.
    fn move_together(&mut self) {
        self.nodes.move_together();
        let mut edges = Edges::with_room(self.nodes.len());
        for (number, node) in self.nodes.all() {
            if number != ROOT && node.level.as_bytes() != SINGLE_LEVEL {
                edges
                    .insert(edge_hash(node.parent, self.hash_level(node.level.as_bytes())), number);
            }
        }
        self.edges = edges;
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

/// The levels of a filter.
fn levels_of(filter: TopicFilter<'_>) -> impl Iterator<Item = &[u8]> {
    filter.as_str().as_bytes().split(|byte| *byte == b'/')
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

    fn found_together(
        index: &SubscriptionIndex,
        topics: &[String],
    ) -> Vec<BTreeSet<SessionHandle>> {
        let levels: Vec<_> = topics.iter().map(|topic| Levels::new(topic.as_bytes())).collect();
        let mut found = vec![BTreeSet::new(); topics.len()];
        index.matching_all(&levels, |number, subscriber| {
            found[number].insert(subscriber.session);
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
            prop_assert_eq!(
                found_together(&index, &topics),
                topics.iter().map(|topic| found(&index, topic)).collect::<Vec<_>>()
            );
            for (filter, session) in model {
                prop_assert!(index.remove(TopicFilter::new(&filter).unwrap(), session).happened);
            }
            prop_assert_eq!(index.len(), 0);
            prop_assert_eq!(index.edges.len(), 0);
            prop_assert!(index.exact.is_empty());
            prop_assert_eq!(index.nodes.len(), 1);
        }
    }

    #[test]
    fn in_a_large_tree_several_topics_find_what_each_finds() {
        let handles = sessions(7);
        let mut index = SubscriptionIndex::new(1);
        let mut filters = Vec::new();
        for number in 0..LARGE {
            let (first, last) = (number % 61, number / 3);
            filters.push(match number % 4 {
                0 => format!("plant/{first}/+/{last}/#"),
                1 => format!("plant/{first}/line/{last}"),
                2 => format!("+/{first}/line/+/{last}"),
                _ => format!("plant/+/+/{last}/value"),
            });
        }
        for (filter, handle) in filters.iter().zip(handles.iter().cycle()) {
            index.insert(TopicFilter::new(filter).unwrap(), subscriber(*handle));
        }
        assert!(index.levels() > LARGE);
        let topic = |number: usize| match number % 3 {
            0 => format!("plant/{}/line/{}/value", number % 61, number / 2),
            1 => format!("plant/{}/line/{}", number % 61, number / 3),
            _ => format!("none/{}/line/{}/{}", number % 61, number, number / 3),
        };
        let topics: Vec<_> = (0..400).map(|number| topic(number * 5)).collect();
        let mut matched = 0;
        for topics in topics.chunks(16) {
            for (topic, found) in topics.iter().zip(found_together(&index, topics)) {
                let name = TopicName::new(topic).unwrap();
                let matches = |filter: &str| TopicFilter::new(filter).unwrap().matches(name);
                let expected: BTreeSet<_> = filters
                    .iter()
                    .zip(handles.iter().cycle())
                    .filter_map(|(filter, handle)| matches(filter).then_some(*handle))
                    .collect();
                assert_eq!(found, expected, "{topic}");
                matched += found.len();
            }
        }
        assert!(matched > 100, "{matched}");
    }

    #[test]
    fn both_filters_of_a_node_come_and_go() {
        let handles = sessions(2);
        let mut index = SubscriptionIndex::new(1);
        let (ending, going_on) =
            (TopicFilter::new("a/+").unwrap(), TopicFilter::new("a/+/#").unwrap());
        for (first, second) in [(ending, going_on), (going_on, ending)] {
            assert!(index.insert(first, subscriber(handles[0])).happened);
            assert!(index.insert(second, subscriber(handles[1])).happened);
            assert_eq!(found(&index, "a/b").len(), 2);
            assert_eq!(found(&index, "a/b/c").len(), 1);
            assert!(!index.remove(first, handles[1]).happened);
            assert!(index.remove(first, handles[0]).happened);
            assert_eq!(found(&index, "a/b"), [handles[1]].into());
            assert_eq!(found(&index, "a/b/c").len(), usize::from(second == going_on));
            assert!(index.remove(second, handles[1]).happened);
            assert_eq!((index.levels(), index.edges.len()), (0, 0));
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
        let (nodes, edges) = (index.nodes.room(), index.edges.room());
        let stays = |number: &usize| number % 100 == 99;
        for number in (0..12_000).filter(|number| !stays(number)) {
            assert!(index.remove(parsed(number), session).happened);
        }
        assert!(index.nodes.room() < nodes / 4 && index.edges.room() < edges / 4);
        assert!(index.exact.capacity() <= 8 * ROOM_KEPT, "{}", index.exact.capacity());
        for (number, filter) in filters.iter().enumerate() {
            let topic = filter.replace('+', "plant").replace('#', "x");
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
        // One line of the processor's cache.
        assert_eq!(size_of::<Node<Subscriber>>(), 64);
        assert_eq!(align_of::<Node<Subscriber>>(), 64);
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
