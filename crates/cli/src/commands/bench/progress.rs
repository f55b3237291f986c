//! What is said while a run goes on: a line each second on standard error.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use noctule_load::table::figure;
use noctule_load::watcher::{Moment, Watcher};

use crate::output;

/// Tells how the run stands, and ends it when the user has had enough.
pub(super) struct Progress {
    stop: Arc<AtomicBool>,
    quiet: bool,
    /// As it stood when the last line was said.
    told: Standing,
}

#[derive(Clone, Copy, Default)]
struct Standing {
    elapsed: Duration,
    sent: u64,
    delivered: u64,
}

const EVERY: Duration = Duration::from_secs(1);

impl Progress {
    pub(super) fn new(stop: Arc<AtomicBool>, quiet: bool) -> Self {
        Self { stop, quiet, told: Standing::default() }
    }
}

impl Watcher for Progress {
    fn go_on(&mut self, moment: &Moment<'_>) -> bool {
        if moment.elapsed < self.told.elapsed {
            // Another run has begun: the warm-up is over.
            self.told = Standing::default();
        }
        if moment.sent > 0 && moment.elapsed - self.told.elapsed >= EVERY {
            if !self.quiet {
                output::complain(line(moment, &self.told));
            }
            let Moment { elapsed, sent, delivered, .. } = *moment;
            self.told = Standing { elapsed, sent, delivered };
        }
        !self.stop.load(Ordering::Relaxed)
    }
}

fn line(moment: &Moment<'_>, told: &Standing) -> String {
    let seconds = (moment.elapsed - told.elapsed).as_secs_f64();
    let rate = |now: u64, then: u64| figure(Some((now - then) as f64 / seconds));
    format!(
        "{:>5.1} s  sent {:>9}/s  delivered {:>9}/s  p50 {:>6} ms  p99 {:>6} ms",
        moment.elapsed.as_secs_f64(),
        rate(moment.sent, told.sent),
        rate(moment.delivered, told.delivered),
        figure(moment.latency.quantile_ms(0.5)),
        figure(moment.latency.quantile_ms(0.99)),
    )
}
