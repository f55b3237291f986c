//! npm packages, in a directory of their own.

use std::path::Path;
use std::process::Command;

use super::{empty, is_stamped, stamp};
use crate::shell::{self, Failure};

const PINS: &[&str] = &["mqtt@5.16.0"];

/// Fills `home/node_modules` with [`PINS`], unless it is there.
pub(super) fn prepare(home: &Path) -> Result<(), Failure> {
    if is_stamped(home, PINS) && home.join("node_modules/mqtt/package.json").exists() {
        return Ok(());
    }
    println!("installing {} into {}", PINS.join(" "), home.display());
    empty(home)?;
    let quiet = ["--no-audit", "--no-fund", "--no-save", "--loglevel=error"];
    shell::run(
        Command::new("npm").arg("install").args(quiet).arg("--prefix").arg(home).args(PINS),
    )?;
    stamp(home, PINS)
}
