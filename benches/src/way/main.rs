//! `way`: instructions on the way of a PUBLISH through a shard, from the bytes that came to the bytes
//! that leave, without sockets. What is sent is in `pattern`, who sends it in `room`; the committed
//! counts, and when one of them fails, are in `bounds`.

mod bounds;
mod pattern;
mod room;

use noctule_benches::callgrind;
use pattern::{PATTERNS, Pattern};
use std::process::ExitCode;

/// Bursts of a pattern that are counted, after as many that are not.
const BURSTS: usize = 500;
/// The function whose calls are told apart, and the one in which instructions count.
const CALL: &str = "way::call";
const TURN: &str = "way::room::turn";

const HELP: &str = "\
Instructions on the way of a PUBLISH through a shard, per delivery (valgrind).

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
            let wanted = |pattern: &&Pattern| names.is_empty() || names.contains(&pattern.name);
            PATTERNS.iter().filter(wanted).for_each(run);
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
    let run = callgrind::run(CALL, Some(TURN), &["run".into()])?;
    let deliveries: Vec<f64> = run.text.lines().filter_map(|line| line.parse().ok()).collect();
    let calls = PATTERNS.len() * 2;
    if run.calls.len() != calls || deliveries.len() != calls {
        return Err(format!("{} of {calls} calls were counted: {}", run.calls.len(), run.text));
    }
    let both = run.calls.iter().zip(&deliveries).map(|(total, deliveries)| total / deliveries);
    Ok(both.skip(1).step_by(2).collect())
}

/// What runs under callgrind: prints how many messages each call delivered.
fn run(pattern: &Pattern) {
    let mut room = pattern.room();
    for _ in 0..2 {
        println!("{}", call(pattern, &mut room));
    }
}

#[inline(never)]
fn call(pattern: &Pattern, room: &mut room::Room) -> usize {
    (0..BURSTS).map(|_| pattern.burst(room)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

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
