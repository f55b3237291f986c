//! Keeping retained messages, and forgetting those that have expired.
//!
//! A message is set before it is routed, so that whoever subscribes next cannot see an older one.

use super::{Shard, Timer};
use crate::commons::ShardId;
use crate::expiry::Deadline;
use crate::mail::Mail;
use crate::message::MessageView;
use crate::outgoing::Outgoing;
use crate::persist::{Record, Ticket};
use noctule_session::Now;
use std::sync::atomic::Ordering;

/// So many expired messages of a part are forgotten at once, as others wait for the part.
const FORGOTTEN_AT_ONCE: usize = 1_000;

impl Shard {
    /// Keeps a message as its topic's, or forgets the topic's if it is empty.
    #[inline(never)]
    pub(super) fn retain(&mut self, outgoing: &mut Outgoing<'_>) {
        if outgoing.lacks_attribution() {
            self.delivery.attribute(outgoing);
        }
        let topic = outgoing.view.topic;
        let message = outgoing.message(&mut self.delivery.pool);
        let parts = self.commons.retained_parts();
        let part = self.placement.retained_part(topic.as_bytes(), parts);
        let (traces, placement) = (self.commons.retained_traces(), &self.placement);
        let memory = self.commons.memory();
        let mut sequence = 0;
        let is_shared = self.commons.shards() > 1;
        let (unstored, is_first) = (self.commons.unstored(), self.unstored.is_empty());
        self.commons.change_retained(part, &mut |retained| {
            let before = retained.size();
            let known = retained.knows(message.topic());
            let clears = message.payload().is_empty();
            if !known && !clears {
                traces.leave(placement, topic);
            }
            // Counted with the part in hand, so that of one topic the last set is the highest.
            sequence = self.commons.retained_sequence().fetch_add(1, Ordering::SeqCst) + 1;
            if is_shared && is_first {
                unstored.begin(self.id, sequence);
            }
            retained.set(message, sequence);
            if known && clears && is_shared {
                let stored_before = unstored.all_stored_before();
                let mut forget = |topic: &str| traces.take_back_of(placement, topic);
                retained.note_cleared(message.topic(), sequence, stored_before, &mut forget);
            } else if known && clears {
                traces.take_back(placement, topic);
            }
            memory.retained_changed(before, retained.size());
        });
        let ticket = self.delivery.journal.ticket();
        if is_shared && self.unstored.back().is_none_or(|(last, _)| *last < ticket) {
            self.unstored.push_back((ticket, sequence));
        }
        let message = message.clone();
        self.delivery.journal.push(Record::Retained { sequence, message });
        outgoing.durable = true;
        outgoing.retained = sequence;
        if !outgoing.view.expires.is_never() {
            self.watch_retained(part, outgoing.view.expires, self.delivery.now);
        }
    }

    /// The store has everything up to this ticket: who waits for retained messages of this shard is
    /// told.
    #[inline]
    pub(super) fn settle_retained(&mut self, persisted: Ticket) {
        if self.unstored.front().is_some_and(|(ticket, _)| *ticket <= persisted) {
            self.advance_unstored(persisted);
        }
    }

    #[inline(never)]
    fn advance_unstored(&mut self, persisted: Ticket) {
        while self.unstored.pop_front_if(|(ticket, _)| *ticket <= persisted).is_some() {}
        let first = self.unstored.front().map(|(_, sequence)| *sequence);
        if self.commons.unstored().advance(self.id, first) {
            for shard in (0..self.commons.shards()).map(ShardId).filter(|one| *one != self.id) {
                self.delivery.post(shard, Mail::RetainedStored);
            }
            // Who waits here was to be told by others; it has been taken for told now.
            self.delivery.replay_stored();
        }
    }

    /// Has the retained messages looked after that were there before this shard.
    pub(crate) fn watch_all_retained(&mut self, now: Now) {
        for part in 0..self.commons.retained_parts() {
            let mut next = None;
            self.commons.read_retained(part, &mut |retained| next = retained.next_expiry());
            if let Some(next) = next {
                self.watch_retained(part, next, now);
            }
        }
    }

    /// Has a part of the retained messages looked at when one in it expires.
    fn watch_retained(&mut self, part: usize, deadline: Deadline, now: Now) {
        let deadline = deadline.mono_ms(now);
        let (Some(deadline), Some(watch)) = (deadline, self.retained_watch.get_mut(part)) else {
            return;
        };
        if watch.is_none_or(|earlier| earlier > deadline) {
            *watch = Some(deadline);
            // A store has at most as many parts as the number has room for.
            self.set_timer(deadline, Timer::Retained(part as u16), now);
        }
    }

    /// Forgets what has expired in a part of the retained messages `[MQTT5-3.3.2-5]`.
    pub(super) fn expire_retained(&mut self, part: usize, now: Now) {
        if let Some(watch) = self.retained_watch.get_mut(part) {
            *watch = None;
        }
        let memory = self.commons.memory();
        let (traces, placement) = (self.commons.retained_traces(), &self.placement);
        let (mut forgotten, mut next, mut last) = (Vec::new(), None, 0);
        self.commons.change_retained(part, &mut |retained| {
            let before = retained.size();
            forgotten = retained.expire(now, FORGOTTEN_AT_ONCE);
            for message in &forgotten {
                traces.take_back(placement, message.topic_name());
            }
            // Numbers of their own, so that what is set from now on is later.
            let count = forgotten.len() as u64;
            last = self.commons.retained_sequence().fetch_add(count, Ordering::SeqCst) + count;
            next = retained.next_expiry();
            memory.retained_changed(before, retained.size());
        });
        self.delivery.dropped.expired += forgotten.len() as u64;
        for (sequence, message) in (0..=last).rev().zip(&forgotten) {
            // Or the store would keep them, and give them back to a broker whose clock is behind.
            let view = MessageView { properties: &[], payload: &[], ..message.view() };
            let message = self.delivery.pool.own(&view);
            self.delivery.journal.push(Record::Retained { sequence, message });
        }
        if let Some(next) = next {
            self.watch_retained(part, next, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Event, Settings, Verdict};
    use super::*;
    use noctule_mqtt::TopicFilter;

    const CONNECT: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01a";
    const SET: &[u8] = b"\x31\x07\x00\x03a/1\x00x";
    const SET_FOR_A_SECOND: &[u8] = b"\x31\x0c\x00\x03a/2\x05\x02\x00\x00\x00\x01x";
    const CLEAR: &[u8] = b"\x31\x06\x00\x03a/1\x00";

    #[test]
    fn topics_that_are_cleared_or_expire_leave_no_traces() {
        let at = |mono_ms| Now { mono_ms, wall_ms: mono_ms };
        let mut shard = Shard::new(Settings::default(), at(0));
        let connection = shard.open(at(0));
        shard.on_bytes(connection, CONNECT, at(0));
        shard.handle(Event::Authenticated { connection, verdict: Verdict::Accepted }, at(0));
        let leads = |shard: &Shard, filter| {
            let filter = TopicFilter::new(filter).expect("a filter");
            shard.commons.retained_traces().lead_to(shard.placement.beginning(filter))
        };
        for round in 0..300u64 {
            let now = at(round * 10_000);
            for packet in [CLEAR, SET, SET, SET_FOR_A_SECOND, SET_FOR_A_SECOND] {
                shard.on_bytes(connection, packet, now);
            }
            assert!(leads(&shard, "a/1") && leads(&shard, "a/+") && leads(&shard, "#"));
            shard.on_bytes(connection, CLEAR, now);
            assert!(!leads(&shard, "a/1") && leads(&shard, "a/2") && leads(&shard, "a/+"));
            shard.on_tick(at(round * 10_000 + 5_000));
            assert!(!leads(&shard, "a/2") && !leads(&shard, "a/+") && !leads(&shard, "#"));
        }
    }
}
