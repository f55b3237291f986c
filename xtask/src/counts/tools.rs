//! The programs that count: how each is called, and where in its report the number stands.

use crate::shell::{self, Failure};

/// A program that runs another one and counts what it does.
pub(super) struct Tool {
    /// Its name, which is its Debian package's as well.
    pub(super) name: &'static str,
    /// Its arguments before the path of the report.
    pub(super) arguments: &'static [&'static str],
    /// What stands before the path of the report, in the same word.
    pub(super) report_option: &'static str,
    /// Whether the counted program is a child of the tool's process, or has taken its place.
    pub(super) counts_a_child: bool,
    /// Finds the count in the report.
    pub(super) read: fn(&str) -> Result<u64, Failure>,
}

/// Instructions, then system calls.
pub(super) const TOOLS: [&Tool; 2] = [
    &Tool {
        name: "valgrind",
        arguments: &["--tool=callgrind"],
        report_option: "--callgrind-out-file=",
        counts_a_child: false,
        read: instructions,
    },
    &Tool {
        name: "strace",
        arguments: &["-c", "-f"],
        report_option: "--output=",
        counts_a_child: true,
        read: system_calls,
    },
];

/// Fails, naming the command that helps, if a tool is missing.
pub(super) fn check() -> Result<(), Failure> {
    let missing: Vec<_> =
        TOOLS.iter().map(|tool| tool.name).filter(|name| shell::which(name).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure(format!(
        "missing; please run: apt-get install --yes --no-install-recommends {}",
        missing.join(" ")
    )))
}

/// The sum of a callgrind report.
fn instructions(report: &str) -> Result<u64, Failure> {
    report
        .lines()
        .find_map(|line| line.strip_prefix("totals:")?.trim().parse().ok())
        .ok_or_else(|| Failure::new("the report of callgrind has no totals"))
}

/// The sum of the column `calls` in a summary of strace.
fn system_calls(report: &str) -> Result<u64, Failure> {
    let rows = report.lines().filter_map(calls_of_row);
    let sum: u64 = rows.sum();
    if sum == 0 {
        return Err(Failure(format!("strace counted nothing:\n{report}")));
    }
    Ok(sum)
}

/// A row is `% time, seconds, usecs/call, calls, errors if any, name`; the last row is the total.
fn calls_of_row(line: &str) -> Option<u64> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let is_row = matches!(fields.len(), 5 | 6) && fields.last() != Some(&"total");
    fields[..].get(3).filter(|_| is_row)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_totals_of_callgrind_are_found() {
        let report = "version: 1\nevents: Ir\nsummary: 1\nfn=main\n1 2\n\ntotals: 123456\n";
        assert_eq!(instructions(report).unwrap(), 123_456);
        assert!(instructions("version: 1\n").is_err());
    }

    #[test]
    fn calls_are_summed_with_and_without_errors() {
        let report = "% time     seconds  usecs/call     calls    errors syscall\n\
                      ------ ----------- ----------- --------- --------- ----------------\n \
                      49.92    0.368344          18     20040           sendto\n  \
                      0.00    0.000000           0        40        20 accept4\n\
                      ------ ----------- ----------- --------- --------- ----------------\n\
                      100.00    0.737877          17     20080        20 total\n";
        assert_eq!(system_calls(report).unwrap(), 20_080);
        assert!(system_calls("").is_err());
    }
}
