//! WebSocket over a stream, at a client's end: the upgrade, and then frames around what is written.
//!
//! What is written before the upgrade is through waits here. The same serves streams that wait and those
//! that never do: `WouldBlock` is passed on, and nothing is lost by it.

use std::io::{self, Read, Write};

use noctule_ws::{ClientStream, ClientUpgrade, CloseCode, Subprotocol, good_end};

use crate::LoadError;
use crate::endpoint::WebSocketClient;

/// Bytes that may wait for the upgrade.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Framed {
    frames: ClientStream,
    /// The request, and what came in answer, until that is whole.
    upgrading: Option<Upgrading>,
    /// What came with the answer.
    early: Vec<u8>,
    /// What was to be written meanwhile.
    held: Vec<u8>,
    end: Option<Result<(), String>>,
    /// Whether the last read of the stream did not fill its buffer.
    was_short: bool,
}

#[derive(Debug)]
struct Upgrading {
    upgrade: ClientUpgrade,
    request: Vec<u8>,
    sent: usize,
    answer: Vec<u8>,
}

impl Framed {
    /// One whose request is to be sent.
    pub(crate) fn new(door: &WebSocketClient) -> Result<Self, LoadError> {
        let cannot =
            |error: &dyn std::fmt::Display| LoadError::new(format!("no WebSocket: {error}"));
        let upgrade = ClientUpgrade::new(Subprotocol::Mqtt).map_err(|error| cannot(&error))?;
        let request =
            upgrade.request(&door.host, &door.path, &[]).map_err(|error| cannot(&error))?;
        let upgrading = Upgrading { upgrade, request, sent: 0, answer: Vec::new() };
        Ok(Self {
            frames: ClientStream::default(),
            upgrading: Some(upgrading),
            early: Vec::new(),
            held: Vec::new(),
            end: None,
            was_short: false,
        })
    }

    /// Whether the last [`read`](Self::read) has left nothing in the stream, which does so itself when it
    /// does not fill its buffer.
    pub(crate) fn has_emptied_it(&self) -> bool {
        self.was_short && self.early.is_empty()
    }

    /// Reads bytes that were in frames; 0 is the end.
    pub(crate) fn read(
        &mut self,
        stream: &mut (impl Read + Write),
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        loop {
            match &self.end {
                Some(Ok(())) => return Ok(0),
                Some(Err(words)) => return Err(io::Error::other(words.clone())),
                None => {}
            }
            let count = if self.early.is_empty() {
                let count = stream.read(buffer)?;
                self.was_short = count < buffer.len();
                count
            } else {
                let count = self.early.len().min(buffer.len());
                buffer[..count].copy_from_slice(&self.early[..count]);
                self.early.drain(..count);
                count
            };
            if count == 0 {
                return match self.upgrading {
                    Some(_) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, NO_ANSWER)),
                    None => Ok(0),
                };
            }
            if self.upgrading.is_some() {
                self.take_answer(&buffer[..count])?;
                self.flush_ready(stream)?;
                continue;
            }
            let taken = self.frames.take_in(&mut buffer[..count]);
            self.end = taken.end.map(good_end);
            self.flush_ready(stream)?;
            if taken.payload > 0 {
                return Ok(taken.payload);
            }
        }
    }

    fn take_answer(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(upgrading) = &mut self.upgrading else { return Ok(()) };
        upgrading.answer.extend_from_slice(bytes);
        let head = upgrading.upgrade.read_response(&upgrading.answer).map_err(io::Error::other)?;
        if let Some(head) = head {
            self.early = upgrading.answer.split_off(head);
            self.upgrading = None;
        }
        Ok(())
    }

    /// Takes bytes to be written, in a frame as soon as that may be.
    pub(crate) fn write(&mut self, stream: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
        if self.upgrading.is_some() {
            let room = HELD_BYTES_MAX.saturating_sub(self.held.len());
            let count = bytes.len().min(room);
            self.held.extend_from_slice(&bytes[..count]);
            self.flush_ready(stream)?;
            return if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) };
        }
        self.flush(stream)?;
        if self.frames.is_closing() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = self.frames.say(bytes).map_err(io::Error::other)?;
        self.flush_ready(stream)?;
        Ok(count)
    }

    /// Lets leave what waits.
    pub(crate) fn flush(&mut self, stream: &mut impl Write) -> io::Result<()> {
        if let Some(upgrading) = &mut self.upgrading {
            while upgrading.sent < upgrading.request.len() {
                upgrading.sent += some(stream.write(&upgrading.request[upgrading.sent..])?)?;
            }
            return stream.flush();
        }
        loop {
            while !self.frames.to_send().is_empty() {
                let count = some(stream.write(self.frames.to_send())?)?;
                self.frames.sent(count);
            }
            if self.held.is_empty() {
                return stream.flush();
            }
            let count = self.frames.say(&self.held).map_err(io::Error::other)?;
            if count == 0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.held.drain(..count);
        }
    }

    /// The same, as far as that goes without waiting.
    fn flush_ready(&mut self, stream: &mut impl Write) -> io::Result<()> {
        match self.flush(stream) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Everything that is still to be written if `last` is the last: what waits, it, and that we close.
    pub(crate) fn last_words(mut self, last: &[u8]) -> io::Result<Vec<u8>> {
        let mut words = Vec::new();
        let take = |frames: &mut ClientStream, words: &mut Vec<u8>| {
            words.extend_from_slice(frames.to_send());
            let count = frames.to_send().len();
            frames.sent(count);
        };
        take(&mut self.frames, &mut words);
        let mut rest = last;
        while !rest.is_empty() && !self.frames.is_closing() {
            let count = self.frames.say(rest).map_err(io::Error::other)?;
            rest = &rest[count..];
            take(&mut self.frames, &mut words);
        }
        self.frames.close(CloseCode::NORMAL);
        take(&mut self.frames, &mut words);
        Ok(words)
    }
}

/// How much was written, which must not be nothing.
fn some(count: usize) -> io::Result<usize> {
    if count == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(count) }
}

const NO_ANSWER: &str = "the server closed the connection when WebSocket was asked for";

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_ws::{Conversation, End, FrameHeader, Opcode, head_end, read_request};

    /// A stream that takes and gives a few bytes at a time, and then wants its caller to come again.
    #[derive(Default)]
    struct Stingy {
        incoming: Vec<u8>,
        outgoing: Vec<u8>,
        turn: usize,
    }

    impl Stingy {
        fn is_tired(&mut self) -> bool {
            self.turn += 1;
            self.turn.is_multiple_of(2)
        }
    }

    impl Read for Stingy {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.is_tired() || self.incoming.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = buffer.len().min(3).min(self.incoming.len());
            buffer[..count].copy_from_slice(&self.incoming[..count]);
            self.incoming.drain(..count);
            Ok(count)
        }
    }

    impl Write for Stingy {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.is_tired() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = bytes.len().min(5);
            self.outgoing.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn framed() -> Framed {
        let door = WebSocketClient { host: "h:1".into(), path: "/mqtt".into() };
        Framed::new(&door).expect("a fine door")
    }

    fn flush(framed: &mut Framed, stream: &mut Stingy) {
        while framed.flush(stream).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {}
    }

    fn read_all(framed: &mut Framed, stream: &mut Stingy) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = [0; 64];
        while !stream.incoming.is_empty() || !framed.early.is_empty() {
            match framed.read(stream, &mut buffer) {
                Ok(count) => all.extend_from_slice(&buffer[..count]),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}"),
            }
        }
        all
    }

    #[test]
    fn what_is_written_at_once_follows_the_upgrade_on_a_stream_that_gives_and_takes_little() {
        let (mut framed, mut stream) = (framed(), Stingy::default());
        assert_eq!(framed.write(&mut stream, b"connect").expect("it is held"), 7);
        flush(&mut framed, &mut stream);
        let head = head_end(&stream.outgoing, 0).expect("a whole request and nothing behind it");
        assert_eq!(head, stream.outgoing.len());
        let request = read_request(&stream.outgoing).expect("a fine request");
        stream.incoming = request.response();
        stream.incoming.extend(FrameHeader::binary(300, None).as_bytes());
        stream.incoming.extend([9; 300]);
        stream.incoming.extend(FrameHeader::new(Opcode::Ping, 1, None).as_bytes());
        stream.incoming.push(b'?');
        stream.outgoing.clear();
        assert_eq!(read_all(&mut framed, &mut stream), [9; 300]);
        flush(&mut framed, &mut stream);
        let words = framed.last_words(b"goodbye").expect("it can be");
        let mut wire = [stream.outgoing, words].concat();
        let mut server = Conversation::server(1 << 20);
        let taken = server.take_in(&mut wire);
        assert_eq!(&wire[..taken.payload], b"connectgoodbye");
        assert_eq!(taken.end, Some(End::Closed(Some(CloseCode::NORMAL))));
        assert!(server.answers().is_empty() || server.has_closed(), "its ping was answered");
    }

    #[test]
    fn a_refusal_is_said() {
        let (mut framed, mut stream) = (framed(), Stingy::default());
        stream.incoming = b"HTTP/1.1 404 Not Found\r\n\r\n".to_vec();
        let error = loop {
            match framed.read(&mut stream, &mut [0; 64]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => break other.expect_err("it is refused"),
            }
        };
        assert!(error.to_string().contains("HTTP 404 Not Found"), "{error}");
    }
}
