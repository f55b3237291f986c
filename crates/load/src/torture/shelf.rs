//! Whether a retained value is one that may be there.
//!
//! The writer of a topic numbers its values; every [`DELETION`]th is a deletion. The broker may have
//! applied any of those that it has not acknowledged, so what a new subscriber finds is the last
//! acknowledged one or a later one. Where none is found, one of these must be a deletion.

use super::findings::{Findings, Kind, message};
use super::lane::Lane;

/// Which of a writer's values are deletions: a message without payload.
pub const DELETION: u64 = 16;

/// Whether the value with this number deletes what is retained `[MQTT5-3.3.1-6]`.
pub fn deletes(number: u64) -> bool {
    number % DELETION == DELETION - 1
}

/// Notes what a new subscriber found on the topic of `lane`, if it may not be there.
pub fn check(lane: &Lane, found: Option<u64>, findings: &mut Findings) {
    let Some(last) = lane.settled().checked_sub(1) else {
        // Nothing is promised; what is there must have been sent.
        return foreign(lane, found, findings);
    };
    match found {
        Some(number) if number >= lane.sent() || deletes(number) => {
            foreign(lane, Some(number), findings);
        }
        Some(number) if number < last => findings.note(Kind::Stale, || {
            format!("value {number} is retained, behind {}", message(lane, last))
        }),
        Some(_) => {}
        None if is_deleted(last, lane.sent()) => {}
        None => findings
            .note(Kind::Stale, || format!("nothing is retained, behind {}", message(lane, last))),
    }
}

/// Whether one of the values from `last` on, of those sent, is a deletion.
fn is_deleted(last: u64, sent: u64) -> bool {
    (last..sent.min(last + DELETION)).any(deletes)
}

/// Whether something is to be found for sure.
pub fn is_due(lane: &Lane) -> bool {
    lane.settled().checked_sub(1).is_some_and(|last| !is_deleted(last, lane.sent()))
}

fn foreign(lane: &Lane, found: Option<u64>, findings: &mut Findings) {
    if let Some(number) = found.filter(|number| *number >= lane.sent() || deletes(*number)) {
        findings.note(Kind::Foreign, || {
            format!("value {number} is retained on {}, which nobody sent", lane.topic())
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use noctule_mqtt::QoS;

    use super::*;

    /// What is found if so many were sent and acknowledged: stale, foreign.
    fn found(sent: u64, acknowledged: u64, found: Option<u64>) -> [u64; 2] {
        let mut lane = Lane::new("a", QoS::AtLeastOnce, true);
        lane.send_some(sent);
        (0..acknowledged).for_each(|number| lane.acknowledge(number, Duration::ZERO));
        let mut findings = Findings::default();
        check(&lane, found, &mut findings);
        [Kind::Stale, Kind::Foreign].map(|kind| findings.count(kind))
    }

    const FINE: [u64; 2] = [0, 0];
    const STALE: [u64; 2] = [1, 0];
    const FOREIGN: [u64; 2] = [0, 1];

    #[test]
    fn the_last_acknowledged_value_or_a_later_one_is_fine() {
        assert_eq!(found(5, 5, Some(4)), FINE);
        assert_eq!(found(9, 5, Some(4)), FINE);
        assert_eq!(found(9, 5, Some(8)), FINE);
        assert_eq!(found(3, 0, Some(2)), FINE);
        assert_eq!(found(3, 0, None), FINE);
        assert_eq!(found(0, 0, None), FINE);
    }

    #[test]
    fn an_older_value_is_stale_and_so_is_none() {
        assert_eq!(found(5, 5, Some(3)), STALE);
        assert_eq!(found(9, 5, Some(0)), STALE);
        assert_eq!(found(5, 5, None), STALE);
        assert_eq!(found(9, 1, None), STALE);
    }

    #[test]
    fn a_deletion_may_have_been_applied_and_must_be_when_acknowledged() {
        assert_eq!(found(16, 16, None), FINE);
        assert_eq!(found(16, 16, Some(14)), STALE);
        assert_eq!(found(16, 15, None), FINE);
        assert_eq!(found(16, 15, Some(14)), FINE);
        assert_eq!(found(17, 17, None), STALE);
        assert_eq!(found(40, 17, None), FINE, "the next deletion was sent as well");
    }

    #[test]
    fn what_was_never_retained_is_foreign() {
        assert_eq!(found(5, 5, Some(5)), FOREIGN);
        assert_eq!(found(0, 0, Some(0)), FOREIGN);
        assert_eq!(found(20, 15, Some(15)), FOREIGN);
    }

    #[test]
    fn only_what_cannot_be_deleted_is_waited_for() {
        let due = |sent, acknowledged| {
            let mut lane = Lane::new("a", QoS::AtLeastOnce, true);
            lane.send_some(sent);
            (0..acknowledged).for_each(|number| lane.acknowledge(number, Duration::ZERO));
            is_due(&lane)
        };
        assert!(due(15, 15) && due(17, 17));
        assert!(!due(0, 0) && !due(5, 0) && !due(16, 16) && !due(16, 10));
    }
}
