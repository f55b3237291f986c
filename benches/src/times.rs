//! Nanoseconds per operation: both designs in one process, cell by cell in pairs whose order
//! alternates, as the speed of a machine drifts by more than the designs differ.

use crate::design::{Design, One, Two};
use crate::work::{Cell, Work};
use crate::{Setting, spread};
use noctule_load::statistics::{median, median_ratio};
use noctule_load::table::{Table, figure};
use std::time::Instant;

/// Measures the cells `rounds` times and prints a table.
pub(crate) fn run(settings: &[Setting], rounds: usize, operations: usize) {
    let mut table = Table::new(&HEADINGS, 3);
    for setting in settings {
        let mut two = setting.work::<Two>();
        let mut one = setting.work::<One>();
        for &cell in setting.cells() {
            let mut ns: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
            // Once in vain: caches fill and tables grow.
            for round in 0..=rounds {
                let mut pair = [0.0; 2];
                for turn in [round % 2, 1 - round % 2] {
                    pair[turn] = if turn == 0 {
                        once(&mut two, cell, operations)
                    } else {
                        once(&mut one, cell, operations)
                    };
                }
                if round > 0 {
                    ns[0].push(pair[0]);
                    ns[1].push(pair[1]);
                }
            }
            let rounds = |index: usize| ns[index].iter().copied().map(Some).collect::<Vec<_>>();
            table.row(vec![
                setting.to_string(),
                setting.shards.to_string(),
                cell.name().into(),
                figure(median(&ns[0])),
                spread(&ns[0]),
                figure(median(&ns[1])),
                spread(&ns[1]),
                figure(median_ratio(&rounds(1), &rounds(0))),
            ]);
        }
    }
    print!("{}", table.text());
}

const HEADINGS: [&str; 8] =
    ["filters", "shards", "cell", "two levels ns", "range", "one index ns", "range", "one / two"];

fn once<D: Design>(work: &mut Work<D>, cell: Cell, operations: usize) -> f64 {
    if cell == Cell::Unsubscribe {
        work.with_guests();
    } else {
        work.without_guests();
    }
    let begin = Instant::now();
    let operations = work.measured(cell, operations);
    begin.elapsed().as_nanos() as f64 / operations as f64
}
