//! A client that publishes: its messages in flight, kept over connections and the broker's deaths.
//!
//! It never holds a message back to let another pass: what is not acknowledged is sent again with
//! DUP, in its old order, before anything new `[MQTT5-4.4.0-1]` `[MQTT5-4.6.0-1]`.

use noctule_mqtt::Packet;

use super::books::Books;
use super::outbox::{Answer, Outbox};
use super::packet::Pen;
use crate::LoadError;

/// The publishing half of a client.
#[derive(Debug)]
pub(crate) struct Publisher {
    /// On which lanes, in turn.
    lanes: Vec<usize>,
    turn: usize,
    outbox: Outbox<Sent>,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    lane: usize,
    number: u64,
}

impl Publisher {
    /// One that keeps `window` messages in flight.
    pub(crate) fn new(lanes: Vec<usize>, window: u16) -> Self {
        Self { lanes, turn: 0, outbox: Outbox::new(window) }
    }

    /// Whether nothing is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Connected to its session; the broker takes so many messages at once.
    pub(crate) fn resume(&mut self, receive_maximum: u16) {
        self.outbox.resume(receive_maximum);
    }

    /// Its session is gone, and with it the conversation about what was in flight: none of that is
    /// sent again `[MQTT5-3.2.2-5]`. What had not been acknowledged may have arrived or not.
    pub(crate) fn start_anew(&mut self, books: &mut Books) {
        for Sent { lane, number } in self.outbox.start_anew() {
            books.lanes[lane].give_up(number);
        }
    }

    /// Appends what may be sent: first what is in flight, then new messages if there may be any.
    pub(crate) fn send(
        &mut self,
        books: &mut Books,
        pen: &mut Pen,
        out: &mut Vec<u8>,
    ) -> Result<(), LoadError> {
        while out.len() < OUT_BYTES_MAX {
            if books.open && self.outbox.has_room() {
                self.next(books);
            }
            let sent =
                self.outbox.send_next(pen, out, |pen, Sent { lane, number }, (id, dup), out| {
                    pen.publish((lane, &books.lanes[lane]), number, id, dup, out)
                })?;
            if !sent {
                break;
            }
        }
        Ok(())
    }

    fn next(&mut self, books: &mut Books) {
        let lane = self.lanes[self.turn % self.lanes.len()];
        self.turn += 1;
        let number = books.lanes[lane].send();
        self.outbox.push(books.lanes[lane].qos(), Sent { lane, number });
    }

    /// A packet came; false if it is none for a publisher.
    pub(crate) fn take(
        &mut self,
        packet: &Packet<'_>,
        books: &mut Books,
        pen: &Pen,
        out: &mut Vec<u8>,
    ) -> Result<bool, LoadError> {
        match self.outbox.take(packet, pen, out)? {
            Answer::Acknowledged(Sent { lane, number }) => {
                books.acknowledge(lane, number);
                books.lanes[lane].finish(number);
            }
            Answer::Received(Sent { lane, number }) => books.acknowledge(lane, number),
            Answer::Completed(Sent { lane, number }) => books.lanes[lane].finish(number),
            Answer::Refused(Sent { lane, number }) => books.refuse(lane, number),
            Answer::Done => {}
            Answer::Foreign => return Ok(false),
        }
        Ok(true)
    }

    /// On which lanes it publishes.
    #[cfg(test)]
    pub(crate) fn lanes(&self) -> &[usize] {
        &self.lanes
    }

    /// How many messages are in flight that are not acknowledged.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.outbox.unacknowledged()
    }
}

/// As much is put out at once; the rest when the socket has taken that.
const OUT_BYTES_MAX: usize = 64 * 1024;
