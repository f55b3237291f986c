//! Asking whether a client may do what it wants, and what follows when the answer changes.

use super::{Action, Report, Shard, Timer};
use crate::message::Message;
use crate::rights::{
    COMPLAINTS_MS, Denial, Permits, Policies, Refusals, Ruling, Standing, Subject, Wish,
};
use crate::router::CachedRoute;
use crate::session::SessionHandle;
use compact_str::CompactString;
use noctule_mqtt::{TopicFilter, TopicName};
use noctule_session::Now;

/// So many subscriptions are judged anew at once.
const JUDGED_SLICE: usize = 1_000;

impl Shard {
    /// Others decide from now on what clients may do, or decide differently: for everything that is
    /// published, delivered, queued or subscribed to from here on, and for what is queued already.
    pub fn set_authority(&mut self, policies: Policies, now: Now) {
        self.set_now(now);
        self.delivery.authority.replace(policies);
        self.router.forget_routes();
        let sessions = self.delivery.sessions.handles();
        self.to_be_judged = sessions.collect();
        self.stand_anew();
    }

    /// Whether a claimed name counts may be another thing now, for the session and for its will.
    fn stand_anew(&mut self) {
        let delivery = &mut self.delivery;
        for handle in &self.to_be_judged {
            let Some(found) = delivery.sessions.get_mut(*handle) else { continue };
            let Some(entrance) = found.standing.entrance else { continue };
            if found.principal.only_claims_its_name() {
                found.standing = delivery.authority.standing(entrance, &found.principal);
                if let Some(will) = &mut found.will {
                    will.standing = found.standing.clone();
                }
            }
        }
    }

    /// Whether a client may publish on a topic, whose route is `cached` if it has been found. Nothing
    /// is counted.
    pub(super) fn rule_publishing(
        &mut self,
        from: SessionHandle,
        topic: TopicName<'_>,
        cached: Option<CachedRoute>,
    ) -> Ruling {
        let number = cached.map_or(0, |found| self.router.at(found).number);
        let Some(session) = self.delivery.sessions.get(from) else {
            return Ruling::Denied;
        };
        let connection = session.connection;
        let permits = connection.and_then(|handle| self.delivery.connections.get(handle));
        let permits = permits.and_then(|connection| connection.permits.as_ref());
        if number != 0 && permits.is_some_and(|permits| permits.has(number)) {
            return Ruling::Permitted;
        }
        let ruling = self.delivery.authority.rule(session.subject(), Wish::Publish(topic));
        if ruling == Ruling::Permitted
            && number != 0
            && let Some(handle) = connection
            && let Some(connection) = self.delivery.connections.get_mut(handle)
        {
            connection.permits.get_or_insert_with(Box::<Permits>::default).add(number);
        }
        ruling
    }

    /// Whether a client may publish on a topic; counted and said if not.
    #[inline(never)]
    pub(super) fn may_publish(
        &mut self,
        from: SessionHandle,
        topic: TopicName<'_>,
        cached: Option<CachedRoute>,
    ) -> bool {
        let ruling = self.rule_publishing(from, topic, cached);
        if ruling == Ruling::Permitted {
            return true;
        }
        let Some(session) = self.delivery.sessions.get(from) else {
            return false;
        };
        let wish = Wish::Publish(topic);
        self.delivery.authority.heed(ruling, Denial::Publish, session.subject(), wish)
    }

    /// Whether it is known by which way in the client of a session is judged.
    pub(super) fn stands_somewhere(&self, session: SessionHandle) -> bool {
        let found = self.delivery.sessions.get(session);
        found.is_none_or(|found| found.standing.entrance.is_some())
    }

    /// Whether the author of a message who has no session here may publish it.
    pub(super) fn may_author_publish(
        &mut self,
        message: &Message,
        standing: &Standing,
        denial: Denial,
    ) -> bool {
        let authority = &mut self.delivery.authority;
        let Some(by) = message.published_by().filter(|_| authority.in_force) else {
            return true;
        };
        let (author, wish) = (Subject::author(by, standing), Wish::Publish(message.view().topic));
        let ruling = authority.rule(author, wish);
        authority.heed(ruling, denial, author, wish)
    }

    /// Whether a session may have a subscription; counted and said if not.
    pub(super) fn may_subscribe(
        &mut self,
        session: SessionHandle,
        filter: TopicFilter<'_>,
    ) -> bool {
        // The topic of its greeting is nobody else's business, and nothing else comes there.
        if self.asks_for_greeting(session, filter.as_str()) {
            return true;
        }
        let authority = &mut self.delivery.authority;
        let Some(found) = self.delivery.sessions.get(session).filter(|_| authority.in_force) else {
            return true;
        };
        let plain = filter.shared().ok().flatten().map_or(filter, |shared| shared.filter);
        let wish = Wish::Subscribe(plain);
        let ruling = authority.rule(found.subject(), wish);
        authority.heed(ruling, Denial::Subscribe, found.subject(), wish)
    }

    /// A session's rights may depend on something else from now on: routes that lead to it are looked up
    /// again, what waits in it is judged as it leaves, and so are its subscriptions.
    pub(super) fn set_standing(
        &mut self,
        session: SessionHandle,
        standing: Standing,
        is_same_user: bool,
    ) {
        let Some(found) = self.delivery.sessions.get_mut(session) else {
            return;
        };
        if found.standing == standing && is_same_user {
            return;
        }
        found.standing = standing;
        found.judged_by = None;
        if !self.delivery.authority.in_force {
            return;
        }
        for filter in found.subscriptions.filters() {
            if let Ok(filter) = TopicFilter::new(filter)
                && let Ok(shared) = filter.shared()
            {
                self.router.forget_routes_of(shared.map_or(filter, |shared| shared.filter));
            }
        }
        self.judge_subscriptions(session);
    }

    /// Goes on with judging subscriptions by new policies: a slice of them.
    pub(super) fn judge_sessions(&mut self) {
        let mut left = JUDGED_SLICE;
        while left > 0
            && let Some(session) = self.to_be_judged.pop()
        {
            left = left.saturating_sub(self.judge_subscriptions(session).max(1));
        }
    }

    /// Has those subscriptions of a session lead nowhere that it has no right to, and those lead
    /// somewhere again that it has got one to. Returns how many it has.
    fn judge_subscriptions(&mut self, session: SessionHandle) -> usize {
        let Some(found) = self.delivery.sessions.get(session) else {
            return 0;
        };
        // One that stands nowhere is judged when its client comes.
        if found.standing.entrance.is_none() {
            return 0;
        }
        let filters: Vec<CompactString> = found.subscriptions.filters().cloned().collect();
        for filter in &filters {
            let Ok(parsed) = TopicFilter::new(filter) else { continue };
            let was_suspended =
                self.delivery.sessions.get(session).is_some_and(|one| one.is_suspended(filter));
            let may = self.may_subscribe(session, parsed);
            if may == was_suspended {
                self.suspend(session, filter, !may);
            }
        }
        filters.len()
    }

    fn suspend(&mut self, session: SessionHandle, filter: &str, suspended: bool) {
        if suspended {
            self.drop_subscription(filter, session);
        }
        let Some(found) = self.delivery.sessions.get_mut(session) else {
            return;
        };
        if suspended {
            return found.suspend(filter);
        }
        found.forget_suspended(filter);
        self.resume_subscription(session, filter);
    }

    /// Says what was denied to whom: what is new at once, the rest once a minute.
    pub(super) fn say_refusals(&mut self, now: Now) {
        for withheld in self.router.take_withheld() {
            let authority = &mut self.delivery.authority;
            if let Some(found) = self.delivery.sessions.get(withheld.session)
                && let Ok(topic) = TopicName::new(&withheld.topic)
            {
                let wish = Wish::Read(topic);
                authority.heed(withheld.ruling, Denial::Read, found.subject(), wish);
            }
        }
        let complaints = &mut self.delivery.authority.complaints;
        let fresh = complaints.take_fresh();
        if !fresh.is_empty() && !std::mem::replace(&mut complaints.is_timed, true) {
            self.timers.insert(now.mono_ms + COMPLAINTS_MS, Timer::Refusals);
        }
        self.report_refusals(fresh);
    }

    /// A minute has passed since it was said what was denied.
    pub(super) fn on_refusals_timer(&mut self, now: Now) {
        let due = self.delivery.authority.complaints.take_due();
        if !due.is_empty() {
            self.timers.insert(now.mono_ms + COMPLAINTS_MS, Timer::Refusals);
        }
        self.report_refusals(due);
    }

    fn report_refusals(&mut self, all: Vec<Refusals>) {
        for refusals in all {
            self.actions.push_back(Action::Report(Report::Denied(Box::new(refusals))));
        }
    }
}
