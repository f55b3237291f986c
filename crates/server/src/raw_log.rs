//! Packets in hex, with what is secret in them covered.
//!
//! This is for looking at a conversation, and off unless asked for. A tap cuts the bytes of a
//! connection into packets, whatever pieces they come in; it does not judge them. The invariant: no
//! byte of a password, of authentication data or of a will's payload leaves here, and where a packet
//! cannot be read all is covered that might be one.

use crate::json_text::write_hex;
use noctule_mqtt::codec::{self, Frame, FrameBuffer};
use noctule_mqtt::{Packet, PacketType, ProtocolVersion, Receiver};
use std::ops::Range;

/// So many bytes of a packet are shown.
const SHOWN_BYTES_MAX: usize = 1_024;
/// Packets up to this size are collected; of larger ones nothing but this is said.
const PACKET_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// A packet that passed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawPacket {
    /// When, in milliseconds since 1970.
    pub(crate) wall_ms: u64,
    /// Whether a client sent it, and not the broker.
    pub(crate) received: bool,
    /// The client identifier, or the address as long as there is none.
    pub(crate) client: Box<str>,
    /// Of which type it is.
    pub(crate) name: String,
    /// How many bytes it has.
    pub(crate) size: usize,
    /// Its bytes, or the first of them, with the secret ones covered.
    pub(crate) hex: String,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    partial: FrameBuffer,
    /// What came was no packet: where the next begins is not known.
    lost: bool,
}

impl Tap {
    /// Bytes pass: gives each packet that they complete to `take`, as name, size and hex.
    pub(crate) fn pass(
        &mut self,
        mut bytes: &[u8],
        receiver: Receiver,
        mut take: impl FnMut(String, usize, String),
    ) {
        while !bytes.is_empty() && !self.lost {
            match self.partial.fill(bytes, PACKET_BYTES_MAX) {
                Ok(used) => bytes = &bytes[used..],
                Err(violation) => {
                    self.lost = true;
                    let size = self.partial.len() + bytes.len();
                    return take("no packet".to_owned(), size, violation.to_string());
                }
            }
            let whole = matches!(self.partial.frame(PACKET_BYTES_MAX), Ok(Some(_)));
            if !whole {
                return;
            }
            let packet = self.partial.take();
            if let Ok(Some(frame)) = codec::next_frame(&packet, PACKET_BYTES_MAX) {
                take(name(&frame), frame.bytes.len(), hex(&frame, receiver, SHOWN_BYTES_MAX));
            }
        }
    }
}

fn name(frame: &Frame<'_>) -> String {
    PacketType::from_bits(frame.type_bits())
        .map_or_else(|| format!("type {}", frame.type_bits()), |packet| packet.to_string())
}

/// The first `most` bytes of a packet in hex, as it came to this receiver.
pub(crate) fn hex(frame: &Frame<'_>, receiver: Receiver, most: usize) -> String {
    let secrets = secrets(frame, receiver);
    let mut out = String::new();
    for (at, byte) in frame.bytes.iter().take(most).enumerate() {
        if at > 0 {
            out.push(' ');
        }
        if secrets.iter().any(|secret| secret.contains(&at)) {
            out.push_str("**");
        } else {
            write_hex(&mut out, *byte);
        }
    }
    if frame.bytes.len() > most {
        out.push_str(" …");
    }
    out
}

/// The first `most` bytes of what may not be a packet, but was taken for one.
pub(crate) fn hex_of_broken(bytes: &[u8], most: usize) -> String {
    let header_len =
        1 + bytes.iter().skip(1).take(4).take_while(|byte| **byte & 0x80 != 0).count() + 1;
    let header_len = header_len.min(bytes.len());
    if bytes.is_empty() {
        return String::new();
    }
    hex(&Frame { bytes, header_len }, Receiver::Server, most)
}

/// Where in a packet something secret is.
fn secrets(frame: &Frame<'_>, receiver: Receiver) -> Vec<Range<usize>> {
    let packet = PacketType::from_bits(frame.type_bits());
    let may_have =
        matches!(packet, Some(PacketType::Connect | PacketType::Connack | PacketType::Auth));
    if !may_have {
        return Vec::new();
    }
    let place = |secret: &[u8]| {
        let start = secret.as_ptr() as usize - frame.bytes.as_ptr() as usize;
        start..start + secret.len()
    };
    match codec::decode(frame, ProtocolVersion::V5, receiver) {
        Ok(Packet::Connect(connect)) => {
            let will = connect.will.as_ref().map(|will| will.payload);
            let data = connect.properties.authentication_data();
            [connect.password, will, data].into_iter().flatten().map(place).collect()
        }
        Ok(Packet::Connack(connack)) => {
            connack.properties.authentication_data().map(place).into_iter().collect()
        }
        Ok(Packet::Auth(auth)) => {
            auth.properties.authentication_data().map(place).into_iter().collect()
        }
        _ => {
            let open = match packet {
                // One of 3.1.1 ends behind its return code.
                Some(PacketType::Connack) => frame.header_len + 2,
                // It says protocol, level, flags and keep-alive before anything else.
                Some(PacketType::Connect) => behind_keep_alive(frame),
                _ => frame.header_len,
            };
            std::iter::once(open..frame.bytes.len()).collect()
        }
    }
}

fn behind_keep_alive(frame: &Frame<'_>) -> usize {
    match frame.body() {
        [0, name @ (4 | 6), ..] => frame.header_len + 2 + usize::from(*name) + 4,
        _ => frame.header_len,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"\x00\x06secret";

    fn connect(level: u8) -> Vec<u8> {
        let mut body = b"\x00\x04MQTT".to_vec();
        body.extend([level, 0b1100_0110, 0, 60]);
        if level == 5 {
            // Authentication method and data.
            body.extend(b"\x0d\x15\x00\x01m\x16");
            body.extend(SECRET);
            body[10] = 12;
            let properties = body.len() - 11;
            body[10] = properties as u8;
        }
        body.extend(b"\x00\x01a");
        if level == 5 {
            body.push(0);
        }
        body.extend(b"\x00\x01w");
        body.extend(SECRET);
        body.extend(b"\x00\x01u");
        body.extend(SECRET);
        let mut packet = vec![0x10, body.len() as u8];
        packet.extend(body);
        packet
    }

    fn shown(bytes: &[u8], pieces: usize) -> Vec<(String, usize, String)> {
        let (mut tap, mut all) = (Tap::default(), Vec::new());
        for piece in bytes.chunks(pieces) {
            tap.pass(piece, Receiver::Server, |name, size, hex| all.push((name, size, hex)));
        }
        all
    }

    /// "secret" in hex.
    const SECRET_HEX: &str = "73 65 63 72 65 74";

    #[test]
    fn passwords_wills_and_authentication_data_are_covered() {
        for (level, covered) in [(4, 2), (5, 3)] {
            let packet = connect(level);
            let [(name, size, hex)] = &shown(&packet, 7)[..] else { panic!("one packet") };
            assert_eq!((name.as_str(), *size), ("CONNECT", packet.len()));
            assert!(!hex.contains(SECRET_HEX), "{hex}");
            assert_eq!(hex.matches("** ** ** ** ** **").count(), covered, "{hex}");
            assert!(
                hex.ends_with(if level == 4 { "75 00 06 ** ** ** ** ** **" } else { "**" }),
                "{hex}"
            );
        }
    }

    #[test]
    fn of_a_connect_that_cannot_be_read_all_is_covered_behind_its_fixed_part() {
        let mut packet = connect(4);
        // A reserved flag.
        packet[9] |= 1;
        let hex = hex_of_broken(&packet, 1_000);
        assert!(hex.starts_with("10 23 00 04 4d 51 54 54 04 c7 00 3c **"), "{hex}");
        assert!(!hex.contains("73"), "{hex}");
        packet[5] = 99;
        packet[3] = 9;
        assert!(hex_of_broken(&packet, 1_000).starts_with("10 23 ** **"));
        assert!(!hex_of_broken(&connect(5)[..40], 1_000).contains(SECRET_HEX));
        assert_eq!(hex_of_broken(b"\x10", 9), "10");
        assert_eq!(hex_of_broken(b"", 9), "");
    }

    #[test]
    fn packets_are_found_in_whatever_pieces_they_come() {
        let bytes = [&connect(4)[..], b"\x30\x05\x00\x01abc\xc0\x00"].concat();
        for pieces in 1..=bytes.len() {
            let all = shown(&bytes, pieces);
            assert_eq!(all[1], ("PUBLISH".to_owned(), 7, "30 05 00 01 61 62 63".to_owned()));
            assert_eq!(all[2], ("PINGREQ".to_owned(), 2, "c0 00".to_owned()));
            assert_eq!(all.len(), 3);
        }
    }

    #[test]
    fn a_long_packet_is_cut_and_its_size_is_true() {
        let mut packet = vec![0x30, 0xD0, 0x0F, 0, 1, b'a'];
        packet.resize(3 + 2_000, 0x11);
        let [(_, size, hex)] = &shown(&packet, 100)[..] else { panic!("one packet") };
        assert_eq!(*size, 2_003);
        assert!(hex.ends_with("11 …") && hex.len() == 1_024 * 3 - 1 + 4, "{}", hex.len());
    }

    #[test]
    fn behind_what_is_no_packet_nothing_is_shown() {
        let all = shown(b"\x30\xff\xff\xff\xff\xff\x30\x00\xc0\x00", 3);
        assert_eq!((all.len(), all[0].0.as_str()), (1, "no packet"));
    }
}
