//! A frame on its way out: a header, and payload that the caller writes behind it.
//!
//! A server's payload leaves from where it lies. A socket may take any part of a frame, and whatever comes
//! next is the rest of it: so the frame under way is remembered as two numbers.

use crate::{FrameHeader, MaskKey};

/// The frame that is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutgoingFrame {
    header: FrameHeader,
    /// Bytes of the header that have left.
    header_sent: u8,
    /// Bytes of payload that have not.
    left: u64,
}

impl OutgoingFrame {
    /// Whether the last frame has left, so that another may begin.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left == 0 && self.header().is_empty()
    }

    /// Begins a binary frame of `payload` bytes, masked by `key` if this is a client. Only if the last one
    /// [is over](Self::is_over).
    #[inline]
    pub fn begin(&mut self, payload: u64, key: Option<MaskKey>) {
        debug_assert!(self.is_over(), "a frame is begun in the middle of another one");
        *self = Self { header: FrameHeader::binary(payload, key), header_sent: 0, left: payload };
    }

    /// What has to leave before payload does.
    #[must_use]
    #[inline]
    pub fn header(&self) -> &[u8] {
        self.header.as_bytes().get(usize::from(self.header_sent)..).unwrap_or_default()
    }

    /// How many bytes of payload are still to follow.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// So many bytes of header and payload have left; returns how many of them were payload.
    #[inline]
    pub fn written(&mut self, bytes: usize) -> usize {
        let of_header = bytes.min(self.header().len());
        self.header_sent += of_header as u8;
        let of_payload = bytes - of_header;
        self.left = self.left.saturating_sub(of_payload as u64);
        of_payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_leaves_in_any_pieces() {
        for step in 1..20 {
            let mut frame = OutgoingFrame::default();
            assert!(frame.is_over());
            frame.begin(300, None);
            let (mut wire, mut payload) = (Vec::new(), 0);
            while !frame.is_over() {
                let mut all = frame.header().to_vec();
                all.extend(std::iter::repeat_n(7, frame.left() as usize));
                let taken = step.min(all.len());
                wire.extend_from_slice(&all[..taken]);
                payload += frame.written(taken);
            }
            assert_eq!(payload, 300);
            assert_eq!(wire[..4], [0x82, 126, 1, 44]);
            assert_eq!(wire.len(), 304, "in steps of {step}");
        }
    }

    #[test]
    fn an_empty_frame_is_its_header() {
        let mut frame = OutgoingFrame::default();
        frame.begin(0, None);
        assert!(!frame.is_over());
        assert_eq!((frame.written(2), frame.is_over()), (0, true));
    }
}
