//! What a client tells about its connection.

use std::sync::Arc;
use std::time::Duration;

use noctule_mqtt::ReasonCode;
use tokio::sync::broadcast;

use crate::connected::Connected;
use crate::reason::Reason;

/// Something happened to the connection.
#[derive(Clone, Debug)]
pub enum Event {
    /// CONNACK came and accepts.
    Connected(Arc<Connected>),
    /// A connection that was accepted is lost or ended.
    Disconnected(Arc<Reason>),
    /// There is no connection, and the next attempt follows.
    Reconnecting {
        /// The number of that attempt, from 1, since the last connection.
        attempt: u32,
        /// How long until then.
        delay: Duration,
        /// Why there is none.
        reason: Arc<Reason>,
    },
    /// The broker refused a subscription that was to be restored; its streams have ended.
    SubscriptionLost {
        /// Of which filter.
        filter: String,
        /// Why.
        code: ReasonCode,
    },
    /// The client has ended; no attempt follows.
    Ended(Arc<Reason>),
}

/// The state of a client.
#[derive(Clone, Debug)]
pub enum Status {
    /// Not started, connecting, or waiting for the next attempt.
    Waiting,
    /// Connected.
    Connected(Arc<Connected>),
    /// At its end.
    Ended(Arc<Reason>),
}

/// The events of a client from the moment it was asked for them.
///
/// Whoever does not take them out misses the oldest of more than 64.
#[derive(Debug)]
pub struct Events(pub(crate) broadcast::Receiver<Event>);

impl Events {
    /// The next event; `None` after [`Event::Ended`].
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// How many events wait for whoever takes them out.
pub(crate) const EVENTS_KEPT: usize = 64;
