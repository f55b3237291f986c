//! `way`: instructions on the way of a PUBLISH through a shard, from the bytes that came to the bytes
//! that leave, without sockets. What is sent is in `pattern`, who sends it in `room`; the committed
//! counts, and when one of them fails, are in `bounds`.

mod bounds;
mod codec;
mod pattern;
mod room;

use noctule_benches::callgrind;
use pattern::{PATTERNS, Pattern};
use std::process::ExitCode;

/// Bursts of a pattern that are counted, after as many that are not.
const BURSTS: usize = 500;
/// The function whose calls are told apart, and those in which instructions count.
const CALL: &str = "way::call";
const TURNS: [&str; 2] = ["way::room::turn", "way::codec::turn"];

const HELP: &str = "\
Instructions on the way of a PUBLISH through a shard, per delivery, and of the codec alone, per packet
(valgrind).

Usage: way           count, and print a table
       way --check   the same, and fail if a count has risen over the committed one
       way --write   the same, and write them down as the committed ones
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [] => count().map(|counts| print!("{}", bounds::table(&counts))),
        ["--check"] => count().and_then(|counts| bounds::check(&counts)),
        ["--write"] => count().and_then(|counts| bounds::write(&counts)),
        // What is counted, and what to look at with callgrind by hand.
        ["run", names @ ..] => {
            let wanted = |name: &str| names.is_empty() || names.contains(&name);
            PATTERNS.iter().filter(|pattern| wanted(pattern.name)).for_each(run);
            for (_, words) in codec::KINDS.iter().filter(|(name, _)| wanted(name)) {
                let mut words = words();
                run_twice(&mut || words.burst());
            }
            Ok(())
        }
        _ => Err(HELP.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The instructions of each pattern, per delivery.
fn count() -> Result<Vec<f64>, String> {
    let run = callgrind::run(CALL, &TURNS, &["run".into()])?;
    let deliveries: Vec<f64> = run.text.lines().filter_map(|line| line.parse().ok()).collect();
    let calls = names().count() * 2;
    if run.calls.len() != calls || deliveries.len() != calls {
        return Err(format!("{} of {calls} calls were counted: {}", run.calls.len(), run.text));
    }
    let both = run.calls.iter().zip(&deliveries).map(|(total, deliveries)| total / deliveries);
    Ok(both.skip(1).step_by(2).collect())
}

/// What is counted, in this order.
fn names() -> impl Iterator<Item = &'static str> {
    let kinds = codec::KINDS.iter().map(|(name, _)| *name);
    PATTERNS.iter().map(|pattern| pattern.name).chain(kinds)
}

/// What runs under callgrind.
fn run(pattern: &Pattern) {
    let mut room = pattern.room();
    run_twice(&mut || pattern.burst(&mut room));
}

/// Prints how many messages each call delivered.
fn run_twice(burst: &mut dyn FnMut() -> usize) {
    for _ in 0..2 {
        println!("{}", call(burst));
    }
}

#[inline(never)]
fn call(burst: &mut dyn FnMut() -> usize) -> usize {
    (0..BURSTS).map(|_| burst()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_decoded_is_encoded_as_it_was() {
        for (name, words) in codec::KINDS {
            assert_eq!(words().burst(), 1, "{name}");
        }
    }

    #[test]
    fn every_pattern_delivers_what_it_says() {
        for pattern in PATTERNS {
            let mut room = pattern.room();
            for _ in 0..3 {
                assert_eq!(pattern.burst(&mut room), pattern.deliveries(), "{}", pattern.name);
            }
        }
    }
}
