//! What must hold whatever bytes a peer sends. The fuzzer looks for bytes that break it; the
//! ordinary tests replay those it has found and call it with bytes of their own.

use noctule_mqtt::codec::{self, FrameBuffer};
use noctule_mqtt::property::Carrier;
use noctule_mqtt::{
    Packet, PacketType, Properties, PropertyBuffer, ProtocolVersion, Receiver, Violation,
};

/// The first byte of `data` says who reads: version (modulo 3), receiver (highest bit set: a
/// client) and how many bytes come at a time (1 to 16, from bits 3 to 6). The rest is what comes.
///
/// # Panics
/// If reading directly and reading in pieces disagree, or if a packet that was read cannot be
/// written, or is written as something else.
pub(crate) fn decode(data: &[u8]) {
    let Some((&mode, stream)) = data.split_first() else {
        return;
    };
    let reader = Reader {
        version: ProtocolVersion::ALL[usize::from(mode & 0b111) % 3],
        receiver: if mode & 0x80 == 0 { Receiver::Server } else { Receiver::Client },
    };
    let direct = reader.directly(stream);
    for packet in direct.iter().flatten() {
        check_written(packet, reader);
        check_properties(packet);
    }
    let pieces = stream.chunks(1 + usize::from(mode >> 3 & 0x0F));
    reader.in_pieces(pieces, &direct);
}

/// The largest packet taken: small, so that the fuzzer meets the limit.
const PACKET_BYTES_MAX: u32 = 4_096;

type Outcome<'a> = Result<Packet<'a>, Violation>;

#[derive(Clone, Copy)]
struct Reader {
    version: ProtocolVersion,
    receiver: Receiver,
}

impl Reader {
    /// All packets of `stream`, up to and with the first violation.
    fn directly(self, mut stream: &[u8]) -> Vec<Outcome<'_>> {
        let mut outcomes = Vec::new();
        loop {
            let outcome = match codec::next_frame(stream, PACKET_BYTES_MAX) {
                Ok(None) => return outcomes,
                Ok(Some(frame)) => {
                    stream = &stream[frame.bytes.len()..];
                    codec::decode(&frame, self.version, self.receiver)
                }
                Err(violation) => Err(violation),
            };
            let is_over = outcome.is_err();
            outcomes.push(outcome);
            if is_over {
                return outcomes;
            }
        }
    }

    /// Reads the same again through a frame buffer and compares.
    fn in_pieces<'a>(self, pieces: impl Iterator<Item = &'a [u8]>, expected: &[Outcome<'_>]) {
        let mut expected = expected.iter();
        let mut buffer = FrameBuffer::default();
        for mut piece in pieces {
            while !piece.is_empty() {
                let filled = buffer.fill(piece, PACKET_BYTES_MAX);
                piece = &piece[*filled.as_ref().unwrap_or(&0)..];
                let outcome = match filled.and_then(|_| buffer.frame(PACKET_BYTES_MAX)) {
                    Ok(None) => continue,
                    Ok(Some(frame)) => codec::decode(&frame, self.version, self.receiver),
                    Err(violation) => Err(violation),
                };
                assert_eq!(expected.next(), Some(&outcome), "in pieces it is different");
                if outcome.is_err() {
                    return;
                }
                drop(outcome);
                buffer.take();
            }
        }
        assert_eq!(expected.next(), None, "in pieces something is missing");
    }
}

/// What was read can be written, means the same, and is written alike the second time.
fn check_written(packet: &Packet<'_>, reader: Reader) {
    let version = match packet {
        Packet::Connect(connect) => connect.version,
        _ => reader.version,
    };
    let first = written(packet, version);
    let frame = codec::next_frame(&first, u32::MAX).expect("our own length is right");
    let frame = frame.expect("our own packet is whole");
    assert_eq!(frame.bytes.len(), first.len());
    let again = codec::decode(&frame, version, reader.receiver);
    assert_eq!(again.as_ref(), Ok(packet), "written as {first:02x?}");
    let second = written(packet, version);
    assert_eq!(first, second);
}

fn written(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut out = Vec::new();
    let outcome = codec::encode(packet, version, &mut out);
    assert_eq!(outcome, Ok(()), "{packet:?} cannot be written");
    out
}

/// Properties that were read are those that iterating yields, and writing these gives their bytes.
fn check_properties(packet: &Packet<'_>) {
    for (carrier, properties) in properties_of(packet) {
        assert_eq!(Properties::check(properties.as_bytes(), carrier), Ok(properties));
        let mut buffer = PropertyBuffer::new(carrier);
        for property in properties {
            assert_eq!(buffer.push(property), Ok(()), "{property:?}");
        }
        assert_eq!(buffer.as_properties(), properties);
    }
}

fn properties_of<'a>(packet: &Packet<'a>) -> Vec<(Carrier, Properties<'a>)> {
    let carrier = Carrier::Packet(packet.packet_type());
    let properties = match packet {
        Packet::Connect(connect) => {
            let will = connect.will.map(|will| (Carrier::Will, will.properties));
            let own = (Carrier::Packet(PacketType::Connect), connect.properties);
            return will.into_iter().chain([own]).collect();
        }
        Packet::Connack(connack) => connack.properties,
        Packet::Publish(publish) => publish.properties,
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            ack.properties
        }
        Packet::Subscribe(subscribe) => subscribe.properties,
        Packet::Suback(suback) => suback.properties,
        Packet::Unsubscribe(unsubscribe) => unsubscribe.properties,
        Packet::Unsuback(unsuback) => unsuback.properties,
        Packet::Disconnect(disconnect) => disconnect.properties,
        Packet::Auth(auth) => auth.properties,
        Packet::Pingreq | Packet::Pingresp => return Vec::new(),
    };
    vec![(carrier, properties)]
}
