//! The first bytes of a connection, by which somebody at the wrong port is recognised.

use std::fmt;

/// As many bytes as tell one protocol from another.
const KEPT: usize = 8;

/// The first bytes that a peer has sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FirstBytes {
    bytes: [u8; KEPT],
    len: u8,
}

impl FirstBytes {
    /// At most eight bytes, fewer if fewer came.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Notes bytes that came, as long as there is room.
    pub(crate) fn note(&mut self, bytes: &[u8]) {
        for (place, byte) in self.bytes[usize::from(self.len)..].iter_mut().zip(bytes) {
            *place = *byte;
            self.len += 1;
        }
    }
}

/// `16 03 01`
impl fmt::Display for FirstBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.as_slice().iter().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            write!(f, "{gap}{byte:02x}")?;
        }
        Ok(())
    }
}

/// Whether a plain connection begins like TLS: a record with a handshake message, of a version from
/// SSL 3.0 to TLS 1.3, that begins with a ClientHello as far as bytes are there. At least three bytes
/// are needed.
#[must_use]
pub fn looks_like_client_hello(bytes: &[u8]) -> bool {
    matches!(bytes, [HANDSHAKE, 3, 0..=4, rest @ ..] if rest.get(2).is_none_or(|kind| *kind == CLIENT_HELLO))
}

/// Type of a record that carries handshake messages.
pub(super) const HANDSHAKE: u8 = 0x16;
/// Type of a record that carries an alert.
pub(super) const ALERT: u8 = 0x15;
/// Type of a handshake message.
const CLIENT_HELLO: u8 = 0x01;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_hello_is_recognised_from_three_bytes_on() {
        let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc];
        for len in 0..hello.len() {
            assert_eq!(looks_like_client_hello(&hello[..len]), len >= 3, "{len}");
        }
        // The record's fields are version, length (two bytes), and then the message's type.
        assert!(!looks_like_client_hello(&[0x16, 3, 1, 2, 0, 2]));
        assert!(!looks_like_client_hello(&[0x16, 2, 1, 2, 0, 1]));
        assert!(!looks_like_client_hello(&[0x10, 0x1f, 0, 4, b'M', b'Q']));
        assert!(!looks_like_client_hello(b"GET / HTTP/1.1"));
    }

    #[test]
    fn the_first_bytes_are_kept_however_they_come() {
        let mut first = FirstBytes::default();
        for byte in b"MQTT over nothing" {
            first.note(&[*byte]);
        }
        assert_eq!(first.as_slice(), b"MQTT ove");
        assert_eq!(first.to_string(), "4d 51 54 54 20 6f 76 65");
        assert_eq!(FirstBytes::default().to_string(), "");
    }
}
