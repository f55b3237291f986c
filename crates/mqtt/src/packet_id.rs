//! Packet identifiers: the numbers by which an exchange of packets is known.

use std::fmt;
use std::num::NonZeroU16;

/// A packet identifier, never zero `[MQTT3-2.3.1-1]` `[MQTT5-2.2.1-3]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The first identifier, 1.
    pub const FIRST: PacketId = PacketId(NonZeroU16::MIN);

    /// How many different identifiers there are.
    pub const COUNT: usize = u16::MAX as usize;

    /// The identifier with this number, or `None` for zero.
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number, 1 to 65,535.
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// The identifier after this one; 1 follows 65,535.
    #[must_use]
    pub const fn next(self) -> Self {
        self.after(1)
    }

    /// The identifier `steps` further on, wrapping past 65,535 to 1.
    #[must_use]
    pub const fn after(self, steps: u16) -> Self {
        let mut number = self.get() as u32 + steps as u32;
        if number > Self::COUNT as u32 {
            number -= Self::COUNT as u32;
        }
        match NonZeroU16::new(number as u16) {
            Some(number) => Self(number),
            None => Self::FIRST,
        }
    }

    /// How many steps lead from `base` to this identifier: the inverse of [`after`](Self::after).
    pub const fn steps_from(self, base: Self) -> u16 {
        let (to, from) = (self.get(), base.get());
        if to >= from { to - from } else { Self::COUNT as u16 - (from - to) }
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_wrap_past_the_last_to_the_first() {
        let last = PacketId::new(u16::MAX).unwrap();
        assert_eq!(last.next(), PacketId::FIRST);
        assert_eq!(PacketId::FIRST.steps_from(last), 1);
        assert_eq!(last.steps_from(PacketId::FIRST), u16::MAX - 1);
        assert_eq!(PacketId::new(0), None);
    }

    #[test]
    fn steps_from_inverts_after() {
        for base in [1u16, 2, 777, 65_534, 65_535] {
            for steps in [0u16, 1, 500, 65_534] {
                let base = PacketId::new(base).unwrap();
                assert_eq!(base.after(steps).steps_from(base), steps);
            }
        }
    }
}
