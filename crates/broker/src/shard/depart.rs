//! Sessions that have ended and were members of groups: what they were owed as such and had not
//! acknowledged goes to another member.
//!
//! It may be a million messages. What was in flight goes at once, of the queue a slice in each turn, or
//! nobody else would be served meanwhile. Some of it may lie with the store, and is loaded piece by
//! piece. Until all is done the store goes on knowing of the session, as nobody's: so nothing is lost if
//! the broker ends meanwhile. That a session is not owed a message any more is stored together with who
//! is owed it now.

use super::{Action, Shard};
use crate::mail::ReplyTo;
use crate::outgoing::Outgoing;
use crate::persist::{Owed, Record, Sequence, SessionKey, Together};
use crate::principal::Principal;
use crate::queue::Queue;
use crate::restore::{Restored, StoredSession};
use crate::session::{Session, SessionHandle};
use crate::sharing::{Fate, Passage};
use noctule_session::Stage;
use std::collections::{BTreeMap, VecDeque};

/// So many messages of a queue go to others in one turn.
const SLICE_MESSAGES: usize = 500;

/// Sessions that have ended and whose messages as members of groups go to others.
#[derive(Debug, Default)]
pub(super) struct Departures {
    by_handle: BTreeMap<SessionHandle, Departing>,
    /// Those that have messages at hand, each once.
    ready: VecDeque<SessionHandle>,
}

impl Departures {
    /// Whether messages are at hand to be given away.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether this session has ended and its messages go to others.
    pub(super) fn has(&self, handle: SessionHandle) -> bool {
        self.by_handle.contains_key(&handle)
    }

    pub(super) fn len(&self) -> usize {
        self.by_handle.len()
    }
}

/// What is left of a session that has ended.
#[derive(Debug)]
struct Departing {
    key: SessionKey,
    stored: bool,
    queue: Queue,
    /// What of the queue is at hand takes of memory, large messages apart.
    weight: usize,
    /// What may have come to its client at QoS 2 before a restart.
    restored: Option<Box<Restored>>,
}

impl Departing {
    /// The next messages at hand, so many at most, with whether they may be given to somebody else: those
    /// that were sent before a restart may have arrived.
    fn take_slice(&mut self) -> Vec<(Owed, bool)> {
        let mut slice = Vec::new();
        while slice.len() < SLICE_MESSAGES
            && let Some(owed) = self.queue.pop()
        {
            self.weight -= owed.weight();
            let restored = self.restored.as_deref();
            let may = restored.is_none_or(|begun| !begun.contains_key(&owed.sequence));
            slice.push((owed, may));
        }
        slice
    }
}

impl Shard {
    /// A session has ended, and not before that `[MQTT5-4.8.2-4]`: what it was owed as a member of a
    /// group and had not acknowledged goes to another member. Not so at QoS 2 what was sent to it,
    /// which may have come `[MQTT5-4.8.2-5]`.
    pub(super) fn redistribute(&mut self, handle: SessionHandle, session: Session) {
        let (key, stored, owed) = (session.key, session.stored, session.owed_weight());
        let (mut messages, queue, restored) = session.into_unfinished();
        let in_flight: usize = messages.iter().map(|(owed, _)| owed.weight()).sum();
        let weight = owed - in_flight;
        let mut departing = Departing { key, stored, queue, weight, restored };
        messages.append(&mut departing.take_slice());
        if stored && !departing.queue.is_empty() {
            // Nobody's from now on.
            self.record(Record::Session {
                key,
                client_id: "".into(),
                principal: Principal::default(),
                expiry: Some(0),
                will: None,
            });
            // Of a session that is gone nobody stores any more what was deferred.
            for owed in departing.queue.resident() {
                if self.delivery.journal.is_deferred(key, owed) {
                    let owed = owed.clone();
                    self.delivery.journal.push(Record::Owed { key, owed, spilled: false });
                }
            }
        }
        self.give_away(handle, departing, messages);
    }

    /// Gives away the next messages of one session that has ended and has some at hand.
    pub(super) fn give_away_some(&mut self) {
        if let Some(handle) = self.departures.ready.pop_front()
            && let Some(mut departing) = self.take_departing(handle)
        {
            let messages = departing.take_slice();
            self.give_away(handle, departing, messages);
        }
    }

    /// Nothing that is at hand may wait, as the broker ends.
    pub(super) fn give_all_away(&mut self) {
        while self.departures.has_ready() {
            self.give_away_some();
        }
    }

    /// A session that had ended before a restart is to be taken leave of.
    pub(crate) fn restore_departing(&mut self, stored: &StoredSession) {
        let mut queue = Queue::default();
        queue.leave_to_store(stored.queued, stored.queued_bytes, stored.last_queued);
        // No connection and no subscription leads to it; it is here for its handle alone.
        let handle = self.delivery.sessions.insert(Session::new("", stored.key));
        self.delivery.sessions.remove(handle);
        let in_flight = stored.in_flight.iter();
        let restored: Restored =
            in_flight.map(|one| (one.sequence, (one.packet_id, one.received))).collect();
        let restored = Some(Box::new(restored));
        let departing = Departing { key: stored.key, stored: true, queue, weight: 0, restored };
        self.keep_departing(handle, departing);
    }

    /// All sessions are there: goes on with those that had ended before.
    pub(crate) fn depart_restored(&mut self) {
        let all: Vec<_> = self.departures.by_handle.keys().copied().collect();
        for handle in all {
            if let Some(departing) = self.take_departing(handle) {
                self.give_away(handle, departing, Vec::new());
            }
        }
    }

    /// Messages of a session that has ended have come from the store.
    pub(super) fn depart_with(&mut self, handle: SessionHandle, mut messages: Vec<Owed>) {
        let Some(mut departing) = self.take_departing(handle) else {
            return;
        };
        let was_ready = departing.queue.first().is_some();
        let now = self.delivery.stored_now();
        for owed in &mut messages {
            owed.message.put_on_clock(now);
            departing.weight += owed.weight();
        }
        departing.queue.loaded(messages);
        if departing.queue.first().is_none() {
            return self.give_away(handle, departing, Vec::new());
        }
        // However fast a store answers, there is one slice in a turn.
        if !was_ready {
            self.departures.ready.push_back(handle);
        }
        self.keep_departing(handle, departing);
    }

    /// What a session that has ended leaves counts as long as it is here.
    fn keep_departing(&mut self, handle: SessionHandle, departing: Departing) {
        let spilled = self.delivery.spilled_weight(departing.queue.spilled_bytes());
        self.delivery.count_departing(departing.weight + spilled);
        self.departures.by_handle.insert(handle, departing);
    }

    fn take_departing(&mut self, handle: SessionHandle) -> Option<Departing> {
        let departing = self.departures.by_handle.remove(&handle)?;
        let spilled = self.delivery.spilled_weight(departing.queue.spilled_bytes());
        self.delivery.uncount_departing(departing.weight + spilled);
        Some(departing)
    }

    /// Gives messages to other members, those of them that may be given, and takes the next step.
    fn give_away(
        &mut self,
        handle: SessionHandle,
        mut departing: Departing,
        messages: Vec<(Owed, bool)>,
    ) {
        let together = self.delivery.journal.name_together(self.id);
        let mut elsewhere: u32 = 0;
        let mut settled: Vec<Sequence> = Vec::with_capacity(messages.len());
        for (owed, may) in messages {
            settled.push(owed.sequence);
            elsewhere += u32::from(may && self.give_to_another(&owed, together));
        }
        let key = departing.key;
        let is_stored = departing.stored;
        // One that was asked for while the session was there may be on its way, and comes here.
        if departing.queue.start_load(&self.delivery.limits) {
            self.delivery.loads.push(handle);
        }
        if !departing.queue.is_empty() {
            for sequence in settled.into_iter().filter(|_| is_stored) {
                self.record(Record::Delivered { key, sequence });
            }
            if departing.queue.first().is_some() {
                self.departures.ready.push_back(handle);
            }
            self.keep_departing(handle, departing);
        } else if is_stored {
            self.record(Record::SessionEnded(key));
        }
        if elsewhere > 0 {
            self.record(Record::Together { together, batches: Some(elsewhere + 1) });
        }
    }

    /// Returns whether another shard has it, and stores it together with what is recorded here.
    fn give_to_another(&mut self, owed: &Owed, together: Together) -> bool {
        let Some(filter) = owed.shared() else {
            return false;
        };
        let key = self.router.group_key(filter);
        let mut outgoing = Outgoing::of_message(&owed.message);
        outgoing.view.retain = owed.retain;
        if outgoing.view.expires.has_passed(self.delivery.now) {
            self.delivery.dropped.expired += 1;
            return false;
        }
        let choice = self.choice(outgoing.view.topic);
        let route = self.router.route(outgoing.view.topic, self.delivery.law());
        let Some(group) = route.groups.iter().find(|one| one.key == key) else {
            self.delivery.dropped.group_away += 1;
            return false;
        };
        let passage = Passage::new(self.id, None, Some(ReplyTo::Together(together)));
        let fate = self.delivery.distribute(self.id, group, &mut outgoing, passage, choice);
        fate == Fate::HandedOn
    }

    /// Asks for the next piece of what a session that has ended was owed.
    pub(super) fn load_departing(&mut self, handle: SessionHandle) {
        if let Some(departing) = self.departures.by_handle.get(&handle) {
            let bytes_max = self.delivery.limits.queue_resident_bytes_max;
            let (key, after) = (departing.key, departing.queue.spilled_after());
            self.actions.push_back(Action::Load { session: handle, key, after, bytes_max });
        }
    }
}

impl Session {
    /// Whether it shares a subscription with others.
    pub(super) fn is_member_of_groups(&self) -> bool {
        self.subscriptions.filters().any(|filter| filter.starts_with("$share/"))
    }

    /// What is in flight, in order, with whether it may be given to somebody else; its queue; and what may
    /// have come to its client before a restart.
    fn into_unfinished(mut self) -> (Vec<(Owed, bool)>, Queue, Option<Box<Restored>>) {
        let restored = self.take_all_restored();
        let in_flight = self.outbound.into_iter().map(|entry| {
            let may = match entry.stage() {
                Stage::AwaitPuback | Stage::StoringId => true,
                Stage::AwaitPubrec => !entry.was_sent(),
                Stage::StoringRelease | Stage::AwaitPubcomp => false,
            };
            (entry.message, may)
        });
        (in_flight.collect(), self.queue, restored)
    }
}
