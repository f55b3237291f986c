//! A program under test: started with pipes, read line by line, ended by its id.
//!
//! Everything that waits has a deadline, and what the program wrote to standard error is part of
//! every failure message, because a test that says only "timeout" helps nobody.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long an event may take on a busy machine before the test says that it does not come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A running program; dropped, it is killed.
pub(crate) struct Program {
    words: String,
    child: Child,
    lines: Receiver<String>,
    complaints: Arc<Mutex<String>>,
    complaining: Option<JoinHandle<()>>,
}

/// A program that came to its end.
#[derive(Debug)]
pub(crate) struct Finished {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// The lines of standard output that nobody had read before.
    pub(crate) lines: Vec<String>,
    /// All of standard error.
    pub(crate) complaints: String,
}

impl Program {
    /// Starts `command` with nothing on its standard input.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_with(command, Vec::new())
    }

    /// Starts `command` with `input` on its standard input.
    pub(crate) fn start_with(command: &mut Command, input: Vec<u8>) -> Self {
        let (program, mut stdin) = Self::start_open(command);
        // A program that ends early closes the pipe; its exit status tells the story.
        std::thread::spawn(move || drop(stdin.write_all(&input)));
        program
    }

    /// Starts `command` with a standard input that is written to while it runs.
    pub(crate) fn start_open(command: &mut Command) -> (Self, ChildStdin) {
        let words = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {words}: {error}"));
        let stdin = child.stdin.take().expect("a pipe");
        let lines = lines_of(child.stdout.take().expect("a pipe"));
        let complaints = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().expect("a pipe");
        let complaining = Some(collect(stderr, Arc::clone(&complaints)));
        (Self { words, child, lines, complaints, complaining }, stdin)
    }

    /// The next line of standard output for which `wanted` has an answer; others are skipped.
    pub(crate) fn expect<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(found) = wanted(&line) {
                        return found;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {what} in time\n{}", self.story()),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("output ended before {what}\n{}", self.story())
                }
            }
        }
    }

    /// Waits until standard error says all of `words` in one line, and returns that line.
    pub(crate) fn expect_complaint(&self, words: &[&str]) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            let said = self.complaints();
            let found = said.lines().find(|line| words.iter().all(|word| line.contains(word)));
            if let Some(line) = found {
                return line.to_owned();
            }
            assert!(Instant::now() < end, "not said: {words:?}\n{}", self.story());
            std::thread::sleep(POLL);
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to this process, and to no other.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("the process exists until it is waited for");
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Finished {
        let status = self.wait();
        if let Some(complaining) = self.complaining.take() {
            complaining.join().expect("a reader that does not panic");
        }
        Finished { status, lines: self.lines.iter().collect(), complaints: self.complaints() }
    }

    fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status;
            }
            assert!(Instant::now() < end, "does not end\n{}", self.story());
            std::thread::sleep(POLL);
        }
    }

    /// What standard error has said so far.
    pub(crate) fn complaints(&self) -> String {
        self.complaints.lock().expect("a reader that does not panic").clone()
    }

    fn story(&self) -> String {
        format!("program: {}\nstandard error:\n{}", self.words, self.complaints())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// Panics unless the program ended with exit code 0.
    pub(crate) fn well(self) -> Self {
        let Self { status, lines, complaints } = &self;
        let lines = lines.join("\n");
        assert!(status.success(), "{status}\noutput:\n{lines}\nstandard error:\n{complaints}");
        self
    }
}

/// Lines as they come; the channel ends with the output.
fn lines_of(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { return };
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn collect(output: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { return };
            let mut text = into.lock().expect("nobody panics with this lock");
            text.push_str(&String::from_utf8_lossy(&line));
            text.push('\n');
        }
    })
}

/// How often an end that sends no event is looked for.
const POLL: Duration = Duration::from_millis(5);
