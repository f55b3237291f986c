//! Connections that have not said CONNECT yet, in the order in which they came.
//!
//! Where there are as many connections as there may be, the oldest of them gives way to a new one,
//! if it has had time enough: otherwise whoever opens connections and says nothing would keep all
//! others out until `connect_timeout`, again and again. Whoever has said CONNECT keeps its place.

use crate::connection::{Connection, ConnectionHandle, Phase};
use std::collections::VecDeque;

/// How long nobody has to give way, in milliseconds: a handshake of TLS over a slow network has to be
/// possible in it.
pub(crate) const GRACE_MS: u64 = 2_000;

/// Those of one shard, with when they came; among them some that have gone on or away since, none of
/// which is at the front for longer than till the next one comes.
#[derive(Debug, Default)]
pub(crate) struct HalfOpen {
    waiting: VecDeque<(ConnectionHandle, u64)>,
    /// Those that give way and have not gone yet.
    going: Vec<ConnectionHandle>,
}

impl HalfOpen {
    /// One came. `find` knows the connections that are there.
    pub(crate) fn add<'a>(
        &mut self,
        handle: ConnectionHandle,
        now_ms: u64,
        find: impl Fn(ConnectionHandle) -> Option<&'a Connection>,
    ) {
        self.drop_settled(find);
        self.waiting.push_back((handle, now_ms));
    }

    /// The one that is to give way, which is in here no more; none if nobody has been here long enough.
    pub(crate) fn give_way<'a>(
        &mut self,
        now_ms: u64,
        find: impl Fn(ConnectionHandle) -> Option<&'a Connection>,
    ) -> Option<ConnectionHandle> {
        self.drop_settled(find);
        let (oldest, came_ms) = *self.waiting.front()?;
        if now_ms < came_ms + GRACE_MS {
            return None;
        }
        self.waiting.pop_front();
        self.going.push(oldest);
        Some(oldest)
    }

    /// How many give way and are still counted.
    pub(crate) fn going(&self) -> usize {
        self.going.len()
    }

    /// A connection has gone.
    pub(crate) fn gone(&mut self, handle: ConnectionHandle) {
        self.going.retain(|going| *going != handle);
    }

    fn drop_settled<'a>(&mut self, find: impl Fn(ConnectionHandle) -> Option<&'a Connection>) {
        let waits =
            |handle| find(handle).is_some_and(|found| matches!(found.phase, Phase::AwaitConnect));
        while self.waiting.front().is_some_and(|(handle, _)| !waits(*handle)) {
            self.waiting.pop_front();
        }
    }
}
