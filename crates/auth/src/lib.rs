//! Who are you? User names and passwords in a file, and the SCRAM exchange, for which nobody keeps
//! secrets yet.
//!
//! Nothing here knows of connections, threads or terminals. Checking a password is expensive on
//! purpose (20 MiB of memory and some 20 ms): who calls it bounds how many run at once, and does not
//! do it on a loop's thread. A password is never part of a message or of `Debug` output.

mod file;
mod hash;
mod problem;
mod replace;
mod scram;

pub use file::{Change, PasswordFile};
pub use hash::PASSWORD_BYTES_MAX;
pub use problem::{Fault, PasswordFileError};
pub use scram::{ITERATIONS_DEFAULT, SCRAM_SHA_256, ScramError, ScramExchange, ScramSecret};
