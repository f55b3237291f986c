//! What one publisher has sent on one topic, and what the broker has acknowledged of it.
//!
//! A lane is an account, fed with what happened and asked by the checkers; it opens no connection.
//! The invariant: a message counts as acknowledged from its PUBACK or PUBREC on, and never because
//! of one for another message.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use noctule_mqtt::QoS;

use super::shelf::DELETION;

/// Which start of the broker, counted from 0.
pub type Life = u32;

/// When a message was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// In this life of the broker.
    pub life: Life,
    /// This long after the torture began, to about [`STAMP`].
    pub at: Duration,
}

/// The messages of one publisher on one topic at one QoS, numbered from 0 in the order in which they
/// were sent first.
#[derive(Debug)]
pub struct Lane {
    topic: String,
    qos: QoS,
    retain: bool,
    /// Where among [`DELETION`] values the deletion is.
    deletion: u64,
    sent: u64,
    /// One more than the highest number acknowledged.
    reached: u64,
    /// Below `reached` and never acknowledged, or acknowledged later than a higher number.
    stragglers: BTreeMap<u64, Option<Acknowledged>>,
    /// Never sent again, acknowledged or not.
    given_up: BTreeSet<u64>,
    /// One more than the highest number such that it and all before it are complete or given up.
    complete: u64,
    /// Above that.
    complete_early: BTreeSet<u64>,
    /// How much was sent and acknowledged when each life began.
    lives: Vec<Mark>,
    /// Which number acknowledgements had reached at which time.
    stamps: Vec<(u64, Duration)>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    sent: u64,
    reached: u64,
}

impl Lane {
    /// One on which nothing was sent yet.
    pub fn new(topic: impl Into<String>, qos: QoS, retain: bool) -> Self {
        Self {
            topic: topic.into(),
            qos,
            retain,
            deletion: DELETION - 1,
            sent: 0,
            reached: 0,
            stragglers: BTreeMap::new(),
            given_up: BTreeSet::new(),
            complete: 0,
            complete_early: BTreeSet::new(),
            lives: vec![Mark { sent: 0, reached: 0 }],
            stamps: Vec::new(),
        }
    }

    /// The same, whose deletions come so many values earlier. While one is in flight anything may be
    /// found on its topic, so the topics of one writer do not all have theirs at once.
    pub fn deleting_earlier(mut self, by: u64) -> Self {
        self.deletion = DELETION - 1 - by % DELETION;
        self
    }

    /// Whether the value with this number is a deletion, if its messages are retained.
    pub fn deletes(&self, number: u64) -> bool {
        number % DELETION == self.deletion
    }

    /// Its topic, which no other lane has.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Of all its messages.
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// Whether its messages are retained.
    pub fn retain(&self) -> bool {
        self.retain
    }

    /// How many messages were sent, repetitions not counted.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// One more than the highest number acknowledged.
    pub fn reached(&self) -> u64 {
        self.reached
    }

    /// One more than the highest number such that it and all before it are complete or given up.
    pub fn complete(&self) -> u64 {
        self.complete
    }

    /// The broker was started again.
    pub fn begin_life(&mut self) {
        self.lives.push(Mark { sent: self.sent, reached: self.reached });
    }

    /// The number of the next message, which counts as sent from now on.
    pub fn send(&mut self) -> u64 {
        self.sent += 1;
        self.sent - 1
    }

    /// So many messages at once.
    #[cfg(test)]
    pub(super) fn send_some(&mut self, count: u64) {
        self.sent += count;
    }

    /// PUBACK or PUBREC came for a message. One that came before changes nothing.
    pub fn acknowledge(&mut self, number: u64, at: Duration) {
        let acknowledged = Acknowledged { life: self.life(), at };
        if number < self.reached {
            if let Some(straggler @ None) = self.stragglers.get_mut(&number) {
                *straggler = Some(acknowledged);
            }
            return;
        }
        self.stragglers.extend((self.reached..number).map(|skipped| (skipped, None)));
        self.reached = number + 1;
        match self.stamps.last_mut() {
            Some((reached, since)) if at.saturating_sub(*since) < STAMP => *reached = self.reached,
            _ => self.stamps.push((self.reached, at)),
        }
    }

    /// The conversation about a message is at its end: PUBACK or PUBCOMP came. A broker may pass a
    /// message on at QoS 2 when PUBREL comes, and not before.
    pub fn finish(&mut self, number: u64) {
        self.complete_early.insert(number);
        self.go_on_counting();
    }

    /// A message is not sent again: the broker refused it, or its publisher's session is gone. It may
    /// have arrived or not.
    pub fn give_up(&mut self, number: u64) {
        self.given_up.insert(number);
        self.go_on_counting();
    }

    fn go_on_counting(&mut self) {
        while self.complete_early.remove(&self.complete) || self.given_up.contains(&self.complete) {
            self.complete += 1;
        }
    }

    /// Whether the broker has promised to deliver this message.
    pub fn is_acknowledged(&self, number: u64) -> bool {
        number < self.reached && self.stragglers.get(&number).is_none_or(Option::is_some)
    }

    /// When that was.
    pub fn acknowledged(&self, number: u64) -> Option<Acknowledged> {
        if number >= self.reached {
            return None;
        }
        if let Some(straggler) = self.stragglers.get(&number) {
            return *straggler;
        }
        let life = self.lives.partition_point(|mark| mark.reached <= number) - 1;
        let stamp = self.stamps.partition_point(|(reached, _)| *reached <= number);
        let at = self.stamps.get(stamp).map_or(Duration::ZERO, |(_, at)| *at);
        Some(Acknowledged { life: life as Life, at })
    }

    /// In which life a message was sent for the first time.
    pub fn first_sent_in(&self, number: u64) -> Life {
        (self.lives.partition_point(|mark| mark.sent <= number) - 1) as Life
    }

    /// In which life a message was sent for the last time, as far as that can be: each new
    /// connection repeats what is not acknowledged, and an acknowledgement is for what was sent on
    /// its connection.
    pub fn last_sent_in(&self, number: u64) -> Life {
        self.acknowledged(number).map_or(self.life(), |acknowledged| acknowledged.life)
    }

    /// The broker's present life.
    pub fn life(&self) -> Life {
        (self.lives.len() - 1) as Life
    }
}

/// How exactly times of acknowledgements are kept.
pub const STAMP: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn lane() -> Lane {
        Lane::new("a", QoS::AtLeastOnce, false)
    }

    #[test]
    fn what_was_acknowledged_is_known_with_its_life_and_time() {
        let mut lane = lane();
        (0..10).for_each(|number| assert_eq!(lane.send(), number));
        (0..4).for_each(|number| lane.acknowledge(number, ms(100 + number)));
        lane.begin_life();
        (4..8).for_each(|number| lane.acknowledge(number, ms(500)));
        let when = |number| lane.acknowledged(number).map(|one| (one.life, one.at.as_millis()));
        assert_eq!(when(0), Some((0, 100)));
        assert_eq!(when(3), Some((0, 100)), "to 10 ms");
        assert_eq!(when(4), Some((1, 500)));
        assert_eq!(when(8), None);
        assert!(lane.is_acknowledged(7) && !lane.is_acknowledged(8));
        assert_eq!((lane.reached(), lane.sent()), (8, 10));
    }

    #[test]
    fn an_acknowledgement_speaks_for_its_message_alone() {
        let mut lane = lane();
        lane.send_some(10);
        lane.acknowledge(5, ms(1));
        assert!(lane.is_acknowledged(5) && !lane.is_acknowledged(4));
        lane.begin_life();
        (0..3).for_each(|number| lane.acknowledge(number, ms(50)));
        assert_eq!(lane.acknowledged(2), Some(Acknowledged { life: 1, at: ms(50) }));
        assert_eq!(lane.acknowledged(5), Some(Acknowledged { life: 0, at: ms(1) }));
        // Again changes nothing.
        lane.begin_life();
        lane.acknowledge(2, ms(90));
        lane.acknowledge(5, ms(90));
        assert_eq!(lane.last_sent_in(2), 1);
        assert_eq!(lane.last_sent_in(5), 0);
    }

    #[test]
    fn what_is_given_up_holds_nothing_up() {
        let mut lane = lane();
        lane.send_some(6);
        lane.give_up(1);
        lane.finish(0);
        lane.finish(3);
        assert_eq!(lane.complete(), 2);
        lane.give_up(2);
        assert_eq!(lane.complete(), 4);
        assert!(!lane.is_acknowledged(1) && !lane.is_acknowledged(2));
    }

    #[test]
    fn one_value_in_sixteen_deletes_and_not_on_all_topics_at_once() {
        let deletions = |by| {
            let lane = Lane::new("a", QoS::AtLeastOnce, true).deleting_earlier(by);
            (0..32).filter(|number| lane.deletes(*number)).collect::<Vec<_>>()
        };
        assert_eq!(deletions(0), [15, 31]);
        assert_eq!(deletions(4), [11, 27]);
        assert_eq!(deletions(15), [0, 16]);
        assert_eq!(deletions(16), deletions(0));
    }

    #[test]
    fn lives_in_which_a_message_was_sent_first_and_last() {
        let mut lane = lane();
        lane.send_some(4);
        lane.acknowledge(0, ms(1));
        lane.begin_life();
        lane.send_some(2);
        lane.begin_life();
        lane.begin_life();
        lane.acknowledge(1, ms(2));
        let first: Vec<_> = [0, 3, 4, 5].map(|number| lane.first_sent_in(number)).into();
        assert_eq!(first, [0, 0, 1, 1]);
        let last: Vec<_> = [0, 1, 2, 5].map(|number| lane.last_sent_in(number)).into();
        assert_eq!(last, [0, 3, 3, 3]);
    }
}
