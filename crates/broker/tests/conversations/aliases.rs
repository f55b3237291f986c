//! Topic aliases, which are each connection's own in each direction: nobody else can tell that they
//! were used.

use noctule_broker::Limits;
use noctule_mqtt::{Property, ReasonCode};
use noctule_testkit::packets::*;
use noctule_testkit::{Said, World};

/// A world with a sender and receivers of both kinds of versions.
fn world() -> World {
    let mut w = World::new();
    w.connect("s", v5());
    for (name, connect) in [("new", v5()), ("old", v311())] {
        w.connect(name, connect);
        w.subscribe(name, "x/#", 2);
    }
    w
}

fn receive_both(w: &mut World, message: &Publishing) {
    w.receive("new", message.clone());
    w.receive("old", Publishing { properties: Vec::new(), ..message.clone() });
}

#[test] // [MQTT5-3.3.2-12]
fn a_topic_said_once_is_known_by_its_alias() {
    for qos in 0..3 {
        let mut w = world();
        let user = Property::UserProperty(("a", "1"));
        for bytes in [3, 5_000] {
            let plain = |topic| publish(topic, vec![b'm'; bytes]).qos(qos);
            w.publish("s", plain("x/1").alias(1));
            receive_both(&mut w, &plain("x/1"));
            w.publish("s", plain("x/16").property(user).alias(16).expiring(60));
            receive_both(&mut w, &plain("x/16").property(user).expiring(60));
            for (alias, topic) in [(16, "x/16"), (1, "x/1"), (16, "x/16")] {
                w.publish("s", plain("").property(user).alias(alias).property(user));
                receive_both(&mut w, &plain(topic).property(user).property(user));
            }
        }
    }
}

#[test] // MQTT 5.0 section 3.3.2.3.4
fn an_alias_may_be_given_to_another_topic() {
    let mut w = world();
    for topic in ["x/1", "x/2", "x/2", "x/1"] {
        w.publish("s", publish(topic, "named").alias(3));
        receive_both(&mut w, &publish(topic, "named"));
        w.publish("s", publish("", "by alias").alias(3));
        receive_both(&mut w, &publish(topic, "by alias"));
    }
}

#[test] // [MQTT5-3.3.2-8] [MQTT5-3.3.2-9] [MQTT5-3.3.2-10]
fn an_alias_that_is_zero_or_over_the_maximum_is_invalid() {
    for alias in [0, 17, u16::MAX] {
        for topic in ["x/1", ""] {
            let mut w = world();
            let topic_bytes = topic.as_bytes();
            let mut packet = vec![0x30, (topic_bytes.len() + 6) as u8, 0, topic_bytes.len() as u8];
            packet.extend(topic_bytes);
            packet.extend([3, 0x23]);
            packet.extend(u16::to_be_bytes(alias));
            w.send_bytes("s", &packet);
            w.expect("s", disconnect(ReasonCode::TopicAliasInvalid));
            w.expect_closed("s");
        }
    }
}

#[test] // MQTT 5.0 section 3.3.2.3.4
fn an_alias_that_stands_for_nothing_is_a_protocol_error() {
    let mut w = world();
    w.publish("s", publish("x/1", "m").alias(2));
    receive_both(&mut w, &publish("x/1", "m"));
    w.send("s", publish("", "m").alias(1));
    w.expect("s", disconnect(ReasonCode::ProtocolError));
    w.expect_closed("s");
}

#[test] // [MQTT5-3.3.2-7]
fn aliases_end_with_the_connection() {
    let mut w = world();
    w.connect("p", v5().persistent());
    w.publish("p", publish("x/1", "m").alias(1));
    receive_both(&mut w, &publish("x/1", "m"));
    w.lose("p");
    w.connect("p", v5().persistent());
    w.send("p", publish("", "m").alias(1));
    w.expect("p", disconnect(ReasonCode::ProtocolError));
    w.expect_closed("p");
}

#[test] // [MQTT5-3.2.2-17] [MQTT5-3.2.2-18]
fn the_maximum_that_is_announced_is_the_one_that_counts() {
    let mut w = World::with(Limits { topic_aliases_in_max: 2, ..Limits::default() });
    w.start("s", v5());
    let Some(Said::Connack { properties: Some(properties), .. }) = w.next_heard("s") else {
        panic!("CONNACK comes first")
    };
    let announced = noctule_mqtt::Properties::from_checked(&properties).topic_alias_maximum();
    assert_eq!(announced, Some(2));
    w.publish("s", publish("x", "m").alias(2));
    w.send("s", publish("x", "m").alias(3));
    w.expect("s", disconnect(ReasonCode::TopicAliasInvalid));
    w.expect_closed("s");
}

#[test] // [MQTT5-3.1.2-26] [MQTT5-3.1.2-27] [MQTT5-3.3.2-11]
fn topics_get_aliases_in_the_order_of_their_first_use_up_to_the_clients_limit() {
    for qos in 0..3 {
        let mut w = World::new();
        w.connect("s", v5());
        w.connect("r", v5().aliases(2));
        w.subscribe("r", "x/#", 2);
        w.connect("plain", v5());
        w.subscribe("plain", "x/#", 2);
        let said = [("x/1", Some(1)), ("x/2", Some(2)), ("x/3", None)];
        for round in 0..3 {
            for (topic, alias) in said {
                w.publish("s", publish(topic, "m").qos(qos).expiring(9));
                let named = alias.is_none() || round == 0;
                let mut expected = publish(if named { topic } else { "" }, "m").qos(qos);
                if let Some(alias) = alias {
                    expected = expected.alias(alias);
                }
                w.receive("r", expected.expiring(9));
                w.receive("plain", publish(topic, "m").qos(qos).expiring(9));
            }
        }
    }
}

#[test]
fn a_client_that_resumes_hears_each_topic_again() {
    let mut w = World::new();
    w.connect("s", v5());
    w.connect("r", v5().persistent().aliases(9));
    w.subscribe("r", "x/#", 1);
    for alias in [1, 2] {
        w.publish("s", publish(&format!("x/{alias}"), "m").qos(1));
        w.expect("r", publish(&format!("x/{alias}"), "m").qos(1).alias(alias));
    }
    w.lose("r");
    w.publish("s", publish("x/2", vec![7; 5_000]).qos(1));
    w.connect("r", v5().persistent().aliases(9));
    w.receive("r", publish("x/1", "m").qos(1).dup().alias(1));
    w.receive("r", publish("x/2", "m").qos(1).dup().alias(2));
    w.receive("r", publish("", vec![7; 5_000]).qos(1).alias(2));
    w.lose("r");
    w.publish("s", publish("x/2", "m").qos(1));
    w.connect("r", v5().persistent());
    w.receive("r", publish("x/2", "m").qos(1));
}

#[test] // [MQTT5-3.1.2-24]
fn an_alias_that_makes_the_packet_too_large_is_not_introduced() {
    for qos in 0..3 {
        let mut w = World::new();
        w.connect("s", v5());
        w.connect("r", v5().aliases(9).packet_max(50));
        w.subscribe("r", "x/#", 2);
        let id = if qos == 0 { 0 } else { 2 };
        let full = publish("x/long", vec![1; 50 - 11 - id]).qos(qos);
        w.publish("s", full.clone());
        w.receive("r", full.clone());
        w.publish("s", publish("x/long", "m").qos(qos));
        w.receive("r", publish("x/long", "m").qos(qos).alias(1));
        w.publish("s", full.clone());
        w.receive("r", Publishing { topic: String::new(), ..full }.alias(1));
        w.publish("s", publish("x/long", vec![1; 50]).qos(qos));
        w.expect_nothing("r");
        assert_eq!(w.dropped().packet_too_large, 1);
    }
}
