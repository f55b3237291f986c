//! Threads that check passwords and tokens, a few at a time: each check of a password takes some 20 ms
//! and 20 MiB. So many may wait for them; the verdict comes as a letter to the loop that asked.
//!
//! They are nice to everybody else: whatever the loops want to do comes first.

use super::failures::{ClaimKey, Crossed, Failures, Standing, Whom};
use super::passwords::Passwords;
use super::tokens::Tokens;
use super::{BAD_PASSWORD, BUSY, OTHER_CLIENT, TOO_OFTEN};
use crate::acl_files::Judge;
use crate::mailboxes::{Letter, Mailboxes};
use noctule_acl::Rules;
use noctule_auth::{TokenBearer, TokenError};
use noctule_broker::{ConnectionHandle, Event, Grant, Principal, Verdict};
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

/// Something to be checked.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) claim: Claim,
    /// Where it comes from.
    pub(super) source: Source,
    /// As what it counts if it is wrong.
    pub(super) key: ClaimKey,
    /// Which loop wants to know, and about whom.
    pub(super) asker: (usize, ConnectionHandle),
}

/// Who a client says it is.
#[derive(Debug)]
pub(super) enum Claim {
    /// A user, with the password.
    Password { passwords: Arc<Passwords>, user: Box<str>, password: Box<[u8]> },
    /// Whom a token names; if it gives a user name, the same.
    Token { tokens: Arc<Tokens>, user: Option<Box<str>>, token: Box<[u8]>, client_id: Box<str> },
}

impl Claim {
    /// Whom it says to be.
    pub(super) fn whom(&self) -> Whom<'_> {
        match self {
            Self::Password { user, .. } => Whom::User(user),
            Self::Token { token, .. } => Whom::Token(token),
        }
    }

    /// Whether it is right, and if it is not, whether that may be a guess. Takes its time.
    pub(super) fn check(&self) -> (Verdict, bool) {
        match self {
            Self::Password { passwords, user, password } => {
                let is_right = passwords.verify(user, password);
                (if is_right { Verdict::Accepted } else { BAD_PASSWORD }, !is_right)
            }
            Self::Token { tokens, user, token, client_id } => {
                match tokens.verify(token, client_id) {
                    Ok(bearer) if user.as_deref().is_none_or(|user| user == bearer.user) => {
                        (accept(bearer), false)
                    }
                    Ok(_) => (BAD_PASSWORD, false),
                    Err(error) => {
                        debug!("{error}");
                        let other = error == TokenError::OtherClient;
                        (if other { OTHER_CLIENT } else { BAD_PASSWORD }, error.is_guess())
                    }
                }
            }
        }
    }
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
pub(super) struct Checkers(SyncSender<Asked>);

type Asked = (Instant, Question);

impl Checkers {
    /// Starts the threads. Who has waited for `patience` is not answered any more.
    pub(super) fn start(
        mailboxes: &Arc<Mailboxes>,
        failures: &Arc<Failures>,
        patience: Duration,
    ) -> io::Result<Self> {
        let (questions, asked) = sync_channel(WAITING_MAX);
        let asked = Arc::new(Mutex::new(asked));
        // Half of the processors, so that the loops have theirs.
        let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        for _ in 0..(processors / 2).clamp(1, THREADS_MAX) {
            let (mailboxes, failures) = (Arc::clone(mailboxes), Arc::clone(failures));
            let checker = Checker { mailboxes, failures, patience };
            let asked = Arc::clone(&asked);
            thread::Builder::new()
                .name("passwords".to_owned())
                .spawn(move || checker.run(&asked))?;
        }
        Ok(Self(questions))
    }

    /// Has a password checked; or says at once that too many wait.
    pub(super) fn ask(&self, question: Question) -> Option<Verdict> {
        self.0.try_send((Instant::now(), question)).is_err().then_some(BUSY)
    }
}

struct Checker {
    mailboxes: Arc<Mailboxes>,
    failures: Arc<Failures>,
    patience: Duration,
}

impl Checker {
    fn run(&self, asked: &Mutex<Receiver<Asked>>) {
        // Of this thread alone, as Linux has it. If it is refused, nothing but a preference is lost.
        let _ = setpriority_process(None, NICE);
        loop {
            let next = asked.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((since, question)) = next else {
                return;
            };
            // Whoever has waited longer was sent away.
            if since.elapsed() < self.patience {
                self.answer(&question);
            }
        }
    }

    fn answer(&self, question: &Question) {
        let (shard, connection) = question.asker;
        let verdict = self.verdict(question);
        let event = Event::Authenticated { connection, verdict };
        self.mailboxes.write_from_outside(shard, Letter::Answer(event));
    }

    fn verdict(&self, question: &Question) -> Verdict {
        // It may have failed too often while this one waited.
        if self.failures.standing(question.key, Instant::now()) == Standing::Refused {
            return TOO_OFTEN;
        }
        let (verdict, may_be_guess) = question.claim.check();
        if may_be_guess {
            note(&self.failures, question.key, question.source);
        } else if !matches!(verdict, Verdict::Refused(_)) {
            self.failures.forgive(question.key, Instant::now());
        }
        verdict
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
        (Checkers(questions), move || asked.try_recv().ok().map(|(_, question)| question))
    }
}
