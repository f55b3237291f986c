//! Reading messages back: first where they are, by the log's owner; then the bytes, by anybody.
//!
//! A segment that is given up meanwhile stays readable for who has its file, and every record that
//! is read says whose it is and that it is whole.

use super::Engine;
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::format::record::{FRAME_BYTES, Stored, StoredMessage};
use crate::format::segment::file_name;
use crate::index::{Index, Location, OwedAt};
use noctule_broker::{Extras, Message, MessageBytes, Owed, Sequence, SessionKey};
use std::fmt::Debug;
use std::sync::Arc;

/// Bytes read at once.
const WINDOW_BYTES: u32 = 64 << 10;

/// Messages of a session that are to be read.
#[derive(Debug)]
pub(crate) struct Loading<F> {
    key: SessionKey,
    places: Vec<(OwedAt, Arc<F>, u32)>,
}

impl<F: DiskFile + Debug> Engine<F> {
    /// Where the next messages of a session are: at least one, and as many as have `bytes_max`.
    pub(crate) fn loading(&self, key: SessionKey, after: Sequence, bytes_max: usize) -> Loading<F> {
        let file = |id| self.segment(id).map(|found| (found.file.clone(), found.capacity));
        Loading::plan(&self.index, key, (after, bytes_max), &file)
    }

    /// A window onto the segment of a record, to read it through.
    pub(crate) fn window(&self, at: Location) -> Option<Window<F>> {
        let segment = self.segment(at.segment)?;
        Some(Window::new(segment.file.clone(), segment.id, segment.capacity))
    }
}

impl<F: DiskFile> Loading<F> {
    /// Looks up the next messages of a session, behind a sequence and up to so many bytes; `file`
    /// opens a segment and says how large it is.
    pub(crate) fn plan(
        index: &Index,
        key: SessionKey,
        (after, bytes_max): (Sequence, usize),
        file: &dyn Fn(u32) -> Option<(Arc<F>, u32)>,
    ) -> Self {
        let (mut places, mut bytes) = (Vec::new(), 0);
        if let Some(session) = index.sessions.get(&key) {
            for owed in session.queue.after(after) {
                bytes += owed.bytes as usize;
                if bytes > bytes_max && !places.is_empty() {
                    break;
                }
                if let Some((file, capacity)) = file(owed.at.segment) {
                    places.push((owed, file, capacity));
                }
            }
        }
        Self { key, places }
    }

    /// Reads them, in order.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if one is not there as it was written; none is returned then.
    pub(crate) fn read(self) -> Result<Vec<Owed>, StoreError> {
        let mut messages = Vec::with_capacity(self.places.len());
        let mut groups = Groups::default();
        let mut window: Option<Window<F>> = None;
        for (owed, file, capacity) in self.places {
            let id = owed.at.segment;
            if window.as_ref().is_none_or(|window| window.id != id) {
                window = Some(Window::new(file, id, capacity));
            }
            if let Some(window) = &mut window {
                messages.push(read_owed(window, self.key, owed, &mut groups)?);
            }
        }
        Ok(messages)
    }
}

/// The filters of groups that messages which are read together came by, each once.
#[derive(Default)]
struct Groups(Vec<Arc<str>>);

impl Groups {
    fn filter(&mut self, filter: &str) -> Arc<str> {
        if let Some(found) = self.0.iter().find(|found| &***found == filter) {
            return Arc::clone(found);
        }
        let made: Arc<str> = Arc::from(filter);
        if self.0.len() < GROUPS_KNOWN {
            self.0.push(Arc::clone(&made));
        }
        made
    }
}

/// A session is a member of few groups.
const GROUPS_KNOWN: usize = 8;

fn read_owed<F: DiskFile>(
    window: &mut Window<F>,
    wanted: SessionKey,
    place: OwedAt,
    groups: &mut Groups,
) -> Result<Owed, StoreError> {
    let (message_at, owed) = match window.record(place.at.offset)? {
        Stored::Owed { key, sequence, message_at, qos, retain, identifiers, shared, .. }
            if key == wanted && sequence == place.sequence =>
        {
            let shared = shared.map(|filter| groups.filter(filter));
            let extras = Extras::of(&identifiers.to_vec(), shared);
            let owed = move |message| Owed { sequence, message, qos, retain, extras, deferred: 0 };
            (message_at, owed)
        }
        _ => return Err(window.rotten(place.at.offset)),
    };
    let message = read_message(window, message_at)?;
    Ok(owed(message))
}

/// Reads a message, or the one that a record contains.
pub(crate) fn read_message<F: DiskFile>(
    window: &mut Window<F>,
    offset: u32,
) -> Result<Message, StoreError> {
    let stored: Option<StoredMessage<'_>> = match window.record(offset)? {
        Stored::Message(message)
        | Stored::Received { message, .. }
        | Stored::Retained { message, .. }
        | Stored::Session { will: Some((_, message)), .. } => Some(message),
        _ => None,
    };
    let parts = stored.and_then(|StoredMessage(bytes)| bytes.parts());
    let message = parts.and_then(|parts| Message::from_stored_parts(&parts).ok());
    message.ok_or_else(|| window.rotten(offset))
}

/// Reads the record at a place, with its delay if it is a session with a will.
pub(crate) fn read_will<F: DiskFile>(
    window: &mut Window<F>,
    offset: u32,
) -> Result<(u32, Message), StoreError> {
    let made = match window.record(offset)? {
        Stored::Session { will: Some((delay, StoredMessage(bytes))), .. } => {
            // Its expiry counts from when it will be published.
            let parts = MessageBytes { received_ms: 0, ..bytes }.parts();
            let message = parts.and_then(|parts| Message::from_parts(&parts).ok());
            message.map(|message| (delay, message))
        }
        _ => None,
    };
    made.ok_or_else(|| window.rotten(offset))
}

/// A part of a segment that has been read.
#[derive(Debug)]
pub(crate) struct Window<F> {
    file: Arc<F>,
    pub(crate) id: u32,
    capacity: u32,
    begin: u32,
    bytes: Vec<u8>,
}

impl<F: DiskFile> Window<F> {
    pub(crate) fn new(file: Arc<F>, id: u32, capacity: u32) -> Self {
        Self { file, id, capacity, begin: 0, bytes: Vec::new() }
    }

    /// The record at an offset.
    fn record(&mut self, offset: u32) -> Result<Stored<'_>, StoreError> {
        if self.inside(offset, FRAME_BYTES).is_none() {
            // What belongs together lies a little before as often as behind.
            self.fetch(offset / WINDOW_BYTES * WINDOW_BYTES, WINDOW_BYTES)?;
            if self.inside(offset, FRAME_BYTES).is_none() {
                self.fetch(offset, WINDOW_BYTES)?;
            }
        }
        let rotten = self.rotten(offset);
        let Some(frame) = self.inside(offset, FRAME_BYTES) else {
            return Err(rotten);
        };
        let length = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]);
        let whole = (length as usize).saturating_add(FRAME_BYTES - 1);
        if self.inside(offset, whole).is_none() {
            self.fetch(offset, u32::try_from(whole).unwrap_or(u32::MAX))?;
        }
        let read = self.inside(offset, whole).and_then(|bytes| Stored::read(bytes, true));
        read.map(|(record, _)| record).ok_or(rotten)
    }

    fn inside(&self, offset: u32, length: usize) -> Option<&[u8]> {
        self.bytes.get(offset.checked_sub(self.begin)? as usize..)?.get(..length)
    }

    fn fetch(&mut self, begin: u32, length: u32) -> Result<(), StoreError> {
        let end = begin.saturating_add(length).min(self.capacity);
        self.begin = begin;
        self.bytes.resize(end.saturating_sub(begin) as usize, 0);
        let read = self.file.read_at(&mut self.bytes, u64::from(begin));
        read.map_err(StoreError::io("read from", file_name(self.id)))
    }

    fn rotten(&self, offset: u32) -> StoreError {
        let found = "what was written here is not here any more";
        StoreError::damaged(file_name(self.id), u64::from(offset), found)
    }
}
