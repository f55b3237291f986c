//! What leads from the nodes of the tree to their children: one table for all of them.
//!
//! In a large tree each look-up waits for memory, so an edge is found in one line of the processor's
//! cache: entries of eight bytes lie in the place that their hash says or behind it, and nothing is
//! beside them. The hash is in the entry, so that the table grows, and is tidied up after a removal,
//! without a look at what was hashed.

/// An edge, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Edge {
    hash: u32,
    /// The root is nobody's child and stands for nothing.
    child: u32,
}

const NOTHING: Edge = Edge { hash: 0, child: 0 };

/// Edges by their hash, which several may have in common.
#[derive(Debug, Default)]
pub(super) struct Edges {
    /// A power of two of them, or none.
    places: Vec<Edge>,
    len: usize,
}

/// The least number of places.
const PLACES_MIN: usize = 8;
/// Of 16 places so many are used at most: what is not there has to be looked for up to the next
/// free place, some fifteen places then.
const USED_OF_16: usize = 13;

impl Edges {
    /// None, and room for so many.
    pub(super) fn with_room(count: usize) -> Self {
        let places = (count * 16 / USED_OF_16 + 1).next_power_of_two().max(PLACES_MIN);
        Self { places: vec![NOTHING; places], len: 0 }
    }

    /// How many places there are.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.places.len()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The child of an edge with this hash for which `is_it` holds.
    #[inline]
    pub(super) fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.places.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            let edge = self.places[at & mask];
            if edge.child == NOTHING.child {
                return None;
            }
            if edge.hash == hash && is_it(edge.child) {
                return Some(edge.child);
            }
            at += 1;
        }
    }

    /// A child that may be what [`find`](Self::find) would find; nothing if that is not seen at once.
    #[inline]
    pub(super) fn guess(&self, hash: u32) -> Option<u32> {
        let mask = self.places.len().checked_sub(1)?;
        let at = hash as usize & mask;
        let (first, second) = (self.places[at], self.places[(at + 1) & mask]);
        let edge = if first.hash == hash { first } else { second };
        (edge.hash == hash && edge.child != NOTHING.child).then_some(edge.child)
    }

    /// Adds an edge to a child that none leads to. A child is not zero.
    pub(super) fn insert(&mut self, hash: u32, child: u32) {
        if (self.len + 1) * 16 > self.places.len() * USED_OF_16 {
            self.grow();
        }
        self.len += 1;
        self.put(Edge { hash, child });
    }

    fn grow(&mut self) {
        let count = (self.places.len() * 2).max(PLACES_MIN);
        let old = std::mem::replace(&mut self.places, vec![NOTHING; count]);
        for edge in old.into_iter().filter(|edge| edge.child != NOTHING.child) {
            self.put(edge);
        }
    }

    fn put(&mut self, edge: Edge) {
        let mask = self.places.len() - 1;
        let mut at = edge.hash as usize & mask;
        while self.places[at].child != NOTHING.child {
            at = (at + 1) & mask;
        }
        self.places[at] = edge;
    }

    /// Takes the edge to a child away.
    pub(super) fn remove(&mut self, hash: u32, child: u32) {
        let Some(mask) = self.places.len().checked_sub(1) else {
            return;
        };
        let mut gap = hash as usize & mask;
        while self.places[gap].child != child {
            if self.places[gap].child == NOTHING.child {
                return;
            }
            gap = (gap + 1) & mask;
        }
        self.len -= 1;
        // Whatever would not be found any more behind the gap moves into it.
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let edge = self.places[at];
            if edge.child == NOTHING.child {
                break;
            }
            let from_home = at.wrapping_sub(edge.hash as usize) & mask;
            let from_gap = at.wrapping_sub(gap) & mask;
            if from_home >= from_gap {
                self.places[gap] = edge;
                gap = at;
            }
        }
        self.places[gap] = NOTHING;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn an_edge_takes_eight_bytes() {
        assert_eq!(size_of::<Edge>(), 8);
    }

    proptest! {
        /// With few hashes, so that all lie on top of each other.
        #[test]
        fn edges_are_found_until_they_are_removed(
            steps in prop::collection::vec((0..12u32, any::<bool>()), 1..300),
            scale in prop::sample::select(vec![1u32, 3, 0x2000_0001]),
        ) {
            let (mut edges, mut model) = (Edges::default(), BTreeMap::new());
            for (number, (hash, insert)) in steps.into_iter().enumerate() {
                let hash = hash.wrapping_mul(scale);
                if insert {
                    edges.insert(hash, number as u32 + 1);
                    model.insert(number as u32 + 1, hash);
                } else if let Some((child, hash)) = model.pop_first() {
                    edges.remove(hash, child);
                    prop_assert_eq!(edges.find(hash, |found| found == child), None);
                }
                prop_assert_eq!(edges.len(), model.len());
                for (child, hash) in &model {
                    prop_assert_eq!(edges.find(*hash, |found| found == *child), Some(*child));
                    let guess = edges.guess(*hash);
                    prop_assert!(guess.is_none_or(|guess| model.get(&guess) == Some(hash)));
                }
            }
        }
    }
}
