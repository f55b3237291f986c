//! The same counts for one broker with several numbers of loops, next to each other. No bounds are
//! known here: how much more a message may cost with two loops is for the reader to judge.

use super::{BOUNDS, Bench, Cost};
use crate::shell::Failure;

/// Counts every mode with every number of loops, and prints a row when its figures are there.
pub(super) fn run(bench: &Bench, shards: &[u16]) -> Result<(), Failure> {
    println!("{}", headings(shards));
    for bound in BOUNDS {
        let costs = shards.iter().map(|shards| bench.with_loops(*shards).cost(bound.mode));
        let costs = costs.collect::<Result<Vec<_>, _>>()?;
        println!("{}", line(bound.mode, "instructions", &costs, |cost| cost.instructions));
        println!("{}", line(bound.mode, "system calls", &costs, |cost| cost.system_calls));
    }
    Ok(())
}

fn headings(shards: &[u16]) -> String {
    let mut text = format!("{:<12} {:<12}", "per delivery", "");
    for (column, shards) in shards.iter().enumerate() {
        let loops = if *shards == 1 { "1 loop".into() } else { format!("{shards} loops") };
        text.push_str(&format!(" {loops:>9}"));
        if column > 0 {
            text.push_str(&format!(" {:>6}", "ratio"));
        }
    }
    text
}

/// Ratios are to the first number of loops.
fn line(mode: &str, what: &str, costs: &[Cost], of: fn(&Cost) -> f64) -> String {
    let mut text = format!("{mode:<12} {what:<12}");
    let first = costs.first().map_or(f64::NAN, of);
    for (column, cost) in costs.iter().enumerate() {
        let value = of(cost);
        let figure = if value < 10.0 { format!("{value:.3}") } else { format!("{value:.0}") };
        text.push_str(&format!(" {figure:>9}"));
        if column > 0 {
            text.push_str(&format!(" {:>6.2}", value / first));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_to_the_first_column() {
        let cost = |instructions| Cost { instructions, system_calls: instructions / 1_000.0 };
        let costs = [cost(700.0), cost(1_050.0), cost(1_400.0)];
        let words = |line: String| line.split_whitespace().map(String::from).collect::<Vec<_>>();
        assert_eq!(
            words(line("q0-b8", "instructions", &costs, |cost| cost.instructions)),
            ["q0-b8", "instructions", "700", "1050", "1.50", "1400", "2.00"]
        );
        assert_eq!(
            words(line("q0-b8", "system calls", &costs[..2], |cost| cost.system_calls)),
            ["q0-b8", "system", "calls", "0.700", "1.050", "1.50"]
        );
        assert_eq!(
            words(headings(&[1, 8])),
            ["per", "delivery", "1", "loop", "8", "loops", "ratio"]
        );
    }
}
