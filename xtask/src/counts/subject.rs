//! The broker while it is counted: started under a tool, found, and ended in order, as the tools
//! write their reports at the end only.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::tools::Tool;
use crate::shell::{self, Failure};

/// A broker under a tool. Dropping it ends both.
pub(super) struct Subject {
    /// Where it listens, `127.0.0.1:1234`.
    pub(super) address: String,
    process: Process,
    report: PathBuf,
}

impl Subject {
    /// Starts `broker` under `tool` in an empty directory below `room` and returns when it listens.
    pub(super) fn start(tool: &Tool, broker: &[String], room: &Path) -> Result<Self, Failure> {
        let directory = room.join("broker");
        if directory.exists() {
            fs::remove_dir_all(&directory).map_err(in_words("cannot empty", &directory))?;
        }
        fs::create_dir_all(&directory).map_err(in_words("cannot make", &directory))?;
        let report = room.join(format!("{}.txt", tool.name));
        let complaints = room.join("stderr.txt");
        let stderr =
            fs::File::create(&complaints).map_err(in_words("cannot write", &complaints))?;
        let mut command = Command::new(tool.name);
        command
            .args(tool.arguments)
            .arg(format!("{}{}", tool.report_option, report.display()))
            .args(broker)
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr);
        let words = shell::words(&command);
        let mut child =
            command.spawn().map_err(|error| Failure(format!("cannot start `{words}`: {error}")))?;
        let output = child.stdout.take();
        let process = Process { child, counts_a_child: tool.counts_a_child };
        let address = output.and_then(|output| announced(output, START_TIMEOUT));
        let silent = || {
            let said = fs::read_to_string(&complaints).unwrap_or_default();
            Failure(format!("`{words}` does not say where it listens:\n{said}"))
        };
        Ok(Self { address: address.ok_or_else(silent)?, process, report })
    }

    /// Ends the broker and returns the tool's report.
    pub(super) fn end(mut self) -> Result<String, Failure> {
        self.process.end()?;
        fs::read_to_string(&self.report).map_err(in_words("cannot read", &self.report))
    }
}

struct Process {
    child: Child,
    counts_a_child: bool,
}

impl Process {
    fn end(&mut self) -> Result<(), Failure> {
        terminate(self.broker_pid()?)?;
        let deadline = Instant::now() + END_TIMEOUT;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(POLL),
                Ok(Some(_)) => return Ok(()),
                Err(error) => return Err(Failure(format!("cannot wait for the broker: {error}"))),
            }
        }
        Err(Failure::new("the broker does not end on SIGTERM"))
    }

    /// strace shields itself from signals, so the broker below it must be found.
    fn broker_pid(&self) -> Result<u32, Failure> {
        let own = self.child.id();
        if !self.counts_a_child {
            return Ok(own);
        }
        let path = format!("/proc/{own}/task/{own}/children");
        fs::read_to_string(&path)
            .ok()
            .and_then(|text| text.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| Failure(format!("{path} names no child")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // What cannot be ended in order is ended at once; a broker that strace leaves behind goes
        // first.
        if let Ok(pid) = self.broker_pid() {
            let _ = signal("KILL", pid);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn terminate(pid: u32) -> Result<(), Failure> {
    signal("TERM", pid)
}

/// The shell's own `kill`, as not every machine has the program.
fn signal(name: &str, pid: u32) -> Result<(), Failure> {
    shell::run(Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]))
}

/// The address a broker says it listens on; its output is read on until its end, as a full pipe
/// would stop it.
fn announced(output: ChildStdout, wait: Duration) -> Option<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if let Some(address) = announcement(&String::from_utf8_lossy(&line)) {
                // Only the first one is waited for.
                let _ = sender.send(address);
            }
        }
    });
    receiver.recv_timeout(wait).ok()
}

fn announcement(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("listening on ")?;
    rest.trim_end().strip_suffix(" (MQTT)").map(String::from)
}

fn in_words<'a>(doing: &'a str, path: &'a Path) -> impl Fn(std::io::Error) -> Failure + 'a {
    move |error| Failure(format!("{doing} {}: {error}", path.display()))
}

/// Under valgrind everything takes fifty times as long.
const START_TIMEOUT: Duration = Duration::from_secs(30);
const END_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    const ENV: Tool = Tool {
        name: "env",
        arguments: &[],
        report_option: "REPORT=",
        counts_a_child: false,
        read: |_| Ok(0),
    };

    fn room(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("noctule-{name}-{}", std::process::id()))
    }

    fn script(text: &str) -> Vec<String> {
        ["sh", "-c", text].map(String::from).into()
    }

    #[test]
    fn a_subject_is_found_by_its_words_and_ends_on_sigterm_with_a_report() {
        let room = room("counted");
        let text = "trap 'echo bye > $REPORT; kill $!; exit' TERM; sleep 1000 & \
                    echo '  listening on 127.0.0.1:9 (MQTT)'; wait";
        let subject = Subject::start(&ENV, &script(text), &room).unwrap();
        assert_eq!(subject.address, "127.0.0.1:9");
        assert_eq!(subject.end().unwrap(), "bye\n");
        fs::remove_dir_all(&room).unwrap();
    }

    #[test]
    fn a_subject_that_ends_at_once_is_a_failure_with_its_last_words() {
        let room = room("mute");
        let failure =
            Subject::start(&ENV, &script("echo no such option >&2"), &room).err().unwrap();
        assert!(failure.0.ends_with("no such option\n"), "{failure}");
        fs::remove_dir_all(&room).unwrap();
    }

    #[test]
    fn only_the_plain_listener_counts() {
        let found = announcement("  listening on [::1]:1883 (MQTT)\r");
        assert_eq!(found.as_deref(), Some("[::1]:1883"));
        assert_eq!(announcement("listening on [::1]:8883 (MQTT over TLS)"), None);
    }
}
