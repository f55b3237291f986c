//! Properties: table 2-4 of MQTT 5.0, copied by hand, against every packet that has properties.

use crate::row::bytes;
use noctule_mqtt::codec::{self, next_frame};
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    PacketType as P, PropertyBuffer, PropertyId as Id, ProtocolVersion, Receiver, Violation,
};

/// A place for properties: what it is called, who reads it there, first byte, and the bytes before
/// the property length and behind the properties.
struct Place {
    carrier: Carrier,
    receiver: Receiver,
    first: u8,
    before: &'static str,
    behind: &'static str,
}

const fn place(
    packet: P,
    receiver: Receiver,
    first: u8,
    before: &'static str,
    behind: &'static str,
) -> Place {
    Place { carrier: Carrier::Packet(packet), receiver, first, before, behind }
}

#[rustfmt::skip]
const PLACES: &[Place] = &[
    place(P::Connect, Receiver::Server, 0x10, "0004 'MQTT' 05 02 003c", "0001 'a'"),
    place(P::Connack, Receiver::Client, 0x20, "00 00", ""),
    // A subscription identifier flows to clients only [MQTT5-3.3.4-6].
    place(P::Publish, Receiver::Client, 0x30, "0001 'a'", "'x'"),
    place(P::Puback, Receiver::Server, 0x40, "0001 00", ""),
    place(P::Pubrec, Receiver::Server, 0x50, "0001 00", ""),
    place(P::Pubrel, Receiver::Server, 0x62, "0001 00", ""),
    place(P::Pubcomp, Receiver::Server, 0x70, "0001 00", ""),
    place(P::Subscribe, Receiver::Server, 0x82, "0001", "0001 'a' 00"),
    place(P::Suback, Receiver::Client, 0x90, "0001", "00"),
    place(P::Unsubscribe, Receiver::Server, 0xA2, "0001", "0001 'a'"),
    place(P::Unsuback, Receiver::Client, 0xB0, "0001", "00"),
    // A session expiry interval flows to servers only [MQTT5-3.14.2-2].
    place(P::Disconnect, Receiver::Server, 0xE0, "00", ""),
    place(P::Auth, Receiver::Server, 0xF0, "00", ""),
    Place {
        carrier: Carrier::Will,
        receiver: Receiver::Server,
        first: 0x10,
        before: "0004 'MQTT' 05 06 003c 00 0001 'a'",
        behind: "0001 'w' 0001 'x'",
    },
];

const WILL: Carrier = Carrier::Will;

const fn of(packet: P) -> Carrier {
    Carrier::Packet(packet)
}

/// Table 2-4: number, property, an example of it, what must stand behind the example, and where it
/// may be.
type Line = (u32, Id, &'static str, &'static str, &'static [Carrier]);

#[rustfmt::skip]
const TABLE: &[Line] = &[
    (0x01, Id::PayloadFormatIndicator, "01 01", "", &[of(P::Publish), WILL]),
    (0x02, Id::MessageExpiryInterval, "02 00000001", "", &[of(P::Publish), WILL]),
    (0x03, Id::ContentType, "03 0001 't'", "", &[of(P::Publish), WILL]),
    (0x08, Id::ResponseTopic, "08 0001 'r'", "", &[of(P::Publish), WILL]),
    (0x09, Id::CorrelationData, "09 0001 ff", "", &[of(P::Publish), WILL]),
    (0x0B, Id::SubscriptionIdentifier, "0b 8001", "", &[of(P::Publish), of(P::Subscribe)]),
    (0x11, Id::SessionExpiryInterval, "11 00000001", "", &[of(P::Connect), of(P::Connack), of(P::Disconnect)]),
    (0x12, Id::AssignedClientIdentifier, "12 0001 'c'", "", &[of(P::Connack)]),
    (0x13, Id::ServerKeepAlive, "13 003c", "", &[of(P::Connack)]),
    (0x15, Id::AuthenticationMethod, "15 0001 'm'", "", &[of(P::Connect), of(P::Connack), of(P::Auth)]),
    (0x16, Id::AuthenticationData, "16 0001 ff", "15 0001 'm'", &[of(P::Connect), of(P::Connack), of(P::Auth)]),
    (0x17, Id::RequestProblemInformation, "17 01", "", &[of(P::Connect)]),
    (0x18, Id::WillDelayInterval, "18 00000001", "", &[WILL]),
    (0x19, Id::RequestResponseInformation, "19 00", "", &[of(P::Connect)]),
    (0x1A, Id::ResponseInformation, "1a 0001 'r'", "", &[of(P::Connack)]),
    (0x1C, Id::ServerReference, "1c 0001 's'", "", &[of(P::Connack), of(P::Disconnect)]),
    (0x1F, Id::ReasonString, "1f 0001 'y'", "", &[of(P::Connack), of(P::Puback), of(P::Pubrec), of(P::Pubrel), of(P::Pubcomp), of(P::Suback), of(P::Unsuback), of(P::Disconnect), of(P::Auth)]),
    (0x21, Id::ReceiveMaximum, "21 0001", "", &[of(P::Connect), of(P::Connack)]),
    (0x22, Id::TopicAliasMaximum, "22 0000", "", &[of(P::Connect), of(P::Connack)]),
    (0x23, Id::TopicAlias, "23 0001", "", &[of(P::Publish)]),
    (0x24, Id::MaximumQoS, "24 00", "", &[of(P::Connack)]),
    (0x25, Id::RetainAvailable, "25 01", "", &[of(P::Connack)]),
    (0x26, Id::UserProperty, "26 0001 'k' 0001 'v'", "", &[of(P::Connect), of(P::Connack), of(P::Publish), WILL, of(P::Puback), of(P::Pubrec), of(P::Pubrel), of(P::Pubcomp), of(P::Subscribe), of(P::Suback), of(P::Unsubscribe), of(P::Unsuback), of(P::Disconnect), of(P::Auth)]),
    (0x27, Id::MaximumPacketSize, "27 00000001", "", &[of(P::Connect), of(P::Connack)]),
    (0x28, Id::WildcardSubscriptionAvailable, "28 00", "", &[of(P::Connack)]),
    (0x29, Id::SubscriptionIdentifierAvailable, "29 00", "", &[of(P::Connack)]),
    (0x2A, Id::SharedSubscriptionAvailable, "2a 01", "", &[of(P::Connack)]),
];

/// What a receiver says of `place` with `properties` in it.
fn outcome(place: &Place, properties: &[u8]) -> Result<(), Violation> {
    let mut body = bytes(place.before);
    body.push(u8::try_from(properties.len()).expect("examples are short"));
    body.extend_from_slice(properties);
    body.extend(bytes(place.behind));
    let mut packet = vec![place.first, u8::try_from(body.len()).expect("packets are short")];
    packet.extend(body);
    let frame = next_frame(&packet, 1_000)?.expect("the packet is whole");
    codec::decode(&frame, ProtocolVersion::V5, place.receiver).map(drop)
}

fn example(line: &Line, times: usize) -> Vec<u8> {
    let mut properties = bytes(line.2).repeat(times);
    properties.extend(bytes(line.3));
    properties
}

/// Section 2.2.2.2 and those of the packets: user properties anywhere, subscription identifiers in
/// PUBLISH, and nothing else.
fn may_repeat(property: Id, carrier: Carrier) -> bool {
    property == Id::UserProperty
        || (property == Id::SubscriptionIdentifier && carrier == of(P::Publish))
}

#[test] // MQTT5 section 2.2.2.2
fn the_table_has_every_property_under_its_number() {
    for (number, property, ..) in TABLE {
        assert_eq!(Id::from_number(*number), Some(*property));
        assert_eq!(*property as u32, *number);
    }
    let known = (0..=0xFFFF).filter(|number| Id::from_number(*number).is_some());
    assert_eq!(known.count(), TABLE.len());
    assert_eq!(Id::ALL.len(), TABLE.len());
}

#[test] // MQTT5 section 2.2.2.2
fn every_place_takes_the_properties_of_the_table_and_no_other() {
    for line in TABLE {
        let (_, property, _, _, allowed) = line;
        for place in PLACES {
            let expected = if allowed.contains(&place.carrier) {
                Ok(())
            } else {
                Err(Violation::PropertyNotAllowed { property: *property, carrier: place.carrier })
            };
            assert_eq!(outcome(place, &example(line, 1)), expected, "{property:?}");
        }
    }
}

#[test] // MQTT5 section 2.2.2.2
fn a_repetition_is_refused_wherever_it_is_not_allowed() {
    for line in TABLE {
        let (_, property, _, _, allowed) = line;
        for place in PLACES.iter().filter(|place| allowed.contains(&place.carrier)) {
            let expected = if may_repeat(*property, place.carrier) {
                Ok(())
            } else {
                Err(Violation::PropertyRepeated { property: *property, carrier: place.carrier })
            };
            assert_eq!(outcome(place, &example(line, 2)), expected, "{property:?}");
        }
    }
}

#[test]
fn a_property_is_cut_nowhere() {
    for line in TABLE {
        let (_, property, _, _, allowed) = line;
        let place = PLACES.iter().find(|place| allowed.contains(&place.carrier));
        let place = place.expect("some place takes it");
        let whole = bytes(line.2);
        for length in 1..whole.len() {
            let found = outcome(place, &whole[..length]);
            let is_cut = matches!(found, Err(Violation::Truncated { .. }));
            assert!(is_cut, "{property:?} of {length} bytes: {found:?}");
        }
    }
}

#[test]
fn every_number_that_is_no_property_is_refused_everywhere() {
    for number in (0..128u8).filter(|number| Id::from_number(u32::from(*number)).is_none()) {
        for place in PLACES {
            let unknown = Violation::PropertyUnknown { id: u32::from(number) };
            assert_eq!(outcome(place, &[number, 0]), Err(unknown));
        }
    }
}

#[test]
fn what_may_not_be_read_may_not_be_written() {
    for line in TABLE {
        let (_, property, text, _, allowed) = line;
        let wire = bytes(text);
        let value = noctule_mqtt::Properties::from_checked(&wire).iter().next();
        let value = value.expect("the example is a property");
        assert_eq!(value.id(), *property);
        for place in PLACES {
            let mut buffer = PropertyBuffer::new(place.carrier);
            let first = buffer.push(value).is_ok();
            assert_eq!(first, allowed.contains(&place.carrier), "{property:?}");
            let second = buffer.push(value).is_ok();
            assert_eq!(second, first && may_repeat(*property, place.carrier));
            let times = usize::from(first) + usize::from(second);
            assert_eq!(buffer.as_properties().as_bytes(), wire.repeat(times));
        }
    }
}
