//! The end that the user wishes.

use super::*;

// [MQTT3-3.14.4-1] [MQTT3-3.14.4-2] [MQTT5-3.14.4-1] [MQTT5-3.14.4-2]
#[test]
fn who_leaves_finishes_what_is_under_way() {
    let mut bench = Bench::connected(options(V5));
    bench.publish(1, "a", ExactlyOnce);
    bench.leave();
    assert_eq!(bench.said(), ["PUBLISH 1 a q2"]);
    bench.pubrec(1);
    bench.pubcomp(1);
    assert_eq!(bench.said(), ["PUBREL 1", "DISCONNECT 0x00 expiry 0"]);
    assert_eq!(bench.closes, 1);
    assert!(bench.machine.ended().is_some());
    assert_eq!(bench.done(), [1]);
    assert_eq!(bench.machine.next_deadline(), None);
}

#[test]
fn who_leaves_does_not_wait_for_ever() {
    let mut bench = Bench::connected(options(V5));
    bench.publish(1, "a", AtLeastOnce);
    bench.leave();
    bench.pass_ms(5_000);
    assert_eq!(bench.said(), ["PUBLISH 1 a q1", "DISCONNECT 0x00 expiry 0"]);
    assert!(bench.refusal().contains("disconnected as asked"));
    bench.publish(2, "a", AtLeastOnce);
    assert!(bench.refusal().contains("has ended"));
}

#[test]
fn who_leaves_without_a_connection_makes_no_further_attempt() {
    let mut bench = Bench::started(options(V5));
    bench.break_off();
    bench.publish(1, "a", AtLeastOnce);
    bench.leave();
    assert!(bench.refusal().contains("disconnected as asked"));
    assert_eq!(bench.machine.next_deadline(), None);

    let mut bench = Bench::started(options(V5));
    bench.leave();
    assert!(bench.machine.ended().is_some(), "nothing waits for the attempt under way");
}

#[test]
fn who_leaves_while_connecting_finishes_that_if_something_waits() {
    let mut bench = Bench::started(options(V5));
    bench.publish(1, "a", AtMostOnce);
    bench.leave();
    bench.open();
    bench.connack(false, &[]);
    assert_eq!(bench.said()[1..], ["PUBLISH 0 a q0", "DISCONNECT 0x00 expiry 0"]);
    assert_eq!(bench.done(), [1]);

    let mut bench = Bench::started(options(V5));
    bench.publish(1, "a", AtMostOnce);
    bench.leave();
    bench.break_off();
    assert!(bench.refusal().contains("disconnected as asked"), "one attempt, not two");
    assert_eq!(bench.opens, 1);

    let mut bench = Bench::started(options(V5));
    bench.publish(1, "a", AtMostOnce);
    bench.open();
    bench.leave();
    bench.pass_ms(5_000);
    assert!(bench.machine.ended().is_some(), "not for longer than the leave timeout");
}
