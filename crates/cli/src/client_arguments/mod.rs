//! What the client commands have in common on their command lines: where to connect and as whom.
//!
//! Flags are those of mosquitto_pub, mosquitto_sub and mosquitto_rr, so that fingers and scripts
//! know them; `-h` is the host. What a command does with its connection is its own matter.

mod access;
mod connection;
mod duration;
mod line;
mod place;
mod property;
mod security;
mod will;

pub(crate) use access::{Access, access, access_arguments};
pub(crate) use connection::{Connection, arguments, connection, connection_v5, qos};
pub(crate) use duration::duration;
pub(crate) use line::{joined, prepared};
pub(crate) use place::address;
pub(crate) use property::{PROPERTY, PropertyOption, property_argument};
pub(crate) use security::{is_left_out as is_tls_left_out, trust};

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
