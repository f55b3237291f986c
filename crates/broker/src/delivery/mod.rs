//! Handing messages to sessions: the sessions and connections of a shard, what leaves on the
//! connections, and what has to be kept.
//!
//! Nobody else puts a PUBLISH into an output. Every delivery, live, retained, queued or resumed,
//! passes here, with the same limits and the same records.

mod answering;
mod deferring;
mod elsewhere;
mod outputs;
mod queueing;
mod routing;
mod runs;
mod waiting;

pub(crate) use answering::{explained, explanation, push_ack, push_ack_with};
pub(crate) use outputs::Outputs;
pub(crate) use waiting::{Continuation, Waiting};

use crate::arena::Arena;
use crate::connection::{Connection, ConnectionHandle, Transport};
use crate::counters::{Counters, Dropped, Packets, Refused, Traffic};
use crate::crowd::Marks;
use crate::discarded::Discarded;
use crate::entrance::Mounts;
use crate::limits::Limits;
use crate::losses::Losses;
use crate::memory::{CommonMemory, Memory, Pressure};
use crate::message::{Message, MessagePool};
use crate::outgoing::Forms;
use crate::persist::{Journal, Stage, StoreState};
use crate::postbag::Postbag;
use crate::replay::ReplayNumber;
use crate::rights::{Authority, Law, Readers};
use crate::session::{Session, SessionHandle};
use noctule_mqtt::ReasonCode;
use noctule_session::Now;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// The parties of a shard and what passes between them.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) limits: Limits,
    pub(crate) sessions: Arena<Session>,
    pub(crate) connections: Arena<Connection>,
    pub(crate) journal: Journal,
    /// What waits for which ticket; tickets rise.
    pub(crate) waiting: Waiting,
    pub(crate) outputs: Outputs,
    pub(crate) counters: Counters,
    pub(crate) packets: Packets,
    pub(crate) refused: Refused,
    /// What connections over TLS have of it all.
    pub(crate) tls: Traffic,
    /// Sessions whose client is connected.
    pub(crate) connected: usize,
    pub(crate) dropped: Dropped,
    /// Who decides what clients may do.
    pub(crate) authority: Authority,
    pub(crate) losses: Losses,
    /// Sessions whose spilled messages are to be loaded.
    pub(crate) loads: Vec<SessionHandle>,
    /// Sessions with retained messages on their way to new subscriptions, each once.
    pub(crate) replays: VecDeque<SessionHandle>,
    /// Sessions whose next retained message may not be stored.
    pub(crate) replays_unstored: BTreeSet<SessionHandle>,
    /// The number of the next replay.
    pub(crate) next_replay: ReplayNumber,
    /// What is written to other shards, by shard.
    pub(crate) postbags: Vec<Postbag>,
    pub(crate) pool: MessagePool,
    /// The time of what is being done.
    pub(crate) now: Now,
    /// The latest wall time that a store has kept.
    pub(crate) stored_wall_ms: u64,
    pub(crate) marks: Marks,
    /// What clients take, mail apart.
    pub(crate) memory: Memory,
    /// What the other shards know of it.
    pub(crate) told: usize,
    pub(crate) pressure: Pressure,
    /// What the store can take.
    pub(crate) store: StoreState,
    /// Publishers that wait for the store.
    pub(crate) waiting_for_store: Vec<ConnectionHandle>,
    /// What stands before the topics of whom.
    pub(crate) mounts: Mounts,
    /// Crowded receivers that the message being routed has met.
    pub(crate) met: Vec<ConnectionHandle>,
    /// Receivers that are crowded since the shard looked last.
    pub(crate) crowded: Vec<ConnectionHandle>,
    /// Connections whose input is wanted again.
    pub(crate) released: VecDeque<ConnectionHandle>,
    /// The same of those who have sent little meanwhile.
    pub(crate) released_first: VecDeque<ConnectionHandle>,
    /// What sessions were owed that have ended.
    pub(crate) discarded: Discarded,
    /// What takes memory that sessions which have ended leave to others.
    pub(crate) departing_weight: usize,
    forms: Forms,
    /// Messages of the run that is being put out; the memory is used again for the next.
    run_messages: Vec<Message>,
    scratch: Vec<u8>,
}

impl Delivery {
    pub(crate) fn new(
        limits: Limits,
        stage: Stage,
        shards: u16,
        memory: &Arc<CommonMemory>,
        now: Now,
    ) -> Self {
        let mut postbags = Vec::new();
        postbags.resize_with(usize::from(shards), Postbag::default);
        Self {
            postbags,
            now,
            stored_wall_ms: 0,
            marks: Marks::new(&limits),
            memory: Memory::default(),
            told: 0,
            pressure: Pressure::None,
            discarded: Discarded::default(),
            departing_weight: 0,
            store: StoreState::default(),
            waiting_for_store: Vec::new(),
            mounts: Mounts::default(),
            met: Vec::new(),
            crowded: Vec::new(),
            released: VecDeque::new(),
            released_first: VecDeque::new(),
            limits,
            sessions: Arena::default(),
            connections: Arena::default(),
            journal: Journal::new(stage),
            waiting: Waiting::default(),
            outputs: Outputs::default(),
            counters: Counters::default(),
            packets: Packets::default(),
            refused: Refused::default(),
            tls: Traffic::default(),
            connected: 0,
            dropped: Dropped::default(),
            authority: Authority::default(),
            losses: Losses::default(),
            loads: Vec::new(),
            replays: VecDeque::new(),
            replays_unstored: BTreeSet::new(),
            next_replay: ReplayNumber::FIRST,
            pool: MessagePool::new(memory),
            forms: Forms::default(),
            run_messages: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// The time by which stored messages expire: if the clock was set back before a start, nothing is
    /// good for longer.
    pub(crate) fn stored_now(&self) -> Now {
        Now { wall_ms: self.now.wall_ms.max(self.stored_wall_ms), ..self.now }
    }

    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.marks.press(self.pressure, &limits);
        self.limits = limits;
    }

    /// What a route depends on besides subscriptions.
    #[inline]
    pub(crate) fn law(&self) -> Law<'_> {
        let (authority, sessions) = (&self.authority, &self.sessions);
        let readers = authority.in_force.then_some(Readers { authority, sessions });
        Law { limits: &self.limits, readers }
    }

    /// The connection that a session has, once its CONNACK is written.
    pub(crate) fn connection_of(&self, session: SessionHandle) -> Option<ConnectionHandle> {
        self.sessions.get(session).and_then(|found| found.connection)
    }

    /// A CONNECT is answered with a refusal.
    pub(crate) fn count_refusal(&mut self, handle: ConnectionHandle, reason: ReasonCode) {
        self.refused.count(reason);
        self.count_refused_connect(handle);
    }

    /// A CONNECT is refused for a reason that is counted already.
    pub(crate) fn count_refused_connect(&mut self, handle: ConnectionHandle) {
        self.counters.connects_refused += 1;
        if self.connections.get(handle).is_some_and(|one| one.transport == Transport::Tls) {
            self.tls.connects_refused += 1;
        }
    }
}
