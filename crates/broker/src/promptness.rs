//! How soon a receiver acknowledges what it is sent, as far as it matters to what
//! [is deferred](crate::deferred).
//!
//! ```text
//! prompt ──something is overdue──► looked at, if more waits for its turn; else late
//!   ▲                                  │ overdue again
//!   │                                  ├─ all that was on its way is acknowledged ─► looked at anew
//!   │                                  └─ it is not ─► late
//!   └── after LATE_MIN_MS, or twice as long as the last time, up to LATE_MAX_MS ── late
//! ```
//!
//! A message may be overdue though its receiver is prompt, if more is under way than may be in flight to
//! it: it waited in the queue. So then it is looked at what was in flight.

use crate::persist::Sequence;

/// How long a receiver's acknowledgement is waited for, in milliseconds. The clock has whole ones, so
/// it is between one less and this.
const PATIENCE_MS: u64 = 2;
/// So many more turns come to their end before it is not waited for any longer. In a flood a turn takes
/// a millisecond or more, and a receiver that answers at once stands in the long line behind publishers,
/// so it is heard some turns later.
pub(crate) const PATIENCE_TURNS: u32 = 16;
/// For so long nothing is deferred for a receiver that was late, in milliseconds; and twice as long each
/// time that it is late again before it was prompt for as long as that.
const LATE_MIN_MS: u64 = 10;
/// And no longer than this.
const LATE_MAX_MS: u64 = 1_000;

/// A time, in milliseconds, and the number of the turn that came to its end then. Numbers wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Moment {
    pub(crate) ms: u64,
    pub(crate) turn: u32,
}

impl Moment {
    /// When patience that began then is at an end, if enough turns have passed by then.
    pub(crate) fn patience_ends_ms(self) -> u64 {
        self.ms + PATIENCE_MS
    }

    /// Whether patience that began then is at an end.
    pub(crate) fn is_long_ago(self, now: Self) -> bool {
        self.patience_ends_ms() <= now.ms && now.turn.wrapping_sub(self.turn) >= PATIENCE_TURNS
    }
}

/// What is known of a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Promptness {
    /// Until then it is taken to be late, in monotonic milliseconds.
    late_until_ms: u64,
    /// For how long that was.
    late_for_ms: u64,
    /// What was on its way when it was looked at.
    look: Option<Look>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    at: Moment,
    last: Sequence,
}

/// What is on its way to a receiver.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnItsWay {
    /// The oldest message in flight, and the last one.
    pub(crate) oldest: Sequence,
    pub(crate) last: Sequence,
    /// Whether more waits in the queue.
    pub(crate) more_waits: bool,
}

impl Promptness {
    /// Of one of whom nothing is known.
    pub(crate) const UNKNOWN: Self = Self { late_until_ms: 0, late_for_ms: 0, look: None };

    /// Whether it is expected to acknowledge at once.
    #[inline]
    pub(crate) fn is_prompt(&self, now_ms: u64) -> bool {
        self.late_until_ms <= now_ms
    }

    /// Something that it is owed is overdue: whether it may be waited for all the same.
    pub(crate) fn gets_on(&mut self, is: OnItsWay, now: Moment) -> bool {
        let gets_on = match &self.look {
            Some(look) if !look.at.is_long_ago(now) => return true,
            Some(look) => is.oldest > look.last,
            None => is.more_waits,
        };
        self.look = gets_on.then_some(Look { at: now, last: is.last });
        gets_on
    }

    /// It was late.
    pub(crate) fn note_late(&mut self, now_ms: u64) {
        self.look = None;
        if !self.is_prompt(now_ms) {
            return;
        }
        let was_prompt_for = now_ms - self.late_until_ms;
        let again = was_prompt_for <= self.late_for_ms;
        self.late_for_ms = if again { 2 * self.late_for_ms } else { 0 };
        self.late_for_ms = self.late_for_ms.clamp(LATE_MIN_MS, LATE_MAX_MS);
        self.late_until_ms = now_ms + self.late_for_ms;
    }
}

impl Default for Promptness {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        // In these a turn takes a millisecond.
        Moment { ms, turn: ms as u32 }
    }

    fn way(oldest: u64, last: u64, more_waits: bool) -> OnItsWay {
        OnItsWay { oldest: Sequence(oldest), last: Sequence(last), more_waits }
    }

    #[test]
    fn patience_is_time_and_turns() {
        let begin = Moment { ms: 100, turn: u32::MAX };
        let after = |ms, turns: u32| Moment { ms: 100 + ms, turn: u32::MAX.wrapping_add(turns) };
        assert!(!begin.is_long_ago(after(PATIENCE_MS - 1, PATIENCE_TURNS)));
        assert!(!begin.is_long_ago(after(PATIENCE_MS, PATIENCE_TURNS - 1)));
        assert!(begin.is_long_ago(after(PATIENCE_MS, PATIENCE_TURNS)));
    }

    #[test]
    fn one_with_nothing_waiting_is_late_at_once() {
        assert!(!Promptness::default().gets_on(way(1, 5, false), at(20)));
    }

    #[test]
    fn one_with_more_waiting_gets_on_while_all_that_was_on_its_way_is_acknowledged() {
        let mut receiver = Promptness::default();
        assert!(receiver.gets_on(way(1, 10, true), at(20)));
        assert!(receiver.gets_on(way(1, 10, true), at(25)), "it has just been looked at");
        assert!(receiver.gets_on(way(11, 20, true), at(36)));
        assert!(receiver.gets_on(way(25, 30, false), at(52)), "nothing more has to wait");
        assert!(!receiver.gets_on(way(30, 40, true), at(68)), "30 was on its way");
    }

    #[test]
    fn one_that_is_late_again_and_again_is_tried_less_and_less() {
        let (mut receiver, mut now_ms, mut times) = (Promptness::default(), 5_000, Vec::new());
        for _ in 0..9 {
            receiver.note_late(now_ms);
            receiver.note_late(now_ms + 1);
            let begin = now_ms;
            while !receiver.is_prompt(now_ms) {
                now_ms += 1;
            }
            times.push(now_ms - begin);
        }
        assert_eq!(times, [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000]);
        receiver.note_late(now_ms + 1_001);
        assert!(receiver.is_prompt(now_ms + 1_001 + LATE_MIN_MS), "it was prompt for long enough");
    }
}
