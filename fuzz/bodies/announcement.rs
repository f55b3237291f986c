//! What must hold of the PROXY protocol whatever somebody sends in front of a connection. The fuzzer looks
//! for bytes that break it; the ordinary tests replay those it has found.

use noctule_net::{HEADER_BYTES_MAX, parse_announcement};

/// The first byte says what the others are, as few random bytes begin like a header: bytes as they are, what
/// follows the first word of version 1, what is between it and the line's end, what follows the
/// signature of version 2, or the fields of a header of version 2 whose other parts are right.
pub(crate) fn announcement(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    match choice % 6 {
        0 => check(rest),
        1 => check(&[b"PROXY ", rest].concat()),
        2 => check(&[b"PROXY TCP4 ", rest, b"\r\n"].concat()),
        3 => check(&[SIGNATURE, rest].concat()),
        4 => check(&header(families()[usize::from(choice / 6) % 4], rest)),
        _ => check_sum(rest),
    }
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Where the addresses begin.
const FIXED: usize = 16;

/// Families with the bytes of their addresses: none, IPv4, IPv6, Unix.
fn families() -> [(u8, usize); 4] {
    [(0x00, 0), (0x11, 12), (0x21, 36), (0x31, 216)]
}

/// A header of version 2 with these fields behind addresses.
fn header((family, address_bytes): (u8, usize), fields: &[u8]) -> Vec<u8> {
    let length = u16::try_from(address_bytes + fields.len()).unwrap_or(u16::MAX);
    let addresses = vec![7; address_bytes];
    [SIGNATURE, &[0x21, family], &length.to_be_bytes(), &addresses, fields].concat()
}

/// Whether there is a header is known as early as can be and never taken back, and nothing behind it
/// matters.
fn check(bytes: &[u8]) {
    let whole = parse_announcement(bytes);
    match &whole {
        Ok(Some((_, length))) => {
            assert!(*length <= bytes.len() && *length <= HEADER_BYTES_MAX);
            assert_eq!(parse_announcement(&bytes[..*length]), whole);
            assert_eq!(parse_announcement(&[&bytes[..*length], b"more"].concat()), whole);
            for shorter in 0..*length {
                assert_eq!(parse_announcement(&bytes[..shorter]), Ok(None), "{shorter} bytes");
            }
        }
        Ok(None) => {
            assert!(bytes.len() < HEADER_BYTES_MAX, "nobody waits for more than that");
            for shorter in 0..bytes.len() {
                assert_eq!(parse_announcement(&bytes[..shorter]), Ok(None), "{shorter} bytes");
            }
        }
        Err(failure) => {
            let text = failure.to_string();
            assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
            let found = (0..bytes.len()).find(|end| parse_announcement(&bytes[..*end]).is_err());
            for longer in found.unwrap_or(bytes.len())..bytes.len() {
                assert!(parse_announcement(&bytes[..longer]).is_err(), "{longer} bytes");
            }
        }
    }
}

/// A checksum that is right changes nothing of what a header says, and with a wrong one it says nothing.
fn check_sum(fields: &[u8]) {
    let with = [&[0x03, 0, 4, 0, 0, 0, 0][..], fields].concat();
    let mut summed = header(families()[1], &with);
    let at = FIXED + families()[1].1 + 3;
    let sum = crc32c(&summed).to_be_bytes();
    summed[at..at + 4].copy_from_slice(&sum);
    check(&summed);
    let plain = parse_announcement(&header(families()[1], fields));
    if let (Ok(Some((said, _))), Ok(Some((with_sum, _)))) = (&plain, parse_announcement(&summed)) {
        assert_eq!(*said, with_sum);
    }
    // A second checksum among the fields is refused, and that is all that may differ.
    let has_another =
        matches!(parse_announcement(&summed), Err(noctule_net::ProxyFailure::Twice(3)));
    assert!(has_another || plain.is_ok() == parse_announcement(&summed).is_ok() || !fits(&with));
    for bit in 0..8 {
        summed[FIXED + 1] ^= 1 << bit;
        assert!(parse_announcement(&summed).is_err() || !fits(&with));
        summed[FIXED + 1] ^= 1 << bit;
    }
}

fn fits(fields: &[u8]) -> bool {
    FIXED + families()[1].1 + fields.len() <= HEADER_BYTES_MAX
}

/// CRC-32C by polynomial division of the bits as they come, most significant coefficient first: not as
/// the parser reckons it.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut remainder = u32::MAX;
    for byte in bytes {
        for bit in 0..8 {
            let carry = (remainder >> 31) as u8 ^ (byte >> bit & 1);
            remainder = (remainder << 1) ^ if carry == 1 { 0x1EDC_6F41 } else { 0 };
        }
    }
    !remainder.reverse_bits()
}
