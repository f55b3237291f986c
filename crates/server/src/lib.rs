//! The building: configuration, and the place where the rooms of the broker are put together.
//!
//! Sockets, threads, clocks and signals meet the post office here. No rule of MQTT lives here. Only
//! this crate reads the configuration file and the environment.

mod acl_files;
mod arrivals;
mod clock;
mod commons;
mod complaints;
mod door;
mod durable;
mod ending;
mod entrances;
mod event_loop;
mod gate;
mod json_text;
mod limits;
mod live;
mod local_time;
mod log;
mod log_file;
mod mailboxes;
mod memory;
mod message_log;
pub mod mosquitto;
mod opening;
pub mod options;
mod own_certificate;
mod privileges;
mod raw_log;
mod run;
mod sockets;
mod spare_memory;
mod stamp;
mod statistics;
mod storage;
mod strangers;
mod supervisor;
mod tls_files;
mod tls_watch;
mod watcher;

pub use opening::quoted_path;
pub use own_certificate::is_brokers_own;
pub use run::{StartError, run};
pub use tls_files::TlsError;
