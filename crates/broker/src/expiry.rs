//! How long messages are good for: the message expiry interval, as a point in time while a message
//! waits here, and as what is left of it when it leaves.

use noctule_mqtt::{Properties, PropertyId};
use noctule_session::Now;

/// When a message expires.
///
/// It is kept on the clock that never goes back, but for a message that comes from a store, which
/// can only know the other one: such a one is put on that clock when it is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(u64);

/// Marks a deadline in wall time.
const WALL: u64 = 1 << 63;

impl Default for Deadline {
    fn default() -> Self {
        Self::NEVER
    }
}

impl Deadline {
    /// The message is good for ever.
    pub const NEVER: Deadline = Deadline(u64::MAX);

    /// So many seconds from now.
    pub const fn after(seconds: u32, now: Now) -> Self {
        Self(now.mono_ms.saturating_add(seconds as u64 * 1_000))
    }

    /// At this wall time, in milliseconds since 1970.
    pub const fn at_wall_ms(wall_ms: u64) -> Self {
        Self(wall_ms | WALL)
    }

    /// When that is in monotonic milliseconds, as of `now`; `None` is never.
    pub const fn mono_ms(self, now: Now) -> Option<u64> {
        if self.is_never() {
            return None;
        }
        let at = self.0 & !WALL;
        if self.0 & WALL == 0 {
            return Some(at);
        }
        Some(now.mono_ms + at.saturating_sub(now.wall_ms))
    }

    /// The same on the clock that never goes back.
    pub(crate) fn on_monotonic_clock(self, now: Now) -> Self {
        self.mono_ms(now).map_or(Self::NEVER, Self)
    }

    /// Whether there is none.
    #[inline]
    pub const fn is_never(self) -> bool {
        self.0 == u64::MAX
    }

    /// Whether it has passed.
    #[inline]
    pub fn has_passed(self, now: Now) -> bool {
        !self.is_never() && self.mono_ms(now).is_some_and(|at| at <= now.mono_ms)
    }

    /// How many seconds are left: what was said at first less the whole seconds that have passed
    /// `[MQTT5-3.3.2-6]`.
    pub fn seconds_left(self, now: Now) -> u32 {
        let left_ms = self.mono_ms(now).map_or(u64::MAX, |at| at.saturating_sub(now.mono_ms));
        u32::try_from(left_ms.div_ceil(1_000)).unwrap_or(u32::MAX)
    }
}

/// When a message with these properties expires if it comes now.
pub(crate) fn deadline(properties: Properties<'_>, now: Now) -> Deadline {
    match properties.message_expiry_interval() {
        Some(seconds) => Deadline::after(seconds, now),
        None => Deadline::NEVER,
    }
}

/// Writes what is left until `deadline` over the message expiry interval in `properties`, checked
/// ones of a PUBLISH.
#[cold]
pub(crate) fn write_seconds_left(properties: &mut [u8], deadline: Deadline, now: Now) {
    let place = Properties::from_checked(properties).position(PropertyId::MessageExpiryInterval);
    if let Some(value) = place.and_then(|place| properties.get_mut(place.start + 1..place.end)) {
        value.copy_from_slice(&deadline.seconds_left(now).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_mqtt::property::Carrier;
    use noctule_mqtt::{PacketType, Property, PropertyBuffer};

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    #[test] // [MQTT5-3.3.2-6]
    fn whole_seconds_that_have_passed_are_taken_off() {
        let deadline = Deadline::after(10, at(5_000));
        let left = [5_000, 5_999, 6_000, 14_999, 15_000, 99_000].map(|ms| {
            let now = at(ms);
            (deadline.seconds_left(now), deadline.has_passed(now))
        });
        let expected = [(10, false), (10, false), (9, false), (1, false), (0, true), (0, true)];
        assert_eq!(left, expected);
        assert!(!Deadline::NEVER.has_passed(at(u64::MAX - 1)));
    }

    #[test]
    fn a_deadline_of_a_store_is_one_in_wall_time() {
        let deadline = Deadline::at_wall_ms(10_500);
        for (wall_ms, left, passed) in
            [(0, 11, false), (9_500, 1, false), (10_500, 0, true), (20_000, 0, true)]
        {
            let now = Now { mono_ms: 77_000, wall_ms };
            assert_eq!((deadline.seconds_left(now), deadline.has_passed(now)), (left, passed));
            let here = deadline.on_monotonic_clock(now);
            assert_eq!((here.seconds_left(now), here.has_passed(now)), (left, passed));
            // From then on a clock that is set back changes nothing.
            let later = Now { mono_ms: 77_000 + 20_000, wall_ms: 0 };
            assert!(here.has_passed(later));
        }
        assert!(!Deadline::NEVER.on_monotonic_clock(at(0)).has_passed(at(u64::MAX - 1)));
    }

    #[test]
    fn only_the_value_of_the_interval_is_written_over() {
        let written = |seconds| {
            let mut buffer = PropertyBuffer::new(Carrier::Packet(PacketType::Publish));
            for property in [
                Property::UserProperty(("a", "\u{2}\u{2}\u{2}\u{2}\u{2}")),
                Property::MessageExpiryInterval(seconds),
                Property::ContentType("t"),
            ] {
                buffer.push(property).unwrap();
            }
            buffer.as_properties().as_bytes().to_vec()
        };
        let mut properties = written(70_000);
        write_seconds_left(&mut properties, Deadline::after(7, at(0)), at(1_000));
        assert_eq!(properties, written(6));
    }
}
