//! Whole blocks, in memory as direct output needs it.

use super::PAGE_BYTES;

/// What is written to a file block by block, while what is in it grows byte by byte: the last block
/// that was written is kept, as what comes next begins in it and has to be written with it.
///
/// Its memory begins at a multiple of a block, which a file system asks for that writes it past the
/// memory of the operating system.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    memory: Vec<u8>,
    /// Where in the memory the first block is.
    begin: usize,
    /// Bytes at its front that are in the file already.
    kept: usize,
}

impl Blocks {
    /// Bytes that are in the file already and have to be written again with what follows them.
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    /// What was kept and then `bytes`, with zeros to the end of the last block.
    pub(crate) fn with(&mut self, bytes: &[u8]) -> &[u8] {
        let end = self.kept + bytes.len();
        let whole = end.next_multiple_of(PAGE_BYTES);
        self.make_room(whole);
        let blocks = &mut self.memory[self.begin..self.begin + whole];
        blocks[self.kept..end].copy_from_slice(bytes);
        blocks[end..].fill(0);
        blocks
    }

    /// The first `length` of the bytes that were [given](Self::with) count; what follows will be written
    /// right behind them.
    pub(crate) fn keep(&mut self, length: usize) {
        let last = self.begin + length / PAGE_BYTES * PAGE_BYTES;
        self.memory.copy_within(last..self.begin + length, self.begin);
        self.kept = length % PAGE_BYTES;
        if self.memory.len() > MEMORY_KEPT {
            let kept = self.memory[self.begin..self.begin + self.kept].to_vec();
            *self = Self::default();
            self.make_room(PAGE_BYTES);
            self.memory[self.begin..self.begin + kept.len()].copy_from_slice(&kept);
            self.kept = kept.len();
        }
    }

    /// What follows begins with a block.
    pub(crate) fn keep_nothing(&mut self) {
        self.kept = 0;
    }

    /// For a planted fault: what was kept is zeros.
    pub(crate) fn forget(&mut self) {
        self.memory[self.begin..self.begin + self.kept].fill(0);
    }

    fn make_room(&mut self, bytes: usize) {
        if self.memory.len() >= self.begin + bytes {
            return;
        }
        let memory = vec![0; (2 * bytes).max(MEMORY_MIN) + PAGE_BYTES];
        // Where this is not known, writing falls back to what needs no such memory.
        let begin = memory.as_ptr().align_offset(PAGE_BYTES).min(PAGE_BYTES);
        let old = std::mem::replace(&mut self.memory, memory);
        if let Some(kept) = old.get(self.begin..self.begin + self.kept) {
            self.memory[begin..begin + kept.len()].copy_from_slice(kept);
        }
        self.begin = begin;
    }
}

/// Room for the batches of a broker that has little to do.
const MEMORY_MIN: usize = 64 << 10;
/// What a larger batch needed is given back.
const MEMORY_KEPT: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_whole_blocks_that_begin_with_what_is_there() {
        let (mut blocks, mut file, mut used) = (Blocks::default(), vec![0; 40 << 20], 0);
        let sizes = [1, 4_095, 4_096, 10, 100_000, 5 << 20, 3, 8_190, 6 << 20, 4_000, 97];
        for (number, size) in sizes.into_iter().enumerate() {
            let bytes = vec![number as u8 + 1; size];
            let begin = used - blocks.kept();
            assert!(begin.is_multiple_of(PAGE_BYTES) && blocks.kept() < PAGE_BYTES);
            let kept = blocks.kept();
            let written = blocks.with(&bytes);
            assert_eq!(written.as_ptr().align_offset(PAGE_BYTES), 0);
            assert!(written.len().is_multiple_of(PAGE_BYTES));
            assert_eq!(written[..kept], file[begin..used], "it is written as it was");
            file[begin..begin + written.len()].copy_from_slice(written);
            // Some batches end a little behind their last byte.
            let length = (kept + size).next_multiple_of(8);
            blocks.keep(length);
            used = begin + length;
        }
        let mut at: usize = 0;
        for (number, size) in sizes.into_iter().enumerate() {
            assert!(file[at..at + size].iter().all(|byte| *byte == number as u8 + 1), "{number}");
            at = (at + size).next_multiple_of(8);
        }
        blocks.keep_nothing();
        assert_eq!(blocks.with(&[9])[..2], [9, 0]);
    }
}
