//! What the client commands have in common on their command lines: where to connect and as whom.
//!
//! Flags are those of mosquitto_pub, mosquitto_sub and mosquitto_rr, so that fingers and scripts
//! know them; `-h` is the host. What a command does with its connection is its own matter.

mod connection;
mod duration;
mod line;
mod property;
mod security;

pub(crate) use connection::{
    Access, Connection, access, access_arguments, arguments, connection, connection_v5, qos, trust,
};
pub(crate) use duration::duration;
pub(crate) use line::{joined, prepared};
pub(crate) use property::{PROPERTY, PropertyOption, property_argument};

/// The client commands, and the saved options of mosquitto's that they read if there are none of
/// their own.
pub(crate) const CLIENT_COMMANDS: &[(&str, Option<&str>)] = &[
    ("pub", Some("mosquitto_pub")),
    ("sub", Some("mosquitto_sub")),
    ("request", Some("mosquitto_rr")),
    ("sensor", None),
    ("shell", None),
    ("dashboard", None),
    ("check", None),
    ("bench", None),
    ("stress", None),
];
