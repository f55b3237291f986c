//! A connection that is opened without waiting, as one of many: TCP, CONNECT, CONNACK.

use std::io::{Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use noctule_mqtt::PacketType;
use noctule_mqtt::codec::{self, Frame};

use crate::LoadError;

/// A client on its way in.
#[derive(Debug)]
pub(super) struct Caller {
    stream: TcpStream,
    state: State,
    input: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// TCP is not through yet.
    Calling,
    /// CONNECT is sent.
    Asking,
    /// CONNACK said yes.
    In,
}

/// What a turn brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing of note.
    Nothing,
    /// CONNACK said yes.
    LetIn,
    /// CONNACK said no.
    Refused,
    /// The connection has ended.
    Gone,
}

impl Caller {
    /// Begins to connect.
    pub(super) fn call(
        address: SocketAddr,
        registry: &Registry,
        token: Token,
    ) -> Result<Self, LoadError> {
        let called = TcpStream::connect(address).and_then(|mut stream| {
            registry.register(&mut stream, token, Interest::READABLE.add(Interest::WRITABLE))?;
            Ok(stream)
        });
        let stream =
            called.map_err(|error| LoadError::io(format!("cannot connect to {address}"), error))?;
        Ok(Self { stream, state: State::Calling, input: Vec::new() })
    }

    pub(super) fn is_in(&self) -> bool {
        self.state == State::In
    }

    /// Sends something short. Whoever reads at all has room for it.
    pub(super) fn say(&mut self, bytes: &[u8]) -> bool {
        matches!(self.stream.write(bytes), Ok(count) if count == bytes.len())
    }

    /// Does what can be done now: says CONNECT, reads, and hands on what comes after CONNACK.
    pub(super) fn turn(
        &mut self,
        connect: &[u8],
        scratch: &mut [u8],
        each: impl FnMut(&Frame<'_>, &mut Vec<u8>),
    ) -> Step {
        if self.state == State::Calling {
            match (self.stream.take_error(), self.stream.peer_addr()) {
                (Ok(None), Ok(_)) => {}
                (Ok(None), Err(error)) if error.kind() == std::io::ErrorKind::NotConnected => {
                    return Step::Nothing;
                }
                _ => return Step::Gone,
            }
            // It costs a little time at worst.
            let _ = self.stream.set_nodelay(true);
            self.state = State::Asking;
            if !self.say(connect) {
                return Step::Gone;
            }
        }
        self.read(scratch, each)
    }

    fn read(&mut self, scratch: &mut [u8], mut each: impl FnMut(&Frame<'_>, &mut Vec<u8>)) -> Step {
        let mut step = Step::Nothing;
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Step::Gone,
                Ok(count) => self.input.extend_from_slice(&scratch[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return step,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return Step::Gone,
            }
            let mut used = 0;
            let mut out = Vec::new();
            while let Ok(Some(frame)) = codec::next_frame(&self.input[used..], FRAME_BYTES_MAX) {
                used += frame.bytes.len();
                if self.state == State::In {
                    each(&frame, &mut out);
                } else if is_welcome(&frame) {
                    self.state = State::In;
                    step = Step::LetIn;
                } else {
                    return Step::Refused;
                }
            }
            self.input.drain(..used);
            if self.input.is_empty() {
                // Thousands of these wait at once.
                self.input = Vec::new();
            }
            if !out.is_empty() && !self.say(&out) {
                return Step::Gone;
            }
        }
    }
}

/// A CONNACK of version 3.1.1 that says yes.
fn is_welcome(frame: &Frame<'_>) -> bool {
    frame.type_bits() == PacketType::Connack as u8 && frame.body().get(1) == Some(&0)
}

const FRAME_BYTES_MAX: u32 = 1 << 20;
