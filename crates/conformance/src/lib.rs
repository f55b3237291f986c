//! Conformance of an MQTT broker, clause by clause, over a socket: what is expected is written from
//! the specifications of 3.1.1 and 5.0, and from no broker.
//!
//! A [`Check`] names its clauses and says in a sentence what it does; [`run`] makes checks against a
//! [`Target`], any broker over TCP, TLS or WebSocket; a [`Finding`] says what was expected and what came. Valid
//! packets are written by the codec of `noctule-mqtt`, invalid ones byte by byte. Nothing here knows
//! our broker, and no check asks who the broker is.
//!
//! Where a clause leaves a choice, every choice passes. Where it does not say how long something may
//! take, it may take as long as [`Patience`] allows.

mod check;
mod checks;
mod heard;
mod lab;
mod outcome;
mod peer;
mod report;
mod say;
mod suite;
mod target;
mod wire;

pub use check::{Case, Chapter, Check, VERSIONS, cases};
pub use noctule_mqtt::ProtocolVersion;
pub use outcome::{Failure, Outcome};
pub use peer::Patience;
pub use report::{Tally, json, text};
pub use suite::{Finding, Selection, run, selected};
pub use target::{Target, Unreachable};
