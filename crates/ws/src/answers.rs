//! Control frames that wait to be written: answers to pings, and the close frame.
//!
//! Invariant: no more than [`BYTES_MAX`] wait. Who sends pings and does not take the answers gets the
//! answer to its last one, which is all that it may expect (RFC 6455, section 5.5.3).

use crate::header::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX};
use crate::{CloseCode, FrameHeader, MaskKey, Opcode, apply_mask};

/// Bytes that may wait, and a little more for the frame that is partly written and for a close frame.
const BYTES_MAX: usize = 1_024;

/// Control frames on their way out. Empty, it owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    frames: Vec<u8>,
    sent: usize,
    /// Where each frame that has not wholly left ends is known by walking; this is where the first begins.
    first: usize,
}

impl Answers {
    /// What is to leave next.
    pub(crate) fn waiting(&self) -> &[u8] {
        self.frames.get(self.sent..).unwrap_or_default()
    }

    /// So many bytes have left.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent >= self.frames.len() {
            *self = Self::default();
            return;
        }
        while let Some(end) = self.end_of(self.first)
            && end <= self.sent
        {
            self.first = end;
        }
    }

    pub(crate) fn pong(&mut self, payload: &[u8], key: Option<MaskKey>) {
        if self.waiting().len() + payload.len() > BYTES_MAX {
            // A frame that has begun to leave is to end, too.
            let kept = if self.sent > self.first { self.end_of(self.first) } else { None };
            self.frames.truncate(kept.unwrap_or(self.first));
        }
        self.push(Opcode::Pong, payload, key);
    }

    pub(crate) fn close(&mut self, code: Option<CloseCode>, key: Option<MaskKey>) {
        let code = code.map(|code| code.get().to_be_bytes());
        self.push(Opcode::Close, code.as_ref().map_or(&[], |code| code), key);
    }

    fn push(&mut self, opcode: Opcode, payload: &[u8], key: Option<MaskKey>) {
        debug_assert!(payload.len() <= CONTROL_BYTES_MAX, "a control frame is small");
        let header = FrameHeader::new(opcode, payload.len() as u64, key);
        self.frames.extend_from_slice(header.as_bytes());
        let begin = self.frames.len();
        self.frames.extend_from_slice(payload);
        if let Some(key) = key {
            apply_mask(&mut self.frames[begin..], key);
        }
    }

    /// Where the frame that begins at `begin` ends.
    fn end_of(&self, begin: usize) -> Option<usize> {
        let length = usize::from(self.frames.get(begin + 1)? & 0x7f);
        let header = if self.frames.get(begin + 1)? & 0x80 == 0 { 2 } else { 6 };
        debug_assert!(header <= HEADER_BYTES_MAX);
        Some(begin + header + length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_take_answers_gets_the_last_one() {
        for (taken, key) in [(0, None), (1, None), (60, None), (130, Some(MaskKey::new([9; 4])))] {
            let (mut answers, mut wire) = (Answers::default(), Vec::new());
            answers.pong(&[0; 100], key);
            answers.pong(&[1; 100], key);
            wire.extend_from_slice(&answers.waiting()[..taken]);
            answers.sent(taken);
            for number in 2..200u8 {
                answers.pong(&[number; 100], key);
                assert!(answers.frames.len() <= 2 * BYTES_MAX);
            }
            answers.close(Some(CloseCode::NORMAL), key);
            wire.extend_from_slice(answers.waiting());
            answers.sent(answers.waiting().len());
            assert!(answers.frames.capacity() == 0 && answers.waiting().is_empty());
            // They are whole frames, the last pong and the close frame among them.
            let header = if key.is_some() { 6 } else { 2 };
            let (mut at, mut last) = (0, None);
            while wire[at] != 0x88 {
                assert_eq!((wire[at], wire[at + 1] & 0x7f), (0x8a, 100));
                last = Some(wire[at + header] ^ key.map_or(0, |key| key.bytes()[0]));
                at += header + 100;
            }
            assert_eq!((last, wire.len() - at), (Some(199), header + 2), "{taken} taken");
        }
    }
}
