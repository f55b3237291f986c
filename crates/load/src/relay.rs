//! The floor: a program that greets MQTT clients and from then on only moves bytes between the two
//! ends of a pair.
//!
//! It reads CONNECT, SUBSCRIBE and a publisher's first PUBLISH, to learn who belongs together;
//! everything after that it copies unread, both ways, so that at QoS 1 the acknowledgements come
//! from the other end. It is no broker: one subscriber per topic, one topic per publisher, no
//! limits. What a broker costs above this is what its work costs.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use noctule_mqtt::codec::{self, Frame};
use noctule_mqtt::packet::{Connack, Suback};
use noctule_mqtt::{Packet, Properties, ReasonCode, Receiver};

use crate::LoadError;
use crate::packets::{VERSION, encoded};

/// The relay with all its connections.
#[derive(Debug)]
pub struct Relay {
    poll: Poll,
    listener: TcpListener,
    ends: HashMap<usize, End>,
    /// Who subscribed to a topic.
    subscribers: HashMap<String, usize>,
    next: usize,
    scratch: Vec<u8>,
    dirty: Vec<usize>,
}

#[derive(Debug)]
struct End {
    stream: TcpStream,
    out: Vec<u8>,
    written: usize,
    /// Who gets what this end says, once that is known.
    peer: Option<usize>,
    /// Bytes of an unfinished packet while the peer is not known.
    unread: Vec<u8>,
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
            subscribers: HashMap::new(),
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
            let bytes = &scratch[..count];
            match end.peer {
                Some(peer) => self.pass_on(peer, bytes),
                None => self.greet(key, bytes)?,
            }
            if count < scratch.len() && !is_at_end {
                return Ok(());
            }
        }
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
            if let Some(peer) = self.answer(key, &frame)? {
                self.pass_on(peer, &input[at..]);
                return Ok(());
            }
            at += frame.bytes.len();
        }
        input.drain(..at);
        if let Some(end) = self.ends.get_mut(&key) {
            end.unread = input;
        }
        Ok(())
    }

    /// Answers one packet; the peer, if the packet is a publisher's first message.
    fn answer(&mut self, key: usize, frame: &Frame<'_>) -> io::Result<Option<usize>> {
        let packet = codec::decode(frame, VERSION, Receiver::Server)
            .map_err(|violation| unfit(&violation))?;
        let answer = match packet {
            Packet::Connect(_) => Packet::Connack(Connack {
                session_present: false,
                reason: ReasonCode::Success,
                properties: Properties::EMPTY,
            }),
            Packet::Subscribe(subscribe) => {
                for subscription in &subscribe.subscriptions {
                    let filter = subscription.filter.as_str().to_owned();
                    self.subscribers.insert(filter, key);
                }
                let granted = subscribe.subscriptions.iter().map(|s| s.options.qos.bits());
                Packet::Suback(Suback {
                    packet_id: subscribe.packet_id,
                    properties: Properties::EMPTY,
                    reasons: granted.filter_map(ReasonCode::from_byte).collect(),
                })
            }
            Packet::Publish(publish) => {
                let topic = publish.topic.map_or("", |topic| topic.as_str());
                return self.join(key, topic).map(Some);
            }
            Packet::Disconnect(_) => return Err(ErrorKind::UnexpectedEof.into()),
            other => return Err(unfit(&format!("{:?}", other.packet_type()))),
        };
        let bytes = encoded(&answer, VERSION).map_err(|error| unfit(&error))?;
        self.pass_on(key, &bytes);
        Ok(None)
    }

    /// Makes a publisher and the subscriber to its topic a pair.
    fn join(&mut self, publisher: usize, topic: &str) -> io::Result<usize> {
        let subscriber = *self
            .subscribers
            .get(topic)
            .ok_or_else(|| unfit(&format!("nobody subscribed to {topic}")))?;
        for (one, other) in [(publisher, subscriber), (subscriber, publisher)] {
            if let Some(end) = self.ends.get_mut(&one) {
                end.peer = Some(other);
            }
        }
        Ok(subscriber)
    }

    fn forget(&mut self, key: usize) {
        self.ends.remove(&key);
        self.subscribers.retain(|_, subscriber| *subscriber != key);
    }
}

impl End {
    fn new(stream: TcpStream) -> Self {
        Self { stream, out: Vec::new(), written: 0, peer: None, unread: Vec::new() }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }
}

fn unfit(what: &impl std::fmt::Display) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_string())
}

const LISTENER: Token = Token(usize::MAX);
const FRAME_BYTES_MAX: u32 = 16 * 1024 * 1024;
const SCRATCH_BYTES: usize = 256 * 1024;
const EVENTS_MAX: usize = 1024;
