//! What must hold whatever several clients say to a broker, before and after they are let in. The
//! fuzzer looks for scripts that break it; the ordinary tests replay those it has found.
//!
//! The broker is a whole shard in the testkit's world: with a gate, a store and a clock that the
//! script can stop, and sockets that it can stall. The world itself looks at each packet that is heard
//! (it can be read, CONNACK is first, no limit of the client is passed, nothing follows the last word)
//! and at the count of memory. Besides:
//!
//! - nothing is answered that was not asked, and acknowledgements come in the order of what they
//!   acknowledge `[MQTT5-4.6.0-2]`;
//! - what was acknowledged is in the store at that moment for a session that is owed it, and reaches
//!   that session in the end, once;
//! - nobody else can have, empty or end the session of a user;
//! - memory stays within what the limits allow, and that of a client who was not let in within what
//!   the limits for those allow;
//! - when all is over, nothing is left.

#[path = "session/books.rs"]
mod books;
#[path = "session/scram.rs"]
mod scram;
#[path = "session/script.rs"]
mod script;

use books::Books;
use noctule_auth::scram::ScramExchange;
use noctule_broker::{Limits, Offer, OnQueueFull, Principal, Sharing, Step as Stage, Verdict};
use noctule_mqtt::{Property, ProtocolVersion, ReasonCode};
use noctule_testkit::packets::{Connecting, disconnect_expiring, v5};
use noctule_testkit::{Authenticator, Pieces, Said, World};
use script::{KEEPER, PASSWORD, SLOTS, Script, Step};

/// Has a broker go through what `data` says.
///
/// # Panics
/// If something does not hold.
pub(crate) fn session(data: &[u8]) {
    let mut script = Script::new(data);
    let mut run = Run::new(script.byte());
    for _ in 0..STEPS_MAX {
        let Some(step) = script.step(&run.versions) else {
            break;
        };
        run.take(step);
        run.attend();
    }
    run.end();
}

/// More than that is more of the same.
const STEPS_MAX: usize = 300;
const PACKET_BYTES_MAX: u32 = 2_048;
const CONNECT_BYTES_MAX: u32 = 300;
/// A script lets no more time pass than this, so that the keeper's session is there at its end.
const TIME_MAX_MS: u64 = 300_000;
/// No session outlives this, so that all can end.
const EXPIRY_MAX_S: u32 = 400;
/// What one read brings at most, as the testkit does it.
const READ_BYTES: usize = 64 * 1024;
/// What all that the limits allow comes to, with some to spare: a few sessions with full queues, and
/// the outputs of as many connections.
const MEMORY_MAX: usize = 8 << 20;

struct Run {
    world: World,
    books: Books,
    versions: [ProtocolVersion; SLOTS],
    /// Exchanges that have begun, by the client.
    exchanges: [Option<ScramExchange>; SLOTS],
    gate_is_held: bool,
    passed_ms: u64,
}

impl Run {
    fn new(mode: u8) -> Self {
        let mut world = World::of(limits(mode), offer(mode));
        world.connect(KEEPER, keeper());
        world.subscribe(KEEPER, "#", 2);
        world.send(KEEPER, disconnect_expiring(ReasonCode::Success, u32::MAX));
        world.expect_closed(KEEPER);
        world.retire(KEEPER);
        world.authenticate(Authenticator::Waiting);
        let books = Books::new(&world);
        Self {
            world,
            books,
            versions: [ProtocolVersion::V5; SLOTS],
            exchanges: Default::default(),
            gate_is_held: false,
            passed_ms: 0,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Open(slot) => self.open(slot),
            Step::Say { slot, said, damage, times } => {
                if let Said::Connect(connect) = &said {
                    if !self.world.is_open(NAMES[slot]) || self.books.has_spoken(slot) {
                        self.open(slot);
                    }
                    self.versions[slot] = connect.version();
                }
                // What a version cannot say is not said.
                if let Ok(bytes) = said.bytes(self.versions[slot]) {
                    let bytes = match damage {
                        Some(damage) => damage.done_to(bytes),
                        None => bytes,
                    };
                    self.say(slot, &bytes.repeat(times));
                }
            }
            Step::Bytes { slot, bytes } => self.say(slot, &bytes),
            Step::Acknowledge { slot, count } => {
                for said in self.books.take_answers(slot, count) {
                    if let Ok(bytes) = said.bytes(self.versions[slot]) {
                        self.say(slot, &bytes);
                    }
                }
            }
            Step::Lose(slot) => self.lose(slot),
            Step::Room { slot, bytes } => match bytes {
                _ if !self.world.is_open(NAMES[slot]) => {}
                Some(bytes) => self.world.stall_after(NAMES[slot], bytes),
                None => self.world.unstall(NAMES[slot]),
            },
            Step::HoldGate(held) => self.gate_is_held = held,
            Step::HoldStore(true) => self.world.hold_store(),
            Step::HoldStore(false) => self.world.let_store_run(),
            Step::ReleaseStore(count) => self.world.release_store(count),
            Step::WriteStore => self.world.write_store(),
            Step::Pass { ms } => {
                let ms = ms.min(TIME_MAX_MS - self.passed_ms);
                self.passed_ms += ms;
                self.world.pass_ms(ms);
            }
            Step::System => self.world.publish_system("$SYS/x", "y"),
            Step::Pieces(pieces) => self.world.in_pieces(pieces),
        }
        self.world.settle();
    }

    fn open(&mut self, slot: usize) {
        self.lose(slot);
        self.world.retire(NAMES[slot]);
        self.world.open(NAMES[slot], self.versions[slot]);
        self.world.unheed(NAMES[slot]);
        self.books.opened(slot);
        self.exchanges[slot] = None;
    }

    fn lose(&mut self, slot: usize) {
        if self.world.is_open(NAMES[slot]) {
            self.world.lose(NAMES[slot]);
        }
    }

    fn say(&mut self, slot: usize, bytes: &[u8]) {
        let all = self.world.speak(NAMES[slot], bytes, PACKET_BYTES_MAX);
        for said in &all {
            if let Said::Connect(connect) = said {
                self.versions[slot] = connect.version();
            }
            self.books.said(slot, said);
        }
    }

    /// Answers who asks to come in, and looks at everything that was heard.
    fn attend(&mut self) {
        while !self.gate_is_held && !self.world.undecided().is_empty() {
            self.decide();
        }
        self.books.read_records(&self.world);
        for (slot, name) in NAMES.iter().enumerate() {
            for said in self.world.all_heard(name) {
                self.books.heard(slot, &said, &self.world);
            }
            if !self.books.is_accepted(slot) {
                let bytes = self.world.bytes_of_connection(name);
                assert!(bytes <= CONNECT_BYTES_MAX as usize + READ_BYTES, "{name}: {bytes} bytes");
            }
        }
        let bytes = self.world.memory_of_all();
        assert!(bytes <= MEMORY_MAX, "{bytes} bytes of memory");
    }

    /// Decides upon the client that has waited longest, as a server's gate would.
    fn decide(&mut self) {
        let slot = self.world.next_undecided_name().and_then(slot_of);
        let who = self.world.undecided()[0].clone();
        let (user, password) = (who.user_name.as_deref(), who.password.as_deref());
        match (&who.enhanced, slot) {
            (Some(_), None) => self.world.refuse(ReasonCode::NotAuthorized),
            (Some(enhanced), Some(slot)) => {
                let data = enhanced.data.as_deref().unwrap_or_default();
                let begun = self.exchanges[slot].take();
                match (enhanced.step, begun) {
                    (Stage::First | Stage::Again, _) => match scram::begin(data) {
                        Some((exchange, challenge)) => {
                            self.exchanges[slot] = Some(exchange);
                            self.world.challenge(&challenge);
                        }
                        None => self.world.refuse(ReasonCode::NotAuthorized),
                    },
                    (Stage::Next, Some(exchange)) => {
                        let user = exchange.user().to_owned();
                        match exchange.finish(data) {
                            Ok(last) => self.world.prove_as(&user, &last),
                            Err(_) => self.world.refuse(ReasonCode::NotAuthorized),
                        }
                    }
                    (Stage::Next, None) => self.world.refuse(ReasonCode::NotAuthorized),
                }
            }
            (None, _) => self.world.verdict(match user {
                None => Verdict::Accepted,
                Some("cert") => Verdict::AcceptedAs(Principal::user("anna")),
                Some("anna" | "bert") if password == Some(PASSWORD) => Verdict::Accepted,
                Some(_) => Verdict::Refused(ReasonCode::BadUserNameOrPassword),
            }),
        }
    }

    /// Everybody leaves, everything is carried out, and the keeper comes for what it is owed.
    fn end(mut self) {
        self.gate_is_held = false;
        self.world.in_pieces(Pieces::Whole);
        self.world.let_store_run();
        for name in NAMES {
            // One that reads again may have others closed.
            if self.world.is_open(name) {
                self.world.unstall(name);
            }
        }
        self.attend();
        for slot in 0..SLOTS {
            self.lose(slot);
        }
        // Memory has to be there for what was taken in when there was some.
        while !self.world.undecided().is_empty() {
            self.world.refuse(ReasonCode::NotAuthorized);
        }
        self.books.read_records(&self.world);
        self.world.authenticate(Authenticator::Yes);
        let is_present = self.world.connect(KEEPER, keeper().clean(false));
        assert!(is_present, "the keeper's session is gone");
        let mut received = Vec::new();
        while let Some(said) = self.world.next_heard(KEEPER) {
            match said {
                Said::Publish(publish) => {
                    self.world.acknowledge(KEEPER, &publish);
                    received.push(publish.payload);
                }
                other => self.world.fail(&format!("the keeper hears {other}")),
            }
        }
        self.books.settle(&received, &self.world);
        self.world.send(KEEPER, disconnect_expiring(ReasonCode::Success, 0));
        self.world.expect_closed(KEEPER);
        self.world.pass(u64::from(EXPIRY_MAX_S) + 1);
        self.world.expect_nobody_left();
    }
}

const NAMES: [&str; SLOTS] = ["0", "1", "2", "3"];

fn slot_of(name: &str) -> Option<usize> {
    NAMES.iter().position(|known| *known == name)
}

/// Who keeps everything: it is away and owed all messages.
fn keeper() -> Connecting {
    v5().persistent().id(KEEPER).user(KEEPER).property(Property::ReceiveMaximum(u16::MAX))
}

fn limits(mode: u8) -> Limits {
    let is_tight = mode & 1 != 0;
    Limits {
        connections_max: 4,
        connect_bytes_max: CONNECT_BYTES_MAX,
        packet_bytes_max: PACKET_BYTES_MAX,
        topic_bytes_max: 60,
        topic_separators_max: 8,
        inflight_out_max: 5,
        inflight_in_max: if mode & 2 != 0 { 4 } else { 1_000 },
        qos2_ids_max: 6,
        topic_aliases_in_max: 3,
        topic_aliases_out_max: 3,
        unsent_bytes_max: 4_096,
        queue_messages_max: if is_tight { 20 } else { 2_000 },
        queue_bytes_max: if is_tight { 8 << 10 } else { 1 << 20 },
        queue_stored_bytes_max: if is_tight { 16 << 10 } else { 4 << 20 },
        queue_resident_bytes_max: if mode & 4 != 0 { 512 } else { 1 << 20 },
        on_queue_full: if mode & 8 != 0 { OnQueueFull::Refuse } else { OnQueueFull::DropNew },
        subscriptions_max: 6,
        acks_waiting_max: 8,
        session_expiry_max: Some(EXPIRY_MAX_S),
        memory_max: if mode & 16 != 0 { 64 << 10 } else { usize::MAX },
        retained_slice: 2,
        ..Limits::default()
    }
}

fn offer(mode: u8) -> Offer {
    Offer {
        keep_alive_max: (mode & 32 != 0).then_some(30),
        shared_subscriptions: match mode >> 6 {
            0 => Sharing::RoundRobin,
            1 => Sharing::Sticky,
            2 => Sharing::Hash,
            _ => Sharing::No,
        },
        payload_format_checked: mode & 64 != 0,
        authentication_methods: vec!["SCRAM-SHA-256".into()],
        ..Offer::default()
    }
}
