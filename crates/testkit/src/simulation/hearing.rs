//! What a client makes of what it hears: it answers as it must, and judges by the books whether it
//! may be so.

use super::Stage;
use super::books::{Heard, matches, number_in};
use super::guest::{Asked, Guest, Phase};
use crate::packets::{Publishing, Said, puback, pubcomp, pubrec, pubrel};
use crate::shards::Kept;
use noctule_broker::Cause;
use noctule_mqtt::packet::RetainHandling;
use noctule_mqtt::{PacketType, Properties, Property, ProtocolVersion, QoS, ReasonCode, Violation};

impl Guest {
    /// Looks at everything it has heard. Returns whether that was anything.
    pub(super) fn listen(&mut self, stage: &mut Stage) -> bool {
        if !self.is_there() {
            return false;
        }
        let heard = stage.w.all_heard_when(&self.label);
        for (said, batches) in &heard {
            if let Err(wrong) = self.hear(said, *batches, stage) {
                stage.w.fail(&format!("{}: {wrong}", self.label));
            }
        }
        if stage.w.is_open(&self.label) {
            return !heard.is_empty();
        }
        if let Err(wrong) = self.judge_end(stage) {
            stage.w.fail(&format!("{}: {wrong}", self.label));
        }
        self.go(stage, |_, _| ());
        true
    }

    /// The broker has closed the connection of a client that keeps to the rules: may it?
    fn judge_end(&self, stage: &Stage) -> Result<(), String> {
        let Some(cause) = stage.ended.get(&self.label) else {
            return Err("it is closed, and its shard has not said why".into());
        };
        let reason = match cause {
            Cause::TakenOver => Some(ReasonCode::SessionTakenOver),
            Cause::Violation(Violation::KeepAliveTimeout { .. }) => {
                Some(ReasonCode::KeepAliveTimeout)
            }
            Cause::ConnectTimeout => None,
            Cause::Refused(_) if stage.refused.contains(&self.label) => None,
            // Clients that fight for a session keep one waiting, and that is the last one.
            Cause::Refused(ReasonCode::ConnectionRateExceeded)
                if stage.w.has_waited(&self.label) =>
            {
                None
            }
            Cause::QuotaExceeded if stage.course.refuses() && !self.is_v5() => None,
            other => return Err(format!("it keeps to the rules and was closed: {other}")),
        };
        let told = stage.w.last_word(&self.label);
        let could_be_told =
            self.is_v5() && stage.w.heard_all(&self.label) && stage.w.is_accepted(&self.label);
        if could_be_told && told != reason {
            return Err(format!("it was closed because {cause}, and told {told:?}"));
        }
        Ok(())
    }

    fn is_v5(&self) -> bool {
        self.version == ProtocolVersion::V5
    }

    fn hear(&mut self, said: &Said, batches: u64, stage: &mut Stage) -> Result<(), String> {
        match said {
            Said::Connack { session_present, reason: ReasonCode::Success, .. } => {
                self.hear_connack(*session_present, batches, stage)
            }
            // Why it is refused is judged when it is closed.
            Said::Connack { .. }
                if stage.refused.contains(&self.label) || stage.w.has_waited(&self.label) =>
            {
                Ok(())
            }
            Said::Publish(publish) => self.hear_publish(publish, stage),
            Said::Ack { packet, id, reason } => {
                self.hear_ack(*packet, *id, *reason, batches, stage)
            }
            Said::Suback { id, reasons } => self.hear_suback(*id, reasons, batches, stage),
            Said::Unsuback { id, .. } => match self.asked.remove(id) {
                Some(Asked::Unsubscribe(filter)) => {
                    stage.books.unsubscribed(&self.name, &filter);
                    Ok(())
                }
                _ => Err(format!("UNSUBACK {id} for nothing")),
            },
            // Why it is closed is judged when it is.
            Said::Pingresp | Said::Disconnect { .. } => Ok(()),
            other => Err(format!("it does not expect {other}")),
        }
    }

    fn hear_connack(&mut self, flag: bool, batches: u64, stage: &mut Stage) -> Result<(), String> {
        self.phase = Phase::Connected;
        let due = stage.lives.present(&self.label);
        // 3.1 is not told.
        let present = if self.version == ProtocolVersion::V31 { due == Some(true) } else { flag };
        if due.is_some_and(|due| due != present) {
            return Err(format!("session present is {present}, and should be {due:?}"));
        }
        let claimed = stage.w.claim_stamp(&self.label);
        let kept = Kept::Session(self.name.clone());
        if self.expiry > 0 && !stage.w.is_kept(&kept, claimed, batches) {
            return Err("CONNACK came before its session was stored".into());
        }
        let bytes_max = self.packet_bytes_max.map(|bytes| bytes as usize);
        // An earlier connection that takes no large ones may get the session back.
        if bytes_max.is_some() || !stage.may_come_back(&self.name) {
            stage.books.takes(&self.name, bytes_max);
        }
        let same = present && stage.lives.is_of(&self.label, self.life);
        let life = stage.lives.number(&self.label);
        self.life = life.unwrap_or(0);
        stage.books.finds(&self.name, self.life);
        if !same {
            // It may be one that an attempt of its own began without its knowing.
            let is_last = stage.lives.current(&self.name) == life;
            if present || !is_last || stage.may_come_back(&self.name) {
                stage.books.replaced(&self.name);
            } else {
                stage.books.ended(&self.name);
            }
            self.begin_anew(stage, life, life.unwrap_or(0));
            self.ask_again(stage);
        } else {
            self.go_on(stage, self.life);
        }
        self.repeat_unfinished(stage);
        Ok(())
    }

    /// What was asked for before CONNACK is asked of the session that is there now.
    fn ask_again(&mut self, stage: &mut Stage) {
        for asked in self.asked.values() {
            let Asked::Subscribe { filters, .. } = asked else { continue };
            for (filter, wish, _) in filters {
                stage.books.subscribing(&self.name, filter, *wish);
                self.retained.asked_on.insert((filter.clone(), self.connections));
            }
        }
    }

    fn hear_suback(
        &mut self,
        id: u16,
        reasons: &[ReasonCode],
        batches: u64,
        stage: &mut Stage,
    ) -> Result<(), String> {
        let Some(Asked::Subscribe { filters, batches: before }) = self.asked.remove(&id) else {
            return Err(format!("SUBACK {id} for nothing"));
        };
        if reasons.len() != filters.len() {
            return Err(format!("SUBACK {id} answers {reasons:?} to {filters:?}"));
        }
        for ((filter, wish, handling), reason) in filters.iter().zip(reasons) {
            if reason.is_error() {
                let most = stage.course.limits.subscriptions_max;
                if stage.books.filters_max(&self.name) <= most {
                    return Err(format!("{filter} is refused: {reason}"));
                }
                stage.books.unsubscribed(&self.name, filter);
                continue;
            }
            if *reason != ReasonCode::granted(wish.qos) {
                return Err(format!("{filter} is granted {reason}, and not {}", wish.qos));
            }
            let kept = Kept::Subscribed(self.name.clone(), filter.clone());
            if self.expiry > 0 && !stage.w.is_kept(&kept, before, batches) {
                return Err(format!("SUBACK came before {filter} was stored"));
            }
            stage.books.subscribed(&self.name, filter);
            self.retained.granted.insert(filter.clone());
            let complete = wish.qos != QoS::AtMostOnce && !wish.no_local;
            if *handling == RetainHandling::Always && complete {
                self.retained.fresh.insert(filter.clone(), self.connections);
            }
        }
        Ok(())
    }

    fn hear_publish(&mut self, publish: &Publishing, stage: &mut Stage) -> Result<(), String> {
        let new = match publish.qos {
            QoS::AtMostOnce => true,
            QoS::AtLeastOnce => {
                self.owes.push_back(puback(publish.packet_id()));
                if let Some(number) = number_in(&publish.payload) {
                    self.unconfirmed.insert(publish.packet_id(), number);
                }
                true
            }
            QoS::ExactlyOnce => {
                self.owes.push_back(pubrec(publish.packet_id()));
                self.held.insert(publish.packet_id())
            }
        };
        if let Some(number) = publish.payload.strip_prefix(b"W").and_then(number_in) {
            let counts = self.is_witness && new && !publish.dup;
            return stage.lives.will_heard(number, stage.w.now_ms(), counts);
        }
        let Some(number) = number_in(&publish.payload).filter(|_| new) else {
            return Ok(());
        };
        let properties = Properties::from_checked(&publish.properties);
        let identifier = |property| match property {
            Property::SubscriptionIdentifier(identifier) => Some(identifier),
            _ => None,
        };
        let heard = Heard {
            number,
            topic: &publish.topic,
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            identifiers: properties.iter().filter_map(identifier).collect(),
        };
        // Known at once, and not only when all is calm: what found no room the first time may come when
        // it is sent again, after others.
        stage.books.lossy |= stage.w.drops().1 > 0;
        let as_published = stage.books.delivered(&self.name, &heard)?;
        if !publish.topic.starts_with("r/") && !publish.topic.starts_with("$d/") {
            return Ok(());
        }
        self.hear_value(&heard, as_published, stage)
    }

    /// A message that was published to be retained.
    fn hear_value(
        &mut self,
        heard: &Heard<'_>,
        as_published: bool,
        stage: &Stage,
    ) -> Result<(), String> {
        let Heard { number, topic, qos, retain, dup, .. } = *heard;
        let copy = retain && !as_published;
        let seen = &mut self.retained;
        let last = seen.last.entry(topic.into()).or_default();
        *last = (*last).max(number);
        if copy {
            let announced = |(filter, on): &(String, usize)| {
                matches(filter, topic) && (seen.granted.contains(filter) || *on < self.connections)
            };
            if !seen.asked_on.iter().any(announced) {
                return Err(format!("a retained message comes before the SUBACK: {heard:?}"));
            }
        }
        if dup || stage.books.is_repeated(number) {
            return Ok(());
        }
        let live = seen.live.entry((topic.into(), qos)).or_default();
        if copy && number < *live {
            return Err(format!("it hears retained message {number} after live {live}"));
        }
        // With the publisher's own flag, nobody can tell the one from the other.
        if !retain {
            *live = (*live).max(number);
        }
        Ok(())
    }

    fn hear_ack(
        &mut self,
        packet: PacketType,
        id: u16,
        reason: ReasonCode,
        batches: u64,
        stage: &mut Stage,
    ) -> Result<(), String> {
        if packet == PacketType::Pubrel {
            self.held.remove(&id);
            self.owes.push_back(pubcomp(id));
            return Ok(());
        }
        let unexpected = || format!("{packet} {id}, {reason}, for which it does not wait");
        let is_it = |one: &super::guest::Sending| one.publish.id == Some(id);
        let at = self.sending.iter().position(is_it).ok_or_else(unexpected)?;
        let qos = self.sending[at].publish.qos;
        if packet == PacketType::Pubcomp {
            let received = self.sending[at].received;
            self.sending.remove(at);
            return if received { Ok(()) } else { Err(unexpected()) };
        }
        let wanted = if qos == QoS::AtLeastOnce { PacketType::Puback } else { PacketType::Pubrec };
        if packet != wanted {
            return Err(unexpected());
        }
        // [MQTT5-4.6.0-2] [MQTT5-4.6.0-3]
        let earlier = self.sending.iter().take(at);
        if let Some(passed) =
            earlier.into_iter().find(|one| one.publish.qos == qos && !one.received)
        {
            return Err(format!(
                "{packet} {id} comes before that of {}",
                passed.publish.packet_id()
            ));
        }
        self.judge_ack(at, reason, batches, stage)?;
        if packet == PacketType::Puback || reason.is_error() {
            self.sending.remove(at);
        } else {
            self.sending[at].received = true;
            self.owes.push_back(pubrel(id));
        }
        Ok(())
    }

    /// Is what an acknowledgement promises true?
    fn judge_ack(
        &self,
        at: usize,
        reason: ReasonCode,
        batches: u64,
        stage: &mut Stage,
    ) -> Result<(), String> {
        let sending = &self.sending[at];
        let number = sending.number;
        let topic = &sending.publish.topic;
        if reason.is_error() && sending.publish.qos == QoS::ExactlyOnce {
            // Of a session that is kept it was not taken at all, of another it is retained all the same.
            stage.values.abandoned(topic, number);
        } else {
            stage.values.acknowledged(topic, number);
        }
        if reason.is_error() {
            stage.books.abandoned(number);
            let full = reason == ReasonCode::QuotaExceeded && stage.course.refuses();
            return if full {
                Ok(())
            } else {
                Err(format!("message {number} is refused: {reason}"))
            };
        }
        let stored = stage.books.acknowledged(number);
        if stage.w.drops().1 > 0 || sending.received {
            return Ok(());
        }
        let now = stage.w.now_ms();
        let late = stored.iter().find(|(name, standing)| {
            let kept = Kept::Owed(name.clone(), number);
            stage.lives.standing(name, now) == Some(*standing)
                && !stage.w.is_kept(&kept, 0, batches)
                && !stage.books.has_received(name, number)
        });
        match late {
            None => Ok(()),
            Some((name, _)) => {
                Err(format!("message {number} is acknowledged and not stored for {name}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::books::{New, Wish, payload};
    use super::super::{Plan, Simulation};
    use super::*;
    use crate::packets::{publish, v5, v311};
    use crate::shards::Shards;
    use noctule_broker::{Limits, OnQueueFull};

    /// A client that has subscribed to `t`, and for whom one message is in flight and one queued at most.
    fn with_little_room() -> (Stage, Guest) {
        let mut stage = Simulation::new(Plan { seed: 0, minutes: 0, whole_story: false }).stage;
        let limits = Limits {
            queue_messages_max: 1,
            on_queue_full: OnQueueFull::DropNew,
            ..Limits::default()
        };
        stage.w = Shards::with(1, &limits);
        stage.w.connect("g1#1", 0, v5().id("g1").receive_maximum(1));
        stage.w.subscribe("g1#1", "t", 1);
        stage.w.connect("sender", 0, v311());
        let wish = Wish {
            qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            identifier: None,
        };
        stage.books.subscribing("g1", "t", wish);
        stage.books.subscribed("g1", "t");
        let mut guest = Guest::new(1, true);
        (guest.label, guest.phase) = ("g1#1".into(), Phase::Connected);
        (stage, guest)
    }

    fn listen_and_answer(guest: &mut Guest, stage: &mut Stage) {
        while guest.listen(stage) {
            guest.answer(stage, usize::MAX);
            stage.w.settle();
        }
    }

    #[test]
    fn a_repetition_may_come_after_later_ones_if_there_was_no_room_for_the_first() {
        let (mut stage, mut guest) = with_little_room();
        let new = New {
            publisher: "sender",
            era: 0,
            topic: "t",
            qos: QoS::AtLeastOnce,
            retain: false,
            firm: true,
            unknowable: false,
            bytes: 10,
        };
        let said = |number: usize| publish("t", payload(number, 1)).qos(1).id(number as u16 + 1);
        for number in 0..4 {
            assert_eq!(stage.books.published(&new, |_| None), number);
            if number == 3 {
                assert_eq!(stage.w.drops().1, 1, "one is in flight, one is queued");
                listen_and_answer(&mut guest, &mut stage);
            }
            stage.w.send("sender", said(number));
        }
        listen_and_answer(&mut guest, &mut stage);
        assert!(stage.books.has("g1", 3) && !stage.books.has("g1", 2));
        stage.books.repeated(2, true);
        stage.w.send("sender", said(2).dup());
        listen_and_answer(&mut guest, &mut stage);
        assert!(stage.books.has("g1", 2));
        assert_eq!(stage.w.all_heard("sender"), [1, 2, 3, 4, 3].map(puback));
    }
}
