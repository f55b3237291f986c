//! What has to wait before it is looked at, because its address has failed too often: a thread of its
//! own, asleep until the first of it is due.

use super::checkers::{Checkers, Question};
use crate::mailboxes::{Letter, Mailboxes};
use noctule_broker::{ConnectionHandle, Event};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// So many wait at most: of all addresses that were wrong too often, together.
const WAITING_MAX: usize = 1_024;

/// What happens when the time is over.
#[derive(Debug)]
pub(super) enum Then {
    /// A password is checked.
    Check(Question),
    /// A loop is given an answer.
    Answer(usize, Event),
}

/// The way to the thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Slowed(SyncSender<(Instant, Then)>);

impl Slowed {
    /// Starts the thread.
    pub(super) fn start(checkers: Checkers, mailboxes: &Arc<Mailboxes>) -> io::Result<Self> {
        let (sender, received) = sync_channel(WAITING_MAX / 4);
        let clerk =
            Clerk { checkers, mailboxes: Arc::clone(mailboxes), waiting: BinaryHeap::new() };
        thread::Builder::new().name("slowed".to_owned()).spawn(move || clerk.run(&received))?;
        Ok(Self(sender))
    }

    /// Has something wait. Returns whether there is room for it.
    pub(super) fn wait(&self, delay: Duration, then: Then) -> bool {
        self.0.try_send((Instant::now() + delay, then)).is_ok()
    }
}

struct Clerk {
    checkers: Checkers,
    mailboxes: Arc<Mailboxes>,
    waiting: BinaryHeap<Waiting>,
}

/// In the order in which they are due.
struct Waiting {
    due: Reverse<Instant>,
    then: Then,
}

impl Clerk {
    fn run(mut self, received: &Receiver<(Instant, Then)>) {
        loop {
            let next = match self.waiting.peek() {
                None => received.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(first) => {
                    let left = first.due.0.saturating_duration_since(Instant::now());
                    received.recv_timeout(left)
                }
            };
            match next {
                Ok((_, then)) if self.waiting.len() >= WAITING_MAX => self.turn_away(then),
                Ok((due, then)) => self.waiting.push(Waiting { due: Reverse(due), then }),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.carry_out_due(Instant::now());
        }
    }

    fn carry_out_due(&mut self, now: Instant) {
        while self.waiting.peek().is_some_and(|first| first.due.0 <= now) {
            if let Some(waiting) = self.waiting.pop() {
                self.carry_out(waiting.then);
            }
        }
    }

    fn carry_out(&self, then: Then) {
        match then {
            Then::Check(question) => {
                let (shard, connection) = question.login.asker;
                if let Some(verdict) = self.checkers.ask(question) {
                    self.answer(shard, Event::Authenticated { connection, verdict });
                }
            }
            Then::Answer(shard, event) => self.answer(shard, event),
        }
    }

    fn turn_away(&self, then: Then) {
        let (shard, connection): (usize, ConnectionHandle) = match then {
            Then::Check(question) => question.login.asker,
            Then::Answer(
                shard,
                Event::Challenged { connection, .. }
                | Event::Authenticated { connection, .. }
                | Event::Proven { connection, .. },
            ) => (shard, connection),
            Then::Answer(..) => return,
        };
        self.answer(shard, Event::Authenticated { connection, verdict: super::BUSY });
    }

    fn answer(&self, shard: usize, event: Event) {
        self.mailboxes.write_from_outside(shard, Letter::Answer(event));
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}
