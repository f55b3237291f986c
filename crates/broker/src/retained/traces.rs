//! Where there may be retained messages. A subscription whose filter can match none, which is what
//! most of many are, need not go through all parts of them to find that out.

use crate::commons::Placement;
use crate::router::literal_levels;
use crate::subscriptions::Levels;
use noctule_mqtt::{TopicFilter, TopicName};
use std::sync::atomic::{AtomicU64, Ordering};

/// For each retained topic that there ever was one bit for itself, and one for each beginning of it
/// that can stand in front of the wildcards of a filter, two levels at most. Bits are found by
/// hashing: one that is not set says that there is nothing, and one that is set says little.
///
/// A message leaves its traces before it is counted; whoever subscribes looks for them after he has
/// read the count. So those of each message are seen that the count says is there.
#[derive(Debug)]
pub struct RetainedTraces {
    topics: Box<[AtomicU64]>,
    beginnings: Box<[AtomicU64]>,
}

/// Of each kind.
const BITS: usize = 1 << 16;

impl Default for RetainedTraces {
    fn default() -> Self {
        let none = || (0..BITS / 64).map(|_| AtomicU64::new(0)).collect();
        Self { topics: none(), beginnings: none() }
    }
}

impl RetainedTraces {
    /// A message of this topic is about to be retained.
    pub(crate) fn leave(&self, placement: &Placement, topic: TopicName<'_>) {
        let levels = Levels::new(topic.as_bytes());
        set(&self.topics, placement.counter(0, levels.topic()));
        // Wildcards in first place match no `$`-topics.
        if !topic.is_reserved() {
            set(&self.beginnings, placement.counter(1, b""));
        }
        set(&self.beginnings, placement.counter(1, levels.first(1)));
        set(&self.beginnings, placement.counter(1, levels.first(2)));
    }

    /// Whether there may be one that a filter matches.
    pub(crate) fn lead_to(&self, placement: &Placement, filter: TopicFilter<'_>) -> bool {
        if filter.has_wildcard() {
            let beginning = literal_levels(filter).as_bytes();
            is_set(&self.beginnings, placement.counter(1, beginning))
        } else {
            is_set(&self.topics, placement.counter(0, filter.as_str().as_bytes()))
        }
    }
}

fn set(bits: &[AtomicU64], hash: usize) {
    if !is_set(bits, hash) {
        bits[hash % BITS / 64].fetch_or(1 << (hash % 64), Ordering::SeqCst);
    }
}

fn is_set(bits: &[AtomicU64], hash: usize) -> bool {
    bits[hash % BITS / 64].load(Ordering::SeqCst) & 1 << (hash % 64) != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_leads_to_what_was_never_there() {
        let (traces, placement) = (RetainedTraces::default(), Placement::new(3));
        let leads = |filter| traces.lead_to(&placement, TopicFilter::new(filter).unwrap());
        for topic in ["plant/1/line", "$SYS/broker/uptime"] {
            traces.leave(&placement, TopicName::new(topic).unwrap());
        }
        assert!(!leads("plant/2/+/3/#") && !leads("plant/1") && !leads("other/#"));
        assert!(leads("plant/1/#") && leads("plant/+/x") && leads("#") && leads("$SYS/#"));
    }

    proptest! {
        /// Whatever filter matches a topic, the topic's traces lead to it.
        #[test]
        fn traces_lead_to_every_topic_that_a_filter_matches(
            filter in "[ab$+]{0,1}(/[ab+]{0,1}){0,4}(/#)?",
            topic in "[ab$]{0,1}(/[ab]{0,1}){0,4}",
            seed: u64,
        ) {
            let (Ok(filter), Ok(topic)) = (TopicFilter::new(&filter), TopicName::new(&topic)) else {
                return Ok(());
            };
            let (traces, placement) = (RetainedTraces::default(), Placement::new(seed));
            traces.leave(&placement, topic);
            if filter.matches(topic) {
                prop_assert!(traces.lead_to(&placement, filter));
            }
        }
    }
}
