//! The first block of a segment: that it is one of ours, of which format, and which number it has.

use super::{OLDEST, VERSION};

/// The block of its own in which the header lies, so that no batch shares a sector with it.
pub(crate) const DATA_START: u32 = 4_096;

const MAGIC: [u8; 8] = *b"NOCTULE\x01";
const HEADER_BYTES: usize = 20;

/// What the first block of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// A segment of this number.
    Segment(u32),
    /// A segment in a format of another version.
    Unknown(u32),
    /// Nothing that we would have written.
    None,
}

/// The bytes of the first block.
pub(crate) fn header(segment: u32) -> Vec<u8> {
    let mut block = Vec::with_capacity(DATA_START as usize);
    block.extend_from_slice(&MAGIC);
    block.extend_from_slice(&VERSION.to_le_bytes());
    block.extend_from_slice(&segment.to_le_bytes());
    let crc = crc32fast::hash(&block);
    block.extend_from_slice(&crc.to_le_bytes());
    block.resize(DATA_START as usize, 0);
    block
}

/// Reads the first block.
pub(crate) fn read_header(block: &[u8]) -> Header {
    let Some(bytes) = block.first_chunk::<HEADER_BYTES>() else {
        return Header::None;
    };
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    if bytes[..8] != MAGIC || word(16) != crc32fast::hash(&bytes[..16]) {
        return Header::None;
    }
    match word(8) {
        OLDEST..=VERSION => Header::Segment(word(12)),
        version => Header::Unknown(version),
    }
}

/// The name of the file of a segment.
pub(crate) fn file_name(segment: u32) -> String {
    format!("segment-{segment:08x}")
}

/// The name of a file that waits to become a segment.
pub(crate) fn spare_name(segment: u32) -> String {
    format!("spare-{segment:08x}")
}

/// The number in a name that begins with `prefix`.
fn number_in(name: &str, prefix: &str) -> Option<u32> {
    let digits = name.strip_prefix(prefix)?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    (format!("{prefix}{number:08x}") == name).then_some(number)
}

/// The number of the segment in a file of this name.
pub(crate) fn number_of(name: &str) -> Option<u32> {
    number_in(name, "segment-")
}

/// The number in the name of a spare.
pub(crate) fn number_of_spare(name: &str) -> Option<u32> {
    number_in(name, "spare-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_damaged_or_newer_ones_are_told_apart() {
        let block = header(7);
        assert_eq!(read_header(&block), Header::Segment(7));
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = block.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_header(&flipped), Header::None, "bit {bit}");
        }
        let mut newer = block[..16].to_vec();
        newer[8] = 9;
        let crc = crc32fast::hash(&newer);
        newer.extend_from_slice(&crc.to_le_bytes());
        assert_eq!(read_header(&newer), Header::Unknown(9));
    }

    #[test]
    fn names_have_one_spelling() {
        assert_eq!(number_of(&file_name(0x1f)), Some(0x1f));
        assert_eq!(number_of("segment-1f"), None);
        assert_eq!(number_of("segment-0000001F"), None);
        assert_eq!(number_of_spare(&spare_name(3)), Some(3));
    }
}
