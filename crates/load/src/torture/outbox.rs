//! The sending half of any client of the torture: what is in flight, kept over connections and the
//! broker's deaths, and sent again with DUP in its old order before anything new `[MQTT5-4.4.0-1]`
//! `[MQTT5-4.6.0-1]`.
//!
//! A message is a word of its owner's (`M`), who knows how it is written.

use noctule_mqtt::packet::Ack;
use noctule_mqtt::{Packet, PacketId, PacketType, QoS, Violation};
use noctule_session::{Acknowledged, Outbound, PubrecAnswer, Stage, ToSend};

use super::packet::Pen;
use crate::LoadError;

/// Messages in flight.
#[derive(Debug)]
pub(crate) struct Outbox<M> {
    flight: Outbound<M>,
    window: u16,
    /// What the broker takes at once, if less.
    allowed: u16,
}

/// What a packet was to an [`Outbox`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer<M> {
    /// PUBACK: the broker has this, and that is all about it.
    Acknowledged(M),
    /// PUBREC for the first time: the broker has this, and PUBREL is out.
    Received(M),
    /// PUBCOMP: that was all about it.
    Completed(M),
    /// The broker does not take it, with a reason.
    Refused(M),
    /// It is dealt with.
    Done,
    /// Nothing for a sender.
    Foreign,
}

impl<M: Copy> Outbox<M> {
    /// One that keeps `window` messages in flight.
    pub(crate) fn new(window: u16) -> Self {
        Self { flight: Outbound::default(), window, allowed: window }
    }

    /// Whether nothing is in flight.
    pub(crate) fn is_empty(&self) -> bool {
        self.flight.is_empty()
    }

    /// Connected to its session; the broker takes so many messages at once.
    pub(crate) fn resume(&mut self, receive_maximum: u16) {
        self.allowed = self.window.min(receive_maximum);
        self.flight.resume();
    }

    /// The session is gone, and with it the conversation about these messages: none of them is sent
    /// again `[MQTT5-3.2.2-5]`.
    pub(crate) fn start_anew(&mut self) -> Vec<M> {
        let lost = self.flight.iter().map(|entry| entry.message).collect();
        self.flight = Outbound::default();
        lost
    }

    /// Whether a new message could be sent now, behind all others.
    pub(crate) fn has_room(&self) -> bool {
        !self.flight.has_unsent() && self.flight.has_room(self.allowed)
    }

    /// A new message.
    pub(crate) fn push(&mut self, qos: QoS, message: M) {
        self.flight.push(qos, message, false);
    }

    /// Appends the next packet that is due, a PUBLISH by `write`; false if none is.
    pub(crate) fn send_next(
        &mut self,
        pen: &mut Pen,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Pen, M, (PacketId, bool), &mut Vec<u8>) -> Result<(), LoadError>,
    ) -> Result<bool, LoadError> {
        match self.flight.next_to_send(self.allowed) {
            Some(ToSend::Publish { packet_id, dup, message }) => {
                write(pen, *message, (packet_id, dup), out)?;
            }
            Some(ToSend::Pubrel(id)) => pen.answer(PacketType::Pubrel, id, out),
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Takes a packet and appends its answer.
    ///
    /// # Errors
    /// If nothing was sent that it could answer.
    pub(crate) fn take(
        &mut self,
        packet: &Packet<'_>,
        pen: &Pen,
        out: &mut Vec<u8>,
    ) -> Result<Answer<M>, LoadError> {
        let answer = match packet {
            Packet::Puback(ack) => self.flight.on_puback(ack.packet_id).map(|done| match done {
                Acknowledged::Done(message) if ack.reason.is_error() => Answer::Refused(message),
                Acknowledged::Done(message) => Answer::Acknowledged(message),
                _ => Answer::Done,
            }),
            Packet::Pubrec(ack) => self.on_pubrec(ack, pen, out),
            Packet::Pubcomp(ack) => self.flight.on_pubcomp(ack.packet_id).map(|done| match done {
                Acknowledged::Done(message) => Answer::Completed(message),
                _ => Answer::Done,
            }),
            _ => return Ok(Answer::Foreign),
        };
        answer.map_err(|violation| {
            LoadError::new(format!("the broker answered what was not asked: {violation}"))
        })
    }

    fn on_pubrec(
        &mut self,
        ack: &Ack<'_>,
        pen: &Pen,
        out: &mut Vec<u8>,
    ) -> Result<Answer<M>, Violation> {
        let id = ack.packet_id;
        if ack.reason.is_error() {
            return Ok(match self.flight.on_pubrec_refusal(id)? {
                Acknowledged::Done(message) => Answer::Refused(message),
                _ => Answer::Done,
            });
        }
        let first = self.flight.on_pubrec(id)? == PubrecAnswer::Received;
        let message = self.flight.message(id).copied().filter(|_| first);
        if first {
            self.flight.release(id);
        }
        pen.answer(PacketType::Pubrel, id, out);
        Ok(message.map_or(Answer::Done, Answer::Received))
    }

    /// How many messages are in flight that the broker has not acknowledged.
    pub(crate) fn unacknowledged(&self) -> usize {
        let is_open = |stage: Stage| !matches!(stage, Stage::StoringRelease | Stage::AwaitPubcomp);
        self.flight.iter().filter(|message| is_open(message.stage())).count()
    }
}
