//! Numbers with a unit: durations and byte sizes, read from and written as text.
//!
//! No range lives here; a row of the table has it. Invariant: a number is read exactly or not at
//! all, there is no rounding and no floating point.

use std::fmt;
use std::time::Duration;

use super::value::{Given, Mismatch, Range, Value, quoted};

/// A number of bytes, written `256KiB`, `2MB` or `100_000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shortest(self.0, SIZES))
    }
}

/// A number of whole seconds, for what MQTT itself counts in seconds; written like a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub u32);

impl Seconds {
    /// The number of seconds.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// One KiB, for the ranges of the table.
pub(crate) const KIB: u64 = 1024;
/// One MiB, for the ranges of the table.
pub(crate) const MIB: u64 = 1024 * KIB;
/// One GiB, for the ranges of the table.
pub(crate) const GIB: u64 = 1024 * MIB;

/// Seconds in milliseconds, the base unit of every duration.
pub(crate) const fn seconds(count: u64) -> u64 {
    count * 1000
}

impl Value for ByteSize {
    const PLACEHOLDER: &'static str = "SIZE";

    fn read(given: &Given) -> Result<Self, Mismatch> {
        read_quantity(given, SIZES, "B").map(Self)
    }

    fn to_toml(&self) -> String {
        let text = self.to_string();
        text.strip_suffix(|last: char| last == 'B')
            .and_then(whole_number)
            .map_or_else(|| quoted(&text), grouped)
    }

    fn describe(range: Range) -> String {
        let range = range.in_words(|bytes| shortest(bytes, SIZES));
        format!("a size{range} (such as 256KiB, 2MB or 100_000; a bare number is bytes)")
    }

    fn magnitude(&self) -> Option<u64> {
        Some(self.0)
    }
}

impl Value for Duration {
    const PLACEHOLDER: &'static str = "DURATION";

    fn read(given: &Given) -> Result<Self, Mismatch> {
        read_quantity(given, TIMES, "s").map(Self::from_millis)
    }

    fn to_toml(&self) -> String {
        quoted(&shortest(millis(self), TIMES))
    }

    fn describe(range: Range) -> String {
        describe_duration(range)
    }

    fn magnitude(&self) -> Option<u64> {
        Some(millis(self))
    }
}

impl Value for Seconds {
    const PLACEHOLDER: &'static str = "DURATION";

    fn read(given: &Given) -> Result<Self, Mismatch> {
        let ms = read_quantity(given, TIMES, "s")?;
        if ms % 1000 != 0 {
            return Err(Mismatch::advice("MQTT counts this in whole seconds"));
        }
        (ms / 1000).try_into().map(Self).map_err(|_| Mismatch::default())
    }

    fn to_toml(&self) -> String {
        quoted(&shortest(seconds(self.0.into()), TIMES))
    }

    fn describe(range: Range) -> String {
        describe_duration(range)
    }

    fn magnitude(&self) -> Option<u64> {
        Some(seconds(self.0.into()))
    }
}

/// A number without sign, its digits grouped by `_` or not.
pub(crate) fn whole_number(text: &str) -> Option<u64> {
    let edges_are_digits = text.starts_with(is_digit) && text.ends_with(is_digit);
    let only_digits = text.chars().all(|c| is_digit(c) || c == '_');
    if edges_are_digits && only_digits { text.replace('_', "").parse().ok() } else { None }
}

/// A number as TOML, its digits grouped where that helps the eye.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

/// Name of a unit and how many base units it is.
type Unit = (&'static str, u64);

/// Of two names of equal length for a number, the earlier unit here is written.
const SIZES: &[Unit] = &[
    ("TiB", 1024 * GIB),
    ("GiB", GIB),
    ("MiB", MIB),
    ("KiB", KIB),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
];

const TIMES: &[Unit] =
    &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

fn millis(duration: &Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

fn describe_duration(range: Range) -> String {
    let range = range.in_words(|ms| shortest(ms, TIMES));
    format!("a duration{range} (such as 500ms, 5s or 2m; a bare number is seconds)")
}

/// The shortest exact writing of a number.
fn shortest(number: u64, units: &[Unit]) -> String {
    units
        .iter()
        .filter(|(_, size)| number >= *size && number.is_multiple_of(*size))
        .map(|(name, size)| format!("{}{name}", number / size))
        .min_by_key(String::len)
        .unwrap_or_else(|| format!("0{}", units[units.len() - 1].0))
}

fn read_quantity(given: &Given, units: &[Unit], bare_unit: &str) -> Result<u64, Mismatch> {
    match given {
        Given::Words(text) | Given::Text(text) | Given::Integer(text) | Given::Float(text) => {
            parse_quantity(text.trim(), units, bare_unit)
        }
        _ => Err(Mismatch::default()),
    }
}

fn parse_quantity(text: &str, units: &[Unit], bare_unit: &str) -> Result<u64, Mismatch> {
    let number_end = text.find(|c| !(is_digit(c) || c == '_' || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let unit = if unit.is_empty() { bare_unit } else { unit.trim_start() };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole = whole_number(whole).ok_or_else(Mismatch::default)?;
    let size = unit_size(unit, units).ok_or_else(|| unknown_unit(unit, units))?;
    let part = fraction_of(fraction, size)?;
    whole
        .checked_mul(size)
        .and_then(|product| product.checked_add(part))
        .ok_or_else(|| Mismatch::advice("that is more than can be counted"))
}

/// Sizes are found in any case (nobody means bits), durations in theirs, where `M` could be months.
fn unit_size(name: &str, units: &[Unit]) -> Option<u64> {
    let any_case = units == SIZES;
    let same = |unit: &str| unit == name || (any_case && unit.eq_ignore_ascii_case(name));
    units.iter().find(|(unit, _)| same(unit)).map(|(_, size)| *size)
}

fn unknown_unit(name: &str, units: &[Unit]) -> Mismatch {
    let known: Vec<_> = units.iter().rev().map(|(unit, _)| *unit).collect();
    let name: String = name.chars().take(20).collect();
    Mismatch::advice(format!("{name:?} is not one of the units {}", known.join(", ")))
}

/// `0.FRACTION` times `size`, if that is a whole number.
fn fraction_of(fraction: &str, size: u64) -> Result<u64, Mismatch> {
    const DIGITS_MAX: usize = 12;
    if fraction.len() > DIGITS_MAX || !fraction.starts_with(is_digit) {
        return Err(Mismatch::default());
    }
    let digits: u64 = fraction.parse().map_err(|_| Mismatch::default())?;
    let scale = 10_u128.pow(fraction.len() as u32);
    let product = u128::from(digits) * u128::from(size);
    if product % scale != 0 {
        return Err(Mismatch::advice("that is no whole number of its smallest unit"));
    }
    // Smaller than `size`, because the fraction is smaller than one.
    Ok(u64::try_from(product / scale).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Value>(text: &str) -> Result<T, String> {
        T::read(&Given::Words(text.to_owned())).map_err(|m| m.advice.unwrap_or_default())
    }

    #[test]
    fn durations_have_units_and_a_bare_number_is_seconds() {
        for (text, ms) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
            ("30", 30_000),
            ("1.5", 1_500),
            ("0.25s", 250),
            ("1_000 ms", 1_000),
            ("0", 0),
        ] {
            assert_eq!(read(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn sizes_are_binary_or_decimal_and_a_bare_number_is_bytes() {
        for (text, bytes) in [
            ("256KiB", 262_144),
            ("1MiB", 1_048_576),
            ("1mib", 1_048_576),
            ("100_000", 100_000),
            ("100kB", 100_000),
            ("2MB", 2_000_000),
            ("1.5GiB", 1_610_612_736),
            ("3 GB", 3_000_000_000),
            ("12B", 12),
        ] {
            assert_eq!(read(text), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_the_reason() {
        for text in ["", "s", "-5s", "+5s", ".5s", "5.s", "1e3", "5,0s", "1._5s", "0x10", "½s"] {
            assert!(read::<Duration>(text).is_err(), "{text}");
        }
        let units = "is not one of the units";
        assert_eq!(read::<Duration>("5min"), Err(format!("\"min\" {units} ms, s, m, h, d")));
        assert!(read::<Duration>("5M").unwrap_err().contains(units));
        assert!(read::<ByteSize>("5M").unwrap_err().contains(units));
        assert!(read::<ByteSize>("1.5B").unwrap_err().contains("no whole number"));
        assert!(read::<Duration>("0.5ms").unwrap_err().contains("no whole number"));
        assert!(read::<ByteSize>("18446744073709551615KiB").unwrap_err().contains("more than"));
        assert!(read::<ByteSize>("18446744073709551616").is_err());
        assert_eq!(read::<Seconds>("1500ms"), Err("MQTT counts this in whole seconds".into()));
        assert!(read::<Seconds>("4294967296s").is_err());
    }

    #[test]
    fn a_quantity_is_written_short_and_exact() {
        let size = |bytes| ByteSize(bytes).to_toml();
        assert_eq!(size(1_048_576), "\"1MiB\"");
        assert_eq!(size(2_000_000), "\"2MB\"");
        assert_eq!(size(65_535), "65_535");
        assert_eq!(size(999), "999");
        assert_eq!(size(u64::MAX), "18_446_744_073_709_551_615");
        assert_eq!(Duration::from_millis(1_500).to_toml(), "\"1500ms\"");
        assert_eq!(Duration::from_secs(90).to_toml(), "\"90s\"");
        assert_eq!(Duration::from_secs(7_200).to_toml(), "\"2h\"");
        assert_eq!(Seconds(65_535).to_toml(), "\"65535s\"");
        assert_eq!(shortest(0, SIZES), "0B");
    }
}
