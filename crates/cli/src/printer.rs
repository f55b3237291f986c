//! Printing messages as a user wants them: the flags for it, and one message after the other.

use std::collections::HashMap;
use std::io::{Stdout, Write, stdout};

use clap::{Arg, ArgAction, ArgMatches};
use noctule_client::{Message, Messages};

use crate::client_run::Failure;
use crate::message_format::{Format, Moment};
use crate::output;
use crate::terminal::Terminal;

const FORMAT: &str = "format";
const VERBOSE: &str = "verbose";
const NO_NEWLINE: &str = "no-newline";
const PRETTY: &str = "pretty";
const WATCH: &str = "watch";

/// The flags.
pub(crate) fn printer_arguments() -> Vec<Arg> {
    let switch = |id: &'static str| Arg::new(id).long(id).action(ArgAction::SetTrue);
    let all = [
        Arg::new(FORMAT)
            .short('F')
            .long(FORMAT)
            .value_name("FORMAT")
            .allow_hyphen_values(true)
            .value_parser(Format::read)
            .help("Print messages in this format, see below"),
        switch(VERBOSE).short('v').help("Print the topic before the payload"),
        switch(NO_NEWLINE).short('N').help("Print no line break behind a message"),
        switch(PRETTY).help("Print JSON over several lines (%j, %J)"),
        switch(WATCH).short('w').help("Keep one line for each topic (on a terminal)"),
    ];
    all.into_iter().map(|arg| arg.help_heading("Output")).collect()
}

/// Prints messages.
pub(crate) struct Printer {
    format: Option<Format>,
    verbose: bool,
    newline: bool,
    terminal: Terminal,
    out: Stdout,
    buffer: Vec<u8>,
    watch: Option<Lines>,
    quiet: bool,
}

/// Reads how to print.
///
/// # Errors
/// A line for each topic needs a terminal.
pub(crate) fn printer(arguments: &ArgMatches) -> Result<Printer, Failure> {
    let terminal = Terminal::of_process();
    let watch = arguments.get_flag(WATCH);
    if watch && !terminal.is_terminal() {
        return Err(Failure::usage("--watch needs a terminal; leave it out to print line by line"));
    }
    let format = arguments.get_one::<Format>(FORMAT).cloned();
    Ok(Printer {
        format: format.map(|format| format.pretty(arguments.get_flag(PRETTY))),
        verbose: arguments.get_flag(VERBOSE) || watch,
        newline: !arguments.get_flag(NO_NEWLINE),
        terminal,
        out: stdout(),
        buffer: Vec::new(),
        watch: watch.then(Lines::default),
        quiet: arguments.get_flag("quiet"),
    })
}

impl Printer {
    /// The next message. What was printed before is seen before anybody waits.
    pub(crate) async fn next(&mut self, messages: &mut Messages) -> Option<Message> {
        if let Some(message) = messages.try_next() {
            return Some(message);
        }
        self.flush();
        messages.next().await
    }

    /// Prints a message; false if nobody reads any more.
    pub(crate) fn print(&mut self, message: &Message) -> bool {
        let mut line = Vec::new();
        match &self.format {
            Some(format) => {
                let moment = Moment::now();
                if let Err(fault) = format.write(message, &moment, self.terminal, &mut line)
                    && !self.quiet
                {
                    output::complain(fault);
                }
            }
            None => self.print_plain(message, &mut line),
        }
        match &mut self.watch {
            Some(lines) => lines.replace(message.topic(), &line, &mut self.buffer),
            None => {
                self.buffer.extend(line);
                if self.newline {
                    self.buffer.push(b'\n');
                }
            }
        }
        self.buffer.len() < FLUSH || self.flush()
    }

    fn print_plain(&self, message: &Message, line: &mut Vec<u8>) {
        if self.verbose {
            let topic = self.terminal.safe(message.topic().as_bytes());
            let topic = self.terminal.topic(&String::from_utf8_lossy(&topic));
            line.extend_from_slice(topic.as_bytes());
            line.push(b' ');
            if message.payload().is_empty() {
                line.extend_from_slice(b"(null)");
            }
        }
        line.extend(self.terminal.safe(message.payload()));
    }

    /// Hands over what was printed; false if nobody reads any more.
    pub(crate) fn flush(&mut self) -> bool {
        let written = self.out.write_all(&self.buffer).and_then(|()| self.out.flush());
        self.buffer.clear();
        written.is_ok()
    }
}

/// From here on it is written even if more messages wait.
const FLUSH: usize = 64 * 1024;

/// A line of the terminal for each topic, in the order of their first messages.
#[derive(Default)]
struct Lines {
    places: HashMap<String, usize>,
}

impl Lines {
    /// Writes a topic's line in its place.
    fn replace(&mut self, topic: &str, line: &[u8], out: &mut Vec<u8>) {
        let line: Vec<u8> =
            line.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }).collect();
        let count = self.places.len();
        let place = *self.places.entry(topic.to_owned()).or_insert(count);
        if place == count {
            out.extend(line);
            out.push(b'\n');
            return;
        }
        let up = count - place;
        out.extend_from_slice(format!("\u{1b}[{up}A\r\u{1b}[2K").as_bytes());
        out.extend(line);
        out.extend_from_slice(format!("\u{1b}[{up}B\r").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_topic_keeps_its_line() {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        lines.replace("a", b"a 1", &mut out);
        lines.replace("b", b"b 1\n2", &mut out);
        lines.replace("a", b"a 2", &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "a 1\nb 1 2\n\u{1b}[2A\r\u{1b}[2Ka 2\u{1b}[2B\r");
    }
}
