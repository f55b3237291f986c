//! The receiving half of any client of the torture: it acknowledges what comes, and knows by the
//! identifiers that it holds what is new at QoS 2 and what a repetition.
//!
//! What a message means is its owner's matter.

use noctule_mqtt::packet::Publish;
use noctule_mqtt::{Packet, PacketType, QoS};
use noctule_session::{Inbound, Received};

use super::packet::Pen;

/// Which QoS 2 messages it holds, kept over connections as long as the session is.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    held: Inbound,
}

/// What a packet was to an [`Inbox`].
#[derive(Debug)]
pub(crate) enum Mail<'a, 'b> {
    /// A message: at QoS 2 one that is new.
    New(&'a Publish<'b>),
    /// It is dealt with.
    Done,
    /// Nothing for a receiver.
    Foreign,
}

impl Inbox {
    /// Takes a packet and appends its answer.
    pub(crate) fn take<'a, 'b>(
        &mut self,
        packet: &'a Packet<'b>,
        pen: &Pen,
        out: &mut Vec<u8>,
    ) -> Mail<'a, 'b> {
        match packet {
            Packet::Publish(publish) => {
                if self.acknowledge(publish, pen, out) {
                    Mail::New(publish)
                } else {
                    Mail::Done
                }
            }
            Packet::Pubrel(ack) => {
                self.held.on_pubrel(ack.packet_id);
                pen.answer(PacketType::Pubcomp, ack.packet_id, out);
                Mail::Done
            }
            _ => Mail::Foreign,
        }
    }

    /// Whether the message is new, as far as its QoS lets one know.
    fn acknowledge(&mut self, publish: &Publish<'_>, pen: &Pen, out: &mut Vec<u8>) -> bool {
        match (publish.packet_id, publish.qos) {
            (Some(id), QoS::ExactlyOnce) => {
                pen.answer(PacketType::Pubrec, id, out);
                self.held.on_publish(id, false) == Received::New
            }
            (Some(id), _) => {
                pen.answer(PacketType::Puback, id, out);
                true
            }
            (None, _) => true,
        }
    }
}
