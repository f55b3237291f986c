//! WebSocket over any other pipe.
//!
//! `noctule-ws` knows what the bytes mean; here they come and go.

mod failure;
mod rules;
mod stream;

pub use failure::WebSocketFailure;
pub use rules::{Origins, WebSocketRules};
pub use stream::WebSocketStream;
