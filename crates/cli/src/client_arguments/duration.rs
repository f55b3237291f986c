//! Durations on a command line: `500ms`, `5s`, `2m`, `1h`; a bare number means seconds.

use std::time::Duration;

/// Reads a duration.
///
/// # Errors
/// What was expected.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        _ => return Err(expected(text)),
    };
    let number: f64 = number.parse().map_err(|_| expected(text))?;
    Duration::try_from_secs_f64(number * factor).map_err(|_| expected(text))
}

fn expected(text: &str) -> String {
    format!(
        "expected a duration such as 500ms, 5s, 2m or 1h (a bare number is seconds), found \"{text}\""
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_a_unit_or_means_seconds() {
        let ms = |text| duration(text).unwrap().as_millis();
        assert_eq!((ms("5"), ms("0.5"), ms("500ms")), (5_000, 500, 500));
        assert_eq!((ms("5s"), ms("1.5m"), ms("1h"), ms("0")), (5_000, 90_000, 3_600_000, 0));
        for wrong in ["", "s", "-1", "5d", "1e9h", "5 s", "..5", "99999999999999999999h"] {
            assert!(duration(wrong).unwrap_err().contains("500ms"), "{wrong}");
        }
    }
}
