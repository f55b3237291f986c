//! Instructions, which do not depend on what else the machine does: a program runs itself under
//! callgrind, which starts to count where a named function begins and writes down what it has where
//! that ends.

use std::path::PathBuf;
use std::process::Command;

/// A run of this program under callgrind.
#[derive(Debug)]
pub struct Run {
    /// What it printed.
    pub text: String,
    /// The instructions of each call of the function, in order.
    pub calls: Vec<f64>,
}

/// Runs this program with these arguments under callgrind. Counted is what each call of `function`,
/// named as valgrind names it, does; with `only`, no more than what is done in the functions
/// of these names.
///
/// # Errors
/// In words: if valgrind is missing or the program fails.
pub fn run(function: &str, only: &[&str], arguments: &[String]) -> Result<Run, String> {
    let room = Room::new()?;
    let report = room.path.join("counts");
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let only = only.iter().map(|name| format!("--toggle-collect={name}"));
    let output = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind"])
        .args([format!("--zero-before={function}"), format!("--dump-after={function}")])
        .args(only)
        .arg(format!("--callgrind-out-file={}", report.display()))
        .arg(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("cannot run valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("valgrind: {}: {said}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut calls = Vec::new();
    loop {
        let path = format!("{}.{}", report.display(), calls.len() + 1);
        let Ok(dump) = std::fs::read_to_string(&path) else {
            return Ok(Run { text, calls });
        };
        calls.push(total(&dump).ok_or_else(|| format!("{path} has no total"))?);
    }
}

fn total(dump: &str) -> Option<f64> {
    dump.lines().find_map(|line| line.strip_prefix("totals:")?.trim().parse().ok())
}

/// A directory that goes with its owner.
struct Room {
    path: PathBuf,
}

impl Room {
    fn new() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("noctule-counts-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // Nothing is left to do if even this fails.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_dump_is_found() {
        assert_eq!(total("events: Ir\nsummary: 7\n\ntotals: 1234\n"), Some(1234.0));
        assert_eq!(total("events: Ir\n"), None);
    }
}
