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
use noctule_mqtt::{TopicFilter, TopicName};
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
    /// Topics that were cleared, which the store may not know yet.
    cleared: BTreeMap<Box<str>, u64>,
    /// The number of the last of these, which is the highest.
    cleared_last: u64,
    /// So many of these, and it is time to forget those that are stored.
    cleared_max: usize,
}

/// At least so many topics that were cleared may be remembered.
const CLEARED: usize = 16;

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

/// What a walk through the messages of a filter came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Walked {
    /// The last topic that was passed, if one was: the walk goes on behind it.
    pub(crate) passed: Option<Box<str>>,
    pub(crate) stopped: Stopped,
    /// What may not be stored, if that is why.
    pub(crate) barrier: Option<Barrier>,
}

/// The last word about a topic, which may not be stored when somebody comes to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Barrier {
    pub(crate) topic: Box<str>,
    pub(crate) sequence: u64,
    pub(crate) cleared: bool,
}

impl Barrier {
    fn set(kept: &Kept) -> Self {
        Self { topic: kept.topic().as_str().into(), sequence: kept.sequence(), cleared: false }
    }

    fn cleared((topic, sequence): (&str, u64)) -> Self {
        Self { topic: topic.into(), sequence, cleared: true }
    }

    /// Whether it says that the topic has nothing for whoever wants what was set up to this number.
    /// Once it is stored, nothing will come of the topic after a crash, whatever is said later: what is
    /// set later has a higher number.
    pub(crate) fn leaves_nothing(&self, up_to: u64) -> bool {
        self.cleared || self.sequence > up_to
    }
}

/// Why a walk has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// There is nothing more.
    AtTheEnd,
    /// The taker has no room, or the budget is used up.
    ByTheTaker,
    /// What comes next may not be stored.
    AtUnstored,
}

impl Retained {
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// How many bytes they count with, those of large ones apart.
    pub(crate) fn bytes(&self) -> usize {
        let entries = self.messages.len() + self.expiring.len() + self.cleared.len();
        self.bytes + entries * ENTRY_BYTES
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
        if !self.cleared.is_empty() && self.cleared.remove(message.topic()).is_some() {
            self.bytes -= message.topic().len();
        }
    }

    /// Whether it knows of a topic: there is a message, or the store may not know yet that there is none.
    /// Then clearing it has to be [remembered](Self::note_cleared).
    pub(crate) fn knows(&self, topic: &str) -> bool {
        self.messages.contains(topic.as_bytes()) || self.cleared.contains_key(topic)
    }

    /// Remembers that a topic was cleared with this number, as the store may not know it yet. What it
    /// knows, all before `stored_before`, is forgotten from time to time, and `forget` called with it.
    pub(crate) fn note_cleared(
        &mut self,
        topic: &str,
        sequence: u64,
        stored_before: u64,
        forget: &mut dyn FnMut(&str),
    ) {
        if self.cleared_last < stored_before {
            // The store knows of all of them.
            for topic in std::mem::take(&mut self.cleared).into_keys() {
                self.bytes -= topic.len();
                forget(&topic);
            }
            self.cleared_max = 0;
        }
        self.cleared_last = self.cleared_last.max(sequence);
        if self.cleared.insert(topic.into(), sequence).is_none() {
            self.bytes += topic.len();
        }
        if self.cleared.len() > self.cleared_max.max(CLEARED) {
            let bytes = &mut self.bytes;
            self.cleared.retain(|topic, sequence| {
                let stays = *sequence >= stored_before;
                if !stays {
                    *bytes -= topic.len();
                    forget(topic);
                }
                stays
            });
            self.cleared_max = 2 * self.cleared.len();
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
    /// behind the topic `after`, in the order of their topics, until it returns false, or `budget`,
    /// which is used up by the topics looked at, has come to 0, or something may not be stored.
    pub(crate) fn walk(
        &self,
        wanted: &Wanted<'_>,
        after: Option<&str>,
        budget: &mut usize,
        mut take: impl FnMut(&Kept) -> bool,
    ) -> Walked {
        let filter = wanted.filter;
        let prefix = filter.literal_prefix().as_bytes();
        // The parent lies before everything that begins with the prefix.
        let from = after.filter(|topic| topic.as_bytes() >= prefix);
        let cleared = self.first_cleared(wanted, from);
        let parent = self.parent_of(filter).filter(|_| after.is_none());
        let (mut last, mut stopped, mut barrier) = (None, None, None);
        if let Some(parent) = parent {
            if !wanted.is_stored(parent) {
                (stopped, barrier) = (Some(Stopped::AtUnstored), Some(Barrier::set(parent)));
            } else if parent.sequence() <= wanted.up_to && !take(parent) {
                stopped = Some(Stopped::ByTheTaker);
            } else {
                last = Some(parent);
            }
        }
        let bound = from.map_or(Bound::Included(prefix), |topic| Bound::Excluded(topic.as_bytes()));
        // Without a wildcard the prefix is the whole filter, and only its own topic is meant.
        let most = if filter.has_wildcard() { usize::MAX } else { 1 };
        let all = self.messages.range::<[u8], _>((bound, Bound::Unbounded)).take(most);
        for Entry(kept) in all.take_while(|one| one.topic_bytes().starts_with(prefix)) {
            if stopped.is_some() {
                break;
            }
            let matches = filter.matches(kept.topic());
            stopped = if *budget == 0 {
                Some(Stopped::ByTheTaker)
            } else if let Some(cleared) =
                cleared.filter(|(topic, _)| *topic < kept.topic().as_str())
            {
                barrier = Some(Barrier::cleared(cleared));
                Some(Stopped::AtUnstored)
            } else if matches && !wanted.is_stored(kept) {
                barrier = Some(Barrier::set(kept));
                Some(Stopped::AtUnstored)
            } else if matches && kept.sequence() <= wanted.up_to && !take(kept) {
                Some(Stopped::ByTheTaker)
            } else {
                last = Some(kept);
                None
            };
            *budget = budget.saturating_sub(1);
        }
        let passed = last.map(|kept| kept.topic().as_str().into());
        let stopped = match (stopped, cleared) {
            (Some(stopped), _) => stopped,
            (None, Some(cleared)) => {
                barrier = Some(Barrier::cleared(cleared));
                Stopped::AtUnstored
            }
            (None, None) => Stopped::AtTheEnd,
        };
        Walked { passed, stopped, barrier }
    }

    /// The first topic behind this one that was cleared, is wanted and may not be stored.
    fn first_cleared(&self, wanted: &Wanted<'_>, from: Option<&str>) -> Option<(&str, u64)> {
        if self.cleared.is_empty() || self.cleared_last < wanted.stored_before {
            return None;
        }
        // The parent of a prefix lies before it, and is one of few that do.
        let mut all = self.cleared.iter().map(|(topic, sequence)| (&**topic, *sequence));
        all.find(|(topic, sequence)| {
            *sequence >= wanted.stored_before
                && wanted.beyond != Some(*topic)
                && from.is_none_or(|from| *topic > from)
                && TopicName::new(topic).is_ok_and(|topic| wanted.filter.matches(topic))
        })
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

/// Which retained messages a new subscription gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) filter: TopicFilter<'a>,
    /// The last one that was set when the subscription was made. Later ones are delivered as they
    /// are published, and not once more.
    pub(crate) up_to: u64,
    /// What was set or cleared before this is stored. What comes later may not be, and must not be
    /// passed.
    pub(crate) stored_before: u64,
    /// But this topic, of which something is stored that [leaves nothing](Barrier::leaves_nothing).
    pub(crate) beyond: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    /// What a filter gets, stored or not.
    pub(crate) fn any(filter: TopicFilter<'a>, up_to: u64) -> Self {
        Self { filter, up_to, stored_before: u64::MAX, beyond: None }
    }

    /// Whether what was set is stored, or never will be: what the broker says of itself.
    fn is_stored(&self, kept: &Kept) -> bool {
        kept.sequence() < self.stored_before
            || kept.topic().as_bytes().starts_with(b"$SYS/")
            || (self.beyond == Some(kept.topic().as_str()) && kept.sequence() > self.up_to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageView;
    use noctule_mqtt::QoS;
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
        let wanted = Wanted::any(TopicFilter::new(filter).unwrap(), 1);
        let (mut reached, mut found): (Option<Box<str>>, _) = (None, Vec::new());
        let mut offers = 0;
        loop {
            let walked =
                retained.walk(&wanted, reached.as_deref(), &mut slice.clone(), |message| {
                    offers += 1;
                    let taken = offers % refusing != 0;
                    if taken {
                        found.push(message.topic().as_str().to_owned());
                    }
                    taken
                });
            reached = walked.passed.or(reached);
            if walked.stopped == Stopped::AtTheEnd {
                return found;
            }
        }
    }

    /// How a walk from the beginning ends whose filter is this, and which topics it finds.
    fn walk_stored(retained: &Retained, filter: &str, stored_before: u64) -> (Stopped, String) {
        let wanted = Wanted { stored_before, ..Wanted::any(TopicFilter::new(filter).unwrap(), 9) };
        let mut found = Vec::new();
        let walked = retained.walk(&wanted, None, &mut 100, |message| {
            found.push(message.topic().as_str().to_owned());
            true
        });
        assert_eq!(walked.passed.as_deref(), found.last().map(String::as_str));
        (walked.stopped, found.join(" "))
    }

    #[test]
    fn what_may_not_be_stored_is_not_passed() {
        let mut retained = Retained::default();
        for (number, topic) in ["a", "a/1", "a/2", "a/3", "b"].iter().enumerate() {
            retained.set(&message(topic, b"x"), number as u64 + 1);
        }
        retained.set(&message("a/2", b"y"), 12);
        let (end, stop) = (Stopped::AtTheEnd, Stopped::AtUnstored);
        assert_eq!(walk_stored(&retained, "#", 12), (stop, "a a/1".into()));
        assert_eq!(walk_stored(&retained, "a/2", 12), (stop, "".into()));
        assert_eq!(walk_stored(&retained, "#", 13), (end, "a a/1 a/3 b".into()), "a/2 is too new");
        assert_eq!(walk_stored(&retained, "+", 12), (end, "a b".into()), "it is none of these");
    }

    #[test]
    fn a_topic_is_passed_of_which_something_is_stored_that_leaves_nothing() {
        let mut retained = Retained::default();
        for topic in ["a/1", "a/2", "a/3"] {
            retained.set(&message(topic, b"x"), 1);
        }
        let walk = |retained: &Retained, beyond, stored_before| {
            let filter = TopicFilter::new("a/#").unwrap();
            let wanted = Wanted { stored_before, beyond, ..Wanted::any(filter, 9) };
            retained.walk(&wanted, None, &mut 100, |_| true)
        };
        let barrier = |topic: &str, sequence, cleared| {
            Some(Barrier { topic: topic.into(), sequence, cleared })
        };
        retained.set(&message("a/2", b"y"), 12);
        assert_eq!(walk(&retained, None, 12).barrier, barrier("a/2", 12, false));
        assert_eq!(walk(&retained, Some("a/1"), 12).barrier, barrier("a/2", 12, false));
        assert_eq!(walk(&retained, Some("a/2"), 12).stopped, Stopped::AtTheEnd);
        retained.set(&message("a/2", b""), 13);
        retained.note_cleared("a/2", 13, 12, &mut |_| ());
        assert_eq!(walk(&retained, None, 12).barrier, barrier("a/2", 13, true));
        assert_eq!(walk(&retained, Some("a/2"), 12).stopped, Stopped::AtTheEnd);
        retained.set(&message("a/3", b"z"), 9);
        let walked = walk(&retained, Some("a/3"), 9);
        assert_eq!(walked.barrier, barrier("a/2", 13, true));
        retained.set(&message("a/2", b"y"), 8);
        let walked = walk(&retained, Some("a/3"), 9);
        assert_eq!(walked.barrier, barrier("a/3", 9, false), "it is still due");
    }

    #[test]
    fn what_was_cleared_and_may_be_there_again_is_not_passed() {
        let mut retained = Retained::default();
        for (number, topic) in ["a", "a/1", "a/2", "a/3", "b"].iter().enumerate() {
            retained.set(&message(topic, b"x"), number as u64 + 1);
        }
        let before = retained.bytes();
        let clear = |retained: &mut Retained, topic: &str, sequence| {
            retained.set(&message(topic, b""), sequence);
            retained.note_cleared(topic, sequence, 12, &mut |_| ());
        };
        let (end, stop) = (Stopped::AtTheEnd, Stopped::AtUnstored);
        clear(&mut retained, "a/2", 12);
        assert_eq!(walk_stored(&retained, "#", 12), (stop, "a a/1".into()));
        assert_eq!(walk_stored(&retained, "a/+", 12), (stop, "a/1".into()));
        assert_eq!(walk_stored(&retained, "a/2", 12), (stop, "".into()));
        assert_eq!(walk_stored(&retained, "a/3", 12), (end, "a/3".into()));
        assert_eq!(walk_stored(&retained, "#", 13), (end, "a a/1 a/3 b".into()));
        clear(&mut retained, "b", 13);
        clear(&mut retained, "a", 14);
        assert_eq!(walk_stored(&retained, "+", 13), (stop, "".into()));
        assert_eq!(
            walk_stored(&retained, "a/#", 13),
            (stop, "".into()),
            "the parent is one of them"
        );
        // What is set again is not what was cleared.
        for (number, topic) in ["a", "a/2", "b"].iter().enumerate() {
            retained.set(&message(topic, b"x"), number as u64 + 15);
        }
        assert_eq!((retained.cleared.len(), retained.bytes()), (0, before));
        for number in 0..1_000 {
            retained.set(&message("c", b"x"), 12);
            clear(&mut retained, &format!("c/{number}"), number);
        }
        assert!(retained.cleared.len() > 900, "they are not stored");
        retained.cleared_max = 0;
        retained.note_cleared("c/new", 5_000, 900, &mut |_| ());
        assert_eq!(retained.cleared.len(), 101, "the others are");
        let bytes = retained.bytes();
        retained.note_cleared("c/newer", 5_001, 5_001, &mut |_| ());
        assert_eq!(retained.cleared.len(), 1, "all others are");
        let names = 100 * "c/900".len() + "c/new".len() - "c/newer".len();
        assert_eq!(bytes - retained.bytes(), names + 100 * ENTRY_BYTES);
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
