//! What CONNACK announces, and that what is announced is meant; answers in words; and the sizes of
//! answers.

use noctule_broker::{Limits, Offer, Sharing};
use noctule_mqtt::{Properties, Property, PropertyId, ProtocolVersion, QoS, ReasonCode};
use noctule_testkit::packets::*;
use noctule_testkit::{Said, World};

/// Connects a client and returns the properties of its CONNACK.
fn announced(w: &mut World, name: &str, connect: Connecting) -> Vec<u8> {
    w.start(name, connect);
    match w.next_heard(name) {
        Some(Said::Connack { reason: ReasonCode::Success, properties, .. }) => {
            properties.unwrap_or_default()
        }
        other => panic!("{name} hears {other:?}"),
    }
}

fn ids(properties: &[u8]) -> Vec<PropertyId> {
    Properties::from_checked(properties).iter().map(|property| property.id()).collect()
}

/// Why the client's last word was said, in words.
fn reason_string(properties: &[u8]) -> Option<&str> {
    Properties::from_checked(properties).reason_string()
}

#[test] // [MQTT5-3.2.2-9] and MQTT 5.0 section 3.2.2.3
fn connack_announces_only_what_differs_from_the_defaults() {
    let limits = Limits {
        inflight_in_max: u16::MAX,
        packet_bytes_max: u32::MAX,
        topic_aliases_in_max: 0,
        ..Limits::default()
    };
    let mut w = World::with(limits);
    assert_eq!(announced(&mut w, "a", v5()), [0; 0]);
    let mut w = World::new();
    let limited =
        [PropertyId::ReceiveMaximum, PropertyId::MaximumPacketSize, PropertyId::TopicAliasMaximum];
    assert_eq!(ids(&announced(&mut w, "a", v5())), limited);
    let mut w = World::offering(Offer {
        keep_alive_max: Some(60),
        keep_alive_strict: false,
        qos_max: QoS::AtLeastOnce,
        retain: false,
        wildcard_subscriptions: false,
        subscription_identifiers: false,
        shared_subscriptions: Sharing::No,
        sessions_belong_to_users: true,
        payload_format_checked: true,
        response_information: Some("answers/".into()),
        authentication_methods: Vec::new(),
        server_reference: Some("elsewhere".into()),
    });
    let bytes = announced(&mut w, "a", v5().property(Property::RequestResponseInformation(1)));
    let properties = Properties::from_checked(&bytes);
    assert_eq!(properties.maximum_qos(), Some(1));
    assert_eq!(properties.retain_available(), Some(0));
    assert_eq!(properties.wildcard_subscription_available(), Some(0));
    assert_eq!(properties.subscription_identifier_available(), Some(0));
    assert_eq!(properties.shared_subscription_available(), Some(0));
    assert_eq!(properties.server_keep_alive(), Some(60));
    assert_eq!(properties.response_information(), Some("answers/"));
    assert_eq!(properties.server_reference(), None);
}

#[test] // [MQTT5-3.1.2-28]
fn response_information_is_for_those_who_ask() {
    let offer = Offer { response_information: Some("answers/".into()), ..Offer::default() };
    let mut w = World::offering(offer);
    for (name, asked, told) in [("a", None, false), ("b", Some(0), false), ("c", Some(1), true)] {
        let mut connect = v5();
        if let Some(asked) = asked {
            connect = connect.property(Property::RequestResponseInformation(asked));
        }
        let said = ids(&announced(&mut w, name, connect));
        assert_eq!(said.contains(&PropertyId::ResponseInformation), told, "{asked:?}");
    }
}

#[test] // [MQTT5-3.1.2-21] [MQTT5-3.2.2-21] [MQTT5-3.2.2-22]
fn the_servers_keep_alive_is_told_and_applies() {
    for (asked, told) in [(0, Some(10)), (11, Some(10)), (10, None), (4, None)] {
        let mut w = World::offering(Offer { keep_alive_max: Some(10), ..Offer::default() });
        let bytes = announced(&mut w, "a", v5().keep_alive(asked));
        assert_eq!(Properties::from_checked(&bytes).server_keep_alive(), told, "{asked}");
        let seconds = u64::from(told.unwrap_or(asked));
        w.pass_ms(seconds * 1_500 - 1);
        w.expect_quiet();
        w.pass_ms(200);
        w.expect("a", disconnect(ReasonCode::KeepAliveTimeout));
        w.expect_closed("a");
    }
    // Who cannot be told keeps the one it chose.
    let mut w = World::offering(Offer { keep_alive_max: Some(10), ..Offer::default() });
    w.connect("a", v311().keep_alive(0));
    w.connect("b", v311().keep_alive(20));
    w.pass(29);
    w.expect_quiet();
}

#[test]
fn where_keep_alives_are_strict_an_older_client_with_a_longer_one_is_refused() {
    let offer = Offer { keep_alive_max: Some(10), keep_alive_strict: true, ..Offer::default() };
    let mut w = World::offering(offer);
    for version in [ProtocolVersion::V31, ProtocolVersion::V311] {
        for (asked, is_taken) in [(0, false), (11, false), (10, true), (1, true)] {
            let name = format!("{version:?} {asked}");
            let connect = Connecting::of(version).id(&name).keep_alive(asked);
            if is_taken {
                w.connect(&name, connect);
            } else {
                w.expect_refused(&name, connect, ReasonCode::ClientIdentifierNotValid);
            }
        }
    }
    let told = announced(&mut w, "new", v5().keep_alive(11));
    assert_eq!(Properties::from_checked(&told).server_keep_alive(), Some(10));
}

#[test] // [MQTT5-3.2.2-10] [MQTT5-3.2.2-11] [MQTT5-3.2.2-12] [MQTT5-3.8.4-7]
fn a_qos_that_is_not_offered_is_refused_and_subscriptions_are_granted_less() {
    for (qos_max, most) in [(QoS::AtMostOnce, 0), (QoS::AtLeastOnce, 1)] {
        crate::in_each_version(|version| {
            let is_new = version == ProtocolVersion::V5;
            let mut w = World::offering(Offer { qos_max, ..Offer::default() });
            for wanted in 0..3 {
                let will = will("w", "m").qos(wanted);
                let connect = Connecting::of(version).will(will);
                if wanted > most {
                    w.expect_refused("a", connect, ReasonCode::QosNotSupported);
                    continue;
                }
                w.connect("a", connect);
                w.disconnect("a");
            }
            w.connect("r", Connecting::of(version));
            w.send("r", subscribe(1, "x", 0).and("y", 1).and("z", 2));
            w.expect("r", suback(1, &[0, most.min(1), most]));
            for wanted in 0..3 {
                w.connect("s", Connecting::of(version));
                let message = publish("z", "m").qos(wanted);
                if wanted <= most {
                    w.publish("s", message.clone());
                    w.receive("r", message);
                    w.disconnect("s");
                    continue;
                }
                w.send("s", message.id(1));
                if is_new {
                    w.expect("s", disconnect(ReasonCode::QosNotSupported));
                }
                w.expect_closed("s");
            }
        });
    }
}

#[test] // [MQTT5-3.2.2-13] [MQTT5-3.2.2-14]
fn without_retained_messages_nothing_is_retained() {
    crate::in_each_version(|version| {
        let mut w = World::offering(Offer { retain: false, ..Offer::default() });
        let testament = Connecting::of(version).will(will("w", "m").retain());
        w.expect_refused("a", testament, ReasonCode::RetainNotSupported);
        w.connect("a", Connecting::of(version));
        w.publish("a", publish("x", "m").qos(1));
        w.send("a", publish("x", "m").retain());
        if version == ProtocolVersion::V5 {
            w.expect("a", disconnect(ReasonCode::RetainNotSupported));
        }
        w.expect_closed("a");
        assert_eq!(w.population().retained, 0);
    });
}

#[test] // [MQTT3-3.8.3-2] and MQTT 5.0 sections 3.2.2.3.11 and 3.2.2.3.12
fn subscriptions_that_are_not_offered_are_refused_one_by_one() {
    let mut w = World::offering(Offer { wildcard_subscriptions: false, ..Offer::default() });
    w.connect("a", v5());
    w.send("a", subscribe(1, "x/+", 0).and("x", 0).and("#", 1));
    w.expect("a", suback(1, &[0xA2, 0, 0xA2]));
    w.connect("old", v311());
    w.send("old", subscribe(1, "x/+", 0).and("x", 0));
    w.expect("old", suback(1, &[0x80, 0]));
    let mut w = World::offering(Offer { subscription_identifiers: false, ..Offer::default() });
    w.connect("a", v5());
    w.send("a", subscribe(1, "x", 0).identifier(5));
    w.expect("a", suback(1, &[0xA1]));
    let mut w = World::offering(Offer { shared_subscriptions: Sharing::No, ..Offer::default() });
    w.connect("a", v5());
    w.send("a", subscribe(1, "$share/g/x", 0).and("x", 0));
    w.expect("a", suback(1, &[0x9E, 0]));
}

fn text(payload: &[u8]) -> Publishing {
    publish("x", payload).property(Property::PayloadFormatIndicator(1))
}

#[test] // MQTT 5.0 section 3.3.2.3.2
fn a_payload_that_is_not_the_text_it_claims_to_be_is_refused_if_that_is_looked_at() {
    const WRONG: &[u8] = b"\xC3\x28";
    let mut w = World::offering(Offer { payload_format_checked: true, ..Offer::default() });
    let testament = will("w", WRONG).property(Property::PayloadFormatIndicator(1));
    w.expect_refused("a", v5().will(testament), ReasonCode::PayloadFormatInvalid);
    w.connect("r", v5());
    w.subscribe("r", "x", 2);
    w.connect("a", v5());
    for qos in 0..3 {
        w.publish("a", text("ä".as_bytes()).qos(qos));
        w.receive("r", text("ä".as_bytes()).qos(qos));
        w.publish("a", publish("x", WRONG).qos(qos));
        w.receive("r", publish("x", WRONG).qos(qos));
    }
    w.send("a", text(WRONG).qos(1).id(7));
    w.expect("a", puback(7).because(ReasonCode::PayloadFormatInvalid));
    w.send("a", text(WRONG).qos(2).id(7));
    w.expect("a", pubrec(7).because(ReasonCode::PayloadFormatInvalid));
    w.send("a", pubrel(7));
    w.expect("a", pubcomp(7).because(ReasonCode::PacketIdentifierNotFound));
    w.send("a", text(WRONG));
    w.expect("a", disconnect(ReasonCode::PayloadFormatInvalid));
    w.expect_closed("a");
    w.expect_nothing("r");
    // By default it is the receivers' business.
    let mut w = World::new();
    w.connect("a", v5());
    w.subscribe("a", "x", 0);
    w.publish("a", text(WRONG));
    w.receive("a", text(WRONG));
}

#[test] // [MQTT5-3.1.2-29] [MQTT5-3.4.2-2] [MQTT5-3.5.2-2]: the packet of the client is small
fn an_acknowledgement_that_refuses_leaves_its_words_out_if_there_is_no_room() {
    let wrong = || text(b"\xff").id(7);
    let mut w = World::offering(Offer { payload_format_checked: true, ..Offer::default() });
    for (name, connect, words) in [
        ("small", v5().packet_max(20), false),
        ("silent", v5().property(Property::RequestProblemInformation(0)), false),
        ("large", v5(), true),
    ] {
        w.connect(name, connect);
        for (qos, answer) in [(1, puback(7)), (2, pubrec(7))] {
            let before = w.counters().bytes_sent;
            w.send(name, wrong().qos(qos));
            w.expect(name, answer.because(ReasonCode::PayloadFormatInvalid));
            let bytes = w.counters().bytes_sent - before;
            assert_eq!(bytes > 5, words, "{name} hears {bytes} bytes");
        }
    }
}

#[test] // [MQTT5-3.14.2-2] and MQTT 5.0 section 4.11
fn clients_are_sent_elsewhere_when_the_broker_stops() {
    let mut w =
        World::offering(Offer { server_reference: Some("b:1883".into()), ..Offer::default() });
    w.connect("a", v5());
    w.shut_down();
    let properties =
        properties(noctule_mqtt::PacketType::Disconnect, &[Property::ServerReference("b:1883")]);
    let reason = ReasonCode::UseAnotherServer;
    w.expect("a", Said::Disconnect { reason, properties });
    w.expect_closed("a");
}

#[test] // [MQTT5-3.1.2-29] [MQTT5-3.14.2-3]
fn a_disconnect_says_why_in_words_to_those_who_want_them_and_have_room() {
    let wanted = |connect: Connecting| {
        let mut w = World::new();
        w.connect("a", connect);
        w.send_bytes("a", &[0xF1, 0]);
        let Some(Said::Disconnect { reason, properties }) = w.next_heard("a") else {
            panic!("a client of MQTT 5 hears why")
        };
        assert_eq!(reason, ReasonCode::MalformedPacket);
        w.expect_closed("a");
        reason_string(&properties).map(str::to_owned)
    };
    assert!(wanted(v5()).is_some_and(|why| why.contains("AUTH")));
    assert!(wanted(v5().property(Property::RequestProblemInformation(1))).is_some());
    assert_eq!(wanted(v5().property(Property::RequestProblemInformation(0))), None);
    assert_eq!(wanted(v5().packet_max(20)), None);
}

#[test] // [MQTT5-3.2.2-19]
fn a_refusing_connack_says_why_in_words_to_those_who_want_them_and_have_room() {
    let hears = |connect: Connecting| {
        let mut w = World::new();
        w.start("a", connect.will(will("$SYS/a", "m")));
        let Some(Said::Connack { reason, properties, .. }) = w.next_heard("a") else {
            panic!("a client hears that it is refused")
        };
        assert_eq!(reason, ReasonCode::TopicNameInvalid);
        w.expect_closed("a");
        reason_string(&properties.unwrap_or_default()).is_some()
    };
    assert!(hears(v5()));
    assert!(!hears(v5().property(Property::RequestProblemInformation(0))));
    assert!(!hears(v5().packet_max(10)));
}

#[test] // [MQTT5-3.1.2-24]
fn a_client_that_takes_no_connack_is_closed_without_a_word() {
    let mut w = World::new();
    w.start("a", v5().packet_max(15).will(will("w", "m")));
    w.expect_closed("a");
    assert_eq!(w.population().sessions, 0);
    w.connect("b", v5().packet_max(16));
}

#[test] // [MQTT5-3.1.2-24] [MQTT5-3.9.2-1]
fn a_suback_without_its_reason_string_is_sent_and_one_that_is_too_large_ends_the_connection() {
    let mut w = World::with(Limits { subscriptions_max: 1, ..Limits::default() });
    w.connect("a", v5().packet_max(20));
    w.send("a", subscribe(1, "x", 0).and("y", 0));
    w.expect("a", suback(1, &[0, 0x97]));
    let many = (0..15).fold(subscribe(2, "x", 0), |many, _| many.and("x", 0));
    w.send("a", many);
    w.expect("a", disconnect(ReasonCode::PacketTooLarge));
    w.expect_closed("a");
    w.connect("b", v5().packet_max(20));
    let names: Vec<_> = (0..16).map(|number| number.to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    w.send("b", unsubscribe(1, &names));
    w.expect("b", disconnect(ReasonCode::PacketTooLarge));
    w.expect_closed("b");
}
