//! The course of a torture: who comes and goes when, and when the broker dies.
//!
//! One thread drives all connections. What is random comes from the seed; what the machine makes of
//! it is not in anybody's hands, so a seed repeats the plan of a run and not the run.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use mio::{Events, Poll, Token};

use super::books::Books;
use super::findings::Kind;
use super::looker::Looker;
use super::packet::Pen;
use super::plan::Plan;
use super::station::{Role, Station};
use super::victim::{Ending, Victim};
use crate::LoadError;
use crate::endpoint::Endpoint;

/// Why a torture came to its end before its last round.
#[derive(Debug)]
pub(crate) enum End {
    /// It was asked to stop.
    Stopped,
    /// The broker cannot go on, which is noted among the findings.
    Broker,
    /// It could not be carried out.
    Failed(LoadError),
}

impl From<LoadError> for End {
    fn from(error: LoadError) -> Self {
        Self::Failed(error)
    }
}

/// A torture under way.
pub(crate) struct Course<'a> {
    plan: &'a Plan,
    pub(crate) victim: Victim,
    pub(crate) books: Books,
    stations: Vec<Station>,
    broker: Endpoint,
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    pen: Pen,
    dice: Rng,
    stop: &'a AtomicBool,
    /// The longest time from a start to the first connection.
    pub(crate) slowest_start: Duration,
    looked_after: Instant,
}

impl<'a> Course<'a> {
    pub(crate) fn new(plan: &'a Plan, stop: &'a AtomicBool) -> Result<Self, LoadError> {
        let victim = Victim::new(plan.launch.clone(), &plan.directory)?;
        let (lanes, spoken) = plan.lanes();
        Ok(Self {
            books: Books::new(lanes, spoken),
            stations: plan.stations(),
            broker: SocketAddr::from(([127, 0, 0, 1], 0)).into(),
            poll: Poll::new().map_err(|error| LoadError::io("cannot poll", error))?,
            events: Events::with_capacity(1_024),
            scratch: vec![0; 64 * 1024],
            pen: Pen::new(plan.version, plan.payload_bytes),
            dice: Rng::with_seed(plan.seed),
            plan,
            victim,
            stop,
            slowest_start: Duration::ZERO,
            looked_after: Instant::now(),
        })
    }

    /// Carries the plan out; `each` hears of every round that ended with the broker's death.
    pub(crate) fn run(&mut self, mut each: impl FnMut(&Books)) -> Result<(), End> {
        for _ in 0..self.plan.rounds {
            self.begin_life()?;
            if self.books.life() == 1 {
                self.bring_up()?;
                self.all_may_leave();
            }
            self.load()?;
            self.kill()?;
            each(&self.books);
        }
        self.begin_life()?;
        self.stations.iter_mut().for_each(|station| station.wanted = true);
        self.bring_up()?;
        self.settle()
    }

    /// Starts the broker, now and then twice because it is killed while it starts.
    fn begin_life(&mut self) -> Result<(), End> {
        let first = self.books.life() == 0;
        while !first && self.dice.u8(..100) < KILLED_STARTING {
            self.choose_shards();
            let later = self.chosen(Duration::ZERO..STARTING);
            self.victim.start_and_kill(later)?;
            self.books.tally.kills += 1;
        }
        self.books.begin_life();
        self.choose_shards();
        let begin = Instant::now();
        match self.victim.start(self.plan.patience) {
            Ok(broker) => self.broker = broker,
            // A broker that never ran is a wrong command line.
            Err(error) if first => return Err(End::Failed(error)),
            Err(error) => return Err(self.broken(&error.to_string())),
        }
        self.slowest_start = self.slowest_start.max(begin.elapsed());
        self.books.move_on();
        if first { Ok(()) } else { self.look() }
    }

    fn choose_shards(&mut self) {
        if let Some(shards) = self.dice.choice(&self.plan.shards) {
            self.victim.set_shards(*shards);
        }
    }

    fn broken(&mut self, words: &str) -> End {
        self.books.look_at_the_clock();
        self.books.findings.note(Kind::Ended, || words.into());
        End::Broker
    }

    /// Waits until all who are wanted are connected and subscribed.
    fn bring_up(&mut self) -> Result<(), End> {
        self.books.move_on();
        while !self.stations.iter().all(|station| station.is_up() || !station.wanted) {
            if self.books.silence() > self.plan.patience {
                let words = "the broker does not answer CONNECT or SUBSCRIBE";
                return Err(self.broken(words));
            }
            self.turn(TICK)?;
        }
        Ok(())
    }

    /// Those who do not stay go away.
    fn all_may_leave(&mut self) {
        self.stations.iter_mut().for_each(|station| station.wanted = station.stays);
    }

    /// Full load until it is time to die.
    fn load(&mut self) -> Result<(), End> {
        let settled = self.books.life() > 1 && self.dice.u8(..100) < SETTLED_FIRST;
        if settled {
            self.bring_up()?;
            self.settle()?;
        }
        let hurried = self.books.life() > 1 && !settled && self.dice.u8(..100) < HURRIED;
        let length = if hurried { Duration::ZERO..STARTING } else { self.plan.life.clone() };
        let length = self.chosen(length);
        let visits = self.visits(length);
        if !hurried {
            self.bring_up()?;
        }
        let begin = Instant::now();
        while begin.elapsed() < length {
            self.come_and_go(&visits, begin.elapsed());
            self.turn((length - begin.elapsed().min(length)).min(TICK))?;
        }
        self.books.open = false;
        Ok(())
    }

    /// When in a life those who do not stay are there.
    fn visits(&mut self, length: Duration) -> Vec<Range<Duration>> {
        let stations = self.stations.len();
        (0..stations).map(|_| self.visit(length)).collect()
    }

    fn visit(&mut self, length: Duration) -> Range<Duration> {
        match self.dice.u8(..4) {
            0 => Duration::MAX..Duration::MAX,
            1 => {
                let come = self.chosen(Duration::ZERO..length);
                come..self.chosen(come..length)
            }
            // They are there when it dies.
            _ => self.chosen(Duration::ZERO..length)..Duration::MAX,
        }
    }

    fn come_and_go(&mut self, visits: &[Range<Duration>], now: Duration) {
        let mut open = true;
        for (station, visit) in self.stations.iter_mut().zip(visits) {
            let Some(behind) = station.subscriber().map(|one| one.behind(&self.books)) else {
                continue;
            };
            let most = if station.stays { AHEAD_MAX } else { QUEUED_MAX };
            open &= behind < most;
            station.wanted = station.stays || visit.contains(&now) || behind >= most;
        }
        self.books.open = open;
    }

    /// Sends nothing new until everything acknowledged has come, and looks at what is retained.
    fn settle(&mut self) -> Result<(), End> {
        self.books.open = false;
        self.books.move_on();
        while !self.is_quiet() {
            if self.books.silence() > self.plan.patience {
                self.give_up();
                break;
            }
            self.turn(TICK)?;
        }
        self.bring_up()?;
        self.look()
    }

    fn is_quiet(&self) -> bool {
        let is_quiet = |station: &Station| match &station.role {
            Role::Publisher(publisher) => publisher.is_idle(),
            Role::Subscriber(subscriber) => !station.wanted || subscriber.is_settled(&self.books),
            Role::Newcomer(newcomer) => newcomer.is_settled(),
            Role::Looker(_) => true,
        };
        self.stations.iter().all(|station| station.is_up() || !station.wanted)
            && self.stations.iter().all(is_quiet)
    }

    /// What has not come by now does not come.
    fn give_up(&mut self) {
        self.books.look_at_the_clock();
        for station in self.stations.iter_mut().filter(|station| station.wanted) {
            match &mut station.role {
                Role::Subscriber(subscriber) => {
                    if subscriber.give_up(&mut self.books) {
                        subscriber.forget_subscriptions();
                    }
                }
                Role::Publisher(publisher) => {
                    for _ in 0..publisher.unacknowledged() {
                        let words = || "a message is not acknowledged".into();
                        self.books.findings.note(Kind::Unanswered, words);
                    }
                }
                Role::Newcomer(newcomer) => {
                    newcomer.give_up(&mut self.books, "nothing more came");
                }
                Role::Looker(_) => {}
            }
        }
    }

    /// Looks at the retained messages with a client of its own, while nobody writes any.
    fn look(&mut self) -> Result<(), End> {
        let wanted: Vec<_> = self.stations.iter().map(|station| station.wanted).collect();
        let looker = Looker::new(self.books.lanes.len());
        let id = format!("torture-looker-{}", self.books.tally.looked_at);
        self.stations.push(Station::new(id, Role::Looker(looker), false));
        self.books.move_on();
        let looked = self.look_until_done();
        if let Some(Station { role: Role::Looker(looker), .. }) = self.stations.pop()
            && looked.is_ok()
        {
            self.books.look_at_the_clock();
            looker.judge(&mut self.books);
        }
        debug_assert_eq!(wanted.len(), self.stations.len());
        looked
    }

    fn look_until_done(&mut self) -> Result<(), End> {
        let looker = self.stations.len() - 1;
        let is_done = |station: &Station| match &station.role {
            Role::Looker(looker) => looker.is_done(),
            _ => false,
        };
        while !is_done(&self.stations[looker]) && self.books.silence() <= self.plan.patience {
            self.turn_for(looker..looker + 1, TICK)?;
        }
        Ok(())
    }

    /// One turn of everybody.
    fn turn(&mut self, wait: Duration) -> Result<(), End> {
        self.turn_for(0..self.stations.len(), wait)
    }

    /// One turn of these: they come or go, speak, and hear what has come.
    fn turn_for(&mut self, who: Range<usize>, wait: Duration) -> Result<(), End> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(End::Stopped);
        }
        self.look_after_the_broker()?;
        self.books.look_at_the_clock();
        let registry = self.poll.registry();
        for (index, station) in self.stations.iter_mut().enumerate() {
            if who.contains(&index) {
                station.come_or_go(&self.broker, registry, Token(index), &self.pen)?;
            }
            station.speak(&mut self.books, &mut self.pen)?;
        }
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                return Err(LoadError::io("cannot poll", error).into());
            }
            _ => {}
        }
        for event in &self.events {
            let Some(station) = self.stations.get_mut(event.token().0) else {
                continue;
            };
            if !station.listen(&mut self.scratch, &mut self.books, &self.pen)? {
                station.cut(&mut self.books);
            }
        }
        Ok(())
    }

    /// Whether it has died without us.
    fn look_after_the_broker(&mut self) -> Result<(), End> {
        if self.looked_after.elapsed() < LOOKED_AFTER {
            return Ok(());
        }
        self.looked_after = Instant::now();
        match self.victim.ended()? {
            None => Ok(()),
            Some(status) => {
                let words = self.victim.last_words();
                Err(self.broken(&format!("the broker ended by itself ({status}){words}")))
            }
        }
    }

    fn kill(&mut self) -> Result<(), End> {
        if let Some(status) = self.victim.ended()? {
            let words = self.victim.last_words();
            return Err(self.broken(&format!("the broker ended by itself ({status}){words}")));
        }
        if let Err(error) = self.victim.end(self.plan.ending) {
            self.books.look_at_the_clock();
            self.books.findings.note(Kind::Ended, || error.to_string());
        }
        self.books.tally.kills += 1;
        for station in &mut self.stations {
            station.listen_to_the_end(&mut self.scratch, &mut self.books, &self.pen)?;
        }
        self.all_may_leave();
        Ok(())
    }

    fn chosen(&mut self, from: Range<Duration>) -> Duration {
        let span = from.end.saturating_sub(from.start);
        from.start + span.mul_f64(self.dice.f64())
    }

    /// What all subscribers together have heard: first, again, overtaken.
    pub(crate) fn add_up(&mut self) {
        let mut sums = [0; 3];
        for subscriber in self.stations.iter().filter_map(Station::subscriber) {
            sums.iter_mut().zip(subscriber.figures()).for_each(|(sum, figure)| *sum += figure);
        }
        let tally = &mut self.books.tally;
        [tally.delivered, tally.repeated, tally.overtaken] = sums;
    }

    /// Kills the broker, if it runs, in its own time.
    pub(crate) fn end(&mut self) -> Result<(), LoadError> {
        self.victim.end(Ending::Kill).map(drop)
    }
}

/// How often, in a hundred starts, it is killed while starting.
const KILLED_STARTING: u8 = 15;

/// Killed while starting, or before all are back: within this time.
const STARTING: Duration = Duration::from_millis(80);

/// How often, in a hundred rounds, everything has to come before the load begins.
const SETTLED_FIRST: u8 = 25;

/// How often, in a hundred others, it dies before all are back.
const HURRIED: u8 = 20;

/// So many messages may be sent that a subscriber who is there has not heard.
const AHEAD_MAX: u64 = 8_000;

/// So many that one who is away has not heard; less than brokers keep by default.
const QUEUED_MAX: u64 = 40_000;

const TICK: Duration = Duration::from_millis(10);
const LOOKED_AFTER: Duration = Duration::from_millis(50);
