//! One index of the sessions of all shards. A route has the targets on each of them, and a message
//! that crosses takes along those of the shard it goes to.

use super::super::{CACHED_TOPIC_BYTES_MAX, Cached, Route, Router, Target, refusal};
use super::{Parts, subscriber};
use crate::arena::Handle;
use crate::commons::{Commons, ShardId};
use crate::limits::Limits;
use crate::session::SessionHandle;
use crate::subscriptions::{FilterIndex, Levels, Listed, Subscriber};
use noctule_mqtt::{TopicFilter, TopicName};
use std::rc::Rc;
use std::sync::Arc;

/// A part of the one index.
#[derive(Debug)]
pub struct CommonIndex {
    index: FilterIndex<Anywhere>,
}

impl CommonIndex {
    /// A part without subscriptions.
    pub fn new(seed: u64) -> Self {
        Self { index: FilterIndex::new(seed) }
    }
}

/// A session's subscription, with the shard on which the session lives.
#[derive(Debug, Clone, Copy)]
struct Anywhere {
    subscriber: Subscriber,
    shard: ShardId,
}

impl Listed for Anywhere {
    type Key = (ShardId, SessionHandle);

    fn key(&self) -> Self::Key {
        (self.shard, self.subscriber.session)
    }

    fn is_durable(&self) -> bool {
        self.subscriber.durable
    }
}

/// The targets on another shard, which travel with the message.
pub type SentAlong = Arc<[SomeTarget]>;

/// A target, of which only the broker needs to know more.
#[derive(Debug)]
pub struct SomeTarget(#[expect(dead_code, reason = "the benchmark delivers nothing")] Target);

/// A router without an index of its own.
#[derive(Debug)]
pub struct OneIndex {
    /// Its index stays empty; its cache and counters are used.
    router: Router,
    limits: Limits,
    parts: Rc<dyn Parts<CommonIndex>>,
    /// By place in the cache, what belongs to the route there.
    sent_along: Vec<Vec<(ShardId, SentAlong)>>,
    matches: Vec<Anywhere>,
}

impl OneIndex {
    /// The router of one shard.
    pub fn new(
        seed: u64,
        shard: ShardId,
        commons: Rc<dyn Commons>,
        parts: Rc<dyn Parts<CommonIndex>>,
    ) -> Self {
        let router = Router::new(seed, shard, commons);
        let sent_along = vec![Vec::new(); router.cache.len()];
        Self { router, limits: Limits::default(), parts, sent_along, matches: Vec::new() }
    }

    /// Subscribes the shard's session number `session`.
    pub fn subscribe(&mut self, filter: TopicFilter<'_>, session: u32) {
        let entry = Anywhere { subscriber: subscriber(session), shard: self.router.shard };
        self.change(filter, |index| {
            index.insert(filter, entry);
        });
    }

    /// Takes the subscription back.
    pub fn unsubscribe(&mut self, filter: TopicFilter<'_>, session: u32) {
        let key = (self.router.shard, Handle::numbered(session));
        self.change(filter, |index| {
            index.remove(filter, key);
        });
    }

    fn change(&self, filter: TopicFilter<'_>, change: impl Fn(&mut FilterIndex<Anywhere>)) {
        let part = self.router.placement.interest_part_of_filter(filter);
        self.parts.change_part(part, &mut |part| change(&mut part.index));
        self.router.common.touch(self.router.counter_of(filter));
    }

    /// Finds the route, calls `elsewhere` with each other shard that wants the topic and its
    /// targets there, and returns how many sessions of this one want it.
    pub fn route(
        &mut self,
        topic: TopicName<'_>,
        elsewhere: impl FnMut(&(ShardId, SentAlong)),
    ) -> usize {
        let place = match self.router.cached(topic.as_bytes(), None) {
            Some(found) => usize::from(found.0),
            None => self.look_up(topic),
        };
        self.sent_along[place].iter().for_each(elsewhere);
        self.router.cache[place].as_ref().map_or(0, |cached| cached.route.targets.len())
    }

    /// As the router does it, of the common index.
    fn look_up(&mut self, topic: TopicName<'_>) -> usize {
        let bytes = topic.as_bytes();
        assert!(bytes.len() <= CACHED_TOPIC_BYTES_MAX, "topics of the benchmark are short");
        let levels = Levels::new(topic.as_bytes());
        let holds = self.router.note(&levels);
        let mut matches = std::mem::take(&mut self.matches);
        for part in self.router.placement.interest_parts_of_topic(levels.first(1)) {
            self.parts.read_part(part, &mut |part| {
                part.index.matching(&levels, |found| matches.push(*found));
            });
        }
        matches.sort_unstable_by_key(Listed::key);
        let place = usize::from(self.router.place(bytes).0);
        let mut route = Route { refusal: refusal(&levels, &self.limits), ..Route::default() };
        let mut sent_along = Vec::new();
        for here in matches.chunk_by(|one, other| one.shard == other.shard) {
            let targets = here
                .chunk_by(|one, other| one.subscriber.session == other.subscriber.session)
                .map(merged);
            if here[0].shard == self.router.shard {
                route.targets = targets.collect();
            } else {
                sent_along.push((here[0].shard, targets.map(SomeTarget).collect()));
            }
        }
        matches.clear();
        self.matches = matches;
        self.sent_along[place] = sent_along;
        self.router.cache[place] = Some(Box::new(Cached { topic: bytes.into(), holds, route }));
        place
    }
}

/// One target for the subscriptions of one session.
fn merged(subscriptions: &[Anywhere]) -> Target {
    let subscribers: smallvec::SmallVec<[Subscriber; 4]> =
        subscriptions.iter().map(|one| one.subscriber).collect();
    Target::merged(&subscribers)
}
