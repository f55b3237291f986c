//! What is owed to receivers that were sent it at once, and that will have acknowledged it before it
//! could be stored.
//!
//! That a session is owed a message has to be stored before its publisher hears PUBACK; if the session's
//! client has acknowledged it by then, nobody is owed anything and nothing has to be stored. With a
//! client that is there this is a matter of a turn or two. So such records are not handed to the store
//! with their turn: they are *deferred*.
//!
//! ```text
//!            ┌─ acknowledged by its receiver ─► settled: nothing is stored
//! deferred ──┼─ overdue: its receiver is late, or it has waited for LAG_MS ─► handed in
//!            └─ something else of its shard has to be stored now ─► handed in before it
//! ```
//!
//! A turn is settled when all of it is. Then its ticket comes true, as if it had been stored, once those
//! before it have. The invariant: whoever waits for a ticket goes on when every message of that turn
//! and of those before it is either stored or not owed any more. So a crash finds deferred messages
//! with publishers that have heard nothing and send them again.
//!
//! What is overdue, and who is late, says [`promptness`](crate::promptness). Only messages at QoS 1 are
//! deferred, in flight or in the queue of a client that is there. They stay where they are, with their
//! session; here are the places alone.

use crate::faults::{Fault, fault};
use crate::persist::{Owed, Sequence, SessionKey, Stage, Ticket};
use crate::promptness::Moment;
use crate::session::SessionHandle;
use std::collections::VecDeque;

/// For so long a message is waited for at most that stands in the queue of a receiver who gets on, in
/// milliseconds: its publisher would hear sooner of a disk.
const LAG_MS: u64 = 20;

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

/// Whether an entry is that of a message. Numbers come round, and whatever was not deferred has none of its
/// own.
fn is_of(place: &Option<Entry>, key: SessionKey, owed: &Owed) -> bool {
    place.is_some_and(|it| it.key == key && it.sequence == owed.sequence)
}

#[derive(Debug)]
struct Turn {
    ticket: Ticket,
    stage: Stage,
    since: Moment,
    /// Its receivers have been waited for since then.
    looked_at: Moment,
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
        let is_it = is_of(place, key, owed);
        if is_it {
            *place = None;
        }
        is_it
    }

    /// Whether it is deferred that a session is owed this.
    pub(crate) fn has(&self, key: SessionKey, owed: &Owed) -> bool {
        let index = owed.deferred.wrapping_sub(self.first) as usize;
        self.entries.get(index).is_some_and(|place| is_of(place, key, owed))
    }

    /// A turn has come to its end.
    pub(crate) fn count_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// The turn that has come to its end keeps what it has deferred.
    pub(crate) fn keep(&mut self, ticket: Ticket, stage: Stage, now_ms: u64) {
        let end = self.next();
        let since = self.moment(now_ms);
        self.turns.push_back(Turn { ticket, stage, since, looked_at: since, end });
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

    fn moment(&self, ms: u64) -> Moment {
        Moment { ms, turn: self.turn }
    }

    /// Takes the turns that have waited for too long, and those before them. `gets_on` is asked whether a
    /// session that is overdue gets on, if there is time left to wait for it.
    pub(crate) fn take_overdue(
        &mut self,
        now_ms: u64,
        mut gets_on: impl FnMut(SessionHandle, bool, Moment) -> bool,
    ) -> Given {
        let now = self.moment(now_ms);
        let (mut begin, mut late) = (0, 0);
        for (number, turn) in self.turns.iter_mut().enumerate() {
            if !turn.since.is_long_ago(now) {
                break;
            }
            let end = turn.end.wrapping_sub(self.first) as usize;
            if turn.looked_at.is_long_ago(now) {
                turn.looked_at = now;
                let may_wait = now_ms < turn.since.ms + LAG_MS;
                if !may_wait {
                    // Also if nothing of it is left: what it waits for is the store, which may be slow, and
                    // turns must not pile up.
                    late = number + 1;
                }
                let mut last = None;
                for session in self.entries.range(begin..end).flatten().map(|entry| entry.session) {
                    // Mostly those of one session stand together.
                    if last.replace(session) != Some(session) && !gets_on(session, may_wait, now) {
                        late = number + 1;
                    }
                }
            }
            begin = end;
        }
        let mut given = Given::default();
        for _ in 0..late {
            if let Some(turn) = self.turns.pop_front() {
                self.give(&turn, &mut given);
            }
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

    /// When a turn has waited for long enough to be looked at.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.turns.iter().map(|turn| turn.looked_at.patience_ends_ms()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, MessageParts};
    use crate::promptness::PATIENCE_TURNS;
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
        let due_ms = deferred.due_ms().expect("something is deferred");
        let late = |_, _, _| false;
        assert_eq!(deferred.take_overdue(100, late).last, None, "too few turns");
        (1..PATIENCE_TURNS).for_each(|_| deferred.count_turn());
        assert_eq!(deferred.take_overdue(due_ms - 1, late).last, None, "too little time");
        let given = deferred.take_overdue(1 + due_ms, late);
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

    #[test]
    fn one_who_gets_on_is_waited_for_until_there_is_no_time_left() {
        let (mut deferred, _) = deferred(0, &[1, 1]);
        let mut asked = Vec::new();
        let mut now_ms = 0;
        while !deferred.turns.is_empty() {
            now_ms += 1;
            (0..PATIENCE_TURNS).for_each(|_| deferred.count_turn());
            deferred.take_overdue(now_ms, |_, may_wait, _| {
                asked.push(now_ms);
                may_wait
            });
            let due_ms = deferred.due_ms();
            assert!(due_ms.is_none_or(|due_ms| due_ms > now_ms), "{due_ms:?} at {now_ms}");
        }
        assert_eq!(now_ms, 1 + LAG_MS, "both are given, as the last ones");
        assert!(asked.len() < 2 * LAG_MS as usize, "not in each turn: {asked:?}");
    }

    #[test]
    fn turns_do_not_pile_up_behind_a_slow_store() {
        let (mut deferred, owed) = deferred(0, &[1, 1]);
        (0..PATIENCE_TURNS).for_each(|_| deferred.count_turn());
        // Nobody asks what is settled, as the store has not come so far.
        assert!(owed.iter().all(|owed| deferred.settle(KEY, owed)));
        let nobody = |_, _, _| panic!("nobody is waited for");
        assert_eq!(deferred.take_overdue(LAG_MS - 1, nobody).last, None, "there is time");
        (0..PATIENCE_TURNS).for_each(|_| deferred.count_turn());
        let given = deferred.take_overdue(1 + LAG_MS, nobody);
        assert_eq!((given.last, given.entries), (Some((Ticket(2), Stage::Flushed)), Vec::new()));
        assert!(deferred.is_empty());
    }

    #[test]
    fn those_before_one_that_is_late_are_given_with_it() {
        let (mut deferred, _) = deferred(0, &[1, 1, 1]);
        (0..PATIENCE_TURNS).for_each(|_| deferred.count_turn());
        let mut asked = 0;
        let given = deferred.take_overdue(LAG_MS - 1, |_, _, _| {
            asked += 1;
            asked != 2
        });
        assert_eq!(given.last, Some((Ticket(2), Stage::Flushed)));
        assert_eq!(given.entries, [entry(1), entry(2)]);
        assert_eq!((deferred.turns.len(), deferred.entries.len()), (1, 1));
    }
}
