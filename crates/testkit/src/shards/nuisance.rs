//! What goes wrong with connections and takes its time: sockets that stall, close by half or break,
//! verdicts and stores that answer late, letters that are read late, and shards that get into each
//! other's work.

use super::{Letter, Shards};
use crate::client::State;
use crate::dice::Dice;
use crate::store::Store;
use crate::transcript::Entry;
use noctule_broker::{Action, Commons as _, Event, Leftovers, Verdict};

impl Shards {
    /// From now on a client's socket takes only so many more bytes.
    pub fn stall_after(&mut self, name: &str, bytes: usize) {
        if let Some(seat) = self.clients.get_mut(name) {
            seat.client.room = bytes;
        }
        self.note(format!("{name} reads {bytes} more bytes"));
    }

    /// A client reads again. Nothing is written before its shard's next turn.
    pub fn unstall(&mut self, name: &str) {
        if let Some(seat) = self.clients.get_mut(name) {
            seat.client.room = usize::MAX;
        }
        self.note(format!("{name} reads again"));
    }

    /// A client sends nothing more: when its shard has read what there is, the connection ends.
    pub fn half_close(&mut self, name: &str) {
        if let Some(seat) = self.clients.get_mut(name) {
            seat.client.line.half_closed = true;
        }
        self.note(format!("{name} has no more to say"));
    }

    /// A client's connection breaks, and what was under way is lost. Its shard notices in its next
    /// turn; on the way to another shard, when it has arrived there.
    pub fn reset(&mut self, name: &str) {
        if let Some(seat) = self.clients.get_mut(name).filter(|it| it.client.state == State::Open) {
            seat.client.state = State::Breaking;
            seat.client.unread.clear();
            seat.client.inbox.clear();
            seat.client.line.stamps.clear();
            self.transcript.add(Entry::ClosedByClient(name.into()));
        }
    }

    /// Whatever a client hears from now on is forgotten.
    pub(crate) fn stop_listening(&mut self, name: &str) {
        if let Some(seat) = self.clients.get_mut(name) {
            seat.client.unheeded = true;
            seat.client.inbox.clear();
            seat.client.line.stamps.clear();
        }
    }

    /// Forgets a connection that its shard has let go of.
    pub(crate) fn forget(&mut self, name: &str) {
        if self.is_over(name) {
            self.clients.remove(name);
        }
    }

    /// From now on nobody is accepted before [`give_verdict`](Self::give_verdict) says so.
    pub fn hold_verdicts(&mut self) {
        self.verdicts_are_held = true;
    }

    /// How many clients wait for a verdict.
    pub fn undecided(&self) -> usize {
        self.undecided.len()
    }

    /// The client that waits for a verdict in this place.
    pub(crate) fn undecided_name(&self, nth: usize) -> Option<String> {
        self.undecided.get(nth).and_then(|place| self.names.get(place)).cloned()
    }

    /// Decides upon one of the clients that wait, in the order in which they asked.
    pub fn give_verdict(&mut self, nth: usize, verdict: Verdict) {
        let Some((at, connection)) = self.undecided.remove(nth) else {
            return;
        };
        self.carry_out(at);
        let who = self.names.get(&(at, connection)).cloned();
        if let Some(who) = &who {
            self.note(format!("the verdict on {who} is {verdict:?}"));
        }
        let accepted = !matches!(verdict, Verdict::Refused(_));
        let event = Event::Authenticated { connection, verdict };
        self.nodes[at].shard.borrow_mut().handle(event, self.now);
        if let Some(who) = who.filter(|_| accepted) {
            self.note_session(&who, (at, connection));
        }
        self.carry_out(at);
        // One that leaves for another shard is given its session there.
        if accepted {
            self.note_waiting((at, connection));
        }
    }

    /// Has a shard's store do what it was asked to next, so many requests of it.
    pub fn release_store(&mut self, shard: usize, count: usize) {
        for _ in 0..count {
            if let Some(asked) = self.nodes[shard].asked.pop_front() {
                self.work(shard, asked);
                self.carry_out(shard);
            }
        }
    }

    /// Has all stores do everything, and what comes of it.
    pub fn let_stores_run(&mut self) {
        for shard in 0..self.nodes.len() {
            self.let_store_run(shard);
        }
    }

    /// From now on all stores wait to be released.
    pub(crate) fn hold_stores(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.store_is_held = true);
    }

    /// A client sends bytes that are no packet. Nobody reads them yet.
    pub(crate) fn say_bytes(&mut self, name: &str, bytes: &[u8]) {
        if let Some(seat) = self.clients.get_mut(name) {
            seat.client.unread.extend(bytes);
        }
        self.transcript.add(Entry::RawToServer { who: name.into(), bytes: bytes.into() });
    }

    /// One shard's thread goes round once.
    pub(crate) fn take_turn(&mut self, shard: usize) {
        self.turn(shard);
    }

    /// A shard that has been told of letters reads up to `most` of one box. Nothing else is done.
    pub(crate) fn read_mail(&mut self, dice: &mut Dice, most: usize) {
        let Some((from, to)) = self.choose_box(dice) else {
            return;
        };
        for _ in 0..1 + dice.below(most) {
            if !self.hand_in(from, to) {
                return;
            }
        }
    }

    /// Lets milliseconds pass; shards notice, and nothing else happens.
    pub(crate) fn let_time_pass(&mut self, ms: u64) {
        let end = self.now.mono_ms + ms;
        let mut times_at_once = 0;
        loop {
            let next = self.next_deadline_ms().filter(|at| *at <= end).unwrap_or(end);
            let passed = next.max(self.now.mono_ms) - self.now.mono_ms;
            times_at_once = if passed == 0 { times_at_once + 1 } else { 0 };
            if times_at_once > 1_000 {
                self.fail("a deadline stays whose time has come");
            }
            self.now.mono_ms += passed;
            self.now.wall_ms += passed;
            self.transcript.add(Entry::Time { mono_ms: self.now.mono_ms });
            for at in 0..self.nodes.len() {
                self.nodes[at].shard.borrow_mut().on_tick(self.now);
                self.note_turns(at);
                if self.turns_defer {
                    // What was deferred has its time as well.
                    self.end_turn(at);
                }
                self.carry_out(at);
            }
            if self.now.mono_ms >= end {
                return;
            }
        }
    }

    /// From now on, in so many of a hundred cases, another shard does something in the middle of
    /// what one is doing.
    pub(crate) fn ambush(&mut self, percent: usize) {
        self.ambushes = percent;
    }

    /// The shard of one client reads all it has said, and after `fuse` questions for what is shared
    /// that of another, all that this one has.
    pub(crate) fn race(&mut self, at_work: &str, lurking: &str, fuse: usize) {
        let Some(at) = self.place_of(at_work) else {
            return;
        };
        let Some(seat) = self.clients.get(lurking) else {
            return;
        };
        let most = seat.client.unread.len();
        if most == 0 || seat.at.is_none() || seat.at == Some(at) {
            return;
        }
        let lurker = self.lurk_at_socket(lurking, fuse, most);
        let Some(client) = self.clients.get_mut(at_work).map(|seat| &mut seat.client) else {
            return;
        };
        let bytes: Vec<u8> = client.unread.drain(..).collect();
        client.line.read_ms = self.now.mono_ms;
        let handle = client.handle;
        self.nodes[at].shard.borrow_mut().on_bytes(handle, &bytes, self.now);
        self.after_ambush(lurker);
        self.carry_out(at);
    }

    /// One shard's thread goes round once, and after `fuse` of its questions for what is shared the
    /// store of another, which is held, has done what it was asked to next.
    pub fn store_meanwhile(&mut self, at: usize, storing: usize, fuse: usize) {
        let Some(Action::Persist { ticket, records, .. }) = self.nodes[storing].asked.pop_front()
        else {
            self.fail(&format!("nothing waits for the store of shard {storing}"));
        };
        self.watch.on_persist(storing, &records);
        self.nodes[storing].store.persist(records);
        let (place, now) = (std::rc::Rc::clone(&self.nodes[storing].shard), self.now);
        let ambush = move || place.borrow_mut().handle(Event::Persisted(ticket), now);
        self.shared.lay_ambush(fuse, Box::new(ambush));
        self.turn(at);
        self.after_ambush(Some(Lurker { shard: storing, name: None }));
    }

    /// While shard `at` does what it is about to do, another will read from a socket or its mail.
    /// Returns which, to be given to [`after_ambush`](Self::after_ambush).
    pub(super) fn before_ambush(&mut self, at: usize) -> Option<Lurker> {
        if self.ambushes == 0 || !self.dice.chance(self.ambushes) {
            return None;
        }
        let fuse = self.dice.below(8);
        let waiting = self.clients.iter().filter(|(_, seat)| {
            let client = &seat.client;
            let elsewhere = seat.at.is_some_and(|other| other != at);
            let open = client.state == State::Open && !client.paused;
            elsewhere && open && !client.unread.is_empty()
        });
        let names: Vec<_> = waiting.map(|(name, _)| name.clone()).collect();
        if !names.is_empty() {
            let name = names[self.dice.below(names.len())].clone();
            let most = self.clients.get(&name).map_or(1, |seat| seat.client.unread.len());
            let taken = 1 + self.dice.below(most);
            return self.lurk_at_socket(&name, fuse, taken);
        }
        self.lurk_at_box(at, fuse)
    }

    fn lurk_at_socket(&mut self, name: &str, fuse: usize, taken: usize) -> Option<Lurker> {
        let seat = self.clients.get_mut(name)?;
        let (shard, client) = (seat.at?, &mut seat.client);
        let place = std::rc::Rc::clone(&self.nodes[shard].shard);
        if !place.borrow().wants_input(client.handle) {
            return None;
        }
        let bytes: Vec<u8> = client.unread.drain(..taken).collect();
        client.line.read_ms = self.now.mono_ms;
        let (handle, now) = (client.handle, self.now);
        let ambush = move || place.borrow_mut().on_bytes(handle, &bytes, now);
        self.shared.lay_ambush(fuse, Box::new(ambush));
        self.note(format!("shard {shard} reads from {name} meanwhile"));
        Some(Lurker { shard, name: Some(name.into()) })
    }

    fn lurk_at_box(&mut self, at: usize, fuse: usize) -> Option<Lurker> {
        let (from, shard) = {
            let mut dice = self.dice.clone();
            let chosen = self.choose_box(&mut dice);
            self.dice = dice;
            chosen?
        };
        if shard == at || !matches!(self.boxes[from][shard].front(), Some(Letter::Mail(_))) {
            return None;
        }
        let Some(Letter::Mail(mail)) = self.boxes[from][shard].pop_front() else {
            return None;
        };
        let (place, now) = (std::rc::Rc::clone(&self.nodes[shard].shard), self.now);
        let ambush = move || place.borrow_mut().on_mail(mail, now);
        self.shared.lay_ambush(fuse, Box::new(ambush));
        self.note(format!("shard {shard} reads a letter from shard {from} meanwhile"));
        Some(Lurker { shard, name: None })
    }

    /// The work is done; whoever lurked has done his in the middle of it, or does it now.
    pub(super) fn after_ambush(&mut self, lurker: Option<Lurker>) {
        let Some(Lurker { shard, name }) = lurker else {
            return;
        };
        if let Some(ambush) = self.shared.lift_ambush() {
            ambush();
        }
        if let Some(seat) = name.and_then(|name| self.clients.get_mut(&name)) {
            let wanted = self.nodes[shard].shard.borrow().wants_input(seat.client.handle);
            seat.client.paused = !wanted;
        }
        self.carry_out(shard);
    }

    /// What each shard holds.
    pub(crate) fn leftovers(&self) -> Vec<Leftovers> {
        self.nodes.iter().map(|node| node.shard.borrow().leftovers()).collect()
    }

    /// What is left between the shards: letters, requests to stores and messages in them, and
    /// filters that somebody is believed to want.
    pub(crate) fn left_between(&self) -> [(&'static str, usize); 4] {
        let letters = self.boxes.iter().flatten().map(std::collections::VecDeque::len).sum();
        let asked = self.nodes.iter().map(|node| node.asked.len()).sum();
        let spilled = self.nodes.iter().map(|node| Store::spilled(&node.store)).sum();
        let wanted = if self.shared.shards() == 1 { 0 } else { self.shared.interests() };
        [("letters", letters), ("requests", asked), ("stored", spilled), ("wanted", wanted)]
    }

    /// Messages that were dropped because a client did not read, and because a queue was full.
    pub(crate) fn drops(&self) -> (u64, u64) {
        let mut sum = (0, 0);
        for node in &self.nodes {
            let shard = node.shard.borrow();
            let dropped = shard.counters().1;
            sum.0 += dropped.slow_consumer;
            sum.1 += dropped.queue_full;
        }
        sum
    }
}

/// Who does something in the middle of another shard's work.
pub(super) struct Lurker {
    shard: usize,
    name: Option<String>,
}
