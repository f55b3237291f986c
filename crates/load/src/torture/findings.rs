//! What a broker did that it must not: kinds of violations, how often, and the first of each kind in
//! words.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::lane::{Lane, Life};

/// A way to break the promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A message that was acknowledged did not come.
    Lost,
    /// A message at QoS 2 came more than once `[MQTT5-4.3.3]`.
    Doubled,
    /// A message came for the first time behind one that the broker got later `[MQTT5-4.6.0-6]`.
    Reordered,
    /// A retained value is older than the last one acknowledged, or gone.
    Stale,
    /// CONNACK said that there is no session where there must be one `[MQTT5-3.2.2-3]`.
    SessionGone,
    /// A session is there, but what it was subscribed to does not come.
    SubscriptionGone,
    /// A message was not acknowledged though the broker had time `[MQTT5-4.3.2-4]`.
    Unanswered,
    /// A message came that nobody sent, or with another QoS.
    Foreign,
    /// The broker ended by itself, or did not start again.
    Ended,
}

impl Kind {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Lost,
        Self::Doubled,
        Self::Reordered,
        Self::Stale,
        Self::SessionGone,
        Self::SubscriptionGone,
        Self::Unanswered,
        Self::Foreign,
        Self::Ended,
    ];

    /// In a table.
    pub fn words(self) -> &'static str {
        match self {
            Self::Lost => "messages lost",
            Self::Doubled => "doubled at QoS 2",
            Self::Reordered => "reordered",
            Self::Stale => "retained stale",
            Self::SessionGone => "sessions gone",
            Self::SubscriptionGone => "subscriptions gone",
            Self::Unanswered => "never acknowledged",
            Self::Foreign => "foreign messages",
            Self::Ended => "ended by itself",
        }
    }

    /// In JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Doubled => "doubled",
            Self::Reordered => "reordered",
            Self::Stale => "retained_stale",
            Self::SessionGone => "sessions_gone",
            Self::SubscriptionGone => "subscriptions_gone",
            Self::Unanswered => "never_acknowledged",
            Self::Foreign => "foreign",
            Self::Ended => "ended_by_itself",
        }
    }
}

/// One violation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Of this kind.
    pub kind: Kind,
    /// Noticed in this round.
    pub round: Life,
    /// Noticed this long after the torture began.
    pub at: Duration,
    /// Which message, when acknowledged, in which round.
    pub words: String,
}

impl Finding {
    /// For programs.
    pub fn json(&self) -> Value {
        let seconds = self.at.as_secs_f64();
        json!({
            "kind": self.kind.key(), "round": self.round, "seconds": seconds, "words": self.words
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { round, at, words, .. } = self;
        write!(f, "round {round}, {:.3} s: {words}", at.as_secs_f64())
    }
}

/// All violations counted, the first of each kind kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    counts: [u64; Kind::ALL.len()],
    kept: Vec<Finding>,
    round: Life,
    at: Duration,
}

impl Findings {
    /// What is noted from now on was noticed in this round, so long after the beginning.
    pub fn now(&mut self, round: Life, at: Duration) {
        (self.round, self.at) = (round, at);
    }

    /// Notes a violation; `words` are made only if it is one of the first of its kind.
    pub fn note(&mut self, kind: Kind, words: impl FnOnce() -> String) {
        let count = &mut self.counts[kind as usize];
        *count += 1;
        if *count <= KEPT_MAX {
            let (round, at) = (self.round, self.at);
            self.kept.push(Finding { kind, round, at, words: words() });
        }
    }

    /// How often.
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts[kind as usize]
    }

    /// Whether there was none.
    pub fn is_clean(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    /// The first [`KEPT_MAX`] of each kind, in the order in which they were noticed.
    pub fn kept(&self) -> &[Finding] {
        &self.kept
    }
}

/// How many of a kind are kept in words.
pub const KEPT_MAX: u64 = 10;

/// A message in words: which, and when it was acknowledged.
pub(super) fn message(lane: &Lane, number: u64) -> String {
    let acknowledged = lane.acknowledged(number).map_or_else(
        || "not acknowledged".into(),
        |one| format!("acknowledged at {:.2} s in round {}", one.at.as_secs_f64(), one.life),
    );
    format!("message {number} on {} ({}, {acknowledged})", lane.topic(), lane.qos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_are_kept_with_round_and_time() {
        let mut findings = Findings::default();
        assert!(findings.is_clean());
        findings.now(3, Duration::from_millis(1_500));
        for number in 0..KEPT_MAX + 5 {
            findings.note(Kind::Lost, || number.to_string());
        }
        findings.note(Kind::Ended, || "it said: no".into());
        assert!(!findings.is_clean());
        assert_eq!(findings.count(Kind::Lost), KEPT_MAX + 5);
        assert_eq!(findings.kept().len() as u64, KEPT_MAX + 1);
        assert_eq!(findings.kept()[1].to_string(), "round 3, 1.500 s: 1");
    }

    #[test]
    fn the_kinds_are_counted_where_they_belong() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }
}
