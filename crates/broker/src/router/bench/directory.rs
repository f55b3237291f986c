//! The filters of all shards in common, the sessions at home: a common directory says for each
//! filter which shards have somebody, and where in *their* table of listings he is. So a topic is
//! looked up once, by the publisher's shard; a message that crosses takes along where to look; and
//! a shard's second and later subscriptions to a filter concern nobody else.

use super::super::{CACHED_TOPIC_BYTES_MAX, Cached, Route, Router, Target, refusal};
use super::{Parts, subscriber};
use crate::arena::Handle;
use crate::commons::{Commons, ShardId};
use crate::limits::Limits;
use crate::subscriptions::{FilterIndex, Levels, Listed, Listing, Subscriber};
use noctule_mqtt::{TopicFilter, TopicName};
use std::rc::Rc;
use std::sync::Arc;

/// A part of the directory.
#[derive(Debug)]
pub struct DirectoryPart {
    index: FilterIndex<Entry>,
}

impl DirectoryPart {
    /// A part without filters.
    pub fn new(seed: u64) -> Self {
        Self { index: FilterIndex::new(seed) }
    }
}

/// One shard's listing of a filter.
#[derive(Debug, Clone, Copy)]
struct Entry {
    shard: ShardId,
    found: Found,
    durable: bool,
}

/// Where a shard has a listing. Stale once the listing is gone, as a handle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    slot: u32,
    generation: u32,
}

impl Listed for Entry {
    type Key = ShardId;

    fn key(&self) -> ShardId {
        self.shard
    }

    fn is_durable(&self) -> bool {
        self.durable
    }
}

/// The listings of one shard.
#[derive(Debug, Default)]
struct Listings {
    slots: Vec<(u32, Listing<Subscriber>)>,
    free: Vec<u32>,
}

impl Listings {
    fn get(&self, found: Found) -> Option<&Listing<Subscriber>> {
        let (generation, listing) = self.slots.get(found.slot as usize)?;
        (*generation == found.generation).then_some(listing)
    }

    fn add(&mut self) -> Found {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, Listing::default()));
            self.slots.len() as u32 - 1
        });
        Found { slot, generation: self.slots[slot as usize].0 }
    }

    fn let_go(&mut self, found: Found) {
        let (generation, listing) = &mut self.slots[found.slot as usize];
        *generation = generation.wrapping_add(1);
        *listing = Listing::default();
        self.free.push(found.slot);
    }
}

/// Another shard that wants a topic, and where it is to look.
pub type Elsewhere = (ShardId, Arc<[Found]>);

/// The router of one shard.
#[derive(Debug)]
pub struct Directory {
    /// Its index stays empty; its cache and counters are used.
    router: Router,
    limits: Limits,
    parts: Rc<dyn Parts<DirectoryPart>>,
    listings: Listings,
    /// By place in the cache: where the route leads elsewhere. None if it came from
    /// [`receive`](Self::receive), which does not know.
    elsewhere: Vec<Option<Vec<Elsewhere>>>,
    entries: Vec<Entry>,
}

impl Directory {
    /// The router of one shard.
    pub fn new(
        seed: u64,
        shard: ShardId,
        commons: Rc<dyn Commons>,
        parts: Rc<dyn Parts<DirectoryPart>>,
    ) -> Self {
        let router = Router::new(seed, shard, commons);
        let elsewhere = vec![None; router.cache.len()];
        let (limits, listings) = (Limits::default(), Listings::default());
        Self { router, limits, parts, listings, elsewhere, entries: Vec::new() }
    }

    /// Where this shard has its listing of a filter.
    fn found(&self, part: usize, filter: TopicFilter<'_>) -> Option<Found> {
        let mut found = None;
        self.parts.read_part(part, &mut |part| {
            found = part.index.get(filter, self.router.shard).map(|entry| entry.found);
        });
        found
    }

    /// Subscribes the shard's session number `session`.
    pub fn subscribe(&mut self, filter: TopicFilter<'_>, session: u32) {
        let part = self.router.placement.interest_part_of_filter(filter);
        let counter = self.router.counter_of(filter);
        let known = self.found(part, filter);
        let found = known.unwrap_or_else(|| self.listings.add());
        self.listings.slots[found.slot as usize].1.insert(subscriber(session));
        self.router.own.touch(counter);
        if known.is_none() {
            let entry = Entry { shard: self.router.shard, found, durable: false };
            self.parts.change_part(part, &mut |part| {
                part.index.insert(filter, entry);
            });
            self.router.common.touch(counter);
        }
    }

    /// Takes the subscription back.
    pub fn unsubscribe(&mut self, filter: TopicFilter<'_>, session: u32) {
        let part = self.router.placement.interest_part_of_filter(filter);
        let Some(found) = self.found(part, filter) else {
            return;
        };
        let counter = self.router.counter_of(filter);
        let listing = &mut self.listings.slots[found.slot as usize].1;
        listing.remove(Handle::numbered(session));
        let is_over = listing.is_empty();
        self.router.own.touch(counter);
        if is_over {
            let shard = self.router.shard;
            self.parts.change_part(part, &mut |part| {
                part.index.remove(filter, shard);
            });
            self.router.common.touch(counter);
            self.listings.let_go(found);
        }
    }

    /// Finds the route, calls `elsewhere` with each other shard that wants the topic and where it is
    /// to look, and returns how many sessions of this one want it.
    pub fn route(&mut self, topic: TopicName<'_>, elsewhere: impl FnMut(&Elsewhere)) -> usize {
        let cached = self.router.cached(topic.as_bytes(), None).map(|found| usize::from(found.0));
        let place = match cached.filter(|place| self.elsewhere[*place].is_some()) {
            Some(place) => place,
            None => self.look_up(topic),
        };
        self.elsewhere[place].iter().flatten().for_each(elsewhere);
        self.router.cache[place].as_ref().map_or(0, |cached| cached.route.targets.len())
    }

    fn look_up(&mut self, topic: TopicName<'_>) -> usize {
        assert!(topic.as_bytes().len() <= CACHED_TOPIC_BYTES_MAX, "the benchmark's are short");
        let levels = Levels::new(topic.as_bytes());
        let holds = self.router.note(&levels);
        let mut entries = std::mem::take(&mut self.entries);
        for part in self.router.placement.interest_parts_of_topic(levels.first(1)) {
            self.parts.read_part(part, &mut |part| {
                part.index.matching(&levels, |entry| entries.push(*entry));
            });
        }
        entries.sort_unstable_by_key(|entry| entry.shard);
        let mut elsewhere = Vec::new();
        let mut here: &[Entry] = &[];
        for of_shard in entries.chunk_by(|one, other| one.shard == other.shard) {
            if of_shard[0].shard == self.router.shard {
                here = of_shard;
            } else {
                let founds = of_shard.iter().map(|entry| entry.found).collect();
                elsewhere.push((of_shard[0].shard, founds));
            }
        }
        self.gather(here.iter().map(|entry| entry.found));
        entries.clear();
        self.entries = entries;
        let refusal = refusal(&levels, &self.limits);
        let route = Route { targets: self.targets(), refusal, ..Route::default() };
        let place = usize::from(self.router.place(topic.as_bytes()).0);
        let topic = topic.as_bytes().into();
        self.router.cache[place] = Some(Box::new(Cached { topic, holds, route }));
        self.elsewhere[place] = Some(elsewhere);
        place
    }

    /// How many sessions of this shard want what another one has sent here. Small listings are
    /// asked at once, as this is no more work than to remember them.
    pub fn receive(&mut self, topic: TopicName<'_>, founds: &[Found]) -> usize {
        let listings = founds.iter().filter_map(|found| self.listings.get(*found));
        let subscriptions: usize = listings.map(Listing::len).sum();
        if subscriptions <= AT_ONCE {
            self.gather(founds.iter().copied());
            let matches = &mut self.router.matches;
            let mut found = 0;
            for one in matches.chunk_by(|one, other| one.session == other.session) {
                std::hint::black_box(Target::merged(one));
                found += 1;
            }
            matches.clear();
            return found;
        }
        let place = usize::from(self.router.place(topic.as_bytes()).0);
        if let Some(cached) = self.router.received(place, topic) {
            return cached;
        }
        let levels = Levels::new(topic.as_bytes());
        let holds = self.router.note(&levels);
        self.gather(founds.iter().copied());
        let route = Route { targets: self.targets(), ..Route::default() };
        let found = route.targets.len();
        let topic = topic.as_bytes().into();
        self.router.cache[place] = Some(Box::new(Cached { topic, holds, route }));
        self.elsewhere[place] = None;
        found
    }

    /// The subscribers of some listings, by session.
    fn gather(&mut self, founds: impl Iterator<Item = Found>) {
        let matches = &mut self.router.matches;
        for listing in founds.filter_map(|found| self.listings.get(found)) {
            listing.for_each(&mut |subscriber: &Subscriber| matches.push(*subscriber));
        }
        matches.sort_unstable_by_key(|subscriber| subscriber.session);
    }

    /// What was gathered, a target for each session.
    fn targets(&mut self) -> Vec<Target> {
        let matches = &mut self.router.matches;
        let targets = matches
            .chunk_by(|one, other| one.session == other.session)
            .map(Target::merged)
            .collect();
        matches.clear();
        targets
    }
}

/// Up to this many subscriptions are gone through anew for each message.
const AT_ONCE: usize = 1;
