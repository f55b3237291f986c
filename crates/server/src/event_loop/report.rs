//! What the shard reports, said in the log.

use super::EventLoop;
use crate::door::transport;
use noctule_broker::{ConnectionHandle, Report};
use tracing::{debug, warn};

impl EventLoop {
    pub(super) fn report(&mut self, report: &Report) {
        match report {
            Report::Connected { connection, client_id, version, session_present, keep_alive } => {
                let peer = self.peer_of(*connection);
                let transport = self.sockets.of(*connection).map(|socket| transport(&socket.pipe));
                debug!(
                    peer,
                    transport,
                    client_id = client_id.escape_debug().to_string(),
                    %version,
                    session_present,
                    keep_alive,
                    "connected"
                );
            }
            Report::Disconnected { connection, client_id, cause } => {
                let peer = self.peer_of(*connection);
                debug!(
                    peer,
                    client_id = client_id.as_deref().unwrap_or("").escape_debug().to_string(),
                    %cause,
                    "disconnected"
                );
            }
            Report::Losing { client_id, lost } => warn!(
                client_id = client_id.escape_debug().to_string(),
                qos_0 = lost.at_most_once,
                qos_1_and_2 = lost.queued,
                "messages are lost for this client, which does not take them fast enough: QoS 0 \
                 over limits.unsent_bytes_max, QoS 1 and 2 because its queue is full or memory is \
                 short; said again every minute"
            ),
        }
    }

    /// The address of a connection's peer; empty if it is not known any more.
    fn peer_of(&mut self, connection: ConnectionHandle) -> String {
        let here = self.sockets.of(connection).map(|socket| socket.peer);
        let peer = here.or_else(|| {
            self.gone.iter().find(|(gone, _)| *gone == connection).map(|(_, peer)| *peer)
        });
        peer.map_or_else(String::new, |peer| peer.to_string())
    }
}
