//! Saying that memory is short, for whom most of it is taken, and that there is enough again.
//!
//! Every loop finds out by itself how short it is; whoever finds it worse than was said says it for
//! all. For whom most is taken is counted then: by each loop for its own, a moment later, as what is on
//! its way to another loop is nobody's yet. It is said when all have, or after a while. Invariant: an episode is said when it begins, when it gets worse than it has been, once a minute
//! while it lasts, and when it has been over for a while.

use noctule_broker::{Holding, Pressure, Snapshot};
use std::fmt::Write;
use tracing::{info, warn};

/// How long it is not said again, in milliseconds.
const SILENCE_MS: u64 = 60_000;
/// There has to be enough memory for so long before that is said.
const CALM_MS: u64 = 10_000;

/// So long after it was found out, loops count. They do so once a second at most.
const SETTLING_MS: u64 = 200;
/// So long after it was found out, it is said in any case. A loop to which nothing happens does not count, and
/// has nothing new to say.
const COUNTING_MS: u64 = 2_500;

/// What was said of the present episode.
#[derive(Debug, Default)]
pub(super) struct Episode {
    worst: Pressure,
    said_ms: u64,
    /// Since when there is enough.
    calm_since_ms: Option<u64>,
    /// How short it is said to be as soon as loops have counted, and since when they are to.
    counting: Option<(Pressure, u64)>,
}

/// What is to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Short,
    Enough,
}

impl Episode {
    fn note(&mut self, pressure: Pressure, now_ms: u64) -> Option<News> {
        if pressure == Pressure::None {
            let since = *self.calm_since_ms.get_or_insert(now_ms);
            let is_over = self.worst > Pressure::None && now_ms.saturating_sub(since) >= CALM_MS;
            return is_over.then(|| {
                *self = Self { counting: self.counting, ..Self::default() };
                News::Enough
            });
        }
        self.calm_since_ms = None;
        if pressure <= self.worst && now_ms.saturating_sub(self.said_ms) < SILENCE_MS {
            return None;
        }
        (self.worst, self.said_ms) = (self.worst.max(pressure), now_ms);
        Some(News::Short)
    }

    /// Whether something is to be said as soon as loops have counted.
    pub(super) fn is_counting(&self) -> bool {
        self.counting.is_some()
    }

    /// Whether a loop that has counted at this time is to count again.
    pub(super) fn wants_count(&self, counted_ms: u64, now_ms: u64) -> bool {
        self.counting.is_some_and(|(_, since_ms)| {
            let settled_ms = since_ms + SETTLING_MS;
            counted_ms < settled_ms && settled_ms <= now_ms
        })
    }

    /// A loop has found memory to be this short. `counted_ms` is when the last of the loops has counted
    /// that have something to count; the sum of them is asked for only if something is said.
    pub(super) fn say(
        &mut self,
        pressure: Pressure,
        now_ms: u64,
        counted_ms: u64,
        sum: impl FnOnce() -> Snapshot,
    ) {
        match self.note(pressure, now_ms) {
            None => {}
            Some(News::Enough) => info!("memory is no longer short"),
            Some(News::Short) => self.counting = Some((pressure, now_ms)),
        }
        if let Some((pressure, since_ms)) = self.counting
            && (counted_ms >= since_ms + SETTLING_MS
                || now_ms.saturating_sub(since_ms) >= COUNTING_MS)
        {
            self.counting = None;
            say_short(pressure, &sum());
        }
    }
}

fn say_short(pressure: Pressure, sum: &Snapshot) {
    let memory = &sum.memory;
    warn!(
        bytes = super::report::memory(sum),
        connections = memory.connections,
        sessions = memory.sessions,
        owed = memory.owed,
        spilled = memory.spilled,
        retained = sum.retained_bytes,
        large = sum.large_bytes,
        most_for = named(sum.holdings.as_slice()),
        "memory is short (limits.memory_max): {}",
        what_follows(pressure)
    );
}

fn what_follows(pressure: Pressure) -> &'static str {
    match pressure {
        Pressure::None => "there is enough",
        Pressure::Floods => "80 % is taken, and who sends much is read slowly",
        Pressure::AtMostOnce => {
            "90 % is taken, and QoS 0 is dropped for who does not take it at once"
        }
        Pressure::NewWork => "all is taken, and nothing new is that would have to be kept",
    }
}

/// For whom how much is taken, the most first.
fn named(holdings: &[Holding]) -> String {
    let mut text = String::new();
    for Holding { client_id, bytes } in holdings {
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{} {bytes}", client_id.escape_debug());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use Pressure::{AtMostOnce, Floods, NewWork, None as Enough};

    #[test]
    fn it_is_said_when_it_gets_worse_once_a_minute_and_when_it_is_over() {
        let mut episode = Episode::default();
        let steps = [
            (0, Enough, None),
            (1_000, Floods, Some(News::Short)),
            (2_000, Enough, None),
            (3_000, Floods, None),
            (4_000, AtMostOnce, Some(News::Short)),
            (5_000, NewWork, Some(News::Short)),
            (6_000, Floods, None),
            (64_999, NewWork, None),
            (65_000, NewWork, Some(News::Short)),
            (66_000, Enough, None),
            (75_999, Enough, None),
            (76_000, Enough, Some(News::Enough)),
            (90_000, Enough, None),
            (91_000, Floods, Some(News::Short)),
        ];
        for (now_ms, pressure, said) in steps {
            assert_eq!(episode.note(pressure, now_ms), said, "at {now_ms} ms");
        }
    }

    #[test]
    fn loops_count_a_moment_later_and_it_is_said_when_all_have() {
        let mut episode = Episode::default();
        assert!(!episode.wants_count(500, 1_000));
        let said = |episode: &mut Episode, now_ms, counted_ms| {
            let mut said = false;
            episode.say(Floods, now_ms, counted_ms, || {
                said = true;
                Snapshot::default()
            });
            said
        };
        assert!(!said(&mut episode, 1_000, 1_000), "something may be on its way");
        assert!(episode.is_counting() && !episode.wants_count(1_000, 1_199));
        assert!(episode.wants_count(1_000, 1_200));
        assert!(!said(&mut episode, 1_300, 1_000), "another loop has not counted");
        assert!(!episode.wants_count(1_200, 1_300), "it has");
        assert!(episode.wants_count(500, 1_300), "and the other is to");
        assert!(said(&mut episode, 1_400, 1_200) && !episode.is_counting());
        assert!(!said(&mut episode, 2_100, 2_000), "once");
        assert!(!said(&mut episode, 70_000, 500));
        assert!(!said(&mut episode, 72_499, 500));
        assert!(said(&mut episode, 72_500, 500), "nothing happens to the other");
    }

    #[test]
    fn names_are_escaped() {
        let holding = |client_id: &str, bytes| Holding { client_id: client_id.into(), bytes };
        assert_eq!(named(&[holding("a\n", 7), holding("b", 1)]), "a\\n 7, b 1");
    }
}
