//! How often a process flushes, counted by the kernel for `perf`. Where there is no `perf`, or it may
//! not count, nothing is known.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

/// A count under way.
#[derive(Debug)]
pub(super) struct Flushes {
    perf: Child,
}

impl Flushes {
    /// Begins to count the flushes of a process; returns when they are counted.
    pub(super) fn begin(pid: u32) -> Option<Self> {
        // Its command says a line as soon as all is counted, and ends with its input.
        let perf = Command::new("perf")
            .args(["stat", "-x,", "-e", EVENT, "-p", &pid.to_string()])
            .args(["--", "sh", "-c", "echo counting; cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut flushes = Self { perf: perf.ok()? };
        let mut line = String::new();
        let output = flushes.perf.stdout.as_mut()?;
        BufReader::new(output).read_line(&mut line).ok()?;
        (line == "counting\n").then_some(flushes)
    }

    /// How many there were.
    pub(super) fn finish(mut self) -> Option<u64> {
        drop(self.perf.stdin.take());
        let mut text = String::new();
        self.perf.stderr.take()?.read_to_string(&mut text).ok()?;
        count(&text)
    }
}

impl Drop for Flushes {
    fn drop(&mut self) {
        drop(self.perf.stdin.take());
        // It has ended by itself, or is not needed any more.
        let _ = self.perf.kill();
        let _ = self.perf.wait();
    }
}

/// The number in `123,,syscalls:sys_enter_fdatasync,…`.
fn count(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains(EVENT))?;
    line.split(',').next()?.parse().ok()
}

const EVENT: &str = "syscalls:sys_enter_fdatasync";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_stands_first() {
        let line = "17,,syscalls:sys_enter_fdatasync,812870,100.00,,\n";
        assert_eq!(count(&format!("# a word before\n{line}")), Some(17));
        assert_eq!(count("<not counted>,,syscalls:sys_enter_fdatasync,0,0.00,,\n"), None);
        assert_eq!(count("Access to performance monitoring is limited.\n"), None);
    }
}
