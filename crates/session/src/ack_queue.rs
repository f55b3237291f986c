//! Answers that must leave in the order of the packets they answer, though what they wait for may
//! end in another order.
//!
//! PUBACKs and PUBRECs are sent in the order in which their PUBLISH packets came
//! `[MQTT3-4.6.0-2]` `[MQTT3-4.6.0-3]` `[MQTT5-4.6.0-2]` `[MQTT5-4.6.0-3]`. An answer may have to
//! wait until what it promises is true; then everything behind it waits as well.
//!
//! An answer that waits while its connection is lost is *abandoned*: it is not sent, unless the
//! peer repeats the packet on a new connection and so revives it. Where the peer has repeated others
//! before it whose answers came later, the revived one goes behind them: it is the order in which
//! packets came on the connection that counts.

use std::collections::VecDeque;

/// Names an answer in a queue, for as long as it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AckNumber(u64);

/// Waiting answers of type `A`, oldest first. Mostly there are none, so they are behind a pointer, which
/// is there only as long as one waits.
#[derive(Debug)]
pub struct AckQueue<A> {
    #[allow(clippy::box_collection, reason = "the queue is rarely there, and a pointer is small")]
    entries: Option<Box<VecDeque<Entry<A>>>>,
    /// The number of the first entry.
    first: u64,
}

#[derive(Debug)]
struct Entry<A> {
    answer: A,
    /// How many events it waits for.
    waits: u32,
    abandoned: bool,
    /// The answer that takes its place, and waits for it.
    heir: Option<AckNumber>,
}

impl<A> Default for AckQueue<A> {
    fn default() -> Self {
        Self { entries: None, first: 0 }
    }
}

impl<A> AckQueue<A> {
    /// Whether nothing waits, so that an answer which need not wait itself may leave at once.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many answers wait.
    pub fn len(&self) -> usize {
        self.entries.as_ref().map_or(0, |entries| entries.len())
    }

    /// The number of the next answer that is pushed.
    pub fn next_number(&self) -> AckNumber {
        AckNumber(self.first + self.len() as u64)
    }

    /// Puts `answer` at the end; it waits until [`complete`](Self::complete) has been called for it
    /// `waits` times.
    pub fn push(&mut self, answer: A, waits: u32) -> AckNumber {
        let number = self.next_number();
        let entries = self.entries.get_or_insert_default();
        entries.push_back(Entry { answer, waits, abandoned: false, heir: None });
        number
    }

    /// One of the events that the answer waits for has happened; what it says may change with it.
    pub fn complete(&mut self, number: AckNumber, change: impl FnOnce(&mut A))
    where
        A: Clone,
    {
        let Some(entry) = self.entry(number) else {
            return;
        };
        entry.waits = entry.waits.saturating_sub(1);
        change(&mut entry.answer);
        if entry.waits > 0 {
            return;
        }
        let (mut heir, answer) = (entry.heir.take(), entry.answer.clone());
        // Each is behind the one before, so this ends.
        while let Some(entry) = heir.and_then(|heir| self.entry(heir)) {
            entry.waits = entry.waits.saturating_sub(1);
            entry.answer = answer.clone();
            heir = entry.heir.take();
        }
    }

    /// As [`complete`](Self::complete) for so many that were pushed one behind the other.
    pub fn complete_run(&mut self, first: AckNumber, count: usize)
    where
        A: Clone,
    {
        for number in first.0..first.0 + count as u64 {
            self.complete(AckNumber(number), |_| {});
        }
    }

    fn entry(&mut self, number: AckNumber) -> Option<&mut Entry<A>> {
        let index = number.0.checked_sub(self.first).and_then(|i| usize::try_from(i).ok())?;
        self.entries.as_mut()?.get_mut(index)
    }

    /// Takes the next answer that may be sent. Abandoned ones whose wait is over vanish here.
    pub fn pop_ready(&mut self) -> Option<A> {
        let entries = self.entries.as_mut()?;
        while entries.front().is_some_and(|entry| entry.waits == 0) {
            self.first += 1;
            match entries.pop_front() {
                Some(entry) if !entry.abandoned => return Some(entry.answer),
                _ => {}
            }
        }
        if entries.is_empty() {
            self.entries = None;
        }
        None
    }

    /// The connection is lost: nothing that waits now is sent any more.
    pub fn abandon_all(&mut self) {
        for entry in self.entries.iter_mut().flat_map(|entries| entries.iter_mut()) {
            entry.abandoned = true;
        }
    }

    /// The answers that wait and will be sent, oldest first.
    pub fn iter_live(&self) -> impl Iterator<Item = &A> {
        let entries = self.entries.iter().flat_map(|entries| entries.iter());
        entries.filter(|entry| !entry.abandoned).map(|entry| &entry.answer)
    }

    /// The peer has repeated a packet whose answer still waits: sends it after all. Returns
    /// whether there was such an answer. Of several the newest is meant: the peer may have used the
    /// identifier of an abandoned one again.
    ///
    /// Where it would overtake answers to packets that were repeated before it, it is sent behind
    /// them if it `may_move`, and is not revived if it may not: the packet is then to be dealt with
    /// anew, as those before it were.
    pub fn revive(&mut self, may_move: bool, is_it: impl Fn(&A) -> bool) -> bool
    where
        A: Clone,
    {
        let Some(entries) = &mut self.entries else {
            return false;
        };
        let Some(index) = entries.iter().rposition(|entry| is_it(&entry.answer)) else {
            return false;
        };
        let overtakes = entries.iter().skip(index + 1).any(|entry| !entry.abandoned);
        let entry = &mut entries[index];
        if !entry.abandoned {
            return true;
        }
        if !overtakes {
            entry.abandoned = false;
            return true;
        }
        if !may_move {
            return false;
        }
        let (answer, waits) = (entry.answer.clone(), u32::from(entry.waits > 0));
        let moved = AckNumber(self.first + index as u64);
        let heir = self.push(answer, waits);
        if let Some(entry) = self.entry(moved) {
            entry.heir = Some(heir);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut AckQueue<u8>) -> Vec<u8> {
        std::iter::from_fn(|| queue.pop_ready()).collect()
    }

    #[test] // [MQTT5-4.6.0-2]
    fn answers_leave_in_order_whatever_they_wait_for() {
        let mut queue = AckQueue::default();
        let first = queue.push(1, 1);
        queue.push(2, 0);
        let third = queue.push(3, 1);
        assert!(drain(&mut queue).is_empty());
        queue.complete(third, |_| ());
        assert!(drain(&mut queue).is_empty());
        queue.complete(first, |_| ());
        assert_eq!(drain(&mut queue), [1, 2, 3]);
        assert!(queue.is_empty());
    }

    #[test]
    fn abandoned_answers_are_not_sent_unless_the_packet_is_repeated() {
        let mut queue = AckQueue::default();
        let (first, second) = (queue.push(1, 1), queue.push(2, 1));
        queue.abandon_all();
        assert!(queue.revive(true, |answer| *answer == 2));
        assert!(!queue.revive(true, |answer| *answer == 9));
        queue.complete(first, |_| ());
        queue.complete(second, |_| ());
        assert_eq!(drain(&mut queue), [2]);
    }

    #[test] // [MQTT3-4.6.0-2] [MQTT5-4.6.0-2]
    fn a_revived_answer_goes_behind_those_to_packets_that_were_repeated_before() {
        let mut queue = AckQueue::default();
        let (first, second) = (queue.push(1, 1), queue.push(2, 1));
        queue.abandon_all();
        queue.complete(first, |_| ());
        assert!(drain(&mut queue).is_empty(), "the first is gone");
        // The peer repeats both on a new connection; the first is answered anew.
        assert!(!queue.revive(true, |answer| *answer == 1));
        let again = queue.push(1, 1);
        assert!(
            !queue.revive(false, |answer| *answer == 2),
            "in its place it comes before the first"
        );
        assert!(queue.revive(true, |answer| *answer == 2));
        queue.complete(second, |answer| *answer = 20);
        assert!(drain(&mut queue).is_empty());
        queue.complete(again, |_| ());
        assert_eq!(drain(&mut queue), [1, 20]);
        assert!(queue.is_empty());
    }

    #[test]
    fn of_two_answers_to_the_same_identifier_the_newest_is_revived() {
        let mut queue = AckQueue::default();
        let old = queue.push((7, "old"), 1);
        queue.abandon_all();
        let new = queue.push((7, "new"), 1);
        assert_eq!(queue.iter_live().collect::<Vec<_>>(), [&(7, "new")]);
        queue.abandon_all();
        assert!(queue.revive(true, |(id, _)| *id == 7));
        queue.complete(old, |_| ());
        assert_eq!(queue.pop_ready(), None);
        queue.complete(new, |_| ());
        assert_eq!(queue.pop_ready(), Some((7, "new")));
    }

    #[test]
    fn completing_an_answer_that_has_left_changes_nothing() {
        let mut queue = AckQueue::default();
        let gone = queue.push(1, 0);
        assert_eq!(drain(&mut queue), [1]);
        queue.push(2, 1);
        queue.complete(gone, |_| ());
        assert!(drain(&mut queue).is_empty());
    }

    #[test]
    fn an_answer_may_wait_for_several_events_and_change_with_each() {
        let mut queue = AckQueue::default();
        let number = queue.next_number();
        assert_eq!(queue.push(1, 2), number);
        queue.complete(number, |answer| *answer += 1);
        assert!(drain(&mut queue).is_empty());
        queue.complete(number, |answer| *answer += 1);
        assert_eq!(drain(&mut queue), [3]);
    }
}
