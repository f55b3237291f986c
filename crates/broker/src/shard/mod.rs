//! A shard: the sessions of one thread, with everything their messages need.
//!
//! This file is its outer face: bytes, events and time in; output, actions and reports out. What a
//! packet does is in the file named after it.

mod accept;
mod acknowledge;
mod asking;
mod authenticate;
mod authorise;
mod close;
mod connack;
mod depart;
mod duel;
mod half_open;
mod hello;
mod input;
mod leftovers;
mod mail;
mod mounted;
mod publish;
mod quota;
mod replay;
mod retain;
mod runs;
mod share;
mod subscribe;
mod system;
mod turn;

pub use leftovers::Leftovers;

use crate::arena::Handle;
use crate::clients::Clients;
use crate::commons::{Commons, Placement, ShardId, Solitude};
use crate::connection::{Cause, Connection, ConnectionHandle, Output, Transport};
use crate::counters::{Counters, Dropped};
use crate::delivery::Delivery;
use crate::entrance::{Entrance, EntranceId, Mounts, entrance};
use crate::faults::{Fault, fault};
use crate::holds::Hold;
use crate::limits::Limits;
use crate::losses::Lost;
use crate::mail::Departure;
use crate::memory::{CommonMemory, Memory, Owner, Pressure, SUBSCRIPTION_BYTES};
use crate::offer::Offer;
use crate::outbox::Outbox;
use crate::parcel::Parcel;
use crate::persist::{Owed, Record, Sequence, SessionKey, Stage, Ticket};
use crate::principal::Principal;
use crate::restore::Unrouted;
use crate::rights::{Authority, Policies, Refusals};
use crate::router::Router;
use crate::session::{SessionHandle, Terms};
use crate::statistics::Survey;
use crate::watch::{Published, Watch};
use crate::wheel::Wheel;
use asking::Asking;
use compact_str::CompactString;
use depart::Departures;
use duel::Duels;
use half_open::HalfOpen;
pub(crate) use hello::Greeting;
pub use hello::Hello;
use noctule_mqtt::{ProtocolVersion, ReasonCode, Violation};
use noctule_session::Now;
pub use quota::Quota;
use quota::Sayings;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::Ordering;

/// What a shard is made with.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The bounds of everything.
    pub limits: Limits,
    /// What is offered where the specification leaves the choice.
    pub offer: Offer,
    /// The ways in, by their numbers. Whoever comes by one that is not here has no rules of his own.
    pub entrances: Vec<Entrance>,
    /// Who decides what clients may do; without any, everything is allowed.
    pub policies: Policies,
    /// How safe things have to be before they are acknowledged.
    pub stage: Stage,
    /// Random bytes nobody can guess: client identifiers are made of them, and hashes seeded.
    pub seed: [u8; 32],
    /// Keys of sessions from this one on were never given to any.
    pub next_key: u64,
    /// The latest wall time that a store has kept, in milliseconds since 1970. What expires and has
    /// been stored does so by a clock that shows at least this.
    pub stored_wall_ms: u64,
}

/// Something the shard needs done. Carried out in order.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Decide whether this client may connect; answer with [`Event::Authenticated`].
    Authenticate {
        /// Which connection asks.
        connection: ConnectionHandle,
        /// What it says of itself.
        credentials: Credentials,
    },
    /// Keep these records; answer with [`Event::Persisted`].
    Persist {
        /// To be named in the answer. Tickets rise.
        ticket: Ticket,
        /// In order.
        records: Vec<Record>,
        /// How safe they have to become; more than that is no fault.
        stage: Stage,
    },
    /// Bring back the first messages that a session left to the store; answer with
    /// [`Event::Loaded`].
    Load {
        /// To be named in the answer.
        session: SessionHandle,
        /// Whose messages.
        key: SessionKey,
        /// Those behind this one.
        after: Sequence,
        /// How many bytes of them at most, but at least one message.
        bytes_max: usize,
    },
    /// The connection belongs to a session of another shard: take its socket there, with this, for
    /// [`Shard::arrive`]. Here its handle is stale from now on.
    HandOver {
        /// Which connection.
        connection: ConnectionHandle,
        /// Where it goes.
        to: ShardId,
        /// What the other shard needs to know of it.
        departure: Departure,
    },
    /// Write what is in the connection's output, close it, and say so with
    /// [`Shard::on_closed`].
    Close(ConnectionHandle),
    /// The connection's input is wanted again: read what was left unread.
    Resume(ConnectionHandle),
    /// Tell whoever listens.
    Report(Report),
}

/// The answer to an action.
#[derive(Debug)]
pub enum Event {
    /// The decision on a client.
    Authenticated {
        /// Of which connection; one that is gone is fine.
        connection: ConnectionHandle,
        /// The decision.
        verdict: Verdict,
    },
    /// A client that has named an authentication method is to go on with it: AUTH takes this to it.
    Challenged {
        /// Which client.
        connection: ConnectionHandle,
        /// Authentication data, as the method wants them.
        data: Box<[u8]>,
    },
    /// A client may connect, or has proved again who it is, and is told this by the method's last
    /// word.
    Proven {
        /// Which client.
        connection: ConnectionHandle,
        /// Who it is.
        principal: Principal,
        /// Authentication data, as the method wants them.
        data: Box<[u8]>,
    },
    /// The operating system has everything up to this ticket. Need not be said: what waits for it goes
    /// on with [`Persisted`](Self::Persisted), too.
    Written(Ticket),
    /// Everything up to this ticket is as safe as its [`Action::Persist`] asked for.
    Persisted(Ticket),
    /// Messages that a session had left to the store.
    Loaded {
        /// As in the action.
        session: SessionHandle,
        /// In order. None only if the store has none.
        messages: Vec<Owed>,
    },
}

/// What a client says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Its client identifier, chosen by the broker if it sent none.
    pub client_id: Box<str>,
    /// Its user name.
    pub user_name: Option<Box<str>>,
    /// Its password.
    pub password: Option<Box<[u8]>>,
    /// If it has named an authentication method; answer a step of it with [`Event::Challenged`],
    /// [`Event::Proven`], or a verdict.
    pub enhanced: Option<Enhanced>,
}

/// A step of an enhanced authentication (MQTT 5.0 section 4.12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enhanced {
    /// The method, one of those [offered](Offer::authentication_methods).
    pub method: Box<str>,
    /// What the client says; none is not the same as nothing.
    pub data: Option<Box<[u8]>>,
    /// Which step it is.
    pub step: Step,
}

/// How far an enhanced authentication has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// CONNECT: it begins.
    First,
    /// AUTH that answers a challenge.
    Next,
    /// AUTH of a connected client that begins anew. User name and password are not said again.
    Again,
}

/// Whether a client may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may, as the user whose name it gives, which was verified; or as nobody if it gives none.
    Accepted,
    /// It may, and nobody has asked for a proof of who it is: the name that it gives is claimed.
    AcceptedUnasked,
    /// It may, as this one.
    AcceptedAs(Principal),
    /// It may not, for this reason: "bad user name or password" or "not authorized".
    Refused(ReasonCode),
}

/// What has happened, for logs and statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A client is connected: its CONNACK is on its way.
    Connected {
        /// Which connection.
        connection: ConnectionHandle,
        /// Its client identifier.
        client_id: Box<str>,
        /// The version it speaks.
        version: ProtocolVersion,
        /// Whether it went on with a stored session.
        session_present: bool,
        /// In seconds.
        keep_alive: u16,
    },
    /// A client has broken the rules with a packet. That its connection ends is said, too.
    Offended(Box<Offence>),
    /// A connection is at its end.
    Disconnected {
        /// Which connection.
        connection: ConnectionHandle,
        /// Its client identifier, if it came that far.
        client_id: Option<Box<str>>,
        /// The version it spoke, if it came that far.
        version: Option<ProtocolVersion>,
        /// Why.
        cause: Cause,
    },
    /// A message was published: one of those that [`Shard::watch`] asked for.
    Published(Box<Published>),
    /// Clients fight for a client identifier. Said when they are slowed for it, and then once a minute.
    Duel {
        /// Which client identifier.
        client_id: Box<str>,
        /// The connection that has the session.
        holder: ConnectionHandle,
        /// The one that wants it.
        challenger: ConnectionHandle,
        /// How often it was taken over, each time within a minute of the last.
        takeovers: u32,
    },
    /// A client meets a quota that it is not told. Said once a second at most for each quota.
    OverQuota {
        /// Which connection.
        connection: ConnectionHandle,
        /// Its client identifier.
        client_id: Box<str>,
        /// Which quota.
        quota: Quota,
        /// How often a client met it since it was last said.
        unsaid: u64,
    },
    /// Messages for a session are lost. Said once, and then every minute as long as it goes on.
    Losing {
        /// Its client identifier.
        client_id: Box<str>,
        /// How many since it was last said.
        lost: Lost,
    },
    /// Something was denied to a client that it has no right to. Said once, and then every minute as
    /// long as it goes on.
    Denied(Box<Refusals>),
}

/// A packet with which a client has broken the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offence {
    /// Which connection.
    pub connection: ConnectionHandle,
    /// Its client identifier, if it came that far.
    pub client_id: Option<Box<str>>,
    /// Which rule, and how it was broken.
    pub violation: Violation,
    /// At which byte of the packet, if the packet by itself breaks it.
    pub at: Option<usize>,
    /// The packet, or the front of it. It may hold secrets.
    pub packet: Box<[u8]>,
    /// How many bytes of it there were.
    pub packet_bytes: usize,
}

/// A set of sessions and their connections. See the crate's description for how to drive it.
#[derive(Debug)]
pub struct Shard {
    pub(crate) delivery: Delivery,
    pub(crate) router: Router,
    pub(crate) commons: Rc<dyn Commons>,
    placement: Placement,
    id: ShardId,
    /// Sessions by client identifier.
    clients: Clients,
    entrances: Vec<Entrance>,
    pub(crate) timers: Wheel<Timer>,
    /// The longest that a connection which waits now may have had for its CONNECT.
    connect_timeout_most_ms: u64,
    pub(crate) actions: VecDeque<Action>,
    due: Vec<Timer>,
    /// Subscriptions of sessions that are over, to be taken out.
    leaving: VecDeque<(SessionHandle, Vec<(CompactString, Terms)>)>,
    departures: Departures,
    /// Messages given back that are to be routed when all shards are ready.
    unrouted: Vec<Unrouted>,
    asking: Asking,
    /// Parcels of other shards that have been emptied, by shard.
    emptied: Vec<Vec<Parcel>>,
    /// Sessions whose subscriptions are to be judged by new policies.
    to_be_judged: Vec<SessionHandle>,
    /// When this shard will look for expired retained messages, by part.
    retained_watch: Vec<Option<u64>>,
    /// Retained messages that are on their way to the store: the first of each ticket.
    unstored: VecDeque<(Ticket, u64)>,
    /// Connections that have been silent for as long as it takes to be greeted.
    to_be_greeted: VecDeque<ConnectionHandle>,
    duels: Duels,
    half_open: HalfOpen,
    sayings: Sayings,
    /// Whether some clients have a limit of how fast they may send.
    is_metering: bool,
    offer: Offer,
    /// See [`Offer::refused_publish_flags`].
    refused_publish_flags: u8,
    /// Where the packets of clients with topic aliases are written as they would be without.
    unaliased: Vec<u8>,
    pub(crate) watch: Watch,
    pub(crate) survey: Survey,
    random: ChaCha12Rng,
    next_key: u64,
}

/// What a deadline is for. Whoever it concerns is asked, when it comes, whether it still holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Timer {
    /// CONNECT has to be accepted by now; and if it was, its keep alive is looked at.
    Connect(ConnectionHandle),
    KeepAlive(ConnectionHandle),
    /// The client may be waiting to be greeted.
    Hello(ConnectionHandle),
    /// The session's will is due, or its end.
    Session(SessionHandle),
    /// A receiver was waited for.
    Crowd(ConnectionHandle),
    /// A connection was not read because memory was short.
    Memory(ConnectionHandle),
    /// A client was not read because it sent too fast.
    Rate(ConnectionHandle),
    /// A connection waits until it may take a session over.
    Duel(ConnectionHandle),
    /// Messages in this part of the retained ones may have expired.
    Retained(u16),
    /// It may be said again that messages for a session are lost.
    Losses(SessionHandle),
    /// It may be said again what was denied to whom.
    Refusals,
}

fn is_metering(entrances: &[Entrance]) -> bool {
    entrances.iter().any(|entrance| entrance.rates.is_any())
}

/// While memory is short, who sends as much as this at once is not read for so long.
const FLOOD_BYTES: usize = 4 * 1024;
const BRAKE_MS: u64 = 100;
/// When there is none left, who has sent as much as this of a packet goes.
const LARGE_BYTES: usize = 64 * 1024;

impl Shard {
    /// A shard without sessions, and without other shards.
    pub fn new(settings: Settings, now: Now) -> Self {
        let mut seed = [0; 8];
        seed.copy_from_slice(&settings.seed[..8]);
        let solitude = Solitude::new(u64::from_le_bytes(seed));
        Self::among(settings, ShardId(0), Rc::new(solitude), now)
    }

    /// A shard without sessions, one of several. Their seeds differ, their limits should not.
    pub fn among(settings: Settings, id: ShardId, commons: Rc<dyn Commons>, now: Now) -> Self {
        let mut random = ChaCha12Rng::from_seed(settings.seed);
        let hash_seed = random.next_u64();
        let mut emptied = Vec::new();
        emptied.resize_with(usize::from(commons.shards()), Vec::new);
        let connect_timeout_most_ms = settings.limits.connect_timeout_ms;
        let mut delivery =
            Delivery::new(settings.limits, settings.stage, commons.shards(), commons.memory(), now);
        delivery.stored_wall_ms = settings.stored_wall_ms;
        delivery.mounts = Mounts::of_table(&settings.entrances);
        delivery.authority = Authority::new(settings.policies);
        Self {
            delivery,
            router: Router::new(random.next_u64(), id, Rc::clone(&commons)),
            placement: Placement::new(commons.seed()),
            refused_publish_flags: settings.offer.refused_publish_flags(),
            offer: settings.offer,
            unaliased: Vec::new(),
            to_be_judged: Vec::new(),
            retained_watch: vec![None; commons.retained_parts()],
            unstored: VecDeque::new(),
            commons,
            id,
            clients: Clients::new(hash_seed),
            to_be_greeted: VecDeque::new(),
            duels: Duels::new(random.next_u64()),
            half_open: HalfOpen::default(),
            sayings: Sayings::default(),
            is_metering: is_metering(&settings.entrances),
            entrances: settings.entrances,
            timers: Wheel::new(now.mono_ms),
            connect_timeout_most_ms,
            actions: VecDeque::new(),
            due: Vec::new(),
            leaving: VecDeque::new(),
            departures: Departures::default(),
            unrouted: Vec::new(),
            asking: Asking::default(),
            emptied,
            watch: Watch::default(),
            survey: Survey::default(),
            random,
            // Shards share the store, so no two may give the same key.
            next_key: settings.next_key + u64::from(id.0),
        }
    }

    pub(crate) fn commons(&self) -> &dyn Commons {
        &*self.commons
    }

    pub(crate) fn keep_unrouted(&mut self, unrouted: impl Iterator<Item = Unrouted>) {
        self.unrouted.extend(unrouted);
    }

    pub(crate) fn take_unrouted(&mut self) -> Vec<Unrouted> {
        std::mem::take(&mut self.unrouted)
    }

    pub(crate) fn record(&mut self, record: Record) {
        self.delivery.journal.push(record);
    }

    pub(crate) fn set_now(&mut self, now: Now) {
        self.delivery.now = now;
    }

    /// A connection was accepted.
    pub fn open(&mut self, now: Now) -> ConnectionHandle {
        self.open_at(EntranceId::default(), Transport::Plain, now)
    }

    /// A connection was accepted at this entrance, carried by this transport.
    pub fn open_at(
        &mut self,
        entrance: EntranceId,
        transport: Transport,
        now: Now,
    ) -> ConnectionHandle {
        let others = self.commons.connections().fetch_add(1, Ordering::Relaxed);
        let surplus = (others + 1).saturating_sub(self.delivery.limits.connections_max);
        let is_one_too_many = surplus > self.make_place(surplus, now);
        let turned_away = is_one_too_many.then_some(ReasonCode::QuotaExceeded);
        let mut connection = Connection::new(now.mono_ms, turned_away, transport, entrance);
        let rules = self.entrance(entrance);
        connection.mounted = rules.is_some_and(|rules| rules.mount.is_some());
        let stage = rules.and_then(|rules| rules.stage);
        connection.stage = stage.unwrap_or(self.delivery.journal.usual());
        let handle = self.delivery.connections.insert(connection);
        self.delivery.weigh(handle);
        let connections = &self.delivery.connections;
        self.half_open.add(handle, now.mono_ms, |handle| connections.get(handle));
        self.delivery.counters.connections_opened += 1;
        if transport == Transport::Tls {
            self.delivery.tls.connections_opened += 1;
        }
        let deadline = now.mono_ms + self.delivery.limits.connect_timeout_ms;
        self.timers.insert(deadline, Timer::Connect(handle));
        handle
    }

    /// Closes so many connections, if there are as many here that have not said CONNECT for too long: also
    /// those that wait to be told that they are too many. Returns how many it were.
    fn make_place(&mut self, wanted: usize, now: Now) -> usize {
        for made in 0..wanted {
            let connections = &self.delivery.connections;
            let oldest = self.half_open.give_way(now.mono_ms, |handle| connections.get(handle));
            let Some(oldest) = oldest else {
                return made;
            };
            self.delivery.counters.connects_given_way += 1;
            // It counts no more, on whatever shard somebody wants its place.
            self.commons.connections().fetch_sub(1, Ordering::Relaxed);
            self.close(oldest, Cause::GaveWay, now);
        }
        wanted
    }

    /// Connections come faster than they may, and are not accepted for a while.
    pub fn note_arrivals_wait(&mut self) {
        self.delivery.counters.arrivals_slowed += 1;
    }

    /// A connection was closed as soon as it was accepted, for this reason, which nobody has heard.
    pub fn note_unheard(&mut self, reason: ReasonCode) {
        self.delivery.refused.count(reason);
        self.delivery.refused.unheard += 1;
    }

    /// The CONNECT of a new connection will be refused for this reason, whatever it says.
    pub fn turn_away(&mut self, handle: ConnectionHandle, reason: ReasonCode) {
        if let Some(connection) = self.delivery.connections.get_mut(handle) {
            connection.turned_away.get_or_insert(reason);
        }
    }

    /// Where a connection was accepted; none if it is gone.
    pub fn entrance_of(&self, handle: ConnectionHandle) -> Option<EntranceId> {
        self.delivery.connections.get(handle).map(|connection| connection.entrance)
    }

    /// Replaces the rules of the entrances. Who is connected keeps how safe things have to be for him.
    pub fn set_entrances(&mut self, entrances: Vec<Entrance>) {
        self.delivery.mounts = Mounts::of_table(&entrances);
        self.is_metering = is_metering(&entrances);
        self.entrances = entrances;
    }

    /// Replaces the limits. Those that a client is told when it connects apply to it from its next
    /// connection on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.connect_timeout_most_ms = self.connect_timeout_most_ms.max(limits.connect_timeout_ms);
        self.delivery.set_limits(limits);
    }

    /// The rules of an entrance, if it has any.
    pub(super) fn entrance(&self, id: EntranceId) -> Option<&Entrance> {
        entrance(&self.entrances, id)
    }

    /// The rules of the entrance that a connection came in by.
    pub(super) fn rules_for(&self, handle: ConnectionHandle) -> Option<&Entrance> {
        self.entrance(self.entrance_of(handle)?)
    }

    /// Bytes were read from a connection.
    pub fn on_bytes(&mut self, handle: ConnectionHandle, bytes: &[u8], now: Now) {
        let Some(connection) = self.delivery.connections.get_mut(handle) else {
            return;
        };
        self.delivery.now = now;
        connection.last_heard_ms = now.mono_ms;
        self.delivery.counters.bytes_received += bytes.len() as u64;
        if connection.transport == Transport::Tls {
            self.delivery.tls.bytes_received += bytes.len() as u64;
        }
        let rests = connection.is_settled();
        if connection.held() == 0 {
            self.take_in_counted(handle, bytes, now);
        } else {
            connection.hold(bytes);
        }
        self.look_after_input(handle, rests);
        if self.is_metering {
            self.charge_bytes(handle, bytes.len());
        }
        if self.delivery.pressure >= Pressure::Floods {
            self.brake(handle, bytes.len(), now);
        }
    }

    /// Memory is short, and these bytes came from a client: if they are many, it is not read for a
    /// while, and if they are part of something large there is no room for, it goes.
    #[cold]
    fn brake(&mut self, handle: ConnectionHandle, bytes: usize, now: Now) {
        let Some(connection) = self.delivery.connections.get_mut(handle) else {
            return;
        };
        if self.delivery.pressure >= Pressure::NewWork && connection.partial.len() > LARGE_BYTES {
            self.delivery.dropped.memory_packets += 1;
            return self.close(handle, Cause::MemoryShort, now);
        }
        if bytes >= FLOOD_BYTES && connection.holds.add(Hold::Memory) {
            self.timers.insert(now.mono_ms + BRAKE_MS, Timer::Memory(handle));
        }
    }

    /// A connection's input was dealt with, and it has perhaps no more of it than before.
    ///
    /// Messages stop at the limit of a connection's output, the last going over it by one packet.
    /// Whatever is beyond are answers to a client that asks and does not read; so it is not read.
    #[inline]
    pub(super) fn look_after_input(&mut self, handle: ConnectionHandle, had_none: bool) {
        let limits = &self.delivery.limits;
        let most = limits.unsent_bytes_max.saturating_add(limits.packet_bytes_max as usize);
        let Some(connection) = self.delivery.connections.get_mut(handle) else {
            return;
        };
        if connection.outbox.len() > most {
            connection.holds.add(Hold::Deaf);
        }
        // Output counts when it is about to be written.
        if !had_none || !connection.is_settled() {
            self.delivery.weigh(handle);
        }
    }

    /// Whether more input of a connection is wanted. If not, [`Action::Resume`] follows.
    pub fn wants_input(&self, handle: ConnectionHandle) -> bool {
        self.delivery.connections.get(handle).is_some() && !self.is_held(handle)
    }

    /// The connection is gone: closed by the peer or the network for the given cause, or by the
    /// driver at the shard's own request. Its handle is stale from now on.
    pub fn on_closed(&mut self, handle: ConnectionHandle, cause: Cause, now: Now) {
        self.delivery.now = now;
        self.close(handle, cause, now);
        if let Some(mut connection) = self.delivery.connections.remove(handle) {
            let counts = !self.half_open.gone(handle);
            let leaves = usize::from(counts && !fault(Fault::ConnectionLeaked));
            self.delivery.forget_weight(&mut connection);
            self.commons.connections().fetch_sub(leaves, Ordering::Relaxed);
            if connection.transport == Transport::Tls {
                self.delivery.tls.connections_closed += 1;
            }
            let unsent = connection.outbox.len();
            if let Some(buffer) = connection.outbox.advance(unsent) {
                self.delivery.outputs.recycle(buffer);
            }
        }
    }

    /// What carries a connection cannot go on, and its peer may still be told why: the client is treated as
    /// one that broke the rules, and [`Action::Close`] follows. [`on_closed`](Self::on_closed) comes last.
    pub fn on_broken(&mut self, handle: ConnectionHandle, cause: Cause, now: Now) {
        self.delivery.now = now;
        self.close(handle, cause, now);
    }

    /// The connections with new output since the last call, each once. They count as taken care of
    /// when their [`output`](Self::output) is asked for.
    pub fn take_dirty(&mut self, into: &mut Vec<ConnectionHandle>) {
        self.delivery.outputs.full.clear();
        let from = into.len();
        into.append(&mut self.delivery.outputs.dirty);
        for handle in &into[from..] {
            self.delivery.weigh(*handle);
        }
    }

    /// The connections with so much output that it had better be written now than with that of the others
    /// at the end of the turn: more of it would go through memory instead of the processor's cache, and
    /// whoever takes all that he is sent would seem not to. To be asked whenever bytes were handed in.
    pub fn take_full(&mut self, into: &mut Vec<ConnectionHandle>) {
        into.append(&mut self.delivery.outputs.full);
    }

    /// Frees buffers and messages that nobody has needed since the last call, which is best made about once
    /// a second. Returns whether a further call may free more.
    pub fn give_back(&mut self) -> bool {
        self.shed_lists();
        self.delivery.outputs.give_back() | self.delivery.pool.give_back()
    }

    /// What is to be written on a connection; `None` if it is gone.
    pub fn output(&mut self, handle: ConnectionHandle) -> Option<&Outbox> {
        let connection = self.delivery.connections.get_mut(handle)?;
        connection.output = Output::Clean;
        Some(&connection.outbox)
    }

    /// So many bytes of the output were written.
    pub fn on_written(&mut self, handle: ConnectionHandle, written: usize) {
        let Some(connection) = self.delivery.connections.get_mut(handle) else {
            return;
        };
        self.delivery.counters.bytes_sent += written as u64;
        if connection.transport == Transport::Tls {
            self.delivery.tls.bytes_sent += written as u64;
        }
        if let Some(buffer) = connection.outbox.advance(written) {
            self.delivery.outputs.recycle(buffer);
        }
        let waits =
            connection.stalled || connection.crowd.is_some() || connection.holds.has(Hold::Deaf);
        self.delivery.weigh(handle);
        if waits {
            self.on_drained(handle);
        }
    }

    /// So many bytes of a connection wait in its transport: over TLS, what is encrypted already and the socket has
    /// not taken, and what has come and is not whole.
    pub fn on_sealed(&mut self, handle: ConnectionHandle, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if let Some(connection) = self.delivery.connections.get_mut(handle)
            && connection.sealed != bytes
        {
            connection.sealed = bytes;
            self.delivery.weigh(handle);
        }
    }

    /// Less waits on a connection on whose output something waits.
    fn on_drained(&mut self, handle: ConnectionHandle) {
        let half = self.delivery.limits.unsent_bytes_max / 2;
        let Some(connection) = self.delivery.connections.get_mut(handle) else {
            return;
        };
        if connection.outbox.len() <= half && !fault(Fault::QueueNotPumped) {
            let stalled = std::mem::replace(&mut connection.stalled, false);
            let session = connection.session.filter(|_| stalled);
            self.delivery.lift(handle, Hold::Deaf);
            if let Some(session) = session {
                self.delivery.pump(session);
                self.revive_replays(session);
            }
        }
        self.delivery.ease(handle);
    }

    /// The next thing to be done.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`on_tick`](Self::on_tick) next, in monotonic milliseconds; `None` while
    /// nothing waits for time.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let delivery = &self.delivery;
        let others = [delivery.journal.due_ms(), delivery.discarded.due_ms()];
        self.timers.next_deadline_ms().into_iter().chain(others.into_iter().flatten()).min()
    }

    /// Whether the shard has work of its own to go on with, so that the driver should come back
    /// without waiting for sockets.
    pub fn has_work(&self) -> bool {
        !self.delivery.replays.is_empty()
            || !self.delivery.released.is_empty()
            || !self.delivery.released_first.is_empty()
            || !self.leaving.is_empty()
            || self.departures.has_ready()
            || !self.to_be_judged.is_empty()
            || !self.to_be_greeted.is_empty()
            || self.delivery.is_to_free()
    }

    /// What has happened so far.
    pub fn counters(&self) -> (&Counters, &Dropped) {
        (&self.delivery.counters, &self.delivery.dropped)
    }

    /// What the clients of this shard take of memory.
    pub fn memory(&self) -> Memory {
        self.delivery.memory()
    }

    /// What all shards take of memory, and beside that what this one keeps for later use, or has not come to
    /// free yet, in bytes.
    pub fn memory_kept(&self) -> usize {
        let leaving: usize = self.leaving.iter().map(|(_, filters)| filters.len()).sum();
        self.commons.memory().total()
            + self.delivery.outputs.kept_bytes()
            + leaving * SUBSCRIPTION_BYTES
    }

    /// What all shards take of memory.
    pub fn common_memory(&self) -> &CommonMemory {
        self.commons.memory()
    }

    /// How short memory is, as this shard has found at the end of its last turn.
    pub fn pressure(&self) -> Pressure {
        self.delivery.pressure
    }

    /// Who takes memory in this shard, and how many bytes. What is counted changes with every turn;
    /// their sum is that of [`memory`](Self::memory) when a turn has ended.
    pub fn owners(&self) -> impl Iterator<Item = (Owner, usize)> {
        self.delivery.owners().map(|owner| (owner, self.delivery.bytes_of(owner)))
    }

    /// How many bytes of memory somebody takes; none if it is gone.
    pub fn bytes_of(&self, owner: Owner) -> usize {
        self.delivery.bytes_of(owner)
    }

    pub(crate) fn retained_len(&self) -> usize {
        let mut len = 0;
        for part in 0..self.commons.retained_parts() {
            self.commons.read_retained(part, &mut |retained| len += retained.len());
        }
        len
    }

    /// How much there is now: connections, sessions, subscriptions, and the retained messages of
    /// all shards.
    pub fn population(&self) -> Population {
        Population {
            connections: self.delivery.connections.len(),
            sessions: self.delivery.sessions.len(),
            subscriptions: self.router.subscriptions(),
            retained: self.retained_len(),
        }
    }

    fn is_held(&self, handle: ConnectionHandle) -> bool {
        // What was held back is dealt with first, or it would grow with what comes behind it.
        self.delivery.connections.get(handle).is_some_and(|connection| {
            !connection.holds.is_free() || connection.held() > 0 || connection.is_being_accepted()
        })
    }
}

/// How much there is in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Population {
    /// Connections, accepted as clients or not.
    pub connections: usize,
    /// Sessions, connected or away.
    pub sessions: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Retained messages.
    pub retained: usize,
}

/// The deadline and handle types are small: thousands lie in the wheel.
const _: () = assert!(size_of::<Timer>() <= 12 && size_of::<Handle<Connection>>() == 8);
