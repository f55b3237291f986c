//! Certificates from outside the crate: made and read back, damaged files, and openssl's view of them.
//!
//! Nothing here looks into private parts. Each test has a directory of its own below the target
//! directory; openssl comes from `cargo xtask prepare`.

mod damaged;
mod made;
mod openssl;
mod room;
mod saving;
