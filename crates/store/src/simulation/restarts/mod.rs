//! The broker and its log together: shards in one thread, clients that come and go, a disk that
//! loses what it may, and a broker that is killed, loses power or ends properly at any moment.
//!
//! `broker` is shards on a log, with the group commit of the writer's thread; `client` is somebody
//! who publishes, subscribes and keeps his half of a session; `books` is what was promised, kept from
//! outside, and what is wrong.
//!
//! What must hold: what was acknowledged reaches everybody who was subscribed by then; at QoS 2 once;
//! in order; a session that was confirmed is there; a delivery that goes on has the packet identifier
//! it had; the retained message of a topic is the last that was acknowledged, or a later one; and
//! every SUBSCRIBE that was granted brings those there are, at QoS 2 once.

mod books;
mod broker;
mod client;
mod departing;
mod replays;
mod stalled;

use crate::faults::{Fault, Faults};
use crate::testing::SimulatedDisk;
use books::Books;
use broker::{Broker, Cut};
use client::{Client, Role};
use noctule_broker::faults::{Fault as BrokerFault, plant};
use noctule_testkit::Dice;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Seeds that are tried when nothing is said.
const SEEDS: u64 = 150;
/// Steps of a run; with each something happens to a client, the log or the time.
const STEPS: usize = 500;
/// Of a hundred steps, so many are the end of the broker.
const ENDS: usize = 2;

/// What a run has seen.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    acknowledged: usize,
    heard: usize,
    restarts: usize,
    power_cuts: usize,
    resumed: usize,
    /// Deliveries that went on after a restart with their identifiers.
    continued: usize,
    /// Messages that full queues have refused.
    refused: usize,
    loads: usize,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.heard += other.heard;
        self.restarts += other.restarts;
        self.power_cuts += other.power_cuts;
        self.resumed += other.resumed;
        self.continued += other.continued;
        self.refused += other.refused;
        self.loads += other.loads;
    }
}

struct Run {
    dice: Dice,
    disk: SimulatedDisk,
    faults: Faults,
    /// None while it is not running.
    broker: Option<Broker>,
    clients: Vec<Client>,
    books: Books,
    seen: Seen,
    /// What has happened, for who replays a seed.
    story: String,
}

/// Runs a seed and says what is wrong.
fn run(seed: u64, faults: Faults) -> Result<Seen, String> {
    let run = AssertUnwindSafe(|| {
        let mut run = Run::new(seed, faults);
        let result = run.go_on();
        if let Some(broker) = run.broker.take() {
            run.story.push_str(&broker.abandon());
        }
        result.map(|()| run.seen).map_err(|wrong| format!("{wrong}\n\n{}", run.story))
    });
    let result = catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.unwrap_or_else(|| "an assertion failed".into()))
    });
    result.map_err(|wrong| format!("seed {seed}: {wrong}"))
}

impl Run {
    fn new(seed: u64, faults: Faults) -> Self {
        let mut dice = Dice::new(seed);
        let mut clients = Vec::new();
        for number in 0..2 + dice.below(3) {
            clients.push(Client::new(format!("sub{number}"), Role::Subscriber, &mut dice));
        }
        for number in 0..2 + dice.below(2) {
            clients.push(Client::new(format!("pub{number}"), Role::Publisher, &mut dice));
        }
        Self {
            disk: SimulatedDisk::new(dice.roll()),
            dice,
            faults,
            broker: None,
            clients,
            books: Books::default(),
            seen: Seen::default(),
            story: String::new(),
        }
    }

    fn go_on(&mut self) -> Result<(), String> {
        for _ in 0..STEPS {
            self.step()?;
        }
        self.finish()
    }

    fn step(&mut self) -> Result<(), String> {
        if self.broker.is_none() {
            return self.start();
        }
        match self.dice.below(100) {
            0..ENDS => self.end(),
            2..30 => self.commit(),
            30..34 => self.pass(),
            _ => self.client_acts(),
        }
    }

    fn start(&mut self) -> Result<(), String> {
        let start = if self.dice.chance(50) { Broker::start } else { Broker::start_refusing };
        match start(&self.disk, self.faults, &mut self.dice) {
            Ok(broker) => {
                self.broker = Some(broker);
                // Now and then the power goes some time later.
                if self.dice.chance(50) {
                    self.disk.cut_power_after(self.dice.below(120) as u64);
                }
                Ok(())
            }
            Err(_) if self.disk.is_off() => {
                self.disk.crash();
                Ok(())
            }
            Err(error) => Err(format!("opening: {error}")),
        }
    }

    /// The broker ends: it is killed, or the power goes, or it is stopped.
    fn end(&mut self) -> Result<(), String> {
        let Some(broker) = self.broker.take() else {
            return Ok(());
        };
        self.seen.restarts += 1;
        self.seen.loads += broker.loads();
        let (how, told) = match self.dice.below(3) {
            0 => {
                let told = broker.abandon();
                self.disk.kill();
                ("killed", told)
            }
            1 => {
                let told = broker.abandon();
                self.disk.crash();
                self.seen.power_cuts += 1;
                ("without power", told)
            }
            _ => {
                let (stopped, told) = broker.stop();
                match stopped {
                    Ok(()) => self.disk.kill(),
                    Err(_) if self.disk.is_off() => self.disk.crash(),
                    Err(error) => return Err(format!("stopping: {error}")),
                }
                ("stopped", told)
            }
        };
        self.story.push_str(&format!("{told}\n--- the broker is {how} ---\n"));
        self.clients.iter_mut().for_each(Client::is_cut_off);
        Ok(())
    }

    /// The log commits some of what it was asked for; or the power goes meanwhile.
    fn commit(&mut self) -> Result<(), String> {
        let Some(broker) = &mut self.broker else {
            return Ok(());
        };
        match broker.commit(&mut self.dice) {
            Ok(()) => self.listen(),
            Err(Cut::Failed(error)) if !self.disk.is_off() => Err(format!("at work: {error}")),
            Err(Cut::Failed(_)) => {
                if let Some(broker) = self.broker.take() {
                    self.seen.loads += broker.loads();
                    let told = broker.abandon();
                    self.story.push_str(&format!("{told}\n--- the power goes in a commit ---\n"));
                }
                self.disk.crash();
                self.seen.power_cuts += 1;
                self.seen.restarts += 1;
                self.clients.iter_mut().for_each(Client::is_cut_off);
                Ok(())
            }
        }
    }

    fn pass(&mut self) -> Result<(), String> {
        let ms = 1 + self.dice.below(2_000) as u64;
        if let Some(broker) = &mut self.broker {
            broker.shards.pass_ms(ms);
        }
        self.listen()
    }

    fn client_acts(&mut self) -> Result<(), String> {
        let Some(broker) = &mut self.broker else {
            return Ok(());
        };
        let chosen = self.dice.below(self.clients.len());
        self.clients[chosen].act(&mut broker.shards, &mut self.books, &mut self.dice);
        self.listen()
    }

    /// Everybody looks at what he hears.
    fn listen(&mut self) -> Result<(), String> {
        let Some(broker) = &mut self.broker else {
            return Ok(());
        };
        for client in &mut self.clients {
            client.listen(&mut broker.shards, &mut self.books)?;
        }
        Ok(())
    }

    /// Everybody comes, finishes what he has begun, and hears what he is owed.
    fn finish(&mut self) -> Result<(), String> {
        while self.broker.is_none() {
            self.start()?;
        }
        // No more cuts.
        self.disk.keep_power();
        let mut quiet = 0;
        for _ in 0..QUIET_MAX {
            let before = (self.books.heard, self.books.acknowledged());
            let Some(broker) = &mut self.broker else { break };
            for client in &mut self.clients {
                client.finish(&mut broker.shards, &mut self.books);
            }
            broker.commit_all(&mut self.dice).map_err(|error| format!("at the end: {error}"))?;
            broker.shards.pass_ms(50);
            self.listen()?;
            let busy = self.clients.iter().any(Client::is_busy);
            quiet = if busy || before != (self.books.heard, self.books.acknowledged()) {
                0
            } else {
                quiet + 1
            };
            if quiet == 3 {
                return self.judge();
            }
        }
        Err(format!("it does not come to rest: {:?}", self.clients))
    }

    fn judge(&mut self) -> Result<(), String> {
        let Some(broker) = &mut self.broker else {
            return Ok(());
        };
        self.books.judge(&self.clients)?;
        client::read_retained(&mut broker.shards, &self.books)?;
        self.seen.loads += broker.loads();
        self.seen.acknowledged = self.books.acknowledged();
        self.seen.heard = self.books.heard;
        self.seen.continued = self.books.continued;
        self.seen.refused = self.books.refused;
        self.seen.resumed = self.books.resumed;
        Ok(())
    }
}

/// Rounds in which all has to come to rest.
const QUIET_MAX: usize = 2_000;

#[test]
fn what_a_broker_has_acknowledged_survives_whatever_happens_to_it() {
    if let Some(seed) = noctule_testkit::seed_from_environment("NOCTULE_RESTART_SEED") {
        let seen = run(seed, Faults::default()).unwrap_or_else(|wrong| panic!("{wrong}"));
        println!("seed {seed}: {seen:?}");
        return;
    }
    let seeds = noctule_testkit::seed_from_environment("NOCTULE_RESTART_SEEDS").unwrap_or(SEEDS);
    let mut total = Seen::default();
    for seed in 0..seeds {
        match run(seed, Faults::default()) {
            Ok(seen) => total.add(seen),
            Err(wrong) => {
                let first = wrong.lines().next().unwrap_or_default();
                panic!("{first}\nreplay with NOCTULE_RESTART_SEED={seed}");
            }
        }
    }
    println!("{seeds} seeds: {total:?}");
    let each = |number: usize, least: usize| assert!(number >= seeds as usize * least, "{total:?}");
    each(total.acknowledged, 20);
    each(total.heard, 20);
    each(total.restarts, 5);
    each(total.resumed, 5);
    each(total.power_cuts, 1);
    each(total.continued, 1);
    each(total.loads, 1);
    each(total.refused, 1);
}

/// Mistakes in the broker and in the log that a run has to find.
const BROKER_FAULTS: &[BrokerFault] = &[
    BrokerFault::AckBeforeTicket,
    BrokerFault::TicketIgnored,
    BrokerFault::DeferredTakenForSettled,
    BrokerFault::QueuedNotHandedIn,
    BrokerFault::ConnackBeforeTicket,
    BrokerFault::DuplicateRouted,
    BrokerFault::CursorNotRewound,
    BrokerFault::SpillOvertaken,
    BrokerFault::IdentifiersBeginAnew,
    BrokerFault::ReplayBeginsAnew,
];
const STORE_FAULTS: &[Fault] =
    &[Fault::AcknowledgedBeforeFlush, Fault::FlushSkipped, Fault::StragglerDropped];
/// A planted fault has to be found by one of so many seeds.
const SEEDS_TO_FIND: u64 = 1_500;

#[test]
fn every_planted_fault_of_broker_and_log_is_found() {
    let mut missed = Vec::new();
    let find = |name: String, faults: Faults, missed: &mut Vec<String>| match (0..SEEDS_TO_FIND)
        .find_map(|seed| run(seed, faults).err().map(|wrong| (seed, wrong)))
    {
        Some((seed, wrong)) => {
            let how: String = wrong.lines().next().unwrap_or_default().chars().take(90).collect();
            println!("{name:<24} {:>6}   {how}", seed + 1);
        }
        None => missed.push(name),
    };
    for fault in BROKER_FAULTS {
        plant(Some(*fault));
        find(fault.to_string(), Faults::default(), &mut missed);
        plant(None);
    }
    for fault in STORE_FAULTS {
        find(format!("{fault:?}"), Faults::plant(*fault), &mut missed);
    }
    assert!(missed.is_empty(), "not found within {SEEDS_TO_FIND} seeds: {missed:?}");
}
