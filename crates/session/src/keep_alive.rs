//! Keep alive: how long a peer may be silent.

/// A keep alive interval as CONNECT gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    seconds: u16,
}

impl KeepAlive {
    /// An interval in seconds; 0 switches keep alive off `[MQTT5-3.1.2.10]`.
    pub const fn new(seconds: u16) -> Self {
        Self { seconds }
    }

    /// The interval in seconds.
    pub const fn seconds(self) -> u16 {
        self.seconds
    }

    /// How long a server bears silence, in milliseconds: one and a half times the interval
    /// `[MQTT3-3.1.2-24]` `[MQTT5-3.1.2-22]`. `None` is for ever.
    pub const fn patience_ms(self) -> Option<u64> {
        match self.seconds {
            0 => None,
            seconds => Some(seconds as u64 * 1_500),
        }
    }

    /// After how much silence of its own a client sends PINGREQ, in milliseconds: the interval
    /// `[MQTT3-3.1.2-23]` `[MQTT5-3.1.2-20]`, less a quarter, so that it is in time on a slow
    /// network. `None` is never.
    pub const fn ping_after_ms(self) -> Option<u64> {
        match self.seconds {
            0 => None,
            seconds => Some(seconds as u64 * 750),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test] // [MQTT3-3.1.2-24] [MQTT5-3.1.2-22]
    fn patience_is_one_and_a_half_intervals() {
        assert_eq!(KeepAlive::new(0).patience_ms(), None);
        assert_eq!(KeepAlive::new(1).patience_ms(), Some(1_500));
        assert_eq!(KeepAlive::new(u16::MAX).patience_ms(), Some(98_302_500));
    }

    #[test] // [MQTT3-3.1.2-23] [MQTT5-3.1.2-20]
    fn a_client_pings_before_the_interval_is_over() {
        assert_eq!(KeepAlive::new(0).ping_after_ms(), None);
        assert_eq!(KeepAlive::new(60).ping_after_ms(), Some(45_000));
    }
}
