//! A batch: the records of one or several turns, written at once and valid only as a whole.
//!
//! Its CRC covers everything behind it, and with it the segment it was written for and the CRC of
//! the batch before. So bytes that an earlier use of the file has left behind, or that follow
//! something that was lost, are never taken for a part of the log.

/// Bytes before the records.
pub(crate) const HEADER_BYTES: usize = 56;
/// Batches begin at multiples of this.
pub(crate) const ALIGNMENT: u32 = 8;

const MAGIC: [u8; 4] = *b"NLB1";
/// What the CRC covers begins here.
const COVERED: usize = 8;

/// What a batch says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Bytes of its records.
    pub(crate) length: u32,
    pub(crate) crc: u32,
    /// The CRC of the batch before, in this segment or the one before.
    pub(crate) previous: u32,
    pub(crate) segment: u32,
    /// The first segment that was needed when it was written.
    pub(crate) oldest: u32,
    /// Counts the batches of the log.
    pub(crate) number: u64,
    /// The last batch that was on stable storage when this one was written.
    pub(crate) flushed: u64,
    /// When it was written, in milliseconds since 1970; never less than in the batch before.
    pub(crate) wall_ms: u64,
    /// Records in it; messages aside, which count by those who are owed them.
    pub(crate) records: u32,
}

impl Batch {
    /// Writes the header in front of the records in `bytes`, whose first [`HEADER_BYTES`] are kept
    /// free for it. Length and CRC are those of `bytes`; returns the CRC.
    pub(crate) fn seal(&self, bytes: &mut [u8]) -> u32 {
        let length = (bytes.len() - HEADER_BYTES) as u32;
        let mut at = COVERED;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&length.to_le_bytes());
        put(&self.previous.to_le_bytes());
        put(&self.segment.to_le_bytes());
        put(&self.oldest.to_le_bytes());
        put(&self.number.to_le_bytes());
        put(&self.flushed.to_le_bytes());
        put(&self.wall_ms.to_le_bytes());
        put(&self.records.to_le_bytes());
        put(&[0; 4]);
        let crc = crc32fast::hash(&bytes[COVERED..]);
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    /// Reads the batch at the front of `bytes` and its records. `None` if there is none, or not all
    /// of it. With `checked` false the CRC is not looked at.
    pub(crate) fn read(bytes: &[u8], checked: bool) -> Option<(Self, &[u8])> {
        let header = bytes.first_chunk::<HEADER_BYTES>()?;
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        if header[..4] != MAGIC {
            return None;
        }
        let batch = Self {
            crc: word(4),
            length: word(8),
            previous: word(12),
            segment: word(16),
            oldest: word(20),
            number: long(24),
            flushed: long(32),
            wall_ms: long(40),
            records: word(48),
        };
        let whole = bytes.get(..HEADER_BYTES.checked_add(batch.length as usize)?)?;
        if checked && crc32fast::hash(&whole[COVERED..]) != batch.crc {
            return None;
        }
        Some((batch, &whole[HEADER_BYTES..]))
    }

    /// Bytes from its beginning to where the next may begin.
    pub(crate) fn span(&self) -> u32 {
        (HEADER_BYTES as u32 + self.length).next_multiple_of(ALIGNMENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> (Batch, Vec<u8>) {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes.extend_from_slice(b"some records");
        let mut batch = Batch {
            length: 12,
            crc: 0,
            previous: 1,
            segment: 2,
            oldest: 3,
            number: 1 << 40,
            flushed: 5,
            wall_ms: 6,
            records: 7,
        };
        batch.crc = batch.seal(&mut bytes);
        (batch, bytes)
    }

    #[test]
    fn a_batch_comes_back_without_what_follows_it() {
        let (batch, mut bytes) = sealed();
        bytes.extend_from_slice(b"more");
        assert_eq!(Batch::read(&bytes, true), Some((batch, &b"some records"[..])));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let (_, bytes) = sealed();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Batch::read(&flipped, true), None, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(Batch::read(&bytes[..length], true), None, "cut to {length}");
        }
    }
}
