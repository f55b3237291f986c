//! The simulation: clients of every version do at random what clients do, over one to eight shards
//! in one thread and in virtual time, while sockets split, stall and break, letters between shards
//! come late, stores and verdicts take their time and shards get into each other's work. What was
//! promised is checked against books that are kept from outside.
//!
//! `course` says what kind of run a seed makes, `guest` is a client and `hearing` what it makes of
//! what it hears. The books: `books` of messages and subscriptions, `lives` of sessions and wills,
//! `values` of retained messages. Now and then there is `calm`, and everything is looked at; then comes
//! a `drill` of what threads can do to each other.
//!
//! The invariant: everything comes from the seed. A run that fails says its seed, and fails again.

mod books;
mod calm;
mod course;
mod drill;
mod guest;
mod hearing;
mod lives;
mod values;

pub(crate) use books::number_in;

use crate::dice::Dice;
use crate::shards::{Happening, Shards};
use crate::world::Pieces;
use books::Books;
use course::Course;
use guest::Guest;
use lives::Lives;
use noctule_broker::Cause;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use values::Values;

/// What is to be simulated.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Everything random comes from it.
    pub seed: u64,
    /// How long, in minutes of virtual time.
    pub minutes: u64,
    /// Whether a failure is told from the beginning, and not only its last lines.
    pub whole_story: bool,
}

/// How much happened in a run: for a test to make sure that something did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Steps of the simulation.
    pub steps: usize,
    /// Messages published.
    pub published: usize,
    /// Messages heard.
    pub delivered: usize,
    /// Deliveries that were promised to happen.
    pub promised: usize,
}

/// See the module.
struct Simulation {
    stage: Stage,
    guests: Vec<Guest>,
}

/// Everything but the clients themselves.
struct Stage {
    w: Shards,
    course: Course,
    dice: Dice,
    books: Books,
    lives: Lives,
    values: Values,
    /// Connections that nobody listens to any more and that may not be over.
    past: Vec<String>,
    /// Connections that will be refused.
    refused: BTreeSet<String>,
    /// Why connections ended.
    ended: BTreeMap<String, Cause>,
    wills: usize,
    asked: usize,
    drills: usize,
    /// Messages dropped up to the last calm.
    drops: (u64, u64),
}

impl Plan {
    /// Runs it to its end.
    ///
    /// # Errors
    /// What was wrong, and what had been said.
    pub fn run(self) -> Result<Totals, String> {
        let run = AssertUnwindSafe(|| {
            let mut simulation = Simulation::new(self);
            simulation.go_on(self.minutes)
        });
        std::panic::catch_unwind(run).map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
            format!("seed {}: {}", self.seed, text.unwrap_or_else(|| "a panic".into()))
        })
    }
}

impl Simulation {
    fn new(plan: Plan) -> Self {
        let mut dice = Dice::new(plan.seed);
        let course = Course::of(&mut dice);
        let mut w = Shards::with(course.shards, &course.limits);
        if plan.whole_story {
            w.keep_whole_transcript();
        }
        w.in_pieces(if course.in_pieces { Pieces::Random(plan.seed) } else { Pieces::Whole });
        w.watch(course.limits.connect_timeout_ms);
        w.ambush(course.ambushes);
        w.hold_verdicts();
        w.defer(course.defers);
        w.note(format!("seed {}: {course:?}", plan.seed));
        let mut guests = vec![Guest::witness()];
        guests.extend((1..=course.guests).map(|number| Guest::new(number, dice.chance(60))));
        let lives = Lives::with(course.limits.session_expiry_max);
        let stage = Stage {
            w,
            course,
            dice,
            lives,
            books: Books::default(),
            values: Values::default(),
            past: Vec::new(),
            refused: BTreeSet::new(),
            ended: BTreeMap::new(),
            wills: 0,
            asked: 0,
            drills: 0,
            drops: (0, 0),
        };
        Self { stage, guests }
    }

    fn go_on(&mut self, minutes: u64) -> Totals {
        self.guests[0].connect(&mut self.stage);
        self.calm();
        self.guests[0].subscribe_to(&mut self.stage, &["will/+"], true);
        self.calm();
        let end = self.stage.w.now_ms() + minutes * 60_000;
        let mut totals = Totals::default();
        let mut calm_at = self.next_calm();
        while self.stage.w.now_ms() < end {
            self.step();
            totals.steps += 1;
            if self.stage.w.now_ms() >= calm_at {
                self.calm();
                calm_at = self.next_calm();
            }
        }
        self.end();
        (totals.published, totals.delivered, totals.promised) = self.stage.books.totals();
        totals
    }

    fn next_calm(&mut self) -> u64 {
        self.stage.w.now_ms() + 10_000 + self.stage.dice.below(60_000) as u64
    }

    fn step(&mut self) {
        let Self { stage, guests } = self;
        let at = stage.dice.below(guests.len());
        let guest = &mut guests[at];
        match stage.dice.below(100) {
            0..4 if !guest.is_there() || (!guest.is_witness && stage.dice.chance(15)) => {
                guest.connect(stage);
                if !guest.is_witness && stage.dice.chance(10) {
                    guest.connect(stage);
                }
            }
            4..24 => {
                for _ in 0..1 + stage.dice.below(3) {
                    guest.publish(stage);
                }
            }
            24..29 if !guest.is_witness => guest.subscribe(stage),
            29..31 => guest.unsubscribe(stage),
            31..50 => {
                guest.listen(stage);
                let count = stage.dice.below(6);
                guest.answer(stage, count);
            }
            50..70 => {
                let shard = stage.dice.below(stage.course.shards);
                stage.w.take_turn(shard);
            }
            70..80 => {
                let Stage { w, dice, course, .. } = stage;
                w.read_mail(dice, course.letters);
            }
            80..86 => {
                let shard = stage.dice.below(stage.course.shards);
                let count = 1 + stage.dice.below(3);
                stage.w.release_store(shard, count);
            }
            86..90 if stage.w.undecided() > 0 => {
                let nth = stage.dice.below(stage.w.undecided());
                stage.decide(nth);
            }
            90..92 => {
                let ms = if stage.dice.chance(3) { 20_000 } else { stage.dice.below(4_000) as u64 };
                stage.w.let_time_pass(ms);
                guests.iter_mut().for_each(|guest| guest.ping(stage));
            }
            92..100 if stage.dice.chance(stage.course.trouble * 5) => trouble(stage, guest),
            _ => {}
        }
        stage.digest();
    }
}

/// Something goes wrong with a client's connection.
fn trouble(stage: &mut Stage, guest: &mut Guest) {
    if guest.is_witness || !guest.is_there() || !stage.w.is_open(&guest.label) {
        return;
    }
    match stage.dice.below(10) {
        0..2 => guest.leave(stage),
        2 => guest.go(stage, |stage, label| stage.w.reset(label)),
        3..5 => {
            let ms = stage.dice.below(60_000) as u64;
            guest.be_silent(stage, ms);
        }
        5..8 => {
            let bytes = stage.dice.below(600);
            stage.w.stall_after(&guest.label, bytes);
        }
        _ => stage.w.unstall(&guest.label),
    }
}

impl Stage {
    /// Takes note of what has happened to connections.
    fn digest(&mut self) {
        for happening in self.w.happened() {
            if let Err(wrong) = self.lives.take(&happening) {
                self.w.fail(&wrong);
            }
            if let Happening::Ended { who, cause, .. } = happening {
                self.ended.insert(who, cause);
            }
        }
    }

    /// Whether earlier connections of a client may still do something.
    fn may_come_back(&self, name: &str) -> bool {
        let prefix = format!("{name}#");
        self.past.iter().any(|label| label.starts_with(&prefix) && !self.w.is_over(label))
    }

    /// Whether an earlier connection of a client has no session yet, and may get one.
    fn may_get_a_session(&self, name: &str) -> bool {
        let prefix = format!("{name}#");
        self.past.iter().any(|label| {
            label.starts_with(&prefix) && !self.lives.has_claimed(label) && !self.w.is_over(label)
        })
    }

    /// Forgets what is over.
    fn tidy(&mut self) {
        self.drops = self.w.drops();
        for label in std::mem::take(&mut self.past) {
            if self.w.is_over(&label) {
                self.w.forget(&label);
                self.ended.remove(&label);
            } else {
                self.past.push(label);
            }
        }
    }
}
