//! Which session lives, who has it, and what becomes of wills: what must be true of them, worked out
//! from what happened to the connections.
//!
//! A connection is given its session at one moment, and ends at one; everything else follows from
//! MQTT's rules and the time. Where a timer of the broker may come a little late, both outcomes are
//! allowed.

use crate::shards::{Happening, LATE_MS};
use noctule_broker::Cause;
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lives {
    lives: BTreeMap<String, Life>,
    visits: BTreeMap<String, Visit>,
    wills: BTreeMap<usize, Fate>,
    expiry_max: Option<u32>,
}

/// A connection, as its CONNECT wants it.
#[derive(Debug, Clone, Default)]
pub(super) struct Visit {
    /// The client identifier.
    pub(super) id: String,
    pub(super) clean: bool,
    /// The session expiry interval in seconds; the largest is for ever.
    pub(super) expiry: u32,
    /// The will's number and its delay in seconds.
    pub(super) will: Option<(usize, u32)>,
    /// Another expiry, said in DISCONNECT.
    pub(super) bye_expiry: Option<u32>,
    /// Whether it has been given its session, and whether there was one; none if either may be.
    pub(super) present: Option<Option<bool>>,
    pub(super) replaced: bool,
    /// The number of the session it was given, and of the one before if it may be that.
    pub(super) life: Option<(u64, Option<u64>)>,
}

/// The sessions of one client identifier.
#[derive(Debug, Default)]
struct Life {
    /// Counts them.
    number: u64,
    exists: bool,
    holder: Option<String>,
    expiry: u32,
    /// When it ends, while its client is away.
    expires_ms: Option<u64>,
    will: Option<(usize, u32)>,
}

/// What becomes of a will.
#[derive(Debug, Clone, Copy)]
struct Fate {
    /// It is published, or may be, at this time; if ever.
    due_ms: Option<u64>,
    /// It must be, then.
    sure: bool,
    heard: bool,
}

const NEVER: u32 = u32::MAX;

impl Lives {
    /// Session expiry intervals are cut to so many seconds.
    pub(super) fn with(expiry_max: Option<u32>) -> Self {
        Self { expiry_max, ..Self::default() }
    }

    /// A client sends CONNECT.
    pub(super) fn opens(&mut self, label: &str, visit: Visit) {
        if let Some((number, _)) = visit.will {
            self.wills.insert(number, Fate { due_ms: None, sure: false, heard: false });
        }
        self.visits.insert(label.into(), visit);
    }

    /// A client says DISCONNECT with another session expiry interval.
    pub(super) fn says_bye(&mut self, label: &str, expiry: Option<u32>) {
        if let Some(visit) = self.visits.get_mut(label) {
            visit.bye_expiry = expiry;
        }
    }

    /// Something happened to a connection.
    ///
    /// # Errors
    /// If it may not have.
    pub(super) fn take(&mut self, happening: &Happening) -> Result<(), String> {
        match happening {
            Happening::Claimed { who, at_ms } => {
                self.claimed(who, *at_ms);
                Ok(())
            }
            Happening::Ended { who, cause, at_ms } => self.ended(who, cause, *at_ms),
        }
    }

    fn claimed(&mut self, label: &str, now: u64) {
        let Some(visit) = self.visits.get(label).cloned() else {
            return;
        };
        let holder = self.lives.entry(visit.id.clone()).or_default().holder.clone();
        if let Some(holder) = holder {
            if let Some(before) = self.visits.get_mut(&holder) {
                before.replaced = true;
            }
            self.detach(&holder, &Cause::TakenOver, now);
        }
        let expiry = self.granted(visit.expiry);
        let (wills, life) = self.life_and_wills(&visit.id);
        let mut unsure = false;
        if let Some(expires) =
            life.expires_ms.filter(|_| life.exists && now >= life.expires_ms.unwrap_or(0))
        {
            unsure = now < expires + LATE_MS;
            life.end(wills, expires, !unsure);
        }
        if life.exists && visit.clean {
            life.end(wills, now, true);
        }
        let present = life.exists;
        if let Some((number, _)) = life.will.take()
            && let Some(fate) = wills.get_mut(&number)
        {
            // [MQTT5-3.1.3-9]: its client is back.
            fate.cancel(now);
        }
        life.number += u64::from(!present);
        let number = life.number;
        life.exists = true;
        life.holder = Some(label.into());
        life.expires_ms = None;
        life.expiry = expiry;
        life.will = visit.will;
        if let Some(visit) = self.visits.get_mut(label) {
            let unsure = unsure && !visit.clean;
            visit.present = Some(if unsure { None } else { Some(present) });
            visit.life = Some((number, unsure.then(|| number - 1)));
        }
    }

    fn ended(&mut self, label: &str, cause: &Cause, now: u64) -> Result<(), String> {
        let Some(visit) = self.visits.get(label) else {
            return Ok(());
        };
        if *cause == Cause::TakenOver && !visit.replaced {
            return Err(format!("{label} is taken over by nobody"));
        }
        self.detach(label, cause, now);
        Ok(())
    }

    fn detach(&mut self, label: &str, cause: &Cause, now: u64) {
        let Some(visit) = self.visits.get(label).cloned() else {
            return;
        };
        let expiry_max = self.expiry_max;
        let (wills, life) = self.life_and_wills(&visit.id);
        if life.holder.as_deref() != Some(label) {
            return;
        }
        life.holder = None;
        if matches!(cause, Cause::Disconnected | Cause::DisconnectedWithWill)
            && let Some(expiry) = visit.bye_expiry
        {
            life.expiry = expiry.min(expiry_max.unwrap_or(NEVER));
        }
        if *cause == Cause::Disconnected {
            life.will = None;
        }
        if life.expiry == 0 {
            return life.end(wills, now, true);
        }
        life.expires_ms = (life.expiry != NEVER).then(|| now + u64::from(life.expiry) * 1_000);
        if let Some((number, delay)) = life.will
            && let Some(fate) = wills.get_mut(&number)
        {
            let due = now + u64::from(delay) * 1_000;
            *fate = Fate { due_ms: Some(due), sure: true, ..*fate };
            if let Some(expires) = life.expires_ms.filter(|expires| *expires < due) {
                fate.due_ms = Some(expires);
            }
            if delay == 0 {
                life.will = None;
            }
        }
    }

    fn life_and_wills(&mut self, id: &str) -> (&mut BTreeMap<usize, Fate>, &mut Life) {
        (&mut self.wills, self.lives.entry(id.into()).or_default())
    }

    fn granted(&self, asked: u32) -> u32 {
        asked.min(self.expiry_max.unwrap_or(NEVER))
    }

    /// Whether a connection must have found a session, if that is certain.
    pub(super) fn present(&self, label: &str) -> Option<bool> {
        self.visits.get(label).and_then(|visit| visit.present.flatten())
    }

    /// Whether a connection was given, or may have been, the session of this number.
    pub(super) fn is_of(&self, label: &str, number: u64) -> bool {
        let life = self.visits.get(label).and_then(|visit| visit.life);
        life.is_some_and(|(one, other)| one == number || other == Some(number))
    }

    /// The number of the last session of a client identifier.
    pub(super) fn current(&self, id: &str) -> Option<u64> {
        self.lives.get(id).map(|life| life.number)
    }

    /// The number of the session that a connection was given.
    pub(super) fn number(&self, label: &str) -> Option<u64> {
        self.visits.get(label).and_then(|visit| visit.life).map(|(number, _)| number)
    }

    /// The connection that has a client identifier's session.
    pub(super) fn holder(&self, id: &str) -> Option<&str> {
        self.lives.get(id).and_then(|life| life.holder.as_deref())
    }

    /// Whether a connection was given its session.
    pub(super) fn has_claimed(&self, label: &str) -> bool {
        self.visits.get(label).is_some_and(|visit| visit.present.is_some())
    }

    /// The number of a client identifier's session, if it is certainly there and kept in the store.
    pub(super) fn standing(&self, id: &str, now: u64) -> Option<u64> {
        let life = self.lives.get(id)?;
        let lasts = life.expires_ms.is_none_or(|expires| now < expires);
        (life.exists && lasts && life.expiry > 0).then_some(life.number)
    }

    /// Somebody hears a will.
    ///
    /// # Errors
    /// If it should not have been published.
    pub(super) fn will_heard(
        &mut self,
        number: usize,
        now: u64,
        counts: bool,
    ) -> Result<(), String> {
        let Some(fate) = self.wills.get_mut(&number) else {
            return Err(format!("will {number} is nobody's"));
        };
        if fate.due_ms.is_none_or(|due| due > now) {
            return Err(format!("will {number} is published at {now} ms: {fate:?}"));
        }
        if counts && std::mem::replace(&mut fate.heard, true) {
            return Err(format!("will {number} is published again"));
        }
        Ok(())
    }

    /// A will that should have been heard by now.
    pub(super) fn missing_will(&self, now: u64) -> Option<usize> {
        let missing = |fate: &Fate| {
            fate.sure && !fate.heard && fate.due_ms.is_some_and(|due| due + LATE_MS <= now)
        };
        self.wills.iter().find(|(_, fate)| missing(fate)).map(|(number, _)| *number)
    }

    /// Whoever was to hear the wills of the past may not have: they are not missed any more.
    pub(super) fn forgive_wills(&mut self) {
        self.wills.values_mut().for_each(|fate| fate.sure &= fate.due_ms.is_none());
    }
}

impl Life {
    fn end(&mut self, wills: &mut BTreeMap<usize, Fate>, at_ms: u64, sure: bool) {
        self.exists = false;
        self.expires_ms = None;
        if let Some((number, _)) = self.will.take()
            && let Some(fate) = wills.get_mut(&number)
        {
            let due = fate.due_ms.map_or(at_ms, |due| due.min(at_ms));
            *fate = Fate { due_ms: Some(due), sure, ..*fate };
        }
    }
}

impl Fate {
    fn cancel(&mut self, now: u64) {
        self.sure = false;
        if self.due_ms.is_some_and(|due| due > now) {
            self.due_ms = None;
        }
    }
}
