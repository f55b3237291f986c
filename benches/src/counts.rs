//! Instructions per operation.

use crate::Setting;
use crate::design::NAMES;
use noctule_benches::callgrind;
use noctule_load::table::{Table, figure};

/// Counts the cells and prints a table.
pub(crate) fn run(settings: &[Setting], operations: usize) -> Result<(), String> {
    let ratio = format!("{} / {}", NAMES[NAMES.len() - 1], NAMES[0]);
    let headings: Vec<&str> =
        ["filters", "shards", "cell"].into_iter().chain(NAMES).chain([ratio.as_str()]).collect();
    let mut table = Table::new(&headings, 3);
    for setting in settings {
        let counts = NAMES.iter().map(|name| counted(setting, name, operations));
        let counts = counts.collect::<Result<Vec<_>, _>>()?;
        for (index, cell) in setting.cells().iter().enumerate() {
            let mut row = vec![setting.to_string(), setting.shards.to_string(), cell.name().into()];
            row.extend(counts.iter().map(|of_design| figure(Some(of_design[index]))));
            let last = counts[counts.len() - 1][index];
            row.push(figure(Some(last / counts[0][index])));
            table.row(row);
        }
        eprintln!("{setting}, {} shards: counted", setting.shards);
    }
    print!("{}", table.text());
    Ok(())
}

/// The instructions of each cell, per operation.
fn counted(setting: &Setting, design: &str, operations: usize) -> Result<Vec<f64>, String> {
    let words = ["counted", design, "--operations", &operations.to_string()].map(String::from);
    let words: Vec<String> = words.into_iter().chain(setting.words()).collect();
    let run = callgrind::run(MEASURED, &[], &words)?;
    let operations: Vec<f64> = run.text.lines().filter_map(|line| line.parse().ok()).collect();
    let calls = setting.cells().len() * 2;
    if operations.len() != calls || run.calls.len() != calls {
        return Err(format!("{} of {calls} cells were counted: {}", run.calls.len(), run.text));
    }
    // Each cell was done twice, the first time in vain.
    let both = run.calls.iter().zip(&operations).map(|(total, operations)| total / operations);
    Ok(both.skip(1).step_by(2).collect())
}

/// The function that a cell is, as valgrind names it.
const MEASURED: &str = "routing::work::Work<D>::work";

/// What runs under callgrind: prints how many operations each call of `work` did.
pub(crate) fn under_callgrind(setting: &Setting, design: &str, operations: usize) {
    let mut work = setting.work(design);
    for &cell in setting.cells() {
        for _ in 0..2 {
            work.prepare(cell);
            println!("{}", work.measured(cell, operations));
        }
    }
}
