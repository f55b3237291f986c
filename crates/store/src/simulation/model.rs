//! What the log should say: maps, and nothing clever.

use crate::engine::Engine;
use crate::error::StoreError;
use crate::recovery::RecoveredSession;
use crate::testing::SimulatedFile;
use noctule_broker::{
    Extras, Message, Owed, Principal, Record, RecordedReplay, RecordedWill, Sequence,
    StoredSubscription,
};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Model {
    pub(super) sessions: BTreeMap<u64, Kept>,
    /// By topic: the place in the order of all, and the message unless it was cleared.
    pub(super) retained: BTreeMap<String, (u64, Option<Message>)>,
}

/// A session.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Kept {
    pub(super) client_id: String,
    pub(super) principal: Principal,
    pub(super) expiry: Option<u32>,
    pub(super) will: Option<RecordedWill>,
    pub(super) away_since_ms: Option<u64>,
    /// Terms as they print, and what is to be handed out.
    pub(super) subscriptions: BTreeMap<String, (String, Option<RecordedReplay>)>,
    pub(super) owed: BTreeMap<u64, Owed>,
    pub(super) in_flight: BTreeMap<u64, (u16, bool)>,
    /// With the message until it is routed.
    pub(super) held: BTreeMap<u16, Option<Message>>,
}

impl Model {
    pub(super) fn apply(&mut self, record: &Record) {
        match record {
            Record::Session { key, client_id, principal, expiry, will } => {
                let kept = self.sessions.entry(key.0).or_default();
                kept.client_id = client_id.to_string();
                kept.principal.clone_from(principal);
                kept.expiry = *expiry;
                kept.will.clone_from(will);
                kept.away_since_ms = None;
            }
            Record::SessionEnded(key) => {
                self.sessions.remove(&key.0);
            }
            Record::Retained { sequence, message } => {
                let new =
                    (*sequence, Some(message.clone()).filter(|new| !new.payload().is_empty()));
                let entry = self.retained.entry(message.topic().into()).or_insert((0, None));
                if entry.0 < *sequence {
                    *entry = new;
                }
            }
            Record::Away { key, .. }
            | Record::Subscribed { key, .. }
            | Record::Unsubscribed { key, .. }
            | Record::Owed { key, .. }
            | Record::PacketIdGiven { key, .. }
            | Record::DeliveryReceived { key, .. }
            | Record::Delivered { key, .. }
            | Record::Received { key, .. }
            | Record::Routed { key, .. }
            | Record::Released { key, .. } => {
                if let Some(kept) = self.sessions.get_mut(&key.0) {
                    kept.apply(record);
                }
            }
            Record::Together { .. } => {}
        }
    }

    /// Without what nobody can see.
    pub(super) fn seen(mut self) -> Self {
        self.retained.retain(|_, (_, message)| message.is_some());
        self
    }

    /// In what two states differ, in a few lines.
    pub(super) fn differences(&self, other: &Self) -> String {
        let mut lines = Vec::new();
        let keys: BTreeSet<_> = self.sessions.keys().chain(other.sessions.keys()).collect();
        for key in keys {
            let (one, two) = (self.sessions.get(key), other.sessions.get(key));
            if one != two {
                let said = |kept: Option<&Kept>| kept.map_or("none".into(), Kept::summary);
                lines.push(format!("session {key}: {} / {}", said(one), said(two)));
            }
        }
        let topics: BTreeSet<_> = self.retained.keys().chain(other.retained.keys()).collect();
        for topic in topics {
            let (one, two) = (self.retained.get(topic), other.retained.get(topic));
            if one != two {
                let said = |retained: Option<&(u64, Option<Message>)>| {
                    retained.map(|(sequence, message)| (*sequence, message.is_some()))
                };
                lines.push(format!("retained {topic}: {:?} / {:?}", said(one), said(two)));
            }
        }
        lines.join("\n")
    }

    /// What the log says, every message read from disk.
    pub(super) fn of(engine: &Engine<SimulatedFile>) -> Result<Self, StoreError> {
        let recovered = engine.recovered()?;
        let mut model = Self::default();
        for (sequence, message) in recovered.retained {
            model.retained.insert(message.topic().into(), (sequence, Some(message)));
        }
        for session in recovered.sessions {
            assert!(session.key.0 < recovered.next_key);
            let mut kept = Kept::of(&session);
            let mut after = Sequence(0);
            loop {
                let loaded = engine.loading(session.key, after, 700).read()?;
                let Some(last) = loaded.last() else { break };
                after = last.sequence;
                kept.owed.extend(loaded.into_iter().map(|owed| (owed.sequence.0, owed)));
            }
            assert_eq!(kept.owed.len(), session.queued);
            let last = kept.owed.last_key_value().map_or(0, |(last, _)| *last);
            assert_eq!(last, session.last_queued.0);
            assert!(kept.owed.keys().all(|sequence| *sequence < session.next_sequence));
            model.sessions.insert(session.key.0, kept);
        }
        Ok(model)
    }
}

impl Kept {
    fn summary(&self) -> String {
        let owed: Vec<_> = self.owed.keys().collect();
        let held: Vec<_> = self.held.iter().map(|(id, message)| (*id, message.is_none())).collect();
        format!(
            "expiry {:?} will {} away {:?} subscribed {:?} owed {owed:?} in flight {:?} held {held:?}",
            self.expiry,
            self.will.is_some(),
            self.away_since_ms,
            self.subscriptions,
            self.in_flight,
        )
    }

    fn apply(&mut self, record: &Record) {
        match record {
            Record::Away { since_ms, keeps_will, .. } => {
                self.away_since_ms = Some(*since_ms);
                if !keeps_will {
                    self.will = None;
                }
            }
            Record::Subscribed { filter, options, identifier, replay, .. } => {
                let terms = format!("{options:?} {identifier:?}");
                self.subscriptions.insert(filter.to_string(), (terms, replay.clone()));
            }
            Record::Unsubscribed { filter, .. } => {
                self.subscriptions.remove(&**filter);
            }
            Record::Owed { owed, .. } => {
                let mut owed = owed.clone();
                if let Some(number) = owed.replay() {
                    let replays = self.subscriptions.values_mut();
                    let mut replays = replays.filter_map(|(_, replay)| replay.as_mut());
                    if let Some(replay) = replays.find(|one| one.number == Some(number)) {
                        replay.reached = Some(owed.message.topic().into());
                    }
                    // Nobody has to know it again.
                    owed.extras = Extras::of(owed.identifiers(), None);
                }
                self.owed.insert(owed.sequence.0, owed);
            }
            Record::PacketIdGiven { sequence, packet_id, .. } => {
                self.in_flight.insert(sequence.0, (packet_id.get(), false));
            }
            Record::DeliveryReceived { sequence, .. } => {
                if let Some(in_flight) = self.in_flight.get_mut(&sequence.0) {
                    in_flight.1 = true;
                }
            }
            Record::Delivered { sequence, .. } => {
                self.owed.remove(&sequence.0);
                self.in_flight.remove(&sequence.0);
            }
            Record::Received { packet_id, message, .. } => {
                self.held.insert(packet_id.get(), Some(message.clone()));
            }
            Record::Routed { packet_id, .. } => {
                if let Some(held) = self.held.get_mut(&packet_id.get()) {
                    *held = None;
                }
            }
            Record::Released { packet_id, .. } => {
                self.held.remove(&packet_id.get());
            }
            Record::Session { .. }
            | Record::SessionEnded(_)
            | Record::Retained { .. }
            | Record::Together { .. } => {}
        }
    }

    fn of(session: &RecoveredSession) -> Self {
        let in_flight = session.in_flight.iter();
        let routed = session.held.iter().map(|packet_id| (packet_id.get(), None));
        let received = session.received.iter();
        Self {
            client_id: session.client_id.to_string(),
            principal: session.principal.clone(),
            expiry: session.expiry,
            will: session.will.clone(),
            away_since_ms: session.away_since_ms,
            subscriptions: session
                .subscriptions
                .iter()
                .map(|one| {
                    let StoredSubscription { filter, options, identifier, replay } = one;
                    let terms = format!("{options:?} {identifier:?}");
                    (filter.to_string(), (terms, replay.clone()))
                })
                .collect(),
            owed: BTreeMap::new(),
            in_flight: in_flight
                .map(|one| (one.sequence.0, (one.packet_id.get(), one.received)))
                .collect(),
            held: routed
                .chain(
                    received.map(|(packet_id, message)| (packet_id.get(), Some(message.clone()))),
                )
                .collect(),
        }
    }
}
