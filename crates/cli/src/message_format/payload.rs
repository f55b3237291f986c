//! Payloads in other dress: hex, and floating point numbers in the machine's byte order.

use super::layout::Layout;

/// The payload in hex, in groups if the layout says so.
pub(super) fn hex(payload: &[u8], upper: bool, layout: &Layout) -> Vec<u8> {
    const LOWER: &[u8; 16] = b"0123456789abcdef";
    const UPPER: &[u8; 16] = b"0123456789ABCDEF";
    let digits = if upper { UPPER } else { LOWER };
    let group = layout.group();
    let mut out = Vec::with_capacity(payload.len() * 3);
    let both = payload.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
    for (index, digit) in both.enumerate() {
        if let Some((size, separator)) = group
            && index > 0
            && index % size == 0
        {
            out.push(separator as u8);
        }
        out.push(digits[usize::from(digit)]);
    }
    out
}

/// A payload of eight bytes as the number it is.
pub(super) fn double(payload: &[u8]) -> Option<f64> {
    payload.try_into().ok().map(f64::from_ne_bytes)
}

/// A payload of four bytes as the number it is.
pub(super) fn single(payload: &[u8]) -> Option<f64> {
    payload.try_into().ok().map(|bytes| f64::from(f32::from_ne_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_may_come_in_groups() {
        let hex = |form: &str, upper| {
            let layout = Layout::read(&mut form.chars().peekable()).unwrap();
            String::from_utf8(hex(b"\x01\xab\xcd", upper, &layout)).unwrap()
        };
        assert_eq!([hex("", false), hex("", true)], ["01abcd", "01ABCD"]);
        assert_eq!([hex(".2:", false), hex(".4-", true)], ["01:ab:cd", "01AB-CD"]);
    }

    #[test]
    fn numbers_have_exactly_their_bytes() {
        assert_eq!(double(&1.5f64.to_ne_bytes()), Some(1.5));
        assert_eq!(single(&1.5f32.to_ne_bytes()), Some(1.5));
        assert_eq!((double(b"1.5"), single(b"")), (None, None));
    }
}
