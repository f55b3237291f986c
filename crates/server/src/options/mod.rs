//! The options of the broker: one table, one typed [`Config`], and everything that walks the table.
//!
//! A row of [`table`](self) is an option: its field, type, default, range, documentation, flags.
//! The configuration file, the environment, `--help`, `--print-config` and `docs/configuration.md`
//! have no list of their own; they walk [`OPTIONS`]. What an option *does* must not live here, and
//! no other crate reads TOML or the environment.
//!
//! Invariant: a [`Config`] that [`Sources::load`] returned holds values inside their ranges only.
//!
//! ```
//! use noctule_server::options::{Config, Limit, ByteSize};
//!
//! let config = Config::default();
//! assert_eq!(config.port, 1883);
//! assert_eq!(config.limits.unsent_bytes_max, Limit::At(ByteSize(1024 * 1024)));
//! ```

mod change;
mod choice;
mod environment;
mod file;
mod file_mode;
mod limit;
mod listener;
mod load;
mod manual;
mod methods;
mod nearest;
mod network;
mod origins;
mod print;
mod problem;
mod quantity;
mod spec;
mod table;
mod value;
mod versions;
#[cfg(test)]
mod walks;

/// A configuration as a file without faults would have it.
#[cfg(test)]
pub(crate) fn config_of(text: &str) -> Config {
    let mut config = Config::default();
    assert_eq!(file::read_text(std::path::Path::new("n.toml"), text, &mut config), []);
    config
}

pub(crate) use change::{changes, take_up};
pub use choice::{
    CertificateUser, ClientAuth, DeniedWill, Durability, Hello, HttpAuthFormat, LogFormat,
    LogMessages, OnQueueFull, Sharing, TlsVersion, Transport,
};
pub use file_mode::FileMode;
pub use limit::{Auto, Limit, Optional};
pub use listener::{Listener, ListenerTable};
pub use load::{Dialect, Loaded, Sources, load_text};
pub use manual::manual;
pub use methods::{AuthMethod, AuthMethods};
pub(crate) use nearest::nearest;
pub use network::Networks;
pub use origins::Origins;
pub use print::print_config;
pub use problem::{Place, Problem, Problems};
pub use quantity::{ByteSize, Seconds};
pub use spec::{OptionSpec, Section, Shape};
pub use table::{
    Config, LISTENER, LISTENER_OPTIONS, LimitOptions, ListenerOptions, OPTIONS, ProtocolOptions,
    SECTIONS, SessionOptions,
};
pub use versions::Versions;
