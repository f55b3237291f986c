//! A program at a terminal of its own: keys are typed, the screen is read.
//!
//! What the program writes is taken by an emulator, so that a test sees what a person would see and
//! not the sequences that paint it. As everywhere here, what is waited for has a deadline.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::program::DEADLINE;

/// Keys as a terminal sends them.
pub(crate) const CTRL_C: &str = "\u{3}";
pub(crate) const CTRL_D: &str = "\u{4}";
pub(crate) const TAB: &str = "\t";
pub(crate) const ENTER: &str = "\r";
pub(crate) const ESCAPE: &str = "\u{1b}";
pub(crate) const UP: &str = "\u{1b}[A";
pub(crate) const DOWN: &str = "\u{1b}[B";

/// A program at its terminal; dropped, it is killed.
pub(crate) struct Pty {
    child: Child,
    keys: File,
    screen: Arc<Shared>,
    reading: Option<JoinHandle<()>>,
}

/// What was written so far, as it is seen; and the news that something was written.
struct Shared {
    seen: Mutex<Seen>,
    news: Condvar,
}

struct Seen {
    parser: vt100::Parser,
    ended: bool,
}

impl Pty {
    /// Starts `command` at a terminal of so many rows and columns.
    pub(crate) fn start(command: &Command, rows: u16, columns: u16) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&terminal).expect("a terminal");
        unlockpt(&terminal).expect("a terminal");
        tcsetwinsize(&terminal, size(rows, columns)).expect("a terminal");
        let name: CString = ptsname(&terminal, Vec::new()).expect("a terminal");
        let child = attached(command, name.to_str().expect("a path"));
        let (rows, columns) = nonzero(rows, columns);
        let seen = Seen { parser: vt100::Parser::new(rows, columns, 0), ended: false };
        let screen = Arc::new(Shared { seen: Mutex::new(seen), news: Condvar::new() });
        let output = File::from(terminal.try_clone().expect("a descriptor"));
        let reading = Some(read(output, Arc::clone(&screen)));
        Self { child, keys: File::from(terminal), screen, reading }
    }

    /// Types keys.
    pub(crate) fn keys(&self, keys: &str) {
        (&self.keys).write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Waits until the screen is as wanted, and returns it.
    pub(crate) fn wait(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + DEADLINE;
        let mut seen = self.screen.seen.lock().expect("a reader that does not panic");
        loop {
            let screen = seen.parser.screen().contents();
            if wanted(&screen) {
                return screen;
            }
            assert!(!seen.ended, "the program ended before {what}; the screen:\n{screen}");
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what} in time; the screen:\n{screen}");
            let waited = self.screen.news.wait_timeout(seen, left);
            seen = waited.expect("a reader that does not panic").0;
        }
    }

    /// Waits until these words are on the screen, and returns it.
    pub(crate) fn see(&self, words: &str) -> String {
        self.wait(words, |screen| screen.contains(words))
    }

    /// Waits until the line with the cursor is this one.
    pub(crate) fn see_line(&self, line: &str) -> String {
        self.wait(line, |screen| {
            screen.trim_end().lines().last().is_some_and(|last| last.trim_end() == line.trim_end())
        })
    }

    /// Another size, which the program is told.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let mut seen = self.screen.seen.lock().expect("a reader that does not panic");
        let (given_rows, given_columns) = nonzero(rows, columns);
        seen.parser.set_size(given_rows, given_columns);
        tcsetwinsize(&self.keys, size(rows, columns)).expect("a terminal");
    }

    /// Waits for the end; how it ended, and the last screen.
    pub(crate) fn finish(mut self) -> (ExitStatus, String) {
        let end = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                break status;
            }
            assert!(Instant::now() < end, "does not end; the screen:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(5));
        };
        if let Some(reading) = self.reading.take() {
            reading.join().expect("a reader that does not panic");
        }
        (status, self.screen())
    }

    /// The colour of a letter, in words.
    pub(crate) fn colour_at(&self, row: u16, column: u16) -> String {
        let seen = self.screen.seen.lock().expect("a reader that does not panic");
        let cell = seen.parser.screen().cell(row, column).expect("a cell of the screen");
        format!("{:?}", cell.fgcolor())
    }

    /// What is seen now.
    pub(crate) fn screen(&self) -> String {
        self.screen.seen.lock().expect("a reader that does not panic").parser.screen().contents()
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command, started in a session that has this terminal. `setsid` replaces itself by the
/// program, so its process is the one we wait for.
fn attached(command: &Command, terminal: &str) -> Child {
    let open = || -> OwnedFd {
        let mut options = OpenOptions::new();
        options.read(true).write(true).open(terminal).expect("our own terminal").into()
    };
    let mut whole = Command::new("setsid");
    whole.arg("--ctty").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => whole.env(name, value),
            None => whole.env_remove(name),
        };
    }
    whole.env("TERM", "xterm-256color");
    if let Some(directory) = command.get_current_dir() {
        whole.current_dir(directory);
    }
    whole.stdin(open()).stdout(open()).stderr(open()).spawn().expect("setsid is there")
}

fn read(mut output: File, screen: Arc<Shared>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        // Reading fails when nobody has the other side open any more.
        while let Ok(count @ 1..) = output.read(&mut bytes) {
            // A test that has failed holds it no more, and needs no screen.
            let Ok(mut seen) = screen.seen.lock() else { return };
            seen.parser.process(&bytes[..count]);
            screen.news.notify_all();
        }
        if let Ok(mut seen) = screen.seen.lock() {
            seen.ended = true;
        }
        screen.news.notify_all();
    })
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn nonzero(rows: u16, columns: u16) -> (NonZeroU16, NonZeroU16) {
    let number = |number| NonZeroU16::new(number).expect("a screen has a size");
    (number(rows), number(columns))
}
