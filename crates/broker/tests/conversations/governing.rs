//! What clients may do: every right on all its ways, given, denied and taken back.

use crate::{connecting, in_each_version};
use noctule_broker::{
    Denied, Entrance, EntranceId, EntrancePolicy, Extras, Grant, Limits, Message, MessageParts,
    Mount, Owed, Policies, Policy, Principal, PublishedBy, QoS, Record, Report, Sequence,
    SessionKey, Stage, StoredSession, StoredSubscription, SubscriptionOptions, Verdict, Who, Wish,
    Word,
};
use noctule_mqtt::{PacketId, ProtocolVersion, ReasonCode, TopicFilter};
use noctule_testkit::packets::*;
use noctule_testkit::{Authenticator, PromptStore, Said, Store, World};
use std::sync::Arc;

/// Everything is allowed but what is named: a user, `p`, `r` or `s`, and a filter.
#[derive(Debug, Clone, Default)]
struct Law {
    denied: Vec<(&'static str, char, &'static str)>,
    /// What is not named is for others to say.
    is_silent: bool,
}

impl Policy for Law {
    fn decide(&self, who: Who<'_>, wish: Wish<'_>) -> Word {
        let is_denied = self.denied.iter().any(|(user, kind, filter)| {
            let filter = TopicFilter::new(filter).expect("a filter");
            let is_meant = match wish {
                Wish::Publish(topic) => *kind == 'p' && filter.matches(topic),
                Wish::Read(topic) => *kind == 'r' && filter.matches(topic),
                Wish::Subscribe(wanted) => *kind == 's' && filter == wanted,
            };
            is_meant && Some(*user) == who.user_name
        });
        match (is_denied, self.is_silent) {
            (true, _) => Word::Denied,
            (false, true) => Word::Unspoken,
            (false, false) => Word::Allowed,
        }
    }

    fn explain(&self, _: Who<'_>, wish: Wish<'_>) -> String {
        format!("the law says so of: {wish}")
    }
}

fn denying(denied: &[(&'static str, char, &'static str)]) -> Policies {
    let law: Arc<dyn Policy> = Arc::new(Law { denied: denied.to_vec(), is_silent: false });
    let entrance = EntrancePolicy { policy: Some(law), ..EntrancePolicy::default() };
    Policies { entrances: vec![entrance; 2], ..Policies::default() }
}

/// Whether a right is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    Allowed,
    Denied,
    /// It was there, and was taken back before the last moment.
    Revoked,
}

type Walk = fn(&mut World, ProtocolVersion, &mut dyn FnMut(&mut World)) -> bool;

/// One way of a right through a broker.
struct Way {
    name: &'static str,
    /// What is denied.
    denied: (&'static str, char, &'static str),
    /// Walks it, calling the third when a right may be revoked; returns whether it led somewhere.
    walk: Walk,
    /// What is counted if it did not.
    count: fn(&Denied) -> u64,
}

fn user(version: ProtocolVersion, name: &str) -> Connecting {
    connecting(version).user(name)
}

/// Whether a client hears of a message, which is acknowledged.
fn hears(w: &mut World, name: &str, payload: &str) -> bool {
    let mut heard = false;
    for said in w.all_heard(name) {
        if let Said::Publish(publish) = said {
            heard |= publish.payload == payload.as_bytes();
            w.acknowledge(name, &publish);
        }
    }
    heard
}

/// A publisher `p` who is sure of its right, and a watcher of everything.
fn with_publisher(w: &mut World) {
    w.connect("p", user(ProtocolVersion::V5, "p"));
}

fn publishes(w: &mut World, version: ProtocolVersion, revoke: &mut dyn FnMut(&mut World)) -> bool {
    w.connect("watcher", user(ProtocolVersion::V5, "w"));
    w.subscribe("watcher", "t/#", 2);
    w.connect("a", user(version, "a"));
    // Once before, so that what was right then is remembered.
    w.publish("a", publish("u", "before").qos(1));
    revoke(w);
    let has_reasons = version == ProtocolVersion::V5;
    let mut led = None;
    for (qos, id) in [(0, 0), (1, 11), (2, 12)] {
        let payload = format!("at {qos}");
        let mut message = publish("t/x", &payload).qos(qos);
        if qos > 0 {
            message = message.id(id);
        }
        w.send("a", message);
        let got = hears(w, "watcher", &payload);
        assert!(led.is_none_or(|others| others == got), "at QoS {qos}");
        led = Some(got);
        let answer = w.all_heard("a");
        let refused = has_reasons && !got;
        let reason = ReasonCode::NotAuthorized;
        let expected = match qos {
            0 => Vec::new(),
            1 if refused => vec![puback(id).because(reason)],
            1 => vec![puback(id)],
            _ if refused => vec![pubrec(id).because(reason)],
            _ => vec![pubrec(id)],
        };
        assert_eq!(answer, expected, "at QoS {qos}");
        if qos == 2 && !refused {
            w.send("a", pubrel(id));
            let released = if got {
                pubcomp(id)
            } else {
                pubcomp(id).because(ReasonCode::PacketIdentifierNotFound)
            };
            let heard = w.all_heard("a");
            assert!(heard == [pubcomp(id)] || heard == [released], "{heard:?}");
        }
    }
    led.unwrap_or_default()
}

fn subscribes(w: &mut World, version: ProtocolVersion, revoke: &mut dyn FnMut(&mut World)) -> bool {
    with_publisher(w);
    w.connect("a", user(version, "a"));
    w.send("a", subscribe(1, "t/+", 1));
    let granted = match w.all_heard("a").as_slice() {
        [said] if *said == suback(1, &[1]) => true,
        [said] => {
            let reason = if version == ProtocolVersion::V5 { 0x87 } else { 0x80 };
            assert_eq!(*said, suback(1, &[reason]));
            false
        }
        other => panic!("{other:?}"),
    };
    revoke(w);
    w.publish("p", publish("t/x", "x").qos(1));
    let heard = hears(w, "a", "x");
    assert!(granted || !heard);
    heard
}

fn live(w: &mut World, version: ProtocolVersion, revoke: &mut dyn FnMut(&mut World)) -> bool {
    with_publisher(w);
    w.connect("a", user(version, "a"));
    w.subscribe("a", "#", 2);
    w.publish("p", publish("u", "sure").qos(1));
    assert!(hears(w, "a", "sure"), "another topic");
    revoke(w);
    let heard: Vec<bool> = (0..3)
        .map(|qos| {
            let payload = format!("at {qos}");
            w.publish("p", publish("t/x", &payload).qos(qos));
            hears(w, "a", &payload)
        })
        .collect();
    assert!(heard.iter().all(|one| *one == heard[0]), "{heard:?}");
    heard[0]
}

/// So many messages at once that they are taken in together.
fn flood(w: &mut World, name: &str, qos: u8) {
    for number in 0..8 {
        let message = publish("t/x", number.to_string()).qos(qos);
        w.say(name, if qos == 0 { message } else { message.id(20 + number) });
    }
    w.settle();
    let answers = w.all_heard(name).len();
    assert_eq!(answers, if qos == 0 { 0 } else { 8 });
}

/// How many of a flood at each QoS come: all, or none.
fn of_floods(w: &mut World, publisher: &str, reader: &str) -> bool {
    let mut heard = Vec::new();
    for qos in 0..2 {
        flood(w, publisher, qos);
        let came = (0..8).filter(|_| {
            w.next_heard(reader)
                .map(|said| match said {
                    Said::Publish(publish) => w.acknowledge(reader, &publish),
                    other => panic!("{other}"),
                })
                .is_some()
        });
        heard.push(came.count());
    }
    assert!(heard == [8, 8] || heard == [0, 0], "{heard:?}");
    heard == [8, 8]
}

fn floods(w: &mut World, version: ProtocolVersion, revoke: &mut dyn FnMut(&mut World)) -> bool {
    w.connect("watcher", user(version, "w"));
    w.subscribe("watcher", "t/#", 1);
    w.connect("a", user(version, "a"));
    // Once before, so that what was right then is remembered.
    flood(w, "a", 0);
    let _ = w.all_heard("watcher");
    revoke(w);
    of_floods(w, "a", "watcher")
}

fn live_in_a_flood(
    w: &mut World,
    version: ProtocolVersion,
    revoke: &mut dyn FnMut(&mut World),
) -> bool {
    w.connect("p", user(version, "p"));
    w.connect("a", user(version, "a"));
    w.subscribe("a", "t/#", 1);
    flood(w, "p", 0);
    let _ = w.all_heard("a");
    revoke(w);
    of_floods(w, "p", "a")
}

fn retained(w: &mut World, version: ProtocolVersion, revoke: &mut dyn FnMut(&mut World)) -> bool {
    with_publisher(w);
    w.publish("p", publish("t/x", "kept").qos(1).retain());
    w.connect("a", user(version, "a"));
    revoke(w);
    w.subscribe("a", "t/#", 1);
    hears(w, "a", "kept")
}

/// The publisher of what is retained may not publish it any more.
fn retained_source(
    w: &mut World,
    version: ProtocolVersion,
    revoke: &mut dyn FnMut(&mut World),
) -> bool {
    w.connect("a", user(version, "a"));
    w.publish("a", publish("t/x", "kept").qos(0).retain());
    w.disconnect("a");
    revoke(w);
    w.connect("b", user(version, "b"));
    w.subscribe("b", "t/#", 1);
    hears(w, "b", "kept")
}

fn queued(w: &mut World, version: ProtocolVersion, revoke: &mut dyn FnMut(&mut World)) -> bool {
    with_publisher(w);
    w.connect("a", user(version, "a").persistent());
    w.subscribe("a", "#", 2);
    w.disconnect("a");
    for qos in 1..3 {
        w.publish("p", publish("t/x", "waited").qos(qos));
        w.publish("p", publish("u", "between").qos(qos));
    }
    revoke(w);
    w.connect("a", user(version, "a").persistent());
    let heard = w.all_heard("a");
    let mut waited = 0;
    let mut between = 0;
    for said in heard {
        let Said::Publish(publish) = said else { panic!("{said}") };
        waited += u32::from(publish.payload == b"waited");
        between += u32::from(publish.payload == b"between");
        w.acknowledge("a", &publish);
    }
    // What comes behind QoS 2 waits for the store in its turn.
    for said in w.all_heard("a") {
        let Said::Publish(publish) = said else { panic!("{said}") };
        waited += u32::from(publish.payload == b"waited");
        between += u32::from(publish.payload == b"between");
        w.acknowledge("a", &publish);
    }
    assert_eq!(between, 2, "what may be read comes");
    assert!(waited == 2 || waited == 0, "{waited}");
    waited == 2
}

/// In flight, not acknowledged, and sent again.
fn resumed(w: &mut World, version: ProtocolVersion, revoke: &mut dyn FnMut(&mut World)) -> bool {
    with_publisher(w);
    w.connect("a", user(version, "a").persistent());
    w.subscribe("a", "#", 1);
    w.publish("p", publish("t/x", "sent").qos(1));
    let sent = w.next_heard("a").is_some();
    w.lose("a");
    revoke(w);
    w.connect("a", user(version, "a").persistent());
    let again = hears(w, "a", "sent");
    assert!(sent || !again);
    again
}

fn wills(w: &mut World, version: ProtocolVersion, revoke: &mut dyn FnMut(&mut World)) -> bool {
    w.connect("watcher", user(ProtocolVersion::V5, "w"));
    w.subscribe("watcher", "t/#", 1);
    w.open("a", version);
    w.send("a", user(version, "a").will(will("t/x", "lost").qos(1)));
    let heard = w.next_heard("a");
    let Some(Said::Connack { reason, .. }) = heard else { panic!("{heard:?}") };
    if reason != ReasonCode::Success {
        assert_eq!(reason, ReasonCode::NotAuthorized);
        w.expect_closed("a");
        return false;
    }
    revoke(w);
    w.lose("a");
    hears(w, "watcher", "lost")
}

fn shared(w: &mut World, version: ProtocolVersion, revoke: &mut dyn FnMut(&mut World)) -> bool {
    with_publisher(w);
    for name in ["a", "b"] {
        w.connect(name, user(version, name));
        w.subscribe(name, "$share/g/t/#", 1);
    }
    revoke(w);
    let mut taken = [0, 0];
    for number in 0..4 {
        w.publish("p", publish("t/x", number.to_string()).qos(1));
        for (index, name) in ["a", "b"].iter().enumerate() {
            taken[index] += u32::from(hears(w, name, &number.to_string()));
        }
    }
    assert_eq!(taken[0] + taken[1], 4, "each message has come to one of them: {taken:?}");
    taken[0] > 0
}

/// Members of a group of whom nobody may read.
fn shared_by_none(
    w: &mut World,
    version: ProtocolVersion,
    revoke: &mut dyn FnMut(&mut World),
) -> bool {
    with_publisher(w);
    w.connect("a", user(version, "a"));
    w.subscribe("a", "$share/g/t/#", 1);
    revoke(w);
    w.publish("p", publish("t/x", "x").qos(1));
    hears(w, "a", "x")
}

/// What the broker says of itself.
fn system(w: &mut World, version: ProtocolVersion, revoke: &mut dyn FnMut(&mut World)) -> bool {
    w.connect("a", user(version, "a"));
    w.subscribe("a", "$SYS/#", 0);
    revoke(w);
    w.publish_system("$SYS/broker/uptime", "1");
    hears(w, "a", "1")
}

const WAYS: &[Way] = &[
    Way {
        name: "publish",
        denied: ("a", 'p', "t/#"),
        walk: publishes,
        count: |denied| denied.publish,
    },
    Way {
        name: "subscribe",
        denied: ("a", 's', "t/+"),
        walk: subscribes,
        count: |denied| denied.subscribe,
    },
    Way { name: "live", denied: ("a", 'r', "t/#"), walk: live, count: |denied| denied.read },
    Way {
        name: "retained",
        denied: ("a", 'r', "t/#"),
        walk: retained,
        count: |denied| denied.retained,
    },
    Way {
        name: "publish in a flood",
        denied: ("a", 'p', "t/#"),
        walk: floods,
        count: |denied| denied.publish,
    },
    Way {
        name: "live in a flood",
        denied: ("a", 'r', "t/#"),
        walk: live_in_a_flood,
        count: |denied| denied.read,
    },
    Way {
        name: "retained, by its source",
        denied: ("a", 'p', "t/#"),
        walk: retained_source,
        count: |denied| denied.publish + denied.retained_source,
    },
    Way {
        name: "queued",
        denied: ("a", 'r', "t/#"),
        walk: queued,
        count: |denied| denied.queued + denied.read,
    },
    Way {
        name: "resumed",
        denied: ("a", 'r', "t/#"),
        walk: resumed,
        count: |denied| denied.queued + denied.read,
    },
    Way { name: "will", denied: ("a", 'p', "t/#"), walk: wills, count: |denied| denied.will },
    Way { name: "shared", denied: ("a", 'r', "t/#"), walk: shared, count: |_| u64::MAX },
    Way {
        name: "shared by none",
        denied: ("a", 'r', "t/#"),
        walk: shared_by_none,
        count: |_| u64::MAX,
    },
    Way { name: "system", denied: ("a", 'r', "$SYS/#"), walk: system, count: |denied| denied.read },
];

#[test]
fn every_right_holds_on_all_its_ways() {
    let mut walked = 0;
    for Way { name, denied, walk, count } in WAYS {
        for right in [Right::Allowed, Right::Denied, Right::Revoked] {
            in_each_version(|version| {
                let law = denying(&[*denied]);
                let free = denying(&[]);
                let before = if right == Right::Denied { law.clone() } else { free.clone() };
                let mut w = World::governed(before);
                let mut revoke = |w: &mut World| {
                    if right == Right::Revoked {
                        w.govern(law.clone());
                    }
                };
                let led = walk(&mut w, version, &mut revoke);
                assert_eq!(led, right == Right::Allowed, "{name}, {right:?}, {version}");
                let counted = count(&w.snapshot().denied) > 0;
                let is_counted = *name == "shared" || *name == "shared by none" || counted != led;
                assert!(is_counted, "{name}, {right:?}, {version}: {:?}", w.snapshot().denied);
                walked += 1;
            });
        }
    }
    assert_eq!(walked, WAYS.len() * 3 * 3);
}

#[test]
fn what_was_taken_back_is_there_again_when_it_is_given_back() {
    let mut w = World::governed(denying(&[]));
    with_publisher(&mut w);
    w.connect("a", user(ProtocolVersion::V5, "a"));
    w.subscribe("a", "t/+", 1);
    for law in [denying(&[("a", 'r', "t/#")]), denying(&[("a", 's', "t/+")])] {
        w.govern(law);
        w.publish("p", publish("t/x", "no").qos(1));
        w.expect_nothing("a");
        w.govern(denying(&[]));
        w.publish("p", publish("t/x", "yes").qos(1));
        w.receive("a", publish("t/x", "yes").qos(1));
    }
}

#[test]
fn what_waited_at_qos_0_is_asked_about_like_the_rest() {
    in_each_version(|version| {
        let mut w = World::with(Limits { queue_at_most_once: true, ..Limits::default() });
        w.govern(denying(&[]));
        with_publisher(&mut w);
        w.connect("a", user(version, "a").persistent());
        w.subscribe("a", "#", 1);
        w.disconnect("a");
        for qos in 0..2 {
            w.publish("p", publish("t/x", "waited").qos(qos));
            w.publish("p", publish("u", "between").qos(qos));
        }
        w.govern(denying(&[("a", 'r', "t/#")]));
        w.connect("a", user(version, "a").clean(false).persistent());
        w.receive("a", publish("u", "between"));
        w.receive("a", publish("u", "between").qos(1));
        w.expect_nothing("a");
        assert_eq!(w.snapshot().denied.queued, 2);
        // Neither is kept for another time.
        w.disconnect("a");
        w.govern(denying(&[]));
        w.connect("a", user(version, "a").clean(false).persistent());
        w.expect_nothing("a");
    });
}

// [MQTT3-4.3.3-1] [MQTT5-4.3.3-4] [MQTT5-4.3.3-5]
#[test]
fn a_delivery_at_qos_2_that_was_begun_is_ended_without_its_message() {
    in_each_version(|version| {
        let mut w = World::governed(denying(&[]));
        with_publisher(&mut w);
        w.connect("a", user(version, "a").persistent());
        w.subscribe("a", "#", 2);
        w.publish("p", publish("t/x", "secret").qos(2));
        w.publish("p", publish("u", "open").qos(2));
        w.expect("a", publish("t/x", "secret").qos(2).id(1));
        w.expect("a", publish("u", "open").qos(2).id(2));
        // Its PUBRECs are lost with the connection, so it holds both identifiers, until PUBREL comes.
        w.lose("a");
        w.govern(denying(&[("a", 'r', "t/#")]));
        w.hold_store();
        w.start("a", user(version, "a").persistent());
        w.let_store_run();
        w.expect_anywhere("a", pubrel(1));
        assert_eq!(w.snapshot().denied.queued, 1);
        // Until it has said PUBCOMP, whatever happens it is PUBREL and not the message.
        w.lose("a");
        w.govern(denying(&[]));
        w.connect("a", user(version, "a").persistent());
        w.expect("a", pubrel(1));
        w.receive("a", publish("u", "open").qos(2).id(2).dup());
        w.send("a", pubcomp(1));
        w.lose("a");
        w.connect("a", user(version, "a").persistent());
        w.expect_nothing("a");
        w.disconnect("a");
        w.disconnect("p");
        w.expect_quiet();
    });
}

#[test]
fn a_subscription_without_its_right_can_be_ended_and_made_again() {
    let mut w = World::governed(denying(&[]));
    with_publisher(&mut w);
    w.connect("a", user(ProtocolVersion::V5, "a").expiry(100));
    w.subscribe("a", "t/+", 1);
    w.govern(denying(&[("a", 's', "t/+")]));
    // Its session becomes one that is kept, and its subscriptions are said anew.
    w.lose("a");
    w.connect("a", user(ProtocolVersion::V5, "a").clean(false));
    w.publish("p", publish("t/x", "no").qos(1));
    w.expect_nothing("a");
    w.unsubscribe("a", "t/+");
    w.govern(denying(&[]));
    w.publish("p", publish("t/x", "ended").qos(1));
    w.expect_nothing("a");
    w.subscribe("a", "t/+", 1);
    w.publish("p", publish("t/x", "again").qos(1));
    w.receive("a", publish("t/x", "again").qos(1));
}

#[test]
fn whoever_comes_as_somebody_else_has_other_rights_to_what_waits() {
    let mut w = World::governed(denying(&[("otto", 'r', "t/#")]));
    with_publisher(&mut w);
    // A session of nobody is for whoever comes.
    w.connect("a", v311().persistent());
    w.subscribe("a", "#", 1);
    w.disconnect("a");
    w.publish("p", publish("t/x", "secret").qos(1));
    w.publish("p", publish("u", "open").qos(1));
    w.connect("a", v311().persistent().user("otto"));
    w.receive("a", publish("u", "open").qos(1));
    w.publish("p", publish("t/x", "secret").qos(1));
    w.expect_nothing("a");
}

#[test]
fn where_a_client_comes_in_decides_by_what_it_is_judged() {
    let mut policies = denying(&[("a", 'p', "t/#")]);
    policies.entrances[1] = EntrancePolicy::default();
    let mut w = World::governed(policies);
    w.connect("a", user(ProtocolVersion::V5, "a"));
    w.send("a", publish("t/x", "x").qos(1).id(1));
    w.expect("a", puback(1).because(ReasonCode::NotAuthorized));
    w.come_by(EntranceId(1));
    w.connect("b", user(ProtocolVersion::V5, "a"));
    w.send("b", publish("t/x", "x").qos(1).id(1));
    w.expect("b", puback(1).because(ReasonCode::NoMatchingSubscribers));
}

/// `a` comes with a grant, publishes, and is answered so.
fn tries(w: &mut World, grant: Option<Law>, topic: &str, expected: ReasonCode) {
    w.open("a", ProtocolVersion::V5);
    w.send("a", user(ProtocolVersion::V5, "a"));
    let grant = grant.map(|law| Grant(Arc::new(law) as Arc<dyn Policy>));
    let principal = Principal { user_name: Some("a".into()), is_claimed: false, grant };
    w.verdict(Verdict::AcceptedAs(principal));
    w.expect("a", connack());
    w.send("a", publish(topic, "x").qos(1).id(1));
    w.expect("a", puback(1).because(expected));
    w.disconnect("a");
    w.retire("a");
}

#[test]
fn a_grant_gives_rights_that_no_policy_speaks_of_and_only_as_long_as_it_is_there() {
    let silent: Arc<dyn Policy> =
        Arc::new(Law { denied: vec![("a", 'p', "never")], is_silent: true });
    let entrances = vec![EntrancePolicy { policy: Some(silent), ..EntrancePolicy::default() }];
    let mut w = World::governed(Policies { entrances, grants: true, ..Policies::default() });
    w.authenticate(Authenticator::Waiting);
    let all = Law::default();
    tries(&mut w, None, "t", ReasonCode::NotAuthorized);
    tries(&mut w, Some(all.clone()), "t", ReasonCode::NoMatchingSubscribers);
    tries(&mut w, Some(all.clone()), "never", ReasonCode::NotAuthorized);
    let narrow = Law { denied: vec![("a", 'p', "t")], is_silent: false };
    tries(&mut w, Some(narrow), "t", ReasonCode::NotAuthorized);
    tries(&mut w, None, "t", ReasonCode::NotAuthorized);
    // Without a policy, whoever brings nothing may do everything, and whoever brings something that.
    w.govern(Policies {
        entrances: vec![EntrancePolicy::default()],
        grants: true,
        ..Policies::default()
    });
    tries(&mut w, None, "t", ReasonCode::NoMatchingSubscribers);
    let nothing = Law { denied: Vec::new(), is_silent: true };
    tries(&mut w, Some(nothing), "t", ReasonCode::NotAuthorized);
}

#[test]
fn in_the_shadow_everything_is_permitted_and_counted() {
    let mut policies = denying(&[("a", 'p', "t/#"), ("a", 's', "t/+"), ("a", 'r', "t/#")]);
    policies.entrances[0].shadow = true;
    let mut w = World::governed(policies);
    w.connect("a", user(ProtocolVersion::V5, "a").will(will("t/will", "x")));
    w.subscribe("a", "t/+", 1);
    w.publish("a", publish("t/x", "x").qos(1));
    w.receive("a", publish("t/x", "x").qos(1));
    for number in 0..4 {
        w.say("a", publish("t/x", number.to_string()));
    }
    w.settle();
    assert_eq!(w.all_heard("a").len(), 4);
    let denied = w.snapshot().denied;
    assert_eq!(denied, Denied { shadow: 7, ..Denied::default() }, "will, subscription, messages");
    let said = |report: &&Report| matches!(report, Report::Denied(said) if said.shadow);
    assert_eq!(w.reports().iter().filter(said).count(), 1);
    w.disconnect("a");
}

#[test]
fn the_shadow_takes_nothing_from_what_a_grant_denies() {
    let law = |denied: &[_], is_silent| Law { denied: denied.to_vec(), is_silent };
    let of_all: Arc<dyn Policy> = Arc::new(law(&[("a", 'p', "rules")], true));
    let entrances =
        vec![EntrancePolicy { policy: Some(of_all), shadow: true, ..EntrancePolicy::default() }];
    let mut w = World::governed(Policies { entrances, grants: true, ..Policies::default() });
    w.authenticate(Authenticator::Waiting);
    let mut tries = |grant, topic, expected| tries(&mut w, grant, topic, expected);
    let (taken, denied) = (ReasonCode::NoMatchingSubscribers, ReasonCode::NotAuthorized);
    tries(None, "t", taken);
    tries(None, "rules", taken);
    let all_but_one = law(&[("a", 'p', "t")], false);
    tries(Some(all_but_one.clone()), "t", denied);
    tries(Some(all_but_one), "rules", taken);
    tries(Some(law(&[], true)), "t", denied);
}

#[test]
fn what_is_denied_is_said_once_and_then_once_a_minute() {
    let mut w = World::governed(denying(&[("a", 'p', "t/#")]));
    w.connect("a", user(ProtocolVersion::V311, "a"));
    for _ in 0..5 {
        w.publish("a", publish("t/x", "x").qos(1));
    }
    let said = |w: &World| -> Vec<(u64, String)> {
        let reports = w.reports().iter().filter_map(|report| match report {
            Report::Denied(said) => Some((said.times, said.why.to_string())),
            _ => None,
        });
        reports.collect()
    };
    let why = "the law says so of: publish on t/x".to_owned();
    assert_eq!(said(&w), [(1, why.clone())]);
    w.pass(61);
    assert_eq!(said(&w), [(1, why.clone()), (4, why.clone())]);
    w.pass(61);
    w.publish("a", publish("t/x", "x").qos(1));
    assert_eq!(said(&w).len(), 3, "forgotten, and said at once again");
}

#[test]
fn a_will_that_is_denied_can_be_left_out_instead() {
    let policies = Policies { refuse_denied_wills: false, ..denying(&[("a", 'p', "t/#")]) };
    let mut w = World::governed(policies);
    w.connect("watcher", user(ProtocolVersion::V5, "w"));
    w.subscribe("watcher", "#", 1);
    w.connect("a", user(ProtocolVersion::V311, "a").will(will("t/x", "lost")));
    w.lose("a");
    w.expect_nothing("watcher");
    assert_eq!(w.snapshot().denied.will, 1);
}

#[test]
fn a_delayed_will_is_judged_when_it_is_published() {
    let mut w = World::governed(denying(&[]));
    w.connect("watcher", user(ProtocolVersion::V5, "w"));
    w.subscribe("watcher", "#", 1);
    let testament = will("t/x", "lost").delay(5);
    w.connect("a", user(ProtocolVersion::V5, "a").expiry(100).will(testament));
    w.lose("a");
    w.govern(denying(&[("a", 'p', "t/#")]));
    w.pass(7);
    w.expect_nothing("watcher");
    assert_eq!(w.snapshot().denied.will, 1);
}

#[test]
fn the_source_of_what_is_retained_need_not_be_asked() {
    let policies = |denied: &[_]| Policies { check_retain_source: false, ..denying(denied) };
    let mut w = World::governed(policies(&[]));
    w.connect("a", user(ProtocolVersion::V5, "a"));
    w.publish("a", publish("t/x", "kept").retain());
    w.govern(policies(&[("a", 'p', "t/#")]));
    w.connect("b", v5());
    w.subscribe("b", "t/#", 1);
    w.receive("b", publish("t/x", "kept").retain());
}

/// The session of `a`, whose user is anna, with a message on `t/x` that waits and a will on `t/will`; which
/// client comes by which entrance is not stored.
fn stored() -> (StoredSession, PromptStore) {
    let message = |topic: &str, payload: &str| {
        let parts = MessageParts {
            topic,
            properties: &[],
            payload: payload.as_bytes(),
            qos: QoS::AtLeastOnce,
            retain: false,
            published_by: Some(PublishedBy { client_id: "a", user_name: Some("anna") }),
            received_ms: 0,
        };
        Message::from_parts(&parts).expect("a message")
    };
    let key = SessionKey(5);
    let mut store = PromptStore::default();
    let extras = Extras::of(&[], None);
    let owed = Owed {
        sequence: Sequence(1),
        message: message("t/x", "waited"),
        qos: QoS::AtLeastOnce,
        retain: false,
        extras,
        deferred: 0,
    };
    let queued_bytes = owed.bytes();
    store.persist(vec![Record::Owed { key, owed, spilled: true }]);
    let session = StoredSession {
        key,
        client_id: "a".into(),
        principal: Principal::user("anna"),
        expiry: None,
        away_since_ms: None,
        ends_in_ms: None,
        will: Some((message("t/will", "lost"), 1, 3_000)),
        subscriptions: vec![StoredSubscription {
            filter: "t/#".into(),
            options: SubscriptionOptions::qos(QoS::AtLeastOnce),
            identifier: None,
            replay: None,
        }],
        in_flight: Vec::new(),
        held: Vec::new(),
        received: Vec::new(),
        queued: 1,
        queued_bytes,
        last_queued: Sequence(1),
        next_sequence: 2,
    };
    (session, store)
}

#[test]
fn what_was_stored_is_judged_when_its_client_comes_and_its_will_by_all_entrances() {
    let law = denying(&[("anna", 'r', "t/#"), ("anna", 'p', "t/will")]);
    let mut one = law.clone();
    one.entrances[1] = EntrancePolicy::default();
    // By the rules at both ways in, at one of them, and without any.
    for (policies, by_second, may_read, will) in [
        (law, false, false, false),
        (one.clone(), false, false, false),
        (one, true, true, false),
        (Policies::default(), false, true, true),
    ] {
        let (session, store) = stored();
        let mut w = World::governed(policies).on_store(store);
        w.restore(session);
        with_publisher(&mut w);
        w.connect("watcher", user(ProtocolVersion::V5, "w"));
        w.subscribe("watcher", "t/will", 1);
        // It waits, as it is not known what its client may do.
        w.publish("p", publish("t/y", "later").qos(1));
        w.pass(4);
        assert_eq!(hears(&mut w, "watcher", "lost"), will);
        w.come_by(EntranceId(u8::from(by_second)));
        w.connect("a", user(ProtocolVersion::V311, "anna").persistent());
        let heard: Vec<_> = w.all_heard("a");
        let expected = if may_read && will { 3 } else { usize::from(may_read) * 2 };
        assert_eq!(heard.len(), expected, "{heard:?}");
        for said in heard {
            let Said::Publish(publish) = said else { panic!("{said}") };
            w.acknowledge("a", &publish);
        }
    }
}

#[test]
fn what_was_received_at_qos_2_before_a_restart_is_published_as_it_may_be_acknowledged() {
    let denies: Policies = denying(&[("anna", 'p', "t/#")]);
    let mut by_the_second = denies.clone();
    by_the_second.entrances[0] = EntrancePolicy::default();
    for policies in [by_the_second, denies] {
        let (mut reader, store) = stored();
        (reader.client_id, reader.principal) = ("b".into(), Principal::user("b"));
        (reader.will, reader.queued, reader.queued_bytes) = (None, 0, 0);
        let (mut publisher, _) = stored();
        publisher.will = None;
        let parts = MessageParts {
            topic: "t/x",
            properties: &[],
            payload: b"received",
            qos: QoS::ExactlyOnce,
            retain: false,
            published_by: Some(PublishedBy { client_id: "a", user_name: Some("anna") }),
            received_ms: 0,
        };
        let message = Message::from_parts(&parts).unwrap();
        (publisher.key, publisher.subscriptions) = (SessionKey(6), Vec::new());
        (publisher.queued, publisher.queued_bytes) = (0, 0);
        publisher.received = vec![(PacketId::FIRST, message)];
        let mut w = World::governed(policies).on_store(store);
        w.restore(reader);
        w.restore(publisher);
        assert_eq!(w.snapshot().denied, Denied::default());
        w.connect("b", user(ProtocolVersion::V311, "b").persistent());
        assert!(hears(&mut w, "b", "received"), "its receipt is promised");
    }
}

#[test]
fn rules_of_one_entrance_do_not_withhold_what_is_retained_by_another() {
    let mut policies = denying(&[("backend", 'p', "t/#")]);
    policies.entrances[1] = EntrancePolicy::default();
    let mut w = World::governed(policies.clone());
    w.come_by(EntranceId(1));
    w.connect("backend", user(ProtocolVersion::V5, "backend"));
    w.publish("backend", publish("t/x", "kept").qos(1).retain());
    w.come_by(EntranceId(0));
    w.connect("device", user(ProtocolVersion::V5, "device"));
    w.subscribe("device", "t/#", 1);
    assert!(hears(&mut w, "device", "kept"));
    // Nobody would take it from there any more.
    w.govern(denying(&[("backend", 'p', "t/#")]));
    w.subscribe("device", "t/+", 1);
    assert!(!hears(&mut w, "device", "kept"));
    assert_eq!(w.snapshot().denied.retained_source, 1);
}

#[test]
fn below_a_mount_rights_are_about_the_topics_that_others_know() {
    let site = Entrance { mount: Mount::new("site/1/"), ..Entrance::default() };
    let mut w = World::entered(vec![Entrance::default(), site], Stage::Flushed);
    w.govern(denying(&[]));
    with_publisher(&mut w);
    w.come_by(EntranceId(1));
    w.connect("a", user(ProtocolVersion::V5, "a").expiry(100));
    w.subscribe("a", "#", 1);
    w.disconnect("a");
    for topic in ["site/1/t/x", "site/1/u"] {
        w.publish("p", publish(topic, "waited").qos(1));
    }
    // What only those below it would call so is denied, and what the others call so.
    w.govern(denying(&[("a", 'r', "u"), ("a", 'r', "site/1/t/#"), ("a", 'p', "site/1/p")]));
    w.connect("a", user(ProtocolVersion::V5, "a").clean(false));
    w.receive("a", publish("u", "waited").qos(1));
    w.expect_nothing("a");
    w.publish("p", publish("site/1/t/x", "live").qos(1));
    w.expect_nothing("a");
    w.send("a", publish("p", "x").qos(1).id(1));
    w.expect("a", puback(1).because(ReasonCode::NotAuthorized));
}

#[test]
fn a_greeting_needs_no_right() {
    let law = denying(&[("a", 's', "$SYS/broker/connection/a"), ("a", 'r', "$SYS/#")]);
    let mut w = World::greeting(noctule_broker::Hello::Waiting, Limits::default());
    w.govern(law);
    w.connect("a", user(ProtocolVersion::V5, "a"));
    w.subscribe("a", "$SYS/broker/connection/a", 0);
    w.expect_publish("a", publish("$SYS/broker/connection/a", "HELLO"));
}

#[test]
fn a_topic_alias_does_not_help() {
    let mut w = World::governed(denying(&[("a", 'p', "t/#")]));
    w.connect("a", user(ProtocolVersion::V5, "a"));
    w.send("a", publish("t/x", "x").qos(1).id(1).alias(1));
    w.expect("a", puback(1).because(ReasonCode::NotAuthorized));
    w.send("a", publish("", "x").qos(1).id(2).alias(1));
    w.expect("a", puback(2).because(ReasonCode::NotAuthorized));
}
