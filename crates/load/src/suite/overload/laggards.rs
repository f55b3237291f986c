//! Receivers that do not keep up: some never read, others a little now and then, and acknowledge it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::{Poll, Token};
use noctule_mqtt::{PacketType, QoS};

use super::Overload;
use crate::LoadError;
use crate::endpoint::Endpoint;
use crate::fleet;
use crate::link::{Link, Opening};
use crate::packets::{self, Arrival};

/// All of them; they leave when this is dropped.
pub(super) struct Laggards {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Laggards {
    /// Number N hears publisher number N of the fleet with this number. Of each level every other one
    /// reads nothing.
    pub(super) fn start(
        address: SocketAddr,
        run: u32,
        overload: Overload,
    ) -> Result<Self, LoadError> {
        let endpoint = Endpoint::from(address);
        let poll = Poll::new().map_err(|error| LoadError::io("cannot poll", error))?;
        let (mut readers, mut deaf) = (Vec::new(), Vec::new());
        for number in 0..usize::from(overload.laggards) {
            let qos = overload.levels[number % overload.levels.len()];
            let mut opening = Opening::connect(&endpoint, &format!("laggard-{number:05}"), 0)?;
            opening.subscribe(&fleet::topic(&endpoint.prefix, run, number), qos)?;
            let link = opening.start(poll.registry(), Token(number))?;
            let reads = (number / overload.levels.len()).is_multiple_of(2);
            if reads { readers.push((link, qos)) } else { deaf.push(link) }
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut scratch = vec![0; BYTES_AT_ONCE];
            while !stopped.load(Ordering::Relaxed) {
                // Whom the broker has thrown out reads no more.
                readers.retain_mut(|(link, qos)| read(link, *qos, &mut scratch).is_ok());
                thread::sleep(EVERY);
            }
            drop((deaf, poll));
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Laggards {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It has nothing to say.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Reads a little and acknowledges it.
fn read(link: &mut Link, qos: QoS, scratch: &mut [u8]) -> Result<(), LoadError> {
    link.read_once(scratch, |frame, out| {
        if frame.type_bits() == PacketType::Pubrel as u8 {
            let id = frame.body().first_chunk::<2>();
            id.into_iter().for_each(|id| packets::append_ack(PacketType::Pubcomp, *id, out));
        } else if let Arrival::Ours { packet_id: Some(id), .. } = packets::arrival(frame) {
            let is_twice = qos == QoS::ExactlyOnce;
            let ack = if is_twice { PacketType::Pubrec } else { PacketType::Puback };
            packets::append_ack(ack, id, out);
        }
    })?;
    link.flush()
}

/// 320 KB a second: what a bad mobile connection takes.
const BYTES_AT_ONCE: usize = 16 * 1024;
const EVERY: Duration = Duration::from_millis(50);
