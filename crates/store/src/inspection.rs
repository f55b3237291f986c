//! Looking into a store that nobody is using, without changing it.

use crate::disk::{Directory, Disk, DiskFile, RealFile};
use crate::engine::{Loading, Replayed, Window, find, open};
use crate::error::StoreError;
use crate::format::segment::file_name;
use crate::index::Location;
use crate::options::Options;
use crate::recovery::{Recovered, recover};
use crate::supply::AtHand;
use noctule_broker::{Owed, Sequence, SessionKey};
use std::path::Path;
use std::sync::Arc;

/// A store that was read and is not changed. Nobody else can use it meanwhile.
#[derive(Debug)]
pub struct Inspection {
    replayed: Replayed<RealFile>,
    /// Holds the lock.
    disk: Directory,
    spares: usize,
}

/// One segment of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFigures {
    /// Its file.
    pub file: String,
    /// The size of the file in bytes.
    pub bytes: u64,
    /// Bytes up to the end of its last batch.
    pub used: u64,
    /// Records in it.
    pub records: u64,
    /// Records in it that still count.
    pub live: u64,
}

impl Inspection {
    /// Reads a store. Every batch that belongs to it is checked.
    ///
    /// # Errors
    /// What makes it unusable, as for [`Store::open`](crate::Store::open); also if there is no such
    /// directory.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let opened = Directory::open_read_only(path);
        let disk = opened.map_err(StoreError::io("open", path.display().to_string()))?;
        let found = find(&disk)?;
        let faults = Options::default().faults;
        let replayed = Replayed::read(&disk, &found.segments, faults)?;
        Ok(Self { replayed, disk, spares: found.spares.len() })
    }

    /// The directory.
    pub fn directory(&self) -> String {
        self.disk.name()
    }

    /// Its segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentFigures> {
        let figures = self.replayed.extent.kept.iter().map(|run| SegmentFigures {
            file: file_name(run.id),
            bytes: u64::from(run.capacity),
            used: u64::from(run.end),
            records: run.records,
            live: self.replayed.index.live.in_segment(run.id),
        });
        figures.collect()
    }

    /// Files that wait to be segments.
    pub fn spare_files(&self) -> usize {
        self.spares + self.replayed.extent.dropped.len()
    }

    /// Sessions and retained messages.
    ///
    /// # Errors
    /// If one of them is not there as it was written.
    pub fn recovered(&self) -> Result<Recovered, StoreError> {
        let wall_ms = self.replayed.extent.last.map_or(0, |last| last.wall_ms);
        recover(&self.replayed.index, wall_ms, &|at| self.window(at))
    }

    /// Messages that a session is owed, behind `after`: at least one and about `bytes_max` bytes of
    /// them; none at the end.
    ///
    /// # Errors
    /// If one of them is not there as it was written.
    pub fn queue(
        &self,
        key: SessionKey,
        after: Sequence,
        bytes_max: usize,
    ) -> Result<Vec<Owed>, StoreError> {
        let file = |segment: u32| {
            let kept = &self.replayed.extent.kept;
            let run = kept.iter().find(|run| run.id == segment)?;
            Some((run.file.clone(), run.capacity))
        };
        Loading::plan(&self.replayed.index, key, (after, bytes_max), &file).read()
    }

    /// Reads every message that is owed, retained or kept otherwise. Returns how many those owed
    /// are.
    ///
    /// # Errors
    /// The first thing that is not there as it was written.
    pub fn verify(&self) -> Result<usize, StoreError> {
        let mut messages = 0;
        for session in self.recovered()?.sessions {
            let mut after = Sequence(0);
            loop {
                let read = self.queue(session.key, after, VERIFIED_AT_ONCE)?;
                let Some(last) = read.last() else { break };
                after = last.sequence;
                messages += read.len();
            }
        }
        Ok(messages)
    }

    fn window(&self, at: Location) -> Option<Window<RealFile>> {
        let run = self.replayed.extent.kept.iter().find(|run| run.id == at.segment)?;
        Some(Window::new(run.file.clone(), run.id, run.capacity))
    }
}

const VERIFIED_AT_ONCE: usize = 1 << 20;

/// Makes a store that nobody is using as small as it gets: what counts is written again, into new
/// segments, until all old ones can go. Returns how many bytes its files took before and after.
///
/// # Errors
/// As [`Store::open`](crate::Store::open), and if something fails; nothing is lost then.
pub fn compact(path: &Path, options: Options) -> Result<(u64, u64), StoreError> {
    // It has to exist: a wrong path must not become an empty store.
    drop(Inspection::open(path)?);
    let opened = Directory::open(path);
    let disk = Arc::new(opened.map_err(StoreError::io("open", path.display().to_string()))?);
    let before = size(&disk)?;
    let (log, supply) = open(disk.clone(), options)?;
    let mut engine = log.start(Box::new(AtHand::new(supply)))?;
    engine.compact()?;
    engine.close()?;
    drop(engine);
    Ok((before, size(&disk)?))
}

fn size(disk: &Directory) -> Result<u64, StoreError> {
    let mut bytes = 0;
    for name in disk.list().map_err(StoreError::io("list", disk.name()))? {
        let length = disk.open(&name).and_then(|file| file.len());
        bytes += length.map_err(StoreError::io("read from", name))?;
    }
    Ok(bytes)
}
