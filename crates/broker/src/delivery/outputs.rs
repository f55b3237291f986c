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
}

/// Buffers up to this size are kept for reuse, and so many bytes of them in all.
const BUFFER_KEPT_BYTES: usize = 64 * 1024;
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
                buffer
            }
            None => Vec::with_capacity(BUFFER_BYTES),
        }
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
