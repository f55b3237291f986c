//! Calm: everything is let come to its end, and looked at. Whatever was promised must be there, and
//! nothing that nobody waits for.

use super::Simulation;
use super::books::matches;
use super::guest::{Guest, Phase};
use crate::packets::{Said, disconnect, puback, pubcomp, pubrec, subscribe, v5, v311};
use noctule_broker::{Leftovers, Verdict};
use noctule_mqtt::{PacketType, QoS, ReasonCode};
use std::collections::BTreeMap;

/// Rounds after which clients that are still busy are taken to be so for ever.
const ROUNDS_MAX: usize = 2_000;

impl Simulation {
    /// Has everything come to its end, and judges what is there.
    pub(super) fn calm(&mut self) {
        self.stage.w.note("calm".into());
        self.stage.w.defer(false);
        self.rest();
        self.judge_mail();
        self.judge_connections();
        self.judge_deliveries();
        self.judge_wills();
        let stage = &mut self.stage;
        let guests = &self.guests;
        let is_there = |label: &str| {
            guests.iter().any(|guest| guest.label == label && guest.phase == Phase::Connected)
        };
        stage.values.read(is_there);
        self.judge_values();
        if self.stage.dice.chance(40) {
            self.ask_for_values();
        }
        for _ in 0..2 {
            self.probe();
        }
        for _ in 0..3 {
            self.drill();
        }
        self.stage.tidy();
        self.stage.w.defer(self.stage.course.defers);
        if self.stage.course.is_slow {
            self.stage.w.hold_stores();
        }
    }

    /// Lets everybody do what there is to do, until nobody has anything.
    pub(super) fn rest(&mut self) {
        self.stage.w.let_stores_run();
        for guest in &mut self.guests {
            guest.wake();
            self.stage.w.unstall(&guest.label);
        }
        for label in self.stage.past.clone() {
            self.stage.w.unstall(&label);
        }
        for _ in 0..ROUNDS_MAX {
            let mut busy = self.stage.decide_all();
            self.stage.w.settle();
            self.stage.digest();
            for guest in &mut self.guests {
                busy |= guest.listen(&mut self.stage);
                busy |= !guest.owes.is_empty() && guest.phase == Phase::Connected;
                guest.answer(&mut self.stage, usize::MAX);
            }
            if !busy && self.stage.w.undecided() == 0 {
                if self.stage.w.unheeded().is_none() {
                    return;
                }
                // A publisher waits for a receiver, which it does not for long.
                self.stage.w.let_time_pass(500);
            }
        }
        let unheeded = self.stage.w.unheeded().unwrap_or_else(|| "nothing is unread".into());
        self.stage.w.fail(&format!("the clients do not come to rest: {unheeded}"));
    }

    fn judge_mail(&self) {
        let w = &self.stage.w;
        for (what, left) in w.left_between() {
            if left > 0 && matches!(what, "letters" | "requests") {
                w.fail(&format!("{left} {what} are left that nobody sees to"));
            }
        }
        for (shard, left) in w.leftovers().iter().enumerate() {
            let Leftovers { waiting, loads, replays, letters, actions, .. } = *left;
            let waiting = waiting + loads + replays + letters + actions + left.replays_due;
            if waiting > 0 {
                w.fail(&format!("shard {shard} is at rest, and something waits: {left:?}"));
            }
            if left.queued_messages == 0 && left.queued_bytes > 0 {
                w.fail(&format!("the queues of shard {shard} are empty and count {left:?}"));
            }
        }
        if let Some(overdue) = w.overdue() {
            w.fail(&overdue);
        }
    }

    /// `[MQTT3-3.1.4-2]` `[MQTT5-3.1.4-3]`: of several connections of a client identifier one stays.
    fn judge_connections(&self) {
        let w = &self.stage.w;
        let current = self.guests.iter().map(|guest| (&guest.name, &guest.label));
        let past = self.stage.past.iter().map(|label| {
            let name = self.guests.iter().map(|guest| &guest.name);
            let is_its = |name: &&String| label.starts_with(&format!("{name}#"));
            (name.into_iter().find(is_its).unwrap_or(label), label)
        });
        for (name, label) in current.chain(past) {
            let holds = self.stage.lives.holder(name) == Some(label);
            if w.is_open(label) && self.stage.lives.has_claimed(label) && !holds {
                w.fail(&format!("{label} was taken over and is still connected"));
            }
        }
        let here: usize = w.leftovers().iter().map(|left| left.connections).sum();
        if here != w.connections() {
            w.fail(&format!("{here} connections are there, and {} are counted", w.connections()));
        }
    }

    fn judge_deliveries(&mut self) {
        let stage = &mut self.stage;
        let drops = stage.w.drops();
        if drops.1 != stage.drops.1 {
            // Where queues refuse, what was acknowledged was not dropped.
            if !stage.course.refuses() {
                stage.books.forgive();
            }
            stage.books.lossy = true;
        }
        for guest in self.guests.iter().filter(|guest| guest.phase == Phase::Connected) {
            let may_wait = stage.course.refuses() && stage.books.lossy;
            if !guest.is_at_rest() && !may_wait {
                stage.w.fail(&format!("{} still waits for something: {guest:?}", guest.label));
            }
            if let Err(lost) = stage.books.settle(&guest.name) {
                stage.w.fail(&lost);
            }
        }
    }

    fn judge_wills(&mut self) {
        let stage = &mut self.stage;
        if stage.w.drops().1 != stage.drops.1 {
            stage.lives.forgive_wills();
        }
        if let Some(missing) = stage.lives.missing_will(stage.w.now_ms()) {
            stage.w.fail(&format!("will {missing} was not published"));
        }
    }

    /// Whoever asked for retained messages, and is subscribed since, knows the last of each.
    fn judge_values(&mut self) {
        let stage = &mut self.stage;
        let drops = stage.w.drops();
        let none_dropped = (drops == stage.drops, drops.1 == 0);
        for guest in self.guests.iter().filter(|guest| guest.phase == Phase::Connected) {
            for (topic, number) in stage.values.certain() {
                let qos = topic.bytes().last().map_or(QoS::AtMostOnce, |digit| {
                    QoS::from_bits(digit - b'0').unwrap_or_default()
                });
                let knows = guest.retained.last.get(topic).is_some_and(|last| *last >= number);
                let must = stage.books.sure_filters(&guest.name).iter().any(|(filter, wish)| {
                    let fresh = guest.retained.fresh.get(*filter) == Some(&guest.connections);
                    let own = wish.no_local && topic.starts_with(&format!("r/{}/", guest.name));
                    let certain = wish.qos.min(qos) != QoS::AtMostOnce && none_dropped.1;
                    fresh && !own && matches(filter, topic) && certain
                });
                if must && !knows {
                    stage.w.fail(&format!(
                        "{} does not know that {topic} is message {number}: {:?}",
                        guest.label, guest.retained
                    ));
                }
            }
        }
    }

    /// Somebody new asks for all retained messages.
    fn ask_for_values(&mut self) {
        let stage = &mut self.stage;
        stage.asked += 1;
        let name = format!("asker#{}", stage.asked);
        let shard = stage.dice.below(stage.course.shards);
        stage.w.open(&name, shard, noctule_mqtt::ProtocolVersion::V5);
        stage.w.say(&name, v5());
        stage.w.say(&name, subscribe(1, "r/#", 2));
        let mut there = BTreeMap::new();
        for _ in 0..ROUNDS_MAX {
            stage.decide_all();
            stage.w.settle();
            let heard = stage.w.all_heard(&name);
            if heard.is_empty() && stage.w.undecided() == 0 {
                break;
            }
            for said in heard {
                match said {
                    Said::Publish(publish) => {
                        match publish.qos {
                            QoS::AtMostOnce => {}
                            QoS::AtLeastOnce => stage.w.say(&name, puback(publish.packet_id())),
                            QoS::ExactlyOnce => stage.w.say(&name, pubrec(publish.packet_id())),
                        }
                        if let Some(number) = super::books::number_in(&publish.payload) {
                            there.insert(publish.topic, number);
                        }
                    }
                    Said::Ack { packet: PacketType::Pubrel, id, .. } => {
                        stage.w.say(&name, pubcomp(id));
                    }
                    _ => {}
                }
            }
        }
        stage.w.say(&name, disconnect(ReasonCode::Success));
        stage.w.settle();
        stage.digest();
        stage.w.forget(&name);
        if let Err(wrong) = stage.values.learn(&there) {
            stage.w.fail(&wrong);
        }
    }

    /// Nothing is under way and everybody reads: now even a message of QoS 0 must arrive.
    fn probe(&mut self) {
        let at = self.stage.dice.below(self.guests.len());
        let topic = self.stage.dice.pick(&["t/0", "t/1", "u", "a/b/c", "$x/1"]);
        let qos = self.stage.dice.below(2) as u8;
        let guest = &mut self.guests[at];
        if guest.phase != Phase::Connected {
            return;
        }
        let name = guest.name.clone();
        let Some(number) = guest.publish_to(&mut self.stage, topic, qos, None, 10) else {
            return;
        };
        self.rest();
        if self.stage.w.drops() != self.stage.drops && self.stage.w.drops().1 > 0 {
            return;
        }
        for guest in self.guests.iter().filter(|guest| guest.phase == Phase::Connected) {
            let wants = self.stage.books.sure_filters(&guest.name).iter().any(|(filter, wish)| {
                matches(filter, topic) && !(wish.no_local && guest.name == name)
            });
            if wants && !self.stage.books.has(&guest.name, number) {
                let who = &guest.label;
                self.stage.w.fail(&format!("{who} does not hear message {number} on {topic}"));
            }
        }
    }

    /// Everybody leaves, and nothing is left behind.
    pub(super) fn end(&mut self) {
        self.calm();
        self.stage.w.let_stores_run();
        for guest in &mut self.guests {
            guest.wake();
            if guest.is_there() {
                guest.go(&mut self.stage, |stage, label| stage.w.reset(label));
            }
        }
        for label in std::mem::take(&mut self.stage.past) {
            self.stage.w.reset(&label);
        }
        self.stage.decide_all();
        self.stage.w.settle();
        for Guest { name, .. } in &self.guests {
            // Ends the session, in whatever version.
            let label = format!("{name}#end");
            self.stage.w.open(&label, 0, noctule_mqtt::ProtocolVersion::V311);
            self.stage.w.say(&label, v311().id(name));
            self.stage.w.say(&label, disconnect(ReasonCode::Success));
            self.stage.w.settle();
            self.stage.decide_all();
            self.stage.w.settle();
            self.stage.w.forget(&label);
        }
        // Nobody takes out the timers of what has ended; the longest is two minutes.
        self.stage.w.let_time_pass(130_000);
        self.stage.w.settle();
        let w = &self.stage.w;
        for (shard, left) in w.leftovers().iter().enumerate() {
            if *left != Leftovers::default() {
                w.fail(&format!(
                    "everybody has left shard {shard}, and something is there: {left:?}"
                ));
            }
        }
        for (what, left) in w.left_between() {
            if left > 0 {
                w.fail(&format!("everybody has left, and {left} are {what}"));
            }
        }
        if w.connections() > 0 {
            w.fail(&format!("everybody has left, and {} connections are counted", w.connections()));
        }
    }
}

impl super::Stage {
    /// Gives every verdict that is waited for. Returns whether there was any.
    pub(super) fn decide_all(&mut self) -> bool {
        let any = self.w.undecided() > 0;
        while self.w.undecided() > 0 {
            self.decide(0);
        }
        any
    }

    /// Gives one verdict.
    pub(super) fn decide(&mut self, nth: usize) {
        let refused = self.w.undecided_name(nth).is_some_and(|name| self.refused.contains(&name));
        let verdict =
            if refused { Verdict::Refused(ReasonCode::NotAuthorized) } else { Verdict::Accepted };
        self.w.give_verdict(nth, verdict);
        self.digest();
    }
}

#[cfg(test)]
mod tests {
    use crate::packets::{Said, pingreq, puback, publish, v5, v311};
    use crate::shards::Shards;
    use crate::simulation::{Plan, Simulation};
    use noctule_broker::Limits;

    #[test]
    fn nothing_is_at_rest_while_a_shard_holds_back_what_it_has_read() {
        // A receiver is crowded beyond 250 waiting bytes.
        let limits = Limits { unsent_bytes_max: 1_000, ..Limits::default() };
        let mut w = Shards::with(1, &limits);
        w.connect("slow", 0, v5().receive_maximum(1));
        w.subscribe("slow", "t", 1);
        w.connect("fast", 0, v311());
        for id in 1..=3 {
            w.say("fast", publish("t", "x".repeat(200)).qos(1).id(id));
        }
        w.say("fast", pingreq());
        w.settle();
        assert_eq!(w.all_heard("fast"), [puback(1), puback(2)]);
        assert_eq!(w.leftovers()[0].held_bytes, 210, "a PUBLISH and a PINGREQ, all is read");
        let mut simulation = Simulation::new(Plan { seed: 0, minutes: 0, whole_story: false });
        simulation.guests.clear();
        simulation.stage.w = w;
        simulation.rest();
        let mut w = simulation.stage.w;
        assert_eq!(w.unheeded(), None);
        assert_eq!(w.all_heard("fast"), [puback(3), Said::Pingresp]);
        assert_eq!(w.all_heard("slow").len(), 1, "one is in flight, it does not acknowledge it");
    }
}
