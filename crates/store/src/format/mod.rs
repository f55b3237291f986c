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
/// version refuses to touch it. So does a change to the order in which the broker hands retained messages
/// out: what is written of that is a topic, and what it means is everything before it in this order.
pub const VERSION: u32 = 4;

/// The oldest format that is read. Format 2 did not say that a user name was only claimed; up to format 3
/// it was not known how far handing out retained messages had come. Otherwise they are the same.
pub(crate) const OLDEST: u32 = 2;

#[cfg(test)]
mod tests {
    use noctule_broker::{RETAINED_PARTS, retained_part};

    /// Another order would pass over messages that are due, and hand out others again. Whoever changes it
    /// raises the version, has what is read of older ones begin anew (as `None` for the number of a
    /// handing out does), and only then changes what is expected here.
    #[test]
    fn a_version_of_the_format_has_one_order_of_retained_messages() {
        let topics = ["a", "a/b", "home/kitchen/temperature", "noctule/", "\u{fc}", "$SYS/x", ""];
        let parts = topics.map(|topic| retained_part(topic.as_bytes(), RETAINED_PARTS));
        assert_eq!((super::VERSION, RETAINED_PARTS, parts), (4, 16, [15, 14, 2, 4, 6, 9, 0]));
    }
}
