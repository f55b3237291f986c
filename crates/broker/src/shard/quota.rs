//! Quotas of clients: what is slowed, what is refused, and saying so now and then.

use super::{Action, Report, Shard, Timer};
use crate::commons::{Commons, Placement};
use crate::connection::{Connection, ConnectionHandle, Phase};
use crate::holds::Hold;
use crate::limits::Limits;
use crate::message::MessageView;
use crate::meter::{Meter, Rates};
use crate::retained::Load;
use crate::session::SessionHandle;
use noctule_mqtt::{Properties, Violation};

/// How long it is not said again that clients meet a quota, in milliseconds.
const SILENCE_MS: u64 = 1_000;

/// The fewest bytes that a user property takes: its identifier and two empty strings.
const USER_PROPERTY_BYTES: usize = 5;

/// A quota that a client has met, which it is not told in so many words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// It sends faster than it may, and is read more slowly.
    Rate,
    /// Its message was not retained, as there are as many as may be.
    Retained,
}

/// When it may be said again, and of how many it was not said.
#[derive(Debug, Default)]
pub(super) struct Sayings([Saying; 2]);

#[derive(Debug, Default)]
struct Saying {
    next_ms: u64,
    unsaid: u64,
}

impl Saying {
    /// Whether it is to be said now; if so, how often it was not since the last time.
    fn pass(&mut self, now_ms: u64) -> Option<u64> {
        if now_ms < self.next_ms {
            self.unsaid += 1;
            return None;
        }
        self.next_ms = now_ms + SILENCE_MS;
        Some(std::mem::take(&mut self.unsaid))
    }
}

impl Shard {
    fn rates_of(&self, handle: ConnectionHandle) -> Option<Rates> {
        let connection = self.delivery.connections.get(handle)?;
        matches!(connection.phase, Phase::Attached).then_some(())?;
        self.entrance(connection.entrance).map(|rules| rules.rates).filter(|rates| rates.is_any())
    }

    /// A PUBLISH came, where some have a limit: it counts, and if it was the last that its client has
    /// left, what stands behind it waits.
    #[cold]
    #[inline(never)]
    pub(super) fn charge_message(&mut self, handle: ConnectionHandle) {
        self.charge(handle, Meter::take_message);
    }

    /// As [`charge_message`](Self::charge_message), for bytes that were read.
    #[cold]
    #[inline(never)]
    pub(super) fn charge_bytes(&mut self, handle: ConnectionHandle, bytes: usize) {
        self.charge(handle, |meter, rates, now_ms| meter.take_bytes(bytes, rates, now_ms));
    }

    fn charge(
        &mut self,
        handle: ConnectionHandle,
        take: impl FnOnce(&mut Meter, Rates, u64) -> bool,
    ) {
        let Some(rates) = self.rates_of(handle) else {
            return;
        };
        let now_ms = self.delivery.now.mono_ms;
        let Some(connection) = self.delivery.connections.get_mut(handle) else {
            return;
        };
        let meter = connection.add_rare().meter.get_or_insert_with(|| Meter::new(rates, now_ms));
        if !take(meter, rates, now_ms) || !connection.holds.add(Hold::Rate) {
            return;
        }
        self.delivery.counters.clients_slowed_by_rate += 1;
        self.watch_rate(handle, rates);
        self.say_quota(handle, Quota::Rate);
    }

    /// Has a client that sends too fast looked at when it may go on.
    fn watch_rate(&mut self, handle: ConnectionHandle, rates: Rates) {
        let now = self.delivery.now;
        let connection = self.delivery.connections.get_mut(handle);
        let meter = connection.and_then(Connection::rare_mut).and_then(|rare| rare.meter.as_mut());
        match meter.and_then(|meter| meter.wait_ms(rates, now.mono_ms)) {
            Some(wait_ms) => self.set_timer(now.mono_ms + wait_ms, Timer::Rate(handle), now),
            None => self.delivery.lift(handle, Hold::Rate),
        }
    }

    /// A client that sent too fast may perhaps go on.
    pub(super) fn on_rate_timer(&mut self, handle: ConnectionHandle) {
        // It may have none any more.
        self.watch_rate(handle, self.rates_of(handle).unwrap_or_default());
    }

    /// Whether a message that a client wants to be retained is refused; then that is counted and said.
    pub(super) fn refuses_to_retain(
        &mut self,
        view: &MessageView<'_>,
        from: Option<SessionHandle>,
    ) -> bool {
        let is_refused =
            is_too_much_to_retain(&*self.commons, &self.placement, &self.delivery.limits, view);
        if is_refused {
            self.note_not_retained(from);
        }
        is_refused
    }

    /// A message was not retained, as there are as many as may be.
    #[cold]
    pub(super) fn note_not_retained(&mut self, from: Option<SessionHandle>) {
        self.delivery.dropped.retained_quota += 1;
        if let Some(connection) = from.and_then(|from| self.delivery.connection_of(from)) {
            self.say_quota(connection, Quota::Retained);
        }
    }

    /// Whether a packet has more user properties than may be. What is too short for so many is not
    /// looked at.
    pub(super) fn check_user_properties(
        &self,
        properties: Properties<'_>,
    ) -> Result<(), Violation> {
        let limit = self.delivery.limits.user_properties_max;
        if properties.as_bytes().len() / USER_PROPERTY_BYTES <= limit {
            return Ok(());
        }
        let found = properties.user_properties().count();
        if found <= limit {
            return Ok(());
        }
        Err(Violation::UserPropertiesOverLimit { found, limit })
    }

    /// Says that a client meets a quota, if that was not said just now.
    pub(super) fn say_quota(&mut self, connection: ConnectionHandle, quota: Quota) {
        let now_ms = self.delivery.now.mono_ms;
        let Some(unsaid) = self.sayings.0[quota as usize].pass(now_ms) else {
            return;
        };
        let session = self.delivery.connections.get(connection).and_then(|found| found.session);
        let client_id = session
            .and_then(|session| self.delivery.sessions.get(session))
            .map(|session| session.client_id.as_str().into());
        if let Some(client_id) = client_id {
            let report = Report::OverQuota { connection, client_id, quota, unsaid };
            self.actions.push_back(Action::Report(report));
        }
    }
}

/// Whether a message that is to be retained would be one too many, or too large: its topic has none yet
/// and there are as many as may be, or the bytes of all would be more than may be. In the place of a
/// larger one it makes things better, however bad they are.
pub(super) fn is_too_much_to_retain(
    commons: &dyn Commons,
    placement: &Placement,
    limits: &Limits,
    view: &MessageView<'_>,
) -> bool {
    if !view.retain || view.payload.is_empty() {
        return false;
    }
    let Load { messages, bytes } = commons.memory().retained_load();
    let more = view.kept_bytes();
    if messages < limits.retained_messages_max
        && bytes.saturating_add(more) <= limits.retained_bytes_max
    {
        return false;
    }
    let topic = view.topic.as_str();
    let part = placement.retained_part(topic.as_bytes(), commons.retained_parts());
    let mut old = None;
    commons.read_retained(part, &mut |retained| old = retained.bytes_of(topic));
    match old {
        Some(old) => more > old && bytes.saturating_sub(old) + more > limits.retained_bytes_max,
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_a_second_and_counted_meanwhile() {
        let mut saying = Saying::default();
        assert_eq!(saying.pass(7), Some(0));
        assert_eq!((saying.pass(8), saying.pass(1_006)), (None, None));
        assert_eq!(saying.pass(1_007), Some(2));
    }
}
