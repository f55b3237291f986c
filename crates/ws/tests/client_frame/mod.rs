//! A client's frames, also those that no client of ours would send: for the tests of frames and for those
//! of pipes.

use noctule_ws::{FrameHeader, MaskKey, Opcode, apply_mask};

pub(crate) const BINARY: u8 = 0x82;
pub(crate) const PING: u8 = 0x89;
pub(crate) const CLOSE: u8 = 0x88;

/// A masked frame with a first byte as given.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = MaskKey::new([0x37, 0xfa, 0x21, 0x3d]);
    let header = FrameHeader::new(Opcode::Binary, payload.len() as u64, Some(key));
    let mut bytes = header.as_bytes().to_vec();
    bytes[0] = first;
    let begin = bytes.len();
    bytes.extend_from_slice(payload);
    apply_mask(&mut bytes[begin..], key);
    bytes
}
