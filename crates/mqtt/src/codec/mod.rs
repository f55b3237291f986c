//! Reading and writing packets: frames (`frame`), fields (`reader`, `writer`) and what is inside
//! each packet (with the packet's own struct, in [`crate::packet`]).
//!
//! The invariant: no index is computed from the peer's numbers without the bytes being there. A
//! length that a peer claims never allocates anything.

mod frame;
mod frame_buffer;
mod position;
mod reader;
mod writer;

pub(crate) use frame::check_first_byte;
pub use frame::{Frame, REMAINING_LENGTH_MAX, next_frame};
pub use frame_buffer::FrameBuffer;
pub use position::position;
pub(crate) use reader::Reader;
pub use writer::EncodeError;
pub use writer::variable_byte_integer_len;
pub(crate) use writer::{
    packet, write_binary, write_string, write_text, write_variable_byte_integer,
};

use crate::{Packet, ProtocolVersion, Receiver, Violation};

/// Decodes the packet in `frame`, read at the `receiver`'s end of a connection that speaks
/// `version`. CONNECT announces its own version, and `version` is not looked at.
///
/// # Errors
/// The first [`Violation`] met. The connection must be closed then; [`Violation::answer`] says
/// with which words.
pub fn decode<'a>(
    frame: &Frame<'a>,
    version: ProtocolVersion,
    receiver: Receiver,
) -> Result<Packet<'a>, Violation> {
    Packet::decode(frame, version, receiver)
}

/// Appends `packet` to `out` in the form of `version`. CONNECT is written in its own version.
///
/// # Errors
/// [`EncodeError`] if a field cannot be expressed; `out` is as before then.
pub fn encode(
    packet: &Packet<'_>,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let before = out.len();
    packet.encode(version, out).inspect_err(|_| out.truncate(before))
}
