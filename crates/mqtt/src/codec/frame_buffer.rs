//! The bytes of one packet that has not arrived whole.
//!
//! Whole packets are decoded where they were read; only the unfinished one at the end of what was
//! read is copied here, and it is completed before anything behind it is looked at. The buffer
//! grows with the bytes that come, never with a length that was claimed.

use super::Frame;
use super::frame::{FrameLength, frame_length};
use crate::Violation;

/// Collects the bytes of one packet. Empty, it owns no memory and is a pointer, as most of the many
/// that there are.
#[derive(Debug, Default)]
#[allow(clippy::box_collection, reason = "the bytes are rarely there, and a pointer is small")]
pub struct FrameBuffer(Option<Box<Vec<u8>>>);

impl FrameBuffer {
    /// Whether nothing is waiting.
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// The first byte that is waiting.
    pub fn first_byte(&self) -> Option<u8> {
        self.bytes().first().copied()
    }

    /// How many bytes are waiting.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |bytes| bytes.as_slice())
    }

    /// Takes from the front of `input` what the waiting packet still lacks and returns how many
    /// bytes that was. Afterwards either `input` is used up or the packet is
    /// [complete](Self::frame).
    ///
    /// # Errors
    /// As [`next_frame`](super::next_frame).
    pub fn fill(&mut self, input: &[u8], bytes_max: u32) -> Result<usize, Violation> {
        let mut used = 0;
        loop {
            let wanted = match frame_length(self.bytes(), bytes_max)? {
                FrameLength::AtLeast(total) | FrameLength::Known { total, .. } => total,
            };
            let take = wanted.saturating_sub(self.len()).min(input.len() - used);
            if take == 0 {
                return Ok(used);
            }
            self.0.get_or_insert_default().extend_from_slice(&input[used..used + take]);
            used += take;
        }
    }

    /// The packet, if it is complete.
    ///
    /// # Errors
    /// As [`next_frame`](super::next_frame).
    pub fn frame(&self, bytes_max: u32) -> Result<Option<Frame<'_>>, Violation> {
        super::next_frame(self.bytes(), bytes_max)
    }

    /// Empties the buffer and hands its memory over, for reuse or to be freed.
    pub fn take(&mut self) -> Vec<u8> {
        self.0.take().map_or_else(Vec::new, |bytes| *bytes)
    }

    /// Puts bytes back that [`take`](Self::take) gave out.
    pub fn restore(&mut self, bytes: Vec<u8>) {
        self.0 = (!bytes.is_empty()).then(|| Box::new(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_completed_byte_by_byte_and_nothing_behind_it_is_taken() {
        let input = [0x30, 0x05, 0x00, 0x01, b'a', 1, 2, 0xC0, 0x00];
        let mut buffer = FrameBuffer::default();
        for byte in &input[..6] {
            assert_eq!(buffer.fill(std::slice::from_ref(byte), 100), Ok(1));
            assert_eq!(buffer.frame(100), Ok(None));
        }
        assert_eq!(buffer.fill(&input[6..], 100), Ok(1));
        assert_eq!(buffer.frame(100).unwrap().unwrap().bytes, &input[..7]);
    }

    #[test]
    fn a_claim_of_256_mb_allocates_nothing() {
        let mut buffer = FrameBuffer::default();
        buffer.fill(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F, 0x00], u32::MAX).unwrap();
        assert!(buffer.take().capacity() < 100);
    }
}
