//! Nanoseconds per operation: all designs in one process, cell by cell and turn by turn, in an order
//! that rotates, as the speed of a machine drifts by more than the designs differ.

use crate::design::NAMES;
use crate::work::{Cell, Workable};
use crate::{Setting, spread};
use noctule_load::statistics::{median, median_ratio};
use noctule_load::table::{Table, figure};
use std::time::Instant;

/// Measures the cells `rounds` times and prints a table.
pub(crate) fn run(settings: &[Setting], rounds: usize, operations: usize) {
    let headings = ["filters", "shards", "cell", "design", "ns", "range", "× two levels"];
    let mut table = Table::new(&headings, 4);
    for setting in settings {
        let mut works: Vec<_> = NAMES.iter().map(|name| setting.work(name)).collect();
        for &cell in setting.cells() {
            let mut ns = vec![Vec::new(); works.len()];
            // Once in vain: caches fill and tables grow.
            for round in 0..=rounds {
                for turn in 0..works.len() {
                    let design = (round + turn) % works.len();
                    let took = once(works[design].as_mut(), cell, operations);
                    if round > 0 {
                        ns[design].push(took);
                    }
                }
            }
            for (design, name) in NAMES.iter().enumerate() {
                let rounds = |of: usize| ns[of].iter().copied().map(Some).collect::<Vec<_>>();
                table.row(vec![
                    setting.to_string(),
                    setting.shards.to_string(),
                    cell.name().into(),
                    (*name).into(),
                    figure(median(&ns[design])),
                    spread(&ns[design]),
                    figure(median_ratio(&rounds(design), &rounds(0))),
                ]);
            }
        }
        eprintln!("{setting}, {} shards: measured", setting.shards);
    }
    print!("{}", table.text());
}

fn once(work: &mut dyn Workable, cell: Cell, operations: usize) -> f64 {
    work.prepare(cell);
    let begin = Instant::now();
    let operations = work.measured(cell, operations);
    begin.elapsed().as_nanos() as f64 / operations as f64
}
