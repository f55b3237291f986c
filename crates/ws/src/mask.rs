//! Masks: what a client's payload is combined with, so that nothing between the ends takes it for
//! something else (RFC 6455, sections 5.3 and 10.3).

use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;

/// Bytes that are combined at once where payload moves.
const BLOCK: usize = 32;
/// Keys that are drawn at once.
const KEYS: usize = 64;

/// The key of a frame, beginning with the byte that is due next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MaskKey(u32);

impl MaskKey {
    /// A key as it stands in a frame.
    #[must_use]
    pub fn new(bytes: [u8; 4]) -> Self {
        Self(u32::from_le_bytes(bytes))
    }

    /// Its bytes, from the one that is due next.
    #[must_use]
    pub fn bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }

    /// The key behind so many bytes.
    #[must_use]
    pub fn advanced(self, bytes: usize) -> Self {
        Self(self.0.rotate_right(8 * (bytes % 4) as u32))
    }
}

/// Combines `bytes` with a key where they are: masks what is not, and unmasks what is. Returns the key for
/// what follows them.
pub fn apply_mask(bytes: &mut [u8], key: MaskKey) -> MaskKey {
    let words = u64::from(key.0) << 32 | u64::from(key.0);
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        if let Ok(word) = <[u8; 8]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u64::from_le_bytes(word) ^ words).to_le_bytes());
        }
    }
    let pattern = words.to_le_bytes();
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(pattern) {
        *byte ^= mask;
    }
    key.advanced(bytes.len())
}

/// Combines the last `len` bytes of `window` with a key, and leaves them as its first ones: taking frames
/// out from between payload costs nothing beyond unmasking. Returns the key for what follows them.
pub(crate) fn apply_mask_moving(window: &mut [u8], len: usize, key: MaskKey) -> MaskKey {
    let shift = window.len() - len;
    if shift == 0 {
        return apply_mask(window, key);
    }
    let mut pattern = [0; BLOCK];
    for four in pattern.chunks_exact_mut(4) {
        four.copy_from_slice(&key.bytes());
    }
    let mut at = 0;
    // What is read lies behind what was written: nothing is read again.
    while let Some(block) = window.get(at + shift..at + shift + BLOCK)
        && let Ok(mut block) = <[u8; BLOCK]>::try_from(block)
    {
        for (byte, mask) in block.iter_mut().zip(pattern) {
            *byte ^= mask;
        }
        window[at..at + BLOCK].copy_from_slice(&block);
        at += BLOCK;
    }
    let words = u64::from(key.0) << 32 | u64::from(key.0);
    while let Some(word) = window.get(at + shift..at + shift + 8)
        && let Ok(word) = <[u8; 8]>::try_from(word)
    {
        let word = u64::from_le_bytes(word) ^ words;
        window[at..at + 8].copy_from_slice(&word.to_le_bytes());
        at += 8;
    }
    for (offset, mask) in (at..len).zip(words.to_le_bytes()) {
        window[offset] = window[offset + shift] ^ mask;
    }
    key.advanced(len)
}

/// Keys that nobody can guess, as a client needs one for each frame (RFC 6455, section 10.3). They come
/// from the operating system, many at once.
pub struct MaskKeys {
    random: SystemRandom,
    drawn: [u8; 4 * KEYS],
    left: usize,
}

/// The operating system gives no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRandomness;

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the operating system gives no random bytes")
    }
}

impl std::error::Error for NoRandomness {}

impl MaskKeys {
    /// Keys of the operating system.
    #[must_use]
    pub fn new() -> Self {
        Self { random: SystemRandom::new(), drawn: [0; 4 * KEYS], left: 0 }
    }

    /// The next key.
    ///
    /// # Errors
    /// [`NoRandomness`]: a client must not go on without.
    pub fn draw(&mut self) -> Result<MaskKey, NoRandomness> {
        if self.left == 0 {
            self.random.fill(&mut self.drawn).map_err(|_| NoRandomness)?;
            self.left = KEYS;
        }
        self.left -= 1;
        let mut key = [0; 4];
        key.copy_from_slice(&self.drawn[4 * self.left..][..4]);
        Ok(MaskKey::new(key))
    }
}

impl Default for MaskKeys {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MaskKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the keys.
        f.debug_struct("MaskKeys").field("left", &self.left).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plainly(bytes: &[u8], key: [u8; 4]) -> Vec<u8> {
        bytes.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect()
    }

    #[test]
    fn masking_is_what_the_definition_says_at_any_length_and_in_two_pieces() {
        let key = [0x12, 0x34, 0x56, 0x78];
        for len in 0..200 {
            let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
            for first in [0, 1, 2, 3, 7, 31, 64].into_iter().filter(|first| *first <= bytes.len()) {
                let mut masked = bytes.clone();
                let behind = apply_mask(&mut masked[..first], MaskKey::new(key));
                apply_mask(&mut masked[first..], behind);
                assert_eq!(masked, plainly(&bytes, key), "{len} bytes, {first} first");
            }
        }
    }

    #[test]
    fn moving_while_masking_is_masking() {
        let key = [0xff, 0, 0x0f, 0x55];
        for len in 0..150 {
            for shift in [0, 1, 2, 6, 8, 14, 31, 33, 100] {
                let bytes: Vec<u8> = (0..len).map(|at| (at * 7) as u8).collect();
                let mut window = vec![0xee; shift];
                window.extend_from_slice(&bytes);
                let behind = apply_mask_moving(&mut window, len, MaskKey::new(key));
                assert_eq!(window[..len], plainly(&bytes, key), "{len} bytes by {shift}");
                assert_eq!(behind, MaskKey::new(key).advanced(len));
            }
        }
    }

    #[test]
    fn keys_differ() {
        let mut keys = MaskKeys::new();
        let drawn: Vec<_> = (0..3 * KEYS).map(|_| keys.draw().unwrap().bytes()).collect();
        let mut unique = drawn.clone();
        unique.sort_unstable();
        unique.dedup();
        // Two of 192 are the same once in 230,000 times; ten times as many never.
        assert!(unique.len() + 2 >= drawn.len());
    }
}
