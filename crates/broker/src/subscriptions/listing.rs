//! Who is listed under one filter: mostly one, who lies in the filter's own place.

use super::{Change, Listed, Presence};
use foldhash::quality::FixedState;
use indexmap::IndexMap;

/// Who is listed under one filter.
#[derive(Debug, Default)]
pub(crate) enum Listing<L: Listed> {
    #[default]
    Nobody,
    One(L),
    More(Box<More<L>>),
}

#[derive(Debug)]
pub(crate) struct More<L: Listed> {
    entries: Entries<L>,
    /// How many of them are durable.
    durable: u32,
}

#[derive(Debug)]
enum Entries<L: Listed> {
    /// Searched one by one.
    Few(Vec<L>),
    /// By key, so that one of 100,000 leaves in constant time.
    Many(IndexMap<L::Key, L, FixedState>),
}

/// Up to this many are searched one by one.
const FEW: usize = 16;

impl<L: Listed> Listing<L> {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Nobody => true,
            Self::One(_) => false,
            Self::More(more) => more.entries.len() == 0,
        }
    }

    #[inline]
    pub(crate) fn for_each(&self, visit: &mut impl FnMut(&L)) {
        match self {
            Self::Nobody => {}
            Self::One(one) => visit(one),
            Self::More(more) => more.for_each(visit),
        }
    }

    pub(super) fn find(&self, key: L::Key) -> Option<L> {
        match self {
            Self::Nobody => None,
            Self::One(one) => (one.key() == key).then_some(*one),
            Self::More(more) => more.entries.find(key),
        }
    }

    fn presence(&self) -> Presence {
        let durable = match self {
            Self::Nobody => return Presence::Nobody,
            Self::One(one) => one.is_durable(),
            Self::More(more) if more.entries.len() == 0 => return Presence::Nobody,
            Self::More(more) => more.durable > 0,
        };
        if durable { Presence::SomebodyDurable } else { Presence::Somebody }
    }

    pub(crate) fn insert(&mut self, entry: L) -> Change {
        let before = self.presence();
        let happened = match self {
            Self::Nobody => {
                *self = Self::One(entry);
                true
            }
            Self::One(one) if one.key() == entry.key() => {
                *one = entry;
                false
            }
            Self::One(one) => {
                let durable = u32::from(one.is_durable()) + u32::from(entry.is_durable());
                let entries = Entries::Few(vec![*one, entry]);
                *self = Self::More(Box::new(More { entries, durable }));
                true
            }
            Self::More(more) => {
                let old = more.entries.insert(entry);
                more.durable += u32::from(entry.is_durable());
                more.durable -= u32::from(old.is_some_and(|old| old.is_durable()));
                old.is_none()
            }
        };
        Change { happened, before, after: self.presence() }
    }

    pub(crate) fn remove(&mut self, key: L::Key) -> Change {
        let before = self.presence();
        let happened = match self {
            Self::One(one) if one.key() == key => {
                *self = Self::Nobody;
                true
            }
            Self::Nobody | Self::One(_) => false,
            Self::More(more) => {
                let old = more.entries.remove(key);
                more.durable -= u32::from(old.is_some_and(|old| old.is_durable()));
                if let Some(only) = more.entries.only() {
                    *self = Self::One(only);
                }
                old.is_some()
            }
        };
        Change { happened, before, after: self.presence() }
    }
}

#[cfg(feature = "bench")]
impl<L: Listed> Listing<L> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Nobody => 0,
            Self::One(_) => 1,
            Self::More(more) => more.entries.len(),
        }
    }
}

impl<L: Listed> More<L> {
    #[inline(never)]
    fn for_each(&self, visit: &mut impl FnMut(&L)) {
        match &self.entries {
            Entries::Few(few) => few.iter().for_each(visit),
            Entries::Many(many) => many.values().for_each(visit),
        }
    }
}

impl<L: Listed> Entries<L> {
    fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    /// The one that is left, if that is all.
    fn only(&self) -> Option<L> {
        match self {
            Self::Few(few) if few.len() == 1 => few.first().copied(),
            _ => None,
        }
    }

    fn find(&self, key: L::Key) -> Option<L> {
        match self {
            Self::Few(few) => few.iter().find(|one| one.key() == key).copied(),
            Self::Many(many) => many.get(&key).copied(),
        }
    }

    /// Returns the entry that was replaced.
    fn insert(&mut self, entry: L) -> Option<L> {
        match self {
            Self::Many(many) => many.insert(entry.key(), entry),
            Self::Few(few) => {
                if let Some(old) = few.iter_mut().find(|old| old.key() == entry.key()) {
                    return Some(std::mem::replace(old, entry));
                }
                if few.len() < FEW {
                    few.push(entry);
                } else {
                    // Keys are ours and nobody can choose them: any fixed seed will do.
                    let mut many = IndexMap::with_hasher(FixedState::default());
                    many.extend(few.drain(..).map(|old| (old.key(), old)));
                    many.insert(entry.key(), entry);
                    *self = Self::Many(many);
                }
                None
            }
        }
    }

    fn remove(&mut self, key: L::Key) -> Option<L> {
        match self {
            Self::Few(few) => {
                let index = few.iter().position(|old| old.key() == key)?;
                Some(few.swap_remove(index))
            }
            Self::Many(many) => {
                let removed = many.swap_remove(&key);
                if many.len() <= FEW / 2 {
                    *self = Self::Few(many.values().copied().collect());
                }
                removed
            }
        }
    }
}
