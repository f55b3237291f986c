//! Messages that were owed to sessions which have ended, and are still to be freed.
//!
//! They may be a gigabyte. Freed at once they would hold up everybody, and so would the allocator when it
//! gives back so much in one piece. So they go in slices, one in a millisecond, and another one in each turn
//! while memory is short, and count until then.

use crate::delivery::Delivery;
use crate::memory::Pressure;
use crate::persist::Owed;
use crate::session::Session;
use std::collections::VecDeque;
use std::fmt;

/// So many messages are freed at once,
const SLICE_MESSAGES: usize = 1_000;
/// or as many as have this many bytes, but one at least: for what is given back of so many in every
/// millisecond those who allocate wait for a twentieth of the time at most.
const SLICE_BYTES: usize = 128 * 1024;

/// Messages that nobody is owed any more.
#[derive(Default)]
pub(crate) struct Discarded {
    lists: VecDeque<List>,
    /// What they take of memory.
    weight: usize,
    slice: Slice,
}

type List = Box<dyn Iterator<Item = Owed> + Send>;

/// What may be freed yet of the slice that was begun at a time.
#[derive(Debug)]
struct Slice {
    since_ms: u64,
    messages: usize,
    bytes: usize,
}

impl Default for Slice {
    fn default() -> Self {
        Self::at(0)
    }
}

impl Slice {
    fn at(since_ms: u64) -> Self {
        Self { since_ms, messages: SLICE_MESSAGES, bytes: SLICE_BYTES }
    }

    fn is_used_up(&self) -> bool {
        self.messages == 0 || self.bytes == 0
    }

    fn take(&mut self, bytes: usize) {
        self.messages -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Discarded {
    /// What its messages take of memory, large ones apart.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// When to free the next ones, if there are some.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        (!self.lists.is_empty()).then_some(self.slice.since_ms + 1)
    }

    /// Frees what the slice has room for. Returns what it weighed.
    fn free(&mut self) -> usize {
        let before = self.weight;
        while !self.slice.is_used_up()
            && let Some(list) = self.lists.front_mut()
        {
            let Some(owed) = list.next() else {
                self.lists.pop_front();
                continue;
            };
            self.weight -= owed.weight();
            self.slice.take(owed.freed_bytes());
        }
        before - self.weight
    }
}

impl Delivery {
    /// A session has ended: what it was owed and has at hand is nobody's.
    pub(crate) fn discard_owed(&mut self, session: Session) {
        let weight = session.owed_weight();
        let in_flight = session.outbound.into_iter().map(|entry| entry.message);
        self.discard(in_flight.chain(session.queue.into_resident()), weight);
    }

    /// Takes messages of this weight, to be freed: at once, if this millisecond's slice has room for them.
    pub(crate) fn discard<I>(&mut self, messages: I, weight: usize)
    where
        I: Iterator<Item = Owed> + Send + 'static,
    {
        if weight == 0 {
            return;
        }
        self.memory.owed += weight;
        self.discarded.weight += weight;
        self.discarded.lists.push_back(Box::new(messages));
        if self.discarded.slice.since_ms < self.now.mono_ms {
            self.discarded.slice = Slice::at(self.now.mono_ms);
        }
        self.memory.owed -= self.discarded.free();
    }

    /// Whether messages are to be freed as fast as turns go, as memory is short.
    pub(crate) fn is_to_free(&self) -> bool {
        self.pressure > Pressure::None && !self.discarded.lists.is_empty()
    }

    /// Frees another slice of what is discarded, if its time has come.
    pub(crate) fn free_what_is_due(&mut self) {
        if self.discarded.due_ms().is_some_and(|due| due <= self.now.mono_ms) {
            self.free_slice();
        }
    }

    /// Frees another slice of what is discarded.
    pub(crate) fn free_slice(&mut self) {
        self.discarded.slice = Slice::at(self.now.mono_ms);
        self.memory.owed -= self.discarded.free();
    }
}

impl fmt::Debug for Discarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lists, weight, slice } = self;
        let lists = lists.len();
        f.debug_struct("Discarded")
            .field("lists", &lists)
            .field("weight", weight)
            .field("slice", slice)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, MessageParts};
    use crate::persist::Sequence;
    use crate::{Settings, Shard};
    use noctule_mqtt::QoS;
    use noctule_session::Now;

    fn owed(payload: &[u8]) -> Owed {
        let parts = MessageParts {
            topic: "t",
            properties: &[],
            payload,
            qos: QoS::AtLeastOnce,
            retain: false,
            published_by: None,
            received_ms: 0,
        };
        let message = Message::from_parts(&parts).expect("a message");
        let qos = QoS::AtLeastOnce;
        Owed { sequence: Sequence(1), message, qos, retain: false, extras: None, deferred: 0 }
    }

    /// How many of these messages are freed at once.
    fn freed_at_once(messages: Vec<Owed>) -> usize {
        let now = Now { mono_ms: 5, wall_ms: 0 };
        let mut shard = Shard::new(Settings::default(), now);
        let (count, each) = (messages.len(), messages[0].weight());
        shard.delivery.discard(messages.into_iter(), count * each);
        assert_eq!(shard.next_deadline_ms(), Some(6));
        assert_eq!(shard.delivery.memory.owed, shard.delivery.discarded.weight());
        count - shard.delivery.memory.owed / each
    }

    #[test]
    fn time_alone_frees_all_of_it() {
        let mut shard = Shard::new(Settings::default(), Now::default());
        let messages: Vec<_> = (0..2 * SLICE_MESSAGES + 1).map(|_| owed(b"x")).collect();
        let weight = messages.iter().map(Owed::weight).sum();
        shard.delivery.discard(messages.into_iter(), weight);
        for mono_ms in 1..=2 {
            assert_eq!(shard.next_deadline_ms(), Some(mono_ms));
            shard.on_tick(Now { mono_ms, wall_ms: 0 });
        }
        assert_eq!(shard.next_deadline_ms(), None);
        assert_eq!(shard.delivery.memory.owed, 0);
    }

    #[test]
    fn a_slice_has_so_many_messages_or_so_many_bytes_of_those_that_nobody_else_has() {
        let of_size = |bytes: usize| (0..5_000).map(move |_| owed(&vec![0; bytes])).collect();
        assert_eq!(freed_at_once(of_size(1)), SLICE_MESSAGES);
        let each = owed(&[0; 1_000]).bytes();
        assert_eq!(freed_at_once(of_size(1_000)), SLICE_BYTES.div_ceil(each));
        assert_eq!(freed_at_once(vec![owed(&[0; 1 << 20]), owed(&[0; 1 << 20])]), 1);
        let kept: Vec<_> = of_size(1_000);
        assert_eq!(freed_at_once(kept.clone()), SLICE_MESSAGES);
    }
}
