//! UNSUBSCRIBE and UNSUBACK: sections 3.10 and 3.11.

use crate::row::*;
use noctule_mqtt::packet::{Unsuback, Unsubscribe};
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{Packet, PacketType, Property, PropertyId, ReasonCode, Violation};

pub(crate) fn rows() -> Vec<Row> {
    [requests(), refused_requests(), answers(), refused_answers()].concat()
}

fn unsubscribe(props: &[Property<'static>], list: &[&'static str]) -> Packet<'static> {
    Packet::Unsubscribe(Unsubscribe {
        packet_id: id(1),
        properties: properties(props),
        filters: list.iter().map(|filter| crate::row::filter(filter)).collect(),
    })
}

fn unsuback(props: &[Property<'static>], list: &[ReasonCode]) -> Packet<'static> {
    Packet::Unsuback(Unsuback {
        packet_id: id(1),
        properties: properties(props),
        reasons: list.to_vec(),
    })
}

#[rustfmt::skip]
fn requests() -> Vec<Row> {
    vec![
        good("one filter", "MQTT3 section 3.10.3", (V3, SERVER), "a2 05 0001 0001 'a'", unsubscribe(&[], &["a"])),
        good("many filters", "MQTT3-3.10.4-6", (V3, SERVER), "a2 12 0001 0001 'a' 0003 'b/#' 0003 '+/c' 0001 'a'", unsubscribe(&[], &["a", "b/#", "+/c", "a"])),
        good("one filter in 5", "MQTT5 section 3.10.3", (V5, SERVER), "a2 06 0001 00 0001 'a'", unsubscribe(&[], &["a"])),
        good("a shared subscription and another", "MQTT5-3.10.4-6", (V5, SERVER), "a2 12 0001 00 000a '$share/g/a' 0001 'a'", unsubscribe(&[], &["$share/g/a", "a"])),
        good("a request with a user property", "MQTT5 section 3.10.2.1.2", (V5, SERVER), "a2 0d 0001 07 26 0001 'k' 0001 'v' 0001 'a'", unsubscribe(&[Property::UserProperty(("k", "v"))], &["a"])),
        odd("3.1: UNSUBSCRIBE again", "MQTT31 section 3.10", (V31, SERVER), "aa 05 0001 0001 'a'", unsubscribe(&[], &["a"])),
    ]
}

#[rustfmt::skip]
fn refused_requests() -> Vec<Row> {
    const END: &str = "MQTT3-4.8.0-1, MQTT5 section 4.13";
    let packet = PacketType::Unsubscribe;
    let carrier = Carrier::Packet(packet);
    vec![
        bad("UNSUBSCRIBE has its flag", "MQTT3-3.10.1-1, MQTT5-3.10.1-1", (ALL, SERVER), "a0 06 0001 00 0001 'a'", Violation::FlagsReserved { packet, expected: 2, found: 0 }),
        bad("UNSUBSCRIBE has a packet identifier", "MQTT3-2.3.1-1, MQTT5-2.2.1-3", (ALL, SERVER), "a2 06 0000 00 0001 'a'", Violation::PacketIdZero { packet }),
        bad("UNSUBSCRIBE is not empty", END, (ALL, SERVER), "a2 01 00", cut(packet, "packet identifier", 2, 1)),
        bad("UNSUBSCRIBE needs a filter", "MQTT3-3.10.3-2", (V3, SERVER), "a2 02 0001", Violation::ListEmpty { packet }),
        bad("UNSUBSCRIBE of 5 needs a filter", "MQTT5-3.10.3-2", (V5, SERVER), "a2 03 0001 00", Violation::ListEmpty { packet }),
        bad("UNSUBSCRIBE of 5 has a property length", "MQTT5 section 3.10.2.1.1", (V5, SERVER), "a2 02 0001", cut(packet, "property length", 1, 0)),
        bad("a filter to end ends in the packet", "MQTT3-4.8.0-1", (V3, SERVER), "a2 08 0001 0001 'a' 0003 'b'", cut(packet, "topic filter", 3, 1)),
        bad("a filter's length has two bytes", "MQTT3-4.8.0-1", (V3, SERVER), "a2 06 0001 0001 'a' 00", cut(packet, "topic filter", 2, 1)),
        bad("a filter to end is not empty", "MQTT3-4.7.3-1", (V3, SERVER), "a2 04 0001 0000", Violation::TopicEmpty),
        bad("a filter to end has its wildcards in place", "MQTT5-4.7.1-1", (V5, SERVER), "a2 0a 0001 00 0005 'a/#/b'", Violation::FilterInvalid { why: "'#' must be the whole last level" }),
        bad("UNSUBSCRIBE has no subscription identifier", "MQTT5 section 2.2.2.2", (V5, SERVER), "a2 08 0001 02 0b 01 0001 'a'", Violation::PropertyNotAllowed { property: PropertyId::SubscriptionIdentifier, carrier }),
    ]
}

#[rustfmt::skip]
fn answers() -> Vec<Row> {
    use ReasonCode::*;
    vec![
        good("done", "MQTT3-3.10.4-4", (V3, CLIENT), "b0 02 0001", unsuback(&[], &[])),
        good("done in 5", "MQTT5-3.11.3-1", (V5, CLIENT), "b0 0a 0001 00 00 11 80 83 87 8f 91", unsuback(&[], &[Success, NoSubscriptionExisted, UnspecifiedError, ImplementationSpecificError, NotAuthorized, TopicFilterInvalid, PacketIdentifierInUse])),
        good("done, with words", "MQTT5 section 3.11.2.1.2", (V5, CLIENT), "b0 10 0001 0c 1f 0002 'ok' 26 0001 'k' 0001 'v' 00", unsuback(&[Property::ReasonString("ok"), Property::UserProperty(("k", "v"))], &[Success])),
    ]
}

#[rustfmt::skip]
fn refused_answers() -> Vec<Row> {
    let packet = PacketType::Unsuback;
    vec![
        bad("UNSUBACK has a packet identifier", "MQTT3-3.10.4-4, MQTT5-3.10.4-4", (ALL, CLIENT), "b0 02 0000", Violation::PacketIdZero { packet }),
        bad("UNSUBACK of 3 has no payload", "MQTT3 section 3.11.3", (V3, CLIENT), "b0 03 0001 00", Violation::TrailingBytes { packet, extra: 1 }),
        bad("UNSUBACK answers something", "MQTT5-3.10.4-5", (V5, CLIENT), "b0 03 0001 00", Violation::ListEmpty { packet }),
        bad("UNSUBACK of 5 has a property length", "MQTT5 section 3.11.2.1.1", (V5, CLIENT), "b0 02 0001", cut(packet, "property length", 1, 0)),
        bad("a granted QoS is no reason of UNSUBACK", "MQTT5-3.11.3-2", (V5, CLIENT), "b0 04 0001 00 01", Violation::ReasonCodeInvalid { packet, code: 1 }),
        bad("UNSUBACK has no server reference", "MQTT5 section 2.2.2.2", (V5, CLIENT), "b0 07 0001 03 1c 0000 00", Violation::PropertyNotAllowed { property: PropertyId::ServerReference, carrier: Carrier::Packet(packet) }),
    ]
}
