//! The sending half: messages at QoS 1 and 2 between their first PUBLISH and the end of their
//! acknowledgement.
//!
//! ```text
//! QoS 1   AwaitPuback ─PUBACK─► done
//! QoS 2   [StoringId] ─► AwaitPubrec ─PUBREC─► [StoringRelease] ─► AwaitPubcomp ─PUBCOMP─► done
//!                             └─ PUBREC ≥ 0x80 (MQTT 5) ─► done
//! new connection: what is not done is sent again in order, PUBLISH with DUP up to AwaitPubrec,
//!                 PUBREL in AwaitPubcomp [MQTT5-4.4.0-1] [MQTT5-4.6.0-1] [MQTT5-4.3.3-6]
//! ```
//!
//! The states in brackets wait for a store and are skipped by sessions that keep nothing.
//!
//! Packet identifiers are given in sequence, so the messages in flight are a ring indexed by
//! `id − base`. A cursor divides it: what lies before it has been sent on this connection, what
//! lies behind has not. Sending, sending again after a reconnect and sending after a wait for the
//! store are all the same motion of the cursor, so order cannot depend on which it is.

use noctule_mqtt::{PacketId, PacketType, QoS, Violation};
use std::collections::VecDeque;

/// How far a message in flight has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// QoS 2: its identifier is being stored, PUBLISH may not leave yet.
    StoringId,
    /// QoS 1: PUBLISH is sent, or may be.
    AwaitPuback,
    /// QoS 2: PUBLISH is sent, or may be.
    AwaitPubrec,
    /// QoS 2: that PUBREC came is being stored, PUBREL may not leave yet.
    StoringRelease,
    /// QoS 2: PUBREL is sent, or may be.
    AwaitPubcomp,
}

/// A message in flight.
#[derive(Debug)]
pub struct InFlight<M> {
    /// The message, and what its sender wants to know about it.
    pub message: M,
    stage: Stage,
    /// Whether PUBLISH has been sent before, on any connection: then, and only then, it has DUP
    /// `[MQTT3-3.3.1-3]` `[MQTT5-3.3.1-3]` `[MQTT5-4.3.2-2]` `[MQTT5-4.3.3-2]`.
    dup: bool,
}

impl<M> InFlight<M> {
    /// How far it has come.
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether PUBLISH has been sent, on any connection.
    pub const fn was_sent(&self) -> bool {
        self.dup
    }
}

/// The messages in flight to one peer.
#[derive(Debug)]
pub struct Outbound<M> {
    ring: VecDeque<Option<InFlight<M>>>,
    /// The identifier of the ring's first place.
    base: PacketId,
    /// How many places from the front have been sent on this connection. This and the next two count
    /// places of the ring, of which there are never more than identifiers.
    cursor: u16,
    /// Messages in the ring.
    unfinished: u16,
    /// Messages before the cursor: what the peer's receive maximum counts.
    outstanding: u16,
}

impl<M> Default for Outbound<M> {
    fn default() -> Self {
        Self {
            base: PacketId::FIRST,
            ring: VecDeque::new(),
            cursor: 0,
            unfinished: 0,
            outstanding: 0,
        }
    }
}

/// What is to be written next.
#[derive(Debug, PartialEq, Eq)]
pub enum ToSend<'a, M> {
    /// PUBLISH of this message.
    Publish {
        /// With this identifier.
        packet_id: PacketId,
        /// Whether it is a repetition `[MQTT3-3.3.1-1]` `[MQTT5-3.3.1-1]`.
        dup: bool,
        /// The message.
        message: &'a M,
    },
    /// PUBREL with this identifier.
    Pubrel(PacketId),
}

/// What an acknowledgement did.
#[derive(Debug, PartialEq, Eq)]
pub enum Acknowledged<M> {
    /// The message is delivered, and its identifier free.
    Done(M),
    /// No message has this identifier; nothing to do.
    Unknown,
}

/// What a PUBREC calls for.
#[derive(Debug, PartialEq, Eq)]
pub enum PubrecAnswer {
    /// The first PUBREC of this message: store that it came if need be, then
    /// [`release`](Outbound::release).
    Received,
    /// A repeated PUBREC: PUBREL is to be sent again.
    Again,
    /// A repeated PUBREC whose PUBREL is still waiting for the store.
    Storing,
    /// No message has this identifier: PUBREL, in MQTT 5 with "packet identifier not found".
    Unknown,
}

impl<M> Outbound<M> {
    /// Messages in flight, sent on this connection or not.
    pub fn len(&self) -> usize {
        usize::from(self.unfinished)
    }

    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.unfinished == 0
    }

    /// Messages sent on this connection whose acknowledgement is not complete.
    pub fn outstanding(&self) -> usize {
        usize::from(self.outstanding)
    }

    /// Gives back the memory for messages in flight if there are none. The next one takes it anew, so
    /// this is for when none is expected soon.
    pub fn shed(&mut self) {
        if self.ring.is_empty() {
            self.ring = VecDeque::new();
        }
    }

    /// Whether a further message may enter, with at most `window` at once.
    pub fn has_room(&self, window: u16) -> bool {
        self.unfinished < window && self.ring.len() < PacketId::COUNT - 1
    }

    /// The identifier that the next message gets: one that no message in flight has
    /// `[MQTT3-2.3.1-4]` `[MQTT5-2.2.1-4]` `[MQTT5-4.3.2-1]` `[MQTT5-4.3.3-1]`.
    pub fn next_packet_id(&self) -> PacketId {
        self.base.after(self.ring.len() as u16)
    }

    /// Gives the next identifier to something that is no message: SUBSCRIBE and UNSUBSCRIBE share
    /// the identifiers of PUBLISH `[MQTT5-2.2.1-3]`. The caller has asked
    /// [`has_room`](Self::has_room), or knows that far less than all identifiers are in use, and
    /// sees to it that the identifier is passed over again if its turn comes before the answer has.
    pub fn pass_over(&mut self) -> PacketId {
        let packet_id = self.next_packet_id();
        if self.ring.is_empty() {
            self.base = self.base.next();
        } else {
            self.ring.push_back(None);
        }
        packet_id
    }

    /// Puts a message into flight, where it stays until its acknowledgement is complete
    /// `[MQTT3-4.3.2-1]` `[MQTT3-4.3.3-1]`, and returns its identifier. The caller has asked
    /// [`has_room`](Self::has_room). With `storing`, PUBLISH waits for [`stored`](Self::stored).
    #[inline(always)]
    pub fn push(&mut self, qos: QoS, message: M, storing: bool) -> PacketId {
        let packet_id = self.next_packet_id();
        let stage = match (qos, storing) {
            (QoS::AtMostOnce | QoS::AtLeastOnce, _) => Stage::AwaitPuback,
            (QoS::ExactlyOnce, true) => Stage::StoringId,
            (QoS::ExactlyOnce, false) => Stage::AwaitPubrec,
        };
        self.ring.push_back(Some(InFlight { message, stage, dup: false }));
        self.unfinished += 1;
        packet_id
    }

    /// Leaves identifiers unused so that the next message gets this one, for a caller whose
    /// identifiers follow from something else. It has to lie behind all those in flight.
    pub fn skip_to(&mut self, packet_id: PacketId) {
        if self.ring.is_empty() {
            self.base = packet_id;
            return;
        }
        let places = usize::from(packet_id.steps_from(self.base));
        if places > self.ring.len() {
            if usize::from(self.cursor) == self.ring.len() {
                self.cursor = packet_id.steps_from(self.base);
            }
            self.ring.resize_with(places, || None);
        }
    }

    /// Puts a message into flight that was there before this half was made, as a store has kept it:
    /// with its old identifier, and as far as it may have come. Messages that were sent before it
    /// are to be pushed before.
    pub fn push_restored(&mut self, packet_id: PacketId, message: M, stage: Stage) {
        self.skip_to(packet_id);
        self.ring.push_back(Some(InFlight { message, stage, dup: true }));
        self.unfinished += 1;
    }

    /// The oldest message in flight.
    pub fn oldest(&self) -> Option<&M> {
        self.ring.iter().flatten().next().map(|entry| &entry.message)
    }

    /// How many further messages could be sent at once, one behind the other: none if something
    /// before them has not been sent yet.
    #[inline]
    pub fn room_to_send(&self, window: u16) -> usize {
        if usize::from(self.cursor) < self.ring.len() {
            return 0;
        }
        let taken = self.unfinished.max(self.outstanding);
        let identifiers = (PacketId::COUNT - 1).saturating_sub(self.ring.len());
        usize::from(window.saturating_sub(taken)).min(identifiers)
    }

    /// As [`push`](Self::push) for a message that waits for no store; returns its identifier if it
    /// is to be sent at once: everything before it has been, and the window allows it. It counts as
    /// sent then.
    #[inline(always)]
    pub fn push_and_send(&mut self, qos: QoS, message: M, window: u16) -> Option<PacketId> {
        let may = usize::from(self.cursor) == self.ring.len() && self.outstanding < window;
        let packet_id = self.push(qos, message, false);
        if !may {
            return None;
        }
        if let Some(Some(pushed)) = self.ring.back_mut() {
            pushed.dup = true;
        }
        self.cursor += 1;
        self.outstanding += 1;
        Some(packet_id)
    }

    /// The identifier of the message pushed was stored: PUBLISH may leave, when it is its turn.
    pub fn stored(&mut self, packet_id: PacketId) {
        if let Some(entry) = self.entry(packet_id)
            && entry.stage == Stage::StoringId
        {
            entry.stage = Stage::AwaitPubrec;
        }
    }

    /// What is to be sent next, which counts as sent then; `None` if that is nothing, the window
    /// is full, or the next message waits for the store.
    pub fn next_to_send(&mut self, window: u16) -> Option<ToSend<'_, M>> {
        while let Some(None) = self.ring.get(usize::from(self.cursor)) {
            self.cursor += 1;
        }
        let packet_id = self.base.after(self.cursor);
        let entry = self.ring.get_mut(usize::from(self.cursor))?.as_mut()?;
        match entry.stage {
            Stage::StoringId | Stage::StoringRelease => None,
            // The window is for PUBLISH alone [MQTT5-3.3.4-10] [MQTT5-4.9.0-3].
            Stage::AwaitPubcomp => {
                self.cursor += 1;
                self.outstanding += 1;
                Some(ToSend::Pubrel(packet_id))
            }
            Stage::AwaitPuback | Stage::AwaitPubrec => {
                // [MQTT5-3.3.4-9] [MQTT5-4.9.0-2]
                if self.outstanding >= window {
                    return None;
                }
                self.cursor += 1;
                self.outstanding += 1;
                let dup = std::mem::replace(&mut entry.dup, true);
                Some(ToSend::Publish { packet_id, dup, message: &entry.message })
            }
        }
    }

    /// Whether [`next_to_send`](Self::next_to_send) has something behind its cursor, even if it
    /// may not be sent right now.
    pub fn has_unsent(&self) -> bool {
        let cursor = usize::from(self.cursor);
        cursor < self.ring.len() && self.ring.iter().skip(cursor).any(Option::is_some)
    }

    /// A new connection: everything that is not done is to be sent again, in order
    /// `[MQTT3-4.4.0-1]` `[MQTT3-4.6.0-1]` `[MQTT5-4.4.0-1]` `[MQTT5-4.6.0-1]`.
    pub fn resume(&mut self) {
        self.cursor = 0;
        self.outstanding = 0;
    }

    /// A new connection whose peer has lost its session: what it said that it had received (by
    /// PUBREC) is done and returned, oldest first. Everything else is to be
    /// sent anew, in order, and not as a repetition.
    pub fn start_anew(&mut self) -> Vec<M> {
        let mut done = Vec::new();
        for place in &mut self.ring {
            let Some(entry) = place.take() else { continue };
            match entry.stage {
                Stage::StoringRelease | Stage::AwaitPubcomp => done.push(entry.message),
                Stage::StoringId | Stage::AwaitPuback | Stage::AwaitPubrec => {
                    *place = Some(InFlight { dup: false, ..entry });
                }
            }
        }
        self.unfinished -= done.len() as u16;
        self.resume();
        self.drop_finished();
        done
    }

    /// PUBACK came for the oldest message, as nearly all do: takes it. `None` if it is about
    /// something else, which is for [`on_puback`](Self::on_puback) to say.
    #[inline]
    pub fn take_oldest_acknowledged(&mut self, packet_id: PacketId) -> Option<M> {
        let oldest = self.ring.front()?.as_ref()?;
        if packet_id != self.base || oldest.stage != Stage::AwaitPuback || self.cursor == 0 {
            return None;
        }
        let message = self.ring.pop_front()??.message;
        self.unfinished -= 1;
        self.outstanding -= 1;
        self.cursor -= 1;
        self.base = self.base.next();
        if let Some(None) | None = self.ring.front() {
            self.drop_finished();
        }
        Some(message)
    }

    /// PUBACK came, and not before that the message is done `[MQTT5-4.3.2-3]`, whatever it says
    /// `[MQTT5-4.4.0-2]`. One for a message that has not been sent on this connection is unknown:
    /// the message will be sent, and acknowledged again.
    ///
    /// # Errors
    /// [`Violation::AckUnexpected`] if the identifier belongs to a message at QoS 2.
    pub fn on_puback(&mut self, packet_id: PacketId) -> Result<Acknowledged<M>, Violation> {
        let index = self.index(packet_id);
        match self.sent_stage(index) {
            None => Ok(Acknowledged::Unknown),
            Some(Stage::AwaitPuback) => Ok(self.finish(index)),
            Some(_) => Err(unexpected(PacketType::Puback, packet_id)),
        }
    }

    /// PUBREC came, without an error: PUBLISH counts as unacknowledged until then
    /// `[MQTT5-4.3.3-3]`, and PUBREL is due `[MQTT5-4.3.3-4]`.
    ///
    /// # Errors
    /// [`Violation::AckUnexpected`] if the identifier belongs to a message at QoS 1.
    pub fn on_pubrec(&mut self, packet_id: PacketId) -> Result<PubrecAnswer, Violation> {
        let Some(stage) = self.sent_stage(self.index(packet_id)) else {
            return Ok(PubrecAnswer::Unknown);
        };
        match stage {
            Stage::AwaitPuback | Stage::StoringId => Err(unexpected(PacketType::Pubrec, packet_id)),
            Stage::StoringRelease => Ok(PubrecAnswer::Storing),
            Stage::AwaitPubcomp => Ok(PubrecAnswer::Again),
            Stage::AwaitPubrec => {
                if let Some(entry) = self.entry(packet_id) {
                    entry.stage = Stage::StoringRelease;
                }
                Ok(PubrecAnswer::Received)
            }
        }
    }

    /// PUBREC came with a reason of 0x80 or above: the message is not wanted, its identifier free,
    /// and it is not sent again `[MQTT5-4.4.0-2]`.
    ///
    /// # Errors
    /// As [`on_pubrec`](Self::on_pubrec).
    pub fn on_pubrec_refusal(&mut self, packet_id: PacketId) -> Result<Acknowledged<M>, Violation> {
        let index = self.index(packet_id);
        match self.sent_stage(index) {
            None => Ok(Acknowledged::Unknown),
            Some(Stage::AwaitPuback | Stage::StoringId) => {
                Err(unexpected(PacketType::Pubrec, packet_id))
            }
            Some(_) => Ok(self.finish(index)),
        }
    }

    /// That PUBREC came is stored, or need not be. True if PUBREL is to be sent now; if the
    /// connection changed in between, the cursor will send it in its turn.
    pub fn release(&mut self, packet_id: PacketId) -> bool {
        let sent = self.index(packet_id) < usize::from(self.cursor);
        match self.entry(packet_id) {
            Some(entry) if entry.stage == Stage::StoringRelease => {
                entry.stage = Stage::AwaitPubcomp;
                sent
            }
            _ => false,
        }
    }

    /// The message of this identifier, while it is in flight.
    pub fn message(&self, packet_id: PacketId) -> Option<&M> {
        let place = self.ring.get(self.index(packet_id))?;
        place.as_ref().map(|entry| &entry.message)
    }

    /// PUBCOMP came: PUBREL counts as unacknowledged until then `[MQTT5-4.3.3-5]`.
    ///
    /// # Errors
    /// [`Violation::AckUnexpected`] if the message has not come that far.
    pub fn on_pubcomp(&mut self, packet_id: PacketId) -> Result<Acknowledged<M>, Violation> {
        let index = self.index(packet_id);
        match self.sent_stage(index) {
            None => Ok(Acknowledged::Unknown),
            Some(Stage::AwaitPubcomp) => Ok(self.finish(index)),
            Some(_) => Err(unexpected(PacketType::Pubcomp, packet_id)),
        }
    }

    /// Gives a message up, whatever its stage, as if it had been acknowledged `[MQTT5-3.1.2-25]`.
    pub fn discard(&mut self, packet_id: PacketId) -> Acknowledged<M> {
        let index = self.index(packet_id);
        match self.sent_stage(index) {
            None => Acknowledged::Unknown,
            Some(_) => self.finish(index),
        }
    }

    /// All messages in flight, oldest first, when nothing goes on with them here.
    #[allow(clippy::should_implement_trait, reason = "a flight is no collection to others")]
    pub fn into_iter(self) -> impl Iterator<Item = InFlight<M>> {
        self.ring.into_iter().flatten()
    }

    /// All messages in flight, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &InFlight<M>> {
        self.ring.iter().flatten()
    }

    fn index(&self, packet_id: PacketId) -> usize {
        usize::from(packet_id.steps_from(self.base))
    }

    fn entry(&mut self, packet_id: PacketId) -> Option<&mut InFlight<M>> {
        let index = self.index(packet_id);
        self.ring.get_mut(index)?.as_mut()
    }

    /// The stage of a message that was sent on this connection.
    fn sent_stage(&self, index: usize) -> Option<Stage> {
        if index >= usize::from(self.cursor) {
            return None;
        }
        self.ring.get(index)?.as_ref().map(InFlight::stage)
    }

    fn finish(&mut self, index: usize) -> Acknowledged<M> {
        let Some(entry) = self.ring.get_mut(index).and_then(Option::take) else {
            return Acknowledged::Unknown;
        };
        self.unfinished -= 1;
        self.outstanding -= 1;
        self.drop_finished();
        Acknowledged::Done(entry.message)
    }

    /// Frees the identifiers at the front whose messages are finished.
    fn drop_finished(&mut self) {
        let mut freed = 0;
        while let Some(None) = self.ring.front() {
            self.ring.pop_front();
            freed += 1;
        }
        self.base = self.base.after(freed);
        // The cursor may not have moved past what was finished before this connection.
        self.cursor = self.cursor.saturating_sub(freed);
        if self.ring.is_empty() && self.ring.capacity() > RING_KEPT {
            self.ring = VecDeque::new();
        }
    }
}

/// A drained ring up to this size is kept for the next messages; a larger one gives its memory
/// back.
const RING_KEPT: usize = 64;

fn unexpected(packet: PacketType, packet_id: PacketId) -> Violation {
    Violation::AckUnexpected { packet, packet_id: packet_id.get() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u16 = 10;

    fn sent(outbound: &mut Outbound<u32>, qos: QoS, message: u32) -> PacketId {
        outbound.push_and_send(qos, message, WINDOW).expect("it may be sent")
    }

    fn to_send(outbound: &mut Outbound<u32>) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(next) = outbound.next_to_send(WINDOW) {
            all.push(match next {
                ToSend::Publish { packet_id, dup, message } => {
                    format!("PUBLISH {packet_id} {message}{}", if dup { " dup" } else { "" })
                }
                ToSend::Pubrel(packet_id) => format!("PUBREL {packet_id}"),
            });
        }
        all
    }

    #[test]
    fn what_is_in_flight_to_nobody_is_small_and_is_shed_between_messages() {
        assert_eq!(size_of::<Outbound<u64>>(), 40);
        let mut outbound = Outbound::default();
        let first = sent(&mut outbound, QoS::AtLeastOnce, 1);
        outbound.shed();
        assert_eq!(outbound.on_puback(first), Ok(Acknowledged::Done(1)), "what is in flight stays");
        outbound.shed();
        assert!(outbound.ring.capacity() == 0 && outbound.is_empty());
        let second = sent(&mut outbound, QoS::AtLeastOnce, 2);
        assert_eq!(second, first.next(), "and identifiers go on");
        assert_eq!(outbound.take_oldest_acknowledged(second), Some(2));
    }

    #[test]
    fn acknowledgements_out_of_order_free_their_identifiers() {
        let mut outbound = Outbound::default();
        let ids: Vec<_> = (0..4).map(|m| sent(&mut outbound, QoS::AtLeastOnce, m)).collect();
        assert_eq!(outbound.on_puback(ids[2]), Ok(Acknowledged::Done(2)));
        assert_eq!(outbound.on_puback(ids[2]), Ok(Acknowledged::Unknown));
        assert_eq!(outbound.on_puback(ids[0]), Ok(Acknowledged::Done(0)));
        assert_eq!(outbound.on_puback(ids[1]), Ok(Acknowledged::Done(1)));
        assert_eq!(outbound.len(), 1);
        assert_eq!(sent(&mut outbound, QoS::AtLeastOnce, 4).get(), 5);
    }

    // [MQTT3-4.4.0-1] [MQTT3-4.6.0-1] [MQTT5-4.3.2-2] [MQTT5-4.3.3-2] [MQTT5-4.3.3-6]
    // [MQTT5-4.4.0-1] [MQTT5-4.6.0-1]
    #[test]
    fn a_new_connection_sends_again_in_the_original_order() {
        let mut outbound = Outbound::default();
        let first = sent(&mut outbound, QoS::AtLeastOnce, 1);
        let second = sent(&mut outbound, QoS::ExactlyOnce, 2);
        sent(&mut outbound, QoS::ExactlyOnce, 3);
        sent(&mut outbound, QoS::AtLeastOnce, 4);
        assert_eq!(outbound.on_pubrec(second), Ok(PubrecAnswer::Received));
        assert!(outbound.release(second));
        assert_eq!(outbound.on_puback(first), Ok(Acknowledged::Done(1)));
        outbound.resume();
        assert_eq!(to_send(&mut outbound), ["PUBREL 2", "PUBLISH 3 3 dup", "PUBLISH 4 4 dup"]);
        assert_eq!(outbound.on_pubcomp(second), Ok(Acknowledged::Done(2)));
    }

    #[test]
    fn a_smaller_window_after_reconnecting_is_kept() {
        let mut outbound = Outbound::default();
        for message in 0..5 {
            sent(&mut outbound, QoS::AtLeastOnce, message);
        }
        outbound.resume();
        assert!(outbound.next_to_send(1).is_some());
        assert!(outbound.next_to_send(1).is_none());
        assert!(!outbound.has_room(1));
        assert_eq!(outbound.on_puback(PacketId::FIRST), Ok(Acknowledged::Done(0)));
        assert!(outbound.next_to_send(1).is_some());
    }

    #[test]
    fn the_store_is_waited_for_before_publish_and_before_pubrel() {
        let mut outbound = Outbound::default();
        let id = outbound.push(QoS::ExactlyOnce, 1, true);
        let second = outbound.push_and_send(QoS::AtLeastOnce, 2, WINDOW);
        assert_eq!(second, None, "order holds across the wait");
        assert!(to_send(&mut outbound).is_empty());
        outbound.stored(id);
        assert_eq!(to_send(&mut outbound), ["PUBLISH 1 1", "PUBLISH 2 2"]);
        assert_eq!(outbound.on_pubrec(id), Ok(PubrecAnswer::Received));
        assert_eq!(outbound.on_pubrec(id), Ok(PubrecAnswer::Storing));
        assert!(outbound.release(id));
        assert_eq!(outbound.on_pubrec(id), Ok(PubrecAnswer::Again));
    }

    #[test]
    fn a_release_stored_after_the_connection_changed_is_sent_by_the_cursor() {
        let mut outbound = Outbound::default();
        let id = sent(&mut outbound, QoS::ExactlyOnce, 1);
        assert_eq!(outbound.on_pubrec(id), Ok(PubrecAnswer::Received));
        outbound.resume();
        assert!(to_send(&mut outbound).is_empty());
        assert!(!outbound.release(id));
        assert_eq!(to_send(&mut outbound), ["PUBREL 1"]);
    }

    #[test]
    fn acknowledgements_of_the_wrong_kind_are_violations() {
        let mut outbound = Outbound::default();
        let one = sent(&mut outbound, QoS::AtLeastOnce, 1);
        let two = sent(&mut outbound, QoS::ExactlyOnce, 2);
        assert!(outbound.on_puback(two).is_err());
        assert!(outbound.on_pubrec(one).is_err());
        assert!(outbound.on_pubcomp(one).is_err());
        assert!(outbound.on_pubcomp(two).is_err());
        assert_eq!(outbound.on_pubrec_refusal(two), Ok(Acknowledged::Done(2)));
        assert_eq!(outbound.len(), 1);
    }

    #[test]
    fn identifiers_go_round_and_skip_zero() {
        let mut outbound = Outbound::default();
        for message in 0..70_000 {
            let id = sent(&mut outbound, QoS::AtLeastOnce, message);
            assert_eq!(u32::from(id.get()), message % 65_535 + 1);
            assert_eq!(outbound.on_puback(id), Ok(Acknowledged::Done(message)));
        }
    }

    #[test] // [MQTT5-2.2.1-3]
    fn an_identifier_that_is_passed_over_belongs_to_no_message() {
        let mut outbound = Outbound::default();
        assert_eq!(outbound.pass_over().get(), 1, "with nothing in flight");
        let message = sent(&mut outbound, QoS::AtLeastOnce, 7);
        assert_eq!(outbound.pass_over().get(), 3);
        let after = outbound.push(QoS::AtLeastOnce, 8, false);
        assert_eq!((message.get(), after.get(), outbound.len()), (2, 4, 2));
        assert_eq!(to_send(&mut outbound), ["PUBLISH 4 8"]);
        assert_eq!(outbound.on_puback(message), Ok(Acknowledged::Done(7)));
        assert_eq!(outbound.on_puback(PacketId::new(3).unwrap()), Ok(Acknowledged::Unknown));
        assert_eq!(outbound.on_puback(after), Ok(Acknowledged::Done(8)));
        assert_eq!(outbound.next_packet_id().get(), 5);
        assert!(outbound.is_empty());
    }

    #[test]
    fn a_peer_that_lost_its_session_is_sent_anew_what_it_had_not_received() {
        let mut outbound = Outbound::default();
        sent(&mut outbound, QoS::AtLeastOnce, 1);
        let received = sent(&mut outbound, QoS::ExactlyOnce, 2);
        let released = sent(&mut outbound, QoS::ExactlyOnce, 3);
        sent(&mut outbound, QoS::ExactlyOnce, 4);
        outbound.push(QoS::AtLeastOnce, 5, false);
        outbound.on_pubrec(received).unwrap();
        outbound.on_pubrec(released).unwrap();
        outbound.release(released);
        assert_eq!(outbound.start_anew(), [2, 3]);
        assert_eq!((outbound.len(), outbound.outstanding()), (3, 0));
        let again = to_send(&mut outbound);
        assert_eq!(again, ["PUBLISH 1 1", "PUBLISH 4 4", "PUBLISH 5 5"]);
        assert_eq!(outbound.outstanding(), 3);
    }

    #[test]
    fn what_a_store_has_kept_goes_on_with_its_identifiers() {
        let id = |id| PacketId::new(id).unwrap();
        let mut outbound = Outbound::default();
        outbound.push_restored(id(65_535), 1, Stage::AwaitPuback);
        outbound.push_restored(id(7), 3, Stage::AwaitPubrec);
        outbound.push_restored(id(9), 4, Stage::AwaitPubcomp);
        outbound.skip_to(id(12));
        let next = outbound.push(QoS::ExactlyOnce, 5, false);
        assert_eq!((next, outbound.len()), (id(12), 4));
        outbound.resume();
        let said = to_send(&mut outbound);
        let expected = ["PUBLISH 65535 1 dup", "PUBLISH 7 3 dup", "PUBREL 9", "PUBLISH 12 5"];
        assert_eq!(said, expected);
        assert_eq!(outbound.oldest(), Some(&1));
        assert_eq!(outbound.on_pubcomp(id(9)), Ok(Acknowledged::Done(4)));
        assert_eq!(outbound.on_pubrec(id(7)), Ok(PubrecAnswer::Received));
    }

    #[test]
    fn the_first_of_those_kept_begins_where_it_was() {
        let mut outbound = Outbound::default();
        outbound.push_restored(PacketId::new(65_535).unwrap(), 1, Stage::AwaitPubrec);
        assert_eq!(outbound.push(QoS::AtLeastOnce, 2, false), PacketId::FIRST);
        assert_eq!(outbound.len(), 2);
    }

    #[test]
    fn identifiers_that_are_left_out_hold_nothing_up() {
        let id = |id| PacketId::new(id).unwrap();
        let mut outbound = Outbound::default();
        outbound.skip_to(id(5));
        assert_eq!(sent(&mut outbound, QoS::AtLeastOnce, 1), id(5));
        outbound.skip_to(id(6));
        assert_eq!(sent(&mut outbound, QoS::AtLeastOnce, 2), id(6));
        outbound.skip_to(id(9));
        assert_eq!(sent(&mut outbound, QoS::AtLeastOnce, 3), id(9), "at once, as before");
        assert_eq!(outbound.on_puback(id(6)), Ok(Acknowledged::Done(2)));
        assert_eq!(outbound.take_oldest_acknowledged(id(5)), Some(1));
        assert_eq!(outbound.take_oldest_acknowledged(id(9)), Some(3));
        assert!(outbound.is_empty());
        // What waits for its turn is not passed over.
        outbound.push(QoS::AtLeastOnce, 4, false);
        outbound.skip_to(id(20));
        assert_eq!(outbound.push_and_send(QoS::AtLeastOnce, 5, WINDOW), None);
        assert_eq!(to_send(&mut outbound), ["PUBLISH 10 4", "PUBLISH 20 5"]);
    }

    #[test]
    fn one_unacknowledged_message_cannot_make_identifiers_overlap() {
        let mut outbound = Outbound::default();
        let stuck = sent(&mut outbound, QoS::AtLeastOnce, 0);
        let mut pushed = 0;
        while outbound.has_room(WINDOW) {
            let id = sent(&mut outbound, QoS::AtLeastOnce, 1);
            assert_ne!(id, stuck);
            assert_eq!(outbound.on_puback(id), Ok(Acknowledged::Done(1)));
            pushed += 1;
        }
        assert_eq!(pushed, PacketId::COUNT - 2);
        assert_eq!(outbound.on_puback(stuck), Ok(Acknowledged::Done(0)));
        assert!(outbound.has_room(WINDOW));
    }
}
