//! Moving what still counts out of the oldest segment, so that it can be given up.
//!
//! A session whose client never comes back would otherwise hold every segment behind its oldest
//! message. What is moved is written again at the end of the log, where it means the same, and the
//! index follows it.

use super::Engine;
use super::encode::{OwedTerms, Placed};
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::faults::Fault;
use crate::format::batch::{Batch, HEADER_BYTES};
use crate::format::record::{FRAME_BYTES, Stored, StoredReplay};
use crate::format::segment::{DATA_START, file_name};
use crate::index::Location;
use std::fmt::Debug;

/// How far a segment has been gone through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moving {
    pub(super) segment: u32,
    offset: u32,
}

/// A batch that is being gone through.
struct ReadBatch<'a> {
    segment: u32,
    offset: u32,
    bytes: &'a [u8],
}

impl ReadBatch<'_> {
    /// What is in it from an offset in the segment on.
    fn from(&self, offset: u32) -> Option<&[u8]> {
        self.bytes.get(offset.checked_sub(self.offset)? as usize..).filter(|from| !from.is_empty())
    }
}

impl<F: DiskFile + Debug> Engine<F> {
    /// Whether more of the log is dead than is worth keeping: beyond twice what counts, and a
    /// segment.
    pub(super) fn wants_moving(&self) -> bool {
        if self.sealed.front().is_some_and(|oldest| oldest.id < self.empty_before) {
            return true;
        }
        let (mut all, mut live) = (0u64, 0u64);
        for segment in &self.sealed {
            let counts = self.index.live.in_segment(segment.id);
            let used = u64::from(segment.used - DATA_START);
            // Of two segments in a row more than half is used: what does not fit into one begins the
            // next. So moving alone never makes it necessary to move again.
            all += u64::from(segment.capacity - DATA_START);
            live += used * counts.min(segment.records) / segment.records.max(1);
        }
        self.sealed.len() > 1 && all > 2 * live + u64::from(self.options.segment_bytes)
    }

    /// Goes on moving records, through about so many bytes of the oldest segment.
    pub(super) fn move_forward(&mut self, budget: u64) -> Result<(), StoreError> {
        let mut left = budget;
        while left > 0 {
            let Some(oldest) = self.sealed.front() else {
                return Ok(());
            };
            let id = oldest.id;
            if self.index.live.in_segment(id) == 0 {
                // It goes with the next flush.
                self.moving = None;
                return Ok(());
            }
            if self.moving.is_none() && !self.wants_moving() {
                return Ok(());
            }
            let offset = match self.moving {
                Some(moving) if moving.segment == id => moving.offset,
                _ => DATA_START,
            };
            let span = self.move_batch(id, offset)?;
            self.moving = Some(Moving { segment: id, offset: offset + span });
            left = left.saturating_sub(u64::from(span));
        }
        Ok(())
    }

    /// Moves what counts of one batch. Returns its size.
    fn move_batch(&mut self, segment: u32, offset: u32) -> Result<u32, StoreError> {
        let bytes = self.read_batch(segment, offset)?;
        let rotten = |offset| StoreError::damaged(file_name(segment), u64::from(offset), ROTTEN);
        let (batch, records) = Batch::read(&bytes, true).ok_or_else(|| rotten(offset))?;
        let mut at = 0;
        while at < records.len() {
            let place = offset + (HEADER_BYTES + at) as u32;
            let (record, size) = Stored::read(&records[at..], true).ok_or_else(|| rotten(place))?;
            at += size;
            if self.index.holds(&record, Location { segment, offset: place }) {
                let read = ReadBatch { segment, offset, bytes: &bytes };
                self.moved += 1;
                self.move_record(&record, place, &read)?;
            }
            if at > records.len() / 2 && self.options.faults.planted(Fault::MovingCutShort) {
                self.forget_segment(segment);
                break;
            }
        }
        Ok(batch.span())
    }

    fn move_record(
        &mut self,
        record: &Stored<'_>,
        offset: u32,
        read: &ReadBatch<'_>,
    ) -> Result<(), StoreError> {
        let segment = read.segment;
        if offset.is_multiple_of(5) && self.options.faults.planted(Fault::StragglerDropped) {
            return Ok(());
        }
        match *record {
            Stored::Owed {
                key, sequence, message_at, qos, retain, identifiers, shared, ..
            } => {
                // What was passed by then says the record of the subscription, which lies before it
                // and so was moved; handing out may have come further since, or have begun anew.
                let replay = None;
                let terms = OwedTerms { key, sequence, qos, retain, identifiers, shared, replay };
                let elsewhere;
                let bytes = match read.from(message_at) {
                    Some(bytes) => bytes,
                    None => {
                        elsewhere = self.read_record(segment, message_at)?;
                        &elsewhere
                    }
                };
                let Some((Stored::Message(message), _)) = Stored::read(bytes, true) else {
                    let offset = u64::from(message_at);
                    return Err(StoreError::damaged(file_name(segment), offset, ROTTEN));
                };
                self.put_owed(terms, Some(Placed::MovedFrom(segment, message_at)), &message)
            }
            Stored::Session { key, client_id, user_name, is_claimed, expiry, will, .. } => {
                let found = self.index.sessions.get(&key);
                let away_since_ms = found.and_then(|session| session.away_since_ms);
                let will = will.filter(|_| found.is_some_and(|session| session.has_will));
                let session = Stored::Session {
                    key,
                    client_id,
                    user_name,
                    is_claimed,
                    expiry,
                    away_since_ms,
                    will,
                };
                self.put(&session, 0)
            }
            Stored::Subscribed { key, filter, options, identifier, replay: Some(_) } => {
                let found = self.index.sessions.get(&key);
                let found =
                    found.and_then(|session| Some((session, session.subscriptions.get(filter)?)));
                let replay = found.and_then(|(session, subscribed)| session.replay(subscribed));
                // As what is moved changes the index, it cannot lie in there.
                let reached = replay.map_or_else(String::new, |replay| replay.reached.to_owned());
                let replay = replay.map(|replay| StoredReplay { reached: &reached, ..replay });
                self.put(&Stored::Subscribed { key, filter, options, identifier, replay }, 0)
            }
            _ => self.put(record, 0),
        }
    }

    /// For a planted fault: what was not moved is lost.
    fn forget_segment(&mut self, segment: u32) {
        self.index.live.forget(segment);
    }

    /// The bytes of a batch.
    fn read_batch(&self, segment: u32, offset: u32) -> Result<Vec<u8>, StoreError> {
        let header = self.read(segment, offset, HEADER_BYTES)?;
        let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        self.read(segment, offset, HEADER_BYTES + length as usize)
    }

    /// The bytes of a record.
    fn read_record(&self, segment: u32, offset: u32) -> Result<Vec<u8>, StoreError> {
        let frame = self.read(segment, offset, FRAME_BYTES)?;
        let length = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]);
        self.read(segment, offset, FRAME_BYTES - 1 + length as usize)
    }

    fn read(&self, id: u32, offset: u32, length: usize) -> Result<Vec<u8>, StoreError> {
        let rotten = || StoreError::damaged(file_name(id), u64::from(offset), ROTTEN);
        let segment = self.segment(id).ok_or_else(rotten)?;
        if offset as usize + length > segment.capacity as usize {
            return Err(rotten());
        }
        let mut bytes = vec![0; length];
        segment
            .file
            .read_at(&mut bytes, u64::from(offset))
            .map_err(StoreError::io("read from", file_name(id)))?;
        Ok(bytes)
    }
}

const ROTTEN: &str = "what was written here is not here any more";
