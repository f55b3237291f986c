//! Threads that check passwords and tokens, a few at a time: each check of a password takes some 20 ms
//! and 20 MiB. So many may wait for them; the verdict comes as a letter to the loop that asked.
//!
//! They are nice to everybody else: whatever the loops want to do comes first.

use super::callers::Callers;
use super::failures::{ClaimKey, Crossed, Failures, Standing};
use super::guard::{Finding, Login, Method, Opinion};
use super::passwords::{Found, Passwords};
use super::tokens::Tokens;
use super::{BAD_PASSWORD, BUSY, OTHER_CLIENT, TOO_OFTEN};
use crate::acl_files::Judge;
use crate::mailboxes::{Letter, Mailboxes};
use noctule_acl::Rules;
use noctule_auth::{TokenBearer, TokenError};
use noctule_broker::{Event, Grant, Principal, Verdict};
use noctule_net::Source;
use rustix::process::setpriority_process;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tracing::{debug, warn};

/// Checks that may wait for a thread; at 20 ms each, more would time out anyhow.
const WAITING_MAX: usize = 1_024;

/// Threads that check at once, at most: 80 MiB.
const THREADS_MAX: usize = 4;

/// How much less of a processor a check gets than a loop that wants it at the same time.
const NICE: i32 = 10;

/// A login for which the method at this place has to work.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) login: Login,
    pub(super) at: usize,
    /// As what it counts if it is wrong.
    pub(super) key: ClaimKey,
}

impl Question {
    /// Those who ask over HTTP, if it is they who have to work.
    fn callers(&self) -> Option<Arc<Callers>> {
        match self.login.guard.methods.get(self.at) {
            Some(Method::Http(callers)) => Some(Arc::clone(callers)),
            _ => None,
        }
    }

    /// Has the method work, and those behind it as long as nobody knows the client. Takes its time.
    pub(super) fn work(&mut self) -> Finding {
        let guard = Arc::clone(&self.login.guard);
        let opinion = match guard.methods.get(self.at) {
            Some(Method::Passwords(passwords)) => check_password(passwords, &mut self.login),
            Some(Method::Tokens(tokens)) => check_token(tokens, &mut self.login),
            Some(Method::Http(callers)) => callers.work(&mut self.login),
            Some(Method::Certificate(_) | Method::Anonymous) | None => Opinion::Unknown,
        };
        match opinion {
            Opinion::Decided(verdict) => Finding::Verdict(verdict),
            Opinion::Unknown | Opinion::Works => guard.look(&self.login, self.at + 1),
        }
    }
}

/// Whether it is the user's password. A user who is not in the file costs the same.
fn check_password(passwords: &Passwords, login: &mut Login) -> Opinion {
    let (Some(user), Some(password)) = (&login.user, &login.password) else {
        return Opinion::Unknown;
    };
    match passwords.check(user, password) {
        Found::Right => Opinion::Decided(Verdict::Accepted),
        found => {
            login.may_be_guess = true;
            if found == Found::Nobody { Opinion::Unknown } else { Opinion::Decided(BAD_PASSWORD) }
        }
    }
}

/// Whom a token names; if the client gives a user name, it has to be the same.
fn check_token(tokens: &Tokens, login: &mut Login) -> Opinion {
    let token = login.password.as_deref().unwrap_or_default();
    Opinion::Decided(match tokens.verify(token, &login.client_id) {
        Ok(bearer) if login.user.as_deref().is_none_or(|user| user == bearer.user) => {
            accept(bearer)
        }
        Ok(_) => BAD_PASSWORD,
        Err(error) => {
            debug!("{error}");
            login.may_be_guess |= error.is_guess();
            let other = error == TokenError::OtherClient;
            if other { OTHER_CLIENT } else { BAD_PASSWORD }
        }
    })
}

/// Accepts whom a token is for, with the rights that it claims.
fn accept(bearer: TokenBearer) -> Verdict {
    let mut principal = Principal::user(bearer.user);
    match bearer.rights.as_deref().map(Rules::of_claim) {
        None => {}
        Some(Ok(rules)) => principal.grant = Some(Grant(Arc::new(Judge(rules)))),
        Some(Err(error)) => {
            debug!("what the token claims about rights cannot be understood: {error}");
            return BAD_PASSWORD;
        }
    }
    Verdict::AcceptedAs(principal)
}

/// A way to the threads, which end when the last one is dropped.
#[derive(Debug, Clone)]
pub(super) struct Checkers(SyncSender<Question>);

impl Checkers {
    /// Starts the threads.
    pub(super) fn start(answers: &Answers) -> io::Result<Self> {
        let (questions, asked) = sync_channel(WAITING_MAX);
        let asked = Arc::new(Mutex::new(asked));
        // Half of the processors, so that the loops have theirs.
        let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        for _ in 0..(processors / 2).clamp(1, THREADS_MAX) {
            let answers = answers.clone();
            let asked = Arc::clone(&asked);
            thread::Builder::new()
                .name("passwords".to_owned())
                .spawn(move || run(&answers, &asked))?;
        }
        Ok(Self(questions))
    }

    /// Has those work who do what the question's method needs; or says at once that too many wait.
    pub(super) fn ask(&self, question: Question) -> Option<Verdict> {
        match question.callers() {
            Some(callers) => callers.ask(question),
            None => self.0.try_send(question).is_err().then_some(BUSY),
        }
    }
}

/// Checks, one question after another.
fn run(answers: &Answers, asked: &Mutex<Receiver<Question>>) {
    // Of this thread alone, as Linux has it. If it is refused, nothing but a preference is lost.
    let _ = setpriority_process(None, NICE);
    loop {
        let next = asked.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(question) = next else {
            return;
        };
        answers.give(question, None);
    }
}

/// How a thread comes to an answer, and that to the loop that asked.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    pub(super) mailboxes: Arc<Mailboxes>,
    pub(super) failures: Arc<Failures>,
    /// Who has waited for longer was sent away, and is not answered any more.
    pub(super) patience: Duration,
}

impl Answers {
    /// Works on a question and answers it. `checkers` has who asks over HTTP; none are the checkers
    /// themselves, who hold no way to themselves, so that they can end.
    pub(super) fn give(&self, question: Question, checkers: Option<&Checkers>) {
        if question.login.since.elapsed() >= self.patience {
            return;
        }
        let (shard, connection) = question.login.asker;
        if let Some(verdict) = self.verdict(question, checkers) {
            let event = Event::Authenticated { connection, verdict };
            self.mailboxes.write_from_outside(shard, Letter::Answer(event));
        }
    }

    /// The verdict, or none if others go on with the question.
    fn verdict(&self, mut question: Question, checkers: Option<&Checkers>) -> Option<Verdict> {
        let (key, source) = (question.key, question.login.source());
        // It may have failed too often while this one waited.
        if self.failures.standing(key, Instant::now()) == Standing::Refused {
            return Some(TOO_OFTEN);
        }
        let verdict = loop {
            match question.work() {
                Finding::Verdict(verdict) => break verdict,
                Finding::Work(at) => question.at = at,
            }
            // Nobody who has other things to do waits for a network.
            match (question.callers(), checkers) {
                (Some(callers), None) => return callers.ask(question),
                (None, Some(checkers)) => return checkers.ask(question),
                _ => {}
            }
        };
        match verdict {
            Verdict::Refused(_) if question.login.may_be_guess => {
                note(&self.failures, key, source);
            }
            Verdict::Refused(_) => {}
            _ => self.failures.forgive(key, Instant::now()),
        }
        Some(verdict)
    }
}

/// A login of this address was wrong.
pub(super) fn note(failures: &Failures, key: ClaimKey, source: Source) {
    match failures.note(key, Instant::now()) {
        None => {}
        Some(Crossed::Claim) => warn!(
            address = %source,
            "too many wrong logins of one user: further ones from there are refused for a while"
        ),
        Some(Crossed::Place) => warn!(
            address = %source,
            "too many wrong logins: further ones from there, but of users who were right before, are \
             refused for a while"
        ),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Checkers of which nobody checks, for so many questions.
    pub(crate) fn nobody(room: usize) -> (Checkers, impl Fn() -> Option<Question>) {
        let (questions, asked) = sync_channel(room);
        (Checkers(questions), move || asked.try_recv().ok())
    }
}
