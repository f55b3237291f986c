//! One publisher: its numbered messages on their way out, and what the broker answers to them.

use std::io;
use std::ops::Range;

use noctule_mqtt::codec::Frame;
use noctule_mqtt::{PacketType, QoS};

use crate::LoadError;
use crate::checker::Faults;
use crate::link::Link;
use crate::packets::{self, Arrival, Mark, Template};

#[derive(Debug)]
pub(super) struct Publisher {
    link: Link,
    template: Template,
    /// Messages whose last answer has come: PUBACK, or PUBCOMP.
    pub(super) acknowledged: u64,
    /// Messages that PUBREC was sent for.
    received: u64,
    pub(super) faults: Faults,
    /// Where to stop sending, counted as messages sent are.
    pub(super) target: u64,
    /// Something due is waiting, as too much is under way.
    pub(super) is_held: bool,
    receive_maximum: u64,
    /// What is heaped up here of what the socket does not take.
    unsent_bytes_max: usize,
}

impl Publisher {
    pub(super) fn new(link: Link, template: Template, receive_maximum: u16) -> Self {
        Self {
            link,
            template,
            acknowledged: 0,
            received: 0,
            faults: Faults::default(),
            target: 0,
            is_held: false,
            receive_maximum: receive_maximum.into(),
            unsent_bytes_max: UNSENT_BYTES_MAX,
        }
    }

    pub(super) fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// Keeps no more than this on this side, in the socket and before it, and at QoS 2 has so many
    /// messages under way at most.
    pub(super) fn keep_little(&mut self, bytes: usize, qos2_under_way: u64) -> io::Result<()> {
        self.unsent_bytes_max = bytes;
        if self.template.qos() == QoS::ExactlyOnce {
            self.receive_maximum = self.receive_maximum.min(qos2_under_way);
        }
        self.link.set_send_buffer(bytes)
    }

    pub(super) fn into_link(self) -> Link {
        self.link
    }

    /// How many more may be sent, whatever the pace: no more than the broker has granted
    /// `[MQTT5-3.3.4-7]`, packet identifiers must not meet themselves, and what the socket does not
    /// take is not heaped up here.
    pub(super) fn room(&self, under_way: u64) -> u64 {
        let bytes = self.unsent_bytes_max.saturating_sub(self.link.unsent());
        let by_bytes = bytes.div_ceil(self.template.packet_bytes()) as u64;
        let is_counted = self.template.qos() != QoS::AtMostOnce;
        let quota = if is_counted { self.receive_maximum } else { UNDER_WAY_MAX };
        quota.min(UNDER_WAY_MAX).saturating_sub(under_way).min(by_bytes)
    }

    /// Appends the messages with these numbers to what is to be sent.
    pub(super) fn append(&mut self, index: usize, numbers: Range<u64>) {
        for sequence in numbers {
            let mark = Mark { publisher: index as u16, sequence };
            self.template.append(mark, self.link.out());
        }
    }

    /// Reads acknowledgements, of which `sent` are expected in all, and goes on with those of QoS 2.
    pub(super) fn read(
        &mut self,
        scratch: &mut [u8],
        sent: u64,
        qos: QoS,
    ) -> Result<usize, LoadError> {
        let (acknowledged, received) = (&mut self.acknowledged, &mut self.received);
        let faults = &mut self.faults;
        let mut answered = false;
        let bytes = self.link.read(scratch, |frame, out| {
            let packet = frame.type_bits();
            if packet == PacketType::Puback as u8 && qos == QoS::AtLeastOnce {
                count_ack(acknowledged, sent, frame, faults);
            } else if packet == PacketType::Pubrec as u8 && qos == QoS::ExactlyOnce {
                if count_ack(received, sent, frame, faults) {
                    answered |= release(frame, out);
                } else {
                    // A refused message is done with.
                    *acknowledged += 1;
                }
            } else if packet == PacketType::Pubcomp as u8 && *acknowledged < *received {
                *acknowledged += 1;
            } else if !is_of_the_broker(frame) {
                faults.foreign += 1;
            }
        })?;
        if answered {
            self.link.flush()?;
        }
        Ok(bytes)
    }
}

/// Counts a PUBACK or PUBREC, which must be the next in order [MQTT3-4.6.0-2]; whether it says yes.
#[inline]
fn count_ack(count: &mut u64, sent: u64, frame: &Frame<'_>, faults: &mut Faults) -> bool {
    if *count >= sent {
        faults.foreign += 1;
        return true;
    }
    let expected = packets::packet_id(*count).get().to_be_bytes();
    let (id, rest) = frame.body().split_at_checked(2).unwrap_or((&[], &[]));
    let is_refusal = rest.first().is_some_and(|reason| *reason >= REFUSAL);
    if id != expected || is_refusal {
        faults.unacknowledged += 1;
    }
    *count += 1;
    !is_refusal
}

fn release(frame: &Frame<'_>, out: &mut Vec<u8>) -> bool {
    let id = frame.body().first_chunk::<2>();
    id.is_some_and(|id| {
        packets::append_ack(PacketType::Pubrel, *id, out);
        true
    })
}

/// What a client is told without having asked: greetings, and answers to pings.
fn is_of_the_broker(frame: &Frame<'_>) -> bool {
    frame.type_bits() == PacketType::Pingresp as u8
        || frame.type_bits() == PacketType::Disconnect as u8
        || frame.type_bits() == PacketType::Publish as u8
            && packets::arrival(frame) == Arrival::OfTheBroker
}

/// From here on a reason code says no.
const REFUSAL: u8 = 0x80;
const UNDER_WAY_MAX: u64 = 60_000;
const UNSENT_BYTES_MAX: usize = 16 * 1024 * 1024;
