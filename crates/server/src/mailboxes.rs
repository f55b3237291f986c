//! Everything that crosses from one thread to a loop: a mailbox for each ordered pair, and one bell
//! for each loop.
//!
//! Letters of one sender arrive in their order. A batch costs one lock, and wakes the loop only if
//! its bell has not been rung since it last looked: the loop stills the bell *before* it empties its
//! boxes, so a letter is never left in a box behind a still bell.
//!
//! The parcels in which messages travel go back the same way, so that nothing is allocated for
//! them: the reader leaves emptied ones in the box, the writer finds them there.

use crate::arrivals::Visit;
use crate::entrances::Rules;
use crate::event_loop::Taps;
use mio::Waker;
use noctule_broker::{Departure, Event, Mail, Parcel, Policies};
use noctule_net::{AnnouncedCertificate, Peer, Pipe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A letter to a loop.
#[derive(Debug)]
pub(crate) enum Letter {
    /// From its shard to the other's.
    Mail(Mail),
    /// A connection whose session lives there.
    Arrival {
        pipe: Pipe,
        peer: Peer,
        taps: Option<Box<Taps>>,
        /// What its client has shown to a proxy: it may have to prove who it is once more.
        certificate: Option<Box<AnnouncedCertificate>>,
        visit: Option<Visit>,
        departure: Departure,
    },
    /// Topics below `$SYS/` with what the broker has to say on them.
    System(Vec<(String, String)>),
    /// From the store to the shard.
    Stored(Event),
    /// What the store can take has changed.
    StoreState,
    /// What the gate says to a client of that loop, which took time to find out.
    Answer(Event),
    /// What applies at listeners, limits, and which messages are shown have changed.
    Rules(Arc<Rules>),
    /// What clients may do has changed.
    Policies(Arc<Policies>),
    /// Tell the clients, let their output drain, and end.
    Stop,
}

/// The mailboxes of all loops. Besides the loops there is one more sender, the *outside*.
#[derive(Debug)]
pub(crate) struct Mailboxes {
    /// By receiver, then sender.
    boxes: Vec<Vec<Mutex<Mailbox>>>,
    bells: Vec<Bell>,
    /// How many loops have nothing to do any more but to read their mail.
    done: AtomicUsize,
}

#[derive(Debug, Default)]
struct Mailbox {
    letters: Vec<Letter>,
    /// For the sender to use again.
    emptied: Vec<Parcel>,
}

/// Emptied parcels that are kept in a box.
const EMPTIED: usize = 4;

#[derive(Debug)]
struct Bell {
    rung: AtomicBool,
    waker: Waker,
}

impl Mailboxes {
    /// Mailboxes for as many loops as there are wakers.
    pub(crate) fn new(wakers: Vec<Waker>) -> Self {
        let loops = wakers.len();
        let row = || std::iter::repeat_with(Mutex::default).take(loops + 1).collect();
        Self {
            boxes: std::iter::repeat_with(row).take(loops).collect(),
            bells: wakers
                .into_iter()
                .map(|waker| Bell { rung: AtomicBool::new(false), waker })
                .collect(),
            done: AtomicUsize::new(0),
        }
    }

    /// How many loops there are.
    pub(crate) fn loops(&self) -> usize {
        self.bells.len()
    }

    /// Puts letters from loop `from` into a loop's box and has it look. Takes the emptied parcels
    /// that lie there.
    pub(crate) fn post(
        &self,
        from: usize,
        to: usize,
        letters: &mut Vec<Letter>,
        emptied: &mut Vec<Parcel>,
    ) {
        {
            let mut mailbox = self.boxes[to][from].lock().unwrap_or_else(PoisonError::into_inner);
            mailbox.letters.append(letters);
            emptied.append(&mut mailbox.emptied);
        }
        let bell = &self.bells[to];
        if !bell.rung.swap(true, Ordering::AcqRel) {
            // It fails only if the loop has ended, and then nobody is to be woken.
            let _ = bell.waker.wake();
        }
    }

    /// Has a loop publish what the broker has to say of itself.
    pub(crate) fn publish(&self, topics: Vec<(String, String)>) {
        if !topics.is_empty() {
            self.write_from_outside(0, Letter::System(topics));
        }
    }

    /// Has every loop stop.
    pub(crate) fn stop_all(&self) {
        self.tell_all(|| Letter::Stop);
    }

    /// A loop that stops has nothing more to do; it says so once. The others may still write to it.
    pub(crate) fn one_is_done(&self) {
        if self.done.fetch_add(1, Ordering::AcqRel) + 1 == self.loops() {
            // They wait for nothing else.
            self.stop_all();
        }
    }

    /// Whether a loop may end without leaving mail unread that others have written before they were
    /// done.
    pub(crate) fn may_end(&self, to: usize) -> bool {
        let is_empty = |mailbox: &Mutex<Mailbox>| {
            mailbox.lock().unwrap_or_else(PoisonError::into_inner).letters.is_empty()
        };
        self.done.load(Ordering::Acquire) >= self.loops() && self.boxes[to].iter().all(is_empty)
    }

    /// Writes to every loop from outside.
    pub(crate) fn tell_all(&self, letter: impl Fn() -> Letter) {
        for to in 0..self.loops() {
            self.write_from_outside(to, letter());
        }
    }

    /// Writes to one loop from outside.
    pub(crate) fn write_from_outside(&self, to: usize, letter: Letter) {
        self.post(self.loops(), to, &mut vec![letter], &mut Vec::new());
    }

    /// Takes all letters to a loop; those of one sender in their order. Leaves the emptied parcels
    /// of each sender for it.
    pub(crate) fn collect(&self, to: usize, into: &mut Vec<Letter>, emptied: &mut [Vec<Parcel>]) {
        self.bells[to].rung.store(false, Ordering::Release);
        for (from, mailbox) in self.boxes[to].iter().enumerate() {
            let mut mailbox = mailbox.lock().unwrap_or_else(PoisonError::into_inner);
            into.append(&mut mailbox.letters);
            if let Some(emptied) = emptied.get_mut(from) {
                mailbox.emptied.append(emptied);
                mailbox.emptied.truncate(EMPTIED);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};
    use std::time::Duration;

    fn wakes(poll: &mut Poll) -> bool {
        let mut events = Events::with_capacity(4);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        !events.is_empty()
    }

    #[test]
    fn a_batch_wakes_once_until_the_letters_are_collected() {
        let mut poll = Poll::new().unwrap();
        let boxes = Mailboxes::new(vec![Waker::new(poll.registry(), Token(0)).unwrap()]);
        boxes.post(0, 0, &mut vec![Letter::Stop], &mut Vec::new());
        assert!(wakes(&mut poll));
        boxes.stop_all();
        assert!(!wakes(&mut poll), "the bell was rung already");
        let mut letters = Vec::new();
        boxes.collect(0, &mut letters, &mut []);
        assert_eq!(letters.len(), 2);
        boxes.stop_all();
        assert!(wakes(&mut poll));
    }

    #[test]
    fn a_loop_ends_when_all_are_done_and_its_mail_is_read() {
        let polls = [Poll::new().unwrap(), Poll::new().unwrap()];
        let waker = |poll: &Poll| Waker::new(poll.registry(), Token(0)).unwrap();
        let boxes = Mailboxes::new(polls.iter().map(waker).collect());
        boxes.one_is_done();
        assert!(!boxes.may_end(0), "the other one may still write");
        boxes.one_is_done();
        let [mut first, mut second] = polls;
        assert!(wakes(&mut first) && wakes(&mut second));
        assert!(!boxes.may_end(0), "there is a letter");
        boxes.collect(0, &mut Vec::new(), &mut []);
        assert!(boxes.may_end(0) && !boxes.may_end(1));
    }

    #[test]
    fn nothing_is_left_in_a_box_behind_a_still_bell() {
        const LETTERS: usize = 20_000;
        let mut poll = Poll::new().unwrap();
        let boxes = Mailboxes::new(vec![Waker::new(poll.registry(), Token(0)).unwrap()]);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..LETTERS / 2).for_each(|_| boxes.stop_all()));
            }
            let (mut events, mut letters) = (Events::with_capacity(4), Vec::new());
            while letters.len() < LETTERS {
                // A wake that got lost would let this run into its deadline.
                poll.poll(&mut events, Some(Duration::from_secs(20))).unwrap();
                assert!(!events.is_empty(), "{} letters came, and no wake", letters.len());
                boxes.collect(0, &mut letters, &mut []);
            }
        });
    }
}
