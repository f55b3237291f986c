//! Which connections of a shard have something to write, and the buffers that they write into: a
//! connection has one only as long as it has output.

use crate::connection::{Connection, ConnectionHandle};
use crate::outbox::Outbox;

/// Connections with something to write, and buffers to write into.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    pub(crate) dirty: Vec<ConnectionHandle>,
    buffers: Vec<Vec<u8>>,
    buffers_bytes: usize,
    /// How many of them have not been used since this was looked at last, and when to look again.
    unused: usize,
    look_ms: u64,
}

/// Buffers up to this size are kept for reuse, and so many bytes of them in all.
const BUFFER_KEPT_BYTES: usize = 64 * 1024;
const BUFFERS_KEPT_BYTES: usize = 1 << 20;
/// How often it is looked whether there are more buffers than are used, in milliseconds.
const LOOK_MS: u64 = 1_000;
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
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(handle);
            if connection.outbox.lacks_buffer() {
                connection.outbox.lend(self.buffer());
            }
        }
        &mut connection.outbox
    }

    fn buffer(&mut self) -> Vec<u8> {
        match self.buffers.pop() {
            Some(buffer) => {
                self.buffers_bytes -= buffer.capacity();
                self.unused = self.unused.min(self.buffers.len());
                buffer
            }
            None => Vec::with_capacity(BUFFER_BYTES),
        }
    }

    /// Whether it is time to [`shed`](Self::shed) what a burst has left.
    #[inline]
    pub(crate) fn is_to_shed(&self, now_ms: u64) -> bool {
        now_ms >= self.look_ms
    }

    /// Once a second, half of the buffers that nobody has used meanwhile are let go.
    pub(crate) fn shed(&mut self, now_ms: u64) {
        self.look_ms = now_ms + LOOK_MS;
        // Those on top are the ones that are used.
        for buffer in self.buffers.drain(..self.unused.div_ceil(2)) {
            self.buffers_bytes -= buffer.capacity();
        }
        self.unused = self.buffers.len();
        give_back(&mut self.buffers);
        give_back(&mut self.dirty);
    }

    /// Takes a drained buffer back.
    pub(crate) fn recycle(&mut self, buffer: Vec<u8>) {
        let bytes = buffer.capacity();
        let worth = (1..=BUFFER_KEPT_BYTES).contains(&bytes);
        if worth && self.buffers_bytes + bytes <= BUFFERS_KEPT_BYTES {
            self.buffers_bytes += bytes;
            self.buffers.push(buffer);
        }
    }
}

/// How much room an empty list of a shard keeps, in entries.
const ROOM_KEPT: usize = 256;

/// Gives back the memory of a list that was much longer once.
pub(crate) fn give_back<T>(list: &mut Vec<T>) {
    if list.capacity() > 4 * list.len().max(ROOM_KEPT) {
        list.shrink_to(2 * list.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_of_a_burst_go_and_those_in_use_stay() {
        let mut outputs = Outputs::default();
        let burst: Vec<_> = (0..900).map(|_| outputs.buffer()).collect();
        burst.into_iter().for_each(|buffer| outputs.recycle(buffer));
        outputs.shed(0);
        assert_eq!((outputs.buffers.len(), outputs.buffers_bytes), (900, 900 * BUFFER_BYTES));
        for second in 1..20 {
            let used: Vec<_> = (0..10).map(|_| outputs.buffer()).collect();
            used.into_iter().for_each(|buffer| outputs.recycle(buffer));
            assert!(!outputs.is_to_shed(second * LOOK_MS - 1));
            assert!(outputs.is_to_shed(second * LOOK_MS));
            outputs.shed(second * LOOK_MS);
        }
        assert_eq!((outputs.buffers.len(), outputs.buffers_bytes), (10, 10 * BUFFER_BYTES));
        assert!(outputs.buffers.capacity() <= 4 * ROOM_KEPT);
    }
}
