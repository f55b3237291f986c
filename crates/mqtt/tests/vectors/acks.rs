//! PUBACK, PUBREC, PUBREL and PUBCOMP: sections 3.4 to 3.7.

use crate::row::*;
use noctule_mqtt::packet::Ack;
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{Packet, PacketType, Property, PropertyId, ReasonCode, Violation};

pub(crate) fn rows() -> Vec<Row> {
    [plain(), with_reasons(), refused(), refused_in_5()].concat()
}

fn ok(number: u16) -> Ack<'static> {
    Ack::new(id(number), ReasonCode::Success)
}

fn why(reason: ReasonCode) -> Ack<'static> {
    Ack::new(id(1), reason)
}

#[rustfmt::skip]
fn plain() -> Vec<Row> {
    use Packet::*;
    vec![
        good("PUBACK", "MQTT3 section 3.4, MQTT5 section 3.4.2.1", (ALL, BOTH), "40 02 1234", Puback(ok(0x1234))),
        good("PUBREC", "MQTT3 section 3.5, MQTT5 section 3.5.2.1", (ALL, BOTH), "50 02 0001", Pubrec(ok(1))),
        good("PUBREL", "MQTT3-3.6.1-1, MQTT5-3.6.1-1", (ALL, BOTH), "62 02 ffff", Pubrel(ok(65_535))),
        good("PUBCOMP", "MQTT3 section 3.7, MQTT5 section 3.7.2.1", (ALL, BOTH), "70 02 0001", Pubcomp(ok(1))),
        odd("3.1: PUBREL again", "MQTT31 section 2.1", (V31, BOTH), "6a 02 0001", Pubrel(ok(1))),
        odd("PUBACK with a success that need not be said", "MQTT5 section 3.4.2.1", (V5, BOTH), "40 03 0001 00", Puback(ok(1))),
        odd("PUBACK with a success and no properties, both said", "MQTT5 section 3.4.2.1", (V5, BOTH), "40 04 0001 00 00", Puback(ok(1))),
        odd("PUBREC with a success and no properties, both said", "MQTT5 section 3.5.2.1", (V5, BOTH), "50 04 0001 00 00", Pubrec(ok(1))),
        odd("PUBREL with a success that need not be said", "MQTT5 section 3.6.2.1", (V5, BOTH), "62 03 0001 00", Pubrel(ok(1))),
        odd("PUBCOMP with a success and no properties, both said", "MQTT5 section 3.7.2.1", (V5, BOTH), "70 04 0001 00 00", Pubcomp(ok(1))),
        odd("PUBREC with a reason and a property length of zero", "MQTT5 section 3.5.2.2.1", (V5, BOTH), "50 04 0001 97 00", Pubrec(why(ReasonCode::QuotaExceeded))),
    ]
}

#[rustfmt::skip]
fn with_reasons() -> Vec<Row> {
    use Packet::*;
    use ReasonCode::*;
    let said = |reason, list: &[Property<'static>]| Ack { properties: properties(list), ..why(reason) };
    vec![
        good("PUBACK to nobody", "MQTT5-3.4.2-1", (V5, BOTH), "40 03 0001 10", Puback(why(NoMatchingSubscribers))),
        good("PUBREC that refuses", "MQTT5-3.5.2-1", (V5, BOTH), "50 03 0001 87", Pubrec(why(NotAuthorized))),
        good("PUBREL of something unknown", "MQTT5-3.6.2-1", (V5, BOTH), "62 03 0001 92", Pubrel(why(PacketIdentifierNotFound))),
        good("PUBCOMP of something unknown", "MQTT5-3.7.2-1", (V5, BOTH), "70 03 0001 92", Pubcomp(why(PacketIdentifierNotFound))),
        good("PUBACK with a reason in words", "MQTT5 section 3.4.2.2.2", (V5, BOTH), "40 09 0001 83 05 1f 0002 'no'", Puback(said(ImplementationSpecificError, &[Property::ReasonString("no")]))),
        good("PUBREC with a user property", "MQTT5 section 3.5.2.2.3", (V5, BOTH), "50 0b 0001 10 07 26 0001 'k' 0001 'v'", Pubrec(said(NoMatchingSubscribers, &[Property::UserProperty(("k", "v"))]))),
        good("PUBREL with a success that has words", "MQTT5 section 3.6.2.2.2", (V5, BOTH), "62 09 0001 00 05 1f 0002 'ok'", Pubrel(said(Success, &[Property::ReasonString("ok")]))),
        good("PUBCOMP with two user properties", "MQTT5 section 3.7.2.2.3", (V5, BOTH), "70 12 0001 92 0e 26 0001 'k' 0001 'v' 26 0001 'k' 0001 'w'", Pubcomp(said(PacketIdentifierNotFound, &[Property::UserProperty(("k", "v")), Property::UserProperty(("k", "w"))]))),
    ]
}

#[rustfmt::skip]
fn refused() -> Vec<Row> {
    use PacketType::*;
    const ID: &str = "MQTT3-2.3.1-6, MQTT5-2.2.1-5";
    const END: &str = "MQTT3-4.8.0-1, MQTT5 section 4.13";
    let zero = |packet| Violation::PacketIdZero { packet };
    let short = |packet, available| cut(packet, "packet identifier", 2, available);
    let more = |packet| Violation::TrailingBytes { packet, extra: 1 };
    vec![
        bad("PUBACK of nothing", ID, (ALL, BOTH), "40 02 0000", zero(Puback)),
        bad("PUBREC of nothing", ID, (ALL, BOTH), "50 02 0000", zero(Pubrec)),
        bad("PUBREL of nothing", ID, (ALL, BOTH), "62 02 0000", zero(Pubrel)),
        bad("PUBCOMP of nothing", ID, (ALL, BOTH), "70 02 0000", zero(Pubcomp)),
        bad("PUBACK is not empty", END, (ALL, BOTH), "40 00", short(Puback, 0)),
        bad("PUBREC with half an identifier", END, (ALL, BOTH), "50 01 01", short(Pubrec, 1)),
        bad("PUBREL with half an identifier", END, (ALL, BOTH), "62 01 01", short(Pubrel, 1)),
        bad("PUBCOMP is not empty", END, (ALL, BOTH), "70 00", short(Pubcomp, 0)),
        bad("PUBACK of 3 has no reason", "MQTT3-4.8.0-1", (V3, BOTH), "40 03 0001 00", more(Puback)),
        bad("PUBREC of 3 has no reason", "MQTT3-4.8.0-1", (V3, BOTH), "50 03 0001 00", more(Pubrec)),
        bad("PUBREL of 3 has no reason", "MQTT3-4.8.0-1", (V3, BOTH), "62 03 0001 00", more(Pubrel)),
        bad("PUBCOMP of 3 has no reason", "MQTT3-4.8.0-1", (V3, BOTH), "70 03 0001 00", more(Pubcomp)),
        bad("PUBREL has its flag", "MQTT3-3.6.1-1, MQTT5-3.6.1-1", (ALL, BOTH), "60 02 0001", Violation::FlagsReserved { packet: Pubrel, expected: 2, found: 0 }),
    ]
}

#[rustfmt::skip]
fn refused_in_5() -> Vec<Row> {
    use PacketType::*;
    let code = |packet, code| Violation::ReasonCodeInvalid { packet, code };
    vec![
        bad("PUBACK with a reason that does not exist", "MQTT5-3.4.2-1", (V5, BOTH), "40 03 0001 01", code(Puback, 0x01)),
        bad("PUBACK with a reason of PUBREL", "MQTT5-3.4.2-1", (V5, BOTH), "40 04 0001 92 00", code(Puback, 0x92)),
        bad("PUBREC with a reason of SUBACK", "MQTT5-3.5.2-1", (V5, BOTH), "50 03 0001 a1", code(Pubrec, 0xA1)),
        bad("PUBREL with a reason of PUBACK", "MQTT5-3.6.2-1", (V5, BOTH), "62 03 0001 10", code(Pubrel, 0x10)),
        bad("PUBCOMP with a reason of PUBREC", "MQTT5-3.7.2-1", (V5, BOTH), "70 03 0001 80", code(Pubcomp, 0x80)),
        bad("PUBACK has no payload", "MQTT5 section 3.4.3", (V5, BOTH), "40 05 0001 00 00 'x'", Violation::TrailingBytes { packet: Puback, extra: 1 }),
        bad("PUBREC's properties end in the packet", "MQTT5 section 4.13", (V5, BOTH), "50 04 0001 00 01", cut(Pubrec, "properties", 1, 0)),
        bad("PUBREL has no topic alias", "MQTT5 section 2.2.2.2", (V5, BOTH), "62 07 0001 00 03 23 0001", Violation::PropertyNotAllowed { property: PropertyId::TopicAlias, carrier: Carrier::Packet(Pubrel) }),
        bad("PUBCOMP has one reason in words", "MQTT5 section 3.7.2.2.2", (V5, BOTH), "70 0a 0001 00 06 1f 0000 1f 0000", Violation::PropertyRepeated { property: PropertyId::ReasonString, carrier: Carrier::Packet(Pubcomp) }),
        bad("PUBACK's words are text", "MQTT5-1.5.4-1", (V5, BOTH), "40 08 0001 00 04 1f 0001 ff", Violation::StringNotUtf8 { field: "reason string", at: 0 }),
    ]
}
