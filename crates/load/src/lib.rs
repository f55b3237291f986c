//! The house's one load generator: it drives any MQTT broker with messages that know their place,
//! checks that each came back once and in order, and measures what that cost the broker.
//!
//! Here live the connections and their pace ([`fleet`], [`plan`], [`schedule`]), those that come and
//! go ([`dialer`]), the checker ([`checker`]), the brokers under test as processes ([`target`],
//! [`process`], [`rations`]) and what is measured with them: their cost ([`compare`], [`idle`], [`durable`]), what they bear
//! ([`trial`]), all that by which speed and size are judged in one run ([`suite`]), and for users with a broker of their own all of it at once ([`mod@bench`]); and a relay
//! that only copies bytes, as the floor ([`relay`]). No rule of MQTT lives here: packets are read and
//! written by `noctule-mqtt`. The invariant: what a message costs is compared only for messages that
//! were delivered exactly once and in order.
//!
//! The generator of load is one thread without a runtime and leaves message bodies alone, because
//! on a small machine every microsecond it takes is taken from the broker.

mod alarm;
pub mod bench;
mod caller;
mod carrier;
pub mod checker;
pub mod compare;
pub mod dialer;
pub mod durable;
pub mod endpoint;
mod error;
pub mod fleet;
mod framed;
pub mod idle;
pub mod latency;
mod link;
pub mod machine;
pub mod packets;
pub mod plan;
pub mod process;
pub mod rations;
pub mod relay;
pub mod schedule;
mod socket;
pub mod statistics;
pub mod suite;
pub mod table;
pub mod target;
pub mod torture;
pub mod trial;
pub mod watcher;

pub use error::LoadError;
