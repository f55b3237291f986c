//! The fixed header: packet types, their flags and directions, and the remaining length.

use crate::row::*;
use noctule_mqtt::codec::{self, next_frame};
use noctule_mqtt::{Packet, PacketType, ProtocolVersion, Receiver, Violation};

pub(crate) fn rows() -> Vec<Row> {
    [types_and_directions(), lengths()].concat()
}

fn wrong_way(packet: PacketType) -> Violation {
    Violation::WrongDirection { packet }
}

#[rustfmt::skip]
fn types_and_directions() -> Vec<Row> {
    use PacketType as P;
    const TYPE: &str = "MQTT3 section 2.2.1, MQTT5 section 2.1.2";
    vec![
        bad("type 0 is reserved", TYPE, (ALL, BOTH), "00 00", Violation::PacketTypeReserved { bits: 0 }),
        bad("type 15 is reserved before 5", "MQTT3 section 2.2.1", (V3, BOTH), "f0 00", Violation::PacketTypeReserved { bits: 15 }),
        bad("CONNECT does not flow to a client", TYPE, (ALL, CLIENT), "10 0d 0004 'MQTT' 04 02 003c 0001 'a'", wrong_way(P::Connect)),
        bad("CONNACK does not flow to a server", TYPE, (ALL, SERVER), "20 02 0000", wrong_way(P::Connack)),
        bad("SUBSCRIBE does not flow to a client", TYPE, (ALL, CLIENT), "82 06 0001 0001 'a' 00", wrong_way(P::Subscribe)),
        bad("SUBACK does not flow to a server", TYPE, (ALL, SERVER), "90 03 0001 00", wrong_way(P::Suback)),
        bad("UNSUBSCRIBE does not flow to a client", TYPE, (ALL, CLIENT), "a2 05 0001 0001 'a'", wrong_way(P::Unsubscribe)),
        bad("UNSUBACK does not flow to a server", TYPE, (ALL, SERVER), "b0 02 0001", wrong_way(P::Unsuback)),
        bad("PINGREQ does not flow to a client", TYPE, (ALL, CLIENT), "c0 00", wrong_way(P::Pingreq)),
        bad("PINGRESP does not flow to a server", TYPE, (ALL, SERVER), "d0 00", wrong_way(P::Pingresp)),
        bad("DISCONNECT flows to a server only, before 5", "MQTT3 section 2.2.1", (V3, CLIENT), "e0 00", wrong_way(P::Disconnect)),
    ]
}

#[rustfmt::skip]
fn lengths() -> Vec<Row> {
    const LENGTH: &str = "MQTT3 section 2.2.3, MQTT5 section 2.1.4";
    let padded = || Violation::VariableByteIntegerMalformed { field: "remaining length" };
    vec![
        bad("a remaining length ends with its fourth byte", LENGTH, (ALL, BOTH), "30 80808080 01", Violation::RemainingLengthMalformed),
        bad("a fifth byte of remaining length is not waited for", LENGTH, (ALL, BOTH), "c0 ffffffff", Violation::RemainingLengthMalformed),
        bad("a packet over the limit is refused", "MQTT3 section 2.2.3, MQTT5-3.2.2-15", (ALL, BOTH), "30 06 0001 'a' 'xyz'", Violation::PacketTooLarge { size: 8, limit: 7 }).at_most(7),
        good("a packet of exactly the limit is taken", "MQTT3 section 2.2.3, MQTT5-3.2.2-15", (V3, BOTH), "30 04 0001 'a' 'x'", Packet::Publish(publish())).at_most(6),
        bad("a claim of 256 MB is refused at the claim", "MQTT3 section 2.2.3, MQTT5-3.2.2-15", (ALL, BOTH), "30 ffffff7f", Violation::PacketTooLarge { size: 268_435_460, limit: 2_000_000 }).at_most(2_000_000),
        odd("3.1.1 does not forbid a padded remaining length", "MQTT3 section 2.2.3", (V3, SERVER), "c0 8000", Packet::Pingreq),
        odd("3.1.1 does not forbid a remaining length padded to four bytes", "MQTT3 section 2.2.3", (V3, CLIENT), "d0 80808000", Packet::Pingresp),
        bad("a remaining length has no more bytes than it needs", "MQTT5-1.5.5-1", (V5, SERVER), "c0 8000", padded()),
        bad("a remaining length of four bytes needs them", "MQTT5-1.5.5-1", (V5, BOTH), "30 86808000 0001 'a' 00 'xy'", padded()),
        odd("a padded remaining length of CONNECT is 3.1.1's own business", "MQTT3 section 2.2.3", (V311, SERVER), "10 8d00 0004 'MQTT' 04 02 003c 0001 'a'", Packet::Connect(Box::new(connect(ProtocolVersion::V311)))),
        bad("a padded remaining length of CONNECT is refused in 5", "MQTT5-1.5.5-1", (V5, SERVER), "10 8e00 0004 'MQTT' 05 02 003c 00 0001 'a'", padded()),
    ]
}

/// Table 2.2 of 3.1.1 and 5.0: packet type, flags, and a body that is right in 3.1.1 and 5.
const FLAGS: &[(PacketType, u8, Receiver, &str)] = &[
    (PacketType::Connect, 0b0000, Receiver::Server, "0004 'MQTT' 04 02 003c 0001 'a'"),
    (PacketType::Connack, 0b0000, Receiver::Client, "00 00 00"),
    (PacketType::Puback, 0b0000, Receiver::Server, "0001"),
    (PacketType::Pubrec, 0b0000, Receiver::Server, "0001"),
    (PacketType::Pubrel, 0b0010, Receiver::Server, "0001"),
    (PacketType::Pubcomp, 0b0000, Receiver::Server, "0001"),
    (PacketType::Subscribe, 0b0010, Receiver::Server, "0001 00 0001 'a' 00"),
    (PacketType::Suback, 0b0000, Receiver::Client, "0001 00 00"),
    (PacketType::Unsubscribe, 0b0010, Receiver::Server, "0001 00 0001 'a'"),
    (PacketType::Unsuback, 0b0000, Receiver::Client, "0001 00 00"),
    (PacketType::Pingreq, 0b0000, Receiver::Server, ""),
    (PacketType::Pingresp, 0b0000, Receiver::Client, ""),
    (PacketType::Disconnect, 0b0000, Receiver::Server, ""),
    (PacketType::Auth, 0b0000, Receiver::Server, ""),
];

fn decoded(
    first: u8,
    body: &[u8],
    version: ProtocolVersion,
    receiver: Receiver,
) -> Result<(), Violation> {
    let packet = [&[first, body.len() as u8], body].concat();
    let frame = next_frame(&packet, 1_000)?.expect("the packet is whole");
    codec::decode(&frame, version, receiver).map(drop)
}

#[test] // [MQTT3-2.2.2-1] [MQTT3-2.2.2-2] [MQTT5-2.1.3-1]
fn every_other_value_of_reserved_flags_is_refused() {
    for (packet, expected, receiver, body) in FLAGS {
        for found in 0..16 {
            let first = (*packet as u8) << 4 | found;
            let outcome = decoded(first, &bytes(body), ProtocolVersion::V5, *receiver);
            if found == *expected {
                assert_eq!(outcome, Ok(()), "{packet}");
            } else {
                let refused =
                    Violation::FlagsReserved { packet: *packet, expected: *expected, found };
                assert_eq!(outcome, Err(refused));
            }
        }
    }
}

#[test] // MQTT 3.1 section 2.1, "DUP": set when PUBREL, SUBSCRIBE and UNSUBSCRIBE are sent again.
fn dup_on_requests_is_a_repetition_in_3_1_and_reserved_since() {
    let requests = [
        (PacketType::Pubrel, "0001"),
        (PacketType::Subscribe, "0001 0001 'a' 00"),
        (PacketType::Unsubscribe, "0001 0001 'a'"),
    ];
    for (packet, body) in requests {
        let first = (packet as u8) << 4 | 0b1010;
        let read = |version| decoded(first, &bytes(body), version, Receiver::Server);
        let refused = Err(Violation::FlagsReserved { packet, expected: 0b0010, found: 0b1010 });
        assert_eq!(read(ProtocolVersion::V31), Ok(()), "{packet}");
        assert_eq!(read(ProtocolVersion::V311), refused);
        assert_eq!(read(ProtocolVersion::V5), refused);
    }
}

#[test] // MQTT 3.1 section 2.1: the other flags of requests keep their value, with DUP or without.
fn other_flags_of_requests_are_reserved_in_3_1_too() {
    for found in (0..16).filter(|flags| flags & 0b0111 != 0b0010) {
        let outcome = decoded(0x60 | found, &[0, 1], ProtocolVersion::V31, Receiver::Server);
        let refused =
            Violation::FlagsReserved { packet: PacketType::Pubrel, expected: 0b0010, found };
        assert_eq!(outcome, Err(refused));
    }
}
