//! What the shards of a broker share, and the only words in which they ask for it.
//!
//! Three things are common: the *interest map*, which says for each filter which shards have a
//! subscriber; the retained messages; and counters. They lie in parts, so that whoever owns the
//! locks can give each part its own. Everything else is one shard's alone or travels as
//! [`Mail`](crate::mail::Mail). A shard without others has a [`Solitude`].

use crate::memory::CommonMemory;
use crate::retained::{Retained, RetainedTraces};
use crate::sharing::{GroupKey, GroupShard};
use crate::subscriptions::{FilterIndex, Levels, Listed, Presence};
use crate::unstored::Unstored;
use foldhash::quality::FixedState;
use noctule_mqtt::{TopicFilter, TopicName};
use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Numbers the shards of a broker, from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ShardId(pub u16);

/// How many parts the interest map has. Part zero holds the filters that begin with a wildcard.
pub const INTEREST_PARTS: usize = 64;

/// How many parts the retained messages of a broker have, whatever the number of its shards. What is
/// stored depends on it: how far handing them out has come is a topic in the order of parts.
pub const RETAINED_PARTS: usize = 16;

/// Access to what shards share. Whoever implements it calls back with one part, alone with it while
/// it is changed; callbacks ask for no other part.
pub trait Commons: fmt::Debug {
    /// How many shards there are.
    fn shards(&self) -> u16;

    /// Decides how strings hash, the same for all shards and not to be guessed by clients.
    fn seed(&self) -> u64;

    /// The counters of changes in the interest map.
    fn epochs(&self) -> Arc<Epochs>;

    /// Connections of all shards.
    fn connections(&self) -> &AtomicUsize;

    /// What all shards take of memory.
    fn memory(&self) -> &Arc<CommonMemory>;

    /// Reads a part of the interest map.
    fn read_interest(&self, part: usize, read: &mut dyn FnMut(&Interest));

    /// Changes a part of the interest map.
    fn change_interest(&self, part: usize, change: &mut dyn FnMut(&mut Interest));

    /// Counts the retained messages that were set, by all shards.
    fn retained_sequence(&self) -> &AtomicU64;

    /// Where there may be retained messages.
    fn retained_traces(&self) -> &RetainedTraces;

    /// How many parts the retained messages have: as many in every life of a broker, as it is stored
    /// in the order of parts how far handing them out has come.
    fn retained_parts(&self) -> usize;

    /// Which retained messages the store may not have yet.
    fn unstored(&self) -> &Unstored;

    /// Reads a part of the retained messages.
    fn read_retained(&self, part: usize, read: &mut dyn FnMut(&Retained));

    /// Changes a part of the retained messages.
    fn change_retained(&self, part: usize, change: &mut dyn FnMut(&mut Retained));
}

/// Which shards want which filters.
#[derive(Debug)]
pub struct Interest {
    index: FilterIndex<ShardInterest>,
    groups: FilterIndex<GroupInterest>,
}

/// One shard's part in a group that shares a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupInterest {
    pub(crate) group: GroupKey,
    pub(crate) shard: ShardId,
    /// How many members it has there.
    pub(crate) members: u32,
    /// Whether a persistent session is among them.
    pub(crate) durable: bool,
}

impl GroupInterest {
    pub(crate) fn part(self) -> GroupShard {
        GroupShard { shard: self.shard, members: self.members, durable: self.durable }
    }
}

impl Listed for GroupInterest {
    type Key = (GroupKey, ShardId);

    fn key(&self) -> Self::Key {
        (self.group, self.shard)
    }

    fn is_durable(&self) -> bool {
        self.durable
    }
}

/// One shard's interest in a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShardInterest {
    pub(crate) shard: ShardId,
    /// Whether a persistent session is among those who want it.
    pub(crate) durable: bool,
}

impl Listed for ShardInterest {
    type Key = ShardId;

    fn key(&self) -> ShardId {
        self.shard
    }

    fn is_durable(&self) -> bool {
        self.durable
    }
}

impl Interest {
    /// A part nobody has an interest in yet.
    pub fn new(seed: u64) -> Self {
        Self { index: FilterIndex::new(seed), groups: FilterIndex::new(seed) }
    }

    /// A shard's part in a group is now this; without members, none.
    pub(crate) fn set_group(&mut self, filter: TopicFilter<'_>, interest: GroupInterest) {
        if interest.members == 0 {
            self.groups.remove(filter, interest.key());
        } else {
            self.groups.insert(filter, interest);
        }
    }

    pub(crate) fn matching_groups(&self, topic: &Levels<'_>, visit: impl FnMut(&GroupInterest)) {
        self.groups.matching(topic, visit);
    }

    /// A shard's interest in a filter is now this.
    pub(crate) fn set(&mut self, filter: TopicFilter<'_>, shard: ShardId, presence: Presence) {
        match presence {
            Presence::Nobody => {
                self.index.remove(filter, shard);
            }
            Presence::Somebody | Presence::SomebodyDurable => {
                let durable = presence == Presence::SomebodyDurable;
                self.index.insert(filter, ShardInterest { shard, durable });
            }
        }
    }

    /// How many filters somebody wants, counted for each shard that does.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether nobody wants anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn matching(&self, topic: &Levels<'_>, visit: impl FnMut(&ShardInterest)) {
        self.index.matching(topic, visit);
    }
}

/// How many epoch counters there are. Few enough to stay in the processor's cache.
pub(crate) const EPOCHS: usize = 1_024;

/// Counts the changes of the interest map, by what they can concern.
///
/// Whoever changes the map counts *after* the change; whoever remembers what he read from the map
/// has noted the counters *before* he read. So what is remembered is never younger than its note,
/// and a change that a client can know of, because its SUBACK was sent, is seen.
///
/// The number of all changes and that of the retained messages are in one order for all shards
/// (`SeqCst`): of a shard that sets a message and then looks for its receivers, and one that
/// subscribes and then looks for messages, at least one sees the other.
#[derive(Debug)]
pub struct Epochs {
    counters: [AtomicU32; EPOCHS],
    changes: AtomicU64,
}

impl Default for Epochs {
    fn default() -> Self {
        Self { counters: [const { AtomicU32::new(0) }; EPOCHS], changes: AtomicU64::new(0) }
    }
}

impl Epochs {
    /// The number of all changes.
    #[inline]
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    pub(crate) fn epoch(&self, counter: u16) -> u32 {
        self.counters[usize::from(counter)].load(Ordering::Acquire)
    }

    pub(crate) fn touch(&self, counter: u16) {
        self.counters[usize::from(counter)].fetch_add(1, Ordering::AcqRel);
        self.changes.fetch_add(1, Ordering::SeqCst);
    }
}

/// What a filter's literal part is hashed to: all of it or, if there are wildcards, the levels in front of
/// them, two at most. Whatever counts things by what filters can match finds its counters by it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beginning {
    pub(crate) has_wildcard: bool,
    pub(crate) hash: usize,
}

/// Hashes for placing things: alike in all shards of a broker.
#[derive(Debug, Clone)]
pub(crate) struct Placement {
    seed: u64,
    hasher: FixedState,
}

impl Placement {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, hasher: FixedState::with_seed(seed) }
    }

    fn hash(&self, bytes: &[u8]) -> usize {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(bytes);
        hasher.finish() as usize
    }

    /// Where a counter of epochs is; `kind` keeps topics and prefixes apart.
    pub(crate) fn counter(&self, kind: u8, text: &[u8]) -> usize {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u8(kind);
        hasher.write(text);
        hasher.finish() as usize
    }

    /// As [`counter`](Self::counter), of a filter.
    pub(crate) fn beginning(&self, filter: TopicFilter<'_>) -> Beginning {
        let has_wildcard = filter.has_wildcard();
        let hash = if has_wildcard {
            self.counter(1, literal_levels(filter).as_bytes())
        } else {
            self.counter(0, filter.as_str().as_bytes())
        };
        Beginning { has_wildcard, hash }
    }

    /// Hashes that clients cannot foretell.
    pub(crate) fn hasher(&self) -> &FixedState {
        &self.hasher
    }

    /// The shard where the session of a client identifier lives. The one place that decides it.
    pub(crate) fn home(&self, client_id: &str, shards: u16) -> ShardId {
        ShardId((self.hash(client_id.as_bytes()) % usize::from(shards.max(1))) as u16)
    }

    /// What a group that shares a subscription is called on all shards. Two that were called the same
    /// would be one and get each other's messages, so the hash has to withstand who chooses filters.
    pub(crate) fn group(&self, filter: &str) -> GroupKey {
        self.group_of(filter.as_bytes())
    }

    fn group_of(&self, filter: &[u8]) -> GroupKey {
        let half = |number| u128::from(keyed_hash([self.seed, number], filter));
        GroupKey(half(1) << 64 | half(2))
    }

    /// A number that all shards have for a topic.
    pub(crate) fn topic_hash(&self, topic: TopicName<'_>) -> u64 {
        self.hash(topic.as_bytes()) as u64
    }

    /// The part of the retained messages in which a topic's lies.
    pub(crate) fn retained_part(&self, topic: &[u8], parts: usize) -> usize {
        retained_part(topic, parts)
    }

    /// The part of the interest map in which a filter lies.
    pub(crate) fn interest_part_of_filter(&self, filter: TopicFilter<'_>) -> usize {
        let first = first_level(filter.as_str().as_bytes());
        if matches!(first, b"+" | b"#") { 0 } else { self.part_of_level(first) }
    }

    /// The parts of the interest map in which filters lie that match a topic with this first level.
    pub(crate) fn interest_parts_of_topic(&self, first: &[u8]) -> [usize; 2] {
        [0, self.part_of_level(first)]
    }

    fn part_of_level(&self, level: &[u8]) -> usize {
        1 + self.hash(level) % (INTEREST_PARTS - 1)
    }
}

/// The literal levels in front of the first wildcard, two at most, without a separator at the end.
fn literal_levels(filter: TopicFilter<'_>) -> &str {
    let prefix = filter.literal_prefix();
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    match prefix.bytes().enumerate().filter(|(_, byte)| *byte == b'/').nth(1) {
        Some((second_end, _)) => &prefix[..second_end],
        None => prefix,
    }
}

/// A hash of which nobody finds collisions who does not know the key: SipHash.
#[expect(deprecated, reason = "the standard library has no other hasher that is given a key")]
fn keyed_hash(key: [u64; 2], bytes: &[u8]) -> u64 {
    let mut hasher = std::hash::SipHasher::new_with_keys(key[0], key[1]);
    hasher.write(bytes);
    hasher.finish()
}

/// The part of the retained messages, of so many, in which a topic's lies. It depends on no seed, as the order
/// of the parts has to be the same after a restart: it belongs to the format of the store, and whoever
/// changes it, or [`RETAINED_PARTS`], raises that. Somebody who chooses topics of one part has shards wait for
/// each other there a little more, and nothing else: a part is a tree.
pub fn retained_part(topic: &[u8], parts: usize) -> usize {
    if parts <= 1 { 0 } else { (lasting_hash(topic) % parts as u64) as usize }
}

/// A hash that is the same in every version, on every machine: what is stored depends on it.
fn lasting_hash(bytes: &[u8]) -> u64 {
    let mut hash = bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
    }
    hash
}

fn first_level(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b'/').next().unwrap_or(text)
}

/// The commons of a shard that has no others to share with.
#[derive(Debug)]
pub(crate) struct Solitude {
    seed: u64,
    epochs: Arc<Epochs>,
    connections: AtomicUsize,
    memory: Arc<CommonMemory>,
    retained_sequence: AtomicU64,
    retained_traces: RetainedTraces,
    retained: Vec<RefCell<Retained>>,
    unstored: Unstored,
}

impl Solitude {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            epochs: Arc::default(),
            connections: AtomicUsize::new(0),
            memory: Arc::default(),
            retained_sequence: AtomicU64::new(0),
            retained_traces: RetainedTraces::default(),
            retained: std::iter::repeat_with(RefCell::default).take(RETAINED_PARTS).collect(),
            unstored: Unstored::new(1),
        }
    }
}

impl Commons for Solitude {
    fn shards(&self) -> u16 {
        1
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn epochs(&self) -> Arc<Epochs> {
        Arc::clone(&self.epochs)
    }

    fn connections(&self) -> &AtomicUsize {
        &self.connections
    }

    fn memory(&self) -> &Arc<CommonMemory> {
        &self.memory
    }

    fn read_interest(&self, _: usize, _: &mut dyn FnMut(&Interest)) {}

    fn change_interest(&self, _: usize, _: &mut dyn FnMut(&mut Interest)) {}

    fn retained_sequence(&self) -> &AtomicU64 {
        &self.retained_sequence
    }

    fn retained_traces(&self) -> &RetainedTraces {
        &self.retained_traces
    }

    fn retained_parts(&self) -> usize {
        RETAINED_PARTS
    }

    fn unstored(&self) -> &Unstored {
        &self.unstored
    }

    fn read_retained(&self, part: usize, read: &mut dyn FnMut(&Retained)) {
        read(&self.retained[part].borrow());
    }

    fn change_retained(&self, part: usize, change: &mut dyn FnMut(&mut Retained)) {
        change(&mut self.retained[part].borrow_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn topics_lie_in_the_same_part_in_every_life_and_in_all_parts() {
        let placement = Placement::new(1);
        let part = |topic: &str| Placement::new(2).retained_part(topic.as_bytes(), 16);
        // Stored in this order by brokers that are out there.
        let known = ["a", "a/b", "home/kitchen/temperature", "noctule/", "ü"].map(part);
        assert_eq!(known, KNOWN_PARTS);
        let mut filled = [0; 16];
        for number in 0..16_000 {
            let topic = format!("devices/{number}/state");
            let found = placement.retained_part(topic.as_bytes(), 16);
            assert_eq!(found, part(&topic));
            filled[found] += 1;
        }
        assert!(filled.iter().all(|part| (800..1_200).contains(part)), "{filled:?}");
    }

    /// The quick hash that places other things multiplies, and with zero if these eight bytes are the last
    /// of sixteen, whatever its seed. They are no text; the next ones that somebody finds may be.
    #[test]
    fn groups_are_told_apart_whose_filters_a_quick_hash_confuses() {
        const LAST: [u8; 8] = 0x3f84_d5b5_b547_0917_u64.to_ne_bytes();
        for seed in [1, 2, 3_000_000_000_000] {
            let placement = Placement::new(seed);
            let filters = [b"$share/a", b"$share/b", b"$share/c"].map(|one| [*one, LAST].concat());
            let confused = filters.each_ref().map(|filter| placement.hash(filter));
            assert!(confused.iter().all(|hash| *hash == confused[0]), "else this tests nothing");
            let keys: std::collections::BTreeSet<_> =
                filters.iter().map(|filter| placement.group_of(filter)).collect();
            assert_eq!(keys.len(), filters.len());
        }
        let of_seed = |seed| Placement::new(seed).group("$share/a/x");
        assert!(of_seed(1) == of_seed(1) && of_seed(1) != of_seed(2));
    }

    /// Of the topics in the test above.
    const KNOWN_PARTS: [usize; 5] = [15, 14, 2, 4, 6];

    proptest! {
        /// Whatever filter matches a topic lies in one of the two parts that are asked for it.
        #[test]
        fn the_parts_of_a_topic_hold_every_filter_that_matches_it(
            filter in prop::sample::select(vec![
                "#", "+", "+/b", "a/#", "a/+", "a/b", "a", "/#", "/b", "//", "+/+/#", "$SYS/#",
            ]),
            topic in prop::sample::select(vec!["a", "a/b", "/b", "/", "//", "$SYS/x", "b/b/c"]),
            seed: u64,
        ) {
            let (filter, topic) = (TopicFilter::new(filter).unwrap(), TopicName::new(topic).unwrap());
            let placement = Placement::new(seed);
            if filter.matches(topic) {
                let part = placement.interest_part_of_filter(filter);
                let first = first_level(topic.as_bytes());
                prop_assert!(placement.interest_parts_of_topic(first).contains(&part));
            }
        }
    }
}
