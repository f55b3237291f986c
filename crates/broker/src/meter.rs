//! How fast a client may send: a bucket of messages and one of bytes, each filled as time passes and
//! emptied by what comes.
//!
//! ```text
//! level  rate ┤▔▔▔▔╲      ╱▔▔▔▔   what has not been used for a second or longer is no more
//!             │     ╲    ╱
//!           1 ┤──────╲──╱──────   below one the client is not read (Hold::Rate) until it is there again
//!           0 ┤       ╲╱          a read may be larger than what is left: then it waits for longer
//! ```
//!
//! Nothing is dropped and nobody is closed: what a client sends too fast waits on its side. Time is
//! the shard's, in milliseconds; levels are thousandths, so that a rate per second adds its own number
//! to them in a millisecond and nothing is ever rounded. Invariant: over any time a client gets no
//! more than what its rate allows for it and for one second more.

use std::num::NonZeroU32;

/// What a client may send per second, on average; none is without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// PUBLISH packets.
    pub messages: Option<NonZeroU32>,
    /// Bytes of all its packets, without what a transport adds.
    pub bytes: Option<NonZeroU32>,
}

impl Rates {
    /// Whether there is a limit.
    #[must_use]
    pub fn is_any(self) -> bool {
        self.messages.is_some() || self.bytes.is_some()
    }
}

/// What a client has left of both.
#[derive(Debug)]
pub(crate) struct Meter {
    messages: Bucket,
    bytes: Bucket,
}

impl Meter {
    /// Both are full.
    pub(crate) fn new(rates: Rates, now_ms: u64) -> Self {
        Self {
            messages: Bucket::full(rates.messages, now_ms),
            bytes: Bucket::full(rates.bytes, now_ms),
        }
    }

    /// A message has come. Returns whether the client has to wait before the next.
    pub(crate) fn take_message(&mut self, rates: Rates, now_ms: u64) -> bool {
        self.messages.take(1, rates.messages, now_ms)
    }

    /// Bytes have come. Returns whether the client has to wait before the next.
    pub(crate) fn take_bytes(&mut self, bytes: usize, rates: Rates, now_ms: u64) -> bool {
        self.bytes.take(bytes as u64, rates.bytes, now_ms)
    }

    /// How many milliseconds are left until the client may send again; none if it may.
    pub(crate) fn wait_ms(&mut self, rates: Rates, now_ms: u64) -> Option<u64> {
        let messages = self.messages.wait_ms(rates.messages, now_ms);
        let bytes = self.bytes.wait_ms(rates.bytes, now_ms);
        messages.max(bytes)
    }
}

/// What is left of something that there may be so much of per second; a second's worth at most.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    /// In thousandths. Less than nothing if more has come than was left.
    level: i64,
    at_ms: u64,
}

/// One, in the bucket's measure.
const ONE: i64 = 1_000;

impl Bucket {
    /// All that there may be in a second is left. Without a rate nothing is counted.
    #[must_use]
    pub fn full(rate: Option<NonZeroU32>, now_ms: u64) -> Self {
        Self { level: rate.map_or(0, |rate| i64::from(rate.get()) * ONE), at_ms: now_ms }
    }

    /// Takes so much out, which may be more than is left. Returns whether not even one is left then.
    pub fn take(&mut self, count: u64, rate: Option<NonZeroU32>, now_ms: u64) -> bool {
        let Some(rate) = rate else {
            return false;
        };
        self.fill(rate, now_ms);
        let taken = i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(ONE);
        self.level = self.level.saturating_sub(taken);
        self.level < ONE
    }

    fn fill(&mut self, rate: NonZeroU32, now_ms: u64) {
        let rate = i64::from(rate.get());
        let passed = i64::try_from(now_ms.saturating_sub(self.at_ms)).unwrap_or(i64::MAX);
        self.level = self.level.saturating_add(passed.saturating_mul(rate)).min(rate * ONE);
        self.at_ms = now_ms;
    }

    /// In how many milliseconds one is there; none if it is.
    pub fn wait_ms(&mut self, rate: Option<NonZeroU32>, now_ms: u64) -> Option<u64> {
        let rate = rate?;
        self.fill(rate, now_ms);
        let missing =
            u64::try_from(ONE.saturating_sub(self.level)).ok().filter(|some| *some > 0)?;
        Some(missing.div_ceil(u64::from(rate.get())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rates(messages: u32, bytes: u32) -> Rates {
        Rates { messages: NonZeroU32::new(messages), bytes: NonZeroU32::new(bytes) }
    }

    #[test]
    fn a_second_of_them_is_free_and_then_they_come_at_their_rate() {
        let rates = rates(4, 0);
        let mut meter = Meter::new(rates, 1_000);
        let waits: Vec<_> = (0..4).map(|_| meter.take_message(rates, 1_000)).collect();
        assert_eq!(waits, [false, false, false, true]);
        assert_eq!(meter.wait_ms(rates, 1_000), Some(250));
        assert_eq!(meter.wait_ms(rates, 1_249), Some(1));
        assert_eq!(meter.wait_ms(rates, 1_250), None);
        assert!(meter.take_message(rates, 1_250), "and again");
        // However long it was quiet, there is no more than a second's worth.
        let waits: Vec<_> = (0..5).map(|_| meter.take_message(rates, 99_000)).collect();
        assert_eq!(waits, [false, false, false, true, true]);
    }

    #[test]
    fn more_bytes_than_were_left_are_waited_for_longer() {
        let rates = rates(0, 1_000);
        let mut meter = Meter::new(rates, 0);
        assert!(!meter.take_message(rates, 0), "messages have no limit");
        assert!(!meter.take_bytes(999, rates, 0) && meter.take_bytes(5_000, rates, 0));
        assert_eq!(meter.wait_ms(rates, 0), Some(5_000));
        assert_eq!(meter.wait_ms(rates, 5_000), None);
    }

    #[test]
    fn a_rate_that_is_no_more_holds_nobody_and_a_new_one_counts_from_now() {
        let (slow, none, fast) = (rates(1, 0), Rates::default(), rates(100, 0));
        let mut meter = Meter::new(slow, 0);
        assert!(meter.take_message(slow, 0));
        assert_eq!(meter.wait_ms(none, 0), None);
        assert_eq!(meter.wait_ms(fast, 0), Some(10));
    }

    proptest! {
        /// Whoever waits as long as he is told to is never over the rate by more than a second's worth.
        #[test]
        fn over_any_time_no_more_comes_than_allowed(
            rate in 1_u32..5_000,
            pauses in prop::collection::vec(0_u64..400, 1..200),
        ) {
            let rates = rates(rate, 0);
            let mut meter = Meter::new(rates, 0);
            let (mut now_ms, mut came) = (0, 0_u64);
            for pause in pauses {
                now_ms += pause;
                now_ms += meter.wait_ms(rates, now_ms).unwrap_or(0);
                meter.take_message(rates, now_ms);
                came += 1;
                let allowed = u64::from(rate) + now_ms * u64::from(rate) / 1_000;
                prop_assert!(came <= allowed, "{came} of {allowed} after {now_ms} ms");
            }
        }
    }
}
