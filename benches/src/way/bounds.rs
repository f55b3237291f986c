//! The committed counts. One that rises by more than [`RISE_MAX`] fails until it is looked at: what
//! was gained for it is said in `docs/benchmarks.md`, and `way --write` commits the new count.

use crate::names;
use std::fmt::Write;
use std::path::PathBuf;

/// How much more than the committed count is taken for noise: compilers and C libraries differ.
const RISE_MAX: f64 = 0.05;

fn path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "way.tsv"].iter().collect()
}

/// Writes `counts`, in the order of the patterns, down.
///
/// # Errors
/// In words: if the file cannot be written.
pub(crate) fn write(counts: &[f64]) -> Result<(), String> {
    let mut text = String::from("pattern\tinstructions per delivery\n");
    for (name, count) in names().zip(counts) {
        let _ = writeln!(text, "{name}\t{count:.0}");
    }
    print!("{}", table(counts));
    std::fs::write(path(), text).map_err(|error| format!("{}: {error}", path().display()))
}

/// Prints `counts` and compares them with the committed ones.
///
/// # Errors
/// In words: what has risen, or has no committed count.
pub(crate) fn check(counts: &[f64]) -> Result<(), String> {
    print!("{}", table(counts));
    let text = std::fs::read_to_string(path())
        .map_err(|error| format!("{}: {error}", path().display()))?;
    let complaints = complaints(&committed(&text), counts);
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n")) }
}

fn committed(text: &str) -> Vec<(&str, f64)> {
    let rows = text.lines().skip(1).filter_map(|line| line.split_once('\t'));
    rows.filter_map(|(name, count)| Some((name, count.parse().ok()?))).collect()
}

fn complaints(committed: &[(&str, f64)], counts: &[f64]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, count) in names().zip(counts) {
        match committed.iter().find(|(other, _)| *other == name) {
            None => complaints.push(format!("{name}: no count is committed; see way --write")),
            // Nothing is free: whoever finds that has not counted.
            Some(_) if *count < 1.0 || count.is_nan() => {
                complaints.push(format!("{name}: nothing was counted"));
            }
            Some((_, before)) if *count > before * (1.0 + RISE_MAX) => {
                let rise = (count / before - 1.0) * 100.0;
                complaints.push(format!(
                    "{name}: {count:.0} instructions a delivery, {rise:.1} % more than {before:.0}"
                ));
            }
            Some(_) => {}
        }
    }
    complaints
}

/// A row per pattern, with the committed count beside what was counted now.
pub(crate) fn table(counts: &[f64]) -> String {
    let text = std::fs::read_to_string(path()).unwrap_or_default();
    let committed = committed(&text);
    let mut table = format!("{:<18} {:>12} {:>10}\n", "per delivery", "instructions", "committed");
    for (name, count) in names().zip(counts) {
        let before = committed.iter().find(|(other, _)| *other == name);
        let before = before.map_or("-".into(), |(_, count)| format!("{count:.0}"));
        let _ = writeln!(table, "{name:<18} {count:>12.0} {before:>10}");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_and_a_missing_count_are_complaints_and_a_little_noise_is_none() {
        let counts: Vec<f64> = names().map(|_| 104.0).collect();
        let same: Vec<(&str, f64)> = names().map(|name| (name, 100.0)).collect();
        assert!(complaints(&same, &counts).is_empty());
        let mut lower = same.clone();
        lower[1].1 = 98.0;
        assert_eq!(complaints(&lower, &counts).len(), 1);
        assert_eq!(complaints(&same[1..], &counts).len(), 1);
        let nothing: Vec<f64> = names().map(|_| 0.0).collect();
        assert_eq!(complaints(&same, &nothing).len(), nothing.len());
    }

    #[test]
    fn every_pattern_has_a_committed_count() {
        let text = std::fs::read_to_string(path()).unwrap();
        let counts: Vec<f64> = names().map(|_| 1.0).collect();
        assert_eq!(complaints(&committed(&text), &counts), Vec::<String>::new());
    }
}
