//! Who may connect: anybody, whoever shows a certificate, or whoever knows a password.
//!
//! What can be decided without checking a password is decided at once: certificates, proofs by SCRAM,
//! and logins that were found right before. A password that has to be checked, or somebody who has to
//! be asked about it, is the business of threads of their own; the loop goes on, and the answer comes as
//! a letter. When too many wait, a client is told that the broker is busy; when it has been wrong too often,
//! it has to wait, and then is refused. What a client may *do* is not decided here.

mod callers;
mod chance;
mod checkers;
mod exchange;
mod failures;
mod guard;
mod passwords;
mod setting;
mod slowed;
mod tokens;
mod watched;

use crate::arrivals::Arrivals;
use crate::limits::arrival_rules;
use crate::mailboxes::Mailboxes;
use crate::options::Config;
use crate::run::StartError;
use checkers::{Answers, Checkers, Question};
pub(crate) use exchange::Begun;
use failures::{Failures, Standing, Whom};
use guard::{Finding, Guard, Login};
use noctule_broker::{ConnectionHandle, Credentials, Enhanced, EntranceId, Event, Step, Verdict};
use noctule_mqtt::ReasonCode;
use noctule_net::{AnnouncedCertificate, Peer};
use passwords::Passwords;
use setting::Maker;
use slowed::{Slowed, Then};
use std::io;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Instant;
use tracing::debug;

/// Decides who may connect. Shared by all loops.
#[derive(Debug)]
pub(crate) struct Gate {
    /// By the number of the listener.
    guards: RwLock<Vec<Arc<Guard>>>,
    /// Once a listener asks who somebody is.
    workers: OnceLock<Workers>,
    failures: Arc<Failures>,
    arrivals: Arc<Arrivals>,
    answers: Answers,
}

/// The threads for what takes time.
#[derive(Debug)]
struct Workers {
    checkers: Checkers,
    slowed: Slowed,
}

impl Workers {
    fn start(answers: &Answers) -> io::Result<Self> {
        let checkers = Checkers::start(answers)?;
        let slowed = Slowed::start(checkers.clone(), &answers.mailboxes)?;
        Ok(Self { checkers, slowed })
    }
}

/// What is known of a connection besides what it says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// Where it came in.
    pub(crate) entrance: EntranceId,
    /// The certificate, in DER, that it has shown and that was found valid.
    pub(crate) certificate: Option<&'a [u8]>,
    /// The certificate that a proxy says the client has shown, and that the proxy found valid.
    pub(crate) announced: Option<&'a AnnouncedCertificate>,
    /// Where it comes from.
    pub(crate) peer: Peer,
}

impl Gate {
    /// The gate that the configuration asks for. Verdicts that take time come through `mailboxes`.
    ///
    /// # Errors
    /// [`StartError`]: a password file cannot be used, or anybody could come in unasked.
    pub(crate) fn open(config: &Config, mailboxes: &Arc<Mailboxes>) -> Result<Self, StartError> {
        let limits = &config.limits;
        let failures = Failures::new(limits.login_failures_max.get(), limits.login_failures_time);
        let failures = Arc::new(failures);
        let answers = Answers {
            mailboxes: Arc::clone(mailboxes),
            failures: Arc::clone(&failures),
            patience: limits.connect_timeout,
        };
        let gate = Self {
            guards: RwLock::default(),
            workers: OnceLock::new(),
            failures,
            arrivals: Arc::default(),
            answers,
        };
        gate.replace(config)?;
        Ok(gate)
    }

    /// Uses another configuration from now on. What was in use and is wanted again, such as password
    /// files, stays as it is.
    ///
    /// # Errors
    /// As [`open`](Self::open); then nothing has changed.
    pub(crate) fn replace(&self, config: &Config) -> Result<(), StartError> {
        let listeners = config.all_listeners();
        if listeners.iter().any(|listener| setting::asks(&listener.config))
            && self.workers.get().is_none()
        {
            let failed = |error| StartError::System { what: "start a thread", error };
            // Nobody else starts them: configurations are taken up one after another.
            let _ = self.workers.set(Workers::start(&self.answers).map_err(failed)?);
        }
        let mut maker = Maker {
            known: self.guards.read().unwrap_or_else(PoisonError::into_inner).clone(),
            checkers: self.workers.get().map(|workers| &workers.checkers),
            answers: &self.answers,
        };
        let mut guards = Vec::new();
        for listener in &listeners {
            let guard = Arc::new(maker.guard(listener).map_err(|error| error.of(listener))?);
            maker.known.push(Arc::clone(&guard));
            guards.push(guard);
        }
        *self.guards.write().unwrap_or_else(PoisonError::into_inner) = guards;
        self.arrivals.set(arrival_rules(config));
        Ok(())
    }

    /// Those who come, before anything is known of them.
    pub(crate) fn arrivals(&self) -> &Arc<Arrivals> {
        &self.arrivals
    }

    /// The answer to a connection that asks to be let in, or none if it comes as a letter. `begun` is
    /// the connection's, for exchanges of several steps.
    pub(crate) fn ask(
        &self,
        credentials: Credentials,
        origin: Origin<'_>,
        begun: &mut Begun,
        asker: (usize, ConnectionHandle),
    ) -> Option<Event> {
        let guards = self.guards.read().unwrap_or_else(PoisonError::into_inner);
        let verdict = match guards.get(usize::from(origin.entrance.0)) {
            None => Some(NOT_AUTHORIZED),
            Some(guard) => match (&credentials.enhanced, guard.provable(origin)) {
                (Some(said), Some(passwords)) => {
                    return self.prove(passwords, said, origin, begun, asker);
                }
                (Some(_), None) => Some(Verdict::Refused(ReasonCode::BadAuthenticationMethod)),
                (None, _) => self.verdict(guard, credentials, origin, asker),
            },
        };
        verdict.map(|verdict| Event::Authenticated { connection: asker.1, verdict })
    }

    fn verdict(
        &self,
        guard: &Arc<Guard>,
        credentials: Credentials,
        origin: Origin<'_>,
        asker: (usize, ConnectionHandle),
    ) -> Option<Verdict> {
        let login = Login::new(guard, credentials, origin, asker);
        match guard.look(&login, 0) {
            Finding::Verdict(verdict) => Some(verdict),
            Finding::Work(at) => {
                let key = self.failures.claim(login.source(), login.whom());
                self.check(Question { login, at, key })
            }
        }
    }

    /// Has a method work, at once or later; or says why not.
    fn check(&self, question: Question) -> Option<Verdict> {
        let Some(workers) = self.workers.get() else {
            return Some(BUSY);
        };
        match self.failures.standing(question.key, Instant::now()) {
            Standing::Good => workers.checkers.ask(question),
            Standing::Slowed(delay) => {
                let waits = workers.slowed.wait(delay, Then::Check(question));
                (!waits).then_some(BUSY)
            }
            Standing::Refused => Some(TOO_OFTEN),
        }
    }

    /// Takes a step of an exchange in which a client proves who it is.
    fn prove(
        &self,
        passwords: &Passwords,
        said: &Enhanced,
        origin: Origin<'_>,
        begun: &mut Begun,
        (shard, connection): (usize, ConnectionHandle),
    ) -> Option<Event> {
        let refused = |verdict| Some(Event::Authenticated { connection, verdict });
        let user_of = |begun: &Begun| begun.as_ref().map(|exchange| exchange.user().to_owned());
        // The first step says who it is to be, the next one proves it and ends the exchange.
        let user = user_of(begun).filter(|_| said.step == Step::Next);
        let answer = exchange::step(passwords, begun, said, connection);
        let user = user.or_else(|| user_of(begun)).unwrap_or_default();
        let source = origin.peer.source();
        let key = self.failures.claim(source, Whom::User(&user));
        let standing = self.failures.standing(key, Instant::now());
        if standing == Standing::Refused {
            *begun = None;
            return refused(TOO_OFTEN);
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                debug!("{error}");
                checkers::note(&self.failures, key, source);
                return refused(NOT_AUTHORIZED);
            }
        };
        if matches!(answer, Event::Proven { .. }) {
            self.failures.forgive(key, Instant::now());
        }
        match (standing, self.workers.get()) {
            (Standing::Slowed(delay), Some(workers)) => {
                let waits = workers.slowed.wait(delay, Then::Answer(shard, answer));
                if waits { None } else { refused(BUSY) }
            }
            _ => Some(answer),
        }
    }
}

const NOT_AUTHORIZED: Verdict = Verdict::Refused(ReasonCode::NotAuthorized);
const BAD_PASSWORD: Verdict = Verdict::Refused(ReasonCode::BadUserNameOrPassword);
const UNAVAILABLE: Verdict = Verdict::Refused(ReasonCode::ServerUnavailable);
const BUSY: Verdict = Verdict::Refused(ReasonCode::ServerBusy);
const OTHER_CLIENT: Verdict = Verdict::Refused(ReasonCode::ClientIdentifierNotValid);
const TOO_OFTEN: Verdict = Verdict::Refused(ReasonCode::ConnectionRateExceeded);

#[cfg(test)]
mod chain_tests;
#[cfg(test)]
mod tests;
