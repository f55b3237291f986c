//! QoS 2 messages of persistent sessions where full queues refuse: all shards with receivers are asked
//! for room before the message is stored.

use crate::{connecting, in_each_version};
use noctule_broker::{Limits, OnQueueFull, Record};
use noctule_mqtt::{ProtocolVersion, ReasonCode};
use noctule_testkit::Shards;
use noctule_testkit::packets::*;

fn limits(queue_messages_max: usize) -> Limits {
    Limits { queue_messages_max, on_queue_full: OnQueueFull::Refuse, ..Limits::default() }
}

fn message(payload: &str, id: u16) -> Publishing {
    publish("t", payload).qos(2).id(id)
}

/// A sender that is kept and, on shards of their own, sessions without a client that want its messages
/// at QoS 2 and whose queues take so many.
fn with_receivers(
    shards: usize,
    queue: usize,
    connect: Connecting,
) -> (Shards, String, Vec<String>) {
    let mut w = Shards::with(shards, &limits(queue));
    let sender = w.name_at(0, 0);
    w.connect(&sender, 0, connect.persistent());
    let receivers: Vec<_> = (1..shards).map(|shard| w.name_at(shard, 0)).collect();
    for receiver in &receivers {
        w.connect(receiver, 0, v5().persistent());
        w.subscribe(receiver, "t", 2);
        w.disconnect(receiver);
    }
    (w, sender, receivers)
}

/// A session comes back and has these messages, and no others.
fn hears(w: &mut Shards, receiver: &str, payloads: &[&str]) {
    assert!(w.connect(receiver, 0, v5().persistent()), "session present");
    for payload in payloads {
        w.receive(receiver, publish("t", *payload).qos(2));
    }
    w.expect_nothing(receiver);
    w.disconnect(receiver);
}

/// All sessions end, and no place is kept for anybody.
fn end(mut w: Shards, names: &[&String]) {
    for name in names {
        if w.is_open(name) {
            w.disconnect(name);
        }
        w.connect(name, 0, v5());
        w.disconnect(name);
    }
    w.expect_nobody_left();
}

fn refuse(w: &mut Shards, sender: &str, version: ProtocolVersion, id: u16) {
    if version == ProtocolVersion::V5 {
        w.expect(sender, pubrec(id).because(ReasonCode::QuotaExceeded));
    } else {
        w.expect_closed(sender);
        come_back(w, sender, version);
    }
}

/// A sender has a new connection, and its session.
fn come_back(w: &mut Shards, sender: &str, version: ProtocolVersion) {
    let is_present = w.connect(sender, 0, connecting(version).persistent());
    assert!(is_present || version == ProtocolVersion::V31, "only 3.1 does not say so");
}

#[test] // [MQTT5-4.3.3-9] [MQTT3-4.8.0-2]
fn nobody_gets_what_is_refused_by_one_and_whoever_sends_it_again_sends_a_new_message() {
    in_each_version(|version| {
        let (mut w, sender, receivers) = with_receivers(3, 1, connecting(version));
        let other = w.name_at(0, 1);
        w.connect(&other, 0, v5());
        w.subscribe(&other, "t", 2);
        w.send(&sender, message("fits", 1));
        w.expect(&sender, pubrec(1));
        w.send(&sender, pubrel(1));
        w.expect(&sender, pubcomp(1));
        w.receive(&other, publish("t", "fits").qos(2));
        // One has taken it, the other is full.
        hears(&mut w, &receivers[0], &["fits"]);
        for again in [false, true] {
            let said = message("no", 1);
            w.send(&sender, if again { said.dup() } else { said });
            refuse(&mut w, &sender, version, 1);
            w.expect_nothing(&other);
        }
        hears(&mut w, &receivers[1], &["fits"]);
        w.send(&sender, message("no", 1).dup());
        w.expect(&sender, pubrec(1));
        w.receive(&other, publish("t", "no").qos(2));
        for receiver in &receivers {
            hears(&mut w, receiver, &["no"]);
        }
        end(w, &[&sender, &other, &receivers[0], &receivers[1]]);
    });
}

#[test]
fn nothing_is_stored_before_all_have_answered_and_pubrec_waits_for_the_store() {
    in_each_version(|version| {
        let (mut w, sender, receivers) = with_receivers(3, 1, connecting(version));
        w.hold_mail();
        w.hold_store(0);
        w.send(&sender, message("m", 1));
        for shard in [1, 2] {
            assert!(w.held_batches(0).is_empty(), "not all have answered");
            w.deliver(0, shard);
            w.deliver(shard, 0);
        }
        let is_received = |record: &Record| matches!(record, Record::Received { .. });
        assert!(w.held_batches(0)[0].iter().all(is_received));
        assert_eq!(w.letters(0, 1) + w.letters(0, 2), 0, "it is not routed before it is stored");
        w.expect_nothing(&sender);
        w.let_store_run(0);
        w.expect(&sender, pubrec(1));
        w.let_mail_run();
        for receiver in &receivers {
            hears(&mut w, receiver, &["m"]);
        }
        end(w, &[&sender, &receivers[0], &receivers[1]]);
    });
}

#[test]
fn a_place_is_kept_from_the_question_to_the_message() {
    let (mut w, sender, receivers) = with_receivers(2, 1, v5());
    let rival = w.name_at(1, 1);
    w.connect(&rival, 1, v5().persistent());
    w.hold_mail();
    w.send(&sender, message("first", 1));
    w.deliver(0, 1);
    // It would fit, if no place was kept.
    w.send(&rival, message("second", 1));
    w.expect(&rival, pubrec(1).because(ReasonCode::QuotaExceeded));
    w.send(&rival, publish("t", "third").qos(1).id(1));
    w.expect(&rival, puback(1).because(ReasonCode::QuotaExceeded));
    w.deliver(1, 0);
    w.expect(&sender, pubrec(1));
    // Its place is free when it comes; whoever takes it in between does not keep it from coming.
    w.deliver(0, 1);
    w.send(&rival, publish("t", "fourth").qos(1).id(1));
    w.expect(&rival, puback(1));
    w.let_mail_run();
    assert!(w.connect(&receivers[0], 0, v5().persistent()), "session present");
    w.receive(&receivers[0], publish("t", "fourth").qos(1));
    w.receive(&receivers[0], publish("t", "first").qos(2));
    w.disconnect(&receivers[0]);
    end(w, &[&sender, &rival, &receivers[0]]);
}

#[test] // [MQTT5-4.6.0-3] [MQTT3-4.6.0-3]
fn messages_are_stored_and_answered_in_their_order_whoever_answers_first() {
    in_each_version(|version| {
        let (mut w, sender, receivers) = with_receivers(3, 9, connecting(version));
        w.hold_mail();
        w.hold_store(0);
        w.send(&sender, message("1", 1));
        w.deliver(0, 2);
        // The next one is asked about on fewer shards, and the last on none.
        w.connect(&receivers[1], 2, v5().persistent());
        w.send(&receivers[1], unsubscribe(1, &["t"]));
        w.all_heard(&receivers[1]);
        w.send(&sender, message("2", 2));
        w.send(&sender, publish("for/nobody", "3").qos(2).id(3));
        w.deliver_all(0, 1);
        w.deliver_all(1, 0);
        assert!(w.held_batches(0).is_empty(), "the first has not been answered by all");
        w.let_mail_run();
        let ids = w.held_batches(0).concat().into_iter().filter_map(|record| match record {
            Record::Received { packet_id, .. } => Some(packet_id.get()),
            _ => None,
        });
        assert_eq!(ids.collect::<Vec<_>>(), [1, 2, 3]);
        w.let_store_run(0);
        (1..4).for_each(|id| drop(w.expect(&sender, pubrec(id))));
        hears(&mut w, &receivers[0], &["1", "2"]);
        w.expect_nothing(&receivers[1]);
        end(w, &[&sender, &receivers[0], &receivers[1]]);
    });
}

#[test] // [MQTT5-4.6.0-3]
fn who_need_not_ask_any_more_overtakes_nobody_that_asked() {
    let (mut w, sender, receivers) = with_receivers(2, 9, v5());
    w.hold_mail();
    w.send(&sender, message("1", 1));
    w.set_limits(&Limits { on_queue_full: OnQueueFull::DropNew, ..limits(9) });
    w.send(&sender, message("2", 2));
    w.let_mail_run();
    w.expect(&sender, pubrec(1));
    w.expect(&sender, pubrec(2));
    hears(&mut w, &receivers[0], &["1", "2"]);
}

#[test] // [MQTT5-4.4.0-1] [MQTT3-4.4.0-1]
fn an_answer_that_comes_while_the_publisher_is_away_is_what_its_repetition_hears() {
    in_each_version(|version| {
        for queue in [1, 2] {
            let (mut w, sender, receivers) = with_receivers(2, queue, connecting(version));
            w.send(&sender, message("fits", 1));
            w.expect(&sender, pubrec(1));
            w.send(&sender, pubrel(1));
            w.expect(&sender, pubcomp(1));
            w.hold_mail();
            w.send(&sender, message("m", 2));
            w.lose(&sender);
            w.let_mail_run();
            come_back(&mut w, &sender, version);
            w.send(&sender, message("m", 2).dup());
            if queue == 1 {
                refuse(&mut w, &sender, version, 2);
                hears(&mut w, &receivers[0], &["fits"]);
            } else {
                w.expect(&sender, pubrec(2));
                hears(&mut w, &receivers[0], &["fits", "m"]);
            }
            end(w, &[&sender, &receivers[0]]);
        }
    });
}

#[test]
fn a_repetition_on_a_new_connection_does_not_ask_again() {
    let (mut w, sender, receivers) = with_receivers(2, 1, v5());
    w.hold_mail();
    w.send(&sender, message("m", 1));
    w.lose(&sender);
    assert!(w.connect(&sender, 0, v5().persistent()), "session present");
    w.send(&sender, message("m", 1).dup());
    assert_eq!(w.letters(0, 1), 1, "one question");
    w.let_mail_run();
    w.expect(&sender, pubrec(1));
    w.expect_nothing(&sender);
    hears(&mut w, &receivers[0], &["m"]);
    end(w, &[&sender, &receivers[0]]);
}

#[test]
fn what_its_session_does_not_live_to_hear_is_nobodys() {
    let (mut w, sender, receivers) = with_receivers(2, 1, v5());
    w.hold_mail();
    w.send(&sender, message("m", 1));
    w.lose(&sender);
    assert!(!w.connect(&sender, 0, v5()), "a new session");
    w.let_mail_run();
    w.expect_nothing(&sender);
    hears(&mut w, &receivers[0], &[]);
    end(w, &[&sender, &receivers[0]]);
}

#[test]
fn what_is_released_before_it_is_answered_is_refused() {
    let (mut w, sender, receivers) = with_receivers(2, 1, v5());
    w.hold_mail();
    w.send(&sender, message("m", 1));
    w.send(&sender, pubrel(1));
    w.let_mail_run();
    w.expect(&sender, pubrec(1).because(ReasonCode::QuotaExceeded));
    w.expect(&sender, pubcomp(1));
    hears(&mut w, &receivers[0], &[]);
    end(w, &[&sender, &receivers[0]]);
}

/// Members of a group, one away on each shard, whose queues take one message, and senders.
fn with_members(shards: usize) -> (Shards, Vec<String>, Vec<String>) {
    let mut w = Shards::with(shards, &limits(1));
    let senders: Vec<_> = (0..shards).map(|shard| w.name_at(shard, 0)).collect();
    let members: Vec<_> = (0..shards).map(|shard| w.name_at(shard, 1)).collect();
    for member in &members {
        w.connect(member, 0, v5().persistent());
        w.subscribe(member, "$share/g/t", 2);
        w.disconnect(member);
    }
    for sender in &senders {
        w.connect(sender, 0, v5().persistent());
    }
    (w, senders, members)
}

#[test]
fn of_a_group_one_with_room_is_enough_on_whatever_shard_and_none_is_a_refusal() {
    for shards in 1..4 {
        let (mut w, senders, members) = with_members(shards);
        for number in 0..shards {
            w.send(&senders[0], message(&number.to_string(), 1));
            w.expect(&senders[0], pubrec(1));
            w.send(&senders[0], pubrel(1));
            w.expect(&senders[0], pubcomp(1));
        }
        for sender in &senders {
            w.send(sender, message("no", 2));
            w.expect(sender, pubrec(2).because(ReasonCode::QuotaExceeded));
        }
        let mut heard = Vec::new();
        for member in &members {
            assert!(w.connect(member, 0, v5().persistent()), "session present");
            for said in w.all_heard(member) {
                let Said::Publish(publishing) = said else { panic!("{said} was not expected") };
                heard.push(String::from_utf8_lossy(&publishing.payload).into_owned());
                w.send(member, pubrec(publishing.packet_id()));
                w.expect(member, pubrel(publishing.packet_id()));
                w.send(member, pubcomp(publishing.packet_id()));
            }
            w.disconnect(member);
        }
        heard.sort();
        let expected: Vec<_> = (0..shards).map(|number| number.to_string()).collect();
        assert_eq!(heard, expected, "each has one");
        let names: Vec<_> = senders.iter().chain(&members).collect();
        end(w, &names);
    }
}

#[test]
fn a_place_in_a_group_that_somebody_else_takes_is_no_reason_to_lose_the_message() {
    let mut w = Shards::with(2, &limits(1));
    let (sender, rival, member) = (w.name_at(0, 0), w.name_at(1, 0), w.name_at(1, 1));
    w.connect(&sender, 0, v5().persistent());
    w.connect(&rival, 1, v5());
    w.connect(&member, 1, v5().persistent());
    w.subscribe(&member, "$share/g/t", 2);
    w.disconnect(&member);
    w.hold_mail();
    w.send(&sender, message("promised", 1));
    w.deliver(0, 1);
    w.send(&rival, publish("t", "too early").qos(1).id(1));
    w.expect(&rival, puback(1).because(ReasonCode::QuotaExceeded));
    w.deliver(1, 0);
    w.expect(&sender, pubrec(1));
    // The place is free, and the message has not come.
    w.deliver(0, 1);
    w.send(&rival, publish("t", "in between").qos(1).id(1));
    w.expect(&rival, puback(1));
    w.let_mail_run();
    assert!(w.connect(&member, 1, v5().persistent()), "session present");
    w.receive(&member, publish("t", "in between").qos(1));
    w.receive(&member, publish("t", "promised").qos(2));
    w.disconnect(&member);
    end(w, &[&sender, &rival, &member]);
}
