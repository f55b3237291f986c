//! DISCONNECT: section 3.14.

use crate::row::*;
use noctule_mqtt::packet::Disconnect;
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{Packet, PacketType, Property, PropertyId, ReasonCode, Violation};

pub(crate) fn rows() -> Vec<Row> {
    [goodbyes(), refused()].concat()
}

fn plain(reason: ReasonCode) -> Packet<'static> {
    Packet::Disconnect(Disconnect::new(reason))
}

fn with(reason: ReasonCode, list: &[Property<'static>]) -> Packet<'static> {
    Packet::Disconnect(Disconnect { reason, properties: properties(list) })
}

#[rustfmt::skip]
fn goodbyes() -> Vec<Row> {
    use Property::*;
    use ReasonCode as R;
    vec![
        good("goodbye", "MQTT3 section 3.14", (V3, SERVER), "e0 00", plain(R::Success)),
        good("goodbye in 5, without a word", "MQTT5 section 3.14.2.1", (V5, BOTH), "e0 00", plain(R::Success)),
        good("goodbye, but publish the will", "MQTT5-3.14.2-1", (V5, SERVER), "e0 01 04", plain(R::DisconnectWithWill)),
        good("the server shuts down", "MQTT5-3.14.2-1", (V5, CLIENT), "e0 01 8b", plain(R::ServerShuttingDown)),
        odd("a normal goodbye need not be said", "MQTT5 section 3.14.2.1", (V5, BOTH), "e0 01 00", plain(R::Success)),
        odd("nor need be that there are no properties", "MQTT5 section 3.14.2.2.1", (V5, BOTH), "e0 02 00 00", plain(R::Success)),
        odd("a reason and a property length of zero", "MQTT5 section 3.14.2.2.1", (V5, BOTH), "e0 02 81 00", plain(R::MalformedPacket)),
        good("goodbye, and keep the session for a while", "MQTT5 section 3.14.2.2.2", (V5, SERVER), "e0 07 00 05 11 0000003c", with(R::Success, &[SessionExpiryInterval(60)])),
        good("a reason in words", "MQTT5 section 3.14.2.2.3", (V5, BOTH), "e0 08 98 06 1f 0003 'why'", with(R::AdministrativeAction, &[ReasonString("why")])),
        good("user properties", "MQTT5 section 3.14.2.2.4", (V5, BOTH), "e0 10 98 0e 26 0001 'k' 0001 'v' 26 0001 'k' 0001 'v'", with(R::AdministrativeAction, &[UserProperty(("k", "v")), UserProperty(("k", "v"))])),
        good("go to another server", "MQTT5 section 3.14.2.2.5", (V5, CLIENT), "e0 06 9d 04 1c 0001 'b'", with(R::ServerMoved, &[ServerReference("b")])),
    ]
}

#[rustfmt::skip]
fn refused() -> Vec<Row> {
    let packet = PacketType::Disconnect;
    let carrier = Carrier::Packet(packet);
    vec![
        bad("DISCONNECT of 3 is empty", "MQTT3-4.8.0-1", (V3, SERVER), "e0 01 00", Violation::TrailingBytes { packet, extra: 1 }),
        bad("DISCONNECT has no flags", "MQTT3-3.14.1-1, MQTT5-3.14.1-1", (ALL, SERVER), "e1 00", Violation::FlagsReserved { packet, expected: 0, found: 1 }),
        bad("a reason that does not exist", "MQTT5-3.14.2-1", (V5, BOTH), "e0 01 05", Violation::ReasonCodeInvalid { packet, code: 5 }),
        bad("a reason of CONNACK", "MQTT5-3.14.2-1", (V5, BOTH), "e0 01 84", Violation::ReasonCodeInvalid { packet, code: 0x84 }),
        bad("the properties end in the packet", "MQTT5 section 4.13", (V5, BOTH), "e0 03 00 02 1f", cut(packet, "properties", 2, 1)),
        bad("there is no payload", "MQTT5 section 3.14.3", (V5, BOTH), "e0 03 00 00 00", Violation::TrailingBytes { packet, extra: 1 }),
        bad("a server sets no session expiry", "MQTT5-3.14.2-2", (V5, CLIENT), "e0 07 00 05 11 0000003c", Violation::PropertyNotAllowed { property: PropertyId::SessionExpiryInterval, carrier }),
        bad("one session expiry is enough", "MQTT5 section 3.14.2.2.2", (V5, SERVER), "e0 0c 00 0a 11 0000003c 11 0000003c", Violation::PropertyRepeated { property: PropertyId::SessionExpiryInterval, carrier }),
        bad("an expiry is the session's", "MQTT5 section 2.2.2.2", (V5, BOTH), "e0 07 00 05 02 0000003c", Violation::PropertyNotAllowed { property: PropertyId::MessageExpiryInterval, carrier }),
    ]
}
