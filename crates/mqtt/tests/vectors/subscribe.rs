//! SUBSCRIBE and SUBACK: sections 3.8 and 3.9.

use crate::row::*;
use noctule_mqtt::packet::{
    RetainHandling, Suback, Subscribe, Subscription, SubscriptionOptions as Options,
};
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    Packet, PacketType, Properties, Property, PropertyId, QoS, ReasonCode, Violation,
};

pub(crate) fn rows() -> Vec<Row> {
    [
        requests(),
        requests_in_5(),
        refused_requests(),
        refused_requests_in_5(),
        answers(),
        refused_answers(),
    ]
    .concat()
}

fn subscribe(list: &[(&'static str, Options)]) -> Packet<'static> {
    with(&[], list)
}

fn with(props: &[Property<'static>], list: &[(&'static str, Options)]) -> Packet<'static> {
    let subscription = |(filter, options): &(&'static str, Options)| Subscription {
        filter: crate::row::filter(filter),
        options: *options,
    };
    Packet::Subscribe(Subscribe {
        packet_id: id(1),
        properties: properties(props),
        subscriptions: list.iter().map(subscription).collect(),
    })
}

fn suback(list: &[ReasonCode]) -> Packet<'static> {
    Packet::Suback(Suback {
        packet_id: id(1),
        properties: Properties::EMPTY,
        reasons: list.to_vec(),
    })
}

const ZERO: Options = Options::qos(QoS::AtMostOnce);
const ONE: Options = Options::qos(QoS::AtLeastOnce);
const TWO: Options = Options::qos(QoS::ExactlyOnce);

#[rustfmt::skip]
fn requests() -> Vec<Row> {
    const LIST: &str = "MQTT3 section 3.8.3";
    vec![
        good("one filter at QoS 0", LIST, (V3, SERVER), "82 06 0001 0001 'a' 00", subscribe(&[("a", ZERO)])),
        good("one filter at QoS 1", LIST, (V3, SERVER), "82 06 0001 0001 'a' 01", subscribe(&[("a", ONE)])),
        good("one filter at QoS 2", LIST, (V3, SERVER), "82 06 0001 0001 'a' 02", subscribe(&[("a", TWO)])),
        good("many filters, and one twice", "MQTT3-3.8.4-4", (V3, SERVER), "82 16 0001 0001 'a' 00 0005 'b/+/c' 01 0001 '#' 02 0001 'a' 01", subscribe(&[("a", ZERO), ("b/+/c", ONE), ("#", TWO), ("a", ONE)])),
        good("wildcards in every place they may have", "MQTT3-4.7.1-2, MQTT3-4.7.1-3", (V3, SERVER), "82 19 0001 0001 '+' 00 0005 '+/+/#' 00 0003 '/+/' 00 0002 '/#' 00", subscribe(&[("+", ZERO), ("+/+/#", ZERO), ("/+/", ZERO), ("/#", ZERO)])),
        good("$share is a level like any other before 5", "MQTT3 section 4.7.2", (V3, SERVER), "82 0d 0001 0008 '$share/+' 00", subscribe(&[("$share/+", ZERO)])),
        odd("3.1: SUBSCRIBE again", "MQTT31 section 3.8", (V31, SERVER), "8a 06 0001 0001 'a' 00", subscribe(&[("a", ZERO)])),
    ]
}

#[rustfmt::skip]
fn requests_in_5() -> Vec<Row> {
    const OPTIONS: &str = "MQTT5 section 3.8.3.1";
    let handling = |retain_handling| Options { retain_handling, ..ZERO };
    vec![
        good("one filter in 5", OPTIONS, (V5, SERVER), "82 07 0001 00 0001 'a' 02", subscribe(&[("a", TWO)])),
        good("not one's own messages", "MQTT5-3.8.3-3", (V5, SERVER), "82 07 0001 00 0001 'a' 04", subscribe(&[("a", Options { no_local: true, ..ZERO })])),
        good("retain as published", OPTIONS, (V5, SERVER), "82 07 0001 00 0001 'a' 09", subscribe(&[("a", Options { retain_as_published: true, ..ONE })])),
        good("retained messages if the subscription is new", OPTIONS, (V5, SERVER), "82 07 0001 00 0001 'a' 10", subscribe(&[("a", handling(RetainHandling::IfNew))])),
        good("no retained messages", OPTIONS, (V5, SERVER), "82 07 0001 00 0001 'a' 20", subscribe(&[("a", handling(RetainHandling::Never))])),
        good("all options at once", OPTIONS, (V5, SERVER), "82 07 0001 00 0001 'a' 2e", subscribe(&[("a", Options { qos: QoS::ExactlyOnce, no_local: true, retain_as_published: true, retain_handling: RetainHandling::Never })])),
        good("many filters with different options", "MQTT5-3.8.4-5", (V5, SERVER), "82 11 0001 00 0001 'a' 00 0003 'a/#' 04 0001 '+' 0a", subscribe(&[("a", ZERO), ("a/#", Options { no_local: true, ..ZERO }), ("+", Options { retain_as_published: true, ..TWO })])),
        good("the smallest subscription identifier", "MQTT5 section 3.8.2.1.2", (V5, SERVER), "82 09 0001 02 0b 01 0001 'a' 00", with(&[Property::SubscriptionIdentifier(1)], &[("a", ZERO)])),
        good("the largest subscription identifier", "MQTT5 section 3.8.2.1.2", (V5, SERVER), "82 0c 0001 05 0b ffffff7f 0001 'a' 00", with(&[Property::SubscriptionIdentifier(268_435_455)], &[("a", ZERO)])),
        good("a request with a user property", "MQTT5 section 3.8.2.1.3", (V5, SERVER), "82 0e 0001 07 26 0001 'k' 0001 'v' 0001 'a' 00", with(&[Property::UserProperty(("k", "v"))], &[("a", ZERO)])),
        good("a shared subscription", "MQTT5-4.8.2-1, MQTT5-4.8.2-2", (V5, SERVER), "82 12 0001 00 000c '$share/g/a/+' 09", subscribe(&[("$share/g/a/+", Options { retain_as_published: true, ..ONE })])),
        good("a shared subscription of an absolute filter", "MQTT5-4.8.2-2", (V5, SERVER), "82 10 0001 00 000a '$share/g//' 00", subscribe(&[("$share/g//", ZERO)])),
        good("what only begins like a shared subscription", "MQTT5 section 4.8.2", (V5, SERVER), "82 0f 0001 00 0009 '$shared/g' 04", subscribe(&[("$shared/g", Options { no_local: true, ..ZERO })])),
    ]
}

#[rustfmt::skip]
fn refused_requests() -> Vec<Row> {
    const END: &str = "MQTT3-4.8.0-1";
    const RESERVED: &str = "MQTT3-3.8.3-4";
    let reserved = |found| Violation::SubscriptionOptionsReserved { found };
    let short = |field, needed, available| cut(PacketType::Subscribe, field, needed, available);
    let hash = || Violation::FilterInvalid { why: "'#' must be the whole last level" };
    let plus = || Violation::FilterInvalid { why: "'+' must be a whole level" };
    vec![
        bad("SUBSCRIBE has its flag", "MQTT3-3.8.1-1, MQTT5-3.8.1-1", (ALL, SERVER), "80 06 0001 0001 'a' 00", Violation::FlagsReserved { packet: PacketType::Subscribe, expected: 2, found: 0 }),
        bad("SUBSCRIBE has a packet identifier", "MQTT3-2.3.1-1, MQTT5-2.2.1-3", (ALL, SERVER), "82 07 0000 00 0001 'a' 00", Violation::PacketIdZero { packet: PacketType::Subscribe }),
        bad("SUBSCRIBE is not empty", "MQTT3-4.8.0-1, MQTT5 section 4.13", (ALL, SERVER), "82 00", short("packet identifier", 2, 0)),
        bad("SUBSCRIBE needs a filter", "MQTT3-3.8.3-3", (V3, SERVER), "82 02 0001", Violation::ListEmpty { packet: PacketType::Subscribe }),
        bad("a filter ends in the packet", END, (V3, SERVER), "82 05 0001 0002 'a'", short("topic filter", 2, 1)),
        bad("a filter has its QoS", END, (V3, SERVER), "82 05 0001 0001 'a'", short("subscription options", 1, 0)),
        bad("a second filter has its QoS", END, (V3, SERVER), "82 09 0001 0001 'a' 00 0001 'b'", short("subscription options", 1, 0)),
        bad("QoS 3 cannot be asked for", RESERVED, (V3, SERVER), "82 06 0001 0001 'a' 03", Violation::RequestedQosInvalid),
        bad("bit 2 is reserved before 5", RESERVED, (V3, SERVER), "82 06 0001 0001 'a' 04", reserved(0x04)),
        bad("bit 3 is reserved before 5", RESERVED, (V3, SERVER), "82 06 0001 0001 'a' 08", reserved(0x08)),
        bad("bit 4 is reserved before 5", RESERVED, (V3, SERVER), "82 06 0001 0001 'a' 11", reserved(0x11)),
        bad("bit 5 is reserved before 5", RESERVED, (V3, SERVER), "82 06 0001 0001 'a' 20", reserved(0x20)),
        bad("bit 6 is reserved", RESERVED, (V3, SERVER), "82 06 0001 0001 'a' 40", reserved(0x40)),
        bad("bit 7 is reserved", RESERVED, (V3, SERVER), "82 06 0001 0001 'a' 82", reserved(0x82)),
        bad("a filter is not empty", "MQTT3-4.7.3-1", (V3, SERVER), "82 05 0001 0000 00", Violation::TopicEmpty),
        bad("# is a whole level", "MQTT3-4.7.1-2", (V3, SERVER), "82 07 0001 0002 'a#' 00", hash()),
        bad("# is the last level", "MQTT3-4.7.1-2", (V3, SERVER), "82 08 0001 0003 '#/a' 00", hash()),
        bad("# is the last level even before an empty one", "MQTT3-4.7.1-2", (V3, SERVER), "82 07 0001 0002 '#/' 00", hash()),
        bad("+ is a whole level", "MQTT3-4.7.1-3", (V3, SERVER), "82 09 0001 0004 'a/b+' 00", plus()),
        bad("two + are no level", "MQTT3-4.7.1-3", (V3, SERVER), "82 07 0001 0002 '++' 00", plus()),
    ]
}

#[rustfmt::skip]
fn refused_requests_in_5() -> Vec<Row> {
    let carrier = Carrier::Packet(PacketType::Subscribe);
    let short = |field, needed, available| cut(PacketType::Subscribe, field, needed, available);
    let share = || Violation::SharedFilterInvalid;
    vec![
        bad("SUBSCRIBE of 5 has a property length", "MQTT5 section 3.8.2.1.1", (V5, SERVER), "82 02 0001", short("property length", 1, 0)),
        bad("SUBSCRIBE of 5 needs a filter", "MQTT5-3.8.3-2", (V5, SERVER), "82 03 0001 00", Violation::ListEmpty { packet: PacketType::Subscribe }),
        bad("a filter of 5 has its options", "MQTT5 section 4.13", (V5, SERVER), "82 06 0001 00 0001 'a'", short("subscription options", 1, 0)),
        bad("QoS 3 cannot be asked for in 5", "MQTT5 section 3.8.3.1", (V5, SERVER), "82 07 0001 00 0001 'a' 03", Violation::RequestedQosInvalid),
        bad("there is no retain handling of 3", "MQTT5 section 3.8.3.1", (V5, SERVER), "82 07 0001 00 0001 'a' 30", Violation::RetainHandlingInvalid),
        bad("bit 6 is reserved in 5", "MQTT5-3.8.3-5", (V5, SERVER), "82 07 0001 00 0001 'a' 40", Violation::SubscriptionOptionsReserved { found: 0x40 }),
        bad("bit 7 is reserved in 5", "MQTT5-3.8.3-5", (V5, SERVER), "82 07 0001 00 0001 'a' 81", Violation::SubscriptionOptionsReserved { found: 0x81 }),
        bad("no No Local on a shared subscription", "MQTT5-3.8.3-4", (V5, SERVER), "82 10 0001 00 000a '$share/g/a' 04", Violation::NoLocalOnShared),
        bad("a shared subscription needs a name", "MQTT5-4.8.2-1", (V5, SERVER), "82 0f 0001 00 0009 '$share//a' 00", share()),
        bad("a share name has no +", "MQTT5-4.8.2-2", (V5, SERVER), "82 10 0001 00 000a '$share/+/a' 00", share()),
        bad("a share name is no #", "MQTT5-4.8.2-2", (V5, SERVER), "82 0e 0001 00 0008 '$share/#' 00", share()),
        bad("a share name is followed by a separator", "MQTT5-4.8.2-2", (V5, SERVER), "82 0e 0001 00 0008 '$share/g' 00", share()),
        bad("a shared subscription needs a filter", "MQTT5-4.8.2-2", (V5, SERVER), "82 0f 0001 00 0009 '$share/g/' 00", share()),
        bad("a shared filter has its wildcards in place", "MQTT5-4.7.1-1", (V5, SERVER), "82 12 0001 00 000c '$share/g/#/a' 00", Violation::FilterInvalid { why: "'#' must be the whole last level" }),
        bad("a filter of 5 is not empty", "MQTT5-4.7.3-1", (V5, SERVER), "82 06 0001 00 0000 00", Violation::TopicEmpty),
        bad("+ is a whole level in 5", "MQTT5-4.7.1-2", (V5, SERVER), "82 08 0001 00 0002 '+a' 00", Violation::FilterInvalid { why: "'+' must be a whole level" }),
        bad("a subscription identifier of SUBSCRIBE is not zero", "MQTT5 section 3.8.2.1.2", (V5, SERVER), "82 09 0001 02 0b 00 0001 'a' 00", Violation::PropertyValueInvalid { property: PropertyId::SubscriptionIdentifier }),
        bad("SUBSCRIBE has one subscription identifier", "MQTT5 section 3.8.2.1.2", (V5, SERVER), "82 0b 0001 04 0b 01 0b 02 0001 'a' 00", Violation::PropertyRepeated { property: PropertyId::SubscriptionIdentifier, carrier }),
        bad("a subscription identifier has four bytes at most", "MQTT5-1.5.5-1", (V5, SERVER), "82 0d 0001 06 0b 8080808001 0001 'a' 00", Violation::VariableByteIntegerMalformed { field: "subscription identifier" }),
        bad("a subscription identifier ends in the properties", "MQTT5 section 4.13", (V5, SERVER), "82 09 0001 02 0b 80 0001 'a' 00", short("subscription identifier", 1, 0)),
        bad("SUBSCRIBE has no reason string", "MQTT5 section 2.2.2.2", (V5, SERVER), "82 0a 0001 03 1f 0000 0001 'a' 00", Violation::PropertyNotAllowed { property: PropertyId::ReasonString, carrier }),
    ]
}

#[rustfmt::skip]
fn answers() -> Vec<Row> {
    use ReasonCode::*;
    vec![
        good("granted, at each QoS", "MQTT3-3.8.4-5", (V3, CLIENT), "90 05 0001 00 01 02", suback(&[Success, GrantedQos1, GrantedQos2])),
        good("granted and refused", "MQTT3-3.9.3-2", (V311, CLIENT), "90 04 0001 01 80", suback(&[GrantedQos1, UnspecifiedError])),
        good("granted and refused in 5", "MQTT5-3.9.3-2", (V5, CLIENT), "90 0a 0001 00 02 80 87 8f 9e a1 a2", suback(&[GrantedQos2, UnspecifiedError, NotAuthorized, TopicFilterInvalid, SharedSubscriptionsNotSupported, SubscriptionIdentifiersNotSupported, WildcardSubscriptionsNotSupported])),
        good("an answer with words", "MQTT5 section 3.9.2.1.2", (V5, CLIENT), "90 10 0001 0c 1f 0002 'no' 26 0001 'k' 0001 'v' 97", Packet::Suback(Suback {
            packet_id: id(1),
            properties: properties(&[Property::ReasonString("no"), Property::UserProperty(("k", "v"))]),
            reasons: vec![QuotaExceeded],
        })),
    ]
}

#[rustfmt::skip]
fn refused_answers() -> Vec<Row> {
    let code = |code| Violation::ReasonCodeInvalid { packet: PacketType::Suback, code };
    let empty = || Violation::ListEmpty { packet: PacketType::Suback };
    vec![
        bad("SUBACK has a packet identifier", "MQTT3-3.8.4-2, MQTT5-3.8.4-2", (ALL, CLIENT), "90 04 0000 00 00", Violation::PacketIdZero { packet: PacketType::Suback }),
        bad("there is no granted QoS of 3", "MQTT3-3.9.3-2", (V3, CLIENT), "90 03 0001 03", code(0x03)),
        bad("refusals of 5 are not 3's", "MQTT3-3.9.3-2", (V3, CLIENT), "90 03 0001 87", code(0x87)),
        bad("there is no granted QoS of 3 in 5", "MQTT5-3.9.3-2", (V5, CLIENT), "90 04 0001 00 03", code(0x03)),
        bad("a reason of UNSUBACK is none of SUBACK's", "MQTT5-3.9.3-2", (V5, CLIENT), "90 04 0001 00 11", code(0x11)),
        bad("SUBACK answers something", "MQTT3-3.8.4-5", (V3, CLIENT), "90 02 0001", empty()),
        bad("SUBACK answers something in 5", "MQTT5-3.8.4-6", (V5, CLIENT), "90 03 0001 00", empty()),
        bad("SUBACK of 5 has a property length", "MQTT5 section 3.9.2.1.1", (V5, CLIENT), "90 02 0001", cut(PacketType::Suback, "property length", 1, 0)),
        bad("SUBACK has no subscription identifier", "MQTT5 section 2.2.2.2", (V5, CLIENT), "90 06 0001 02 0b 01 00", Violation::PropertyNotAllowed { property: PropertyId::SubscriptionIdentifier, carrier: Carrier::Packet(PacketType::Suback) }),
    ]
}
