//! Clients that fight for one client identifier: each takes the session over, throws the other out,
//! and comes back.
//!
//! ```text
//!        take-over, up to takeovers_max          one more              its time is over,
//!   ┌──┐ each within CALM_MS of the last ┌─────┐ ─────────► ┌───────┐ or the holder is gone
//! ──┤  ├──────────────────────────────► │ duel │           │ waits │ ─────► takes over
//!   └──┘                                └─────┘ ◄───────── └───────┘
//!    ▲──────────── CALM_MS without a take-over ┘              │ another one comes: it has the
//!                                                             ▼ place now, and this one is refused
//! ```
//!
//! While it is a duel, whoever comes has to wait before it takes the session over, twice as long each
//! time; its holder goes on meanwhile, and nobody else notices. Invariant: of those who want one
//! identifier one at most waits, and somebody comes to his turn in every [`WAIT_MAX_MS`], however
//! many they are.

use super::{Action, Report, Shard, Timer};
use crate::connection::{ConnectionHandle, Phase};
use crate::faults::{Fault, fault};
use crate::session::Session;
use hashbrown::HashMap;
use noctule_mqtt::ReasonCode;
use noctule_session::Now;

/// So long without a take-over, and it is over.
const CALM_MS: u64 = 60_000;
/// How long the first one that has to wait does.
const WAIT_FIRST_MS: u64 = 250;
/// And the longest that anybody does; shorter than clients wait for CONNACK.
const WAIT_MAX_MS: u64 = 4_000;
/// How long it is not said again of a client identifier that it is fought for.
const SILENCE_MS: u64 = 60_000;
/// Of so many client identifiers take-overs are counted; those of further ones are not slowed.
const KNOWN_MAX: usize = 10_000;

/// Take-overs by client identifier.
#[derive(Debug)]
pub(super) struct Duels {
    known: HashMap<Box<str>, Duel, foldhash::quality::FixedState>,
    /// When those that are over are looked for next.
    sweep_ms: u64,
}

/// The take-overs of a session.
#[derive(Debug, Default)]
struct Duel {
    count: u32,
    last_ms: u64,
    /// Who waits, and until when.
    waiting: Option<(ConnectionHandle, u64)>,
    /// When it may be said again.
    say_ms: u64,
}

/// What becomes of a connection that wants to take a session over.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// It does.
    Now,
    /// It waits until then, in the place of another one.
    Instead(ConnectionHandle, u64),
    /// It waits until then. Whether that is to be said, with the number of take-overs.
    Wait(u64, Option<u32>),
}

impl Duels {
    /// None yet. Client identifiers hash by this seed.
    pub(super) fn new(seed: u64) -> Self {
        let hasher = foldhash::quality::FixedState::with_seed(seed);
        Self { known: HashMap::with_hasher(hasher), sweep_ms: 0 }
    }

    /// A connection wants to take over a session that has another one.
    fn challenge(
        &mut self,
        client_id: &str,
        challenger: ConnectionHandle,
        takeovers_max: u32,
        now_ms: u64,
    ) -> Turn {
        if now_ms >= self.sweep_ms {
            self.sweep_ms = now_ms + CALM_MS;
            self.known.retain(|_, duel| duel.is_on(now_ms));
        }
        if self.known.len() >= KNOWN_MAX && !self.known.contains_key(client_id) {
            return Turn::Now;
        }
        let duel = self.known.entry(client_id.into()).or_default();
        if !duel.is_on(now_ms) {
            *duel = Duel::default();
        }
        // However late its timer is, and if it is gone, too.
        if let Some((other, until_ms)) = duel.waiting {
            duel.waiting = Some((challenger, until_ms));
            return Turn::Instead(other, until_ms);
        }
        duel.count = duel.count.saturating_add(1);
        duel.last_ms = now_ms;
        let Some(over) = duel.count.checked_sub(takeovers_max + 1) else {
            return Turn::Now;
        };
        let until_ms = now_ms + (WAIT_FIRST_MS << over.min(16)).min(WAIT_MAX_MS);
        duel.waiting = Some((challenger, until_ms));
        let is_said = now_ms >= duel.say_ms;
        if is_said {
            duel.say_ms = now_ms + SILENCE_MS;
        }
        Turn::Wait(until_ms, is_said.then_some(duel.count))
    }

    /// Whether nobody was taken over of late.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The connection that waits for this identifier. It waits no more.
    fn take_waiting(&mut self, client_id: &str) -> Option<ConnectionHandle> {
        let waiting = self.known.get_mut(client_id)?.waiting.take()?;
        Some(waiting.0)
    }

    /// Whether it is this connection that waits for this identifier. It waits no more, and takes over.
    fn comes_to_its_turn(
        &mut self,
        client_id: &str,
        handle: ConnectionHandle,
        now_ms: u64,
    ) -> bool {
        let Some(duel) = self.known.get_mut(client_id) else {
            return false;
        };
        let waits = duel.waiting.take_if(|(waiting, _)| *waiting == handle).is_some();
        if waits {
            duel.last_ms = now_ms;
        }
        waits
    }
}

impl Duel {
    fn is_on(&self, now_ms: u64) -> bool {
        // Nobody waits for as long as that, unless its timer is late; then it asks anew.
        now_ms.saturating_sub(self.last_ms) < CALM_MS
    }
}

impl Shard {
    /// Whether an accepted connection has to wait before it gets the session of its client identifier.
    pub(super) fn waits_for_its_turn(&mut self, handle: ConnectionHandle, now: Now) -> bool {
        let Some(takeovers_max) = self.delivery.limits.takeovers_max else {
            return false;
        };
        let Some(Phase::AwaitVerdict(accepting)) =
            self.delivery.connections.get(handle).map(|connection| &connection.phase)
        else {
            return false;
        };
        let client_id = &*accepting.client_id;
        let session = self.clients.find(client_id, &self.delivery.sessions);
        let holder = session
            .and_then(|session| self.delivery.sessions.get(session))
            .and_then(Session::holder);
        let Some(holder) = holder else {
            // Nobody is thrown out; but it comes later than one that may wait.
            if let Some(other) = self.duels.take_waiting(client_id) {
                self.refuse_waiting(other, now);
            }
            return false;
        };
        let turn = self.duels.challenge(client_id, handle, takeovers_max, now.mono_ms);
        let (until_ms, said) = match turn {
            Turn::Now => return false,
            Turn::Instead(other, until_ms) => {
                self.refuse_waiting(other, now);
                (until_ms, None)
            }
            Turn::Wait(until_ms, said) => (until_ms, said),
        };
        self.delivery.counters.duels_slowed += 1;
        if let Some(takeovers) = said {
            let report = Report::Duel {
                client_id: client_id_of(self, handle).unwrap_or_default(),
                holder,
                challenger: handle,
                takeovers,
            };
            self.actions.push_back(Action::Report(report));
        }
        self.timers.insert(until_ms, Timer::Duel(handle));
        true
    }

    /// Somebody else waits in the place of this one, unless it is gone.
    fn refuse_waiting(&mut self, handle: ConnectionHandle, now: Now) {
        let connection = self.delivery.connections.get(handle);
        if connection.is_some_and(|found| matches!(found.phase, Phase::AwaitVerdict(_))) {
            self.refuse(handle, ReasonCode::ConnectionRateExceeded, now);
        }
    }

    /// A connection has waited for its turn: it is its turn, unless it is gone. One that is not known
    /// to wait any more asks anew.
    pub(super) fn on_duel_timer(&mut self, handle: ConnectionHandle, now: Now) {
        let Some(client_id) = client_id_of(self, handle) else {
            return;
        };
        if fault(Fault::TurnForgotten) {
            return;
        }
        if self.duels.comes_to_its_turn(&client_id, handle, now.mono_ms) {
            self.claim_in_turn(handle, now);
        } else {
            self.claim(handle, now);
        }
    }

    /// The holder of a session is gone: whoever waits for it need not any more.
    pub(super) fn end_duel(&mut self, client_id: &str, now: Now) {
        if let Some(duel) = self.duels.known.get_mut(client_id)
            && let Some((waiting, until_ms)) = &mut duel.waiting
            && *until_ms > now.mono_ms
        {
            *until_ms = now.mono_ms;
            let waiting = *waiting;
            self.timers.insert(now.mono_ms, Timer::Duel(waiting));
        }
    }
}

/// The client identifier of a connection that is being accepted.
fn client_id_of(shard: &Shard, handle: ConnectionHandle) -> Option<Box<str>> {
    match &shard.delivery.connections.get(handle)?.phase {
        Phase::AwaitVerdict(accepting) => Some(accepting.client_id.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> ConnectionHandle {
        Shard::new(crate::Settings::default(), Now { mono_ms: 0, wall_ms: 0 })
            .open(Now { mono_ms: 0, wall_ms: 0 })
    }

    /// As challenged by somebody who then takes over in his turn.
    fn wait_ms(duels: &mut Duels, now_ms: u64) -> u64 {
        match duels.challenge("x", one(), 3, now_ms) {
            Turn::Now => 0,
            Turn::Wait(until_ms, _) => {
                duels.take_waiting("x");
                until_ms - now_ms
            }
            turn @ Turn::Instead(..) => panic!("{turn:?}"),
        }
    }

    #[test]
    fn a_few_are_free_and_then_each_waits_longer_until_there_is_peace() {
        let mut duels = Duels::new(0);
        let waits: Vec<_> = (0..9).map(|at| wait_ms(&mut duels, at * 59_999)).collect();
        assert_eq!(waits, [0, 0, 0, 250, 500, 1_000, 2_000, 4_000, 4_000]);
        assert_eq!(wait_ms(&mut duels, 8 * 59_999 + 60_000), 0, "a minute of peace");
    }

    #[test]
    fn it_is_said_when_it_begins_and_then_once_a_minute() {
        let mut duels = Duels::new(0);
        let mut said = Vec::new();
        for at in 0..100 {
            if let Turn::Wait(_, Some(count)) = duels.challenge("x", one(), 3, at * 1_000) {
                said.push((at, count));
            }
            duels.take_waiting("x");
        }
        assert_eq!(said, [(3, 4), (63, 64)]);
    }

    #[test]
    fn so_many_are_known_and_those_of_yesterday_make_room() {
        let mut duels = Duels::new(0);
        for number in 0..KNOWN_MAX + 5 {
            duels.challenge(&number.to_string(), one(), 3, 0);
        }
        assert_eq!(duels.known.len(), KNOWN_MAX);
        duels.challenge("x", one(), 3, CALM_MS);
        assert_eq!(duels.known.len(), 1);
    }
}
