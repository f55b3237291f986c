//! What a session is owed and cannot be sent yet: into its queue, and out of it when there is room.

use super::Delivery;
use super::answering::push_ack;
use super::waiting::Continuation;
use crate::connection::{ConnectionHandle, Transport};
use crate::faults::{Fault, fault};
use crate::limits::OnQueueFull;
use crate::losses::Lost;
use crate::memory::Pressure;
use crate::message::MessageView;
use crate::outbox::COPY_MAX;
use crate::outgoing::{Encoded, FormKey, FormTerms, OneDelivery, put_publish};
use crate::persist::{Extras, Journal, Owed, Record, Ticket};
use crate::queue::Place;
use crate::retained::Kept;
use crate::rights::{Authority, Denial, Subject, Wish};
use crate::router::{Route, Target};
use crate::session::{Session, SessionHandle};
use noctule_mqtt::{PacketId, PacketType, QoS};
use noctule_session::{Acknowledged, PubrecAnswer, Stage as Progress, ToSend};
use std::sync::Arc;

impl Delivery {
    /// Whether one more retained message can be sent without filling the session's queue or
    /// output with them.
    pub(crate) fn has_room_for_retained(&self, session: SessionHandle) -> bool {
        let Some(found) = self.sessions.get(session) else {
            return false;
        };
        let connection = found.connection.and_then(|handle| self.connections.get(handle));
        found.queue.is_empty()
            && found.owing.bytes <= self.limits.queue_bytes_max
            && connection.is_some_and(|connection| {
                found.outbound.has_room(connection.window)
                    && connection.outbox.len() <= self.limits.unsent_bytes_max / 2
            })
    }

    /// Hands a message to one session, as granted by one subscription: a retained one.
    pub(crate) fn deliver_retained(
        &mut self,
        session: SessionHandle,
        qos: QoS,
        extras: &Option<Arc<Extras>>,
        kept: &Kept,
    ) {
        if self.authority.in_force && !self.permits_retained(session, kept) {
            return;
        }
        let target = Target {
            session,
            qos,
            own_qos: None,
            // [MQTT3-3.3.1-8] and section 3.3.1.3 of MQTT 5: the flag says that this is one from
            // before the subscription.
            retain_as_published: true,
            // Each copy has that of its own subscription [MQTT5-3.3.4-5].
            extras: extras.clone(),
            since: 0,
        };
        let qos_of_delivery = self.limits.qos_of_delivery(kept.view().qos).min(qos);
        let mut outgoing = kept.outgoing(qos_of_delivery, &mut self.pool);
        outgoing.paced = true;
        let route = Route { targets: vec![target], ..Route::default() };
        self.route(&route, &mut outgoing, None);
    }

    /// Whether a session may be given a retained message.
    #[inline(never)]
    fn permits_retained(&mut self, session: SessionHandle, kept: &Kept) -> bool {
        let (topic, by) = (kept.topic(), kept.published_by());
        let found = self.sessions.get(session);
        found.is_some_and(|found| self.authority.permits_retained(found, topic, by))
    }

    /// Whether a message of so many bytes is too much for a session's queue, when those of it that
    /// have expired are gone.
    pub(crate) fn is_full_for(&mut self, handle: SessionHandle, bytes: usize) -> bool {
        let Some(session) = self.sessions.get_mut(handle) else {
            return false;
        };
        if !session.is_full_for(bytes, &self.limits) {
            return false;
        }
        let restored = session.rare.as_ref().and_then(|rare| rare.restored.as_deref());
        let begun = |sequence| restored.is_some_and(|all| all.contains_key(&sequence));
        for expired in session.queue.take_expired(self.now, begun) {
            self.dropped.expired += 1;
            self.memory.owed -= session.settle(&expired);
            forget(session, &expired, &mut self.journal);
        }
        session.is_full_for(bytes, &self.limits)
    }

    /// Puts a message at the end of a session's queue, if there is room: it belongs to the session,
    /// whether its client is connected or away `[MQTT3-3.1.2-5]` `[MQTT3-4.5.0-1]` `[MQTT5-4.5.0-1]`.
    /// One that is `paced` has waited for room.
    pub(super) fn enqueue(&mut self, handle: SessionHandle, mut owed: Owed, paced: bool) -> Queued {
        let bytes = owed.bytes();
        let is_full = self.is_full_for(handle, bytes);
        let Some(session) = self.sessions.get(handle) else {
            return Queued::Waiting { durable: false };
        };
        let durable = session.is_persistent();
        let resident_max = if durable { self.resident_bytes_max(session) } else { usize::MAX };
        let place = session.queue.next_place(bytes, resident_max);
        let Some(session) = self.sessions.get_mut(handle) else {
            return Queued::Waiting { durable: false };
        };
        if !paced && (is_full || self.pressure >= Pressure::NewWork) {
            if is_full {
                self.dropped.queue_full += 1;
            } else {
                self.dropped.memory_queued += 1;
            }
            self.losses.note(handle, Lost { at_most_once: 0, queued: 1 });
            return match self.limits.on_queue_full {
                OnQueueFull::DropNew => Queued::Waiting { durable: false },
                OnQueueFull::Refuse => Queued::Refused,
            };
        }
        let (key, sequence) = (session.key, owed.sequence);
        match place {
            Place::Spilled => {
                self.journal.push(Record::Owed { key, owed, spilled: true });
                session.queue.push_spilled(sequence, bytes);
                if self.limits.spills_to_memory {
                    self.memory.spilled += bytes;
                }
            }
            Place::Resident => {
                if durable {
                    // At QoS 2 the store has to know the message when it hears of its packet identifier.
                    let may_be_deferred =
                        session.connection.is_some() && owed.qos == QoS::AtLeastOnce;
                    if may_be_deferred && self.journal.defers() && session.is_prompt(self.now) {
                        owed.deferred = self.journal.defer(handle, key, sequence);
                    } else {
                        let owed = owed.clone();
                        self.journal.push(Record::Owed { key, owed, spilled: false });
                    }
                }
                self.memory.owed += session.owe(&owed);
                session.queue.push(owed);
            }
        }
        Queued::Waiting { durable }
    }

    /// Puts out what a session's client may be sent now: messages in flight that have not been sent
    /// on this connection, then the queue.
    pub(crate) fn pump(&mut self, handle: SessionHandle) {
        let Some(connection) = self.connection_of(handle) else {
            return;
        };
        self.pump_out(handle, connection);
        if self.connections.get(connection).is_some_and(|found| found.crowd.is_some()) {
            self.ease(connection);
        }
    }

    fn pump_out(&mut self, handle: SessionHandle, connection_handle: ConnectionHandle) {
        let Some(session) = self.sessions.get_mut(handle) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(connection_handle) else {
            return;
        };
        session.have_judged_by(self.authority.generation);
        loop {
            if connection.outbox.len() > self.limits.unsent_bytes_max {
                connection.stalled = true;
                return;
            }
            let has_properties = connection.version.has_properties();
            match session.outbound.next_to_send(connection.window) {
                Some(ToSend::Pubrel(packet_id)) => {
                    let outbox = self.outputs.open(connection_handle, connection);
                    push_ack(outbox, PacketType::Pubrel, packet_id);
                    self.packets.leaves(PacketType::Pubrel);
                    continue;
                }
                Some(ToSend::Publish { packet_id, dup, message: owed }) => {
                    let whole = owed.message.view();
                    let inner = self.mounts.inner(connection, whole);
                    let view = inner.unwrap_or(whole);
                    let terms = owed.form_terms(has_properties);
                    // A delivery at QoS 2 that an earlier connection has begun.
                    let begun = dup && owed.qos == QoS::ExactlyOnce;
                    let denied =
                        owed.sequence <= session.recheck_through && self.authority.in_force && {
                            let by =
                                session.principal.author(&session.client_id, &session.standing);
                            let reader = Subject::author(by, &session.standing);
                            !may_still_read(&mut self.authority, reader, &whole)
                        };
                    // Nearly always: it is sent as it came.
                    if !dup
                        && !denied
                        && !connection.is_of_its_own()
                        && let Some(encoded) = owed.as_it_came(has_properties)
                        && connection.accepts(encoded.packet_bytes)
                    {
                        let outbox = self.outputs.open(connection_handle, connection);
                        outbox.push_numbered(encoded, packet_id);
                        if connection.transport == Transport::Tls {
                            self.tls.publish_sent += 1;
                        }
                        self.packets.publish_leaves(owed.qos, 1, view.payload.len());
                        continue;
                    }
                    // What was begun to be delivered is delivered [MQTT5-3.3.2-5] [MQTT5-4.3.3-7].
                    let expired = !dup && view.expires.has_passed(self.now);
                    let may_leave = !denied && !expired && inner.is_some();
                    let alias = connection.choose_alias(&view, &terms).filter(|_| may_leave);
                    let Some(alias) = alias else {
                        if denied {
                            // Counted by who was asked.
                        } else if expired {
                            self.dropped.expired += 1;
                        } else if inner.is_none() {
                            self.dropped.outside_mount += 1;
                        } else {
                            self.dropped.packet_too_large += 1;
                        }
                        match give_up(session, packet_id, begun, &mut self.journal) {
                            GivenUp::Done(owed) => self.memory.owed -= session.settle(&owed),
                            GivenUp::Storing(ticket) => {
                                let next = Continuation::Pubrel { session: handle, packet_id };
                                let stage = self.journal.usual();
                                self.journal.ask(stage);
                                self.waiting.push(ticket, stage, next);
                            }
                            GivenUp::Releasing => {
                                let outbox = self.outputs.open(connection_handle, connection);
                                push_ack(outbox, PacketType::Pubrel, packet_id);
                                self.packets.leaves(PacketType::Pubrel);
                            }
                            GivenUp::Gone => {}
                        }
                        continue;
                    };
                    let delivery = OneDelivery { terms, dup, packet_id, now: self.now, alias };
                    let large = view.payload.len() > COPY_MAX;
                    let shared = large.then(|| owed.message.clone());
                    let outbox = self.outputs.open(connection_handle, connection);
                    put_publish(outbox, &view, &delivery, shared, &mut self.scratch);
                    connection.note_alias(alias, view.topic);
                    if connection.transport == Transport::Tls {
                        self.tls.publish_sent += 1;
                    }
                    self.packets.publish_leaves(owed.qos, 1, view.payload.len());
                    continue;
                }
                None => {}
            }
            if !session.outbound.has_room(connection.window) {
                return;
            }
            let persistent = session.is_persistent();
            if persistent && session.queue.first().is_some_and(|one| !session.has_number_for(one)) {
                return;
            }
            let Some(owed) = session.queue.pop() else {
                // As much as may be in flight: what is loaded is on its way there.
                if session.owing.bytes <= self.limits.queue_bytes_max
                    && session.queue.start_load(&self.limits)
                {
                    self.loads.push(handle);
                }
                return;
            };
            let (qos, sequence) = (owed.qos, owed.sequence);
            let perhaps_sent = session.has_perhaps_sent(sequence) && qos == QoS::AtLeastOnce;
            let old = session.take_restored(sequence);
            if let Some((packet_id, received)) = old {
                // What was begun is completed, or its identifier would be given to another message
                // while the client still holds it.
                let stage = if received { Progress::AwaitPubcomp } else { Progress::AwaitPubrec };
                session.outbound.push_restored(packet_id, owed, stage);
                continue;
            }

            if owed.message.expires().has_passed(self.now) {
                self.dropped.expired += 1;
                self.memory.owed -= session.settle(&owed);
                forget(session, &owed, &mut self.journal);
                continue;
            }
            if qos == QoS::AtMostOnce {
                // It has waited for its client, and for nothing else.
                let whole = owed.message.view();
                if sequence <= session.recheck_through
                    && self.authority.in_force
                    && !may_still_read(&mut self.authority, session.subject(), &whole)
                {
                    self.memory.owed -= session.settle(&owed);
                    forget(session, &owed, &mut self.journal);
                    continue;
                }
                let inner = self.mounts.inner(connection, whole);
                let terms = owed.form_terms(has_properties);
                let alias = inner.and_then(|view| connection.choose_alias(&view, &terms));
                if let (Some(view), Some(alias)) = (inner, alias) {
                    let packet_id = PacketId::FIRST;
                    let delivery =
                        OneDelivery { terms, dup: false, packet_id, now: self.now, alias };
                    let large = view.payload.len() > COPY_MAX;
                    let shared = large.then(|| owed.message.clone());
                    let outbox = self.outputs.open(connection_handle, connection);
                    put_publish(outbox, &view, &delivery, shared, &mut self.scratch);
                    connection.note_alias(alias, view.topic);
                    if connection.transport == Transport::Tls {
                        self.tls.publish_sent += 1;
                    }
                    self.packets.publish_leaves(qos, 1, view.payload.len());
                } else if inner.is_none() {
                    self.dropped.outside_mount += 1;
                } else {
                    self.dropped.packet_too_large += 1;
                }
                self.memory.owed -= session.settle(&owed);
                forget(session, &owed, &mut self.journal);
                continue;
            }
            if perhaps_sent && !fault(Fault::IdentifiersBeginAnew) {
                session.outbound.push_restored(sequence.packet_id(), owed, Progress::AwaitPuback);
                continue;
            }
            let storing = persistent && qos == QoS::ExactlyOnce;
            if persistent && !fault(Fault::IdentifiersBeginAnew) {
                session.outbound.skip_to(sequence.packet_id());
            }
            let packet_id = session.outbound.push(qos, owed, storing);
            if storing {
                let key = session.key;
                let ticket = self.journal.push(Record::PacketIdGiven { key, sequence, packet_id });
                let next = Continuation::Publish { session: handle, packet_id };
                // One after another, so that they leave in their order.
                let stage = self.journal.usual();
                self.journal.ask(stage);
                self.waiting.push(ticket, stage, next);
            }
        }
    }
}

/// What became of a message for a session's queue.
pub(super) enum Queued {
    Waiting { durable: bool },
    Refused,
}

/// Whether a session may still read a message that was queued before policies or its standing changed: by
/// the topic that everybody else knows, as when it was routed.
#[cold]
fn may_still_read(authority: &mut Authority, reader: Subject<'_>, whole: &MessageView<'_>) -> bool {
    let wish = Wish::Read(whole.topic);
    let ruling = authority.rule(reader, wish);
    authority.heed(ruling, Denial::Queued, reader, wish)
}

/// What became of a message in flight that is given up.
enum GivenUp {
    /// Its place is free, and the session is not owed it any more.
    Done(Owed),
    /// PUBREL is due when this is stored.
    Storing(Ticket),
    /// PUBREL is due.
    Releasing,
    /// It was not in flight.
    Gone,
}

/// A message is given up. If its delivery at QoS 2 has `begun`, the client may hold its packet identifier,
/// and would take another message with it for a repetition. Its PUBREC may have been lost with the
/// connection, and it does not send it again, so the exchange goes on as if it had come
/// `[MQTT5-4.3.3-4]`: whoever has never heard of the message answers PUBREL with PUBCOMP as well
/// `[MQTT5-4.3.3-11]`.
fn give_up(
    session: &mut Session,
    packet_id: PacketId,
    begun: bool,
    journal: &mut Journal,
) -> GivenUp {
    if begun && matches!(session.outbound.on_pubrec(packet_id), Ok(PubrecAnswer::Received)) {
        let sequence = session.outbound.message(packet_id).map(|owed| owed.sequence);
        if let Some(sequence) = sequence.filter(|_| session.is_persistent()) {
            let record = Record::DeliveryReceived { key: session.key, sequence };
            return GivenUp::Storing(journal.push(record));
        }
        session.outbound.release(packet_id);
        return GivenUp::Releasing;
    }
    let Acknowledged::Done(owed) = session.outbound.discard(packet_id) else {
        return GivenUp::Gone;
    };
    forget(session, &owed, journal);
    GivenUp::Done(owed)
}

/// A session is not owed this message any more: the store need not keep it.
fn forget(session: &Session, owed: &Owed, journal: &mut Journal) {
    if session.is_persistent() {
        journal.delivered(session.key, owed);
    }
}

impl Owed {
    /// The packet that its message came in, if this delivery differs from it in nothing but the packet
    /// identifier, and it never expires.
    #[inline]
    fn as_it_came(&self, has_properties: bool) -> Option<Encoded<'_>> {
        let packet =
            self.message.packet().filter(|packet| packet.has_properties == has_properties)?;
        let is_alike = self.extras.is_none()
            && (self.qos, self.retain) == (self.message.qos(), self.message.retain())
            && self.message.payload().len() <= COPY_MAX;
        let (bytes, packet_bytes) = (packet.bytes, packet.bytes.len());
        let packet_id_at = packet.header_len + 2 + self.message.topic().len();
        is_alike.then_some(Encoded { bytes, packet_id_at, packet_bytes })
    }

    fn form_terms(&self, has_properties: bool) -> FormTerms<'_> {
        let key = FormKey::new(has_properties, self.qos, self.retain);
        FormTerms::new(key, &self.extras)
    }
}
