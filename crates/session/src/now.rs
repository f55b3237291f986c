//! The time, as the caller knows it.

/// A moment, on the two clocks that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds since some fixed point, never going back: for deadlines.
    pub mono_ms: u64,
    /// Milliseconds since 1970 in UTC: for what must mean the same after a restart.
    pub wall_ms: u64,
}
