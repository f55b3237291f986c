//! One end of a conversation after the upgrade: what comes in, what it has to be answered, and how it ends.
//!
//! ```text
//!   Open ─close frame came──────► answered ─► the end: Closed
//!    │  ─against the rules──────► close frame with its code ─► the end: Violated
//!    └─ close() ► the peer's close frame is waited for; data is still taken ─► Closed
//! ```
//!
//! Whoever does the I/O hands in what was read, writes [`Conversation::answers`] between two frames of its
//! own, and decides how long it waits.

use crate::answers::Answers;
use crate::mask::MaskKeys;
use crate::{CloseCode, Cursor, Decoder, MaskKey, Met, Role, Violation};

/// One end of a conversation.
#[derive(Debug)]
pub struct Conversation {
    decoder: Decoder,
    answers: Answers,
    /// A client's.
    keys: Option<Box<MaskKeys>>,
    /// This end has said that it closes.
    has_closed: bool,
    has_ended: bool,
}

/// What came of bytes that were handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// So many bytes at the front of the buffer are payload.
    pub payload: usize,
    /// With it the peer's side is at its end.
    pub end: Option<End>,
}

/// How the peer's side ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It said so, perhaps with a code.
    Closed(Option<CloseCode>),
    /// It broke the rules.
    Violated(Violation),
}

impl Conversation {
    /// The server's end. Frames may have `frame_bytes_max` bytes.
    #[must_use]
    pub fn server(frame_bytes_max: u64) -> Self {
        Self::new(Role::Server, frame_bytes_max, None)
    }

    /// The client's end. Frames may have `frame_bytes_max` bytes.
    #[must_use]
    pub fn client(frame_bytes_max: u64) -> Self {
        Self::new(Role::Client, frame_bytes_max, Some(Box::default()))
    }

    fn new(role: Role, frame_bytes_max: u64, keys: Option<Box<MaskKeys>>) -> Self {
        let decoder = Decoder::new(role, frame_bytes_max);
        let answers = Answers::default();
        Self { decoder, answers, keys, has_closed: false, has_ended: false }
    }

    /// Takes bytes from the peer. Payload is left at the front of the buffer; what has to be answered is
    /// among the [`answers`](Self::answers). After the [`End`], which is told once, whatever comes is
    /// thrown away.
    #[inline]
    pub fn take_in(&mut self, buffer: &mut [u8]) -> Taken {
        let mut cursor = Cursor::default();
        loop {
            match self.decoder.decode(buffer, &mut cursor) {
                Ok(Met::End) => return Taken { payload: cursor.written, end: None },
                Ok(met) => {
                    if let Some(end) = self.meet(&met) {
                        return Taken { payload: cursor.written, end: Some(end) };
                    }
                }
                Err(violation) => {
                    self.close(violation.close_code());
                    self.has_ended = true;
                    let end = Some(End::Violated(violation));
                    return Taken { payload: cursor.written, end };
                }
            }
        }
    }

    /// Something that is not data was met. Returns the end if it is that.
    #[cold]
    fn meet(&mut self, met: &Met) -> Option<End> {
        match met {
            Met::Ping(payload) => {
                // Who has closed sends nothing any more (5.5.1).
                if !self.has_closed
                    && let Some(key) = self.key()
                {
                    self.answers.pong(payload, key);
                }
                None
            }
            Met::Close(code) => {
                self.has_ended = true;
                self.say_close(*code);
                Some(End::Closed(*code))
            }
            Met::Pong | Met::End => None,
        }
    }

    /// Says that this end closes. Nothing may be sent any more; the peer's close frame is still to come.
    pub fn close(&mut self, code: CloseCode) {
        self.say_close(Some(code));
    }

    fn say_close(&mut self, code: Option<CloseCode>) {
        if !std::mem::replace(&mut self.has_closed, true)
            && let Some(key) = self.key()
        {
            self.answers.close(code, key);
        }
    }

    /// Whether this end has said that it closes.
    #[must_use]
    pub fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// Whether the peer's side is at its end.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Control frames that are to be written, whole, between two frames.
    #[must_use]
    #[inline]
    pub fn answers(&self) -> &[u8] {
        self.answers.waiting()
    }

    /// So many bytes of the [`answers`](Self::answers) were written.
    pub fn answers_sent(&mut self, bytes: usize) {
        self.answers.sent(bytes);
    }

    /// The key for the next frame: none for a server, whose frames have none.
    ///
    /// # Errors
    /// [`NoRandomness`](crate::NoRandomness) for a client that must not go on.
    #[inline]
    pub fn next_key(&mut self) -> Result<Option<MaskKey>, crate::NoRandomness> {
        self.keys.as_mut().map(|keys| keys.draw()).transpose()
    }

    /// The same for an answer, of which there is none without a key.
    fn key(&mut self) -> Option<Option<MaskKey>> {
        self.next_key().ok()
    }
}
