//! What all clients of a torture share: the lanes, the findings, the time, and whether publishers
//! may send.
//!
//! Nobody here opens a connection or looks at one.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::findings::Findings;
use super::lane::{Lane, Life};

/// The accounts of a torture.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) lanes: Vec<Lane>,
    /// So many of the lanes, the first, are what subscribers hear; the others are retained.
    pub(crate) spoken: usize,
    pub(crate) findings: Findings,
    pub(crate) tally: Tally,
    /// Whether new messages may be sent now.
    pub(crate) open: bool,
    life: Life,
    began: Instant,
    /// When something was acknowledged or heard last.
    moved: Instant,
}

/// What was done; none of it is against the rules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often the broker was killed, in rounds and while it was starting.
    pub kills: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Messages that the broker refused with a reason, which promises nothing.
    pub refused: u64,
    /// First deliveries, over all subscribers.
    pub delivered: u64,
    /// Further ones, which QoS 1 allows.
    pub repeated: u64,
    /// First deliveries behind later ones, of messages that had to be sent again.
    pub overtaken: u64,
    /// Sessions that were found again.
    pub resumed: u64,
    /// Retained values looked at.
    pub looked_at: u64,
    /// Retained messages that were handed out at QoS 2 to who subscribes again and again.
    pub handed_out: u64,
    /// Retained messages that were deleted while they were handed out.
    pub deleted: u64,
    /// Connections that were lost though the broker lived.
    pub cut: u64,
}

impl Tally {
    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "kills": self.kills, "acknowledged": self.acknowledged, "refused": self.refused,
            "delivered": self.delivered, "repeated": self.repeated, "overtaken": self.overtaken,
            "sessions_resumed": self.resumed, "retained_checked": self.looked_at,
            "retained_handed_out": self.handed_out, "retained_deleted": self.deleted,
            "connections_cut": self.cut,
        })
    }
}

impl Books {
    /// Accounts for these lanes, of which the first `spoken` are heard.
    pub(crate) fn new(lanes: Vec<Lane>, spoken: usize) -> Self {
        let now = Instant::now();
        Self {
            lanes,
            spoken,
            findings: Findings::default(),
            tally: Tally::default(),
            open: false,
            life: 0,
            began: now,
            moved: now,
        }
    }

    /// The broker was started again.
    pub(crate) fn begin_life(&mut self) {
        self.life += 1;
        self.lanes.iter_mut().for_each(Lane::begin_life);
        self.look_at_the_clock();
    }

    /// The broker's present life, which is the round.
    pub(crate) fn life(&self) -> Life {
        self.life
    }

    /// Since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Findings carry the time that it was here last.
    pub(crate) fn look_at_the_clock(&mut self) {
        self.findings.now(self.life, self.began.elapsed());
    }

    /// Something went on.
    pub(crate) fn move_on(&mut self) {
        self.moved = Instant::now();
    }

    /// For how long nothing has.
    pub(crate) fn silence(&self) -> Duration {
        self.moved.elapsed()
    }

    /// PUBACK or PUBREC came for a message of a lane.
    pub(crate) fn acknowledge(&mut self, lane: usize, number: u64) {
        let at = self.began.elapsed();
        self.lanes[lane].acknowledge(number, at);
        self.tally.acknowledged += 1;
        self.moved = Instant::now();
    }

    /// PUBACK or PUBREC came with a reason against it.
    pub(crate) fn refuse(&mut self, lane: usize, number: u64) {
        self.lanes[lane].give_up(number);
        self.tally.refused += 1;
        self.moved = Instant::now();
    }
}
