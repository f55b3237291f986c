//! Threads that check passwords, a few at a time: each check takes some 20 ms and 20 MiB. So many may
//! wait for them; the verdict comes as a letter to the loop that asked.

use super::passwords::Passwords;
use super::{BAD_PASSWORD, BUSY};
use crate::mailboxes::{Letter, Mailboxes};
use noctule_broker::{ConnectionHandle, Verdict};
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Checks that may wait for a thread; at 20 ms each, more would time out anyhow.
const WAITING_MAX: usize = 1_024;

/// Threads that check at once, at most: 80 MiB.
const THREADS_MAX: usize = 4;

/// A password to be checked.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) passwords: Arc<Passwords>,
    pub(super) user: Box<str>,
    pub(super) password: Box<[u8]>,
    /// Which loop wants to know, and about whom.
    pub(super) asker: (usize, ConnectionHandle),
}

/// The way to the threads, which are started once there is a password file. They end when it is
/// dropped.
#[derive(Debug)]
pub(super) struct Checkers {
    questions: OnceLock<SyncSender<Asked>>,
    mailboxes: Arc<Mailboxes>,
    /// How long somebody may wait for an answer.
    patience: Duration,
}

type Asked = (Instant, Question);

impl Checkers {
    /// Nobody checks yet. Who has waited for `patience` is not answered any more.
    pub(super) fn new(mailboxes: &Arc<Mailboxes>, patience: Duration) -> Self {
        Self { questions: OnceLock::new(), mailboxes: Arc::clone(mailboxes), patience }
    }

    /// Starts the threads, unless they run.
    pub(super) fn start(&self) -> io::Result<()> {
        if self.questions.get().is_some() {
            return Ok(());
        }
        let (questions, asked) = sync_channel(WAITING_MAX);
        let asked = Arc::new(Mutex::new(asked));
        // Half of the processors, so that the loops have theirs.
        let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        for _ in 0..(processors / 2).clamp(1, THREADS_MAX) {
            let checker =
                Checker { mailboxes: Arc::clone(&self.mailboxes), patience: self.patience };
            let asked = Arc::clone(&asked);
            thread::Builder::new()
                .name("passwords".to_owned())
                .spawn(move || checker.run(&asked))?;
        }
        // Nobody else starts them: configurations are taken up one after another.
        let _ = self.questions.set(questions);
        Ok(())
    }

    /// Has a password checked; or says at once that too many wait.
    pub(super) fn ask(&self, question: Question) -> Option<Verdict> {
        let asked = (Instant::now(), question);
        let is_asked =
            self.questions.get().is_some_and(|questions| questions.try_send(asked).is_ok());
        (!is_asked).then_some(BUSY)
    }
}

struct Checker {
    mailboxes: Arc<Mailboxes>,
    patience: Duration,
}

impl Checker {
    fn run(&self, asked: &Mutex<Receiver<Asked>>) {
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
        let is_right = question.passwords.current().verify(&question.user, &question.password);
        let verdict = if is_right { Verdict::Accepted } else { BAD_PASSWORD };
        let (shard, connection) = question.asker;
        self.mailboxes.write_from_outside(shard, Letter::Verdict { connection, verdict });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Checkers of which nobody checks, for so many questions.
    pub(crate) fn nobody(
        room: usize,
        mailboxes: &Arc<Mailboxes>,
    ) -> (Checkers, impl Fn() -> Option<Question> + use<>) {
        let (questions, asked) = sync_channel(room);
        let questions = OnceLock::from(questions);
        let checkers =
            Checkers { questions, mailboxes: Arc::clone(mailboxes), patience: Duration::ZERO };
        (checkers, move || asked.try_recv().ok().map(|(_, question)| question))
    }
}
