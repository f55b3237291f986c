//! The MQTT clients of other people that our tests talk to, and `cargo xtask prepare`.
//!
//! Debian packages are installed only where something is missing and only after the command was
//! printed; Python and npm packages live below `target/foreign`, pinned, and never touch the rest
//! of the machine. What is there already costs a few milliseconds to find.

mod debian;
mod node;
mod python;

use std::path::Path;
use std::process::ExitCode;

use crate::shell::Failure;
use crate::workspace;

/// The command.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Failure> {
    if let Some(word) = arguments.first() {
        return Err(Failure(format!("takes no arguments, got '{word}'")));
    }
    prepare()?;
    println!("foreign MQTT clients: all there");
    Ok(ExitCode::SUCCESS)
}

/// Sees to it that every foreign client is there.
pub(crate) fn prepare() -> Result<(), Failure> {
    let home = workspace::target()?.join("foreign");
    debian::prepare()?;
    python::prepare(&home.join("python"))?;
    node::prepare(&home.join("node"), node::CLIENTS)?;
    node::prepare(&home.join("browser"), node::BROWSER)
}

/// Sees to it that the Debian packages are there, for those who need nothing else.
pub(crate) fn prepare_debian() -> Result<(), Failure> {
    debian::prepare()
}

/// Whether `home` was filled for exactly these `pins`.
fn is_stamped(home: &Path, pins: &[&str]) -> bool {
    std::fs::read_to_string(home.join(STAMP)).is_ok_and(|stamp| stamp == stamp_text(pins))
}

/// Notes that `home` is complete; written last, so that an interrupted install is begun again.
fn stamp(home: &Path, pins: &[&str]) -> Result<(), Failure> {
    std::fs::write(home.join(STAMP), stamp_text(pins))
        .map_err(|error| Failure(format!("cannot write {}: {error}", home.display())))
}

/// Makes `home` an empty directory.
fn empty(home: &Path) -> Result<(), Failure> {
    let failed = |error| Failure(format!("cannot make {}: {error}", home.display()));
    if home.exists() {
        std::fs::remove_dir_all(home).map_err(failed)?;
    }
    std::fs::create_dir_all(home).map_err(failed)
}

fn stamp_text(pins: &[&str]) -> String {
    pins.join("\n") + "\n"
}

const STAMP: &str = "pins.txt";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_holds_for_its_own_pins_only_and_not_for_an_emptied_home() {
        let home = std::env::temp_dir().join(format!("noctule-stamp-{}", std::process::id()));
        empty(&home).unwrap();
        assert!(!is_stamped(&home, &["a@1"]));
        stamp(&home, &["a@1"]).unwrap();
        assert!(is_stamped(&home, &["a@1"]));
        assert!(!is_stamped(&home, &["a@2"]));
        empty(&home).unwrap();
        assert!(!is_stamped(&home, &["a@1"]));
        std::fs::remove_dir_all(&home).unwrap();
    }
}
