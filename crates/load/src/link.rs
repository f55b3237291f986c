//! One connection to the broker under test: opened blocking, driven non-blocking.
//!
//! Bytes in become frames, bytes out wait here until the socket takes them. What the frames mean is
//! not known here. The invariant: frames are handed on whole and in order, however they were cut.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use mio::{Interest, Registry, Token};
use noctule_mqtt::codec::{self, Frame, FrameBuffer};
use noctule_mqtt::{Packet, PacketType, ReasonCode, Receiver};

use crate::LoadError;
use crate::packets::{self, DISCONNECT, VERSION};

/// The largest packet read.
const FRAME_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// How long an answer in the opening may take; a broker under valgrind is slow.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the broker may take to close after DISCONNECT.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that still waits for each answer.
#[derive(Debug)]
pub(crate) struct Opening {
    stream: std::net::TcpStream,
    client_id: String,
}

impl Opening {
    /// Connects, and returns when CONNACK has said yes.
    pub(crate) fn connect(
        address: SocketAddr,
        client_id: &str,
        keep_alive: u16,
    ) -> Result<Self, LoadError> {
        Self::connect_as(address, client_id, &packets::connect(client_id, keep_alive)?)
    }

    /// Connects to a session that outlives the connection.
    pub(crate) fn resume(address: SocketAddr, client_id: &str) -> Result<Self, LoadError> {
        Self::connect_as(address, client_id, &packets::connect_to(client_id, 0, false)?)
    }

    fn connect_as(address: SocketAddr, client_id: &str, connect: &[u8]) -> Result<Self, LoadError> {
        let stream = std::net::TcpStream::connect_timeout(&address, ANSWER_TIMEOUT)
            .and_then(|stream| {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
                Ok(stream)
            })
            .map_err(|error| LoadError::io(format!("cannot connect to {address}"), error))?;
        let mut opening = Self { stream, client_id: client_id.into() };
        let answer = opening.ask(connect, PacketType::Connack)?;
        match read_answer(&answer) {
            Ok(Packet::Connack(connack)) if connack.reason == ReasonCode::Success => Ok(opening),
            other => Err(opening.refused("CONNECT", &other)),
        }
    }

    /// Subscribes to one filter, and returns when it is granted.
    pub(crate) fn subscribe(
        &mut self,
        filter: &str,
        qos: noctule_mqtt::QoS,
    ) -> Result<(), LoadError> {
        self.subscribe_all(&[filter], qos)
    }

    /// Subscribes to several filters in one packet, and returns when all are granted.
    pub(crate) fn subscribe_all(
        &mut self,
        filters: &[&str],
        qos: noctule_mqtt::QoS,
    ) -> Result<(), LoadError> {
        let answer = self.ask(&packets::subscribe_all(filters, qos)?, PacketType::Suback)?;
        match read_answer(&answer) {
            Ok(Packet::Suback(suback)) if suback.reasons.iter().all(|r| r.byte() == qos.bits()) => {
                Ok(())
            }
            other => Err(self.refused("SUBSCRIBE", &other)),
        }
    }

    /// Sends a PUBLISH at QoS 1, and returns when it is acknowledged.
    pub(crate) fn publish(&mut self, message: &[u8]) -> Result<(), LoadError> {
        self.ask(message, PacketType::Puback).map(|_| ())
    }

    /// Goes on without blocking, with readiness reported under `token`.
    pub(crate) fn start(self, registry: &Registry, token: Token) -> Result<Link, LoadError> {
        let registered = self.stream.set_nonblocking(true).and_then(|()| {
            let mut stream = mio::net::TcpStream::from_std(self.stream);
            registry.register(&mut stream, token, Interest::READABLE.add(Interest::WRITABLE))?;
            Ok(stream)
        });
        let stream = registered
            .map_err(|error| LoadError::io("cannot watch a connection for readiness", error))?;
        Ok(Link {
            stream,
            client_id: self.client_id,
            partial: FrameBuffer::default(),
            out: Vec::new(),
            written: 0,
        })
    }

    /// The socket, for a connection that has nothing more to say.
    pub(crate) fn into_stream(self) -> std::net::TcpStream {
        self.stream
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

fn read_answer(bytes: &[u8]) -> Result<Packet<'_>, noctule_mqtt::Violation> {
    let frame = codec::next_frame(bytes, FRAME_BYTES_MAX)?;
    frame.map_or(Ok(Packet::Pingresp), |frame| codec::decode(&frame, VERSION, Receiver::Client))
}

/// A connection that never waits.
#[derive(Debug)]
pub(crate) struct Link {
    stream: mio::net::TcpStream,
    client_id: String,
    partial: FrameBuffer,
    out: Vec<u8>,
    written: usize,
}

impl Link {
    /// Connects and says nothing yet.
    pub(crate) fn dial(
        address: SocketAddr,
        client_id: &str,
        registry: &Registry,
        token: Token,
    ) -> Result<Self, LoadError> {
        let stream = std::net::TcpStream::connect_timeout(&address, ANSWER_TIMEOUT)
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|error| LoadError::io(format!("cannot connect to {address}"), error))?;
        Opening { stream, client_id: client_id.into() }.start(registry, token)
    }

    /// Where to append what is to be sent at the next [`flush`](Self::flush).
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// How many bytes the socket has not taken yet.
    pub(crate) fn unsent(&self) -> usize {
        self.out.len() - self.written
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
            let count = match self.stream.read(scratch) {
                Ok(0) => return Err(self.lost("was closed by the broker", None)),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(total),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.lost("broke", Some(error))),
            };
            total += count;
            split(&mut self.partial, &scratch[..count], &mut self.out, &mut each)
                .map_err(|violation| self.lost(&format!("brought {violation}"), None))?;
            // Edge-triggered: a short read means drained, and the end of the stream is reported
            // as an event of its own.
            if count < scratch.len() {
                return Ok(total);
            }
        }
    }

    /// Whether the end of the stream has been reached; to be asked when the event says so.
    pub(crate) fn check_open(&self) -> Result<(), LoadError> {
        match self.stream.peek(&mut [0]) {
            Ok(0) => Err(self.lost("was closed by the broker", None)),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(self.lost("broke", Some(error))),
        }
    }

    /// Sends as much as the socket takes now.
    pub(crate) fn flush(&mut self) -> Result<(), LoadError> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.lost("broke", Some(error))),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Says goodbye and waits until the broker has closed, so that it has done all its work.
    pub(crate) fn disconnect(mut self) -> io::Result<()> {
        self.out.extend_from_slice(&DISCONNECT);
        let mut stream = std::net::TcpStream::from(self.stream);
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(CLOSE_TIMEOUT))?;
        stream.write_all(&self.out[self.written..])?;
        stream.shutdown(Shutdown::Write)?;
        io::copy(&mut stream, &mut io::sink())?;
        Ok(())
    }

    fn lost(&self, how: &str, cause: Option<io::Error>) -> LoadError {
        let words = format!("the connection of {} {how}", self.client_id);
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
