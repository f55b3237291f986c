//! Why a connection is not read. Each reason comes and goes by itself; input is wanted when there is
//! none.

/// A reason not to process what a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Too many of its answers wait for the store.
    Answers = 1,
    /// It asks and does not read the answers.
    Deaf = 1 << 1,
    /// A receiver of its messages does not keep up with them.
    Crowd = 1 << 2,
    /// The box of a shard that its messages go to is full.
    Mail = 1 << 3,
    /// It sends much while memory is short.
    Memory = 1 << 4,
    /// What it publishes goes to the store, which is behind.
    Store = 1 << 5,
    /// It sends faster than it may.
    Rate = 1 << 6,
}

/// The reasons that hold now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Holds(u8);

impl Holds {
    /// Whether there is none.
    #[inline]
    pub(crate) fn is_free(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn has(self, hold: Hold) -> bool {
        self.0 & hold as u8 != 0
    }

    /// Whether the broker has a reason of its own, so that the client's silence is not its fault.
    pub(crate) fn is_ours(self) -> bool {
        self.0 & !(Hold::Deaf as u8) != 0
    }

    /// Adds a reason; whether it is new.
    pub(crate) fn add(&mut self, hold: Hold) -> bool {
        let is_new = !self.has(hold);
        self.0 |= hold as u8;
        is_new
    }

    /// Takes a reason away; whether it was the last one.
    pub(crate) fn lift(&mut self, hold: Hold) -> bool {
        let had = self.has(hold);
        self.0 &= !(hold as u8);
        had && self.is_free()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_reason_to_go_frees() {
        let mut holds = Holds::default();
        assert!(holds.add(Hold::Crowd) && !holds.add(Hold::Crowd) && holds.add(Hold::Deaf));
        assert!(!holds.lift(Hold::Mail) && !holds.lift(Hold::Crowd));
        assert!(!holds.is_ours() && !holds.is_free());
        assert!(holds.lift(Hold::Deaf) && holds.is_free());
        assert!(!holds.lift(Hold::Deaf), "it was free already");
    }
}
