//! Where in a packet a rule was broken, for those who look for the fault.
//!
//! Decoding does not keep count of it. A packet is read from its front, so whatever breaks a rule
//! breaks it as soon as it is there: the shortest front of the packet that breaks the same rule ends
//! with it.

use super::{Frame, decode};
use crate::{ProtocolVersion, Receiver, Violation};

/// Longer packets are not searched.
const SEARCHED_BYTES_MAX: usize = 64 * 1024;

/// The byte of `frame`, counted from zero, at which decoding it ended with `violation`: the first
/// that is missing, the first that is too much, or the last of the field that is wrong. `None` if
/// decoding does not end with it.
pub fn position(
    frame: &Frame<'_>,
    version: ProtocolVersion,
    receiver: Receiver,
    violation: &Violation,
) -> Option<usize> {
    let breaks = |end: usize| {
        let front = Frame { bytes: &frame.bytes[..end], header_len: frame.header_len };
        decode(&front, version, receiver).as_ref() == Err(violation)
    };
    let whole = frame.bytes.len();
    if whole > SEARCHED_BYTES_MAX || !breaks(whole) {
        return None;
    }
    match violation {
        Violation::Truncated { .. } => return Some(whole),
        Violation::TrailingBytes { extra, .. } => return whole.checked_sub(*extra),
        _ => {}
    }
    if breaks(frame.header_len) {
        return Some(0);
    }
    let (mut sound, mut broken) = (frame.header_len, whole);
    while broken - sound > 1 {
        let middle = sound + (broken - sound) / 2;
        if breaks(middle) { broken = middle } else { sound = middle }
    }
    Some(broken - 1)
}

#[cfg(test)]
mod tests {
    use super::super::next_frame;
    use super::*;

    fn found(bytes: &[u8], version: ProtocolVersion) -> Option<usize> {
        let frame = next_frame(bytes, u32::MAX).unwrap().unwrap();
        let violation = decode(&frame, version, Receiver::Server).unwrap_err();
        position(&frame, version, Receiver::Server, &violation)
    }

    #[test]
    fn each_fault_is_where_it_is() {
        let v311 = ProtocolVersion::V311;
        let cases: [(&str, &[u8], Option<usize>); 8] = [
            ("flags", b"\x83\x06\0\x01\0\x01a\0", Some(0)),
            ("packet identifier 0", b"\x82\x06\0\0\0\x01a\0", Some(3)),
            ("filter", b"\x82\x08\0\x01\0\x03a#b\0", Some(8)),
            ("QoS 3", b"\x82\x06\0\x01\0\x01a\x03", Some(7)),
            ("the second filter", b"\x82\x0a\0\x01\0\x01a\0\0\x01\xff\0", Some(10)),
            ("too short", b"\x82\x05\0\x01\0\x09a", Some(7)),
            ("too long", b"\xe0\x02\0\0", Some(2)),
            ("flags of CONNECT", b"\x10\x0d\0\x04MQTT\x04\x03\0\x3c\0\x01a", Some(9)),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(found(bytes, v311), expected, "{name}");
        }
    }

    #[test]
    fn what_is_not_in_the_packet_is_nowhere() {
        let frame = next_frame(b"\xc0\0", 9).unwrap().unwrap();
        let violation = Violation::SecondConnect;
        assert_eq!(position(&frame, ProtocolVersion::V5, Receiver::Server, &violation), None);
    }
}
