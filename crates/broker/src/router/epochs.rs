//! What keeps a cached route true: the state of the counters that a filter matching its topic can
//! touch.

use super::Router;
use crate::commons::{Beginning, EPOCHS};
use crate::subscriptions::Levels;
use noctule_mqtt::TopicFilter;

/// The state of both sets of epochs at which a route was found to hold.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Note {
    /// All changes, to tell quickly that there was none.
    pub(super) changes: (u64, u64),
    /// The counters that can concern the topic.
    pub(super) counters: [u16; 4],
    pub(super) epochs: [(u32, u32); 4],
}

impl Router {
    /// The counter that a filter's literal part is hashed to.
    pub(super) fn counter_of(&self, filter: TopicFilter<'_>) -> u16 {
        counter_at(self.placement.beginning(filter))
    }

    /// The present state of the counters of the filters that can match a topic: the topic itself,
    /// and wildcard filters with none, one, or two and more literal levels in front.
    pub(super) fn note(&self, levels: &Levels<'_>) -> Note {
        let changes = (self.own.changes(), self.common.changes());
        let counters = [
            self.exact_counter(levels.topic()),
            self.prefix_counter(b""),
            self.prefix_counter(levels.first(1)),
            self.prefix_counter(levels.first(2)),
        ];
        let epochs = counters.map(|counter| (self.own.epoch(counter), self.common.epoch(counter)));
        Note { changes, counters, epochs }
    }

    fn exact_counter(&self, text: &[u8]) -> u16 {
        (self.placement.counter(0, text) % EPOCHS) as u16
    }

    fn prefix_counter(&self, levels: &[u8]) -> u16 {
        (self.placement.counter(1, levels) % EPOCHS) as u16
    }
}

/// The counter of filters that begin so.
pub(super) fn counter_at(beginning: Beginning) -> u16 {
    (beginning.hash % EPOCHS) as u16
}
