//! Good clients: each sends itself a message at QoS 1, waits until it and its acknowledgement have
//! come, rests a moment, and begins again. Several of them, as a broker with several loops has
//! clients on each. They measure from writing to reading, their own waiting for a processor
//! included, and send nothing while they wait: of one pause they see one long round trip each.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use noctule_mqtt::{PacketType, QoS, codec};

use crate::LoadError;
use crate::checker::{Faults, Sequence};
use crate::link::Opening;
use crate::packets::{self, Arrival, DISCONNECT, Mark, Template};
use crate::socket::WaitingSocket;
use crate::statistics::quantile;

/// Round trips of a phase.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pulse {
    /// How many there were.
    pub count: usize,
    /// Half of them took no longer, in milliseconds; `None` if there were none.
    pub p50_ms: Option<f64>,
    /// 99 of 100 took no longer.
    pub p99_ms: Option<f64>,
    /// The longest.
    pub max_ms: Option<f64>,
}

/// The good clients at work.
pub(super) struct Good {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Result<Record, LoadError>>>,
}

/// What good clients have seen.
#[derive(Debug, Default)]
pub(super) struct Record {
    trips: Vec<Trip>,
    pub(super) faults: Faults,
}

#[derive(Debug, Clone, Copy)]
struct Trip {
    begin: Instant,
    end: Instant,
}

impl Good {
    pub(super) fn start(address: SocketAddr, count: u32, run: u32) -> Result<Self, LoadError> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut good = Self { stop: Arc::clone(&stop), clients: Vec::new() };
        for number in 0..count {
            let mut client = Client::connect(address, run, number)?;
            let stop = Arc::clone(&stop);
            good.clients.push(thread::spawn(move || client.run(&stop)));
        }
        Ok(good)
    }

    /// Lets them finish the round trip they are at.
    pub(super) fn finish(mut self) -> Result<Record, LoadError> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Record::default();
        for client in std::mem::take(&mut self.clients) {
            let one = client.join().map_err(|_| LoadError::new("a good client panicked"))??;
            all.trips.extend(one.trips);
            all.faults += one.faults;
        }
        Ok(all)
    }
}

impl Drop for Good {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Record {
    /// The round trips that a span of time touches.
    pub(super) fn pulse(&self, begin: Instant, end: Instant) -> Pulse {
        let touching = self.trips.iter().filter(|trip| trip.begin < end && trip.end > begin);
        let took = |trip: &Trip| (trip.end - trip.begin).as_secs_f64() * 1_000.0;
        let took: Vec<f64> = touching.map(took).collect();
        Pulse {
            count: took.len(),
            p50_ms: quantile(&took, 0.5),
            p99_ms: quantile(&took, 0.99),
            max_ms: quantile(&took, 1.0),
        }
    }
}

struct Client {
    id: String,
    stream: WaitingSocket,
    input: Vec<u8>,
    template: Template,
    sequence: Sequence,
    acknowledged: u64,
    trips: Vec<Trip>,
}

impl Client {
    fn connect(address: SocketAddr, run: u32, number: u32) -> Result<Self, LoadError> {
        let id = format!("good-{run:08x}-{number}");
        let topic = format!("good/{run:08x}/{number}");
        let mut opening = Opening::connect(&address.into(), &id, 0)?;
        opening.subscribe(&topic, QoS::AtLeastOnce)?;
        let stream = opening.into_stream();
        stream
            .set_patience(GIVE_UP)
            .map_err(|error| LoadError::io("cannot set a timeout", error))?;
        Ok(Self {
            id,
            stream,
            input: Vec::new(),
            template: Template::new(&topic, QoS::AtLeastOnce, PAYLOAD_BYTES)?,
            sequence: Sequence::default(),
            acknowledged: 0,
            trips: Vec::new(),
        })
    }

    fn run(&mut self, stop: &AtomicBool) -> Result<Record, LoadError> {
        let mut sent = 0;
        while !stop.load(Ordering::Relaxed) {
            let begin = Instant::now();
            sent += 1;
            let came = self.round_trip(sent);
            self.trips.push(Trip { begin, end: Instant::now() });
            match came {
                Ok(()) => thread::sleep(REST),
                // What did not come in time is lost, as the count below will show.
                Err(error) if is_timeout(&error) => break,
                Err(error) => {
                    let words = format!("the connection of {} broke", self.id);
                    return Err(LoadError::io(words, error));
                }
            }
        }
        let unacknowledged = sent - self.acknowledged;
        let faults = Faults { unacknowledged, ..self.sequence.faults(sent) };
        // It was asked to end and has what it wanted; a broker that is gone by now has ended too.
        let _ = self.stream.write_all(&DISCONNECT);
        Ok(Record { trips: std::mem::take(&mut self.trips), faults })
    }

    fn round_trip(&mut self, sent: u64) -> io::Result<()> {
        let mut out = Vec::new();
        self.template.append(Mark { publisher: 0, sequence: sent - 1 }, &mut out);
        self.stream.write_all(&out)?;
        while self.sequence.next() < sent || self.acknowledged < sent {
            self.read(sent)?;
        }
        Ok(())
    }

    fn read(&mut self, sent: u64) -> io::Result<()> {
        let mut scratch = [0; 4_096];
        let count = self.stream.read(&mut scratch)?;
        if count == 0 {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.input.extend_from_slice(&scratch[..count]);
        let mut acks = Vec::new();
        let mut used = 0;
        while let Some(frame) = codec::next_frame(&self.input[used..], FRAME_BYTES_MAX)
            .map_err(|violation| io::Error::other(violation.to_string()))?
        {
            used += frame.bytes.len();
            if frame.type_bits() == PacketType::Puback as u8 {
                self.acknowledged += 1;
            } else if frame.type_bits() == PacketType::Publish as u8
                && let Arrival::Ours { mark, packet_id, .. } = packets::arrival(&frame)
            {
                self.sequence.arrived(mark.sequence, sent);
                packet_id.into_iter().for_each(|id| packets::append_puback(id, &mut acks));
            }
        }
        self.input.drain(..used);
        self.stream.write_all(&acks)
    }
}

pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

const PAYLOAD_BYTES: usize = 64;
const FRAME_BYTES_MAX: u32 = 1 << 20;
/// Between two messages of a client.
const REST: Duration = Duration::from_millis(2);
/// Longer than any pause that could still be called one.
const GIVE_UP: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_counts_in_every_phase_it_touches() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let trip = |from, to| Trip { begin: at(from), end: at(to) };
        let trips = vec![trip(0, 1), trip(3, 4), trip(6, 106), trip(108, 109)];
        let record = Record { trips, faults: Faults::default() };
        let calm = record.pulse(at(0), at(5));
        assert_eq!((calm.count, calm.max_ms), (2, Some(1.0)));
        for (from, to) in [(5, 7), (50, 60), (100, 200)] {
            assert_eq!(record.pulse(at(from), at(to)).max_ms, Some(100.0), "{from}–{to}");
        }
        assert_eq!(record.pulse(at(300), at(400)), Pulse::default());
    }
}
