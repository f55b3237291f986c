//! Slots with generations: handles that can be copied anywhere and that fail, instead of pointing
//! at somebody else, once what they named is gone.
//!
//! Slots lie in pages of 64. A page is made when it is needed and given back when nothing is in it
//! any more, so an arena takes what its values take, and after a burst as little as before. New
//! values go to the first page with room, which lets the last ones run empty.
//!
//! Invariant: no two values ever have the same slot and generation. A slot counts its generations as
//! long as its page is there, and a new page begins behind all generations of those that are gone.

use crate::faults::{Fault, fault};
use std::collections::BTreeSet;
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

/// Slots of a page: as many as a word has bits.
const PAGE: usize = 64;

/// Values in numbered slots. They do not move as long as they are there.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    pages: Vec<Page<T>>,
    /// The pages that have room, whether they are there or not.
    roomy: BTreeSet<u32>,
    /// A page that is there with nothing in it, so that those who come and go do not make one again and
    /// again.
    spare: Option<u32>,
    /// The generation that slots of a new page begin with.
    floor: NonZeroU32,
    len: usize,
}

#[derive(Debug)]
struct Page<T> {
    /// None while nothing is in it.
    slots: Option<Box<[Slot<T>; PAGE]>>,
    /// A bit for each slot that is free.
    free: u64,
}

#[derive(Debug)]
struct Slot<T> {
    generation: NonZeroU32,
    value: Option<T>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            pages: Vec::new(),
            roomy: BTreeSet::new(),
            spare: None,
            floor: NonZeroU32::MIN,
            len: 0,
        }
    }
}

impl<T> Page<T> {
    const EMPTY: u64 = u64::MAX;

    fn new() -> Self {
        Self { slots: None, free: Self::EMPTY }
    }

    /// Its slots, which are made if they are not there, with this generation.
    fn slots(&mut self, floor: NonZeroU32) -> &mut [Slot<T>; PAGE] {
        self.slots.get_or_insert_with(|| {
            let slots: Box<[_]> =
                (0..PAGE).map(|_| Slot { generation: floor, value: None }).collect();
            slots.try_into().unwrap_or_else(|_| unreachable!("so many slots were made"))
        })
    }
}

impl<T> Arena<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, value: T) -> Handle<T> {
        let number = self.roomy.first().copied().unwrap_or_else(|| {
            self.pages.push(Page::new());
            let number = self.pages.len() as u32 - 1;
            self.roomy.insert(number);
            number
        });
        let page = &mut self.pages[number as usize];
        let index = page.free.trailing_zeros();
        page.free &= page.free - 1;
        if page.free == 0 {
            self.roomy.remove(&number);
        }
        if self.spare == Some(number) {
            self.spare = None;
        }
        let place = &mut page.slots(self.floor)[index as usize % PAGE];
        place.value = Some(value);
        self.len += 1;
        Handle {
            slot: number * PAGE as u32 + index,
            generation: place.generation,
            kind: PhantomData,
        }
    }

    pub(crate) fn remove(&mut self, handle: Handle<T>) -> Option<T> {
        let number = handle.slot / PAGE as u32;
        let index = handle.slot() % PAGE;
        let page = self.pages.get_mut(number as usize)?;
        let place = &mut page.slots.as_mut()?[index];
        if place.generation != handle.generation && !fault(Fault::GenerationUnchecked) {
            return None;
        }
        let value = place.value.take()?;
        place.generation = place.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        if page.free == 0 {
            self.roomy.insert(number);
        }
        page.free |= 1 << index;
        self.len -= 1;
        if page.free == Page::<T>::EMPTY {
            self.retire(number);
        }
        Some(value)
    }

    /// Nothing is in this page any more. One page is kept in spite of that, the first of those that
    /// could be.
    fn retire(&mut self, number: u32) {
        let Some(other) = self.spare.replace(number) else {
            return;
        };
        self.spare = Some(other.min(number));
        let page = &mut self.pages[other.max(number) as usize];
        let generations =
            page.slots.take().into_iter().flat_map(|slots| slots.map(|one| one.generation));
        self.floor = generations.max().map_or(self.floor, |last| last.max(self.floor));
        while self.pages.last().is_some_and(|last| last.slots.is_none()) {
            self.pages.pop();
            self.roomy.remove(&(self.pages.len() as u32));
        }
        if self.pages.capacity() / 4 > self.pages.len() {
            self.pages.shrink_to(2 * self.pages.len());
        }
    }

    #[inline]
    fn slot(&self, slot: u32) -> Option<&Slot<T>> {
        let page = self.pages.get(slot as usize / PAGE)?;
        Some(&page.slots.as_ref()?[slot as usize % PAGE])
    }

    #[inline]
    pub(crate) fn get(&self, handle: Handle<T>) -> Option<&T> {
        let place = self.slot(handle.slot)?;
        if place.generation != handle.generation && !fault(Fault::GenerationUnchecked) {
            return None;
        }
        place.value.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, handle: Handle<T>) -> Option<&mut T> {
        let page = self.pages.get_mut(handle.slot() / PAGE)?;
        let place = &mut page.slots.as_mut()?[handle.slot() % PAGE];
        if place.generation != handle.generation && !fault(Fault::GenerationUnchecked) {
            return None;
        }
        place.value.as_mut()
    }

    /// How many slots there are, used or not.
    pub(crate) fn slots(&self) -> usize {
        self.pages.len() * PAGE
    }

    /// The values behind the first `slots` places, and nothing for each place that is free.
    pub(crate) fn values_after(&self, slots: usize) -> impl Iterator<Item = Option<&T>> {
        (slots..self.slots()).map(|slot| self.slot(slot as u32)?.value.as_ref())
    }

    /// The handles of all values.
    pub(crate) fn handles(&self) -> impl Iterator<Item = Handle<T>> {
        let slots = (0..self.slots() as u32).filter_map(|slot| Some((slot, self.slot(slot)?)));
        slots.filter(|(_, place)| place.value.is_some()).map(|(slot, place)| Handle {
            slot,
            generation: place.generation,
            kind: PhantomData,
        })
    }

    /// Pages that take memory, for tests of what is given back.
    #[cfg(test)]
    fn pages(&self) -> usize {
        self.pages.iter().filter(|page| page.slots.is_some()).count()
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
    fn the_pages_of_a_burst_are_given_back_and_its_handles_stay_stale() {
        let mut arena = Arena::default();
        let staying = arena.insert(0);
        let burst: Vec<_> = (1..10_000).map(|value| arena.insert(value)).collect();
        assert_eq!((arena.pages(), arena.slots()), (157, 157 * PAGE));
        for handle in &burst {
            assert!(arena.remove(*handle).is_some());
        }
        // The one with somebody in it, and one to spare.
        assert_eq!((arena.pages(), arena.slots()), (2, 2 * PAGE));
        assert!(arena.pages.capacity() < 16 && arena.roomy.len() == 2);
        let again: Vec<_> = (1..10_000).map(|value| arena.insert(-value)).collect();
        assert!(burst.iter().all(|handle| arena.get(*handle).is_none()));
        assert_eq!(arena.get(staying), Some(&0));
        assert_eq!(again.iter().filter_map(|handle| arena.get(*handle)).sum::<i32>(), -49_995_000);
    }

    #[test]
    fn who_comes_and_goes_at_the_edge_of_a_page_makes_none() {
        let mut arena = Arena::default();
        let _full: Vec<_> = (0..PAGE).map(|value| arena.insert(value)).collect();
        let last = arena.insert(PAGE);
        arena.remove(last);
        assert_eq!(arena.pages(), 2);
        arena.insert(PAGE);
        assert_eq!(arena.pages(), 2);
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
                let handles: HashSet<_> = arena.handles().collect();
                prop_assert_eq!(&handles, &map.keys().copied().collect::<HashSet<_>>());
                prop_assert_eq!(arena.values_after(0).flatten().count(), map.len());
            }
        }
    }
}
