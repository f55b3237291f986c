//! What a terminal may be sent: colours if it is one, and no control characters of a stranger's.
//!
//! Into a pipe or a file everything goes as it is; only people are protected.

use std::io::{IsTerminal, stdout};

/// What is known of standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    is_terminal: bool,
    colours: bool,
}

impl Terminal {
    /// Standard output, as it is.
    pub(crate) fn of_process() -> Self {
        let is_terminal = stdout().is_terminal();
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { is_terminal, colours: is_terminal && wanted }
    }

    /// Whether it is one.
    pub(crate) fn is_terminal(self) -> bool {
        self.is_terminal
    }

    /// `text` in the colour of topics, if there are colours.
    pub(crate) fn topic(self, text: &str) -> String {
        if self.colours { format!("\u{1b}[36m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Text of a stranger's, fit for this output.
    pub(crate) fn safe(self, bytes: &[u8]) -> Vec<u8> {
        if self.is_terminal { escaped(bytes).into_bytes() } else { bytes.to_vec() }
    }
}

/// Control characters but line feed and tab as `\x1b`, and what is not UTF-8 as `\xff`.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\n' | '\t' => text.push(letter),
                letter if letter.is_control() => {
                    text.push_str(&format!("\\x{:02x}", u32::from(letter)));
                }
                letter => text.push(letter),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_control_characters() {
        let terminal = Terminal { is_terminal: true, colours: true };
        assert_eq!(
            terminal.safe(b"a\x1b[2J\r\n\tb\xff\xc2\x9bz"),
            b"a\\x1b[2J\\x0d\n\tb\\xff\\x9bz"
        );
        assert_eq!(terminal.topic("t"), "\u{1b}[36mt\u{1b}[0m");
        let pipe = Terminal { is_terminal: false, colours: false };
        assert_eq!(pipe.safe(b"a\x1b\xff"), b"a\x1b\xff");
        assert_eq!(pipe.topic("t"), "t");
    }
}
