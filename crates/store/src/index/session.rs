//! One session in the index.

use super::queue::{OwedAt, Queue};
use super::{Live, Location, Size};
use crate::format::record::{Stored, StoredReplay};
use noctule_broker::{PacketId, Principal, ReplayNumber, Sequence, SubscriptionOptions};
use std::collections::BTreeMap;

/// What the log says of a session. Messages and the will stay on disk.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// The record of the session itself. None while only others of it have been read.
    pub(crate) at: Option<Location>,
    pub(crate) client_id: Box<str>,
    pub(crate) principal: Principal,
    pub(crate) expiry: Option<u32>,
    pub(crate) has_will: bool,
    pub(crate) away_since_ms: Option<u64>,
    /// Where that is written, if it has a record of its own.
    pub(crate) away_at: Option<Location>,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) queue: Queue,
    pub(crate) in_flight: BTreeMap<Sequence, InFlight>,
    pub(crate) held: BTreeMap<PacketId, Held>,
    /// The highest there was.
    pub(crate) sequence_max: u64,
    /// The last topic that was passed by each handing out of retained messages that goes on.
    reached: Option<Box<Reached>>,
}

/// Nothing is passed while the topic is empty.
type Reached = BTreeMap<ReplayNumber, String>;

#[derive(Debug)]
pub(crate) struct Subscribed {
    pub(crate) at: Location,
    pub(crate) options: SubscriptionOptions,
    pub(crate) identifier: Option<u32>,
    pub(crate) replay: Option<Box<Replay>>,
}

/// Retained messages that are to be handed out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replay {
    pub(crate) number: Option<ReplayNumber>,
    pub(crate) up_to: u64,
}

/// Subscriptions, ordered by filter. Most sessions have a few, for which a map takes much room.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(Vec<(Box<str>, Subscribed)>);

impl Subscriptions {
    fn find(&self, filter: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(found, _)| (**found).cmp(filter))
    }

    pub(crate) fn get(&self, filter: &str) -> Option<&Subscribed> {
        Some(&self.0[self.find(filter).ok()?].1)
    }

    /// Sets the terms of a subscription. Returns what they were.
    fn insert(&mut self, filter: &str, terms: Subscribed) -> Option<Subscribed> {
        match self.find(filter) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, terms)),
            Err(at) => {
                if self.0.len() == self.0.capacity() {
                    self.0.reserve_exact((self.0.len() / 2).max(1));
                }
                self.0.insert(at, (filter.into(), terms));
                None
            }
        }
    }

    fn remove(&mut self, filter: &str) -> Option<Subscribed> {
        Some(self.0.remove(self.find(filter).ok()?).1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Box<str>, Subscribed)> {
        self.0.iter()
    }
}

/// A QoS 2 delivery under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InFlight {
    pub(crate) at: Location,
    pub(crate) packet_id: PacketId,
    pub(crate) received: bool,
}

/// A packet identifier of the client that is not released.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) at: Location,
    pub(crate) routed: bool,
}

impl Session {
    /// Brings it up to date with a record of its own.
    pub(super) fn apply(
        &mut self,
        record: &Stored<'_>,
        at: Location,
        of: Size<'_>,
        live: &mut Live,
    ) {
        let old = match *record {
            Stored::Session {
                client_id,
                user_name,
                is_claimed,
                expiry,
                away_since_ms,
                will,
                ..
            } => {
                live.gain(at);
                self.client_id = client_id.into();
                self.principal =
                    Principal { user_name: user_name.map(Into::into), is_claimed, grant: None };
                self.expiry = expiry;
                self.has_will = will.is_some();
                self.away_since_ms = away_since_ms;
                if let Some(old) = self.away_at.take() {
                    live.lose(old);
                }
                self.at.replace(at)
            }
            Stored::Away { since_ms, keeps_will, .. } => {
                live.gain(at);
                self.has_will &= keeps_will;
                self.away_since_ms = Some(since_ms);
                self.away_at.replace(at)
            }
            Stored::Subscribed { filter, options, identifier, replay, .. } => {
                live.gain(at);
                let entry =
                    replay.map(|StoredReplay { number, up_to, .. }| Replay { number, up_to });
                let entry = Subscribed { at, options, identifier, replay: entry.map(Box::new) };
                let old = self.subscriptions.insert(filter, entry);
                let old = old.map(|old| self.end_replay(old));
                if let Some(StoredReplay { number: Some(number), reached, .. }) = replay {
                    self.reached.get_or_insert_default().insert(number, reached.into());
                }
                old
            }
            Stored::Unsubscribed { filter, .. } => {
                self.subscriptions.remove(filter).map(|old| self.end_replay(old))
            }
            Stored::Owed { sequence, replay, .. } => {
                live.gain(at);
                self.sequence_max = self.sequence_max.max(sequence.0);
                if let Some(number) = replay {
                    self.pass(number, of.topic);
                }
                self.queue.insert(OwedAt { sequence, at, bytes: of.bytes })
            }
            Stored::InFlight { sequence, packet_id, received, .. } => {
                live.gain(at);
                let entry = InFlight { at, packet_id, received };
                self.in_flight.insert(sequence, entry).map(|old| old.at)
            }
            Stored::Delivered { sequence, .. } => {
                self.sequence_max = self.sequence_max.max(sequence.0);
                if let Some(old) = self.in_flight.remove(&sequence) {
                    live.lose(old.at);
                }
                self.queue.remove(sequence)
            }
            Stored::Received { packet_id, .. } => {
                live.gain(at);
                self.held.insert(packet_id, Held { at, routed: false }).map(|old| old.at)
            }
            Stored::Held { packet_id, .. } => {
                live.gain(at);
                self.held.insert(packet_id, Held { at, routed: true }).map(|old| old.at)
            }
            Stored::Released { packet_id, .. } => self.held.remove(&packet_id).map(|old| old.at),
            Stored::SessionEnded { .. } | Stored::Message(_) | Stored::Retained { .. } => None,
        };
        if let Some(old) = old {
            live.lose(old);
        }
    }

    /// A handing out of retained messages has passed this topic, if it goes on.
    fn pass(&mut self, number: ReplayNumber, topic: &[u8]) {
        let reached = self.reached.as_mut().and_then(|all| all.get_mut(&number));
        // It was looked at when it was published.
        if let (Some(reached), Ok(topic)) = (reached, std::str::from_utf8(topic)) {
            reached.clear();
            reached.push_str(topic);
        }
    }

    /// Other terms hold for a subscription, or it is gone. Returns where the old ones are.
    fn end_replay(&mut self, old: Subscribed) -> Location {
        if let (Some(number), Some(all)) =
            (old.replay.and_then(|replay| replay.number), &mut self.reached)
        {
            all.remove(&number);
            if all.is_empty() {
                self.reached = None;
            }
        }
        old.at
    }

    /// What is to be handed out for a subscription, and behind which topic.
    pub(crate) fn replay(&self, subscribed: &Subscribed) -> Option<StoredReplay<'_>> {
        let Replay { number, up_to } = **subscribed.replay.as_ref()?;
        let reached = number.and_then(|number| self.reached.as_ref()?.get(&number));
        Some(StoredReplay { number, up_to, reached: reached.map_or("", String::as_str) })
    }

    /// Every place where something of it is written that still counts.
    pub(super) fn locations(&self) -> impl Iterator<Item = Location> {
        self.at
            .into_iter()
            .chain(self.away_at)
            .chain(self.subscriptions.iter().map(|(_, subscribed)| subscribed.at))
            .chain(self.queue.iter().map(|owed| owed.at))
            .chain(self.in_flight.values().map(|in_flight| in_flight.at))
            .chain(self.held.values().map(|held| held.at))
    }
}
