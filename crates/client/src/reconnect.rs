//! When a connection that was lost is tried again.
//!
//! The policy is a value; counting attempts and waiting is the machine's and the driver's business.
//! Chance comes in as a number, so that a test knows what comes out.

use std::time::Duration;

/// How a client connects again. The default is: at once, then after about 5, 5, 10, 20, 40 and 60
/// seconds, and every 60 from then on, for ever.
#[derive(Clone, Debug, PartialEq)]
pub struct Reconnect {
    /// The waits before the first, second, … attempt; the last one is used from then on. Empty:
    /// no waits at all.
    pub delays: Vec<Duration>,
    /// By which part of itself a wait may be shorter, 0 to 1, at random, so that a thousand clients
    /// do not come back in one moment.
    pub jitter: f64,
    /// How many attempts in a row may fail before the client gives up, the one at the start
    /// included; `None`: it never does. 0: neither a failed attempt nor a lost connection is
    /// followed by another attempt.
    pub attempts_max: Option<u32>,
    /// Whether to go on after a refusal that waiting will not heal, such as a wrong password.
    pub even_if_refused: bool,
    /// A connection that lasts less than this is a failed attempt, too, once it has happened three
    /// times: otherwise a broker that accepts and closes is attacked without a pause.
    pub stable_after: Duration,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            delays: [0, 5, 5, 10, 20, 40, 60].map(Duration::from_secs).into(),
            jitter: 0.2,
            attempts_max: None,
            even_if_refused: false,
            stable_after: Duration::from_secs(5),
        }
    }
}

impl Reconnect {
    /// No attempt after the first; a connection that is lost is the end.
    pub fn never() -> Self {
        Self { attempts_max: Some(0), ..Self::default() }
    }

    /// Always after `delay`, without jitter: for tests and special cases.
    pub fn every(delay: Duration) -> Self {
        Self { delays: vec![delay], jitter: 0.0, stable_after: Duration::ZERO, ..Self::default() }
    }

    /// At most `attempts` in a row that fail.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts_max = Some(attempts);
        self
    }

    /// The wait before attempt number `attempt`, counted from 1 since the last connection, in
    /// milliseconds. `chance` is a number from 0 to 1.
    pub(crate) fn delay_ms(&self, attempt: u32, chance: f64) -> u64 {
        let index = (attempt.max(1) - 1) as usize;
        let delay = self.delays.get(index).or(self.delays.last()).copied().unwrap_or_default();
        let shorter = 1.0 - self.jitter.clamp(0.0, 1.0) * chance.clamp(0.0, 1.0);
        (delay.as_millis() as f64 * shorter) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(policy: &Reconnect, chance: f64) -> Vec<f64> {
        (1..=9).map(|attempt| policy.delay_ms(attempt, chance) as f64 / 1_000.0).collect()
    }

    #[test]
    fn the_first_attempt_is_at_once_and_no_wait_is_over_a_minute() {
        let policy = Reconnect::default();
        assert_eq!(seconds(&policy, 0.0), [0.0, 5.0, 5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]);
        assert_eq!(seconds(&policy, 1.0), [0.0, 4.0, 4.0, 8.0, 16.0, 32.0, 48.0, 48.0, 48.0]);
    }

    #[test]
    fn a_policy_without_delays_or_with_odd_jitter_is_harmless() {
        let none = Reconnect { delays: Vec::new(), ..Reconnect::default() };
        assert_eq!(none.delay_ms(7, 0.5), 0);
        let odd = Reconnect { jitter: 9.0, ..Reconnect::every(Duration::from_secs(1)) };
        assert_eq!(odd.delay_ms(1, 2.0), 0);
        assert_eq!(odd.delay_ms(0, -1.0), 1_000);
    }
}
