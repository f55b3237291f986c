//! The time of day as people write it: RFC 3339, local, with milliseconds and offset.
//!
//! The rules of a time zone are asked once a second; what comes within it differs in its last three
//! digits only. A change of the zone's offset is followed, a change of the zone is not.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::Write;
use std::sync::OnceLock;

/// Writes times, most cheaply those of one second.
#[derive(Debug, Default)]
pub(crate) struct LocalTime {
    /// Another zone than that of the system.
    zone: Option<TimeZone>,
    /// The second that was asked about last.
    second: Option<u64>,
    /// What stands before and behind its milliseconds.
    before: String,
    behind: String,
}

impl LocalTime {
    #[cfg(test)]
    pub(crate) fn at(zone: TimeZone) -> Self {
        Self { zone: Some(zone), ..Self::default() }
    }

    /// Appends a moment, in milliseconds since 1970.
    pub(crate) fn write(&mut self, out: &mut String, wall_ms: u64) {
        let second = wall_ms / 1_000;
        if self.second != Some(second) {
            self.look_up(second);
        }
        out.push_str(&self.before);
        // Writing to a string does not fail.
        let _ = write!(out, ".{:03}", wall_ms % 1_000);
        out.push_str(&self.behind);
    }

    /// Appends the present moment.
    pub(crate) fn write_now(&mut self, out: &mut String) {
        let now = Timestamp::now().as_millisecond();
        self.write(out, u64::try_from(now).unwrap_or(0));
    }

    fn look_up(&mut self, second: u64) {
        self.second = Some(second);
        let when =
            i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok());
        let zone = self.zone.as_ref().unwrap_or_else(|| system_zone());
        let local = when.unwrap_or(Timestamp::MAX).to_zoned(zone.clone());
        self.before = local.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        self.behind = local.strftime("%:z").to_string();
    }
}

/// The time zone of the system; to find it takes a look at many files.
fn system_zone() -> &'static TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    ZONE.get_or_init(TimeZone::system)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(zone: &str, moments: &[u64]) -> Vec<String> {
        let mut time = LocalTime::at(TimeZone::posix(zone).unwrap());
        let mut one = |ms| {
            let mut out = String::new();
            time.write(&mut out, ms);
            out
        };
        moments.iter().map(|ms| one(*ms)).collect()
    }

    #[test]
    fn moments_have_milliseconds_and_the_offset_of_their_time() {
        // An hour that comes twice: summer time ends between the second and the third.
        let moments = [0, 1_761_440_399_001, 1_761_440_400_000, 1_761_440_400_999];
        let expected = [
            "1970-01-01T01:00:00.000+01:00",
            "2025-10-26T02:59:59.001+02:00",
            "2025-10-26T02:00:00.000+01:00",
            "2025-10-26T02:00:00.999+01:00",
        ];
        assert_eq!(written("CET-1CEST,M3.5.0,M10.5.0/3", &moments), expected);
        assert_eq!(written("XXX3:30", &[1_500]), ["1969-12-31T20:30:01.500-03:30"]);
    }

    #[test]
    fn a_moment_that_cannot_be_is_no_failure() {
        assert!(written("UTC0", &[u64::MAX])[0].starts_with("9999-12-3"));
    }
}
