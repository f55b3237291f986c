//! Bytes on their way to the socket, and who wants to know when they have left.

use std::collections::VecDeque;

use super::Token;

/// Bytes to be written. Empty, it gives large memory back.
#[derive(Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    /// How many of them have been written.
    written: usize,
    /// How many bytes have ever been taken out.
    taken: u64,
    /// Requests that are done when so many bytes have been taken out.
    waiting: VecDeque<(u64, Token)>,
}

/// From here on no messages are added and nothing is read; answers still fit.
const FULL: usize = 256 * 1024;
/// A drained buffer up to this size is kept.
const KEPT: usize = 64 * 1024;

impl Output {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() - self.written >= FULL
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == self.written
    }

    /// Where to append.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// `token` is done when all that is in the buffer now has been written.
    pub(super) fn when_written(&mut self, token: Token) {
        self.waiting.push_back((self.taken + self.bytes().len() as u64, token));
    }

    /// Takes the first `count` bytes out and returns whose requests are done with it.
    pub(super) fn take(&mut self, count: usize) -> Vec<Token> {
        self.written = (self.written + count).min(self.bytes.len());
        self.taken += count as u64;
        if self.is_empty() {
            self.written = 0;
            if self.bytes.capacity() > KEPT {
                self.bytes = Vec::new();
            } else {
                self.bytes.clear();
            }
        } else if self.written >= FULL {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        let mut done = Vec::new();
        while let Some((_, token)) = self.waiting.pop_front_if(|(at, _)| *at <= self.taken) {
            done.push(token);
        }
        done
    }

    /// Empties it for a new connection and returns the bytes and whose requests are not done.
    pub(super) fn reset(&mut self) -> (Vec<u8>, Vec<Token>) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.drain(..self.written);
        let lost = self.waiting.drain(..).map(|(_, token)| token).collect();
        *self = Self::default();
        (bytes, lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_done_when_its_last_byte_has_left() {
        let mut output = Output::default();
        output.buffer().extend_from_slice(&[1, 2, 3]);
        output.when_written(Token(1));
        output.buffer().extend_from_slice(&[4, 5]);
        output.when_written(Token(2));
        assert!(output.take(2).is_empty());
        assert_eq!(output.take(2), [Token(1)]);
        assert_eq!(output.bytes(), [5]);
        assert_eq!(output.take(1), [Token(2)]);
        output.buffer().push(6);
        output.when_written(Token(3));
        assert_eq!(output.reset(), (vec![6], vec![Token(3)]));
        assert!(output.is_empty());
    }
}
