//! SCRAM-SHA-256 at the gate: the steps of an exchange, between which its state lies with the
//! connection's socket. A step takes microseconds, as the client does the hashing; so it is taken on
//! the loop's thread.

use super::chance::random;
use super::passwords::Passwords;
use noctule_auth::scram::{ScramError, ScramExchange};
use noctule_broker::{ConnectionHandle, Enhanced, Event, Principal, Step};
use std::fmt::Write;

/// An exchange that has begun on a connection, if one has.
pub(crate) type Begun = Option<Box<ScramExchange>>;

/// Takes a step.
///
/// # Errors
/// Why the client is not believed; then the exchange is over.
pub(super) fn step(
    passwords: &Passwords,
    begun: &mut Begun,
    said: &Enhanced,
    connection: ConnectionHandle,
) -> Result<Event, ScramError> {
    let data = said.data.as_deref().unwrap_or_default();
    match (said.step, begun.take()) {
        (Step::First | Step::Again, _) => {
            let data = begin(passwords, data, begun)?.into();
            Ok(Event::Challenged { connection, data })
        }
        (Step::Next, Some(exchange)) => finish(*exchange, data, connection),
        (Step::Next, None) => Err(ScramError::Malformed("a beginning")),
    }
}

fn begin(passwords: &Passwords, data: &[u8], begun: &mut Begun) -> Result<Vec<u8>, ScramError> {
    let nonce = nonce().ok_or(ScramError::NotSupported("a machine without random numbers"))?;
    let (exchange, challenge) =
        ScramExchange::begin(data, &nonce, |user| passwords.scram_secret(user))?;
    *begun = Some(Box::new(exchange));
    Ok(challenge)
}

fn finish(
    exchange: ScramExchange,
    data: &[u8],
    connection: ConnectionHandle,
) -> Result<Event, ScramError> {
    let principal = Principal::user(exchange.user());
    let data = exchange.finish(data)?.into();
    Ok(Event::Proven { connection, principal, data })
}

/// Printable text that was never used before.
fn nonce() -> Option<String> {
    let bytes: [u8; 18] = random().ok()?;
    let mut nonce = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(nonce, "{byte:02x}");
    }
    Some(nonce)
}
