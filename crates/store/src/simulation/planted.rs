//! Every fault that can be planted is found: a simulation that finds none of them finds nothing.

use super::life::live;
use crate::faults::{Fault, Faults};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Seeds after which a fault counts as not found.
const SEEDS: u64 = 2_000;

#[test]
fn every_planted_fault_is_found() {
    let mut missed = Vec::new();
    println!("{:<28} seeds until found", "fault");
    for fault in Fault::ALL {
        // A fault may also lead to a bug of ours being asserted.
        let found = (0..SEEDS).find(|seed| {
            let lived = catch_unwind(AssertUnwindSafe(|| live(*seed, Faults::plant(*fault))));
            !matches!(lived, Ok(Ok(_)))
        });
        match found {
            Some(seed) => println!("{:<28} {}", format!("{fault:?}"), seed + 1),
            None => missed.push(fault),
        }
    }
    assert!(missed.is_empty(), "not found within {SEEDS} seeds: {missed:?}");
}
