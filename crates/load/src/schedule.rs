//! When each thing is due that happens at a rate, whatever became of those before it.
//!
//! This is what makes a load an *open loop*: who sends by a schedule and counts from the moment that
//! the schedule says does not stop counting while a slow broker keeps it waiting, so no wait is
//! omitted. Nothing here reads a clock; moments are counted from the beginning of the schedule.

use std::time::Duration;

/// A rate that is reached at once or by a slope.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    rate: f64,
    ramp_s: f64,
}

impl Schedule {
    /// `rate` per second, reached evenly from nothing within `ramp`.
    pub fn new(rate: f64, ramp: Duration) -> Self {
        Self { rate, ramp_s: ramp.as_secs_f64() }
    }

    /// How many there are per second, once the slope is behind.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// When number `number`, from 0, is due.
    #[inline]
    pub fn due(&self, number: u64) -> Duration {
        let number = number as f64;
        let in_ramp = self.rate * self.ramp_s / 2.0;
        let seconds = if number < in_ramp {
            (2.0 * self.ramp_s * number / self.rate).sqrt()
        } else {
            self.ramp_s / 2.0 + number / self.rate
        };
        Duration::from_secs_f64(seconds)
    }

    /// How many are due when so much time has passed.
    pub fn count(&self, elapsed: Duration) -> u64 {
        let seconds = elapsed.as_secs_f64();
        let passed = if seconds < self.ramp_s {
            self.rate * seconds * seconds / (2.0 * self.ramp_s)
        } else {
            self.rate * (seconds - self.ramp_s / 2.0)
        };
        // The first is due at the very beginning.
        let mut count = passed as u64 + 1;
        // What is exactly due may be rounded to either side.
        while self.due(count) <= elapsed {
            count += 1;
        }
        while count > 0 && self.due(count - 1) > elapsed {
            count -= 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_steady_rate_is_evenly_spread() {
        let schedule = Schedule::new(1_000.0, Duration::ZERO);
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(500), SECOND / 2);
        assert_eq!(schedule.count(Duration::ZERO), 1);
        assert_eq!(schedule.count(SECOND), 1_001);
        assert_eq!(schedule.count(Duration::from_micros(999)), 1);
    }

    #[test]
    fn a_slope_brings_half_and_ends_at_the_rate() {
        let schedule = Schedule::new(1_000.0, 2 * SECOND);
        // A quarter of what the slope brings comes in its first half.
        assert_eq!(schedule.count(SECOND), 251);
        assert_eq!(schedule.count(2 * SECOND), 1_001);
        assert_eq!(schedule.count(3 * SECOND), 2_001);
    }

    #[test]
    fn what_is_counted_is_what_is_due() {
        for schedule in [
            Schedule::new(3.0, Duration::ZERO),
            Schedule::new(77_777.0, 2 * SECOND),
            Schedule::new(0.5, 10 * SECOND),
        ] {
            let mut last = Duration::ZERO;
            for number in (0..200_000).step_by(7_919) {
                let due = schedule.due(number);
                assert!(due >= last, "{schedule:?}: {number} is due before one before it");
                assert_eq!(schedule.count(due), number + 1, "{schedule:?}");
                last = due;
            }
        }
    }
}
