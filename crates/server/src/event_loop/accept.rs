//! New connections: taken from listeners, and their sockets taken in.

use super::{EventLoop, Taps};
use crate::arrivals::{TurnedAway, Visit};
use crate::door::{Door, Welcome};
use crate::gate::Origin;
use crate::sockets::{Announced, Socket};
use mio::{Interest, Token};
use noctule_broker::{Cause, ConnectionHandle, Credentials, Now, Transport};
use noctule_mqtt::ReasonCode;
use noctule_net::{Peer, Pipe};
use std::io;
use tracing::{debug, warn};

/// Connections accepted from one listener in one turn.
const ACCEPTS_PER_TURN: usize = 64;
/// How long accepting rests when there are no files left.
const ACCEPT_REST_MS: u64 = 100;
/// How long it is not said again that accepting fails.
const COMPLAINT_REST_MS: u64 = 60_000;
/// Connections over the limit that are still given an answer; beyond, they are just closed.
const ANSWERED_OVER_LIMIT: usize = 64;

/// A listener and when to ask it.
pub(super) struct Listening {
    pub(super) listener: Door,
    /// There may be connections to accept, from this moment on.
    pub(super) ready_at_ms: Option<u64>,
    /// When it may be said again that accepting fails.
    pub(super) complain_at_ms: u64,
    /// When it may be said again that connections come too fast.
    pub(super) rest_said_at_ms: u64,
}

impl EventLoop {
    /// Takes the connections that wait at a listener, or as many as there may be in a turn.
    pub(super) fn accept(&mut self, index: usize, now: Now) {
        let due = |at: u64| at <= now.mono_ms;
        if !self.listeners[index].ready_at_ms.is_some_and(due) || self.stop_by_ms.is_some() {
            return;
        }
        for _ in 0..ACCEPTS_PER_TURN {
            if let Some(rest_ms) = self.gate.arrivals().rest_ms(now.mono_ms) {
                return self.rest(index, rest_ms, now);
            }
            let listening = &mut self.listeners[index];
            let (pipe, peer) = match listening.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listening.ready_at_ms = None;
                    return;
                }
                // The client has gone in between, or a signal came.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                    ) =>
                {
                    continue;
                }
                Err(error) => {
                    let address = listening.listener.place();
                    if listening.complain_at_ms <= now.mono_ms {
                        listening.complain_at_ms = now.mono_ms + COMPLAINT_REST_MS;
                        warn!(%address, %error, "cannot accept connections; trying again");
                    }
                    listening.ready_at_ms = Some(now.mono_ms + ACCEPT_REST_MS);
                    return;
                }
            };
            if self.sockets.len() >= self.connections_max.saturating_add(ANSWERED_OVER_LIMIT) {
                debug!(%peer, "closed at once: too many connections");
                self.shard.note_unheard(ReasonCode::QuotaExceeded);
                continue;
            }
            let announced = match listening.listener.welcome(&peer) {
                Welcome::Client => Announced::No,
                Welcome::Proxy => Announced::Awaited,
                Welcome::Nobody => {
                    self.strangers.is_no_proxy(peer, now.mono_ms);
                    continue;
                }
            };
            // Of a proxy's connection it is not known yet whose it is.
            let is_of_proxy = matches!(announced, Announced::Awaited) || pipe.is_of_proxy(&peer);
            let (visit, verdict) = if is_of_proxy {
                (None, Ok(()))
            } else {
                let entrance = listening.listener.entrance();
                let arrivals = self.gate.arrivals();
                let (visit, verdict) = arrivals.come(peer.source(), entrance, now.mono_ms);
                (Some(visit), verdict)
            };
            if let Err(why) = verdict {
                self.turn_away(index, (pipe, peer), visit, why, now);
                continue;
            }
            let transport = if pipe.is_encrypted() { Transport::Tls } else { Transport::Plain };
            self.observers.web_opened += u64::from(pipe.is_websocket());
            let entrance = listening.listener.entrance();
            let connection = self.shard.open_at(entrance, transport, now);
            self.adopt(connection, pipe, (peer, announced), visit, now);
        }
        // There may be more; the next turn comes at once.
        self.listeners[index].ready_at_ms = Some(now.mono_ms);
    }

    /// Connections come faster than they may: the next ones wait outside.
    fn rest(&mut self, index: usize, rest_ms: u64, now: Now) {
        let listening = &mut self.listeners[index];
        listening.ready_at_ms = Some(now.mono_ms + rest_ms);
        self.shard.note_arrivals_wait();
        if listening.rest_said_at_ms <= now.mono_ms {
            listening.rest_said_at_ms = now.mono_ms + COMPLAINT_REST_MS;
            let address = listening.listener.place();
            warn!(
                %address,
                "connections come faster than limits.connect_rate_max, and wait; said once a minute"
            );
        }
    }

    /// Somebody has come who may not come in. It is told why, unless that would cost a handshake, or
    /// there are many to be told.
    fn turn_away(
        &mut self,
        index: usize,
        (pipe, peer): (Pipe, Peer),
        visit: Option<Visit>,
        why: TurnedAway,
        now: Now,
    ) {
        let reason = why.reason();
        self.strangers.turned_away(peer, why, now.mono_ms);
        if !matches!(pipe, Pipe::Plain(_)) || self.turned_away >= ANSWERED_OVER_LIMIT {
            return self.shard.note_unheard(reason);
        }
        let entrance = self.listeners[index].listener.entrance();
        let connection = self.shard.open_at(entrance, Transport::Plain, now);
        self.adopt(connection, pipe, (peer, Announced::No), visit, now);
        self.have_told(connection, reason);
    }

    /// A connection is kept to be told why it may not come in, and for nothing else.
    fn have_told(&mut self, connection: ConnectionHandle, reason: ReasonCode) {
        self.shard.turn_away(connection, reason);
        if let Some(socket) = self.sockets.of(connection) {
            socket.turned_away = true;
            self.turned_away += 1;
        }
    }

    /// A proxy has said whose a connection is: it counts with that address from now on. Returns whether
    /// to go on with it.
    pub(super) fn count_announced(&mut self, connection: ConnectionHandle, now: Now) -> bool {
        let entrance = self.shard.entrance_of(connection).unwrap_or_default();
        let Some(socket) = self.sockets.of(connection) else {
            return false;
        };
        // It may have counted as somebody else's, of whom a proxy in front of this one has told.
        socket.visit = None;
        let arrivals = self.gate.arrivals();
        let (visit, verdict) = arrivals.come(socket.peer().source(), entrance, now.mono_ms);
        socket.visit = Some(visit);
        let Err(why) = verdict else {
            return true;
        };
        let reason = why.reason();
        self.strangers.turned_away(socket.peer(), why, now.mono_ms);
        // What a handshake costs it has cost already, if something was heard.
        let is_cheap = socket.heard || matches!(socket.pipe, Pipe::Plain(_));
        if is_cheap && self.turned_away < ANSWERED_OVER_LIMIT {
            self.have_told(connection, reason);
            return true;
        }
        self.shard.note_unheard(reason);
        self.ended.push_back((connection, Cause::Refused(reason)));
        false
    }

    /// Has the gate decide upon a client.
    pub(super) fn authenticate(
        &mut self,
        connection: ConnectionHandle,
        credentials: Credentials,
        now: Now,
    ) {
        let entrance = self.shard.entrance_of(connection).unwrap_or_default();
        // If the socket is gone, so will be the connection.
        let Some(socket) = self.sockets.of(connection) else {
            return;
        };
        let certificate = socket.pipe.tls_facts().and_then(|facts| facts.client_certificate);
        let asker = (self.number, connection);
        let event = socket.proceed(|socket, begun| {
            let origin = Origin {
                entrance,
                certificate: certificate.as_deref(),
                announced: socket.certificate(),
                peer: socket.peer(),
            };
            self.gate.ask(credentials, origin, begun, asker)
        });
        if let Some(event) = event {
            self.shard.handle(event, now);
        }
    }

    /// Takes a connection's socket in.
    pub(super) fn adopt(
        &mut self,
        connection: ConnectionHandle,
        mut pipe: Pipe,
        (peer, announced): (Peer, Announced),
        visit: Option<Visit>,
        now: Now,
    ) {
        let token = Token(connection.slot());
        let both = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut pipe, token, both) {
            warn!(%peer, %error, "cannot wait for events of a connection");
            self.observers.web_closed += u64::from(pipe.is_websocket());
            return self.shard.on_closed(connection, Cause::Failed(error.to_string().into()), now);
        }
        let mut socket = Socket::new(pipe, connection, peer, announced, visit);
        if self.observers.raw {
            socket.set_taps(Some(Box::new(Taps::new(peer.to_string().into()))));
        }
        self.sockets.insert(socket);
    }
}
