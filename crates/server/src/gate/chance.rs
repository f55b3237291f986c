//! Random bytes from the operating system, for nonces and keys.

use rustix::rand::{GetRandomFlags, getrandom};
use std::io;

/// Bytes that nobody can foresee.
pub(super) fn random<const COUNT: usize>() -> io::Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    let got = getrandom(&mut bytes, GetRandomFlags::empty())?;
    // So few come at once or not at all.
    if got == COUNT { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
