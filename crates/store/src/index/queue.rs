//! Where the messages are that a session is owed: twenty bytes for each, ordered by sequence.
//!
//! Almost always messages come at the end and go from the front. Reading a log that was moved about
//! brings them in any order, so the entries lie in short pieces, each sorted.

use super::Location;
use noctule_broker::Sequence;
use std::collections::VecDeque;

/// Entries in a piece, at most.
const PIECE: usize = 128;

/// A message that is owed.
#[derive(Debug, Clone, Copy)]
#[repr(Rust, packed(4))]
struct Entry {
    sequence: u64,
    at: Location,
    bytes: u32,
}

const _: () = assert!(size_of::<Entry>() == 20);

/// The messages that a session is owed.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Sorted, and none is empty.
    pieces: VecDeque<VecDeque<Entry>>,
    messages: usize,
    bytes: u64,
}

/// One message that is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwedAt {
    pub(crate) sequence: Sequence,
    pub(crate) at: Location,
    /// About how many bytes it is.
    pub(crate) bytes: u32,
}

impl From<Entry> for OwedAt {
    fn from(entry: Entry) -> Self {
        Self { sequence: Sequence(entry.sequence), at: entry.at, bytes: entry.bytes }
    }
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.messages
    }

    /// About how many bytes of messages it stands for.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Notes where a message is. Returns where it was, if it was known.
    pub(crate) fn insert(&mut self, owed: OwedAt) -> Option<Location> {
        let entry = Entry { sequence: owed.sequence.0, at: owed.at, bytes: owed.bytes };
        let index = self.piece_for(entry.sequence);
        let replaced = match self.pieces.get_mut(index) {
            Some(piece) => match search(piece, entry.sequence) {
                Ok(at) => Some(std::mem::replace(&mut piece[at], entry)),
                Err(at) => {
                    self.insert_in(index, at, entry);
                    None
                }
            },
            None => {
                self.pieces.push_back(VecDeque::from([entry]));
                None
            }
        };
        self.bytes += u64::from(owed.bytes);
        match replaced {
            Some(old) => self.bytes -= u64::from(old.bytes),
            None => self.messages += 1,
        }
        replaced.map(|old| old.at)
    }

    fn insert_in(&mut self, index: usize, at: usize, entry: Entry) {
        let piece = &mut self.pieces[index];
        if piece.len() < PIECE {
            if piece.len() == piece.capacity() {
                // Many sessions are owed a few messages: room for twice as many is too much.
                piece.reserve_exact((piece.len() / 4).max(2));
            }
            return piece.insert(at, entry);
        }
        if at == PIECE {
            return self.pieces.insert(index + 1, VecDeque::from([entry]));
        }
        let upper = piece.split_off(PIECE / 2);
        self.pieces.insert(index + 1, upper);
        let (index, at) = if at <= PIECE / 2 { (index, at) } else { (index + 1, at - PIECE / 2) };
        self.pieces[index].insert(at, entry);
    }

    /// Forgets a message. Returns where it was.
    pub(crate) fn remove(&mut self, sequence: Sequence) -> Option<Location> {
        let index = self.piece_of(sequence.0);
        let piece = self.pieces.get_mut(index)?;
        let at = search(piece, sequence.0).ok()?;
        let entry = piece.remove(at)?;
        if piece.is_empty() {
            self.pieces.remove(index);
            if self.pieces.is_empty() {
                self.pieces = VecDeque::new();
            }
        }
        self.messages -= 1;
        self.bytes -= u64::from(entry.bytes);
        Some(entry.at)
    }

    pub(crate) fn get(&self, sequence: Sequence) -> Option<Location> {
        let piece = self.pieces.get(self.piece_of(sequence.0))?;
        Some(piece[search(piece, sequence.0).ok()?].at)
    }

    /// All messages behind `after`, in order.
    pub(crate) fn after(&self, after: Sequence) -> impl Iterator<Item = OwedAt> {
        let first = self.piece_of(after.0);
        self.pieces
            .range(first.min(self.pieces.len())..)
            .flatten()
            .filter(move |entry| entry.sequence > after.0)
            .map(|entry| OwedAt::from(*entry))
    }

    /// The last message.
    pub(crate) fn last(&self) -> Option<Sequence> {
        self.pieces.back().and_then(VecDeque::back).map(|entry| Sequence(entry.sequence))
    }

    /// All messages, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = OwedAt> {
        self.pieces.iter().flatten().map(|entry| OwedAt::from(*entry))
    }

    /// As [`piece_of`](Self::piece_of), for a sequence that is probably the highest.
    fn piece_for(&self, sequence: u64) -> usize {
        let last = self.pieces.back().and_then(VecDeque::front);
        if last.is_some_and(|last| last.sequence <= sequence) {
            return self.pieces.len() - 1;
        }
        self.piece_of(sequence)
    }

    /// The piece in which a sequence lies or would be put: the last that does not begin behind it.
    fn piece_of(&self, sequence: u64) -> usize {
        let second = self.pieces.get(1).and_then(VecDeque::front);
        if second.is_none_or(|second| second.sequence > sequence) {
            return 0;
        }
        let begins_before =
            |piece: &VecDeque<Entry>| piece.front().is_some_and(|first| first.sequence <= sequence);
        self.pieces.partition_point(begins_before).saturating_sub(1)
    }
}

/// Looks first where nearly all are found: at the front, and behind the end.
fn search(piece: &VecDeque<Entry>, sequence: u64) -> Result<usize, usize> {
    if piece.front().is_some_and(|first| first.sequence == sequence) {
        return Ok(0);
    }
    if piece.back().is_some_and(|last| last.sequence < sequence) {
        return Err(piece.len());
    }
    piece.binary_search_by_key(&sequence, |entry| entry.sequence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_testkit::Dice;
    use std::collections::BTreeMap;

    fn owed(sequence: u64, offset: u32) -> OwedAt {
        let at = Location { segment: 1, offset };
        OwedAt { sequence: Sequence(sequence), at, bytes: offset }
    }

    #[test]
    fn in_any_order_it_is_what_a_map_is() {
        let mut dice = Dice::new(1);
        let (mut queue, mut model) = (Queue::default(), BTreeMap::new());
        for step in 0..20_000u32 {
            let sequence = dice.below(1_500) as u64;
            if dice.chance(55) {
                let before = queue.insert(owed(sequence, step));
                assert_eq!(before.map(|at| at.offset), model.insert(sequence, step));
            } else {
                let before = queue.remove(Sequence(sequence));
                assert_eq!(before.map(|at| at.offset), model.remove(&sequence));
            }
            assert_eq!(queue.len(), model.len());
        }
        let bytes: u64 = model.values().map(|offset| u64::from(*offset)).sum();
        assert_eq!(queue.bytes(), bytes);
        for after in [0, 1, 700, 1_499, 2_000] {
            let found: Vec<_> = queue.after(Sequence(after)).map(|owed| owed.sequence.0).collect();
            let expected: Vec<_> = model.range(after + 1..).map(|(key, _)| *key).collect();
            assert_eq!(found, expected, "after {after}");
        }
    }

    #[test]
    fn a_queue_that_grows_at_its_end_wastes_little() {
        let mut queue = Queue::default();
        for sequence in 0..100_000 {
            queue.insert(owed(sequence, 1));
        }
        let room: usize = queue.pieces.iter().map(VecDeque::capacity).sum();
        assert!(room * size_of::<Entry>() < 100_000 * 26, "{room} places");
    }
}
