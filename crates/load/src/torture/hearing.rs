//! What one subscriber has heard of one lane, and whether that may be.
//!
//! Knows of no connection: fed with the numbers of messages as they come, it looks the rest up in
//! the [`Lane`]. The invariant: whatever it notes is against the rules, whatever the broker may have
//! lost or kept of what it had not acknowledged.

use std::collections::BTreeMap;

use noctule_mqtt::QoS;

use super::findings::{Findings, Kind, message};
use super::lane::{Lane, Life};

/// The account of one lane at one subscriber.
#[derive(Debug, Default)]
pub struct Hearing {
    /// One more than the highest number heard.
    next: u64,
    /// Numbers below `next` that were not heard, by the first of each gap.
    gaps: BTreeMap<u64, Gap>,
    /// Nothing below it is owed any more, and what comes of it is no finding.
    floor: u64,
    heard: u64,
    repeated: u64,
    overtaken: u64,
}

#[derive(Debug, Clone, Copy)]
struct Gap {
    /// One past its last number.
    end: u64,
    /// The message that came instead.
    by: u64,
    /// In which life that one came.
    life: Life,
}

impl Hearing {
    /// A message arrived: at QoS 2 one that is new to the conversation, at QoS 1 any.
    pub fn arrived(&mut self, number: u64, lane: &Lane, who: &str, findings: &mut Findings) {
        if number >= lane.sent() {
            findings.note(Kind::Foreign, || {
                format!("{who} got message {number} on {}, which nobody sent", lane.topic())
            });
        } else if number >= self.next {
            if number > self.next {
                let gap = Gap { end: number, by: number, life: lane.life() };
                self.gaps.insert(self.next, gap);
            }
            self.next = number + 1;
            self.heard += 1;
        } else if number < self.floor {
            self.repeated += 1;
        } else if let Some(gap) = self.take(number) {
            self.heard += 1;
            self.came_late(number, gap, lane, who, findings);
        } else if lane.qos() == QoS::ExactlyOnce {
            findings.note(Kind::Doubled, || {
                format!("{who} got {} once more as a new one", message(lane, number))
            });
        } else {
            self.repeated += 1;
        }
    }

    /// It is against the order unless the broker may have forgotten it in a crash, unacknowledged,
    /// and got it again later than the one that came first.
    fn came_late(
        &mut self,
        number: u64,
        gap: Gap,
        lane: &Lane,
        who: &str,
        findings: &mut Findings,
    ) {
        let Gap { by, life, .. } = gap;
        if lane.last_sent_in(number) > lane.first_sent_in(by) {
            self.overtaken += 1;
            return;
        }
        findings.note(Kind::Reordered, || {
            let late = message(lane, number);
            format!("{who} got {late} behind message {by}, which came in round {life}")
        });
    }

    /// Takes `number` from the gaps, if it is in one, which it returns.
    fn take(&mut self, number: u64) -> Option<Gap> {
        let (&first, &gap) = self.gaps.range(..=number).next_back()?;
        if number >= gap.end {
            return None;
        }
        self.gaps.remove(&first);
        if first < number {
            self.gaps.insert(first, Gap { end: number, ..gap });
        }
        if number + 1 < gap.end {
            self.gaps.insert(number + 1, gap);
        }
        Some(gap)
    }

    /// How many messages may be on their way: those sent behind the last one heard.
    pub fn behind(&self, lane: &Lane) -> u64 {
        lane.sent().saturating_sub(self.next)
    }

    /// Whether everything acknowledged was heard.
    pub fn is_settled(&self, lane: &Lane) -> bool {
        self.owed(lane).next().is_none()
    }

    /// Notes what was acknowledged and not heard as lost, and expects none of it any more.
    /// Returns how many that were.
    pub fn settle(&mut self, lane: &Lane, who: &str, why: &str, findings: &mut Findings) -> u64 {
        let mut lost = 0;
        for (number, instead) in self.owed(lane) {
            lost += 1;
            findings.note(Kind::Lost, || {
                let instead = instead.map_or(String::new(), |Gap { by, life, .. }| {
                    format!("; message {by} came instead, in round {life}")
                });
                format!("{who} did not get {}{instead}; {why}", message(lane, number))
            });
        }
        self.forgive(lane);
        lost
    }

    /// Nothing sent up to now is owed: the subscription begins now.
    pub fn forgive(&mut self, lane: &Lane) {
        self.floor = lane.sent();
        self.next = self.next.max(self.floor);
        self.gaps.clear();
    }

    /// What is acknowledged and was not heard, each with the gap it is in.
    fn owed<'a>(&'a self, lane: &'a Lane) -> impl Iterator<Item = (u64, Option<Gap>)> + 'a {
        let in_gaps = self
            .gaps
            .iter()
            .flat_map(|(&first, &gap)| (first..gap.end).map(move |number| (number, Some(gap))));
        let behind = (self.next..lane.reached()).map(|number| (number, None));
        in_gaps.chain(behind).filter(|(number, _)| lane.is_acknowledged(*number))
    }

    /// How many different messages were heard.
    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// How many came again, which QoS 1 allows.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// How many came behind a later one, as a broker may do that forgot them in a crash and got
    /// them again.
    pub fn overtaken(&self) -> u64 {
        self.overtaken
    }

    /// Whether a message was heard that was sent for the first time in this life of the broker.
    pub fn heard_of_this_life(&self, lane: &Lane) -> bool {
        self.next > 0 && self.next > self.floor && lane.first_sent_in(self.next - 1) == lane.life()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A history: what happened, in order.
    enum Step {
        /// So many messages are sent.
        Send(u64),
        /// These are acknowledged.
        Ack(std::ops::Range<u64>),
        /// The broker is killed and started again.
        Kill,
        /// These come to the subscriber.
        Hear(&'static [u64]),
        /// The session is gone, and made again.
        Anew,
    }
    use Step::{Ack, Anew, Hear, Kill, Send};

    const WHO: &str = "one";

    /// What is found in a history by its end: lost, doubled, reordered, foreign.
    fn found(qos: QoS, history: &[Step]) -> [u64; 4] {
        let (mut lane, mut hearing) = (Lane::new("a", qos, false), Hearing::default());
        let mut findings = Findings::default();
        let mut tick = Duration::ZERO;
        for step in history {
            tick += Duration::from_millis(20);
            match step {
                Send(count) => lane.send_some(*count),
                Ack(numbers) => numbers.clone().for_each(|number| lane.acknowledge(number, tick)),
                Kill => lane.begin_life(),
                Hear(numbers) => numbers
                    .iter()
                    .for_each(|number| hearing.arrived(*number, &lane, WHO, &mut findings)),
                Anew => {
                    hearing.settle(&lane, WHO, "its session is gone", &mut findings);
                }
            }
        }
        hearing.settle(&lane, WHO, "it did not come", &mut findings);
        [Kind::Lost, Kind::Doubled, Kind::Reordered, Kind::Foreign].map(|kind| findings.count(kind))
    }

    fn found_at_both(history: &[Step]) -> [u64; 4] {
        let [one, two] = [QoS::AtLeastOnce, QoS::ExactlyOnce].map(|qos| found(qos, history));
        assert_eq!(one, two);
        one
    }

    const NOTHING: [u64; 4] = [0; 4];

    #[test]
    fn what_comes_once_and_in_order_is_clean() {
        assert_eq!(found_at_both(&[]), NOTHING);
        assert_eq!(found_at_both(&[Send(4), Hear(&[0, 1, 2, 3]), Ack(0..4)]), NOTHING);
        let over_a_kill = [Send(4), Hear(&[0, 1]), Ack(0..3), Kill, Hear(&[2, 3]), Ack(3..4)];
        assert_eq!(found_at_both(&over_a_kill), NOTHING);
    }

    #[test]
    fn a_lost_message_is_found_wherever_it_was() {
        let lost = |count| [count, 0, 0, 0];
        assert_eq!(found_at_both(&[Send(3), Ack(0..3), Hear(&[0, 2])]), lost(1));
        assert_eq!(found_at_both(&[Send(3), Ack(0..3), Hear(&[0])]), lost(2));
        assert_eq!(found_at_both(&[Send(3), Ack(0..3)]), lost(3));
        // Acknowledged, killed, and the rest goes on.
        let killed = [Send(3), Ack(0..2), Hear(&[0]), Kill, Hear(&[2]), Ack(2..3)];
        assert_eq!(found_at_both(&killed), lost(1));
    }

    #[test]
    fn what_was_not_acknowledged_may_come_or_not() {
        assert_eq!(found_at_both(&[Send(9), Ack(0..1), Hear(&[0])]), NOTHING);
        assert_eq!(found_at_both(&[Send(9), Ack(0..1), Hear(&[0, 1, 5])]), NOTHING);
        assert_eq!(found_at_both(&[Send(9), Hear(&[0, 1, 5]), Kill, Hear(&[6])]), NOTHING);
        // An acknowledgement speaks for its own message.
        assert_eq!(found_at_both(&[Send(9), Ack(3..4), Hear(&[3])]), NOTHING);
    }

    #[test]
    fn a_repetition_is_allowed_at_qos_1_and_doubled_at_qos_2() {
        let histories: [&[Step]; 3] = [
            &[Send(3), Hear(&[0, 1, 1, 2])],
            &[Send(3), Hear(&[0, 1, 2]), Ack(0..3), Kill, Hear(&[1])],
            // Not acknowledged, but at QoS 2 it is still one message.
            &[Send(3), Hear(&[0, 1, 2]), Kill, Hear(&[2])],
        ];
        for history in histories {
            assert_eq!(found(QoS::AtLeastOnce, history), NOTHING);
            assert_eq!(found(QoS::ExactlyOnce, history), [0, 1, 0, 0]);
        }
        let all_again = [Send(2), Ack(0..2), Hear(&[0, 1]), Kill, Hear(&[0, 1])];
        assert_eq!(found(QoS::ExactlyOnce, &all_again), [0, 2, 0, 0]);
    }

    #[test]
    fn a_message_behind_a_later_one_is_reordered() {
        let reordered = |count| [0, 0, count, 0];
        assert_eq!(found_at_both(&[Send(3), Ack(0..3), Hear(&[1, 0, 2])]), reordered(1));
        assert_eq!(found_at_both(&[Send(5), Hear(&[4, 2, 0, 1, 3]), Ack(0..5)]), reordered(4));
        // In one life without an acknowledgement as well.
        assert_eq!(found_at_both(&[Send(3), Hear(&[1, 0, 2])]), reordered(1));
        // 0 was acknowledged in the life before, and the others were repeated before 3 was sent.
        let later = [Send(3), Ack(0..1), Kill, Send(1), Hear(&[3, 0, 1, 2]), Ack(1..4)];
        assert_eq!(found_at_both(&later), reordered(3));
    }

    #[test]
    fn what_was_forgotten_unacknowledged_and_sent_again_may_be_late() {
        // 1 was heard, 0 forgotten in the crash; the publisher repeats 0.
        let forgotten = [Send(2), Hear(&[1]), Kill, Hear(&[0]), Ack(0..2)];
        assert_eq!(found_at_both(&forgotten), NOTHING);
        // But not if all happened before the crash.
        let before = [Send(2), Hear(&[1]), Ack(0..2), Kill, Hear(&[0])];
        assert_eq!(found_at_both(&before), [0, 0, 1, 0]);
        // Nor if the one before it was sent for the first time in the new life.
        let after = [Send(1), Kill, Send(1), Hear(&[1]), Ack(0..2), Hear(&[0])];
        assert_eq!(found_at_both(&after), [0, 0, 1, 0]);
    }

    #[test]
    fn what_nobody_sent_is_foreign() {
        let history = [Send(2), Ack(0..2), Hear(&[0, 1, 2, 1 << 40])];
        assert_eq!(found_at_both(&history), [0, 0, 0, 2]);
        assert_eq!(found_at_both(&[Hear(&[0])]), [0, 0, 0, 1]);
    }

    #[test]
    fn a_session_that_is_gone_costs_what_it_was_owed_and_nothing_more() {
        let gone = [Send(5), Ack(0..4), Hear(&[0]), Kill, Anew, Hear(&[4]), Ack(4..5)];
        assert_eq!(found_at_both(&gone), [3, 0, 0, 0], "4 comes or not");
        // The new session has not heard what the old one had.
        let again = [Send(3), Hear(&[0, 1, 2]), Kill, Anew, Hear(&[1, 2]), Ack(0..3), Send(1)];
        assert_eq!(found_at_both(&again), NOTHING);
        // From then on everything is as before.
        let later = [Send(1), Kill, Anew, Send(3), Ack(1..4), Hear(&[1, 3])];
        assert_eq!(found_at_both(&later), [1, 0, 0, 0]);
    }

    #[test]
    fn all_at_once_is_told_apart() {
        let history = [Send(6), Ack(0..6), Hear(&[0, 1, 1, 4, 3, 9])];
        assert_eq!(found(QoS::ExactlyOnce, &history), [2, 1, 1, 1]);
        assert_eq!(found(QoS::AtLeastOnce, &history), [2, 0, 1, 1]);
    }

    #[test]
    fn a_finding_says_which_message_and_when_it_was_acknowledged() {
        let mut lane = Lane::new("torture/q1/p0", QoS::AtLeastOnce, false);
        let (mut hearing, mut findings) = (Hearing::default(), Findings::default());
        lane.send_some(3);
        lane.begin_life();
        lane.acknowledge(0, Duration::from_millis(1_250));
        lane.acknowledge(1, Duration::from_millis(1_250));
        hearing.arrived(0, &lane, "present-0", &mut findings);
        hearing.arrived(2, &lane, "present-0", &mut findings);
        findings.now(2, Duration::from_secs(3));
        hearing.settle(&lane, "present-0", "nothing more came", &mut findings);
        assert_eq!(
            findings.kept()[0].to_string(),
            "round 2, 3.000 s: present-0 did not get message 1 on torture/q1/p0 (QoS 1, \
             acknowledged at 1.25 s in round 1); message 2 came instead, in round 1; nothing more came"
        );
    }

    #[test]
    fn gaps_are_split_by_what_comes_out_of_them() {
        let mut lane = Lane::new("a", QoS::AtLeastOnce, false);
        let (mut hearing, mut findings) = (Hearing::default(), Findings::default());
        lane.send_some(10);
        (0..10).for_each(|number| lane.acknowledge(number, Duration::ZERO));
        for number in [9, 4, 0, 8, 5] {
            hearing.arrived(number, &lane, WHO, &mut findings);
        }
        assert_eq!(findings.count(Kind::Reordered), 4);
        assert!(!hearing.is_settled(&lane));
        assert_eq!(hearing.settle(&lane, WHO, "", &mut findings), 5);
        assert!(hearing.is_settled(&lane));
    }
}
