//! PUBACK, PUBREC, PUBREL and PUBCOMP from a client.

use super::Shard;
use super::input::Sender;
use crate::connection::ConnectionHandle;
use crate::delivery::{Continuation, push_ack_with};
use crate::faults::{Fault, fault};
use crate::persist::{Owed, Record};
use crate::session::{Answer, SessionHandle};
use noctule_mqtt::packet::Ack;
use noctule_mqtt::{PacketId, PacketType, ReasonCode, Violation};
use noctule_session::{Acknowledged, PubrecAnswer};

impl Shard {
    /// One of the four came.
    #[inline]
    pub(super) fn on_ack(
        &mut self,
        sender: &Sender,
        packet: PacketType,
        ack: &Ack<'_>,
    ) -> Result<(), Violation> {
        let Sender { connection, session, .. } = *sender;
        match packet {
            PacketType::Puback => self.on_puback(session, ack),
            PacketType::Pubrec => self.on_pubrec(connection, session, ack),
            PacketType::Pubrel => self.on_pubrel(connection, session, ack),
            _ => self.on_pubcomp(session, ack),
        }
    }

    /// Whatever it says, the message is done with, and nobody else is tried `[MQTT5-4.8.2-6]`.
    #[inline]
    fn on_puback(&mut self, session: SessionHandle, ack: &Ack<'_>) -> Result<(), Violation> {
        let Some(found) = self.delivery.sessions.get_mut(session) else {
            return Ok(());
        };
        // The way of nearly all of them: the oldest message, and nothing hangs on it.
        if !found.is_persistent()
            && let Some(owed) = found.outbound.take_oldest_acknowledged(ack.packet_id)
        {
            let more_waits = found.has_more_to_send();
            self.delivery.memory.owed -= found.settle(&owed);
            self.delivery.pool.recycle(owed.message);
            if more_waits {
                self.send_more(session);
            }
            return Ok(());
        }
        let acknowledged = found.outbound.on_puback(ack.packet_id)?;
        self.finish_delivery(session, acknowledged);
        Ok(())
    }

    /// Answers with PUBREL, in the order in which PUBRECs come `[MQTT3-4.6.0-4]` `[MQTT5-4.6.0-4]`: at
    /// once or, as tickets are persisted in their order, when it is stored. What is refused is done
    /// with, and goes to nobody else `[MQTT5-4.8.2-6]`.
    fn on_pubrec(
        &mut self,
        handle: ConnectionHandle,
        session: SessionHandle,
        ack: &Ack<'_>,
    ) -> Result<(), Violation> {
        let Some(found) = self.delivery.sessions.get_mut(session) else {
            return Ok(());
        };
        if ack.reason.is_error() {
            let acknowledged = found.outbound.on_pubrec_refusal(ack.packet_id)?;
            self.finish_delivery(session, acknowledged);
            return Ok(());
        }
        let (packet_id, pubrel) = (ack.packet_id, PacketType::Pubrel);
        match found.outbound.on_pubrec(packet_id)? {
            PubrecAnswer::Storing => {}
            PubrecAnswer::Again => self.send_ack(handle, pubrel, packet_id, ReasonCode::Success),
            PubrecAnswer::Unknown => {
                let reason = ReasonCode::PacketIdentifierNotFound;
                self.send_ack(handle, pubrel, packet_id, reason);
            }
            PubrecAnswer::Received if found.is_persistent() => {
                let sequence = found.outbound.message(packet_id).map(|owed| owed.sequence);
                let key = found.key;
                if let Some(sequence) = sequence {
                    let record = Record::DeliveryReceived { key, sequence };
                    let ticket = self.delivery.journal.push(record);
                    let next = Continuation::Pubrel { session, packet_id };
                    let stage = self.delivery.journal.usual();
                    self.delivery.wait_for(ticket, stage, next);
                }
            }
            PubrecAnswer::Received => {
                found.outbound.release(packet_id);
                self.send_ack(handle, pubrel, packet_id, ReasonCode::Success);
            }
        }
        Ok(())
    }

    fn on_pubrel(
        &mut self,
        handle: ConnectionHandle,
        session: SessionHandle,
        ack: &Ack<'_>,
    ) -> Result<(), Violation> {
        let Some(found) = self.delivery.sessions.get_mut(session) else {
            return Ok(());
        };
        let packet_id = ack.packet_id;
        let packet = PacketType::Pubcomp;
        if !fault(Fault::ReleaseForgotten) && !found.inbound.on_pubrel(packet_id) {
            // A repetition may find the release still being stored: PUBCOMP would be too early.
            if !self.revive_answer(session, packet, packet_id) {
                let reason = ReasonCode::PacketIdentifierNotFound;
                self.send_ack(handle, packet, packet_id, reason);
            }
        } else if found.is_persistent() {
            let record = Record::Released { key: found.key, packet_id };
            let ticket = self.delivery.journal.push(record);
            let answer = Answer::Ack { packet, packet_id, reason: ReasonCode::Success };
            self.delivery.answer(session, answer, Some(ticket));
        } else {
            self.send_ack(handle, packet, packet_id, ReasonCode::Success);
        }
        Ok(())
    }

    fn on_pubcomp(&mut self, session: SessionHandle, ack: &Ack<'_>) -> Result<(), Violation> {
        let Some(found) = self.delivery.sessions.get_mut(session) else {
            return Ok(());
        };
        let acknowledged = found.outbound.on_pubcomp(ack.packet_id)?;
        self.finish_delivery(session, acknowledged);
        Ok(())
    }

    /// A delivery is complete: the session is not owed it any more, and there is room for more.
    fn finish_delivery(&mut self, session: SessionHandle, acknowledged: Acknowledged<Owed>) {
        let Acknowledged::Done(owed) = acknowledged else {
            return;
        };
        let Some(found) = self.delivery.sessions.get_mut(session) else {
            return;
        };
        self.delivery.memory.owed -= found.settle(&owed);
        if found.is_persistent() {
            self.delivery.journal.delivered(found.key, &owed);
        }
        if found.has_more_to_send() {
            self.send_more(session);
        }
        self.delivery.pool.recycle(owed.message);
    }

    /// There is room for more.
    pub(super) fn send_more(&mut self, session: SessionHandle) {
        self.delivery.pump(session);
        self.revive_replays(session);
    }

    /// That PUBREC came is stored: PUBREL may leave.
    pub(super) fn send_pubrel(&mut self, session: SessionHandle, packet_id: PacketId) {
        let Some(found) = self.delivery.sessions.get_mut(session) else {
            return;
        };
        let send_now = found.outbound.release(packet_id);
        match found.connection {
            Some(handle) if send_now => {
                self.send_ack(handle, PacketType::Pubrel, packet_id, ReasonCode::Success);
            }
            _ => {}
        }
        self.delivery.pump(session);
    }

    pub(super) fn send_ack(
        &mut self,
        handle: ConnectionHandle,
        packet: PacketType,
        packet_id: PacketId,
        reason: ReasonCode,
    ) {
        if let Some(connection) = self.delivery.connections.get_mut(handle) {
            let version = connection.version;
            let outbox = self.delivery.outputs.open(handle, connection);
            push_ack_with(outbox, version, packet, packet_id, reason);
            self.delivery.packets.leaves(packet);
        }
    }
}
