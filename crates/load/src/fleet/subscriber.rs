//! One subscriber: checks what comes, and acknowledges it.

use std::ops::Range;
use std::time::Instant;

use noctule_mqtt::{PacketType, ProtocolVersion, QoS};

use super::stopwatch::Stopwatch;
use crate::LoadError;
use crate::checker::Sequence;
use crate::link::Link;
use crate::packets::{self, Arrival};
use crate::plan::Plan;

#[derive(Debug)]
pub(super) struct Subscriber {
    link: Link,
    /// Of each publisher heard, from `heard.start` on.
    sequences: Vec<Sequence>,
    heard: Range<usize>,
    pub(super) foreign: u64,
    has_acks: bool,
}

impl Subscriber {
    pub(super) fn new(link: Link, heard: Range<usize>) -> Self {
        let sequences = heard.clone().map(|_| Sequence::default()).collect();
        Self { link, sequences, heard, foreign: 0, has_acks: false }
    }

    pub(super) fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    pub(super) fn into_link(self) -> Link {
        self.link
    }

    /// Which publishers are heard.
    pub(super) fn heard(&self) -> &Range<usize> {
        &self.heard
    }

    /// The checker of a publisher that is heard.
    pub(super) fn sequence(&self, publisher: usize) -> &Sequence {
        &self.sequences[publisher - self.heard.start]
    }

    pub(super) fn sequences(&self) -> impl Iterator<Item = (usize, &Sequence)> {
        self.heard.clone().zip(&self.sequences)
    }

    /// Sends the acknowledgements of what was read.
    pub(super) fn flush_acks(&mut self) -> Result<(), LoadError> {
        if std::mem::take(&mut self.has_acks) { self.link.flush() } else { Ok(()) }
    }

    /// Reads and checks what came, when `sent` messages were sent by each publisher.
    pub(super) fn read(
        &mut self,
        scratch: &mut [u8],
        sent: &[u64],
        plan: &Plan,
        version: ProtocolVersion,
        mut stopwatch: Option<&mut Stopwatch>,
    ) -> Result<usize, LoadError> {
        let (sequences, heard) = (&mut self.sequences, self.heard.clone());
        let (foreign, has_acks) = (&mut self.foreign, &mut self.has_acks);
        // One look at the clock for all that lies in the socket.
        let now = stopwatch.as_ref().map(|_| Instant::now());
        let bytes = self.link.read(scratch, |frame, out| {
            if frame.type_bits() != PacketType::Publish as u8 {
                *has_acks |= is_release(frame.type_bits(), frame.body(), out);
                *foreign += u64::from(!is_expected(frame.type_bits(), plan.qos));
                return;
            }
            match packets::arrival_of_version(frame, version) {
                Arrival::OfTheBroker => {}
                Arrival::Unreadable => *foreign += 1,
                Arrival::Ours { mark, packet_id, payload_bytes } => {
                    let qos = frame.flags() >> 1 & 0b11;
                    if let Some(id) = packet_id {
                        let is_twice = qos == QoS::ExactlyOnce.bits();
                        let ack = if is_twice { PacketType::Pubrec } else { PacketType::Puback };
                        packets::append_ack(ack, id, out);
                        *has_acks = true;
                    }
                    let publisher = usize::from(mark.publisher);
                    let as_sent = payload_bytes == plan.payload_bytes && qos == plan.qos.bits();
                    if !as_sent || !heard.contains(&publisher) {
                        *foreign += 1;
                        return;
                    }
                    let sequence = &mut sequences[publisher - heard.start];
                    let is_new = sequence.arrived(mark.sequence, sent[publisher]);
                    if let (Some(stopwatch), Some(now), true) = (&mut stopwatch, now, is_new) {
                        stopwatch.arrived(publisher, mark.sequence, now);
                    }
                }
            }
        })?;
        if let Some(stopwatch) = stopwatch {
            stopwatch.note();
        }
        Ok(bytes)
    }
}

/// Answers PUBREL; whether it was one.
fn is_release(packet: u8, body: &[u8], out: &mut Vec<u8>) -> bool {
    match body.first_chunk::<2>() {
        Some(id) if packet == PacketType::Pubrel as u8 => {
            packets::append_ack(PacketType::Pubcomp, *id, out);
            true
        }
        _ => false,
    }
}

/// Whether a packet that is no PUBLISH may come here. A DISCONNECT is told of when the connection
/// ends.
fn is_expected(packet: u8, qos: QoS) -> bool {
    packet == PacketType::Pingresp as u8
        || packet == PacketType::Disconnect as u8
        || packet == PacketType::Pubrel as u8 && qos == QoS::ExactlyOnce
}
