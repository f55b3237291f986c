//! The client without its socket and its clock: events and time go in, bytes and actions come out.
//!
//! [`Machine`] holds the session (messages under way, subscriptions, what waits) across
//! connections, and decides when to connect, what to send and when to give up. It never waits,
//! looks at no clock and writes to no socket; the driver does, and any test can. Whoever calls a
//! method afterwards takes out all [`actions`](Machine::next_action) and writes the
//! [`output`](Machine::output).
//!
//! ```text
//! Idle ─start─► Opening ─opened─► AwaitConnack ─CONNACK─► Connected ─leave, nothing left─► Closing
//!                 ▲ └────failed, timed out───┴──┬──lost──────┘                                │
//!                 └──────────── Waiting ◄───────┘  may heal, attempts left       Ended ◄──────┘
//! ```

mod adopting;
mod backlog;
mod connecting;
mod incoming;
mod introduction;
mod leaving;
mod output;
mod proving;
mod requests;
mod sending;
mod subscriptions;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use noctule_mqtt::codec::FrameBuffer;
use noctule_mqtt::{ProtocolVersion, ReasonCode};
use noctule_session::{Inbound, KeepAlive, Outbound};

use crate::connected::Connected;
use crate::error::Error;
use crate::event::Event;
use crate::message::Message;
use crate::options::ClientOptions;
use crate::publish::Outgoing;
use crate::reason::Reason;
use adopting::Adopted;
use backlog::Backlog;
use output::Output;
use proving::Proving;
use requests::Requests;
use subscriptions::Subscriptions;

/// Names a request whose outcome somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Token(pub(crate) u64);

/// Names where messages of a subscription go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ReceiverId(pub(crate) u64);

/// What the driver has to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Open a connection, and tell the outcome.
    Open,
    /// Close the connection or stop opening it; first, if there are any, try to write these last
    /// bytes, and tell the outcome.
    Close { last_words: Vec<u8> },
    /// Tell the user.
    Tell(Event),
    /// Hand a message to these receivers.
    Deliver { message: Message, to: Vec<ReceiverId> },
    /// Nothing comes for this receiver any more.
    EndReceiver(ReceiverId),
    /// A request has its outcome.
    Answer(Token, Result<ReasonCode, Error>),
    /// Nothing follows: the client has ended.
    End(Arc<Reason>),
}

/// A message in flight, or waiting to be.
#[derive(Debug)]
struct Sent {
    publish: Outgoing,
    token: Option<Token>,
}

#[derive(Debug, PartialEq)]
enum Phase {
    Idle,
    Waiting {
        until_ms: u64,
    },
    Opening {
        until_ms: u64,
    },
    AwaitConnack {
        until_ms: u64,
    },
    Connected,
    /// The last words are on their way.
    Closing,
    Ended(Arc<Reason>),
}

/// What is known of the present connection alone.
#[derive(Default)]
struct Link {
    frames: FrameBuffer,
    granted: Option<Arc<Connected>>,
    certificates: Vec<Bytes>,
    connected_ms: u64,
    sent_ms: u64,
    received_ms: u64,
    /// Since when PINGRESP, or anything else, is waited for.
    ping_ms: Option<u64>,
    /// Since when something waits for an answer and none has come.
    unanswered_ms: Option<u64>,
    aliases: Vec<Option<String>>,
    /// If we are proving who we are.
    proving: Proving,
    /// Who wants to know, if that is done again.
    proving_for: Option<Token>,
}

/// See the module.
pub(crate) struct Machine {
    options: Arc<ClientOptions>,
    now_ms: u64,
    phase: Phase,
    /// Until when what is under way may be finished, once the user wants to leave.
    leave_ms: Option<u64>,
    /// Nothing is read at present, because the user does not take messages out.
    paused: bool,
    /// Attempts that failed since the last connection.
    failed: u32,
    /// Connections in a row that were lost soon.
    short_lived: u32,
    /// Whether a broker may have a session of ours.
    has_session: bool,
    /// The client identifier: that of the options, or the one that the broker chose in its place.
    client_id: String,
    chance: fastrand::Rng,
    link: Link,
    output: Output,
    outbound: Outbound<Sent>,
    inbound: Inbound,
    adopted: Adopted,
    backlog: Backlog,
    subscriptions: Subscriptions,
    requests: Requests,
    actions: VecDeque<Action>,
}

impl Machine {
    /// A client that has not started. `seed` decides the jitter of its waits.
    pub(crate) fn new(options: Arc<ClientOptions>, seed: u64) -> Self {
        let client_id = options.client_id.clone();
        Self {
            options,
            now_ms: 0,
            phase: Phase::Idle,
            leave_ms: None,
            paused: false,
            failed: 0,
            short_lived: 0,
            has_session: false,
            client_id,
            chance: fastrand::Rng::with_seed(seed),
            link: Link::default(),
            output: Output::default(),
            outbound: Outbound::default(),
            inbound: Inbound::default(),
            adopted: Adopted::default(),
            backlog: Backlog::default(),
            subscriptions: Subscriptions::default(),
            requests: Requests::default(),
            actions: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub(crate) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What is to be written to the connection.
    pub(crate) fn output(&self) -> &[u8] {
        self.output.bytes()
    }

    /// Whether as much waits to be written as may; nothing should be read then.
    pub(crate) fn output_is_full(&self) -> bool {
        self.output.is_full()
    }

    /// The first `count` bytes of the output have been written.
    pub(crate) fn wrote(&mut self, now_ms: u64, count: usize) {
        self.now_ms = now_ms;
        for token in self.output.take(count) {
            self.answer(Some(token), Ok(ReasonCode::Success));
        }
        self.pump();
        self.finish_leaving();
    }

    /// Whether a further message may be published without growing what waits over its limits. While
    /// there is no connection, it may always be tried: the answer is then a refusal.
    pub(crate) fn wants_publishes(&self) -> bool {
        self.phase != Phase::Connected
            || self.leave_ms.is_some()
            || self.backlog.has_room(&self.options.limits)
    }

    /// Whether the client has ended.
    pub(crate) fn ended(&self) -> Option<&Arc<Reason>> {
        match &self.phase {
            Phase::Ended(reason) => Some(reason),
            _ => None,
        }
    }

    /// Stops or goes on reading: a peer that is not heard is not expected to answer.
    pub(crate) fn pause(&mut self, now_ms: u64, paused: bool) {
        self.now_ms = now_ms;
        if self.paused && !paused {
            self.link.ping_ms = self.link.ping_ms.map(|_| now_ms);
            self.link.unanswered_ms = self.link.unanswered_ms.map(|_| now_ms);
            self.link.received_ms = now_ms;
        }
        self.paused = paused;
    }

    /// When [`tick`](Self::tick) is due.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        match self.phase {
            Phase::Idle | Phase::Closing | Phase::Ended(_) => None,
            Phase::Waiting { until_ms } => Some(until_ms),
            Phase::Opening { until_ms } | Phase::AwaitConnack { until_ms } => {
                Some(until_ms.min(self.leave_ms.unwrap_or(until_ms)))
            }
            Phase::Connected => {
                let due = [self.ping_due(), self.silence_due(), self.answer_due(), self.leave_ms];
                due.into_iter().flatten().min()
            }
        }
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        let is_due = |due: Option<u64>| due.is_some_and(|due| now_ms >= due);
        match self.phase {
            Phase::Waiting { until_ms } if now_ms >= until_ms => self.open(),
            Phase::Opening { .. } | Phase::AwaitConnack { .. } if is_due(self.leave_ms) => {
                self.give_attempt_up();
            }
            Phase::Opening { until_ms } if now_ms >= until_ms => {
                self.no_answer("connection", self.options.connect_timeout);
            }
            Phase::AwaitConnack { until_ms } if now_ms >= until_ms => {
                self.no_answer("CONNACK", self.options.connect_timeout);
            }
            Phase::Connected if is_due(self.silence_due()) => {
                self.no_answer("PINGRESP", self.options.ack_timeout);
            }
            Phase::Connected if is_due(self.answer_due()) => {
                self.no_answer("acknowledgement", self.options.ack_timeout);
            }
            Phase::Connected if is_due(self.leave_ms) => self.say_goodbye(),
            Phase::Connected if is_due(self.ping_due()) => {
                self.link.ping_ms.get_or_insert(now_ms);
                self.send(&noctule_mqtt::Packet::Pingreq);
            }
            _ => {}
        }
    }

    /// When PINGREQ is to be sent: we have been silent for long, or have heard nothing for as long.
    fn ping_due(&self) -> Option<u64> {
        let after_ms = self.keep_alive().ping_after_ms()?;
        let silent = self.link.sent_ms + after_ms;
        if self.paused || self.link.ping_ms.is_some() {
            return Some(silent);
        }
        Some(silent.min(self.link.received_ms + after_ms))
    }

    /// When a peer that does not answer PINGREQ counts as dead.
    fn silence_due(&self) -> Option<u64> {
        let asked_ms = self.link.ping_ms.filter(|_| !self.paused)?;
        Some(asked_ms + self.ack_timeout_ms())
    }

    /// When a peer that acknowledges nothing counts as dead.
    fn answer_due(&self) -> Option<u64> {
        let since_ms = self.link.unanswered_ms.filter(|_| !self.paused)?;
        Some(since_ms + self.ack_timeout_ms())
    }

    fn ack_timeout_ms(&self) -> u64 {
        milliseconds(self.options.ack_timeout)
    }

    /// The broker's, if it has one `[MQTT5-3.1.2-21]` `[MQTT5-3.2.2-21]`.
    fn keep_alive(&self) -> KeepAlive {
        let granted = self.link.granted.as_ref();
        let seconds =
            granted.map_or(self.options.keep_alive_seconds, |granted| granted.keep_alive_seconds);
        KeepAlive::new(seconds)
    }

    /// Keeps the note of when an answer is due in step with what waits for one.
    fn note_waiting(&mut self, answered: bool) {
        let is_waiting = self.outbound.outstanding() != 0
            || self.requests.any_sent()
            || self.link.proving_for.is_some()
            || self.adopted.is_waiting();
        if !is_waiting {
            self.link.unanswered_ms = None;
        } else if answered || self.link.unanswered_ms.is_none() {
            self.link.unanswered_ms = Some(self.now_ms);
        }
    }

    fn answer(&mut self, token: Option<Token>, outcome: Result<ReasonCode, Error>) {
        if let Some(token) = token {
            self.actions.push_back(Action::Answer(token, outcome));
        }
    }

    fn tell(&mut self, event: Event) {
        self.actions.push_back(Action::Tell(event));
    }

    fn version(&self) -> ProtocolVersion {
        self.options.version
    }
}

/// A duration as the machine counts it.
pub(crate) fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}
