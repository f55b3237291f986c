//! Frames on their way in: payload is left where the frames were, one after another.
//!
//! ```text
//!   Header ─header whole, data──────────────► Data ─last byte─► Header
//!      │ └──header whole, control frame──► Control ─last byte─► Header (ping, pong: told)
//!      │                                       └──── close ───► Over
//!      └──────── against the rules ───────────────────────────► Over
//! ```
//!
//! Bytes may come in any pieces. Invariant: of a frame that is not whole nothing is kept but its header, or
//! what has come of a control frame; a length that the peer claims allocates nothing.

use crate::header::{self, CONTROL_BYTES_MAX, HEADER_BYTES_MAX, Head};
use crate::mask::{apply_mask, apply_mask_moving};
use crate::{CloseCode, MaskKey, Opcode, Role, Violation};

/// Takes frames apart.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    /// Bytes that a frame may have.
    frame_bytes_max: u64,
    /// A message has begun and not ended.
    in_message: bool,
    at: At,
}

#[derive(Debug)]
enum At {
    /// Before or in a header, of which these bytes have come.
    Header { bytes: [u8; HEADER_BYTES_MAX], have: u8 },
    /// In data.
    Data { left: u64, key: MaskKey },
    /// In a control frame, of which `payload` has come.
    Control { opcode: Opcode, left: u8, key: MaskKey, payload: Vec<u8> },
    /// Nothing more is read.
    Over,
}

const START: At = At::Header { bytes: [0; HEADER_BYTES_MAX], have: 0 };

/// How far a buffer was worked through: bytes before `read` are done with, and the first `written` are
/// payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// Where the next byte to read is.
    pub read: usize,
    /// Where payload ends.
    pub written: usize,
}

/// Where decoding came to a halt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Met {
    /// The end of the buffer.
    End,
    /// A ping with this payload, to be answered by a pong with the same.
    Ping(Vec<u8>),
    /// A pong.
    Pong,
    /// A close frame, perhaps with a code. Nothing more is read.
    Close(Option<CloseCode>),
}

impl Decoder {
    /// A decoder for the end that is `role`, of frames that have at most `frame_bytes_max` bytes of
    /// payload.
    #[must_use]
    pub fn new(role: Role, frame_bytes_max: u64) -> Self {
        Self { role, frame_bytes_max, in_message: false, at: START }
    }

    /// Goes on with `buffer` from `cursor` until its end, or until something is met that the caller has to
    /// know. Payload is unmasked and moved to the front.
    ///
    /// # Errors
    /// What the peer did against the rules; payload from before it stands in the buffer. Nothing more is
    /// read.
    #[inline]
    pub fn decode(&mut self, buffer: &mut [u8], cursor: &mut Cursor) -> Result<Met, Violation> {
        let met = self.go_on(buffer, cursor);
        if met.is_err() {
            self.at = At::Over;
        }
        met
    }

    /// Whether the last byte ended a frame.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        matches!(self.at, At::Header { have: 0, .. })
    }

    fn go_on(&mut self, buffer: &mut [u8], cursor: &mut Cursor) -> Result<Met, Violation> {
        loop {
            let rest = buffer.get(cursor.read..).unwrap_or_default();
            match &mut self.at {
                At::Data { left, key } => {
                    (*left, *key) = take_data(self.role, buffer, cursor, *left, *key);
                    if *left > 0 {
                        return Ok(Met::End);
                    }
                    self.at = START;
                }
                _ if rest.is_empty() => return Ok(Met::End),
                At::Header { bytes, have } => {
                    let Some(head) = read_head(bytes, have, rest, &mut cursor.read, self.role)?
                    else {
                        return Ok(Met::End);
                    };
                    if head.opcode.is_control() {
                        if let Some(met) = self.begin_control(&head)? {
                            return Ok(met);
                        }
                        continue;
                    }
                    self.check_data(&head)?;
                    // Nearly always a frame is whole, and the next one begins where this one did.
                    let (left, key) = take_data(self.role, buffer, cursor, head.payload, head.key);
                    if left > 0 {
                        self.at = At::Data { left, key };
                        return Ok(Met::End);
                    }
                    if !self.is_between_frames() {
                        self.at = START;
                    }
                }
                At::Control { opcode, left, key, payload } => {
                    let here = usize::from(*left).min(rest.len());
                    let begin = payload.len();
                    payload.extend_from_slice(&rest[..here]);
                    *key = apply_mask(&mut payload[begin..], *key);
                    *left -= here as u8;
                    cursor.read += here;
                    if *left == 0 {
                        let (opcode, payload) = (*opcode, std::mem::take(payload));
                        self.at = START;
                        return self.control(opcode, payload);
                    }
                }
                At::Over => {
                    cursor.read = buffer.len();
                    return Ok(Met::End);
                }
            }
        }
    }

    /// A frame with data begins: whether it may.
    #[inline]
    fn check_data(&mut self, head: &Head) -> Result<(), Violation> {
        match (head.opcode, self.in_message) {
            // [MQTT5-6.0.0-1] [MQTT3-6.0.0-1]
            (Opcode::Text, _) => return Err(Violation::Text),
            (Opcode::Continuation, false) => return Err(Violation::NothingToContinue),
            (Opcode::Binary, true) => return Err(Violation::NotContinued),
            (Opcode::Continuation, true)
            | (Opcode::Binary, false)
            | (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => {}
        }
        if head.payload > self.frame_bytes_max {
            return Err(Violation::TooLarge(head.payload));
        }
        self.in_message = !head.is_last;
        Ok(())
    }

    /// A control frame begins. One without payload is whole with that.
    #[cold]
    fn begin_control(&mut self, head: &Head) -> Result<Option<Met>, Violation> {
        // It is no longer than a byte can say; that was looked at.
        let left = u8::try_from(head.payload).map_err(|_| Violation::LongControl)?;
        if left == 0 {
            self.at = START;
            return self.control(head.opcode, Vec::new()).map(Some);
        }
        let payload = Vec::with_capacity(usize::from(left).min(CONTROL_BYTES_MAX));
        self.at = At::Control { opcode: head.opcode, left, key: head.key, payload };
        Ok(None)
    }

    /// A control frame is whole.
    fn control(&mut self, opcode: Opcode, payload: Vec<u8>) -> Result<Met, Violation> {
        match opcode {
            Opcode::Ping => Ok(Met::Ping(payload)),
            Opcode::Close => {
                self.at = At::Over;
                read_close(&payload).map(Met::Close)
            }
            Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => Ok(Met::Pong),
        }
    }
}

/// Unmasks what is there of a frame's data and moves it to the payload before it. Returns how much is still to
/// come, and the key for it.
#[inline]
fn take_data(
    role: Role,
    buffer: &mut [u8],
    cursor: &mut Cursor,
    left: u64,
    key: MaskKey,
) -> (u64, MaskKey) {
    let there = buffer.len() - cursor.read;
    let here = usize::try_from(left).map_or(there, |left| left.min(there));
    let end = cursor.read + here;
    let key = match role {
        Role::Server => apply_mask_moving(&mut buffer[cursor.written..end], here, key),
        Role::Client => {
            buffer.copy_within(cursor.read..end, cursor.written);
            key
        }
    };
    cursor.read = end;
    cursor.written += here;
    (left - here as u64, key)
}

/// Reads a header of which `have` bytes came before and the others are the first of `rest`. None if it is
/// not whole; then what there is of it is kept.
fn read_head(
    bytes: &mut [u8; HEADER_BYTES_MAX],
    have: &mut u8,
    rest: &[u8],
    read: &mut usize,
    role: Role,
) -> Result<Option<Head>, Violation> {
    if *have == 0
        && let Some(head) = header::read(rest, role)?
    {
        *read += head.bytes;
        return Ok(Some(head));
    }
    let before = usize::from(*have);
    let more = rest.len().min(HEADER_BYTES_MAX - before);
    bytes[before..before + more].copy_from_slice(&rest[..more]);
    match header::read(&bytes[..before + more], role)? {
        Some(head) => {
            // Whatever was kept was not enough, so it ends behind that.
            *read += head.bytes.saturating_sub(before);
            Ok(Some(head))
        }
        None => {
            *read += more;
            *have += more as u8;
            Ok(None)
        }
    }
}

/// What a close frame says: nothing, or a code and a reason for people (5.5.1).
fn read_close(payload: &[u8]) -> Result<Option<CloseCode>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(Violation::BadCloseCode) };
    };
    let code = CloseCode::new(u16::from_be_bytes(*code)).ok_or(Violation::BadCloseCode)?;
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(Some(code)),
        Err(_) => Err(Violation::BadCloseReason),
    }
}
