//! Connections that begin, or fail, in what carries them: what is said of that, and what follows.

use super::EventLoop;
use crate::sockets::Ending;
use noctule_broker::{Cause, ConnectionHandle, Now};
use noctule_net::{Pipe, WebSocketFailure};
use std::io;

impl EventLoop {
    /// The first bytes of a connection stand in the scratch buffer. Returns whether to go on with it.
    pub(super) fn first_heard(
        &mut self,
        connection: ConnectionHandle,
        read: usize,
        now: Now,
    ) -> bool {
        let Some(socket) = self.sockets.of(connection) else {
            return false;
        };
        match &socket.pipe {
            Pipe::Plain(_) => {
                self.strangers.begins(socket.peer(), &self.scratch[..read], now.mono_ms);
                true
            }
            Pipe::Tls(_) => true,
            Pipe::WebSocket(_) => {
                let peer = socket.pipe.forwarded(socket.peer());
                let is_counted = socket.visit.is_some() && peer.source() == socket.peer().source();
                socket.set_peer(peer);
                if let Some(taps) = socket.taps() {
                    taps.client = peer.to_string().into();
                }
                is_counted || self.count_announced(connection, now)
            }
        }
    }

    /// Reading a connection failed. One of WebSocket may still be told why, as one that breaks the rules of
    /// MQTT is; of the others nothing is left.
    pub(super) fn fail(&mut self, connection: ConnectionHandle, error: &io::Error, now: Now) {
        let Some(socket) = self.sockets.of(connection) else {
            return;
        };
        self.strangers.fails(socket.peer(), error, now.mono_ms);
        let cause = Cause::Failed(error.to_string().into());
        if WebSocketFailure::of(error).is_some() && socket.ending == Ending::No {
            self.shard.on_broken(connection, cause, now);
        } else {
            self.ended.push_back((connection, cause));
        }
    }
}
