//! What a fleet sends and when: as much as its pace allows, or what is due.

use std::time::{Duration, Instant};

use noctule_mqtt::QoS;

use super::Fleet;
use crate::LoadError;
use crate::plan::Goal;
use crate::schedule::Schedule;

impl Fleet {
    pub(super) fn set_targets(&mut self, goal: Goal) {
        for (publisher, sent) in self.publishers.iter_mut().zip(&self.sent) {
            publisher.target = match goal {
                Goal::Time(_) => u64::MAX,
                Goal::MessagesEach(count) => sent + count,
            };
        }
    }

    pub(super) fn stop_sending(&mut self) {
        for (publisher, sent) in self.publishers.iter_mut().zip(&self.sent) {
            publisher.target = *sent;
        }
    }

    /// How many messages of a publisher have come back to everybody who hears it, and are
    /// acknowledged at QoS 1 and 2. A lost message counts as soon as a later one came, so that a
    /// broker which loses does not stop the run.
    pub(super) fn returned(&self, publisher: usize) -> u64 {
        let delivered = self
            .plan
            .shape
            .listeners(publisher)
            .map(|index| self.subscribers[index].sequence(publisher).next())
            .min()
            .unwrap_or(0);
        if self.level(publisher) == QoS::AtMostOnce {
            delivered
        } else {
            delivered.min(self.publishers[publisher].acknowledged)
        }
    }

    /// Lets every publisher send what its pace allows.
    pub(super) fn refill(&mut self) -> Result<(), LoadError> {
        let share = self.subscribers[0].heard().len() as u64;
        for index in 0..self.publishers.len() {
            let (sent, returned) = (self.sent[index], self.returned(index));
            let publisher = &mut self.publishers[index];
            let room = self.plan.pace.room(sent, returned, share);
            let until = publisher.target.min(sent + room.min(publisher.room(sent - returned)));
            self.send(index, until, returned, None)?;
        }
        Ok(())
    }

    /// Lets every publisher send what is due of it, `due` of all together; how much of that must
    /// wait, as too much is under way. Number `n` is publisher `n` modulo their number.
    pub(super) fn refill_by(
        &mut self,
        due: u64,
        bases: &[u64],
        now: Instant,
    ) -> Result<u64, LoadError> {
        let count = self.publishers.len() as u64;
        let mut waiting = 0;
        for (index, base) in bases.iter().enumerate() {
            let of_this = (due + count - 1 - index as u64) / count;
            let due = (base + of_this).min(self.publishers[index].target);
            let sent = self.sent[index];
            if sent >= due {
                continue;
            }
            let returned = self.returned(index);
            let publisher = &self.publishers[index];
            let until = due.min(sent + publisher.room(sent - returned));
            waiting += due - until;
            self.send(index, until, returned, Some(now))?;
            self.publishers[index].is_held = due > until;
        }
        Ok(waiting)
    }

    /// Numbers and sends the messages of a publisher up to `until`.
    pub(super) fn send(
        &mut self,
        index: usize,
        until: u64,
        returned: u64,
        now: Option<Instant>,
    ) -> Result<(), LoadError> {
        let (sent, publisher) = (self.sent[index], &mut self.publishers[index]);
        if until <= sent {
            return Ok(());
        }
        if let Some(stopwatch) = &mut self.stopwatch {
            let now = now.unwrap_or_else(Instant::now);
            stopwatch.sent(index, sent..until, returned, now, publisher.is_held);
        }
        publisher.append(index, sent..until);
        self.sent[index] = until;
        publisher.link().flush()
    }

    /// Wakes us when the next message is due.
    pub(super) fn set_alarm(
        &self,
        schedule: &Schedule,
        due: u64,
        begin: Instant,
    ) -> Result<(), LoadError> {
        let wait = schedule.due(due).saturating_sub(begin.elapsed());
        self.alarm.set(wait.max(GRAIN))
    }
}

/// Messages that are due within so short a time are sent together: waking for each would take from
/// the broker what the generator spares.
const GRAIN: Duration = Duration::from_micros(50);
