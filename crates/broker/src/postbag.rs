//! What a shard writes to one other shard: letters in their order, and how much of it is unread.
//!
//! A box between two shards has an end like every queue. The bytes of messages that were written
//! and not read yet are counted here; when they are too many, whoever publishes more is not read
//! until the other shard has caught up, which it says with a receipt. Only messages count: answers,
//! connections and orders are never held up by a full box, or shards could wait for each other.

use crate::commons::ShardId;
use crate::connection::ConnectionHandle;
use crate::mail::{Mail, ReplyTo};
use crate::message::{Attribution, MessagePool};
use crate::outgoing::Outgoing;
use crate::parcel::Parcel;
use crate::run::Run;
use crate::sharing::SharedLetter;

/// A box with more unread bytes than this is full. It is what a flood writes while the other loop waits
/// for a processor and then has its turn; with half of it, publishers of loops that share their
/// processors with somebody else wait now and then for nothing.
const UNREAD_MAX: u64 = 1024 * 1024;
/// A receipt is asked for whenever so many bytes were written since the last one.
const RECEIPT_BYTES: u64 = 32 * 1024;
/// Emptied parcels are kept for use up to this size, and so many of them.
const SPARE_BYTES: usize = 256 * 1024;
const SPARES: usize = 4;

/// Letters to one other shard, and publishers that wait for it.
#[derive(Debug, Default)]
pub(crate) struct Postbag {
    letters: Vec<Mail>,
    spare: Vec<Parcel>,
    /// Bytes of messages written so far, asked about, and read.
    written: u64,
    asked: u64,
    read: u64,
    /// Publishers that are not read until the box is emptier; none unless it was full.
    pub(crate) waiting: Vec<ConnectionHandle>,
}

/// What goes with a message to another shard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Covering<'a> {
    pub(crate) from: ShardId,
    pub(crate) publisher: Option<ConnectionHandle>,
    pub(crate) reply: Option<ReplyTo>,
    /// When it came and from whom, if the other shard has to know.
    pub(crate) attribution: Option<Attribution<'a>>,
}

impl Postbag {
    /// How many letters nobody has taken.
    pub(crate) fn letters(&self) -> usize {
        self.letters.len()
    }

    /// Adds a letter that is no message.
    pub(crate) fn push(&mut self, letter: Mail) {
        self.letters.push(letter);
    }

    /// Adds a message: copied if it is a small packet, else shared.
    #[inline]
    pub(crate) fn push_message(
        &mut self,
        outgoing: &mut Outgoing<'_>,
        covering: Covering<'_>,
        pool: &mut MessagePool,
    ) {
        let from = covering.from;
        // What a packet says of its expiry is true on arrival only.
        let passable = outgoing.passable().filter(|_| outgoing.view.expires.is_never());
        let Some(packet) = passable else {
            return self.push_shared(outgoing, covering, pool);
        };
        if let Some(parcel) = self.open_parcel(from) {
            let bytes = parcel.push(&outgoing.view, packet, &covering, outgoing.retained);
            self.written += bytes as u64;
        }
    }

    /// Adds a run, which asks for no reply and of which nobody has to know whose it is.
    pub(crate) fn push_run(
        &mut self,
        run: &Run<'_>,
        from: ShardId,
        publisher: Option<ConnectionHandle>,
    ) {
        if let Some(parcel) = self.open_parcel(from) {
            self.written += parcel.push_run(run, publisher) as u64;
        }
    }

    /// The last letter, if it is a parcel with room, or a new one.
    #[inline]
    fn open_parcel(&mut self, from: ShardId) -> Option<&mut Parcel> {
        if !matches!(self.letters.last(), Some(Mail::Packets { parcel, .. }) if !parcel.is_full()) {
            self.begin_parcel(from);
        }
        match self.letters.last_mut() {
            Some(Mail::Packets { parcel, .. }) => Some(parcel),
            _ => None,
        }
    }

    #[inline(never)]
    fn begin_parcel(&mut self, from: ShardId) {
        let parcel = self.spare.pop().unwrap_or_default();
        self.letters.push(Mail::Packets { from, parcel, receipt: None });
    }

    #[inline(never)]
    fn push_shared(
        &mut self,
        outgoing: &mut Outgoing<'_>,
        covering: Covering<'_>,
        pool: &mut MessagePool,
    ) {
        let Covering { from, publisher, reply, attribution } = covering;
        if let Some(attribution) = attribution.filter(|_| outgoing.lacks_attribution()) {
            outgoing.attribute(&attribution, pool);
        }
        let retained = outgoing.retained;
        let message = outgoing.message(pool).clone();
        self.written += message.bytes() as u64;
        self.letters.push(Mail::Publish {
            from,
            message,
            publisher,
            reply,
            retained,
            receipt: None,
        });
    }

    /// Adds a message for one member of a group.
    pub(crate) fn push_shared_letter(&mut self, from: ShardId, letter: Box<SharedLetter>) {
        self.written += letter.message.bytes() as u64;
        self.letters.push(Mail::Shared { from, letter, receipt: None });
    }

    /// Bytes of messages that the other shard has not said to have read. As it is asked only now
    /// and then, a little of it may have been read.
    pub(crate) fn unread(&self) -> u64 {
        self.written - self.read
    }

    /// Whether publishers have to wait.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.unread() > UNREAD_MAX
    }

    /// The other shard has read so far. Returns who has waited long enough.
    pub(crate) fn on_receipt(&mut self, read: u64) -> Vec<ConnectionHandle> {
        self.read = self.read.max(read);
        if self.unread() <= UNREAD_MAX / 2 { std::mem::take(&mut self.waiting) } else { Vec::new() }
    }

    /// Moves the letters to `into`. The last message among them asks for a receipt if it is time for
    /// one, so that whatever is unread has been asked about but for a little.
    pub(crate) fn take(&mut self, into: &mut Vec<Mail>) {
        if self.written - self.asked >= RECEIPT_BYTES
            && let Some(place) = self.letters.iter_mut().rev().find_map(Mail::receipt_place)
        {
            *place = Some(self.written);
            self.asked = self.written;
        }
        into.append(&mut self.letters);
    }

    /// Takes an emptied parcel for use again.
    pub(crate) fn supply(&mut self, parcel: Parcel) {
        if self.spare.len() < SPARES && parcel.capacity() <= SPARE_BYTES {
            self.spare.push(parcel);
        }
    }
}
