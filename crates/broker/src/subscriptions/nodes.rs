//! The nodes of the tree of filters, by number.
//!
//! They lie in pages, so that there is never one piece of memory of which half is not needed yet, and
//! a node that was made is not copied again. A node is one line of the processor's cache.

use super::Listed;
use super::level::Level;
use super::listing::Listing;

/// The node of the empty filter, which is nobody's child and so stands for none.
pub(super) const ROOT: u32 = 0;
/// The parent of a node that is not used.
const NOWHERE: u32 = u32::MAX;

/// A level of a filter, or several that begin alike.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Node<L: Listed> {
    /// The level that leads here from the parent; `+` for the wildcard.
    pub(super) level: Level,
    /// Who is listed under the filter that ends here or, if [`is_multi_level`](Self::is_multi_level)
    /// says so, under the one that goes on with `#`: nearly always there is one of them.
    listing: Listing<L>,
    /// Who is listed under the other one.
    other: Option<Box<Listing<L>>>,
    pub(super) parent: u32,
    /// How many, the one of `+` included.
    pub(super) children: u32,
    /// The child that `+` leads to, or the root.
    pub(super) single_level: u32,
    is_multi_level: bool,
}

impl<L: Listed> Node<L> {
    pub(super) fn new(parent: u32, level: &[u8]) -> Self {
        Self {
            level: Level::new(level),
            listing: Listing::default(),
            other: None,
            parent,
            children: 0,
            single_level: ROOT,
            is_multi_level: false,
        }
    }

    /// Who is listed under the filter that ends here, or under the one that goes on with `#`.
    #[inline]
    pub(super) fn listing(&self, multi_level: bool) -> Option<&Listing<L>> {
        if self.is_multi_level == multi_level { Some(&self.listing) } else { self.other.as_deref() }
    }

    /// As [`listing`](Self::listing), made if need be. What is done to it ends with
    /// [`shed`](Self::shed) if somebody was taken out.
    pub(super) fn listing_mut(&mut self, multi_level: bool) -> &mut Listing<L> {
        if self.is_multi_level != multi_level && self.listing.is_empty() && self.other.is_none() {
            self.is_multi_level = multi_level;
        }
        if self.is_multi_level == multi_level {
            &mut self.listing
        } else {
            self.other.get_or_insert_default()
        }
    }

    /// Gives back the memory of a list that nobody is on.
    pub(super) fn shed(&mut self) {
        if self.other.as_ref().is_some_and(|other| other.is_empty()) {
            self.other = None;
        }
        if self.listing.is_empty()
            && let Some(other) = self.other.take()
        {
            (self.listing, self.is_multi_level) = (*other, !self.is_multi_level);
        }
    }

    /// Whether nothing hangs on it.
    pub(super) fn is_bare(&self) -> bool {
        self.children == 0 && self.listing.is_empty() && self.other.is_none()
    }

    /// Whether a level leads to one of its children.
    #[inline]
    pub(super) fn has_literal_children(&self) -> bool {
        self.children > u32::from(self.single_level != ROOT)
    }
}

/// Nodes by number, and which numbers are free.
#[derive(Debug)]
pub(super) struct Nodes<L: Listed> {
    pages: Vec<Vec<Node<L>>>,
    len: usize,
    free: Vec<u32>,
}

/// Nodes of a page, all but the first of which are made at once.
const PAGE: usize = 128;

impl<L: Listed> Nodes<L> {
    /// The root alone.
    pub(super) fn new() -> Self {
        Self { pages: vec![vec![Node::new(ROOT, b"")]], len: 1, free: Vec::new() }
    }

    /// How many there are, the root included.
    pub(super) fn len(&self) -> usize {
        self.len - self.free.len()
    }

    /// How many there is room for, those that are not used included.
    pub(super) fn room(&self) -> usize {
        self.len
    }

    /// Those that are used, with their numbers.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &Node<L>)> {
        (0..).zip(self.pages.iter().flatten()).filter(|(_, node)| node.parent != NOWHERE)
    }

    /// Numbers those that are used anew, in their order, and gives back the memory of the others.
    pub(super) fn move_together(&mut self) {
        let mut numbers = vec![ROOT; self.len];
        let mut moved = Self { pages: Vec::new(), len: 0, free: Vec::new() };
        for (before, node) in std::mem::take(&mut self.pages).into_iter().flatten().enumerate() {
            if node.parent != NOWHERE {
                numbers[before] = moved.insert(node);
            }
        }
        for node in moved.pages.iter_mut().flatten() {
            node.parent = numbers[node.parent as usize];
            node.single_level = numbers[node.single_level as usize];
        }
        *self = moved;
    }

    #[inline]
    pub(super) fn at(&self, number: u32) -> &Node<L> {
        &self.pages[number as usize / PAGE][number as usize % PAGE]
    }

    #[inline]
    pub(super) fn at_mut(&mut self, number: u32) -> &mut Node<L> {
        &mut self.pages[number as usize / PAGE][number as usize % PAGE]
    }

    pub(super) fn insert(&mut self, node: Node<L>) -> u32 {
        if let Some(number) = self.free.pop() {
            *self.at_mut(number) = node;
            return number;
        }
        if self.len.is_multiple_of(PAGE) {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        if let Some(page) = self.pages.last_mut() {
            page.push(node);
        }
        self.len += 1;
        self.len as u32 - 1
    }

    pub(super) fn remove(&mut self, number: u32) {
        *self.at_mut(number) = Node::new(NOWHERE, b"");
        self.free.push(number);
    }
}
