//! A member of a group ends that is owed more than goes to others in one turn, and the broker ends while it
//! is being given away: at whatever point, the other member gets all of it, at QoS 2 once, and in order.

use super::Broker;
use crate::faults::Faults;
use crate::testing::SimulatedDisk;
use noctule_testkit::packets::{
    Publishing, Said, puback, pubcomp, publish, pubrec, pubrel, subscribe, v5,
};
use noctule_testkit::{Dice, PacketType};
use std::collections::BTreeSet;

/// Some slices, and a part of one.
const MESSAGES: usize = 1_300;
const GROUP: &str = "$share/g/t";

struct Play {
    disk: SimulatedDisk,
    broker: Option<Broker>,
    dice: Dice,
    shards: usize,
    qos: u8,
    /// Identifiers of what the other member has received and that is not released.
    held: BTreeSet<u16>,
    heard: Vec<usize>,
}

impl Play {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let (shards, qos) = (1 + dice.below(3), 1 + dice.below(2) as u8);
        let disk = SimulatedDisk::new(seed);
        let (held, heard) = (BTreeSet::new(), Vec::new());
        Self { disk, broker: None, dice, shards, qos, held, heard }
    }

    fn start(&mut self) {
        let broker = Broker::of(self.shards, &self.disk, Faults::default());
        self.broker = Some(broker.expect("the log can be read"));
    }

    fn broker(&mut self) -> &mut Broker {
        self.broker.as_mut().expect("it runs")
    }

    fn commit_all(&mut self) {
        let Self { broker, dice, .. } = self;
        let broker = broker.as_mut().expect("it runs");
        broker.commit_all(dice).expect("the disk works");
    }

    fn connect(&mut self, name: &str) {
        let shard = self.dice.below(self.shards);
        self.broker().shards.start(name, shard, v5().clean(false).expiry(1_000));
        self.commit_all();
        self.broker().shards.expect_accepted(name);
    }

    /// A client subscribes, and is away.
    fn join(&mut self, name: &str) {
        self.connect(name);
        self.broker().shards.send(name, subscribe(1, GROUP, 2));
        self.commit_all();
        self.broker().shards.all_heard(name);
        self.leave(name);
    }

    fn leave(&mut self, name: &str) {
        self.broker().shards.lose(name);
        self.broker().shards.retire(name);
        self.commit_all();
    }

    fn fill(&mut self) {
        self.connect("publisher");
        for number in 0..MESSAGES {
            let said = publish("t", number.to_string()).qos(self.qos).id(1);
            self.broker().shards.send("publisher", said);
            self.commit_all();
            if self.qos == 2 {
                self.broker().shards.send("publisher", pubrel(1));
                self.commit_all();
            }
            self.broker().shards.all_heard("publisher");
        }
    }

    /// The first member ends, and the log hears of some of what follows.
    fn end_member(&mut self) {
        self.broker().shards.start("first", 0, v5());
        for _ in 0..self.dice.below(9) {
            let Self { broker, dice, .. } = self;
            let broker = broker.as_mut().expect("it runs");
            broker.commit(dice).expect("the disk works");
        }
    }

    fn end_broker(&mut self) {
        self.broker.take().map(Broker::abandon);
        if self.dice.chance(50) { self.disk.kill() } else { self.disk.crash() }
    }

    /// The other member hears what there is. Returns whether there was something.
    fn hear(&mut self) -> bool {
        let said = self.broker().shards.all_heard("second");
        let is_something = !said.is_empty();
        for one in said {
            let answer = match one {
                Said::Publish(Publishing { id: Some(id), payload, .. }) => {
                    let number = String::from_utf8_lossy(&payload).parse().expect("a number");
                    if self.qos == 1 || self.held.insert(id) {
                        self.heard.push(number);
                    }
                    if self.qos == 1 { puback(id) } else { pubrec(id) }
                }
                Said::Ack { packet: PacketType::Pubrel, id, .. } => {
                    self.held.remove(&id);
                    pubcomp(id)
                }
                _ => continue,
            };
            self.broker().shards.send("second", answer);
        }
        is_something
    }

    fn hear_all(&mut self) {
        let mut quiet = 0;
        while quiet < 3 {
            self.commit_all();
            self.broker().shards.pass_ms(50);
            quiet = if self.hear() { 0 } else { quiet + 1 };
        }
    }
}

#[test] // [MQTT5-4.8.2-4]
fn what_a_member_leaves_survives_whenever_the_broker_ends_while_it_is_given_away() {
    let mut interrupted = 0;
    for seed in 0..SEEDS {
        let mut play = Play::new(seed);
        play.start();
        play.join("first");
        play.fill();
        play.join("second");
        for _ in 0..3 {
            play.end_member();
            interrupted += usize::from(play.broker().shards.has_asked());
            play.end_broker();
            play.start();
        }
        play.commit_all();
        play.connect("second");
        play.hear_all();
        // The first may not have ended before the broker did; then it is still owed what it was.
        play.broker().shards.start("first", 0, v5());
        play.hear_all();
        let heard = &play.heard;
        let mut first_times = BTreeSet::new();
        let new: Vec<_> = heard.iter().copied().filter(|one| first_times.insert(*one)).collect();
        assert_eq!(new, (0..MESSAGES).collect::<Vec<_>>(), "seed {seed}");
        assert!(play.qos == 1 || heard.len() == MESSAGES, "seed {seed}: some came twice");
        play.end_broker();
    }
    assert!(interrupted > SEEDS as usize, "{interrupted}");
}

const SEEDS: u64 = 40;
