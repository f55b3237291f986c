//! The greeting: `HELLO` on `$SYS/broker/connection/{client_id}`.
//!
//! Some clients wait for it after CONNACK before they do anything; others must not be disturbed by
//! a message they did not subscribe to. So who gets it unasked is decided by what a client does
//! and not by what it is. It goes straight to this one client, at QoS 0 and not retained: it is
//! never routed, stored or logged as a message.
//!
//! The invariant: at most once per connection, and never before CONNACK.

use super::{Shard, Timer};
use crate::connection::ConnectionHandle;
use crate::delivery::Delivery;
use crate::session::SessionHandle;
use noctule_mqtt::codec::variable_byte_integer_len;
use noctule_mqtt::packet::Publish;
use noctule_mqtt::{Packet, Properties, QoS, TopicName};
use noctule_session::Now;

/// Who is greeted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hello {
    /// Who subscribes to exactly its topic, right after SUBACK; and a client of MQTT 3.1 or 3.1.1
    /// that has been silent for one second after CONNACK and whose session has no subscription.
    Waiting,
    /// Everybody, right after CONNACK.
    Always,
    /// Nobody.
    #[default]
    Never,
}

/// Whether a connection is greeted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Greeting {
    /// It has been, or it never is.
    #[default]
    None,
    /// If it asks.
    OnRequest,
    /// If it asks, or is silent: it was last heard of at this millisecond, of which the lower half
    /// is enough to tell.
    IfSilent(u32),
}

/// For how long a client has to be silent to be taken for one that waits, in milliseconds.
const SILENCE_MS: u64 = 1_000;
/// How many of those who have been silent are greeted in a turn.
const GREETED_PER_TURN: usize = 64;
const PAYLOAD: &[u8] = b"HELLO";
const TOPIC: &str = "$SYS/broker/connection/";

impl Shard {
    /// Who is greeted where a connection came in.
    pub(super) fn greeting_rule(&self, handle: ConnectionHandle) -> Hello {
        match self.entrance_of(handle) {
            None => Hello::Never,
            Some(id) => self.entrance(id).map_or(Hello::default(), |rules| rules.hello),
        }
    }

    /// CONNACK is written. Whether more input of the client is there already is `heard`.
    pub(super) fn prepare_greeting(&mut self, handle: ConnectionHandle, heard: bool, now: Now) {
        let hello = self.greeting_rule(handle);
        match hello {
            Hello::Never => {}
            Hello::Always => self.delivery.greet(handle),
            Hello::Waiting => {
                let Some(connection) = self.delivery.connections.get_mut(handle) else {
                    return;
                };
                let subscribes = connection
                    .session
                    .and_then(|session| self.delivery.sessions.get(session))
                    .is_some_and(|session| !session.subscriptions.is_empty());
                if heard || subscribes || connection.version.has_properties() {
                    connection.greeting = Greeting::OnRequest;
                    return;
                }
                // Whatever comes from now on is told from it, even in this very millisecond. What
                // runs from this moment looks at it later than a millisecond counts.
                connection.last_heard_ms = now.mono_ms.saturating_sub(1);
                connection.greeting = Greeting::IfSilent(connection.last_heard_ms as u32);
                self.timers.insert(now.mono_ms + SILENCE_MS, Timer::Hello(handle));
            }
        }
    }

    /// A client may have been silent for a second. After a burst they may be thousands at once, and each
    /// needs a buffer until what is put out is written.
    pub(super) fn on_hello_timer(&mut self, handle: ConnectionHandle) {
        self.to_be_greeted.push_back(handle);
    }

    /// Greets some of those who have been silent.
    pub(super) fn greet_some(&mut self) {
        for _ in 0..GREETED_PER_TURN {
            let Some(handle) = self.to_be_greeted.pop_front() else {
                return;
            };
            self.greet_if_silent(handle);
        }
    }

    fn greet_if_silent(&mut self, handle: ConnectionHandle) {
        let Some(connection) = self.delivery.connections.get_mut(handle) else {
            return;
        };
        let Greeting::IfSilent(since_ms) = connection.greeting else {
            return;
        };
        connection.greeting = Greeting::OnRequest;
        let subscribes = connection
            .session
            .and_then(|session| self.delivery.sessions.get(session))
            .is_none_or(|session| !session.subscriptions.is_empty());
        if connection.last_heard_ms as u32 == since_ms && !subscribes {
            self.delivery.greet(handle);
        }
    }

    /// Whether this filter is the very topic of a client's greeting, and it has not had one.
    pub(super) fn asks_for_greeting(&self, session: SessionHandle, filter: &str) -> bool {
        let Some(client_id) = filter.strip_prefix(TOPIC) else {
            return false;
        };
        self.delivery.sessions.get(session).is_some_and(|found| *found.client_id == *client_id)
    }
}

impl Delivery {
    /// Greets a client, unless it has been, or is not to be.
    pub(crate) fn greet_on_request(&mut self, handle: ConnectionHandle) {
        let greeting = self.connections.get(handle).map(|connection| connection.greeting);
        if greeting.is_some_and(|greeting| greeting != Greeting::None) {
            self.greet(handle);
        }
    }

    fn greet(&mut self, handle: ConnectionHandle) {
        let Some(connection) = self.connections.get_mut(handle) else {
            return;
        };
        connection.greeting = Greeting::None;
        let Some(session) = connection.session.and_then(|session| self.sessions.get(session))
        else {
            return;
        };
        let topic = format!("{TOPIC}{}", session.client_id);
        // A client identifier with a wildcard in it makes no topic, and a very long one none that
        // is allowed.
        let Ok(name) = TopicName::new(&topic) else {
            return;
        };
        let properties = usize::from(connection.version.has_properties());
        let remaining = 2 + topic.len() + properties + PAYLOAD.len();
        let packet_bytes = 1 + variable_byte_integer_len(remaining) + remaining;
        if topic.len() > self.limits.topic_bytes_max || !connection.accepts(packet_bytes) {
            return;
        }
        let hello = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: Some(name),
            packet_id: None,
            properties: Properties::EMPTY,
            payload: PAYLOAD,
        };
        self.send(handle, &Packet::Publish(hello));
    }
}
