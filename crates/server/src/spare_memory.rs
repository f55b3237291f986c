//! When memory that clients do not need any more is given back to the operating system.
//!
//! Each loop watches what is taken, and asks once it has been less for a while; a thread of its own then
//! has the allocator [give back](noctule_heap::give_back) what it keeps. That takes its locks: a loop
//! that allocates or frees waits meanwhile, about 0.3 ms for each MiB. So it is asked soon, while what a
//! burst has left is being freed, and that thread rests in between for much longer than it works. What
//! goes up and down all the time is left alone: every page would be missed in a moment. In a flood that
//! is what is under way, which is never the same for long; so less than half of all counts as gone only
//! when it was not there for some seconds.

use std::io;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Instant;

/// What was not needed for so long counts as spare if it is half of what was needed before, in milliseconds.
const SPARE_AFTER_MS: u64 = 64;
/// And if it is less.
const LITTLE_SPARE_AFTER_MS: u64 = 4_000;
/// So many bytes of it are worth the trouble.
const WORTH: usize = 256 * 1024;
/// What the store's thread frees comes later, and is in no account: so long after it was asked, it is asked
/// once more, in milliseconds.
const AGAIN_AFTER_MS: u64 = 1_000;
/// The thread rests so many times longer than it has worked.
const REST: u32 = 20;

/// The thread that gives back, for whoever wants it to. It ends when there is nobody left.
#[derive(Debug, Clone)]
pub(crate) struct Caretaker(SyncSender<()>);

impl Caretaker {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the operating system says about starting a thread.
    pub(crate) fn start() -> io::Result<Self> {
        let (asks, asked) = sync_channel(1);
        thread::Builder::new().name("memory".to_owned()).spawn(move || {
            for () in asked {
                let begin = Instant::now();
                noctule_heap::give_back();
                thread::sleep(begin.elapsed() * REST);
            }
        })?;
        Ok(Self(asks))
    }

    /// Asks it to give back. It may be asked already.
    fn ask(&self) {
        match self.0.try_send(()) {
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }
}

/// What one loop has seen of memory.
#[derive(Debug)]
pub(crate) struct Spare {
    caretaker: Caretaker,
    /// So much was taken at most since it was asked for the last time.
    most: usize,
    recent: Span,
    long: Span,
    taken: usize,
    /// When to ask once more.
    again_ms: Option<u64>,
}

/// A piece of time, and how much was taken in it at most.
#[derive(Debug, Default)]
struct Span {
    most: usize,
    since_ms: u64,
}

impl Span {
    /// So much is taken now. If it is at its end, after so long, what was needed in it; then the next one
    /// begins.
    fn note(&mut self, taken: usize, now_ms: u64, length_ms: u64) -> Option<usize> {
        self.most = self.most.max(taken);
        if now_ms.saturating_sub(self.since_ms) < length_ms {
            return None;
        }
        let ended = std::mem::replace(self, Self { most: taken, since_ms: now_ms });
        Some(ended.most)
    }
}

impl Spare {
    pub(crate) fn new(caretaker: Caretaker) -> Self {
        Self {
            caretaker,
            most: 0,
            recent: Span::default(),
            long: Span::default(),
            taken: 0,
            again_ms: None,
        }
    }

    /// So much is taken now.
    pub(crate) fn note(&mut self, taken: usize, now_ms: u64) {
        self.taken = taken;
        if self.has_settled(taken, now_ms) {
            self.caretaker.ask();
            self.again_ms = Some(now_ms + AGAIN_AFTER_MS);
        } else if self.again_ms.take_if(|again| *again <= now_ms).is_some() {
            self.caretaker.ask();
        }
    }

    /// Whether much was needed once and was not for a while.
    fn has_settled(&mut self, taken: usize, now_ms: u64) -> bool {
        self.most = self.most.max(taken);
        let recent = self.recent.note(taken, now_ms, SPARE_AFTER_MS);
        let long = self.long.note(taken, now_ms, LITTLE_SPARE_AFTER_MS);
        let half = recent.filter(|needed| *needed <= self.most / 2);
        let Some(needed) = half.or(long).filter(|needed| needed + WORTH <= self.most) else {
            return false;
        };
        self.most = needed;
        true
    }

    /// Whether it is worth while to look again, though nothing may happen.
    pub(crate) fn is_due(&self) -> bool {
        let fallen = self.most.saturating_sub(self.taken);
        self.again_ms.is_some() || fallen >= WORTH
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::Receiver;

    const MIB: usize = 1 << 20;

    fn spare() -> Spare {
        Spare::new(Caretaker(sync_channel(1).0))
    }

    /// How often it was asked since the last look.
    fn asked(asks: &Receiver<()>) -> usize {
        asks.try_iter().count()
    }

    #[test]
    fn what_is_gone_for_a_while_is_given_back_once() {
        let mut spare = spare();
        let steps = [
            (1_000, 10 * MIB, false),
            (1_010, 20 * MIB, false),
            // Twenty were needed within the last while.
            (1_070, 5 * MIB, false),
            (1_134, 5 * MIB, true),
            (1_198, 5 * MIB, false),
            // More than half of it is needed still: that is asked for later.
            (1_262, 3 * MIB, false),
            (1_326, 3 * MIB, false),
            (4_100, 3 * MIB, false),
            (8_099, 3 * MIB, false),
            (8_100, 3 * MIB, true),
            (8_164, WORTH - 1, false),
            (8_228, WORTH - 1, true),
            // That is too little.
            (8_292, 0, false),
            (8_356, 0, false),
        ];
        for (now_ms, taken, settled) in steps {
            assert_eq!(spare.has_settled(taken, now_ms), settled, "at {now_ms} ms");
        }
    }

    #[test]
    fn what_goes_up_and_down_is_left_alone() {
        let mut spare = spare();
        for now_ms in 1_000..9_000 {
            let taken = if now_ms % 50 < 25 { 40 * MIB } else { MIB };
            assert!(!spare.has_settled(taken, now_ms), "at {now_ms} ms");
        }
    }

    #[test]
    fn it_is_looked_again_until_the_last_is_given_back() {
        let (sender, asks) = sync_channel(1);
        let mut spare = Spare::new(Caretaker(sender));
        spare.note(20 * MIB, 1_000);
        spare.note(MIB, 1_010);
        assert!(spare.is_due() && asked(&asks) == 0);
        spare.note(MIB, 2_010);
        assert!(spare.is_due() && asked(&asks) == 0, "there was more within the last while");
        spare.note(MIB, 3_010);
        assert!(spare.is_due() && asked(&asks) == 1);
        spare.note(MIB, 3_500);
        assert!(spare.is_due() && asked(&asks) == 0);
        spare.note(MIB, 4_010);
        assert!(!spare.is_due() && asked(&asks) == 1, "once more");
        spare.note(MIB, 9_000);
        assert!(!spare.is_due() && asked(&asks) == 0);
    }
}
