//! The numbers of all loops, and those who say them: a line in the log, and the topics below
//! `$SYS/broker/`.
//!
//! Each loop puts a copy of its numbers into the ledger once a second at most, so that reading them
//! slows nobody. A thread of its own adds them up when it is time to say something, and mails what is
//! to be published to a loop. It never waits for a loop.

mod load;
mod pressure;
mod report;
mod sys_tree;

use crate::mailboxes::Mailboxes;
use noctule_broker::{Pressure, Snapshot};
use pressure::Episode;
use report::Reporter;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use sys_tree::SysTree;

/// The latest numbers of each loop.
#[derive(Debug)]
pub(crate) struct Ledger {
    loops: Vec<Mutex<Counted>>,
    /// What was said of how short memory is.
    episode: Mutex<Episode>,
}

/// The numbers of a loop, and when clients were last counted for them one by one.
#[derive(Debug, Default)]
struct Counted {
    snapshot: Snapshot,
    at_ms: u64,
}

impl Ledger {
    pub(crate) fn new(loops: usize) -> Self {
        let loops = std::iter::repeat_with(Mutex::default).take(loops).collect();
        Self { loops, episode: Mutex::default() }
    }

    /// Replaces the numbers of a loop. If all its clients were counted for them, it is said when.
    pub(crate) fn put(&self, number: usize, snapshot: Snapshot, counted_ms: Option<u64>) {
        if let Some(place) = self.loops.get(number) {
            let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
            let at_ms = counted_ms.unwrap_or(place.at_ms);
            *place = Counted { snapshot, at_ms };
        }
    }

    /// Whether it is to be said that memory is short as soon as loops have counted for whom it is taken.
    pub(crate) fn is_counting(&self) -> bool {
        self.episode.lock().unwrap_or_else(PoisonError::into_inner).is_counting()
    }

    /// Whether this loop is to count now.
    pub(crate) fn wants_count(&self, number: usize, now_ms: u64) -> bool {
        let counted_ms = self
            .loops
            .get(number)
            .map_or(now_ms, |place| place.lock().unwrap_or_else(PoisonError::into_inner).at_ms);
        let episode = self.episode.lock().unwrap_or_else(PoisonError::into_inner);
        episode.wants_count(counted_ms, now_ms)
    }

    /// A loop has found memory to be this short: says so if that is news, once all have counted.
    pub(crate) fn note_pressure(&self, pressure: Pressure, now_ms: u64) {
        let counted = self.loops.iter().map(|place| {
            let place = place.lock().unwrap_or_else(PoisonError::into_inner);
            // Who has no clients has nothing to count.
            if place.snapshot.sessions == 0 { now_ms } else { place.at_ms }
        });
        let counted_ms = counted.min().unwrap_or(now_ms);
        let mut episode = self.episode.lock().unwrap_or_else(PoisonError::into_inner);
        episode.say(pressure, now_ms, counted_ms, || self.sum());
    }

    /// The sum of all loops.
    fn sum(&self) -> Snapshot {
        let mut sum = Snapshot::default();
        for place in &self.loops {
            sum.add(&place.lock().unwrap_or_else(PoisonError::into_inner).snapshot);
        }
        sum
    }
}

/// What is said, and how often.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) mailboxes: Arc<Mailboxes>,
    pub(crate) started: Instant,
    /// How often the topics are brought up to date; never if `None`.
    pub(crate) sys_interval: Option<Duration>,
    /// How often a line is logged; never if `None`.
    pub(crate) stats_interval: Option<Duration>,
    /// What acknowledgements promise, as `$SYS/broker/durability` says it.
    pub(crate) durability: &'static str,
}

/// What the thread is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// From now on a line is logged this often; never if `None`.
    Interval(Option<Duration>),
    /// There is nothing more to say.
    Stop,
}

/// The thread that says them.
#[derive(Debug)]
pub(crate) struct Statistics {
    orders: Sender<Order>,
    thread: JoinHandle<Reporter>,
    ledger: Arc<Ledger>,
}

impl Statistics {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the operating system says about starting a thread.
    pub(crate) fn start(plan: Plan) -> io::Result<Self> {
        let (orders, received) = channel();
        let ledger = Arc::clone(&plan.ledger);
        let thread = thread::Builder::new()
            .name("statistics".to_owned())
            .spawn(move || say_in_time(plan, &received))?;
        Ok(Self { orders, thread, ledger })
    }

    /// Where to send orders.
    pub(crate) fn orders(&self) -> Sender<Order> {
        self.orders.clone()
    }

    /// All loops have ended: logs the last numbers.
    pub(crate) fn finish(self) {
        // It may have ended by itself.
        let _ = self.orders.send(Order::Stop);
        if let Ok(mut reporter) = self.thread.join() {
            reporter.report_end(&self.ledger.sum());
        }
    }
}

fn say_in_time(mut plan: Plan, orders: &Receiver<Order>) -> Reporter {
    let begin = Instant::now();
    let mut reporter = Reporter::new(plan.started);
    let mut tree = plan.sys_interval.map(|interval| SysTree::new(interval, plan.durability));
    // The topics are there from the beginning, so that nobody waits for the first round.
    let mut sys_at = plan.sys_interval.map(|_| begin);
    let mut report_at = plan.stats_interval.map(|interval| begin + interval);
    loop {
        let now = Instant::now();
        if let (Some(tree), Some(at), Some(interval)) = (&mut tree, sys_at, plan.sys_interval)
            && at <= now
        {
            let uptime = plan.started.elapsed();
            plan.mailboxes.publish(tree.changes(&plan.ledger.sum(), uptime));
            sys_at = Some(next(at, interval, now));
        }
        if let (Some(at), Some(interval)) = (report_at, plan.stats_interval)
            && at <= now
        {
            reporter.report(&plan.ledger.sum());
            report_at = Some(next(at, interval, now));
        }
        let waited = match sys_at.into_iter().chain(report_at).min() {
            Some(at) => orders.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match waited {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Order::Interval(interval)) => {
                plan.stats_interval = interval;
                report_at = interval.map(|interval| Instant::now() + interval);
            }
            Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return reporter,
        }
    }
}

/// The next time, by the interval; none is made up for that was missed.
fn next(at: Instant, interval: Duration, now: Instant) -> Instant {
    (at + interval).max(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_adds_up_what_the_loops_have_put_last() {
        let ledger = Ledger::new(2);
        let with = |opened, retained| {
            let mut snapshot = Snapshot { retained, ..Snapshot::default() };
            snapshot.counters.connections_opened = opened;
            snapshot
        };
        ledger.put(0, with(1, 5), None);
        ledger.put(1, with(10, 7), None);
        ledger.put(0, with(2, 7), None);
        assert_eq!(ledger.sum(), with(12, 7), "retained messages are those of all loops");
    }

    #[test]
    fn a_late_round_is_not_made_up_for() {
        let begin = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(next(begin, second, begin), begin + second);
        assert_eq!(next(begin, second, begin + 10 * second), begin + 10 * second);
    }
}
