//! Routes that are looked for before their messages' turn has come.
//!
//! A topic that is not in the cache costs a walk through the index, and in a large one each step of it
//! waits for memory. When one was not in the cache, the packets behind it in the same input are looked
//! at, and the routes of their topics are found together, so that they wait together. They lie in a few
//! places of their own, which stay in the processor's cache and push nobody out: a topic among very many
//! gets a place in the large cache only when it is looked for by itself, which is what happens to each
//! that comes again and again.
//!
//! Such a route is a cached one like all others: it notes its epochs before it is looked for, and is
//! asked whether it still holds when its message comes.

use super::{CACHED, CACHED_TOPIC_BYTES_MAX, CachedRoute, Router};
use crate::rights::Law;
use crate::run;
use crate::session::SessionHandle;
use crate::subscriptions::Levels;
use noctule_mqtt::codec;
use noctule_mqtt::{PacketType, TopicName};
use smallvec::SmallVec;

/// Routes that are found at once, at most.
pub(super) const AHEAD: usize = 16;

/// Which of the places behind the cache hold the routes of topics to come, in their order.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// The next one that has not been asked for.
    next: u16,
    end: u16,
    /// A route was looked for by itself since the last look ahead.
    missed: bool,
    /// So many were found the last time.
    reach: u16,
}

impl Ahead {
    /// A route had to be looked for by itself.
    pub(super) fn miss(&mut self) {
        self.missed = true;
    }

    /// Forgets what was found, as nothing in the cache is true any more.
    pub(super) fn clear(&mut self) {
        (self.next, self.end) = (0, 0);
    }
}

impl Router {
    /// The place of a topic whose route was found ahead, if it is the one whose turn it is, or was the
    /// last time.
    #[inline]
    pub(super) fn found_ahead(&mut self, topic: &[u8]) -> Option<CachedRoute> {
        let Ahead { next, end, .. } = self.ahead;
        if end == 0 {
            return None;
        }
        let [before, here] =
            [next.saturating_sub(1), next].map(|at| CachedRoute(CACHED as u16 + at));
        if next < end && self.holds(here, topic) {
            self.ahead.next += 1;
            return Some(here);
        }
        (next > 0 && self.holds(before, topic)).then_some(before)
    }

    /// The input is at its end: what was found ahead and used is forgotten, so that nobody looks there.
    #[inline]
    pub(crate) fn end_input(&mut self) {
        if self.ahead.next == self.ahead.end {
            self.ahead.clear();
        }
    }

    /// Whether it is worth looking at the packets to come: the last one's topic had no route.
    #[inline(always)]
    pub(crate) fn has_missed(&self) -> bool {
        self.ahead.missed
    }

    /// Finds the routes of the topics of the packets that `input` of `from` begins with, as far as they are
    /// PUBLISH, whole, and not in the cache. What may not be published is not looked for: it would be said
    /// of receivers that they have wanted to read it.
    #[inline(never)]
    pub(crate) fn look_ahead(
        &mut self,
        input: &[u8],
        packet_bytes_max: u32,
        from: SessionHandle,
        law: Law<'_>,
    ) {
        self.ahead.missed = false;
        // Who did not get to what was found before had better find less.
        let all_were_used = self.ahead.next == self.ahead.end;
        let reach = if all_were_used { self.ahead.reach * 4 } else { self.ahead.reach / 4 };
        self.ahead.reach = reach.clamp(1, AHEAD as u16);
        self.ahead.clear();
        let mut topics: SmallVec<[Levels<'_>; AHEAD]> = SmallVec::new();
        let mut rest = input;
        while topics.len() < usize::from(self.ahead.reach)
            && let Ok(Some(frame)) = codec::next_frame(rest, packet_bytes_max)
            && frame.type_bits() == PacketType::Publish as u8
            && let Some(topic) = run::topic_of_any(&frame)
        {
            rest = &rest[frame.bytes.len()..];
            let is_last = topics.last().is_some_and(|last: &Levels<'_>| last.topic() == topic);
            let place = self.place(topic);
            // Whatever is wrong with it is found when its turn comes.
            if is_last || topic.len() > CACHED_TOPIC_BYTES_MAX || self.holds(place, topic) {
                continue;
            }
            let text = std::str::from_utf8(topic).ok();
            let Some(Ok(topic)) = text.map(TopicName::new) else { break };
            if !law.permits_publishing(from, topic) {
                break;
            }
            topics.push(Levels::new(topic.as_bytes()));
        }
        self.find_together(&topics, law);
        self.ahead.end = topics.len() as u16;
    }

    /// Finds the routes of several topics, each in its place behind the cache.
    fn find_together(&mut self, topics: &[Levels<'_>], law: Law<'_>) {
        // Noted before anything is looked up, see [`Epochs`](crate::commons::Epochs).
        let notes: SmallVec<[_; AHEAD]> = topics.iter().map(|levels| self.note(levels)).collect();
        let mut matches = std::mem::take(&mut self.matches_ahead);
        matches.resize_with(matches.len().max(topics.len()), Vec::new);
        self.index.matching_all(topics, |number, subscriber| matches[number].push(*subscriber));
        for (number, (levels, holds)) in topics.iter().zip(notes).enumerate() {
            let mut cached = self.vacate(CACHED + number);
            self.settle(levels, law, &mut matches[number], &mut cached.route);
            self.keep(CACHED + number, cached, levels, holds);
        }
        self.matches_ahead = matches;
    }
}

#[cfg(test)]
mod tests {
    use super::super::MATCHES_KEPT;
    use super::*;
    use crate::arena::Arena;
    use crate::commons::{ShardId, Solitude};
    use crate::limits::Limits;
    use crate::session::Session;
    use crate::subscriptions::Subscriber;
    use noctule_mqtt::packet::{Publish, SubscriptionOptions};
    use noctule_mqtt::{Packet, Properties, ProtocolVersion, QoS, TopicFilter};
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::rc::Rc;

    const FILTERS: &[&str] = &[
        "#",
        "+",
        "a",
        "a/#",
        "a/+",
        "a/b",
        "+/b/#",
        "/",
        "/#",
        "/+",
        "a//#",
        "a//b",
        "$a/#",
        "$a/+",
        "$share/g/a/+",
        "$share/h/#",
    ];
    const TOPICS: &[&str] =
        &["a", "a/b", "a/b/c", "/", "//", "a//b", "a/", "/a", "b/b/b", "$a", "$a/b", "$SYS/x", "b"];

    /// By a law without readers anybody may publish.
    const NOBODY: SessionHandle = SessionHandle::NOTHING;

    fn router() -> Router {
        Router::new(9, ShardId(0), Rc::new(Solitude::new(9)))
    }

    fn packets(topics: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for topic in topics {
            let publish = Publish {
                dup: false,
                qos: QoS::AtMostOnce,
                retain: false,
                topic: TopicName::new(topic).ok(),
                packet_id: None,
                properties: Properties::EMPTY,
                payload: b"x",
            };
            codec::encode(&Packet::Publish(publish), ProtocolVersion::V311, &mut bytes).unwrap();
        }
        bytes
    }

    /// How many sessions, and how many groups, a topic goes to.
    fn receivers(router: &mut Router, topic: &str) -> (usize, usize) {
        let limits = Limits::default();
        let route = router.route(TopicName::new(topic).unwrap(), Law::of(&limits));
        (route.targets.len(), route.groups.len())
    }

    proptest! {
        /// What is looked for ahead says what looking for it when its turn has come says, whatever
        /// changed in between, and in whatever order messages come then.
        #[test]
        fn a_route_that_was_found_ahead_never_hides_a_change(
            rounds in prop::collection::vec(
                (
                    prop::collection::vec((0..FILTERS.len(), any::<bool>()), 0..4),
                    prop::collection::vec(0..TOPICS.len(), 1..24),
                    prop::collection::vec((0..24usize, 0..FILTERS.len(), any::<bool>()), 0..3),
                    prop::option::weighted(0.2, 0..TOPICS.len()),
                ),
                1..30,
            )
        ) {
            let (mut router, session) = (router(), Arena::default().insert(Session::for_tests()));
            let subscriber =
                Subscriber::new(session, SubscriptionOptions::default(), None, false, 0);
            let mut held = BTreeSet::new();
            let change = |router: &mut Router, held: &mut BTreeSet<_>, filter: usize, add| {
                let text = FILTERS[filter];
                let parsed = TopicFilter::new(text).unwrap();
                match (parsed.shared().unwrap(), add) {
                    (None, true) => router.subscribe(parsed, subscriber),
                    (None, false) => router.unsubscribe(parsed, session),
                    (Some(shared), true) => router.join(shared, text, subscriber),
                    (Some(shared), false) => router.leave(shared, text, session),
                }
                if add { held.insert(text) } else { held.remove(text) };
            };
            for (before, topics, during, stray) in rounds {
                for (filter, add) in before {
                    change(&mut router, &mut held, filter, add);
                }
                let topics: Vec<_> = topics.into_iter().map(|topic| TOPICS[topic]).collect();
                router.look_ahead(&packets(&topics), u32::MAX, NOBODY, Law::of(&Limits::default()));
                let strays = stray.map(|topic| TOPICS[topic]);
                for (number, topic) in topics.into_iter().chain(strays).enumerate() {
                    for (when, filter, add) in &during {
                        if *when == number {
                            change(&mut router, &mut held, *filter, *add);
                        }
                    }
                    let name = TopicName::new(topic).unwrap();
                    let wanting = held.iter().map(|text| TopicFilter::new(text).unwrap());
                    let (mut plain, mut groups) = (false, 0);
                    for filter in wanting {
                        match filter.shared().unwrap() {
                            None => plain |= filter.matches(name),
                            Some(shared) => groups += usize::from(shared.filter.matches(name)),
                        }
                    }
                    let expected = (usize::from(plain), groups);
                    prop_assert_eq!(receivers(&mut router, topic), expected, "{}", topic);
                }
                router.end_input();
            }
        }
    }

    #[test]
    fn topics_that_come_are_found_ahead_and_push_nobody_out() {
        let (mut router, limits) = (router(), Limits::default());
        let known = |router: &mut Router, topic: &str| router.cached(topic.as_bytes(), None);
        receivers(&mut router, "often");
        assert!(router.has_missed());
        let topics: Vec<_> = (0..2_000).map(|number| format!("rare/{number}")).collect();
        let mut misses = 0;
        let mut input: Vec<&str> = topics.iter().map(String::as_str).collect();
        while let Some(topic) = input.first().copied() {
            input.remove(0);
            if known(&mut router, topic).is_none() {
                misses += 1;
                receivers(&mut router, topic);
                router.look_ahead(
                    &packets(&input[..input.len().min(40)]),
                    u32::MAX,
                    NOBODY,
                    Law::of(&limits),
                );
            }
        }
        assert!((100..200).contains(&misses), "{misses}");
        router.end_input();
        let kept = topics.iter().filter(|topic| known(&mut router, topic).is_some()).count();
        assert!(kept <= misses, "{kept}");
    }

    #[test]
    fn whoever_does_not_get_to_what_was_found_finds_less() {
        let (mut router, limits) = (router(), Limits::default());
        let topics: Vec<_> = (0..100).map(|number| format!("t/{number}")).collect();
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        let look = |router: &mut Router, expected: u16| {
            router.look_ahead(&packets(&topics), u32::MAX, NOBODY, Law::of(&limits));
            assert_eq!(router.ahead.end, expected);
        };
        for expected in [1, 4, 16, 16] {
            look(&mut router, expected);
            for topic in &topics[..usize::from(expected)] {
                assert!(router.cached(topic.as_bytes(), None).is_some());
            }
            router.end_input();
        }
        for expected in [16, 4, 1, 1] {
            look(&mut router, expected);
            router.end_input();
        }
        assert!(router.cached(b"t/0", None).is_some());
    }

    #[test]
    fn many_receivers_of_many_topics_leave_no_memory_behind() {
        let (mut router, limits) = (router(), Limits::default());
        let (filter, mut sessions) = (TopicFilter::new("#").unwrap(), Arena::default());
        for _ in 0..2 * MATCHES_KEPT {
            let session = sessions.insert(Session::for_tests());
            let options = SubscriptionOptions::default();
            router.subscribe(filter, Subscriber::new(session, options, None, false, 0));
        }
        let topics: Vec<_> = (0..AHEAD).map(|number| number.to_string()).collect();
        let levels: Vec<_> = topics.iter().map(|topic| Levels::new(topic.as_bytes())).collect();
        router.find_together(&levels, Law::of(&limits));
        assert_eq!(receivers(&mut router, "alone"), (2 * MATCHES_KEPT, 0));
        assert!(router.matches_ahead.iter().all(|matches| matches.capacity() <= MATCHES_KEPT));
        assert!(router.matches.capacity() <= MATCHES_KEPT);
    }

    #[test]
    fn what_is_no_topic_is_left_to_its_turn() {
        let (mut router, limits) = (router(), Limits::default());
        for input in [
            &b"\x30\x05\0\x02\xff\xffx"[..],
            b"\x30\x05\0\x02a+x",
            b"\x30\x02\0\0",
            b"\x30\x03\0\x09a",
            b"\xc0\0",
        ] {
            router.look_ahead(input, u32::MAX, NOBODY, Law::of(&limits));
            assert_eq!(router.ahead.end, 0);
        }
    }
}
