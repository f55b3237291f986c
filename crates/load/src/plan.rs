//! What is to be driven: who talks to whom, how large, how fast and how long.
//!
//! Plans are values; nothing here opens a connection. The one rule that lives here is how many
//! messages a publisher may send at a moment ([`Pace::room`]).

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use noctule_mqtt::QoS;

use crate::packets::MARK_BYTES;
use crate::schedule::Schedule;

/// Who talks to whom. Every publisher has a topic of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// This many publishers, each with one subscriber to its topic.
    Pairs(u16),
    /// One publisher and this many subscribers to its topic.
    FanOut(u16),
    /// This many publishers and one subscriber to all their topics by a wildcard.
    FanIn(u16),
}

impl Shape {
    /// How many publishers there are.
    pub fn publishers(self) -> usize {
        match self {
            Self::Pairs(count) | Self::FanIn(count) => usize::from(count),
            Self::FanOut(_) => 1,
        }
    }

    /// How many subscribers there are.
    pub fn subscribers(self) -> usize {
        match self {
            Self::Pairs(count) | Self::FanOut(count) => usize::from(count),
            Self::FanIn(_) => 1,
        }
    }

    /// Which subscribers hear `publisher`.
    pub fn listeners(self, publisher: usize) -> Range<usize> {
        match self {
            Self::Pairs(_) => publisher..publisher + 1,
            Self::FanOut(count) => 0..usize::from(count),
            Self::FanIn(_) => 0..1,
        }
    }

    /// Which publishers `subscriber` hears.
    pub fn heard(self, subscriber: usize) -> Range<usize> {
        match self {
            Self::Pairs(_) => subscriber..subscriber + 1,
            Self::FanOut(_) => 0..1,
            Self::FanIn(count) => 0..usize::from(count),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pairs(count) => write!(f, "{count} pairs"),
            Self::FanOut(count) => write!(f, "1 to {count}"),
            Self::FanIn(count) => write!(f, "{count} to 1"),
        }
    }
}

/// How fast a publisher sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// This many messages in one write; the next ones when all have come back.
    Batch(u32),
    /// As fast as it goes with at most this many messages under way to each subscriber.
    Flood(u32),
    /// All publishers together by a schedule, whatever has come back.
    Scheduled(Schedule),
}

impl Pace {
    /// The schedule, if there is one.
    pub fn schedule(self) -> Option<Schedule> {
        match self {
            Self::Scheduled(schedule) => Some(schedule),
            Self::Batch(_) | Self::Flood(_) => None,
        }
    }

    /// How many messages a publisher may send now, having `sent` some of which `returned` came
    /// back, when `listeners_share` publishers send to the same subscriber.
    ///
    /// A flood is refilled by half a window at least. Otherwise the writes of the generator would
    /// grow smaller the faster the broker is, and the fast broker would be charged for it.
    pub fn room(self, sent: u64, returned: u64, listeners_share: u64) -> u64 {
        let under_way = sent.saturating_sub(returned);
        match self {
            Self::Batch(size) if under_way == 0 => u64::from(size),
            // By what has come back a schedule is not ruled.
            Self::Batch(_) | Self::Scheduled(_) => 0,
            Self::Flood(window) => {
                let window = (u64::from(window) / listeners_share.max(1)).max(1);
                let free = window.saturating_sub(under_way);
                if free * 2 >= window { free } else { 0 }
            }
        }
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch(size) => write!(f, "batch {size}"),
            Self::Flood(_) => f.write_str("flood"),
            Self::Scheduled(schedule) => write!(f, "{}/s", schedule.rate()),
        }
    }
}

/// When to stop sending. What is under way is always waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// After this time.
    Time(Duration),
    /// After this many messages of each publisher.
    MessagesEach(u64),
}

/// One scenario.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Who talks to whom.
    pub shape: Shape,
    /// Of the messages and of the subscriptions.
    pub qos: QoS,
    /// Size of a message's payload, at least [`MARK_BYTES`].
    pub payload_bytes: usize,
    /// How fast.
    pub pace: Pace,
    /// Whether every connection is encrypted.
    pub over_tls: bool,
}

impl Plan {
    /// Says what is wrong with the plan, if anything is.
    pub fn complaint(&self) -> Option<String> {
        if self.payload_bytes < MARK_BYTES {
            return Some(format!(
                "a payload has at least {MARK_BYTES} bytes, in which the message is numbered"
            ));
        }
        if self.shape.publishers() == 0 || self.shape.subscribers() == 0 {
            return Some("nobody talks to nobody".into());
        }
        match self.pace {
            Pace::Batch(0) => Some("a batch has at least one message".into()),
            Pace::Flood(0) => Some("a window has room for at least one message".into()),
            // A publisher's packet ids must not meet themselves.
            Pace::Batch(size) | Pace::Flood(size) if size > PACE_MAX => {
                Some(format!("at most {PACE_MAX} messages are under way"))
            }
            Pace::Scheduled(schedule)
                if !(schedule.rate() > 0.0 && schedule.rate() <= RATE_MAX) =>
            {
                Some(format!("a rate is above nothing and at most {RATE_MAX} a second"))
            }
            Pace::Batch(_) | Pace::Flood(_) | Pace::Scheduled(_) => None,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (qos, bytes) = (self.qos.bits(), self.payload_bytes);
        let tls = if self.over_tls { " TLS" } else { "" };
        write!(f, "{} q{qos} {bytes} B {}{tls}", self.shape, self.pace)
    }
}

const PACE_MAX: u32 = 60_000;
const RATE_MAX: f64 = 100_000_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_waits_until_all_came_back() {
        let pace = Pace::Batch(8);
        assert_eq!(pace.room(0, 0, 1), 8);
        assert_eq!(pace.room(8, 7, 1), 0);
        assert_eq!(pace.room(8, 8, 1), 8);
    }

    #[test]
    fn a_flood_never_exceeds_its_window_and_refills_by_halves() {
        let pace = Pace::Flood(1_000);
        assert_eq!(pace.room(0, 0, 1), 1_000);
        assert_eq!(pace.room(1_000, 499, 1), 0);
        assert_eq!(pace.room(1_000, 500, 1), 500);
        assert_eq!(pace.room(5_000, 5_000, 1), 1_000);
    }

    #[test]
    fn publishers_of_one_subscriber_share_its_window() {
        let pace = Pace::Flood(1_000);
        assert_eq!(pace.room(0, 0, 100), 10);
        assert_eq!(pace.room(10, 4, 100), 0);
        // More publishers than window: one message each, as less would be none.
        assert_eq!(pace.room(0, 0, 5_000), 1);
        assert_eq!(pace.room(1, 0, 5_000), 0);
    }

    #[test]
    fn who_hears_whom_is_the_same_from_both_ends() {
        for shape in [Shape::Pairs(5), Shape::FanOut(5), Shape::FanIn(5)] {
            for publisher in 0..shape.publishers() {
                for subscriber in 0..shape.subscribers() {
                    assert_eq!(
                        shape.listeners(publisher).contains(&subscriber),
                        shape.heard(subscriber).contains(&publisher),
                        "{shape}: {publisher} and {subscriber}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_plan_that_cannot_work_is_refused() {
        let good = Plan {
            shape: Shape::Pairs(10),
            qos: QoS::AtMostOnce,
            payload_bytes: 64,
            pace: Pace::Batch(8),
            over_tls: false,
        };
        assert_eq!(good.complaint(), None);
        assert_eq!(good.to_string(), "10 pairs q0 64 B batch 8");
        assert_eq!(Plan { over_tls: true, ..good }.to_string(), "10 pairs q0 64 B batch 8 TLS");
        let bad = [
            Plan { payload_bytes: MARK_BYTES - 1, ..good },
            Plan { pace: Pace::Scheduled(Schedule::new(0.0, Duration::ZERO)), ..good },
            Plan { pace: Pace::Scheduled(Schedule::new(f64::NAN, Duration::ZERO)), ..good },
            Plan { shape: Shape::FanIn(0), ..good },
            Plan { pace: Pace::Batch(0), ..good },
            Plan { pace: Pace::Flood(60_001), ..good },
        ];
        for plan in bad {
            assert!(plan.complaint().is_some(), "{plan:?}");
        }
    }
}
