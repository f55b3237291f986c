//! What a proxy says in front of a connection: whose it is.
//!
//! Until it has said so as a whole, nothing else is read from the connection, be it TLS or MQTT. The time
//! for it is part of that for CONNECT.

use super::EventLoop;
use noctule_broker::{Cause, ConnectionHandle, Now};
use noctule_net::{AnnouncedTls, Client, Peer};
use std::io;
use tracing::debug;

impl EventLoop {
    /// Reads what a proxy says of its client. Returns whether to go on reading.
    pub(super) fn read_announcement(&mut self, connection: ConnectionHandle, now: Now) -> bool {
        let Some(socket) = self.sockets.of(connection) else {
            return false;
        };
        let announcement = match socket.pipe.read_announcement(&mut self.scratch) {
            Ok(announcement) => announcement,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                socket.readable = false;
                if socket.read_closed {
                    // No more of it will come.
                    self.ended.push_back((connection, Cause::PeerClosed));
                }
                return false;
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.ended.push_back((connection, Cause::PeerClosed));
                return false;
            }
            Err(error) => {
                self.strangers.fails(socket.peer(), &error, now.mono_ms);
                let cause = Cause::Failed(error.to_string().into());
                self.ended.push_back((connection, cause));
                return false;
            }
        };
        let proxy = socket.peer();
        let peer = match announcement.client {
            Client::Proxy => proxy,
            Client::Unknown => Peer::Behind(proxy.source()),
            Client::Address(address) => Peer::Address(address),
        };
        socket.set_peer(peer);
        if let Some(taps) = socket.taps() {
            taps.client = peer.to_string().into();
        }
        let tls = announcement.tls.as_deref().map(described);
        debug!(%peer, %proxy, tls, "announced by a proxy");
        let certificate = announcement.tls.and_then(|tls| tls.certificate);
        socket.set_announced(certificate.map(Box::new));
        self.count_announced(connection, now)
    }
}

fn described(tls: &AnnouncedTls) -> String {
    let words = [tls.version.as_deref().unwrap_or("TLS"), tls.cipher.as_deref().unwrap_or("")];
    let named = tls.certificate.as_ref().map(|certificate| {
        let name = certificate.common_name.as_deref().unwrap_or_default();
        format!(", client {name}")
    });
    let text = format!("{}{}", words.join(" ").trim_end(), named.unwrap_or_default());
    text.escape_debug().to_string()
}
