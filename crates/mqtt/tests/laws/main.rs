//! Laws of the codec and of topics, checked on packets and bytes made at random.
//!
//! How the packets are made is in [`packets`]; nothing there knows what the codec does with them.

#[path = "../../../../fuzz/bodies/decode.rs"]
mod body;
mod packets;
mod topics;

use noctule_mqtt::codec::{self, EncodeError, FrameBuffer, next_frame};
use noctule_mqtt::{Packet, PropertyBuffer, ProtocolVersion, Receiver};
use packets::{Sent, any_property, carriers, sent, stream};
use proptest::prelude::*;

const BYTES_MAX: u32 = 1_000_000;

fn encoded(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut out = Vec::new();
    codec::encode(packet, version, &mut out).expect("the packet is valid");
    out
}

/// The whole of `bytes` as one packet.
fn decoded<'a>(bytes: &'a [u8], version: ProtocolVersion, receiver: Receiver) -> Packet<'a> {
    let frame = next_frame(bytes, BYTES_MAX).expect("the length is right");
    let frame = frame.expect("the packet is whole");
    assert_eq!(frame.bytes.len(), bytes.len());
    codec::decode(&frame, version, receiver).expect("the packet is valid")
}

/// For the fuzzer's body: the byte that says who reads, and how many bytes come at a time.
fn mode(version: ProtocolVersion, receiver: Receiver, piece: u8) -> u8 {
    let client = match receiver {
        Receiver::Server => 0,
        Receiver::Client => 0x80,
    };
    (version as u8 - ProtocolVersion::V31 as u8) | client | (piece & 0x0F) << 3
}

fn for_every_reader(bytes: &[u8], piece: u8) {
    for version in ProtocolVersion::ALL {
        for receiver in [Receiver::Server, Receiver::Client] {
            let mode = mode(version, receiver, piece);
            body::decode(&[&[mode], bytes].concat());
        }
    }
}

/// A small change to the bytes of a packet.
#[derive(Debug, Clone)]
enum Mutation {
    Set(usize, u8),
    Flip(usize, u8),
    Insert(usize, u8),
    Remove(usize),
    Cut(usize),
    Repeat(usize, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let place = || 0..120usize;
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (place(), 0..8u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (place(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        place().prop_map(Mutation::Remove),
        place().prop_map(Mutation::Cut),
        (place(), 1..20usize).prop_map(|(at, length)| Mutation::Repeat(at, length)),
    ]
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len().max(1);
        match *self {
            Self::Set(at, byte) => {
                if let Some(place) = bytes.get_mut(at % length) {
                    *place = byte;
                }
            }
            Self::Flip(at, bit) => {
                if let Some(place) = bytes.get_mut(at % length) {
                    *place ^= 1 << bit;
                }
            }
            Self::Insert(at, byte) => bytes.insert(at % length.min(bytes.len() + 1), byte),
            Self::Remove(at) if !bytes.is_empty() => {
                bytes.remove(at % length);
            }
            Self::Remove(_) => {}
            Self::Cut(at) => bytes.truncate(at % length),
            Self::Repeat(at, count) => {
                let from = (at % length).min(bytes.len());
                let to = (from + count).min(bytes.len());
                let part = bytes[from..to].to_vec();
                bytes.splice(to..to, part);
            }
        }
    }
}

/// Sets the remaining length to what is there, so that mutations reach the fields behind it.
fn mend_length(bytes: &mut Vec<u8>, old_header: usize) {
    if bytes.len() <= old_header {
        return;
    }
    let body = bytes.split_off(old_header);
    bytes.truncate(1);
    let mut remaining = body.len();
    loop {
        let more = if remaining >= 128 { 128 } else { 0 };
        bytes.push((remaining % 128) as u8 | more);
        remaining /= 128;
        if remaining == 0 {
            break;
        }
    }
    bytes.extend(body);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        // The core has no files, not even in its tests; a failure prints its seed.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_written_is_read_as_it_was(Sent { version, receiver, packet } in sent()) {
        let bytes = encoded(&packet, version);
        prop_assert_eq!(&decoded(&bytes, version, receiver), &packet);
    }

    #[test]
    fn writing_what_was_read_gives_the_same_bytes(Sent { version, receiver, packet } in sent()) {
        let bytes = encoded(&packet, version);
        prop_assert_eq!(encoded(&decoded(&bytes, version, receiver), version), bytes);
    }

    #[test]
    fn writing_appends_and_touches_nothing_before(Sent { version, packet, .. } in sent()) {
        let mut out = vec![1, 2, 3];
        codec::encode(&packet, version, &mut out).unwrap();
        prop_assert_eq!(&out[..3], &[1, 2, 3]);
        prop_assert_eq!(&out[3..], encoded(&packet, version));
    }

    #[test]
    fn any_bytes_are_read_alike_in_pieces_and_at_once(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        piece in any::<u8>(),
    ) {
        for_every_reader(&bytes, piece);
    }

    #[test]
    fn any_body_behind_any_type_is_read_or_refused(
        first in any::<u8>(),
        body in proptest::collection::vec(any::<u8>(), 0..120),
        piece in any::<u8>(),
    ) {
        for_every_reader(&[&[first, body.len() as u8], body.as_slice()].concat(), piece);
    }

    #[test]
    fn a_changed_packet_is_refused_or_is_another_packet(
        Sent { version, packet, .. } in sent(),
        mutations in proptest::collection::vec(mutation(), 1..4),
        mended in any::<bool>(),
        piece in any::<u8>(),
    ) {
        let mut bytes = encoded(&packet, version);
        let header = next_frame(&bytes, BYTES_MAX).unwrap().unwrap().header_len;
        for mutation in &mutations {
            mutation.apply(&mut bytes);
        }
        if mended {
            mend_length(&mut bytes, header);
        }
        for_every_reader(&bytes, piece);
    }

    #[test]
    fn any_partition_of_a_stream_gives_the_same_packets(
        (version, receiver, packets) in stream(),
        cuts in proptest::collection::vec(1..40usize, 1..40),
    ) {
        let bytes: Vec<u8> = packets.iter().flat_map(|packet| encoded(packet, version)).collect();
        let mut buffer = FrameBuffer::default();
        let mut expected = packets.iter();
        let mut sizes = cuts.iter().cycle();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let size = (*sizes.next().expect("it cycles")).min(rest.len());
            let (mut piece, behind) = rest.split_at(size);
            rest = behind;
            while !piece.is_empty() {
                let used = buffer.fill(piece, BYTES_MAX).unwrap();
                piece = &piece[used..];
                if let Some(frame) = buffer.frame(BYTES_MAX).unwrap() {
                    let packet = codec::decode(&frame, version, receiver).unwrap();
                    prop_assert_eq!(Some(&packet), expected.next());
                    drop(packet);
                    // The memory is used again, as a connection does.
                    let mut memory = buffer.take();
                    memory.clear();
                    buffer.restore(memory);
                }
            }
        }
        prop_assert!(buffer.is_empty());
        prop_assert_eq!(expected.next(), None);
    }

    #[test]
    fn iterating_yields_the_properties_that_were_pushed(
        carrier in carriers(),
        properties in proptest::collection::vec(any_property(), 0..12),
    ) {
        let mut buffer = PropertyBuffer::new(carrier);
        let mut pushed = Vec::new();
        for property in properties {
            let id = property.id();
            let seen = pushed.iter().any(|earlier: &noctule_mqtt::Property<'_>| earlier.id() == id);
            let fits = id.allowed_in(carrier) && (!seen || id.may_repeat_in(carrier));
            match buffer.push(property) {
                Ok(()) => {
                    prop_assert!(fits);
                    pushed.push(property);
                }
                Err(error) => {
                    prop_assert_eq!(error, EncodeError::PropertyRefused { property: id, carrier });
                    prop_assert!(!fits);
                }
            }
        }
        let written = buffer.as_properties();
        prop_assert_eq!(written.iter().collect::<Vec<_>>(), pushed);
        prop_assert_eq!(noctule_mqtt::Properties::check(written.as_bytes(), carrier), Ok(written));
    }
}
