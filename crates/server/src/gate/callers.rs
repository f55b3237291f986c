//! Threads that ask over HTTP who may come in: so many at once, behind a queue with an end.
//!
//! Who was allowed is remembered for a while, and who does not answer is left alone for a while, in
//! which nobody is let in whom only he knows. Threads end when the last guard that asks them is gone.

use super::chance::random;
use super::checkers::{Answers, Checkers, Question};
use super::guard::{Login, Opinion};
use super::{BAD_PASSWORD, BUSY, NOT_AUTHORIZED, UNAVAILABLE};
use crate::options::{Config, HttpAuthFormat};
use crate::run::StartError;
use noctule_auth::{
    Answer, Asked, BodyFormat, Breaker, Callout, CalloutFailure, CalloutOptions, Remembered, Turn,
};
use noctule_broker::Verdict;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tracing::{debug, info, warn};

/// Questions that may wait for a thread.
const WAITING_MAX: usize = 1_024;
/// Clients that are remembered as allowed: some 6 MiB.
const CLIENTS_MAX: usize = 100_000;
/// Answers that are not understood are said so often.
const COMPLAINT: Duration = Duration::from_secs(60);

/// Those who ask at one URL.
#[derive(Debug)]
pub(super) struct Callers {
    plan: CallersPlan,
    line: Line,
    questions: SyncSender<Question>,
}

/// What a configuration says of asking over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CallersPlan {
    callout: CalloutOptions,
    /// How long who was allowed is remembered.
    cache: Duration,
    /// How many are asked about at once.
    at_once: u16,
}

/// What is known of whoever is asked.
#[derive(Debug)]
struct Line {
    url: String,
    callout: Callout,
    breaker: Mutex<Breaker>,
    remembered: Mutex<Remembered>,
    complained: Mutex<Option<Instant>>,
}

impl CallersPlan {
    /// What a configuration says; none if it does not want to ask.
    pub(super) fn of(config: &Config) -> Option<Self> {
        if config.http_auth_url.is_empty() {
            return None;
        }
        let callout = CalloutOptions {
            url: config.http_auth_url.clone(),
            format: match config.http_auth_format {
                HttpAuthFormat::Json => BodyFormat::Json,
                HttpAuthFormat::Form => BodyFormat::Form,
            },
            ca: config.http_auth_ca.get().cloned(),
            timeout: config.http_auth_timeout,
            connections_max: config.http_auth_requests_max.into(),
        };
        let (cache, at_once) = (config.http_auth_cache, config.http_auth_requests_max);
        Some(Self { callout, cache, at_once })
    }
}

impl Callers {
    /// Starts the threads. What none of them knows goes to `checkers`, if the next method needs those.
    ///
    /// # Errors
    /// [`StartError`]: it cannot be asked like that, or no thread can be started.
    pub(super) fn start(
        plan: CallersPlan,
        checkers: &Checkers,
        answers: &Answers,
    ) -> Result<Self, StartError> {
        let system = |what| move |error| StartError::System { what, error };
        let callout = Callout::new(&plan.callout).map_err(StartError::Callout)?;
        let url = plan.callout.url.clone();
        if callout.is_exposed() {
            warn!(%url, "passwords are sent there in the clear: use https://");
        }
        let key = random().map_err(system("get random bytes"))?;
        let remembered = Mutex::new(Remembered::new(key, CLIENTS_MAX, plan.cache));
        let (breaker, complained) = <(Mutex<Breaker>, Mutex<Option<Instant>>)>::default();
        let line = Line { url, callout, breaker, remembered, complained };
        let (questions, asked) = sync_channel(WAITING_MAX);
        let asked = Arc::new(Mutex::new(asked));
        for _ in 0..plan.at_once {
            let caller = Caller { checkers: checkers.clone(), answers: answers.clone() };
            let asked = Arc::clone(&asked);
            thread::Builder::new()
                .name("http-auth".to_owned())
                .spawn(move || caller.run(&asked))
                .map_err(system("start a thread"))?;
        }
        Ok(Self { plan, line, questions })
    }

    /// Whether these ask as this plan says.
    pub(super) fn follow(&self, plan: &CallersPlan) -> bool {
        self.plan == *plan
    }

    /// Has somebody asked about; or says at once that too many wait.
    pub(super) fn ask(&self, question: Question) -> Option<Verdict> {
        self.questions.try_send(question).is_err().then_some(BUSY)
    }

    /// Whether this client was allowed a while ago. Takes microseconds.
    pub(super) fn knows(&self, login: &Login) -> bool {
        let host = login.host();
        locked(&self.line.remembered).knows(&asked(login, host.as_deref()), Instant::now())
    }

    /// Asks about a client, and waits for the answer.
    pub(super) fn work(&self, login: &mut Login) -> Opinion {
        let host = login.host();
        let asked = asked(login, host.as_deref());
        // Whoever is asked is not to blame, and the circuit learns nothing from it.
        if !self.line.callout.can_say(&asked) {
            login.may_be_guess = true;
            return Opinion::Decided(BAD_PASSWORD);
        }
        if !locked(&self.line.breaker).admits(Instant::now()) {
            return Opinion::Decided(UNAVAILABLE);
        }
        let answer = self.line.callout.ask(&asked);
        let now = Instant::now();
        let is_outage = answer.as_ref().is_err_and(CalloutFailure::is_outage);
        let mut breaker = locked(&self.line.breaker);
        let turn = if is_outage { breaker.failed(now) } else { breaker.answered() };
        drop(breaker);
        self.line.say(turn, answer.as_ref().err(), now);
        let says_who = login.user.is_some() || login.password.is_some();
        match answer {
            Ok(Answer::Allow) => {
                locked(&self.line.remembered).note(&asked, now);
                Opinion::Decided(Verdict::Accepted)
            }
            Ok(Answer::Deny) => {
                login.may_be_guess |= says_who;
                Opinion::Decided(if login.user.is_some() { BAD_PASSWORD } else { NOT_AUTHORIZED })
            }
            Ok(Answer::Ignore) => {
                login.may_be_guess |= says_who;
                Opinion::Unknown
            }
            Err(_) => Opinion::Decided(UNAVAILABLE),
        }
    }
}

impl Line {
    /// Says that whoever is asked does not answer, or does again, or answers what nobody understands.
    fn say(&self, turn: Option<Turn>, failure: Option<&CalloutFailure>, now: Instant) {
        let url = &self.url;
        match (turn, failure) {
            (Some(Turn::Opened(time)), Some(failure)) => {
                let seconds = time.as_secs();
                warn!(%url, "{failure}: it is not asked for {seconds} s, and who has to be asked about \
                     is refused");
            }
            (Some(Turn::Closed), None) => info!(%url, "it answers again"),
            (_, None) => {}
            (_, Some(failure)) => {
                let mut complained = locked(&self.complained);
                if complained.is_some_and(|last| now < last + COMPLAINT) {
                    debug!(%url, "{failure}");
                } else {
                    *complained = Some(now);
                    warn!(%url, "{failure}: who has to be asked about is refused");
                }
            }
        }
    }
}

struct Caller {
    checkers: Checkers,
    answers: Answers,
}

impl Caller {
    fn run(&self, asked: &Mutex<Receiver<Question>>) {
        loop {
            let next = locked(asked).recv();
            let Ok(question) = next else {
                return;
            };
            self.answers.give(question, Some(&self.checkers));
        }
    }
}

fn asked<'a>(login: &'a Login, host: Option<&'a str>) -> Asked<'a> {
    Asked {
        client_id: &login.client_id,
        user_name: login.user.as_deref(),
        password: login.password.as_deref(),
        host,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
