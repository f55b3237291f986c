//! Points in time as certificates know them: whole seconds, UTC.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

/// Seconds of a day.
pub const DAY_S: i64 = 86_400;

/// Seconds since 1970-01-01 00:00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(pub i64);

impl UnixTime {
    /// This many days later, or earlier; at the ends of time it stays there.
    #[must_use]
    pub fn plus_days(self, days: i64) -> Self {
        Self(self.0.saturating_add(days.saturating_mul(DAY_S)))
    }

    /// Whole days from `earlier` until this moment, rounded down: negative if it is before.
    #[must_use]
    pub fn days_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0).div_euclid(DAY_S)
    }

    /// As the libraries for certificates want it. Years from 1 to 9999 can be expressed.
    pub(crate) fn to_date_time(self) -> Option<OffsetDateTime> {
        OffsetDateTime::from_unix_timestamp(self.0).ok()
    }
}

impl From<SystemTime> for UnixTime {
    fn from(time: SystemTime) -> Self {
        let seconds = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |s| -s),
        };
        Self(seconds)
    }
}

/// `2026-11-26 10:20:22 UTC`
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(at) = self.to_date_time() else {
            return write!(f, "{} s after 1970", self.0);
        };
        let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
        let (hour, minute, second) = at.to_hms();
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_like_a_date() {
        assert_eq!(UnixTime(0).to_string(), "1970-01-01 00:00:00 UTC");
        assert_eq!(UnixTime(951_782_400).to_string(), "2000-02-29 00:00:00 UTC");
        assert_eq!(UnixTime(i64::MAX).to_string(), "9223372036854775807 s after 1970");
    }

    #[test]
    fn days_are_rounded_down() {
        let noon = UnixTime(12 * 3600);
        assert_eq!(noon.plus_days(1).days_since(noon), 1);
        assert_eq!(UnixTime(DAY_S - 1).days_since(UnixTime(0)), 0);
        assert_eq!(UnixTime(-1).days_since(UnixTime(0)), -1);
    }
}
