//! From a topic to the sessions that want it, remembered.
//!
//! Walking the index for every message would be most of a message's cost, so the last topics are
//! cached with their targets. What keeps the cache true are *epochs*: counters that change with
//! every subscription, chosen by hashing the filter's literal part. A cached route notes the four
//! counters that a filter matching its topic can touch; it holds while none of them has moved, so
//! subscriptions elsewhere do not disturb it. There are two sets of counters: the shard's own, and
//! those of the interest map, from which a route has the other shards that want its topic.

mod ahead;
#[cfg(feature = "bench")]
pub mod bench;
mod epochs;
mod groups;

use crate::commons::{Beginning, Commons, Epochs, Placement, ShardId};
use crate::faults::{Fault, fault};
use crate::limits::Limits;
use crate::persist::Extras;
use crate::rights::{Law, Ruling, Withheld};
use crate::session::SessionHandle;
use crate::sharing::{GroupKey, GroupRoute};
use crate::subscriptions::{Change, FilterIndex, Levels, Presence, Subscriber, SubscriptionIndex};

use ahead::{AHEAD, Ahead};
use epochs::{Note, counter_at};
use foldhash::quality::FixedState;
use groups::{Joined, Member};
use hashbrown::HashMap;
use noctule_mqtt::{QoS, TopicFilter, TopicName, Violation};
use smallvec::SmallVec;
use std::hash::{BuildHasher, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A session that wants a topic: what its overlapping subscriptions come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) session: SessionHandle,
    /// The highest QoS of its matching subscriptions `[MQTT3-3.3.5-1]` `[MQTT5-3.3.4-2]`.
    pub(crate) qos: QoS,
    /// The same for the session's own messages, which No Local keeps out `[MQTT5-3.8.3-3]`.
    pub(crate) own_qos: Option<QoS>,
    pub(crate) retain_as_published: bool,
    /// The subscription identifiers of all of them `[MQTT5-3.3.4-3]` `[MQTT5-3.3.4-4]`; of a member
    /// of a group, which gets a copy of its own, that of its shared subscription `[MQTT5-3.3.4-5]`,
    /// and which that is.
    pub(crate) extras: Option<Arc<Extras>>,
    /// Messages that were retained with this number or a lower one came before all of them.
    pub(crate) since: u64,
}

/// Where messages of a topic go.
#[derive(Debug, Default)]
pub(crate) struct Route {
    pub(crate) targets: Vec<Target>,
    /// Other shards with sessions that want it.
    pub(crate) elsewhere: Vec<Elsewhere>,
    /// Groups of whose members one gets it.
    pub(crate) groups: Vec<GroupRoute>,
    /// Why messages of this topic are not taken at all.
    pub(crate) refusal: Option<Refusal>,
    /// How many sessions want it here and may not read it.
    pub(crate) denied: u32,
    /// A number of its own, if it is cached.
    pub(crate) number: u64,
}

impl Route {
    /// Whether nobody wants the topic, on any shard.
    pub(crate) fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.elsewhere.is_empty() && self.groups.is_empty()
    }

    /// Whether messages may be published to it, and go to no group.
    pub(crate) fn is_plain(&self) -> bool {
        self.refusal.is_none() && self.groups.is_empty()
    }

    /// How much it holds, for the limit of the cache.
    fn weight(&self) -> usize {
        self.targets.len() + self.groups.iter().map(|group| group.members.len()).sum::<usize>()
    }
}

/// Another shard that wants a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    pub(crate) shard: ShardId,
    /// Whether a persistent session is among those who want it.
    pub(crate) durable: bool,
}

/// A topic on which clients may not publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Too long or too deep.
    OverLimit(Violation),
    /// Below `$SYS/`, which is the broker's.
    Reserved,
}

/// Routes of the last topics; this many at most.
const CACHED: usize = 1_024;
/// Longer topics are routed without the cache, so that it cannot be made to hold 64 MB of names.
const CACHED_TOPIC_BYTES_MAX: usize = 1_024;
/// Targets in all cached routes together.
const CACHED_TARGETS_MAX: usize = 1 << 20;
/// A list of so many targets is made smaller when most of it is of no use any more.
const SPACIOUS: usize = 16;
/// Room for so many matching subscriptions of a topic is kept for the next one.
const MATCHES_KEPT: usize = 4_096;
/// So many readers without a right are noted until somebody asks for them.
const WITHHELD_MAX: usize = 64;
/// The subscription index with its cache, and the shard's part in the interest map.
#[derive(Debug)]
pub(crate) struct Router {
    shard: ShardId,
    commons: Rc<dyn Commons>,
    placement: Placement,
    index: SubscriptionIndex,
    hasher: FixedState,
    /// Counts the changes of the index.
    own: Epochs,
    /// Counts the changes of the interest map.
    common: Arc<Epochs>,
    /// By the hash of the topic, and behind those places the routes that were found ahead.
    cache: Vec<Option<Box<Cached>>>,
    ahead: Ahead,
    cached_targets: usize,
    uncached: Route,
    matches: Vec<Subscriber>,
    /// The same of each of several topics.
    matches_ahead: Vec<Vec<Subscriber>>,
    /// Members of groups, under the filters of their shared subscriptions.
    shared: FilterIndex<Member>,
    /// The groups that have members here.
    groups: HashMap<GroupKey, Joined, FixedState>,
    /// Counts look-ups of groups without members here.
    lookups: u64,
    /// Counts the routes that were cached.
    numbers: u64,
    /// Readers that were found to have no right, the last few.
    withheld: Vec<Withheld>,
    /// Subscriptions that come late, and those that come next.
    #[cfg(feature = "planted-faults")]
    late: [Vec<(Box<str>, Subscriber)>; 2],
}

/// A place in the cache. What [`Router::cached`] found there is good until the next change or
/// look-up, and a hint for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CachedRoute(u16);

#[derive(Debug, Default)]
struct Cached {
    topic: Vec<u8>,
    holds: Note,
    route: Route,
}

impl Router {
    pub(crate) fn new(seed: u64, shard: ShardId, commons: Rc<dyn Commons>) -> Self {
        let mut cache = Vec::new();
        cache.resize_with(CACHED + AHEAD, || None);
        Self {
            shard,
            placement: Placement::new(commons.seed()),
            common: commons.epochs(),
            commons,
            index: SubscriptionIndex::new(seed),
            hasher: FixedState::with_seed(seed.rotate_left(32)),
            own: Epochs::default(),
            cache,
            ahead: Ahead::default(),
            cached_targets: 0,
            uncached: Route::default(),
            matches: Vec::new(),
            matches_ahead: Vec::new(),
            shared: FilterIndex::new(seed),
            groups: HashMap::with_hasher(FixedState::with_seed(seed)),
            lookups: 0,
            numbers: 0,
            withheld: Vec::new(),
            #[cfg(feature = "planted-faults")]
            late: [Vec::new(), Vec::new()],
        }
    }

    /// How many subscriptions there are.
    pub(crate) fn subscriptions(&self) -> usize {
        self.index.len() + self.shared.len()
    }

    /// How many levels of filters with wildcards the index has.
    pub(crate) fn index_levels(&self) -> usize {
        self.index.levels()
    }

    /// How many of them are shared.
    pub(crate) fn shared_subscriptions(&self) -> usize {
        self.shared.len()
    }

    /// Adds or replaces a subscription. When this returns, every shard that looks for the filter's
    /// topics finds it.
    pub(crate) fn subscribe(&mut self, filter: TopicFilter<'_>, subscriber: Subscriber) {
        self.subscribe_with(filter, self.placement.beginning(filter), subscriber);
    }

    fn subscribe_with(
        &mut self,
        filter: TopicFilter<'_>,
        beginning: Beginning,
        subscriber: Subscriber,
    ) {
        #[cfg(feature = "planted-faults")]
        if fault(Fault::SubackBeforeIndex) {
            return self.late[0].push((filter.as_str().into(), subscriber));
        }
        let change = self.index.insert(filter, subscriber);
        self.announce(filter, beginning, change);
    }

    /// Adds a new subscription to a filter that begins so. Returns the number of the last message that was
    /// retained when all shards could find it: later ones are sent here as they are published.
    pub(crate) fn subscribe_newly(
        &mut self,
        filter: TopicFilter<'_>,
        beginning: Beginning,
        subscriber: Subscriber,
    ) -> u64 {
        self.subscribe_with(filter, beginning, subscriber);
        let since = self.commons.retained_sequence().load(Ordering::SeqCst);
        if since > 0 && self.commons.shards() > 1 {
            // Nothing was looked up in between.
            self.index.insert(filter, Subscriber { since, ..subscriber });
        }
        since
    }

    /// Another turn is over: what was late in the turn before comes in.
    #[cfg(feature = "planted-faults")]
    pub(crate) fn come_late(&mut self) {
        for (filter, subscriber) in std::mem::take(&mut self.late[1]) {
            if let Ok(filter) = TopicFilter::new(&filter) {
                let change = self.index.insert(filter, subscriber);
                self.announce(filter, self.placement.beginning(filter), change);
            }
        }
        self.late.swap(0, 1);
    }

    /// Removes a subscription.
    pub(crate) fn unsubscribe(&mut self, filter: TopicFilter<'_>, session: SessionHandle) {
        let change = self.index.remove(filter, session);
        self.announce(filter, self.placement.beginning(filter), change);
    }

    /// The listing of a filter has changed: tells the interest map if others care, and counts. The
    /// order matters, see [`Epochs`].
    fn announce(&mut self, filter: TopicFilter<'_>, beginning: Beginning, change: Change) {
        let counter = counter_at(beginning);
        if !(fault(Fault::CacheKept) && change.before == Presence::Nobody) {
            self.own.touch(counter);
        }
        if change.before == change.after || self.commons.shards() == 1 {
            return;
        }
        if fault(Fault::InterestNotWithdrawn) && change.after == Presence::Nobody {
            return;
        }
        if fault(Fault::EpochCountedEarly) {
            self.common.touch(counter);
        }
        let part = self.placement.interest_part_of_filter(filter);
        let shard = self.shard;
        self.commons.change_interest(part, &mut |interest| {
            interest.set(filter, shard, change.after);
        });
        if !fault(Fault::EpochCountedEarly) {
            self.common.touch(counter);
        }
    }

    /// The cached route of a topic with these bytes, which so are known to be a topic name. Whoever
    /// sends to one topic again and again spares the search by giving the last answer as a `hint`.
    #[inline(always)]
    pub(crate) fn cached(
        &mut self,
        topic: &[u8],
        hint: Option<CachedRoute>,
    ) -> Option<CachedRoute> {
        if let Some(place) = hint
            && self.holds(place, topic)
        {
            return hint;
        }
        if let Some(place) = self.found_ahead(topic) {
            return Some(place);
        }
        let place = self.place(topic);
        self.holds(place, topic).then_some(place)
    }

    /// Whether what is cached in a place is the route of this topic, and still true.
    #[inline(always)]
    pub(crate) fn holds(&mut self, place: CachedRoute, topic: &[u8]) -> bool {
        let Some(cached) = &mut self.cache[usize::from(place.0)] else {
            return false;
        };
        if *cached.topic != *topic {
            return false;
        }
        let changes = (self.own.changes(), self.common.changes());
        if cached.holds.changes != changes {
            let holds = &mut cached.holds;
            let moved = holds.counters.iter().zip(&holds.epochs).any(|(counter, epochs)| {
                (self.own.epoch(*counter), self.common.epoch(*counter)) != *epochs
            });
            if moved {
                return false;
            }
            holds.changes = changes;
        }
        true
    }

    /// A route that [`cached`](Self::cached) has found.
    #[inline]
    pub(crate) fn at(&self, found: CachedRoute) -> &Route {
        self.cache[usize::from(found.0)].as_ref().map_or(&self.uncached, |cached| &cached.route)
    }

    /// Where messages of `topic` go.
    pub(crate) fn route(&mut self, topic: TopicName<'_>, law: Law<'_>) -> &Route {
        match self.cached(topic.as_bytes(), None) {
            Some(found) => self.at(found),
            None => self.look_up(topic, law),
        }
    }

    /// Forgets where anything goes, as who may read what has changed.
    pub(crate) fn forget_routes(&mut self) {
        self.cache.fill_with(|| None);
        self.ahead.clear();
        self.cached_targets = 0;
    }

    /// Forgets where messages go that match a filter, as who has it may read others now.
    pub(crate) fn forget_routes_of(&mut self, filter: TopicFilter<'_>) {
        self.own.touch(self.counter_of(filter));
    }

    /// Readers that were found to have no right since the last call; not all of them if there were many.
    pub(crate) fn take_withheld(&mut self) -> Vec<Withheld> {
        std::mem::take(&mut self.withheld)
    }

    fn look_up(&mut self, topic: TopicName<'_>, law: Law<'_>) -> &Route {
        let levels = Levels::new(topic.as_bytes());
        if levels.topic().len() > CACHED_TOPIC_BYTES_MAX {
            let mut route = std::mem::take(&mut self.uncached);
            self.find(&levels, law, &mut route);
            self.uncached = route;
            return &self.uncached;
        }
        self.ahead.miss();
        let place = usize::from(self.place(levels.topic()).0);
        let mut cached = self.vacate(place);
        // Noted before anything is looked up, see [`Epochs`].
        let holds = self.note(&levels);
        self.find(&levels, law, &mut cached.route);
        let holds = if fault(Fault::EpochNotedLate) { self.note(&levels) } else { holds };
        self.keep(place, cached, &levels, holds)
    }

    /// Takes what is cached in a place: a route that has to go leaves its memory to the one that comes.
    fn vacate(&mut self, place: usize) -> Box<Cached> {
        let cached = self.cache[place].take().unwrap_or_default();
        self.cached_targets -= cached.route.weight();
        cached
    }

    /// Caches a topic's route in a place that was vacated.
    fn keep(
        &mut self,
        place: usize,
        mut cached: Box<Cached>,
        levels: &Levels<'_>,
        holds: Note,
    ) -> &Route {
        cached.holds = holds;
        cached.topic.clear();
        cached.topic.extend_from_slice(levels.topic());
        self.numbers += 1;
        cached.route.number = self.numbers;
        self.cached_targets += cached.route.weight();
        if self.cached_targets > CACHED_TARGETS_MAX {
            self.forget_routes();
            self.cached_targets = cached.route.weight();
        }
        &self.cache[place].insert(cached).route
    }

    #[inline]
    fn place(&self, topic: &[u8]) -> CachedRoute {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(topic);
        CachedRoute((hasher.finish() as usize % CACHED) as u16)
    }

    /// Finds where messages of a topic go; `route` is overwritten.
    fn find(&mut self, levels: &Levels<'_>, law: Law<'_>, route: &mut Route) {
        let mut matches = std::mem::take(&mut self.matches);
        self.index.matching(levels, |subscriber| matches.push(*subscriber));
        self.settle(levels, law, &mut matches, route);
        self.matches = matches;
    }

    /// Makes the route of a topic from what matches it; `route` is overwritten, `matches` is emptied.
    fn settle(
        &mut self,
        levels: &Levels<'_>,
        law: Law<'_>,
        matches: &mut Vec<Subscriber>,
        route: &mut Route,
    ) {
        route.refusal = refusal(levels, law.limits);
        route.denied = 0;
        matches.sort_unstable_by_key(|subscriber| subscriber.session);
        let targets = &mut route.targets;
        targets.clear();
        targets.extend(
            matches.chunk_by(|one, other| one.session == other.session).map(Target::merged),
        );
        if targets.capacity() > SPACIOUS && targets.len() < targets.capacity() / 4 {
            targets.shrink_to_fit();
        }
        matches.clear();
        if matches.capacity() > MATCHES_KEPT {
            *matches = Vec::new();
        }
        route.groups = self.find_groups(levels);
        self.find_elsewhere(levels, &mut route.elsewhere);
        if law.readers.is_some() {
            self.withhold(route, TopicName::from_checked(levels.topic()), law);
        }
    }

    /// Takes those out of a route who may not read its topic.
    fn withhold(&mut self, route: &mut Route, topic: TopicName<'_>, law: Law<'_>) {
        let Some(readers) = law.readers else {
            return;
        };
        let withheld = &mut self.withheld;
        let mut may_read = |target: &Target| {
            let ruling = readers.rule(target.session, topic);
            if ruling != Ruling::Permitted && withheld.len() < WITHHELD_MAX {
                let session = target.session;
                withheld.push(Withheld { session, topic: topic.as_str().into(), ruling });
            }
            ruling.permits()
        };
        // Of a group another member gets it.
        route.groups.iter_mut().for_each(|group| group.members.retain(&mut may_read));
        let wanting = route.targets.len();
        route.targets.retain(&mut may_read);
        route.denied = (wanting - route.targets.len()) as u32;
    }

    /// The other shards that want a topic, each once.
    fn find_elsewhere(&self, levels: &Levels<'_>, elsewhere: &mut Vec<Elsewhere>) {
        elsewhere.clear();
        if self.commons.shards() == 1 {
            return;
        }
        for part in self.placement.interest_parts_of_topic(levels.first(1)) {
            self.commons.read_interest(part, &mut |interest| {
                interest.matching(levels, |found| {
                    if found.shard == self.shard {
                        return;
                    }
                    match elsewhere.iter_mut().find(|known| known.shard == found.shard) {
                        Some(known) => known.durable |= found.durable,
                        None => {
                            elsewhere
                                .push(Elsewhere { shard: found.shard, durable: found.durable });
                        }
                    }
                });
            });
        }
    }
}

fn refusal(levels: &Levels<'_>, limits: &Limits) -> Option<Refusal> {
    let bytes = levels.topic().len();
    let separators = levels.count() - 1;
    if bytes > limits.topic_bytes_max {
        let limit = limits.topic_bytes_max;
        return Some(Refusal::OverLimit(Violation::TopicOverLimit {
            what: "bytes",
            found: bytes,
            limit,
        }));
    }
    if separators > limits.topic_separators_max {
        let limit = limits.topic_separators_max;
        return Some(Refusal::OverLimit(Violation::TopicOverLimit {
            what: "separators",
            found: separators,
            limit,
        }));
    }
    levels.topic().starts_with(b"$SYS/").then_some(Refusal::Reserved)
}

impl Target {
    /// Whether subscription identifiers go with what it is sent.
    #[inline]
    pub(crate) fn has_identifiers(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| !extras.identifiers.is_empty())
    }

    /// One target for all matching subscriptions of one session; `subscribers` is not empty.
    fn merged(subscribers: &[Subscriber]) -> Self {
        let highest = |own: bool| {
            let counting = subscribers.iter().filter(|one| !(own && one.no_local));
            counting.map(|one| one.qos).max()
        };
        let identifiers: SmallVec<[u32; 4]> =
            subscribers.iter().filter_map(Subscriber::identifier).collect();
        Self {
            session: subscribers[0].session,
            qos: highest(false).unwrap_or_default(),
            own_qos: highest(true),
            retain_as_published: subscribers.iter().any(|one| one.retain_as_published),
            extras: Extras::of(&identifiers, None),
            since: subscribers.iter().map(|one| one.since).min().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;
    use crate::commons::Solitude;
    use crate::session::Session;
    use noctule_mqtt::packet::SubscriptionOptions;
    use proptest::prelude::*;

    fn subscriber(session: SessionHandle, qos: QoS) -> Subscriber {
        Subscriber::new(session, SubscriptionOptions::qos(qos), None, false, 0)
    }

    fn router(seed: u64) -> Router {
        Router::new(seed, ShardId(0), Rc::new(Solitude::new(seed)))
    }

    fn session() -> SessionHandle {
        Arena::default().insert(Session::for_tests())
    }

    fn qos_of(router: &mut Router, topic: &str) -> Option<QoS> {
        let route = router.route(TopicName::new(topic).unwrap(), Law::of(&Limits::default()));
        route.targets.first().map(|target| target.qos)
    }

    #[test] // [MQTT3-3.3.5-1]
    fn overlapping_subscriptions_are_one_target_at_the_highest_qos() {
        let (mut router, session) = (router(3), session());
        for (filter, qos) in [("a/b", 1), ("a/+", 2), ("#", 0)] {
            let filter = TopicFilter::new(filter).unwrap();
            router.subscribe(filter, subscriber(session, QoS::from_bits(qos).unwrap()));
        }
        let route = router.route(TopicName::new("a/b").unwrap(), Law::of(&Limits::default()));
        assert_eq!(route.targets.len(), 1);
        assert_eq!(route.targets[0].qos, QoS::ExactlyOnce);
    }

    proptest! {
        /// A cached route never outlives a change of any filter that matches its topic.
        #[test]
        fn the_cache_never_hides_a_change(
            steps in prop::collection::vec(
                (
                    prop::sample::select(vec![
                        "#", "+", "a", "a/#", "a/+", "a/b", "a/b/#", "a/b/c", "a/b/c/#",
                        "a/b/c/d", "a/b/+/d", "+/b/#", "/", "/#", "/+", "a//#", "a//b", "//#",
                    ]),
                    any::<bool>(),
                    prop::sample::select(vec![
                        "a", "a/b", "a/b/c", "a/b/c/d", "/", "//", "a//b", "a/", "/a", "b/b/b",
                    ]),
                ),
                1..200,
            )
        ) {
            let (mut router, session) = (router(9), session());
            let mut held = std::collections::BTreeSet::new();
            for (filter, subscribe, topic) in steps {
                let parsed = TopicFilter::new(filter).unwrap();
                if subscribe {
                    router.subscribe(parsed, subscriber(session, QoS::AtLeastOnce));
                    held.insert(filter);
                } else {
                    router.unsubscribe(parsed, session);
                    held.remove(filter);
                }
                let name = TopicName::new(topic).unwrap();
                let wanted = held.iter().any(|f| TopicFilter::new(f).unwrap().matches(name));
                prop_assert_eq!(qos_of(&mut router, topic).is_some(), wanted, "{}", topic);
            }
        }
    }

    #[test]
    fn subscriptions_elsewhere_leave_a_cached_route_alone() {
        let (mut router, session) = (router(5), session());
        router.subscribe(TopicFilter::new("a/b").unwrap(), subscriber(session, QoS::AtMostOnce));
        let topic = TopicName::new("a/b").unwrap();
        let limits = Limits::default();
        let before: *const Route = router.route(topic, Law::of(&limits));
        router.subscribe(TopicFilter::new("x/y/#").unwrap(), subscriber(session, QoS::AtMostOnce));
        let after: *const Route = router.route(topic, Law::of(&limits));
        assert_eq!(before, after);
    }
}
