//! Instructions per operation, which do not depend on what else the machine does: this program
//! runs itself under callgrind, which starts to count where a cell begins and writes down what it
//! has where it ends.

use crate::design::NAMES;
use crate::{Room, Setting};
use noctule_load::table::{Table, figure};
use std::process::Command;

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
const MEASURED: &str = "routing::work::Work<D>::work";

fn total(report: &str) -> Option<f64> {
    report.lines().find_map(|line| line.strip_prefix("totals:")?.trim().parse().ok())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_dump_is_found() {
        assert_eq!(total("events: Ir\nsummary: 7\n\ntotals: 1234\n"), Some(1234.0));
        assert_eq!(total("events: Ir\n"), None);
    }
}
