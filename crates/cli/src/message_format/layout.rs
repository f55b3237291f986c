//! What stands between `%` and its letter: alignment, padding, width, and the most that is written.

use super::{Letters, incomplete};

/// How a value is set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Layout {
    left: bool,
    zeros: bool,
    width: usize,
    /// At most so many bytes of text; digits behind the point of a floating point number; digits in
    /// a group of hex.
    max: Option<usize>,
    /// Between groups of hex.
    pub(super) separator: Option<char>,
}

/// No width may be larger: a slip of the finger must not write a megabyte per message.
const WIDTH_MAX: usize = 10_000;

impl Layout {
    /// Reads `[-0][WIDTH][.MAX[SEPARATOR]]`.
    pub(super) fn read(letters: &mut Letters<'_>) -> Result<Self, String> {
        let mut layout = Self::default();
        while let Some(flag) = letters.next_if(|letter| matches!(letter, '-' | '0')) {
            layout.left |= flag == '-';
            layout.zeros |= flag == '0';
        }
        layout.width = number(letters)?.unwrap_or(0);
        if letters.next_if_eq(&'.').is_some() {
            if letters.peek().is_none() {
                return Err(incomplete("'.'"));
            }
            let max = number(letters)?;
            layout.max = Some(max.unwrap_or(0));
            if max.is_some_and(|max| max > 0) {
                layout.separator = letters.next_if(char::is_ascii_punctuation);
            }
        }
        Ok(layout)
    }

    /// How many hex digits make a group, if there are groups.
    pub(super) fn group(&self) -> Option<(usize, char)> {
        Some((self.max?, self.separator?))
    }

    /// Text, cut to the most that is wanted.
    pub(super) fn text(&self, text: &str, out: &mut Vec<u8>) {
        let max = self.max.unwrap_or(text.len()).min(text.len());
        let cut = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.padded(&text.as_bytes()[..cut], ' ', out);
    }

    /// A payload, which is never cut.
    pub(super) fn bytes(&self, bytes: &[u8], out: &mut Vec<u8>) {
        self.padded(bytes, self.pad(), out);
    }

    /// A number, or as much room as it would have.
    pub(super) fn number(&self, value: Option<u32>, out: &mut Vec<u8>) {
        match value {
            Some(value) => self.padded(value.to_string().as_bytes(), self.pad(), out),
            None => self.blank(out),
        }
    }

    /// A floating point number with six digits behind the point, or as many as are wanted.
    pub(super) fn float(&self, value: Option<f64>, out: &mut Vec<u8>) {
        match value {
            Some(value) => {
                let digits = self.max.unwrap_or(6);
                self.padded(format!("{value:.digits$}").as_bytes(), self.pad(), out);
            }
            None => self.blank(out),
        }
    }

    /// Room for what is not there.
    pub(super) fn blank(&self, out: &mut Vec<u8>) {
        let pad = if self.zeros { b'0' } else { b' ' };
        out.extend(std::iter::repeat_n(pad, self.width));
    }

    fn pad(&self) -> char {
        if self.zeros && !self.left { '0' } else { ' ' }
    }

    fn padded(&self, bytes: &[u8], pad: char, out: &mut Vec<u8>) {
        let room = self.width.saturating_sub(bytes.len());
        let pad = |out: &mut Vec<u8>| out.extend(std::iter::repeat_n(pad as u8, room));
        if self.left {
            out.extend_from_slice(bytes);
            pad(out);
        } else {
            pad(out);
            out.extend_from_slice(bytes);
        }
    }
}

fn number(letters: &mut Letters<'_>) -> Result<Option<usize>, String> {
    let mut digits = String::new();
    while let Some(digit) = letters.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    if digits.is_empty() {
        return Ok(None);
    }
    match digits.parse() {
        Ok(number) if number <= WIDTH_MAX => Ok(Some(number)),
        _ => Err(format!("a width may be at most {WIDTH_MAX}, found {digits}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(text: &str) -> Layout {
        Layout::read(&mut text.chars().peekable()).unwrap()
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_cut_and_padded_with_blanks() {
        let text = |form: &str| written(|out| layout(form).text("abcd", out));
        assert_eq!([text("6"), text("-6"), text("06")], ["  abcd", "abcd  ", "  abcd"]);
        assert_eq!([text(".2"), text("4.2"), text(".0"), text("2")], ["ab", "  ab", "", "abcd"]);
        assert_eq!(written(|out| layout(".2").text("aé", out)), "a", "no half characters");
    }

    #[test]
    fn numbers_may_have_zeros_and_what_is_missing_keeps_its_room() {
        let number = |form: &str, value| written(|out| layout(form).number(value, out));
        assert_eq!([number("05", Some(7)), number("-05", Some(7))], ["00007", "7    "]);
        assert_eq!([number("3", None), number("", None)], ["   ", ""]);
        assert_eq!(written(|out| layout("8.2").float(Some(1.239), out)), "    1.24");
    }
}
