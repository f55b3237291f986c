//! What kind of a run a seed makes: how many shards, how narrow the limits, how bad the network.

use crate::dice::Dice;
use noctule_broker::{Limits, OnQueueFull};

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Course {
    pub(super) shards: usize,
    pub(super) limits: Limits,
    /// Bytes travel in pieces.
    pub(super) in_pieces: bool,
    /// Clients besides the witness.
    pub(super) guests: usize,
    /// Of a hundred connections, so many are refused.
    pub(super) refused: usize,
    /// Of a hundred pieces of work, so many are interrupted by another shard's.
    pub(super) ambushes: usize,
    /// What receivers will acknowledge in a moment is not stored at once.
    pub(super) defers: bool,
    /// Stores and verdicts take their time.
    pub(super) is_slow: bool,
    /// How many of a hundred steps let connections go wrong.
    pub(super) trouble: usize,
    /// Letters that are read of one box at once, at most.
    pub(super) letters: usize,
}

impl Course {
    pub(super) fn of(dice: &mut Dice) -> Self {
        let narrow = dice.chance(50);
        Self {
            shards: 1 + dice.below(8),
            limits: if narrow { narrow_limits(dice) } else { wide_limits(dice) },
            in_pieces: dice.chance(70),
            guests: 4 + dice.below(5),
            refused: dice.pick(&[0, 0, 5, 20]),
            ambushes: dice.pick(&[0, 20, 60]),
            defers: dice.chance(50),
            is_slow: dice.chance(70),
            trouble: dice.pick(&[1, 3, 6]),
            letters: dice.pick(&[1, 3, 20]),
        }
    }

    /// Whether a queue may overflow, so that publishers may be refused.
    pub(super) fn refuses(&self) -> bool {
        self.limits.on_queue_full == OnQueueFull::Refuse
    }
}

fn wide_limits(dice: &mut Dice) -> Limits {
    Limits {
        connect_timeout_ms: 20_000,
        session_expiry_max: dice.pick(&[None, None, Some(90)]),
        ..Limits::default()
    }
}

/// Everything is small, so that every edge is met.
fn narrow_limits(dice: &mut Dice) -> Limits {
    let overflowing = dice.chance(25);
    Limits {
        connect_timeout_ms: 8_000,
        inflight_out_max: 1 + dice.below(4) as u16,
        inflight_in_max: 8,
        qos2_ids_max: 8,
        unsent_bytes_max: 200 + dice.below(2_000),
        queue_messages_max: if overflowing { 3 + dice.below(10) } else { 100_000 },
        queue_resident_bytes_max: 300 + dice.below(1_000),
        on_queue_full: dice.pick(&[OnQueueFull::DropNew, OnQueueFull::Refuse]),
        subscriptions_max: dice.pick(&[4, 1_000]),
        acks_waiting_max: 1 + dice.below(4),
        retained_slice: 1 + dice.below(3),
        session_expiry_max: dice.pick(&[None, Some(60)]),
        takeovers_max: Some(1),
        ..Limits::default()
    }
}
