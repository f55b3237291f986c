//! From CONNECT to CONNACK, and what is refused on the way.

use crate::{connecting, in_each_version};
use noctule_broker::{Cause, Limits, Verdict};
use noctule_mqtt::{Properties, Property, ProtocolVersion, ReasonCode};
use noctule_testkit::packets::*;
use noctule_testkit::{Authenticator, Pieces, Said, World};

#[test] // [MQTT3-3.1.4-4] [MQTT3-3.12.4-1] [MQTT5-3.1.4-5] [MQTT5-3.12.4-1]
fn a_client_of_each_version_is_accepted_and_its_ping_answered() {
    in_each_version(|version| {
        let mut w = World::new();
        w.start("a", connecting(version).keep_alive(60));
        w.expect("a", connack());
        w.send("a", pingreq());
        w.expect("a", pingresp());
        assert_eq!(w.counters().connects_accepted, 1);
    });
}

// [MQTT3-3.1.3-9] [MQTT3-3.2.2-4] [MQTT3-3.2.2-5] [MQTT5-3.1.3-8] [MQTT5-3.1.4-2] [MQTT5-3.2.2-7]
#[test]
fn whom_the_authenticator_refuses_hears_why_and_is_closed() {
    in_each_version(|version| {
        for reason in [
            ReasonCode::BadUserNameOrPassword,
            ReasonCode::NotAuthorized,
            ReasonCode::ClientIdentifierNotValid,
        ] {
            let mut w = World::new();
            w.authenticate(Authenticator::No(reason));
            w.expect_refused("a", connecting(version).persistent(), reason);
            assert_eq!(w.cause("a"), Some(&Cause::Refused(reason)));
            assert_eq!(w.counters().connects_refused, 1);
            w.expect_nobody_left();
        }
    });
}

#[test]
fn the_authenticator_is_asked_with_what_the_client_said_of_itself() {
    let mut w = World::new();
    w.authenticate(Authenticator::Waiting);
    w.start("a", v5().id("me").user("name").password([0, 255]));
    let [credentials] = w.undecided()[..] else { panic!("one client waits") };
    assert_eq!(&*credentials.client_id, "me");
    assert_eq!(credentials.user_name.as_deref(), Some("name"));
    assert_eq!(credentials.password.as_deref(), Some(&[0, 255][..]));
    w.verdict(Verdict::Accepted);
    w.expect("a", connack());
}

#[test] // [MQTT3-3.1.2-2] [MQTT5-3.1.2-2]
fn an_unknown_protocol_level_is_told_in_the_form_all_clients_understand() {
    for (name, level) in [("MQTT", 6), ("MQTT", 0), ("MQTT", 3), ("MQIsdp", 4), ("MQTT", 0x84)] {
        let mut w = World::new();
        w.open("a", ProtocolVersion::V311);
        let mut body = vec![0, name.len() as u8];
        body.extend(name.as_bytes());
        body.extend([level, 2, 0, 0, 0, 1, b'a']);
        let mut bytes = vec![0x10, body.len() as u8];
        bytes.extend(body);
        w.send_bytes("a", &bytes);
        w.expect("a", connack_refused(ReasonCode::UnsupportedProtocolVersion));
        w.expect_closed("a");
    }
}

#[test] // [MQTT3-3.1.2-1] [MQTT5-3.1.2-1]
fn another_protocol_is_closed_without_a_word() {
    let mut w = World::new();
    w.open("a", ProtocolVersion::V311);
    w.send_bytes("a", b"\x10\x0d\x00\x04HTTP\x04\x02\x00\x00\x00\x01a");
    w.expect_closed("a");
    w.expect_nobody_left();
}

#[test] // MQTT 3.1 section 3.1, "Client Identifier"
fn mqtt_3_1_wants_a_client_identifier() {
    for clean in [true, false] {
        let mut w = World::new();
        let connect = v31().id("").clean(clean);
        w.expect_refused("a", connect, ReasonCode::ClientIdentifierNotValid);
    }
}

#[test] // [MQTT3-3.1.3-6] [MQTT3-3.1.3-7] [MQTT3-3.1.3-8] [MQTT3-3.1.3-9]
fn mqtt_3_1_1_without_a_client_identifier_must_start_clean() {
    let mut w = World::new();
    for name in ["a", "another"] {
        w.connect(name, v311().id("").clean(true));
    }
    // Each has an identifier of its own: neither has taken over from the other.
    w.expect_quiet();
    w.disconnect("another");
    w.expect_refused("b", v311().id("").clean(false), ReasonCode::ClientIdentifierNotValid);
    w.disconnect("a");
    w.expect_nobody_left();
}

#[test] // [MQTT5-3.1.3-6] [MQTT5-3.1.3-7] [MQTT5-3.2.2-16]
fn mqtt_5_without_a_client_identifier_is_told_the_one_it_got() {
    let mut assigned = Vec::new();
    let mut w = World::new();
    for (name, clean) in [("a", true), ("b", false)] {
        w.start(name, v5().id("").clean(clean).expiry(60));
        let Said::Connack { session_present: false, properties: Some(bytes), .. } =
            w.expect(name, connack())
        else {
            panic!("an accepting CONNACK was expected");
        };
        let id = Properties::from_checked(&bytes).assigned_client_identifier();
        assigned.push(id.expect("an identifier is assigned").to_owned());
    }
    assert_ne!(assigned[0], assigned[1]);
    // The name leads back to the session.
    w.lose("b");
    assert!(w.connect("b", v5().id(&assigned[1]).clean(false)));
}

#[test] // [MQTT3-3.1.3-5] [MQTT5-3.1.3-5]
fn client_identifiers_of_1_to_23_letters_and_digits_are_accepted() {
    const LETTERS: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    in_each_version(|version| {
        let mut w = World::new();
        for length in 1..=23 {
            for from in 0..=LETTERS.len() - length {
                let id = &LETTERS[from..from + length];
                w.connect("a", connecting(version).id(id));
                w.disconnect("a");
            }
        }
        // That longer and stranger ones are accepted too is our choice.
        w.connect("a", connecting(version).id(&"-/é ".repeat(100)));
    });
}

#[test] // [MQTT5-3.2.2-16]
fn who_brings_a_client_identifier_is_not_told_one() {
    let mut w = World::new();
    w.start("a", v5());
    let Said::Connack { properties: Some(bytes), .. } = w.expect("a", connack()) else {
        panic!("a CONNACK was expected");
    };
    let properties = Properties::from_checked(&bytes);
    assert_eq!(properties.assigned_client_identifier(), None);
    assert_eq!(properties.receive_maximum(), Some(1_000));
    assert_eq!(properties.maximum_packet_size(), Some(2_000_000));
    assert_eq!(properties.session_expiry_interval(), None);
}

#[test] // [MQTT3-3.2.0-1] [MQTT5-3.2.0-1]
fn connack_comes_first_whatever_waits_and_whatever_stands_behind_connect() {
    in_each_version(|version| {
        for pieces in [Pieces::Whole, Pieces::Bytes, Pieces::Random(5)] {
            let mut w = World::new();
            let a = connecting(version).persistent();
            w.connect("a", a.clone());
            w.subscribe("a", "q/#", 1);
            w.lose("a");
            w.connect("b", v311());
            w.publish("b", publish("q/1", "queued").qos(1));
            w.publish("b", publish("r", "retained").retain());
            w.in_pieces(pieces);
            w.open("a", version);
            w.say("a", a);
            w.say("a", subscribe(1, "r", 0));
            w.say("a", publish("q/2", "own").qos(1).id(2));
            w.say("a", pingreq());
            w.settle();
            w.expect("a", connack_present());
            w.receive("a", publish("q/1", "queued").qos(1));
            // Some of this waits for the store, so it may come in another order.
            w.expect_anywhere("a", suback(1, &[0]));
            w.expect_anywhere("a", publish("r", "retained").retain());
            w.expect_anywhere("a", publish("q/2", "own").qos(1));
            w.expect_anywhere("a", puback(2));
            w.expect_anywhere("a", pingresp());
        }
    });
}

#[test] // [MQTT3-3.1.4-5] [MQTT5-3.1.4-6]
fn nothing_behind_connect_is_looked_at_before_the_verdict() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("watcher", v311());
        w.subscribe("watcher", "#", 0);
        w.authenticate(Authenticator::Waiting);
        w.open("a", version);
        w.say("a", connecting(version));
        w.say("a", publish("x", "early"));
        w.settle();
        w.send("a", publish("x", "later"));
        w.expect_nothing("a");
        w.expect_nothing("watcher");
        w.verdict(Verdict::Accepted);
        w.expect("a", connack());
        w.expect("watcher", publish("x", "early"));
        w.expect("watcher", publish("x", "later"));
    });
}

#[test] // [MQTT3-3.1.4-5] [MQTT5-3.1.4-6]
fn what_stands_behind_a_connect_that_is_refused_is_never_looked_at() {
    let mut w = World::new();
    w.connect("watcher", v311());
    w.subscribe("watcher", "#", 0);
    w.authenticate(Authenticator::Waiting);
    w.open("a", ProtocolVersion::V5);
    w.say("a", v5());
    w.say("a", publish("x", "m"));
    w.settle();
    w.verdict(Verdict::Refused(ReasonCode::NotAuthorized));
    w.expect("a", connack_refused(ReasonCode::NotAuthorized));
    w.expect_closed("a");
    w.expect_quiet();
}

// [MQTT3-3.1.4-3] [MQTT3-3.2.2-1] [MQTT3-3.2.2-2] [MQTT3-3.2.2-3] [MQTT5-3.1.2-5] [MQTT5-3.1.2-6]
// [MQTT5-3.1.4-4] [MQTT5-3.2.2-2] [MQTT5-3.2.2-3]
#[test]
fn session_present_says_whether_there_was_a_session() {
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        let mut w = World::new();
        let persistent = connecting(version).persistent();
        assert!(!w.connect("a", persistent.clone()));
        w.disconnect("a");
        assert!(w.connect("a", persistent.clone()));
        w.disconnect("a");
        assert!(!w.connect("a", persistent.clone().clean(true)), "a clean start has none");
        w.disconnect("a");
    }
}

#[test] // [MQTT3-3.1.3-2] [MQTT3-3.1.4-2] [MQTT5-3.1.3-2] [MQTT5-3.1.4-3]
fn a_second_connection_takes_the_session_over() {
    in_each_version(|first| {
        in_each_version(|second| {
            let mut w = World::new();
            w.connect("a1", connecting(first).id("a").persistent());
            w.subscribe("a1", "x", 1);
            let present = w.connect("a2", connecting(second).id("a").persistent());
            assert_eq!(present, second != ProtocolVersion::V31, "3.1 has no flag for it");
            if first == ProtocolVersion::V5 {
                w.expect("a1", disconnect(ReasonCode::SessionTakenOver));
            }
            w.expect_closed("a1");
            assert_eq!(w.cause("a1"), Some(&Cause::TakenOver));
            w.publish("a2", publish("x", "m").qos(1));
            w.receive("a2", publish("x", "m").qos(1));
        });
    });
}

#[test] // [MQTT3-3.1.2-6] [MQTT3-3.1.4-2] [MQTT5-3.1.2-4] [MQTT5-3.1.4-3]
fn a_clean_start_takes_over_and_forgets() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("a1", connecting(version).id("a").persistent());
        w.subscribe("a1", "x", 1);
        assert!(!w.connect("a2", connecting(version).id("a")));
        if version == ProtocolVersion::V5 {
            w.expect("a1", disconnect(ReasonCode::SessionTakenOver));
        }
        w.expect_closed("a1");
        w.publish("a2", publish("x", "m").qos(1));
        w.expect_nothing("a2");
        assert_eq!(w.population().sessions, 1);
    });
}

#[test] // [MQTT3-3.1.4-2] [MQTT5-3.1.4-3]
fn of_two_connects_that_wait_for_a_verdict_the_one_decided_later_stays() {
    in_each_version(|version| {
        for persistent in [true, false] {
            let mut w = World::new();
            w.authenticate(Authenticator::Waiting);
            let connect = connecting(version).id("a");
            let connect = if persistent { connect.persistent() } else { connect };
            w.start("a1", connect.clone());
            w.start("a2", connect);
            w.verdict(Verdict::Accepted);
            w.expect("a1", connack());
            w.verdict(Verdict::Accepted);
            if version == ProtocolVersion::V5 {
                w.expect("a1", disconnect(ReasonCode::SessionTakenOver));
            }
            w.expect_closed("a1");
            let present = persistent && version != ProtocolVersion::V31;
            w.expect("a2", if present { connack_present() } else { connack() });
            assert_eq!((w.population().connections, w.population().sessions), (1, 1));
        }
    });
}

#[test] // [MQTT3-3.1.4-2] [MQTT3-3.2.0-1] [MQTT5-3.1.4-3] [MQTT5-3.2.0-1]
fn of_two_connects_that_wait_for_the_store_the_later_stays_and_hears_connack_alone() {
    in_each_version(|version| {
        let mut w = World::new();
        w.hold_store();
        let connect = connecting(version).id("a").persistent();
        w.start("a1", connect.clone());
        w.expect_nothing("a1");
        w.start("a2", connect);
        w.expect_closed("a1");
        w.expect_nothing("a2");
        w.release_store(1);
        w.expect_nothing("a2");
        w.let_store_run();
        let present = version != ProtocolVersion::V31;
        w.expect("a2", if present { connack_present() } else { connack() });
        assert_eq!((w.population().connections, w.population().sessions), (1, 1));
    });
}

#[test]
fn a_verdict_on_a_connection_that_is_gone_changes_nothing() {
    let mut w = World::new();
    w.authenticate(Authenticator::Waiting);
    w.start("a", v311().persistent());
    w.lose("a");
    w.verdict(Verdict::Accepted);
    w.expect_nobody_left();
}

#[test]
fn the_store_finds_a_connection_gone_and_the_session_stays_for_the_next() {
    let mut w = World::new();
    w.hold_store();
    w.start("a", v311().persistent());
    w.lose("a");
    w.let_store_run();
    w.expect_quiet();
    assert_eq!((w.population().connections, w.population().sessions), (0, 1));
    assert!(w.connect("a", v311().persistent()));
}

#[test]
fn who_is_not_accepted_in_time_is_closed() {
    let mut w = World::new();
    w.open("silent", ProtocolVersion::V311);
    w.open("slow", ProtocolVersion::V311);
    w.send_bytes("slow", &[0x10, 20, 0, 4, b'M']);
    w.hold_store();
    w.start("unstored", v5().persistent());
    w.authenticate(Authenticator::Waiting);
    w.start("undecided", v5());
    w.pass_ms(9_999);
    w.expect_quiet();
    w.pass_ms(1 + 128);
    for name in ["silent", "slow", "unstored", "undecided"] {
        w.expect_closed(name);
        assert_eq!(w.cause(name), Some(&Cause::ConnectTimeout));
    }
    w.let_store_run();
    w.verdict(Verdict::Accepted);
    w.expect_quiet();
    assert_eq!(w.population().connections, 0);
}

#[test]
fn who_was_accepted_is_not_closed_by_the_connect_timeout() {
    let mut w = World::new();
    w.connect("a", v5());
    w.pass(3_600);
    w.send("a", pingreq());
    w.expect("a", pingresp());
}

#[test] // [MQTT3-3.2.2-4] [MQTT5-3.1.4-2]
fn a_connection_over_the_limit_is_refused_and_the_others_stay() {
    in_each_version(|version| {
        let mut w = World::with(Limits { connections_max: 2, ..Limits::default() });
        w.connect("a", v311());
        w.connect("b", v5());
        w.expect_refused("c", connecting(version), ReasonCode::QuotaExceeded);
        w.send("a", pingreq());
        w.expect("a", pingresp());
        w.disconnect("b");
        w.connect("c", connecting(version));
    });
}

#[test]
fn whoever_has_not_said_connect_gives_way_when_places_are_short() {
    let mut w = World::with(Limits { connections_max: 3, ..Limits::default() });
    w.connect("a", v311());
    for silent in ["first", "second"] {
        w.open(silent, ProtocolVersion::V5);
        w.pass_ms(1);
    }
    // All have had too little time yet, and then those have that came last.
    w.pass_ms(1_900);
    w.expect_refused("b", v5(), ReasonCode::QuotaExceeded);
    w.pass_ms(98);
    w.connect("c", v5());
    w.expect_closed("first");
    assert_eq!(w.cause("first"), Some(&Cause::GaveWay));
    assert_eq!(w.snapshot().counters.connects_given_way, 1);
    w.expect_refused("d", v5(), ReasonCode::QuotaExceeded);
    w.send("second", v5());
    w.expect("second", connack());
    // One that was turned away, and does not say what it wanted, gives nobody's place away.
    w.open("too many", ProtocolVersion::V5);
    w.pass(3);
    w.expect_refused("f", v5(), ReasonCode::QuotaExceeded);
    w.expect_closed("too many");
    assert_eq!(w.cause("too many"), Some(&Cause::GaveWay));
    w.disconnect("second");
    w.open("third", ProtocolVersion::V5);
    // Who has said it keeps its place, also when its verdict takes long.
    w.authenticate(Authenticator::Waiting);
    w.send("third", v5());
    w.pass(5);
    w.open("e", ProtocolVersion::V5);
    w.send("e", v5());
    w.expect("e", connack_refused(ReasonCode::QuotaExceeded));
    w.expect_closed("e");
    w.verdict(Verdict::Accepted);
    w.expect("third", connack());
    w.send("a", pingreq());
    w.expect("a", pingresp());
}

#[test] // [MQTT3-3.1.0-2] [MQTT5-3.1.0-2]
fn a_second_connect_is_a_violation() {
    in_each_version(|version| {
        let mut w = World::new();
        w.connect("a", connecting(version));
        w.send("a", connecting(version));
        if version == ProtocolVersion::V5 {
            w.expect("a", disconnect(ReasonCode::ProtocolError));
        }
        w.expect_closed("a");
        w.expect_nobody_left();
    });
}

#[test] // [MQTT3-3.1.0-1] [MQTT5-3.1.0-1]
fn whoever_does_not_begin_with_connect_is_closed_at_the_first_byte() {
    for first in (0x00..=0xFFu8).filter(|first| first >> 4 != 1) {
        for rest in [&[][..], &[0], &[2, 0, 1]] {
            let mut w = World::new();
            w.open("a", ProtocolVersion::V311);
            w.send_bytes("a", &[&[first], rest].concat());
            w.expect_closed("a");
            w.expect_nobody_left();
        }
    }
}

/// A CONNECT of exactly `bytes` bytes.
fn connect_of(bytes: usize) -> Connecting {
    let size = |connect: &Connecting| {
        let version = connect.version();
        Said::from(connect.clone()).bytes(version).expect("it can be written").len()
    };
    let connect = v311().id("a").user(&"u".repeat(65_535));
    let password = bytes - size(&connect.clone().password([]));
    let connect = connect.password(vec![b'p'; password]);
    assert_eq!(size(&connect), bytes);
    connect
}

#[test]
fn a_connect_may_have_100_000_bytes_and_not_one_more() {
    for pieces in [Pieces::Whole, Pieces::Random(3)] {
        let mut w = World::new();
        w.in_pieces(pieces);
        w.connect("a", connect_of(100_000));
        w.start("b", connect_of(100_001));
        w.expect_closed("b");
    }
    let mut w = World::new();
    w.open("claim", ProtocolVersion::V311);
    w.send_bytes("claim", &[0x10, 0xFF, 0xFF, 0xFF, 0x7F]);
    w.expect_closed("claim");
}

#[test] // [MQTT5-4.12.0-1]
fn extended_authentication_is_refused_by_its_code() {
    let mut w = World::new();
    let connect = v5().property(Property::AuthenticationMethod("SCRAM-SHA-1"));
    w.expect_refused("a", connect, ReasonCode::BadAuthenticationMethod);
}

#[test] // [MQTT5-4.12.0-7]
fn auth_on_a_connection_that_named_no_method_is_a_violation() {
    let mut w = World::new();
    w.connect("a", v5());
    w.send("a", Said::Auth { reason: ReasonCode::Success, properties: Vec::new() });
    w.expect("a", disconnect(ReasonCode::ProtocolError));
    w.expect_closed("a");
}

#[test]
fn a_will_that_could_not_be_published_refuses_the_connection() {
    in_each_version(|version| {
        for topic in ["$SYS/broker/uptime", &"x/".repeat(201)] {
            let mut w = World::new();
            let connect = connecting(version).will(will(topic, "m"));
            w.expect_refused("a", connect, ReasonCode::TopicNameInvalid);
        }
    });
}

#[test] // [MQTT5-3.2.2-21]
fn a_session_expiry_over_the_limit_is_cut_and_that_is_said() {
    let mut w = World::with(Limits { session_expiry_max: Some(100), ..Limits::default() });
    for (asked, told) in [(99, None), (100, None), (101, Some(100)), (u32::MAX, Some(100))] {
        w.start("a", v5().expiry(asked));
        let Said::Connack { properties: Some(bytes), .. } = w.expect("a", connack()) else {
            panic!("a CONNACK was expected");
        };
        assert_eq!(Properties::from_checked(&bytes).session_expiry_interval(), told, "{asked}");
        w.disconnect("a");
    }
    w.pass_ms(100_000 + 128);
    w.expect_nobody_left();
}

#[test]
fn connections_are_reported_with_their_client_and_their_cause() {
    use noctule_broker::Report;
    let mut w = World::new();
    w.connect("a", v311().keep_alive(9));
    w.lose("a");
    let [
        Report::Connected { client_id, version, session_present, keep_alive, .. },
        Report::Disconnected { client_id: Some(of), cause: Cause::PeerClosed, .. },
    ] = w.reports()
    else {
        panic!("{:?}", w.reports());
    };
    assert_eq!((&**client_id, &**of), ("a", "a"));
    assert_eq!((*version, *session_present, *keep_alive), (ProtocolVersion::V311, false, 9));
}
