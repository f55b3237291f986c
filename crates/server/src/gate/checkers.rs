//! Threads that check passwords, a few at a time: each check takes some 20 ms and 20 MiB. So many may
//! wait for them; the verdict comes as a letter to the loop that asked.
//!
//! They are nice to everybody else: whatever the loops want to do comes first.

use super::failures::{Failures, Standing};
use super::passwords::Passwords;
use super::{BAD_PASSWORD, BUSY, TOO_OFTEN};
use crate::mailboxes::{Letter, Mailboxes};
use noctule_broker::{ConnectionHandle, Event, Verdict};
use rustix::process::setpriority_process;
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tracing::warn;

/// Checks that may wait for a thread; at 20 ms each, more would time out anyhow.
const WAITING_MAX: usize = 1_024;

/// Threads that check at once, at most: 80 MiB.
const THREADS_MAX: usize = 4;

/// How much less of a processor a check gets than a loop that wants it at the same time.
const NICE: i32 = 10;

/// A password to be checked.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) passwords: Arc<Passwords>,
    pub(super) user: Box<str>,
    pub(super) password: Box<[u8]>,
    /// Where it comes from.
    pub(super) address: IpAddr,
    /// Which loop wants to know, and about whom.
    pub(super) asker: (usize, ConnectionHandle),
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
        let Question { user, password, address, .. } = question;
        // It may have failed too often while this one waited.
        if self.failures.standing(*address, Instant::now()) == Standing::Refused {
            return TOO_OFTEN;
        }
        if question.passwords.verify(user, password) {
            return Verdict::Accepted;
        }
        note(&self.failures, *address);
        BAD_PASSWORD
    }
}

/// A login of this address was wrong.
pub(super) fn note(failures: &Failures, address: IpAddr) {
    if failures.note(address, Instant::now()) {
        warn!(%address, "too many wrong logins: further ones are refused for a while");
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
