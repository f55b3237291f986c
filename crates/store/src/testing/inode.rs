//! A file of the simulated disk: what is read from it, what would be left of it, and what is in
//! between.

use std::collections::BTreeMap;

/// A disk writes a sector whole or not at all.
pub(super) const SECTOR: usize = 512;

type Sector = [u8; SECTOR];

/// A file.
#[derive(Debug, Default)]
pub(super) struct Inode {
    /// What is read.
    now: Vec<u8>,
    /// What is on stable storage.
    stable: Vec<u8>,
    /// What each sector has been since the last flush, oldest first.
    unflushed: BTreeMap<usize, Vec<Sector>>,
    /// Which sectors there is space for: what was jumped over has none.
    allocated: Vec<bool>,
}

impl Inode {
    pub(super) fn len(&self) -> u64 {
        self.now.len() as u64
    }

    /// How many sectors more a write would take.
    pub(super) fn growth(&self, offset: usize, length: usize) -> u64 {
        let sectors = offset / SECTOR..(offset + length).div_ceil(SECTOR);
        sectors.filter(|sector| !self.allocated.get(*sector).is_some_and(|there| *there)).count()
            as u64
    }

    /// Sectors that it takes.
    pub(super) fn sectors(&self) -> u64 {
        self.allocated.iter().filter(|there| **there).count() as u64
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        self.allocated.resize(self.allocated.len().max(end.div_ceil(SECTOR)), false);
        self.allocated[offset / SECTOR..end.div_ceil(SECTOR)].fill(true);
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now[offset..end].copy_from_slice(bytes);
        for number in offset / SECTOR..end.div_ceil(SECTOR) {
            let version = sector(&self.now, number);
            self.unflushed.entry(number).or_default().push(version);
        }
    }

    pub(super) fn read(&self, into: &mut [u8], offset: usize) -> bool {
        match self.now.get(offset..offset + into.len()) {
            Some(bytes) => {
                into.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    pub(super) fn flush(&mut self) {
        self.settle(|versions| versions - 1);
    }

    /// A flush fails: what was written is read for as long as it stays in memory, and nothing will
    /// bring it to the disk any more.
    pub(super) fn fail_flush(&mut self) {
        self.unflushed.clear();
    }

    /// The power is gone: of each sector, `choose` says which of its versions is left, the stable
    /// one being number zero of so many.
    pub(super) fn crash(&mut self, choose: impl FnMut(usize) -> usize) {
        self.settle(choose);
        self.now.clone_from(&self.stable);
    }

    fn settle(&mut self, mut choose: impl FnMut(usize) -> usize) {
        for (number, versions) in std::mem::take(&mut self.unflushed) {
            let chosen = choose(versions.len() + 1);
            if let Some(version) = chosen.checked_sub(1).and_then(|chosen| versions.get(chosen)) {
                let end = (number + 1) * SECTOR;
                if self.stable.len() < end {
                    self.stable.resize(end, 0);
                }
                self.stable[end - SECTOR..end].copy_from_slice(version);
            }
        }
    }

    /// Flips a bit, in memory and on the disk. False if the file is shorter.
    pub(super) fn flip(&mut self, bit: usize) -> bool {
        let (at, mask) = (bit / 8, 1 << (bit % 8));
        let mut flipped = false;
        for bytes in [&mut self.now, &mut self.stable] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= mask;
                flipped = true;
            }
        }
        flipped
    }
}

/// A sector of a file, zeros behind its end.
fn sector(bytes: &[u8], number: usize) -> Sector {
    let mut sector = [0; SECTOR];
    let begin = number * SECTOR;
    let end = bytes.len().min(begin + SECTOR);
    sector[..end - begin].copy_from_slice(&bytes[begin..end]);
    sector
}
