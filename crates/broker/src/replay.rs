//! Handing the retained messages out that a subscription is to get, as a state machine.
//!
//! They may be many, so they are handed out a slice at a time, as far as there is room in the output
//! and the window, read from the table when their turn comes. What is kept in between is how far it
//! has come: the last topic that was passed. Topics are passed in an order that is the same in every
//! life of the broker: by the part of the retained messages they lie in, and within it by their bytes.
//!
//! ```text
//! SUBSCRIBE ──► awaiting ──SUBACK is put out, or the session is resumed──► open ──► passed the last topic: gone
//!                  ▲                                                      │   ▲
//!                  └──SUBSCRIBE again that wants them: a new one,◄────────┤   │ a slice, a mark with each message
//!                     from the beginning                                  └───┘ that is owed by it
//! ```
//!
//! A SUBSCRIBE to the same filter that does not want them changes the terms, on which the rest is
//! handed out, and nothing else. UNSUBSCRIBE, the end of the session and losing the right to the
//! filter end it.
//!
//! **Across a crash.** For a persistent session the record of the subscription says that messages are
//! to be handed out: under which [number](ReplayNumber), up to which one in the order of all, and
//! behind which topic ([`RecordedReplay`]). Each message that the session is owed by it names the number
//! ([`Extras`](crate::Extras)), which for the store means: everything up to this topic was passed. So
//! that a message is owed and that it need not be handed out again are one record, stored or not
//! stored. A restart goes on behind the last topic of which that is known. That all topics were passed
//! is a record of the subscription without anything to be handed out. What is sent at QoS 0 is owed to
//! nobody; of that the store is told now and then, and a part may come again.
//!
//! What another shard has set, or cleared, and the store may not have yet must not be passed
//! ([`Unstored`](crate::Unstored)): after a crash it would not be there, and what it replaced would.

use crate::faults::{Fault, fault};
use crate::retained::Barrier;
use std::collections::BTreeMap;
use std::num::NonZeroU64;

/// Names a handing out of retained messages within its session. A later one has a higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplayNumber(NonZeroU64);

impl ReplayNumber {
    /// The first there is.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// The one of this number; there is none of number zero.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// Its number.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The one that comes after it.
    pub(crate) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Retained messages that are still to be handed out for a subscription, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedReplay {
    /// What messages say that are owed by it. A format before this had no numbers; such a one begins
    /// anew with a restart.
    pub number: Option<ReplayNumber>,
    /// The last retained message that was set when the subscription was made. Later ones are
    /// delivered as they are published.
    pub up_to: u64,
    /// The last topic that was passed, if one was.
    pub reached: Option<Box<str>>,
}

/// Retained messages that are to be handed out for a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replay {
    pub(crate) number: ReplayNumber,
    /// The last retained message that was set when the subscription was made.
    pub(crate) up_to: u64,
    /// The part of the retained messages that is being gone through.
    pub(crate) part: usize,
    /// The last topic that was passed, in this part or in an earlier one.
    pub(crate) reached: Option<Box<str>>,
    /// Whether the store knows of it.
    pub(crate) is_stored: bool,
    /// How many were sent that nobody is owed, since the store was told how far it has come.
    pub(crate) untold: usize,
    /// What it has come to that may not be stored.
    pub(crate) barrier: Option<Barrier>,
}

impl Replay {
    /// One that has not begun; `part` is the first in which there may be something.
    pub(crate) fn new(number: ReplayNumber, up_to: u64, part: usize, is_stored: bool) -> Self {
        Self { number, up_to, part, reached: None, is_stored, untold: 0, barrier: None }
    }

    /// One that a store has kept goes on. `part_of` says where a topic lies.
    pub(crate) fn restored(
        number: ReplayNumber,
        recorded: &RecordedReplay,
        first_part: usize,
        part_of: impl Fn(&str) -> usize,
    ) -> Self {
        let mut replay = Self::new(number, recorded.up_to, first_part, true);
        if let Some(topic) = &recorded.reached
            && !fault(Fault::ReplayBeginsAnew)
        {
            replay.part = part_of(topic);
            replay.reached = Some(topic.clone());
        }
        replay
    }

    /// It has come to this. If it came to the same topic before, and that is enough to go on behind it
    /// when it is stored, it waits for that: a topic may have a later word, which is not stored, whenever
    /// it is looked at.
    pub(crate) fn come_to(&mut self, barrier: Barrier) {
        let waits = |old: &Barrier| old.topic == barrier.topic && old.leaves_nothing(self.up_to);
        if !self.barrier.as_ref().is_some_and(waits) {
            self.barrier = Some(barrier);
        }
    }

    /// The topic behind which it may go on, whatever is said of it, if all before this is stored.
    pub(crate) fn beyond(&self, stored_before: u64) -> Option<&str> {
        let is_stored = |barrier: &&Barrier| {
            barrier.sequence < stored_before && barrier.leaves_nothing(self.up_to)
        };
        self.barrier.as_ref().filter(is_stored).map(|barrier| &*barrier.topic)
    }

    /// What the store has to know of it, if it is to know of it.
    fn recorded(&self) -> Option<RecordedReplay> {
        let Self { number, up_to, ref reached, .. } = *self;
        let recorded = || RecordedReplay { number: Some(number), up_to, reached: reached.clone() };
        self.is_stored.then(recorded)
    }
}

/// The replays of a session by the filter of their subscription. Mostly there are none.
#[derive(Debug, Default)]
pub(crate) struct Replays(Option<Box<Lists>>);

#[derive(Debug, Default)]
struct Lists {
    /// Those whose SUBACK has not been put out.
    awaiting: BTreeMap<Box<str>, Replay>,
    open: BTreeMap<Box<str>, Replay>,
}

impl Replays {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |lists| lists.awaiting.len() + lists.open.len())
    }

    /// Whether one can go on.
    pub(crate) fn has_open(&self) -> bool {
        self.0.as_ref().is_some_and(|lists| !lists.open.is_empty())
    }

    /// A replay has to wait for the SUBACK of its subscription. It takes the place of one that was
    /// there for the same filter.
    pub(crate) fn await_suback(&mut self, filter: &str, replay: Replay) {
        let lists = self.0.get_or_insert_default();
        lists.open.remove(filter);
        lists.awaiting.insert(filter.into(), replay);
    }

    /// The SUBACK is put out of the SUBSCRIBE whose last replay this is; those before it have left.
    pub(crate) fn open_through(&mut self, number: ReplayNumber) {
        if let Some(lists) = &mut self.0 {
            let Lists { awaiting, open } = &mut **lists;
            open.extend(awaiting.extract_if(.., |_, replay| replay.number <= number));
        }
    }

    /// No SUBACK will come any more, and the subscriptions are there.
    pub(crate) fn open_all(&mut self) {
        if let Some(lists) = &mut self.0 {
            let awaiting = std::mem::take(&mut lists.awaiting);
            lists.open.extend(awaiting);
        }
    }

    /// Takes one that can go on.
    pub(crate) fn pop_open(&mut self) -> Option<(Box<str>, Replay)> {
        let popped = self.0.as_mut()?.open.pop_first();
        self.tidy();
        popped
    }

    /// It is not at its end.
    pub(crate) fn put_back(&mut self, filter: Box<str>, replay: Replay) {
        self.0.get_or_insert_default().open.insert(filter, replay);
    }

    /// The subscription is gone.
    pub(crate) fn remove(&mut self, filter: &str) {
        if let Some(lists) = &mut self.0 {
            lists.awaiting.remove(filter);
            lists.open.remove(filter);
            self.tidy();
        }
    }

    /// What the store has to know of the one of a subscription.
    pub(crate) fn recorded(&self, filter: &str) -> Option<RecordedReplay> {
        let lists = self.0.as_ref()?;
        lists.awaiting.get(filter).or_else(|| lists.open.get(filter))?.recorded()
    }

    fn tidy(&mut self) {
        if self.len() == 0 {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(number: u64) -> Replay {
        Replay::new(ReplayNumber::new(number).expect("not zero"), 9, 0, true)
    }

    fn number(replays: &mut Replays) -> Option<u64> {
        replays.pop_open().map(|(_, replay)| replay.number.get())
    }

    #[test]
    fn a_suback_opens_what_its_subscribe_asked_for_and_nothing_later() {
        let mut replays = Replays::default();
        replays.await_suback("b", replay(1));
        replays.await_suback("a", replay(2));
        replays.await_suback("c", replay(3));
        assert!(!replays.has_open());
        replays.open_through(replay(2).number);
        assert_eq!(number(&mut replays), Some(2));
        assert_eq!(number(&mut replays), Some(1));
        assert!(!replays.has_open() && replays.len() == 1);
        replays.open_all();
        assert_eq!(number(&mut replays), Some(3));
        assert!(replays.0.is_none(), "it takes no room");
    }

    #[test]
    fn it_waits_for_what_it_has_met_unless_that_is_due() {
        let mut replay = replay(1);
        let barrier = |sequence, cleared| Barrier { topic: "a".into(), sequence, cleared };
        replay.come_to(barrier(9, false));
        assert_eq!(replay.beyond(u64::MAX), None, "once it is stored it is handed out");
        replay.come_to(barrier(10, false));
        replay.come_to(barrier(20, true));
        assert_eq!((replay.beyond(10), replay.beyond(11)), (None, Some("a")));
        replay.come_to(Barrier { topic: "b".into(), ..barrier(30, false) });
        assert_eq!((replay.beyond(30), replay.beyond(31)), (None, Some("b")));
    }

    #[test]
    fn of_a_filter_there_is_one_and_the_last_one_holds() {
        let mut replays = Replays::default();
        replays.await_suback("a", replay(1));
        replays.open_all();
        replays.await_suback("a", replay(2));
        assert!(!replays.has_open(), "it waits for its SUBACK again");
        assert_eq!(replays.recorded("a").and_then(|one| one.number), ReplayNumber::new(2));
        replays.remove("a");
        assert_eq!((replays.len(), replays.recorded("a")), (0, None));
    }
}
