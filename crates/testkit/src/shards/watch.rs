//! What is seen of the shards from outside, for whoever judges them: when connections were given
//! their sessions and when they ended, and which records had been persisted when something was
//! written to a client.
//!
//! Nothing is believed here that a shard says of itself, but the cause for which it closes a
//! connection, which is compared with what was done to the connection; and when it gives a session
//! to one that waits for its turn, which may not be later than in [`TURN_MS`].

use super::Shards;
use crate::client::{Client, State};
use crate::packets::Said;
use crate::simulation::number_in;
use noctule_broker::{Cause, ConnectionHandle, Message, Record, SessionKey};
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
    /// How much had happened before what a shard did last that may give sessions.
    before: usize,
    connect_timeout_ms: u64,
    /// Connections that were accepted and have to wait for their sessions, and since when: their
    /// clients fight for them.
    waiting: Vec<(Place, String, u64)>,
    /// Whose sessions keys name, by shard.
    owners: HashMap<(usize, SessionKey), String>,
    /// The batches in which something was persisted, by number.
    kept: HashMap<Kept, Vec<u64>>,
    batches: u64,
}

/// How late a timer may come, in milliseconds: a grain of the wheel, and as much again.
pub(crate) const LATE_MS: u64 = 300;
/// The longest that a connection waits for its turn, in milliseconds.
const TURN_MS: u64 = 4_000;
/// A shard and one of its connections.
type Place = (usize, ConnectionHandle);

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
        self.watch.before = 0;
        std::mem::take(&mut self.watch.happened)
    }

    /// A shard may just have given a session to this connection, and nobody has seen more of it yet.
    pub(super) fn note_session(&mut self, who: &str, (at, handle): Place) {
        self.watch.before = self.watch.happened.len();
        if self.nodes[at].shard.borrow().has_session(handle) {
            self.note_claim(who, self.watch.before);
        }
    }

    /// All has been done that comes of accepting a connection. If it is there and has no session, it
    /// waits for its turn.
    pub(super) fn note_waiting(&mut self, place: Place) {
        let who = self.names.get(&place).filter(|_| self.watch.is_on);
        let line = who.and_then(|who| Some((who, &mut self.clients.get_mut(who)?.client.line)));
        if let Some((who, line)) = line.filter(|(_, line)| !line.claimed) {
            line.has_waited = true;
            self.watch.waiting.push((place, who.clone(), self.now.mono_ms));
        }
    }

    /// Time has passed for a shard, and it may have been somebody's turn.
    pub(super) fn note_turns(&mut self, at: usize) {
        self.watch.before = self.watch.happened.len();
        for ((shard, handle), who, since_ms) in std::mem::take(&mut self.watch.waiting) {
            if shard == at && self.nodes[at].shard.borrow().has_session(handle) {
                self.note_claim(&who, self.watch.happened.len());
            } else if self.names.contains_key(&(shard, handle)) {
                self.watch.waiting.push(((shard, handle), who, since_ms));
            }
        }
        if let Some(late) = self.late_turn() {
            self.fail(&late);
        }
    }

    /// Who has waited for its turn for too long, if somebody has.
    fn late_turn(&self) -> Option<String> {
        let now = self.now.mono_ms;
        let late = |(_, _, since_ms): &&(Place, String, u64)| now > since_ms + TURN_MS + LATE_MS;
        let waits = |(place, ..): &&(Place, String, u64)| self.names.contains_key(place);
        let (_, who, since_ms) = self.watch.waiting.iter().filter(waits).find(late)?;
        Some(format!("{who} has waited since {since_ms} ms for its session"))
    }

    /// A shard says that it has closed a connection that had a session. If nobody has seen it with
    /// one, it was given it and closed at once, before anything was said of the one it took it from.
    pub(super) fn note_session_left(&mut self, who: &str) {
        if self.clients.get(who).is_some_and(|seat| !seat.client.line.claimed) {
            self.note_claim(who, self.watch.before);
        }
    }

    fn note_claim(&mut self, who: &str, place: usize) {
        if self.watch.is_on {
            let claimed = Happening::Claimed { who: who.into(), at_ms: self.now.mono_ms };
            self.watch.happened.insert(place, claimed);
        }
        if let Some(seat) = self.clients.get_mut(who) {
            seat.client.line.claimed = true;
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
        if let Some(late) = self.late_turn() {
            return Some(late);
        }
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

    /// Where something is that a client has said and no shard has dealt with: the first client that
    /// is not read, or the first shard that holds back what it has read.
    pub(crate) fn unheeded(&self) -> Option<String> {
        let unread = |client: &Client| client.state == State::Open && !client.unread.is_empty();
        let unread = self.clients.iter().find(|(_, seat)| unread(&seat.client));
        if let Some((name, _)) = unread {
            return Some(format!("{name} is not read"));
        }
        let held = self.leftovers().into_iter().map(|left| left.held_bytes).enumerate();
        let (shard, bytes) = held.into_iter().find(|(_, bytes)| *bytes > 0)?;
        Some(format!("shard {shard} holds back {bytes} bytes"))
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

    /// Whether a connection had to wait for its session when it was accepted, and so may be refused
    /// for another one that wants it.
    pub(crate) fn has_waited(&self, name: &str) -> bool {
        self.clients.get(name).is_some_and(|seat| seat.client.line.has_waited)
    }

    /// Whether a client's CONNACK was written to it, and accepted it.
    pub(crate) fn is_accepted(&self, name: &str) -> bool {
        self.clients.get(name).is_some_and(|seat| seat.client.line.accepted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::{Connecting, disconnect};
    use noctule_broker::{Limits, Verdict};
    use noctule_mqtt::ProtocolVersion;

    /// What happened, in short.
    fn happened(w: &mut Shards) -> Vec<String> {
        let short = |happening| match happening {
            Happening::Claimed { who, .. } => format!("{who} claims"),
            Happening::Ended { who, cause, .. } => format!("{who} ends: {cause:?}"),
        };
        w.happened().into_iter().map(short).collect()
    }

    /// A client says this at once, and is accepted.
    fn accept(w: &mut Shards, who: &str, behind: Option<Said>) {
        w.open(who, 0, ProtocolVersion::V5);
        w.say(who, Connecting::of(ProtocolVersion::V5).id("x"));
        behind.into_iter().for_each(|said| w.say(who, said));
        w.settle();
        w.give_verdict(0, Verdict::Accepted);
    }

    #[test]
    fn who_is_given_a_session_and_closed_at_once_has_had_it() {
        let mut w = Shards::with(1, &Limits::default());
        w.watch(60_000);
        w.hold_verdicts();
        accept(&mut w, "a", None);
        assert_eq!(happened(&mut w), ["a claims"]);
        accept(&mut w, "b", Some(disconnect(ReasonCode::Success)));
        let wanted = ["b claims", "a ends: TakenOver", "b ends: Disconnected"];
        assert_eq!(happened(&mut w), wanted);
    }

    #[test]
    fn a_session_is_given_when_it_is_the_turn_of_who_waits_for_it() {
        let mut w = Shards::with(1, &Limits { takeovers_max: Some(1), ..Limits::default() });
        w.watch(60_000);
        w.hold_verdicts();
        ["a", "b"].iter().for_each(|who| accept(&mut w, who, None));
        assert_eq!(happened(&mut w), ["a claims", "b claims", "a ends: TakenOver"]);
        ["c", "d"].iter().for_each(|who| accept(&mut w, who, None));
        assert_eq!(happened(&mut w), ["c ends: Refused(ConnectionRateExceeded)"]);
        assert!(w.has_waited("c") && w.has_waited("d") && !w.has_waited("b"));
        assert_eq!(w.overdue(), None);
        let late = format!("d has waited since {} ms for its session", w.now_ms());
        w.now.mono_ms += 5_000;
        assert_eq!(w.overdue(), Some(late));
        w.let_time_pass(1_000);
        assert_eq!(happened(&mut w), ["d claims", "b ends: TakenOver"]);
        assert_eq!(w.overdue(), None);
    }
}
