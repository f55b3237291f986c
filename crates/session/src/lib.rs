//! The conversation: what the two ends of an MQTT session may say next.
//!
//! In-flight messages and their packet identifiers in both directions, the order of
//! acknowledgements, keep-alive. Broker and client hold the same conversation, so both use this
//! crate. Nothing here touches a socket, a clock or a store: waiting for any of them is a state
//! that some event ends, and time is an argument.

mod ack_queue;
mod alias;
mod inbound;
mod keep_alive;
mod now;
mod outbound;

pub use ack_queue::{AckNumber, AckQueue};
pub use alias::{AliasUse, AliasesIn, AliasesOut};
pub use inbound::{Inbound, Received};
pub use keep_alive::KeepAlive;
pub use now::Now;
pub use outbound::{Acknowledged, InFlight, Outbound, PubrecAnswer, Stage, ToSend};
