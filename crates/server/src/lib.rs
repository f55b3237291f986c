//! The building: configuration, and the place where the rooms of the broker are put together.
//!
//! Sockets, threads, clocks and signals meet the post office here. No rule of MQTT lives here. Only
//! this crate reads the configuration file and the environment.

mod clock;
mod commons;
mod event_loop;
mod limits;
mod log;
mod mailboxes;
mod memory;
pub mod options;
mod run;
mod sockets;

pub use run::{StartError, run};
