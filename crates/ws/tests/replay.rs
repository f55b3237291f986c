//! Replays the fuzzer's corpus on stable: what it has found once is never found again.

#[path = "../../../fuzz/bodies/ws.rs"]
mod body;
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[test]
fn every_file_of_the_corpus_holds() {
    replay::corpus("ws", body::ws);
}
