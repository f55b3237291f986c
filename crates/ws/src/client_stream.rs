//! A client's end as a stream of bytes: what is to be said becomes frames, and what comes is freed of them.
//!
//! ```text
//! written bytes ──► whole frames, masked ─┐
//! answers to control frames ──────────────┴─► to_send ──► the connection
//! the connection ──► take_in, in place ──► bytes to be read, and the end
//! ```
//!
//! A mask touches every byte, so that what is written is copied once; answers are put between whole frames.
//! Whoever does the I/O writes what is [to be sent](ClientStream::to_send) before it hands in more: no more
//! than [`CHUNK_BYTES_MAX`] and some frames of control wait.

use crate::{CloseCode, Conversation, End, FrameHeader, NoRandomness, Taken, apply_mask};

/// Bytes that become one frame, at most.
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// See the module.
#[derive(Debug)]
pub struct ClientStream {
    conversation: Conversation,
    out: Vec<u8>,
    sent: usize,
}

impl Default for ClientStream {
    fn default() -> Self {
        Self::new()
    }
}

impl ClientStream {
    /// One that begins behind the upgrade. A server's frames may have any length: nothing is gathered.
    #[must_use]
    pub fn new() -> Self {
        Self { conversation: Conversation::client(u64::MAX), out: Vec::new(), sent: 0 }
    }

    /// Takes bytes of the server. Those to be read are left at the front of the buffer.
    pub fn take_in(&mut self, buffer: &mut [u8]) -> Taken {
        let taken = self.conversation.take_in(buffer);
        self.take_answers();
        taken
    }

    /// Makes a frame of as many of these bytes as may be taken now, and returns how many that is: none while
    /// others wait to be sent, or after the end.
    ///
    /// # Errors
    /// [`NoRandomness`]: without it nothing may be sent.
    pub fn say(&mut self, bytes: &[u8]) -> Result<usize, NoRandomness> {
        if !self.to_send().is_empty() || bytes.is_empty() || self.is_closing() {
            return Ok(0);
        }
        let chunk = &bytes[..bytes.len().min(CHUNK_BYTES_MAX)];
        let key = self.conversation.next_key()?;
        self.out.extend_from_slice(FrameHeader::binary(chunk.len() as u64, key).as_bytes());
        let at = self.out.len();
        self.out.extend_from_slice(chunk);
        if let Some(key) = key {
            apply_mask(&mut self.out[at..], key);
        }
        Ok(chunk.len())
    }

    /// Says that nothing more will be sent.
    pub fn close(&mut self, code: CloseCode) {
        self.conversation.close(code);
        self.take_answers();
    }

    /// Whether this end has said that it closes, or the server has closed.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.conversation.has_closed() || self.conversation.has_ended()
    }

    /// What is to be written to the connection.
    #[must_use]
    pub fn to_send(&self) -> &[u8] {
        &self.out[self.sent..]
    }

    /// So many bytes of it were written.
    pub fn sent(&mut self, bytes: usize) {
        self.sent += bytes.min(self.out.len() - self.sent);
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
            if self.out.capacity() > 2 * CHUNK_BYTES_MAX {
                self.out = Vec::new();
            }
        }
        self.take_answers();
    }

    /// Answers stay where their number has an end while much waits.
    fn take_answers(&mut self) {
        let answers = self.conversation.answers();
        if answers.is_empty() || self.out.len() - self.sent > 2 * CHUNK_BYTES_MAX {
            return;
        }
        self.out.extend_from_slice(answers);
        let count = answers.len();
        self.conversation.answers_sent(count);
    }
}

/// What the end of the server's side means to whoever reads: nothing more comes, in good order, or why not.
///
/// # Errors
/// In words, what the server has done, or the code that it has closed with.
pub fn good_end(end: End) -> Result<(), String> {
    match end {
        End::Closed(None | Some(CloseCode::NORMAL | CloseCode::GOING_AWAY)) => Ok(()),
        End::Closed(Some(code)) => Err(format!("the server closed WebSocket with code {code}")),
        End::Violated(violation) => {
            Err(format!("the server breaks the rules of WebSocket: {violation}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Opcode, Violation};

    /// What a server makes of bytes: payload, and how it ended.
    fn served(bytes: &[u8]) -> (Vec<u8>, Option<End>) {
        let mut server = Conversation::server(1 << 20);
        let mut bytes = bytes.to_vec();
        let taken = server.take_in(&mut bytes);
        bytes.truncate(taken.payload);
        (bytes, taken.end)
    }

    fn take_all(stream: &mut ClientStream, step: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        while !stream.to_send().is_empty() {
            let count = step.min(stream.to_send().len());
            wire.extend_from_slice(&stream.to_send()[..count]);
            stream.sent(count);
        }
        wire
    }

    #[test]
    fn what_is_said_arrives_whatever_the_pieces_are() {
        let mut stream = ClientStream::default();
        let (mut wire, mut said) = (Vec::new(), Vec::new());
        for length in [1, 125, 126, 70_000, 3] {
            let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let count = stream.say(rest).unwrap();
                assert!(count > 0 && count <= CHUNK_BYTES_MAX);
                assert_eq!(stream.say(b"more").unwrap(), 0, "one frame waits");
                rest = &rest[count..];
                wire.extend(take_all(&mut stream, 1_000));
            }
            said.extend(bytes);
        }
        assert!(served(&wire) == (said, None));
        assert!(!wire.windows(8).any(|part| part == [1, 2, 3, 4, 5, 6, 7, 8]), "it is masked");
    }

    #[test]
    fn answers_stand_between_frames() {
        let mut stream = ClientStream::default();
        stream.say(b"first").unwrap();
        let mut ping = FrameHeader::new(Opcode::Ping, 2, None).as_bytes().to_vec();
        ping.extend(b"hi");
        let first_bytes = stream.to_send()[..3].to_vec();
        stream.sent(3);
        assert_eq!(stream.take_in(&mut ping), Taken { payload: 0, end: None });
        let mut wire = first_bytes;
        wire.extend(take_all(&mut stream, 1));
        let (payload, end) = served(&wire);
        assert_eq!((payload.as_slice(), end), (&b"first"[..], None));
        let pong = wire[11..].to_vec();
        assert_eq!((pong[0], pong[1]), (0x8a, 0x82));
    }

    #[test]
    fn pings_that_nobody_fetches_answers_for_do_not_make_it_grow() {
        let mut stream = ClientStream::default();
        stream.say(&[0; CHUNK_BYTES_MAX]).unwrap();
        for _ in 0..100_000 {
            let mut ping = FrameHeader::new(Opcode::Ping, 100, None).as_bytes().to_vec();
            ping.extend([7; 100]);
            stream.take_in(&mut ping);
        }
        assert!(stream.to_send().len() < 3 * CHUNK_BYTES_MAX, "{}", stream.to_send().len());
    }

    #[test]
    fn who_closes_says_so_and_nothing_after_it() {
        let mut stream = ClientStream::default();
        stream.close(CloseCode::NORMAL);
        assert!(stream.is_closing());
        let wire = take_all(&mut stream, 100);
        assert_eq!(served(&wire).1, Some(End::Closed(Some(CloseCode::NORMAL))));
        assert_eq!(stream.say(b"late").unwrap(), 0);
    }

    #[test]
    fn ends_are_told_apart() {
        assert_eq!(good_end(End::Closed(None)), Ok(()));
        assert_eq!(good_end(End::Closed(Some(CloseCode::GOING_AWAY))), Ok(()));
        assert!(good_end(End::Closed(Some(CloseCode::TOO_BIG))).unwrap_err().contains("1009"));
        let mut stream = ClientStream::default();
        let mut text = b"\x81\x02hi".to_vec();
        let end = stream.take_in(&mut text).end.expect("text is not allowed");
        assert_eq!(end, End::Violated(Violation::Text));
        assert!(good_end(end).unwrap_err().contains("text frame"));
        let said = take_all(&mut stream, 100);
        assert_eq!(said[0], 0x88, "it is told why");
    }
}
