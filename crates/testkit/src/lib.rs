//! What tests of the core share: a world of one shard and its clients, in one thread and in virtual
//! time.
//!
//! [`World`] drives a shard as a server does, with sockets that are buffers, a store and an
//! authenticator that answer when the test wants, and a clock that moves when the test says so.
//! [`packets`] holds the words that clients say and expect, for all versions. [`Shards`] are several
//! shards with the mail between them in the test's hands, and a [`Plan`] runs the simulation. Nothing
//! here decides what a broker should do: tests do.
//!
//! ```
//! use noctule_testkit::{World, packets::*};
//!
//! let mut w = World::new();
//! w.connect("a", v311());
//! w.connect("b", v5());
//! w.subscribe("a", "x/#", 1);
//! w.publish("b", publish("x/y", "m").qos(1));
//! w.receive("a", publish("x/y", "m").qos(1));
//! w.expect_quiet();
//! ```

mod authenticator;
mod client;
mod dice;
mod hearing_out;
mod manners;
mod memory;
pub mod packets;
mod shards;
mod simulation;
mod store;
mod transcript;
mod world;

pub use authenticator::Authenticator;
pub use dice::{Dice, seed_from_environment};
pub use hearing_out::{Company, hear_out};
/// Words of what is [said](Said).
pub use noctule_mqtt::{PacketType, ReasonCode};
pub use packets::Said;
pub use shards::{Crossings, Given, Shards};
pub use simulation::{Plan, Totals};
pub use store::{PromptStore, Store};
pub use world::{Pieces, World};
