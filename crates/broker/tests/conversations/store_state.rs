//! A store that is behind, and one whose disk is nearly full.

use noctule_broker::{Cause, Limits, OnQueueFull, StoreState};
use noctule_mqtt::{ProtocolVersion, ReasonCode};
use noctule_testkit::World;
use noctule_testkit::packets::*;

const BEHIND: StoreState = StoreState { is_backed_up: true, lacks_space: false };
const FULL: StoreState = StoreState { is_backed_up: false, lacks_space: true };

/// `away` has a stored session that wants `kept`, `there` is connected and wants `live`, `s` is a
/// publisher.
fn world(publisher: Connecting) -> World {
    world_with(Limits::default(), publisher)
}

fn world_with(limits: Limits, publisher: Connecting) -> World {
    let mut w = World::with(limits);
    w.connect("away", v311().persistent());
    w.subscribe("away", "kept", 1);
    w.lose("away");
    w.connect("there", v311());
    w.subscribe("there", "live", 1);
    w.connect("s", publisher);
    w
}

#[test]
fn publishers_of_durable_messages_are_not_read_while_the_store_is_behind() {
    let mut w = world(v5());
    w.store_state(BEHIND);
    w.send("s", publish("live", "1").qos(1).id(1));
    w.expect("s", puback(1));
    w.send("s", publish("kept", "2").qos(1).id(2));
    w.expect("s", puback(2));
    w.send("s", pingreq());
    w.expect_nothing("s");
    assert!(w.unread("s") > 0);
    // Others go on.
    w.send("there", pingreq());
    w.receive("there", publish("live", "1").qos(1));
    w.expect("there", pingresp());
    w.store_state(StoreState::default());
    w.expect("s", pingresp());
}

#[test]
fn a_publisher_that_left_while_the_store_was_behind_is_not_waited_for() {
    let mut w = world(v311());
    w.store_state(BEHIND);
    w.publish("s", publish("kept", "1").qos(1));
    w.lose("s");
    w.store_state(StoreState::default());
    w.connect("s", v311());
    w.publish("s", publish("live", "2").qos(1));
    w.receive("there", publish("live", "2").qos(1));
}

#[test] // MQTT 5.0 section 4.13.2: 0x97, quota exceeded
fn what_would_have_to_be_stored_is_refused_when_the_disk_is_nearly_full_and_all_else_goes_on() {
    let mut w = world(v5());
    w.publish("s", publish("kept", "before").qos(1));
    w.store_state(FULL);
    w.send("s", publish("kept", "refused").qos(1).id(7));
    w.expect("s", puback(7).because(ReasonCode::QuotaExceeded));
    w.send("s", publish("live", "kept for later").qos(1).retain().id(8));
    w.expect("s", puback(8).because(ReasonCode::QuotaExceeded));
    assert_eq!((w.dropped().store_full, w.population().retained), (2, 0));
    w.publish("s", publish("live", "now").qos(1));
    w.receive("there", publish("live", "now").qos(1));
    // What was acknowledged is delivered.
    w.connect("away", v311().persistent());
    w.receive("away", publish("kept", "before").qos(1));
    w.store_state(StoreState::default());
    w.publish("s", publish("kept", "after").qos(1));
    w.receive("away", publish("kept", "after").qos(1));
}

#[test] // 3.x has no negative acknowledgement, and a positive one would lie
fn before_version_5_a_refused_publisher_is_closed_if_that_is_wanted_and_nobody_gets_the_message() {
    let limits = Limits { on_queue_full: OnQueueFull::Refuse, ..Limits::default() };
    for publisher in [v311(), v5()] {
        let speaks = publisher.version() == ProtocolVersion::V5;
        let mut w = world_with(limits.clone(), publisher);
        w.subscribe("there", "kept", 1);
        w.store_state(FULL);
        w.send("s", publish("kept", "refused").qos(1).id(7));
        if speaks {
            w.expect("s", puback(7).because(ReasonCode::QuotaExceeded));
        } else {
            w.expect_closed("s");
            assert_eq!(w.cause("s"), Some(&Cause::QuotaExceeded));
        }
        w.expect_nothing("there");
    }
}

#[test]
fn before_version_5_the_others_get_what_cannot_be_stored_if_new_messages_are_dropped() {
    let mut w = world(v311());
    w.subscribe("there", "kept", 1);
    w.publish("s", publish("live", "old").retain());
    w.receive("there", publish("live", "old"));
    w.store_state(FULL);
    w.publish("s", publish("kept", "1").qos(1));
    w.receive("there", publish("kept", "1").qos(1));
    w.publish("s", publish("live", "2").qos(1).retain());
    w.receive("there", publish("live", "2").qos(1));
    assert_eq!((w.dropped().store_full, w.population().retained), (2, 1));
    // What is retained can be removed, which makes room.
    w.publish("s", publish("live", "").qos(1).retain());
    w.receive("there", publish("live", "").qos(1));
    assert_eq!(w.population().retained, 0);
    w.store_state(StoreState::default());
    w.connect("away", v311().persistent());
    w.expect_nothing("away");
}

#[test]
fn a_message_at_qos_2_of_a_stored_session_is_refused_when_nothing_can_be_stored() {
    for publisher in [v5().expiry(100), v311().persistent()] {
        let speaks = publisher.version() == ProtocolVersion::V5;
        let mut w = world(publisher);
        w.store_state(FULL);
        w.send("s", publish("live", "1").qos(2).id(3));
        if speaks {
            w.expect("s", pubrec(3).because(ReasonCode::QuotaExceeded));
        } else {
            w.expect_closed("s");
        }
        w.expect_nothing("there");
    }
}

#[test]
fn retained_messages_at_qos_0_and_qos_2_of_stored_sessions_wait_for_the_store_too() {
    for packet in [publish("live", "1").retain(), publish("live", "2").qos(2).id(1)] {
        let mut w = world(v5().expiry(100));
        w.store_state(BEHIND);
        w.send("s", packet.clone());
        w.send("s", pingreq());
        assert!(w.unread("s") > 0, "{packet:?}");
        w.store_state(StoreState::default());
        assert_eq!(w.unread("s"), 0);
        w.all_heard("s");
        w.all_heard("there");
    }
}

#[test]
fn a_member_for_whom_nothing_can_be_stored_is_passed_over() {
    let mut w = world(v5());
    w.connect("stored", v5().expiry(100));
    w.connect("clean", v5());
    for member in ["stored", "clean"] {
        w.subscribe(member, "$share/g/jobs", 1);
    }
    w.store_state(FULL);
    for number in 0..6 {
        w.publish("s", publish("jobs", number.to_string()).qos(1));
        w.receive("clean", publish("jobs", number.to_string()).qos(1));
    }
}
