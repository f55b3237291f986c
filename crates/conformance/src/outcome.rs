//! What comes of a check: passed, failed with what was expected and what came, or not applicable.
//!
//! Nothing here knows MQTT; bytes are shown as hexadecimal text and never interpreted.

use std::fmt;

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The broker did what the clauses say.
    Passed,
    /// It did something else.
    Failed(Failure),
    /// The broker says that it does not have what is checked, or the clauses leave it free and it
    /// has chosen otherwise; the words say which.
    NotApplicable(String),
}

/// What was expected, and what came instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the clause asks for.
    pub expected: String,
    /// What the broker did.
    pub came: String,
    /// The bytes of the packet that came, in hexadecimal; empty if none did.
    pub came_hex: String,
    /// The bytes that the client had sent last, in hexadecimal, the beginning of long ones.
    pub sent_hex: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, came {}", self.expected, self.came)
    }
}

/// Why a check ends before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    Failed(Failure),
    NotApplicable(String),
}

/// How a check ends.
pub(crate) type Verdict = Result<(), Stop>;

impl Stop {
    /// A failure that no single packet shows.
    pub(crate) fn failed(expected: impl Into<String>, came: impl Into<String>) -> Self {
        Self::Failed(Failure {
            expected: expected.into(),
            came: came.into(),
            came_hex: String::new(),
            sent_hex: String::new(),
        })
    }

    /// The broker does not have what is checked.
    pub(crate) fn not_applicable(why: impl Into<String>) -> Self {
        Self::NotApplicable(why.into())
    }
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Ok(()) => Self::Passed,
            Err(Stop::Failed(failure)) => Self::Failed(failure),
            Err(Stop::NotApplicable(why)) => Self::NotApplicable(why),
        }
    }
}

/// Passes if `holds`; else fails with what was `expected` and what `came`.
pub(crate) fn ensure(holds: bool, expected: impl Into<String>, came: impl fmt::Debug) -> Verdict {
    if holds { Ok(()) } else { Err(Stop::failed(expected, format!("{came:?}"))) }
}

/// `bytes` as hexadecimal text with blanks between, the first [`HEX_BYTES_MAX`] of them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(HEX_BYTES_MAX)];
    let mut text = shown.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    if bytes.len() > shown.len() {
        text.push_str(&format!(" … {} bytes in all", bytes.len()));
    }
    text
}

const HEX_BYTES_MAX: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_text_is_cut_and_says_so() {
        assert_eq!(hex(&[0x30, 0x0a]), "30 0a");
        let long = hex(&[0; 97]);
        assert!(long.ends_with("00 … 97 bytes in all"), "{long}");
        assert_eq!(long.matches("00").count(), HEX_BYTES_MAX);
    }

    #[test]
    fn what_does_not_hold_is_a_failure_that_says_both() {
        assert_eq!(ensure(true, "a", 1), Ok(()));
        let Err(Stop::Failed(failure)) = ensure(false, "one", 2) else { panic!("it did not hold") };
        assert_eq!(failure.to_string(), "expected one, came 2");
    }
}
