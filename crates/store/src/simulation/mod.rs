//! The log against a naive model of it, on a disk that loses what it may lose.
//!
//! Everything random comes from a seed that a failure prints. `NOCTULE_STORE_SEED` replays one,
//! `NOCTULE_STORE_SEEDS` says how many are tried.

mod bits;
mod life;
mod model;
mod planted;
mod quick;
mod restarts;
mod story;
mod threads;
mod units;

use crate::faults::Faults;
use life::live;

/// Seeds that are tried when nothing is said.
const SEEDS: u64 = 1_000;

#[test]
fn whatever_is_acknowledged_survives_whatever_happens() {
    if let Some(seed) = noctule_testkit::seed_from_environment("NOCTULE_STORE_SEED") {
        let lived = live(seed, Faults::default()).unwrap_or_else(|wrong| panic!("{wrong}"));
        println!("seed {seed}: {lived:?}");
        return;
    }
    let seeds = noctule_testkit::seed_from_environment("NOCTULE_STORE_SEEDS").unwrap_or(SEEDS);
    let mut total = life::Lived::default();
    for seed in 0..seeds {
        match live(seed, Faults::default()) {
            Ok(lived) => total.add(&lived),
            Err(wrong) => panic!("seed {seed}: {wrong}\nreplay with NOCTULE_STORE_SEED={seed}"),
        }
    }
    println!("{seeds} seeds: {total:?}");
    let each = |number: u64, least: u64| assert!(number >= seeds * least, "{total:?}");
    each(total.records, 500);
    each(total.segments, 2);
    each(total.cuts + total.kills, 1);
    assert!(total.moved > seeds, "stragglers were moved: {total:?}");
}
