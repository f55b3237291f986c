//! A subscriber that does not read, and may be told to begin after all.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use noctule_mqtt::{PacketType, QoS, codec};

use super::good::is_timeout;
use crate::LoadError;
use crate::checker::{Faults, Sequence};
use crate::link::Opening;
use crate::packets::{self, Arrival};
use crate::socket::WaitingSocket;

/// Its connection, or what is left of it.
pub(super) struct Deaf {
    stream: WaitingSocket,
}

/// What came when it read.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Drained {
    pub(super) delivered: u64,
    pub(super) faults: Faults,
    /// Whether the broker ended the connection, now or long ago.
    pub(super) thrown_out: bool,
}

impl Deaf {
    /// Connects and subscribes, and reads nothing from then on.
    pub(super) fn connect(
        address: SocketAddr,
        id: &str,
        filter: &str,
        qos: QoS,
    ) -> Result<Self, LoadError> {
        let mut opening = Opening::connect(&address.into(), id, 0)?;
        opening.subscribe(filter, qos)?;
        Ok(Self::after(opening))
    }

    /// Goes on with a connection that has been opened otherwise.
    pub(super) fn after(opening: Opening) -> Self {
        Self { stream: opening.into_stream() }
    }

    /// Comes back to a session that was kept.
    pub(super) fn resume(address: SocketAddr, id: &str) -> Result<Self, LoadError> {
        Opening::resume(&address.into(), id).map(Self::after)
    }

    /// Reads and acknowledges until nothing comes for a while; `sent` says how many messages each
    /// publisher has sent.
    pub(super) fn drain(mut self, sent: &[u64]) -> Result<Drained, LoadError> {
        let failed = |error| LoadError::io("cannot read what was kept for a subscriber", error);
        self.stream.set_patience(SILENCE).map_err(failed)?;
        let mut sequences: Vec<Sequence> = sent.iter().map(|_| Sequence::default()).collect();
        let mut drained = Drained::default();
        let (mut input, mut acks) = (Vec::new(), Vec::new());
        let mut scratch = vec![0; SCRATCH_BYTES];
        loop {
            let count = match self.stream.read(&mut scratch) {
                Ok(count) => count,
                Err(error) if is_timeout(&error) => break,
                Err(_) => 0,
            };
            drained.thrown_out = count == 0;
            if drained.thrown_out {
                break;
            }
            input.extend_from_slice(&scratch[..count]);
            let used = take(&input, sent, &mut sequences, &mut acks, &mut drained)?;
            input.drain(..used);
            if self.stream.write_all(&acks).is_err() {
                drained.thrown_out = true;
                break;
            }
            acks.clear();
        }
        for (sequence, sent) in sequences.iter().zip(sent) {
            drained.delivered += sequence.delivered();
            drained.faults += sequence.faults(*sent);
        }
        Ok(drained)
    }
}

fn take(
    input: &[u8],
    sent: &[u64],
    sequences: &mut [Sequence],
    acks: &mut Vec<u8>,
    drained: &mut Drained,
) -> Result<usize, LoadError> {
    let mut used = 0;
    while let Some(frame) = codec::next_frame(&input[used..], FRAME_BYTES_MAX)
        .map_err(|violation| LoadError::new(format!("the broker sent {violation}")))?
    {
        used += frame.bytes.len();
        if frame.type_bits() != PacketType::Publish as u8 {
            continue;
        }
        match packets::arrival(&frame) {
            Arrival::Ours { mark, packet_id, .. } => {
                packet_id.into_iter().for_each(|id| packets::append_puback(id, acks));
                let publisher = usize::from(mark.publisher);
                match sequences.get_mut(publisher) {
                    Some(sequence) => {
                        sequence.arrived(mark.sequence, sent[publisher]);
                    }
                    None => drained.faults.foreign += 1,
                }
            }
            Arrival::OfTheBroker => {}
            Arrival::Unreadable => drained.faults.foreign += 1,
        }
    }
    Ok(used)
}

const SCRATCH_BYTES: usize = 256 * 1024;
const FRAME_BYTES_MAX: u32 = 16 * 1024 * 1024;
const SILENCE: Duration = Duration::from_secs(2);
