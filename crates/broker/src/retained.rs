//! Retained messages: the last one of each topic that was published to be kept.
//!
//! The table is ordered by topic, so that what a filter's literal prefix can match lies side by
//! side and a walk through it can stop anywhere and go on later. The topic is stored once, inside
//! the message. They belong to no session and outlast those of their publishers `[MQTT3-3.1.2-7]`.

mod kept;
mod traces;

pub(crate) use kept::Kept;
pub use traces::RetainedTraces;

use crate::expiry::Deadline;
use crate::message::Message;
use noctule_mqtt::TopicFilter;
use noctule_session::Now;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// What an entry takes beside its message.
const ENTRY_BYTES: usize = 2 * size_of::<Entry>();

/// The retained messages of all topics.
#[derive(Debug, Default)]
pub struct Retained {
    messages: BTreeSet<Entry>,
    bytes: usize,
    /// What clients have retained, for their quota.
    clients: Load,
    /// Those that expire, by when and by their number.
    expiring: BTreeMap<(Deadline, u64), Message>,
}

/// How much clients have retained: the broker's own topics are not theirs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) messages: usize,
    /// Topics, properties and payloads.
    pub(crate) bytes: usize,
}

/// What a part of the retained messages comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Size {
    /// As it counts for memory.
    pub(crate) memory: usize,
    pub(crate) clients: Load,
}

/// A message, ordered and found by its topic.
#[derive(Debug)]
struct Entry(Kept);

impl Entry {
    /// Bytes are in the order of the text they are.
    fn topic_bytes(&self) -> &[u8] {
        self.0.topic().as_bytes()
    }
}

impl Borrow<[u8]> for Entry {
    fn borrow(&self) -> &[u8] {
        self.topic_bytes()
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.topic_bytes() == other.topic_bytes()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.topic_bytes().cmp(other.topic_bytes())
    }
}

/// How far a walk through the messages of a filter has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// Nothing has been visited.
    Start,
    /// Everything up to this topic has been visited.
    After(Box<str>),
}

impl Retained {
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// How many bytes they count with, those of large ones apart.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + (self.messages.len() + self.expiring.len()) * ENTRY_BYTES
    }

    /// What it comes to now.
    pub(crate) fn size(&self) -> Size {
        Size { memory: self.bytes(), clients: self.clients }
    }

    /// The bytes of a topic's message, as they count for the quota; none if there is none.
    pub(crate) fn bytes_of(&self, topic: &str) -> Option<usize> {
        self.messages.get(topic.as_bytes()).map(|entry| entry.0.view().kept_bytes())
    }

    fn count(&mut self, kept: &Kept, gone: bool) {
        if gone {
            self.bytes -= kept.weight();
        } else {
            self.bytes += kept.weight();
        }
        if kept.topic().as_bytes().starts_with(b"$SYS/") {
            return;
        }
        let bytes = kept.view().kept_bytes();
        let Load { messages, bytes: all } = &mut self.clients;
        if gone {
            *messages -= 1;
            *all -= bytes;
        } else {
            *messages += 1;
            *all += bytes;
        }
    }

    /// Keeps `message` as its topic's, or forgets the topic's if its payload is empty
    /// `[MQTT3-3.3.1-10]` `[MQTT3-3.3.1-11]` `[MQTT5-3.3.1-6]` `[MQTT5-3.3.1-7]`. An earlier one is
    /// replaced, whatever its QoS `[MQTT3-3.3.1-5]` `[MQTT3-3.3.1-7]` `[MQTT5-3.3.1-5]`.
    pub(crate) fn set(&mut self, message: &Message, sequence: u64) {
        let old = if message.payload().is_empty() {
            self.messages.take(message.topic_name().as_bytes())
        } else {
            let kept = Kept::new(message, sequence);
            self.count(&kept, false);
            if !message.expires().is_never() {
                self.expiring.insert((message.expires(), sequence), message.clone());
            }
            self.messages.replace(Entry(kept))
        };
        if let Some(Entry(old)) = old {
            self.count(&old, true);
            if !old.expires().is_never() {
                self.expiring.remove(&(old.expires(), old.sequence()));
            }
        }
    }

    /// Forgets messages that have expired, at most so many, and returns them.
    pub(crate) fn expire(&mut self, now: Now, most: usize) -> Vec<Message> {
        let mut forgotten = Vec::new();
        while forgotten.len() < most
            && let Some(first) = self.expiring.first_entry()
            && first.key().0.has_passed(now)
        {
            let message = first.remove();
            if let Some(Entry(old)) = self.messages.take(message.topic_name().as_bytes()) {
                self.count(&old, true);
            }
            forgotten.push(message);
        }
        forgotten
    }

    /// When the next message expires.
    pub(crate) fn next_expiry(&self) -> Option<Deadline> {
        self.expiring.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Calls `take` with the messages that match the wanted filter and were set in time, beginning
    /// behind `cursor`, until it returns false or `budget`, which is used up by the topics looked
    /// at, has come to 0. Returns
    /// where to go on, or `None` at the end.
    pub(crate) fn walk(
        &self,
        wanted: &Wanted<'_>,
        cursor: &Cursor,
        budget: &mut usize,
        mut take: impl FnMut(&Kept) -> bool,
    ) -> Option<Cursor> {
        let filter = wanted.filter;
        let prefix = filter.literal_prefix().as_bytes();
        let mut reached = cursor.clone();
        let parent = self.parent_of(filter).filter(|parent| parent.sequence() <= wanted.up_to);
        if let (Cursor::Start, Some(parent)) = (cursor, parent) {
            if !take(parent) {
                return Some(reached);
            }
            reached = Cursor::after(parent);
        }
        let from = match cursor {
            // The parent lies before everything that begins with the prefix.
            Cursor::After(topic) if *topic.as_bytes() >= *prefix => {
                Bound::Excluded(topic.as_bytes())
            }
            Cursor::After(_) | Cursor::Start => Bound::Included(prefix),
        };
        let mut last = None;
        for Entry(kept) in self.messages.range::<[u8], _>((from, Bound::Unbounded)) {
            // Without a wildcard the prefix is the whole filter, and only its own topic is meant.
            if !kept.topic().as_bytes().starts_with(prefix) {
                return None;
            }
            let taken = *budget > 0 && (!wanted.wants(kept) || take(kept));
            *budget = budget.saturating_sub(1);
            if !taken {
                return Some(last.map_or(reached, Cursor::after));
            }
            if !filter.has_wildcard() {
                return None;
            }
            last = Some(kept);
        }
        None
    }

    /// `a/#` matches its parent `a` too, which does not begin with `a/`.
    fn parent_of(&self, filter: TopicFilter<'_>) -> Option<&Kept> {
        let text = filter.as_str();
        let prefix = filter.literal_prefix();
        let is_prefix_and_hash = text.len() == prefix.len() + 1 && text.ends_with('#');
        let parent = prefix.strip_suffix('/').filter(|_| is_prefix_and_hash)?;
        self.messages.get(parent.as_bytes()).map(|entry| &entry.0)
    }
}

impl Cursor {
    fn after(kept: &Kept) -> Self {
        Self::After(kept.topic().as_str().into())
    }
}

/// Which retained messages a new subscription gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) filter: TopicFilter<'a>,
    /// The last one that was set when the subscription was made. Later ones are delivered as they
    /// are published, and not once more.
    pub(crate) up_to: u64,
}

impl Wanted<'_> {
    fn wants(&self, kept: &Kept) -> bool {
        kept.sequence() <= self.up_to && self.filter.matches(kept.topic())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageView;
    use noctule_mqtt::{QoS, TopicName};
    use proptest::prelude::*;

    fn message(topic: &str, payload: &[u8]) -> Message {
        Message::new(&MessageView {
            topic: TopicName::new(topic).unwrap(),
            properties: &[],
            payload,
            qos: QoS::AtLeastOnce,
            retain: true,
            expires: Deadline::NEVER,
        })
    }

    /// What a walk finds in slices, when the taker has no room at every `refusing`-th offer.
    fn topics(retained: &Retained, filter: &str, slice: usize, refusing: usize) -> Vec<String> {
        let filter = TopicFilter::new(filter).unwrap();
        let wanted = Wanted { filter, up_to: 1 };
        let (mut cursor, mut found) = (Some(Cursor::Start), Vec::new());
        let mut offers = 0;
        while let Some(at) = cursor {
            cursor = retained.walk(&wanted, &at, &mut slice.clone(), |message| {
                offers += 1;
                let taken = offers % refusing != 0;
                if taken {
                    found.push(message.topic().as_str().to_owned());
                }
                taken
            });
        }
        found.sort();
        found
    }

    #[test] // [MQTT3-3.3.1-10] [MQTT3-3.3.1-11] [MQTT5-3.3.1-6] [MQTT5-3.3.1-7]
    fn an_empty_payload_forgets_the_topic() {
        let mut retained = Retained::default();
        retained.set(&message("a", b"1"), 1);
        retained.set(&message("a", b"2"), 1);
        assert_eq!(
            (retained.len(), retained.bytes),
            (1, Kept::new(&message("a", b"2"), 1).weight())
        );
        assert_eq!(retained.clients, Load { messages: 1, bytes: 2 });
        retained.set(&message("$SYS/broker", b"x"), 1);
        assert_eq!(retained.clients.messages, 1, "the broker's own are nobody's");
        retained.set(&message("$SYS/broker", b""), 1);
        retained.set(&message("b", b""), 1);
        retained.set(&message("a", b""), 1);
        assert_eq!((retained.len(), retained.bytes), (0, 0));
        assert_eq!(retained.clients, Load::default());
    }

    proptest! {
        /// In slices of any size, a walk visits exactly what asking every topic would find.
        #[test]
        fn a_walk_in_pieces_finds_every_match_once(
            names in prop::collection::btree_set("[ab$!]{0,2}(/[ab!]{0,2}){0,3}", 0..40),
            filter in prop::sample::select(vec![
                "#", "+", "a", "a/#", "a/+", "+/a", "a/b/#", "/#", "/", "$a/#", "a/+/b", "b!/#",
            ]),
            slice in 1usize..6,
            refusing in 2usize..6,
        ) {
            let mut retained = Retained::default();
            let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
            for name in &names {
                retained.set(&message(name, b"x"), 1);
            }
            let parsed = TopicFilter::new(filter).unwrap();
            let expected: Vec<_> = names
                .iter()
                .filter(|name| parsed.matches(TopicName::new(name).unwrap()))
                .cloned()
                .collect();
            prop_assert_eq!(topics(&retained, filter, slice, refusing), expected);
        }
    }
}
