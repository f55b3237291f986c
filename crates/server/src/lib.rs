//! The building: configuration, and the place where the rooms of the broker are put together.
//!
//! Sockets, threads, clocks and signals meet the post office here. No rule of MQTT lives here. Only
//! this crate reads the configuration file and the environment.

mod clock;
mod commons;
mod complaints;
mod event_loop;
mod json_text;
mod limits;
mod local_time;
mod log;
mod mailboxes;
mod memory;
mod message_log;
pub mod options;
mod raw_log;
mod run;
mod sockets;
mod statistics;

pub use run::{StartError, run};
