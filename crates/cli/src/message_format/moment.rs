//! When a message came, in the forms that a format asks for: local time.

use jiff::Zoned;

/// A moment in local time.
#[derive(Clone, Debug)]
pub(crate) struct Moment(Zoned);

/// The conversions of strftime, without flags, that can be written for any moment.
const KNOWN: &str = "aAbBcCdDeFgGhHIjklmMnpPQrRsStTuUVwWxXyYzZ";

/// Whether `@letter` can be written.
pub(super) fn knows(letter: char) -> bool {
    letter == 'N' || KNOWN.contains(letter)
}

impl Moment {
    /// Now.
    pub(crate) fn now() -> Self {
        Self(Zoned::now())
    }

    /// `2026-11-26T10:54:27+0000`.
    pub(super) fn iso(&self) -> String {
        self.0.strftime("%Y-%m-%dT%H:%M:%S%z").to_string()
    }

    /// `1795690467.680964041`.
    pub(super) fn unix(&self) -> String {
        let stamp = self.0.timestamp();
        format!("{}.{:09}", stamp.as_second(), stamp.subsec_nanosecond())
    }

    /// Nine digits.
    pub(super) fn nanoseconds(&self) -> String {
        format!("{:09}", self.0.subsec_nanosecond())
    }

    /// The form that mosquitto has in JSON, which is not quite ISO 8601, and which scripts know.
    pub(super) fn stamp(&self) -> String {
        let micros = self.0.subsec_nanosecond() / 1_000;
        let (time, offset) = (self.0.strftime("%Y-%m-%dT%H:%M:%S"), self.0.strftime("%z"));
        format!("{time}.{micros:06}Z{offset}")
    }

    /// One conversion.
    pub(super) fn strftime(&self, letter: char) -> String {
        match letter {
            'n' => "\n".into(),
            't' => "\t".into(),
            'x' => self.0.strftime("%m/%d/%y").to_string(),
            'X' => self.0.strftime("%H:%M:%S").to_string(),
            'c' => self.0.strftime("%a %b %e %H:%M:%S %Y").to_string(),
            'r' => self.0.strftime("%I:%M:%S %p").to_string(),
            letter => self.0.strftime(&format!("%{letter}")).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment() -> Moment {
        let text = "2026-03-04T05:06:07.000123456+02:00[+02:00]";
        Moment(text.parse().unwrap())
    }

    #[test]
    fn a_moment_has_the_forms_that_mosquitto_has() {
        let moment = moment();
        assert_eq!(moment.iso(), "2026-03-04T05:06:07+0200");
        assert_eq!(moment.stamp(), "2026-03-04T05:06:07.000123Z+0200");
        assert_eq!(moment.nanoseconds(), "000123456");
        assert_eq!(moment.unix(), "1772593567.000123456");
    }

    #[test]
    fn every_conversion_that_is_accepted_can_be_written() {
        let moment = moment();
        for letter in KNOWN.chars() {
            let text = moment.strftime(letter);
            assert!(!text.is_empty() && !text.contains('%'), "{letter}: {text:?}");
        }
        assert_eq!([moment.strftime('H'), moment.strftime('j')], ["05", "063"]);
    }
}
