//! How long things took, as a histogram: any number of durations in a fixed piece of memory.
//!
//! Quantiles are exact to a thousandth of their value. The invariant: what is longer than
//! [`LONGEST`] counts as that long and is not left out.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::LoadError;

/// Durations beyond it are noted as this.
pub const LONGEST: Duration = Duration::from_secs(600);

/// Durations below it are all the same.
const SHORTEST: Duration = Duration::from_nanos(250);
const SIGNIFICANT_DIGITS: u8 = 3;

/// A histogram of durations.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u64>);

impl Latency {
    /// One without durations.
    ///
    /// # Errors
    /// Never, as the bounds fit each other.
    pub fn new() -> Result<Self, LoadError> {
        Histogram::new_with_bounds(ns(SHORTEST), ns(LONGEST), SIGNIFICANT_DIGITS)
            .map(Self)
            .map_err(|error| LoadError::new(format!("cannot make a histogram: {error}")))
    }

    /// Notes that `count` things took so long.
    #[inline]
    pub fn record(&mut self, took: Duration, count: u64) {
        self.0.saturating_record_n(ns(took), count);
    }

    /// Takes in what another histogram has.
    pub fn add(&mut self, other: &Self) {
        // Histograms of the same bounds always add up.
        let _ = self.0.add(&other.0);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// How many durations are in it.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The shortest that `share` of all (0 to 1) did not exceed, in milliseconds; `None` of none.
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(share) as f64 / NS_PER_MS)
    }

    /// The longest, in milliseconds; `None` of none.
    pub fn max_ms(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.max() as f64 / NS_PER_MS)
    }

    /// The mean, in milliseconds; `None` of none.
    pub fn mean_ms(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.mean() / NS_PER_MS)
    }

    /// For programs: milliseconds by name.
    pub fn json(&self) -> Value {
        let mut all = json!({ "count": self.count(), "mean": self.mean_ms() });
        for (name, share) in QUANTILES {
            all[name] = json!(self.quantile_ms(share));
        }
        all["max"] = json!(self.max_ms());
        all
    }
}

/// The quantiles that are shown.
pub const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

const NS_PER_MS: f64 = 1e6;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn quantiles_are_those_of_all_that_was_noted() {
        let mut latency = Latency::new().unwrap();
        assert_eq!((latency.quantile_ms(0.5), latency.max_ms()), (None, None));
        latency.record(MS, 98);
        latency.record(10 * MS, 1);
        let mut late = Latency::new().unwrap();
        late.record(100 * MS, 1);
        latency.add(&late);
        assert_eq!(latency.count(), 100);
        let near = |share: f64, expected: f64| {
            let found = latency.quantile_ms(share).unwrap();
            assert!((found / expected - 1.0).abs() < 0.001, "{share}: {found}");
        };
        near(0.5, 1.0);
        near(0.98, 1.0);
        near(0.99, 10.0);
        near(1.0, 100.0);
        assert_eq!(latency.json()["count"], 100);
        latency.clear();
        assert_eq!(latency.count(), 0);
    }

    #[test]
    fn what_is_too_long_counts_as_the_longest() {
        let mut latency = Latency::new().unwrap();
        latency.record(LONGEST * 10, 1);
        latency.record(Duration::ZERO, 1);
        assert_eq!(latency.count(), 2);
        assert!(latency.max_ms().unwrap() >= LONGEST.as_millis() as f64);
    }
}
