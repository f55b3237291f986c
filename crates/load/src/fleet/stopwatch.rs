//! How long messages take: the moment each was to be sent, and what passed until it came.
//!
//! With a schedule that moment is the schedule's, so that waiting behind a slow broker counts, and
//! follows from a message's number. Without one it is when the message was handed to the socket;
//! messages that were handed over together share one note of it.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::Times;
use crate::LoadError;
use crate::latency::Latency;
use crate::schedule::Schedule;

#[derive(Debug)]
pub(super) struct Stopwatch {
    begin: Instant,
    schedule: Option<Schedule>,
    /// Messages sent before this run, by publisher.
    bases: Vec<u64>,
    /// By publisher, of what may still be under way; without a schedule.
    bursts: Vec<VecDeque<Burst>>,
    /// The burst of a publisher that was asked for last.
    latest: Vec<Burst>,
    /// Of the same burst, seen in the same read.
    pending: Pending,
    times: Times,
}

/// Messages that were handed to the socket at once.
#[derive(Debug, Clone, Copy)]
struct Burst {
    first: u64,
    end: u64,
    at: Instant,
}

#[derive(Debug)]
struct Pending {
    took: Duration,
    count: u64,
}

impl Stopwatch {
    /// One for publishers who have sent so many messages before.
    pub(super) fn new(schedule: Option<Schedule>, sent: &[u64]) -> Result<Self, LoadError> {
        let begin = Instant::now();
        Ok(Self {
            begin,
            schedule,
            bases: sent.to_vec(),
            bursts: vec![VecDeque::new(); sent.len()],
            latest: vec![Burst { first: 0, end: 0, at: begin }; sent.len()],
            pending: Pending { took: Duration::ZERO, count: 0 },
            times: Times { latency: Latency::new()?, lag: Latency::new()? },
        })
    }

    /// The schedule begins now.
    pub(super) fn start(&mut self, begin: Instant) {
        self.begin = begin;
    }

    pub(super) fn latency(&self) -> &Latency {
        &self.times.latency
    }

    pub(super) fn into_times(self) -> Times {
        self.times
    }

    /// Messages leave now; `returned` of the publisher's have come back. Those that something held
    /// up are no sign of our own lateness.
    pub(super) fn sent(
        &mut self,
        publisher: usize,
        numbers: Range<u64>,
        returned: u64,
        now: Instant,
        is_held: bool,
    ) {
        if self.schedule.is_some() {
            if !is_held {
                let due = self.due(publisher, numbers.start);
                let count = numbers.end - numbers.start;
                self.times.lag.record(now.saturating_duration_since(due), count);
            }
            return;
        }
        let bursts = &mut self.bursts[publisher];
        while bursts.front().is_some_and(|burst| burst.end <= returned) {
            bursts.pop_front();
        }
        bursts.push_back(Burst { first: numbers.start, end: numbers.end, at: now });
    }

    /// A message has come for the first time.
    #[inline]
    pub(super) fn arrived(&mut self, publisher: usize, number: u64, now: Instant) {
        let at = if self.schedule.is_some() {
            self.due(publisher, number)
        } else {
            let latest = self.latest[publisher];
            if number >= latest.first && number < latest.end {
                latest.at
            } else {
                match self.find(publisher, number) {
                    Some(burst) => burst.at,
                    // So late that others behind it were taken for its coming back.
                    None => return,
                }
            }
        };
        let took = now.saturating_duration_since(at);
        if took == self.pending.took {
            self.pending.count += 1;
        } else {
            self.note();
            self.pending = Pending { took, count: 1 };
        }
    }

    /// Notes what is pending.
    pub(super) fn note(&mut self) {
        if self.pending.count > 0 {
            self.times.latency.record(self.pending.took, self.pending.count);
            self.pending.count = 0;
        }
    }

    fn find(&mut self, publisher: usize, number: u64) -> Option<Burst> {
        let bursts = &self.bursts[publisher];
        let at = bursts.partition_point(|burst| burst.end <= number);
        let burst = *bursts.get(at).filter(|burst| burst.first <= number)?;
        self.latest[publisher] = burst;
        Some(burst)
    }

    fn due(&self, publisher: usize, number: u64) -> Instant {
        let of_this = number.saturating_sub(self.bases[publisher]);
        let of_all = of_this * self.bases.len() as u64 + publisher as u64;
        let due = self.schedule.map_or(Duration::ZERO, |schedule| schedule.due(of_all));
        self.begin + due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn p100(stopwatch: &Stopwatch) -> f64 {
        stopwatch.latency().max_ms().unwrap().round()
    }

    #[test]
    fn by_a_schedule_a_message_counts_from_when_it_was_due() {
        let schedule = Schedule::new(1_000.0, Duration::ZERO);
        let mut stopwatch = Stopwatch::new(Some(schedule), &[0, 10]).unwrap();
        let begin = Instant::now();
        stopwatch.start(begin);
        // The second message of the second publisher is the fourth of all: due after 3 ms, sent and
        // delivered only after 50.
        stopwatch.sent(1, 11..12, 0, begin + 50 * MS, false);
        stopwatch.arrived(1, 11, begin + 50 * MS);
        stopwatch.note();
        assert_eq!(p100(&stopwatch), 47.0);
        assert_eq!(stopwatch.into_times().lag.max_ms().unwrap().round(), 47.0);
    }

    #[test]
    fn without_one_it_counts_from_when_it_was_sent() {
        let mut stopwatch = Stopwatch::new(None, &[5]).unwrap();
        let begin = Instant::now();
        stopwatch.sent(0, 5..8, 5, begin, false);
        stopwatch.sent(0, 8..10, 5, begin + 10 * MS, false);
        for number in 5..10 {
            stopwatch.arrived(0, number, begin + 20 * MS);
        }
        stopwatch.note();
        assert_eq!(stopwatch.latency().count(), 5);
        assert_eq!(p100(&stopwatch), 20.0);
        assert_eq!(stopwatch.latency().quantile_ms(0.2).unwrap().round(), 10.0);
        // What came back is forgotten; a number of it that comes after all has no time.
        stopwatch.sent(0, 10..11, 10, begin, false);
        stopwatch.latest[0] = Burst { first: 0, end: 0, at: begin };
        stopwatch.arrived(0, 6, begin + 90 * MS);
        stopwatch.note();
        assert_eq!(stopwatch.latency().count(), 5);
    }
}
