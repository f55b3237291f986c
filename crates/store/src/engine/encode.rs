//! From the broker's records to bytes in the active segment.

use super::Engine;
use crate::disk::{Blocks, DiskFile};
use crate::error::StoreError;
use crate::faults::Fault;
use crate::format::batch::{ALIGNMENT, Batch, HEADER_BYTES};
use crate::format::record::{Identifiers, Stored, StoredMessage, StoredReplay};
use crate::format::segment::{DATA_START, file_name};
use crate::index::{Location, Size};
use crate::supply::Segment;
use noctule_broker::{Message, Owed, Record, ReplayNumber, Sequence, SessionKey};
use std::collections::{HashMap, HashSet};
use std::fmt::Debug;

/// A batch is written when it has grown to this size, even if its group is not at its end.
const BATCH_BYTES: usize = 1 << 20;

/// The batch that is being filled.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    /// Room for the header, then records. Empty while there is no batch.
    bytes: Vec<u8>,
    /// The same as it is written, and what lies before it in the block in which it begins.
    blocks: Blocks,
    records: u32,
    /// While a unit is being put into it, which must not be divided: up to here it has room for it.
    unit_end: Option<usize>,
    /// Where in the active segment messages of this group are, by the [identity](Message::identity)
    /// of the message or by where it was moved from.
    placed: HashMap<Placed, (u32, u32), foldhash::fast::FixedState>,
}

/// What a message is known by while several are owed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Placed {
    Shared(usize),
    MovedFrom(u32, u32),
}

/// What is stored together takes at most so many bytes: offsets have 32 bits.
const UNIT_BYTES_MAX: usize = (1 << 31) - DATA_START as usize - HEADER_BYTES;

impl Encoder {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Where a message is, and how large.
    fn place(&self, placed: Option<Placed>) -> Option<(u32, u32)> {
        self.placed.get(&placed?).copied()
    }
}

/// Terms of a delivery, without the place of its message.
#[derive(Clone, Copy)]
pub(super) struct OwedTerms<'a> {
    pub(super) key: SessionKey,
    pub(super) sequence: Sequence,
    pub(super) qos: noctule_broker::QoS,
    pub(super) retain: bool,
    pub(super) identifiers: Identifiers<'a>,
    pub(super) shared: Option<&'a str>,
    pub(super) replay: Option<ReplayNumber>,
}

impl<F: DiskFile + Debug> Engine<F> {
    /// Writes the records of a group that change something.
    pub(super) fn encode_group(&mut self, group: &[Vec<Record>]) -> Result<(), StoreError> {
        let settled = settled(group);
        for unit in group {
            self.begin_unit(unit)?;
            for record in unit {
                match record {
                    Record::Owed { key, owed, .. } if !settled.contains(&(*key, owed.sequence)) => {
                        self.put_new_owed(*key, owed)?;
                    }
                    Record::Owed { .. } => {}
                    _ => {
                        if let Some(stored) = self.stored(record) {
                            self.put_new(&stored)?;
                        }
                    }
                }
            }
            self.encoder.unit_end = None;
        }
        self.encoder.placed.clear();
        if self.encoder.bytes.len() == HEADER_BYTES {
            // There was nothing to be written, and so there is nothing to wait for.
            self.encoder.bytes.clear();
        }
        Ok(())
    }

    /// The records that follow are stored together or not at all, so they all go into one batch:
    /// into the one that is begun if they fit, else into the next. If no segment of the usual size
    /// can hold that, it gets one of its own.
    fn begin_unit(&mut self, unit: &[Record]) -> Result<(), StoreError> {
        let bytes = self.bytes_max(unit);
        if bytes > UNIT_BYTES_MAX {
            return Err(StoreError::TooLarge { bytes, most: UNIT_BYTES_MAX });
        }
        if bytes > 0 && !self.options.faults.planted(Fault::UnitDivided) {
            self.make_room(bytes)?;
            self.encoder.unit_end = Some(self.encoder.bytes.len() + bytes);
        }
        Ok(())
    }

    /// Not less than these records take in the log.
    fn bytes_max(&self, unit: &[Record]) -> usize {
        let (mut sum, mut last) = (0, None);
        for record in unit {
            sum += match record {
                Record::Owed { owed, .. } => {
                    let identity = owed.message.identity();
                    // Those who are owed one message mostly follow each other.
                    let again = last.replace(identity) == Some(identity);
                    owed_bytes_max(owed, !again)
                }
                // What it says depends on records that may be in the same unit.
                Record::DeliveryReceived { key, sequence } => {
                    Stored::Delivered { key: *key, sequence: *sequence }.size_max()
                }
                _ => self.stored(record).map_or(0, |stored| stored.size_max()),
            };
        }
        sum
    }

    /// A record in the form that is kept.
    fn stored<'a>(&self, record: &'a Record) -> Option<Stored<'a>> {
        let message = |message: &'a Message| self.timed(message);
        Some(match record {
            Record::Session { key, client_id, principal, expiry, will } => Stored::Session {
                key: *key,
                client_id,
                user_name: principal.user_name.as_deref(),
                is_claimed: principal.is_claimed,
                expiry: *expiry,
                away_since_ms: None,
                will: will.as_ref().map(|will| (will.delay, message(&will.message))),
            },
            Record::Away { key, since_ms, keeps_will } => {
                Stored::Away { key: *key, since_ms: *since_ms, keeps_will: *keeps_will }
            }
            Record::SessionEnded(key) => Stored::SessionEnded { key: *key },
            Record::Subscribed { key, filter, options, identifier, replay } => {
                let replay = replay.as_ref().map(|replay| StoredReplay {
                    number: replay.number,
                    up_to: replay.up_to,
                    reached: replay.reached.as_deref().unwrap_or_default(),
                });
                Stored::Subscribed {
                    key: *key,
                    filter,
                    options: *options,
                    identifier: *identifier,
                    replay,
                }
            }
            Record::Unsubscribed { key, filter } => Stored::Unsubscribed { key: *key, filter },
            Record::PacketIdGiven { key, sequence, packet_id } => Stored::InFlight {
                key: *key,
                sequence: *sequence,
                packet_id: *packet_id,
                received: false,
            },
            Record::DeliveryReceived { key, sequence } => {
                let session = self.index.sessions.get(key)?;
                let packet_id = session.in_flight.get(sequence)?.packet_id;
                Stored::InFlight { key: *key, sequence: *sequence, packet_id, received: true }
            }
            Record::Delivered { key, sequence } => {
                Stored::Delivered { key: *key, sequence: *sequence }
            }
            Record::Received { key, packet_id, message: received } => {
                Stored::Received { key: *key, packet_id: *packet_id, message: message(received) }
            }
            Record::Routed { key, packet_id } => Stored::Held { key: *key, packet_id: *packet_id },
            Record::Released { key, packet_id } => {
                Stored::Released { key: *key, packet_id: *packet_id }
            }
            Record::Retained { sequence, message: retained } => {
                Stored::Retained { sequence: *sequence, message: message(retained) }
            }
            Record::Owed { .. } | Record::Together { .. } => return None,
        })
    }

    /// A message, which has come now if nothing else is known.
    fn timed<'a>(&self, message: &'a Message) -> StoredMessage<'a> {
        let mut bytes = message.to_store();
        if bytes.received_ms == 0 {
            bytes.received_ms = self.wall_ms;
        }
        StoredMessage(bytes)
    }

    fn put_new(&mut self, record: &Stored<'_>) -> Result<(), StoreError> {
        if self.index.accepts(record) { self.put(record, 0) } else { Ok(()) }
    }

    fn put_new_owed(&mut self, key: SessionKey, owed: &Owed) -> Result<(), StoreError> {
        if !self.index.sessions.contains_key(&key) {
            return Ok(());
        }
        let message = self.timed(&owed.message);
        let terms = OwedTerms {
            key,
            sequence: owed.sequence,
            qos: owed.qos,
            retain: owed.retain,
            identifiers: Identifiers::Given(owed.identifiers()),
            shared: owed.shared(),
            replay: owed.replay(),
        };
        // One that nobody else has nobody else is owed.
        let shared = owed.message.is_shared();
        let placed = shared.then(|| Placed::Shared(owed.message.identity()));
        self.put_owed(terms, placed, &message)
    }

    /// Writes that a message is owed, and before it the message if it is not in this segment yet;
    /// `placed` is what others who are owed it know it by, if there are others.
    pub(super) fn put_owed(
        &mut self,
        terms: OwedTerms<'_>,
        placed: Option<Placed>,
        message: &StoredMessage<'_>,
    ) -> Result<(), StoreError> {
        let OwedTerms { key, sequence, qos, retain, identifiers, shared, replay } = terms;
        let topic = message.0.topic;
        let owed_at = move |message_at| Stored::Owed {
            key,
            sequence,
            message_at,
            qos,
            retain,
            identifiers,
            shared,
            replay,
        };
        let message = Stored::Message(*message);
        let size = owed_at(0).size_max();
        if self.options.faults.planted(Fault::OwedBeforeMessage) {
            self.make_room(message.size_max() + size)?;
            return self.put_owed_in_wrong_order(&message, &owed_at);
        }
        let mut found = self.encoder.place(placed);
        if found.is_none() || !self.has_room(size) {
            self.make_room(message.size_max() + size)?;
            // It is not, in the next segment.
            found = self.encoder.place(placed);
        }
        let (message_at, bytes) = match found {
            Some(found) => found,
            None => {
                let begin = self.position();
                self.append(&message, Size::default());
                let written = (begin, self.position() - begin);
                if let Some(placed) = placed {
                    self.encoder.placed.insert(placed, written);
                }
                written
            }
        };
        self.append(&owed_at(message_at), Size { bytes, topic });
        Ok(())
    }

    fn put_owed_in_wrong_order<'a>(
        &mut self,
        message: &Stored<'_>,
        owed_at: &dyn Fn(u32) -> Stored<'a>,
    ) -> Result<(), StoreError> {
        self.encoder.unit_end = None;
        let mut bytes = Vec::new();
        owed_at(0).write(&mut bytes);
        let end = self.position() + bytes.len() as u32;
        let message_at = end.next_multiple_of(ALIGNMENT) + HEADER_BYTES as u32;
        self.put(&owed_at(message_at), 100)?;
        self.finish_batch()?;
        self.put(message, 0)
    }

    /// Writes a record and brings the index up to date with it.
    pub(super) fn put(&mut self, record: &Stored<'_>, bytes: u32) -> Result<(), StoreError> {
        self.make_room(record.size_max())?;
        self.append(record, Size { bytes, topic: &[] });
        Ok(())
    }

    /// The same where there is room for it.
    fn append(&mut self, record: &Stored<'_>, of: Size<'_>) {
        let at = Location { segment: self.active.id, offset: self.position() };
        record.write(&mut self.encoder.bytes);
        // A message counts by those who are owed it.
        self.encoder.records += u32::from(!matches!(record, Stored::Message(_)));
        self.index.apply(record, at, of);
    }

    /// Where in the active segment the next record goes.
    fn position(&self) -> u32 {
        self.active.used + self.encoder.bytes.len() as u32
    }

    /// Whether the batch that is begun can take so many bytes more.
    fn has_room(&self, bytes: usize) -> bool {
        let encoder = &self.encoder;
        let end = encoder.bytes.len() + bytes;
        !encoder.is_empty()
            && end <= encoder.unit_end.unwrap_or(BATCH_BYTES.max(HEADER_BYTES + bytes))
            && self.position() as usize + bytes <= self.active.capacity as usize
    }

    /// Sees to it that a batch is begun in which there is room for so many bytes.
    fn make_room(&mut self, bytes: usize) -> Result<(), StoreError> {
        if self.has_room(bytes) {
            return Ok(());
        }
        debug_assert!(self.encoder.unit_end.is_none(), "a unit has its room when it begins");
        self.finish_batch()?;
        self.begin_batch(bytes)
    }

    /// Begins a batch of at least so many bytes, in the next segment if the active one is full.
    pub(super) fn begin_batch(&mut self, bytes: usize) -> Result<(), StoreError> {
        let needed = HEADER_BYTES + bytes;
        if self.active.used as usize + needed > self.active.capacity as usize {
            let is_empty = self.active.used == DATA_START;
            if is_empty {
                // One without a batch cannot stand between two that follow one another. It is gone
                // before the next one is there to stay.
                let Segment { id, capacity, used, records, .. } = self.active;
                let file = self.active.file.clone();
                let output = None;
                self.supply.retire(Segment { id, file, output, capacity, used, records })?;
            }
            let next = self.supply.take((DATA_START as usize + needed) as u32)?;
            let mut before = std::mem::replace(&mut self.active, next);
            if !is_empty {
                before.output = None;
                self.sealed.push_back(before);
            }
            self.encoder.blocks.keep_nothing();
            self.segments_begun += 1;
            // What is owed refers to messages in its own segment.
            self.encoder.placed.clear();
        }
        self.encoder.bytes.resize(HEADER_BYTES, 0);
        Ok(())
    }

    /// Hands the batch to the operating system, if one is begun.
    pub(super) fn finish_batch(&mut self) -> Result<(), StoreError> {
        if self.encoder.is_empty() {
            return Ok(());
        }
        let batch = Batch {
            length: 0,
            crc: 0,
            previous: self.chain,
            segment: self.active.id,
            oldest: self.oldest(),
            number: self.number,
            flushed: self.flushed,
            wall_ms: self.wall_ms,
            records: self.encoder.records,
        };
        let Encoder { bytes, blocks, records, .. } = &mut self.encoder;
        self.chain = batch.seal(bytes);
        let length = bytes.len();
        let Engine { active, unflushed, .. } = self;
        if self.options.faults.planted(Fault::LastBlockForgotten) {
            blocks.forget();
        }
        let begin = active.used - blocks.kept() as u32;
        let output = active.output.as_ref().unwrap_or(&active.file);
        output
            .write_at(blocks.with(bytes), u64::from(begin))
            .map_err(|error| StoreError::io("write to", file_name(active.id))(error))?;
        if unflushed.last().is_none_or(|(id, _)| *id != active.id) {
            unflushed.push((active.id, output.clone()));
        }
        let end = active.used + length as u32;
        active.used = end.next_multiple_of(ALIGNMENT).min(active.capacity);
        blocks.keep((active.used - begin) as usize);
        active.records += u64::from(std::mem::take(records));
        self.written += length as u64;
        self.number += 1;
        bytes.clear();
        bytes.shrink_to(2 * BATCH_BYTES);
        Ok(())
    }
}

/// Not less than it takes in the log that somebody is owed a message, and the message if that is to
/// be written as well.
fn owed_bytes_max(owed: &Owed, with_message: bool) -> usize {
    let record = Stored::Owed {
        key: SessionKey(0),
        sequence: owed.sequence,
        message_at: 0,
        qos: owed.qos,
        retain: owed.retain,
        identifiers: Identifiers::Given(owed.identifiers()),
        shared: owed.shared(),
        replay: owed.replay(),
    };
    if !with_message {
        return record.size_max();
    }
    let message = Stored::Message(StoredMessage(owed.message.to_store()));
    record.size_max() + message.size_max()
}

/// Messages that are owed and delivered within the group: neither has to be written, unless it says how
/// far handing out retained messages has come.
fn settled(group: &[Vec<Record>]) -> Settled {
    let records = || group.iter().flatten();
    let mut settled = Settled::default();
    // Sequences rise, so of most groups nothing has to be looked up.
    let first = records().filter_map(|record| match record {
        Record::Owed { owed, .. } => Some(owed.sequence),
        _ => None,
    });
    let Some(first) = first.min() else {
        return settled;
    };
    for record in records() {
        if let Record::Delivered { key, sequence } = record
            && *sequence >= first
        {
            settled.insert((*key, *sequence));
        }
    }
    if settled.is_empty() {
        return settled;
    }
    let mut both = Settled::default();
    for record in records() {
        if let Record::Owed { key, owed, .. } = record
            && settled.contains(&(*key, owed.sequence))
            && owed.replay().is_none()
        {
            both.insert((*key, owed.sequence));
        }
    }
    both
}

/// Our own numbers, which nobody chooses.
type Settled = HashSet<(SessionKey, Sequence), foldhash::fast::FixedState>;
