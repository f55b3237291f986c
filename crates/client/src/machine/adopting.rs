//! Going on with a session that an earlier process has left at the broker.
//!
//! Its messages at QoS 2 are the matter. Those that the broker was sending come again, and are taken
//! for new ones; that one of them had been delivered before nobody here can know. Those that the
//! broker was receiving are held there by their packet identifiers, until PUBREL. A new message with
//! such an identifier would be taken for a repetition of the old one: acknowledged, and lost. So an
//! identifier is given to a message at QoS 2 only when the broker does not hold it any more:
//!
//! ```text
//! held, perhaps ─a message at QoS 2 needs it─► being freed: PUBREL ─PUBCOMP, whatever it says─► free
//!                            lost connection: PUBREL again, if the session is still there
//! the session is gone: all are free
//! ```
//!
//! PUBREL also completes the old message, which had arrived; "packet identifier not found" in PUBCOMP
//! is no error here (MQTT 5.0 section 3.7.2.1). Clients that publish nothing at QoS 2 do none of this.

use std::collections::BTreeSet;

use noctule_mqtt::PacketId;

/// What the broker may hold that we do not know of.
#[derive(Debug, Default)]
pub(super) struct Adopted {
    /// A bit for each identifier, set if the broker may hold it; `None` if it holds none.
    held: Option<Box<[u64; WORDS]>>,
    /// Identifiers whose PUBREL has no PUBCOMP yet.
    freeing: BTreeSet<PacketId>,
}

impl Adopted {
    /// A session in which any identifier may be held.
    pub(super) fn unknown() -> Self {
        Self { held: Some(Box::new([u64::MAX; WORDS])), freeing: BTreeSet::new() }
    }

    /// Whether the broker may hold this identifier.
    pub(super) fn may_hold(&self, packet_id: PacketId) -> bool {
        let (word, bit) = place(packet_id);
        self.held.as_ref().is_some_and(|held| held[word] & bit != 0)
    }

    /// Whether PUBREL has been sent for this identifier, and PUBCOMP has not come.
    pub(super) fn is_freeing(&self, packet_id: PacketId) -> bool {
        self.freeing.contains(&packet_id)
    }

    /// The identifiers that are being freed, in the order of their PUBRELs.
    pub(super) fn freeing(&self) -> impl Iterator<Item = PacketId> {
        self.freeing.iter().copied()
    }

    /// Whether any PUBCOMP is waited for.
    pub(super) fn is_waiting(&self) -> bool {
        !self.freeing.is_empty()
    }

    /// Begins to free `first` and some that follow it, but for those that `is_used` says are in use.
    /// What it begins with is to be sent as PUBRELs.
    pub(super) fn free(
        &mut self,
        first: PacketId,
        is_used: impl Fn(PacketId) -> bool,
    ) -> Vec<PacketId> {
        let next = (0..FREED_AT_ONCE).map(|step| first.after(step));
        let begun: Vec<_> = next.filter(|id| self.may_hold(*id) && !is_used(*id)).collect();
        self.freeing.extend(&begun);
        begun
    }

    /// PUBCOMP came: whether it was for one of these.
    pub(super) fn freed(&mut self, packet_id: PacketId) -> bool {
        let is_ours = self.freeing.remove(&packet_id);
        if is_ours && let Some(held) = &mut self.held {
            let (word, bit) = place(packet_id);
            held[word] &= !bit;
        }
        is_ours
    }
}

fn place(packet_id: PacketId) -> (usize, u64) {
    let number = usize::from(packet_id.get());
    (number / 64, 1 << (number % 64))
}

/// Bits for all identifiers, in words.
const WORDS: usize = 65_536 / 64;
/// So many are freed for one round trip: 256 bytes of PUBREL.
const FREED_AT_ONCE: u16 = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use noctule_mqtt::{ProtocolVersion, QoS, ReasonCode};

    use super::super::bench::{Bench, options};
    use crate::options::Session;

    const HOUR: Duration = Duration::from_secs(3_600);

    /// A process that begins, and a broker that has kept the session of an earlier one.
    fn adopting(version: ProtocolVersion) -> Bench {
        let mut bench = Bench::started(options(version).session(Session::Persistent(HOUR)));
        bench.open();
        bench.connack(true, &[]);
        bench.said();
        bench
    }

    fn pubrels(said: &[String]) -> Vec<u16> {
        let numbers = said.iter().map(|line| line.strip_prefix("PUBREL ").expect("PUBREL"));
        numbers.map(|number| number.parse().expect("an identifier")).collect()
    }

    #[test]
    fn an_identifier_that_the_broker_may_hold_is_freed_before_a_message_at_qos_2_gets_it() {
        for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
            let mut bench = adopting(version);
            bench.publish(1, "a", QoS::ExactlyOnce);
            assert_eq!(pubrels(&bench.said()), (1..=64).collect::<Vec<_>>());
            for id in 2..=64 {
                bench.pubcomp(id);
            }
            assert!(bench.said().is_empty(), "the one that it needs is held still");
            bench.pubcomp(1);
            assert_eq!(bench.said(), ["PUBLISH 1 a q2"]);
            bench.publish(2, "b", QoS::ExactlyOnce);
            assert_eq!(bench.said(), ["PUBLISH 2 b q2"], "this one is free already");
            for id in 1..=2 {
                bench.pubrec(id);
                bench.pubcomp(id);
            }
            assert_eq!(bench.done(), [1, 2]);
        }
    }

    #[test]
    fn every_identifier_is_freed_once_and_never_one_in_use() {
        let mut bench = adopting(ProtocolVersion::V5);
        bench.publish(9, "kept", QoS::AtLeastOnce);
        assert_eq!(bench.said(), ["PUBLISH 1 kept q1"]);
        let mut freed = Vec::new();
        for round in 0..70_000 {
            bench.publish(round, "a", QoS::ExactlyOnce);
            let mut said = bench.said();
            if said[0].starts_with("PUBREL") {
                let ids = pubrels(&said);
                ids.iter().for_each(|id| bench.pubcomp(*id));
                freed.extend(ids);
                said = bench.said();
            }
            let [line] = said.as_slice() else { panic!("{said:?}") };
            let id = line.split(' ').nth(1).and_then(|id| id.parse().ok()).expect("an identifier");
            bench.pubrec(id);
            assert_eq!(bench.said(), [format!("PUBREL {id}")]);
            bench.pubcomp(id);
            if round == 65_500 {
                bench.puback(1, ReasonCode::Success);
            }
        }
        freed.sort_unstable();
        assert_eq!(freed, (1..=65_535).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_not_at_qos_2_does_not_wait_for_it() {
        let mut bench = adopting(ProtocolVersion::V5);
        bench.publish(1, "a", QoS::AtLeastOnce);
        bench.subscribe(2, "b", 1);
        assert_eq!(bench.said(), ["PUBLISH 1 a q1", "SUBSCRIBE 2 b #1"]);
        bench.publish(3, "c", QoS::ExactlyOnce);
        assert_eq!(pubrels(&bench.said()), (3..=66).collect::<Vec<_>>());
        bench.subscribe(4, "d", 2);
        assert_eq!(bench.said(), ["SUBSCRIBE 67 d #2"], "with an identifier that is not in use");
    }

    #[test]
    fn freeing_goes_on_with_the_session_and_ends_with_it() {
        let mut bench = adopting(ProtocolVersion::V5);
        bench.publish(1, "a", QoS::ExactlyOnce);
        bench.said();
        (1..=60).for_each(|id| bench.pubcomp(id));
        bench.publish(2, "b", QoS::AtMostOnce);
        bench.said();
        bench.reconnect(true);
        let said = bench.said();
        assert_eq!(pubrels(&said[1..5]), [61, 62, 63, 64]);
        assert_eq!(said[5..], ["PUBLISH 1 a q2 dup"]);

        let mut bench = adopting(ProtocolVersion::V5);
        bench.publish(1, "a", QoS::ExactlyOnce);
        bench.said();
        bench.reconnect(false);
        assert_eq!(bench.said()[1..], ["PUBLISH 1 a q2"], "nothing is held in a new session");
    }

    #[test]
    fn a_broker_that_does_not_answer_is_left() {
        let mut bench = adopting(ProtocolVersion::V5);
        bench.publish(1, "a", QoS::ExactlyOnce);
        bench.pass_ms(20_000);
        assert!(bench.last_reason().starts_with("no acknowledgement"), "{}", bench.last_reason());
    }

    #[test]
    fn what_an_earlier_process_received_and_released_is_completed() {
        let mut bench = adopting(ProtocolVersion::V5);
        bench.pubrel(7);
        bench.message("a", "again", 8, QoS::ExactlyOnce);
        assert_eq!(bench.said(), ["PUBCOMP 7 0x92", "PUBREC 8"]);
        assert_eq!(bench.delivered(), ["a=again to []"]);
    }
}
