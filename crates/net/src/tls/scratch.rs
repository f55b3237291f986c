//! Room to read and to encrypt in, one for each thread: what a connection needs only while somebody works on it.

use std::cell::RefCell;

/// The longest that rustls keeps of handshake messages that come in pieces, or of a record that does.
pub(super) const KEPT_MAX: usize = 0xffff;

/// How much is read from a socket at once, at most.
pub(super) const READ_MAX: usize = 64 * 1024;

/// How much plaintext is encrypted before it is written to a socket.
pub(super) const SEALED_AT_ONCE: usize = 64 * 1024;

/// What records add to so much plaintext, and a message between them about new keys.
const OVERHEAD: usize = 1024;

/// What is in it belongs to the call that took it, and is of no use afterwards.
pub(super) struct Scratch {
    /// Encrypted bytes that came, behind those that were kept; decrypted where they lie.
    pub(super) input: Vec<u8>,
    pub(super) output: Sealed,
}

impl Scratch {
    /// Lends this thread's scratch. It cannot be lent twice at once: `work` must not come back here.
    pub(super) fn with<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        thread_local! {
            static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
                input: vec![0; KEPT_MAX + READ_MAX],
                output: Sealed { bytes: vec![0; SEALED_AT_ONCE + OVERHEAD], used: 0 },
            });
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.output.used = 0;
            work(scratch)
        })
    }
}

/// Records that are ready to leave.
pub(super) struct Sealed {
    bytes: Vec<u8>,
    used: usize,
}

impl Sealed {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.used]
    }

    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    /// Puts behind what is here what `write` writes into the room that it is given, and says how much that was.
    /// If `write` says that it needs more room, it gets it, once.
    pub(super) fn put<E>(
        &mut self,
        mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
        room_wanted: impl FnOnce(&E) -> Option<usize>,
    ) -> Result<(), E> {
        let written = match write(&mut self.bytes[self.used..]) {
            Ok(written) => written,
            Err(error) => {
                let Some(room) = room_wanted(&error) else {
                    return Err(error);
                };
                self.bytes.resize(self.used + room, 0);
                write(&mut self.bytes[self.used..])?
            }
        };
        self.used += written;
        Ok(())
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes.truncate(self.used);
        self.bytes.extend_from_slice(bytes);
        self.used = self.bytes.len();
        self.bytes.resize(self.bytes.capacity(), 0);
    }
}

/// Bytes that wait for somebody to take them, from the front. Takes no memory while it is empty.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    taken: usize,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The first `count` bytes have been taken.
    pub(super) fn advance(&mut self, count: usize) {
        self.taken += count;
        if self.taken >= self.bytes.len() {
            *self = Self::default();
        }
    }

    /// Moves as much into `buffer` as fits.
    pub(super) fn move_into(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.as_slice()[..count]);
        self.advance(count);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_that_is_empty_owns_nothing() {
        let mut backlog = Backlog::default();
        backlog.push(b"");
        assert!(backlog.is_empty() && backlog.bytes.capacity() == 0);
        backlog.push(b"one ");
        backlog.push(b"and another");
        backlog.advance(4);
        let mut buffer = [0; 7];
        assert_eq!((backlog.move_into(&mut buffer), &buffer), (7, b"and ano"));
        assert_eq!((backlog.len(), backlog.as_slice()), (4, &b"ther"[..]));
        assert_eq!((backlog.move_into(&mut buffer), &buffer[..4]), (4, &b"ther"[..]));
        assert!(backlog.is_empty() && backlog.len() == 0);
        assert_eq!(backlog.bytes.capacity(), 0);
    }

    #[test]
    fn who_needs_more_room_gets_it_once() {
        let mut sealed = Sealed { bytes: vec![0; 4], used: 0 };
        let mut write = |text: &'static [u8]| {
            let write = |room: &mut [u8]| match room.get_mut(..text.len()) {
                Some(room) => {
                    room.copy_from_slice(text);
                    Ok(text.len())
                }
                None => Err(text.len()),
            };
            sealed.put(write, |wanted| Some(*wanted).filter(|wanted| *wanted < 10))
        };
        assert_eq!(write(b"abc"), Ok(()));
        assert_eq!(write(b"defgh"), Ok(()));
        assert_eq!(write(b"too much of it"), Err(14));
        assert_eq!(write(b"i"), Ok(()));
        sealed.append(b"jk");
        assert_eq!(sealed.as_slice(), b"abcdefghijk");
        sealed.clear();
        assert_eq!(sealed.as_slice(), b"");
    }
}
