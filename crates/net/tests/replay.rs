//! Replays the fuzzer's corpus on stable: what it has found once is never found again.

#[path = "../../../fuzz/bodies/announcement.rs"]
mod body;
#[path = "../../../fuzz/replay.rs"]
mod replay;

use proptest::prelude::*;

#[test]
fn every_file_of_the_corpus_holds() {
    replay::corpus("announcement", body::announcement);
}

/// Fields of TLS and checksums, whole and broken.
fn a_field() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop::sample::select(vec![0x01, 0x03, 0x04, 0x20, 0x21, 0x22, 0x23, 0x30]);
    let bytes = prop::collection::vec(any::<u8>(), 0..12);
    (kinds, bytes, 0_u8..8).prop_map(|(kind, bytes, off)| {
        // Mostly its length is right.
        let length = if off == 0 { 1 + bytes.len() } else { bytes.len() };
        [&[kind, 0, length as u8], &bytes[..]].concat()
    })
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    let fields = prop::collection::vec(a_field(), 0..5).prop_map(|fields| fields.concat());
    let line = "((TCP[46]|UNKNOWN) ?)?([0-9a-f.:]{0,12} ){0,5}[0-9]{0,6}(\r\n)?"
        .prop_map(String::into_bytes);
    let any_bytes = prop::collection::vec(any::<u8>(), 0..40);
    (any::<u8>(), prop_oneof![fields, line, any_bytes])
        .prop_map(|(choice, bytes)| [vec![choice], bytes].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_bytes_are_a_header_or_none(data in data()) {
        body::announcement(&data);
    }
}
