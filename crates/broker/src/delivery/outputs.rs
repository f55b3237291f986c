//! Which connections of a shard have something to write, and the buffers that they write into: a
//! connection has one only as long as it has output.

use crate::connection::{Connection, ConnectionHandle, Output};
use crate::outbox::Outbox;

/// Connections with something to write, and buffers to write into.
///
/// A buffer that is freed and allocated again costs the page faults of its memory, which is more than
/// what is written into it; so as many are kept as were needed at once lately, and
/// [given back](Self::give_back) when they are not needed any more.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    pub(crate) dirty: Vec<ConnectionHandle>,
    /// Those of them with so much to write that more of it would save nothing.
    pub(crate) full: Vec<ConnectionHandle>,
    buffers: Vec<Vec<u8>>,
    buffers_bytes: usize,
    /// The least that `buffers_bytes` was since buffers were given back last: nobody needed these.
    spare_bytes: usize,
}

/// With so much to write a connection is full: one write of it costs next to nothing for each byte.
/// What is written then comes from the processor's cache and makes room for the next in the same
/// buffer.
const FULL_BYTES: usize = 32 * 1024;
/// The largest buffer that is kept for reuse: what is full, and what one read may add to that.
const BUFFER_KEPT_BYTES: usize = 128 * 1024;
/// So many bytes are kept at most, and so many of them whether needed or not.
const BUFFERS_BYTES_MAX: usize = 32 << 20;
const BUFFERS_KEPT_BYTES: usize = 1 << 20;
/// The size of a new buffer.
const BUFFER_BYTES: usize = 1_024;

impl Outputs {
    /// The outbox of a connection that something is about to be put into.
    #[inline(always)]
    pub(crate) fn open<'c>(
        &mut self,
        handle: ConnectionHandle,
        connection: &'c mut Connection,
    ) -> &'c mut Outbox {
        if connection.output == Output::Clean {
            connection.output = Output::Dirty;
            self.dirty.push(handle);
            if connection.outbox.lacks_buffer() {
                connection.outbox.lend(self.buffer());
            }
        } else if connection.outbox.len() >= FULL_BYTES {
            self.note_full(handle, connection);
        }
        &mut connection.outbox
    }

    /// Once, however much more comes: there may be a message for thousands of full ones, and another.
    #[cold]
    fn note_full(&mut self, handle: ConnectionHandle, connection: &mut Connection) {
        if connection.output != Output::Full {
            connection.output = Output::Full;
            self.full.push(handle);
        }
    }

    fn buffer(&mut self) -> Vec<u8> {
        match self.buffers.pop() {
            Some(buffer) => {
                self.buffers_bytes -= buffer.capacity();
                self.spare_bytes = self.spare_bytes.min(self.buffers_bytes);
                buffer
            }
            None => Vec::with_capacity(BUFFER_BYTES),
        }
    }

    /// Takes a drained buffer back.
    pub(crate) fn recycle(&mut self, buffer: Vec<u8>) {
        let bytes = buffer.capacity();
        let worth = (1..=BUFFER_KEPT_BYTES).contains(&bytes);
        if worth && self.buffers_bytes + bytes <= BUFFERS_BYTES_MAX {
            self.buffers_bytes += bytes;
            self.buffers.push(buffer);
        }
    }

    /// How many bytes the buffers take that nobody is using.
    pub(crate) fn spare_bytes(&self) -> usize {
        self.buffers_bytes
    }

    /// Frees buffers that nobody has needed since the last time. Returns whether there are some that may
    /// turn out to be not needed either.
    pub(crate) fn give_back(&mut self) -> bool {
        let spare = self.spare_bytes.min(self.buffers_bytes.saturating_sub(BUFFERS_KEPT_BYTES));
        let mut freed = 0;
        // The ones at the front have been used the longest ago.
        let count = self.buffers.iter().take_while(|buffer| {
            freed += buffer.capacity();
            freed <= spare
        });
        let count = count.count();
        for buffer in self.buffers.drain(..count) {
            self.buffers_bytes -= buffer.capacity();
        }
        self.spare_bytes = self.buffers_bytes;
        self.buffers_bytes > BUFFERS_KEPT_BYTES + BUFFER_KEPT_BYTES
    }

    /// Frees all buffers that nobody is using.
    pub(crate) fn give_all_back(&mut self) {
        self.buffers = Vec::new();
        (self.buffers_bytes, self.spare_bytes) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_that_were_needed_at_once_are_kept_until_they_are_not() {
        let mut outputs = Outputs::default();
        for _ in 0..2 {
            let buffers: Vec<_> = (0..100).map(|_| outputs.buffer()).collect();
            for mut buffer in buffers {
                buffer.reserve_exact(BUFFER_KEPT_BYTES);
                outputs.recycle(buffer);
            }
        }
        let all = 100 * BUFFER_KEPT_BYTES;
        assert_eq!(outputs.buffers_bytes, all);
        assert!(outputs.give_back(), "all were needed since");
        assert_eq!(outputs.buffers_bytes, all);
        // Ten are needed from now on.
        let used: Vec<_> = (0..10).map(|_| outputs.buffer()).collect();
        used.into_iter().for_each(|buffer| outputs.recycle(buffer));
        assert!(outputs.give_back());
        assert_eq!(outputs.buffers_bytes, 10 * BUFFER_KEPT_BYTES);
        assert!(!outputs.give_back());
        assert_eq!(outputs.buffers_bytes, BUFFERS_KEPT_BYTES, "so much is always kept");
        outputs.give_all_back();
        assert_eq!((outputs.buffers.len(), outputs.buffers_bytes), (0, 0));
    }
}
