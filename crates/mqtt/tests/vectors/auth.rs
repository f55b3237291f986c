//! AUTH: section 3.15 of MQTT 5.0.

use crate::row::*;
use noctule_mqtt::packet::Auth;
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{Packet, PacketType, Property, PropertyId, ReasonCode, Violation};

pub(crate) fn rows() -> Vec<Row> {
    [steps(), refused()].concat()
}

fn auth(reason: ReasonCode, list: &[Property<'static>]) -> Packet<'static> {
    Packet::Auth(Auth { reason, properties: properties(list) })
}

#[rustfmt::skip]
fn steps() -> Vec<Row> {
    use Property::*;
    use ReasonCode::*;
    vec![
        good("done, in the shortest form", "MQTT5 section 3.15.2.1", (V5, BOTH), "f0 00", auth(Success, &[])),
        good("go on", "MQTT5-4.12.0-2, MQTT5-4.12.0-3", (V5, BOTH), "f0 0b 18 09 15 0001 'm' 16 0002 00ff", auth(ContinueAuthentication, &[AuthenticationMethod("m"), AuthenticationData(&[0, 0xFF])])),
        good("once more", "MQTT5-4.12.1-1", (V5, SERVER), "f0 06 19 04 15 0001 'm'", auth(Reauthenticate, &[AuthenticationMethod("m")])),
        good("done, with words", "MQTT5 section 3.15.2.2", (V5, CLIENT), "f0 12 00 10 15 0001 'm' 1f 0002 'ok' 26 0001 'k' 0001 'v'", auth(Success, &[AuthenticationMethod("m"), ReasonString("ok"), UserProperty(("k", "v"))])),
        odd("done, and all of it said", "MQTT5 section 3.15.2.2.1", (V5, BOTH), "f0 02 00 00", auth(Success, &[])),
    ]
}

#[rustfmt::skip]
fn refused() -> Vec<Row> {
    let packet = PacketType::Auth;
    let carrier = Carrier::Packet(packet);
    vec![
        bad("AUTH has no flags", "MQTT5-3.15.1-1", (V5, BOTH), "f1 00", Violation::FlagsReserved { packet, expected: 0, found: 1 }),
        bad("a refusal is not said in AUTH", "MQTT5-3.15.2-1", (V5, BOTH), "f0 06 87 04 15 0001 'm'", Violation::ReasonCodeInvalid { packet, code: 0x87 }),
        bad("a reason is followed by a property length", "MQTT5 section 3.15.2.2.1", (V5, BOTH), "f0 01 18", cut(packet, "property length", 1, 0)),
        bad("the properties end in the packet", "MQTT5 section 4.13", (V5, BOTH), "f0 06 18 05 15 0001 'm'", cut(packet, "properties", 5, 4)),
        bad("data of AUTH need a method", "MQTT5 section 3.15.2.2.2", (V5, BOTH), "f0 06 18 04 16 0001 'd'", Violation::AuthenticationDataWithoutMethod),
        bad("one method is enough", "MQTT5 section 3.15.2.2.2", (V5, BOTH), "f0 0a 18 08 15 0001 'm' 15 0001 'm'", Violation::PropertyRepeated { property: PropertyId::AuthenticationMethod, carrier }),
        bad("AUTH has no payload", "MQTT5 section 3.15.3", (V5, BOTH), "f0 03 00 00 'x'", Violation::TrailingBytes { packet, extra: 1 }),
        bad("AUTH has no content type", "MQTT5 section 2.2.2.2", (V5, BOTH), "f0 06 00 04 03 0001 't'", Violation::PropertyNotAllowed { property: PropertyId::ContentType, carrier }),
    ]
}
