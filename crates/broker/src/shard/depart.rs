//! Sessions that have ended and were members of groups: what they were owed as such and had not
//! acknowledged goes to another member.
//!
//! Some of it may lie with the store, and is loaded piece by piece. Until all is done the store goes
//! on knowing of the session, as nobody's: so nothing is lost if the broker ends meanwhile. That a
//! session is not owed a message any more is stored together with who is owed it now.

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

/// What is left of a session that has ended.
#[derive(Debug)]
pub(super) struct Departing {
    key: SessionKey,
    stored: bool,
    queue: Queue,
    /// What may have come to its client at QoS 2 before a restart.
    restored: Option<Box<Restored>>,
}

impl Shard {
    /// A session has ended, and not before that `[MQTT5-4.8.2-4]`: what it was owed as a member of a
    /// group and had not acknowledged goes to another member. Not so at QoS 2 what was sent to it,
    /// which may have come `[MQTT5-4.8.2-5]`.
    pub(super) fn redistribute(&mut self, handle: SessionHandle, session: Session) {
        let (key, stored) = (session.key, session.stored);
        let (unfinished, queue, restored) = session.into_unfinished();
        if stored && !queue.is_empty() {
            // Nobody's from now on.
            self.record(Record::Session {
                key,
                client_id: "".into(),
                principal: Principal::default(),
                expiry: Some(0),
                will: None,
            });
        }
        self.give_away(handle, Departing { key, stored, queue, restored }, unfinished);
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
        let departing = Departing { key: stored.key, stored: true, queue, restored };
        self.departing.insert(handle, departing);
    }

    /// All sessions are there: goes on with those that had ended before.
    pub(crate) fn depart_restored(&mut self) {
        for (handle, departing) in std::mem::take(&mut self.departing) {
            self.give_away(handle, departing, Vec::new());
        }
    }

    /// Messages of a session that has ended have come from the store.
    pub(super) fn depart_with(&mut self, handle: SessionHandle, messages: Vec<Owed>) {
        let Some(mut departing) = self.departing.remove(&handle) else {
            return;
        };
        departing.queue.loaded(messages);
        let mut loaded = Vec::new();
        while let Some(mut owed) = departing.queue.pop() {
            owed.message.put_on_clock(self.delivery.stored_now());
            let restored = departing.restored.as_deref();
            let may = restored.is_none_or(|begun| !begun.contains_key(&owed.sequence));
            loaded.push((owed, may));
        }
        self.give_away(handle, departing, loaded);
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
        let is_loading = departing.queue.is_loading();
        if is_loading || departing.queue.start_load(&self.delivery.limits) {
            for sequence in settled.into_iter().filter(|_| is_stored) {
                self.record(Record::Delivered { key, sequence });
            }
            if !is_loading {
                self.delivery.loads.push(handle);
            }
            self.departing.insert(handle, departing);
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
        if let Some(departing) = self.departing.get(&handle) {
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

    /// What it is owed and has at hand, in order, with whether it may be given to somebody else;
    /// what is left of its queue; and what may have come to its client before a restart.
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
        let mut unfinished: Vec<_> = in_flight.collect();
        let mut queue = self.queue;
        while let Some(owed) = queue.pop() {
            // Those that were sent before a restart may have arrived.
            let begun = restored.as_ref().is_some_and(|all| all.contains_key(&owed.sequence));
            unfinished.push((owed, !begun));
        }
        (unfinished, queue, restored)
    }
}
