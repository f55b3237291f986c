//! Load averages: how much of something there was per minute, with the latest minutes counting most.
//!
//! As with the load of a machine, each round moves an average towards the present rate, the faster
//! the shorter its time is.

use std::time::Duration;

/// The times that are averaged over, in minutes.
pub(crate) const MINUTES: [u32; 3] = [1, 5, 15];

/// The averages of one counter.
#[derive(Debug, Default)]
pub(crate) struct Load {
    before: u64,
    averages: [f64; 3],
}

impl Load {
    /// A round has passed since the last one, and the counter stands at `now`.
    pub(crate) fn round(&mut self, now: u64, round: Duration) -> [f64; 3] {
        let seconds = round.as_secs_f64().max(0.001);
        let counted = now.saturating_sub(self.before) as f64;
        let per_minute = counted * 60.0 / seconds;
        self.before = now;
        for (average, minutes) in self.averages.iter_mut().zip(MINUTES) {
            let kept = (-seconds / (60.0 * f64::from(minutes))).exp();
            *average = per_minute + kept * (*average - per_minute);
        }
        self.averages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_come_to_the_rate_and_fade_in_their_time() {
        let round = Duration::from_secs(10);
        let mut load = Load::default();
        let mut counter = 0;
        let mut averages = [0.0; 3];
        for _ in 0..6 {
            counter += 100;
            averages = load.round(counter, round);
        }
        // After its own time an average has gone 1 − 1/e of the way to 600 a minute.
        assert!((averages[0] - 600.0 * (1.0 - (-1.0_f64).exp())).abs() < 0.01, "{averages:?}");
        assert!(averages[0] > averages[1] && averages[1] > averages[2], "{averages:?}");
        for _ in 0..1_000 {
            counter += 100;
            averages = load.round(counter, round);
        }
        assert!(averages.iter().all(|average| (average - 600.0).abs() < 0.01), "{averages:?}");
        let faded = load.round(counter, Duration::from_secs(60));
        assert!((faded[0] - 600.0 * (-1.0_f64).exp()).abs() < 0.01, "{faded:?}");
    }
}
