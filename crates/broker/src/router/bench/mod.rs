//! Ways to route, side by side, for the benchmark that compares them: [`TwoLevels`] is the broker's
//! own router, also with shards that ask nobody about what was sent to them; [`OneIndex`] is
//! what it would be with one index of all sessions in common parts; [`Directory`] keeps the filters
//! in common and the sessions at home. For `benches` alone; nothing in the broker may use it. All
//! share the index, the cache, the epochs and the merging of targets, so that they differ in nothing
//! else.

mod directory;
mod one_index;

pub use directory::{Directory, DirectoryPart, Elsewhere, Found};
pub use one_index::{CommonIndex, OneIndex, SentAlong, SomeTarget};

use super::{Cached, Route, Router, Target};
use crate::arena::Handle;
use crate::commons::{Commons, ShardId};
use crate::limits::Limits;
use crate::subscriptions::{Levels, Subscriber};
use noctule_mqtt::packet::SubscriptionOptions;
use noctule_mqtt::{QoS, TopicFilter, TopicName};
use std::fmt;
use std::rc::Rc;

/// The broker's router: a shard's own index, and the interest map for the others.
#[derive(Debug)]
pub struct TwoLevels {
    router: Router,
    limits: Limits,
    /// By place in the cache, whether the route there knows of this shard only.
    partial: Vec<bool>,
}

impl TwoLevels {
    /// The router of one shard.
    pub fn new(seed: u64, shard: ShardId, commons: Rc<dyn Commons>) -> Self {
        let router = Router::new(seed, shard, commons);
        Self { partial: vec![false; router.cache.len()], router, limits: Limits::default() }
    }

    /// Subscribes the shard's session number `session`.
    pub fn subscribe(&mut self, filter: TopicFilter<'_>, session: u32) {
        self.router.subscribe(filter, subscriber(session));
    }

    /// Takes the subscription back.
    pub fn unsubscribe(&mut self, filter: TopicFilter<'_>, session: u32) {
        self.router.unsubscribe(filter, Handle::numbered(session));
    }

    /// Finds the route, calls `elsewhere` with each other shard that wants the topic, and returns
    /// how many sessions of this one do.
    pub fn route(&mut self, topic: TopicName<'_>, mut elsewhere: impl FnMut(ShardId)) -> usize {
        let route = self.router.route(topic, crate::rights::Law::of(&self.limits));
        route.elsewhere.iter().for_each(|other| elsewhere(other.shard));
        route.targets.len()
    }

    /// As [`route`](Self::route), where some routes in the cache may come from
    /// [`receive`](Self::receive) and are of no use.
    pub fn route_whole(&mut self, topic: TopicName<'_>, elsewhere: impl FnMut(ShardId)) -> usize {
        let place = usize::from(self.router.place(topic.as_bytes()).0);
        if std::mem::take(&mut self.partial[place]) {
            self.router.cache[place] = None;
        }
        self.route(topic, elsewhere)
    }

    /// How many sessions of this shard want what another one has sent here. Asks nobody who else
    /// does, and a change elsewhere does not concern it.
    pub fn receive(&mut self, topic: TopicName<'_>) -> usize {
        let router = &mut self.router;
        let bytes = topic.as_bytes();
        let place = usize::from(router.place(bytes).0);
        if let Some(found) = router.received(place, topic) {
            return found;
        }
        let levels = Levels::new(topic.as_bytes());
        let holds = router.note(&levels);
        let mut matches = std::mem::take(&mut router.matches);
        router.index.matching(&levels, |subscriber| matches.push(*subscriber));
        matches.sort_unstable_by_key(|subscriber| subscriber.session);
        let targets = matches
            .chunk_by(|one, other| one.session == other.session)
            .map(Target::merged)
            .collect();
        matches.clear();
        router.matches = matches;
        let route = Route { targets, ..Route::default() };
        let found = route.targets.len();
        router.cache[place] = Some(Box::new(Cached { topic: bytes.into(), holds, route }));
        self.partial[place] = true;
        found
    }
}

impl Router {
    /// How many sessions of this shard want a topic, if that is cached in `place` and still true.
    /// What is elsewhere does not matter.
    fn received(&self, place: usize, topic: TopicName<'_>) -> Option<usize> {
        let cached = self.cache[place].as_ref()?;
        if *cached.topic != *topic.as_bytes() {
            return None;
        }
        let (holds, own) = (&cached.holds, &self.own);
        let mut noted = holds.counters.iter().zip(&holds.epochs);
        let still = holds.changes.0 == own.changes()
            || noted.all(|(counter, epochs)| own.epoch(*counter) == epochs.0);
        still.then_some(cached.route.targets.len())
    }
}

/// Access to parts of something common, as [`Commons`] is to those of the interest map.
pub trait Parts<P>: fmt::Debug {
    /// Reads a part.
    fn read_part(&self, part: usize, read: &mut dyn FnMut(&P));

    /// Changes a part.
    fn change_part(&self, part: usize, change: &mut dyn FnMut(&mut P));
}

fn subscriber(session: u32) -> Subscriber {
    let options = SubscriptionOptions::qos(QoS::AtLeastOnce);
    let session = Handle::numbered(session);
    Subscriber::new(session, options, None, false, 0)
}
