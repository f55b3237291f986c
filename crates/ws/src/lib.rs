//! WebSocket as MQTT needs it (RFC 6455), without I/O: the upgrade from HTTP/1.1 for both ends, and a
//! stream of bytes in binary frames.
//!
//! What is here, from the outside inwards:
//!
//! - [`read_request`] for a server, [`ClientUpgrade`] for a client;
//! - [`Conversation`]: bytes from the peer become payload *where they lie*, answers to its control frames
//!   are written, and the closing handshake is kept;
//! - [`OutgoingFrame`]: what is written, under a header that is made for one flush;
//! - [`Decoder`], [`FrameHeader`], [`CloseCode`], [`Violation`] for those who need less.
//!
//! What is not: sockets, time, TLS, MQTT, and extensions. There is no compression: it costs memory for
//! each connection, and before a client has said who it is, it is a way to make a little data large.
//! Messages of WebSocket have no meaning either: MQTT's packets and frames do not begin together
//! `[MQTT5-6.0.0-2]` `[MQTT3-6.0.0-2]`, so the payloads of frames are simply one stream, and nothing is gathered.
//!
//! Invariant: memory does not depend on the peer. A frame of any length is passed on as it comes; what is
//! kept of it is its header, or the 125 bytes that a control frame may have; answers wait in a buffer with
//! an end.

mod answers;
mod client_stream;
mod close;
mod conversation;
mod decoder;
mod header;
mod mask;
mod outgoing;
mod upgrade;
mod violation;

pub use client_stream::{CHUNK_BYTES_MAX, ClientStream, good_end};
pub use close::CloseCode;
pub use conversation::{Conversation, End, Taken};
pub use decoder::{Cursor, Decoder, Met};
pub use header::{FrameHeader, Opcode, Role};
pub use mask::{MaskKey, MaskKeys, NoRandomness, apply_mask};
pub use outgoing::OutgoingFrame;
pub use upgrade::{
    BadRequestPart, ClientUpgrade, HEAD_BYTES_MAX, Refusal, Subprotocol, UpgradeFailure,
    UpgradeRequest, head_end, read_request,
};
pub use violation::Violation;
