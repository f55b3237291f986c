//! Every fault that can be planted is found: a simulation that finds none of them finds nothing.

use super::life::live;
use super::units;
use crate::faults::{Fault, Faults};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Seeds after which a fault counts as not found.
const SEEDS: u64 = 2_000;

#[test]
fn every_planted_fault_is_found() {
    let mut missed = Vec::new();
    println!("{:<24} {:>6}   how the last of them failed", "fault", "seeds");
    for fault in Fault::ALL {
        // A fault may also lead to a bug of ours being asserted.
        let wrong = |seed| {
            let faults = Faults::plant(*fault);
            let lived = catch_unwind(AssertUnwindSafe(|| match fault {
                // What belongs together is a matter of several shards.
                Fault::UnitDivided => {
                    units::live(seed, faults);
                    Ok(())
                }
                _ => live(seed, faults).map(drop),
            }));
            match lived {
                Ok(Ok(())) => None,
                Ok(Err(wrong)) => Some((seed, wrong)),
                Err(_) => Some((seed, "an assertion failed".to_owned())),
            }
        };
        match (0..SEEDS).find_map(wrong) {
            Some((seed, wrong)) => {
                let how: String =
                    wrong.lines().next().unwrap_or_default().chars().take(90).collect();
                println!("{:<24} {:>6}   {how}", format!("{fault:?}"), seed + 1);
            }
            None => missed.push(fault),
        }
    }
    assert!(missed.is_empty(), "not found within {SEEDS} seeds: {missed:?}");
}
