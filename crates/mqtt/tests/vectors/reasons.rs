//! Reason codes: the table of section 2.4 of MQTT 5.0, copied by hand, against every packet that
//! has one.

use noctule_mqtt::codec::{self, next_frame};
use noctule_mqtt::{PacketType as P, ProtocolVersion, ReasonCode, Receiver, Violation};

/// Section 2.4: code, and the packets it may be in.
#[rustfmt::skip]
const TABLE: &[(u8, &[P])] = &[
    (0x00, &[P::Connack, P::Puback, P::Pubrec, P::Pubrel, P::Pubcomp, P::Suback, P::Unsuback, P::Auth, P::Disconnect]),
    (0x01, &[P::Suback]),
    (0x02, &[P::Suback]),
    (0x04, &[P::Disconnect]),
    (0x10, &[P::Puback, P::Pubrec]),
    (0x11, &[P::Unsuback]),
    (0x18, &[P::Auth]),
    (0x19, &[P::Auth]),
    (0x80, &[P::Connack, P::Puback, P::Pubrec, P::Suback, P::Unsuback, P::Disconnect]),
    (0x81, &[P::Connack, P::Disconnect]),
    (0x82, &[P::Connack, P::Disconnect]),
    (0x83, &[P::Connack, P::Puback, P::Pubrec, P::Suback, P::Unsuback, P::Disconnect]),
    (0x84, &[P::Connack]),
    (0x85, &[P::Connack]),
    (0x86, &[P::Connack]),
    (0x87, &[P::Connack, P::Puback, P::Pubrec, P::Suback, P::Unsuback, P::Disconnect]),
    (0x88, &[P::Connack]),
    (0x89, &[P::Connack, P::Disconnect]),
    (0x8A, &[P::Connack]),
    (0x8B, &[P::Disconnect]),
    (0x8C, &[P::Connack, P::Disconnect]),
    (0x8D, &[P::Disconnect]),
    (0x8E, &[P::Disconnect]),
    (0x8F, &[P::Suback, P::Unsuback, P::Disconnect]),
    (0x90, &[P::Connack, P::Puback, P::Pubrec, P::Disconnect]),
    (0x91, &[P::Puback, P::Pubrec, P::Suback, P::Unsuback]),
    (0x92, &[P::Pubrel, P::Pubcomp]),
    (0x93, &[P::Disconnect]),
    (0x94, &[P::Disconnect]),
    (0x95, &[P::Connack, P::Disconnect]),
    (0x96, &[P::Disconnect]),
    (0x97, &[P::Connack, P::Puback, P::Pubrec, P::Suback, P::Disconnect]),
    (0x98, &[P::Disconnect]),
    (0x99, &[P::Connack, P::Puback, P::Pubrec, P::Disconnect]),
    (0x9A, &[P::Connack, P::Disconnect]),
    (0x9B, &[P::Connack, P::Disconnect]),
    (0x9C, &[P::Connack, P::Disconnect]),
    (0x9D, &[P::Connack, P::Disconnect]),
    (0x9E, &[P::Suback, P::Disconnect]),
    (0x9F, &[P::Connack, P::Disconnect]),
    (0xA0, &[P::Disconnect]),
    (0xA1, &[P::Suback, P::Disconnect]),
    (0xA2, &[P::Suback, P::Disconnect]),
];

/// Where a reason code stands: packet, who reads it, first byte, and what is before and behind it.
type Place = (P, Receiver, u8, &'static [u8], &'static [u8]);

const PLACES: &[Place] = &[
    (P::Connack, Receiver::Client, 0x20, &[0], &[0]),
    (P::Puback, Receiver::Server, 0x40, &[0, 1], &[]),
    (P::Pubrec, Receiver::Server, 0x50, &[0, 1], &[]),
    (P::Pubrel, Receiver::Server, 0x62, &[0, 1], &[]),
    (P::Pubcomp, Receiver::Server, 0x70, &[0, 1], &[]),
    (P::Suback, Receiver::Client, 0x90, &[0, 1, 0], &[]),
    (P::Unsuback, Receiver::Client, 0xB0, &[0, 1, 0], &[]),
    (P::Disconnect, Receiver::Client, 0xE0, &[], &[]),
    (P::Auth, Receiver::Client, 0xF0, &[], &[0]),
];

#[test] // [MQTT5-3.2.2-8] [MQTT5-3.4.2-1] [MQTT5-3.9.3-2] [MQTT5-3.11.3-2] [MQTT5-3.14.2-1]
fn every_packet_takes_the_codes_of_the_table_and_no_other() {
    for (packet, receiver, first, before, behind) in PLACES {
        for code in 0..=255u8 {
            let mut bytes = vec![*first, (before.len() + 1 + behind.len()) as u8];
            bytes.extend_from_slice(before);
            bytes.push(code);
            bytes.extend_from_slice(behind);
            let frame = next_frame(&bytes, 100).unwrap().expect("it is whole");
            let outcome = codec::decode(&frame, ProtocolVersion::V5, *receiver).map(drop);
            let line = TABLE.iter().find(|(known, _)| *known == code);
            let expected = if line.is_some_and(|(_, packets)| packets.contains(packet)) {
                Ok(())
            } else {
                Err(Violation::ReasonCodeInvalid { packet: *packet, code })
            };
            assert_eq!(outcome, expected, "{packet} {code:#04x}");
        }
    }
}

#[test] // MQTT5 section 2.4: 0x80 and above are failures.
fn codes_from_0x80_on_are_errors() {
    for (code, _) in TABLE {
        let reason = ReasonCode::from_byte(*code).expect("the table's codes exist");
        assert_eq!((reason.byte(), reason.is_error()), (*code, *code >= 0x80));
    }
    assert_eq!(ReasonCode::ALL.len(), TABLE.len());
}

#[test] // MQTT3 table 3.1
fn return_codes_of_3_1_1_mean_the_same_both_ways() {
    for code in 0..=255 {
        let reason = ReasonCode::from_connect_return_code(code);
        assert_eq!(reason.is_some(), code <= 5);
        assert!(reason.is_none_or(|reason| reason.connect_return_code() == code));
    }
    for reason in ReasonCode::ALL {
        assert_eq!(reason.connect_return_code() == 0, *reason == ReasonCode::Success);
    }
}
