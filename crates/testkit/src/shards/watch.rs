//! What is seen of the shards from outside, for whoever judges them: when connections were given
//! their sessions and when they ended, and which records had been persisted when something was
//! written to a client.
//!
//! Nothing is believed here that a shard says of itself, but the cause for which it closes a
//! connection; and that is compared with what was done to the connection.

use super::Shards;
use crate::client::{Client, State};
use crate::packets::Said;
use crate::simulation::number_in;
use noctule_broker::{Cause, Message, Record, SessionKey};
use noctule_mqtt::{ReasonCode, Violation};
use std::collections::HashMap;

/// Something that happened to a connection, in the order in which shards did it.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    /// It was given the session of its client identifier.
    Claimed { who: String, at_ms: u64 },
    /// Its shard has let go of it.
    Ended { who: String, cause: Cause, at_ms: u64 },
}

/// Something that was persisted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Kept {
    /// A client's session.
    Session(String),
    /// That a client is owed this message.
    Owed(String, usize),
    /// That a client has sent this message, which is routed later.
    Received(String, usize),
    /// A client's subscription.
    Subscribed(String, String),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) is_on: bool,
    pub(super) happened: Vec<Happening>,
    connect_timeout_ms: u64,
    /// Whose sessions keys name, by shard.
    owners: HashMap<(usize, SessionKey), String>,
    /// The batches in which something was persisted, by number.
    kept: HashMap<Kept, Vec<u64>>,
    batches: u64,
}

/// How late a timer may come, in milliseconds: a grain of the wheel, and as much again.
pub(crate) const LATE_MS: u64 = 300;

impl Watch {
    pub(super) fn on_persist(&mut self, at: usize, records: &[Record]) {
        if !self.is_on {
            return;
        }
        self.batches += 1;
        for record in records {
            if let Record::Session { key, client_id, .. } = record {
                self.owners.insert((at, *key), client_id.to_string());
            }
            if let Some(kept) = self.kept_by(at, record) {
                self.kept.entry(kept).or_default().push(self.batches);
            }
        }
    }

    fn kept_by(&self, at: usize, record: &Record) -> Option<Kept> {
        let owner = |key: &SessionKey| self.owners.get(&(at, *key)).cloned();
        let number = |message: &Message| number_in(message.payload());
        Some(match record {
            Record::Session { client_id, .. } => Kept::Session(client_id.to_string()),
            Record::Owed { key, owed, .. } => Kept::Owed(owner(key)?, number(&owed.message)?),
            Record::Received { key, message, .. } => Kept::Received(owner(key)?, number(message)?),
            Record::Subscribed { key, filter, .. } => {
                Kept::Subscribed(owner(key)?, filter.to_string())
            }
            _ => return None,
        })
    }
}

impl Shards {
    /// From now on what happens is noted, and a failure is thrown quietly: whoever watches says it.
    pub(crate) fn watch(&mut self, connect_timeout_ms: u64) {
        self.watch.is_on = true;
        self.watch.connect_timeout_ms = connect_timeout_ms;
    }

    /// What has happened since the last call.
    pub(crate) fn happened(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.watch.happened)
    }

    pub(super) fn note_claim(&mut self, who: &str, place: usize) {
        if self.watch.is_on {
            let claimed = Happening::Claimed { who: who.into(), at_ms: self.now.mono_ms };
            self.watch.happened.insert(place, claimed);
        }
        if let Some(seat) = self.clients.get_mut(who) {
            seat.client.line.claim_stamp = self.watch.batches;
        }
    }

    pub(super) fn note_end(&mut self, who: &str, cause: Cause) {
        if !self.watch.is_on {
            return;
        }
        if let Err(wrong) = self.is_due(who, &cause) {
            self.fail(&wrong);
        }
        let at_ms = self.now.mono_ms;
        self.watch.happened.push(Happening::Ended { who: who.into(), cause, at_ms });
    }

    /// Whether what was done to a connection gives a shard this cause to end it.
    fn is_due(&self, who: &str, cause: &Cause) -> Result<(), String> {
        let Some(client) = self.clients.get(who).map(|seat| &seat.client) else {
            return Ok(());
        };
        let (now, line) = (self.now.mono_ms, &client.line);
        let patience = u64::from(line.keep_alive) * 1_500;
        let early = match cause {
            Cause::Violation(Violation::KeepAliveTimeout { .. }) => now < line.read_ms + patience,
            Cause::ConnectTimeout => now < line.came_ms + self.watch.connect_timeout_ms,
            _ => false,
        };
        if early { Err(format!("{who} is closed too early: {cause}")) } else { Ok(()) }
    }

    /// A packet was written to a client: notes what it says, and looks whether it may yet.
    pub(super) fn note_written(&mut self, who: &str, said: &Said) -> Result<(), String> {
        let (now, batches) = (self.now.mono_ms, self.watch.batches);
        let Some(client) = self.clients.get_mut(who).map(|seat| &mut seat.client) else {
            return Ok(());
        };
        client.line.stamps.push_back(batches);
        match said {
            Said::Connack { reason: ReasonCode::Success, .. } => {
                client.line.accepted = true;
                client.line.awaited_ms = now;
            }
            Said::Disconnect { reason, .. } => client.line.last_word = Some(*reason),
            _ => {}
        }
        Ok(())
    }

    /// Whether something was persisted in a batch after `since` and up to `until`.
    pub(crate) fn is_kept(&self, kept: &Kept, since: u64, until: u64) -> bool {
        let batches = self.watch.kept.get(kept);
        batches.is_some_and(|all| all.iter().any(|batch| (since + 1..=until).contains(batch)))
    }

    /// How many batches have been persisted.
    pub(crate) fn batches(&self) -> u64 {
        self.watch.batches
    }

    /// How many batches had been persisted when a connection was given its session.
    pub(crate) fn claim_stamp(&self, who: &str) -> u64 {
        self.clients.get(who).map_or(0, |seat| seat.client.line.claim_stamp)
    }

    /// Takes everything that a client has heard, each with the number of batches that had been
    /// persisted when it was written.
    pub(crate) fn all_heard_when(&mut self, name: &str) -> Vec<(Said, u64)> {
        let Some(seat) = self.clients.get_mut(name) else {
            return Vec::new();
        };
        seat.client.inbox.drain(..).zip(seat.client.line.stamps.drain(..)).collect()
    }

    /// Why this connection should have been closed by now, if it should.
    pub(crate) fn overdue(&self) -> Option<String> {
        let now = self.now.mono_ms;
        self.clients.iter().find_map(|(name, seat)| {
            let (client, line) = (&seat.client, &seat.client.line);
            let heard = line.read_ms.max(line.awaited_ms);
            let patience = u64::from(line.keep_alive) * 1_500;
            let listened_to = line.accepted && !client.paused && seat.at.is_some();
            let open = client.state == State::Open;
            (open && listened_to && patience > 0 && now > heard + patience + LATE_MS)
                .then(|| format!("{name} has been silent since {heard} ms and is still connected"))
        })
    }

    /// The first client that has said something which no shard has read.
    pub(crate) fn unread(&self) -> Option<&str> {
        let unread = |client: &Client| client.state == State::Open && !client.unread.is_empty();
        let found = self.clients.iter().find(|(_, seat)| unread(&seat.client));
        found.map(|(name, _)| name.as_str())
    }

    /// Now, in monotonic milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now.mono_ms
    }

    /// Whether a connection's shard has let go of it, or it never had one.
    pub(crate) fn is_over(&self, name: &str) -> bool {
        self.clients
            .get(name)
            .is_none_or(|seat| matches!(seat.client.state, State::ClosedByServer | State::Closed))
    }

    /// The DISCONNECT that a client was sent, if it was.
    pub(crate) fn last_word(&self, name: &str) -> Option<ReasonCode> {
        self.clients.get(name).and_then(|seat| seat.client.line.last_word)
    }

    /// Whether a client's connection was closed when all was written that was to be.
    pub(crate) fn heard_all(&self, name: &str) -> bool {
        self.clients.get(name).is_some_and(|seat| !seat.client.line.cut_short)
    }

    /// Whether a client's CONNACK was written to it, and accepted it.
    pub(crate) fn is_accepted(&self, name: &str) -> bool {
        self.clients.get(name).is_some_and(|seat| seat.client.line.accepted)
    }
}
