//! The messages a session is owed and that are not in flight yet.
//!
//! The first ones are at hand. When those of a persistent session take too much memory, new ones
//! go to the end of the part that is left to the store ("spilled"), and keep doing so until that
//! part has been loaded to its end: so order is kept whatever is loaded when.

use crate::expiry::Deadline;
use crate::faults::{Fault, fault};
use crate::limits::Limits;
use crate::persist::{Owed, Sequence};
use noctule_session::Now;
use std::collections::VecDeque;

/// Messages waiting for their turn. Mostly there are none, so each part is behind a pointer.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    resident: Option<Box<Resident>>,
    spill: Option<Box<Spill>>,
}

/// The part of the queue that is at hand.
#[derive(Debug, Default)]
struct Resident {
    messages: VecDeque<Owed>,
    bytes: usize,
    /// When to look for expired messages at the earliest.
    next_expiry: Deadline,
    look: Look,
}

/// How far the messages have been looked through for expired ones.
#[derive(Debug, Default)]
struct Look {
    /// So many from the front are done.
    done: usize,
    /// When the first of these expires that have not.
    first: Deadline,
    /// Nor are they looked through anew before that, in monotonic milliseconds.
    rests_until_ms: u64,
}

/// So many messages are looked at at least, if there are so many,
const LOOKED_AT: usize = 1_000;
/// and more are not looked through anew for so long.
const REST_MS: u64 = 1_000;

/// The part of the queue that only the store holds.
#[derive(Debug, Default)]
struct Spill {
    /// It lies behind this message.
    after: Sequence,
    /// And ends with this one.
    last: Sequence,
    messages: usize,
    bytes: usize,
    /// The load that is on its way.
    loading: Option<Asked>,
}

/// A load, and what came after it was asked for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// The last message that was spilled by then.
    last: Sequence,
    messages_since: usize,
    bytes_since: usize,
}

/// Where a new message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Resident,
    Spilled,
}

impl Queue {
    /// How many messages wait, spilled ones included.
    pub(crate) fn len(&self) -> usize {
        let at_hand = self.resident.as_ref().map_or(0, |resident| resident.messages.len());
        at_hand + self.spill.as_ref().map_or(0, |spill| spill.messages)
    }

    /// How many bytes of messages wait, spilled ones included.
    pub(crate) fn bytes(&self) -> usize {
        self.resident_bytes() + self.spilled_bytes()
    }

    fn resident_bytes(&self) -> usize {
        self.resident.as_ref().map_or(0, |resident| resident.bytes)
    }

    /// How many bytes of messages are left to the store.
    pub(crate) fn spilled_bytes(&self) -> usize {
        self.spill.as_ref().map_or(0, |spill| spill.bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.resident.as_ref().is_none_or(|resident| resident.messages.is_empty())
            && self.spill.is_none()
    }

    /// Where the next message goes; beyond `resident_max` bytes they are left to the store.
    pub(crate) fn next_place(&self, bytes: usize, resident_max: usize) -> Place {
        let over = self.resident.as_ref().is_some_and(|resident| {
            resident.bytes + bytes > resident_max && !resident.messages.is_empty()
        });
        let behind = self.spill.is_some() && !fault(Fault::SpillOvertaken);
        if behind || over { Place::Spilled } else { Place::Resident }
    }

    /// So many messages are about to be put at the end.
    pub(crate) fn expect(&mut self, messages: usize) {
        self.resident.get_or_insert_default().messages.reserve(messages);
    }

    /// Puts a message at the end: what a publisher sends on one topic stays in its order
    /// `[MQTT3-4.6.0-5]` `[MQTT3-4.6.0-6]` `[MQTT5-4.6.0-5]` `[MQTT5-4.6.0-6]`.
    pub(crate) fn push(&mut self, owed: Owed) {
        let resident = self.resident.get_or_insert_default();
        resident.bytes += owed.bytes();
        resident.next_expiry = resident.next_expiry.min(owed.message.expires());
        resident.messages.push_back(owed);
    }

    /// Everything is left to the store: so many messages, of so many bytes, up to this one.
    pub(crate) fn leave_to_store(&mut self, messages: usize, bytes: usize, last: Sequence) {
        if messages > 0 {
            let spill = Spill { last, messages, bytes, ..Spill::default() };
            self.spill = Some(Box::new(spill));
        }
    }

    /// A message of `bytes` was left to the store, at the end.
    pub(crate) fn push_spilled(&mut self, sequence: Sequence, bytes: usize) {
        let spill = self.spill.get_or_insert_with(|| {
            // It may be the first one that was ever owed.
            let after = Sequence(sequence.0.saturating_sub(1));
            Box::new(Spill { after, ..Spill::default() })
        });
        spill.last = sequence;
        spill.messages += 1;
        spill.bytes += bytes;
        if let Some(asked) = &mut spill.loading {
            asked.messages_since += 1;
            asked.bytes_since += bytes;
        }
    }

    /// A message that is at hand.
    pub(crate) fn message(&self, sequence: Sequence) -> Option<&Owed> {
        let messages = &self.resident.as_ref()?.messages;
        // Mostly none is missing between the first one and this.
        let first = messages.front()?.sequence;
        let guess = sequence.0.checked_sub(first.0)? as usize;
        let is_it = |owed: &&Owed| owed.sequence == sequence;
        messages.get(guess).filter(is_it).or_else(|| {
            let at = messages.binary_search_by_key(&sequence, |owed| owed.sequence).ok()?;
            messages.get(at)
        })
    }

    /// The first message that is at hand.
    pub(crate) fn first(&self) -> Option<Sequence> {
        self.resident.as_ref()?.messages.front().map(|owed| owed.sequence)
    }

    /// Takes the first message that is at hand.
    pub(crate) fn pop(&mut self) -> Option<Owed> {
        let resident = self.resident.as_mut()?;
        let owed = resident.messages.pop_front()?;
        resident.look.done = resident.look.done.saturating_sub(1);
        let leaks = fault(Fault::QueueBytesLeaked);
        if !leaks {
            resident.bytes -= owed.bytes();
        }
        if resident.messages.is_empty() && !leaks {
            self.resident = None;
        }
        Some(owed)
    }

    /// The messages that are at hand.
    pub(crate) fn resident(&self) -> impl Iterator<Item = &Owed> {
        self.resident.iter().flat_map(|resident| &resident.messages)
    }

    /// All messages that are at hand.
    pub(crate) fn into_resident(self) -> impl Iterator<Item = Owed> {
        self.resident.into_iter().flat_map(|resident| resident.messages)
    }

    /// Takes out messages at hand that have expired, the oldest first. There may be a million messages, so it
    /// looks at a slice of them, and at more only until it has found one; when it has been through it
    /// begins anew once one of the others has expired, and with more than a slice after a second at the
    /// earliest.
    pub(crate) fn take_expired(
        &mut self,
        now: Now,
        is_begun: impl Fn(Sequence) -> bool,
    ) -> Vec<Owed> {
        let Some(resident) = self.resident.as_mut().filter(|all| all.next_expiry.has_passed(now))
        else {
            return Vec::new();
        };
        let (messages, look) = (&mut resident.messages, &mut resident.look);
        if look.done == 0 && now.mono_ms < look.rests_until_ms && messages.len() > LOOKED_AT {
            return Vec::new();
        }
        let mut first = if look.done == 0 { Deadline::NEVER } else { look.first };
        // Those that stay go to the front of the slice, in their order.
        let (mut stay, mut end) = (look.done, look.done);
        while end < messages.len() && (end < look.done + LOOKED_AT || stay == end) {
            let expires = messages[end].message.expires();
            if !expires.has_passed(now) || is_begun(messages[end].sequence) {
                first = first.min(expires);
                messages.swap(stay, end);
                stay += 1;
            }
            end += 1;
        }
        let expired: Vec<_> = messages.drain(stay..end).collect();
        resident.bytes -= expired.iter().map(Owed::bytes).sum::<usize>();
        if stay == messages.len() {
            resident.next_expiry = first.max(Deadline::after(1, now));
            *look = Look { rests_until_ms: now.mono_ms + REST_MS, ..Look::default() };
        } else {
            *look = Look { done: stay, first, ..Look::default() };
        }
        expired
    }

    /// Whether messages should be loaded now: some are spilled, few are at hand, and no load is on
    /// its way. If so, one counts as on its way.
    pub(crate) fn start_load(&mut self, limits: &Limits) -> bool {
        let low = self.resident_bytes() <= limits.queue_resident_bytes_max / 2;
        match &mut self.spill {
            Some(spill) if low && spill.loading.is_none() => {
                let last = spill.last;
                spill.loading = Some(Asked { last, messages_since: 0, bytes_since: 0 });
                true
            }
            _ => false,
        }
    }

    /// The message behind which the part lies that is left to the store.
    pub(crate) fn spilled_after(&self) -> Sequence {
        self.spill.as_ref().map_or(Sequence(0), |spill| spill.after)
    }

    /// The messages of a load have come.
    pub(crate) fn loaded(&mut self, messages: Vec<Owed>) {
        let Some(spill) = &mut self.spill else {
            return;
        };
        let asked = spill.loading.take();
        match (messages.last().map(|last| last.sequence), asked) {
            (Some(last), _) => {
                spill.after = last;
                // Sequences say when all is loaded; what they take here and there may differ.
                spill.messages = spill.messages.saturating_sub(messages.len()).max(1);
                spill.bytes = spill.bytes.saturating_sub(messages.iter().map(Owed::bytes).sum());
            }
            (None, Some(asked)) => {
                // Of what was left to the store by then nothing is there. What came later is.
                spill.after = asked.last;
                (spill.messages, spill.bytes) = (asked.messages_since, asked.bytes_since);
            }
            (None, None) => return,
        }
        if spill.after >= spill.last {
            self.spill = None;
        }
        for owed in messages {
            self.push(owed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, MessageParts, MessagePool, MessageView};
    use noctule_mqtt::QoS;
    use std::sync::Arc;

    const LARGE: usize = 1_000_000;

    fn owed(sequence: u64) -> Owed {
        let parts = MessageParts {
            topic: "a",
            properties: &[],
            payload: b"x",
            qos: QoS::AtLeastOnce,
            retain: false,
            published_by: None,
            received_ms: 0,
        };
        Owed {
            sequence: Sequence(sequence),
            message: Message::from_parts(&parts).unwrap(),
            qos: QoS::AtLeastOnce,
            retain: false,
            extras: None,
            deferred: 0,
        }
    }

    fn place(queue: &Queue) -> Place {
        queue.next_place(1, LARGE)
    }

    #[test]
    fn a_load_that_brings_nothing_ends_only_what_it_was_asked_for() {
        let mut queue = Queue::default();
        queue.push_spilled(Sequence(5), 100);
        assert!(queue.start_load(&Limits::default()));
        queue.push_spilled(Sequence(6), 70);
        assert_eq!((queue.len(), queue.bytes()), (2, 170));
        queue.loaded(Vec::new());
        assert_eq!((queue.len(), queue.bytes()), (1, 70), "what came since is still there");
        assert_eq!((place(&queue), queue.spilled_after()), (Place::Spilled, Sequence(5)));
        assert!(queue.start_load(&Limits::default()));
        queue.loaded(vec![owed(6)]);
        assert_eq!((place(&queue), queue.len()), (Place::Resident, 1));
        assert_eq!(queue.bytes(), owed(6).bytes());
    }

    #[test]
    fn a_load_that_brings_nothing_and_has_nothing_behind_it_is_the_last() {
        let mut queue = Queue::default();
        queue.leave_to_store(3, 300, Sequence(9));
        assert!(queue.start_load(&Limits::default()));
        queue.loaded(Vec::new());
        assert!(queue.is_empty() && !queue.start_load(&Limits::default()));
    }

    fn expiring(sequence: u64, at_ms: u64) -> Owed {
        let owed = owed(sequence);
        let view = MessageView { expires: Deadline::after(0, at(at_ms)), ..owed.message.view() };
        let message = MessagePool::new(&Arc::default()).own(&view);
        Owed { message, ..owed }
    }

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    fn sequences(messages: &[Owed]) -> Vec<u64> {
        messages.iter().map(|owed| owed.sequence.0).collect()
    }

    /// Of those that have expired, in whatever order.
    fn sorted(messages: &[Owed]) -> Vec<u64> {
        let mut sequences = sequences(messages);
        sequences.sort_unstable();
        sequences
    }

    #[test]
    fn a_long_queue_is_looked_through_for_expired_messages_a_slice_at_a_time() {
        let mut queue = Queue::default();
        let long = 3 * LOOKED_AT as u64 + 7;
        // Every tenth has expired at 5, the others never do.
        for number in 1..=long {
            queue.push(if number % 10 == 0 { expiring(number, 5) } else { owed(number) });
        }
        let nobody = |_| false;
        assert!(queue.take_expired(at(4), nobody).is_empty());
        let slice = LOOKED_AT as u64;
        let first = queue.take_expired(at(5), nobody);
        assert_eq!(sorted(&first), (1..=slice / 10).map(|tenth| tenth * 10).collect::<Vec<_>>());
        // What leaves in between is no reason to pass one over, nor is what comes.
        let left: Vec<_> = (0..500).filter_map(|_| queue.pop()).collect();
        queue.push(expiring(long + 1, 6));
        let mut later = Vec::new();
        for _ in 0..3 {
            later.extend(queue.take_expired(at(6), nobody));
        }
        assert!(queue.take_expired(at(6), nobody).is_empty());
        let expected = (slice / 10 + 1..=long / 10).map(|tenth| tenth * 10).chain([long + 1]);
        assert_eq!(sorted(&later), expected.collect::<Vec<_>>());
        let mut rest = left;
        rest.extend(std::iter::from_fn(|| queue.pop()));
        let stay = (1..=long).filter(|number| number % 10 != 0);
        assert_eq!(sequences(&rest), stay.collect::<Vec<_>>(), "in their order");
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn it_is_looked_on_until_one_is_found() {
        let mut queue = Queue::default();
        let long = 2 * LOOKED_AT as u64;
        (1..=long).for_each(|number| queue.push(owed(number)));
        (1..=3).for_each(|more| queue.push(expiring(long + more, 5)));
        assert_eq!(sequences(&queue.take_expired(at(6), |_| false)), [long + 1]);
        assert_eq!(sequences(&queue.take_expired(at(6), |_| false)), [long + 2, long + 3]);
    }

    #[test]
    fn what_expires_at_once_has_a_long_queue_looked_through_once_a_second() {
        let mut queue = Queue::default();
        (1..=2 * LOOKED_AT as u64).for_each(|number| queue.push(owed(number)));
        for number in 3_001..=3_003 {
            queue.push(expiring(number, 5));
            let expected: &[u64] = if number == 3_001 { &[3_001] } else { &[] };
            assert_eq!(sequences(&queue.take_expired(at(5), |_| false)), expected);
        }
        for number in [3_002, 3_003] {
            assert_eq!(sequences(&queue.take_expired(at(5 + REST_MS), |_| false)), [number]);
        }
    }

    #[test]
    fn one_whose_delivery_has_begun_stays_and_is_looked_at_again_after_a_second() {
        let mut queue = Queue::default();
        (1..=3).for_each(|number| queue.push(expiring(number, 5)));
        assert_eq!(sorted(&queue.take_expired(at(9), |one| one == Sequence(2))), [1, 3]);
        assert!(queue.take_expired(at(1_008), |_| false).is_empty());
        assert_eq!(sequences(&queue.take_expired(at(1_009), |_| false)), [2]);
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
    }

    #[test]
    fn all_is_loaded_when_the_last_has_come_whatever_was_counted() {
        for counted in [1, 2, 50] {
            let mut queue = Queue::default();
            queue.leave_to_store(counted, counted * LARGE, Sequence(3));
            for sequence in 1..=3 {
                assert_eq!(place(&queue), Place::Spilled, "{counted} counted, before {sequence}");
                assert!(queue.start_load(&Limits::default()));
                queue.loaded(vec![owed(sequence)]);
            }
            assert_eq!(place(&queue), Place::Resident, "{counted} counted");
            assert_eq!((queue.len(), queue.bytes()), (3, 3 * owed(1).bytes()));
        }
    }
}
