//! Where the shell writes: beside the line being typed if there is one, else line by line.

use std::sync::{Arc, Mutex, PoisonError};

use rustyline::ExternalPrinter;

use crate::output;
use crate::terminal::Terminal;

/// Where the shell writes; clones write to the same place.
#[derive(Clone)]
pub(crate) struct Screen {
    beside: Option<Arc<Mutex<Box<dyn ExternalPrinter + Send>>>>,
    terminal: Terminal,
}

impl Screen {
    /// One that writes beside a line, if there is a terminal for it.
    pub(crate) fn new(beside: Option<Box<dyn ExternalPrinter + Send>>) -> Self {
        let beside = beside.map(|printer| Arc::new(Mutex::new(printer)));
        Self { beside, terminal: Terminal::of_process() }
    }

    /// Writes a line, or several.
    pub(crate) fn say(&self, text: &str) {
        let line = format!("{}\n", text.trim_end_matches('\n'));
        let Some(beside) = &self.beside else { return output::answer(&line) };
        let mut printer = beside.lock().unwrap_or_else(PoisonError::into_inner);
        // A terminal that is gone ends the loop that reads from it.
        let _ = printer.print(line);
    }

    /// Writes a message.
    pub(crate) fn message(&self, topic: &str, payload: &[u8]) {
        let safe = |bytes: &[u8]| String::from_utf8_lossy(&self.terminal.safe(bytes)).into_owned();
        let topic = self.terminal.topic(&safe(topic.as_bytes()));
        self.say(&format!("{topic} {}", safe(payload)));
    }
}
