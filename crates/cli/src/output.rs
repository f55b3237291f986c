//! What the program says: answers on standard output, everything else on standard error.
//!
//! Invariant: writing to a pipe that was closed (`noctule … | head`) neither panics nor fails.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Prints an answer.
pub(crate) fn answer(text: &str) {
    // Who closed the pipe has read enough.
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Prints one line about what went wrong or is worth knowing.
pub(crate) fn complain(text: impl Display) {
    // There is no other place where this could be said.
    let _ = writeln!(io::stderr().lock(), "noctule: {text}");
}

/// Says that a command was ended by its user, and that all is well.
pub(crate) fn say_goodbye() {
    // A terminal has written ^C where the cursor was.
    let fresh_line = if io::stderr().is_terminal() { "\n" } else { "" };
    let _ = writeln!(io::stderr().lock(), "{fresh_line}noctule: disconnected cleanly. Goodbye!");
}
