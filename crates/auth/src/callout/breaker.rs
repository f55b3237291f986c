//! A circuit breaker: who does not answer is left alone for a while.
//!
//! ```text
//! Closed ──FAILURES_MAX outages in a row──► Open ──its time is over──► Trying: one is let through
//!   ▲                                        ▲                            │
//!   ├──────────────── answer ────────────────┼─────────── answer ─────────┤
//!   └────────────────────────────────────────┴─ outage: twice the time ◄──┘
//! ```
//!
//! Time comes in from outside. An answer closes it at any time, since it shows that somebody is there.

use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    /// How long it is open the next time.
    next: Duration,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Everybody is let through; so many outages in a row there have been.
    Closed(u32),
    /// Nobody is let through before this moment.
    Open(Instant),
    /// One was let through, and nobody else is.
    Trying,
}

/// A change that somebody may want to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nobody is let through for so long.
    Opened(Duration),
    /// Everybody is let through again.
    Closed,
}

/// Outages in a row that open it.
const FAILURES_MAX: u32 = 5;
/// How long it is open at first, and at most.
const OPEN_FIRST: Duration = Duration::from_secs(2);
const OPEN_MAX: Duration = Duration::from_secs(60);

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed(0), next: OPEN_FIRST }
    }
}

impl Breaker {
    /// Whether somebody may be asked now. Who was let through has to say how it went.
    pub fn admits(&mut self, now: Instant) -> bool {
        match self.state {
            State::Closed(_) => true,
            State::Open(until) if now >= until => {
                self.state = State::Trying;
                true
            }
            State::Open(_) | State::Trying => false,
        }
    }

    /// There was an answer.
    pub fn answered(&mut self) -> Option<Turn> {
        let was_closed = matches!(self.state, State::Closed(_));
        *self = Self::default();
        (!was_closed).then_some(Turn::Closed)
    }

    /// There was an outage.
    pub fn failed(&mut self, now: Instant) -> Option<Turn> {
        match &mut self.state {
            State::Closed(failures) => {
                *failures += 1;
                if *failures < FAILURES_MAX {
                    return None;
                }
            }
            State::Trying => {}
            // Somebody who was let through before it opened.
            State::Open(_) => return None,
        }
        let open_for = self.next;
        self.next = OPEN_MAX.min(open_for * 2);
        self.state = State::Open(now + open_for);
        Some(Turn::Opened(open_for))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Option<Turn> = Some(Turn::Opened(OPEN_FIRST));

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES_MAX {
            assert!(breaker.admits(now));
            assert_eq!(breaker.failed(now), None);
        }
        assert_eq!(breaker.failed(now), FIRST);
        breaker
    }

    #[test]
    fn some_outages_in_a_row_open_it_and_an_answer_between_them_does_not() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            for _ in 1..FAILURES_MAX {
                assert_eq!(breaker.failed(now), None);
            }
            assert_eq!(breaker.answered(), None);
        }
        assert!(!opened(now).admits(now));
    }

    #[test]
    fn when_its_time_is_over_one_is_let_through_and_decides() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(!breaker.admits(now + OPEN_FIRST - Duration::from_millis(1)));
        let later = now + OPEN_FIRST;
        assert!(breaker.admits(later));
        assert!(!breaker.admits(later), "one alone");
        assert_eq!(breaker.failed(later), Some(Turn::Opened(OPEN_FIRST * 2)));
        assert!(!breaker.admits(later + OPEN_FIRST));
        assert!(breaker.admits(later + OPEN_FIRST * 2));
        assert_eq!(breaker.answered(), Some(Turn::Closed));
        assert!(breaker.admits(later) && breaker.admits(later));
    }

    #[test]
    fn it_is_never_open_for_longer_than_a_minute() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut longest = OPEN_FIRST;
        for _ in 0..20 {
            now += longest;
            assert!(breaker.admits(now));
            let Some(Turn::Opened(time)) = breaker.failed(now) else { panic!("it stays open") };
            longest = time;
        }
        assert_eq!(longest, OPEN_MAX);
    }

    #[test]
    fn who_was_let_through_before_changes_nothing_by_failing_and_closes_it_by_an_answer() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.failed(now), None);
        assert_eq!(breaker.answered(), Some(Turn::Closed));
        assert!(breaker.admits(now));
    }
}
