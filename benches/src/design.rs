//! The designs behind one door: some shards of a broker, without sessions, connections and
//! mail. What crosses to another of these shards is worked on at once, so the cost of a publish is
//! that of all shards it concerns; what would cross to a shard that another thread has is left out.

use crate::locks::{Access, Locks, SEED};
use noctule_broker::ShardId;
use noctule_broker::bench::{Directory, Found, OneIndex, SentAlong, TwoLevels};
use noctule_mqtt::{TopicFilter, TopicName};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// All designs, by the names they have in tables. The first is what the others are compared with.
pub(crate) const NAMES: [&str; 4] = [Two::NAME, Receiving::NAME, One::NAME, Common::NAME];

/// A way to route.
pub(crate) trait Design: Sized {
    /// What the tables call it.
    const NAME: &'static str;

    /// Those of the shards that this thread has.
    fn new(locks: &Arc<Locks>, shards: Range<u16>) -> Self;

    /// Subscribes a session, which lives on shard `shard`.
    fn subscribe(&mut self, shard: u16, filter: TopicFilter<'_>, session: u32);

    /// Takes it back.
    fn unsubscribe(&mut self, shard: u16, filter: TopicFilter<'_>, session: u32);

    /// Routes a message that came in on shard `shard` until each session is known that gets it,
    /// on each of these shards; returns how many.
    fn publish(&mut self, shard: u16, topic: TopicName<'_>) -> usize;
}

/// As the broker does it.
pub(crate) struct Two {
    first: u16,
    routers: Vec<TwoLevels>,
    elsewhere: Vec<ShardId>,
}

impl Design for Two {
    const NAME: &'static str = "two levels";

    fn new(locks: &Arc<Locks>, shards: Range<u16>) -> Self {
        let access = Rc::new(Access(Arc::clone(locks)));
        let router = |shard| TwoLevels::new(SEED, ShardId(shard), access.clone());
        Self { first: shards.start, routers: shards.map(router).collect(), elsewhere: Vec::new() }
    }

    fn subscribe(&mut self, shard: u16, filter: TopicFilter<'_>, session: u32) {
        self.routers[usize::from(shard - self.first)].subscribe(filter, session);
    }

    fn unsubscribe(&mut self, shard: u16, filter: TopicFilter<'_>, session: u32) {
        self.routers[usize::from(shard - self.first)].unsubscribe(filter, session);
    }

    fn publish(&mut self, shard: u16, topic: TopicName<'_>) -> usize {
        let Self { first, routers, elsewhere } = self;
        elsewhere.clear();
        let here = usize::from(shard - *first);
        let mut found = routers[here].route(topic, |other| elsewhere.push(other));
        for other in elsewhere {
            let other = usize::from(other.0.wrapping_sub(*first));
            if let Some(router) = routers.get_mut(other) {
                found += router.route(topic, |_| {});
            }
        }
        found
    }
}

/// The same, with shards that ask their own index alone about what was sent to them.
pub(crate) struct Receiving(Two);

impl Design for Receiving {
    const NAME: &'static str = "two, receiving";

    fn new(locks: &Arc<Locks>, shards: Range<u16>) -> Self {
        Self(Two::new(locks, shards))
    }

    fn subscribe(&mut self, shard: u16, filter: TopicFilter<'_>, session: u32) {
        self.0.subscribe(shard, filter, session);
    }

    fn unsubscribe(&mut self, shard: u16, filter: TopicFilter<'_>, session: u32) {
        self.0.unsubscribe(shard, filter, session);
    }

    fn publish(&mut self, shard: u16, topic: TopicName<'_>) -> usize {
        let Two { first, routers, elsewhere } = &mut self.0;
        elsewhere.clear();
        let here = usize::from(shard - *first);
        let mut found = routers[here].route_whole(topic, |other| elsewhere.push(other));
        for other in elsewhere {
            let other = usize::from(other.0.wrapping_sub(*first));
            found += routers.get_mut(other).map_or(0, |router| router.receive(topic));
        }
        found
    }
}

/// The rival: one index in common parts.
pub(crate) struct One {
    first: u16,
    routers: Vec<OneIndex>,
    sent: Vec<(ShardId, SentAlong)>,
}

impl Design for One {
    const NAME: &'static str = "one index";

    fn new(locks: &Arc<Locks>, shards: Range<u16>) -> Self {
        let access = Rc::new(Access(Arc::clone(locks)));
        let router = |shard| OneIndex::new(SEED, ShardId(shard), access.clone(), access.clone());
        Self { first: shards.start, routers: shards.map(router).collect(), sent: Vec::new() }
    }

    fn subscribe(&mut self, shard: u16, filter: TopicFilter<'_>, session: u32) {
        self.routers[usize::from(shard - self.first)].subscribe(filter, session);
    }

    fn unsubscribe(&mut self, shard: u16, filter: TopicFilter<'_>, session: u32) {
        self.routers[usize::from(shard - self.first)].unsubscribe(filter, session);
    }

    fn publish(&mut self, shard: u16, topic: TopicName<'_>) -> usize {
        let here = usize::from(shard - self.first);
        let sent = &mut self.sent;
        // The message is put in a mailbox with its targets, and let go by who has served them.
        let mut found = self.routers[here].route(topic, |(other, targets)| {
            sent.push((*other, Arc::clone(targets)));
        });
        for (_, targets) in self.sent.drain(..) {
            found += targets.len();
        }
        found
    }
}

/// Filters in common, sessions at home.
pub(crate) struct Common {
    first: u16,
    routers: Vec<Directory>,
    sent: Vec<(ShardId, Arc<[Found]>)>,
}

impl Design for Common {
    const NAME: &'static str = "directory";

    fn new(locks: &Arc<Locks>, shards: Range<u16>) -> Self {
        let access = Rc::new(Access(Arc::clone(locks)));
        let router = |shard| Directory::new(SEED, ShardId(shard), access.clone(), access.clone());
        Self { first: shards.start, routers: shards.map(router).collect(), sent: Vec::new() }
    }

    fn subscribe(&mut self, shard: u16, filter: TopicFilter<'_>, session: u32) {
        self.routers[usize::from(shard - self.first)].subscribe(filter, session);
    }

    fn unsubscribe(&mut self, shard: u16, filter: TopicFilter<'_>, session: u32) {
        self.routers[usize::from(shard - self.first)].unsubscribe(filter, session);
    }

    fn publish(&mut self, shard: u16, topic: TopicName<'_>) -> usize {
        let Self { first, routers, sent } = self;
        let here = usize::from(shard - *first);
        let mut found = routers[here].route(topic, |(other, founds)| {
            sent.push((*other, Arc::clone(founds)));
        });
        for (other, founds) in sent.drain(..) {
            let other = usize::from(other.0.wrapping_sub(*first));
            found += routers.get_mut(other).map_or(0, |router| router.receive(topic, &founds));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::{self, Top};

    /// How many sessions get each topic, with changes in between.
    fn found<D: Design>(shards: u16) -> Vec<usize> {
        let locks = Locks::new(shards);
        let mut design = D::new(&locks, 0..shards);
        let topics = mix::topics(Top::Hundred, 2_000, 300);
        let mut found = Vec::new();
        let mut publish = |design: &mut D| {
            for (number, topic) in topics.iter().enumerate() {
                let topic = TopicName::new(topic).unwrap();
                found.push(design.publish(number as u16 % shards, topic));
            }
        };
        for number in 0..2_000 {
            let filter = mix::filter(Top::Hundred, number);
            let session = number as u32 / 3;
            let shard = (session % u32::from(shards)) as u16;
            design.subscribe(shard, TopicFilter::new(&filter).unwrap(), session);
        }
        publish(&mut design);
        for number in (0..2_000).step_by(2) {
            let filter = mix::filter(Top::Hundred, number);
            let session = number as u32 / 3;
            let shard = (session % u32::from(shards)) as u16;
            design.unsubscribe(shard, TopicFilter::new(&filter).unwrap(), session);
        }
        publish(&mut design);
        found
    }

    #[test]
    fn all_designs_find_the_same_receivers() {
        let expected = found::<Two>(1);
        assert!(expected.iter().sum::<usize>() > 500);
        for shards in [1, 2, 8] {
            assert_eq!(found::<Two>(shards), expected, "two levels, {shards} shards");
            assert_eq!(found::<Receiving>(shards), expected, "receiving, {shards} shards");
            assert_eq!(found::<One>(shards), expected, "one index, {shards} shards");
            assert_eq!(found::<Common>(shards), expected, "directory, {shards} shards");
        }
    }
}
