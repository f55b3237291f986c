//! The key that a client makes up, and the proof that the server has understood it (RFC 6455, sections
//! 4.1 and 4.2.2). It is no secret, and SHA-1 is there because the standard says so.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

const UNIQUE: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of the nonce in a key.
const NONCE_BYTES: usize = 16;

/// What a server answers to a key.
pub(super) fn accept(key: &str) -> String {
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key.as_bytes());
    digest.update(UNIQUE);
    STANDARD.encode(digest.finish())
}

/// Whether a key is one: 16 bytes in Base64.
pub(super) fn is_key(key: &str) -> bool {
    STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == NONCE_BYTES)
}

/// The key of a nonce.
pub(super) fn key(nonce: [u8; NONCE_BYTES]) -> String {
    STANDARD.encode(nonce)
}
