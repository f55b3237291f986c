//! The vectors: bytes on one side, and what the specification says of them on the other.
//!
//! One file per family of packets holds rows ([`row`]); this file runs all of them through every
//! door of the codec. What a row expects was written from the clause it names and never copied from
//! what the codec said; a row that fails is a question to the clause first.

mod acks;
mod answers;
mod auth;
mod borders;
mod connack;
mod connect;
mod disconnect;
mod fixed_header;
mod ping;
mod properties;
mod publish;
mod reasons;
mod refused_writes;
mod row;
mod subscribe;
mod text;
mod truncation;
mod unsubscribe;
mod violations;

use noctule_mqtt::codec::{self, Frame, FrameBuffer};
use noctule_mqtt::{Packet, ProtocolVersion, Receiver, Violation};
use row::{Expected, Row};

/// Every row of every table.
fn rows() -> Vec<Row> {
    [
        fixed_header::rows(),
        connect::rows(),
        connack::rows(),
        publish::rows(),
        acks::rows(),
        subscribe::rows(),
        unsubscribe::rows(),
        ping::rows(),
        disconnect::rows(),
        auth::rows(),
        text::rows(),
    ]
    .concat()
}

/// Calls `check` with each row in each of its versions and at each of its receiving ends.
fn for_each(mut check: impl FnMut(&Row, ProtocolVersion, Receiver)) {
    for row in rows() {
        for version in row.versions {
            for receiver in row.receivers {
                check(&row, *version, *receiver);
            }
        }
    }
}

/// The first packet in `bytes`, which must be whole.
fn read(
    bytes: &[u8],
    bytes_max: u32,
    version: ProtocolVersion,
    receiver: Receiver,
) -> Result<Packet<'_>, Violation> {
    let frame = codec::next_frame(bytes, bytes_max)?.expect("the row is a whole packet");
    assert_eq!(frame.bytes.len(), bytes.len(), "the row is one packet: {bytes:02x?}");
    codec::decode(&frame, version, receiver)
}

fn encoded(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut out = Vec::new();
    codec::encode(packet, version, &mut out).expect("what was decoded can be written");
    out
}

#[test]
fn there_are_at_least_260_rows_with_names_of_their_own() {
    let rows = rows();
    assert!(rows.len() >= 260, "{} rows", rows.len());
    let mut names: Vec<_> = rows.iter().map(|row| (row.claim, row.bytes())).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), rows.len(), "two rows are the same");
}

#[test]
fn every_row_names_clauses_of_its_versions() {
    for row in rows() {
        for version in row.versions {
            let prefix = match version {
                ProtocolVersion::V31 => "MQTT31 section ",
                ProtocolVersion::V311 => "MQTT3",
                ProtocolVersion::V5 => "MQTT5",
            };
            // What 3.1.1 numbered was already so in 3.1, which has no numbers.
            let older = *version == ProtocolVersion::V31 && row.clause.contains("MQTT3");
            assert!(older || row.clause.contains(prefix), "{}: {}", row.claim, row.clause);
        }
    }
}

#[test]
fn every_row_decodes_to_what_the_specification_says() {
    for_each(|row, version, receiver| {
        let bytes = row.bytes();
        let found = read(&bytes, row.bytes_max, version, receiver);
        match &row.expected {
            Expected::Packet { packet, .. } => {
                assert_eq!(found.as_ref(), Ok(packet), "{} in {version}", row.claim);
            }
            Expected::Violation(violation) => {
                assert_eq!(found.as_ref(), Err(violation), "{} in {version}", row.claim);
            }
        }
    });
}

#[test] // CONNECT announces its version; what the connection spoke before does not matter.
fn connect_is_read_alike_whatever_version_is_assumed() {
    for row in rows().iter().filter(|row| row.bytes()[0] >> 4 == 1) {
        let bytes = row.bytes();
        let read_as = |version| read(&bytes, row.bytes_max, version, row.receivers[0]);
        let [first, others @ ..] = ProtocolVersion::ALL;
        for other in others {
            assert_eq!(read_as(first), read_as(other), "{}", row.claim);
        }
    }
}

#[test]
fn canonical_rows_are_written_back_byte_by_byte() {
    for_each(|row, version, _| {
        if let Expected::Packet { packet, canonical: true } = &row.expected {
            assert_eq!(encoded(packet, version), row.bytes(), "{} in {version}", row.claim);
        }
    });
}

#[test]
fn other_rows_are_written_in_a_form_that_means_the_same() {
    let mut seen = 0;
    for_each(|row, version, receiver| {
        if let Expected::Packet { packet, canonical: false } = &row.expected {
            let bytes = encoded(packet, version);
            assert_ne!(bytes, row.bytes(), "{} is canonical after all", row.claim);
            let again = read(&bytes, u32::MAX, version, receiver);
            assert_eq!(again.as_ref(), Ok(packet), "{} in {version}", row.claim);
            seen += 1;
        }
    });
    assert!(seen > 10);
}

/// What a frame buffer makes of `parts`, one after the other.
fn read_in_parts(
    parts: &[&[u8]],
    row: &Row,
    version: ProtocolVersion,
    receiver: Receiver,
    outcome: impl FnOnce(Result<Packet<'_>, Violation>),
) {
    let mut buffer = FrameBuffer::default();
    let (last, first) = parts.split_last().expect("at least one part");
    for part in first {
        match buffer.fill(part, row.bytes_max) {
            Ok(used) => assert_eq!(used, part.len(), "{}", row.claim),
            Err(violation) => return outcome(Err(violation)),
        }
        assert!(
            matches!(buffer.frame(row.bytes_max), Ok(None)),
            "{} is whole too early",
            row.claim
        );
    }
    let filled = buffer.fill(last, row.bytes_max);
    let frame = filled.and_then(|_| buffer.frame(row.bytes_max));
    outcome(frame.and_then(|frame: Option<Frame<'_>>| {
        codec::decode(&frame.expect("all parts are in"), version, receiver)
    }));
}

#[test]
fn every_row_reads_the_same_byte_by_byte() {
    for_each(|row, version, receiver| {
        let bytes = row.bytes();
        let direct = read(&bytes, row.bytes_max, version, receiver);
        let parts: Vec<_> = bytes.chunks(1).collect();
        read_in_parts(&parts, row, version, receiver, |found| {
            assert_eq!(found, direct, "{} in {version}", row.claim);
        });
    });
}

#[test]
fn every_row_reads_the_same_in_any_two_parts() {
    for_each(|row, version, receiver| {
        let bytes = row.bytes();
        let direct = read(&bytes, row.bytes_max, version, receiver);
        for at in 0..bytes.len() {
            let (front, back) = bytes.split_at(at);
            read_in_parts(&[front, back], row, version, receiver, |found| {
                assert_eq!(found, direct, "{} in {version}, cut at {at}", row.claim);
            });
        }
    });
}

#[test]
fn iterating_over_properties_yields_what_is_on_the_wire() {
    let mut seen = 0;
    for_each(|row, version, receiver| {
        let bytes = row.bytes();
        let Ok(packet) = read(&bytes, row.bytes_max, version, receiver) else {
            return;
        };
        for properties in row::properties_of(&packet) {
            let listed: Vec<_> = properties.iter().collect();
            assert_eq!(row::property_bytes(&listed), properties.as_bytes(), "{}", row.claim);
            seen += listed.len();
        }
    });
    assert!(seen > 50, "{seen}");
}
