//! Counting tests: reads the result lines that cargo's test binaries print and adds them up.

use std::fmt;
use std::io::{self, BufRead, Write};

/// Tests passed and failed, over all test binaries seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed.
    pub(crate) failed: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

impl Tally {
    /// Copies `from` to `to` line by line as the lines come, counting on the way.
    pub(crate) fn pass_through(from: impl BufRead, mut to: impl Write) -> io::Result<Self> {
        let mut tally = Self::default();
        for line in from.split(b'\n') {
            let mut line = line?;
            tally.read(&String::from_utf8_lossy(&line));
            line.push(b'\n');
            to.write_all(&line)?;
            to.flush()?;
        }
        Ok(tally)
    }

    fn read(&mut self, line: &str) {
        let Some((passed, failed)) = result_line(line) else {
            return;
        };
        self.passed += passed;
        self.failed += failed;
    }
}

/// `test result: ok. 5 passed; 1 failed; …` as (5, 1).
fn result_line(line: &str) -> Option<(u64, u64)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = counts.split("; ");
    let passed = counts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = counts.next()?.strip_suffix(" failed")?.parse().ok()?;
    Some((passed, failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
running 2 tests
test one ... ok
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
a test may say: test result: ok. 9 passed; 9 failed;
test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s
";

    #[test]
    fn results_of_all_binaries_are_summed_and_the_output_passes_unchanged() {
        let mut copy = Vec::new();
        let tally = Tally::pass_through(OUTPUT.as_bytes(), &mut copy).unwrap();
        assert_eq!(tally, Tally { passed: 5, failed: 1 });
        assert_eq!(String::from_utf8(copy).unwrap(), OUTPUT);
        assert_eq!(tally.to_string(), "5 passed, 1 failed");
    }

    #[test]
    fn bytes_that_are_not_text_pass_unchanged() {
        let mut copy = Vec::new();
        Tally::pass_through(&b"\xff\xfe\n"[..], &mut copy).unwrap();
        assert_eq!(copy, b"\xff\xfe\n");
    }
}
