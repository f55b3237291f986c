//! Python packages, in a virtual environment of their own.

use std::path::Path;
use std::process::Command;

use super::{empty, is_stamped, stamp};
use crate::shell::{self, Failure};

const PINS: &[&str] = &["paho-mqtt==2.2.0", "gmqtt==0.8.0", "aiomqtt==2.5.1", "awsiotsdk==1.31.0"];

/// Fills `home` with a virtual environment that holds [`PINS`], unless it is there.
pub(super) fn prepare(home: &Path) -> Result<(), Failure> {
    let python = home.join("bin/python");
    // A virtual environment points at the interpreter it was made with, which may be gone.
    if is_stamped(home, PINS) && python.exists() {
        return Ok(());
    }
    println!("installing {} into {}", PINS.join(" "), home.display());
    empty(home)?;
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(home))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"];
    shell::run(Command::new(&python).args(pip).args(PINS))?;
    stamp(home, PINS)
}
