//! The clocks, read in one place and handed to whoever needs the time.

use noctule_broker::Now;
use noctule_cert::UnixTime;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The time since the broker started, and the time of day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    /// The last reading of both clocks together.
    read_at: Now,
}

/// How long the time of day is counted on from its last reading. A loop asks for the time with
/// every turn, and the second clock would cost as much as the first.
const WALL_TRUSTED_MS: u64 = 500;

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), read_at: Now { mono_ms: 0, wall_ms: wall_ms() } }
    }

    /// The present moment. A time of day before 1970 counts as 1970.
    pub(crate) fn now(&mut self) -> Now {
        let elapsed = self.start.elapsed();
        let mono_ms = elapsed.as_secs() * 1_000 + u64::from(elapsed.subsec_millis());
        let since = mono_ms - self.read_at.mono_ms;
        if since < WALL_TRUSTED_MS {
            return Now { mono_ms, wall_ms: self.read_at.wall_ms + since };
        }
        self.read_at = Now { mono_ms, wall_ms: wall_ms() };
        self.read_at
    }
}

/// The time of day as certificates know it.
pub(crate) fn time_of_day() -> UnixTime {
    UnixTime::from(SystemTime::now())
}

fn wall_ms() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)
}
