//! SCRAM-SHA-256 (RFC 5802 and RFC 7677), both halves: a client proves that it knows its password
//! without saying it, and the server that it knows what is derived from it.
//!
//! Nothing here knows of packets or connections, where secrets are kept, or randomness: nonces and
//! salts are given. Channel binding is not offered. User names and passwords are taken as they are,
//! without the normalization of RFC 4013, which leaves ASCII as it is.
//!
//! ```
//! use noctule_scram::{ITERATIONS_DEFAULT, ScramClient, ScramExchange, ScramSecret};
//!
//! let kept = ScramSecret::derive(b"pencil", b"a random salt", ITERATIONS_DEFAULT);
//! let (client, first) = ScramClient::begin("user", b"pencil", "client's nonce");
//! let (server, challenge) = ScramExchange::begin(&first, "server's nonce", |_| kept)?;
//! let (client, proof) = client.answer(&challenge)?;
//! let word = server.finish(&proof)?;
//! client.verify(&word)?;
//! # Ok::<(), noctule_scram::ScramError>(())
//! ```

mod client;
mod error;
mod keys;
mod message;
mod secret;
mod server;

pub use client::{ScramAnswered, ScramClient};
pub use error::ScramError;
pub use secret::{ITERATIONS_DEFAULT, ITERATIONS_MAX, ITERATIONS_MIN, ScramSecret};
pub use server::ScramExchange;

/// What the method is called in MQTT's authentication method.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
