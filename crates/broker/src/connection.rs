//! A connection: how far its conversation has come, what of its input is not processed, and what
//! is to leave on it.
//!
//! ```text
//! AwaitConnect ─CONNECT─► AwaitVerdict ─accepted─► AwaitStore ─stored─► Attached ─► Closing
//!      │              challenged ▼ ▲ AUTH                                              ▲
//!      │                      AwaitAuth                                                │
//!      └──────── refused, violation, silence, closed by the peer ──────────────────────┘
//! ```
//!
//! In AwaitVerdict and AwaitStore nothing is read: CONNACK comes first, and what a client sends
//! behind its CONNECT waits for it.

use crate::arena::Handle;
use crate::crowd::{Crowd, Patience};
use crate::entrance::EntranceId;
use crate::holds::Holds;
use crate::message::{Message, MessageView};
use crate::meter::Meter;
use crate::outbox::Outbox;
use crate::outgoing::{FormKey, FormTerms, choose_alias};
use crate::persist::Stage;
use crate::principal::Identity;
use crate::rights::Permits;
use crate::router::CachedRoute;
use crate::session::{Expiry, SessionHandle};
use crate::shard::Greeting;
use noctule_mqtt::codec::FrameBuffer;
use noctule_mqtt::{PacketType, ProtocolVersion, ReasonCode, TopicName, Violation};
use noctule_session::{AliasUse, AliasesIn, AliasesOut, KeepAlive};
use std::fmt;

/// Names a connection of a shard. [`Handle::slot`] is good for an index of sockets.
pub type ConnectionHandle = Handle<Connection>;

/// One client's connection.
#[derive(Debug)]
pub struct Connection {
    pub(crate) phase: Phase,
    pub(crate) version: ProtocolVersion,
    /// In which of the shard's lists of connections with output it is.
    pub(crate) output: Output,
    /// Whether more could have been put out, had there been room.
    pub(crate) stalled: bool,
    /// Why its input is not processed, if it is not.
    pub(crate) holds: Holds,
    /// The version was announced, and is not just assumed.
    pub(crate) announced: bool,
    /// Why its CONNECT is refused whatever it says, if that was known when it was accepted.
    pub(crate) turned_away: Option<ReasonCode>,
    pub(crate) greeting: Greeting,
    pub(crate) transport: Transport,
    /// Where it was accepted.
    pub(crate) entrance: EntranceId,
    /// How safe things have to be there before they are acknowledged.
    pub(crate) stage: Stage,
    pub(crate) keep_alive: KeepAlive,
    /// Whether a timer of its own looks at that, and not the one by which its CONNECT had to come.
    pub(crate) keep_alive_timed: bool,
    /// Messages at QoS 1 and 2 that may be on their way at once.
    pub(crate) window: u16,
    /// The largest packet the client accepts.
    pub(crate) packet_bytes_max: u32,
    pub(crate) session: Option<SessionHandle>,
    /// Where the route of the topic it published to last is cached.
    pub(crate) last_route: Option<CachedRoute>,
    /// The packet at the end of the input that is not whole.
    pub(crate) partial: FrameBuffer,
    pub(crate) outbox: Outbox,
    pub(crate) last_heard_ms: u64,
    /// If it does not keep up with what it is sent.
    pub(crate) crowd: Option<Box<Crowd>>,
    /// Whether it is to be looked at when its time is over: once, however often it was crowded.
    pub(crate) crowd_timed: bool,
    /// How many bytes it counts with.
    pub(crate) counted: usize,
    /// How many receivers of its messages it waits for.
    pub(crate) crowds_ahead: u32,
    /// What the bytes of a PUBLISH depend on besides the message.
    pub(crate) dialect: Dialect,
    /// Whether its topics have something before them that it does not know of.
    pub(crate) mounted: bool,
    /// Whether it wants to be told more than a reason code `[MQTT5-3.1.2-29]`.
    pub(crate) problem_information: bool,
    /// Bytes that wait in the transport: that have left the outbox, or have not come whole.
    pub(crate) sealed: u32,
    /// Who the client is; until it is accepted, who it says it is.
    pub(crate) principal: Identity,
    /// Where it may publish, if that has been asked.
    pub(crate) permits: Option<Box<Permits>>,
    /// If there is any of it.
    rare: Option<Box<Rare>>,
}

/// What few connections have, or not for long.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// Input behind a packet that has to be dealt with first.
    pub(crate) held: Vec<u8>,
    /// Topic aliases that the client uses, once it does.
    pub(crate) aliases_in: Option<AliasesIn>,
    /// Topic aliases that we use, if the client takes any.
    pub(crate) aliases_out: Option<AliasesOut>,
    /// What both take of memory.
    pub(crate) alias_bytes: usize,
    /// If the client has named an authentication method.
    pub(crate) authentication: Option<Authentication>,
    /// How much of its publishers' patience it has used, if that was any lately.
    patience: Patience,
    /// What it has left of what it may send, once it has a limit and has sent something.
    pub(crate) meter: Option<Meter>,
}

/// An enhanced authentication (MQTT 5.0 section 4.12).
#[derive(Debug)]
pub(crate) struct Authentication {
    /// As CONNECT has named it, and no other from then on `[MQTT5-4.12.0-5]`.
    pub(crate) method: Box<str>,
    /// It is being repeated, on a connection that was accepted.
    pub(crate) again: bool,
    /// Whoever decides is thinking.
    pub(crate) asked: bool,
    /// The last word to the client.
    pub(crate) proof: Option<Box<[u8]>>,
}

/// What a connection's messages look like; those of the first two are the same for all who have the
/// same terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Dialect {
    WithoutProperties = 0,
    WithProperties = 1,
    /// With topic aliases, or below a mount: nobody else gets the same bytes.
    OfItsOwn = 2,
}

/// In which lists of connections with output one is, each of them once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// In none.
    Clean,
    /// Among those that have something to write.
    Dirty,
    /// Among those as well that have so much that it had better be written now.
    Full,
}

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// TCP.
    #[default]
    Plain,
    /// TLS over TCP.
    Tls,
}

/// How far a connection has come.
#[derive(Debug)]
pub(crate) enum Phase {
    AwaitConnect,
    AwaitVerdict(Box<Accepting>),
    /// The client was asked to go on with its authentication.
    AwaitAuth(Box<Accepting>),
    AwaitStore(Box<Accepting>),
    Attached,
    Closing,
}

/// What CONNECT asked for, while it is being decided upon.
#[derive(Debug)]
pub(crate) struct Accepting {
    pub(crate) client_id: Box<str>,
    pub(crate) clean_start: bool,
    pub(crate) expiry: Expiry,
    /// What CONNACK will say: properties without their length.
    pub(crate) properties: Box<[u8]>,
    pub(crate) will: Option<(Message, u32)>,
    /// Set once a session is found: whether it is a stored one.
    pub(crate) session_present: bool,
}

impl Rare {
    fn is_empty(&self) -> bool {
        let Self { held, aliases_in, aliases_out, alias_bytes: _, authentication, patience, meter } =
            self;
        held.is_empty()
            && patience.is_whole()
            && aliases_in.is_none()
            && aliases_out.is_none()
            && authentication.is_none()
            && meter.is_none()
    }

    /// There are more aliases than before.
    pub(crate) fn count_aliases(&mut self) {
        self.alias_bytes = self.aliases_in.as_ref().map_or(0, AliasesIn::bytes)
            + self.aliases_out.as_ref().map_or(0, AliasesOut::bytes);
    }
}

impl Connection {
    pub(crate) fn new(
        now_ms: u64,
        turned_away: Option<ReasonCode>,
        transport: Transport,
        entrance: EntranceId,
    ) -> Self {
        Self {
            phase: Phase::AwaitConnect,
            version: ProtocolVersion::V311,
            output: Output::Clean,
            stalled: false,
            holds: Holds::default(),
            announced: false,
            turned_away,
            greeting: Greeting::None,
            transport,
            entrance,
            stage: Stage::default(),
            keep_alive: KeepAlive::new(0),
            keep_alive_timed: false,
            window: u16::MAX,
            packet_bytes_max: u32::MAX,
            session: None,
            last_route: None,
            partial: FrameBuffer::default(),
            outbox: Outbox::default(),
            last_heard_ms: now_ms,
            crowd: None,
            crowd_timed: false,
            counted: 0,
            crowds_ahead: 0,
            dialect: Dialect::WithoutProperties,
            mounted: false,
            problem_information: true,
            sealed: 0,
            principal: Identity::default(),
            permits: None,
            rare: None,
        }
    }

    /// Whether the client accepts a packet of so many bytes `[MQTT5-3.1.2-24]`; none is a packet
    /// that cannot be expressed.
    pub(crate) fn accepts(&self, packet_bytes: usize) -> bool {
        packet_bytes != 0 && packet_bytes <= self.packet_bytes_max as usize
    }

    /// Whether what it is sent is made for it alone.
    #[inline]
    pub(crate) fn is_of_its_own(&self) -> bool {
        self.dialect == Dialect::OfItsOwn
    }

    /// Whether its messages are those of a form, and nothing of its own is in them.
    #[inline]
    pub(crate) fn takes(&self, key: FormKey) -> bool {
        self.dialect as u8 == u8::from(key.has_properties())
    }

    /// How the topic of a delivery is said to this client, by no alias over its maximum
    /// `[MQTT5-3.3.2-11]`; `None` if the packet is too large for it in any form.
    #[inline(never)]
    pub(crate) fn choose_alias(
        &self,
        view: &MessageView<'_>,
        terms: &FormTerms<'_>,
    ) -> Option<AliasUse> {
        let bytes_max = self.packet_bytes_max as usize;
        let aliases = self.rare.as_ref().and_then(|rare| rare.aliases_out.as_ref());
        choose_alias(view, terms, aliases, bytes_max)
    }

    /// The client has been told the topic in this way.
    pub(crate) fn note_alias(&mut self, alias: AliasUse, topic: TopicName<'_>) {
        if let (AliasUse::New(_), Some(rare)) = (alias, &mut self.rare)
            && let Some(aliases) = &mut rare.aliases_out
        {
            aliases.note(topic.as_bytes());
            rare.count_aliases();
        }
    }

    /// What it has of what few have; `None` is that there is nothing of it.
    #[inline]
    pub(crate) fn rare(&self) -> Option<&Rare> {
        self.rare.as_deref()
    }

    /// As [`rare`](Self::rare), to be changed.
    #[inline]
    pub(crate) fn rare_mut(&mut self) -> Option<&mut Rare> {
        self.rare.as_deref_mut()
    }

    /// As [`rare`](Self::rare), to have something put into it.
    pub(crate) fn add_rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// How much of its publishers' patience it has used.
    pub(crate) fn patience(&self) -> Patience {
        self.rare().map_or_else(Patience::default, |rare| rare.patience)
    }

    /// It has used so much of it.
    pub(crate) fn set_patience(&mut self, patience: Patience) {
        if self.rare.is_some() || !patience.is_whole() {
            self.add_rare().patience = patience;
        }
    }

    /// Nothing is expected of its client for a while: gives back the memory for what comes and goes.
    pub(crate) fn shed(&mut self, now_ms: u64) {
        if let Some(rare) = &mut self.rare {
            rare.patience.recover(now_ms);
            self.shed_rare();
        }
    }

    /// Gives back the memory for what few have if nothing of it is left.
    pub(crate) fn shed_rare(&mut self) {
        self.rare.take_if(|rare| rare.is_empty());
    }

    /// Whether all that it takes, its output apart, is what an idle client's does.
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.phase, Phase::Attached) && self.partial.is_empty() && self.rare.is_none()
    }

    /// How many bytes of input are behind a packet that has to be dealt with first.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.rare().map_or(0, |rare| rare.held.len())
    }

    /// Input has come behind a packet that has to be dealt with first.
    #[cold]
    pub(crate) fn hold(&mut self, input: &[u8]) {
        self.add_rare().held.extend_from_slice(input);
    }

    /// Takes what was held back.
    pub(crate) fn take_held(&mut self) -> Vec<u8> {
        let held = self.rare_mut().map(|rare| std::mem::take(&mut rare.held));
        self.shed_rare();
        held.unwrap_or_default()
    }

    /// The enhanced authentication, if the client has named a method.
    pub(crate) fn authentication(&mut self) -> Option<&mut Authentication> {
        self.rare_mut().and_then(|rare| rare.authentication.as_mut())
    }

    /// Whether CONNECT waits for a decision and the input behind it with it.
    pub(crate) fn is_being_accepted(&self) -> bool {
        matches!(self.phase, Phase::AwaitVerdict(_) | Phase::AwaitStore(_))
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The client said DISCONNECT.
    Disconnected,
    /// The client said DISCONNECT and asked for its will to be published (MQTT 5).
    DisconnectedWithWill,
    /// The client, or the network, closed the connection without a word.
    PeerClosed,
    /// Reading or writing failed.
    Failed(Box<str>),
    /// The peer broke the rules.
    Violation(Violation),
    /// No CONNECT was accepted in time.
    ConnectTimeout,
    /// It had not said CONNECT, and its place was needed.
    GaveWay,
    /// CONNECT was refused.
    Refused(ReasonCode),
    /// The client was to prove again who it is, and did not.
    AuthenticationFailed(ReasonCode),
    /// Another connection with the same client identifier took the session over.
    TakenOver,
    /// A message was refused and this version has no other way to say so.
    QuotaExceeded,
    /// It was sending a large packet while memory was short.
    MemoryShort,
    /// A packet that it has to get is larger than it accepts `[MQTT5-3.1.2-24]`.
    AnswerTooLarge {
        /// Of the packet.
        bytes: usize,
        /// The client's maximum packet size.
        limit: u32,
    },
    /// The broker stops.
    ShuttingDown,
}

impl Cause {
    /// Whether the client's will is published `[MQTT3-3.1.2-8]` `[MQTT5-3.1.2-8]`: always but
    /// after a plain DISCONNECT.
    pub(crate) fn publishes_will(&self) -> bool {
        !matches!(self, Self::Disconnected)
    }

    /// What DISCONNECT says about it in MQTT 5; `None` if there is nobody to say it to, or it has
    /// been said.
    pub(crate) fn disconnect_reason(&self) -> Option<ReasonCode> {
        match self {
            Self::TakenOver => Some(ReasonCode::SessionTakenOver),
            Self::ShuttingDown => Some(ReasonCode::ServerShuttingDown),
            Self::QuotaExceeded | Self::MemoryShort => Some(ReasonCode::QuotaExceeded),
            Self::AnswerTooLarge { .. } => Some(ReasonCode::PacketTooLarge),
            Self::AuthenticationFailed(reason) if reason.allowed_in(PacketType::Disconnect) => {
                Some(*reason)
            }
            Self::AuthenticationFailed(_) => Some(ReasonCode::NotAuthorized),
            Self::Violation(violation) => Some(violation.reason_code()),
            Self::Disconnected
            | Self::DisconnectedWithWill
            | Self::PeerClosed
            | Self::Failed(_)
            | Self::ConnectTimeout
            | Self::GaveWay
            | Self::Refused(_) => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str("the client disconnected"),
            Self::DisconnectedWithWill => {
                f.write_str("the client disconnected and asked for its will")
            }
            Self::PeerClosed => f.write_str("the connection was closed without DISCONNECT"),
            Self::Failed(error) => write!(f, "the connection failed: {error}"),
            Self::Violation(violation) => violation.fmt(f),
            Self::ConnectTimeout => f.write_str("no CONNECT was accepted in time"),
            Self::GaveWay => f.write_str("it had not said CONNECT, and its place was needed"),
            Self::Refused(reason) => write!(f, "CONNECT was refused: {reason}"),
            Self::AuthenticationFailed(reason) => {
                write!(f, "it did not prove again who it is: {reason}")
            }
            Self::TakenOver => {
                f.write_str("another connection with the same client identifier took over")
            }
            Self::QuotaExceeded => f.write_str(
                "a message was refused: a subscriber's queue is full, or memory is short",
            ),
            Self::MemoryShort => f.write_str("it sent a large packet while memory was short"),
            Self::AnswerTooLarge { bytes, limit } => write!(
                f,
                "an answer of {bytes} bytes is over the client's maximum packet size of {limit}"
            ),
            Self::ShuttingDown => f.write_str("the broker stops"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        // What few connections need is behind a pointer. Larger is slower with very many of them, so
        // whoever adds to it looks for what can leave.
        assert!(size_of::<Connection>() <= 168, "{}", size_of::<Connection>());
    }
}
