//! The floor: a program that greets MQTT clients and from then on only moves bytes between those
//! who belong together.
//!
//! It reads CONNECT, SUBSCRIBE and a publisher's first PUBLISH, to learn who belongs together;
//! everything after that it copies unread, both ways, so that above QoS 0 the acknowledgements come
//! from the other end. Of several subscribers to a topic the first one's acknowledgements are passed
//! on. Only where several publishers share a subscriber it looks at the lengths of packets, so as not
//! to mix them, and hands acknowledgements back in the order in which it was written to (`end`).
//! It is no broker: one topic per publisher, no limits, no TLS. What a broker costs above this is
//! what its work costs.

mod end;

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use noctule_mqtt::codec::{self, Frame};
use noctule_mqtt::packet::{Connack, Publish, Suback};
use noctule_mqtt::{Packet, Properties, QoS, ReasonCode, Receiver, TopicFilter};

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::LoadError;
use crate::packets::encoded;
use end::{End, Part};

/// Runs a relay on a port of the loopback interface, says on standard output where it listens, as
/// Noctule does, and ends with whoever started this process.
///
/// # Errors
/// If the port is taken, or polling fails.
pub fn serve(port: u16) -> Result<(), LoadError> {
    set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|error| LoadError::io("cannot be bound to the parent process", error.into()))?;
    let mut relay = Relay::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    println!("listening on {} (MQTT)", relay.address()?);
    relay.serve()
}

/// The relay with all its connections.
#[derive(Debug)]
pub struct Relay {
    poll: Poll,
    listener: TcpListener,
    ends: HashMap<usize, End>,
    /// Who subscribed to what, in the order in which they came.
    subscriptions: Vec<(String, usize)>,
    next: usize,
    scratch: Vec<u8>,
    dirty: Vec<usize>,
}

impl Relay {
    /// Listens on `address`.
    ///
    /// # Errors
    /// If the port is taken.
    pub fn bind(address: SocketAddr) -> Result<Self, LoadError> {
        let bound = || {
            let poll = Poll::new()?;
            let mut listener = TcpListener::bind(address)?;
            poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
            Ok((poll, listener))
        };
        let (poll, listener) =
            bound().map_err(|error| LoadError::io(format!("cannot listen on {address}"), error))?;
        Ok(Self {
            poll,
            listener,
            ends: HashMap::new(),
            subscriptions: Vec::new(),
            next: 0,
            scratch: vec![0; SCRATCH_BYTES],
            dirty: Vec::new(),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the socket is gone.
    pub fn address(&self) -> Result<SocketAddr, LoadError> {
        self.listener.local_addr().map_err(|error| LoadError::io("the relay has no address", error))
    }

    /// Moves bytes until polling fails.
    ///
    /// # Errors
    /// Always, in the end.
    pub fn serve(&mut self) -> Result<(), LoadError> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            self.turn(&mut events, None)?;
        }
    }

    /// Waits for readiness, at most `wait`, and moves what is there.
    ///
    /// # Errors
    /// If polling or accepting fails.
    pub fn turn(&mut self, events: &mut Events, wait: Option<Duration>) -> Result<(), LoadError> {
        match self.poll.poll(events, wait) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                return Err(LoadError::io("cannot poll", error));
            }
            _ => {}
        }
        for event in &*events {
            if event.token() == LISTENER {
                self.accept()?;
                continue;
            }
            let key = event.token().0;
            if event.is_writable() {
                self.dirty.push(key);
            }
            if self.read(key, event.is_read_closed()).is_err() {
                self.forget(key);
            }
        }
        for key in std::mem::take(&mut self.dirty) {
            if self.ends.get_mut(&key).is_some_and(|end| end.flush().is_err()) {
                self.forget(key);
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<(), LoadError> {
        loop {
            let accepted = match self.listener.accept() {
                Ok((stream, _)) => self.register(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => Err(error),
            };
            accepted.map_err(|error| LoadError::io("cannot accept", error))?;
        }
    }

    fn register(&mut self, mut stream: TcpStream) -> io::Result<()> {
        let key = self.next;
        self.next += 1;
        stream.set_nodelay(true)?;
        let both = Interest::READABLE.add(Interest::WRITABLE);
        self.poll.registry().register(&mut stream, Token(key), both)?;
        self.ends.insert(key, End::new(stream));
        Ok(())
    }

    /// Reads an end until it is drained; an error if it is closed. Readiness is reported at its
    /// edge: when the end of the stream came with the last bytes, nothing will be reported again.
    fn read(&mut self, key: usize, is_at_end: bool) -> io::Result<()> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let result = self.read_through(key, is_at_end, &mut scratch);
        self.scratch = scratch;
        result
    }

    fn read_through(&mut self, key: usize, is_at_end: bool, scratch: &mut [u8]) -> io::Result<()> {
        loop {
            let Some(end) = self.ends.get_mut(&key) else {
                return Ok(());
            };
            let count = match end.stream.read(scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.take(key, &scratch[..count])?;
            if count < scratch.len() && !is_at_end {
                return Ok(());
            }
        }
    }

    /// Moves what an end has said to where it belongs.
    fn take(&mut self, key: usize, bytes: &[u8]) -> io::Result<()> {
        let Some(end) = self.ends.get_mut(&key) else {
            return Ok(());
        };
        match &end.part {
            Part::Stranger => return self.greet(key, bytes),
            Part::Idle => {}
            Part::Copied(to) => {
                let to = to.clone();
                to.iter().for_each(|peer| self.pass_on(*peer, bytes));
            }
            Part::Whole { to, is_answered } => {
                let (to, is_answered) = (*to, *is_answered);
                let (packets, count) = end.whole(bytes)?;
                self.pass_on(to, &packets);
                if is_answered && let Some(peer) = self.ends.get_mut(&to) {
                    peer.expect(key, count);
                }
            }
            Part::Answering => {
                for (to, answers) in end.answers(bytes)? {
                    self.pass_on(to, &answers);
                }
            }
        }
        Ok(())
    }

    fn pass_on(&mut self, peer: usize, bytes: &[u8]) {
        // A peer that is gone needs nothing any more.
        if let Some(end) = self.ends.get_mut(&peer) {
            end.out.extend_from_slice(bytes);
            self.dirty.push(peer);
        }
    }

    /// Reads packets until one shows whom this end talks to; the rest is passed on unread.
    fn greet(&mut self, key: usize, bytes: &[u8]) -> io::Result<()> {
        let Some(end) = self.ends.get_mut(&key) else {
            return Ok(());
        };
        let mut input = std::mem::take(&mut end.unread);
        input.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(frame) =
            codec::next_frame(&input[at..], FRAME_BYTES_MAX).map_err(|v| unfit(&v))?
        {
            if self.answer(key, &frame)? {
                return self.take(key, &input[at..]);
            }
            at += frame.bytes.len();
        }
        input.drain(..at);
        if let Some(end) = self.ends.get_mut(&key) {
            end.unread = input;
        }
        Ok(())
    }

    /// Answers one packet; whether it has shown whom this end talks to, and is for them.
    fn answer(&mut self, key: usize, frame: &Frame<'_>) -> io::Result<bool> {
        let Some(end) = self.ends.get_mut(&key) else {
            return Ok(false);
        };
        let packet = codec::decode(frame, end.version, Receiver::Server)
            .map_err(|violation| unfit(&violation))?;
        let answer = match packet {
            Packet::Connect(connect) => {
                end.version = connect.version;
                Packet::Connack(Connack {
                    session_present: false,
                    reason: ReasonCode::Success,
                    properties: Properties::EMPTY,
                })
            }
            Packet::Subscribe(subscribe) => {
                for subscription in &subscribe.subscriptions {
                    let filter = subscription.filter.as_str().to_owned();
                    self.subscriptions.push((filter, key));
                }
                let granted = subscribe.subscriptions.iter().map(|s| s.options.qos.bits());
                Packet::Suback(Suback {
                    packet_id: subscribe.packet_id,
                    properties: Properties::EMPTY,
                    reasons: granted.filter_map(ReasonCode::from_byte).collect(),
                })
            }
            Packet::Publish(publish) => {
                return self.join(key, &publish).map(|()| true);
            }
            Packet::Pingreq => Packet::Pingresp,
            Packet::Disconnect(_) => return Err(ErrorKind::UnexpectedEof.into()),
            other => return Err(unfit(&format!("{:?}", other.packet_type()))),
        };
        let bytes = encoded(&answer, end.version).map_err(|error| unfit(&error))?;
        self.pass_on(key, &bytes);
        Ok(false)
    }

    /// Brings a publisher together with those who subscribed to its topic.
    fn join(&mut self, publisher: usize, publish: &Publish<'_>) -> io::Result<()> {
        let topic = publish.topic.ok_or_else(|| unfit(&"a message without a topic"))?;
        let matches = |filter: &str| TopicFilter::new(filter).is_ok_and(|f| f.matches(topic));
        let found = self.subscriptions.iter().filter(|(filter, _)| matches(filter));
        let found: Vec<_> = found.map(|(filter, key)| (filter.contains('+'), *key)).collect();
        let Some(&(is_shared, first)) = found.first() else {
            return Err(unfit(&format!("nobody subscribed to {}", topic.as_str())));
        };
        let is_answered = publish.qos != QoS::AtMostOnce;
        let part = if is_shared {
            Part::Whole { to: first, is_answered }
        } else {
            Part::Copied(found.iter().map(|(_, key)| *key).collect())
        };
        self.set_part(publisher, part);
        for (at, (_, key)) in found.iter().enumerate() {
            self.set_part(
                *key,
                match (at, is_shared) {
                    (0, true) => Part::Answering,
                    (0, false) => Part::Copied([publisher].into()),
                    // Its acknowledgements would be more than one for a message.
                    _ => Part::Idle,
                },
            );
        }
        Ok(())
    }

    fn set_part(&mut self, key: usize, part: Part) {
        if let Some(end) = self.ends.get_mut(&key) {
            end.part = part;
        }
    }

    fn forget(&mut self, key: usize) {
        self.ends.remove(&key);
        self.subscriptions.retain(|(_, subscriber)| *subscriber != key);
    }
}

fn unfit(what: &impl std::fmt::Display) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_string())
}

const LISTENER: Token = Token(usize::MAX);
const FRAME_BYTES_MAX: u32 = 16 * 1024 * 1024;
const SCRATCH_BYTES: usize = 256 * 1024;
const EVENTS_MAX: usize = 1024;
