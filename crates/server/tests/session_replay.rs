//! Replays what the fuzzer has found of whole sessions: what it has found once is never found again.

#[path = "../../../fuzz/bodies/session.rs"]
mod body;
#[path = "../../../fuzz/replay.rs"]
mod replay;

use noctule_testkit::Dice;

#[test]
fn every_script_of_the_corpus_holds() {
    replay::corpus("session", body::session);
}

#[test]
fn any_bytes_are_a_script_that_holds() {
    // More of them by hand.
    let seeds =
        std::env::var("NOCTULE_FUZZ_SEEDS").map_or(200, |text| text.parse().expect("a number"));
    for seed in 0..seeds {
        let mut random = Dice::new(seed);
        let data: Vec<u8> = (0..400).map(|_| random.below(256) as u8).collect();
        let outcome = std::panic::catch_unwind(|| body::session(&data));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
