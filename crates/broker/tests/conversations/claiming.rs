//! A user name that a client only claims, where nobody asks for a proof, and the rights of that user.

use noctule_broker::{EntrancePolicy, Policies, Policy, Report, Verdict, Who, Wish, Word};
use noctule_mqtt::ReasonCode;
use noctule_testkit::packets::*;
use noctule_testkit::{Authenticator, World};
use std::sync::Arc;

/// `anna` may do everything, and whoever has no name what begins with `open`.
#[derive(Debug)]
struct AnnaAlone;

impl Policy for AnnaAlone {
    fn decide(&self, who: Who<'_>, wish: Wish<'_>) -> Word {
        let topic = match wish {
            Wish::Publish(topic) | Wish::Read(topic) => topic.as_str(),
            Wish::Subscribe(filter) => filter.as_str(),
        };
        match who.user_name {
            Some("anna") => Word::Allowed,
            None if topic.starts_with("open") => Word::Allowed,
            _ => Word::Unspoken,
        }
    }

    fn explain(&self, _: Who<'_>, _: Wish<'_>) -> String {
        "there is no rule".into()
    }
}

fn policies(trusts_claimed_names: bool) -> Policies {
    let policy = Some(Arc::new(AnnaAlone) as Arc<dyn Policy>);
    let entrance = EntrancePolicy { policy, trusts_claimed_names, ..EntrancePolicy::default() };
    Policies { entrances: vec![entrance], ..Policies::default() }
}

/// A world with an `observer` that has proved to be anna and sees everything.
fn world(trusts_claimed_names: bool) -> World {
    let mut w = World::governed(policies(trusts_claimed_names));
    w.connect("observer", v5().user("anna"));
    w.subscribe("observer", "#", 1);
    w.authenticate(Authenticator::Waiting);
    w
}

/// A client comes that claims to be anna.
fn claims(w: &mut World, name: &str, connect: Connecting) {
    w.start(name, connect.user("anna"));
    w.verdict(Verdict::AcceptedUnasked);
}

fn expect_puback(w: &mut World, name: &str, topic: &str, reason: ReasonCode) {
    w.send(name, publish(topic, "x").qos(1).id(1));
    let answer = puback(1);
    let is_good = reason == ReasonCode::Success;
    w.expect(name, if is_good { answer } else { answer.because(reason) });
    if is_good {
        w.receive("observer", publish(topic, "x").qos(1));
    } else {
        w.expect_nothing("observer");
    }
}

const DENIED: ReasonCode = ReasonCode::NotAuthorized;
const TAKEN: ReasonCode = ReasonCode::Success;

#[test]
fn a_claimed_name_gives_no_rights_of_that_user_but_those_of_nobody() {
    let mut w = world(false);
    claims(&mut w, "thief", v5());
    w.expect("thief", connack());
    expect_puback(&mut w, "thief", "plant/set", DENIED);
    expect_puback(&mut w, "thief", "open/x", TAKEN);
    w.send("thief", subscribe(1, "#", 0));
    w.expect("thief", suback(1, &[DENIED as u8]));
    let said = w.reports().iter().find_map(|report| match report {
        Report::Denied(said) => Some(said),
        _ => None,
    });
    let said = said.expect("a report");
    assert_eq!(said.user_name, None);
    assert!(said.why.contains("there is no rule; its user name counts for nothing"), "{said:?}");
    claims(&mut w, "will", v5().will(will("plant/set", "x")));
    w.expect("will", connack_refused(DENIED));
    w.expect_closed("will");
}

#[test]
fn where_claimed_names_are_trusted_they_give_the_rights_of_that_user() {
    let mut w = world(true);
    claims(&mut w, "anna", v5().will(will("plant/will", "gone")));
    w.expect("anna", connack());
    expect_puback(&mut w, "anna", "plant/set", TAKEN);
    w.subscribe("anna", "#", 0);
    w.lose("anna");
    w.receive("observer", publish("plant/will", "gone"));
}

#[test]
fn a_retained_message_is_judged_later_by_the_name_that_counted_when_it_came() {
    for (trusts, topic) in [(false, "open/x"), (true, "plant/x")] {
        let mut w = world(trusts);
        claims(&mut w, "anna", v5());
        w.expect("anna", connack());
        w.send("anna", publish(topic, "kept").retain());
        w.receive("observer", publish(topic, "kept"));
        // Whoever may read it gets it, as its publisher may still publish it.
        w.subscribe("observer", topic, 0);
        w.receive("observer", publish(topic, "kept").retain());
        assert_eq!(w.snapshot().denied.retained_source, 0);
    }
}

#[test]
fn trust_that_ends_or_begins_holds_for_who_is_there_for_what_is_subscribed_to_and_for_wills() {
    let mut w = world(true);
    claims(&mut w, "anna", v5().will(will("plant/will", "gone")));
    w.expect("anna", connack());
    w.subscribe("anna", "plant/#", 0);
    w.govern(policies(false));
    expect_puback(&mut w, "anna", "plant/set", DENIED);
    w.publish("observer", publish("plant/x", "secret").qos(1));
    w.receive("observer", publish("plant/x", "secret").qos(1));
    w.expect_nothing("anna");
    w.govern(policies(true));
    w.publish("observer", publish("plant/x", "told").qos(1));
    w.receive("observer", publish("plant/x", "told").qos(1));
    w.receive("anna", publish("plant/x", "told"));
    w.govern(policies(false));
    w.lose("anna");
    w.expect_nothing("observer");
    assert_eq!(w.snapshot().denied.will, 1);
}

#[test]
fn who_has_proved_a_name_has_its_rights_whatever_is_thought_of_claims() {
    let mut w = world(false);
    w.authenticate(Authenticator::Yes);
    w.connect("anna", v5().user("anna"));
    expect_puback(&mut w, "anna", "plant/set", TAKEN);
}
