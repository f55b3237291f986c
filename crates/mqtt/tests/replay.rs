//! Replays the fuzzer's corpus on stable: what it has found once is never found again.

#[path = "../../../fuzz/bodies/decode.rs"]
mod body;
#[allow(
    clippy::disallowed_methods,
    reason = "the corpus is files; the codec itself still reads none"
)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[test]
fn every_file_of_the_corpus_holds() {
    replay::corpus("decode", body::decode);
}
