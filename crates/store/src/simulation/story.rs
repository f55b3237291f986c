//! What happens to a broker: turns of records as shards would write them, by chance.

use super::model::{Kept, Model};
use noctule_broker::{
    Extras, Message, MessageParts, Owed, PacketId, Principal, PublishedBy, QoS, Record,
    RecordedReplay, RecordedWill, ReplayNumber, RetainHandling, Sequence, SessionKey,
    SubscriptionOptions,
};
use noctule_testkit::Dice;
use std::sync::Arc;

const TOPICS: [&str; 6] = ["a", "a/b", "a/b/c", "d", "d/e", "f"];
const SESSIONS_MAX: usize = 8;

/// Makes up turns that fit to what was before.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) dice: Dice,
    /// All that was written, whether it was acknowledged or not.
    pub(super) now: Model,
    next_key: u64,
    next_retained: u64,
    /// A retained message that a shard has set and not handed in, with its place.
    late: Option<(u64, Message)>,
    next_sequence: u64,
    next_replay: u64,
    wall_ms: u64,
    records: Vec<Record>,
    pub(super) told: u64,
}

impl Story {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            now: Model::default(),
            next_key: 1,
            next_retained: 1,
            late: None,
            next_sequence: 1,
            next_replay: 0,
            wall_ms: 1_000,
            records: Vec::new(),
            told: 0,
        }
    }

    /// The records of a turn.
    pub(super) fn turn(&mut self) -> Vec<Record> {
        for _ in 0..=self.dice.below(4) {
            self.event();
        }
        self.told += self.records.len() as u64;
        std::mem::take(&mut self.records)
    }

    fn tell(&mut self, record: Record) {
        self.now.apply(&record);
        self.records.push(record);
    }

    fn event(&mut self) {
        self.wall_ms += self.dice.below(50) as u64;
        match self.dice.below(100) {
            0..=7 => self.session_begins(),
            8..=9 => self.session_ends(),
            10..=15 => self.session_changes(),
            16..=23 => self.subscription(),
            24..=53 => self.publish(),
            54..=78 => self.deliver(),
            79..=87 => self.receive(),
            _ => self.retain(),
        }
    }

    fn message(&mut self) -> Message {
        let length = match self.dice.below(50) {
            0 => 3_000 + self.dice.below(4_000),
            1..=4 => 600,
            _ => self.dice.below(120),
        };
        let mut payload = vec![0; length];
        payload.iter_mut().for_each(|byte| *byte = self.dice.roll() as u8);
        let topic = self.dice.pick(&TOPICS);
        self.message_of(topic, &payload)
    }

    fn message_of(&mut self, topic: &str, payload: &[u8]) -> Message {
        let properties: &[u8] = if self.dice.chance(20) { &[1, 1] } else { &[] };
        let qos = self.dice.pick(&QoS::ALL);
        let retain = self.dice.chance(10);
        let user_name = self.dice.chance(50).then_some("user");
        let published_by =
            self.dice.chance(80).then_some(PublishedBy { client_id: "publisher", user_name });
        Message::from_parts(&MessageParts {
            topic,
            properties,
            payload,
            qos,
            retain,
            published_by,
            received_ms: self.wall_ms,
        })
        .expect("parts of a message")
    }

    fn some_session(&mut self) -> Option<(SessionKey, Kept)> {
        let count = self.now.sessions.len();
        if count == 0 {
            return None;
        }
        let (key, kept) = self.now.sessions.iter().nth(self.dice.below(count))?;
        Some((SessionKey(*key), kept.clone()))
    }

    fn session_record(&mut self, key: SessionKey) {
        let will = self.dice.chance(30).then(|| {
            let message = self.message();
            // When it comes is when it is published.
            let parts = MessageParts { received_ms: 0, ..message.parts() };
            let message = Message::from_parts(&parts).expect("parts of a message");
            RecordedWill { message, delay: self.dice.below(3) as u32 }
        });
        let expiry = self.dice.chance(50).then(|| self.dice.below(100) as u32);
        let client_id = format!("client-{}", key.0).into();
        let principal = match self.dice.below(3) {
            0 => Principal::default(),
            1 => Principal::user("user"),
            _ => Principal::claiming(Some("user")),
        };
        self.tell(Record::Session { key, client_id, principal, expiry, will });
    }

    fn session_begins(&mut self) {
        if self.now.sessions.len() >= SESSIONS_MAX {
            return;
        }
        let key = SessionKey(self.next_key);
        self.next_key += 1;
        self.session_record(key);
        self.subscription();
    }

    fn session_ends(&mut self) {
        if let Some((key, _)) = self.some_session() {
            self.tell(Record::SessionEnded(key));
        }
    }

    fn session_changes(&mut self) {
        let Some((key, kept)) = self.some_session() else { return };
        if kept.away_since_ms.is_some() {
            self.session_record(key);
        } else {
            let (since_ms, keeps_will) = (self.wall_ms, self.dice.chance(50));
            self.tell(Record::Away { key, since_ms, keeps_will });
        }
    }

    fn subscription(&mut self) {
        let Some((key, kept)) = self.some_session() else { return };
        let filter: Box<str> = self.dice.pick(&["a/#", "+/b", "#", "d", "f/+"]).into();
        if kept.subscriptions.contains_key(&*filter) && self.dice.chance(50) {
            return self.tell(Record::Unsubscribed { key, filter });
        }
        let options = SubscriptionOptions {
            qos: self.dice.pick(&QoS::ALL),
            no_local: self.dice.chance(50),
            retain_as_published: self.dice.chance(50),
            retain_handling: RetainHandling::IfNew,
        };
        let identifier = self.dice.chance(50).then(|| self.dice.below(1_000) as u32 + 1);
        // Now and then it is said what holds already, or how far it has come.
        let old = kept.subscriptions.get(&*filter).and_then(|(_, replay)| replay.clone());
        let replay = match self.dice.below(10) {
            0..3 => old,
            3..7 => {
                self.next_replay += 1;
                let reached = self.dice.chance(30).then(|| self.dice.pick(&TOPICS).into());
                let number = ReplayNumber::new(self.next_replay);
                Some(RecordedReplay { number, up_to: self.next_retained, reached })
            }
            _ => None,
        };
        self.tell(Record::Subscribed { key, filter, options, identifier, replay });
    }

    fn owe(&mut self, key: SessionKey, message: Message) {
        let sequence = Sequence(self.next_sequence);
        self.next_sequence += 1;
        let (qos, retain) = (self.dice.pick(&[QoS::AtLeastOnce, QoS::ExactlyOnce]), false);
        let numbers: &[u32] = if self.dice.chance(20) { &[1, 200_000] } else { &[] };
        let shared = self.dice.chance(20).then(|| Arc::from("$share/group/a"));
        let replays = self.now.sessions.get(&key.0).into_iter().flat_map(|kept| {
            kept.subscriptions.values().filter_map(|(_, replay)| replay.as_ref()?.number)
        });
        let replays: Vec<_> = replays.collect();
        let extras = if !replays.is_empty() && self.dice.chance(40) {
            Some(Extras::replayed(numbers, self.dice.pick(&replays)))
        } else {
            Extras::of(numbers, shared)
        };
        let owed = Owed { sequence, message, qos, retain, extras, deferred: 0 };
        let spilled = self.dice.chance(50);
        self.tell(Record::Owed { key, owed, spilled });
    }

    fn publish(&mut self) {
        let message = self.message();
        for _ in 0..=self.dice.below(3) {
            if let Some((key, kept)) = self.some_session()
                && kept.owed.len() < 40
            {
                self.owe(key, message.clone());
            }
        }
    }

    fn deliver(&mut self) {
        let Some((key, kept)) = self.some_session() else { return };
        // Some never come back.
        if key.0.is_multiple_of(5) || kept.owed.is_empty() {
            return;
        }
        let at = if self.dice.chance(80) { 0 } else { self.dice.below(kept.owed.len()) };
        let Some((number, owed)) = kept.owed.iter().nth(at) else { return };
        let sequence = Sequence(*number);
        let next = match (owed.qos, kept.in_flight.get(number)) {
            (QoS::ExactlyOnce, None) => {
                let packet_id = PacketId::FIRST.after(*number as u16 % 1_000);
                Record::PacketIdGiven { key, sequence, packet_id }
            }
            (QoS::ExactlyOnce, Some((_, false))) => Record::DeliveryReceived { key, sequence },
            _ => Record::Delivered { key, sequence },
        };
        self.tell(next);
        if self.dice.chance(50) {
            self.deliver();
        }
    }

    fn receive(&mut self) {
        let Some((key, kept)) = self.some_session() else { return };
        let packet_id = PacketId::FIRST.after(self.dice.below(4) as u16);
        match kept.held.get(&packet_id.get()) {
            None => {
                let message = self.message();
                self.tell(Record::Received { key, packet_id, message });
            }
            Some(Some(message)) => {
                let message = message.clone();
                self.tell(Record::Routed { key, packet_id });
                self.owe(key, message);
            }
            Some(None) => self.tell(Record::Released { key, packet_id }),
        }
    }

    /// All retained messages before this one were told.
    pub(super) fn all_retained_before(&self) -> u64 {
        self.late.as_ref().map_or(u64::MAX, |(sequence, _)| *sequence)
    }

    /// Retained messages; now and then those of two shards come in the wrong order, and one much later than
    /// the others.
    fn retain(&mut self) {
        if self.dice.chance(20)
            && let Some((sequence, message)) = self.late.take()
        {
            return self.tell(Record::Retained { sequence, message });
        }
        let topic = self.dice.pick(&TOPICS);
        let mut records = Vec::new();
        for _ in 0..=self.dice.below(3) {
            let length = if self.dice.chance(25) { 0 } else { 1 + self.dice.below(60) };
            let payload: Vec<u8> = (0..length).map(|_| self.dice.roll() as u8).collect();
            let (sequence, message) = (self.next_retained, self.message_of(topic, &payload));
            self.next_retained += 1;
            if self.late.is_none() && self.dice.chance(20) {
                self.late = Some((sequence, message));
            } else {
                records.push(Record::Retained { sequence, message });
            }
        }
        if self.dice.chance(50) {
            records.reverse();
        }
        records.into_iter().for_each(|record| self.tell(record));
    }

    /// Goes on from what has survived.
    pub(super) fn goes_on_from(&mut self, survived: Model) {
        self.now = survived;
        self.late = None;
    }
}
