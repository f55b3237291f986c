//! One connection to the broker under test: opened blocking, driven non-blocking.
//!
//! Bytes in become frames, bytes out wait here until the socket takes them. What the frames mean is
//! not known here. The invariant: frames are handed on whole and in order, however they were cut.

use std::io::{self, Read, Write};
use std::time::Duration;

use mio::{Registry, Token};
use noctule_mqtt::codec::{self, Frame, FrameBuffer};
use noctule_mqtt::{Packet, PacketType, Properties, ProtocolVersion, QoS, ReasonCode, Receiver};

use crate::LoadError;
use crate::carrier::{Carrier, Waiting};
use crate::endpoint::Endpoint;
use crate::packets::{self, DISCONNECT, PINGREQ};
use crate::socket::{Socket, WaitingSocket};

/// The largest packet read.
const FRAME_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// How long an answer in the opening may take; a broker under valgrind is slow.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the broker may take to close after DISCONNECT.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What the broker grants in CONNACK, or everything if it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Granted {
    /// Messages at QoS 1 and 2 under way at once `[MQTT5-3.3.4-7]`.
    pub(crate) receive_maximum: u16,
    /// Size of a packet `[MQTT5-3.2.2-15]`.
    pub(crate) packet_bytes_max: u32,
    /// The highest QoS of a message `[MQTT5-3.2.2-11]`.
    pub(crate) qos_max: u8,
    /// The keep alive that holds instead of ours, in seconds `[MQTT5-3.2.2-21]`.
    pub(crate) keep_alive: Option<u16>,
}

impl Granted {
    fn by(properties: &Properties<'_>) -> Self {
        Self {
            receive_maximum: properties.receive_maximum().unwrap_or(u16::MAX),
            packet_bytes_max: properties.maximum_packet_size().unwrap_or(u32::MAX),
            qos_max: properties.maximum_qos().unwrap_or(QoS::ExactlyOnce.bits()),
            keep_alive: properties.server_keep_alive(),
        }
    }
}

/// A connection that still waits for each answer.
#[derive(Debug)]
pub(crate) struct Opening {
    stream: Waiting,
    client_id: String,
    version: ProtocolVersion,
    granted: Granted,
}

impl Opening {
    /// Connects, and returns when CONNACK has said yes.
    pub(crate) fn connect(
        endpoint: &Endpoint,
        client_id: &str,
        keep_alive: u16,
    ) -> Result<Self, LoadError> {
        let connect = endpoint.connect(client_id, keep_alive, true)?;
        Self::connect_as(endpoint, client_id, &connect)
    }

    /// Connects to a session that outlives the connection.
    pub(crate) fn resume(endpoint: &Endpoint, client_id: &str) -> Result<Self, LoadError> {
        Self::connect_as(endpoint, client_id, &endpoint.connect(client_id, 0, false)?)
    }

    fn connect_as(endpoint: &Endpoint, client_id: &str, connect: &[u8]) -> Result<Self, LoadError> {
        let stream = Waiting::connect(endpoint, ANSWER_TIMEOUT)?;
        let (version, granted) = (endpoint.version, Granted::by(&Properties::EMPTY));
        let mut opening = Self { stream, client_id: client_id.into(), version, granted };
        let answer = opening.ask(connect, PacketType::Connack)?;
        match read_answer(&answer, version) {
            Ok(Packet::Connack(connack)) if connack.reason == ReasonCode::Success => {
                opening.granted = Granted::by(&connack.properties);
                Ok(opening)
            }
            Ok(Packet::Connack(connack)) => {
                let words = format!("the broker refused the connection: {}", connack.reason);
                Err(LoadError::new(words))
            }
            other => Err(opening.refused("CONNECT", &other)),
        }
    }

    /// Subscribes to one filter, and returns when it is granted.
    pub(crate) fn subscribe(&mut self, filter: &str, qos: QoS) -> Result<(), LoadError> {
        self.subscribe_all(&[filter], qos)
    }

    /// Subscribes to several filters in one packet, and returns when all are granted.
    pub(crate) fn subscribe_all(&mut self, filters: &[&str], qos: QoS) -> Result<(), LoadError> {
        let request = packets::subscribe(filters, qos, self.version)?;
        let answer = self.ask(&request, PacketType::Suback)?;
        match read_answer(&answer, self.version) {
            Ok(Packet::Suback(suback)) => {
                let asked = qos.bits();
                match suback.reasons.iter().find(|reason| reason.byte() != asked) {
                    None => Ok(()),
                    Some(reason) if reason.is_error() => {
                        let words = format!("the broker refused the subscription: {reason}");
                        Err(LoadError::new(words))
                    }
                    Some(granted) => Err(LoadError::new(format!(
                        "the broker grants QoS {} to a subscription that asked for {asked}",
                        granted.byte()
                    ))),
                }
            }
            other => Err(self.refused("SUBSCRIBE", &other)),
        }
    }

    /// Sends a PUBLISH at QoS 1, and returns when it is acknowledged.
    pub(crate) fn publish(&mut self, message: &[u8]) -> Result<(), LoadError> {
        self.ask(message, PacketType::Puback).map(|_| ())
    }

    /// Writes packets that nobody answers.
    pub(crate) fn write(&mut self, packets: &[u8]) -> Result<(), LoadError> {
        let written = self.stream.write_all(packets);
        written.map_err(|error| LoadError::io(format!("{}: cannot write", self.client_id), error))
    }

    /// Returns when the broker has taken in everything that was written before.
    pub(crate) fn ping(&mut self) -> Result<(), LoadError> {
        self.ask(&PINGREQ, PacketType::Pingresp).map(|_| ())
    }

    /// Goes on without blocking, with readiness reported under `token`.
    pub(crate) fn start(self, registry: &Registry, token: Token) -> Result<Link, LoadError> {
        let mut carrier = self
            .stream
            .into_carrier()
            .map_err(|error| LoadError::io("a connection cannot go on without waiting", error))?;
        carrier.register(registry, token)?;
        Ok(Link {
            carrier,
            client_id: self.client_id,
            partial: FrameBuffer::default(),
            out: Vec::new(),
            written: 0,
            farewell: None,
        })
    }

    /// What CONNACK said.
    pub(crate) fn granted(&self) -> Granted {
        self.granted
    }

    /// The socket, for a connection that has nothing more to say and only looks whether it is open.
    pub(crate) fn into_quiet(self) -> Result<Socket, LoadError> {
        let socket = self.stream.into_socket().into_socket();
        socket.map_err(|error| LoadError::io("a connection cannot go on without waiting", error))
    }

    /// The socket, for a connection without frames and encryption.
    pub(crate) fn into_stream(self) -> WaitingSocket {
        self.stream.into_socket()
    }

    /// Writes a request and reads until the frame of that type has come, which it returns.
    fn ask(&mut self, request: &[u8], answer: PacketType) -> Result<Vec<u8>, LoadError> {
        let name = answer.name();
        let asked = self.stream.write_all(request).and_then(|()| {
            loop {
                let bytes = self.read_frame()?;
                if bytes[0] >> 4 == answer as u8 {
                    return Ok(bytes);
                }
            }
        });
        asked.map_err(|error| LoadError::io(format!("{}: no {name}", self.client_id), error))
    }

    /// Reads exactly one frame, so that nothing behind it is taken from the link to come.
    fn read_frame(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; 2];
        self.stream.read_exact(&mut bytes)?;
        while codec::next_frame(&bytes, FRAME_BYTES_MAX)
            .map_err(|violation| io::Error::other(violation.to_string()))?
            .is_none()
        {
            bytes.push(0);
            let last = bytes.len() - 1;
            self.stream.read_exact(&mut bytes[last..])?;
        }
        Ok(bytes)
    }

    fn refused(&self, what: &str, answer: &impl std::fmt::Debug) -> LoadError {
        let id = &self.client_id;
        LoadError::new(format!("{id}: {what} was answered by {answer:?}"))
    }
}

fn read_answer(
    bytes: &[u8],
    version: ProtocolVersion,
) -> Result<Packet<'_>, noctule_mqtt::Violation> {
    let frame = codec::next_frame(bytes, FRAME_BYTES_MAX)?;
    frame.map_or(Ok(Packet::Pingresp), |frame| codec::decode(&frame, version, Receiver::Client))
}

/// A connection that never waits.
#[derive(Debug)]
pub(crate) struct Link {
    carrier: Carrier,
    client_id: String,
    partial: FrameBuffer,
    out: Vec<u8>,
    written: usize,
    /// Why the broker has said that it will close, in MQTT 5.
    farewell: Option<ReasonCode>,
}

impl Link {
    /// Connects and says nothing yet.
    pub(crate) fn dial(
        endpoint: &Endpoint,
        client_id: &str,
        registry: &Registry,
        token: Token,
    ) -> Result<Self, LoadError> {
        let stream = Waiting::connect(endpoint, ANSWER_TIMEOUT)?;
        let (version, granted) = (endpoint.version, Granted::by(&Properties::EMPTY));
        Opening { stream, client_id: client_id.into(), version, granted }.start(registry, token)
    }

    /// Where to append what is to be sent at the next [`flush`](Self::flush).
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Has the socket take no more than about so many bytes ahead of its peer.
    pub(crate) fn set_send_buffer(&self, bytes: usize) -> io::Result<()> {
        self.carrier.socket().set_send_buffer(bytes)
    }

    /// How many bytes the socket has not taken yet.
    pub(crate) fn unsent(&self) -> usize {
        self.out.len() - self.written
    }

    /// Whether there is anything that the socket has not taken, encrypted or not.
    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent() > 0 || self.carrier.has_unsent()
    }

    /// Reads what is there through `scratch`, hands each whole frame to `each` together with the
    /// output, and returns how many bytes came.
    pub(crate) fn read(
        &mut self,
        scratch: &mut [u8],
        mut each: impl FnMut(&Frame<'_>, &mut Vec<u8>),
    ) -> Result<usize, LoadError> {
        let mut total = 0;
        loop {
            let count = self.read_once(scratch, &mut each)?;
            total += count;
            // Edge-triggered: a short read means drained, and the end of the stream is reported
            // as an event of its own.
            if count == 0 || self.carrier.has_emptied_socket(count, scratch.len()) {
                return Ok(total);
            }
        }
    }

    /// The same without reading on: at most what fits into `scratch`, and nothing if nothing is there.
    pub(crate) fn read_once(
        &mut self,
        scratch: &mut [u8],
        mut each: impl FnMut(&Frame<'_>, &mut Vec<u8>),
    ) -> Result<usize, LoadError> {
        let count = loop {
            match self.carrier.read(scratch) {
                Ok(0) => return Err(self.lost("was closed by the broker", None)),
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.lost("broke", Some(error))),
            }
        };
        let farewell = &mut self.farewell;
        let mut each = |frame: &Frame<'_>, out: &mut Vec<u8>| {
            if frame.type_bits() == PacketType::Disconnect as u8 {
                let reason = frame.body().first().copied().unwrap_or(0);
                *farewell = ReasonCode::from_byte(reason);
            }
            each(frame, out);
        };
        split(&mut self.partial, &scratch[..count], &mut self.out, &mut each)
            .map_err(|violation| self.lost(&format!("brought {violation}"), None))?;
        Ok(count)
    }

    /// Whether the end of the stream has been reached; to be asked when the event says so.
    pub(crate) fn check_open(&self) -> Result<(), LoadError> {
        match self.carrier.socket().is_at_end() {
            Ok(true) => Err(self.lost("was closed by the broker", None)),
            Ok(false) => Ok(()),
            Err(error) => Err(self.lost("broke", Some(error))),
        }
    }

    /// Sends as much as the socket takes now.
    pub(crate) fn flush(&mut self) -> Result<(), LoadError> {
        while self.written < self.out.len() {
            match self.carrier.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.forget_written();
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.lost("broke", Some(error))),
            }
        }
        self.out.clear();
        self.written = 0;
        match self.carrier.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                Err(self.lost("broke", Some(error)))
            }
            _ => Ok(()),
        }
    }

    /// What has left is taken out of the buffer when it is the larger part. A socket that always takes a
    /// little less than there is would have the buffer grow as long as the run lasts, and all of it would
    /// be memory that no processor has seen before.
    fn forget_written(&mut self) {
        if self.written > self.out.len() / 2 {
            self.out.drain(..self.written);
            self.written = 0;
        }
    }

    /// Says goodbye and waits until the broker has closed, so that it has done all its work.
    pub(crate) fn disconnect(mut self) -> io::Result<()> {
        self.out.extend_from_slice(&DISCONNECT);
        self.carrier.close(&self.out[self.written..], CLOSE_TIMEOUT)
    }

    fn lost(&self, how: &str, cause: Option<io::Error>) -> LoadError {
        let why = self.farewell.map_or(String::new(), |reason| format!(": {reason}"));
        let words = format!("the connection of {} {how}{why}", self.client_id);
        match cause {
            None => LoadError::new(words),
            Some(cause) => LoadError::io(words, cause),
        }
    }
}

fn split(
    partial: &mut FrameBuffer,
    mut input: &[u8],
    out: &mut Vec<u8>,
    each: &mut impl FnMut(&Frame<'_>, &mut Vec<u8>),
) -> Result<(), noctule_mqtt::Violation> {
    if !partial.is_empty() {
        let used = partial.fill(input, FRAME_BYTES_MAX)?;
        input = &input[used..];
        let Some(frame) = partial.frame(FRAME_BYTES_MAX)? else {
            return Ok(());
        };
        each(&frame, out);
        let mut buffer = partial.take();
        buffer.clear();
        partial.restore(buffer);
    }
    while let Some(frame) = codec::next_frame(input, FRAME_BYTES_MAX)? {
        each(&frame, out);
        input = &input[frame.bytes.len()..];
    }
    partial.fill(input, FRAME_BYTES_MAX)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let stream = [b"\x30\x03\x00\x01a".as_slice(), b"\xD0\x00", b"\x40\x02\x00\x07"].concat();
        let whole = [5, 2, 4];
        for cut in 1..stream.len() {
            let mut partial = FrameBuffer::default();
            let mut seen = Vec::new();
            for piece in stream.chunks(cut) {
                split(&mut partial, piece, &mut Vec::new(), &mut |frame, _| {
                    seen.push(frame.bytes.len());
                })
                .unwrap();
            }
            assert_eq!(seen, whole, "cut every {cut} bytes");
            assert!(partial.is_empty());
        }
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        let endless = [0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
        let split = split(&mut FrameBuffer::default(), &endless, &mut Vec::new(), &mut |_, _| {
            panic!("there is no frame")
        });
        assert!(split.is_err());
    }
}
