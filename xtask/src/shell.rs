//! Running other programs: the one place that starts a process and turns its end into a sentence.
//!
//! Nothing here knows what the programs are for. No program inherits standard input, so none can
//! wait for an answer that nobody types.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why a step ended badly, as the sentence the reader sees.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Failure {
    /// A failure said in `words`.
    pub(crate) fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

/// Runs `command` to its end with our own output; anything but exit code 0 is a failure.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let words = words(command);
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|error| Failure(format!("cannot start `{words}`: {error}")))?;
    if status.success() { Ok(()) } else { Err(Failure(format!("`{words}`: {status}"))) }
}

/// Runs `command` quietly and returns what it wrote to standard output.
pub(crate) fn output(command: &mut Command) -> Result<String, Failure> {
    let words = words(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure(format!("cannot start `{words}`: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure(format!("`{words}`: {}\n{}", output.status, said.trim_end())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as one would type it.
pub(crate) fn words(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Where `program` is, looking along PATH and in the directories that hold daemons, which the PATH
/// of an ordinary user often leaves out.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| is_program(candidate))
}

fn is_program(candidate: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    candidate.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_named_with_its_arguments() {
        let failure = run(Command::new("false").arg("seven")).unwrap_err();
        assert_eq!(failure.0, "`false seven`: exit status: 1");
    }

    #[test]
    fn a_program_that_does_not_exist_is_a_failure_and_is_not_found() {
        assert!(which("noctule-no-such-program").is_none());
        let failure = output(&mut Command::new("noctule-no-such-program")).unwrap_err();
        assert!(failure.0.starts_with("cannot start `noctule-no-such-program`"), "{failure}");
    }

    #[test]
    fn output_is_what_was_written() {
        assert_eq!(output(Command::new("echo").arg("bat")).unwrap(), "bat\n");
    }

    #[test]
    fn a_shell_is_found() {
        assert!(which("sh").is_some());
    }
}
