//! A session belongs to the user whose client has it.

use noctule_broker::{Offer, Principal, Sequence, SessionKey, StoredSession, Verdict};
use noctule_mqtt::{ProtocolVersion, ReasonCode};
use noctule_testkit::packets::*;
use noctule_testkit::{Authenticator, World};

const FOREIGN: ReasonCode = ReasonCode::ClientIdentifierNotValid;

/// A world in which `anna` has a session `x`, with a subscription, and is away.
fn world() -> World {
    let mut w = World::new();
    w.connect("first", v5().id("x").user("anna").expiry(1_000));
    w.subscribe("first", "t", 1);
    w.disconnect("first");
    w
}

#[test]
fn a_session_is_neither_taken_over_nor_ended_by_somebody_else() {
    for version in [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5] {
        for clean in [false, true] {
            let mut w = world();
            let somebody = || Connecting::of(version).id("x").clean(clean);
            w.expect_refused("other", somebody().user("bert"), FOREIGN);
            w.expect_refused("nobody", somebody(), FOREIGN);
            assert_eq!(w.snapshot().refused.foreign_session, 2);
            assert!(w.connect("again", v5().id("x").user("anna").clean(false)), "it is there");
            w.connect("publisher", v5());
            w.publish("publisher", publish("t", "m").qos(1));
            w.receive("again", publish("t", "m").qos(1));
        }
    }
}

#[test]
fn who_is_connected_is_not_thrown_out_by_somebody_else_but_by_himself() {
    let mut w = world();
    w.connect("first", v5().id("x").user("anna").clean(false));
    w.expect_refused("other", v5().id("x").user("bert"), FOREIGN);
    w.send("first", pingreq());
    w.expect("first", pingresp());
    w.connect("second", v5().id("x").user("anna").clean(false));
    w.expect("first", disconnect(ReasonCode::SessionTakenOver));
    w.expect_closed("first");
}

#[test]
fn a_session_of_nobody_is_for_whoever_comes_first() {
    let mut w = World::new();
    w.connect("first", v5().id("x").expiry(1_000));
    w.disconnect("first");
    assert!(w.connect("anna", v5().id("x").user("anna").clean(false).expiry(1_000)));
    w.disconnect("anna");
    w.expect_refused("bert", v5().id("x").user("bert").clean(false), FOREIGN);
    w.expect_refused("first", v5().id("x").clean(false), FOREIGN);
}

#[test]
fn it_is_the_user_who_was_found_out_that_counts_and_not_the_one_that_is_claimed() {
    let mut w = World::new();
    w.authenticate(Authenticator::Waiting);
    let login = |w: &mut World, name: &str, claims: &str, is: &str| {
        w.start(name, v5().id("x").user(claims).clean(false).expiry(1_000));
        w.verdict(Verdict::AcceptedAs(Principal::user(is)));
    };
    login(&mut w, "first", "bert", "anna");
    w.expect("first", connack());
    login(&mut w, "second", "anna", "bert");
    w.expect("second", connack_refused(FOREIGN));
    w.expect_closed("second");
    login(&mut w, "third", "carl", "anna");
    w.expect("third", connack_present());
    w.expect("first", disconnect(ReasonCode::SessionTakenOver));
    w.expect_closed("first");
}

#[test]
fn nothing_of_a_session_is_touched_before_its_client_is_accepted() {
    let mut w = world();
    w.authenticate(Authenticator::Waiting);
    w.start("other", v5().id("x").user("anna").password("wrong"));
    w.refuse(ReasonCode::BadUserNameOrPassword);
    w.expect("other", connack_refused(ReasonCode::BadUserNameOrPassword));
    w.expect_closed("other");
    w.authenticate(Authenticator::Yes);
    assert!(w.connect("first", v5().id("x").user("anna").clean(false)), "it is there");
}

#[test]
fn if_sessions_belong_to_nobody_anybody_may_have_them() {
    let mut w = World::offering(Offer { sessions_belong_to_users: false, ..Offer::default() });
    w.connect("first", v5().id("x").user("anna").expiry(1_000));
    assert!(w.connect("second", v5().id("x").user("bert").clean(false).expiry(1_000)));
    w.expect("first", disconnect(ReasonCode::SessionTakenOver));
    w.expect_closed("first");
    assert_eq!(w.snapshot().refused.foreign_session, 0);
}

#[test]
fn a_name_that_was_not_verified_owns_nothing_and_gets_nothing_that_is_owned() {
    let mut w = world();
    w.authenticate(Authenticator::Waiting);
    // Where nobody asks, anybody can claim to be anna.
    w.start("thief", v5().id("x").user("anna").clean(false));
    w.verdict(Verdict::AcceptedUnasked);
    w.expect("thief", connack_refused(FOREIGN));
    w.expect_closed("thief");
    // What begins with a claimed name is nobody's, and so for whoever comes.
    w.start("carl", v5().id("y").user("carl").expiry(1_000));
    w.verdict(Verdict::AcceptedUnasked);
    w.expect("carl", connack());
    w.start("dora", v5().id("y").user("dora").clean(false).expiry(1_000));
    w.verdict(Verdict::AcceptedAs(Principal::user("dora")));
    w.expect("dora", connack_present());
    w.expect("carl", disconnect(ReasonCode::SessionTakenOver));
    w.expect_closed("carl");
    // It is dora's now.
    w.start("carl again", v5().id("y").user("carl").clean(false));
    w.verdict(Verdict::AcceptedUnasked);
    w.expect("carl again", connack_refused(FOREIGN));
    w.expect_closed("carl again");
}

/// All ways in which somebody else comes for `x`: as another user by password, as nobody, and by a
/// proof that names another user; to go on with it and to end it.
fn somebody_else_comes(w: &mut World) {
    for clean in [false, true] {
        w.authenticate(Authenticator::Yes);
        w.expect_refused("bert", v5().id("x").user("bert").clean(clean), FOREIGN);
        w.expect_refused("nobody", v311().id("x").clean(clean), FOREIGN);
        w.authenticate(Authenticator::Waiting);
        // What the client claims beside its proof does not count.
        w.start("prover", v5().id("x").user("anna").method("RIDDLE", b"1").clean(clean));
        w.prove_as("bert", b"2");
        w.expect("prover", connack_refused(FOREIGN));
        w.expect_closed("prover");
    }
}

fn with_proofs() -> World {
    let authentication_methods = vec!["RIDDLE".into()];
    World::offering(Offer { authentication_methods, ..Offer::default() })
}

#[test]
fn a_will_that_waits_is_neither_published_nor_dropped_by_somebody_else() {
    for is_back in [false, true] {
        let mut w = with_proofs();
        w.connect("watcher", v5());
        w.subscribe("watcher", "last", 1);
        let last = will("last", "words").delay(100);
        w.connect("anna", v5().id("x").user("anna").expiry(1_000).will(last));
        w.lose("anna");
        somebody_else_comes(&mut w);
        w.expect_nothing("watcher");
        w.authenticate(Authenticator::Yes);
        if is_back {
            assert!(w.connect("again", v5().id("x").user("anna").clean(false).expiry(1_000)));
            w.pass(200);
            w.expect_nothing("watcher");
        } else {
            w.pass(101);
            w.expect_publish("watcher", publish("last", "words"));
        }
    }
}

#[test]
fn a_session_that_a_store_has_kept_is_its_users_too() {
    let mut w = with_proofs();
    w.restore(StoredSession {
        key: SessionKey(5),
        client_id: "x".into(),
        principal: Principal::user("anna"),
        expiry: None,
        away_since_ms: None,
        ends_in_ms: None,
        will: None,
        subscriptions: Vec::new(),
        in_flight: Vec::new(),
        held: Vec::new(),
        received: Vec::new(),
        queued: 0,
        queued_bytes: 0,
        last_queued: Sequence(0),
        next_sequence: 1,
    });
    let before = w.records().len();
    somebody_else_comes(&mut w);
    assert_eq!(w.records().len(), before, "nothing of it was written");
    assert_eq!(w.snapshot().refused.foreign_session, 6);
    w.authenticate(Authenticator::Waiting);
    w.start("anna", v5().id("x").method("RIDDLE", b"1").clean(false));
    w.prove_as("anna", b"2");
    w.expect("anna", connack_present());
}
