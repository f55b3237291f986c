//! What the shard reports, said in the log.

use super::EventLoop;
use crate::door::transport;
use crate::raw_log::hex_of_broken;
use noctule_broker::{Cause, ConnectionHandle, Now, Offence, Quota, Refusals, Report};
use noctule_mqtt::ProtocolVersion;
use noctule_net::{Peer, looks_like_client_hello};
use tracing::{debug, info, warn};

/// So many bytes of a packet that breaks the rules are shown.
const DUMPED_BYTES_MAX: usize = 64;

impl EventLoop {
    pub(super) fn report(&mut self, report: Report, now: Now) {
        match report {
            Report::Connected { connection, client_id, version, session_present, keep_alive } => {
                if let Some(socket) = self.sockets.of(connection) {
                    socket.pipe.acquaint();
                    if let Some(taps) = socket.taps() {
                        taps.client.clone_from(&client_id);
                    }
                }
                debug!(
                    peer = self.peer_of(connection),
                    transport = self.transport_of(connection),
                    listener = self.listener_of(connection),
                    client_id = escaped(&client_id),
                    %version,
                    session_present,
                    keep_alive,
                    "connected"
                );
            }
            Report::Published(published) => self.observers.published(published),
            Report::Offended(offence) => self.say_offence(&offence, now),
            Report::Disconnected { connection, client_id, version, cause } => {
                if matches!(cause, Cause::Disconnected | Cause::DisconnectedWithWill)
                    && let Some(socket) = self.sockets.of(connection)
                {
                    socket.left = true;
                }
                self.say_disconnected(connection, client_id.as_deref(), version, &cause);
            }
            Report::Denied(refusals) => say_refusals(&refusals),
            Report::Duel { client_id, holder, challenger, takeovers } => {
                self.say_duel(&client_id, holder, challenger, takeovers, now);
            }
            Report::OverQuota { connection, client_id, quota, unsaid } => {
                let peer = self.peer_of(connection);
                if let Some(more) = self.strangers.quota_passes(now.mono_ms) {
                    let (client_id, unsaid) = (escaped(&client_id), unsaid + more);
                    match quota {
                        Quota::Rate => warn!(
                            peer,
                            client_id,
                            unsaid,
                            "this client sends faster than message_rate_max or byte_rate_max, and is \
                             read more slowly"
                        ),
                        Quota::Retained => warn!(
                            peer,
                            client_id,
                            unsaid,
                            "a message of this client was not retained: \
                             limits.retained_messages_max or retained_bytes_max is reached"
                        ),
                    }
                }
            }
            Report::Losing { client_id, lost } => warn!(
                client_id = escaped(&client_id),
                qos_0 = lost.at_most_once,
                qos_1_and_2 = lost.queued,
                "messages are lost for this client, which does not take them fast enough: QoS 0 \
                 over limits.unsent_bytes_max, QoS 1 and 2 because its queue is full or memory is \
                 short; said again every minute"
            ),
        }
    }

    fn say_duel(
        &mut self,
        client_id: &str,
        holder: ConnectionHandle,
        challenger: ConnectionHandle,
        takeovers: u32,
        now: Now,
    ) {
        let (holder, challenger) = (self.peer_of(holder), self.peer_of(challenger));
        if let Some(unsaid) = self.strangers.duel_passes(now.mono_ms) {
            warn!(
                client_id = escaped(client_id),
                holder,
                challenger,
                takeovers,
                unsaid,
                "these two take the same client identifier from each other; whoever comes has to wait \
                 now: give each device one of its own"
            );
        }
    }

    fn say_disconnected(
        &mut self,
        connection: ConnectionHandle,
        client_id: Option<&str>,
        version: Option<ProtocolVersion>,
        cause: &Cause,
    ) {
        debug!(
            peer = self.peer_of(connection),
            transport = self.transport_of(connection),
            client_id = client_id.map(escaped),
            version = version.map(tracing::field::display),
            %cause,
            "disconnected"
        );
    }

    /// A client broke the rules. Of one address the first is said, and the others once a minute.
    fn say_offence(&mut self, offence: &Offence, now: Now) {
        let Offence { connection, client_id, violation, at, packet, packet_bytes } = offence;
        let peer = self.address_of(*connection);
        let text = peer.map_or_else(String::new, |peer| peer.to_string());
        let is_first =
            peer.is_none_or(|peer| self.observers.complaints.note(peer.source(), now.mono_ms));
        // Who speaks TLS to a plain port was told apart from its first bytes, and said.
        let is_stranger = client_id.is_none() && looks_like_client_hello(packet);
        if is_first && !is_stranger {
            info!(
                peer = text,
                client_id = client_id.as_deref().map(escaped),
                reason = %violation,
                at_byte = at.map(|at| at as u64),
                packet_bytes = *packet_bytes as u64,
                "closed: this client breaks the rules of MQTT; said once a minute for an address"
            );
        }
        debug!(
            peer = text,
            reason = %violation,
            at_byte = at.map(|at| at as u64),
            bytes = hex_of_broken(packet, DUMPED_BYTES_MAX),
            "the packet that breaks the rules"
        );
    }

    /// The address of a connection's peer, if it is still known.
    fn address_of(&mut self, connection: ConnectionHandle) -> Option<Peer> {
        let here = self.sockets.of(connection).map(|socket| socket.peer());
        here.or_else(|| {
            self.gone.iter().find(|(gone, _)| *gone == connection).map(|(_, peer)| *peer)
        })
    }

    /// The same as text; empty if it is not known any more.
    fn peer_of(&mut self, connection: ConnectionHandle) -> String {
        self.address_of(connection).map_or_else(String::new, |peer| peer.to_string())
    }

    /// Which listener a connection has come by, if somebody has written it.
    fn listener_of(&self, connection: ConnectionHandle) -> Option<String> {
        let entrance = self.shard.entrance_of(connection)?;
        let mut doors = self.listeners.iter().map(|listening| &listening.listener);
        doors.find(|door| door.entrance() == entrance)?.name()
    }

    /// What carries a connection: plain, or TLS with its version and cipher.
    fn transport_of(&mut self, connection: ConnectionHandle) -> Option<String> {
        self.sockets.of(connection).map(|socket| transport(&socket.pipe))
    }
}

/// A client wanted what it has no right to. Said at once, and then once a minute.
fn say_refusals(refusals: &Refusals) {
    let Refusals { client_id, user_name, wish, why, times, shadow } = refusals;
    let (client_id, user_name) = (escaped(client_id), user_name.as_deref().map(escaped));
    let (wish, why) = (escaped(wish), escaped(why));
    if *shadow {
        info!(client_id, user_name, wish, why, times, "would be denied, were acl_shadow off");
    } else {
        info!(client_id, user_name, wish, why, times, "denied; said once a minute for a client");
    }
}

fn escaped(text: &str) -> String {
    text.escape_debug().to_string()
}
