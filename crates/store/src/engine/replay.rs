//! Reading the log from its oldest segment to its end, record by record, into an index.

use super::scan::{Extent, Run, extent, read_whole};
use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
use crate::faults::{Fault, Faults};
use crate::format::batch::{Batch, HEADER_BYTES};
use crate::format::record::Stored;
use crate::format::segment::{DATA_START, file_name};
use crate::index::{Index, Location, Size};

/// A log that was read and not changed.
#[derive(Debug)]
pub(crate) struct Replayed<F> {
    pub(crate) index: Index,
    pub(crate) extent: Extent<F>,
}

impl<F: DiskFile> Replayed<F> {
    /// Reads the segments of these numbers, which are in order.
    pub(crate) fn read<D: Disk<File = F>>(
        disk: &D,
        ids: &[u32],
        faults: Faults,
    ) -> Result<Self, StoreError> {
        let mut buffer = Vec::new();
        let mut runs = Vec::with_capacity(ids.len());
        for id in ids {
            runs.push(Run::scan(disk, *id, faults, &mut buffer)?);
        }
        let extent = extent(runs, faults)?;
        let mut index = Index::new(faults);
        for run in &extent.kept {
            replay_segment(run, &mut index, faults, &mut buffer)?;
        }
        if let Some(found) = index.inconsistency() {
            let name = extent.kept.first().map_or_else(|| disk.name(), |run| file_name(run.id));
            return Err(StoreError::damaged(name, 0, found));
        }
        Ok(Self { index, extent })
    }
}

fn replay_segment<F: DiskFile>(
    run: &Run<F>,
    index: &mut Index,
    faults: Faults,
    buffer: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let name = file_name(run.id);
    read_whole(&*run.file, run.end, &name, buffer)?;
    let checked = !faults.planted(Fault::TornBatchAccepted);
    let mut messages = Vec::new();
    let mut at = DATA_START;
    while at < run.end {
        let damaged = |offset: u32, found| StoreError::damaged(&*name, u64::from(offset), found);
        let changed = "it changed while it was read";
        let (batch, records) =
            Batch::read(&buffer[at as usize..], checked).ok_or_else(|| damaged(at, changed))?;
        let mut begin = 0;
        while begin < records.len() {
            let offset = at + (HEADER_BYTES + begin) as u32;
            let (record, size) = Stored::read(&records[begin..], checked)
                .ok_or_else(|| damaged(offset, "a record that this version cannot read"))?;
            let mut of = Size::default();
            match record {
                Stored::Message(_) => messages.push((offset, size as u32)),
                Stored::Owed { message_at, replay, .. } => {
                    of.bytes = messages
                        .binary_search_by_key(&message_at, |(offset, _)| *offset)
                        .map(|found| messages[found].1)
                        .map_err(|_| damaged(offset, "it refers to a message that is not there"))?;
                    // It was checked when it was come by.
                    if replay.is_some()
                        && let Some((Stored::Message(message), _)) =
                            Stored::read(&buffer[message_at as usize..], false)
                    {
                        of.topic = message.0.topic;
                    }
                }
                _ => {}
            }
            index.apply(&record, Location { segment: run.id, offset }, of);
            begin += size;
        }
        at += batch.span();
    }
    Ok(())
}
