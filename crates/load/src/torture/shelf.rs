//! Whether a retained value is one that may be there.
//!
//! The writer of a topic numbers its values; some of them, one in [`DELETION`], are deletions (see
//! [`Lane::deletes`]). The broker may have
//! applied any of those that it has not acknowledged, so what a new subscriber finds is the last
//! acknowledged one or a later one. Where none is found, one of these must be a deletion. At QoS 2 a
//! value is acknowledged here with PUBCOMP: the broker may apply it when PUBREL comes.

use super::findings::{Findings, Kind, message};
use super::lane::Lane;

/// One of so many values of a writer is a deletion: a message without payload `[MQTT5-3.3.1-6]`.
pub const DELETION: u64 = 16;

/// Whether a new subscriber may have found this value, or none, on the topic of `lane`.
pub fn may_be(lane: &Lane, found: Option<u64>) -> bool {
    let last = lane.complete().checked_sub(1);
    match found {
        Some(number) => was_sent(lane, number) && last.is_none_or(|last| number >= last),
        None => last.is_none_or(|last| is_deleted(lane, last)),
    }
}

/// Notes what a new subscriber found on the topic of `lane`, if it may not be there.
pub fn check(lane: &Lane, found: Option<u64>, findings: &mut Findings) {
    if may_be(lane, found) {
        return;
    }
    let value = found.map_or("nothing".into(), |number| format!("value {number}"));
    match (found, lane.complete().checked_sub(1)) {
        (Some(number), _) if !was_sent(lane, number) => findings.note(Kind::Foreign, || {
            format!("{value} is retained on {}, which nobody sent", lane.topic())
        }),
        (_, last) => findings.note(Kind::Stale, || {
            let last = message(lane, last.unwrap_or_default());
            format!("{value} is retained, behind {last}")
        }),
    }
}

fn was_sent(lane: &Lane, number: u64) -> bool {
    number < lane.sent() && !lane.deletes(number)
}

/// Whether one of the values from `last` on, of those sent, is a deletion.
fn is_deleted(lane: &Lane, last: u64) -> bool {
    (last..lane.sent().min(last + DELETION)).any(|number| lane.deletes(number))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use noctule_mqtt::QoS;

    use super::*;

    fn acknowledge(lane: &mut Lane, number: u64) {
        lane.acknowledge(number, Duration::ZERO);
        lane.finish(number);
    }

    /// What is found if so many were sent and acknowledged: stale, foreign.
    fn found(sent: u64, acknowledged: u64, found: Option<u64>) -> [u64; 2] {
        let mut lane = Lane::new("a", QoS::AtLeastOnce, true);
        lane.send_some(sent);
        (0..acknowledged).for_each(|number| acknowledge(&mut lane, number));
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
    fn at_qos_2_a_value_need_not_be_there_before_pubcomp() {
        let mut lane = Lane::new("a", QoS::ExactlyOnce, true);
        lane.send_some(2);
        acknowledge(&mut lane, 0);
        lane.acknowledge(1, Duration::ZERO);
        let mut findings = Findings::default();
        check(&lane, Some(0), &mut findings);
        assert!(findings.is_clean());
        lane.finish(1);
        check(&lane, Some(0), &mut findings);
        assert_eq!(findings.count(Kind::Stale), 1);
    }

    #[test]
    fn what_was_never_retained_is_foreign() {
        assert_eq!(found(5, 5, Some(5)), FOREIGN);
        assert_eq!(found(0, 0, Some(0)), FOREIGN);
        assert_eq!(found(20, 15, Some(15)), FOREIGN);
    }
}
