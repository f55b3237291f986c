//! Enhanced authentication: AUTH to and fro, by a method that the test makes up.

use noctule_broker::{Credentials, Enhanced, Offer, Principal, Step, Verdict};
use noctule_mqtt::{Properties, ReasonCode};
use noctule_testkit::packets::*;
use noctule_testkit::{Authenticator, Said, World};

const CONTINUE: ReasonCode = ReasonCode::ContinueAuthentication;

fn world() -> World {
    let methods = vec!["RIDDLE".into(), "OTHER".into()];
    let mut w = World::offering(Offer { authentication_methods: methods, ..Offer::default() });
    w.authenticate(Authenticator::Waiting);
    w
}

fn asked(w: &World) -> Credentials {
    let undecided = w.undecided();
    assert_eq!(undecided.len(), 1);
    undecided[0].clone()
}

fn step(data: &[u8], step: Step) -> Option<Enhanced> {
    Some(Enhanced { method: "RIDDLE".into(), data: Some(data.into()), step })
}

/// A client that has answered one challenge and is connected.
fn connected(w: &mut World) {
    w.start("a", v5().method("RIDDLE", b"1").user("u").password("p"));
    w.challenge(b"2");
    w.expect("a", auth(CONTINUE, "RIDDLE", b"2"));
    w.send("a", auth(CONTINUE, "RIDDLE", b"3"));
    w.prove(b"4");
    let Some(Said::Connack { reason: ReasonCode::Success, properties, .. }) = w.next_heard("a")
    else {
        panic!("it is accepted")
    };
    let properties = properties.unwrap_or_default();
    let properties = Properties::from_checked(&properties);
    assert_eq!(properties.authentication_method(), Some("RIDDLE"));
    assert_eq!(properties.authentication_data(), Some(&b"4"[..]));
}

#[test] // [MQTT5-4.12.0-2] [MQTT5-4.12.0-3] [MQTT5-4.12.0-5]
fn client_and_decider_speak_in_turns_until_connack() {
    let mut w = world();
    w.start("a", v5().method("RIDDLE", b"1").user("u").password("p"));
    let first = asked(&w);
    assert_eq!(
        (first.user_name.as_deref(), first.password.as_deref()),
        (Some("u"), Some(&b"p"[..]))
    );
    assert_eq!(first.enhanced, step(b"1", Step::First));
    // What comes behind CONNECT waits, as always.
    w.say("a", auth(CONTINUE, "RIDDLE", b"3"));
    w.settle();
    w.expect_nothing("a");
    w.challenge(b"2");
    w.expect("a", auth(CONTINUE, "RIDDLE", b"2"));
    let second = asked(&w);
    assert_eq!((&*second.client_id, second.enhanced), ("a", step(b"3", Step::Next)));
    w.challenge(b"");
    w.expect("a", auth(CONTINUE, "RIDDLE", b""));
    w.send("a", auth(CONTINUE, "RIDDLE", b"5"));
    w.verdict(Verdict::Accepted);
    w.expect("a", connack());
    w.send("a", pingreq());
    w.expect("a", pingresp());
}

#[test] // [MQTT5-3.2.2-7] [MQTT5-4.12.0-4]
fn a_client_that_does_not_convince_is_refused() {
    let mut w = world();
    w.start("a", v5().method("RIDDLE", b"1").will(will("w", "m")));
    w.challenge(b"2");
    w.expect("a", auth(CONTINUE, "RIDDLE", b"2"));
    w.send("a", auth(CONTINUE, "RIDDLE", b"wrong"));
    w.verdict(Verdict::Refused(ReasonCode::NotAuthorized));
    w.expect("a", connack_refused(ReasonCode::NotAuthorized));
    w.expect_closed("a");
    assert_eq!(w.population().sessions, 0);
}

#[test] // [MQTT5-4.12.0-1]
fn a_method_that_nobody_knows_is_refused_at_once() {
    let mut w = world();
    w.expect_refused("a", v5().method("?", b""), ReasonCode::BadAuthenticationMethod);
    assert!(w.undecided().is_empty());
}

#[test] // [MQTT5-3.1.2-30] [MQTT5-4.12.0-5]
fn before_connack_nothing_but_the_next_step_may_come() {
    let wrong: [(Said, ReasonCode); 5] = [
        (auth(CONTINUE, "OTHER", b"3"), ReasonCode::ProtocolError),
        (auth(ReasonCode::Reauthenticate, "RIDDLE", b"3"), ReasonCode::ProtocolError),
        (auth(ReasonCode::Success, "RIDDLE", b"3"), ReasonCode::ProtocolError),
        (pingreq(), ReasonCode::ProtocolError),
        (publish("x", "m").into(), ReasonCode::ProtocolError),
    ];
    for (said, reason) in wrong {
        let mut w = world();
        w.start("a", v5().method("RIDDLE", b"1"));
        w.challenge(b"2");
        w.expect("a", auth(CONTINUE, "RIDDLE", b"2"));
        w.send("a", said);
        w.expect("a", connack_refused(reason));
        w.expect_closed("a");
    }
    let mut w = world();
    w.start("a", v5().method("RIDDLE", b"1"));
    w.challenge(b"2");
    w.expect("a", auth(CONTINUE, "RIDDLE", b"2"));
    w.send("a", disconnect(ReasonCode::Success));
    w.expect_closed("a");
}

#[test]
fn a_client_that_does_not_go_on_is_closed_when_its_time_to_connect_is_over() {
    let mut w = world();
    w.start("a", v5().method("RIDDLE", b"1"));
    w.pass(9);
    w.challenge(b"2");
    w.expect("a", auth(CONTINUE, "RIDDLE", b"2"));
    w.pass(2);
    w.expect_closed("a");
}

#[test] // [MQTT5-4.12.0-6] [MQTT5-4.12.0-7]
fn who_has_named_no_method_has_nothing_to_say_about_it_and_hears_nothing() {
    let mut w = world();
    w.start("a", v5());
    // Whoever decides cannot make it take part.
    w.challenge(b"2");
    w.expect_nothing("a");
    w.start("a2", v5());
    w.prove(b"4");
    let Some(Said::Connack { reason: ReasonCode::Success, properties, .. }) = w.next_heard("a2")
    else {
        panic!("it is accepted")
    };
    let properties = properties.unwrap_or_default();
    let properties = Properties::from_checked(&properties);
    assert_eq!(properties.authentication_method(), None);
    assert_eq!(properties.authentication_data(), None);
    let mut w = World::new();
    w.connect("a", v5());
    w.send("a", auth(ReasonCode::Reauthenticate, "RIDDLE", b""));
    w.expect("a", disconnect(ReasonCode::ProtocolError));
    w.expect_closed("a");
}

#[test] // [MQTT5-4.12.1-1]
fn a_connected_client_proves_again_who_it_is_while_messages_go_on() {
    let mut w = world();
    connected(&mut w);
    w.subscribe("a", "x", 1);
    for round in [b"10", b"20"] {
        w.send("a", auth(ReasonCode::Reauthenticate, "RIDDLE", round));
        assert_eq!(asked(&w).enhanced, step(round, Step::Again));
        w.publish("a", publish("x", "m").qos(1));
        w.receive("a", publish("x", "m").qos(1));
        w.challenge(b"11");
        w.expect("a", auth(CONTINUE, "RIDDLE", b"11"));
        w.send("a", auth(CONTINUE, "RIDDLE", b"12"));
        assert_eq!(asked(&w).enhanced, step(b"12", Step::Next));
        w.prove(b"13");
        w.expect("a", auth(ReasonCode::Success, "RIDDLE", b"13"));
    }
}

#[test] // [MQTT5-4.12.1-2]
fn one_that_cannot_prove_it_again_is_disconnected() {
    for (verdict, told) in [
        (ReasonCode::NotAuthorized, ReasonCode::NotAuthorized),
        // CONNACK knows this one, DISCONNECT does not.
        (ReasonCode::BadUserNameOrPassword, ReasonCode::NotAuthorized),
    ] {
        let mut w = world();
        connected(&mut w);
        w.send("a", auth(ReasonCode::Reauthenticate, "RIDDLE", b"10"));
        w.verdict(Verdict::Refused(verdict));
        w.expect("a", disconnect(told));
        w.expect_closed("a");
    }
}

#[test]
fn one_that_proves_to_be_somebody_else_is_disconnected() {
    let again = |who: &str| {
        let mut w = world();
        connected(&mut w);
        w.send("a", auth(ReasonCode::Reauthenticate, "RIDDLE", b"10"));
        w.verdict(Verdict::AcceptedAs(Principal::user(who)));
        w
    };
    let mut w = again("user");
    assert!(matches!(w.next_heard("a"), Some(Said::Auth { reason: ReasonCode::Success, .. })));
    let mut w = again("other");
    w.expect("a", disconnect(ReasonCode::NotAuthorized));
    w.expect_closed("a");
}

#[test] // [MQTT5-4.12.0-5]
fn a_connected_client_keeps_to_its_method_and_its_turn() {
    let wrong = [
        vec![auth(ReasonCode::Reauthenticate, "OTHER", b"")],
        vec![auth(CONTINUE, "RIDDLE", b"")],
        vec![auth(ReasonCode::Success, "RIDDLE", b"")],
        vec![auth(ReasonCode::Reauthenticate, "RIDDLE", b""); 2],
        vec![auth(ReasonCode::Reauthenticate, "RIDDLE", b""), auth(CONTINUE, "RIDDLE", b"")],
    ];
    for packets in wrong {
        let mut w = world();
        connected(&mut w);
        for packet in packets {
            w.send("a", packet);
        }
        w.expect("a", disconnect(ReasonCode::ProtocolError));
        w.expect_closed("a");
    }
}
