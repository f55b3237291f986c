//! Handing out retained messages, a slice in every turn. What it is and what of it is stored says
//! [`replay`](crate::replay).

use super::Shard;
use crate::delivery::Delivery;
use crate::faults::{Fault, fault};
use crate::persist::Extras;
use crate::replay::{Replay, ReplayNumber};
use crate::retained::{Kept, Stopped, Walked, Wanted};
use crate::session::{SessionHandle, Terms};
use noctule_mqtt::{QoS, TopicFilter};
use std::sync::Arc;

/// So many topics are looked at to find out whether one is retained that a filter matches.
const LOOKED_AT: usize = 64;

/// The store is told how far it has come whenever so many were sent that nobody is owed.
const UNTOLD_MAX: usize = 1_000;

/// What becomes of a session after its slice.
enum Next {
    /// Another slice.
    Again,
    /// Something has to happen before it can go on, which brings it back.
    Waits,
}

impl Shard {
    /// Hands retained messages to sessions that wait for some, one after another. However many they
    /// are, only so many topics are looked at in a turn: nobody else waits for them.
    pub(super) fn replay_retained(&mut self) {
        let mut budget = self.delivery.limits.retained_slice.max(1);
        while budget > 0 {
            let Some(session) = self.delivery.replays.pop_front() else {
                return;
            };
            match self.replay_slice(session, &mut budget) {
                Next::Again => self.delivery.replays.push_back(session),
                Next::Waits => {
                    if let Some(found) = self.delivery.sessions.get_mut(session) {
                        found.replaying = false;
                    }
                }
            }
        }
    }

    /// Goes on with one subscription of a session as long as there is room and budget, of which at
    /// least one is used.
    fn replay_slice(&mut self, session: SessionHandle, budget: &mut usize) -> Next {
        let spent = *budget - 1;
        let room = self.delivery.has_room_for_retained(session);
        let Some(found) = self.delivery.sessions.get_mut(session) else {
            return Next::Waits;
        };
        if !found.replays.has_open() {
            return Next::Waits;
        }
        if !room {
            self.stall(session);
            return Next::Waits;
        }
        let Some((filter, replay)) = found.replays.pop_open() else {
            return Next::Waits;
        };
        // It was subscribed to.
        let terms = found.subscriptions.get(&filter);
        let next = match (terms, TopicFilter::new(&filter)) {
            (Some(terms), Ok(_)) if found.is_suspended(&filter) => {
                self.end_replay(session, &filter, terms, &replay);
                Next::Again
            }
            (Some(terms), Ok(parsed)) => self.replay_some(session, (parsed, terms), replay, budget),
            _ => Next::Again,
        };
        *budget = spent.min(*budget);
        next
    }

    fn replay_some(
        &mut self,
        session: SessionHandle,
        (filter, terms): (TopicFilter<'_>, Terms),
        mut replay: Replay,
        budget: &mut usize,
    ) -> Next {
        let (Walked { passed, stopped, barrier }, stored_before) =
            self.walk_slice(session, (filter, terms), &mut replay, budget);
        if passed.is_some() {
            replay.reached = passed;
        }
        if let Some(barrier) = barrier {
            replay.come_to(barrier);
        }
        if stopped == Stopped::AtTheEnd {
            match self.next_retained_part(filter, replay.part) {
                Some(part) => replay.part = part,
                None => {
                    self.end_replay(session, filter.as_str(), terms, &replay);
                    return Next::Again;
                }
            }
        }
        let tell = replay.is_stored && replay.untold >= UNTOLD_MAX;
        if tell {
            replay.untold = 0;
        }
        if let Some(found) = self.delivery.sessions.get_mut(session) {
            found.replays.put_back(filter.as_str().into(), replay);
            if tell && found.is_persistent() {
                let reached = found.subscribed(filter.as_str(), terms);
                self.delivery.journal.push(reached);
            }
        }
        if stopped != Stopped::AtUnstored {
            return Next::Again;
        }
        self.await_stored(session, stored_before)
    }

    /// Goes through what of a part has its turn now. Says before which message all were taken to be
    /// stored, too.
    fn walk_slice(
        &mut self,
        session: SessionHandle,
        (filter, terms): (TopicFilter<'_>, Terms),
        replay: &mut Replay,
        budget: &mut usize,
    ) -> (Walked, u64) {
        let Replay { part, is_stored, .. } = *replay;
        // What was reached in an earlier part is behind us.
        let after = replay.reached.as_deref().filter(|topic| self.retained_part_of(topic) == part);
        let mut handout = HandOut::new(session, terms, replay.number, is_stored);
        let mut walked = Walked { passed: None, stopped: Stopped::ByTheTaker, barrier: None };
        let mut stored_before = u64::MAX;
        let (delivery, commons, id) = (&mut self.delivery, &self.commons, self.id);
        commons.read_retained(part, &mut |retained| {
            let mut wanted = Wanted::any(filter, replay.up_to);
            if is_stored && !fault(Fault::ReplayUnstored) {
                wanted.stored_before = commons.unstored().stored_before(id);
            }
            stored_before = wanted.stored_before;
            wanted.beyond = replay.beyond(stored_before);
            walked = retained.walk(&wanted, after, budget, |kept| handout.take(delivery, kept));
        });
        replay.untold = if handout.owes { handout.unowed } else { replay.untold + handout.unowed };
        (walked, stored_before)
    }

    /// All topics were passed, or those that are left are for nobody.
    fn end_replay(&mut self, session: SessionHandle, filter: &str, terms: Terms, replay: &Replay) {
        if let Some(found) = self.delivery.sessions.get(session)
            && replay.is_stored
            && found.is_persistent()
        {
            // All are owed to it now, which is said before.
            let done = found.subscribed(filter, terms);
            self.delivery.journal.push(done);
        }
    }

    /// What comes next is not stored, as far as was known when it was looked at: goes on when there is
    /// news of that, which may have come since.
    fn await_stored(&mut self, session: SessionHandle, stored_before: u64) -> Next {
        let unstored = self.commons.unstored();
        unstored.wait();
        if unstored.stored_before(self.id) != stored_before {
            return Next::Again;
        }
        self.delivery.replays_unstored.insert(session);
        Next::Waits
    }

    /// Where to begin looking for the retained messages of a filter.
    pub(crate) fn first_retained_part(&self, filter: TopicFilter<'_>) -> usize {
        if filter.has_wildcard() { 0 } else { self.retained_part_of(filter.as_str()) }
    }

    /// The part of the retained messages in which a topic's lies.
    pub(crate) fn retained_part_of(&self, topic: &str) -> usize {
        self.placement.retained_part(topic.as_bytes(), self.commons.retained_parts())
    }

    /// Whether there may be retained messages up to this one for a subscription: a few topics are
    /// looked at. What may be there again after a crash is there.
    pub(super) fn has_retained_for(&self, filter: TopicFilter<'_>, up_to: u64) -> bool {
        let (mut part, mut found) = (Some(self.first_retained_part(filter)), false);
        let mut budget = LOOKED_AT;
        while let Some(number) = part {
            self.commons.read_retained(number, &mut |retained| {
                let stored_before = self.commons.unstored().stored_before(self.id);
                let wanted = Wanted { stored_before, ..Wanted::any(filter, up_to) };
                let walked = retained.walk(&wanted, None, &mut budget, |_| false);
                found = walked.stopped != Stopped::AtTheEnd;
            });
            if found {
                return true;
            }
            part = self.next_retained_part(filter, number);
        }
        false
    }

    /// Where to go on when a part is done; nowhere without a wildcard, as a topic lies in one part.
    fn next_retained_part(&self, filter: TopicFilter<'_>, part: usize) -> Option<usize> {
        let next = part + 1;
        (filter.has_wildcard() && next < self.commons.retained_parts()).then_some(next)
    }

    /// There may be room again for retained messages that a session waits for.
    pub(super) fn revive_replays(&mut self, session: SessionHandle) {
        if self.delivery.sessions.get(session).is_some_and(|found| found.queue.is_empty()) {
            self.delivery.replay(session);
        }
    }

    /// Has the session asked again when its connection's output has drained.
    fn stall(&mut self, session: SessionHandle) {
        let connection = self.delivery.sessions.get(session).and_then(|found| found.connection);
        if let Some(connection) =
            connection.and_then(|handle| self.delivery.connections.get_mut(handle))
        {
            connection.stalled = true;
        }
    }
}

impl Delivery {
    /// A number that no replay of this shard's sessions has.
    pub(crate) fn number_replay(&mut self) -> ReplayNumber {
        let number = self.next_replay;
        self.next_replay = number.next();
        number
    }

    /// Retained messages of other shards are stored: those go on that have waited for some.
    pub(crate) fn replay_stored(&mut self) {
        for session in std::mem::take(&mut self.replays_unstored) {
            self.replay(session);
        }
    }
}

/// One slice on its way to its session.
struct HandOut {
    session: SessionHandle,
    qos: QoS,
    extras: Option<Arc<Extras>>,
    /// Whether a message was handed out that the session is owed, and so marks how far it has come.
    owes: bool,
    /// How many behind it, or in all, it is not owed.
    unowed: usize,
}

impl HandOut {
    fn new(session: SessionHandle, terms: Terms, number: ReplayNumber, is_stored: bool) -> Self {
        let identifier = terms.identifier();
        let identifiers = identifier.as_slice();
        let extras = if is_stored {
            Some(Extras::replayed(identifiers, number))
        } else {
            Extras::of(identifiers, None)
        };
        Self { session, qos: terms.options.qos, extras, owes: false, unowed: 0 }
    }

    /// Hands a message out, if there is room for it.
    fn take(&mut self, delivery: &mut Delivery, kept: &Kept) -> bool {
        if kept.expires().has_passed(delivery.now) {
            return true;
        }
        let room = delivery.has_room_for_retained(self.session);
        if room {
            let qos = delivery.limits.qos_of_delivery(kept.view().qos).min(self.qos);
            if qos == QoS::AtMostOnce {
                self.unowed += 1;
            } else {
                (self.owes, self.unowed) = (true, 0);
            }
            delivery.deliver_retained(self.session, self.qos, &self.extras, kept);
        }
        room
    }
}
