//! The persistent subscriber: checks and acknowledges what comes, at once or when it is back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use noctule_mqtt::PacketType;

use crate::LoadError;
use crate::checker::{Faults, Sequence};
use crate::link::{Link, Opening};
use crate::packets::{self, Arrival};

/// It, and what it has got.
#[derive(Debug)]
pub(super) struct Listener {
    link: Link,
    sequences: Vec<Sequence>,
    foreign: u64,
}

impl Listener {
    /// One that hears so many publishers.
    pub(super) fn new(link: Link, publishers: usize) -> Self {
        let sequences = (0..publishers).map(|_| Sequence::default()).collect();
        Self { link, sequences, foreign: 0 }
    }

    /// Comes back to the session and takes what is owed, when each publisher has sent so much; how
    /// long that took, and what was wrong with it.
    pub(super) fn drain(
        address: SocketAddr,
        sent: &[u64],
    ) -> Result<(Duration, Faults), LoadError> {
        let mut poll = Poll::new().map_err(|error| LoadError::io("cannot poll", error))?;
        let begin = Instant::now();
        let link = Opening::resume(&address.into(), OWED)?.start(poll.registry(), Token(0))?;
        let mut listener = Self::new(link, sent.len());
        let mut events = Events::with_capacity(1);
        let mut scratch = vec![0; SCRATCH_BYTES];
        let mut heard_at = begin;
        // What came right behind CONNACK has been announced before anybody polled.
        while !listener.has_all(sent) && heard_at.elapsed() < STALL {
            if listener.read(&mut scratch, |index| sent.get(index).copied())? > 0 {
                heard_at = Instant::now();
            }
            listener.link.flush()?;
            if let Err(error) = poll.poll(&mut events, Some(TICK))
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                return Err(LoadError::io("cannot poll", error));
            }
        }
        let faults = listener.faults(sent);
        let gone = |error| LoadError::io("a subscriber cannot leave", error);
        listener.link.disconnect().map_err(gone)?;
        Ok((heard_at - begin, faults))
    }

    /// Its connection.
    pub(super) fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// One more than the highest number that came from a publisher.
    pub(super) fn next(&self, publisher: usize) -> u64 {
        self.sequences[publisher].next()
    }

    /// What went wrong, if nothing more comes.
    pub(super) fn faults(&self, sent: &[u64]) -> Faults {
        let mut faults = Faults { foreign: self.foreign, ..Faults::default() };
        for (sequence, sent) in self.sequences.iter().zip(sent) {
            faults += sequence.faults(*sent);
        }
        faults
    }

    fn has_all(&self, sent: &[u64]) -> bool {
        self.sequences.iter().zip(sent).all(|(sequence, sent)| sequence.delivered() == *sent)
    }

    /// Reads what is there; `sent` says what a publisher has sent.
    pub(super) fn read(
        &mut self,
        scratch: &mut [u8],
        sent: impl Fn(usize) -> Option<u64>,
    ) -> Result<usize, LoadError> {
        let (sequences, foreign) = (&mut self.sequences, &mut self.foreign);
        self.link.read(scratch, |frame, out| {
            if frame.type_bits() != PacketType::Publish as u8 {
                *foreign += 1;
                return;
            }
            match packets::arrival(frame) {
                Arrival::Ours { mark, packet_id: Some(id), .. } => {
                    packets::append_puback(id, out);
                    let index = usize::from(mark.publisher);
                    match (sequences.get_mut(index), sent(index)) {
                        (Some(sequence), Some(sent)) => {
                            sequence.arrived(mark.sequence, sent);
                        }
                        _ => *foreign += 1,
                    }
                }
                Arrival::OfTheBroker => {}
                Arrival::Ours { packet_id: None, .. } | Arrival::Unreadable => *foreign += 1,
            }
        })
    }
}

/// The client that is owed everything.
pub(super) const OWED: &str = "owed";
/// What it has subscribed to.
pub(super) const FILTER: &str = "durable/+";

const SCRATCH_BYTES: usize = 256 * 1024;
const TICK: Duration = Duration::from_millis(20);
/// How long nothing may come before what is missing is given up as lost.
const STALL: Duration = Duration::from_secs(5);
