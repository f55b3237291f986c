//! Packets that are no PUBLISH, and when they leave: acknowledgements in their turn, everything else
//! at once.

use super::Delivery;
use super::waiting::Continuation;
use crate::connection::{Connection, ConnectionHandle, Transport};
use crate::faults::{Fault, fault};
use crate::outbox::Outbox;
use crate::persist::{Stage, Ticket};
use crate::session::{Answer, SessionHandle};
use noctule_mqtt::packet::Ack;
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    Packet, PacketId, PacketType, Properties, Property, PropertyBuffer, ProtocolVersion,
    ReasonCode, codec,
};

impl Delivery {
    /// Answers a client in its turn: at once, or behind earlier answers, or when `ticket` is
    /// persisted.
    pub(crate) fn answer(&mut self, handle: SessionHandle, answer: Answer, ticket: Option<Ticket>) {
        self.answer_after(handle, answer, ticket, 0);
    }

    /// Has something go on when a ticket has become that safe.
    pub(crate) fn wait_for(&mut self, ticket: Ticket, stage: Stage, next: Continuation) {
        self.journal.ask(stage);
        self.waiting.push(ticket, stage, next);
    }

    /// As [`answer`](Self::answer), but after so many replies of other shards, too.
    pub(crate) fn answer_after(
        &mut self,
        handle: SessionHandle,
        answer: Answer,
        ticket: Option<Ticket>,
        replies: u32,
    ) {
        let Some(session) = self.sessions.get_mut(handle) else {
            return;
        };
        let ticket = ticket.filter(|_| !fault(Fault::AckBeforeTicket));
        let waits = replies + u32::from(ticket.is_some());
        if waits == 0 && (session.answers.is_empty() || fault(Fault::AckOutOfOrder)) {
            self.write_answer(handle, answer);
            return;
        }
        let number = session.answers.push(answer, waits);
        if let Some(ticket) = ticket {
            let stage = self.journal.stage();
            self.wait_for(ticket, stage, Continuation::Answer { session: handle, number });
        }
    }

    /// Writes the answers whose turn has come. Returns the connection if one of them cannot be said
    /// in its version, so that it has to be closed.
    pub(crate) fn release_answers(&mut self, handle: SessionHandle) -> Option<ConnectionHandle> {
        while let Some(answer) =
            self.sessions.get_mut(handle).and_then(|session| session.answers.pop_ready())
        {
            let refuses = matches!(answer, Answer::Ack { reason: ReasonCode::QuotaExceeded, .. });
            let connection = self.sessions.get(handle).and_then(|session| session.connection);
            let speaks_reasons = connection
                .and_then(|handle| self.connections.get(handle))
                .is_some_and(|connection| connection.version.has_reason_codes());
            if refuses && !speaks_reasons {
                return connection;
            }
            self.write_answer(handle, answer);
        }
        None
    }

    fn write_answer(&mut self, handle: SessionHandle, answer: Answer) {
        let Some(session) = self.sessions.get_mut(handle) else {
            return;
        };
        let Some(connection_handle) = session.connection else {
            return;
        };
        let Some(connection) = self.connections.get_mut(connection_handle) else {
            return;
        };
        let version = connection.version;
        match answer {
            Answer::Ack { packet, packet_id, reason } if reason.is_error() => {
                let why = explanation(reason);
                let bytes = explained(connection, why, |properties| {
                    let ack = Ack { packet_id, reason, properties };
                    match packet {
                        PacketType::Puback => Packet::Puback(ack),
                        PacketType::Pubrec => Packet::Pubrec(ack),
                        _ => Packet::Pubcomp(ack),
                    }
                });
                self.outputs.open(connection_handle, connection).push(&bytes);
                self.packets.leaves(packet);
            }
            Answer::Ack { packet, packet_id, reason } => {
                let outbox = self.outputs.open(connection_handle, connection);
                push_ack_with(outbox, version, packet, packet_id, reason);
                self.packets.leaves(packet);
            }
            Answer::Encoded { bytes, greet, opens } => {
                self.outputs.open(connection_handle, connection).push(&bytes);
                let is_suback = bytes.first().is_some_and(|first| first >> 4 == 9);
                let packet = if is_suback { PacketType::Suback } else { PacketType::Unsuback };
                self.packets.leaves(packet);
                if let Some(number) = opens {
                    session.replays.open_through(number);
                }
                if greet {
                    self.greet_on_request(connection_handle);
                }
                self.replay(handle);
            }
        }
    }

    /// Has the retained messages sent that a session waits for, if it does.
    pub(crate) fn replay(&mut self, handle: SessionHandle) {
        if let Some(session) = self.sessions.get_mut(handle)
            && session.replays.has_open()
            && !std::mem::replace(&mut session.replaying, true)
        {
            self.replays.push_back(handle);
        }
    }

    /// Puts a packet that may say `why` in a reason string into a connection's output: with it if
    /// the client wants and takes it, without it otherwise `[MQTT5-3.1.2-29]` `[MQTT5-3.2.2-19]`
    /// `[MQTT5-3.4.2-2]` `[MQTT5-3.5.2-2]` `[MQTT5-3.9.2-1]` `[MQTT5-3.14.2-3]`.
    ///
    /// # Errors
    /// The size of the packet if it is too large even so; nothing is put out then.
    pub(crate) fn send_explained(
        &mut self,
        handle: ConnectionHandle,
        why: &str,
        packet: impl for<'r> Fn(Properties<'r>) -> Packet<'r>,
    ) -> Result<(), usize> {
        let Some(connection) = self.connections.get(handle) else {
            return Ok(());
        };
        let most = connection.packet_bytes_max as usize;
        let bytes = explained(connection, why, &packet);
        if bytes.len() > most {
            return Err(bytes.len());
        }
        self.packets.leaves(packet(Properties::EMPTY).packet_type());
        if let Some(connection) = self.connections.get_mut(handle) {
            self.outputs.open(handle, connection).push(&bytes);
        }
        Ok(())
    }

    /// Puts a packet that is no PUBLISH into a connection's output, if the client accepts one of its
    /// size. Returns whether it does.
    pub(crate) fn send_if_accepted(
        &mut self,
        handle: ConnectionHandle,
        packet: &Packet<'_>,
    ) -> bool {
        let Some(connection) = self.connections.get_mut(handle) else {
            return false;
        };
        let mut bytes = Vec::new();
        let encoded = codec::encode(packet, connection.version, &mut bytes);
        let accepted = encoded.is_ok() && connection.accepts(bytes.len());
        if accepted {
            self.outputs.open(handle, connection).push(&bytes);
            self.packets.leaves(packet.packet_type());
        }
        accepted
    }

    /// Puts a packet that is no PUBLISH into a connection's output.
    pub(crate) fn send(&mut self, handle: ConnectionHandle, packet: &Packet<'_>) {
        let Some(connection) = self.connections.get_mut(handle) else {
            return;
        };
        let version = connection.version;
        let outbox = self.outputs.open(handle, connection);
        let before = outbox.tail().len();
        let encoded = codec::encode(packet, version, outbox.tail());
        debug_assert!(encoded.is_ok(), "the broker's own packets can be encoded: {encoded:?}");
        let written = outbox.tail().len() - before;
        outbox.appended(written);
        match packet {
            Packet::Publish(publish) => {
                if connection.transport == Transport::Tls {
                    self.tls.publish_sent += 1;
                }
                self.packets.publish_leaves(publish.qos, 1, publish.payload.len());
            }
            other => self.packets.leaves(other.packet_type()),
        }
    }
}

/// The bytes of a packet for a client, with a reason string if it wants that and it fits.
pub(crate) fn explained(
    connection: &Connection,
    why: &str,
    packet: impl for<'r> Fn(Properties<'r>) -> Packet<'r>,
) -> Vec<u8> {
    let version = connection.version;
    let mut bytes = Vec::new();
    if version.has_properties() && connection.problem_information && !why.is_empty() {
        let plain = packet(Properties::EMPTY);
        let mut buffer = PropertyBuffer::new(Carrier::Packet(plain.packet_type()));
        let pushed = buffer.push(Property::ReasonString(why));
        debug_assert!(pushed.is_ok(), "this packet may have a reason string: {pushed:?}");
        let encoded = codec::encode(&packet(buffer.as_properties()), version, &mut bytes);
        if encoded.is_ok() && bytes.len() <= connection.packet_bytes_max as usize {
            return bytes;
        }
        bytes.clear();
    }
    let encoded = codec::encode(&packet(Properties::EMPTY), version, &mut bytes);
    debug_assert!(encoded.is_ok(), "the broker's own packets can be encoded: {encoded:?}");
    bytes
}

/// A refusal in words, for a reason string.
pub(crate) fn explanation(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::QuotaExceeded => {
            "a limit is reached: of connections, retained messages, user properties or a queue, or \
             memory or the disk is short"
        }
        ReasonCode::NotAuthorized => {
            "this client has no right to it; topics below $SYS/ are the broker's own"
        }
        ReasonCode::PayloadFormatInvalid => "the payload is declared to be UTF-8 and is not",
        ReasonCode::TopicFilterInvalid => "a topic filter is longer or deeper than allowed",
        other => other.words(),
    }
}

/// Appends an acknowledgement that reports success, which looks the same in all versions.
pub(crate) fn push_ack(outbox: &mut Outbox, packet: PacketType, packet_id: PacketId) {
    let flags = packet.required_flags().unwrap_or(0);
    let [high, low] = packet_id.get().to_be_bytes();
    outbox.push(&[(packet as u8) << 4 | flags, 2, high, low]);
}

/// Appends an acknowledgement with its reason, where the version has a place for it.
pub(crate) fn push_ack_with(
    outbox: &mut Outbox,
    version: ProtocolVersion,
    packet: PacketType,
    packet_id: PacketId,
    reason: ReasonCode,
) {
    if reason == ReasonCode::Success || !version.has_reason_codes() {
        push_ack(outbox, packet, packet_id);
        return;
    }
    let flags = packet.required_flags().unwrap_or(0);
    let [high, low] = packet_id.get().to_be_bytes();
    outbox.push(&[(packet as u8) << 4 | flags, 3, high, low, reason.byte()]);
}
