//! The clocks, read in one place and handed to whoever needs the time.

use noctule_broker::Now;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The time since the broker started, and the time of day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The present moment. A time of day before 1970 counts as 1970.
    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis =
            |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Now { mono_ms: millis(self.start.elapsed()), wall_ms: millis(wall) }
    }
}
