//! The simulation finds nothing wrong with the broker, and finds every mistake that is planted in
//! it.
//!
//! `NOCTULE_SEED` replays one run and tells its whole story. More by hand: `docs/simulation.md`.

use noctule_broker::faults::{Fault, plant};
use noctule_testkit::{Plan, Totals, seed_from_environment};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

const SEEDS: u64 = 20;
const MINUTES: u64 = 30;
/// A planted fault has to be found by one of so many seeds, of so many minutes each.
const SEEDS_TO_FIND: u64 = 60;
const MINUTES_TO_FIND: u64 = 10;
const THREADS: usize = 2;

/// Has threads work on all of `items`, and collects what comes of it in their order.
fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let mut done = BTreeMap::new();
    std::thread::scope(|scope| {
        let run = || {
            let mut done = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                match items.get(at) {
                    Some(item) => done.push((at, work(item))),
                    None => return done,
                }
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
        for thread in threads {
            done.extend(thread.join().expect("a thread that fails says why itself"));
        }
    });
    done.into_values().collect()
}

#[test]
fn what_was_promised_is_kept_whatever_happens() {
    let replay = seed_from_environment("NOCTULE_SEED");
    let seeds: Vec<u64> = replay.map_or((0..SEEDS).collect(), |seed| vec![seed]);
    let whole_story = replay.is_some();
    let run = |seed: &u64| Plan { seed: *seed, minutes: MINUTES, whole_story }.run();
    let mut sum = Totals::default();
    for outcome in each(&seeds, run) {
        match outcome {
            Ok(totals) => {
                sum.published += totals.published;
                sum.delivered += totals.delivered;
                sum.promised += totals.promised;
            }
            Err(story) => panic!("{story}\nNOCTULE_SEED replays this run"),
        }
    }
    if replay.is_none() {
        // So that a simulation in which nothing happens is noticed.
        assert!(sum.published > 50_000, "{sum:?}");
        assert!(sum.delivered > 50_000, "{sum:?}");
        assert!(sum.promised > 20_000, "{sum:?}");
    }
}

/// The first seed that finds a fault, counted from one, and what it says.
fn find(fault: Fault) -> Option<(u64, String)> {
    plant(Some(fault));
    let found = (0..SEEDS_TO_FIND).find_map(|seed| {
        let plan = Plan { seed, minutes: MINUTES_TO_FIND, whole_story: false };
        let story = plan.run().err()?;
        Some((seed + 1, story.lines().next().unwrap_or_default().to_owned()))
    });
    plant(None);
    found
}

#[test]
fn every_planted_fault_is_found() {
    let here = |fault: &&Fault| !Fault::OVER_RESTARTS.contains(fault);
    let faults: Vec<_> = Fault::ALL.iter().filter(here).copied().collect();
    let found = each(&faults, |fault| find(*fault));
    println!("{:24} seeds  what was seen", "fault");
    let mut missed = Vec::new();
    for (fault, found) in faults.iter().zip(found) {
        match found {
            Some((seeds, story)) => println!("{fault:24} {seeds:5}  {story:.110}"),
            None => missed.push(fault),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
fn a_seed_tells_the_same_story_again() {
    let tell = || {
        plant(Some(Fault::MailDropped));
        let story = (0..SEEDS_TO_FIND).find_map(|seed| {
            Plan { seed, minutes: MINUTES_TO_FIND, whole_story: true }.run().err()
        });
        plant(None);
        story.expect("lost letters are noticed")
    };
    assert_eq!(tell(), tell());
}
