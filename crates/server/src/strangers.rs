//! Lines about those who come to the wrong door or fail at it: what they did, what to do about it,
//! and not as often as it happens.

use crate::arrivals::TurnedAway;
use noctule_net::{
    FirstBytes, Peer, ProxyFailure, Refusal, TlsFailure, WebSocketFailure, looks_like_client_hello,
};
use std::io;
use tracing::warn;

/// Milliseconds between two lines.
const REST_MS: u64 = 1_000;

/// Type and flags of CONNECT, the first byte of every MQTT client.
const CONNECT: u8 = 0x10;

/// Says what strangers do: of each kind one line a second, the others are counted.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    tls_on_plain: Sluice,
    plain_on_tls: Sluice,
    failed: Sluice,
    web_on_mqtt: Sluice,
    not_upgraded: Sluice,
    frames: Sluice,
    uninvited: Sluice,
    not_announced: Sluice,
    turned_away: Sluice,
    duels: Sluice,
    quotas: Sluice,
}

impl Strangers {
    /// A plain connection begins with these bytes.
    pub(crate) fn begins(&mut self, peer: Peer, bytes: &[u8], now_ms: u64) {
        if looks_like_client_hello(bytes) {
            let what = "TLS on the plain port: the client has to use the TLS port";
            self.tls_on_plain.say(peer, what, now_ms);
        } else if bytes.starts_with(b"GET ") {
            let what = "HTTP on the port for MQTT: WebSocket has a port of its own (`ws_port`)";
            self.web_on_mqtt.say(peer, what, now_ms);
        }
    }

    /// A connection failed with this error, which may be one of TLS.
    pub(crate) fn fails(&mut self, peer: Peer, error: &io::Error, now_ms: u64) {
        let failure = error.get_ref().and_then(|error| error.downcast_ref::<TlsFailure>());
        match failure {
            Some(TlsFailure::NotTls(first)) => {
                self.plain_on_tls.say(peer, &not_tls(first), now_ms);
            }
            Some(failure) => self.failed.say(peer, &failure.to_string(), now_ms),
            None => {}
        }
        match WebSocketFailure::of(error) {
            Some(failure @ (WebSocketFailure::NotHttp(_) | WebSocketFailure::Refused(_))) => {
                self.not_upgraded.say(peer, &not_upgraded(failure), now_ms);
            }
            Some(failure) => self.frames.say(peer, &failure.to_string(), now_ms),
            None => {}
        }
        let failure = error.get_ref().and_then(|error| error.downcast_ref::<ProxyFailure>());
        if let Some(failure) = failure {
            self.not_announced.say(peer, &failure.to_string(), now_ms);
        }
    }

    /// A connection was turned away when it came.
    pub(crate) fn turned_away(&mut self, peer: Peer, why: TurnedAway, now_ms: u64) {
        let what = match why {
            TurnedAway::TooOften => {
                "turned away: this address connects too often (limits.connect_rate_per_address_max)"
            }
            TurnedAway::AddressFull => {
                "turned away: this address has as many connections as it may \
                 (limits.connections_per_address_max)"
            }
            TurnedAway::ListenerFull => {
                "turned away: the listener has as many connections as it may (`connections_max` in \
                 its [[listener]])"
            }
        };
        self.turned_away.say(peer, what, now_ms);
    }

    /// Whether it may be said now that clients fight for a client identifier; if so, of how many it was
    /// not said.
    pub(crate) fn duel_passes(&mut self, now_ms: u64) -> Option<u64> {
        self.duels.pass(now_ms)
    }

    /// The same, of clients that meet a quota.
    pub(crate) fn quota_passes(&mut self, now_ms: u64) -> Option<u64> {
        self.quotas.pass(now_ms)
    }

    /// Somebody who is no proxy comes where only proxies may.
    pub(crate) fn is_no_proxy(&mut self, peer: Peer, now_ms: u64) {
        let what =
            "closed at once: it is none of the listener's proxies, and `proxies_only` is set";
        self.uninvited.say(peer, what, now_ms);
    }
}

/// Lets one line pass per second.
#[derive(Debug, Default)]
struct Sluice {
    next_at_ms: u64,
    unsaid: u64,
}

impl Sluice {
    fn say(&mut self, peer: Peer, what: &str, now_ms: u64) {
        match self.pass(now_ms) {
            Some(0) => warn!(%peer, "{what}"),
            Some(unsaid) => warn!(%peer, unsaid, "{what}"),
            None => {}
        }
    }

    /// Whether something may be said now; if so, how many were not said since the last one.
    fn pass(&mut self, now_ms: u64) -> Option<u64> {
        if now_ms < self.next_at_ms {
            self.unsaid += 1;
            return None;
        }
        self.next_at_ms = now_ms + REST_MS;
        Some(std::mem::take(&mut self.unsaid))
    }
}

fn not_tls(first: &FirstBytes) -> String {
    if first.as_slice().first() == Some(&CONNECT) {
        return "plain MQTT on the TLS port: the client has to use TLS (mosquitto: --cafile), or the \
                plain port"
            .to_owned();
    }
    TlsFailure::NotTls(*first).to_string()
}

fn not_upgraded(failure: &WebSocketFailure) -> String {
    match failure {
        WebSocketFailure::NotHttp(first) if looks_like_client_hello(first.as_slice()) => {
            "TLS on the port for WebSocket without it: the client has to use ws://, or the port for \
             wss:// (`wss_port`)"
                .to_owned()
        }
        WebSocketFailure::NotHttp(first) if first.as_slice().first() == Some(&CONNECT) => {
            "MQTT without WebSocket on the port for WebSocket: the client has to use ws://, or the \
             port for MQTT"
                .to_owned()
        }
        WebSocketFailure::Refused(Refusal::Origin) => format!("{failure}; see `ws_origins`"),
        failure => failure.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_passes_and_the_others_are_counted() {
        let mut sluice = Sluice::default();
        assert_eq!(sluice.pass(5), Some(0));
        assert_eq!((sluice.pass(6), sluice.pass(1_004)), (None, None));
        assert_eq!(sluice.pass(1_005), Some(2));
        assert_eq!(sluice.pass(9_000), Some(0));
    }
}
