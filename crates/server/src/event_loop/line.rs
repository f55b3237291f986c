//! Who is read next: two lines, of those who say little and of those who say much.
//!
//! Whoever said little when it was last read stands in the *short* line when it is ready again.
//! Whoever said [as much](LITTLE), or has more than its share of a turn, or was not read for a while,
//! stands in the *long* one. The short line is served first: so whoever sends a message now and then
//! waits for one turn at most, however many others send more than the broker can take. Those have
//! among them what is left of each turn, in the order in which they came; at least one of them is
//! served in every turn, so that nobody waits without end.

use noctule_broker::ConnectionHandle;
use std::collections::VecDeque;

/// Less than this somebody says at once who says little, in bytes: some messages, or acknowledgements of a few
/// hundred.
pub(super) const LITTLE: usize = 1_024;

/// The sockets that may have something to read, each in one line once.
#[derive(Debug, Default)]
pub(super) struct Line {
    short: VecDeque<ConnectionHandle>,
    long: VecDeque<ConnectionHandle>,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// Of those who say little.
    Short,
    /// Of those who say much.
    Long,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.short.is_empty() && self.long.is_empty()
    }

    /// How many stand in one of them.
    pub(super) fn len(&self, length: Length) -> usize {
        self.of(length).len()
    }

    pub(super) fn push(&mut self, connection: ConnectionHandle, length: Length) {
        self.of_mut(length).push_back(connection);
    }

    pub(super) fn pop(&mut self, length: Length) -> Option<ConnectionHandle> {
        self.of_mut(length).pop_front()
    }

    fn of(&self, length: Length) -> &VecDeque<ConnectionHandle> {
        match length {
            Length::Short => &self.short,
            Length::Long => &self.long,
        }
    }

    fn of_mut(&mut self, length: Length) -> &mut VecDeque<ConnectionHandle> {
        match length {
            Length::Short => &mut self.short,
            Length::Long => &mut self.long,
        }
    }
}
