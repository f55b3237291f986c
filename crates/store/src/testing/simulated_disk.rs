//! A disk in memory that takes its words as they are meant: what was not flushed may be lost in part
//! and in any order, a name that was not flushed may be the old one, a flush may fail, space may run
//! out, and the power may be cut in the middle of anything.

use super::inode::{Inode, SECTOR};
use crate::disk::{Disk, DiskFile, PAGE_BYTES};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

/// An open file of a simulated disk.
#[derive(Debug)]
pub struct SimulatedFile {
    disk: SimulatedDisk,
    inode: usize,
    /// Whether it is [for commits](Disk::open_for_commits).
    is_direct: bool,
}

#[derive(Debug)]
struct State {
    random: u64,
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    stable_names: BTreeMap<String, usize>,
    /// What was done to names since they were flushed.
    renamings: Vec<Renaming>,
    /// Sectors that may be used in all.
    capacity: u64,
    /// Changes and flushes until the power goes.
    power_for: Option<u64>,
    off: bool,
    fail_next_flush: bool,
    locked: bool,
    changes: u64,
}

#[derive(Debug, Clone)]
enum Renaming {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

impl SimulatedDisk {
    /// An empty disk. What it makes of a crash depends on the seed.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: seed,
            inodes: Vec::new(),
            names: BTreeMap::new(),
            stable_names: BTreeMap::new(),
            renamings: Vec::new(),
            capacity: u64::MAX,
            power_for: None,
            off: false,
            fail_next_flush: false,
            locked: false,
            changes: 0,
        })))
    }

    /// The power goes with the change or flush after so many more.
    pub fn cut_power_after(&self, changes: u64) {
        self.state().power_for = Some(changes);
    }

    /// The power does not go any more.
    pub fn keep_power(&self) {
        self.state().power_for = None;
    }

    /// Whether the power is gone.
    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// Changes and flushes so far.
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// The power was cut and is back: what was not flushed is there or not, sector by sector.
    pub fn crash(&self) {
        let mut state = self.state();
        let State { random, inodes, .. } = &mut *state;
        for inode in inodes.iter_mut() {
            inode.crash(|versions| below(random, versions));
        }
        state.settle_names();
        state.restart();
    }

    /// The process was killed: nothing is lost, and the directory is free.
    pub fn kill(&self) {
        self.state().restart();
    }

    /// Somebody else fills the disk: no file can grow.
    pub fn fill(&self) {
        let mut state = self.state();
        state.capacity = state.used();
    }

    /// There is room again.
    pub fn make_room(&self) {
        self.state().capacity = u64::MAX;
    }

    /// The next flush of a file fails.
    pub fn fail_next_flush(&self) {
        self.state().fail_next_flush = true;
    }

    /// No flush will fail.
    pub fn mend(&self) {
        self.state().fail_next_flush = false;
    }

    /// The names of all files with their lengths in bytes.
    pub fn files(&self) -> Vec<(String, u64)> {
        let state = self.state();
        let length = |inode: &usize| state.inodes[*inode].len();
        state.names.iter().map(|(name, inode)| (name.clone(), length(inode))).collect()
    }

    /// Flips a bit of a file. False if there is none.
    pub fn flip(&self, name: &str, bit: usize) -> bool {
        let mut state = self.state();
        match state.names.get(name).copied() {
            Some(inode) => state.inodes[inode].flip(bit),
            None => false,
        }
    }

    /// A copy that goes its own way from here, with nothing locked.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self::new(self.state().random);
        for (name, _) in self.files() {
            let made = copy.create(&name).and_then(|file| {
                let whole = self.open(&name)?;
                let mut bytes = vec![0; whole.len()? as usize];
                whole.read_at(&mut bytes, 0)?;
                file.write_at(&bytes, 0)?;
                file.sync_data()
            });
            assert!(made.is_ok(), "a copy in memory: {made:?}");
        }
        let synced = copy.sync_directory();
        assert!(synced.is_ok(), "a copy in memory: {synced:?}");
        copy
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    /// A change or a flush begins. An error if the power is gone; false if it goes with this one.
    fn change(&mut self) -> io::Result<bool> {
        if self.off {
            return Err(power_is_off());
        }
        self.changes += 1;
        match &mut self.power_for {
            Some(0) => {
                self.off = true;
                Ok(false)
            }
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None => Ok(true),
        }
    }

    fn used(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[*inode].sectors()).sum()
    }

    fn restart(&mut self) {
        self.off = false;
        self.power_for = None;
        self.fail_next_flush = false;
        self.locked = false;
        self.capacity = u64::MAX;
    }

    /// Of what was done to names a part is left. What is done to a name depends on all that was done
    /// to it before.
    fn settle_names(&mut self) {
        let in_order = below(&mut self.random, 2) == 0;
        let mut lost = BTreeSet::new();
        for renaming in std::mem::take(&mut self.renamings) {
            let touched = renaming.names();
            let skip = below(&mut self.random, 3) == 0
                || touched.iter().any(|name| lost.contains(*name))
                || (in_order && !lost.is_empty());
            if skip {
                lost.extend(touched.into_iter().map(str::to_owned));
            } else {
                renaming.apply(&mut self.stable_names);
            }
        }
        self.names = self.stable_names.clone();
    }

    fn rename(&mut self, renaming: Renaming) {
        renaming.apply(&mut self.names);
        self.renamings.push(renaming);
    }
}

impl Renaming {
    fn names(&self) -> Vec<&str> {
        match self {
            Self::Create(name, _) | Self::Remove(name) => vec![name],
            Self::Rename(from, to) => vec![from, to],
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Disk for SimulatedDisk {
    type File = SimulatedFile;

    fn name(&self) -> String {
        "simulated".into()
    }

    fn lock(&self) -> io::Result<()> {
        if std::mem::replace(&mut self.state().locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state();
        if state.off {
            return Err(power_is_off());
        }
        Ok(state.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<SimulatedFile> {
        let mut state = self.state();
        let on = state.change()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.inodes.push(Inode::default());
        let inode = state.inodes.len() - 1;
        state.rename(Renaming::Create(name.into(), inode));
        on.then(|| SimulatedFile { disk: self.clone(), inode, is_direct: false })
            .ok_or_else(power_is_off)
    }

    fn open(&self, name: &str) -> io::Result<SimulatedFile> {
        let state = self.state();
        if state.off {
            return Err(power_is_off());
        }
        let inode = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(SimulatedFile { disk: self.clone(), inode, is_direct: false })
    }

    fn open_for_commits(&self, name: &str) -> io::Result<SimulatedFile> {
        self.open(name).map(|file| SimulatedFile { is_direct: true, ..file })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let on = state.change()?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.rename(Renaming::Rename(from.into(), to.into()));
        on.then_some(()).ok_or_else(power_is_off)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let on = state.change()?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.rename(Renaming::Remove(name.into()));
        on.then_some(()).ok_or_else(power_is_off)
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state();
        if !state.change()? {
            return Err(power_is_off());
        }
        state.renamings.clear();
        state.stable_names = state.names.clone();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.state();
        Ok(state.capacity.saturating_sub(state.used()).saturating_mul(SECTOR as u64))
    }
}

impl DiskFile for SimulatedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let is_whole = offset.is_multiple_of(PAGE_BYTES as u64)
            && bytes.len().is_multiple_of(PAGE_BYTES)
            && bytes.as_ptr().align_offset(PAGE_BYTES) == 0;
        if self.is_direct && !is_whole {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut state = self.disk.state();
        let on = state.change()?;
        let growth = state.inodes[self.inode].growth(offset as usize, bytes.len());
        if growth > 0 && state.used() + growth > state.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.inodes[self.inode].write(bytes, offset as usize);
        on.then_some(()).ok_or_else(power_is_off)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        if self.is_direct {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let state = self.disk.state();
        if state.off {
            return Err(power_is_off());
        }
        let read = state.inodes[self.inode].read(into, offset as usize);
        read.then_some(()).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        if !state.change()? {
            return Err(power_is_off());
        }
        if std::mem::replace(&mut state.fail_next_flush, false) {
            state.inodes[self.inode].fail_flush();
            return Err(io::Error::other("the disk has failed"));
        }
        state.inodes[self.inode].flush();
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes[self.inode].len())
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

/// A number below `end`, from a state that goes on (SplitMix64).
fn below(random: &mut u64, end: usize) -> usize {
    *random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *random;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((mixed ^ (mixed >> 31)) % end as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Blocks;

    fn contents(file: &SimulatedFile) -> Vec<u8> {
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn what_was_flushed_survives_and_the_rest_is_there_or_not() {
        let mut outcomes = BTreeSet::new();
        for seed in 0..40 {
            let disk = SimulatedDisk::new(seed);
            let file = disk.create("a").unwrap();
            file.write_at(&[1; 2 * SECTOR], 0).unwrap();
            file.sync_data().unwrap();
            disk.sync_directory().unwrap();
            file.write_at(&[2; 2 * SECTOR], 0).unwrap();
            disk.crash();
            let bytes = contents(&disk.open("a").unwrap());
            outcomes.insert((bytes[0], bytes[2 * SECTOR - 1]));
        }
        let all = [(1, 1), (1, 2), (2, 1), (2, 2)];
        assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), all, "torn and reordered");
    }

    #[test]
    fn a_name_that_was_not_flushed_may_be_the_old_one() {
        let mut outcomes = BTreeSet::new();
        for seed in 0..40 {
            let disk = SimulatedDisk::new(seed);
            disk.create("old").unwrap();
            disk.sync_directory().unwrap();
            disk.rename("old", "new").unwrap();
            disk.crash();
            outcomes.insert(disk.list().unwrap());
        }
        assert_eq!(outcomes.into_iter().flatten().collect::<Vec<_>>(), ["new", "old"]);
    }

    #[test]
    fn after_a_failed_flush_all_looks_well_until_the_crash() {
        let disk = SimulatedDisk::new(1);
        let file = disk.create("a").unwrap();
        disk.sync_directory().unwrap();
        file.write_at(b"x", 0).unwrap();
        disk.fail_next_flush();
        assert!(file.sync_data().is_err());
        assert_eq!(contents(&file), b"x");
        disk.crash();
        assert_eq!(disk.open("a").unwrap().len().unwrap(), 0);
    }

    #[test]
    fn what_is_for_commits_takes_whole_pages_alone_and_gives_nothing_back() {
        let disk = SimulatedDisk::new(1);
        let file = disk.create("a").unwrap();
        let commits = disk.open_for_commits("a").unwrap();
        let mut blocks = Blocks::default();
        commits.write_at(blocks.with(b"x"), 0).unwrap();
        assert_eq!(contents(&file)[..2], *b"x\0");
        let refused = |bytes: &[u8], offset| commits.write_at(bytes, offset).unwrap_err().kind();
        let pages = blocks.with(&[0; 2 * PAGE_BYTES]);
        for (bytes, offset) in [(&pages[1..], 0), (&pages[..PAGE_BYTES + 1], 0), (pages, 512)] {
            assert_eq!(refused(bytes, offset), io::ErrorKind::InvalidInput);
        }
        assert_eq!(refused(&pages[1..=PAGE_BYTES], 0), io::ErrorKind::InvalidInput);
        assert!(commits.read_at(&mut [0], 0).is_err());
    }

    #[test]
    fn a_full_disk_takes_what_there_is_room_for() {
        let disk = SimulatedDisk::new(1);
        let file = disk.create("a").unwrap();
        file.write_at(&[0; SECTOR], 0).unwrap();
        disk.fill();
        file.write_at(&[1; SECTOR], 0).unwrap();
        let full = file.write_at(&[1; SECTOR], SECTOR as u64).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }
}
