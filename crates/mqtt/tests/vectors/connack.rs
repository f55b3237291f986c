//! CONNACK: section 3.2.

use crate::row::*;
use noctule_mqtt::packet::Connack;
use noctule_mqtt::{Packet, PacketType, Properties, Property, PropertyId, ReasonCode, Violation};

pub(crate) fn rows() -> Vec<Row> {
    [answers(), with_properties(), refused()].concat()
}

fn connack(session_present: bool, reason: ReasonCode) -> Packet<'static> {
    Packet::Connack(Connack { session_present, reason, properties: Properties::EMPTY })
}

fn with(list: &[Property<'static>]) -> Packet<'static> {
    Packet::Connack(Connack {
        session_present: false,
        reason: ReasonCode::Success,
        properties: properties(list),
    })
}

#[rustfmt::skip]
fn answers() -> Vec<Row> {
    use ReasonCode::*;
    const CODES: &str = "MQTT3 section 3.2.2.3";
    vec![
        good("accepted", CODES, (V3, CLIENT), "20 02 00 00", connack(false, Success)),
        good("accepted, with the session", "MQTT3-3.2.2-2", (V311, CLIENT), "20 02 01 00", connack(true, Success)),
        good("refused: protocol version", CODES, (V3, CLIENT), "20 02 00 01", connack(false, UnsupportedProtocolVersion)),
        good("refused: client identifier", CODES, (V3, CLIENT), "20 02 00 02", connack(false, ClientIdentifierNotValid)),
        good("refused: server unavailable", CODES, (V3, CLIENT), "20 02 00 03", connack(false, ServerUnavailable)),
        good("refused: bad user name or password", CODES, (V3, CLIENT), "20 02 00 04", connack(false, BadUserNameOrPassword)),
        good("refused: not authorized", CODES, (V3, CLIENT), "20 02 00 05", connack(false, NotAuthorized)),
        odd("3.1: the first byte is not used", "MQTT31 section 3.2", (V31, CLIENT), "20 02 01 00", connack(false, Success)),
        odd("3.1: no bit of the first byte is used", "MQTT31 section 3.2", (V31, CLIENT), "20 02 fe 05", connack(false, NotAuthorized)),
        odd("a refusal has no session, whatever it says", "MQTT3-3.2.2-4", (V311, CLIENT), "20 02 01 05", connack(false, NotAuthorized)),
        odd("a refusal has no session, whatever it says, in 5", "MQTT5-3.2.2-6", (V5, CLIENT), "20 03 01 87 00", connack(false, NotAuthorized)),
        good("accepted in 5", "MQTT5-3.2.2-1", (V5, CLIENT), "20 03 00 00 00", connack(false, Success)),
        good("accepted, with the session, in 5", "MQTT5-3.2.2-3", (V5, CLIENT), "20 03 01 00 00", connack(true, Success)),
        good("refused in 5", "MQTT5-3.2.2-8", (V5, CLIENT), "20 03 00 9f 00", connack(false, ConnectionRateExceeded)),
    ]
}

#[rustfmt::skip]
fn with_properties() -> Vec<Row> {
    use Property::*;
    vec![
        good("what the session expires after", "MQTT5 section 3.2.2.3.2", (V5, CLIENT), "20 08 00 00 05 11 00000e10", with(&[SessionExpiryInterval(3_600)])),
        good("how much may be in flight", "MQTT5 section 3.2.2.3.3", (V5, CLIENT), "20 06 00 00 03 21 0014", with(&[ReceiveMaximum(20)])),
        good("a maximum QoS of 1", "MQTT5-3.2.2-9", (V5, CLIENT), "20 05 00 00 02 24 01", with(&[MaximumQoS(1)])),
        good("no retained messages", "MQTT5-3.2.2-14", (V5, CLIENT), "20 05 00 00 02 25 00", with(&[RetainAvailable(0)])),
        good("the largest packet", "MQTT5-3.2.2-15", (V5, CLIENT), "20 08 00 00 05 27 001e8480", with(&[MaximumPacketSize(2_000_000)])),
        good("a client identifier made by the server", "MQTT5-3.2.2-16", (V5, CLIENT), "20 0c 00 00 09 12 0006 'auto-1'", with(&[AssignedClientIdentifier("auto-1")])),
        good("topic aliases", "MQTT5-3.2.2-17", (V5, CLIENT), "20 06 00 00 03 22 000a", with(&[TopicAliasMaximum(10)])),
        good("a reason in words", "MQTT5 section 3.2.2.3.9", (V5, CLIENT), "20 09 00 00 06 1f 0003 'why'", with(&[ReasonString("why")])),
        good("user properties", "MQTT5 section 3.2.2.3.10", (V5, CLIENT), "20 0f 00 00 0c 26 0001 'k' 0001 'v' 26 0000 0000", with(&[UserProperty(("k", "v")), UserProperty(("", ""))])),
        good("which subscriptions there are", "MQTT5 section 3.2.2.3.11", (V5, CLIENT), "20 09 00 00 06 28 00 29 00 2a 01", with(&[WildcardSubscriptionAvailable(0), SubscriptionIdentifierAvailable(0), SharedSubscriptionAvailable(1)])),
        good("the server's keep alive", "MQTT5-3.2.2-21", (V5, CLIENT), "20 06 00 00 03 13 0000", with(&[ServerKeepAlive(0)])),
        good("response information", "MQTT5 section 3.2.2.3.15", (V5, CLIENT), "20 08 00 00 05 1a 0002 'r/'", with(&[ResponseInformation("r/")])),
        good("another server", "MQTT5 section 3.2.2.3.16", (V5, CLIENT), "20 0c 00 9c 09 1c 0006 'b:1883'", Packet::Connack(Connack { session_present: false, reason: ReasonCode::UseAnotherServer, properties: properties(&[ServerReference("b:1883")]) })),
        good("the end of an authentication", "MQTT5 section 3.2.2.3.17", (V5, CLIENT), "20 0b 00 00 08 15 0001 'm' 16 0001 'd'", with(&[AuthenticationMethod("m"), AuthenticationData(b"d")])),
    ]
}

#[rustfmt::skip]
fn refused() -> Vec<Row> {
    let code = |code| Violation::ReasonCodeInvalid { packet: PacketType::Connack, code };
    let flags = |found| Violation::ConnackFlagsReserved { found };
    let short = |field, needed, available| cut(PacketType::Connack, field, needed, available);
    let value = |property| Violation::PropertyValueInvalid { property };
    vec![
        bad("the second flag is reserved", "MQTT3 section 3.2.2.1, MQTT5-3.2.2-1", (NEW, CLIENT), "20 03 02 00 00", flags(2)),
        bad("the highest flag is reserved", "MQTT3 section 3.2.2.1, MQTT5-3.2.2-1", (NEW, CLIENT), "20 03 81 00 00", flags(0x81)),
        bad("return code 6 is reserved", "MQTT3 section 3.2.2.3", (V3, CLIENT), "20 02 00 06", code(6)),
        bad("return codes of 5 are not 3's", "MQTT3 section 3.2.2.3", (V3, CLIENT), "20 02 00 87", code(0x87)),
        bad("return codes of 3 are not 5's", "MQTT5-3.2.2-8", (V5, CLIENT), "20 03 00 05 00", code(5)),
        bad("a session is not taken over in CONNACK", "MQTT5-3.2.2-8", (V5, CLIENT), "20 03 00 8e 00", code(0x8E)),
        bad("CONNACK is not empty", "MQTT3-4.8.0-1, MQTT5 section 4.13", (ALL, CLIENT), "20 00", short("connect acknowledge flags", 1, 0)),
        bad("CONNACK needs a code in 3", "MQTT3-4.8.0-1", (V3, CLIENT), "20 01 00", short("connect return code", 1, 0)),
        bad("CONNACK needs a code in 5", "MQTT5 section 4.13", (V5, CLIENT), "20 01 00", short("reason code", 1, 0)),
        bad("CONNACK needs a property length", "MQTT5 section 3.2.2.3.1", (V5, CLIENT), "20 02 00 00", short("property length", 1, 0)),
        bad("CONNACK of 3 ends with its code", "MQTT3-4.8.0-1", (V3, CLIENT), "20 03 00 00 00", Violation::TrailingBytes { packet: PacketType::Connack, extra: 1 }),
        bad("CONNACK has no payload", "MQTT5 section 3.2.3", (V5, CLIENT), "20 04 00 00 00 'x'", Violation::TrailingBytes { packet: PacketType::Connack, extra: 1 }),
        bad("a maximum QoS is 0 or 1", "MQTT5 section 3.2.2.3.4", (V5, CLIENT), "20 05 00 00 02 24 02", value(PropertyId::MaximumQoS)),
        bad("retain is available or not", "MQTT5 section 3.2.2.3.5", (V5, CLIENT), "20 05 00 00 02 25 02", value(PropertyId::RetainAvailable)),
        bad("a server takes one packet at least", "MQTT5 section 3.2.2.3.3", (V5, CLIENT), "20 06 00 00 03 21 0000", value(PropertyId::ReceiveMaximum)),
        bad("a server takes packets of some size", "MQTT5 section 3.2.2.3.6", (V5, CLIENT), "20 08 00 00 05 27 00000000", value(PropertyId::MaximumPacketSize)),
        bad("wildcards are available or not", "MQTT5 section 3.2.2.3.11", (V5, CLIENT), "20 05 00 00 02 28 02", value(PropertyId::WildcardSubscriptionAvailable)),
        bad("subscription identifiers are available or not", "MQTT5 section 3.2.2.3.12", (V5, CLIENT), "20 05 00 00 02 29 02", value(PropertyId::SubscriptionIdentifierAvailable)),
        bad("shared subscriptions are available or not", "MQTT5 section 3.2.2.3.13", (V5, CLIENT), "20 05 00 00 02 2a 02", value(PropertyId::SharedSubscriptionAvailable)),
    ]
}
