//! Who may do what: the words in which the broker asks, and what it does with the answer.
//!
//! What is allowed is decided outside, by a [`Policy`] for each way in, and by a [`Grant`] that a
//! client may have brought with it. Here is where their words are put together, once for all: who is
//! denied by one has no right; who is allowed by none has none either.
//!
//! ```text
//! PUBLISH comes   Shard::route          session, topic       ─┐
//! will            claim, publish_will   its author, topic     │
//! SUBSCRIBE       Shard::subscribe      session, filter       ├─► Authority::rule ─► Permitted
//! live, shared    Router::look_up       each reader, topic    │                      Shadowed
//! retained        deliver_retained      reader, and author    │                      Denied
//! queued, resumed Delivery::pump        reader, topic        ─┘
//! ```
//!
//! Every PUBLISH that leaves passes one of the three at the bottom, and nothing else puts one into an
//! output (`delivery.rs`). An answer is kept in three places, and each ends with what it depends on:
//!
//! - a route holds those readers alone who may read its topic. All routes are forgotten when the
//!   policies change ([`Router::forget_routes`]), and those of a session's filters when it comes to
//!   stand differently ([`Standing`]);
//! - a connection remembers the routes on whose topics it may publish, by a number that no other route
//!   gets ([`Permits`]), so they end with these routes;
//! - a queued message was allowed when it was queued. When the policies have changed since, or the
//!   session stands differently, all that waits in it is asked about again as it leaves
//!   (`Session::recheck_through`).
//!
//! A session whose client has not come since the broker started stands nowhere: for which way in it is
//! judged is not known. What is for it waits, and is judged when its client comes. Where its will is to be
//! published, every way in has to allow it. A message that was being stored when the broker ended was
//! judged when it came, and its receipt may be acknowledged already: it is published.

use crate::arena::Arena;
use crate::counters::Denied;
use crate::entrance::EntranceId;
use crate::limits::Limits;
use crate::message::PublishedBy;
use crate::principal::Principal;
use crate::session::{Session, SessionHandle};
use hashbrown::HashMap;
use noctule_mqtt::TopicName;
pub use noctule_mqtt::rights::{Who, Wish, Word};
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;

/// Whoever decides what clients may do. Asked on a loop's thread, so it must not wait for anything;
/// and it always says the same: when rights change, there is [another one](crate::Shard::set_authority).
pub trait Policy: fmt::Debug + Send + Sync {
    /// What it says to a client's wish.
    fn decide(&self, who: Who<'_>, wish: Wish<'_>) -> Word;

    /// Why it says so, for people.
    fn explain(&self, who: Who<'_>, wish: Wish<'_>) -> String;
}

/// Rights that a client has brought with it, such as those that its token claims. They are the
/// connection's, and hold for its session until another connection has it.
#[derive(Debug, Clone)]
pub struct Grant(pub Arc<dyn Policy>);

impl PartialEq for Grant {
    /// Whether both are one.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Grant {}

/// What decides at one way in.
#[derive(Debug, Clone, Default)]
pub struct EntrancePolicy {
    /// Whoever decides; nobody is that everything is allowed but to those with a [`Grant`].
    pub policy: Option<Arc<dyn Policy>>,
    /// Whether what would be denied is only said.
    pub shadow: bool,
    /// Whether the user name that a client claims, where nobody asks for a proof, gives it the rights of
    /// that user. Otherwise it has those of a client without a name.
    pub trusts_claimed_names: bool,
}

/// What is decided by whom, and what follows.
#[derive(Debug, Clone)]
pub struct Policies {
    /// By the number of the entrance.
    pub entrances: Vec<EntrancePolicy>,
    /// Whether a retained message is given out only if its publisher may still publish it.
    pub check_retain_source: bool,
    /// Whether a client whose will may not be published is refused; otherwise it has none.
    pub refuse_denied_wills: bool,
    /// Whether clients may come with a [`Grant`].
    pub grants: bool,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            entrances: Vec::new(),
            check_retain_source: true,
            refuse_denied_wills: true,
            grants: false,
        }
    }
}

/// Where a client came in and what it brought: what its rights depend on besides its names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Not known of a session that was given back and whose client has not come.
    pub(crate) entrance: Option<EntranceId>,
    pub(crate) grant: Option<Grant>,
    /// Whether its user name gives it no rights: it is only claimed, and not trusted there.
    pub(crate) disregards_name: bool,
}

impl Standing {
    /// That of a session whose client has not come yet.
    pub(crate) fn nowhere(principal: &Principal) -> Self {
        Self { disregards_name: principal.only_claims_its_name(), ..Self::default() }
    }
}

/// Somebody with rights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) who: Who<'a>,
    pub(crate) standing: &'a Standing,
}

impl<'a> Subject<'a> {
    pub(crate) fn author(by: PublishedBy<'a>, standing: &'a Standing) -> Self {
        let PublishedBy { client_id, user_name } = by;
        let user_name = user_name.filter(|_| !standing.disregards_name);
        Self { who: Who { client_id, user_name }, standing }
    }
}

impl Session {
    /// It as the publisher of a message: with the name by which it has its rights, so that whoever asks
    /// later what its publisher may do asks about the same one.
    pub(crate) fn author(&self) -> PublishedBy<'_> {
        self.principal.author(&self.client_id, &self.standing)
    }

    /// It as somebody with rights.
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject::author(self.author(), &self.standing)
    }
}

impl Principal {
    /// Whoever this is, standing so, as the publisher of a message.
    pub(crate) fn author<'a>(&'a self, client_id: &'a str, standing: &Standing) -> PublishedBy<'a> {
        let user_name = self.user_name.as_deref().filter(|_| !standing.disregards_name);
        PublishedBy { client_id, user_name }
    }
}

/// What follows from the words of all who decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ruling {
    Permitted,
    /// It would be denied, were denials not only said.
    Shadowed,
    Denied,
}

impl Ruling {
    pub(crate) fn permits(self) -> bool {
        self != Self::Denied
    }
}

/// In which way something was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denial {
    Publish,
    Subscribe,
    /// Of a route: how many messages that concerns is counted as they come.
    Read,
    Retained,
    RetainedSource,
    Queued,
    Will,
}

/// The policies in use in a shard, and what they have denied.
#[derive(Debug, Default)]
pub(crate) struct Authority {
    policies: Policies,
    /// Whether there is anything to ask.
    pub(crate) in_force: bool,
    /// Counts the changes.
    pub(crate) generation: u32,
    pub(crate) denied: Denied,
    pub(crate) complaints: Complaints,
}

impl Authority {
    pub(crate) fn new(policies: Policies) -> Self {
        let mut authority = Self::default();
        authority.set(policies);
        authority.generation = 0;
        authority
    }

    fn set(&mut self, policies: Policies) {
        let is_there = |one: &EntrancePolicy| one.policy.is_some();
        self.in_force = policies.grants || policies.entrances.iter().any(is_there);
        self.policies = policies;
        self.generation = self.generation.wrapping_add(1);
    }

    /// Other policies hold from now on.
    pub(crate) fn replace(&mut self, policies: Policies) {
        self.set(policies);
    }

    /// How a client stands that has come in somewhere.
    pub(crate) fn standing(&self, entrance: EntranceId, principal: &Principal) -> Standing {
        let policy = self.policies.entrances.get(usize::from(entrance.0));
        let is_trusted = policy.is_some_and(|policy| policy.trusts_claimed_names);
        Standing {
            entrance: Some(entrance),
            grant: principal.grant.clone(),
            disregards_name: principal.only_claims_its_name() && !is_trusted,
        }
    }

    pub(crate) fn refuses_denied_wills(&self) -> bool {
        self.policies.refuse_denied_wills
    }

    /// Whether somebody may do what it wants.
    pub(crate) fn rule(&self, subject: Subject<'_>, wish: Wish<'_>) -> Ruling {
        let entrances = &self.policies.entrances;
        let at = |entrance| rule_at(entrance, subject, wish);
        match subject.standing.entrance {
            Some(id) => match entrances.get(usize::from(id.0)) {
                Some(entrance) => at(entrance),
                None => at(&EntrancePolicy::default()),
            },
            None => entrances.iter().map(at).max().unwrap_or(Ruling::Permitted),
        }
    }

    /// Whether a session may be given messages of a topic. One that stands nowhere is judged later.
    pub(crate) fn rule_reading(&self, session: &Session, topic: TopicName<'_>) -> Ruling {
        if session.standing.entrance.is_none() {
            return Ruling::Permitted;
        }
        self.rule(session.subject(), Wish::Read(topic))
    }

    /// Whether the publisher of a retained message may still publish it. By which way in it came is not
    /// known any more, so one way by which it might come is enough: rules of one listener do not withhold what
    /// was published by another. Nor is what a grant has allowed, so where there are grants, only what is
    /// denied by a rule counts.
    fn rule_source(&self, by: PublishedBy<'_>, topic: TopicName<'_>) -> Ruling {
        let PublishedBy { client_id, user_name } = by;
        let (who, wish) = (Who { client_id, user_name }, Wish::Publish(topic));
        let at = |entrance: &EntrancePolicy| {
            let word =
                entrance.policy.as_ref().map_or(Word::Allowed, |policy| policy.decide(who, wish));
            match word {
                Word::Allowed => Ruling::Permitted,
                Word::Unspoken if self.policies.grants => Ruling::Permitted,
                Word::Unspoken | Word::Denied => entrance.denial(),
            }
        };
        self.policies.entrances.iter().map(at).min().unwrap_or(Ruling::Permitted)
    }

    /// Whether a retained message may be given to a session; counted and said if not.
    pub(crate) fn permits_retained(
        &mut self,
        session: &Session,
        topic: TopicName<'_>,
        published_by: Option<PublishedBy<'_>>,
    ) -> bool {
        let ruling = self.rule_reading(session, topic);
        if !self.heed(ruling, Denial::Retained, session.subject(), Wish::Read(topic)) {
            return false;
        }
        let Some(by) = published_by.filter(|_| self.policies.check_retain_source) else {
            return true;
        };
        let ruling = self.rule_source(by, topic);
        let nowhere = Standing::default();
        let source = Subject::author(by, &nowhere);
        self.heed(ruling, Denial::RetainedSource, source, Wish::Publish(topic))
    }

    /// Whether a ruling permits; one that does not is counted, and said from time to time, and so is
    /// one that would not.
    #[inline]
    pub(crate) fn heed(
        &mut self,
        ruling: Ruling,
        denial: Denial,
        subject: Subject<'_>,
        wish: Wish<'_>,
    ) -> bool {
        if ruling != Ruling::Permitted {
            self.deny(ruling, denial, subject, wish);
        }
        ruling.permits()
    }

    #[cold]
    fn deny(&mut self, ruling: Ruling, denial: Denial, subject: Subject<'_>, wish: Wish<'_>) {
        let denied = &mut self.denied;
        let count = match denial {
            Denial::Read => None,
            _ if ruling == Ruling::Shadowed => Some(&mut denied.shadow),
            Denial::Publish => Some(&mut denied.publish),
            Denial::Subscribe => Some(&mut denied.subscribe),
            Denial::Retained => Some(&mut denied.retained),
            Denial::RetainedSource => Some(&mut denied.retained_source),
            Denial::Queued => Some(&mut denied.queued),
            Denial::Will => Some(&mut denied.will),
        };
        if let Some(count) = count {
            *count += 1;
        }
        let shadow = ruling == Ruling::Shadowed;
        self.complaints.note(subject.who, wish, shadow, || explain(&self.policies, subject, wish));
    }
}

impl EntrancePolicy {
    fn denial(&self) -> Ruling {
        if self.shadow { Ruling::Shadowed } else { Ruling::Denied }
    }
}

/// The one place where the words of policies are put together. What a grant does not allow is denied also
/// where the denials of the entrance's policy are only said: trying rules gives nobody more than he has.
fn rule_at(entrance: &EntrancePolicy, subject: Subject<'_>, wish: Wish<'_>) -> Ruling {
    let own = subject.standing.grant.as_ref().map(|grant| &grant.0);
    let denial = || match own {
        Some(own) if own.decide(subject.who, wish) != Word::Allowed => Ruling::Denied,
        _ => entrance.denial(),
    };
    let (mut asked, mut allowed) = (false, false);
    for policy in [entrance.policy.as_ref(), own].into_iter().flatten() {
        asked = true;
        match policy.decide(subject.who, wish) {
            Word::Denied => return denial(),
            Word::Allowed => allowed = true,
            Word::Unspoken => {}
        }
    }
    if allowed || !asked { Ruling::Permitted } else { denial() }
}

/// Why something is denied: in the words of whoever denies it.
fn explain(policies: &Policies, subject: Subject<'_>, wish: Wish<'_>) -> String {
    let is_his =
        |number: usize| subject.standing.entrance.is_none_or(|id| usize::from(id.0) == number);
    let entrances = policies.entrances.iter().enumerate().filter(|(number, _)| is_his(*number));
    let own = subject.standing.grant.as_ref().map(|grant| &grant.0);
    let all = entrances.filter_map(|(_, entrance)| entrance.policy.as_ref()).chain(own);
    let mut last = None;
    for policy in all {
        match policy.decide(subject.who, wish) {
            Word::Denied => {
                last = Some(policy.explain(subject.who, wish));
                break;
            }
            Word::Unspoken => last = Some(policy.explain(subject.who, wish)),
            Word::Allowed => {}
        }
    }
    let why = last.unwrap_or_default();
    if subject.standing.disregards_name { format!("{why}; {DISREGARDED}") } else { why }
}

/// What a client does not know that believes to have the rights of the user whose name it gives.
const DISREGARDED: &str = "its user name counts for nothing, as nobody has asked for a proof of it";

/// What a route depends on besides subscriptions.
#[derive(Clone, Copy)]
pub(crate) struct Law<'a> {
    pub(crate) limits: &'a Limits,
    /// If readers have to be asked about.
    pub(crate) readers: Option<Readers<'a>>,
}

/// Who may read.
#[derive(Clone, Copy)]
pub(crate) struct Readers<'a> {
    pub(crate) authority: &'a Authority,
    pub(crate) sessions: &'a Arena<Session>,
}

impl<'a> Law<'a> {
    /// One by which everybody may read everything.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn of(limits: &'a Limits) -> Self {
        Self { limits, readers: None }
    }
}

impl Law<'_> {
    /// Whether a session's client may publish on a topic. Nothing is counted.
    pub(crate) fn permits_publishing(self, from: SessionHandle, topic: TopicName<'_>) -> bool {
        self.readers.is_none_or(|Readers { authority, sessions }| {
            let ruling = |found: &Session| authority.rule(found.subject(), Wish::Publish(topic));
            sessions.get(from).is_some_and(|found| ruling(found).permits())
        })
    }
}

/// A reader that a topic was found to be denied to.
#[derive(Debug)]
pub(crate) struct Withheld {
    pub(crate) session: SessionHandle,
    pub(crate) topic: Box<str>,
    pub(crate) ruling: Ruling,
}

impl Readers<'_> {
    /// Whether a session may be given messages of a topic.
    pub(crate) fn rule(&self, session: SessionHandle, topic: TopicName<'_>) -> Ruling {
        let found = self.sessions.get(session);
        // One that has ended is not reached by its route.
        found.map_or(Ruling::Permitted, |found| self.authority.rule_reading(found, topic))
    }
}

/// The routes on whose topics a connection may publish: the last ones, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Permits {
    routes: SmallVec<[u64; 4]>,
    next: usize,
}

/// So many are remembered.
const PERMITS_MAX: usize = 16;

impl Permits {
    pub(crate) fn has(&self, route: u64) -> bool {
        self.routes.contains(&route)
    }

    pub(crate) fn add(&mut self, route: u64) {
        if self.routes.len() < PERMITS_MAX {
            self.routes.push(route);
        } else {
            self.routes[self.next % PERMITS_MAX] = route;
            self.next = self.next.wrapping_add(1);
        }
    }
}

/// Something that was denied, for whoever keeps the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals {
    /// The client identifier.
    pub client_id: Box<str>,
    /// Its user name.
    pub user_name: Option<Box<str>>,
    /// What it wanted last.
    pub wish: Box<str>,
    /// Why it may not.
    pub why: Box<str>,
    /// How often something was denied to it since this was said before.
    pub times: u64,
    /// Whether it was permitted all the same, as denials are only said.
    pub shadow: bool,
}

/// What was denied to whom, so that it can be said: at once, and then how often it was in every further
/// minute.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    /// By client identifier: what was not said yet.
    unsaid: HashMap<Box<str>, Refusals, foldhash::quality::FixedState>,
    fresh: Vec<Refusals>,
    /// Whether somebody will ask for them.
    pub(crate) is_timed: bool,
}

/// How long nothing more is said about a client, in milliseconds.
pub(crate) const COMPLAINTS_MS: u64 = 60_000;
/// So many clients at a time; further ones are in the counters alone.
const CLIENTS_MAX: usize = 1_000;

impl Complaints {
    fn note(&mut self, who: Who<'_>, wish: Wish<'_>, shadow: bool, why: impl FnOnce() -> String) {
        if let Some(unsaid) = self.unsaid.get_mut(who.client_id) {
            if unsaid.times == 0 {
                unsaid.wish = wish.to_string().into();
                unsaid.why = why().into();
                unsaid.shadow = shadow;
            }
            unsaid.times += 1;
        } else if self.unsaid.len() < CLIENTS_MAX {
            let said = Refusals {
                client_id: who.client_id.into(),
                user_name: who.user_name.map(Into::into),
                wish: wish.to_string().into(),
                why: why().into(),
                times: 1,
                shadow,
            };
            self.unsaid.insert(who.client_id.into(), Refusals { times: 0, ..said.clone() });
            self.fresh.push(said);
        }
    }

    /// What is to be said at once.
    pub(crate) fn take_fresh(&mut self) -> Vec<Refusals> {
        std::mem::take(&mut self.fresh)
    }

    /// A minute has passed: what has come together; who has had nothing denied is forgotten.
    pub(crate) fn take_due(&mut self) -> Vec<Refusals> {
        self.unsaid.retain(|_, unsaid| unsaid.times > 0);
        let due = self.unsaid.values_mut().map(|unsaid| {
            let said = unsaid.clone();
            unsaid.times = 0;
            said
        });
        let mut due: Vec<_> = due.collect();
        due.sort_unstable_by(|one, other| one.client_id.cmp(&other.client_id));
        self.is_timed = !due.is_empty();
        due
    }
}
