//! Sessions that have ended and were members of groups: what they were owed as such and had not
//! acknowledged goes to another member.
//!
//! Some of it may lie with the store, and is loaded piece by piece; some may go to another shard,
//! which says when it is stored there. Until all is done the store goes on knowing of the session,
//! as nobody's: so nothing is lost if the broker ends meanwhile. A message is forgotten only when
//! whoever is owed it now is stored to be owed it.

use super::{Action, Shard};
use crate::mail::{Asker, ReplyTo};
use crate::outgoing::Outgoing;
use crate::persist::{Owed, Record, Sequence, SessionKey};
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
    /// Messages that have been given away, or given up, since the store was told last.
    settled: Vec<Sequence>,
    /// So many other shards have been given some of them and have not said that they are stored.
    waits: usize,
}

impl Shard {
    /// A session has ended: what it was owed as a member of a group and had not acknowledged goes to
    /// another member. Not so at QoS 2 what was sent to it, which may have come
    /// `[MQTT5-4.8.2-5]`.
    pub(super) fn redistribute(&mut self, handle: SessionHandle, session: Session) {
        let nobodys = Record::Session {
            key: session.key,
            client_id: "".into(),
            user_name: None,
            expiry: Some(0),
            will: None,
        };
        let mut departing = Departing {
            key: session.key,
            stored: session.stored,
            queue: Queue::default(),
            restored: None,
            settled: Vec::new(),
            waits: 0,
        };
        let (unfinished, queue, restored) = session.into_unfinished();
        (departing.queue, departing.restored) = (queue, restored);
        for (owed, may) in unfinished {
            self.settle_departing(handle, &mut departing, &owed, may);
        }
        if departing.stored && (departing.waits > 0 || !departing.queue.is_empty()) {
            self.record(nobodys);
        }
        self.depart(handle, departing);
    }

    /// A session that had ended before a restart is to be taken leave of.
    pub(crate) fn restore_departing(&mut self, stored: &StoredSession) {
        let mut queue = Queue::default();
        queue.leave_to_store(stored.queued, stored.queued_bytes, stored.last_queued);
        // No connection and no subscription leads to it; it is here for its handle alone.
        let session = Session::new("".into(), stored.key);
        let handle = self.delivery.sessions.insert(session);
        self.delivery.sessions.remove(handle);
        let in_flight = stored.in_flight.iter();
        let restored: Restored =
            in_flight.map(|one| (one.sequence, (one.packet_id, one.received))).collect();
        let departing = Departing {
            key: stored.key,
            stored: true,
            queue,
            restored: Some(Box::new(restored)),
            settled: Vec::new(),
            waits: 0,
        };
        self.departing.insert(handle, departing);
    }

    /// All sessions are there: goes on with those that had ended before.
    pub(crate) fn depart_restored(&mut self) {
        for (handle, departing) in std::mem::take(&mut self.departing) {
            self.depart(handle, departing);
        }
    }

    /// Messages of a session that has ended have come from the store.
    pub(super) fn depart_with(&mut self, handle: SessionHandle, messages: Vec<Owed>) {
        let Some(mut departing) = self.departing.remove(&handle) else {
            return;
        };
        departing.queue.loaded(messages);
        while let Some(mut owed) = departing.queue.pop() {
            owed.message.put_on_clock(self.delivery.stored_now());
            let restored = departing.restored.as_deref();
            let may = restored.is_none_or(|begun| !begun.contains_key(&owed.sequence));
            self.settle_departing(handle, &mut departing, &owed, may);
        }
        self.depart(handle, departing);
    }

    /// Another shard has stored a message of a session that has ended.
    pub(super) fn depart_further(&mut self, handle: SessionHandle) {
        if let Some(mut departing) = self.departing.remove(&handle) {
            departing.waits = departing.waits.saturating_sub(1);
            self.depart(handle, departing);
        }
    }

    /// Takes the next step, if nothing is waited for.
    fn depart(&mut self, handle: SessionHandle, mut departing: Departing) {
        if departing.waits > 0 {
            self.departing.insert(handle, departing);
            return;
        }
        let key = departing.key;
        if departing.queue.start_load(&self.delivery.limits) {
            for sequence in departing.settled.drain(..).filter(|_| departing.stored) {
                self.delivery.journal.push(Record::Delivered { key, sequence });
            }
            self.delivery.loads.push(handle);
            self.departing.insert(handle, departing);
        } else if departing.stored {
            self.record(Record::SessionEnded(key));
        }
    }

    /// Gives a message to another member, if that may be done.
    fn settle_departing(
        &mut self,
        handle: SessionHandle,
        departing: &mut Departing,
        owed: &Owed,
        may: bool,
    ) {
        departing.settled.push(owed.sequence);
        let reply = ReplyTo { shard: self.id, asker: Asker::Departing(handle) };
        if may && self.give_to_another(owed, reply) {
            departing.waits += 1;
        }
    }

    /// Returns whether another shard has it and will reply when it is stored.
    fn give_to_another(&mut self, owed: &Owed, reply: ReplyTo) -> bool {
        let Some(filter) = &owed.shared else {
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
        let route = self.router.route(outgoing.view.topic, &self.delivery.limits);
        let Some(group) = route.groups.iter().find(|one| one.key == key) else {
            self.delivery.dropped.group_away += 1;
            return false;
        };
        let reply = Some(reply).filter(|_| group.is_durable());
        let passage = Passage::new(self.id, None, reply);
        let fate = self.delivery.distribute(self.id, group, &mut outgoing, passage, choice);
        fate == Fate::HandedOn && reply.is_some()
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
        self.subscriptions.keys().any(|filter| filter.starts_with("$share/"))
    }

    /// What it is owed and has at hand, in order, with whether it may be given to somebody else;
    /// what is left of its queue; and what may have come to its client before a restart.
    fn into_unfinished(self) -> (Vec<(Owed, bool)>, Queue, Option<Box<Restored>>) {
        let in_flight = self.outbound.into_iter().map(|entry| {
            let may = match entry.stage() {
                Stage::AwaitPuback | Stage::StoringId => true,
                Stage::AwaitPubrec => !entry.was_sent(),
                Stage::StoringRelease | Stage::AwaitPubcomp => false,
            };
            (entry.message, may)
        });
        let mut unfinished: Vec<_> = in_flight.collect();
        let (mut queue, restored) = (self.queue, self.restored);
        while let Some(owed) = queue.pop() {
            // Those that were sent before a restart may have arrived.
            let begun = restored.as_ref().is_some_and(|all| all.contains_key(&owed.sequence));
            unfinished.push((owed, !begun));
        }
        (unfinished, queue, restored)
    }
}
