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
}
