//! The arithmetic of both ends: what is derived from a password, and comparing without telling.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::num::NonZeroU32;

pub(crate) const KEY_BYTES: usize = 32;
pub(crate) type Key = [u8; KEY_BYTES];

/// `Hi` of RFC 5802, which is PBKDF2 of one block.
pub(crate) fn salted_password(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Key {
    let keyed = keyed(password);
    let mut last = finish(keyed.clone(), &[salt, &1u32.to_be_bytes()]);
    let mut all = last;
    for _ in 1..iterations.get() {
        last = finish(keyed.clone(), &[&last]);
        xor(&mut all, &last);
    }
    all
}

pub(crate) fn client_key(salted: &Key) -> Key {
    hmac(salted, &[b"Client Key"])
}

pub(crate) fn server_key(salted: &Key) -> Key {
    hmac(salted, &[b"Server Key"])
}

pub(crate) fn hash(bytes: &[u8]) -> Key {
    Sha256::digest(bytes).into()
}

pub(crate) fn hmac(key: &[u8], message: &[&[u8]]) -> Key {
    finish(keyed(key), message)
}

pub(crate) fn xor(into: &mut Key, with: &[u8]) {
    into.iter_mut().zip(with).for_each(|(into, with)| *into ^= with);
}

/// Compares without telling by the time it takes where the difference is.
pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).fold(0, |found, (one, other)| found | (one ^ other)) == 0
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    <Hmac<Sha256> as KeyInit>::new_from_slice(key)
        .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"))
}

fn finish(mut mac: Hmac<Sha256>, message: &[&[u8]]) -> Key {
    message.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}
