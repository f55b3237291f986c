//! Bytes per filter: how the resident memory of a fresh process grows while it subscribes.

use crate::Setting;
use crate::design::{Common, Design, NAMES, One, Receiving, Two};
use crate::locks::Locks;
use crate::mix::Top;
use crate::work::{fill, parsed, shard_of};
use noctule_load::process;
use noctule_load::table::{Table, figure};
use std::process::Command;

/// Measures each design in processes of its own and prints a table.
pub(crate) fn run(settings: &[Setting]) -> Result<(), String> {
    let headings: Vec<&str> = ["filters", "shards"].into_iter().chain(NAMES).collect();
    let mut table = Table::new(&headings, 2);
    for setting in settings {
        let mut row = vec![setting.to_string(), setting.shards.to_string()];
        for name in NAMES {
            row.push(figure(Some(measured(setting, name)?)));
        }
        table.row(row);
    }
    print!("{}", table.text());
    Ok(())
}

fn measured(setting: &Setting, design: &str) -> Result<f64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program)
        .args(["grown", design])
        .args(setting.words())
        .output()
        .map_err(|error| format!("cannot run this program again: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .parse()
        .map_err(|_| format!("'{text}' is no number; {}", String::from_utf8_lossy(&output.stderr)))
}

/// What a process of its own does: prints the bytes per subscription.
pub(crate) fn grown(setting: &Setting, design: &str) -> Result<(), String> {
    let bytes = match design {
        Two::NAME => growth::<Two>(setting),
        Receiving::NAME => growth::<Receiving>(setting),
        One::NAME => growth::<One>(setting),
        _ => growth::<Common>(setting),
    };
    println!("{}", bytes?);
    Ok(())
}

fn growth<D: Design>(setting: &Setting) -> Result<f64, String> {
    let resident = || process::memory(std::process::id()).map_err(|error| error.to_string());
    let shards = setting.shards;
    let mut design = D::new(&Locks::new(shards), 0..shards);
    // What is made for the first ones is not of the filters.
    fill(&mut design, Top::Same, FIRST..FIRST + 100, shards);
    let before = resident()?.resident;
    fill(&mut design, setting.top, 0..setting.filters, shards);
    for session in setting.filters..setting.filters + setting.many {
        design.subscribe(shard_of(session, shards), parsed("plant/alarm"), session as u32);
    }
    let after = resident()?.resident;
    Ok((after as f64 - before as f64) / (setting.filters + setting.many) as f64)
}

/// Devices that no setting has.
const FIRST: usize = 1 << 28;
