//! Where a client has come in: which versions it may speak there, whether it is greeted, and how safe
//! things have to be before they are acknowledged to it.

use crate::{connecting, in_each_version};
use noctule_broker::{AcceptedVersions, Entrance, EntranceId, Hello, Stage};
use noctule_mqtt::{ProtocolVersion, ReasonCode};
use noctule_testkit::World;
use noctule_testkit::packets::*;

const FIRST: EntranceId = EntranceId(0);
const SECOND: EntranceId = EntranceId(1);

fn with_stage(stage: Stage) -> Entrance {
    Entrance { stage: Some(stage), ..Entrance::default() }
}

/// A world with this rule, the same at its first entrance and another one at the second; a persistent
/// subscriber `r` of `durable/#` that is away.
fn world(usual: Stage, second: Stage) -> World {
    let mut w = World::entered(vec![Entrance::default(), with_stage(second)], usual);
    w.connect("r", v311().persistent());
    w.subscribe("r", "durable/#", 1);
    w.disconnect("r");
    w
}

#[test] // [MQTT3-3.1.2-2] [MQTT5-3.1.2-2]
fn a_version_that_is_not_accepted_where_it_comes_in_is_refused_in_its_own_words() {
    in_each_version(|version| {
        let others: Vec<_> =
            ProtocolVersion::ALL.into_iter().filter(|other| *other != version).collect();
        let without =
            Entrance { versions: AcceptedVersions::these(&others), ..Entrance::default() };
        let mut w = World::entered(vec![Entrance::default(), without], Stage::Flushed);
        w.connect("a", connecting(version));
        w.come_by(SECOND);
        w.expect_refused("b", connecting(version), ReasonCode::UnsupportedProtocolVersion);
        for other in others {
            let name = format!("{other}");
            w.connect(&name, connecting(other));
        }
    });
}

#[test]
fn who_is_greeted_is_a_matter_of_the_entrance() {
    let entrances = vec![Entrance::greeting(Hello::Never), Entrance::greeting(Hello::Always)];
    let mut w = World::entered(entrances, Stage::Flushed);
    let hello = |name: &str| publish(&format!("$SYS/broker/connection/{name}"), "HELLO");
    w.connect("a", v311());
    w.pass(2);
    w.expect_quiet();
    w.come_by(SECOND);
    w.connect("b", v311());
    w.expect_publish("b", hello("b"));
    w.come_by(EntranceId(7));
    w.connect("c", v311());
    w.expect_quiet();
    w.set_entrances(vec![Entrance::greeting(Hello::Always)]);
    w.come_by(FIRST);
    w.connect("d", v5());
    w.expect_publish("d", hello("d"));
}

#[test]
fn an_entrance_may_want_less_than_the_brokers_own_rule() {
    in_each_version(|version| {
        for qos in [1, 2] {
            let mut w = world(Stage::Flushed, Stage::Written);
            w.connect("strict", connecting(version));
            w.come_by(SECOND);
            w.connect("lax", connecting(version));
            w.hold_store();
            w.send("lax", publish("durable/x", "m").qos(qos).id(1));
            assert_eq!(w.stages_waiting(), [Stage::Written], "nobody waits for a flush");
            w.send("strict", publish("durable/x", "m").qos(qos).id(1));
            assert_eq!(w.stages_waiting(), [Stage::Written, Stage::Flushed]);
            w.expect_nothing("lax");
            w.write_store();
            let answer = || if qos == 1 { puback(1) } else { pubrec(1) };
            w.expect("lax", answer());
            w.expect_nothing("strict");
            w.let_store_run();
            w.expect("strict", answer());
        }
    });
}

#[test]
fn an_entrance_may_want_more_than_the_brokers_own_rule() {
    in_each_version(|version| {
        let mut w = world(Stage::Written, Stage::Flushed);
        w.connect("usual", connecting(version));
        w.come_by(SECOND);
        w.connect("strict", connecting(version));
        w.hold_store();
        w.send("usual", publish("durable/x", "m").qos(1).id(1));
        w.send("strict", publish("durable/x", "m").qos(1).id(1));
        assert_eq!(w.stages_waiting(), [Stage::Written, Stage::Flushed]);
        w.write_store();
        w.expect("usual", puback(1));
        w.expect_nothing("strict");
        w.let_store_run();
        w.expect("strict", puback(1));
    });
}

#[test]
fn a_client_that_comes_back_by_a_laxer_entrance_keeps_the_order_of_its_qos_2_messages() {
    let mut w = world(Stage::Flushed, Stage::Written);
    w.connect("c", v311());
    w.subscribe("c", "t/#", 0);
    w.connect("s", v311().persistent());
    w.hold_store();
    w.send("s", publish("t/1", "first").qos(2).id(1));
    w.expect_nothing("s");
    w.lose("s");
    w.come_by(SECOND);
    w.start("s", v311().persistent());
    w.write_store();
    w.expect("s", connack_present());
    w.send("s", publish("t/2", "second").qos(2).id(2));
    w.write_store();
    w.expect_nothing("c");
    w.let_store_run();
    w.expect_publish("c", publish("t/1", "first"));
    w.expect_publish("c", publish("t/2", "second"));
    w.unheed("s");
}
