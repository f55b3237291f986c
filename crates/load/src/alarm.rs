//! A wake-up call for a loop that waits for readiness, to the microsecond where the waiting itself
//! knows only milliseconds.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::LoadError;

/// The token under which it goes off.
pub(crate) const ALARM: Token = Token(usize::MAX);

/// A timer of the operating system.
#[derive(Debug)]
pub(crate) struct Alarm(OwnedFd);

impl Alarm {
    /// One that is not set, watched by `registry`.
    pub(crate) fn new(registry: &Registry) -> Result<Self, LoadError> {
        let made = || {
            let flags = TimerfdFlags::NONBLOCK.union(TimerfdFlags::CLOEXEC);
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            registry.register(&mut SourceFd(&timer.as_raw_fd()), ALARM, Interest::READABLE)?;
            std::io::Result::Ok(Self(timer))
        };
        made().map_err(|error| LoadError::io("cannot make a timer", error))
    }

    /// Goes off once after `wait`, and no more at the moment it was set to before. It needs not be
    /// read: setting it again makes it a new event.
    pub(crate) fn set(&self, wait: Duration) -> Result<(), LoadError> {
        let wait = wait.max(Duration::from_nanos(1));
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let it_value = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        };
        let once = Itimerspec { it_interval: zero, it_value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)
            .map(|_| ())
            .map_err(|error| LoadError::io("cannot set a timer", error.into()))
    }
}
