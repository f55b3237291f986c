//! A disk that stalls while one publisher sends to durable topics and to others in turn: what need not
//! wait for the disk does not, and nothing overtakes.
//!
//! `away` and `kept` have sessions that last and are owed what is durable, `there` has the rest. All
//! answers of the broker come in the order of what they answer: PUBACK `[MQTT5-4.6.0-2]` and
//! PUBREC `[MQTT5-4.6.0-3]` to the publisher, PUBREL `[MQTT5-4.6.0-4]` to whoever has received. While the
//! disk stalls nothing is promised that it does not have.

use super::Broker;
use crate::error::StoreError;
use crate::faults::Faults;
use crate::testing::SimulatedDisk;
use noctule_broker::faults::{Fault, plant};
use noctule_testkit::packets::{
    Connecting, Said, puback, pubcomp, publish, pubrec, pubrel, subscribe, v5, v311,
};
use noctule_testkit::{Dice, PacketType};
use std::collections::BTreeSet;

/// Messages that are sent in a play.
const MESSAGES: u16 = 40;
const PUBLISHER: &str = "s";

#[derive(Debug, Default)]
struct Seen {
    /// Answers that came while the disk stalled.
    at_once: usize,
    /// Answers that waited for it.
    waited: usize,
    /// PUBRELs for a receiver whose PUBREC had to be stored first.
    released: usize,
}

struct Play {
    broker: Broker,
    dice: Dice,
    /// What was sent and is not answered, in order: identifiers, and whether somebody is owed it.
    sent: Vec<(u16, bool)>,
    /// What was said since the disk has stalled, and is true only when the disk has it.
    unstored: BTreeSet<(&'static str, u16)>,
    receivers: [Receiver; 2],
    seen: Seen,
}

struct Receiver {
    name: &'static str,
    /// What it owes an answer.
    due: Vec<Said>,
    /// The identifiers of the PUBRECs that it has said and that are not answered, in order.
    said: Vec<u16>,
}

impl Receiver {
    fn new(name: &'static str) -> Self {
        Self { name, due: Vec::new(), said: Vec::new() }
    }
}

fn play(seed: u64) -> Result<Seen, String> {
    let mut dice = Dice::new(seed);
    let disk = SimulatedDisk::new(seed);
    let broker = Broker::start(&disk, Faults::default(), &mut dice).map_err(|e| e.to_string())?;
    let receivers = [Receiver::new("kept"), Receiver::new("there")];
    let (sent, unstored) = (Vec::new(), BTreeSet::new());
    let mut play = Play { broker, dice, sent, unstored, receivers, seen: Seen::default() };
    let played = play.go();
    let Play { broker, seen, .. } = play;
    let story = broker.abandon();
    played.map(|()| seen).map_err(|wrong| format!("seed {seed}: {wrong}\n{story}"))
}

impl Play {
    fn go(&mut self) -> Result<(), String> {
        let five = self.dice.chance(50);
        let lasting = || if five { v5().clean(false).expiry(100) } else { v311().persistent() };
        let passing = || if five { v5() } else { v311() };
        self.come("away", lasting(), Some("durable/#"))?;
        self.broker.shards.lose("away");
        self.broker.shards.retire("away");
        self.come("kept", lasting(), Some("durable/#"))?;
        self.come("there", passing(), Some("plain/#"))?;
        let publisher = if self.dice.chance(50) { lasting() } else { passing() };
        self.come(PUBLISHER, publisher, None)?;
        for id in 1..=MESSAGES {
            // In turn, but for a few.
            let durable = id.is_multiple_of(2) != self.dice.chance(10);
            let topic = if durable { "durable/x" } else { "plain/x" };
            let qos = 1 + self.dice.below(2) as u8;
            self.sent.push((id, durable));
            if durable {
                self.unstored.insert((PUBLISHER, id));
            }
            self.broker.shards.send(PUBLISHER, publish(topic, "m").qos(qos).id(id));
            self.listen()?;
            self.answer()?;
            if self.dice.chance(15) {
                self.disk_works()?;
            }
        }
        for _ in 0..3 * MESSAGES {
            self.disk_works()?;
            self.answer()?;
        }
        let left = self.receivers.iter().map(|one| one.due.len() + one.said.len());
        if self.sent.is_empty() && left.sum::<usize>() == 0 {
            return Ok(());
        }
        Err(format!("unanswered: {:?}", self.sent))
    }

    fn come(
        &mut self,
        name: &str,
        connecting: Connecting,
        filter: Option<&str>,
    ) -> Result<(), String> {
        self.broker.shards.start(name, 0, connecting);
        self.commit()?;
        if let Some(filter) = filter {
            self.broker.shards.send(name, subscribe(1, filter, 2));
            self.commit()?;
        }
        // CONNACK and SUBACK.
        let heard = self.broker.shards.all_heard(name);
        let expected = 1 + usize::from(filter.is_some());
        if heard.len() == expected { Ok(()) } else { Err(format!("{name} heard {heard:?}")) }
    }

    fn commit(&mut self) -> Result<(), String> {
        let committed = self.broker.commit_all(&mut self.dice);
        committed.map_err(|error: StoreError| error.to_string())
    }

    /// For a moment it does not stall.
    fn disk_works(&mut self) -> Result<(), String> {
        self.commit()?;
        self.unstored.clear();
        self.listen()
    }

    fn listen(&mut self) -> Result<(), String> {
        while self.listen_once()? {}
        Ok(())
    }

    fn listen_once(&mut self) -> Result<bool, String> {
        let answers = self.broker.shards.all_heard(PUBLISHER);
        let mut anything = !answers.is_empty();
        for said in answers {
            self.publisher_hears(&said)?;
        }
        for number in 0..self.receivers.len() {
            let heard = self.broker.shards.all_heard(self.receivers[number].name);
            anything |= !heard.is_empty();
            for said in heard {
                self.receiver_hears(number, &said)?;
            }
        }
        Ok(anything)
    }

    fn publisher_hears(&mut self, said: &Said) -> Result<(), String> {
        let Said::Ack { packet, id, .. } = *said else {
            return Err(format!("the publisher hears {said}"));
        };
        match packet {
            PacketType::Pubcomp => return Ok(()),
            PacketType::Pubrec => self.broker.shards.send(PUBLISHER, pubrel(id)),
            _ => {}
        }
        if self.sent.is_empty() || self.sent[0].0 != id {
            return Err(format!("an answer to {id} before that to {:?}", self.sent));
        }
        let (_, durable) = self.sent.remove(0);
        if self.unstored.contains(&(PUBLISHER, id)) {
            return Err(format!("{id} is acknowledged, and the disk has stalled since before"));
        }
        *(if durable { &mut self.seen.waited } else { &mut self.seen.at_once }) += 1;
        Ok(())
    }

    fn receiver_hears(&mut self, number: usize, said: &Said) -> Result<(), String> {
        let receiver = &mut self.receivers[number];
        let name = receiver.name;
        match said {
            Said::Publish(publishing) => {
                let id = publishing.id.unwrap_or_default();
                let is_two = publishing.qos as u8 == 2;
                receiver.due.push(if is_two { pubrec(id) } else { puback(id) });
            }
            Said::Ack { packet: PacketType::Pubrel, id, .. } => {
                if receiver.said.is_empty() || receiver.said[0] != *id {
                    let said = &receiver.said;
                    return Err(format!("PUBREL {id} to {name}, whose PUBRECs were {said:?}"));
                }
                receiver.said.remove(0);
                receiver.due.push(pubcomp(*id));
                if self.unstored.contains(&(name, *id)) {
                    return Err(format!("PUBREL {id} to {name}, and the disk does not know it"));
                }
                self.seen.released += usize::from(name == "kept");
            }
            other => return Err(format!("{name} hears {other}")),
        }
        Ok(())
    }

    /// Receivers answer some of what they owe an answer, in any order.
    fn answer(&mut self) -> Result<(), String> {
        for number in 0..self.receivers.len() {
            for _ in 0..self.dice.below(3) {
                let receiver = &mut self.receivers[number];
                if receiver.due.is_empty() {
                    break;
                }
                let said = receiver.due.swap_remove(self.dice.below(receiver.due.len()));
                let name = receiver.name;
                if let Said::Ack { packet: PacketType::Pubrec, id, .. } = &said {
                    receiver.said.push(*id);
                    if name == "kept" {
                        self.unstored.insert((name, *id));
                    }
                }
                self.broker.shards.send(name, said);
                self.listen()?;
            }
        }
        Ok(())
    }
}

#[test] // [MQTT5-4.6.0-2] [MQTT5-4.6.0-3] [MQTT5-4.6.0-4]
fn durable_and_other_topics_in_turn_keep_the_order_of_answers_on_a_disk_that_stalls() {
    let mut total = Seen::default();
    for seed in 0..SEEDS {
        let seen = play(seed).unwrap_or_else(|wrong| panic!("{wrong}"));
        total.at_once += seen.at_once;
        total.waited += seen.waited;
        total.released += seen.released;
    }
    let all = [total.at_once, total.waited, total.released];
    assert!(all.iter().all(|count| *count > SEEDS as usize * 5), "{total:?}");
}

const SEEDS: u64 = 150;

#[test]
fn a_broken_order_is_found_on_a_disk_that_stalls() {
    for fault in [Fault::AckOutOfOrder, Fault::AckBeforeTicket] {
        plant(Some(fault));
        let found = (0..SEEDS).find_map(|seed| play(seed).err());
        plant(None);
        let found = found.unwrap_or_else(|| panic!("{fault} is not found"));
        println!("{fault:<20} {}", found.lines().next().unwrap_or_default());
    }
}
