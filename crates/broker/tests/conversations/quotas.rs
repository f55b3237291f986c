//! What clients may not do too often, too fast or too much: who is slowed, who is refused, and that
//! nobody else notices.

use crate::{connecting, in_each_version};
use noctule_broker::{Cause, Entrance, EntranceId, Limits, Quota, Rates, Report, Stage};
use noctule_mqtt::{PacketType, Property, ProtocolVersion, ReasonCode, Violation};
use noctule_testkit::World;
use noctule_testkit::packets::*;
use std::num::NonZeroU32;

/// The grain of a timer: nobody is kept for longer beyond his time.
const GRAIN_MS: u64 = 2 * 128;

fn at_most(messages: u32, bytes: u32) -> Entrance {
    let rates = Rates { messages: NonZeroU32::new(messages), bytes: NonZeroU32::new(bytes) };
    Entrance { rates, ..Entrance::default() }
}

/// A world in which clients may send that much a second, but those of the second entrance as much as
/// they like, and in which `r` gets everything below `t/`.
fn world(messages: u32, bytes: u32) -> World {
    let entrances = vec![at_most(messages, bytes), Entrance::default()];
    let mut w = World::entered(entrances, Stage::Flushed);
    w.come_by(EntranceId(1));
    w.connect("r", v5());
    w.subscribe("r", "t/#", 1);
    w.come_by(EntranceId(0));
    w
}

#[test]
fn who_sends_too_many_messages_is_slowed_to_the_rate_and_loses_none() {
    in_each_version(|version| {
        for qos in [0, 1] {
            let mut w = world(10, 0);
            w.connect("s", connecting(version));
            for id in 1..=25_u16 {
                // Written at once, as one read may bring them.
                let message = publish("t/x", format!("{id}")).qos(qos);
                w.say("s", if qos == 0 { message } else { message.id(id) });
            }
            w.settle();
            let mut came = heard(&mut w, "r");
            assert_eq!(came, 10, "a second's worth is free");
            assert!(w.unread("s") > 0 || !w.is_open("s") || came < 25, "the rest waits");
            let mut seconds = 0;
            while came < 25 {
                w.pass_ms(1_000 + GRAIN_MS);
                let more = heard(&mut w, "r");
                assert!(more <= 10 * (1_000 + GRAIN_MS as usize) / 1_000 + 1, "{more}");
                came += more;
                seconds += 1;
            }
            assert_eq!((came, seconds), (25, 2));
            if qos == 1 {
                for id in 1..=25 {
                    w.expect("s", puback(id));
                }
            }
            assert!(w.counters().clients_slowed_by_rate >= 2);
            assert!(w.is_open("s"), "nobody is closed for it");
        }
    });
}

/// How many messages a client has got since it was last asked.
fn heard(w: &mut World, name: &str) -> usize {
    w.all_heard(name)
        .into_iter()
        .filter(|said| matches!(said, Said::Publish(_)))
        .map(|said| {
            if let Said::Publish(message) = said {
                w.acknowledge(name, &message);
            }
        })
        .count()
}

#[test]
fn who_sends_too_many_bytes_is_slowed_and_the_others_are_not() {
    let mut w = world(0, 10_000);
    w.connect("flood", v311());
    w.connect("s", v311());
    w.send("flood", publish("t/x", [0; 30_000]));
    assert_eq!(heard(&mut w, "r"), 1, "what was read is dealt with");
    w.send("flood", publish("t/x", "behind"));
    for _ in 0..20 {
        w.publish("s", publish("t/s", [0; 100]).qos(1));
    }
    assert_eq!(heard(&mut w, "r"), 20);
    assert!(w.unread("flood") > 0);
    w.pass_ms(1_000);
    assert_eq!(heard(&mut w, "r"), 0, "it has two seconds to wait");
    w.pass_ms(1_000 + GRAIN_MS);
    assert_eq!(heard(&mut w, "r"), 1);
}

#[test]
fn what_is_asked_of_one_entrance_is_not_asked_of_another() {
    let mut w = world(1, 100);
    w.come_by(EntranceId(1));
    w.connect("s", v5());
    for _ in 0..50 {
        w.publish("s", publish("t/x", [0; 1_000]).qos(1));
    }
    assert_eq!(heard(&mut w, "r"), 50);
    assert_eq!(w.counters().clients_slowed_by_rate, 0);
}

#[test]
fn a_new_rate_holds_at_once_and_none_frees_who_waits() {
    let mut w = world(0, 0);
    w.connect("s", v311());
    for _ in 0..5 {
        w.send("s", publish("t/x", "free"));
    }
    assert_eq!(heard(&mut w, "r"), 5);
    w.set_entrances(vec![at_most(1, 0), Entrance::default()]);
    for _ in 0..3 {
        w.send("s", publish("t/x", "slow"));
    }
    assert_eq!(heard(&mut w, "r"), 1);
    w.set_entrances(vec![Entrance::default(); 2]);
    w.pass_ms(1_000 + GRAIN_MS);
    assert_eq!(heard(&mut w, "r"), 2);
}

#[test] // [MQTT3-3.1.2-24] [MQTT5-3.1.2-22]
fn keep_alive_does_not_run_against_who_is_not_read_and_it_is_said_who_that_is() {
    let mut w = world(0, 1_000);
    w.connect("s", v5().keep_alive(2));
    w.send("s", publish("t/x", [0; 20_000]));
    w.pass(19);
    assert!(w.is_open("s"));
    let said = w.reports().iter().filter_map(|report| match report {
        Report::OverQuota { client_id, quota, .. } => Some((client_id.to_string(), *quota)),
        _ => None,
    });
    assert_eq!(said.collect::<Vec<_>>(), [("s".to_owned(), Quota::Rate)]);
    heard(&mut w, "r");
    // It was read again, and was silent.
    w.pass(6);
    w.expect("s", disconnect(ReasonCode::KeepAliveTimeout));
    w.expect_closed("s");
}

fn puback_with(id: u16, reason: ReasonCode) -> Said {
    Said::Ack { packet: PacketType::Puback, id, reason }
}

fn pubrec_with(id: u16, reason: ReasonCode) -> Said {
    Said::Ack { packet: PacketType::Pubrec, id, reason }
}

fn with_retained(messages: usize, bytes: usize) -> World {
    let limits =
        Limits { retained_messages_max: messages, retained_bytes_max: bytes, ..Limits::default() };
    World::with(limits)
}

fn retained(topic: &str, payload: &str) -> Publishing {
    publish(topic, payload).retain()
}

#[test]
fn one_more_retained_topic_is_refused_and_the_others_can_be_changed_and_removed() {
    let mut w = with_retained(2, usize::MAX);
    w.connect("s", v5());
    // The broker's own do not count.
    w.publish_system("$SYS/broker/uptime", "1 seconds");
    for topic in ["a", "b"] {
        w.send("s", retained(topic, "x").qos(1).id(1));
        w.expect("s", puback_with(1, ReasonCode::NoMatchingSubscribers));
    }
    w.send("s", retained("c", "x").qos(1).id(1));
    w.expect("s", puback_with(1, ReasonCode::QuotaExceeded));
    w.send("s", retained("c", "x").qos(2).id(1));
    w.expect("s", pubrec_with(1, ReasonCode::QuotaExceeded));
    w.send("s", retained("c", "x"));
    assert_eq!(w.dropped().retained_quota, 3);
    w.send("s", retained("a", "in its place").qos(1).id(1));
    w.expect("s", puback_with(1, ReasonCode::NoMatchingSubscribers));
    w.send("s", retained("b", "").qos(1).id(1));
    w.expect("s", puback_with(1, ReasonCode::NoMatchingSubscribers));
    w.send("s", retained("c", "x").qos(1).id(1));
    w.expect("s", puback_with(1, ReasonCode::NoMatchingSubscribers));
    w.expect_quiet();
}

#[test]
fn the_bytes_of_all_have_an_end_and_a_smaller_one_may_take_the_place_of_a_larger() {
    let mut w = with_retained(usize::MAX, 100);
    w.connect("s", v5());
    let long = "x".repeat(90);
    for (payload, reason) in [
        (long.as_str(), ReasonCode::NoMatchingSubscribers),
        (&"x".repeat(100), ReasonCode::QuotaExceeded),
        (&"x".repeat(80), ReasonCode::NoMatchingSubscribers),
    ] {
        w.send("s", retained("a", payload).qos(1).id(1));
        w.expect("s", puback_with(1, reason));
    }
    w.send("s", retained("b", &"x".repeat(18)).qos(1).id(1));
    w.expect("s", puback_with(1, ReasonCode::NoMatchingSubscribers));
    w.send("s", retained("c", "x").qos(1).id(1));
    w.expect("s", puback_with(1, ReasonCode::QuotaExceeded));
}

#[test]
fn a_persistent_session_hears_of_it_before_its_message_is_promised() {
    let mut w = with_retained(1, usize::MAX);
    w.connect("s", v5().expiry(1_000));
    w.send("s", retained("a", "x").qos(2).id(1));
    w.expect("s", pubrec(1));
    w.send("s", retained("b", "x").qos(2).id(2));
    w.expect("s", pubrec_with(2, ReasonCode::QuotaExceeded));
    w.send("s", pubrel(1));
    w.expect("s", pubcomp(1));
}

#[test] // [MQTT3-4.8.0-2]
fn version_3_which_cannot_be_told_is_closed_without_an_acknowledgement() {
    for version in [ProtocolVersion::V31, ProtocolVersion::V311] {
        let mut w = with_retained(0, usize::MAX);
        w.connect("s", connecting(version));
        w.send("s", retained("a", "x").qos(1).id(1));
        w.expect_closed("s");
        assert_eq!(w.cause("s"), Some(&Cause::QuotaExceeded));
    }
}

#[test]
fn a_will_that_is_too_much_to_retain_is_published_all_the_same() {
    let mut w = with_retained(0, usize::MAX);
    w.connect("r", v5());
    w.subscribe("r", "#", 0);
    w.connect("s", v5().will(will("w", "gone").retain()));
    w.lose("s");
    w.expect_publish("r", publish("w", "gone"));
    assert_eq!((w.population().retained, w.dropped().retained_quota), (0, 1));
}

#[test]
fn too_many_user_properties_close_the_connection_and_refuse_a_connect() {
    let limits = Limits { user_properties_max: 3, ..Limits::default() };
    let with =
        |count: usize| (0..count).fold(publish("t", "x"), |one, _| one.property(USER_PROPERTY));
    let will_with =
        |count: usize| (0..count).fold(will("t", "x"), |one, _| one.property(USER_PROPERTY));
    let mut w = World::with(limits);
    w.connect("s", v5());
    w.send("s", with(3));
    w.expect_quiet();
    w.send("s", with(4));
    w.expect("s", disconnect(ReasonCode::QuotaExceeded));
    w.expect_closed("s");
    let violation = Violation::UserPropertiesOverLimit { found: 4, limit: 3 };
    assert_eq!(w.cause("s"), Some(&Cause::Violation(violation)));
    w.connect("has a will", v5().will(will_with(3)));
    w.expect_refused("has too much of a will", v5().will(will_with(4)), ReasonCode::QuotaExceeded);
}

const USER_PROPERTY: Property<'_> = Property::UserProperty(("a", "b"));

const TAKEN: ReasonCode = ReasonCode::SessionTakenOver;

/// A world in which a session may be taken over twice within a minute, and `0` has had it from two
/// others.
fn duel() -> World {
    duel_within(&Limits::default())
}

fn duel_within(limits: &Limits) -> World {
    let mut w = World::with(Limits { takeovers_max: Some(2), ..limits.clone() });
    for name in ["first", "second", "0"] {
        w.connect(name, v5().id("x").clean(false).expiry(1_000));
    }
    for name in ["first", "second"] {
        w.expect(name, disconnect(TAKEN));
        w.expect_closed(name);
    }
    w
}

#[test]
fn who_fights_for_a_client_identifier_waits_longer_and_longer_and_both_are_named() {
    let mut w = duel();
    for (at, wait_ms) in [250, 500, 1_000, 2_000, 4_000, 4_000].into_iter().enumerate() {
        let (holder, challenger) = (at.to_string(), (at + 1).to_string());
        w.start(&challenger, v5().id("x").clean(false).expiry(1_000));
        w.pass_ms(wait_ms - 130);
        w.expect_nothing(&challenger);
        // Who has it notices nothing.
        w.send(&holder, pingreq());
        w.expect(&holder, pingresp());
        w.pass_ms(130 + GRAIN_MS);
        w.expect(&holder, disconnect(TAKEN));
        w.expect_closed(&holder);
        w.expect(&challenger, connack_present());
    }
    let said = w.reports().iter().filter(|report| matches!(report, Report::Duel { .. })).count();
    assert_eq!(said, 1, "once a minute");
    assert_eq!(w.counters().duels_slowed, 6);
    // Others come and go as ever.
    w.connect("other", v5());
    w.connect("another", v5().id("other"));
    w.expect("other", disconnect(TAKEN));
    w.expect_closed("other");
}

#[test]
fn of_many_who_fight_one_waits_and_has_its_turn() {
    let mut w = duel();
    w.start("early", v5().id("x").clean(false));
    for number in 0..20 {
        let name = format!("late {number}");
        w.start(&name, v5().id("x").clean(false));
        let before = if number == 0 { "early".to_owned() } else { format!("late {}", number - 1) };
        w.expect(&before, connack_refused(ReasonCode::ConnectionRateExceeded));
        w.expect_closed(&before);
    }
    w.pass_ms(250 + GRAIN_MS);
    w.expect("0", disconnect(TAKEN));
    w.expect_closed("0");
    w.expect("late 19", connack_present());
    assert_eq!(w.snapshot().refused.connection_rate, 20);
}

#[test]
fn who_waits_need_not_any_more_when_the_other_is_gone() {
    let mut w = duel();
    w.start("next", v5().id("x").clean(false));
    w.expect_nothing("next");
    w.lose("0");
    w.pass_ms(GRAIN_MS);
    w.expect("next", connack_present());
}

#[test]
fn who_goes_while_it_waits_leaves_things_as_they_are() {
    let mut w = duel();
    w.start("next", v5().id("x").clean(false));
    w.lose("next");
    w.pass(10);
    w.send("0", pingreq());
    w.expect("0", pingresp());
    assert_eq!(w.population().connections, 1);
    w.start("later", v5().id("x").clean(false));
    w.pass_ms(500 + GRAIN_MS);
    w.expect("later", connack_present());
    w.expect("0", disconnect(TAKEN));
    w.expect_closed("0");
}

#[test]
fn whose_turn_has_come_makes_room_for_another_one_however_late_its_timer_is() {
    for late_ms in [300, 4_300, 59_000] {
        let mut w = duel();
        w.start("waits", v5().id("x").clean(false));
        w.stand_still_ms(late_ms);
        w.start("comes", v5().id("x").clean(false));
        w.expect("waits", connack_refused(ReasonCode::ConnectionRateExceeded));
        w.expect_closed("waits");
        w.pass_ms(GRAIN_MS);
        w.expect("0", disconnect(TAKEN));
        w.expect_closed("0");
        w.expect("comes", connack_present());
    }
}

#[test]
fn who_has_waited_for_so_long_that_nobody_knows_of_it_asks_anew() {
    let mut w = duel_within(&Limits { connect_timeout_ms: 100_000, ..Limits::default() });
    w.start("waits", v5().id("x").clean(false).expiry(1_000));
    w.stand_still_ms(60_000);
    w.start("comes", v5().id("x").clean(false).expiry(1_000));
    w.expect("0", disconnect(TAKEN));
    w.expect_closed("0");
    w.expect("comes", connack_present());
    w.pass_ms(GRAIN_MS);
    w.expect("comes", disconnect(TAKEN));
    w.expect_closed("comes");
    w.expect("waits", connack_present());
}

#[test]
fn without_a_limit_nobody_waits() {
    let mut w = World::with(Limits { takeovers_max: None, ..Limits::default() });
    for number in 0..50 {
        w.connect(&number.to_string(), v5().id("x").clean(false).expiry(1_000));
        if number > 0 {
            let before = (number - 1).to_string();
            w.expect(&before, disconnect(TAKEN));
            w.expect_closed(&before);
        }
    }
}

#[test]
fn it_is_known_for_whom_most_memory_is_taken() {
    let mut w = World::new();
    for (name, messages) in [("little", 1), ("much", 50), ("some", 10)] {
        w.connect(name, v311().persistent());
        w.subscribe(name, name, 1);
        w.lose(name);
        w.connect("s", v5());
        for _ in 0..messages {
            w.publish("s", publish(name, [0; 1_000]).qos(1));
        }
        w.lose("s");
    }
    w.snapshot();
    let holdings = w.snapshot().holdings;
    let named: Vec<_> = holdings.as_slice().iter().map(|one| &*one.client_id).collect();
    assert_eq!(named, ["much", "some", "little"]);
    assert!(holdings.as_slice()[0].bytes > 50_000);
}
