//! Instructions per operation, which do not depend on what else the machine does: this program
//! runs itself under callgrind, which starts to count where a cell begins and writes down what it
//! has where it ends.

use crate::design::{Design, One, Receiving, Two};
use crate::work::Cell;
use crate::{Room, Setting};
use noctule_load::table::{Table, figure};
use std::process::Command;

/// Counts the cells and prints a table.
pub(crate) fn run(settings: &[Setting], operations: usize) -> Result<(), String> {
    let headings =
        ["filters", "shards", "cell", Two::NAME, Receiving::NAME, One::NAME, "one / two"];
    let mut table = Table::new(&headings, 3);
    for setting in settings {
        let two = counted(setting, Two::NAME, operations)?;
        let receiving = counted(setting, Receiving::NAME, operations)?;
        let one = counted(setting, One::NAME, operations)?;
        for (index, cell) in setting.cells().iter().enumerate() {
            table.row(vec![
                setting.to_string(),
                setting.shards.to_string(),
                cell.name().into(),
                figure(Some(two[index])),
                figure(Some(receiving[index])),
                figure(Some(one[index])),
                figure(Some(one[index] / two[index])),
            ]);
        }
        eprintln!("{setting}, {} shards: counted", setting.shards);
    }
    print!("{}", table.text());
    Ok(())
}

/// The instructions of each cell, per operation.
fn counted(setting: &Setting, design: &str, operations: usize) -> Result<Vec<f64>, String> {
    let room = Room::new()?;
    let report = room.path.join("counts");
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind"])
        .args([format!("--zero-before={MEASURED}"), format!("--dump-after={MEASURED}")])
        .arg(format!("--callgrind-out-file={}", report.display()))
        .arg(program)
        .args(["counted", design, "--operations", &operations.to_string()])
        .args(setting.words())
        .output()
        .map_err(|error| format!("cannot run valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("valgrind: {}: {said}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let operations: Vec<f64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let cells = setting.cells();
    if operations.len() != cells.len() * 2 {
        return Err(format!("{} cells were counted: {text}{said}", operations.len()));
    }
    // Each cell was done twice, the first time in vain.
    (0..cells.len())
        .map(|cell| {
            let dump = 2 * cell + 2;
            let path = format!("{}.{dump}", report.display());
            let text =
                std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
            let total = total(&text).ok_or_else(|| format!("{path} has no total"))?;
            Ok(total / operations[2 * cell + 1])
        })
        .collect()
}

/// The function that a cell is, as valgrind names it.
const MEASURED: &str = "routing::work::Work<D>::measured";

fn total(report: &str) -> Option<f64> {
    report.lines().find_map(|line| line.strip_prefix("totals:")?.trim().parse().ok())
}

/// What runs under callgrind: prints how many operations each call of `measured` did.
pub(crate) fn under_callgrind(setting: &Setting, design: &str, operations: usize) {
    match design {
        Two::NAME => cells::<Two>(setting, operations),
        Receiving::NAME => cells::<Receiving>(setting, operations),
        _ => cells::<One>(setting, operations),
    }
}

fn cells<D: Design>(setting: &Setting, operations: usize) {
    let mut work = setting.work::<D>();
    for &cell in setting.cells() {
        for _ in 0..2 {
            if cell == Cell::Unsubscribe {
                work.with_guests();
            } else {
                work.without_guests();
            }
            println!("{}", work.measured(cell, operations));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_dump_is_found() {
        assert_eq!(total("events: Ir\nsummary: 7\n\ntotals: 1234\n"), Some(1234.0));
        assert_eq!(total("events: Ir\n"), None);
    }
}
