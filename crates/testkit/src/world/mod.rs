//! A world of one shard: its clients, their sockets, a store, an authenticator and a clock, all in
//! one thread and moved by the test alone.
//!
//! This file is what a test can change and ask. How the shard is driven is in `drive`, what a test
//! expects in `expect`, whole exchanges of packets in `conduct`, and clients of which nothing is
//! known in `stranger`.
//!
//! The invariant: whatever a client hears is decoded, checked for what every client may rely on,
//! and has to be looked at by the test. A packet that nobody expected, and a connection that was
//! closed although nobody expected it, fail the test at the latest when the world ends.

mod conduct;
mod drive;
mod expect;
mod stranger;

use crate::authenticator::Authenticator;
use crate::client::{Client, State};
use crate::dice::Dice;
use crate::packets::{Connecting, Said};
use crate::store::{PromptStore, Store};
use crate::transcript::{Entry, Transcript};
use noctule_broker::{
    Cause, ConnectionHandle, Counters, Credentials, Dropped, Entrance, EntranceId, Event, Hello,
    Limits, Offer, Owner, Policies, Population, Pressure, Principal, Record, Report, SessionHandle,
    SessionKey, Settings, Shard, Snapshot, Stage, StoreState, StoredSession, Ticket, Transport,
    Verdict,
};
use noctule_mqtt::ProtocolVersion;
use noctule_session::Now;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// See the module.
pub struct World {
    shard: Shard,
    now: Now,
    authenticator: Authenticator,
    undecided: Vec<(ConnectionHandle, Credentials)>,
    store: Box<dyn Store>,
    /// What the shard asked of the store and has not reached it.
    asked: VecDeque<Asked>,
    store_is_held: bool,
    entrance: EntranceId,
    clients: BTreeMap<String, Client>,
    names: HashMap<ConnectionHandle, String>,
    pieces: Pieces,
    dice: Dice,
    records: Vec<Record>,
    reports: Vec<Report>,
    transcript: Transcript,
}

/// In which pieces the shard reads what clients send, and writes what they hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pieces {
    /// As large as can be.
    Whole,
    /// Byte by byte.
    Bytes,
    /// Of random sizes, from the seed.
    Random(u64),
}

/// A request to the store.
enum Asked {
    Persist { ticket: Ticket, records: Vec<Record>, stage: Stage },
    Load { session: SessionHandle, key: SessionKey, bytes_max: usize },
}

/// When worlds begin; not a round number, so that nothing falls on the grain of a timer by chance.
const BEGINNING: Now = Now { mono_ms: 1_000_003, wall_ms: 1_700_000_000_017 };

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// A world with the default limits.
    pub fn new() -> Self {
        Self::with(Limits::default())
    }

    /// A world with these limits.
    pub fn with(limits: Limits) -> Self {
        Self::of(limits, Offer::default())
    }

    /// A world whose broker offers this.
    pub fn offering(offer: Offer) -> Self {
        Self::of(Limits::default(), offer)
    }

    /// A world whose broker knows these authentication methods, and where the test decides.
    pub fn authenticating(methods: &[&str]) -> Self {
        let authentication_methods = methods.iter().map(|method| (*method).into()).collect();
        let mut w = Self::offering(Offer { authentication_methods, ..Offer::default() });
        w.authenticate(Authenticator::Waiting);
        w
    }

    /// A world with these limits, whose broker offers this.
    pub fn of(limits: Limits, offer: Offer) -> Self {
        Self::settled(Settings { limits, offer, ..Settings::default() })
    }

    /// A world with these limits, in which this is who is greeted.
    pub fn greeting(hello: Hello, limits: Limits) -> Self {
        let entrances = vec![Entrance::greeting(hello)];
        Self::settled(Settings { limits, entrances, ..Settings::default() })
    }

    /// A world with these ways in, whose broker has its own rule of when something is safe.
    pub fn entered(entrances: Vec<Entrance>, stage: Stage) -> Self {
        Self::settled(Settings { entrances, stage, ..Settings::default() })
    }

    /// A world in which these decide what clients may do.
    pub fn governed(policies: Policies) -> Self {
        Self::settled(Settings { policies, ..Settings::default() })
    }

    /// Has these decide from now on what clients may do.
    pub fn govern(&mut self, policies: Policies) {
        self.note("other policies hold".to_owned());
        self.shard.set_authority(policies, self.now);
        self.settle();
    }

    /// From now on clients come by this way in.
    pub fn come_by(&mut self, entrance: EntranceId) {
        self.entrance = entrance;
    }

    /// Replaces the ways in.
    pub fn set_entrances(&mut self, entrances: Vec<Entrance>) {
        self.shard.set_entrances(entrances);
    }

    fn settled(settings: Settings) -> Self {
        Self {
            shard: Shard::new(Settings { seed: [7; 32], next_key: 1, ..settings }, BEGINNING),
            now: BEGINNING,
            entrance: EntranceId::default(),
            authenticator: Authenticator::Yes,
            undecided: Vec::new(),
            store: Box::new(PromptStore::default()),
            asked: VecDeque::new(),
            store_is_held: false,
            clients: BTreeMap::new(),
            names: HashMap::new(),
            pieces: Pieces::Whole,
            dice: Dice::new(0),
            records: Vec::new(),
            reports: Vec::new(),
            transcript: Transcript::default(),
        }
    }

    /// Replaces the store, before anybody has used it.
    pub fn on_store(mut self, store: impl Store + 'static) -> Self {
        self.store = Box::new(store);
        self
    }

    /// Gives a session back that a store has kept.
    pub fn restore(&mut self, stored: StoredSession) {
        self.shard.restore(stored, self.now);
        self.shard.go_on_restored(self.now);
        self.settle();
    }

    /// What the store can take changes.
    pub fn store_state(&mut self, state: StoreState) {
        self.shard.on_store_state(state);
        self.settle();
    }

    /// Has bytes travel in these pieces from now on.
    pub fn in_pieces(&mut self, pieces: Pieces) {
        self.pieces = pieces;
        if let Pieces::Random(seed) = pieces {
            self.dice = Dice::new(seed);
        }
    }

    /// Has this authenticator decide from now on.
    pub fn authenticate(&mut self, authenticator: Authenticator) {
        self.authenticator = authenticator;
    }

    /// What the clients that wait for a verdict say of themselves, in the order in which they came.
    pub fn undecided(&self) -> Vec<&Credentials> {
        self.undecided.iter().map(|(_, credentials)| credentials).collect()
    }

    /// Decides upon the client that has waited longest.
    ///
    /// # Panics
    /// If none waits.
    #[track_caller]
    pub fn verdict(&mut self, verdict: Verdict) {
        if self.undecided.is_empty() {
            self.fail("no client waits for a verdict");
        }
        let (connection, _) = self.undecided.remove(0);
        self.note(format!("the verdict is {verdict:?}"));
        self.shard.handle(Event::Authenticated { connection, verdict }, self.now);
        self.settle();
    }

    /// Has the client that has waited longest go on with its authentication.
    ///
    /// # Panics
    /// If none waits.
    #[track_caller]
    pub fn challenge(&mut self, data: &[u8]) {
        let connection = self.next_undecided();
        self.note(format!("it is challenged with {} bytes", data.len()));
        self.shard.handle(Event::Challenged { connection, data: data.into() }, self.now);
        self.settle();
    }

    /// Accepts the client that has waited longest, with a last word of its method, as a user of the
    /// name `user`.
    ///
    /// # Panics
    /// If none waits.
    #[track_caller]
    pub fn prove(&mut self, data: &[u8]) {
        self.prove_as("user", data);
    }

    /// Accepts the client that has waited longest as this user, with a last word of its method.
    ///
    /// # Panics
    /// If none waits.
    #[track_caller]
    pub fn prove_as(&mut self, user: &str, data: &[u8]) {
        let connection = self.next_undecided();
        let principal = Principal::user(user);
        let event = Event::Proven { connection, principal, data: data.into() };
        self.shard.handle(event, self.now);
        self.settle();
    }

    /// Refuses the client that has waited longest.
    ///
    /// # Panics
    /// If none waits.
    #[track_caller]
    pub fn refuse(&mut self, reason: noctule_mqtt::ReasonCode) {
        self.verdict(Verdict::Refused(reason));
    }

    /// What the client that has waited longest says in its authentication.
    ///
    /// # Panics
    /// If none waits, or it says nothing.
    #[track_caller]
    pub fn authentication_data(&self) -> Vec<u8> {
        let first =
            self.undecided.first().and_then(|(_, credentials)| credentials.enhanced.as_ref());
        match first.and_then(|enhanced| enhanced.data.as_deref()) {
            Some(data) => data.into(),
            None => self.fail("no client waits that says something"),
        }
    }

    #[track_caller]
    fn next_undecided(&mut self) -> ConnectionHandle {
        if self.undecided.is_empty() {
            self.fail("no client waits for a verdict");
        }
        self.undecided.remove(0).0
    }

    /// From now on the store hears of nothing until it is released.
    pub fn hold_store(&mut self) {
        self.store_is_held = true;
    }

    /// From now on the store does everything at once, beginning with what was held back.
    pub fn let_store_run(&mut self) {
        self.store_is_held = false;
        while !self.asked.is_empty() {
            self.release_store(1);
        }
    }

    /// Has the held store do what it was asked to next, `count` requests of it. Requests that come
    /// of this are held again.
    pub fn release_store(&mut self, count: usize) {
        for _ in 0..count.min(self.asked.len()) {
            if let Some(asked) = self.asked.pop_front() {
                self.work(asked);
                self.settle();
            }
        }
    }

    /// Has the held store say that the operating system has what it was handed, and no more than that.
    pub fn write_store(&mut self) {
        let persists = self.asked.iter().filter_map(|asked| match asked {
            Asked::Persist { ticket, .. } => Some(*ticket),
            Asked::Load { .. } => None,
        });
        if let Some(ticket) = persists.max() {
            self.shard.handle(Event::Written(ticket), self.now);
            self.settle();
        }
    }

    /// How safe each of the records has to become that the store has not kept yet, by request.
    pub fn stages_waiting(&self) -> Vec<Stage> {
        let stage = |asked: &Asked| match asked {
            Asked::Persist { stage, .. } => Some(*stage),
            Asked::Load { .. } => None,
        };
        self.asked.iter().filter_map(stage).collect()
    }

    /// How many requests the store has not done.
    pub fn store_waiting(&self) -> usize {
        self.asked.len()
    }

    /// How many messages are left to the store.
    pub fn spilled(&self) -> usize {
        self.store.spilled()
    }

    /// Every record that has been persisted, in order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Opens a connection that will speak `version`. Nothing is sent.
    ///
    /// # Panics
    /// If an earlier connection of this name is open, or left something to be looked at.
    #[track_caller]
    pub fn open(&mut self, name: &str, version: ProtocolVersion) {
        if let Some(earlier) = self.clients.get(name)
            && (earlier.state != State::Closed || (!earlier.inbox.is_empty() && !earlier.unheeded))
        {
            self.fail(&format!("the last connection of {name} is not over"));
        }
        let unheeded = self.clients.get(name).is_some_and(|earlier| earlier.unheeded);
        let last_id = self.clients.get(name).map_or(0, |earlier| earlier.last_id);
        let handle = self.shard.open_at(self.entrance, Transport::Plain, self.now);
        let mut client = Client::new(version, handle);
        client.unheeded = unheeded;
        client.last_id = last_id;
        self.clients.insert(name.into(), client);
        self.names.insert(handle, name.into());
        self.transcript.add(Entry::Opened(name.into()));
    }

    /// Hands a packet to a client's socket without having the shard read it.
    ///
    /// # Panics
    /// If the client is not connected, or the packet cannot be said in its version.
    #[track_caller]
    pub fn say(&mut self, name: &str, said: impl Into<Said>) {
        let said = match said.into() {
            Said::Connect(connect) => Connecting::named(*connect, name).into(),
            said => said,
        };
        let version = self.client(name).version;
        let bytes = match said.bytes(version) {
            Ok(bytes) => bytes,
            Err(error) => self.fail(&format!("{name} cannot say {said} in {version}: {error}")),
        };
        let client = self.client_mut(name);
        if let Said::Connect(connect) = &said {
            client.manners.on_connect(connect.bounds());
        }
        client.manners.on_said(&said);
        client.unread.extend(bytes);
        self.transcript.add(Entry::ToServer { who: name.into(), version, said });
    }

    /// Hands bytes to a client's socket without having the shard read them.
    #[track_caller]
    pub fn say_bytes(&mut self, name: &str, bytes: &[u8]) {
        self.client_mut(name).unread.extend(bytes);
        self.transcript.add(Entry::RawToServer { who: name.into(), bytes: bytes.into() });
    }

    /// A client says something, and the shard does all it has to do.
    #[track_caller]
    pub fn send(&mut self, name: &str, said: impl Into<Said>) {
        self.say(name, said);
        self.settle();
    }

    /// A client sends bytes, and the shard does all it has to do.
    #[track_caller]
    pub fn send_bytes(&mut self, name: &str, bytes: &[u8]) {
        self.say_bytes(name, bytes);
        self.settle();
    }

    /// A client's connection breaks, without a word. What it had not heard is lost, and what the
    /// shard had not read too.
    #[track_caller]
    pub fn lose(&mut self, name: &str) {
        self.end(name, Cause::PeerClosed);
    }

    /// Reading from a client fails.
    #[track_caller]
    pub fn break_socket(&mut self, name: &str) {
        self.end(name, Cause::Failed("connection reset by peer".into()));
    }

    #[track_caller]
    fn end(&mut self, name: &str, cause: Cause) {
        let client = self.client_mut(name);
        client.state = State::Closed;
        client.unread.clear();
        client.inbox.clear();
        let handle = client.handle;
        self.names.remove(&handle);
        self.transcript.add(Entry::ClosedByClient(name.into()));
        self.shard.on_closed(handle, cause, self.now);
        self.settle();
    }

    /// From now on a client's socket takes only so many more bytes.
    #[track_caller]
    pub fn stall_after(&mut self, name: &str, bytes: usize) {
        self.client_mut(name).room = bytes;
        self.note(format!("{name} reads {bytes} more bytes"));
    }

    /// From now on a client's socket takes nothing.
    #[track_caller]
    pub fn stall(&mut self, name: &str) {
        self.stall_after(name, 0);
    }

    /// A client reads again.
    #[track_caller]
    pub fn unstall(&mut self, name: &str) {
        self.client_mut(name).room = usize::MAX;
        self.note(format!("{name} reads again"));
        self.settle();
    }

    /// Forgets a connection that is over, with what was heard on it.
    ///
    /// # Panics
    /// If it is open.
    #[track_caller]
    pub fn retire(&mut self, name: &str) {
        if self.is_open(name) {
            self.fail(&format!("{name} is still connected"));
        }
        self.clients.remove(name);
    }

    /// Whatever this client hears need not be looked at.
    #[track_caller]
    pub fn unheed(&mut self, name: &str) {
        self.client_mut(name).unheeded = true;
    }

    /// Lets milliseconds pass, and everything happen that falls into them, at its time.
    pub fn pass_ms(&mut self, ms: u64) {
        let end = self.now.mono_ms + ms;
        while let Some(deadline) = self.shard.next_deadline_ms().filter(|at| *at <= end) {
            self.tick(deadline.max(self.now.mono_ms));
        }
        self.tick(end);
    }

    /// Lets seconds pass.
    pub fn pass(&mut self, seconds: u64) {
        self.pass_ms(seconds * 1_000);
    }

    /// Lets milliseconds pass while the process stands still: what comes next is read before the timers
    /// of meanwhile come.
    pub fn stand_still_ms(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms;
        self.transcript.add(Entry::Time { mono_ms: self.now.mono_ms });
    }

    fn tick(&mut self, mono_ms: u64) {
        self.stand_still_ms(mono_ms - self.now.mono_ms);
        self.shard.on_tick(self.now);
        self.settle();
    }

    /// The broker stops.
    pub fn shut_down(&mut self) {
        self.note("the broker stops".into());
        self.shard.shut_down(self.now);
        self.settle();
    }

    /// How much there is in the shard.
    pub fn population(&self) -> Population {
        self.shard.population()
    }

    /// How short memory is.
    pub fn pressure(&self) -> Pressure {
        self.shard.pressure()
    }

    /// What everybody and everything takes of memory, in bytes.
    pub fn memory_of_all(&self) -> usize {
        self.shard.memory().total()
            + self.shard.common_memory().large()
            + self.shard.common_memory().retained()
    }

    /// What large messages take, in bytes.
    pub fn large(&self) -> usize {
        self.shard.common_memory().large()
    }

    /// Who takes memory, and how many bytes.
    pub fn owners(&self) -> impl Iterator<Item = (Owner, usize)> {
        self.shard.owners()
    }

    /// What has happened so far.
    pub fn counters(&self) -> &Counters {
        self.shard.counters().0
    }

    /// The broker says something of itself.
    #[track_caller]
    pub fn publish_system(&mut self, topic: &str, payload: &str) {
        self.note(format!("the broker says {payload:?} on {topic}"));
        self.shard.publish_system(topic, payload.as_bytes(), self.now);
        self.settle();
    }

    /// All numbers of the shard.
    pub fn snapshot(&mut self) -> Snapshot {
        self.shard.snapshot()
    }

    /// Has the shard hand out the next so many published messages as reports. Returns how many
    /// were not since this was asked for last.
    pub fn watch(&mut self, messages: u32) -> u64 {
        self.shard.watch(messages)
    }

    /// Deliveries that did not happen.
    pub fn dropped(&self) -> &Dropped {
        self.shard.counters().1
    }

    /// What the shard has reported.
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// Why a client's last connection ended, as the shard has it.
    #[track_caller]
    pub fn cause(&self, name: &str) -> Option<&Cause> {
        self.client(name).cause.as_ref()
    }

    /// Whether a client's connection is open.
    pub fn is_open(&self, name: &str) -> bool {
        self.clients.get(name).is_some_and(|client| client.state == State::Open)
    }

    /// How many bytes wait in a client's output.
    #[track_caller]
    pub fn unsent(&mut self, name: &str) -> usize {
        let handle = self.client(name).handle;
        self.shard.output(handle).map_or(0, noctule_broker::Outbox::len)
    }

    /// How many bytes of a client the shard has not read, because it does not want them.
    #[track_caller]
    pub fn unread(&self, name: &str) -> usize {
        self.client(name).unread.len()
    }

    /// Has the transcript begin with the world and not some lines before its end.
    pub fn keep_whole_transcript(&mut self) {
        self.transcript.kept = usize::MAX;
    }

    /// Writes a line into the transcript.
    pub fn note(&mut self, note: String) {
        self.transcript.add(Entry::Note(note));
    }

    /// Ends the test, with what was said.
    ///
    /// # Panics
    /// Always.
    #[track_caller]
    pub fn fail(&self, why: &str) -> ! {
        panic!("{why}\n\n{}", self.transcript)
    }

    #[track_caller]
    fn client(&self, name: &str) -> &Client {
        match self.clients.get(name) {
            Some(client) => client,
            None => self.fail(&format!("there is no client {name}")),
        }
    }

    #[track_caller]
    fn client_mut(&mut self, name: &str) -> &mut Client {
        if !self.is_open(name) {
            self.fail(&format!("{name} is not connected"));
        }
        match self.clients.get_mut(name) {
            Some(client) => client,
            None => unreachable!("an open client is there"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.expect_quiet();
        }
    }
}
