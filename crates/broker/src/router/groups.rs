//! Shared subscriptions: the groups that have members here, and which groups want a topic.

use super::{Router, Target};
use crate::commons::GroupInterest;
use crate::persist::Extras;
use crate::session::SessionHandle;
use crate::sharing::{Group, GroupKey, GroupRoute, GroupShard};
use crate::subscriptions::{Levels, Listed, Subscriber};
use noctule_mqtt::TopicFilter;
use noctule_mqtt::topic::SharedFilter;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// A group with members here.
#[derive(Debug)]
pub(super) struct Joined {
    /// With `$share` and share name.
    filter: Arc<str>,
    group: Rc<Group>,
    members: u32,
    /// How many of them are persistent.
    durable: u32,
}

/// A session's membership in a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    group: GroupKey,
    subscriber: Subscriber,
}

impl Listed for Member {
    type Key = (GroupKey, SessionHandle);

    fn key(&self) -> Self::Key {
        (self.group, self.subscriber.session)
    }

    fn is_durable(&self) -> bool {
        self.subscriber.durable
    }
}

impl Router {
    /// Adds or replaces a member of a group.
    pub(crate) fn join(&mut self, shared: SharedFilter<'_>, full: &str, subscriber: Subscriber) {
        let key = self.placement.group(full);
        let joined = self.groups.entry(key).or_insert_with(|| Joined {
            filter: full.into(),
            group: Rc::default(),
            members: 0,
            durable: 0,
        });
        let member = Member { group: key, subscriber };
        let (new, old) = self.shared.replace(shared.filter, member);
        joined.members += u32::from(new);
        joined.durable += u32::from(subscriber.durable);
        joined.durable -= u32::from(old.is_some_and(|old| old.subscriber.durable));
        self.announce_group(shared.filter, key);
    }

    /// Removes a member of a group.
    pub(crate) fn leave(&mut self, shared: SharedFilter<'_>, full: &str, session: SessionHandle) {
        let key = self.placement.group(full);
        let old = self.shared.take(shared.filter, (key, session));
        if let (Some(old), Some(joined)) = (old, self.groups.get_mut(&key)) {
            joined.members -= 1;
            joined.durable -= u32::from(old.subscriber.durable);
        }
        self.announce_group(shared.filter, key);
        if self.groups.get(&key).is_some_and(|joined| joined.members == 0) {
            self.groups.remove(&key);
        }
    }

    /// The members of a group have changed: as with other subscriptions.
    fn announce_group(&mut self, filter: TopicFilter<'_>, key: GroupKey) {
        let counter = self.counter_of(filter);
        self.own.touch(counter);
        if self.commons.shards() == 1 {
            return;
        }
        let (members, durable) =
            self.groups.get(&key).map_or((0, 0), |joined| (joined.members, joined.durable));
        let part = self.placement.interest_part_of_filter(filter);
        let interest =
            GroupInterest { group: key, shard: self.shard, members, durable: durable > 0 };
        self.commons.change_interest(part, &mut |parts| parts.set_group(filter, interest));
        self.common.touch(counter);
    }

    /// What a group is called on all shards.
    pub(crate) fn group_key(&self, full: &str) -> GroupKey {
        self.placement.group(full)
    }

    /// The groups that want a topic, here and elsewhere.
    pub(super) fn find_groups(&mut self, levels: &Levels<'_>) -> Vec<GroupRoute> {
        if self.shared.len() == 0 && self.commons.shards() == 1 {
            return Vec::new();
        }
        let mut groups: BTreeMap<GroupKey, GroupRoute> = BTreeMap::new();
        let (lookups, known) = (&mut self.lookups, &self.groups);
        let mut begin = |key| {
            let group = known.get(&key).map(|joined: &Joined| Rc::clone(&joined.group));
            let group = group.unwrap_or_else(|| {
                // Nobody remembers whose turn it was: each look-up begins with another shard.
                *lookups = lookups.wrapping_add(1);
                Rc::new(Group::beginning_with(*lookups))
            });
            GroupRoute { key, group, members: Vec::new(), shards: Vec::new() }
        };
        self.shared.matching(levels, |member| {
            let shared = known.get(&member.group).map(|joined| Arc::clone(&joined.filter));
            let extras = Extras::of(member.subscriber.identifier().as_slice(), shared);
            let target = Target { extras, ..Target::merged(&[member.subscriber]) };
            let group = groups.entry(member.group).or_insert_with(|| begin(member.group));
            group.members.push(target);
        });
        for group in groups.values_mut() {
            group.members.sort_unstable_by_key(|member| member.session);
            let members = group.members.len() as u32;
            let durable = known.get(&group.key).is_some_and(|joined| joined.durable > 0);
            group.shards.push(GroupShard { shard: self.shard, members, durable });
        }
        if self.commons.shards() > 1 {
            for part in self.placement.interest_parts_of_topic(levels.first(1)) {
                self.commons.read_interest(part, &mut |interest| {
                    interest.matching_groups(levels, |found| {
                        if found.shard != self.shard {
                            let begin = || begin(found.group);
                            groups
                                .entry(found.group)
                                .or_insert_with(begin)
                                .shards
                                .push(found.part());
                        }
                    });
                });
            }
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        for group in &mut groups {
            group.shards.sort_unstable_by_key(|one| one.shard);
        }
        groups
    }
}
