//! Byte pipes for a readiness loop: listeners and non-blocking connections.
//!
//! Nothing here knows what the bytes mean, and nothing waits: what cannot be done now says
//! [`WouldBlock`](std::io::ErrorKind::WouldBlock). TLS and WebSocket will be further kinds of
//! [`Pipe`].

mod pipe;
mod tcp;

pub use pipe::Pipe;
pub use tcp::{Listener, bind_all};
