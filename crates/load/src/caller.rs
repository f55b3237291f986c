//! A connection that is opened without waiting, as one of many: TCP, perhaps TLS, CONNECT, CONNACK.
//!
//! What comes after CONNACK is handed on; what it means is not known here.

use std::io::{self, Read, Write};

use mio::{Registry, Token};
use noctule_mqtt::PacketType;
use noctule_mqtt::codec::{self, Frame};

use crate::LoadError;
use crate::carrier::Carrier;
use crate::endpoint::Endpoint;

/// A client on its way in.
#[derive(Debug)]
pub(crate) struct Caller {
    carrier: Carrier,
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
pub(crate) enum Step {
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
    pub(crate) fn call(
        endpoint: &Endpoint,
        registry: &Registry,
        token: Token,
    ) -> Result<Self, LoadError> {
        let carrier = Carrier::dial(endpoint, registry, token)?;
        Ok(Self { carrier, state: State::Calling, input: Vec::new() })
    }

    /// Whether TLS went on from an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        self.carrier.is_resumed()
    }

    pub(crate) fn is_in(&self) -> bool {
        self.state == State::In
    }

    /// Sends something short. Whoever reads at all has room for it.
    pub(crate) fn say(&mut self, bytes: &[u8]) -> bool {
        matches!(self.carrier.write(bytes), Ok(count) if count == bytes.len())
    }

    /// Does what can be done now: says CONNECT, reads, and hands on what comes after CONNACK.
    pub(crate) fn turn(
        &mut self,
        connect: &[u8],
        scratch: &mut [u8],
        each: impl FnMut(&Frame<'_>, &mut Vec<u8>),
    ) -> Step {
        if self.state == State::Calling {
            match self.carrier.socket().is_connected() {
                Ok(true) => {}
                Ok(false) => return Step::Nothing,
                Err(_) => return Step::Gone,
            }
            self.carrier.socket().set_nodelay();
            self.state = State::Asking;
            if !self.say(connect) {
                return Step::Gone;
            }
        }
        match self.carrier.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Step::Gone,
            _ => self.read(scratch, each),
        }
    }

    fn read(&mut self, scratch: &mut [u8], mut each: impl FnMut(&Frame<'_>, &mut Vec<u8>)) -> Step {
        let mut step = Step::Nothing;
        loop {
            match self.carrier.read(scratch) {
                Ok(0) => return Step::Gone,
                Ok(count) => self.input.extend_from_slice(&scratch[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return step,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
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

/// A CONNACK that says yes, in the same place in all versions.
fn is_welcome(frame: &Frame<'_>) -> bool {
    frame.type_bits() == PacketType::Connack as u8 && frame.body().get(1) == Some(&0)
}

const FRAME_BYTES_MAX: u32 = 1 << 20;
