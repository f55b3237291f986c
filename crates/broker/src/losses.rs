//! Whose messages are lost, so that somebody can be told: not each time, but once, and then how many
//! it was in every further minute.

use crate::session::SessionHandle;
use hashbrown::HashMap;

/// How long nothing more is said about a session, in milliseconds.
pub(crate) const SILENCE_MS: u64 = 60_000;
/// About so many sessions at once; further ones are in the counters of all.
const SESSIONS_MAX: usize = 1_000;

/// Messages that did not come to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    /// At QoS 0, because its client does not take what waits for it.
    pub at_most_once: u64,
    /// At QoS 1 and 2, because its queue is full or memory is short.
    pub queued: u64,
}

impl Lost {
    fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// Sessions that messages are lost for.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// What was lost since it was last said.
    unsaid: HashMap<SessionHandle, Lost, foldhash::quality::FixedState>,
    /// Those about whom nothing was said yet.
    fresh: Vec<SessionHandle>,
}

impl Losses {
    /// Notes what was lost for a session.
    #[cold]
    pub(crate) fn note(&mut self, session: SessionHandle, lost: Lost) {
        if let Some(unsaid) = self.unsaid.get_mut(&session) {
            unsaid.at_most_once += lost.at_most_once;
            unsaid.queued += lost.queued;
        } else if self.unsaid.len() < SESSIONS_MAX {
            self.unsaid.insert(session, lost);
            self.fresh.push(session);
        }
    }

    /// Whether there are some about which it is to be said at once.
    #[inline]
    pub(crate) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Sessions about which it is to be said at once.
    pub(crate) fn take_fresh(&mut self) -> Vec<SessionHandle> {
        std::mem::take(&mut self.fresh)
    }

    /// What is to be said of a session now; `None` if there was nothing, and then it is forgotten.
    pub(crate) fn say(&mut self, session: SessionHandle) -> Option<Lost> {
        let lost = std::mem::take(self.unsaid.get_mut(&session)?);
        if lost.is_none() {
            self.unsaid.remove(&session);
            return None;
        }
        Some(lost)
    }
}
