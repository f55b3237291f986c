//! Slots with generations: handles that can be copied anywhere and that fail, instead of pointing
//! at somebody else, once what they named is gone.
//!
//! Values are boxed, so that one that is gone leaves nothing but its slot, and growing moves pointers
//! only. The lowest free slot is used first, and free slots at the end are given back: after a burst an
//! arena takes about as little as before.
//!
//! Invariant: no two values ever have the same slot and generation. A slot counts its generations, and
//! new ones begin behind all generations of those that were given back.

use crate::faults::{Fault, fault};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::num::NonZeroU32;

/// Names a value in an `Arena`. Stale once the value is removed, also when its slot is used
/// again.
pub struct Handle<T> {
    slot: u32,
    generation: NonZeroU32,
    kind: PhantomData<fn() -> T>,
}

impl<T> Handle<T> {
    /// A handle of nothing, for who has to give one and has none, as a test does.
    pub const NOTHING: Self =
        Self { slot: u32::MAX, generation: NonZeroU32::MAX, kind: PhantomData };

    /// The slot: small numbers, used again after a removal. Good as an index for what belongs to
    /// the value elsewhere.
    pub const fn slot(self) -> usize {
        self.slot as usize
    }

    /// Names nothing: for benchmarks of what only compares handles.
    #[cfg(feature = "bench")]
    pub(crate) const fn numbered(slot: u32) -> Self {
        Self { slot, generation: NonZeroU32::MIN, kind: PhantomData }
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Handle<T> {}

impl<T> PartialEq for Handle<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.slot, self.generation) == (other.slot, other.generation)
    }
}

impl<T> Eq for Handle<T> {}

impl<T> PartialOrd for Handle<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Handle<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.slot, self.generation).cmp(&(other.slot, other.generation))
    }
}

impl<T> Hash for Handle<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.slot, self.generation).hash(state);
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.slot, self.generation)
    }
}

/// Values in numbered slots.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    slots: Vec<Slot<T>>,
    /// The free slots. Numbers behind the last slot are those of slots that were given back.
    free: BinaryHeap<Reverse<u32>>,
    /// The generation that new slots begin with.
    floor: NonZeroU32,
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: NonZeroU32,
    value: Option<Box<T>>,
}

/// A list of slots for less than four times this does not become shorter.
const SLOTS_KEPT: usize = 64;

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: BinaryHeap::new(), floor: NonZeroU32::MIN, len: 0 }
    }
}

impl<T> Arena<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, value: T) -> Handle<T> {
        let slot = self.free_slot();
        let place = &mut self.slots[slot as usize];
        place.value = Some(Box::new(value));
        self.len += 1;
        Handle { slot, generation: place.generation, kind: PhantomData }
    }

    fn free_slot(&mut self) -> u32 {
        match self.free.pop() {
            Some(Reverse(slot)) if (slot as usize) < self.slots.len() => return slot,
            // It is the lowest: none of the others is there any more either.
            Some(_) => self.free = BinaryHeap::new(),
            None => {}
        }
        self.slots.push(Slot { generation: self.floor, value: None });
        self.slots.len() as u32 - 1
    }

    pub(crate) fn remove(&mut self, handle: Handle<T>) -> Option<T> {
        let place = self.slots.get_mut(handle.slot())?;
        if place.generation != handle.generation && !fault(Fault::GenerationUnchecked) {
            return None;
        }
        let value = place.value.take()?;
        place.generation = place.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.len -= 1;
        if handle.slot() + 1 == self.slots.len() {
            self.drop_last();
        } else {
            self.free.push(Reverse(handle.slot));
        }
        Some(*value)
    }

    /// Gives back the free slots at the end.
    fn drop_last(&mut self) {
        while let Some(last) = self.slots.pop_if(|last| last.value.is_none()) {
            self.floor = self.floor.max(last.generation);
        }
        if self.slots.capacity() > 4 * self.slots.len().max(SLOTS_KEPT) {
            self.slots.shrink_to(2 * self.slots.len());
            self.free.retain(|Reverse(slot)| (*slot as usize) < self.slots.len());
            self.free.shrink_to(2 * self.free.len());
        }
    }

    #[inline]
    pub(crate) fn get(&self, handle: Handle<T>) -> Option<&T> {
        let place = self.slots.get(handle.slot as usize)?;
        if place.generation != handle.generation && !fault(Fault::GenerationUnchecked) {
            return None;
        }
        place.value.as_deref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, handle: Handle<T>) -> Option<&mut T> {
        let place = self.slots.get_mut(handle.slot as usize)?;
        if place.generation != handle.generation && !fault(Fault::GenerationUnchecked) {
            return None;
        }
        place.value.as_deref_mut()
    }

    /// The value in a slot, whichever it is now, and its handle.
    pub(crate) fn at(&self, slot: u32) -> Option<(Handle<T>, &T)> {
        let place = self.slots.get(slot as usize)?;
        let handle = Handle { slot, generation: place.generation, kind: PhantomData };
        place.value.as_deref().map(|value| (handle, value))
    }

    /// How many slots there are, used or not.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The values behind the first `slots` places, and nothing for each place that is free.
    pub(crate) fn values_after(&self, slots: usize) -> impl Iterator<Item = Option<&T>> {
        self.slots.iter().skip(slots).map(|place| place.value.as_deref())
    }

    /// The handles of all values.
    pub(crate) fn handles(&self) -> impl Iterator<Item = Handle<T>> {
        self.slots.iter().enumerate().filter(|(_, place)| place.value.is_some()).map(
            |(slot, place)| Handle {
                slot: slot as u32,
                generation: place.generation,
                kind: PhantomData,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{HashMap, HashSet};

    #[test]
    fn a_handle_fails_when_its_slot_is_used_again() {
        let mut arena = Arena::default();
        let first = arena.insert("a");
        assert_eq!(arena.remove(first), Some("a"));
        let second = arena.insert("b");
        assert_eq!(second.slot(), first.slot());
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!(arena.get(second), Some(&"b"));
        assert_eq!(arena.len(), 1);
    }

    #[test]
    fn a_handle_or_none_is_as_large_as_a_handle() {
        assert_eq!(size_of::<Option<Handle<String>>>(), 8);
    }

    #[test]
    fn the_slots_of_a_burst_are_given_back_and_its_handles_stay_stale() {
        let mut arena = Arena::default();
        let staying = arena.insert(0);
        let burst: Vec<_> = (1..10_000).map(|value| arena.insert(value)).collect();
        assert_eq!(arena.slots(), 10_000);
        for handle in &burst {
            assert!(arena.remove(*handle).is_some());
        }
        assert_eq!(arena.slots(), 1);
        assert!(
            arena.slots.capacity() <= 4 * SLOTS_KEPT && arena.free.capacity() <= 4 * SLOTS_KEPT
        );
        let again: Vec<_> = (1..10_000).map(|value| arena.insert(-value)).collect();
        assert!(burst.iter().all(|handle| arena.get(*handle).is_none()));
        assert_eq!(arena.get(staying), Some(&0));
        assert_eq!(again.iter().filter_map(|handle| arena.get(*handle)).sum::<i32>(), -49_995_000);
    }

    #[test]
    fn the_lowest_free_slot_is_used_first() {
        let mut arena = Arena::default();
        let all: Vec<_> = (0..100).map(|value| arena.insert(value)).collect();
        for slot in [70, 3, 50] {
            arena.remove(all[slot]);
        }
        let slots: Vec<_> = (0..4).map(|value| arena.insert(value).slot()).collect();
        assert_eq!(slots, [3, 50, 70, 100]);
    }

    proptest! {
        #[test]
        fn it_says_of_every_handle_what_a_map_says(
            steps in prop::collection::vec((0..4u8, 0..150usize), 0..24),
        ) {
            let (mut arena, mut map) = (Arena::default(), HashMap::new());
            let (mut given, mut seen) = (Vec::new(), HashSet::new());
            for (number, (step, pick)) in steps.into_iter().enumerate() {
                if step < 2 {
                    for value in 0..pick {
                        let handle = arena.insert((number, value));
                        prop_assert!(seen.insert(handle), "{handle:?} was given twice");
                        map.insert(handle, (number, value));
                        given.push(handle);
                    }
                } else if step == 2 {
                    for handle in given.iter().skip(pick).step_by(pick + 1) {
                        prop_assert_eq!(arena.remove(*handle), map.remove(handle));
                    }
                } else {
                    for handle in given.iter().skip(pick) {
                        prop_assert_eq!(arena.remove(*handle), map.remove(handle));
                    }
                }
                prop_assert_eq!(arena.len(), map.len());
                prop_assert!(given.iter().all(|one| arena.get(*one) == map.get(one)));
                for (handle, value) in &map {
                    prop_assert_eq!(arena.at(handle.slot() as u32), Some((*handle, value)));
                }
                let handles: HashSet<_> = arena.handles().collect();
                prop_assert_eq!(&handles, &map.keys().copied().collect::<HashSet<_>>());
                prop_assert_eq!(arena.values_after(0).flatten().count(), map.len());
            }
        }
    }
}
