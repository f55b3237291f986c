//! How the log looks on disk: segments, batches in them, records in those.
//!
//! Pure functions between values and bytes. Bytes that come from a disk may be anything: reading
//! them returns what is wrong and never panics. Which bytes are read when, and what they mean for
//! the state, is the engine's business.
//!
//! ```text
//! segment   4 KiB: magic, format version, segment number, CRC      then batches, each at a multiple of 8
//! batch     56 bytes: magic, CRC, length, CRC of the batch before, segment, oldest segment needed,
//!           number, highest number flushed before, wall time, count of records, part of
//!           its group      then records
//! record    length, CRC, kind, fields
//! ```
//!
//! Numbers of fixed width are little-endian.

pub(crate) mod batch;
pub(crate) mod bytes;
pub(crate) mod record;
pub(crate) mod segment;

/// The version of the format. Any change to what is written raises it; whoever does not know a
/// version refuses to touch it.
pub const VERSION: u32 = 4;

/// The oldest format that is read. Format 2 did not say that a user name was only claimed; up to format 3
/// it was not known how far handing out retained messages had come. Otherwise they are the same.
pub(crate) const OLDEST: u32 = 2;
