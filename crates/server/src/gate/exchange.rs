//! SCRAM-SHA-256 at the gate: the steps of an exchange, between which its state lies with the
//! connection's socket. A step takes microseconds, as the client does the hashing; so it is taken on
//! the loop's thread.

use super::NOT_AUTHORIZED;
use super::passwords::Passwords;
use noctule_auth::scram::{ScramError, ScramExchange};
use noctule_broker::{ConnectionHandle, Enhanced, Event, Principal, Step};
use rustix::rand::{GetRandomFlags, getrandom};
use std::fmt::Write;
use tracing::debug;

/// An exchange that has begun on a connection, if one has.
pub(crate) type Begun = Option<Box<ScramExchange>>;

/// Takes a step.
pub(super) fn step(
    passwords: &Passwords,
    begun: &mut Begun,
    said: &Enhanced,
    connection: ConnectionHandle,
) -> Event {
    let data = said.data.as_deref().unwrap_or_default();
    let done = match (said.step, begun.take()) {
        (Step::First | Step::Again, _) => begin(passwords, data, begun)
            .map(|data| Event::Challenged { connection, data: data.into() }),
        (Step::Next, Some(exchange)) => finish(*exchange, data, connection),
        (Step::Next, None) => Err(ScramError::Malformed("a beginning")),
    };
    done.unwrap_or_else(|error| {
        debug!("{error}");
        Event::Authenticated { connection, verdict: NOT_AUTHORIZED }
    })
}

fn begin(passwords: &Passwords, data: &[u8], begun: &mut Begun) -> Result<Vec<u8>, ScramError> {
    let nonce = nonce().ok_or(ScramError::NotSupported("a machine without random numbers"))?;
    let file = passwords.current();
    let (exchange, challenge) = ScramExchange::begin(data, &nonce, |user| file.scram_secret(user))?;
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
    let mut bytes = [0; 18];
    let got = getrandom(&mut bytes, GetRandomFlags::empty()).ok()?;
    let mut nonce = String::with_capacity(2 * bytes.len());
    // Writing to a string cannot fail.
    for byte in bytes {
        let _ = write!(nonce, "{byte:02x}");
    }
    (got == bytes.len()).then_some(nonce)
}
