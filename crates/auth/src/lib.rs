//! Who are you? User names and passwords in a file, of all the kinds in which they are kept there,
//! tokens, and somebody who is asked over HTTP.
//!
//! Nothing here knows of clients' connections, threads or terminals. Checking a password is expensive on
//! purpose (20 MiB of memory and some 20 ms): who calls it bounds how many run at once, and does not
//! do it on a loop's thread. A password is never part of a message or of `Debug` output.

mod argon;
mod callout;
mod compare;
mod credential;
mod file;
mod mosquitto;
mod problem;
mod replace;
mod token;
mod verified;

pub use callout::{
    Answer, Asked, BodyFormat, Breaker, Callout, CalloutFailure, CalloutOptions, CalloutProblem,
    Remembered, Turn,
};
pub use credential::{Hashing, PASSWORD_BYTES_MAX};
pub use file::{Change, PasswordFile};
pub use noctule_scram as scram;
pub use problem::{Fault, PasswordFileError};
pub use token::{
    KeySetError, KeySetFault, TokenBearer, TokenError, TokenKeys, TokenRules, is_token,
};
pub use verified::Verified;
