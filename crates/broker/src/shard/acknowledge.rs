//! PUBACK, PUBREC, PUBREL and PUBCOMP from a client.

use super::Shard;
use crate::connection::ConnectionHandle;
use crate::delivery::{Continuation, push_ack_with};
use crate::persist::{Owed, Record};
use crate::session::SessionHandle;
use noctule_mqtt::packet::Ack;
use noctule_mqtt::{PacketId, PacketType, ReasonCode, Violation};
use noctule_session::{Acknowledged, PubrecAnswer};

impl Shard {
    /// One of the four came.
    pub(super) fn on_ack(
        &mut self,
        handle: ConnectionHandle,
        session: SessionHandle,
        packet: PacketType,
        ack: &Ack<'_>,
    ) -> Result<(), Violation> {
        match packet {
            PacketType::Puback => self.on_puback(session, ack),
            PacketType::Pubrec => self.on_pubrec(handle, session, ack),
            PacketType::Pubrel => self.on_pubrel(handle, session, ack),
            _ => self.on_pubcomp(session, ack),
        }
    }

    fn on_puback(&mut self, session: SessionHandle, ack: &Ack<'_>) -> Result<(), Violation> {
        let Some(found) = self.delivery.sessions.get_mut(session) else {
            return Ok(());
        };
        let acknowledged = found.outbound.on_puback(ack.packet_id)?;
        self.finish_delivery(session, acknowledged);
        Ok(())
    }

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
                    self.delivery.waiting.push_back((ticket, next));
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
        if !found.inbound.on_pubrel(packet_id) {
            let reason = ReasonCode::PacketIdentifierNotFound;
            self.send_ack(handle, PacketType::Pubcomp, packet_id, reason);
        } else if found.is_persistent() {
            let record = Record::Released { key: found.key, packet_id };
            let ticket = self.delivery.journal.push(record);
            let next = Continuation::Pubcomp { session, packet_id };
            self.delivery.waiting.push_back((ticket, next));
        } else {
            self.send_ack(handle, PacketType::Pubcomp, packet_id, ReasonCode::Success);
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
        let Some(found) = self.delivery.sessions.get(session) else {
            return;
        };
        if found.is_persistent() {
            let (key, sequence) = (found.key, owed.sequence);
            self.delivery.journal.push(Record::Delivered { key, sequence });
        }
        let waits_for_room = !found.replays.is_empty();
        if !found.queue.is_empty() || found.outbound.has_unsent() {
            self.delivery.pump(session);
        }
        if waits_for_room {
            self.revive_replays(session);
        }
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

    /// PUBREL is stored: PUBCOMP may leave, if the client is there to hear it.
    pub(super) fn send_pubcomp(&mut self, session: SessionHandle, packet_id: PacketId) {
        let connection = self.delivery.sessions.get(session).and_then(|found| found.connection);
        if let Some(handle) = connection {
            self.send_ack(handle, PacketType::Pubcomp, packet_id, ReasonCode::Success);
        }
    }

    fn send_ack(
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
        }
    }
}
