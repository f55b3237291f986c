//! Heads of HTTP/1.1: where they end, and what their fields say.

use httparse::Header;

/// Bytes that the head of a request or of a response may have.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Fields that it may have.
pub(super) const FIELDS_MAX: usize = 64;

const END: &[u8] = b"\r\n\r\n";

/// Where a head ends, with the empty line behind it. `looked` bytes were looked at before, when there were
/// fewer.
#[must_use]
pub fn head_end(bytes: &[u8], looked: usize) -> Option<usize> {
    let begin = looked.saturating_sub(END.len() - 1);
    let found = bytes.get(begin..)?.windows(END.len()).position(|window| window == END)?;
    Some(begin + found + END.len())
}

/// Whether every line ends as HTTP says: `httparse` takes a bare line feed, too, and whoever stands between
/// the ends may not.
pub(super) fn has_whole_line_ends(head: &[u8]) -> bool {
    let before = std::iter::once(&0).chain(head);
    before.zip(head).all(|(before, byte)| *byte != b'\n' || *before == b'\r')
}

/// The fields of a head.
pub(super) struct Fields<'h, 'b>(pub(super) &'h [Header<'b>]);

impl<'h, 'b> Fields<'h, 'b> {
    /// All values of a field, in their order. One that is not text is an empty one.
    pub(super) fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &'b str> {
        let named = self.0.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| std::str::from_utf8(header.value).unwrap_or_default().trim())
    }

    /// The value of a field that may be there once: an error if it is there more often.
    pub(super) fn one(&self, name: &str) -> Result<Option<&'b str>, Repeated> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (first, None) => Ok(first),
            (_, Some(_)) => Err(Repeated),
        }
    }

    /// The elements of a field that is a list, over all its lines.
    pub(super) fn list(&self, name: &str) -> Vec<&'b str> {
        let elements = self.all(name).flat_map(|value| value.split(','));
        elements.map(str::trim).filter(|element| !element.is_empty()).collect()
    }

    /// Whether a list has an element, whatever its case.
    pub(super) fn lists(&self, name: &str, element: &str) -> bool {
        self.list(name).iter().any(|one| one.eq_ignore_ascii_case(element))
    }
}

/// A field is there more than once.
pub(super) struct Repeated;
