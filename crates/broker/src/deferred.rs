//! What is owed to receivers that were sent it at once, and that will have acknowledged it before it
//! could be stored.
//!
//! That a session is owed a message has to be stored before its publisher hears PUBACK; if the session's
//! client has acknowledged it by then, nobody is owed anything and nothing has to be stored. With a
//! client that is there this is a matter of a turn or two. So such records are not handed to the store
//! with their turn: they are *deferred*.
//!
//! ```text
//!            ┌─ acknowledged by its receiver ─────► settled: nothing is stored
//! deferred ──┼─ not so for PATIENCE_MS and _TURNS ─► handed in; nothing of that session is deferred for SLOW_MS
//!            └─ something else of its shard has to be stored now ─► handed in before it
//! ```
//!
//! A turn is settled when all of it is. Then its ticket comes true, as if it had been stored, once those
//! before it have. The invariant: whoever waits for a ticket goes on when every message of that turn
//! and of those before it is either stored or not owed any more. So a crash finds deferred messages
//! with publishers that have heard nothing and send them again.
//!
//! Only what is in flight at QoS 1 is deferred. Its message stays where it is, with its session; here are
//! the places alone.

use crate::faults::{Fault, fault};
use crate::persist::{Owed, Sequence, SessionKey, Stage, Ticket};
use crate::session::SessionHandle;
use std::collections::VecDeque;

/// How long a receiver's acknowledgement is waited for, in milliseconds. The clock has whole ones, so
/// it is between one less and this.
const PATIENCE_MS: u64 = 2;
/// So many more turns come to their end before it is not waited for any longer. In a flood a turn takes
/// a millisecond or more, and a receiver that answers at once stands in the long line behind publishers,
/// so it is heard some turns later.
const PATIENCE_TURNS: u32 = 16;
/// For so long nothing is deferred for a session whose client was not that quick, in milliseconds.
pub(crate) const SLOW_MS: u64 = 200;

/// Room for so many is kept when there are none.
const ROOM_KEPT: usize = 4_096;

/// What is deferred, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    /// Settled ones are `None`, and go when they are the oldest.
    entries: VecDeque<Option<Entry>>,
    /// The number of the oldest. Numbers wrap.
    first: u32,
    /// The turns that have ended and are not settled.
    turns: VecDeque<Turn>,
    /// The number behind the last turn that has ended.
    ended: u32,
    /// Counts turns, those that defer nothing included. It wraps.
    turn: u32,
}

/// A message that a session is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) session: SessionHandle,
    pub(crate) key: SessionKey,
    pub(crate) sequence: Sequence,
}

#[derive(Debug)]
struct Turn {
    ticket: Ticket,
    stage: Stage,
    since_ms: u64,
    turn: u32,
    /// The number behind its last entry.
    end: u32,
}

/// What is to be stored after all.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// The last ticket of its turns, and how safe they have to become.
    pub(crate) last: Option<(Ticket, Stage)>,
    pub(crate) entries: Vec<Entry>,
}

impl Deferred {
    /// Defers that a session is owed a message. Returns the number by which it is
    /// [settled](Self::settle).
    #[inline]
    pub(crate) fn push(&mut self, entry: Entry) -> u32 {
        let number = self.next();
        self.entries.push_back(Some(entry));
        number
    }

    fn next(&self) -> u32 {
        self.first.wrapping_add(self.entries.len() as u32)
    }

    /// Whether nothing is deferred, and no turn waits for what was.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.turns.is_empty()
    }

    /// Gives back the memory for a burst of entries, once none is there.
    pub(crate) fn shed(&mut self) {
        if self.entries.is_empty() && self.entries.capacity() > ROOM_KEPT {
            self.entries = VecDeque::new();
        }
    }

    /// Whether the turn that goes on has deferred something.
    pub(crate) fn has_fresh(&self) -> bool {
        self.next() != self.ended
    }

    /// A session is not owed this any more. Whether that was deferred, so that there is nothing else to
    /// be done.
    #[inline]
    pub(crate) fn settle(&mut self, key: SessionKey, owed: &Owed) -> bool {
        let index = owed.deferred.wrapping_sub(self.first) as usize;
        let Some(place) = self.entries.get_mut(index) else {
            return false;
        };
        // Numbers come round, and whatever was not deferred has none of its own.
        let is_it = place.is_some_and(|it| it.key == key && it.sequence == owed.sequence);
        if is_it {
            *place = None;
        }
        is_it
    }

    /// A turn has come to its end.
    pub(crate) fn count_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// The turn that has come to its end keeps what it has deferred.
    pub(crate) fn keep(&mut self, ticket: Ticket, stage: Stage, now_ms: u64) {
        let (end, turn) = (self.next(), self.turn);
        self.turns.push_back(Turn { ticket, stage, since_ms: now_ms, turn, end });
        self.ended = end;
    }

    /// Forgets what is settled at the front. Returns the last ticket that has come true by it.
    pub(crate) fn take_settled(&mut self) -> Option<Ticket> {
        let is_done =
            |entry: &mut Option<Entry>| entry.is_none() || fault(Fault::DeferredTakenForSettled);
        while self.ended != self.first && self.entries.pop_front_if(is_done).is_some() {
            self.first = self.first.wrapping_add(1);
        }
        let (ended, first) = (self.ended, self.first);
        // As far from the end as it is, it is not more than all of them.
        let left = |number: u32| ended.wrapping_sub(number);
        let mut last = None;
        while let Some(turn) = self.turns.pop_front_if(|turn| left(turn.end) >= left(first)) {
            last = Some(turn.ticket);
        }
        last
    }

    /// Takes the turns that have waited for too long.
    pub(crate) fn take_overdue(&mut self, now_ms: u64) -> Given {
        let mut given = Given::default();
        let last = self.turn;
        let is_overdue = |turn: &mut Turn| {
            turn.since_ms + PATIENCE_MS <= now_ms && last.wrapping_sub(turn.turn) >= PATIENCE_TURNS
        };
        while let Some(turn) = self.turns.pop_front_if(is_overdue) {
            self.give(&turn, &mut given);
        }
        given
    }

    /// Takes everything, that of the turn that goes on included.
    pub(crate) fn take_all(&mut self) -> Given {
        let mut given = Given::default();
        while let Some(turn) = self.turns.pop_front() {
            self.give(&turn, &mut given);
        }
        self.first = self.next();
        self.ended = self.first;
        given.entries.extend(self.entries.drain(..).flatten());
        given
    }

    fn give(&mut self, turn: &Turn, given: &mut Given) {
        let count = turn.end.wrapping_sub(self.first) as usize;
        given.entries.extend(self.entries.drain(..count).flatten());
        self.first = turn.end;
        let stage = given.last.map_or(turn.stage, |(_, stage)| stage.max(turn.stage));
        given.last = Some((turn.ticket, stage));
    }

    /// When the oldest turn has waited for too long.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.turns.front().map(|turn| turn.since_ms + PATIENCE_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, MessageParts};
    use noctule_mqtt::QoS;

    const KEY: SessionKey = SessionKey(1);

    fn entry(sequence: u64) -> Entry {
        Entry { session: SessionHandle::NOTHING, key: KEY, sequence: Sequence(sequence) }
    }

    fn owed(sequence: u64, deferred: u32) -> Owed {
        let parts = MessageParts {
            topic: "a",
            properties: &[],
            payload: b"x",
            qos: QoS::AtLeastOnce,
            retain: false,
            published_by: None,
            received_ms: 0,
        };
        let message = Message::from_parts(&parts).unwrap();
        let qos = QoS::AtLeastOnce;
        Owed { sequence: Sequence(sequence), message, qos, retain: false, extras: None, deferred }
    }

    /// Turns with so many entries each, as they begin at `first`; sequences are numbers.
    fn deferred(first: u32, turns: &[u64]) -> (Deferred, Vec<Owed>) {
        let mut deferred = Deferred { first, ended: first, ..Deferred::default() };
        let (mut all, mut sequence) = (Vec::new(), 0);
        for (turn, entries) in turns.iter().enumerate() {
            for _ in 0..*entries {
                sequence += 1;
                let number = deferred.push(entry(sequence));
                all.push(owed(sequence, number));
            }
            assert!(deferred.has_fresh());
            deferred.count_turn();
            deferred.keep(Ticket(turn as u64 + 1), Stage::Flushed, turn as u64);
            assert!(!deferred.has_fresh());
        }
        (deferred, all)
    }

    #[test]
    fn a_ticket_comes_true_when_its_turn_and_all_before_it_are_settled() {
        for first in [0, 7, u32::MAX - 2] {
            let (mut deferred, owed) = deferred(first, &[2, 1, 2]);
            assert_eq!(deferred.take_settled(), None);
            for at in [2, 1, 3] {
                assert!(deferred.settle(KEY, &owed[at]), "{at}");
                assert_eq!(deferred.take_settled(), None, "the first is not settled");
            }
            assert!(deferred.settle(KEY, &owed[0]));
            assert_eq!(deferred.take_settled(), Some(Ticket(2)));
            assert!(!deferred.settle(KEY, &owed[0]), "it is not there any more");
            assert!(deferred.settle(KEY, &owed[4]));
            assert_eq!(deferred.take_settled(), Some(Ticket(3)));
            assert_eq!((deferred.due_ms(), deferred.entries.len()), (None, 0));
        }
    }

    #[test]
    fn what_has_another_key_or_sequence_is_something_else() {
        let (mut deferred, mut all) = deferred(0, &[1]);
        assert!(!deferred.settle(SessionKey(2), &all[0]));
        assert!(!deferred.settle(KEY, &owed(9, 0)));
        assert!(deferred.settle(KEY, &all.remove(0)));
    }

    #[test]
    fn a_turn_without_an_entry_that_is_left_comes_true_in_its_place() {
        let (mut deferred, owed) = deferred(u32::MAX, &[1]);
        let number = deferred.push(entry(5));
        let fresh = Owed { deferred: number, sequence: Sequence(5), ..owed[0].clone() };
        assert!(deferred.settle(KEY, &fresh), "in the turn in which it was deferred");
        deferred.keep(Ticket(2), Stage::Flushed, 1);
        assert_eq!(deferred.take_settled(), None);
        assert!(deferred.settle(KEY, &owed[0]));
        assert_eq!(deferred.take_settled(), Some(Ticket(2)));
    }

    #[test]
    fn what_is_overdue_is_given_and_what_is_not_stays() {
        let (mut deferred, owed) = deferred(u32::MAX - 1, &[1, 2, 1]);
        assert!(deferred.settle(KEY, &owed[1]));
        assert_eq!(deferred.due_ms(), Some(PATIENCE_MS));
        assert_eq!(deferred.take_overdue(100).last, None, "too few turns");
        (1..PATIENCE_TURNS).for_each(|_| deferred.count_turn());
        assert_eq!(deferred.take_overdue(PATIENCE_MS - 1).last, None, "too little time");
        let given = deferred.take_overdue(1 + PATIENCE_MS);
        assert_eq!(given.last, Some((Ticket(2), Stage::Flushed)));
        assert_eq!(given.entries, [entry(1), entry(3)]);
        assert!(!deferred.settle(KEY, &owed[2]), "it was given");
        deferred.push(entry(5));
        let given = deferred.take_all();
        assert_eq!(given.entries, [entry(4), entry(5)]);
        assert_eq!(given.last, Some((Ticket(3), Stage::Flushed)));
        assert!(!deferred.has_fresh());
        assert_eq!(deferred.take_settled(), None);
    }
}
