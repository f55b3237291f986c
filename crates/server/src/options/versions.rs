//! Versions of MQTT as an option.
//!
//! What a refusal looks like must not be known here. Invariant: at least one version is there.

use super::value::{Given, Mismatch, Range, Shape, Value};
use noctule_mqtt::ProtocolVersion;

/// The versions of MQTT that clients may speak; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions([bool; 3]);

/// As they are written, in the order of [`ProtocolVersion::ALL`].
const WORDS: [&str; 3] = ["3.1", "3.1.1", "5"];

impl Versions {
    /// All of them.
    pub const ALL: Self = Self([true; 3]);

    /// Which they are.
    #[must_use]
    pub fn list(self) -> Vec<ProtocolVersion> {
        let all = ProtocolVersion::ALL.into_iter().zip(self.0);
        all.filter_map(|(version, is_there)| is_there.then_some(version)).collect()
    }
}

impl Value for Versions {
    const PLACEHOLDER: &'static str = "VERSION";
    const SHAPE: Shape = Shape::List;

    fn read(given: &Given) -> Result<Self, Mismatch> {
        let words: Vec<&str> = match given {
            Given::List(items) => items.iter().map(String::as_str).collect(),
            _ => given.text().ok_or_else(Mismatch::default)?.split(',').collect(),
        };
        let mut versions = [false; 3];
        for word in words {
            let word = word.trim();
            // "5.0" is what the standard is called.
            let word = word.strip_suffix(".0").unwrap_or(word);
            let place = WORDS.iter().position(|known| *known == word);
            versions[place.ok_or_else(Mismatch::default)?] = true;
        }
        let none = || Mismatch::advice("without a version nobody could connect");
        versions.contains(&true).then_some(Self(versions)).ok_or_else(none)
    }

    fn to_toml(&self) -> String {
        let there = WORDS.iter().zip(self.0).filter(|(_, is_there)| *is_there);
        let words: Vec<_> = there.map(|(word, _)| format!("\"{word}\"")).collect();
        format!("[{}]", words.join(", "))
    }

    fn describe(_: Range) -> String {
        "one or more of `3.1`, `3.1.1` and `5`".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<ProtocolVersion>, Option<String>> {
        let read = Versions::read(&Given::Words(text.to_owned()));
        read.map(Versions::list).map_err(|mismatch| mismatch.advice)
    }

    #[test]
    fn versions_are_read_as_the_standard_calls_them() {
        use ProtocolVersion::{V5, V31, V311};
        assert_eq!(read("3.1,3.1.1,5"), Ok(vec![V31, V311, V5]));
        assert_eq!(read("5.0, 3.1.1"), Ok(vec![V311, V5]));
        assert_eq!(read("4"), Err(None));
        assert_eq!(read(""), Err(None));
        let none = Versions::read(&Given::List(Vec::new())).unwrap_err().advice.unwrap();
        assert_eq!(none, "without a version nobody could connect");
    }
}
