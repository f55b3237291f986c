//! npm packages, in directories of their own.

use std::path::Path;
use std::process::Command;

use super::{empty, is_stamped, stamp};
use crate::shell::{self, Failure};

/// MQTT.js, for Node and for browsers.
pub(super) const CLIENTS: &[&str] = &["mqtt@5.16.0"];
/// What drives a browser; the browser itself is Debian's. Apart, so that a new version of one does not
/// take the other away from tests that are running.
pub(super) const BROWSER: &[&str] = &["playwright-core@1.65.1"];

/// Fills `home/node_modules` with `pins`, unless it is there.
pub(super) fn prepare(home: &Path, pins: &[&str]) -> Result<(), Failure> {
    let is_there = |pin: &&str| {
        let name = pin.split_once('@').map_or(*pin, |(name, _)| name);
        home.join("node_modules").join(name).join("package.json").exists()
    };
    if is_stamped(home, pins) && pins.iter().all(is_there) {
        return Ok(());
    }
    println!("installing {} into {}", pins.join(" "), home.display());
    empty(home)?;
    let quiet = ["--no-audit", "--no-fund", "--no-save", "--loglevel=error"];
    shell::run(
        Command::new("npm").arg("install").args(quiet).arg("--prefix").arg(home).args(pins),
    )?;
    stamp(home, pins)
}
