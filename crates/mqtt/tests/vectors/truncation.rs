//! Packets that end too early, at every byte: what has not arrived is waited for, and what claims
//! to be whole and is not is refused, except where the specification gives the shorter form a
//! meaning.

use crate::row::{ALL, BOTH, CLIENT, Readers, SERVER, V3, V5, V31, V311, bytes};
use noctule_mqtt::codec::{self, FrameBuffer, next_frame};
use noctule_mqtt::{PacketType, Violation};

/// A packet with a short fixed header, and the lengths of its body that are whole as well.
struct Sample {
    readers: Readers,
    hex: &'static str,
    whole: &'static [usize],
}

const fn sample(readers: Readers, hex: &'static str, whole: &'static [usize]) -> Sample {
    Sample { readers, hex, whole }
}

#[rustfmt::skip]
const SAMPLES: &[Sample] = &[
    sample((V311, SERVER), "10 29 0004 'MQTT' 04 f6 003c 0006 'client' 0004 'will' 0003 'bye' 0004 'user' 0004 'pass'", &[]),
    // User name and password may be missing as a whole.
    sample((V31, SERVER), "10 2b 0006 'MQIsdp' 03 f6 003c 0006 'client' 0004 'will' 0003 'bye' 0004 'user' 0004 'pass'", &[31, 37]),
    sample((V5, SERVER), "10 38 0004 'MQTT' 05 f6 003c 14 11 0000000a 26 0001 'k' 0001 'v' 15 0001 'm' 16 0001 'd' 0001 'c' 09 18 00000001 09 0001 'q' 0001 'w' 0001 'x' 0001 'u' 0001 'p'", &[]),
    sample((V3, CLIENT), "20 02 00 00", &[]),
    sample((V5, CLIENT), "20 0d 00 00 0a 12 0002 'id' 13 003c 24 01", &[]),
    // A payload may have any length.
    sample((V3, BOTH), "32 0a 0003 'a/b' 0001 'xyz'", &[7, 8, 9]),
    sample((V5, BOTH), "34 19 0003 'a/b' 0001 0e 01 01 02 00000001 26 0001 'k' 0001 'v' 'xyz'", &[22, 23, 24]),
    sample((V3, BOTH), "40 02 0001", &[]),
    sample((V3, BOTH), "62 02 0001", &[]),
    // Without properties, without a reason.
    sample((V5, BOTH), "40 09 0001 83 05 1f 0002 'no'", &[2, 3]),
    sample((V5, BOTH), "50 09 0001 83 05 1f 0002 'no'", &[2, 3]),
    sample((V5, BOTH), "62 09 0001 92 05 1f 0002 'no'", &[2, 3]),
    sample((V5, BOTH), "70 09 0001 92 05 1f 0002 'no'", &[2, 3]),
    // Without the second filter.
    sample((V3, SERVER), "82 0c 0001 0003 'a/b' 01 0001 'c' 00", &[8]),
    sample((V5, SERVER), "82 19 0001 03 0b 8001 0003 'a/b' 01 000a '$share/g/c' 00", &[12]),
    // With fewer answers.
    sample((V3, CLIENT), "90 05 0001 00 01 02", &[3, 4]),
    sample((V5, CLIENT), "90 0a 0001 05 1f 0002 'no' 00 80", &[9]),
    sample((V3, SERVER), "a2 0a 0001 0003 'a/b' 0001 'c'", &[7]),
    sample((V5, SERVER), "a2 12 0001 07 26 0001 'k' 0001 'v' 0003 'a/b' 0001 'c'", &[15]),
    sample((V3, CLIENT), "b0 02 0001", &[]),
    sample((V5, CLIENT), "b0 0a 0001 05 1f 0002 'no' 00 11", &[9]),
    sample((V5, BOTH), "e0 08 98 06 1f 0003 'why'", &[0, 1]),
    sample((V5, BOTH), "f0 0a 18 08 15 0001 'm' 16 0001 'd'", &[0]),
];

/// Calls `check` with each sample and each shorter length of its body.
fn for_each_cut(mut check: impl FnMut(&Sample, &[u8], usize)) {
    for sample in SAMPLES {
        let bytes = bytes(sample.hex);
        assert_eq!(usize::from(bytes[1]) + 2, bytes.len(), "{}", sample.hex);
        for length in 0..bytes.len() - 2 {
            check(sample, &bytes, length);
        }
    }
}

#[test]
fn samples_are_packets() {
    let mut kinds = Vec::new();
    for sample in SAMPLES {
        let bytes = bytes(sample.hex);
        let frame = next_frame(&bytes, 1_000).unwrap().expect("it is whole");
        for version in sample.readers.0 {
            for receiver in sample.readers.1 {
                let outcome = codec::decode(&frame, *version, *receiver);
                assert!(outcome.is_ok(), "{}: {outcome:?}", sample.hex);
                kinds.extend(outcome.map(|packet| packet.packet_type()));
            }
        }
    }
    // PINGREQ and PINGRESP have no body to cut.
    for packet in PacketType::ALL {
        let has_no_body = matches!(packet, PacketType::Pingreq | PacketType::Pingresp);
        assert!(has_no_body || kinds.contains(&packet), "{packet}");
    }
    assert_eq!(ALL.len(), 3);
}

#[test]
fn what_has_not_arrived_is_waited_for() {
    for_each_cut(|_, bytes, length| {
        let arrived = &bytes[..2 + length];
        for end in 0..=arrived.len() {
            assert_eq!(next_frame(&arrived[..end], 1_000), Ok(None));
            let mut buffer = FrameBuffer::default();
            assert_eq!(buffer.fill(&arrived[..end], 1_000), Ok(end));
            assert_eq!(buffer.frame(1_000), Ok(None));
            assert_eq!(buffer.len(), end);
        }
    });
}

#[test] // [MQTT3-4.8.0-1], MQTT5 section 4.13
fn a_packet_that_claims_to_be_whole_and_is_not_is_refused() {
    for_each_cut(|sample, bytes, length| {
        let mut short = bytes[..2 + length].to_vec();
        short[1] = length as u8;
        let frame = next_frame(&short, 1_000).unwrap().expect("it is whole");
        for version in sample.readers.0 {
            for receiver in sample.readers.1 {
                let outcome = codec::decode(&frame, *version, *receiver);
                let as_expected = if sample.whole.contains(&length) {
                    outcome.is_ok()
                } else {
                    is_refusal_of_a_cut(&outcome.clone().map(drop))
                };
                let hex = sample.hex;
                assert!(as_expected, "{hex} in {version}, {length}: {outcome:?}");
            }
        }
    });
}

/// A list may lose all its entries and nothing else: then it is empty and not cut.
fn is_refusal_of_a_cut(outcome: &Result<(), Violation>) -> bool {
    matches!(outcome, Err(Violation::Truncated { .. } | Violation::ListEmpty { .. }))
}
