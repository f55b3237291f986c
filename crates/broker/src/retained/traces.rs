//! Where there may be retained messages. A subscription whose filter can match none, which is what
//! most of many are, need not go through all parts of them to find that out.

use crate::commons::{Beginning, Placement};
use crate::subscriptions::Levels;
use noctule_mqtt::TopicName;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};

/// For each topic that a part of the retained messages [knows](super::Retained::knows) it counts one for
/// the topic itself, and one for each beginning of it that can stand in front of the wildcards of a
/// filter, two levels at most. Counters are found by hashing: one at zero says that there is nothing, and
/// another one says little. One that is at its highest stays there.
///
/// A message leaves its traces before it gets its number; whoever subscribes looks for them after he has
/// read the last number. So those of each message are seen that the number says is there. The part of a
/// topic is in the hand of who leaves its traces and of who takes them back.
#[derive(Debug)]
pub struct RetainedTraces {
    topics: Box<[AtomicU8]>,
    beginnings: Box<[AtomicU16]>,
}

const TOPICS: usize = 1 << 16;
/// Many topics have a beginning in common.
const BEGINNINGS: usize = 1 << 15;

impl Default for RetainedTraces {
    fn default() -> Self {
        Self {
            topics: (0..TOPICS).map(|_| AtomicU8::new(0)).collect(),
            beginnings: (0..BEGINNINGS).map(|_| AtomicU16::new(0)).collect(),
        }
    }
}

impl RetainedTraces {
    /// A topic is about to be known.
    pub(crate) fn leave(&self, placement: &Placement, topic: TopicName<'_>) {
        let (itself, beginnings) = self.counters(placement, topic);
        let more = |count: u8| count.checked_add(1);
        // At its highest it stays as it is.
        let _ = itself.fetch_update(Ordering::SeqCst, Ordering::Relaxed, more);
        for beginning in beginnings {
            let more = |count: u16| count.checked_add(1);
            let _ = beginning.fetch_update(Ordering::SeqCst, Ordering::Relaxed, more);
        }
    }

    /// A topic that was known is not any more.
    pub(crate) fn take_back(&self, placement: &Placement, topic: TopicName<'_>) {
        let (itself, beginnings) = self.counters(placement, topic);
        let less = |count: u8| (count < u8::MAX).then(|| count.saturating_sub(1));
        let _ = itself.fetch_update(Ordering::SeqCst, Ordering::Relaxed, less);
        for beginning in beginnings {
            let less = |count: u16| (count < u16::MAX).then(|| count.saturating_sub(1));
            let _ = beginning.fetch_update(Ordering::SeqCst, Ordering::Relaxed, less);
        }
    }

    /// The same of one that was a topic when it was known.
    pub(crate) fn take_back_of(&self, placement: &Placement, topic: &str) {
        if let Ok(topic) = TopicName::new(topic) {
            self.take_back(placement, topic);
        }
    }

    /// Those of a topic and of its beginnings.
    fn counters<'a>(
        &'a self,
        placement: &Placement,
        topic: TopicName<'a>,
    ) -> (&'a AtomicU8, impl Iterator<Item = &'a AtomicU16>) {
        let levels = Levels::new(topic.as_bytes());
        // Wildcards in first place match no `$`-topics.
        let all = (!topic.is_reserved()).then_some(&b""[..]);
        let beginnings = [all, Some(levels.first(1)), Some(levels.first(2))];
        let places = beginnings.map(|beginning| beginning.map(|text| placement.counter(1, text)));
        let itself = &self.topics[placement.counter(0, levels.topic()) % TOPICS];
        (itself, places.into_iter().flatten().map(|place| &self.beginnings[place % BEGINNINGS]))
    }

    /// Whether there may be one that a filter matches which begins so.
    pub(crate) fn lead_to(&self, filter: Beginning) -> bool {
        if filter.has_wildcard {
            self.beginnings[filter.hash % BEGINNINGS].load(Ordering::SeqCst) > 0
        } else {
            self.topics[filter.hash % TOPICS].load(Ordering::SeqCst) > 0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_mqtt::TopicFilter;
    use proptest::prelude::*;

    fn leads(traces: &RetainedTraces, placement: &Placement, filter: &str) -> bool {
        traces.lead_to(placement.beginning(TopicFilter::new(filter).unwrap()))
    }

    #[test]
    fn nothing_leads_to_what_was_never_there() {
        let (traces, placement) = (RetainedTraces::default(), Placement::new(3));
        let leads = |filter| leads(&traces, &placement, filter);
        for topic in ["plant/1/line", "$SYS/broker/uptime"] {
            traces.leave(&placement, TopicName::new(topic).unwrap());
        }
        assert!(!leads("plant/2/+/3/#") && !leads("plant/1") && !leads("other/#"));
        assert!(leads("plant/1/#") && leads("plant/+/x") && leads("#") && leads("$SYS/#"));
    }

    #[test]
    fn topics_that_came_and_went_leave_nothing_behind() {
        let (traces, placement) = (RetainedTraces::default(), Placement::new(3));
        let all: Vec<_> = (0..50_000).map(|number| format!("plant/{number}/line")).collect();
        let topics = || all.iter().map(|topic| TopicName::new(topic).unwrap());
        topics().for_each(|topic| traces.leave(&placement, topic));
        topics().for_each(|topic| traces.take_back(&placement, topic));
        let leads = |filter| leads(&traces, &placement, filter);
        assert!(!leads("#") && !leads("plant/#") && !leads("plant/7/+") && !leads("plant/7/line"));
    }

    #[test]
    fn a_counter_at_its_highest_is_never_taken_for_less() {
        let (traces, placement) = (RetainedTraces::default(), Placement::new(3));
        let topic = TopicName::new("a").unwrap();
        let most = u32::from(u16::MAX) + 10;
        (0..most).for_each(|_| traces.leave(&placement, topic));
        (0..most).for_each(|_| traces.take_back(&placement, topic));
        let leads = |filter| leads(&traces, &placement, filter);
        assert!(leads("a") && leads("a/#"));
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
                prop_assert!(traces.lead_to(placement.beginning(filter)));
            }
        }
    }
}
