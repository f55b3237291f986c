//! Slots with generations: handles that can be copied anywhere and that fail, instead of pointing
//! at somebody else, once what they named is gone.

use crate::faults::{Fault, fault};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

/// Names a value in an [`Arena`]. Stale once the value is removed, also when its slot is used
/// again.
pub struct Handle<T> {
    slot: u32,
    generation: u32,
    kind: PhantomData<fn() -> T>,
}

impl<T> Handle<T> {
    /// A handle of nothing, for who has to give one and has none, as a test does.
    pub const NOTHING: Self = Self { slot: u32::MAX, generation: u32::MAX, kind: PhantomData };

    /// The slot: small numbers, used again after a removal. Good as an index for what belongs to
    /// the value elsewhere.
    pub const fn slot(self) -> usize {
        self.slot as usize
    }

    /// Names nothing: for benchmarks of what only compares handles.
    #[cfg(feature = "bench")]
    pub(crate) const fn numbered(slot: u32) -> Self {
        Self { slot, generation: 0, kind: PhantomData }
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

/// Values in numbered slots. They are boxed, so that growing moves pointers only.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<Box<T>>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Arena<T> {
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn insert(&mut self, value: T) -> Handle<T> {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, value: None });
            self.slots.len() as u32 - 1
        });
        let place = &mut self.slots[slot as usize];
        place.value = Some(Box::new(value));
        Handle { slot, generation: place.generation, kind: PhantomData }
    }

    pub(crate) fn remove(&mut self, handle: Handle<T>) -> Option<T> {
        let place = self.slots.get_mut(handle.slot as usize)?;
        if place.generation != handle.generation && !fault(Fault::GenerationUnchecked) {
            return None;
        }
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(handle.slot);
        Some(*value)
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
}
