//! JSON as text: strings that are safe to show, and documents laid out anew without being changed.
//!
//! Whatever a peer chose passes here before it reaches a log or a terminal. Numbers, keys and their
//! order stay as they were written; only blanks between them change, and characters that a terminal
//! obeys or that hide what is written become escapes.

use serde_json::value::RawValue;

/// How a document is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// All in one line.
    OneLine,
    /// Each member on a line of its own, indented.
    Indented,
}

/// Deeper documents are not laid out: each level indents all that is inside.
const DEPTH_MAX: usize = 100;
const INDENT: &str = "  ";

/// Appends a string with its quotation marks.
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    write_escaped(out, text);
    out.push('"');
}

/// Appends a byte in hex.
pub(crate) fn write_hex(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 0x0F)]));
}

/// Appends the inside of a string.
pub(crate) fn write_escaped(out: &mut String, text: &str) {
    let ordinary = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
    if text.bytes().all(ordinary) {
        return out.push_str(text);
    }
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => write_char(out, c),
        }
    }
}

/// Appends a character, or its escape if a terminal would obey it or not show it.
fn write_char(out: &mut String, c: char) {
    if is_plain(c) {
        return out.push(c);
    }
    let mut units = [0; 2];
    for unit in c.encode_utf16(&mut units) {
        out.push_str(&format!("\\u{unit:04x}"));
    }
}

/// Whether a character shows itself and does nothing else: no control character, none that turns
/// the direction of writing or joins invisibly, no tag.
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// A document that is an object or an array, checked but not taken apart; `None` for anything else.
pub(crate) fn document(payload: &[u8]) -> Option<&str> {
    let first = payload.iter().find(|byte| !byte.is_ascii_whitespace())?;
    if !matches!(first, b'{' | b'[') {
        return None;
    }
    let text = serde_json::from_slice::<&RawValue>(payload).ok()?.get();
    (depth(text) <= DEPTH_MAX).then_some(text)
}

/// How deep the brackets of a checked document are nested.
fn depth(document: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for (in_string, c) in Walk::new(document) {
        match c {
            '{' | '[' if !in_string => depth += 1,
            '}' | ']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Appends a checked document, which begins `depth` levels inside of another.
pub(crate) fn write_document(out: &mut String, document: &str, layout: Layout, mut depth: usize) {
    let mut opened = false;
    for (in_string, c) in Walk::new(document) {
        if !in_string && c.is_ascii_whitespace() {
            continue;
        }
        let closes = !in_string && matches!(c, '}' | ']');
        // An empty object or array stays together.
        if closes {
            depth = depth.saturating_sub(1);
        }
        if (opened && !closes) || (closes && !opened) {
            new_line(out, layout, depth);
        }
        opened = false;
        write_char(out, c);
        match c {
            '{' | '[' if !in_string => {
                depth += 1;
                opened = true;
            }
            ',' if !in_string => new_line(out, layout, depth),
            ':' if !in_string && layout == Layout::Indented => out.push(' '),
            _ => {}
        }
    }
}

/// Begins a line of a document at this depth, if it has lines.
pub(crate) fn new_line(out: &mut String, layout: Layout, depth: usize) {
    if layout == Layout::Indented {
        out.push('\n');
        out.extend(std::iter::repeat_n(INDENT, depth));
    }
}

/// The characters of a checked document, each with whether it belongs to a string.
struct Walk<'a> {
    chars: std::str::Chars<'a>,
    in_string: bool,
    escaped: bool,
}

impl<'a> Walk<'a> {
    fn new(document: &'a str) -> Self {
        Self { chars: document.chars(), in_string: false, escaped: false }
    }
}

impl Iterator for Walk<'_> {
    type Item = (bool, char);

    fn next(&mut self) -> Option<(bool, char)> {
        let c = self.chars.next()?;
        if !self.in_string {
            self.in_string = c == '"';
            return Some((self.in_string, c));
        }
        let ends = c == '"' && !self.escaped;
        self.escaped = c == '\\' && !self.escaped;
        self.in_string = !ends;
        Some((true, c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out(json: &str, layout: Layout) -> String {
        let mut out = String::new();
        write_document(&mut out, document(json.as_bytes()).unwrap(), layout, 0);
        out
    }

    #[test]
    fn a_document_keeps_its_numbers_keys_and_order() {
        let json =
            r#" { "b" : 1.50, "a":[ 1e400, {"x":"a, {b: \"c\\\"" } , [ ], { } ],"b":null } "#;
        let one = r#"{"b":1.50,"a":[1e400,{"x":"a, {b: \"c\\\""},[],{}],"b":null}"#;
        assert_eq!(laid_out(json, Layout::OneLine), one);
        let indented = "{\n  \"b\": 1.50,\n  \"a\": [\n    1e400,\n    {\n      \"x\": \"a, {b: \
                        \\\"c\\\\\\\"\"\n    },\n    [],\n    {}\n  ],\n  \"b\": null\n}";
        assert_eq!(laid_out(json, Layout::Indented), indented);
        assert_eq!(laid_out(indented, Layout::OneLine), one, "and back");
    }

    #[test]
    fn only_whole_objects_and_arrays_are_documents() {
        for no in [
            "23.5",
            "\"x\"",
            "true",
            "null",
            "",
            " ",
            "{",
            "{\"a\":1,}",
            "[1 2]",
            "{} x",
            "\u{feff}{}",
        ] {
            assert_eq!(document(no.as_bytes()), None, "{no}");
        }
        assert_eq!(document(b"[\xff]"), None);
        assert_eq!(
            document(b"{\"a\":\"\x1b\"}"),
            None,
            "control characters must be escaped in JSON"
        );
        assert_eq!(document(b"\n[] "), Some("[]"));
    }

    #[test]
    fn what_is_very_deep_is_no_document_for_us() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(document(nested(100).as_bytes()).is_some());
        assert!(document(nested(101).as_bytes()).is_none());
        assert!(document(nested(30_000).as_bytes()).is_none());
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        let mut out = String::new();
        write_string(&mut out, "a\u{1b}[31m\"\\\n\u{9b}\u{7f}\u{202e}\u{e0041}ä漢é\u{301}");
        let expected = "\"a\\u001b[31m\\\"\\\\\\n\\u009b\\u007f\\u202e\\udb40\\udc41ä漢é\u{301}\"";
        assert_eq!(out, expected);
        assert!(serde_json::from_str::<String>(&out).is_ok_and(|back| back.contains('\u{e0041}')));
        let json = "{\"k\u{202e}\":\"\u{9b}\"}";
        assert_eq!(laid_out(json, Layout::OneLine), "{\"k\\u202e\":\"\\u009b\"}");
    }
}
