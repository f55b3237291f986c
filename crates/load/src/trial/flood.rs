//! A flood: publishers that send as fast as the broker reads, from one thread, so that it does not
//! take the processor from the good clients. Subscribers that read may listen to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use noctule_mqtt::{PacketType, QoS};

use crate::LoadError;
use crate::checker::{Faults, Sequence};
use crate::link::{Link, Opening};
use crate::packets::{self, Arrival, Mark, Template};

/// What a flood is like.
#[derive(Debug, Clone)]
pub(super) struct FloodPlan {
    /// Publisher number N sends to `{topic}/N`.
    pub(super) topic: String,
    pub(super) publishers: u16,
    pub(super) qos: QoS,
    pub(super) payload_bytes: usize,
    /// How much each sends; as much as it can until it is stopped, if nothing is said.
    pub(super) messages_each: Option<u64>,
    /// Whether each topic has a subscriber who reads.
    pub(super) heard: bool,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Flooded {
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
    /// To subscribers who read.
    pub(super) delivered: u64,
    /// Connections that the broker ended.
    pub(super) thrown_out: u64,
    /// Of messages to subscribers who read.
    pub(super) faults: Faults,
    pub(super) seconds: f64,
}

/// A flood under way.
pub(super) struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Flooded, LoadError>>>,
}

impl Flood {
    /// Connects everybody, then begins.
    pub(super) fn start(address: SocketAddr, plan: FloodPlan, run: u32) -> Result<Self, LoadError> {
        let mut crew = Crew::connect(address, plan, run)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = Some(thread::spawn(move || crew.run(&stopped)));
        Ok(Self { stop, thread })
    }

    /// Ends it now and waits for what is under way.
    pub(super) fn stop(self) -> Result<Flooded, LoadError> {
        self.stop.store(true, Ordering::Relaxed);
        self.wait()
    }

    /// Waits until each publisher has sent what it was to send, and for what is under way.
    pub(super) fn wait(mut self) -> Result<Flooded, LoadError> {
        let thread = self.thread.take();
        let joined = thread.map(JoinHandle::join);
        joined
            .and_then(Result::ok)
            .unwrap_or_else(|| Err(LoadError::new("the flood's thread panicked")))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Crew {
    plan: FloodPlan,
    poll: Poll,
    publishers: Vec<Publisher>,
    listeners: Vec<Listener>,
    scratch: Vec<u8>,
}

struct Publisher {
    /// None once the broker has ended it.
    link: Option<Link>,
    template: Template,
    sent: u64,
    acknowledged: u64,
}

struct Listener {
    link: Option<Link>,
    sequence: Sequence,
    foreign: u64,
}

impl Crew {
    fn connect(address: SocketAddr, plan: FloodPlan, run: u32) -> Result<Self, LoadError> {
        let poll = Poll::new().map_err(|error| LoadError::io("cannot poll", error))?;
        let (mut publishers, mut listeners) = (Vec::new(), Vec::new());
        for number in 0..plan.publishers {
            let topic = format!("{}/{number}", plan.topic);
            let token = usize::from(number);
            if plan.heard {
                let id = format!("heard-{run:08x}-{number}");
                let mut opening = Opening::connect(&address.into(), &id, 0)?;
                opening.subscribe(&topic, plan.qos)?;
                let token = Token(usize::from(plan.publishers) + token);
                let link = Some(opening.start(poll.registry(), token)?);
                listeners.push(Listener { link, sequence: Sequence::default(), foreign: 0 });
            }
            let id = format!("flood-{run:08x}-{number}");
            let opening = Opening::connect(&address.into(), &id, 0)?;
            publishers.push(Publisher {
                link: Some(opening.start(poll.registry(), Token(token))?),
                template: Template::new(&topic, plan.qos, plan.payload_bytes)?,
                sent: 0,
                acknowledged: 0,
            });
        }
        Ok(Self { plan, poll, publishers, listeners, scratch: vec![0; SCRATCH_BYTES] })
    }

    fn run(&mut self, stop: &AtomicBool) -> Result<Flooded, LoadError> {
        let begin = Instant::now();
        let mut events = Events::with_capacity(1_024);
        let mut seconds = None;
        let mut heard_at = begin;
        loop {
            let over = stop.load(Ordering::Relaxed);
            let progress = !over && self.send();
            let finished = over || self.publishers.iter().all(|one| one.is_done(&self.plan));
            if finished && seconds.is_none() {
                seconds = Some(begin.elapsed().as_secs_f64());
                heard_at = Instant::now();
            }
            if seconds.is_some() && (self.is_quiet() || heard_at.elapsed() > SILENCE) {
                break;
            }
            let wait = if progress { Duration::ZERO } else { TICK };
            if self.turn(&mut events, wait)? {
                heard_at = Instant::now();
            }
        }
        Ok(self.flooded(seconds.unwrap_or_default()))
    }

    /// Whether anybody could send something.
    fn send(&mut self) -> bool {
        let mut progress = false;
        for (number, publisher) in self.publishers.iter_mut().enumerate() {
            progress |= publisher.send(number as u16, &self.plan);
        }
        progress
    }

    /// Polls once and reads what came; whether anything did.
    fn turn(&mut self, events: &mut Events, wait: Duration) -> Result<bool, LoadError> {
        if let Err(error) = self.poll.poll(events, Some(wait))
            && error.kind() != std::io::ErrorKind::Interrupted
        {
            return Err(LoadError::io("cannot poll", error));
        }
        let mut came = 0;
        for event in &*events {
            let index = event.token().0;
            came += match self.publishers.get_mut(index) {
                Some(publisher) => publisher.turn(&mut self.scratch),
                None => {
                    let index = index - self.publishers.len();
                    let sent = self.publishers[index].sent;
                    self.listeners[index].turn(&mut self.scratch, sent)
                }
            };
        }
        Ok(came > 0)
    }

    /// Whether nothing is under way any more. At QoS 0 nobody knows what still comes.
    fn is_quiet(&self) -> bool {
        let is_acked = |one: &Publisher| {
            one.link.as_ref().is_none_or(|link| {
                link.unsent() == 0
                    && (self.plan.qos == QoS::AtMostOnce || one.acknowledged == one.sent)
            })
        };
        let heard = self.listeners.iter().zip(&self.publishers);
        self.publishers.iter().all(is_acked)
            && heard.into_iter().all(|(listener, publisher)| {
                listener.link.is_none() || listener.sequence.delivered() == publisher.sent
            })
    }

    fn flooded(&self, seconds: f64) -> Flooded {
        let mut flooded = Flooded { seconds, ..Flooded::default() };
        for publisher in &self.publishers {
            flooded.sent += publisher.sent;
            flooded.acknowledged += publisher.acknowledged;
            flooded.thrown_out += u64::from(publisher.link.is_none());
            if self.plan.qos != QoS::AtMostOnce {
                flooded.faults.unacknowledged +=
                    publisher.sent.saturating_sub(publisher.acknowledged);
            }
        }
        for (listener, publisher) in self.listeners.iter().zip(&self.publishers) {
            flooded.delivered += listener.sequence.delivered();
            flooded.thrown_out += u64::from(listener.link.is_none());
            flooded.faults += listener.sequence.faults(publisher.sent);
            flooded.faults.foreign += listener.foreign;
        }
        flooded
    }
}

impl Publisher {
    fn is_done(&self, plan: &FloodPlan) -> bool {
        self.link.is_none() || plan.messages_each.is_some_and(|each| self.sent >= each)
    }

    fn send(&mut self, number: u16, plan: &FloodPlan) -> bool {
        let left = plan.messages_each.map_or(u64::MAX, |each| each.saturating_sub(self.sent));
        let window = if plan.qos == QoS::AtMostOnce {
            u64::MAX
        } else {
            WINDOW.saturating_sub(self.sent - self.acknowledged)
        };
        let room = (WRITE_BYTES / plan.payload_bytes.max(1)).max(1) as u64;
        let count = left.min(window).min(room);
        let Some(link) = self.link.as_mut().filter(|link| link.unsent() == 0 && count > 0) else {
            return false;
        };
        for sequence in self.sent..self.sent + count {
            self.template.append(Mark { publisher: number, sequence }, link.out());
        }
        self.sent += count;
        if link.flush().is_err() {
            self.link = None;
        }
        true
    }

    fn turn(&mut self, scratch: &mut [u8]) -> usize {
        let acknowledged = &mut self.acknowledged;
        read(&mut self.link, scratch, |frame, _| {
            *acknowledged += u64::from(frame.type_bits() == PacketType::Puback as u8);
        })
    }
}

impl Listener {
    fn turn(&mut self, scratch: &mut [u8], sent: u64) -> usize {
        let (sequence, foreign) = (&mut self.sequence, &mut self.foreign);
        read(&mut self.link, scratch, |frame, out| match packets::arrival(frame) {
            Arrival::Ours { mark, packet_id, .. } => {
                sequence.arrived(mark.sequence, sent);
                packet_id.into_iter().for_each(|id| packets::append_puback(id, out));
            }
            Arrival::OfTheBroker => {}
            Arrival::Unreadable => *foreign += 1,
        })
    }
}

/// Reads and writes what a connection can; one that is lost is let go.
fn read(
    link: &mut Option<Link>,
    scratch: &mut [u8],
    each: impl FnMut(&noctule_mqtt::codec::Frame<'_>, &mut Vec<u8>),
) -> usize {
    let Some(open) = link else {
        return 0;
    };
    let came = open.read(scratch, each).and_then(|bytes| open.flush().map(|()| bytes));
    came.unwrap_or_else(|_| {
        *link = None;
        0
    })
}

const SCRATCH_BYTES: usize = 256 * 1024;
/// A publisher's write.
const WRITE_BYTES: usize = 32 * 1024;
/// Messages at QoS 1 that a publisher has under way.
const WINDOW: u64 = 500;
/// How long nothing may come before what is under way is given up as lost.
const SILENCE: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(20);
