//! A client that publishes: its messages in flight, kept over connections and the broker's deaths.
//!
//! It never holds a message back to let another pass: what is not acknowledged is sent again with
//! DUP, in its old order, before anything new `[MQTT5-4.4.0-1]` `[MQTT5-4.6.0-1]`.

use noctule_mqtt::packet::Ack;
use noctule_mqtt::{Packet, PacketType};
use noctule_session::{Acknowledged, Outbound, PubrecAnswer, Stage, ToSend};

use super::books::Books;
use super::packet::Pen;
use crate::LoadError;

/// The publishing half of a client.
#[derive(Debug)]
pub(crate) struct Publisher {
    /// On which lanes, in turn.
    lanes: Vec<usize>,
    turn: usize,
    window: u16,
    /// What the broker takes at once, if less.
    allowed: u16,
    flight: Outbound<Sent>,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    lane: usize,
    number: u64,
}

impl Publisher {
    /// One that keeps `window` messages in flight.
    pub(crate) fn new(lanes: Vec<usize>, window: u16) -> Self {
        Self { lanes, turn: 0, window, allowed: window, flight: Outbound::default() }
    }

    /// Whether nothing is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.flight.is_empty()
    }

    /// Connected to its session; the broker takes so many messages at once.
    pub(crate) fn resume(&mut self, receive_maximum: u16) {
        self.allowed = self.window.min(receive_maximum);
        self.flight.resume();
    }

    /// Its session is gone, and with it the conversation about what was in flight: none of that is
    /// sent again `[MQTT5-3.2.2-5]`. What had not been acknowledged may have arrived or not.
    pub(crate) fn start_anew(&mut self, books: &mut Books) {
        for message in self.flight.iter() {
            books.lanes[message.message.lane].give_up(message.message.number);
        }
        self.flight = Outbound::default();
    }

    /// Appends what may be sent: first what is in flight, then new messages if there may be any.
    pub(crate) fn send(
        &mut self,
        books: &mut Books,
        pen: &mut Pen,
        out: &mut Vec<u8>,
    ) -> Result<(), LoadError> {
        while out.len() < OUT_BYTES_MAX {
            if !self.flight.has_unsent() && books.open && self.flight.has_room(self.allowed) {
                self.next(books);
            }
            match self.flight.next_to_send(self.allowed) {
                Some(ToSend::Publish { packet_id, dup, message }) => {
                    let lane = (message.lane, &books.lanes[message.lane]);
                    pen.publish(lane, message.number, packet_id, dup, out)?;
                }
                Some(ToSend::Pubrel(id)) => pen.answer(PacketType::Pubrel, id, out),
                None => break,
            }
        }
        Ok(())
    }

    fn next(&mut self, books: &mut Books) {
        let lane = self.lanes[self.turn % self.lanes.len()];
        self.turn += 1;
        let number = books.lanes[lane].send();
        self.flight.push(books.lanes[lane].qos(), Sent { lane, number }, false);
    }

    /// A packet came; false if it is none for a publisher.
    pub(crate) fn take(
        &mut self,
        packet: &Packet<'_>,
        books: &mut Books,
        pen: &Pen,
        out: &mut Vec<u8>,
    ) -> Result<bool, LoadError> {
        match packet {
            Packet::Puback(ack) => self.on_puback(ack, books)?,
            Packet::Pubrec(ack) => self.on_pubrec(ack, books, pen, out)?,
            Packet::Pubcomp(ack) => {
                let answer = self.flight.on_pubcomp(ack.packet_id);
                if let Acknowledged::Done(sent) = answer.map_err(|error| unexpected(&error))? {
                    books.lanes[sent.lane].finish(sent.number);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn on_puback(&mut self, ack: &Ack<'_>, books: &mut Books) -> Result<(), LoadError> {
        let answer = self.flight.on_puback(ack.packet_id).map_err(|error| unexpected(&error))?;
        if let Acknowledged::Done(Sent { lane, number }) = answer {
            if ack.reason.is_error() {
                books.refuse(lane, number);
            } else {
                books.acknowledge(lane, number);
                books.lanes[lane].finish(number);
            }
        }
        Ok(())
    }

    fn on_pubrec(
        &mut self,
        ack: &Ack<'_>,
        books: &mut Books,
        pen: &Pen,
        out: &mut Vec<u8>,
    ) -> Result<(), LoadError> {
        if ack.reason.is_error() {
            let answer = self.flight.on_pubrec_refusal(ack.packet_id);
            if let Acknowledged::Done(sent) = answer.map_err(|error| unexpected(&error))? {
                books.refuse(sent.lane, sent.number);
            }
            return Ok(());
        }
        let answer = self.flight.on_pubrec(ack.packet_id).map_err(|error| unexpected(&error))?;
        if answer == PubrecAnswer::Received {
            if let Some(&Sent { lane, number }) = self.flight.message(ack.packet_id) {
                books.acknowledge(lane, number);
            }
            self.flight.release(ack.packet_id);
        }
        pen.answer(PacketType::Pubrel, ack.packet_id, out);
        Ok(())
    }

    /// On which lanes it publishes.
    #[cfg(test)]
    pub(crate) fn lanes(&self) -> &[usize] {
        &self.lanes
    }

    /// How many messages are in flight that are not acknowledged.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.flight.iter().filter(|message| is_open(message.stage())).count()
    }
}

/// Whether a message at this stage is still to be acknowledged.
fn is_open(stage: Stage) -> bool {
    !matches!(stage, Stage::StoringRelease | Stage::AwaitPubcomp)
}

/// As much is put out at once; the rest when the socket has taken that.
const OUT_BYTES_MAX: usize = 64 * 1024;

fn unexpected(violation: &noctule_mqtt::Violation) -> LoadError {
    LoadError::new(format!("the broker answered what was not asked: {violation}"))
}
