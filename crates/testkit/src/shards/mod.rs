//! Several shards in one thread, with the mail between them in the hands of the test.
//!
//! [`World`](crate::World) is one shard with a store and sockets that stall; this is many, with
//! boxes of letters. This file is what a test can change and ask; `drive` turns the shards and
//! carries letters, `nuisance` is what goes wrong with connections, `watch` what is seen from outside
//! to judge by, `expect` what a test expects, and `commons` what the shards share.
//!
//! The invariants: letters of one shard to another arrive in the order they were written, and a
//! connection that is handed over travels among them. Between pairs there is no order: a seed, or
//! the test, says who is next. What a client hears is decoded, checked for what every client may
//! rely on, and has to be looked at.

mod commons;
mod drive;
mod expect;
mod nuisance;
mod restart;
mod watch;

pub use restart::Given;
pub(crate) use watch::{Happening, Kept, LATE_MS};

use crate::client::{Client, State};
use crate::dice::Dice;
use crate::packets::{Connecting, Said};
use crate::store::PromptStore;
use crate::transcript::{Entry, Transcript};
use crate::world::Pieces;
use commons::Shared;
use noctule_broker::{
    Action, Cause, Commons, ConnectionHandle, Departure, Limits, Mail, Offer, Policies, Population,
    Record, Settings, Shard, ShardId,
};
use noctule_mqtt::ProtocolVersion;
use noctule_session::Now;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use watch::Watch;

/// See the module.
pub struct Shards {
    nodes: Vec<Node>,
    shared: Rc<Shared>,
    now: Now,
    /// Letters on their way: by writer, then reader.
    boxes: Vec<Vec<VecDeque<Letter>>>,
    mail_is_held: bool,
    /// For each shard, whether it has been told of letters in its boxes.
    bells: Vec<bool>,
    crossings: Crossings,
    /// Connections that wait for a verdict, if the test gives it.
    undecided: VecDeque<(usize, ConnectionHandle)>,
    verdicts_are_held: bool,
    /// Turns end as they do in a loop that goes on at once.
    turns_defer: bool,
    /// In how many of a hundred cases another shard does something while one is at work.
    ambushes: usize,
    watch: Watch,
    clients: BTreeMap<String, Seat>,
    names: HashMap<(usize, ConnectionHandle), String>,
    pieces: Pieces,
    dice: Dice,
    transcript: Transcript,
}

/// How often shards had to do with each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Crossings {
    /// Times that a shard put letters into the box of another one, all of a turn at once: a lock.
    pub posts: u64,
    /// Letters: parcels of messages, and words.
    pub letters: u64,
    /// Times that a bell was rung which was still.
    pub wakes: u64,
}

/// A shard and what its thread has for it.
struct Node {
    shard: Rc<RefCell<Shard>>,
    store: PromptStore,
    /// What was asked of the store and has not reached it.
    asked: VecDeque<Action>,
    store_is_held: bool,
}

/// A client, and where its connection is.
struct Seat {
    client: Client,
    /// The shard; none while it is handed over.
    at: Option<usize>,
}

/// What one shard's thread sends to another's.
enum Letter {
    Mail(Mail),
    Arrival { who: String, departure: Departure },
}

/// When tests begin; not a round number, so that nothing falls on the grain of a timer by chance.
const BEGINNING: Now = Now { mono_ms: 1_000_003, wall_ms: 1_700_000_000_017 };
/// Names that are tried to find one for a shard.
const NAMES_TRIED: usize = 1_000;

impl Shards {
    /// So many shards with the default limits.
    pub fn new(shards: usize) -> Self {
        Self::with(shards, &Limits::default())
    }

    /// So many shards with these limits.
    pub fn with(shards: usize, limits: &Limits) -> Self {
        Self::of(shards, limits, &Offer::default())
    }

    /// So many shards with these limits, whose broker offers this.
    pub fn of(shards: usize, limits: &Limits, offer: &Offer) -> Self {
        Self::among(shards, (limits, offer), 1, BEGINNING)
    }

    /// So many shards with these limits, whose sessions have keys from this one on.
    fn keyed(shards: usize, limits: &Limits, next_key: u64, now: Now) -> Self {
        Self::among(shards, (limits, &Offer::default()), next_key, now)
    }

    fn among(shards: usize, terms: (&Limits, &Offer), next_key: u64, now: Now) -> Self {
        let (limits, offer) = terms;
        let shared = Rc::new(Shared::new(shards as u16));
        let node = |number: usize| {
            let settings = Settings {
                limits: limits.clone(),
                offer: offer.clone(),
                seed: [number as u8 + 1; 32],
                next_key,
                ..Settings::default()
            };
            let commons: Rc<dyn Commons> = Rc::<Shared>::clone(&shared);
            Node {
                shard: Rc::new(RefCell::new(Shard::among(
                    settings,
                    ShardId(number as u16),
                    commons,
                    now,
                ))),
                store: PromptStore::default(),
                asked: VecDeque::new(),
                store_is_held: false,
            }
        };
        let row = || std::iter::repeat_with(VecDeque::new).take(shards).collect();
        Self {
            nodes: (0..shards).map(node).collect(),
            boxes: std::iter::repeat_with(row).take(shards).collect(),
            shared,
            now,
            mail_is_held: false,
            bells: vec![false; shards],
            crossings: Crossings::default(),
            undecided: VecDeque::new(),
            verdicts_are_held: false,
            turns_defer: false,
            ambushes: 0,
            watch: Watch::default(),
            clients: BTreeMap::new(),
            names: HashMap::new(),
            pieces: Pieces::Whole,
            dice: Dice::new(0),
            transcript: Transcript::default(),
        }
    }

    /// From now on shards wait, or do not, for receivers that will acknowledge in a moment, before they
    /// have something stored. Where they do, time has to pass until it is.
    pub fn defer(&mut self, turns_defer: bool) {
        self.turns_defer = turns_defer;
    }

    /// From now on all shards have these limits.
    pub fn set_limits(&mut self, limits: &Limits) {
        for node in &self.nodes {
            node.shard.borrow_mut().set_limits(limits.clone());
        }
    }

    /// Has these decide from now on what clients may do.
    pub fn govern(&mut self, policies: &Policies) {
        for node in &self.nodes {
            node.shard.borrow_mut().set_authority(policies.clone(), self.now);
        }
        self.settle();
    }

    /// A client identifier whose session lives on this shard; `nth` tells several apart.
    ///
    /// # Panics
    /// If none is found.
    pub fn name_at(&self, shard: usize, nth: usize) -> String {
        let mut probe = Self::new(self.nodes.len());
        let mut found = 0;
        for number in 0..NAMES_TRIED {
            let name = format!("s{shard}-{number}");
            probe.connect(&name, 0, crate::packets::v311());
            let here = probe.place_of(&name) == Some(shard);
            probe.disconnect(&name);
            if here && found == nth {
                return name;
            }
            found += usize::from(here);
        }
        self.fail(&format!("no name lives on shard {shard}"))
    }

    /// How many shards there are.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Has bytes travel in these pieces, and letters that nobody holds back in the order that the
    /// seed of random pieces says.
    pub fn in_pieces(&mut self, pieces: Pieces) {
        self.pieces = pieces;
        if let Pieces::Random(seed) = pieces {
            self.dice = Dice::new(seed);
        }
    }

    /// How often shards have had to do with each other since this was asked last.
    pub fn take_crossings(&mut self) -> Crossings {
        std::mem::take(&mut self.crossings)
    }

    /// From now on letters wait in their boxes.
    pub fn hold_mail(&mut self) {
        self.mail_is_held = true;
    }

    /// From now on letters arrive as soon as may be, beginning with those that wait.
    pub fn let_mail_run(&mut self) {
        self.mail_is_held = false;
        self.settle();
    }

    /// How many letters wait on the way from one shard to another.
    pub fn letters(&self, from: usize, to: usize) -> usize {
        self.boxes[from][to].len()
    }

    /// Delivers the oldest letter from one shard to another.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn deliver(&mut self, from: usize, to: usize) {
        if !self.hand_in(from, to) {
            self.fail(&format!("there is no letter from {from} to {to}"));
        }
        self.settle();
    }

    /// Delivers all letters that wait from one shard to another.
    pub fn deliver_all(&mut self, from: usize, to: usize) {
        while self.hand_in(from, to) {
            self.settle();
        }
    }

    /// Delivers one of the waiting letters, chosen by the dice. Returns whether there was any.
    pub fn deliver_any(&mut self, dice: &mut Dice) -> bool {
        let delivered = match self.choose_box(dice) {
            Some((from, to)) => self.hand_in(from, to),
            None => false,
        };
        self.settle();
        delivered
    }

    /// From now on a shard's store hears of nothing until it is let run.
    pub fn hold_store(&mut self, shard: usize) {
        self.nodes[shard].store_is_held = true;
    }

    /// A shard's store does what was held back, and everything at once from now on.
    pub fn let_store_run(&mut self, shard: usize) {
        self.nodes[shard].store_is_held = false;
        while let Some(asked) = self.nodes[shard].asked.pop_front() {
            self.work(shard, asked);
            self.settle();
        }
    }

    /// A shard's store, which is held, does the first thing that was held back.
    pub fn let_store_work_once(&mut self, shard: usize) {
        if let Some(asked) = self.nodes[shard].asked.pop_front() {
            self.work(shard, asked);
            self.settle();
        }
    }

    /// The batches of records that a shard's store is held from, in order.
    pub fn held_batches(&self, shard: usize) -> Vec<&[Record]> {
        let mut batches = Vec::new();
        for action in &self.nodes[shard].asked {
            if let Action::Persist { records, .. } = action {
                batches.push(records.as_slice());
            }
        }
        batches
    }

    /// The shard that has a client's connection; none while it is handed over or is gone.
    pub fn place_of(&self, name: &str) -> Option<usize> {
        self.clients.get(name).and_then(|seat| seat.at)
    }

    /// A shard accepts a connection that will speak `version`. Nothing is sent.
    ///
    /// # Panics
    /// If an earlier connection of this name is not over.
    #[track_caller]
    pub fn open(&mut self, name: &str, shard: usize, version: ProtocolVersion) {
        if let Some(Seat { client, .. }) = self.clients.get(name)
            && (client.state != State::Closed || !client.inbox.is_empty())
        {
            self.fail(&format!("the last connection of {name} is not over"));
        }
        let handle = self.nodes[shard].shard.borrow_mut().open(self.now);
        let mut client = Client::new(version, handle);
        client.line.came_ms = self.now.mono_ms;
        self.clients.insert(name.into(), Seat { client, at: Some(shard) });
        self.names.insert((shard, handle), name.into());
        self.transcript.add(Entry::Opened(format!("{name} (on shard {shard})")));
    }

    /// Hands a packet to a client's socket without having a shard read it.
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
            client.line.keep_alive = connect.keep_alive_seconds();
        }
        client.manners.on_said(&said);
        client.unread.extend(bytes);
        self.transcript.add(Entry::ToServer { who: name.into(), version, said });
    }

    /// A client says something, and the shards do all they have to do.
    #[track_caller]
    pub fn send(&mut self, name: &str, said: impl Into<Said>) {
        self.say(name, said);
        self.settle();
    }

    /// A client's connection breaks, without a word. What it had not heard is lost, and what no
    /// shard had read too. One that is being handed over is found broken where it arrives.
    #[track_caller]
    pub fn lose(&mut self, name: &str) {
        let client = self.client_mut(name);
        client.state = State::Closed;
        client.unread.clear();
        client.inbox.clear();
        let handle = client.handle;
        self.transcript.add(Entry::ClosedByClient(name.into()));
        if let Some(at) = self.place_of(name) {
            self.names.remove(&(at, handle));
            self.nodes[at].shard.borrow_mut().on_closed(handle, Cause::PeerClosed, self.now);
        }
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

    /// Lets milliseconds pass on all shards, and everything happen that falls into them, at its
    /// time.
    pub fn pass_ms(&mut self, ms: u64) {
        let end = self.now.mono_ms + ms;
        while let Some(deadline) = self.next_deadline_ms().filter(|at| *at <= end) {
            self.tick(deadline.max(self.now.mono_ms));
        }
        self.tick(end);
    }

    fn next_deadline_ms(&self) -> Option<u64> {
        self.nodes.iter().filter_map(|node| node.shard.borrow().next_deadline_ms()).min()
    }

    fn tick(&mut self, mono_ms: u64) {
        self.now.wall_ms += mono_ms - self.now.mono_ms;
        self.now.mono_ms = mono_ms;
        self.transcript.add(Entry::Time { mono_ms });
        for at in 0..self.nodes.len() {
            self.nodes[at].shard.borrow_mut().on_tick(self.now);
            self.note_turns(at);
        }
        self.settle();
    }

    /// How many bytes of what a client has sent nobody has read.
    pub fn unread(&self, name: &str) -> usize {
        self.clients.get(name).map_or(0, |seat| seat.client.unread.len())
    }

    /// How much there is in each shard.
    pub fn populations(&self) -> Vec<Population> {
        self.nodes.iter().map(|node| node.shard.borrow().population()).collect()
    }

    /// The connections of all shards, as they count them together.
    pub fn connections(&self) -> usize {
        self.shared.connections().load(Ordering::Relaxed)
    }

    /// Whether a client's connection is open.
    pub fn is_open(&self, name: &str) -> bool {
        self.clients.get(name).is_some_and(|seat| seat.client.state == State::Open)
    }

    /// Has the transcript begin with the test and not some lines before its end.
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
        if self.watch.is_on {
            // Whoever watches catches it, and a panic's hook would print it besides.
            std::panic::resume_unwind(Box::new(format!("{why}\n\n{}", self.transcript)));
        }
        panic!("{why}\n\n{}", self.transcript)
    }

    #[track_caller]
    fn client(&self, name: &str) -> &Client {
        match self.clients.get(name) {
            Some(seat) => &seat.client,
            None => self.fail(&format!("there is no client {name}")),
        }
    }

    #[track_caller]
    fn client_mut(&mut self, name: &str) -> &mut Client {
        if !self.is_open(name) {
            self.fail(&format!("{name} is not connected"));
        }
        match self.clients.get_mut(name) {
            Some(seat) => &mut seat.client,
            None => unreachable!("an open client is there"),
        }
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.watch.is_on {
            self.expect_quiet();
        }
    }
}
